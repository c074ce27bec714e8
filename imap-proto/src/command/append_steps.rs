//! What APPEND (RFC 3501 §6.3.11) and REPLACE (RFC 8508 §3.2) ask for, one step after the other: several messages (RFC 3502), pieced
//! together from literals and parts of other messages (RFC 4469).

use mailwright_line_proto::frame::LiteralMark;
use mailwright_mail_model::{DateTime, FlagSet};

use super::{AnnotationValue, annotate::values, store::flag_list};
use crate::grammar::{GrammarError, Input};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A message begins.
    Begin {
        /// The flags it shall have.
        flags: FlagSet,
        /// The internal date it shall have; now if `None`.
        internal_date: Option<DateTime>,
        /// What is noted about it (RFC 5257 §4.7).
        annotations: Vec<AnnotationValue>,
        /// Its length, if it comes as one literal.
        size: Option<u64>,
        /// Whether its header is in UTF-8 (RFC 6855 §4).
        utf8: bool,
    },
    /// The octets that this URL means go into the message.
    Url(String),
    /// Octets that follow go into the message.
    Octets {
        /// How many.
        length: u64,
        /// Whether the client waits for `+`.
        synchronizing: bool,
    },
}

/// Where in a command the grammar goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Before the space before a message.
    Message,
    /// Before a piece of a message.
    Piece,
    /// Behind a piece of a message.
    BehindPiece,
    /// Behind the literal of a message; `utf8` if a parenthesis is open.
    BehindLiteral {
        /// Whether the literal stands in the parentheses of `UTF8`.
        utf8: bool,
    },
    /// Behind a message.
    BehindMessage,
}

/// As much of a command as there is, to its end or to the next octets of a message.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// What it asks for.
    pub(crate) steps: Vec<Step>,
    /// Where the grammar goes on behind the octets that are next; `None` if the command is at its end.
    pub(crate) place: Option<Place>,
}

impl Steps {
    /// Takes everything there is.
    pub(crate) fn parse(input: &mut Input<'_>, mut place: Place) -> Result<Self, GrammarError> {
        let mut all = Self::default();
        loop {
            place = match place {
                Place::Message => {
                    input.space()?;
                    let (flags, internal_date, annotations) = attributes(input)?;
                    if input.keyword("CATENATE") {
                        input.space()?;
                        input.octet(b'(', "a list of pieces")?;
                        all.steps.push(Step::Begin {
                            flags,
                            internal_date,
                            annotations,
                            size: None,
                            utf8: false,
                        });
                        Place::Piece
                    } else {
                        let utf8 = input.prefix("UTF8 (");
                        let mark = message_mark(input, utf8)?;
                        let size = Some(mark.length);
                        all.steps.push(Step::Begin { flags, internal_date, annotations, size, utf8 });
                        return Ok(all.to(mark, Place::BehindLiteral { utf8 }));
                    }
                }
                Place::Piece if input.keyword("URL") => {
                    input.space()?;
                    let url = input.astring()?;
                    all.steps.push(Step::Url(String::from_utf8_lossy(&url).into_owned()));
                    Place::BehindPiece
                }
                Place::Piece if input.keyword("TEXT") => {
                    input.space()?;
                    let mark = message_mark(input, false)?;
                    return Ok(all.to(mark, Place::BehindPiece));
                }
                Place::Piece => return Err(input.expected("TEXT or URL")),
                Place::BehindPiece if input.eat(b')') => Place::BehindMessage,
                Place::BehindPiece => {
                    input.space()?;
                    Place::Piece
                }
                Place::BehindLiteral { utf8 } => {
                    if utf8 {
                        input.octet(b')', "a ) behind the message")?;
                    }
                    Place::BehindMessage
                }
                Place::BehindMessage if input.is_empty() => return Ok(all),
                Place::BehindMessage => Place::Message,
            };
        }
    }

    fn to(mut self, mark: LiteralMark, place: Place) -> Self {
        self.steps.push(Step::Octets { length: mark.length, synchronizing: mark.synchronizing });
        self.place = Some(place);
        self
    }
}

/// What stands before a message: flags, date, annotations.
pub(super) type Attributes = (FlagSet, Option<DateTime>, Vec<AnnotationValue>);

/// The flags, the date and the annotations before a message, and the space behind each.
pub(super) fn attributes(input: &mut Input<'_>) -> Result<Attributes, GrammarError> {
    let mut flags = FlagSet::new();
    if input.peek() == Some(b'(') {
        flags = flag_list(input)?;
        input.space()?;
    }
    let mut internal_date = None;
    if input.peek() == Some(b'"') {
        let here = input.clone();
        let text = input.quoted()?;
        let date = str::from_utf8(&text).ok().and_then(|text| DateTime::from_imap(text).ok());
        internal_date =
            Some(date.ok_or_else(|| here.expected("a date such as \"17-Jul-1996 02:44:25 -0700\""))?);
        input.space()?;
    }
    let mut annotations = Vec::new();
    if input.keyword("ANNOTATION") {
        annotations = values(input)?;
        input.space()?;
    }
    Ok((flags, internal_date, annotations))
}

/// The mark of a message's literal, which must be all there is.
pub(super) fn message_mark(input: &mut Input<'_>, utf8: bool) -> Result<LiteralMark, GrammarError> {
    let mark = LiteralMark::find(input.rest()).ok().flatten();
    // RFC 6855 §4: what is in UTF-8 comes as a literal8.
    let mark = mark.filter(|mark| mark.start == 0 && (mark.binary || !utf8));
    let mark = mark.ok_or_else(|| input.expected("the message as a literal"))?;
    input.take("the mark", nom::combinator::rest)?;
    Ok(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str, place: Place) -> Result<Steps, GrammarError> {
        Steps::parse(&mut Input::new(text.as_bytes()), place)
    }

    #[test]
    fn pieces_go_on_where_octets_end() {
        let head = steps(" (\\Seen) CATENATE (URL \"/a;UID=2\" TEXT {42}", Place::Message).unwrap();
        assert_eq!(head.steps.len(), 3);
        assert_eq!(head.steps[1], Step::Url("/a;UID=2".into()));
        assert_eq!(head.steps[2], Step::Octets { length: 42, synchronizing: true });
        assert_eq!(head.place, Some(Place::BehindPiece));
        let tail = steps(" URL x) (\\Draft) UTF8 (~{7+}", Place::BehindPiece).unwrap();
        assert_eq!(tail.steps.len(), 3);
        assert_eq!(tail.place, Some(Place::BehindLiteral { utf8: true }));
        let end = steps(")", Place::BehindLiteral { utf8: true }).unwrap();
        assert!(end.steps.is_empty() && end.place.is_none());
    }

    #[test]
    fn annotations_stand_before_each_message() {
        let head = " ANNOTATION (/comment (value.priv \"Don't send until I say so\")) {310}";
        let steps = steps(head, Place::Message).unwrap().steps;
        let Some(Step::Begin { annotations, size: Some(310), .. }) = steps.first() else {
            panic!("{steps:?}")
        };
        assert_eq!(annotations.len(), 1);
        // A literal among them is none of the message.
        assert!(
            Steps::parse(&mut Input::new(b" ANNOTATION (/comment (value.priv {310}"), Place::Message)
                .is_err()
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        for (text, place) in [
            (" CATENATE ()", Place::Message),
            (" CATENATE (FILE x)", Place::Message),
            (" CATENATE (TEXT \"x\")", Place::Message),
            (" CATENATE (URL {3}", Place::Message),
            (" UTF8 ({3}", Place::Message),
            ("x", Place::BehindLiteral { utf8: false }),
            ("", Place::BehindLiteral { utf8: true }),
            (" ", Place::BehindMessage),
            ("  ", Place::BehindPiece),
        ] {
            assert!(steps(text, place).is_err(), "{text:?}");
        }
    }
}
