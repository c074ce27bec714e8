//! A query on its way through a mailbox: from what is known of each message to what the store keeps beside it, and to its octets. Those are read
//! and looked at some messages at a time, by work that goes on beside this.

use std::sync::Arc;

use mailwright_imap_proto::Answered;
use mailwright_mail_model::{
    Uid, UidSet,
    query::{Key, Query, Verdict},
};
use mailwright_mailstore::{Message, MessageRef, Store, StoreError};

use super::{
    judge::{Finding, Judge, any},
    reading::{beside, texts},
};
use crate::{
    imap::{
        ahead::Ahead, headers::is_kept, progress::Progress, refusal, remembered::Wanted, selected::Selected,
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

/// What was found out about some messages, and who did.
struct Found<M> {
    judge: Judge,
    messages: Vec<M>,
    findings: Result<Vec<Finding>, StoreError>,
}

/// A query on its way through a mailbox.
pub(super) struct Scan<'a, S> {
    store: &'a Arc<S>,
    selected: &'a Selected,
    query: &'a Query,
    now: i64,
    judge: Judge,
    /// Who has nothing to look at.
    idle: Vec<Judge>,
    /// Whether nothing but what has to be read tells something, of any message.
    unread: bool,
    /// Whether the fields that are kept are all that is searched of the header.
    kept: bool,
    /// Those that are searched.
    fields: Wanted,
    /// Whether the structures of messages tell something.
    structures: bool,
    /// Messages that what is kept beside them may decide, and those that are under way.
    to_look_beside: Vec<Message>,
    beside: Ahead<(), Found<Message>>,
    /// Messages that have to be read, the octets they have, and those that are under way.
    to_read: Vec<(Message, MessageRef)>,
    octets: u64,
    texts: Ahead<(), Found<(Message, MessageRef)>>,
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
        query: &'a Query,
        fields: Wanted,
        progress: &'a Progress,
        scores: Option<Vec<(Uid, u8)>>,
    ) -> Self {
        let now = now().seconds();
        Self {
            store,
            selected,
            query,
            now,
            judge: Judge::new(query, now, scores.is_some()),
            idle: Vec::new(),
            unread: !any(query, &|key| {
                use Key::{Body, Header, SentBefore, SentOn, SentSince, Text};
                !matches!(key, Header { .. } | SentBefore(_) | SentOn(_) | SentSince(_) | Body(_) | Text(_))
            }),
            kept: !any(query, &|key| match key {
                Key::Text(_) => true,
                Key::Header { name, .. } => !is_kept(name),
                _ => false,
            }),
            fields,
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
        let mut known = None;
        for (index, message) in messages.enumerate() {
            if index % BREATH == 0 {
                self.tell();
                // A store whose reads never wait would otherwise keep this thread from everybody else.
                tokio::task::yield_now().await;
            }
            let verdict = known.unwrap_or_else(|| self.judge.metadata(message));
            known = Some(verdict).filter(|_| self.unread);
            match verdict {
                Verdict::True => self.answers(message.uid, self.judge.score()),
                Verdict::False => self.decided += 1,
                Verdict::NeedsHeader if self.kept => self.look_beside(message).await?,
                _ if self.structures => self.look_beside(message).await?,
                _ => self.look_into(message.clone()).await,
            }
        }
        self.read_beside(false).await?;
        while let Some(((), found)) = self.beside.next().await {
            self.note_beside(found).await?;
        }
        self.read_texts(false).await;
        while let Some(((), found)) = self.texts.next().await {
            self.note_texts(found);
        }
        self.found = self.found.union(&self.row.into_iter().collect());
        Ok((self.found, self.scores.unwrap_or_default()))
    }

    /// Notes that a message answers, and how well.
    fn answers(&mut self, uid: Uid, score: u8) {
        self.decided += 1;
        if let Some(scores) = &mut self.scores {
            scores.push((uid, score));
        }
        self.row.push(uid);
        if self.row.len() >= BATCH {
            self.found = self.found.union(&self.row.drain(..).collect());
        }
    }

    /// Tells how far it is.
    fn tell(&mut self) {
        self.progress.add(std::mem::take(&mut self.decided));
    }

    fn take_judge(&mut self) -> Judge {
        self.idle.pop().unwrap_or_else(|| Judge::new(self.query, self.now, self.scores.is_some()))
    }

    async fn look_beside(&mut self, message: &Message) -> Answered<()> {
        self.to_look_beside.push(message.clone());
        if self.to_look_beside.len() < BATCH { Ok(()) } else { self.read_beside(true).await }
    }

    /// Looks at what is kept beside the messages that wait for it.
    async fn read_beside(&mut self, more: bool) -> Answered<()> {
        let messages = std::mem::take(&mut self.to_look_beside);
        if messages.is_empty() {
            return Ok(());
        }
        let references: Vec<MessageRef> =
            messages.iter().map(|message| self.selected.mailbox.message(message)).collect();
        let (mut judge, store) = (self.take_judge(), Arc::clone(self.store));
        let fields = Some(self.fields.clone()).filter(|fields| self.kept && !fields.is_empty());
        let structures = self.structures;
        let work = async move {
            let read = beside(&*store, &references, fields.as_ref(), structures).await;
            let findings = read.map(|read| judge.beside(&messages, read));
            Found { judge, messages, findings }
        };
        match self.beside.begin((), work, more).await {
            Some(((), found)) => self.note_beside(found).await,
            None => Ok(()),
        }
    }

    async fn note_beside(&mut self, found: Found<Message>) -> Answered<()> {
        self.idle.push(found.judge);
        let findings = found.findings.map_err(|error| refusal(&error))?;
        for (message, finding) in found.messages.into_iter().zip(findings) {
            match finding {
                Finding::Undecided => self.look_into(message).await,
                finding => self.note(message.uid, finding),
            }
        }
        Ok(())
    }

    async fn look_into(&mut self, message: Message) {
        // A large one comes by itself.
        if self.octets.saturating_add(message.size) > TOGETHER {
            self.read_texts(true).await;
        }
        self.octets = self.octets.saturating_add(message.size);
        let reference = self.selected.mailbox.message(&message);
        self.to_read.push((message, reference));
        if self.to_read.len() >= FEW {
            self.read_texts(true).await;
        }
    }

    /// Looks into the messages that wait for it.
    async fn read_texts(&mut self, more: bool) {
        let messages = std::mem::take(&mut self.to_read);
        self.octets = 0;
        if messages.is_empty() {
            return;
        }
        let (mut judge, store) = (self.take_judge(), Arc::clone(self.store));
        let work = async move {
            let references: Vec<MessageRef> =
                messages.iter().map(|(_, reference)| reference.clone()).collect();
            let read = texts(&*store, &references).await;
            let findings = Ok(judge.texts(&*store, &messages, read).await);
            Found { judge, messages, findings }
        };
        if let Some(((), found)) = self.texts.begin((), work, more).await {
            self.note_texts(found);
        }
    }

    fn note_texts(&mut self, found: Found<(Message, MessageRef)>) {
        self.idle.push(found.judge);
        for ((message, _), finding) in found.messages.into_iter().zip(found.findings.unwrap_or_default()) {
            self.note(message.uid, finding);
        }
        self.tell();
    }

    fn note(&mut self, uid: Uid, finding: Finding) {
        match finding {
            Finding::Answers(score) => self.answers(uid, score),
            Finding::AnswersNot | Finding::Undecided => self.decided += 1,
            // One message is no reason to find none of the others; that the answer is not whole is told beside it.
            Finding::Unread(error) => {
                self.progress.note(error);
                self.decided += 1;
            }
        }
    }
}
