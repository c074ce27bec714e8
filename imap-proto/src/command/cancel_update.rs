//! CANCELUPDATE (RFC 5267 §4.3.5).

use crate::grammar::{GrammarError, Input, Wire};

/// The most tags of one command.
const MOST: usize = 1_000;

/// Ends what searches with `UPDATE` have begun.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CancelUpdate {
    /// The tags of those searches.
    pub tags: Vec<String>,
}

impl CancelUpdate {
    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        let mut tags = Vec::new();
        loop {
            input.space()?;
            tags.push(String::from_utf8_lossy(&input.quoted()?).into_owned());
            if tags.len() > MOST {
                return Err(GrammarError::TooMany { what: "tags", limit: MOST });
            }
            if input.is_empty() {
                return Ok(Self { tags });
            }
        }
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"CANCELUPDATE");
        for tag in &self.tags {
            wire.put(b" ");
            wire.put_string(tag.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_quoted() {
        let read = |text: &str| CancelUpdate::parse(&mut Input::new(text.as_bytes()));
        let mut wire = Vec::new();
        read(" \"B01\" \"B02\"").unwrap().encode(&mut wire);
        assert_eq!(wire, b"CANCELUPDATE \"B01\" \"B02\"");
        for bad in ["", " ", " B01", " \"B01\" ", " (\"B01\")"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
