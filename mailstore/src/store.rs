//! The trait of a mail store: three methods make one, facets add the rest.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::MailboxName;

use crate::{
    Acl, Annotate, Cache, Changes, Feed, Folders, Import, Mailbox, MessageRef, Metadata, Origins, Quota,
    Result, Scripts, Search, Snapshot, Spool, Status, StoreError, Undelete, User, Watch, Write,
};

/// Users' mail. Three methods make a read-only IMAP and POP3 server; each facet adds what its trait says.
///
/// A facet is offered by returning `Some`: a server advertises exactly what the store can do. A facet may look at
/// configuration and return `None` at run time, but answers the same throughout the store's life.
///
/// A new facet comes with a default of `None`, so it never breaks a store that does not know it.
///
/// Names of mailboxes and of users are compared letter by letter, `INBOX` alone excepted, which [`MailboxName`] sees to: names that differ in
/// case are of different mailboxes, and no letter stands for others.
///
/// No method may assume that this process is the only one at the mail: UIDs, mod-sequences and change
/// notices are the store's to give out.
pub trait Store: Send + Sync {
    /// Every mailbox of the user, in no particular order, `INBOX` always among them.
    fn mailboxes(&self, user: &User) -> impl Future<Output = Result<Vec<Mailbox>>> + Send;

    /// The present state of a mailbox, shared by all who look at it. `INBOX` can always be opened.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound) if there is no such mailbox.
    fn open(&self, user: &User, name: &MailboxName) -> impl Future<Output = Result<Arc<Snapshot>>> + Send;

    /// Octets of a message, from `range.start` on and never any at `range.end` or behind. May return fewer than asked for, but none only if
    /// `range` is empty or begins at the message's end: read on behind what came until it is all there. A range may end behind the message.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound) if the message has been expunged.
    fn read(&self, message: &MessageRef, range: Range<u64>) -> impl Future<Output = Result<Bytes>> + Send;

    /// Messages, each whole, in the order asked; nothing for one that did not come whole, which has to be [read](Self::read) by itself
    /// to know why. All of them are held in memory, so ask for few and small ones. Override it if many at a time cost less than one by one,
    /// most of all in ascending order.
    fn read_together(
        &self,
        messages: &[MessageRef],
    ) -> impl Future<Output = Result<Vec<Option<Bytes>>>> + Send {
        async move {
            let mut together = Vec::with_capacity(messages.len());
            for message in messages {
                let octets = self.read(message, 0..message.size).await.ok();
                together.push(octets.filter(|octets| octets.len() as u64 == message.size));
            }
            Ok(together)
        }
    }

    /// The counts of a mailbox. Override it if the store knows them without looking at every message.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    fn status(&self, user: &User, name: &MailboxName) -> impl Future<Output = Result<Status>> + Send {
        async { self.open(user, name).await.map(|snapshot| Status::from(&*snapshot)) }
    }

    /// Every mailbox of the user with its counts, for LIST with STATUS (RFC 5819) and for NOTIFY. Override it if the store knows
    /// the counts without opening each mailbox.
    fn list(&self, user: &User) -> impl Future<Output = Result<Vec<(Mailbox, Status)>>> + Send {
        async {
            let mut list = Vec::new();
            for mailbox in self.mailboxes(user).await? {
                match self.status(user, &mailbox.name).await {
                    Ok(status) => list.push((mailbox, status)),
                    // Deleted meanwhile.
                    Err(StoreError::NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(list)
        }
    }

    /// The most octets of a message the store takes, for APPENDLIMIT (RFC 7889) and SIZE; `None` is no limit of its own.
    fn append_limit(&self) -> Option<u64> {
        None
    }

    /// The most different keywords that the messages of a mailbox can have at a time; `None` is no limit. A change of flags beyond it is
    /// refused ([`TooMany`](StoreError::TooMany)); messages that come with more lose those that do not fit.
    fn keyword_limit(&self) -> Option<usize> {
        None
    }

    /// Whether every mailbox and every message has an identity that lasts, for OBJECTID (RFC 8474).
    fn keeps_object_ids(&self) -> bool {
        false
    }

    /// Opt in: delivery, APPEND, STORE, EXPUNGE, COPY, MOVE, POP3's DELE.
    fn writer(&self) -> Option<&impl Write> {
        None::<&Never>
    }

    /// Opt in: CREATE, DELETE, RENAME, SUBSCRIBE. Without, every mailbox counts as subscribed.
    fn folders(&self) -> Option<&impl Folders> {
        None::<&Never>
    }

    /// Opt in: IDLE by push. Without, mailboxes are opened again now and then.
    fn watch(&self) -> Option<&impl Watch> {
        None::<&Never>
    }

    /// Opt in: mod-sequences that mean something, for CONDSTORE and QRESYNC.
    fn changes(&self) -> Option<&impl Changes> {
        None::<&Never>
    }

    /// Opt in: stored ENVELOPE and BODYSTRUCTURE. Without, messages are scanned each time.
    fn cache(&self) -> Option<&impl Cache> {
        None::<&Never>
    }

    /// Opt in: an index of texts. Without, searches read what they have to.
    fn search(&self) -> Option<&impl Search> {
        None::<&Never>
    }

    /// Opt in: a queue of mail that waits to be sent on. Without, mail is for mailboxes here alone.
    fn spool(&self) -> Option<&impl Spool> {
        None::<&Never>
    }

    /// Opt in: QUOTA, and refusals of what is too much.
    fn quota(&self) -> Option<&impl Quota> {
        None::<&Never>
    }

    /// Opt in: access control lists and shared mailboxes. Without, everybody has their own mailboxes only.
    fn acl(&self) -> Option<&impl Acl> {
        None::<&Never>
    }

    /// Opt in: METADATA.
    fn metadata(&self) -> Option<&impl Metadata> {
        None::<&Never>
    }

    /// Opt in: envelopes of deliveries, unique ids of imported messages.
    fn origins(&self) -> Option<&impl Origins> {
        None::<&Never>
    }

    /// Opt in: mailboxes taken over with their UIDs.
    fn import(&self) -> Option<&impl Import> {
        None::<&Never>
    }

    /// Opt in: NOTIFY by push. Without, lists and counts are compared now and then.
    fn feed(&self) -> Option<&impl Feed> {
        None::<&Never>
    }

    /// Opt in: expunged messages can be had back for a while.
    fn undelete(&self) -> Option<&impl Undelete> {
        None::<&Never>
    }

    /// Opt in: ANNOTATE. Without, nothing can be noted about messages.
    fn annotator(&self) -> Option<&impl Annotate> {
        None::<&Never>
    }

    /// Opt in: Sieve scripts. Without, no user filters mail.
    fn scripts(&self) -> Option<&impl Scripts> {
        None::<&Never>
    }
}

/// The facet of a store that lacks it; has no value.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "it never gets a variant")]
pub enum Never {}
