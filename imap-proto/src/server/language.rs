//! What the machine knows by itself: in which languages it speaks, how it compares, where else the mail is, and how it falls into batches.

use mailwright_line_proto::{Language as Spoken, Output};
use mailwright_mail_model::Uid;

use super::{
    Event, Server, State,
    run::Turn,
    slots::{Kind, Slot},
};
use crate::{
    command::{Comparator, Language, Namespace, UidBatches},
    grammar::Wire,
    language::Wording,
    refusal::{Answered, Refusal},
    response::{Namespaces, ResponseCode},
};

/// English in ASCII, which everybody is spoken to in at first (RFC 2277 §4.5).
const AT_FIRST: &str = "i-default";

/// How texts are compared and searched (RFC 5051).
const COLLATION: &str = "i;unicode-casemap";

/// The smallest batches that a client may ask for: smaller ones would say as much as the UIDs themselves.
const SMALLEST_BATCH: u32 = 500;

impl Server {
    /// The language that the client has chosen for what people read; `None` before it has (RFC 5255 §3).
    pub fn language_of_texts(&self) -> Option<Spoken> {
        self.wording.0
    }

    /// LANGUAGE (RFC 5255 §3.2).
    pub(super) fn language(&mut self, turn: Turn, language: &Language) -> Option<Output<Event>> {
        let Some(first) = language.ranges.first() else {
            let known = Spoken::ALL.map(Spoken::tag);
            self.tell_languages(&known.into_iter().chain([AT_FIRST]).collect::<Vec<_>>());
            return self.ok(&turn);
        };
        let preferred = self.config.preferred_language;
        let Some(wording) = language.ranges.iter().find_map(|range| meant(range, preferred)) else {
            return self.no(&turn, Refusal::plain(format!("unsupported language {first}")));
        };
        // RFC 5255 §3.2: from the response on.
        self.wording = wording;
        self.tell_languages(&[wording.0.map_or(AT_FIRST, Spoken::tag)]);
        // RFC 5255 §3.4: nobody is told of prefixes that have no name in it.
        if self.is_logged_in() && wording.0.is_some_and(|language| language != Spoken::English) {
            return self.ask(turn, Kind::Language, Namespace, Event::Namespace);
        }
        self.ok(&turn)
    }

    fn tell_languages(&mut self, tags: &[&str]) {
        let wire = self.out();
        wire.put(b"* LANGUAGE ");
        wire.put_list(tags, |wire, tag| wire.put_astring(tag.as_bytes()));
        wire.put(b"\r\n");
    }

    /// The answer to NAMESPACE, and to a LANGUAGE that may have names for prefixes.
    pub(super) fn tell_namespaces(&mut self, slot: &Slot, answer: Answered<Namespaces>) {
        let asked = !matches!(slot.kind, Kind::Language);
        let answer = answer.map(|mut namespaces| {
            let any = self.wording.translate(&mut namespaces);
            if asked || any {
                namespaces.encode(self.out());
            }
        });
        // The language is chosen, whatever comes of the prefixes.
        self.done(slot, if asked { answer } else { Ok(()) });
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

/// The language that is meant by a range, where `default` is this one.
fn meant(range: &str, preferred: Spoken) -> Option<Wording> {
    if range == "*" || range.eq_ignore_ascii_case("default") {
        return Some(Wording(Some(preferred)));
    }
    if range.eq_ignore_ascii_case(AT_FIRST) {
        return Some(Wording::default());
    }
    Spoken::lookup(range).map(|language| Wording(Some(language)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_mean_languages() {
        let tag = |range| meant(range, Spoken::German).map(|Wording(language)| language.map(Spoken::tag));
        for (range, language) in [
            ("EN", Some(Some("en"))),
            ("en-CA-x-y", Some(Some("en"))),
            ("default", Some(Some("de"))),
            ("*", Some(Some("de"))),
            ("I-Default", Some(None)),
            ("es-419", Some(Some("es"))),
            ("mul", None),
            ("enx", None),
            ("x-en", None),
        ] {
            assert_eq!(tag(range), language, "{range}");
        }
    }
}
