//! The name of a mailbox, with `/` between its levels.

use std::fmt;
use std::str::FromStr;

use smol_str::{SmolStr, format_smolstr};
use unicode_normalization::UnicodeNormalization;

use super::utf7::{self, Utf7Error};

/// The name of a mailbox: UTF-8, levels separated by `/`, `INBOX` in any case at the first level being one name.
///
/// A name never leads out of a tree of directories: no level is empty, `.` or `..`, and there are no
/// control characters. Names are compared octet by octet; nothing is normalised but `INBOX`.
/// Cheap to clone.
///
/// ```
/// use mailwright_mail_model::MailboxName;
///
/// let name = MailboxName::new("inbox/Lists/Straße")?;
/// assert_eq!(name.as_str(), "INBOX/Lists/Straße");
/// assert_eq!(name.to_utf7(), "INBOX/Lists/Stra&AN8-e");
/// assert_eq!(name.parent(), Some(MailboxName::inbox().child("Lists")?));
/// assert!(MailboxName::new("a/../b").is_err());
/// # Ok::<(), mailwright_mail_model::MailboxNameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxName(SmolStr);

impl MailboxName {
    /// What separates levels in a name, here and (as this family's servers choose) on the wire.
    pub const SEPARATOR: char = '/';
    /// The longest name, in octets of UTF-8.
    pub const MAX_OCTETS: usize = 1024;
    /// The deepest name.
    pub const MAX_LEVELS: usize = 16;

    /// A name fit for a new mailbox.
    ///
    /// # Errors
    /// If the name is empty, too long or too deep, has an empty, `.` or `..` level, a control character,
    /// or a wildcard of LIST (`*`, `%`).
    pub fn new(name: &str) -> Result<Self, MailboxNameError> {
        if is_plain(name.as_bytes(), |octet| matches!(octet, b'*' | b'%')) {
            return Ok(Self(canonical_inbox(name)));
        }
        if let Some(wildcard) = name.chars().find(|character| matches!(character, '*' | '%')) {
            return Err(MailboxNameError::Wildcard(wildcard));
        }
        Self::lookup(name)
    }

    /// A name to look up. Unlike [`new`](Self::new) it may hold `*` and `%`: a mailbox made elsewhere
    /// and moved here may be called so.
    ///
    /// # Errors
    /// As [`new`](Self::new), but for wildcards.
    pub fn lookup(name: &str) -> Result<Self, MailboxNameError> {
        Self::check(name).map(|()| Self(canonical_inbox(name)))
    }

    /// Whether [`lookup`](Self::lookup) takes a name.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    pub fn check(name: &str) -> Result<(), MailboxNameError> {
        if is_plain(name.as_bytes(), |_| false) {
            return Ok(());
        }
        if name.is_empty() {
            return Err(MailboxNameError::Empty);
        }
        if name.len() > Self::MAX_OCTETS {
            return Err(MailboxNameError::TooLong(name.len()));
        }
        // RFC 9051 §5.1 and RFC 5198 §2: neither C0 nor C1 nor the line and paragraph separators.
        if let Some(control) = name.chars().find(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
            return Err(MailboxNameError::Control(control));
        }
        let levels = name.split(Self::SEPARATOR);
        if let Some(level) = levels.clone().find(|level| matches!(*level, "" | "." | "..")) {
            return Err(MailboxNameError::Level(level.to_owned()));
        }
        let depth = levels.count();
        if depth > Self::MAX_LEVELS {
            return Err(MailboxNameError::TooDeep(depth));
        }
        Ok(())
    }

    /// Whether it is in the normalization form NFC (RFC 5198 §3), as the names of new mailboxes have to be in IMAP (RFC 9051 §5.1): two
    /// that look the same are the same then.
    pub fn is_normalized(&self) -> bool {
        unicode_normalization::is_nfc(&self.0)
    }

    /// The same name in the normalization form NFC.
    ///
    /// ```
    /// use mailwright_mail_model::MailboxName;
    ///
    /// let name = MailboxName::lookup("cafe\u{301}/x")?;
    /// assert_eq!(name.normalized()?.as_str(), "caf\u{e9}/x");
    /// # Ok::<(), mailwright_mail_model::MailboxNameError>(())
    /// ```
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup): a few characters become longer.
    pub fn normalized(&self) -> Result<Self, MailboxNameError> {
        match self.is_normalized() {
            true => Ok(self.clone()),
            false => Self::lookup(&self.0.nfc().collect::<String>()),
        }
    }

    /// `INBOX`, the mailbox every account has.
    pub const fn inbox() -> Self {
        Self(SmolStr::new_inline(INBOX))
    }

    /// The name in the form of IMAP4rev1.
    pub fn to_utf7(&self) -> String {
        utf7::encode(&self.0)
    }

    /// A name to look up, in the form of IMAP4rev1. For a name to create, check it with [`new`](Self::new) too.
    ///
    /// # Errors
    /// If it is not canonical modified UTF-7, or as [`lookup`](Self::lookup).
    pub fn from_utf7(name: &[u8]) -> Result<Self, MailboxNameError> {
        if name.eq_ignore_ascii_case(INBOX.as_bytes()) {
            return Ok(Self::inbox());
        }
        if is_plain(name, |octet| octet == b'&')
            && let Ok(name) = str::from_utf8(name)
        {
            return Ok(Self(canonical_inbox(name)));
        }
        Self::lookup(&utf7::decode(name)?)
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `INBOX` itself.
    pub fn is_inbox(&self) -> bool {
        self.0 == INBOX
    }

    /// The levels from the top; at least one.
    pub fn levels(&self) -> impl DoubleEndedIterator<Item = &str> + Clone + '_ {
        self.0.split(Self::SEPARATOR)
    }

    /// The name one level up; `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once(Self::SEPARATOR).map(|(parent, _)| Self(parent.into()))
    }

    /// The name of a mailbox below this one. `level` may itself hold separators.
    ///
    /// # Errors
    /// As [`new`](Self::new), about the whole name.
    pub fn child(&self, level: &str) -> Result<Self, MailboxNameError> {
        Self::new(&format!("{self}{}{level}", Self::SEPARATOR))
    }

    /// Whether the name is `ancestor` or lies below it: whole levels are compared.
    pub fn starts_with_level(&self, ancestor: &Self) -> bool {
        self.0
            .strip_prefix(ancestor.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(Self::SEPARATOR))
    }
}

const INBOX: &str = "INBOX";

/// Whether one look tells that a name is fit: printable ASCII, nothing special, and no level that begins with a dot. Most are;
/// of the others a closer look tells what is wrong, if anything is.
fn is_plain(name: &[u8], is_special: impl Fn(u8) -> bool) -> bool {
    let (mut plain, mut deep) = (true, false);
    // Without a way out of the loop, so that it is done for many octets at once.
    for octet in name {
        plain &= matches!(octet, b' '..=b'~') & !is_special(*octet);
        deep |= *octet == b'/';
    }
    let mut levels = name.split(|octet| *octet == b'/');
    let begins = |level: &[u8]| !matches!(level.first(), None | Some(b'.'));
    let fits = match deep {
        false => begins(name),
        true => levels.clone().count() <= MailboxName::MAX_LEVELS && levels.all(begins),
    };
    plain && fits && name.len() <= MailboxName::MAX_OCTETS
}

/// RFC 9051 §5.1: INBOX is the same mailbox in any case, and its children go with it.
fn canonical_inbox(name: &str) -> SmolStr {
    match name.split_at_checked(INBOX.len()) {
        Some((first, "")) if first.eq_ignore_ascii_case(INBOX) => SmolStr::new_inline(INBOX),
        Some((first, rest))
            if first.eq_ignore_ascii_case(INBOX) && rest.starts_with(MailboxName::SEPARATOR) =>
        {
            format_smolstr!("{INBOX}{rest}")
        }
        _ => name.into(),
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailboxName({:?})", self.as_str())
    }
}

impl AsRef<str> for MailboxName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for MailboxName {
    type Err = MailboxNameError;

    /// As [`MailboxName::new`].
    fn from_str(name: &str) -> Result<Self, MailboxNameError> {
        Self::new(name)
    }
}

/// Why a text is not a [`MailboxName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MailboxNameError {
    /// No octet at all.
    #[error("expected a mailbox name, got nothing")]
    Empty,
    /// More than [`MailboxName::MAX_OCTETS`].
    #[error("expected a mailbox name of at most 1024 octets, got {0}")]
    TooLong(usize),
    /// More than [`MailboxName::MAX_LEVELS`].
    #[error("expected a mailbox name of at most 16 levels, got {0}")]
    TooDeep(usize),
    /// An empty level (a separator at either end, or two in a row), `.` or `..`.
    #[error("expected names between separators, got {0:?}")]
    Level(String),
    /// A control character, NUL among them.
    #[error("expected a mailbox name without control characters, got {0:?}")]
    Control(char),
    /// A wildcard in the name of a mailbox to be created.
    #[error("expected a mailbox name without wildcards, got {0:?}")]
    Wildcard(char),
    /// Not [normalized](MailboxName::is_normalized), for a mailbox to be created.
    #[error("expected a mailbox name in the normalization form NFC")]
    Denormalized,
    /// Not modified UTF-7.
    #[error("mailbox name is not modified UTF-7: {0}")]
    Utf7(#[from] Utf7Error),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, written down without regard to cost.
    fn is_fit(name: &str) -> bool {
        let levels: Vec<_> = name.split('/').collect();
        let levels_fit = levels.iter().all(|level| !matches!(*level, "" | "." | ".."));
        let controls = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        levels_fit && levels.len() <= 16 && name.len() <= 1024 && !name.contains(controls)
    }

    proptest! {
        #[test]
        fn names_are_what_the_definition_says(
            text in "([ -~]{1,8}|[iI][nN][bB][oO][xX]|\\.{1,3}|é|\u{85}|&-|[*%]){0,3}(/([a-c.&*~]{1,4}|)){0,17}",
        ) {
            let fits = is_fit(&text);
            let inbox = text.split('/').next().is_some_and(|first| first.eq_ignore_ascii_case("INBOX"));
            let name = if inbox { "INBOX".to_owned() + &text[5..] } else { text.clone() };
            let found = |name: Result<MailboxName, _>| name.ok().map(|name| name.to_string());
            prop_assert_eq!(found(MailboxName::lookup(&text)), fits.then(|| name.clone()));
            let new = (fits && !text.contains(['*', '%'])).then(|| name.clone());
            prop_assert_eq!(found(MailboxName::new(&text)), new);
            let decoded = utf7::decode(text.as_bytes()).ok().filter(|text| is_fit(text));
            let decoded = decoded.and_then(|text| found(MailboxName::lookup(&text)));
            prop_assert_eq!(found(MailboxName::from_utf7(text.as_bytes())), decoded);
        }

        #[test]
        fn a_name_stays_inside_and_round_trips(text in "[ -~é\u{1F600}/.]{0,30}") {
            if let Ok(name) = MailboxName::lookup(&text) {
                prop_assert!(name.levels().all(|level| !matches!(level, "" | "." | "..")));
                prop_assert_eq!(MailboxName::from_utf7(name.to_utf7().as_bytes()), Ok(name.clone()));
                prop_assert_eq!(MailboxName::lookup(name.as_str()), Ok(name));
            }
        }
    }

    #[test]
    fn inbox_in_any_case_is_one_name() {
        assert_eq!(MailboxName::new("iNbOx").unwrap(), MailboxName::inbox());
        assert_eq!(MailboxName::new("inbox/a").unwrap().as_str(), "INBOX/a");
        assert_eq!(MailboxName::new("a/inbox").unwrap().as_str(), "a/inbox");
        assert_eq!(MailboxName::new("inboxes").unwrap().as_str(), "inboxes");
        assert!(!MailboxName::new("INBOX/a").unwrap().is_inbox());
    }

    #[test]
    fn names_that_would_escape_are_refused() {
        for name in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../../../escape", "INBOX/../../x", "a/./b"] {
            assert!(
                matches!(MailboxName::new(name), Err(MailboxNameError::Level(_) | MailboxNameError::Empty)),
                "{name}"
            );
        }
        for name in ["a\0b", "a\rb", "a\nb", "a\x7fb", "a\u{85}b", "a\u{2028}b"] {
            assert!(matches!(MailboxName::new(name), Err(MailboxNameError::Control(_))), "{name:?}");
        }
        for name in ["&AC4ALg-/&AC4ALg-/x", "&AC8-etc"] {
            assert_eq!(
                MailboxName::from_utf7(name.as_bytes()),
                Err(MailboxNameError::Utf7(Utf7Error::NotCanonical))
            );
        }
        assert_eq!(MailboxName::from_utf7(b"&AAA-x"), Err(MailboxNameError::Control('\0')));
        assert!(MailboxName::from_utf7(b"caf\xc3\xa9").is_err());
        assert!(MailboxName::from_utf7(b"\xff\xfe").is_err());
    }

    #[test]
    fn odd_but_harmless_names_are_names() {
        for name in
            ["~root/x", "x/cur", "x/tmp/new", "dovecot.index.log", "#shared/x", " lead", "CON", "...", "a\\b"]
        {
            assert_eq!(MailboxName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn wildcards_are_for_looking_up_only() {
        assert_eq!(MailboxName::new("a*b"), Err(MailboxNameError::Wildcard('*')));
        assert_eq!(MailboxName::new("a%b"), Err(MailboxNameError::Wildcard('%')));
        assert_eq!(MailboxName::lookup("a*b%c").unwrap().as_str(), "a*b%c");
    }

    #[test]
    fn limits() {
        assert!(MailboxName::new(&"a".repeat(1023)).is_ok());
        assert!(MailboxName::new(&"a".repeat(1024)).is_ok());
        assert_eq!(MailboxName::new(&"a".repeat(1025)), Err(MailboxNameError::TooLong(1025)));
        assert!(MailboxName::new(&vec!["a"; 15].join("/")).is_ok());
        let deepest = MailboxName::new(&vec!["a"; 16].join("/")).unwrap();
        assert_eq!(deepest.child("b"), Err(MailboxNameError::TooDeep(17)));
    }

    #[test]
    fn levels_up_and_down() {
        let name = MailboxName::new("a/b").unwrap();
        assert_eq!(name.parent().unwrap().as_str(), "a");
        assert_eq!(name.parent().unwrap().parent(), None);
        assert!(name.levels().eq(["a", "b"]));
        assert!(name.starts_with_level(&name));
        assert!(name.starts_with_level(&name.parent().unwrap()));
        assert!(!MailboxName::new("ab/b").unwrap().starts_with_level(&name.parent().unwrap()));
        assert_eq!(name.child("..").unwrap_err(), MailboxNameError::Level("..".to_owned()));
    }
}
