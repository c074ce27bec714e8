//! Keywords: the flags whose names clients choose.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use crate::FlagError;

/// The name of a keyword: an atom of at most 255 octets (RFC 9051 §9 `flag-keyword`).
///
/// Keeps its case but is compared without regard to it, as RFC 9051 §2.3.2 asks. Cheap to clone.
///
/// ```
/// use mailwright_mail_model::Keyword;
///
/// let keyword = Keyword::new("$junk")?;
/// assert_eq!(keyword, Keyword::JUNK);
/// assert_eq!(keyword.as_str(), "$junk");
/// # Ok::<(), mailwright_mail_model::FlagError>(())
/// ```
#[derive(Clone)]
pub struct Keyword(Name);

#[derive(Clone)]
enum Name {
    Known(&'static str),
    Chosen(Arc<str>),
}

impl Keyword {
    /// The longest keyword, in octets.
    pub const MAX_OCTETS: usize = 255;

    /// The message was forwarded (RFC 9051 §2.3.2).
    pub const FORWARDED: Self = Self(Name::Known("$Forwarded"));
    /// A disposition notification was sent for the message (RFC 3503).
    pub const MDN_SENT: Self = Self(Name::Known("$MDNSent"));
    /// The user says the message is unwanted (RFC 9051 §2.3.2).
    pub const JUNK: Self = Self(Name::Known("$Junk"));
    /// The user says the message is wanted (RFC 9051 §2.3.2).
    pub const NOT_JUNK: Self = Self(Name::Known("$NotJunk"));
    /// The message is likely to be phishing (RFC 9051 §2.3.2).
    pub const PHISHING: Self = Self(Name::Known("$Phishing"));

    const KNOWN: [Self; 5] = [Self::FORWARDED, Self::MDN_SENT, Self::JUNK, Self::NOT_JUNK, Self::PHISHING];

    /// The keyword of this name.
    ///
    /// # Errors
    /// If `name` is empty, too long, or holds anything but atom characters.
    pub fn new(name: &str) -> Result<Self, FlagError> {
        if name.is_empty() {
            return Err(FlagError::Empty);
        }
        if name.len() > Self::MAX_OCTETS {
            return Err(FlagError::TooLong(name.len()));
        }
        if let Some(stray) = name.chars().find(|character| !is_atom_char(*character)) {
            return Err(FlagError::NotAtom(stray));
        }
        let known = Self::KNOWN.into_iter().find(|keyword| keyword.as_str() == name);
        Ok(known.unwrap_or_else(|| Self(Name::Chosen(name.into()))))
    }

    /// The name in the case it was given.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Known(name) => name,
            Name::Chosen(name) => name,
        }
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.as_str().bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

/// RFC 9051 §9 `ATOM-CHAR`: printable ASCII without the `atom-specials`.
const fn is_atom_char(character: char) -> bool {
    character.is_ascii_graphic() && !matches!(character, '(' | ')' | '{' | '%' | '*' | '"' | '\\' | ']')
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.as_str().eq_ignore_ascii_case(other.as_str())
    }
}

impl Eq for Keyword {}

impl PartialOrd for Keyword {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keyword {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl Hash for Keyword {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.folded() {
            state.write_u8(byte);
        }
        state.write_u8(0);
    }
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyword({self})")
    }
}

impl FromStr for Keyword {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn compares_and_hashes_without_case() {
        let set: HashSet<_> = ["Work", "WORK", "work", "walk"].map(|name| Keyword::new(name).unwrap()).into();
        assert_eq!(set.len(), 2);
        assert!(Keyword::new("a").unwrap() < Keyword::new("B").unwrap());
    }

    #[test]
    fn keeps_to_atoms_of_255_octets() {
        assert!(Keyword::new(&"k".repeat(255)).is_ok());
        assert_eq!(Keyword::new(&"k".repeat(256)), Err(FlagError::TooLong(256)));
        assert_eq!(Keyword::new(""), Err(FlagError::Empty));
        for stray in ['(', ')', '{', ' ', '%', '*', '"', '\\', ']', '\0', '\r', '\n', '\x7f', 'é'] {
            assert_eq!(Keyword::new(&format!("a{stray}b")), Err(FlagError::NotAtom(stray)));
        }
        assert!(Keyword::new("a[}~!#&'+,-./:;<=>?@^_`|$").is_ok());
    }

    #[test]
    fn well_known_names_are_valid_atoms() {
        for keyword in Keyword::KNOWN {
            assert_eq!(Keyword::new(keyword.as_str()).unwrap().as_str(), keyword.as_str());
        }
    }
}
