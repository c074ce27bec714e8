//! How messages are named for UIDL.

use std::{fmt::Write as _, str::FromStr};

use mailwright_mail_model::{Uid, UidValidity};
use mailwright_pop3_proto::UniqueId;
use thiserror::Error;

/// What a message's unique id is made of: text, `%u` for its UID and `%v` for the mailbox's UIDVALIDITY.
///
/// Between the `%` and the letter may stand a width, filled up with zeros if it begins with one, and `X` for hexadecimal
/// digits: so Dovecot writes it too, and clients that move here from a server with the same template do not fetch everything
/// again. `%%` is a percent sign.
///
/// ```
/// use mailwright::{mail_model::{Uid, UidValidity}, pop3::UidTemplate};
///
/// # fn example() -> Option<()> {
/// let (uid, validity) = (Uid::new(26)?, UidValidity::new(1_700_000_000)?);
/// assert_eq!(UidTemplate::default().unique_id(uid, validity), "0000001a6553f100");
/// let cyrus: UidTemplate = "%v.%u".parse().ok()?;
/// assert_eq!(cyrus.unique_id(uid, validity), "1700000000.26");
/// # Some(()) }
/// # example().unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UidTemplate(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Number { which: Which, zeros: bool, width: usize, hexadecimal: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Uid,
    Validity,
}

impl UidTemplate {
    /// The id of a message.
    pub fn unique_id(&self, uid: Uid, validity: UidValidity) -> String {
        let mut id = String::with_capacity(16);
        for part in &self.0 {
            // Writing to a string cannot fail.
            let _ = match part {
                Part::Text(text) => id.write_str(text),
                Part::Number { which, zeros, width, hexadecimal } => {
                    let (number, width) =
                        (if *which == Which::Uid { uid.get() } else { validity.get() }, *width);
                    match (zeros, hexadecimal) {
                        (true, true) => write!(id, "{number:0width$x}"),
                        (true, false) => write!(id, "{number:0width$}"),
                        (false, true) => write!(id, "{number:x}"),
                        (false, false) => write!(id, "{number}"),
                    }
                }
            };
        }
        id
    }
}

impl Default for UidTemplate {
    /// `%08Xu%08Xv`.
    fn default() -> Self {
        let number = |which| Part::Number { which, zeros: true, width: 8, hexadecimal: true };
        Self(vec![number(Which::Uid), number(Which::Validity)])
    }
}

impl FromStr for UidTemplate {
    type Err = UidTemplateError;

    /// Reads a template.
    ///
    /// # Errors
    /// If it names something else than these two, has no UID, or makes ids that are none (RFC 1939 §7).
    fn from_str(text: &str) -> Result<Self, UidTemplateError> {
        let mut parts = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(letter) = rest.next() {
            if letter != '%' || rest.next_if_eq(&'%').is_some() {
                match parts.last_mut() {
                    Some(Part::Text(text)) => text.push(letter),
                    _ => parts.push(Part::Text(letter.into())),
                }
                continue;
            }
            let mut digits = String::new();
            while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            let zeros = digits.starts_with('0');
            let width =
                if digits.is_empty() { 0 } else { digits.parse().map_err(|_| UidTemplateError::Form)? };
            let hexadecimal = rest.next_if_eq(&'X').is_some();
            let which = match rest.next() {
                Some('u') => Which::Uid,
                Some('v') => Which::Validity,
                Some(other) => return Err(UidTemplateError::Variable(other)),
                None => return Err(UidTemplateError::Form),
            };
            if width > UniqueId::LIMIT {
                return Err(UidTemplateError::Form);
            }
            parts.push(Part::Number { which, zeros, width, hexadecimal });
        }
        let template = Self(parts);
        if !template.0.iter().any(|part| matches!(part, Part::Number { which: Which::Uid, .. })) {
            return Err(UidTemplateError::NoUid);
        }
        let longest = Uid::new(u32::MAX).zip(UidValidity::new(u32::MAX));
        match longest.map(|(uid, validity)| UniqueId::new(template.unique_id(uid, validity))) {
            Some(Ok(_)) => Ok(template),
            _ => Err(UidTemplateError::Form),
        }
    }
}

/// Why something is no [`UidTemplate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UidTemplateError {
    /// Something that is not known stands behind a percent sign.
    #[error("a template for unique ids knows %u and %v, as in %08Xu%08Xv, not %{0}")]
    Variable(char),
    /// Every message would have the same id.
    #[error("a template for unique ids must have the message's UID in it, %u")]
    NoUid,
    /// A number is broken off, or ids would be too long or hold something else than the characters from ! to ~.
    #[error("a template for unique ids makes 1 to 70 characters from ! to ~")]
    Form,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_of_other_servers_are_understood() {
        let (uid, validity) = (Uid::new(0x1ab).unwrap(), UidValidity::new(0x5f00_0001).unwrap());
        for (template, id) in [
            ("%08Xu%08Xv", "000001ab5f000001"),
            ("%08Xv%08Xu", "5f000001000001ab"),
            ("UID%u-%v", "UID427-1593835521"),
            ("%v.%u", "1593835521.427"),
            ("%Xu", "1ab"),
            ("%010u", "0000000427"),
            ("%%%u", "%427"),
        ] {
            assert_eq!(template.parse::<UidTemplate>().unwrap().unique_id(uid, validity), id, "{template}");
        }
        assert_eq!("%08Xu%08Xv".parse(), Ok(UidTemplate::default()));
    }

    #[test]
    fn what_makes_no_ids_is_refused() {
        for (template, error) in [
            ("", UidTemplateError::NoUid),
            ("%v", UidTemplateError::NoUid),
            ("%g", UidTemplateError::Variable('g')),
            ("%u%", UidTemplateError::Form),
            ("%u %v", UidTemplateError::Form),
            ("%090u", UidTemplateError::Form),
            ("%040u%040v", UidTemplateError::Form),
            ("%99999999999999999999999u", UidTemplateError::Form),
        ] {
            assert_eq!(template.parse::<UidTemplate>(), Err(error), "{template}");
        }
    }
}
