//! What one commit does.

use std::collections::{HashMap, HashSet};

use mailwright_mail_model::Address;

use super::{QueueEntry, QueueNumber, QueueRecipient};
use crate::{Appended, Target};

/// Everything that one commit does: the message appears in mailboxes, goes into the queue, and what is over with earlier
/// entries is noted; all of it at one moment, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// The mailboxes that the message is put into.
    pub targets: Vec<Target>,
    /// The entries that are to send it on. The store gives each its number, its size and its body.
    pub queue: Vec<QueueEntry>,
    /// What becomes of entries that are there already.
    pub settle: Vec<Settlement>,
    /// Rows of tables that change along with it, where the store [`takes_rows`](crate::Write::takes_rows).
    pub rows: Vec<Row>,
}

/// A change to a row of one of the store's tables (`embedded::Table`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// The table's name.
    pub table: String,
    /// The row's key.
    pub key: Vec<u8>,
    /// What it holds from now on; `None` if it is to go.
    pub value: Option<Vec<u8>>,
    /// The target, counted from 0, whose message the row is about: behind `key` come the UIDVALIDITY and the UID that the message gets
    /// there, four octets each, the high ones first.
    pub target: Option<usize>,
    /// The row changes only if it holds nothing, or nothing greater than this, octet by octet: else nothing of the whole commit is done, and
    /// the error is [`Conflict`](crate::StoreError::Conflict). What the same commit does to the row itself does not count. Not for a row that is
    /// about a target.
    pub unless_above: Option<Vec<u8>>,
}

impl Row {
    /// A row of this table.
    pub fn new(table: impl Into<String>, key: impl Into<Vec<u8>>, value: Option<Vec<u8>>) -> Self {
        Self { table: table.into(), key: key.into(), value, target: None, unless_above: None }
    }

    /// The same row, about the message in this target of the [`Batch`] that it is in.
    ///
    /// ```
    /// use mailwright_mail_model::{DateTime, MailboxName};
    /// use mailwright_mailstore::{
    ///     Batch, Row, Target, User, Write, block_on,
    ///     embedded::{Embedded, Options},
    /// };
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let store = Embedded::open(directory.path(), Options::default())?;
    /// let notes = store.table("notes")?;
    /// let target = Target::new(User::new("alice")?, MailboxName::inbox(), DateTime::EPOCH);
    /// let row = notes.row(b"read by ", Some(b"friday")).of_target(0);
    /// let appended = block_on(async {
    ///     let mut upload = store.begin(None).await?;
    ///     upload.write("Subject: a\r\n\r\n".into()).await?;
    ///     let batch = Batch::to([target]).with_rows(vec![row]);
    ///     Ok::<_, Box<dyn std::error::Error>>(upload.commit_batch(&batch).await?.appended)
    /// })?;
    /// let (key, value) = notes.scan(b"read by ")?.remove(0);
    /// let uid = appended[0].uid.get().to_be_bytes();
    /// assert!(key.ends_with(&uid) && key.len() == 16 && &value[..] == b"friday");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn of_target(mut self, target: usize) -> Self {
        self.target = Some(target);
        self
    }

    /// The same row, which changes only if it holds nothing that is greater than this.
    ///
    /// ```
    /// use mailwright_mailstore::{
    ///     StoreError, block_on,
    ///     embedded::{Embedded, Options},
    /// };
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let store = Embedded::open(directory.path(), Options::default())?;
    /// let seen = store.table("seen")?;
    /// let first = seen.row(b"tea", Some(b"5")).unless_above(b"3");
    /// block_on(seen.change(vec![first.clone()]))?;
    /// assert_eq!(block_on(seen.change(vec![first])), Err(StoreError::Conflict));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn unless_above(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.unless_above = Some(value.into());
        self
    }
}

impl Batch {
    /// Mailboxes and nothing else.
    pub fn to(targets: impl Into<Vec<Target>>) -> Self {
        Self { targets: targets.into(), ..Self::default() }
    }

    /// The same, with these entries of the queue.
    #[must_use]
    pub fn with_queue(mut self, queue: Vec<QueueEntry>) -> Self {
        self.queue = queue;
        self
    }

    /// The same, with these changes to others.
    #[must_use]
    pub fn with_settlements(mut self, settle: Vec<Settlement>) -> Self {
        self.settle = settle;
        self
    }

    /// The same, with these changes to rows of tables.
    #[must_use]
    pub fn with_rows(mut self, rows: Vec<Row>) -> Self {
        self.rows = rows;
        self
    }
}

/// What was committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// One answer a mailbox, in order.
    pub appended: Vec<Appended>,
    /// The number of each new entry, in order.
    pub queued: Vec<QueueNumber>,
}

impl Committed {
    /// For stores.
    pub const fn new(appended: Vec<Appended>, queued: Vec<QueueNumber>) -> Self {
        Self { appended, queued }
    }
}

/// A change to an entry of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settlement {
    /// The entry is as told from now on, all but its number, size and body, and whether it is held: that is changed by
    /// [`Hold`](Self::Hold) alone, which may come while it is being sent; so may [`Expire`](Self::Expire), [`Reroute`](Self::Reroute) and
    /// [`RemoveRecipients`](Self::RemoveRecipients), which count as well.
    Update(Box<QueueEntry>),
    /// The same of an entry that was sent, or tried, since it was read: then it was due at this time, in seconds since 1970. What was set by
    /// hand meanwhile says when it is tried next: a [`Reroute`](Self::Reroute), for which nothing was tried yet; a [`Due`](Self::Due), if
    /// that is earlier than what is told; and an [`Expire`](Self::Expire), before which nothing is put off.
    Attempted(Box<QueueEntry>, u64),
    /// What has become of these recipients of an entry that is still being sent: their [state](QueueRecipient::state) and [what was
    /// said](QueueRecipient::last_error). Nothing else of the entry changes, and it stays whoever waits.
    Recipients(QueueNumber, Vec<QueueRecipient>),
    /// It is over with the entry.
    Remove(QueueNumber),
    /// The entry is held, or is not any more.
    Hold(QueueNumber, bool),
    /// The entry is due at this time, in seconds since 1970, but not before its [release](QueueEntry::release).
    Due(QueueNumber, u64),
    /// These recipients are not sent to any more. The entry goes when nobody is left who waits. May come while it is being sent.
    RemoveRecipients(QueueNumber, Vec<Address>),
    /// The entry is given up at this time, in seconds since 1970, or as the schedule says.
    Expire(QueueNumber, Option<u64>),
    /// The entry goes to this next hop, which is its destination from now on, or to where routes say.
    Reroute(QueueNumber, Option<String>),
}

impl Settlement {
    /// What becomes of an entry that was as `before` by what is told of it `after`: what was set by hand stays. None if nobody waits of the
    /// recipients who are left, since others were removed.
    ///
    /// `began` is when the entry was due that was attempted, if it was.
    pub(crate) fn left(before: &QueueEntry, mut after: QueueEntry, began: Option<u64>) -> Option<QueueEntry> {
        if let Some(began) = began {
            after.due = Self::due(before, &after, began);
        }
        (after.expires, after.route) = (before.expires, before.route.clone());
        if before.route.is_some() {
            after.destination.clone_from(&before.destination);
        }
        let told = after.recipients.len();
        if told > before.recipients.len() {
            let known: HashSet<&Address> = before.recipients.iter().map(|found| &found.address).collect();
            after.recipients.retain(|recipient| known.contains(&recipient.address));
        }
        let waits = after.recipients.len() == told || after.waiting().next().is_some();
        waits.then_some(after)
    }

    /// When it is tried next after an attempt that began when it was due at `began`.
    fn due(before: &QueueEntry, after: &QueueEntry, began: u64) -> u64 {
        // What the attempt met is no reason to put off what goes another way now.
        let due = match before.route == after.route {
            true if before.due == began => after.due,
            true => before.due.min(after.due),
            false => before.due,
        };
        // An end that the attempt knew is in what it says: past it, an entry may wait for no more than room for the report.
        let end = before.expires.filter(|_| before.expires != after.expires);
        end.map_or(due, |end| due.min(end))
    }

    /// Writes down what has become of some recipients; of others nothing is told.
    pub(crate) fn tell(entry: &mut QueueEntry, told: &[QueueRecipient]) {
        let told: HashMap<&Address, &QueueRecipient> =
            told.iter().map(|recipient| (&recipient.address, recipient)).collect();
        for recipient in &mut entry.recipients {
            if let Some(told) = told.get(&recipient.address) {
                recipient.state = told.state;
                recipient.last_error.clone_from(&told.last_error);
            }
        }
    }

    /// Sets the next hop of an entry.
    pub(crate) fn reroute(entry: &mut QueueEntry, route: Option<&String>) {
        entry.route = route.cloned();
        if let Some(route) = route {
            entry.destination.clone_from(route);
        }
    }

    /// The entry without some of its recipients; none if nobody waits of those who are left.
    pub(crate) fn without(entry: &QueueEntry, gone: &[Address]) -> Option<QueueEntry> {
        let mut left = entry.clone();
        left.recipients.retain(|recipient| !gone.contains(&recipient.address));
        let waits = left.waiting().next().is_some();
        waits.then_some(left)
    }
}
