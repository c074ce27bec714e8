//! Who finds out whether messages answer a query, from what is known of each, from what the store keeps beside them and from their octets.

use bytes::Bytes;
use mailwright_mail_model::query::{Key, Matcher, Metadata, Node, Query, Verdict};
use mailwright_mailstore::{Message, MessageRef, Store, StoreError};

use super::reading::{Beside, Texts};
use crate::imap::described::{CHUNK, short};
use crate::service::octets_of;

/// What was found out about a message.
#[derive(Debug)]
pub(super) enum Finding {
    /// It answers, this well.
    Answers(u8),
    AnswersNot,
    /// It has to be read.
    Undecided,
    /// It cannot be read.
    Unread(StoreError),
}

/// Finds out whether messages answer a query.
#[derive(Debug)]
pub(super) struct Judge {
    matcher: Matcher,
    now: i64,
    /// Whether identities are searched for: writing them down for every message costs something.
    by_id: bool,
}

impl Judge {
    /// One who finds out how well they answer, too, if that is wanted.
    pub(super) fn new(query: &Query, now: i64, scoring: bool) -> Self {
        Self {
            matcher: if scoring { Matcher::scoring(query) } else { Matcher::new(query) },
            now,
            by_id: any(query, &|key| matches!(key, Key::EmailId(_) | Key::ThreadId(_))),
        }
    }

    /// How well the message at hand answers.
    pub(super) fn score(&self) -> u8 {
        self.matcher.score()
    }

    /// What is known without reading.
    pub(super) fn metadata(&mut self, message: &Message) -> Verdict {
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

    /// What is known with what is kept beside messages.
    pub(super) fn beside(&mut self, messages: &[Message], (headers, structures): Beside) -> Vec<Finding> {
        let (mut headers, mut structures) = (headers.into_iter(), structures.into_iter());
        let finding = |message: &Message| {
            let (header, structure) = (headers.next().flatten(), structures.next().flatten());
            let mut verdict = self.metadata(message);
            if let Some(structure) = structure {
                verdict = self.matcher.structure(&structure);
            }
            if let (Verdict::NeedsHeader, Some(header)) = (verdict, header) {
                verdict = self.matcher.header(&header);
            }
            self.finding(verdict)
        };
        messages.iter().map(finding).collect()
    }

    /// What is known with the octets of messages, of which some are read already.
    pub(super) async fn texts(
        &mut self,
        store: &impl Store,
        messages: &[(Message, MessageRef)],
        texts: Texts,
    ) -> Vec<Finding> {
        let (mut texts, mut findings) = (texts.into_iter(), Vec::with_capacity(messages.len()));
        for (message, reference) in messages {
            let octets = texts.next().flatten().filter(|octets| !octets.is_empty());
            let mut verdict = self.metadata(message);
            if !matches!(verdict, Verdict::True | Verdict::False) {
                verdict = match self.read(store, reference, octets).await {
                    Ok(true) => Verdict::True,
                    // Expunged meanwhile: it answers nothing.
                    Ok(false) | Err(StoreError::NotFound) => Verdict::False,
                    Err(error) => {
                        findings.push(Finding::Unread(error));
                        continue;
                    }
                };
            }
            findings.push(self.finding(verdict));
        }
        findings
    }

    /// Feeds a message to the matcher until it knows; `begun` is what is read of it already.
    async fn read(
        &mut self,
        store: &impl Store,
        message: &MessageRef,
        mut begun: Option<Bytes>,
    ) -> Result<bool, StoreError> {
        let mut offset = 0;
        while offset < message.size {
            let chunk = match begun.take() {
                Some(octets) => octets,
                None => octets_of(store, message, offset..message.size.min(offset + CHUNK)).await?,
            };
            if chunk.is_empty() {
                return Err(short());
            }
            offset += chunk.len() as u64;
            if let verdict @ (Verdict::True | Verdict::False) = self.matcher.message_chunk(&chunk) {
                return Ok(verdict == Verdict::True);
            }
            if offset < message.size {
                // A large message and many keys are long work: others go on between its parts.
                tokio::task::yield_now().await;
            }
        }
        Ok(self.matcher.finish())
    }

    fn finding(&self, verdict: Verdict) -> Finding {
        match verdict {
            Verdict::True => Finding::Answers(self.score()),
            Verdict::False => Finding::AnswersNot,
            _ => Finding::Undecided,
        }
    }
}

/// Whether a key of a query is such a one. As deep as the query is, which is bounded.
pub(super) fn any(query: &Query, is: &impl Fn(&Key) -> bool) -> bool {
    match query.node() {
        Node::Key(key) => is(key),
        Node::Not(query) | Node::Fuzzy(query) => any(query, is),
        Node::And(queries) | Node::Or(queries) => queries.iter().any(|query| any(query, is)),
        _ => false,
    }
}
