//! The words of the keys of a search.

use mailwright_mail_model::{Date, Flag, query::Key};

/// Keys whose argument is a string, and the header field they are short for.
pub(super) const FIELDS: [(&str, &str); 5] =
    [("BCC", "Bcc"), ("CC", "Cc"), ("FROM", "From"), ("SUBJECT", "Subject"), ("TO", "To")];

/// Keys for flags; with `UN` before them for messages without.
pub(super) const FLAGS: [(&str, &str, Flag); 5] = [
    ("ANSWERED", "UNANSWERED", Flag::Answered),
    ("DELETED", "UNDELETED", Flag::Deleted),
    ("DRAFT", "UNDRAFT", Flag::Draft),
    ("FLAGGED", "UNFLAGGED", Flag::Flagged),
    ("SEEN", "UNSEEN", Flag::Seen),
];

pub(super) type OfDate = fn(Date) -> Key;

/// Keys whose argument is a date.
pub(super) const DATES: [(&str, OfDate); 9] = [
    ("SAVEDBEFORE", Key::SavedBefore),
    ("SAVEDON", Key::SavedOn),
    ("SAVEDSINCE", Key::SavedSince),
    ("BEFORE", Key::Before),
    ("ON", Key::On),
    ("SINCE", Key::Since),
    ("SENTBEFORE", Key::SentBefore),
    ("SENTON", Key::SentOn),
    ("SENTSINCE", Key::SentSince),
];

/// What a word of these tables means.
pub(super) enum Word {
    Flag(&'static Flag),
    NoFlag(&'static Flag),
    Field(&'static str),
    Date(OfDate),
}

impl Word {
    /// A word in upper case.
    pub(super) fn of(word: &[u8]) -> Option<Self> {
        static FLAGS: [(&str, &str, Flag); 5] = self::FLAGS;
        let is = |known: &str| known.as_bytes() == word;
        FLAGS
            .iter()
            .find_map(|(with, without, flag)| match (is(with), is(without)) {
                (true, _) => Some(Self::Flag(flag)),
                (_, true) => Some(Self::NoFlag(flag)),
                _ => None,
            })
            .or_else(|| FIELDS.iter().find(|(known, _)| is(known)).map(|(_, field)| Self::Field(field)))
            .or_else(|| DATES.iter().find(|(known, _)| is(known)).map(|(_, key)| Self::Date(*key)))
    }
}
