//! Parameters of extensions that are not spoken here.

use std::fmt;

use super::is_keyword;
use crate::{
    SyntaxError,
    words::{EQUALS, VALUE, all_in},
};

/// A parameter without a meaning of its own in this crate: kept as it was sent, for an application that knows it.
///
/// ```
/// use mailwright_smtp_proto::Parameter;
///
/// let parameter = Parameter::new("xfoo", Some("-="));
/// assert!(parameter.is_err(), "no equals sign in a value");
/// let parameter = Parameter::new("mtrk", Some("abc"))?;
/// assert_eq!(parameter.to_string(), "MTRK=abc");
/// # Ok::<(), mailwright_smtp_proto::SyntaxError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Parameter {
    keyword: String,
    value: Option<String>,
}

impl Parameter {
    /// A parameter of this keyword, in any case, and value.
    ///
    /// # Errors
    /// If either has octets that it must not have (RFC 5321 §4.1.2).
    pub fn new(keyword: &str, value: Option<&str>) -> Result<Self, SyntaxError> {
        let class = if keyword.eq_ignore_ascii_case("XVERP") { VALUE | EQUALS } else { VALUE };
        if is_keyword(keyword) && value.is_none_or(|value| all_in(value, class)) {
            Ok(Self::read(keyword, value))
        } else {
            Err(SyntaxError::Arguments("KEYWORD[=value]"))
        }
    }

    pub(super) fn read(keyword: &str, value: Option<&str>) -> Self {
        Self { keyword: keyword.to_ascii_uppercase(), value: value.map(str::to_owned) }
    }

    /// The keyword, in upper case.
    pub fn keyword(&self) -> &str {
        &self.keyword
    }

    /// What stands behind the `=`, if there is one.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.keyword)?;
        self.value.iter().try_for_each(|value| write!(formatter, "={value}"))
    }
}
