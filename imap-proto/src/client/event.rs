//! What a client's application is told.

use std::num::NonZeroU32;

use bytes::Bytes;
use mailwright_line_proto::{Authenticate, Closed, Login, Ticket};
use mailwright_mail_model::{ModSeq, Uid, UidValidity, thread::Threads};
use thiserror::Error;

use super::request::{Capability, Check, Close, Compress, Find, Idle, Logout, Noop, StartTls, Unselect};
use crate::{
    command::{
        Annotate, Append, ApplyFilter, CancelUpdate, Copy, CopyUid, Create, Delete, DeleteAcl, Enable,
        Expunge, Fetch, GetAcl, GetMetadata, GetQuota, GetQuotaRoot, Id, List, ListRights, ListedRights,
        Lsub, Move, MyRights, Namespace, Notify, Rename, Rlist, Rlsub, Search, Select, SetAcl, SetMetadata,
        SetQuota, Sort, Status as AskStatus, Store, Subscribe, Thread, Unsubscribe,
    },
    response::{
        AnnotationSupport, Capabilities, Esearch, Fetched, FetchedSection, FlagList, Listed, MailboxStatus,
        Namespaces, QuotaRoot, Response, ServerId, Status,
    },
};

/// What came of a call.
pub type Outcome<T> = Result<T, Refused>;

/// The server said `NO` or `BAD`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{} {}", .0.kind.as_str(), .0.text)]
pub struct Refused(pub Status);

/// What a [`Client`](super::Client) tells its application: the ticket of each call comes back with its answer, and
/// between them comes what the server says by itself.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The server is ready. `preauthenticated` if there is nothing to log in for.
    Greeting {
        /// What it says.
        status: Status,
        /// Whether the session is logged in already.
        preauthenticated: bool,
    },
    /// What the server can do.
    Capability(Ticket<Capability>, Outcome<Capabilities>),
    /// Nothing, done.
    Noop(Ticket<Noop>, Outcome<()>),
    /// What the server says it is.
    Id(Ticket<Id>, Outcome<ServerId>),
    /// TLS is up, or was refused.
    StartTls(Ticket<StartTls>, Outcome<()>),
    /// Compression has begun, or was refused.
    Compress(Ticket<Compress>, Outcome<()>),
    /// The login was accepted or refused.
    Login(Ticket<Login>, Outcome<()>),
    /// The server wants a response to this challenge: the next call must be an [`Authenticate`] that bears it, or
    /// [`cancel`](super::Client::cancel).
    Challenge(Ticket<Authenticate>, Bytes),
    /// The SASL exchange ended.
    Authenticate(Ticket<Authenticate>, Outcome<()>),
    /// What was enabled.
    Enable(Ticket<Enable>, Outcome<Capabilities>),
    /// The namespaces.
    Namespace(Ticket<Namespace>, Outcome<Namespaces>),
    /// The mailbox is open. If not, none is.
    Select(Ticket<Select>, Outcome<Box<Opened>>),
    /// The mailbox was made.
    Create(Ticket<Create>, Outcome<()>),
    /// The mailbox was deleted.
    Delete(Ticket<Delete>, Outcome<()>),
    /// The mailbox has its new name.
    Rename(Ticket<Rename>, Outcome<()>),
    /// The mailbox is subscribed.
    Subscribe(Ticket<Subscribe>, Outcome<()>),
    /// The mailbox is not subscribed any more.
    Unsubscribe(Ticket<Unsubscribe>, Outcome<()>),
    /// The mailboxes that match.
    List(Ticket<List>, Outcome<Vec<Listed>>),
    /// The subscribed mailboxes that match.
    Lsub(Ticket<Lsub>, Outcome<Vec<Listed>>),
    /// The mailboxes that match, those on other servers too. Whoever opens one of these is refused with
    /// [`ResponseCode::Referral`](crate::response::ResponseCode::Referral).
    Rlist(Ticket<Rlist>, Outcome<Vec<Listed>>),
    /// The subscribed mailboxes that match, in the same way.
    Rlsub(Ticket<Rlsub>, Outcome<Vec<Listed>>),
    /// The numbers of a mailbox; `None` if the server said `OK` and nothing else.
    Status(Ticket<AskStatus>, Outcome<Option<MailboxStatus>>),
    /// The server wants the message: send it with [`send_body`](super::Client::send_body).
    Ready(Ticket<Append>),
    /// The message is stored, and where, if the server tells. A refusal may come while it is being sent. Then the closing event is next, unless
    /// little is left of it: [`owes_body`](super::Client::owes_body), and it is sent to its end as if nothing had been said.
    Append(Ticket<Append>, Outcome<Option<Appended>>),
    /// The server sends now what changes, until [`cancel`](super::Client::cancel).
    Idling(Ticket<Idle>),
    /// IDLE is over: as asked for, or because [`Config::idle`](super::Config::idle) has passed.
    Idle(Ticket<Idle>, Outcome<()>),
    /// A checkpoint was made.
    Check(Ticket<Check>, Outcome<()>),
    /// The mailbox is closed, what was deleted in it expunged.
    Close(Ticket<Close>, Outcome<()>),
    /// The mailbox is closed, nothing expunged.
    Unselect(Ticket<Unselect>, Outcome<()>),
    /// All expunged messages were announced.
    Expunge(Ticket<Expunge>, Outcome<()>),
    /// The messages that were found: numbers, or UIDs if the search asked for those.
    Search(Ticket<Search>, Outcome<Vec<u32>>),
    /// What was found, told as it was asked for. Of nothing found there is no `all`.
    Find(Ticket<Find>, Outcome<Box<Esearch>>),
    /// The quota root; `None` if the server said `OK` and nothing else.
    GetQuota(Ticket<GetQuota>, Outcome<Option<QuotaRoot>>),
    /// The quota roots of the mailbox.
    GetQuotaRoot(Ticket<GetQuotaRoot>, Outcome<Vec<QuotaRoot>>),
    /// The quota root as it is now, if the server tells.
    SetQuota(Ticket<SetQuota>, Outcome<Option<QuotaRoot>>),
    /// Identifiers and their rights.
    GetAcl(Ticket<GetAcl>, Outcome<Vec<(String, String)>>),
    /// The entry is changed.
    SetAcl(Ticket<SetAcl>, Outcome<()>),
    /// The entry is gone.
    DeleteAcl(Ticket<DeleteAcl>, Outcome<()>),
    /// What can be given.
    ListRights(Ticket<ListRights>, Outcome<ListedRights>),
    /// What the user may do, one letter for each right.
    MyRights(Ticket<MyRights>, Outcome<String>),
    /// Entries and their values; those that are not there have none, or are left out.
    GetMetadata(Ticket<GetMetadata>, Outcome<Vec<(String, Option<Bytes>)>>),
    /// It is noted.
    SetMetadata(Ticket<SetMetadata>, Outcome<()>),
    /// The messages that were found, sorted: numbers, or UIDs if the command asked for those.
    Sort(Ticket<Sort>, Outcome<Vec<u32>>),
    /// The messages that were found, as threads. What is a UID by its type is a number if the command was THREAD.
    Thread(Ticket<Thread>, Outcome<Threads>),
    /// The server tells from now on what was asked for, as responses that are [unasked](Self::Unasked).
    Notify(Ticket<Notify>, Outcome<()>),
    /// The script has run. What it has made of each message came before, as responses that are [unasked](Self::Unasked).
    ApplyFilter(Ticket<ApplyFilter>, Outcome<()>),
    /// Those searches are not kept up to date any more.
    CancelUpdate(Ticket<CancelUpdate>, Outcome<()>),
    /// All that was asked for has come.
    Fetch(Ticket<Fetch>, Outcome<()>),
    /// The flags are changed.
    Store(Ticket<Store>, Outcome<()>),
    /// The annotations are changed.
    Annotate(Ticket<Annotate>, Outcome<()>),
    /// The messages are copied, and where, if the server tells.
    Copy(Ticket<Copy>, Outcome<Option<CopyUid>>),
    /// The messages are moved, and where, if the server tells. They are announced as expunged besides.
    Move(Ticket<Move>, Outcome<Option<CopyUid>>),
    /// The server has taken leave; the closing event is next.
    Logout(Ticket<Logout>, Outcome<()>),
    /// Octets of a message come next, as [`Body`](Self::Body).
    FetchBody {
        /// The message's number.
        sequence: NonZeroU32,
        /// Its UID, as far as it is known by now.
        uid: Option<Uid>,
        /// Which octets of it.
        section: FetchedSection,
        /// How many; `None` if there is no such section. [`BodyEnd`](Self::BodyEnd) comes in any case.
        length: Option<u64>,
    },
    /// Octets of a message.
    Body(Bytes),
    /// The end of them.
    BodyEnd,
    /// What is known of a message: asked for, or changed by others. Comes behind the bodies of the same response.
    Fetched {
        /// Its UID, if it is known from this or an earlier response.
        uid: Option<Uid>,
        /// Number and items, but for bodies.
        fetched: Fetched,
    },
    /// While another mailbox is being opened: the one that was open is closed. What was told before is about that one, what comes now
    /// about the other (RFC 9051 §7.1). Only servers say so that have IMAP4rev2 or QRESYNC.
    MailboxClosed,
    /// So many messages are in the mailbox.
    Exists(u32),
    /// So many of them are recent.
    Recent(u32),
    /// A message is gone; those behind it move up by one.
    Expunged {
        /// The number it had.
        sequence: NonZeroU32,
        /// The UID it had, if it is known.
        uid: Option<Uid>,
    },
    /// The flags of the mailbox.
    Flags(FlagList),
    /// The server can do other things than before.
    Capabilities(Capabilities),
    /// A notice or warning that belongs to no call. With [`ResponseCode::Alert`](crate::response::ResponseCode::Alert),
    /// the user must see it.
    Notice(Status),
    /// A response that nothing had asked for.
    Unasked(Response),
    /// A response that could not be read, or was over the limits, was passed over. This is how it began: at most 128
    /// octets. It may have been part of the answer to a call, which then ends with less than there is: see
    /// [`Client::skipped`](super::Client::skipped).
    Skipped(Bytes),
    /// The session is over. The last event.
    Closed(Closed),
}

/// A mailbox as it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// How many messages.
    pub messages: u32,
    /// How many of them recent.
    pub recent: u32,
    /// The validity of the UIDs; without it, UIDs must not be kept.
    pub uid_validity: Option<UidValidity>,
    /// Whether the server said that UIDs do not last (RFC 4315).
    pub uid_not_sticky: bool,
    /// The next UID.
    pub uid_next: Option<Uid>,
    /// The first message without `\Seen`.
    pub unseen: Option<NonZeroU32>,
    /// The flags in use.
    pub flags: FlagList,
    /// Those that can be changed for good; all of them if the server does not say (RFC 9051 §6.3.2).
    pub permanent_flags: Option<FlagList>,
    /// The highest mod-sequence.
    pub highest_mod_seq: Option<ModSeq>,
    /// The identity of the mailbox, which stays when it is renamed (RFC 8474 §4.2).
    pub mailbox_id: Option<String>,
    /// What can be noted about messages, if the server says so (RFC 5257 §4.1).
    pub annotations: Option<AnnotationSupport>,
    /// Whether it can only be read.
    pub read_only: bool,
}

/// Where a message was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The UIDVALIDITY of the mailbox.
    pub validity: UidValidity,
    /// The UID of the message.
    pub uid: Uid,
}

impl Appended {
    /// With this UID under that validity.
    pub fn new(validity: UidValidity, uid: Uid) -> Self {
        Self { validity, uid }
    }
}
