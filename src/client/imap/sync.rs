//! Keeping a copy of a mailbox: what has changed since it was seen last, told by the server where it can (RFC 7162),
//! found out where it cannot.

use std::collections::BTreeMap;

use mailwright_imap_proto::{
    MessageSet, SequenceSet,
    client::{Event, Opened},
    command::{Enable, Fetch, FetchItem, Resync, Search, Select},
    response::{Fetched, Response},
};
use mailwright_mail_model::{FlagSet, MailboxName, ModSeq, Uid, UidSet, query::Query};

use super::{ImapClient, Replica, idle::is_of_mailbox};
use crate::client::ClientError;

/// How a copy is brought up to date, from the least to the most that the server does for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SyncMethod {
    /// All flags are asked for.
    Full,
    /// Changed flags are asked for, and if messages are missing, which are there (CONDSTORE).
    ChangedSince,
    /// The server tells it all while it opens the mailbox (QRESYNC).
    Resync,
}

/// What bringing a copy up to date has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Synced {
    /// The mailbox as it was opened.
    pub opened: Box<Opened>,
    /// How it was done.
    pub method: SyncMethod,
    /// The UIDs mean something else than before: all that was known is among `removed`, whatever is there among `added`.
    pub reset: bool,
    /// Messages that were not known.
    pub added: UidSet,
    /// Messages with other flags than before.
    pub changed: UidSet,
    /// Messages that are gone.
    pub removed: UidSet,
}

/// What is told of messages while it is told.
#[derive(Default)]
struct Told {
    flags: Vec<(Uid, FlagSet)>,
    vanished: UidSet,
}

impl ImapClient {
    /// Opens a mailbox and brings a copy of it up to date, with as little said as the server is able to.
    ///
    /// What changes while this runs is told as [`news`](Self::news), and by the next call. News of the mailbox that was open before are
    /// dropped.
    ///
    /// ```no_run
    /// # use mailwright::client::{ClientError, ImapClient, Replica};
    /// # use mailwright::mail_model::MailboxName;
    /// # async fn example(client: &mut ImapClient, mut replica: Replica) -> Result<(), ClientError> {
    /// let synced = client.sync(MailboxName::inbox(), false, &mut replica).await?;
    /// for uid in synced.added.iter() {
    ///     let mut message = Vec::new();
    ///     client.message(uid, &mut message).await?;
    /// }
    /// // Keep the replica, which is a text too: the next time, only what has changed is told.
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`]; the copy is as it was then.
    pub async fn sync(
        &mut self,
        mailbox: MailboxName,
        read_only: bool,
        replica: &mut Replica,
    ) -> Result<Synced, ClientError> {
        self.sync_by(SyncMethod::Resync, mailbox, read_only, replica).await
    }

    /// As [`sync`](Self::sync), with no better method than this: for servers whose extensions cannot be trusted.
    ///
    /// # Errors
    /// As for [`sync`](Self::sync).
    pub async fn sync_by(
        &mut self,
        best: SyncMethod,
        mailbox: MailboxName,
        read_only: bool,
        replica: &mut Replica,
    ) -> Result<Synced, ClientError> {
        let mut method = self.best_method().await?.min(best);
        let mut select = Select::new(mailbox, read_only);
        select.mod_sequences = method == SyncMethod::ChangedSince;
        if let (SyncMethod::Resync, Some(validity), Some(mod_seq)) =
            (method, replica.uid_validity, replica.mod_seq)
        {
            select.resync = Some(Resync::new(validity, mod_seq));
        }
        let (opened, told) = self.open_listening(select).await?;
        let before = std::mem::take(&mut replica.flags);
        // RFC 4315 §3: UIDs that do not last mean nothing in another session, whatever their validity.
        let same = opened.uid_validity.is_some()
            && opened.uid_validity == replica.uid_validity
            && !opened.uid_not_sticky;
        // A server that has lost mod-sequences, such as one that was restored, tells no changes since a later one.
        let goes_on = replica.mod_seq.is_some_and(|known| opened.highest_mod_seq >= Some(known));
        if !same || !goes_on {
            method = SyncMethod::Full;
        }
        let gathered = self.gather(&mut method, &opened, &before, replica.mod_seq, told).await;
        let now = match gathered {
            Ok(now) => now,
            Err(error) => {
                replica.flags = before;
                return Err(error);
            }
        };
        let reset = !same && replica.uid_validity.is_some();
        let known = |uid: &Uid| same && before.contains_key(uid);
        let synced = Synced {
            method,
            reset,
            added: now.keys().copied().filter(|uid| !known(uid)).collect(),
            changed: now
                .iter()
                .filter(|(uid, flags)| same && before.get(uid).is_some_and(|before| before != *flags))
                .map(|(uid, _)| *uid)
                .collect(),
            removed: before.keys().copied().filter(|uid| !same || !now.contains_key(uid)).collect(),
            opened,
        };
        *replica = Replica {
            uid_validity: synced.opened.uid_validity,
            mod_seq: synced.opened.highest_mod_seq,
            flags: now,
        };
        Ok(synced)
    }

    /// What the server can do. QRESYNC is enabled the first time.
    async fn best_method(&mut self) -> Result<SyncMethod, ClientError> {
        let offers = |client: &mut Self, name| client.capabilities().is_some_and(|all| all.has(name));
        if offers(self, "QRESYNC") && self.resync.is_none() {
            // RFC 7162 §3.2.3. A server that refuses is asked in another way.
            let enabled = match self.call(Enable::new(["QRESYNC"])).await {
                Ok(enabled) => enabled.has("QRESYNC"),
                Err(ClientError::Refused(_)) => false,
                Err(error) => return Err(error),
            };
            self.resync = Some(enabled);
        }
        let mod_sequences = offers(self, "CONDSTORE") || offers(self, "QRESYNC");
        Ok(match self.resync {
            Some(true) => SyncMethod::Resync,
            _ if mod_sequences => SyncMethod::ChangedSince,
            _ => SyncMethod::Full,
        })
    }

    /// Opens a mailbox and keeps what is told of its messages.
    async fn open_listening(&mut self, select: Select) -> Result<(Box<Opened>, Told), ClientError> {
        self.settle().await?;
        let ticket = self.link.machine().call(select)?;
        let mut told = Told::default();
        // What was told before is about numbers that mean nothing any more, and what it says is found out now.
        self.news.retain(|event| !is_of_mailbox(event));
        loop {
            match self.link.next().await? {
                Event::Select(answered, outcome) if answered == ticket => return Ok((outcome?, told)),
                Event::Fetched { uid, fetched } => told.note(uid, &fetched),
                Event::Unasked(Response::Vanished { earlier: true, uids }) => {
                    told.vanished = told.vanished.union(&uids);
                }
                other => self.note(other),
            }
        }
    }

    /// The flags of all messages that are there now.
    async fn gather(
        &mut self,
        method: &mut SyncMethod,
        opened: &Opened,
        before: &BTreeMap<Uid, FlagSet>,
        since: Option<ModSeq>,
        told: Told,
    ) -> Result<BTreeMap<Uid, FlagSet>, ClientError> {
        let mut now = before.clone();
        match *method {
            SyncMethod::Full => {}
            SyncMethod::Resync => {
                now.retain(|uid, _| !told.vanished.contains(*uid));
                now.extend(told.flags);
            }
            SyncMethod::ChangedSince => {
                if opened.highest_mod_seq != since {
                    now.extend(self.all_flags(since).await?);
                }
                if now.len() != opened.messages as usize {
                    let there: UidSet = self
                        .call(Search::new(Query::all()))
                        .await?
                        .into_iter()
                        .filter_map(Uid::new)
                        .collect();
                    now.retain(|uid, _| there.contains(*uid));
                }
            }
        }
        // What does not add up was told by a server that cannot do what it says.
        if *method == SyncMethod::Full || now.len() != opened.messages as usize {
            *method = SyncMethod::Full;
            now = BTreeMap::new();
            if opened.messages > 0 {
                now.extend(self.all_flags(None).await?);
            }
        }
        Ok(now)
    }

    async fn all_flags(&mut self, since: Option<ModSeq>) -> Result<Vec<(Uid, FlagSet)>, ClientError> {
        let mut fetch = Fetch::new(MessageSet::Uid(SequenceSet::all()), [FetchItem::Flags]);
        fetch.changed_since = since;
        let mut told = Told::default();
        let mut fetching = self.fetch(fetch).await?;
        while let Some(event) = fetching.next().await? {
            if let Event::Fetched { uid, fetched } = event {
                told.note(uid, &fetched);
            }
        }
        Ok(told.flags)
    }
}

impl Told {
    fn note(&mut self, uid: Option<Uid>, fetched: &Fetched) {
        if let (Some(uid), Some(flags)) = (uid, fetched.flags()) {
            self.flags.push((uid, flags.flags.clone()));
        }
    }
}
