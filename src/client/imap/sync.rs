//! Keeping a copy of a mailbox: what has changed since it was seen last, told by the server where it can (RFC 7162),
//! found out where it cannot.

use std::collections::BTreeMap;

use mailwright_imap_proto::{
    MessageSet, SequenceSet,
    client::{Event, Opened},
    command::{Enable, Fetch, FetchItem, Resync, Search, SearchReturn, Select},
    response::{Capabilities, Fetched, Response},
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

/// What is told of messages. All the rest is as it was, so that little is copied of a large mailbox.
#[derive(Default)]
struct Told {
    /// Whether it is all there is, and what it does not name is gone.
    whole: bool,
    flags: BTreeMap<Uid, FlagSet>,
    gone: UidSet,
    /// Whether something could not be read that may have told of a message.
    unreadable: bool,
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
        // RFC 4315 §3: UIDs that do not last mean nothing in another session, whatever their validity.
        let same = opened.uid_validity.is_some()
            && opened.uid_validity == replica.uid_validity
            && !opened.uid_not_sticky;
        // A server that has lost mod-sequences, such as one that was restored, tells no changes since a later one.
        let goes_on = replica.mod_seq.is_some_and(|known| opened.highest_mod_seq >= Some(known));
        if !same || !goes_on {
            method = SyncMethod::Full;
        }
        let told = self.gather(&mut method, &opened, replica, same, told).await?;
        let before = &replica.flags;
        let is_gone = |uid: &Uid| match told.whole {
            true => !same || !told.flags.contains_key(uid),
            false => told.gone.contains(*uid),
        };
        let is_new = |uid: &Uid| !same || !before.contains_key(uid);
        let is_changed =
            |uid: &Uid, now: &FlagSet| same && before.get(uid).is_some_and(|before| before != now);
        let changed = told.flags.iter().filter(|&(uid, now)| is_changed(uid, now));
        let synced = Synced {
            method,
            reset: !same && replica.uid_validity.is_some(),
            added: told.flags.keys().copied().filter(is_new).collect(),
            changed: changed.map(|(uid, _)| *uid).collect(),
            removed: before.keys().copied().filter(is_gone).collect(),
            opened,
        };
        if told.whole {
            replica.flags = told.flags;
        } else {
            for uid in synced.removed.iter() {
                replica.flags.remove(&uid);
            }
            replica.flags.extend(told.flags);
        }
        (replica.uid_validity, replica.mod_seq) = (synced.opened.uid_validity, synced.opened.highest_mod_seq);
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
                // RFC 7162 §3.2.11: until here it was about the mailbox that was open.
                Event::MailboxClosed => {
                    told = Told::default();
                    self.news.retain(|event| !is_of_mailbox(event));
                }
                Event::Fetched { uid, fetched } => told.note(uid, &fetched),
                Event::Unasked(Response::Vanished { earlier: true, uids }) => {
                    told.gone = told.gone.union(&uids);
                }
                other => self.note(other),
            }
        }
    }

    /// What has to be known of the messages, beside what was told already.
    async fn gather(
        &mut self,
        method: &mut SyncMethod,
        opened: &Opened,
        before: &Replica,
        same: bool,
        told: Told,
    ) -> Result<Told, ClientError> {
        match *method {
            SyncMethod::Full => {}
            SyncMethod::Resync => {
                let told = told.in_order();
                if told.count(before) == opened.messages as usize {
                    return Ok(told);
                }
            }
            SyncMethod::ChangedSince => {
                let mut told = match opened.highest_mod_seq == before.mod_seq {
                    true => Told::default(),
                    false => self.all_flags(before.mod_seq).await?,
                };
                if told.count(before) != opened.messages as usize {
                    let there = self.all_uids(opened).await?;
                    told.flags.retain(|uid, _| there.contains(*uid));
                    let gone = before.flags.keys().copied().filter(|uid| !there.contains(*uid));
                    told.gone = gone.collect();
                }
                if told.count(before) == opened.messages as usize {
                    return Ok(told);
                }
            }
        }
        // What does not add up was told by a server that cannot do what it says.
        *method = SyncMethod::Full;
        let mut all = if opened.messages > 0 { self.all_flags(None).await? } else { Told::default() };
        let count = self.told_exists().unwrap_or(opened.messages);
        if all.unreadable || all.flags.len() < count as usize {
            // A response that cannot be read is no sign that its message is gone.
            for uid in self.all_uids(opened).await?.iter() {
                let known = || before.flags.get(&uid).filter(|_| same).cloned().unwrap_or_default();
                all.flags.entry(uid).or_insert_with(known);
            }
        }
        Ok(Told { whole: true, ..all })
    }

    async fn all_flags(&mut self, since: Option<ModSeq>) -> Result<Told, ClientError> {
        let mut fetch = Fetch::new(MessageSet::Uid(SequenceSet::all()), [FetchItem::Flags]);
        fetch.changed_since = since;
        let mut told = Told::default();
        let mut fetching = self.fetch(fetch).await?;
        while let Some(event) = fetching.next().await? {
            match event {
                Event::Fetched { uid, fetched } => told.note(uid, &fetched),
                Event::Skipped(_) => told.unreadable = true,
                _ => {}
            }
        }
        Ok(told)
    }

    /// The UIDs of all messages: in ranges, where the server can tell them so (RFC 4731), which are few octets for any number of them.
    ///
    /// No more than there are messages, for each is kept with its flags.
    async fn all_uids(&mut self, opened: &Opened) -> Result<UidSet, ClientError> {
        let mut search = Search::new(Query::all());
        let ranges = |all: &Capabilities| all.has("ESEARCH") || all.has("IMAP4rev2");
        if self.capabilities().is_some_and(ranges) {
            search.returns = Some(SearchReturn::all());
        }
        let all: UidSet = self.call(search).await?.into_iter().filter_map(Uid::new).collect();
        let limit = u64::from(self.told_exists().map_or(opened.messages, |told| told.max(opened.messages)));
        match all.len() > limit {
            true => Err(self.too_long("messages, which is all that the mailbox has", limit)),
            false => Ok(all),
        }
    }
}

impl Told {
    fn note(&mut self, uid: Option<Uid>, fetched: &Fetched) {
        if let (Some(uid), Some(flags)) = (uid, fetched.flags()) {
            self.flags.insert(uid, flags.flags.clone());
        }
    }

    /// What is there is not gone, whatever was said of it before.
    fn in_order(mut self) -> Self {
        self.gone = self.gone.difference(&self.flags.keys().copied().collect());
        self
    }

    /// How many messages there are, by this.
    fn count(&self, before: &Replica) -> usize {
        let new = self.flags.keys().filter(|uid| !before.flags.contains_key(*uid)).count();
        // Not the other way round: servers may name four thousand million.
        let gone = before.flags.keys().filter(|uid| self.gone.contains(**uid)).count();
        before.flags.len() + new - gone
    }
}
