//! What a server asks its application, where the command on the wire says it otherwise.

use bytes::Bytes;
use mailwright_line_proto::Request;
use mailwright_mail_model::{
    DateTime, FlagSet, MailboxName, MailboxPattern, ModSeq, SpecialUse, Uid, UidSet, UidValidity,
};

use crate::{
    command::{AnnotationValue, List, Resync, StatusItem},
    refusal::Answered,
    response::{AnnotationSupport, ListAttribute, Listed, MailboxStatus},
};

/// Opens a mailbox (SELECT, EXAMINE). One that was open before is closed by this, without an expunge.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Open {
    /// Which.
    pub mailbox: MailboxName,
    /// Nothing may change, not even by reading.
    pub read_only: bool,
    /// Whether the client wants to be told which annotations others change (RFC 5257 §4.2).
    pub annotations: bool,
    /// Whether the client is told how it is listed: say so in [`Opened::listed`].
    pub listed: bool,
    /// What the client knows of it from before: say in [`Opened::vanished`] and [`Opened::changed`] what happened since.
    pub resync: Option<Resync>,
}

impl Open {
    pub(super) fn new(
        mailbox: MailboxName,
        read_only: bool,
        annotations: bool,
        listed: bool,
        resync: Option<Resync>,
    ) -> Self {
        Self { mailbox, read_only, annotations, listed, resync }
    }
}

impl Request for Open {
    type Answer = Answered<Opened>;
}

/// A mailbox as it is opened. Report what changes in it later with [`Server::notify`](super::Server::notify).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// All messages, by UID: what the session's sequence numbers are made of.
    pub uids: UidSet,
    /// Those that this session is the first to see (`\Recent`, RFC 3501 §2.3.2).
    pub recent: UidSet,
    /// The validity of the UIDs.
    pub uid_validity: UidValidity,
    /// The UID the next message will have; `None` if there are none left.
    pub uid_next: Option<Uid>,
    /// The flags in use.
    pub flags: FlagSet,
    /// The flags that can be changed for good.
    pub permanent_flags: FlagSet,
    /// Whether new keywords can be made (`\*`).
    pub new_keywords: bool,
    /// The first message without `\Seen`.
    pub first_unseen: Option<Uid>,
    /// Whether the mailbox is open for reading only, though that was not asked for.
    pub read_only: bool,
    /// The highest mod-sequence, if the store keeps them.
    pub highest_mod_seq: Option<ModSeq>,
    /// The identity of the mailbox, if the store keeps one (RFC 8474 §4.2).
    pub mailbox_id: Option<String>,
    /// What can be noted about its messages, if the application can do that at all.
    pub annotations: AnnotationSupport,
    /// How the mailbox is listed, which a client of IMAP4rev2 is told (RFC 9051 §6.3.2).
    pub listed: Option<ListEntry>,
    /// Answers [`Open::resync`]: the messages that are gone, of those the client knows.
    pub vanished: UidSet,
    /// Answers [`Open::resync`]: the messages whose flags changed, of those the client knows, and new ones. They are asked for
    /// with a [`Fetch`](crate::command::Fetch) next.
    pub changed: UidSet,
}

impl Opened {
    /// A mailbox with these messages. All system flags are in use and can be changed, and new keywords made; set
    /// the fields otherwise where that is not so.
    pub fn new(uids: UidSet, uid_validity: UidValidity) -> Self {
        let flags = FlagSet::from_system_bits(0b1_1111).unwrap_or_default();
        Self {
            uid_next: uids.last().map_or(Some(Uid::MIN), Uid::next),
            uids,
            recent: UidSet::new(),
            uid_validity,
            permanent_flags: flags.clone(),
            flags,
            new_keywords: true,
            first_unseen: None,
            read_only: false,
            highest_mod_seq: None,
            mailbox_id: None,
            annotations: AnnotationSupport::None,
            listed: None,
            vanished: UidSet::new(),
            changed: UidSet::new(),
        }
    }
}

/// Which mailboxes does the user have? Asked for LIST and LSUB.
///
/// Answer with all of them, and with the subscribed names of those that are no more; the machine picks what
/// matches the client's pattern.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Mailboxes {
    /// What to say of the mailboxes in [`ListEntry::status`]; most often nothing.
    pub status: Vec<StatusItem>,
    /// Whether to say what the user may do with each, in [`ListEntry::rights`].
    pub rights: bool,
    /// Whether to say what is noted about each, in [`ListEntry::annotations`].
    pub annotations: bool,
    /// Whether to name the mailboxes that are on other servers too, with [`ListEntry::remote`]: the client knows what to do with them.
    pub remote: bool,
    matchers: Vec<MailboxPattern>,
}

impl Mailboxes {
    pub(super) fn new(list: &List, remote: bool) -> Self {
        // RFC 5258 §3.1
        let remote = remote || list.selection.is_some_and(|selection| selection.remote);
        let returns = list.returns.clone().unwrap_or_default();
        let (rights, annotations) = (returns.rights, !returns.annotations.is_empty());
        Self { status: returns.status, rights, annotations, remote, matchers: list.matchers() }
    }

    /// Whether the status of this mailbox is wanted.
    pub fn wants_status_of(&self, name: &MailboxName) -> bool {
        !self.status.is_empty() && self.is_about(name)
    }

    /// Whether this mailbox is one that the client asks about.
    pub fn is_about(&self, name: &MailboxName) -> bool {
        self.matchers.iter().any(|matcher| matcher.matches(name))
    }
}

impl Request for Mailboxes {
    type Answer = Answered<Vec<ListEntry>>;
}

/// A name in the answer to [`Mailboxes`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListEntry {
    /// The name.
    pub mailbox: MailboxName,
    /// Whether there is such a mailbox, or at least such a level. If not, it is only a name subscribed to.
    pub exists: bool,
    /// Whether it can be selected. One that cannot is a level above others.
    pub selectable: bool,
    /// Whether there are mailboxes below it; `None` if that is not known (RFC 3348).
    pub has_children: Option<bool>,
    /// Whether mailboxes can be made below it.
    pub can_have_children: bool,
    /// Whether messages have come since it was last selected; `None` if that is not known.
    pub marked: Option<bool>,
    /// Whether the user is subscribed to it.
    pub subscribed: bool,
    /// Whether it is on another server: what is done with it is refused with a
    /// [referral](crate::Refusal::referred).
    pub remote: bool,
    /// What it is used for (RFC 6154).
    pub special_use: Vec<SpecialUse>,
    /// Its numbers, if they were asked for.
    pub status: Option<MailboxStatus>,
    /// What the user may do with it, if that was asked for.
    pub rights: Option<String>,
    /// What is noted about it, all that the user may see, if that was asked for; `None` says nothing of it.
    pub annotations: Option<Vec<(String, Bytes)>>,
}

impl ListEntry {
    /// A mailbox that can be selected, with nothing special about it.
    pub fn new(mailbox: MailboxName) -> Self {
        Self {
            mailbox,
            exists: true,
            selectable: true,
            has_children: None,
            can_have_children: true,
            marked: None,
            subscribed: false,
            remote: false,
            special_use: Vec::new(),
            status: None,
            rights: None,
            annotations: None,
        }
    }

    pub(super) fn listed(&self) -> Listed {
        let mut attributes = Vec::new();
        if !self.selectable || !self.exists {
            attributes.push(ListAttribute::NoSelect);
        }
        match self.marked {
            Some(true) => attributes.push(ListAttribute::Marked),
            Some(false) => attributes.push(ListAttribute::Unmarked),
            None => {}
        }
        // RFC 3501 §7.2.2: \Noinferiors says that there are no children too.
        match (self.can_have_children, self.has_children) {
            (false, _) => attributes.push(ListAttribute::NoInferiors),
            (true, Some(true)) => attributes.push(ListAttribute::HasChildren),
            (true, Some(false)) => attributes.push(ListAttribute::HasNoChildren),
            (true, None) => {}
        }
        attributes.extend(self.special_use.iter().copied().map(ListAttribute::Special));
        if self.remote {
            attributes.push(ListAttribute::Remote);
        }
        Listed::new(self.mailbox.clone(), attributes)
    }
}

/// A message is to be put into a mailbox (APPEND).
///
/// Once that is agreed to, [`Event::Body`](super::Event::Body) brings it in pieces and
/// [`Event::BodyEnd`](super::Event::BodyEnd) asks to commit it. After
/// [`Event::BodyAborted`](super::Event::BodyAborted), or if the connection closes, nothing must be left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// The flags it shall have.
    pub flags: FlagSet,
    /// The internal date it shall have; now if `None`.
    pub internal_date: Option<DateTime>,
    /// What is noted about it (RFC 5257 §4.7).
    pub annotations: Vec<AnnotationValue>,
    /// Its length in octets; `None` if it is pieced together, so that nobody knows yet (RFC 4469).
    pub size: Option<u64>,
    /// Whether there are messages before it in the same command (RFC 3502): what has come is one whole, and all of them are to appear
    /// at one moment, or none.
    pub sequel: bool,
    /// The message of the open mailbox that is expunged at the moment when this one appears (RFC 8508).
    pub replaces: Option<Uid>,
}

impl Request for Message {
    type Answer = Answered<()>;
}

/// The message has come whole: put it where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commit;

/// A part of another message goes into the one that comes in, where it is now (RFC 4469).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Include {
    /// The URL of the part, as the client gave it.
    pub url: String,
}

impl Include {
    pub(super) fn new(url: String) -> Self {
        Self { url }
    }
}

impl Request for Include {
    /// How many octets went into the message. Refuse with [`Refusal::bad_url`](crate::Refusal::bad_url) if there is no such part.
    type Answer = Answered<u64>;
}

impl Request for Commit {
    /// The UIDs the messages have; `None` if the store does not tell.
    type Answer = Answered<Option<AppendUid>>;
}

/// The UIDs of messages that were appended (RFC 4315 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppendUid {
    /// The validity of the UIDs of the mailbox.
    pub uid_validity: UidValidity,
    /// The UIDs: one for each message, in order.
    pub uids: UidSet,
}

impl AppendUid {
    /// The messages have these UIDs.
    pub fn new(uid_validity: UidValidity, uids: impl Into<UidSet>) -> Self {
        Self { uid_validity, uids: uids.into() }
    }
}

/// The client wants to know what is new (NOOP, CHECK): report it with [`Server::notify`](super::Server::notify), then
/// answer. Only asked while a mailbox is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refresh;

impl Request for Refresh {
    type Answer = ();
}

/// The client waits for what happens (IDLE): report what is new so far, then answer. From then on what is reported with
/// [`Server::notify`](super::Server::notify) goes out at once, until [`Event::IdleEnd`](super::Event::IdleEnd).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Idle;

impl Request for Idle {
    type Answer = ();
}

/// The open mailbox is left (CLOSE, UNSELECT).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Close {
    /// Whether the messages with `\Deleted` are to be removed.
    pub expunge: bool,
}

impl Request for Close {
    type Answer = Answered<()>;
}
