//! SEARCH: what the snapshot does not tell is read, from the header fields that are kept if they suffice.

use mailwright_imap_proto::{
    Answered, Refusal,
    server::{Find, Found},
};
use mailwright_mail_model::{
    Uid, UidSet,
    query::{Key, Matcher, Metadata, Node, Query, Verdict},
};
use mailwright_mailstore::{Message, MessageRef, Search as _, Store, StoreError, accounts::Accounts};

use super::{
    Visit,
    described::{CHUNK, short, structures},
    headers::{headers, is_kept},
    progress::Progress,
    refusal,
    selected::Selected,
};
use crate::smtp::now;

/// After so many messages others may go on.
const BREATH: usize = 32;
/// So few messages are searched without a look into an index.
const FEW: u64 = 16;
/// How many headers are had at a time.
const BATCH: usize = 512;

impl<S: Store, A: Accounts> Visit<'_, S, A> {
    pub(super) async fn find(&self, find: &Find) -> Answered<Found> {
        let selected = self.selected.as_ref().ok_or_else(Refusal::unavailable)?;
        let (found, scores) = self.scored(selected, &find.query, find.scores).await?;
        let told = find.mod_seq.of(&found);
        let mod_seq = selected.snapshot.among(&told).map(|message| message.modseq).max();
        Ok(Found::new(found).with_mod_seq(mod_seq).with_scores(scores))
    }

    /// The messages that answer a query, and how well if that is wanted: in the order of their UIDs (RFC 6203 §4).
    pub(super) async fn scored(
        &self,
        selected: &Selected,
        query: &Query,
        wanted: bool,
    ) -> Answered<(UidSet, Vec<(Uid, u8)>)> {
        let scores = wanted.then(Vec::new);
        let search = self.search(selected, query, None, scores).await?;
        let mut scores = search.scores.unwrap_or_default();
        scores.sort_unstable();
        Ok((search.found, scores))
    }

    /// The messages that answer a query, of all or of some.
    pub(super) async fn matching(
        &self,
        selected: &Selected,
        query: &Query,
        among: Option<&UidSet>,
    ) -> Answered<UidSet> {
        Ok(self.search(selected, query, among, None).await?.found)
    }

    async fn search<'a>(
        &'a self,
        selected: &'a Selected,
        query: &Query,
        among: Option<&UidSet>,
        scores: Option<Vec<(Uid, u8)>>,
    ) -> Answered<Search<'a, S>> {
        let resolved;
        let query = match query.annotations().is_empty() {
            true => query,
            false => {
                resolved = self.resolved(selected, query, among).await?;
                &resolved
            }
        };
        let mut search = Search::new(self.store, selected, query, &self.progress, scores);
        let among = match (query.uids(), among) {
            (Some(uids), Some(among)) => Some(uids.intersection(among)),
            (Some(uids), None) => Some(uids),
            (None, among) => among.cloned(),
        };
        let among = self.narrowed(selected, query, among).await;
        let all = among.as_ref().map_or_else(|| selected.snapshot.len().into(), UidSet::len);
        self.progress.expect(all);
        match among {
            Some(uids) => search.run(selected.snapshot.among(&uids)).await?,
            None => search.run(selected.snapshot.messages()).await?,
        }
        Ok(search)
    }
}

impl<S: Store, A: Accounts> Visit<'_, S, A> {
    /// The messages that need be looked at, by the index of texts if there is one. The search goes on without it if need be.
    async fn narrowed(&self, selected: &Selected, query: &Query, among: Option<UidSet>) -> Option<UidSet> {
        let count = among.as_ref().map_or_else(|| selected.snapshot.len().into(), UidSet::len);
        let Some(index) = self.store.search().filter(|_| count > FEW) else { return among };
        match (index.candidates(&selected.mailbox, &selected.snapshot, query).await, among) {
            (Ok(Some(few)), Some(among)) => Some(among.intersection(&few)),
            (Ok(Some(few)), None) => Some(few),
            (_, among) => among,
        }
    }
}

/// A query on its way through a mailbox.
struct Search<'a, S> {
    store: &'a S,
    selected: &'a Selected,
    matcher: Matcher,
    now: i64,
    /// Whether identities are searched for: writing them down for every message costs something.
    by_id: bool,
    /// Whether the fields that are kept are all that is searched of the header.
    kept: bool,
    /// Whether the structures of messages tell something.
    structures: bool,
    found: UidSet,
    /// How well each answers, if that is wanted.
    scores: Option<Vec<(Uid, u8)>>,
    progress: &'a Progress,
}

impl<'a, S: Store> Search<'a, S> {
    fn new(
        store: &'a S,
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
            found: UidSet::new(),
            scores,
            progress,
        }
    }

    async fn run(&mut self, messages: impl Iterator<Item = &'a Message>) -> Answered<()> {
        let mut open: Vec<&Message> = Vec::new();
        // Whole rows of messages at a time: one by one would cost more than the search itself.
        let mut row: Vec<Uid> = Vec::new();
        for (index, message) in messages.enumerate() {
            if index % (8 * BREATH) == 0 {
                self.progress.add(if index == 0 { 0 } else { 8 * BREATH as u64 });
                // A store whose reads never wait would otherwise keep this thread from everybody else.
                tokio::task::yield_now().await;
            }
            match self.metadata(message) {
                Verdict::True => {
                    self.score(message.uid);
                    row.push(message.uid);
                }
                Verdict::False => {}
                _ => open.push(message),
            }
            if open.len() == BATCH {
                self.read_all(&mut open, &mut row).await?;
            }
            if row.len() >= BATCH {
                self.found = self.found.union(&row.drain(..).collect());
            }
        }
        self.read_all(&mut open, &mut row).await?;
        self.found = self.found.union(&row.into_iter().collect());
        Ok(())
    }

    /// Notes how well the message at hand answers.
    fn score(&mut self, uid: Uid) {
        if let Some(scores) = &mut self.scores {
            scores.push((uid, self.matcher.score()));
        }
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

    async fn read_all(&mut self, open: &mut Vec<&Message>, row: &mut Vec<Uid>) -> Answered<()> {
        let references: Vec<MessageRef> =
            open.iter().map(|message| self.selected.mailbox.message(message)).collect();
        let mut kept = Vec::new();
        if self.kept && !open.is_empty() {
            kept = headers(self.store, &references).await.map_err(|error| refusal(&error))?;
        }
        let mut kept = kept.into_iter();
        let mut known = Vec::new();
        if self.structures && !open.is_empty() {
            known = structures(self.store, &references).await.map_err(|error| refusal(&error))?;
        }
        let mut known = known.into_iter();
        for (index, (message, reference)) in open.drain(..).zip(&references).enumerate() {
            let mut verdict = self.metadata(message);
            if let Some(structure) = known.next().flatten() {
                verdict = self.matcher.structure(&structure);
            }
            if let (Verdict::NeedsHeader, Some(header)) = (verdict, kept.next().flatten()) {
                verdict = self.matcher.header(&header);
            }
            let answers = match verdict {
                Verdict::True => true,
                Verdict::False => false,
                _ => {
                    if index % BREATH == BREATH - 1 {
                        tokio::task::yield_now().await;
                    }
                    match read(self.store, reference, &mut self.matcher).await {
                        Ok(answers) => answers,
                        // Expunged meanwhile: it answers nothing.
                        Err(StoreError::NotFound) => false,
                        // One message is no reason to find none of the others; that the answer is not whole is told beside it.
                        Err(error) => {
                            self.progress.note(error);
                            false
                        }
                    }
                }
            };
            if answers {
                self.score(message.uid);
                row.push(message.uid);
            }
        }
        Ok(())
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

/// Feeds a message to the matcher until it knows.
async fn read(store: &impl Store, message: &MessageRef, matcher: &mut Matcher) -> Result<bool, StoreError> {
    let mut offset = 0;
    while offset < message.size {
        let chunk = store.read(message, offset..message.size.min(offset + CHUNK)).await?;
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
