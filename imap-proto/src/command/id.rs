//! ID (RFC 2971).

use mailwright_line_proto::Request;

use crate::{
    grammar::{GrammarError, Input, Wire},
    refusal::Answered,
    response::ServerId,
};

/// RFC 2971 §3.3: at most 30 fields, names of at most 30 octets, values of at most 1,024.
const MAX_FIELDS: usize = 30;

/// Which program is this? Both sides may say so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Id {
    /// What is said: names such as `name`, `version`, `vendor`, each with its value.
    pub fields: Vec<(String, Option<String>)>,
}

impl Id {
    /// Says this.
    pub fn new(fields: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Self {
        Self { fields: fields.into_iter().map(|(name, value)| (name.into(), Some(value.into()))).collect() }
    }

    fn parse_fields(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        if input.keyword("NIL") {
            return Ok(Self::default());
        }
        let fields = input.list("ID fields", MAX_FIELDS, |input| {
            let here = input.clone();
            let name = input.string()?;
            input.space()?;
            let value = input.nstring()?;
            if name.len() > 30 || value.as_ref().is_some_and(|value| value.len() > 1024) {
                return Err(here.expected("a name of at most 30 octets, a value of at most 1024"));
            }
            let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
            Ok((text(&name), value.map(|value| text(&value))))
        })?;
        Ok(Self { fields })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"ID ");
        if self.fields.is_empty() {
            return wire.put(b"NIL");
        }
        wire.put_list(&self.fields, |wire, (name, value)| {
            wire.put_string(name.as_bytes());
            wire.put(b" ");
            wire.put_nstring(value.as_ref().map(String::as_bytes));
        });
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        Self::parse_fields(input)
    }
}

impl Request for Id {
    /// What the other side says of itself.
    type Answer = Answered<ServerId>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_bounded() {
        let parse = |text: &str| Id::parse(&mut Input::new(text.as_bytes()));
        assert_eq!(parse(" NIL"), Ok(Id::default()));
        assert_eq!(parse(" ()"), Ok(Id::default()));
        let id = parse(r#" ("name" "sodr" "version" "19.34" "vendor" NIL)"#).unwrap();
        assert_eq!(id.fields.len(), 3);
        assert_eq!(id.fields[2], ("vendor".into(), None));
        let field = r#""a" "b""#;
        assert!(parse(&format!(" ({})", [field; 30].join(" "))).is_ok());
        assert!(parse(&format!(" ({})", [field; 31].join(" "))).is_err());
        assert!(parse(&format!(r#" ("a" "{}")"#, "v".repeat(1025))).is_err());
        assert!(parse(r#" ("a")"#).is_err());
    }
}
