//! Names of message files: `1276533073.M242911P3632.host,S=2442,W=2481:2,FSa`.
//!
//! Before the colon is what the message is called for good, with its sizes; behind it are its flags, one letter each.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// What separates the name of a message from its flags.
const INFO: char = ':';
/// What the flags begin with: the second, and only, version of this part of a name.
const FLAGS: &str = "2,";

/// A name nobody else chooses: the moment, this process, a count, this machine.
pub(crate) fn unique(host: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (count, process) = (COUNT.fetch_add(1, Ordering::Relaxed), std::process::id());
    format!("{}.M{}P{process}Q{count}.{host}", now.as_secs(), now.subsec_micros())
}

/// The name of this machine, fit for the name of a file.
pub(crate) fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    // As the rules of Maildir have it; and a comma would begin a field.
    name.replace('/', "\\057").replace(':', "\\072").replace(',', "\\054")
}

/// 128 random bits.
pub(super) fn random() -> u128 {
    // Each of these is keyed with randomness of the system's.
    let half = || {
        let mut hasher = RandomState::new().build_hasher();
        hasher
            .write_u128(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos()));
        u128::from(hasher.finish())
    };
    half() << 64 | half()
}

/// The name of a message and what follows it, with the colon.
pub(super) fn split(name: &str) -> (&str, &str) {
    name.find(INFO).and_then(|at| name.split_at_checked(at)).unwrap_or((name, ""))
}

/// A number in the name of a message: `S` is the size of the file, `W` what it is with CRLF at the end of each line.
pub(super) fn number(base: &str, field: char) -> Option<u64> {
    let mut fields = base.split(',').skip(1);
    fields.find_map(|text| text.strip_prefix(field)?.strip_prefix('=')?.parse().ok())
}

/// A name without its sizes, to be given others.
pub(super) fn without_sizes(base: &str) -> &str {
    base.split(',').next().unwrap_or(base)
}

/// Whether a file of this name in `new` or `cur` is a message. One that is flags alone has no name that its UID could be kept with.
pub(super) fn is_message(name: &str) -> bool {
    !name.starts_with(['.', INFO]) && !name.chars().any(char::is_control)
}

/// The flags of a message as letters: capitals are the same for all, small ones keywords of its mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Letters(u64);

/// The letters of system flags, in the order of the bits of [`FlagSet`](mailwright_mail_model::FlagSet).
const SYSTEM: [u8; 5] = *b"SRFTD";

impl Letters {
    /// What is behind the name.
    pub(super) fn parse(info: &str) -> Self {
        let letters = info.strip_prefix(INFO).and_then(|rest| rest.strip_prefix(FLAGS)).unwrap_or_default();
        Self::from_text(letters)
    }

    /// From the letters alone; whatever is none is passed over.
    pub(super) fn from_text(letters: &str) -> Self {
        // Further fields, as some programs have them, end the flags.
        let letters = letters.split(',').next().unwrap_or_default().bytes();
        Self(letters.filter_map(bit).fold(0, |bits, bit| bits | 1 << bit))
    }

    /// What comes behind the name of a message.
    pub(super) fn to_info(self) -> String {
        format!("{INFO}{FLAGS}{}", self.to_text())
    }

    /// The letters, sorted as the rules of Maildir have it.
    pub(super) fn to_text(self) -> String {
        (b'A'..=b'Z').chain(b'a'..=b'z').filter(|letter| self.has(*letter)).map(char::from).collect()
    }

    /// The system flags among them.
    pub(super) fn system_bits(self) -> u8 {
        SYSTEM.iter().enumerate().fold(0, |bits, (index, letter)| bits | u8::from(self.has(*letter)) << index)
    }

    /// The numbers of the keywords among them.
    pub(super) fn keywords(self) -> impl Iterator<Item = u8> {
        (0..26).filter(move |number| self.has(b'a' + number))
    }

    /// The same with other system flags and keywords; letters of unknown meaning stay.
    pub(super) fn with(self, system_bits: u8, keywords: impl IntoIterator<Item = u8>) -> Self {
        let known = SYSTEM.iter().copied().chain(b'a'..=b'z').filter_map(bit);
        let mut bits = known.fold(self.0, |bits, bit| bits & !(1 << bit));
        for (index, letter) in SYSTEM.iter().enumerate() {
            if let Some(bit) = bit(*letter).filter(|_| system_bits & 1 << index != 0) {
                bits |= 1 << bit;
            }
        }
        for bit in keywords.into_iter().filter_map(|number| bit(b'a'.checked_add(number)?)) {
            bits |= 1 << bit;
        }
        Self(bits)
    }

    /// Those of both.
    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn has(self, letter: u8) -> bool {
        bit(letter).is_some_and(|bit| self.0 & 1 << bit != 0)
    }
}

const fn bit(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart() {
        let (base, info) = split("1276533073.M242911P3632.host,S=2442,W=2481:2,FSa");
        assert_eq!(base, "1276533073.M242911P3632.host,S=2442,W=2481");
        assert_eq!((number(base, 'S'), number(base, 'W'), number(base, 'X')), (Some(2442), Some(2481), None));
        assert_eq!(without_sizes(base), "1276533073.M242911P3632.host");
        assert_eq!(Letters::parse(info).to_info(), ":2,FSa");
        assert_eq!(split("plain"), ("plain", ""));
        assert_eq!(number("a,S=x", 'S'), None);
        for no_message in [".hidden", ":2,S", "line\nbreak"] {
            assert!(!is_message(no_message), "{no_message}");
        }
    }

    #[test]
    fn letters_are_sorted_and_strangers_stay() {
        let letters = Letters::parse(":2,bTPaS,extra");
        assert_eq!(letters.to_text(), "PSTab");
        assert_eq!(letters.system_bits(), 0b0_1001);
        assert!(letters.keywords().eq([0, 1]));
        assert_eq!(letters.with(0b1_0000, [25]).to_text(), "DPz");
        assert_eq!(Letters::parse(":1,S"), Letters::default());
    }

    #[test]
    fn no_name_comes_twice() {
        let names: std::collections::HashSet<_> = (0..1000).map(|_| unique("h")).collect();
        assert_eq!(names.len(), 1000);
        assert_ne!(random(), random());
    }
}
