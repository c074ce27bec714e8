//! What servers say of annotations of messages (RFC 5257).

use bytes::Bytes;

use super::reader::{Reader, Result};
use crate::grammar::Wire;

/// What can be noted about the messages of a mailbox (RFC 5257 §4.1 `ANNOTATIONS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 5257 §5 `ann-size` has these")]
pub enum AnnotationSupport {
    /// `NONE`: nothing at all.
    None,
    /// What is there can be read.
    ReadOnly {
        /// Whether there are values that are private to the user.
        private: bool,
    },
    /// It can be changed, too.
    Writable {
        /// The most octets of a value.
        octets: u32,
        /// Whether there are values that are private to the user.
        private: bool,
    },
}

impl AnnotationSupport {
    pub(super) fn put(self, wire: &mut impl Wire) {
        let private = match self {
            Self::None => return wire.put(b"NONE"),
            Self::ReadOnly { private } => {
                wire.put(b"READ-ONLY");
                private
            }
            Self::Writable { octets, private } => {
                wire.put_number(octets.into());
                private
            }
        };
        if !private {
            wire.put(b" NOPRIVATE");
        }
    }

    /// With the space before it.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.space()?;
        if reader.keyword("NONE") {
            return Ok(Self::None);
        }
        let octets = if reader.keyword("READ-ONLY") { None } else { Some(reader.number()?) };
        let private = !reader.eat(b' ');
        if !private && !reader.keyword("NOPRIVATE") {
            return Err(reader.expected("NOPRIVATE"));
        }
        Ok(match octets {
            Some(octets) => Self::Writable { octets, private },
            None => Self::ReadOnly { private },
        })
    }
}

/// An entry in the `ANNOTATION` of a FETCH response (RFC 5257 §4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchedAnnotation {
    /// Its name.
    pub entry: String,
    /// The names of attributes, such as `value.priv`, and what they are. None where the server only says that the entry was changed.
    pub attributes: Vec<(String, Option<Bytes>)>,
}

impl FetchedAnnotation {
    /// An entry with these attributes.
    pub fn new(entry: impl Into<String>, attributes: Vec<(String, Option<Bytes>)>) -> Self {
        Self { entry: entry.into(), attributes }
    }

    /// What an attribute is, if it was told and has a value.
    pub fn attribute(&self, name: &str) -> Option<&Bytes> {
        self.attributes.iter().find(|(known, _)| known == name)?.1.as_ref()
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put_astring(self.entry.as_bytes());
        if self.attributes.is_empty() {
            return;
        }
        wire.put(b" ");
        wire.put_list(&self.attributes, |wire, (name, value)| {
            wire.put_astring(name.as_bytes());
            wire.put(b" ");
            if value.as_ref().is_some_and(|value| memchr::memchr(0, value).is_some()) {
                wire.put(b"~");
                return wire.put_literal(value.as_deref().unwrap_or_default());
            }
            wire.put_nstring(value.as_deref());
        });
    }

    /// The list of a FETCH response: names alone, or names and what there is of them.
    pub(super) fn read_all(reader: &mut Reader<'_>) -> Result<Vec<Self>> {
        let mut all: Vec<Self> = Vec::new();
        reader.list(|reader| {
            if reader.input.peek() != Some(b'(') {
                let entry = reader.astring()?;
                all.push(Self::new(String::from_utf8_lossy(&entry), Vec::new()));
                return Ok(());
            }
            let attributes = reader.list(|reader| {
                let name = String::from_utf8_lossy(&reader.astring()?).into_owned();
                reader.space()?;
                let value = match reader.eat(b'~') {
                    true => Some(reader.string()?),
                    false => reader.nstring()?,
                };
                Ok((name, value.map(|value| Bytes::copy_from_slice(&value))))
            })?;
            let last = all.last_mut().filter(|last| last.attributes.is_empty());
            last.ok_or_else(|| reader.expected("the name of an entry before this"))?.attributes = attributes;
            Ok(())
        })?;
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::{FetchedItem, Leniency, Response, ResponseCode};

    #[test]
    fn codes_are_read_as_they_were_written() {
        for (text, code) in [
            (
                "ANNOTATIONS 20480 NOPRIVATE",
                ResponseCode::Annotations(AnnotationSupport::Writable { octets: 20_480, private: false }),
            ),
            (
                "ANNOTATIONS READ-ONLY",
                ResponseCode::Annotations(AnnotationSupport::ReadOnly { private: true }),
            ),
            ("ANNOTATIONS NONE", ResponseCode::Annotations(AnnotationSupport::None)),
            ("ANNOTATE TOOBIG", ResponseCode::AnnotateTooBig),
            ("ANNOTATE TOOMANY", ResponseCode::AnnotateTooMany),
        ] {
            let line = format!("* OK [{text}] x\r\n");
            let Ok(Response::Status(status)) = Response::parse(line.as_bytes(), Leniency::strict()) else {
                panic!("{text}")
            };
            assert_eq!(status.code, Some(code.clone()), "{text}");
            let mut wire = Vec::new();
            code.encode(&mut wire);
            assert_eq!(String::from_utf8(wire).unwrap(), format!("[{text}]"));
        }
    }

    #[test]
    fn fetched_annotations_are_read_as_they_were_written() {
        for text in [
            "* 1 FETCH (ANNOTATION (/comment (value.priv \"My comment\" value.shared NIL size.priv \"10\")))\r\n",
            "* 1 FETCH (UID 7 ANNOTATION (/comment /altsubject))\r\n",
            "* 1 FETCH (ANNOTATION (/a (value.priv ~{3}\r\na\0b) /b (value.priv NIL)))\r\n",
        ] {
            let Ok(Response::Fetch(fetched)) = Response::parse(text.as_bytes(), Leniency::strict()) else {
                panic!("{text}")
            };
            assert!(fetched.items.iter().any(|item| matches!(item, FetchedItem::Annotations(_))));
            let mut wire = Vec::new();
            fetched.encode(&mut wire);
            assert_eq!(String::from_utf8(wire).unwrap(), text);
        }
        let bad = b"* 1 FETCH (ANNOTATION ((value.priv NIL)))\r\n";
        assert!(Response::parse(bad, Leniency::strict()).is_err());
    }
}
