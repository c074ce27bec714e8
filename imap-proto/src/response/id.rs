//! `* ID`: what the server says it is.

use super::reader::{Reader, Result};
use crate::grammar::Wire;

/// The fields of an ID response (RFC 2971 §3.2); none at all is `NIL`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ServerId {
    /// Names and values: `("name", Some("mailwright"))`.
    pub fields: Vec<(String, Option<String>)>,
}

impl ServerId {
    /// These fields.
    pub fn new(fields: Vec<(String, Option<String>)>) -> Self {
        Self { fields }
    }

    /// The value of the field `name`, in any case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(one, _)| one.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| value.as_deref())
    }

    /// Writes the response.
    pub fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"* ID ");
        if self.fields.is_empty() {
            wire.put(b"NIL");
        } else {
            wire.put_list(&self.fields, |wire, (name, value)| {
                wire.put_string(name.as_bytes());
                wire.put(b" ");
                wire.put_nstring(value.as_deref().map(str::as_bytes));
            });
        }
        wire.put(b"\r\n");
    }

    /// What follows the word.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.space()?;
        if reader.keyword("NIL") {
            return Ok(Self::default());
        }
        let fields = reader.list(|reader| {
            let name = reader.text()?;
            reader.space()?;
            let value = reader.nstring()?.map(|value| String::from_utf8_lossy(&value).into_owned());
            Ok((name, value))
        })?;
        Ok(Self { fields })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::response::{Leniency, Response};

    proptest! {
        #[test]
        fn what_is_written_is_read(
            fields in prop::collection::vec(("[ -~é]{0,8}", prop::option::of("[ -~é\r\n]{0,8}")), 0..4),
        ) {
            let id = ServerId::new(fields);
            let mut octets = Vec::new();
            id.encode(&mut octets);
            prop_assert_eq!(Response::parse(&octets, Leniency::strict()), Ok(Response::Id(id)));
        }
    }

    #[test]
    fn fields_by_name() {
        let found = Response::parse(b"* ID (\"name\" \"Cyrus\" \"os\" NIL)\r\n", Leniency::strict());
        let Ok(Response::Id(id)) = found else { panic!("{found:?}") };
        assert_eq!((id.field("NAME"), id.field("os"), id.field("x")), (Some("Cyrus"), None, None));
    }
}
