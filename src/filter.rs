//! What is done with a message for one account before it is in the mailbox: Sieve, or a filter of your own.

mod actions;
mod again;
mod answers;
mod claims;
mod events;
mod given;
mod lists;
mod memory;
mod octets;
mod pipes;
mod programs;
mod scores;
mod sieve;
mod snooze;
mod stopwatch;
mod user_log;
mod zone;

use std::{
    future::Future,
    sync::{Arc, Mutex},
};

use mailwright_mail_model::{Address, DateTime, FlagSet, MailboxName, ReversePath, mime::Structure};
use mailwright_mailstore::{Deadline, Notify, ReturnContent, Row, Upload, User};
use mailwright_sieve::{Envelope, Message};

use crate::imap::{Cause, Filtering};

pub(crate) use events::Handled;
pub(crate) use given::Given;
pub(crate) use octets::{Octets, Sources, header_of};

pub use claims::Claim;
pub use lists::{List, Lists};
pub use memory::{Forgetful, Remember, Remembered};
pub use programs::{Converter, Programs};
pub use scores::{SpamField, VirusField};
pub use sieve::{Explanation, FilterOptions, ScriptOrigin, ServerScripts, SieveFilter, language};
pub use snooze::{Alarm, Snoozing};
pub use user_log::LogLine;
pub use zone::{Zone, ZoneError};

/// Decides where an account's message goes. `()` is the filter that puts everything into INBOX.
pub trait Filter: Send + Sync {
    /// Decides about a message that is here whole and nowhere yet. Whatever goes wrong, the answer must keep it.
    fn filter(&self, mail: &mut Mail<'_>) -> impl Future<Output = Filtered> + Send;

    /// Waits until nobody else is about to remember any of these, and keeps others from it for as long as what it gives lives: from before
    /// the commit of the message until they are [remembered](Self::remember). Nothing if one of them has been remembered since the message
    /// was filtered, because of what it [was not](Seen::since) then: the message is to be filtered again. It is asked about what cannot be
    /// written in the commit. By default nobody waits.
    fn claim(&self, seen: &[Seen]) -> impl Future<Output = Option<Claim>> + Send {
        let _ = seen;
        std::future::ready(Some(Claim::default()))
    }

    /// Remembers what could not be written at the moment at which the message came to where it goes, right after that moment. By default
    /// nothing is remembered.
    fn remember(&self, seen: &Seen) -> impl Future<Output = ()> + Send {
        let _ = seen;
        std::future::ready(())
    }
}

impl Filter for () {
    async fn filter(&self, _: &mut Mail<'_>) -> Filtered {
        Filtered::keep()
    }
}

/// A message for one account.
#[derive(Debug)]
#[non_exhaustive]
pub struct Mail<'a> {
    /// Whose it is.
    pub account: &'a User,
    /// Its octets.
    pub upload: &'a mut Upload,
    /// Its parts.
    pub structure: Arc<Structure>,
    /// Who sent it to whom.
    pub envelope: Envelope,
    /// What it is called in the log.
    pub id: &'a str,
    /// This moment.
    pub now: DateTime,
    /// The octets at its beginning that are for mailboxes only, and are not sent on.
    pub skip: u64,
    /// What happened to it, if it is not being delivered (RFC 6785).
    pub(crate) event: Option<Happened>,
    /// Where it is already, if it is filtered once more.
    pub(crate) again: Option<Again>,
    /// Whose own address an address is, if somebody knows.
    pub(crate) owns: Option<Owns<'a>>,
    /// What programs were given of it.
    pub(crate) given: Given,
}

/// Whether an address is the account's own; `None` if nobody can tell.
pub type IsOwn<'a> = dyn Fn(&Address) -> Option<bool> + Send + Sync + 'a;

/// Knows an account's own addresses.
#[derive(Clone, Copy)]
pub(crate) struct Owns<'a>(pub(crate) &'a IsOwn<'a>);

impl std::fmt::Debug for Owns<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owns").finish_non_exhaustive()
    }
}

/// A message that is filtered once more (draft-bosch-imap-filter-sieve).
#[derive(Debug, Clone)]
pub(crate) struct Again {
    /// Where it is.
    pub(crate) place: Filtering,
    /// Its flags.
    pub(crate) flags: FlagSet,
}

/// What scripts are told of an event (RFC 6785 §4).
#[derive(Debug, Clone)]
pub(crate) struct Happened {
    pub(crate) user: String,
    pub(crate) cause: Cause,
    pub(crate) mailbox: String,
    /// The names of the flags that have changed.
    pub(crate) changed: String,
    /// The flags as they are now.
    pub(crate) flags: Vec<String>,
}

impl<'a> Mail<'a> {
    /// A message that is here whole. `moment` is when it came, and the octets at its beginning that are not sent on.
    pub fn new(
        account: &'a User,
        upload: &'a mut Upload,
        structure: Arc<Structure>,
        envelope: Envelope,
        id: &'a str,
        moment: (DateTime, u64),
    ) -> Self {
        let (now, skip) = moment;
        let (event, again, owns, given) = (None, None, None, Given::default());
        Self { account, upload, structure, envelope, id, now, skip, event, again, owns, given }
    }

    /// The same, with what tells which addresses are the account's own: see [`Addressing::owns`](crate::smtp::Addressing::owns). Without it,
    /// they are its name and the recipient.
    #[must_use]
    pub const fn knowing(mut self, is_own: &'a IsOwn<'a>) -> Self {
        self.owns = Some(Owns(is_own));
        self
    }

    /// The same, with what programs were given of the message so far.
    pub(crate) fn with_given(mut self, given: &Given) -> Self {
        self.given = given.clone();
        self
    }
}

/// What is to be done.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Filtered {
    /// The mailboxes that the message goes into as it is, with its flags there; none if it is discarded.
    pub filings: Vec<Filing>,
    /// Messages that are made of it, or because of it.
    pub made: Vec<Made>,
    /// Why the message is refused, if it is: for a reply where that is possible, for a notice to the sender elsewhere.
    pub refusal: Option<Refused>,
    /// Messages that are nowhere but here: [`Segment::Source`](mailwright_sieve::Segment::Source) 1 and on of what was made.
    pub sources: Vec<Mutex<Upload>>,
    /// What is remembered once the message is where it goes.
    pub seen: Vec<Seen>,
}

/// Something that a filter remembers, so that the next message of its kind is treated otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// For whom.
    pub user: User,
    /// What.
    pub key: String,
    /// Up to which moment, in seconds since 1970.
    pub until: u64,
    /// At which moment it was not remembered, in seconds since 1970, if what becomes of the message follows from that.
    pub since: Option<u64>,
    /// The row by which it is remembered, if it is one of the store that takes the message: it is written in the same commit.
    pub row: Option<Row>,
}

impl Seen {
    /// A key of a user's, up to a moment.
    pub fn new(user: User, key: impl Into<String>, until: u64) -> Self {
        Self { user, key: key.into(), until, since: None, row: None }
    }

    /// The same, which was not remembered at that moment.
    #[must_use]
    pub const fn first_since(mut self, moment: u64) -> Self {
        self.since = Some(moment);
        self
    }

    /// The same, remembered by this row.
    #[must_use]
    pub fn with_row(mut self, row: Option<Row>) -> Self {
        self.row = row;
        self
    }
}

/// One mailbox of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filing {
    /// Which. It exists.
    pub mailbox: MailboxName,
    /// The flags that the message begins with.
    pub flags: FlagSet,
    /// What is written about the message there at the same moment.
    pub(crate) note: Option<Row>,
    /// Whose the mailbox is, if it is not the account's.
    pub(crate) owner: Option<User>,
}

/// A message that a filter made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Made {
    /// Its octets: some of its own, and ranges of the message that came.
    pub message: Message,
    /// Who sends it, and to whom; nobody if it is only filed.
    pub send: Option<(ReversePath, Address)>,
    /// Whether it is what came, sent on: its author is somebody else than whose filter this is.
    pub forwarded: bool,
    /// The mailboxes that it goes into.
    pub filings: Vec<Filing>,
    /// Of what the sender is told (RFC 3461 §4.1), and how much of the message comes back with it; what is usual if not said.
    pub notify: Option<Notify>,
    /// See `notify`.
    pub return_content: Option<ReturnContent>,
    /// By when it is to be delivered (RFC 2852).
    pub deadline: Option<Deadline>,
    /// What is remembered if it is sent.
    pub seen: Option<Seen>,
    /// Whether it is an answer, a notice or a report: no loss if it cannot be sent. The message that came is kept instead of any other.
    pub automatic: bool,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Why, for the sender.
    pub reason: String,
    /// What is sent if it is too late for a reply.
    pub notice: Option<Box<Made>>,
    /// Whether the sender is to have the reason to the letter: then the notice is sent too if no reply can say it.
    pub exact: bool,
}

impl Refused {
    /// How many octets of the reason a reply has.
    pub(crate) const REPLY: usize = 400;

    /// Whether a reply says what is to be said. RFC 5429 §2.2: `reject` is done at the protocol level only if the reason is ASCII.
    pub(crate) fn fits_reply(&self) -> bool {
        !self.exact || self.notice.is_none() || (self.reason.is_ascii() && self.reason.len() <= Self::REPLY)
    }
}

impl Filtered {
    /// Goes on without what was to go into mailboxes of this other user, and into INBOX if that leaves nothing; whether there was such a
    /// thing.
    pub(crate) fn keep_instead_of(&mut self, owner: &User) -> bool {
        let before = self.filings.len();
        self.filings.retain(|filing| filing.owner.as_ref() != Some(owner));
        let any = self.filings.len() < before;
        if any && self.filings.is_empty() {
            self.filings.push(Filing::inbox());
        }
        any
    }

    /// Into INBOX, and nothing else.
    pub fn keep() -> Self {
        Self { filings: vec![Filing::inbox()], ..Self::default() }
    }
}

impl Filing {
    /// INBOX, without flags.
    pub fn inbox() -> Self {
        Self::new(MailboxName::inbox(), FlagSet::new())
    }

    /// Whether it is the INBOX of the account itself.
    pub(crate) fn is_own_inbox(&self) -> bool {
        self.owner.is_none() && self.mailbox.is_inbox()
    }

    /// A mailbox that exists, with flags.
    pub const fn new(mailbox: MailboxName, flags: FlagSet) -> Self {
        Self { mailbox, flags, note: None, owner: None }
    }

    /// What is written about the message at the same moment, if this is a target of its commit.
    pub(crate) fn row(&self, target: usize) -> Option<Row> {
        self.note.clone().map(|note| note.of_target(target))
    }
}

impl Made {
    /// A message to be sent.
    pub fn sent(message: Message, sender: ReversePath, to: Address) -> Self {
        Self { send: Some((sender, to)), ..Self::of(message) }
    }

    /// The same, which is no loss if it cannot be sent.
    #[must_use]
    pub const fn automatic(mut self) -> Self {
        self.automatic = true;
        self
    }

    /// A message to be filed.
    pub fn filed(message: Message, filing: Filing) -> Self {
        Self { filings: vec![filing], ..Self::of(message) }
    }

    fn of(message: Message) -> Self {
        let (send, filings, notify, return_content) = (None, Vec::new(), None, None);
        let (deadline, seen) = (None, None);
        Self {
            message,
            send,
            forwarded: false,
            filings,
            notify,
            return_content,
            deadline,
            seen,
            automatic: false,
        }
    }
}
