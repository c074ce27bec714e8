//! The machine-readable part of a status response, in its brackets.

use std::num::NonZeroU32;

use mailwright_mail_model::{ModSeq, Uid, UidSet, UidValidity};

use super::{
    AnnotationSupport, Capabilities, FlagList,
    object_id::is_part,
    reader::{Reader, Result},
};
use crate::{
    Referral,
    grammar::{Wire, upper_case},
};

/// A response code (RFC 9051 §7.1 and the registry it founded).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResponseCode {
    /// The text must be shown to the user.
    Alert,
    /// The charset of a SEARCH is not known; these are, if the server says so.
    BadCharset(Vec<String>),
    /// What the server can do now.
    Capability(Capabilities),
    /// A message could not be parsed.
    Parse,
    /// The flags that can be changed for good.
    PermanentFlags(FlagList),
    /// The mailbox is open for reading only.
    ReadOnly,
    /// The mailbox is open for writing.
    ReadWrite,
    /// The target mailbox does not exist, but could be made.
    TryCreate,
    /// The next UID.
    UidNext(Uid),
    /// The UIDVALIDITY of the mailbox.
    UidValidity(UidValidity),
    /// The first message without `\Seen` (RFC 3501 §7.1).
    Unseen(NonZeroU32),
    /// Where APPEND put the message (RFC 4315 §3).
    AppendUid {
        /// The UIDVALIDITY of the target mailbox.
        validity: UidValidity,
        /// The UIDs, one for each message.
        uids: UidSet,
    },
    /// Where COPY or MOVE put the messages (RFC 4315 §3). Both sets ascend together.
    CopyUid {
        /// The UIDVALIDITY of the target mailbox.
        validity: UidValidity,
        /// The UIDs that were copied.
        source: UidSet,
        /// The UIDs of the copies, in the same order.
        target: UidSet,
    },
    /// UIDs of this mailbox do not last (RFC 4315 §3).
    UidNotSticky,
    /// The mailbox selected before is closed; what follows is about the next (RFC 7162 §3.2.11).
    Closed,
    /// The highest mod-sequence of the mailbox (RFC 7162 §3.1.2.1).
    HighestModSeq(ModSeq),
    /// These messages were left as they are, since they had changed (RFC 7162 §3.1.3): sequence numbers, or UIDs if the
    /// command named UIDs.
    Modified(UidSet),
    /// The identity of the mailbox (RFC 8474 §4).
    MailboxId(String),
    /// Sequence numbers cannot be used any more (RFC 9586 §3).
    UidRequired,
    /// Compression is on already (RFC 4978 §3).
    CompressionActive,
    /// A search found more than can be saved (RFC 5182 §2.1).
    NotSaved,
    /// The mailbox has no mod-sequences (RFC 7162 §3.1.2.2).
    NoModSeq,
    /// The message or literal is larger than the server takes (RFC 7889 §4).
    TooBig,
    /// A server behind the server is not there now (RFC 5530 §3, as all that follow).
    Unavailable,
    /// Wrong name or password.
    AuthenticationFailed,
    /// Right password, but not allowed to act for that identity.
    AuthorizationFailed,
    /// The password must be renewed.
    Expired,
    /// Not without TLS.
    PrivacyRequired,
    /// The user should talk to the administrator.
    ContactAdmin,
    /// The access rights do not suffice.
    NoPerm,
    /// Another session has it locked.
    InUse,
    /// Another session expunged some of the messages.
    ExpungeIssued,
    /// Something in the store is broken.
    Corruption,
    /// A fault of the server.
    ServerBug,
    /// A fault of the client.
    ClientBug,
    /// Can never work.
    Cannot,
    /// A limit was reached.
    Limit,
    /// The quota was passed.
    OverQuota,
    /// What should be made exists.
    AlreadyExists,
    /// There is no such thing.
    NonExistent,
    /// The mailbox cannot be deleted: it has children (RFC 9051 §7.1).
    HasChildren,
    /// This URL could not be made use of (RFC 4469 §4.1).
    BadUrl(String),
    /// The special use cannot be given (RFC 6154 §3).
    UseAttr,
    /// The content transfer encoding cannot be undone (RFC 3516 §4.3).
    UnknownCte,
    /// What can be noted about the messages of the mailbox (RFC 5257 §4.1).
    Annotations(AnnotationSupport),
    /// The value of an annotation is too large (RFC 5257 §4.5).
    AnnotateTooBig,
    /// There are too many annotations of a message (RFC 5257 §4.5).
    AnnotateTooMany,
    /// The command named more messages than are dealt with at a time (RFC 9738): it was carried out for those from this UID
    /// on, or not at all.
    MessageLimit {
        /// How many messages are dealt with at a time.
        limit: u32,
        /// The lowest UID that was dealt with; `None` if nothing was.
        lowest: Option<Uid>,
    },
    /// It is to be had on another server (RFC 2221 §4, RFC 2193 §4): there, or in one of several places; pairs of those for RENAME.
    Referral(Vec<Referral>),
    /// Another code.
    Other {
        /// Its name, in upper case.
        name: String,
        /// What stands behind the name, without the space.
        text: Option<String>,
    },
}

/// The codes that are one word.
static WORDS: [(&str, ResponseCode); 32] = [
    ("ALERT", ResponseCode::Alert),
    ("PARSE", ResponseCode::Parse),
    ("READ-ONLY", ResponseCode::ReadOnly),
    ("READ-WRITE", ResponseCode::ReadWrite),
    ("TRYCREATE", ResponseCode::TryCreate),
    ("UIDNOTSTICKY", ResponseCode::UidNotSticky),
    ("CLOSED", ResponseCode::Closed),
    ("NOMODSEQ", ResponseCode::NoModSeq),
    ("TOOBIG", ResponseCode::TooBig),
    ("UNAVAILABLE", ResponseCode::Unavailable),
    ("AUTHENTICATIONFAILED", ResponseCode::AuthenticationFailed),
    ("AUTHORIZATIONFAILED", ResponseCode::AuthorizationFailed),
    ("EXPIRED", ResponseCode::Expired),
    ("PRIVACYREQUIRED", ResponseCode::PrivacyRequired),
    ("CONTACTADMIN", ResponseCode::ContactAdmin),
    ("NOPERM", ResponseCode::NoPerm),
    ("INUSE", ResponseCode::InUse),
    ("EXPUNGEISSUED", ResponseCode::ExpungeIssued),
    ("CORRUPTION", ResponseCode::Corruption),
    ("SERVERBUG", ResponseCode::ServerBug),
    ("CLIENTBUG", ResponseCode::ClientBug),
    ("CANNOT", ResponseCode::Cannot),
    ("LIMIT", ResponseCode::Limit),
    ("OVERQUOTA", ResponseCode::OverQuota),
    ("ALREADYEXISTS", ResponseCode::AlreadyExists),
    ("NONEXISTENT", ResponseCode::NonExistent),
    ("HASCHILDREN", ResponseCode::HasChildren),
    ("USEATTR", ResponseCode::UseAttr),
    ("UNKNOWN-CTE", ResponseCode::UnknownCte),
    ("UIDREQUIRED", ResponseCode::UidRequired),
    ("COMPRESSIONACTIVE", ResponseCode::CompressionActive),
    ("NOTSAVED", ResponseCode::NotSaved),
];

impl ResponseCode {
    /// Writes the code in its brackets.
    pub fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"[");
        match self {
            Self::BadCharset(charsets) => {
                wire.put(b"BADCHARSET");
                if !charsets.is_empty() {
                    wire.put(b" ");
                    wire.put_list(charsets, |wire, charset| wire.put_astring(charset.as_bytes()));
                }
            }
            Self::Capability(capabilities) => {
                wire.put(b"CAPABILITY");
                capabilities.put_names(wire);
            }
            Self::PermanentFlags(flags) => {
                wire.put(b"PERMANENTFLAGS ");
                flags.put(wire);
            }
            Self::UidNext(uid) => put(wire, "UIDNEXT", uid.get().into()),
            Self::UidValidity(validity) => put(wire, "UIDVALIDITY", validity.get().into()),
            Self::Unseen(sequence) => put(wire, "UNSEEN", sequence.get().into()),
            Self::Modified(set) => {
                wire.put(b"MODIFIED ");
                wire.put_display(set);
            }
            Self::MailboxId(id) => {
                wire.put(b"MAILBOXID (");
                // Whoever made it of something else must not break the line with it.
                id.bytes().filter(|octet| is_part(*octet)).for_each(|octet| wire.put(&[octet]));
                wire.put(b")");
            }
            Self::HighestModSeq(modseq) => put(wire, "HIGHESTMODSEQ", modseq.get()),
            Self::AppendUid { validity, uids } => {
                put(wire, "APPENDUID", validity.get().into());
                wire.put(b" ");
                wire.put_display(uids);
            }
            Self::CopyUid { validity, source, target } => {
                put(wire, "COPYUID", validity.get().into());
                wire.put(b" ");
                wire.put_display(source);
                wire.put(b" ");
                wire.put_display(target);
            }
            Self::MessageLimit { limit, lowest } => {
                put(wire, "MESSAGELIMIT", (*limit).into());
                if let Some(uid) = lowest {
                    wire.put(b" ");
                    wire.put_number(uid.get().into());
                }
            }
            Self::Annotations(support) => {
                wire.put(b"ANNOTATIONS ");
                support.put(wire);
            }
            Self::AnnotateTooBig => wire.put(b"ANNOTATE TOOBIG"),
            Self::AnnotateTooMany => wire.put(b"ANNOTATE TOOMANY"),
            Self::BadUrl(url) => {
                wire.put(b"BADURL ");
                // Anything else could not stand in brackets.
                let fits = |octet: &u8| crate::grammar::is_text_char(*octet) && *octet != b']';
                wire.put(&url.bytes().filter(fits).collect::<Vec<_>>());
            }
            Self::Referral(places) => {
                wire.put(b"REFERRAL");
                for place in places {
                    wire.put(b" ");
                    wire.put_display(place);
                }
            }
            Self::Other { name, text } => {
                wire.put(name.as_bytes());
                if let Some(text) = text {
                    wire.put(b" ");
                    wire.put(text.as_bytes());
                }
            }
            word => {
                let name = WORDS.iter().find(|(_, code)| code == word).map_or("LIMIT", |(name, _)| name);
                wire.put(name.as_bytes());
            }
        }
        wire.put(b"]");
    }

    /// Another code, if its name is an atom and its text can stand in brackets.
    pub fn other(name: &str, text: Option<&str>) -> Option<Self> {
        let is_name = !name.is_empty() && name.bytes().all(crate::grammar::is_atom_char);
        let is_text = |text: &str| {
            !text.is_empty() && text.bytes().all(|octet| crate::grammar::is_text_char(octet) && octet != b']')
        };
        (is_name && text.is_none_or(is_text))
            .then(|| Self::Other { name: name.to_ascii_uppercase(), text: text.map(str::to_owned) })
    }

    /// The code, brackets included. One whose name is known but whose argument is not becomes [`Self::Other`].
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.input.octet(b'[', "a response code in brackets")?;
        let mut inside = reader.clone();
        if let Ok(code) = Self::known(&mut inside) {
            *reader = inside;
            return Ok(code);
        }
        let rest = reader.input.rest();
        let end = memchr::memchr(b']', rest).ok_or_else(|| reader.expected("a ] after the response code"))?;
        let mut inside = Reader::new(rest.get(..end).unwrap_or_default(), reader.leniency);
        let name = inside.atom()?.to_ascii_uppercase();
        let text = match inside.eat(b' ') {
            true => Some(String::from_utf8_lossy(inside.rest()).replace(char::is_control, " ")),
            false => None,
        };
        inside.end()?;
        reader.input.take("the code", nom::bytes::complete::take(end + 1))?;
        Ok(Self::Other { name, text: text.filter(|text| !text.is_empty()) })
    }

    fn known(reader: &mut Reader<'_>) -> Result<Self> {
        let code = match &*upper_case(reader.input.word()?) {
            b"BADCHARSET" if reader.input.peek() == Some(b']') => Self::BadCharset(Vec::new()),
            b"BADCHARSET" => {
                reader.space()?;
                Self::BadCharset(reader.list(|reader| {
                    reader.astring().map(|charset| String::from_utf8_lossy(&charset).into_owned())
                })?)
            }
            b"CAPABILITY" => Self::Capability(Capabilities::read(reader)?),
            b"PERMANENTFLAGS" => {
                reader.space()?;
                Self::PermanentFlags(FlagList::read(reader)?)
            }
            b"UIDNEXT" => Self::UidNext(number(reader, Uid::new)?),
            b"UIDVALIDITY" => Self::UidValidity(number(reader, UidValidity::new)?),
            b"UNSEEN" => Self::Unseen(number(reader, NonZeroU32::new)?),
            b"HIGHESTMODSEQ" => {
                reader.space()?;
                let number = reader.number64()?;
                Self::HighestModSeq(ModSeq::new(number).ok_or_else(|| reader.expected("a mod-sequence"))?)
            }
            b"MODIFIED" => Self::Modified(uids(reader)?),
            b"MAILBOXID" => {
                reader.space()?;
                let id = reader.list(|reader| reader.atom().map(str::to_owned))?.pop();
                Self::MailboxId(id.ok_or_else(|| reader.expected("an object id"))?)
            }
            b"APPENDUID" => {
                let validity = number(reader, UidValidity::new)?;
                Self::AppendUid { validity, uids: uids(reader)? }
            }
            b"MESSAGELIMIT" => {
                let limit = number(reader, Some)?;
                let lowest = match reader.input.peek() {
                    Some(b' ') => Some(number(reader, Uid::new)?),
                    _ => None,
                };
                Self::MessageLimit { limit, lowest }
            }
            b"ANNOTATIONS" => Self::Annotations(AnnotationSupport::read(reader)?),
            b"ANNOTATE" => {
                reader.space()?;
                match &*upper_case(reader.input.word()?) {
                    b"TOOBIG" => Self::AnnotateTooBig,
                    b"TOOMANY" => Self::AnnotateTooMany,
                    _ => return Err(reader.expected("TOOBIG or TOOMANY before this")),
                }
            }
            b"BADURL" => {
                reader.space()?;
                let rest = reader.input.rest();
                let end = memchr::memchr(b']', rest).unwrap_or(0);
                let url = reader.input.take("a URL", nom::bytes::complete::take(end))?;
                Self::BadUrl(String::from_utf8_lossy(url).into_owned())
            }
            b"REFERRAL" => {
                reader.space()?;
                let rest = reader.input.rest();
                let end = memchr::memchr(b']', rest).unwrap_or(0);
                let urls = reader.input.take("URLs", nom::bytes::complete::take(end))?;
                let urls = str::from_utf8(urls).map_err(|_| reader.expected("URLs"))?;
                let places: Option<Vec<Referral>> = urls.split(' ').map(|url| url.parse().ok()).collect();
                Self::Referral(places.ok_or_else(|| reader.expected("URLs of servers before this"))?)
            }
            b"COPYUID" => {
                let validity = number(reader, UidValidity::new)?;
                let (source, target) = (uids(reader)?, uids(reader)?);
                if source.len() != target.len() {
                    return Err(reader.expected("as many copies as originals"));
                }
                Self::CopyUid { validity, source, target }
            }
            word => WORDS
                .iter()
                .find(|(name, _)| name.as_bytes() == word)
                .map(|(_, code)| code.clone())
                .ok_or_else(|| reader.expected("a known response code"))?,
        };
        reader.padding();
        reader.input.octet(b']', "a ] after the response code")?;
        Ok(code)
    }
}

fn put(wire: &mut impl Wire, name: &str, number: u64) {
    wire.put(name.as_bytes());
    wire.put(b" ");
    wire.put_number(number);
}

fn number<T>(reader: &mut Reader<'_>, make: impl Fn(u32) -> Option<T>) -> Result<T> {
    reader.space()?;
    let number = reader.number()?;
    make(number).ok_or_else(|| reader.expected("a number above zero"))
}

/// UIDs in ascending order. Another order would have a meaning (RFC 4315 §3) that a set cannot keep, so it is refused.
fn uids(reader: &mut Reader<'_>) -> Result<UidSet> {
    reader.space()?;
    let text = reader.atom()?;
    let set: UidSet = text.parse().map_err(|_| reader.expected("UIDs"))?;
    let numbers = text.split([',', ':']).filter_map(|number| number.parse::<u32>().ok());
    if numbers.is_sorted() { Ok(set) } else { Err(reader.expected("UIDs in ascending order")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::Leniency;

    fn read(text: &str) -> Result<ResponseCode> {
        let mut reader = Reader::new(text.as_bytes(), Leniency::strict());
        let code = ResponseCode::read(&mut reader)?;
        reader.end()?;
        Ok(code)
    }

    #[test]
    fn every_code_is_read_as_it_was_written() {
        let uid = |number| Uid::new(number).unwrap();
        let validity = UidValidity::new(38505).unwrap();
        let mut codes: Vec<_> = WORDS.iter().map(|(_, code)| code.clone()).collect();
        codes.extend([
            ResponseCode::BadCharset(vec![]),
            ResponseCode::BadCharset(vec!["UTF-8".into(), "a b".into()]),
            ResponseCode::Capability(["IMAP4REV1", "IDLE"].into_iter().collect()),
            ResponseCode::PermanentFlags(FlagList::new("(\\Seen $x)".parse().unwrap()).wildcard(true)),
            ResponseCode::UidNext(uid(4392)),
            ResponseCode::UidValidity(validity),
            ResponseCode::Unseen(NonZeroU32::MIN),
            ResponseCode::HighestModSeq(ModSeq::new(715_194_045_007).unwrap()),
            ResponseCode::AppendUid { validity, uids: uid(3955).into() },
            ResponseCode::CopyUid {
                validity,
                source: "304,319:320".parse().unwrap(),
                target: "3956:3958".parse().unwrap(),
            },
            ResponseCode::other("X-REFERRAL", Some("imap://user;AUTH=*@SERVER2/")).unwrap(),
            ResponseCode::other("REFERRAL", Some("http://elsewhere.example/")).unwrap(),
            ResponseCode::Referral(vec![
                Referral::new("user", "server2"),
                "imap://a%20b@server3:144/SHARED/FOO".parse().unwrap(),
            ]),
            ResponseCode::other("XODD", None).unwrap(),
            ResponseCode::MessageLimit { limit: 1000, lowest: Some(uid(23_221)) },
            ResponseCode::MessageLimit { limit: 1000, lowest: None },
        ]);
        for code in codes {
            let mut octets = Vec::new();
            code.encode(&mut octets);
            let text = String::from_utf8(octets).unwrap();
            assert_eq!(read(&text), Ok(code), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_kept_as_it_is() {
        for (text, name, rest) in [
            ("[UIDNEXT 0]", "UIDNEXT", Some("0")),
            ("[COPYUID 1 3,2 8,9]", "COPYUID", Some("1 3,2 8,9")),
            ("[COPYUID 1 1:3 8]", "COPYUID", Some("1 1:3 8")),
            ("[PERMANENTFLAGS x]", "PERMANENTFLAGS", Some("x")),
            ("[alert now]", "ALERT", Some("now")),
            ("[X-Y]", "X-Y", None),
        ] {
            assert_eq!(
                read(text),
                Ok(ResponseCode::Other { name: name.into(), text: rest.map(str::to_owned) })
            );
        }
        for bad in ["[", "[]", "[ALERT", "[ALERT x", "ALERT]", "[(x)]"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
