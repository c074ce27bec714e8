//! Keeping a copy of a mailbox: what has changed since it was seen last, told by the server where it can (RFC 7162),
//! found out where it cannot.

use mailwright_imap_proto::{
    MessageSet, SequenceSet,
    client::{Event, Opened},
    command::{Enable, Fetch, FetchItem, Resync, Search, SearchReturn, Select},
    response::{Capabilities, Response},
};
use mailwright_mail_model::{FlagSet, MailboxName, ModSeq, Uid, UidSet, query::Query};

use super::{
    ImapClient, Replica,
    idle::is_of_mailbox,
    told::{Count, Told},
    unread::{is_exists, unread},
};
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

impl ImapClient {
    /// Opens a mailbox and brings a copy of it up to date, with as little said as the server is able to.
    ///
    /// What changes while this runs is told as [`news`](Self::news), and by the next call. News of the mailbox that was open before are
    /// dropped. If what is told of a message cannot be read, its flags stay as they were, and the next call asks again for all that has
    /// changed; one that is new has none until then.
    ///
    /// ```no_run
    /// # use mailwright::client::{ClientError, ImapClient, Replica};
    /// # use mailwright::mail_model::MailboxName;
    /// # async fn example(client: &mut ImapClient, mut replica: Replica) -> Result<(), ClientError> {
    /// let synced = client.sync(MailboxName::inbox(), false, &mut replica).await?;
    /// for uid in synced.added.iter() {
    ///     let mut message = Vec::new();
    ///     match client.message(uid, &mut message).await? {
    ///         Some(octets) => println!("{uid} has {octets} octets"),
    ///         None => println!("{uid} is gone already"),
    ///     }
    /// }
    /// // Keep the replica, which is a text too: the next time, only what has changed is told.
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`]; the copy is as it was then. [`ClientError::MessagesMissing`] if the server tells of fewer messages than it says that
    /// there are; [`ClientError::Closed`] if what it tells takes more than [`Config::answer`](mailwright_imap_proto::client::Config::answer)
    /// octets, which are counted as they are held here, or is of more messages than there are.
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
        let unreadable = told.unreadable;
        if told.whole {
            replica.flags = told.flags;
        } else {
            for uid in synced.removed.iter() {
                replica.flags.remove(&uid);
            }
            replica.flags.extend(told.flags);
        }
        replica.uid_validity = synced.opened.uid_validity;
        replica.mod_seq = match unreadable {
            false => synced.opened.highest_mod_seq,
            // What could not be read is told again the next time.
            true => replica.mod_seq.filter(|_| same),
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
        let (mut told, mut unreadable) = (Told::default(), None);
        // What was told before is about numbers that mean nothing any more, and what it says is found out now.
        self.news.retain(|event| !is_of_mailbox(event));
        loop {
            match self.link.next().await? {
                Event::Select(answered, outcome) if answered == ticket => {
                    let opened = outcome?;
                    self.count = Count::of(opened.messages);
                    return unreadable.map_or(Ok((opened, told)), Err);
                }
                // RFC 7162 §3.2.11: until here it was about the mailbox that was open.
                Event::MailboxClosed => {
                    (told, unreadable) = (Told::default(), None);
                    self.news.retain(|event| !is_of_mailbox(event));
                }
                Event::Fetched { uid, fetched } => told.note(uid, &fetched),
                Event::Unasked(Response::Vanished { earlier: true, uids }) => told.gone.add(&uids),
                Event::Skipped(start) if self.lacks(ticket) => {
                    told.unreadable = true;
                    // Without it, nothing that is told adds up.
                    if is_exists(&start) {
                        unreadable.get_or_insert_with(|| unread(&start));
                    }
                }
                other => self.note(other),
            }
            self.bound(&told)?;
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
        let messages = opened.messages as usize;
        match *method {
            SyncMethod::Full => {}
            SyncMethod::Resync => {
                let mut told = told.in_order();
                if told.unreadable && told.count(before) == messages {
                    // One that is new and one that is gone, of neither of which it could be read.
                    told.only(&self.all_uids().await?, before);
                }
                if told.count(before) == messages {
                    return Ok(told);
                }
            }
            SyncMethod::ChangedSince => {
                let mut told = match opened.highest_mod_seq == before.mod_seq {
                    true => Told::default(),
                    false => self.all_flags(before.mod_seq).await?,
                };
                if told.unreadable || told.count(before) != messages {
                    told.only(&self.all_uids().await?, before);
                }
                if told.count(before) == messages {
                    return Ok(told);
                }
            }
        }
        // What does not add up was told by a server that cannot do what it says.
        *method = SyncMethod::Full;
        let mut all = if messages > 0 { self.all_flags(None).await? } else { Told::default() };
        if all.flags.len() as u64 > self.count.ever {
            return Err(self.too_long("messages, which is all that the mailbox has", self.count.ever));
        }
        if all.unreadable || all.flags.len() < self.count.now as usize {
            // A response that cannot be read is no sign that its message is gone.
            let least = self.count.now;
            for uid in self.all_uids().await?.iter() {
                // Those that came meanwhile are told of the next time.
                let is_old = opened.uid_next.is_none_or(|next| uid < next);
                let known = || before.flags.get(&uid).filter(|_| same).cloned().unwrap_or_default();
                all.flags.entry(uid).or_insert_with(|| {
                    all.unreadable |= is_old;
                    known()
                });
            }
            self.all_told(all.flags.len() as u64, least).await?;
        }
        all.whole = true;
        Ok(all)
    }

    /// Whether it is of all messages that something was told, of which there were so many before.
    async fn all_told(&mut self, told: u64, before: u32) -> Result<(), ClientError> {
        if told < u64::from(self.count.now.min(before)) {
            // RFC 9051 §7.5.1: others may be gone of which the server could not tell until now.
            self.noop().await?;
        }
        match self.count.now.min(before) {
            exists if told < u64::from(exists) => Err(ClientError::MessagesMissing { told, exists }),
            _ => Ok(()),
        }
    }

    /// What is kept is bounded.
    fn bound(&mut self, told: &Told) -> Result<(), ClientError> {
        match told.octets() > self.config.answer {
            true => Err(self.too_long("octets", self.config.answer)),
            false => Ok(()),
        }
    }

    async fn all_flags(&mut self, since: Option<ModSeq>) -> Result<Told, ClientError> {
        let mut fetch = Fetch::new(MessageSet::Uid(SequenceSet::all()), [FetchItem::Flags]);
        fetch.changed_since = since;
        let mut told = Told::default();
        self.fetch(fetch).await?;
        while let Some(event) = self.next_fetched().await? {
            match event {
                Event::Fetched { uid, fetched } => told.note(uid, &fetched),
                Event::Skipped(_) => told.unreadable = true,
                _ => {}
            }
            self.bound(&told)?;
        }
        Ok(told)
    }

    /// The UIDs of all messages: in ranges, where the server can tell them so (RFC 4731), which are few octets for any number of them.
    ///
    /// No more than there are messages, for each is kept with its flags.
    async fn all_uids(&mut self) -> Result<UidSet, ClientError> {
        let mut search = Search::new(Query::all());
        let ranges = |all: &Capabilities| all.has("ESEARCH") || all.has("IMAP4rev2");
        if self.capabilities().is_some_and(ranges) {
            search.returns = Some(SearchReturn::all());
        }
        let all: UidSet = self.call(search).await?.into_iter().filter_map(Uid::new).collect();
        match all.len() > self.count.ever {
            true => Err(self.too_long("messages, which is all that the mailbox has", self.count.ever)),
            false => Ok(all),
        }
    }
}
