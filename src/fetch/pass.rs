//! One look at an account: what is new is brought, what is here is deleted there if that is wanted.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use mailwright_mail_model::{DateTime, FlagSet, MailboxName};
use mailwright_mailstore::clock;
use mailwright_smtp_proto::Reply;

use super::{
    Arrival, BodyDigest, Broken, End, Entry, EntryState, FetchAccount, FetchConfig, FetchError, Fingerprint,
    Ledger, MessageName, Pieces, Receive, Received,
    book::{Book, Looked},
    fingerprint::HeaderReader,
    stumbling::Stumbling,
};
use crate::smtp::fetched_words;

/// How many messages in a row may fail before the mailbox is believed to be what fails.
const PATIENCE: usize = 3;
/// How many lines of the ledger are written together.
const TOGETHER: usize = 1_000;

/// A message, as the server lists it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed {
    pub(super) name: MessageName,
    /// What it is called in this session.
    pub(super) handle: u32,
    pub(super) size: Option<u64>,
    /// What it has in common with those whose names are alike but for their order, if there may be such: such a name passes to the next
    /// message when one goes.
    pub(super) shared: Option<MessageName>,
}

/// A session with the server: what POP3 and IMAP have in common.
pub(super) trait Remote: Send {
    /// All messages that are there. The sizes of those that are known do not matter.
    fn list(
        &mut self,
        known: &HashMap<MessageName, Entry>,
    ) -> impl Future<Output = Result<Vec<Listed>, FetchError>> + Send;

    /// Asks for a message, or for its header, of which more may come; whether it is there, as far as can be said yet.
    fn open(&mut self, handle: u32, header: bool) -> impl Future<Output = Result<bool, FetchError>> + Send;

    /// The next part of it.
    fn piece(&mut self) -> impl Future<Output = Result<Option<Bytes>, FetchError>> + Send;

    /// Behind its end: whether there was a message, and when it came there.
    fn came(&self) -> (bool, Option<DateTime>);

    /// The mailbox here that a message comes into, if it does not go the way of all mail.
    fn mailbox(&self, _handle: u32) -> Option<MailboxName> {
        None
    }

    /// Behind its end: its flags there.
    fn flags(&self) -> FlagSet {
        FlagSet::new()
    }

    /// Deletes messages; which of them are deleted, or will be with the end of the session.
    fn delete(&mut self, handles: &[u32]) -> impl Future<Output = Result<Vec<u32>, FetchError>> + Send;

    /// What was passed over since this was asked the last time.
    fn notes(&mut self) -> Vec<String>;

    /// The mailboxes that were left out by the last look because they show the messages of others; nothing if nobody has looked yet.
    fn views(&self) -> Option<&[String]> {
        None
    }
}

/// One look.
pub(super) struct Pass<'a, D, L> {
    pub(super) delivery: &'a D,
    pub(super) ledger: &'a L,
    pub(super) config: &'a FetchConfig,
    pub(super) account: &'a FetchAccount,
    /// The messages that break the connection.
    pub(super) stumbling: &'a Stumbling,
    /// Called for each message that has come.
    pub(super) delivered: &'a (dyn Fn() + Send + Sync),
}

impl<D: Receive, L: Ledger> Pass<'_, D, L> {
    /// Does it. What fails for one message does not stop the others; the error is told at the end.
    pub(super) async fn run(&self, remote: &mut impl Remote) -> Result<(), FetchError> {
        let entries = self.ledger.entries(self.account.id)?;
        let mut known: HashMap<_, _> = entries.into_iter().map(|entry| (entry.name, entry)).collect();
        // What was too large may not be any more: it is as if it had never been seen, but that the ledger has a line of it.
        let fits = |entry: &Entry| matches!(entry.state, EntryState::TooLarge(size) if self.config.largest.is_none_or(|most| size <= most));
        let again: Vec<Entry> = known.extract_if(|_, entry| fits(entry)).map(|(_, entry)| entry).collect();
        let listed = remote.list(&known).await?;
        known.extend(again.iter().map(|entry| (entry.name, entry.clone())));
        self.note_presence(&mut known, &listed).await?;
        known.retain(|_, entry| !fits(entry));
        // A server that knows none of the names it gave has given new ones: most of these messages are here. Otherwise a message
        // that is known by another name is the exception, and it is found out on its way.
        let renamed = !listed.iter().any(|message| known.contains_key(&message.name));
        let mut book = Book::new(known, &listed, self.account.policy);
        let renamed = renamed && !book.is_complete();
        let (mut failed, mut in_a_row) = (None, 0);
        self.stumbling.keep(&listed);
        for message in &listed {
            if book.known.contains_key(&message.name) || self.stumbling.waits(message.name) {
                continue;
            }
            let brought = self.look_at(remote, message, renamed, &mut book).await;
            self.stumbling.note(message.name, &brought, self.config.longest_retry);
            match brought? {
                Ok(()) => in_a_row = 0,
                Err(reply) => {
                    in_a_row += 1;
                    failed = Some(reply);
                    if in_a_row == PATIENCE {
                        break;
                    }
                }
            }
        }
        self.delete(remote, &listed, &mut book.known).await?;
        failed.map_or(Ok(()), |reply| Err(FetchError::Delivery(reply)))
    }

    /// Notes which messages the server does not show, and which of them it shows again. What is gone for long is forgotten.
    async fn note_presence(
        &self,
        known: &mut HashMap<MessageName, Entry>,
        listed: &[Listed],
    ) -> Result<(), FetchError> {
        let there: HashSet<MessageName> = listed.iter().map(|message| message.name).collect();
        let (clock, remember) = (clock::read(), self.config.remember.as_secs());
        let (mut changed, mut forgotten) = (Vec::new(), Vec::new());
        for entry in known.values_mut() {
            let gone = match (there.contains(&entry.name), entry.gone) {
                // One that we deleted and that was gone may be another now, of the same name: it is looked into.
                (true, since) if entry.deleted => since,
                (true, _) => 0,
                (false, 0) => clock.to_date_with(),
                (false, since) => since,
            };
            if gone != 0 && gone.saturating_add(remember) < clock.to_judge_age() {
                forgotten.push(entry.name);
            } else if gone != entry.gone {
                entry.gone = gone;
                changed.push(entry.clone());
            }
        }
        for some in changed.chunks(TOGETHER) {
            self.ledger.change(self.account.id, some, &[]).await?;
        }
        for some in forgotten.chunks(TOGETHER) {
            self.ledger.change(self.account.id, &[], some).await?;
        }
        forgotten.iter().for_each(|name| drop(known.remove(name)));
        Ok(())
    }

    /// Brings a message, unless it is here under another name. The inner error is why it cannot be delivered now.
    async fn look_at(
        &self,
        remote: &mut impl Remote,
        message: &Listed,
        renamed: bool,
        book: &mut Book,
    ) -> Result<Result<(), Reply>, FetchError> {
        if renamed && self.was_renamed(remote, message, book).await? {
            return Ok(Ok(()));
        }
        self.bring(remote, message, book).await
    }

    /// Looks at the header of a message alone; whether it is here under another name, which is noted.
    async fn was_renamed(
        &self,
        remote: &mut impl Remote,
        message: &Listed,
        book: &mut Book,
    ) -> Result<bool, FetchError> {
        if !remote.open(message.handle, true).await? {
            return Ok(false);
        }
        let mut header = HeaderReader::default();
        while let Some(octets) = remote.piece().await? {
            header.push(&octets);
        }
        let (fingerprint, looked) = (header.fingerprint(), Looked::Header(message.size));
        if !remote.came().0 || !book.was_known(fingerprint, looked) {
            return Ok(false);
        }
        self.rename(message, fingerprint, looked, book).await?;
        Ok(true)
    }

    /// A message that is here has another name now.
    async fn rename(
        &self,
        message: &Listed,
        fingerprint: Fingerprint,
        looked: Looked,
        book: &mut Book,
    ) -> Result<(), FetchError> {
        let Some(mut entry) = book.take(fingerprint, looked) else { return Ok(()) };
        let earlier = std::mem::replace(&mut entry.name, message.name);
        (entry.gone, entry.size) = (0, message.size.or(entry.size));
        // Where names are shared, another may have the earlier name by now.
        let removed = (earlier != entry.name && !book.known.contains_key(&earlier)).then_some(earlier);
        // At one moment: two messages of one fingerprint must not be taken for one.
        self.ledger.change(self.account.id, std::slice::from_ref(&entry), removed.as_slice()).await?;
        book.known.insert(entry.name, entry);
        Ok(())
    }

    /// Brings a message. The inner error is why it cannot be delivered now.
    async fn bring(
        &self,
        remote: &mut impl Remote,
        message: &Listed,
        book: &mut Book,
    ) -> Result<Result<(), Reply>, FetchError> {
        let account = self.account;
        if let Some((size, _)) = message.size.zip(self.config.largest).filter(|(size, most)| size > most) {
            self.refuse(Entry::new(message.name, None, EntryState::TooLarge(size), counted()), book).await?;
            return Ok(Ok(()));
        }
        if !remote.open(message.handle, false).await? {
            return Ok(Ok(()));
        }
        let mailbox = remote.mailbox(message.handle);
        let words = fetched_words(&self.config.hostname, account.user.as_str());
        let (header, ledger, end) = (HeaderReader::default(), self.ledger, Verdict::None);
        let mut pieces = Streaming { remote, header, message, words, account, ledger, book, end };
        let arrival = Arrival {
            user: &account.user,
            protocol: account.protocol,
            host: &account.host,
            size: message.size,
            mailbox: mailbox.as_ref(),
        };
        let outcome = self.delivery.receive(&arrival, &mut pieces).await;
        let verdict = std::mem::take(&mut pieces.end);
        match (outcome, verdict) {
            (_, Verdict::Broken(error)) => return Err(error),
            (Ok(received @ (Received::WithRows | Received::WithoutRows)), Verdict::Deliver(entry)) => {
                if received == Received::WithoutRows {
                    self.ledger.change(account.id, std::slice::from_ref(&entry), &[]).await?;
                }
                book.known.insert(entry.name, entry);
                (self.delivered)();
            }
            (_, Verdict::Known(fingerprint, body)) => {
                self.rename(message, fingerprint, Looked::Whole(body), book).await?;
            }
            (_, Verdict::Loop(entry)) => self.refuse(entry, book).await?,
            (Err(reply), _) if is_of_message(&reply) => {
                let reason = reply.to_string().trim_end().to_owned();
                let entry = Entry::new(message.name, None, EntryState::Refused(reason), counted());
                self.refuse(entry, book).await?;
            }
            (Err(reply), _) => return Ok(Err(reply)),
            // It went away while we looked.
            (Ok(_), _) => {}
        }
        Ok(Ok(()))
    }

    /// Notes that a message stays where it is.
    async fn refuse(&self, entry: Entry, book: &mut Book) -> Result<(), FetchError> {
        let reason = entry.state.reason().unwrap_or_default();
        tracing::warn!(user = %self.account.user, host = self.account.host, reason, "a message is not fetched");
        self.ledger.change(self.account.id, std::slice::from_ref(&entry), &[]).await?;
        book.known.insert(entry.name, entry);
        Ok(())
    }

    /// Deletes there what is here, as far as the policy goes.
    async fn delete(
        &self,
        remote: &mut impl Remote,
        listed: &[Listed],
        known: &mut HashMap<MessageName, Entry>,
    ) -> Result<(), FetchError> {
        let now = clock::read().to_judge_age();
        let goes = |message: &Listed| {
            known.get(&message.name).is_some_and(|entry| {
                entry.state == EntryState::Delivered && self.account.policy.deletes(entry.since, now)
            })
        };
        // Names that are shared change with each message that goes: these go all together, when all are here.
        let stay: HashSet<MessageName> =
            listed.iter().filter(|message| !goes(message)).filter_map(|message| message.shared).collect();
        let goes =
            |message: &&Listed| goes(message) && message.shared.is_none_or(|shared| !stay.contains(&shared));
        let going: HashMap<u32, MessageName> =
            listed.iter().filter(goes).map(|message| (message.handle, message.name)).collect();
        if going.is_empty() {
            return Ok(());
        }
        let mut handles: Vec<u32> = going.keys().copied().collect();
        handles.sort_unstable();
        let deleted = remote.delete(&handles).await?;
        let mut changed = Vec::new();
        for name in deleted.iter().filter_map(|handle| going.get(handle)) {
            if let Some(entry) = known.get_mut(name).filter(|entry| !entry.deleted) {
                entry.deleted = true;
                changed.push(entry.clone());
            }
        }
        for some in changed.chunks(TOGETHER) {
            self.ledger.change(self.account.id, some, &[]).await?;
        }
        Ok(())
    }
}

/// Whether it is the message that cannot be delivered, and will not be later.
fn is_of_message(reply: &Reply) -> bool {
    // RFC 3463 §3: X.1 is of addresses, X.2 of mailboxes.
    reply.is_permanent() && reply.enhanced().is_none_or(|(_, subject, _)| !matches!(subject, 1 | 2))
}

/// Now, in seconds since 1970, to be shown.
pub(super) fn seconds() -> u64 {
    clock::read().shown()
}

/// Now, for the ledger: what came and went is counted by it.
fn counted() -> u64 {
    clock::read().to_date_with()
}

/// What is found out about a message on its way.
#[derive(Debug, Default)]
enum Verdict {
    /// Nothing yet, or that it is not there.
    #[default]
    None,
    Deliver(Entry),
    Known(Fingerprint, BodyDigest),
    Loop(Entry),
    Broken(FetchError),
}

/// A message on its way.
struct Streaming<'a, R, L> {
    remote: &'a mut R,
    header: HeaderReader,
    message: &'a Listed,
    /// The words of a trace field of ours.
    words: [String; 3],
    account: &'a FetchAccount,
    ledger: &'a L,
    book: &'a Book,
    end: Verdict,
}

impl<R: Remote, L: Ledger> Pieces for Streaming<'_, R, L> {
    async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        match self.remote.piece().await {
            Ok(Some(octets)) => {
                self.header.push(&octets);
                Ok(Some(octets))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                self.end = Verdict::Broken(error);
                Err(Broken)
            }
        }
    }

    fn end(&mut self) -> Option<End> {
        let (there, date) = self.remote.came();
        if !there {
            return None;
        }
        let (fingerprint, body) = (self.header.fingerprint(), self.header.body());
        if self.book.was_known(fingerprint, Looked::Whole(body)) {
            self.end = Verdict::Known(fingerprint, body);
            return None;
        }
        let mut entry = Entry::new(self.message.name, Some(fingerprint), EntryState::Delivered, counted());
        (entry.size, entry.body) = (self.message.size, Some(body));
        if self.header.came_by(&self.words.each_ref().map(String::as_str)) {
            let reason = "it came round in a loop: it was fetched for this user before".to_owned();
            entry.state = EntryState::Refused(reason);
            self.end = Verdict::Loop(entry);
            return None;
        }
        let row = self.ledger.row(self.account.id, &entry);
        self.end = Verdict::Deliver(entry);
        let flags = self.remote.flags();
        Some(End { flags, ..End::new(self.header.sender(), date, vec![row]) })
    }
}
