//! What a server says, both directions: written by servers, read by clients.
//!
//! Each response has a type that writes itself with `encode`, straight to where it is sent from, and that
//! [`Response::parse`] finds again in a complete line. How much a reader forgives is a value, [`Leniency`].

mod annotations;
mod capabilities;
mod code;
mod continuation;
pub mod count;
mod described;
mod envelope;
pub(crate) mod esearch;
pub(crate) mod fetch;
mod filtered;
mod flags;
mod id;
mod leniency;
mod list;
mod mailbox_status;
mod namespace;
mod object_id;
mod quota;
pub(crate) mod reader;
mod search;
mod sharing;
mod sort;
mod status;
mod structure;
mod text;
mod thread;

use std::num::NonZeroU32;

pub use annotations::{AnnotationSupport, FetchedAnnotation};
pub use capabilities::Capabilities;
pub use code::ResponseCode;
pub use continuation::Continuation;
pub(crate) use described::put_part_structure;
pub use envelope::{Envelope, EnvelopeAddress};
pub use esearch::Esearch;
pub use fetch::{FetchWriter, Fetched, FetchedItem, FetchedSection, chosen::ChosenFields};
pub use filtered::{FilterResult, Filtered};
pub use flags::FlagList;
pub use id::ServerId;
pub use leniency::Leniency;
pub use list::{ListAttribute, Listed, ListedName};
pub use mailbox_status::MailboxStatus;
pub use namespace::{Namespace, Namespaces};
pub use object_id::is_object_id;
pub use quota::{QuotaResource, QuotaRoot, QuotaRootNames};
pub use search::Search;
pub use sharing::{Acl, Annotations, OwnRights, RightsOf};
pub use sort::Sort;
pub(crate) use sort::set_of;
pub use status::{Status, StatusKind};
pub use structure::{BodyStructure, Content, Extension};
pub use text::Text;
pub use thread::Thread;

use mailwright_mail_model::{UidSet, mime::Structure};

use crate::{
    command::FetchItem,
    grammar::{GrammarError, Wire, upper_case},
};
use reader::{Reader, Result};

/// One complete response.
///
/// ```
/// use mailwright_imap_proto::response::{Leniency, Response, ResponseCode};
///
/// let response = Response::parse(b"* OK [READ-ONLY] done\r\n", Leniency::tolerant())?;
/// let Response::Status(status) = response else { panic!() };
/// assert!(status.is_ok());
/// assert_eq!(status.code, Some(ResponseCode::ReadOnly));
/// # Ok::<(), mailwright_imap_proto::grammar::GrammarError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Response {
    /// `+`: the server waits for more of a command.
    Continue(Continuation),
    /// The end of a command's answer.
    Tagged {
        /// The tag of the command.
        tag: Box<str>,
        /// `OK`, `NO` or `BAD`.
        status: Status,
    },
    /// An untagged `OK`, `NO`, `BAD`, `BYE` or `PREAUTH`.
    Status(Status),
    /// What the server can do.
    Capability(Capabilities),
    /// What ENABLE has enabled.
    Enabled(Capabilities),
    /// A mailbox.
    List(Listed),
    /// A subscribed mailbox.
    Lsub(Listed),
    /// The numbers of a mailbox.
    MailboxStatus(MailboxStatus),
    /// The messages that a SEARCH found.
    Search(Search),
    /// The messages that a SORT found, sorted.
    Sort(Sort),
    /// The messages that a THREAD found, as trees.
    Thread(Thread),
    /// The same, in the form that was asked for (RFC 4731).
    Esearch(Esearch),
    /// Messages are gone (RFC 7162 §3.2.10).
    Vanished {
        /// They were gone already when the client asked; nothing moves up.
        earlier: bool,
        /// Which.
        uids: UidSet,
    },
    /// The flags of the selected mailbox.
    Flags(FlagList),
    /// How many messages there are.
    Exists(u32),
    /// How many of them are recent.
    Recent(u32),
    /// The message of this number is gone; those behind it move up.
    Expunge(NonZeroU32),
    /// What is known of one message.
    Fetch(Fetched),
    /// The namespaces.
    Namespace(Namespaces),
    /// What the server says it is.
    Id(ServerId),
    /// A quota root (RFC 9208 §4.2.1).
    Quota(QuotaRoot),
    /// Which quota roots count for a mailbox (RFC 9208 §4.2.2).
    QuotaRoots(QuotaRootNames),
    /// Who may do what with a mailbox (RFC 4314 §3.6).
    Acl(Acl),
    /// Which rights can be given to somebody (RFC 4314 §3.7).
    RightsOf(RightsOf),
    /// What the user may do with a mailbox (RFC 4314 §3.8).
    OwnRights(OwnRights),
    /// What is noted about a mailbox or the server (RFC 5464 §4.4).
    Annotations(Annotations),
    /// What a script has made of a message, or what is wrong with it.
    Filtered(Filtered),
}

/// `ENVELOPE`, `BODY` or `BODYSTRUCTURE` of a message as it stands in a response, to be kept for
/// [`FetchData::Written`](crate::server::FetchData::Written).
///
/// ```
/// use mailwright_imap_proto::{command::FetchItem, response::written};
/// use mailwright_mail_model::mime::Structure;
///
/// let structure = Structure::of(b"Subject: tea\r\n\r\n");
/// let envelope = written(&FetchItem::Envelope, &structure);
/// assert_eq!(envelope, b"(NIL \"tea\" NIL NIL NIL NIL NIL NIL NIL NIL)");
/// ```
pub fn written(item: &FetchItem, structure: &Structure) -> Vec<u8> {
    let mut octets = Vec::with_capacity(WRITTEN);
    match item {
        FetchItem::Envelope => {
            if let Some(envelope) = structure.part(0).and_then(|part| part.envelope()) {
                described::put_envelope(envelope, &mut octets);
            }
        }
        FetchItem::Body => described::put_structure(structure, false, &mut octets),
        FetchItem::BodyStructure => described::put_structure(structure, true, &mut octets),
        _ => {}
    }
    octets
}

/// As much as an envelope or a structure has, of most messages, in octets.
const WRITTEN: usize = 512;

/// Writes `* VANISHED` (RFC 7162 §3.2.10).
pub(crate) fn encode_vanished(earlier: bool, uids: &UidSet, wire: &mut impl Wire) {
    wire.put(if earlier { b"* VANISHED (EARLIER) " } else { b"* VANISHED " });
    wire.put_display(uids);
    wire.put(b"\r\n");
}

impl Response {
    /// Reads a complete response, its literals in place, with or without its last line end.
    ///
    /// # Errors
    /// Where it departs from the grammar further than `leniency` allows.
    pub fn parse(octets: &[u8], leniency: Leniency) -> std::result::Result<Self, GrammarError> {
        let octets = octets.strip_suffix(b"\r\n").unwrap_or(octets);
        let mut reader = Reader::new(octets, leniency);
        let response = if reader.eat(b'*') {
            reader.space()?;
            untagged(&mut reader)?
        } else if reader.eat(b'+') {
            Self::Continue(Continuation::read(&mut reader)?)
        } else {
            let tag = reader.input.tag()?.into();
            reader.space()?;
            let status =
                Status::read(&mut reader).unwrap_or_else(|| Err(reader.expected("OK, NO or BAD")))?;
            if !matches!(status.kind, StatusKind::Ok | StatusKind::No | StatusKind::Bad) {
                return Err(reader.expected("OK, NO or BAD"));
            }
            Self::Tagged { tag, status }
        };
        reader.end()?;
        Ok(response)
    }
}

fn untagged(reader: &mut Reader<'_>) -> Result<Response> {
    if reader.input.peek().is_some_and(|octet| octet.is_ascii_digit()) {
        return numbered(reader);
    }
    if let Some(status) = Status::read(reader) {
        return status.map(Response::Status);
    }
    Ok(match &*upper_case(reader.input.word()?) {
        b"ESEARCH" => Response::Esearch(Esearch::read(reader)?),
        b"VANISHED" => {
            reader.space()?;
            let earlier = reader.input.prefix("(EARLIER) ");
            Response::Vanished { earlier, uids: uids(reader)? }
        }
        b"SORT" => Response::Sort(Sort::read(reader)?),
        b"THREAD" => Response::Thread(Thread::read(reader)?),
        b"SEARCH" => Response::Search(Search::read(reader)?),
        b"LIST" => Response::List(Listed::read(reader)?),
        b"LSUB" => Response::Lsub(Listed::read(reader)?),
        b"STATUS" => Response::MailboxStatus(MailboxStatus::read(reader)?),
        b"FLAGS" => {
            reader.space()?;
            Response::Flags(FlagList::read(reader)?)
        }
        b"CAPABILITY" => Response::Capability(Capabilities::read(reader)?),
        b"ENABLED" => Response::Enabled(Capabilities::read(reader)?),
        b"NAMESPACE" => Response::Namespace(Namespaces::read(reader)?),
        b"ID" => Response::Id(ServerId::read(reader)?),
        b"QUOTA" => Response::Quota(QuotaRoot::read(reader)?),
        b"QUOTAROOT" => Response::QuotaRoots(QuotaRootNames::read(reader)?),
        b"ACL" => Response::Acl(Acl::read(reader)?),
        b"LISTRIGHTS" => Response::RightsOf(RightsOf::read(reader)?),
        b"MYRIGHTS" => Response::OwnRights(OwnRights::read(reader)?),
        b"METADATA" => Response::Annotations(Annotations::read(reader)?),
        b"FILTER" => Response::Filtered(Filtered::read(None, reader)?),
        _ => return Err(reader.expected("a known response before this")),
    })
}

fn uids(reader: &mut Reader<'_>) -> Result<UidSet> {
    let text = reader.atom()?;
    text.parse().map_err(|_| reader.expected("UIDs before this"))
}

fn numbered(reader: &mut Reader<'_>) -> Result<Response> {
    let number = reader.number()?;
    reader.space()?;
    let above_zero =
        |reader: &Reader<'_>| NonZeroU32::new(number).ok_or_else(|| reader.expected("a number above zero"));
    Ok(match &*upper_case(reader.input.word()?) {
        b"EXISTS" => Response::Exists(number),
        b"RECENT" => Response::Recent(number),
        b"EXPUNGE" => Response::Expunge(above_zero(reader)?),
        b"FETCH" => Response::Fetch(Fetched::read(above_zero(reader)?, reader)?),
        b"FILTERED" => Response::Filtered(Filtered::read(Some(above_zero(reader)?), reader)?),
        _ => return Err(reader.expected("EXISTS, RECENT, EXPUNGE, FETCH or FILTERED before this")),
    })
}
