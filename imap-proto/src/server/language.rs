//! What the machine knows by itself: in which languages it speaks, how it compares, where else the mail is, and how it falls into batches.

use mailwright_line_proto::Output;
use mailwright_mail_model::Uid;

use super::{Event, Server, State, run::Turn};
use crate::{
    command::{Comparator, Language, UidBatches},
    grammar::Wire,
    refusal::Refusal,
    response::ResponseCode,
};

/// The languages of the texts for people: they are English, which is what `i-default` is made of (RFC 2277 §4.5).
const LANGUAGES: [&str; 2] = ["en", "i-default"];

/// How texts are compared and searched (RFC 5051).
const COLLATION: &str = "i;unicode-casemap";

/// The smallest batches that a client may ask for: smaller ones would say as much as the UIDs themselves.
const SMALLEST_BATCH: u32 = 500;

impl Server {
    /// LANGUAGE (RFC 5255 §3.2).
    pub(super) fn language(&mut self, turn: &Turn, language: &Language) -> Option<Output<Event>> {
        let told: &[&str] = match language.ranges.first() {
            None => &LANGUAGES,
            Some(range) => match language.ranges.iter().find_map(|range| spoken(range)) {
                Some(spoken) => &[spoken],
                None => return self.no(turn, Refusal::plain(format!("unsupported language {range}"))),
            },
        };
        let wire = self.out();
        wire.put(b"* LANGUAGE ");
        wire.put_list(told, |wire, language| wire.put_astring(language.as_bytes()));
        wire.put(b"\r\n");
        self.ok(turn)
    }

    /// COMPARATOR (RFC 5255 §4.7): there is one, which serves all languages.
    pub(super) fn comparator(&mut self, turn: &Turn, comparator: &Comparator) -> Option<Output<Event>> {
        if !comparator.means(COLLATION) {
            // RFC 5255 §4.9
            let code = ResponseCode::Other { name: "BADCOMPARATOR".into(), text: None };
            return self.no(turn, Refusal::new(code, format!("texts are compared by {COLLATION} only")));
        }
        let wire = self.out();
        wire.put(b"* COMPARATOR ");
        wire.put_astring(COLLATION.as_bytes());
        wire.put(b"\r\n");
        self.ok(turn)
    }

    /// GETJMAPACCESS (RFC 9698).
    pub(super) fn jmap_access(&mut self, turn: &Turn) -> Option<Output<Event>> {
        let Some(url) = self.config.jmap_url.clone() else { return self.no(turn, Refusal::cannot()) };
        let wire = self.out();
        wire.put(b"* JMAPACCESS ");
        wire.put_string(url.as_bytes());
        wire.put(b"\r\n");
        self.ok(turn)
    }

    /// UIDBATCHES.
    pub(super) fn uid_batches(&mut self, turn: &Turn, batches: &UidBatches) -> Option<Output<Event>> {
        let State::Selected { view, .. } = &self.state else { return None };
        if batches.size < SMALLEST_BATCH {
            let code = ResponseCode::Other { name: "TOOSMALL".into(), text: None };
            let text = format!("the smallest batches are of {SMALLEST_BATCH} messages");
            return self.no(turn, Refusal::new(code, text));
        }
        let known = view.known();
        let (first, last) = batches.range.unwrap_or((1, u32::MAX));
        let mut ends: Vec<(Uid, Uid)> = Vec::new();
        let (mut number, mut left) = (0_u32, 0_u32);
        // Once over the mailbox, however it is fragmented.
        for uid in known.iter().rev() {
            if left == 0 {
                if number == last {
                    break;
                }
                (number, left) = (number + 1, batches.size);
                if number >= first {
                    ends.push((uid, uid));
                }
            }
            left -= 1;
            if let Some((_, oldest)) = ends.last_mut() {
                *oldest = uid;
            }
        }
        let mut line = Vec::new();
        line.put(b"* UIDBATCHES (TAG ");
        line.put_string(turn.tag.as_bytes());
        line.put(b")");
        let mut before: &[u8] = b" ";
        for (newest, oldest) in ends {
            line.put(std::mem::replace(&mut before, b","));
            line.put_number(newest.get().into());
            if oldest != newest {
                line.put(b":");
                line.put_number(oldest.get().into());
            }
        }
        line.put(b"\r\n");
        self.out().put(&line);
        self.ok(turn)
    }
}

/// The language that is meant by a range: itself, or what is left of it when it is made shorter (RFC 4647 §3.4).
fn spoken(range: &str) -> Option<&'static str> {
    if range == "*" || range.eq_ignore_ascii_case("default") {
        return LANGUAGES.first().copied();
    }
    let mut ranges =
        std::iter::successors(Some(range), |range| range.rsplit_once('-').map(|(shorter, _)| shorter));
    ranges.find_map(|range| LANGUAGES.into_iter().find(|language| language.eq_ignore_ascii_case(range)))
}

#[cfg(test)]
mod tests {
    use super::spoken;

    #[test]
    fn ranges_become_shorter_until_they_are_known() {
        for (range, language) in [
            ("EN", Some("en")),
            ("en-CA-x-y", Some("en")),
            ("default", Some("en")),
            ("*", Some("en")),
            ("I-Default", Some("i-default")),
            ("de", None),
            ("enx", None),
            ("x-en", None),
        ] {
            assert_eq!(spoken(range), language, "{range}");
        }
    }
}
