//! The index of texts over the store: who asks it, and what is put into it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use mailwright_mail_model::query::{Candidates, Query, Trigrams};
use mailwright_mail_model::{MailboxName, Uid, UidSet};
use xxhash_rust::xxh3::xxh3_128;

use super::database::failed;
use super::fulltext::{Entry, FullText, Identity, folder_of, identity};
use super::opening::Opening;
use super::row::{self, name_key};
use super::{Core, Embedded, Lasting};
use crate::{MailboxRef, Message, MessageRef, Offload, Result, Search, Snapshot, StoreError, User};

/// How many users are looked up at a time after the start.
const USERS: usize = 256;
/// What is put into the index at a time, at most and one message more: messages, octets of them, and runs, which take up to 16 octets
/// of memory each.
const MESSAGES: usize = 1_000;
const OCTETS: u64 = 8 << 20;
const RUNS: usize = 1 << 20;
/// How many octets of a message are read at a time.
const CHUNK: u64 = 256 * 1024;

impl<O: Offload + Clone> Search for Embedded<O> {
    async fn candidates(
        &self,
        mailbox: &MailboxRef,
        snapshot: &Arc<Snapshot>,
        query: &Query,
    ) -> Result<Option<UidSet>> {
        let lasting = Arc::clone(&self.shared.lasting);
        let Some(wanted) = lasting.fulltext.as_ref().and_then(|_| Candidates::of(query)) else {
            return Ok(None);
        };
        let (user, snapshot) = (mailbox.user().clone(), Arc::clone(snapshot));
        let narrowed = move || narrow(lasting.fulltext.as_ref()?, &user, &snapshot, &wanted);
        Ok(self.offload.run(narrowed).await)
    }

    async fn behind(&self) -> User {
        let Some(texts) = &self.shared.lasting.fulltext else { return std::future::pending().await };
        loop {
            // Counted before looking, so that what is told after the look is not slept through.
            let raised = texts.raised().raised();
            if let Some(user) = texts.next() {
                return user;
            }
            if let Some(after) = texts.unvisited() {
                let start = after.clone();
                if let Ok(users) = self.run(move |core| core.users_after(&start, USERS)).await {
                    texts.visit(&after, users);
                    continue;
                }
            }
            texts.raised().wait(raised).await;
        }
    }

    async fn keep_up(&self, user: &User) -> Result<()> {
        let (opening, lasting) = (Arc::clone(&self.shared.opening), Arc::clone(&self.shared.lasting));
        let user = user.clone();
        let mut task = self.offload.run(move || Task::begin(opening, lasting, user)).await?;
        while let Some(begun) = task {
            task = self.offload.run(move || begun.step()).await?;
            give_way().await;
        }
        Ok(())
    }
}

/// Lets others go on, and whoever waits for this give up.
async fn give_way() {
    let mut gave = false;
    poll_fn(|context| {
        if std::mem::replace(&mut gave, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl<O: Offload + Clone> Embedded<O> {
    /// Removes what the index has of a user, whose mail is gone or must not lie open any more.
    pub(super) async fn forget_texts(&self, user: &User) -> Result<()> {
        let (lasting, user) = (Arc::clone(&self.shared.lasting), user.clone());
        let forget = move || lasting.fulltext.as_ref().map_or(Ok(()), |texts| forget(texts, &user));
        self.offload.run(forget).await
    }
}

impl Core {
    /// Some of the users who have mailboxes, in the order of their names behind this one.
    fn users_after(&self, after: &[u8], most: usize) -> Result<Vec<Box<[u8]>>> {
        let mut users: Vec<Box<[u8]>> = Vec::new();
        let mut last = after.to_vec();
        while users.len() < most {
            // A name ends in NUL here, and has none.
            let start = if last.is_empty() { Vec::new() } else { [&last[..], b"\x01"].concat() };
            let Some(entry) = self.database.names.range(start..).next() else { break };
            last = row::user_of(&entry.key().map_err(failed)?).to_vec();
            users.push(last.as_slice().into());
        }
        Ok(users)
    }

    /// Removes the indexes of users who are gone: it was interrupted when they went.
    pub(super) fn sweep_texts(&self) -> Result<()> {
        let Some(texts) = &self.fulltext else { return Ok(()) };
        let mut folders = texts.folders();
        let mut after: Box<[u8]> = Box::default();
        while !folders.is_empty() {
            let users = self.users_after(&after, USERS)?;
            let Some(last) = users.last() else { break };
            after.clone_from(last);
            for user in users {
                folders.remove(&folder_of(&user));
            }
        }
        texts.sweep(folders).map_err(unavailable)
    }
}

/// The candidates in a mailbox; `None` if the index cannot tell. It is no reason not to search.
fn narrow(texts: &FullText, user: &User, snapshot: &Snapshot, wanted: &Candidates) -> Option<UidSet> {
    let index = texts.of(user, false).ok().flatten()?;
    let found = index.candidates(snapshot, wanted);
    if found.is_err() {
        // It is made anew, if it can be.
        let _ = texts.forget(user);
        texts.tell(user.as_str().as_bytes());
    }
    found.ok()
}

fn forget(texts: &FullText, user: &User) -> Result<()> {
    texts.forget(user).map_err(unavailable)
}

fn unavailable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("the index of texts: {error}"))
}

/// A user's index on its way up to the mail.
struct Task {
    opening: Arc<Opening>,
    lasting: Arc<Lasting>,
    user: User,
    moment: u64,
    /// What the mail was like at the beginning.
    state: String,
    /// The mailboxes that are not in it, and what is missing of the last of them, last ones first.
    mailboxes: Vec<MailboxName>,
    missing: Option<(Arc<Snapshot>, Vec<Uid>)>,
}

impl Task {
    /// Finds out what is to be done, and takes out of the index what is gone; `None` if that is all.
    fn begin(opening: Arc<Opening>, lasting: Arc<Lasting>, user: User) -> Result<Option<Self>> {
        let Some(texts) = &lasting.fulltext else { return Ok(None) };
        // Before looking: whoever encrypts or erases meanwhile ends this.
        let moment = texts.moment();
        let core = opening.core()?;
        let list = core.list(&user)?;
        // What is encrypted in one place must not lie open in another.
        if core.lock_of(&user)?.is_some() || list.iter().all(|(_, status)| status.messages == 0) {
            drop(core);
            forget(texts, &user)?;
            return Ok(None);
        }
        // The same UIDs are there as long as none was given out and as many are there.
        let mut state: Vec<_> = list
            .iter()
            .map(|(mailbox, status)| {
                let validity = status.uid_validity.get();
                (mailbox.id.map(u128::from), validity, status.uid_next, status.messages)
            })
            .collect();
        state.sort_unstable();
        let state = format!("{:032x}", xxh3_128(format!("{state:?}").as_bytes()));
        let index = texts.of(&user, false).map_err(unavailable)?;
        if index.is_some_and(|index| index.is_up_to(&state)) {
            return Ok(None);
        }
        let mailboxes: Vec<MailboxName> = list.into_iter().map(|(mailbox, _)| mailbox.name).collect();
        let mut live: Vec<Identity> = Vec::new();
        for name in &mailboxes {
            let snapshot = snapshot(&core, &user, name)?;
            live.extend(snapshot.iter().flat_map(|snapshot| snapshot.messages()).filter_map(identity));
        }
        drop(core);
        live.sort_unstable();
        let remove = texts.change(&user, moment, |index| {
            let gone = index.gone(&live);
            if gone.is_empty() { Ok(()) } else { index.change(&gone, Vec::new(), None) }
        });
        let begun =
            Self { moment, state, mailboxes, missing: None, opening, lasting: Arc::clone(&lasting), user };
        begun.if_done(remove)
    }

    /// Goes on with it, or has it begun anew.
    fn if_done(self, done: tantivy::Result<bool>) -> Result<Option<Self>> {
        match done {
            Ok(true) => return Ok(Some(self)),
            Ok(false) => {}
            Err(error) => {
                if let Some(texts) = &self.lasting.fulltext {
                    forget(texts, &self.user)?;
                }
                return Err(unavailable(error));
            }
        }
        if let Some(texts) = &self.lasting.fulltext {
            texts.tell(self.user.as_str().as_bytes());
        }
        Ok(None)
    }

    /// Puts some messages into the index; `None` if there are no more.
    fn step(mut self) -> Result<Option<Self>> {
        let lasting = Arc::clone(&self.lasting);
        let Some(texts) = &lasting.fulltext else { return Ok(None) };
        let Some((snapshot, mut missing)) = self.missing.take() else { return self.next_mailbox(texts) };
        let Some(name) = self.mailboxes.last() else { return Ok(None) };
        let mailbox = MailboxRef::new(self.user.clone(), name.clone(), &snapshot);
        let (mut entries, mut octets, mut runs) = (Vec::new(), 0, 0);
        while entries.len() < MESSAGES && octets < OCTETS && runs < RUNS {
            let Some(uid) = missing.pop() else { break };
            let Some(message) = snapshot.message(uid) else { continue };
            octets += message.size;
            let Some(id) = identity(message) else { continue };
            if let Some(entry) = self.entry(id, &mailbox.message(message))? {
                runs += entry.1.as_ref().map_or(1, Vec::len);
                entries.push(entry);
            }
        }
        if missing.is_empty() {
            self.mailboxes.pop();
        } else {
            self.missing = Some((snapshot, missing));
        }
        let done = if entries.is_empty() {
            Ok(true)
        } else {
            lasting.room(0)?;
            texts.change(&self.user, self.moment, |index| index.change(&[], entries, None))
        };
        self.if_done(done)
    }

    /// Goes to the next mailbox of which something is missing, or ends.
    fn next_mailbox(mut self, texts: &FullText) -> Result<Option<Self>> {
        let Some(name) = self.mailboxes.last() else {
            self.lasting.room(0)?;
            let done = texts
                .change(&self.user, self.moment, |index| index.change(&[], Vec::new(), Some(&self.state)));
            return self.if_done(done).map(|_| None);
        };
        let found = snapshot(&*self.opening.core()?, &self.user, name)?;
        let index = texts.of(&self.user, false).map_err(unavailable)?;
        let missing = found.map(|snapshot| {
            let unknown = |message: &&Message| index.as_ref().is_none_or(|index| index.lacks(message));
            let missing: Vec<Uid> =
                snapshot.messages().rev().filter(unknown).map(|message| message.uid).collect();
            (snapshot, missing)
        });
        match missing.filter(|(_, missing)| !missing.is_empty()) {
            Some(missing) => self.missing = Some(missing),
            None => {
                self.mailboxes.pop();
            }
        }
        Ok(Some(self))
    }

    /// What the index has of a message; `None` if it is gone.
    fn entry(&self, id: Identity, message: &MessageRef) -> Result<Option<Entry>> {
        let (mut trigrams, mut offset) = (Trigrams::new(), 0);
        while offset < message.size {
            match self.opening.core()?.read(message, &(offset..message.size.min(offset + CHUNK))) {
                Ok(chunk) if !chunk.is_empty() => {
                    offset += chunk.len() as u64;
                    trigrams.push(&chunk);
                }
                Err(StoreError::NotFound) => return Ok(None),
                // Whoever searches finds out, each time.
                Ok(_) | Err(StoreError::Corrupt(_) | StoreError::Locked(_)) => return Ok(Some((id, None))),
                Err(error) => return Err(error),
            }
        }
        Ok(Some((id, trigrams.finish())))
    }
}

/// A mailbox, unless it was deleted a moment ago.
fn snapshot(core: &Core, user: &User, name: &MailboxName) -> Result<Option<Arc<Snapshot>>> {
    let key = name_key(user.as_str(), name.as_str());
    let Some(live) = core.live(&key)? else { return Ok(None) };
    match core.snapshot(&key, &live) {
        Err(StoreError::NotFound) => Ok(None),
        found => found.map(Some),
    }
}
