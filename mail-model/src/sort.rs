//! Sorting messages as SORT does (RFC 5256, RFC 5957).

use std::cmp::Ordering;

use crate::address_list::Entry;
use crate::{DateTime, Envelope, Uid, collation, word};

/// What messages are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SortKey {
    /// When the message came to the mailbox.
    Arrival,
    /// The local part of the first address of Cc.
    Cc,
    /// When it was sent, the internal date where that is not said (RFC 5256 §2.2).
    Date,
    /// The local part of the first address of From.
    From,
    /// Octets.
    Size,
    /// The subject without what replies and forwards add to it.
    Subject,
    /// The local part of the first address of To.
    To,
    /// The name of the first author, the address where there is none (RFC 5957).
    DisplayFrom,
    /// The name of the first recipient, the address where there is none.
    DisplayTo,
    /// How well it answers a fuzzy search, the best first (RFC 6203 §6).
    Relevancy,
    /// The value of an annotation (RFC 5257 §4.9): the place it has among those that are given with each message.
    Annotation(u8),
}

impl SortKey {
    /// Whether the envelope has to be known.
    pub const fn needs_envelope(self) -> bool {
        !matches!(self, Self::Arrival | Self::Size | Self::Relevancy | Self::Annotation(_))
    }
}

/// A key, and whether it is turned round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "RFC 5256 §3 has REVERSE and nothing else")]
pub struct SortCriterion {
    /// What counts.
    pub key: SortKey,
    /// The last first.
    pub reverse: bool,
}

/// Takes messages in any order and gives them sorted: in n log n, with a few words of memory a message and key.
///
/// ```
/// use mailwright_mail_model::sort::{SortCriterion, SortKey, Sorter};
/// use mailwright_mail_model::{DateTime, Envelope, Uid};
///
/// let mut sorter = Sorter::new(vec![SortCriterion { key: SortKey::Subject, reverse: false }]);
/// for (uid, subject) in [(1, "Re: tea"), (2, "coffee"), (3, "Tea")] {
///     let envelope = Envelope::of(format!("Subject: {subject}\r\n\r\n").as_bytes());
///     sorter.add(Uid::new(uid).ok_or("zero")?, DateTime::EPOCH, 100, Some(&envelope));
/// }
/// assert_eq!(sorter.finish().iter().map(|uid| uid.get()).collect::<Vec<_>>(), [2, 1, 3]);
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug)]
pub struct Sorter {
    criteria: Vec<SortCriterion>,
    messages: Vec<(Uid, Box<[Value]>)>,
}

/// What is compared.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(i64),
    Text(Box<str>),
}

impl Sorter {
    /// Sorts by the first criterion, what is equal by that by the second, and so on; in the end by UID.
    pub const fn new(criteria: Vec<SortCriterion>) -> Self {
        Self { criteria, messages: Vec::new() }
    }

    /// Whether envelopes have to be known.
    pub fn needs_envelope(&self) -> bool {
        self.criteria.iter().any(|criterion| criterion.key.needs_envelope())
    }

    /// Takes a message; without its envelope it counts as one that says nothing.
    pub fn add(&mut self, uid: Uid, internal_date: DateTime, size: u64, envelope: Option<&Envelope>) {
        self.add_scored(uid, internal_date, size, envelope, 100);
    }

    /// Takes a message that answers the search so well: see [`Matcher::score`](crate::query::Matcher::score).
    pub fn add_scored(
        &mut self,
        uid: Uid,
        internal_date: DateTime,
        size: u64,
        envelope: Option<&Envelope>,
        score: u8,
    ) {
        self.add_annotated(uid, internal_date, size, envelope, score, &[]);
    }

    /// Takes a message with the values of its annotations that are [sorted by](SortKey::Annotation); what it has not counts as empty.
    pub fn add_annotated(
        &mut self,
        uid: Uid,
        internal_date: DateTime,
        size: u64,
        envelope: Option<&Envelope>,
        score: u8,
        annotations: &[Option<String>],
    ) {
        let value = |criterion: &SortCriterion| match criterion.key {
            SortKey::Arrival => Value::Number(internal_date.seconds()),
            SortKey::Relevancy => Value::Number(-i64::from(score)),
            SortKey::Annotation(place) => {
                let value = annotations.get(usize::from(place)).and_then(Option::as_deref);
                Value::Text(folded(value.unwrap_or_default()))
            }
            SortKey::Size => Value::Number(i64::try_from(size).unwrap_or(i64::MAX)),
            SortKey::Date => Value::Number(sent(envelope).unwrap_or(internal_date).seconds()),
            SortKey::Cc => local_part(envelope.map(Envelope::cc)),
            SortKey::From => local_part(envelope.map(Envelope::from)),
            SortKey::To => local_part(envelope.map(Envelope::to)),
            SortKey::DisplayFrom => display(envelope.map(Envelope::from)),
            SortKey::DisplayTo => display(envelope.map(Envelope::to)),
            SortKey::Subject => {
                let subject = envelope.and_then(Envelope::subject).unwrap_or_default();
                Value::Text(folded(&base_subject(&word::decode(subject)).0))
            }
        };
        let values = self.criteria.iter().map(value).collect();
        self.messages.push((uid, values));
    }

    /// The messages, sorted.
    pub fn finish(self) -> Vec<Uid> {
        let Self { criteria, mut messages } = self;
        messages.sort_unstable_by(|(one, ones), (other, others)| {
            let orders = criteria.iter().zip(ones.iter().zip(others)).map(|(criterion, (one, other))| {
                let order = one.cmp(other);
                if criterion.reverse { order.reverse() } else { order }
            });
            // RFC 5256 §3: what is equal stays in the order of the mailbox.
            orders.fold(Ordering::Equal, Ordering::then).then(one.cmp(other))
        });
        messages.into_iter().map(|(uid, _)| uid).collect()
    }
}

fn sent(envelope: Option<&Envelope>) -> Option<DateTime> {
    DateTime::from_rfc5322(envelope?.date()?).ok()
}

/// RFC 5256 §3: the addr-mailbox of the first address. RFC 9051 §7.5.2: where that begins a group, its name.
fn local_part(entries: Option<&[Entry]>) -> Value {
    let local = match entries.and_then(<[_]>::first) {
        Some(Entry::Mailbox(mailbox)) => &mailbox.local[..],
        Some(Entry::GroupStart(name)) => name,
        _ => &[],
    };
    Value::Text(folded(&String::from_utf8_lossy(local)))
}

/// RFC 5957 §3: the name, decoded; without one, the address, or the name of the group that begins there.
fn display(entries: Option<&[Entry]>) -> Value {
    let Some(Entry::Mailbox(mailbox)) = entries.and_then(<[_]>::first) else { return local_part(entries) };
    let text = match mailbox.name.as_deref().map(word::decode).filter(|name| !name.is_empty()) {
        Some(name) => name,
        None => {
            let address = [&mailbox.local[..], b"@", &mailbox.domain].concat();
            String::from_utf8_lossy(&address).into_owned()
        }
    };
    Value::Text(folded(&text))
}

/// Text as it is compared (RFC 5255 §4.1).
pub(crate) fn folded(text: &str) -> Box<str> {
    collation::folded(text).into()
}

/// The subject that replies and forwards have in common with what they answer, and whether anything was taken off
/// (RFC 5256 §2.1). Linear in the subject.
///
/// ```
/// use mailwright_mail_model::sort::base_subject;
///
/// assert_eq!(base_subject("Re: [list] Fwd: tea  time (fwd)"), ("tea time".into(), true));
/// assert_eq!(base_subject("[tea]"), ("[tea]".into(), false));
/// ```
pub fn base_subject(subject: &str) -> (String, bool) {
    // Step 1: runs of white space are one space.
    let text =
        subject.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let (mut rest, mut changed) = (text.as_str(), false);
    loop {
        let before = rest;
        // Step 2: what forwards add at the end.
        while let Some(shorter) = strip_suffix(rest.trim_end_matches(' '), "(fwd)") {
            (rest, changed) = (shorter, true);
        }
        rest = rest.trim_end_matches(' ');
        // Steps 3 to 5: what stands before the subject.
        loop {
            rest = rest.trim_start_matches(' ');
            if let Some(shorter) = leader(rest) {
                (rest, changed) = (shorter, true);
            } else {
                // What stands behind all of them was looked at already, and is no leader.
                while let Some(shorter) = blob(rest).filter(|shorter| !shorter.is_empty()) {
                    rest = shorter;
                }
                break;
            }
        }
        // Step 6: a forward wraps the subject.
        if let Some(inner) = strip_prefix(rest, "[fwd:").and_then(|inner| inner.strip_suffix(']')) {
            (rest, changed) = (inner, true);
        }
        if rest == before {
            return (rest.to_owned(), changed);
        }
    }
}

/// `subj-refwd` with blobs before it: `Re:`, `[list] Fw [x]:`.
fn leader(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(shorter) = blob(rest) {
        rest = shorter;
    }
    let rest = ["fwd", "fw", "re"].iter().find_map(|word| strip_prefix(rest, word))?;
    let rest = rest.trim_start_matches(' ');
    let rest = blob(rest).unwrap_or(rest);
    rest.strip_prefix(':')
}

/// `subj-blob`: something in brackets, and the spaces behind it.
fn blob(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']'])?;
    let rest = inner.get(end..)?.strip_prefix(']')?;
    Some(rest.trim_start_matches(' '))
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn strip_suffix<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let (rest, end) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    end.eq_ignore_ascii_case(suffix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(key: SortKey, reverse: bool, headers: &[&str]) -> Vec<u32> {
        let mut sorter = Sorter::new(vec![SortCriterion { key, reverse }]);
        for (index, header) in headers.iter().enumerate() {
            let number = index as u32 + 1;
            let date = DateTime::new(1000 - i64::from(number), 0).unwrap();
            let envelope = Envelope::of(format!("{header}\r\n\r\n").as_bytes());
            sorter.add(Uid::new(number).unwrap(), date, u64::from(number % 3), Some(&envelope));
        }
        sorter.finish().into_iter().map(Uid::get).collect()
    }

    #[test]
    fn subjects_have_a_base() {
        for (subject, base, changed) in [
            ("tea", "tea", false),
            ("RE: FW: fwd : tea", "tea", true),
            ("Re[2]: tea", "tea", true),
            ("[a] [b] re: tea (FWD) (fwd)", "tea", true),
            ("[Fwd: [Fwd: tea]]", "tea", true),
            ("[list] tea", "tea", false),
            ("[list]", "[list]", false),
            ("Re:", "", true),
            ("really: tea", "really: tea", false),
            ("\t tea\r\n  time ", "tea time", false),
            ("[fwd: tea", "[fwd: tea", false),
            ("re: \u{e9}", "\u{e9}", true),
        ] {
            assert_eq!(base_subject(subject), (base.to_owned(), changed), "{subject}");
        }
        assert_eq!(base_subject(&"[a]".repeat(100_000)).0, "[a]");
        let long = "Re: ".repeat(100_000) + "tea" + &" (fwd)".repeat(100_000);
        assert_eq!(base_subject(&long).0, "tea");
    }

    #[test]
    fn annotations_count() {
        let mut sorter = Sorter::new(vec![SortCriterion { key: SortKey::Annotation(1), reverse: false }]);
        for (number, value) in [(1, Some("Tea")), (2, Some("coffee")), (3, None), (4, Some("TEA"))] {
            let values = [None, value.map(str::to_owned)];
            sorter.add_annotated(Uid::new(number).unwrap(), DateTime::EPOCH, 1, None, 100, &values);
        }
        assert_eq!(sorter.finish().into_iter().map(Uid::get).collect::<Vec<_>>(), [3, 2, 1, 4]);
    }

    #[test]
    fn keys_count() {
        let headers =
            ["From: Zoe <a@x>\r\nDate: Wed, 17 Jul 1996 02:23:25 -0700", "From: b@x", "From: ann <C@x>"];
        assert_eq!(sorted(SortKey::Arrival, false, &headers), [3, 2, 1]);
        assert_eq!(sorted(SortKey::Date, false, &headers), [3, 2, 1]);
        assert_eq!(sorted(SortKey::Date, true, &headers), [1, 2, 3]);
        assert_eq!(sorted(SortKey::Size, false, &headers), [3, 1, 2]);
        assert_eq!(sorted(SortKey::From, false, &headers), [1, 2, 3]);
        assert_eq!(sorted(SortKey::DisplayFrom, false, &headers), [3, 2, 1]);
        let groups = ["From: b@x", "From: a-team: z@x;", "From: c@x, a: a@x;"];
        assert_eq!(sorted(SortKey::From, false, &groups), [2, 1, 3]);
        assert_eq!(sorted(SortKey::DisplayFrom, false, &groups), [2, 1, 3]);
        assert_eq!(sorted(SortKey::Cc, true, &headers), [1, 2, 3], "what is equal is not turned round");
    }
}
