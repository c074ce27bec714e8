//! A query on its way through a mailbox: from what is known of each message to what the store keeps beside it, and to its octets.

use std::sync::Arc;

use bytes::Bytes;
use mailwright_imap_proto::Answered;
use mailwright_mail_model::{
    Uid, UidSet,
    query::{Key, Matcher, Metadata, Node, Query, Verdict},
};
use mailwright_mailstore::{Message, MessageRef, Store, StoreError};

use super::reading::{Beside, Texts, beside, texts};
use crate::{
    imap::{
        ahead::Ahead,
        described::{CHUNK, short},
        headers::is_kept,
        progress::Progress,
        refusal,
        selected::Selected,
    },
    smtp::now,
};

/// After so many messages others may go on.
const BREATH: usize = 256;
/// What is kept of how many messages is had at a time.
const BATCH: usize = 256;
/// How many octets of small messages are had at a time, and how many of them.
const TOGETHER: u64 = 256 * 1024;
const FEW: usize = 128;

/// A query on its way through a mailbox.
pub(super) struct Scan<'a, S> {
    store: &'a Arc<S>,
    selected: &'a Selected,
    matcher: Matcher,
    now: i64,
    /// Whether identities are searched for: writing them down for every message costs something.
    by_id: bool,
    /// Whether the fields that are kept are all that is searched of the header.
    kept: bool,
    /// Whether the structures of messages tell something.
    structures: bool,
    /// Messages that what is kept beside them may decide, and the reads of that.
    to_look_beside: Vec<&'a Message>,
    beside: Ahead<Vec<&'a Message>, Result<Beside, StoreError>>,
    /// Messages that have to be read, the octets they have, and the reads of them.
    to_read: Vec<&'a Message>,
    octets: u64,
    texts: Ahead<Vec<&'a Message>, Texts>,
    /// What answers and has not come into `found`: one by one would cost more than the search itself.
    row: Vec<Uid>,
    found: UidSet,
    /// How well each answers, if that is wanted.
    scores: Option<Vec<(Uid, u8)>>,
    progress: &'a Progress,
    /// Of how many messages it is known whether they answer, since that was told last.
    decided: u64,
}

impl<'a, S: Store + 'static> Scan<'a, S> {
    pub(super) fn new(
        store: &'a Arc<S>,
        selected: &'a Selected,
        query: &Query,
        progress: &'a Progress,
        scores: Option<Vec<(Uid, u8)>>,
    ) -> Self {
        Self {
            store,
            selected,
            matcher: if scores.is_some() { Matcher::scoring(query) } else { Matcher::new(query) },
            now: now().seconds(),
            by_id: any(query, &|key| matches!(key, Key::EmailId(_) | Key::ThreadId(_))),
            kept: !any(query, &|key| match key {
                Key::Text(_) => true,
                Key::Header { name, .. } => !is_kept(name),
                _ => false,
            }),
            structures: any(query, &|key| matches!(key, Key::Part(parts) if parts.is_structural())),
            to_look_beside: Vec::new(),
            beside: Ahead::new(),
            to_read: Vec::new(),
            octets: 0,
            texts: Ahead::new(),
            row: Vec::new(),
            found: UidSet::new(),
            scores,
            progress,
            decided: 0,
        }
    }

    /// The messages among these that answer, and how well.
    pub(super) async fn run(
        mut self,
        messages: impl Iterator<Item = &'a Message>,
    ) -> Answered<(UidSet, Vec<(Uid, u8)>)> {
        for (index, message) in messages.enumerate() {
            if index % BREATH == 0 {
                self.tell();
                // A store whose reads never wait would otherwise keep this thread from everybody else.
                tokio::task::yield_now().await;
            }
            match self.metadata(message) {
                Verdict::True => self.answers(message),
                Verdict::False => self.decided += 1,
                Verdict::NeedsHeader if self.kept => self.look_beside(message).await?,
                _ if self.structures => self.look_beside(message).await?,
                _ => self.look_into(message).await,
            }
        }
        self.read_beside().await?;
        while let Some((messages, beside)) = self.beside.next().await {
            self.judge_beside(messages, beside).await?;
        }
        self.read_texts().await;
        while let Some((messages, texts)) = self.texts.next().await {
            self.judge_texts(messages, texts).await;
        }
        self.found = self.found.union(&self.row.into_iter().collect());
        Ok((self.found, self.scores.unwrap_or_default()))
    }

    fn references(&self, messages: &[&Message]) -> Vec<MessageRef> {
        messages.iter().map(|message| self.selected.mailbox.message(message)).collect()
    }

    /// Notes that the message at hand answers, and how well.
    fn answers(&mut self, message: &Message) {
        self.decided += 1;
        if let Some(scores) = &mut self.scores {
            scores.push((message.uid, self.matcher.score()));
        }
        self.row.push(message.uid);
        if self.row.len() >= BATCH {
            self.found = self.found.union(&self.row.drain(..).collect());
        }
    }

    /// Tells how far it is.
    fn tell(&mut self) {
        self.progress.add(std::mem::take(&mut self.decided));
    }

    /// What is known without reading.
    fn metadata(&mut self, message: &Message) -> Verdict {
        let by_id = self.by_id;
        let ids = [message.object, message.thread].map(|id| id.filter(|_| by_id).map(|id| id.to_string()));
        let [object, thread] = &ids;
        let metadata =
            Metadata::new(message.uid, &message.flags, message.internal_date, message.size, message.modseq)
                .at(self.now)
                .saved(message.saved())
                .identified(object.as_deref(), thread.as_deref());
        self.matcher.metadata(&metadata)
    }

    async fn look_beside(&mut self, message: &'a Message) -> Answered<()> {
        self.to_look_beside.push(message);
        if self.to_look_beside.len() < BATCH { Ok(()) } else { self.read_beside().await }
    }

    /// Reads what is kept beside the messages that wait for it, while that of earlier ones is looked at.
    async fn read_beside(&mut self) -> Answered<()> {
        let messages = std::mem::take(&mut self.to_look_beside);
        if messages.is_empty() {
            return Ok(());
        }
        let read = beside(Arc::clone(self.store), self.references(&messages), self.kept, self.structures);
        match self.beside.begin(messages, read).await {
            Some((messages, beside)) => self.judge_beside(messages, beside).await,
            None => Ok(()),
        }
    }

    async fn judge_beside(
        &mut self,
        messages: Vec<&'a Message>,
        beside: Result<Beside, StoreError>,
    ) -> Answered<()> {
        let (headers, structures) = beside.map_err(|error| refusal(&error))?;
        let (mut headers, mut structures) = (headers.into_iter(), structures.into_iter());
        for message in messages {
            let (header, structure) = (headers.next().flatten(), structures.next().flatten());
            let mut verdict = self.metadata(message);
            if let Some(structure) = structure {
                verdict = self.matcher.structure(&structure);
            }
            if let (Verdict::NeedsHeader, Some(header)) = (verdict, header) {
                verdict = self.matcher.header(&header);
            }
            match verdict {
                Verdict::True => self.answers(message),
                Verdict::False => self.decided += 1,
                _ => self.look_into(message).await,
            }
        }
        Ok(())
    }

    async fn look_into(&mut self, message: &'a Message) {
        // A large one comes by itself.
        if self.octets.saturating_add(message.size) > TOGETHER {
            self.read_texts().await;
        }
        self.to_read.push(message);
        self.octets = self.octets.saturating_add(message.size);
        if self.to_read.len() >= FEW {
            self.read_texts().await;
        }
    }

    /// Reads the messages that wait for it, while earlier ones are looked at.
    async fn read_texts(&mut self) {
        let messages = std::mem::take(&mut self.to_read);
        self.octets = 0;
        if messages.is_empty() {
            return;
        }
        let read = texts(Arc::clone(self.store), self.references(&messages));
        if let Some((messages, texts)) = self.texts.begin(messages, read).await {
            self.judge_texts(messages, texts).await;
        }
    }

    async fn judge_texts(&mut self, messages: Vec<&'a Message>, texts: Texts) {
        self.tell();
        tokio::task::yield_now().await;
        let mut texts = texts.into_iter();
        for message in messages {
            let octets = texts.next().flatten().filter(|octets| !octets.is_empty());
            let reference = self.selected.mailbox.message(message);
            let answers = match self.metadata(message) {
                Verdict::True => true,
                Verdict::False => false,
                _ => match read(&**self.store, &reference, octets, &mut self.matcher).await {
                    Ok(answers) => answers,
                    // Expunged meanwhile: it answers nothing.
                    Err(StoreError::NotFound) => false,
                    // One message is no reason to find none of the others; that the answer is not whole is told beside it.
                    Err(error) => {
                        self.progress.note(error);
                        false
                    }
                },
            };
            match answers {
                true => self.answers(message),
                false => self.decided += 1,
            }
        }
    }
}

/// Whether a key of a query is such a one. As deep as the query is, which is bounded.
fn any(query: &Query, is: &impl Fn(&Key) -> bool) -> bool {
    match query.node() {
        Node::Key(key) => is(key),
        Node::Not(query) | Node::Fuzzy(query) => any(query, is),
        Node::And(queries) | Node::Or(queries) => queries.iter().any(|query| any(query, is)),
        _ => false,
    }
}

/// Feeds a message to the matcher until it knows; `begun` is what is read of it already.
async fn read(
    store: &impl Store,
    message: &MessageRef,
    mut begun: Option<Bytes>,
    matcher: &mut Matcher,
) -> Result<bool, StoreError> {
    let mut offset = 0;
    while offset < message.size {
        let chunk = match begun.take() {
            Some(octets) => octets,
            None => store.read(message, offset..message.size.min(offset + CHUNK)).await?,
        };
        if chunk.is_empty() {
            return Err(short());
        }
        offset += chunk.len() as u64;
        if let verdict @ (Verdict::True | Verdict::False) = matcher.message_chunk(&chunk) {
            return Ok(verdict == Verdict::True);
        }
        if offset < message.size {
            // A large message and many keys are long work: others go on between its parts.
            tokio::task::yield_now().await;
        }
    }
    Ok(matcher.finish())
}
