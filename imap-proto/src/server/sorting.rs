//! SORT and THREAD: what is asked, and how what was found is told.

use mailwright_line_proto::{Output, Request};
use mailwright_mail_model::{
    AnnotationEntry, AnnotationScope, ModSeq, Uid, UidSet,
    query::Query,
    sort::{SortCriterion, SortKey},
    thread::{ThreadAlgorithm, Threads},
};

use super::{
    Event, ModSeqOf, Server, State,
    answer::Reply,
    contexts::Question,
    run::Turn,
    searching::not_saved,
    slots::{Kind, Slot},
};
use crate::{
    command::{SearchReturn, Sort as SortCommand, Thread as ThreadCommand, names_mod_seq},
    refusal::{Answered, Refusal},
    response::{Esearch, Sort, Status, Thread, set_of},
};

/// Which messages match, and in what order (SORT, UID SORT)?
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Order {
    /// What is searched for, sequence numbers in it already turned into UIDs.
    pub query: Query,
    /// What the order depends on: see [`Sorter`](mailwright_mail_model::sort::Sorter).
    pub criteria: Vec<SortCriterion>,
    /// The annotations that [`SortKey::Annotation`] stands for, by their places (RFC 5257 §4.9).
    pub annotations: Vec<(AnnotationEntry, AnnotationScope)>,
    /// Of which of the messages found the highest mod-sequence is wanted; the first is the one sorted to the front.
    pub mod_seq: ModSeqOf,
    /// Whether it is wanted how well each answers (RFC 6203 §6).
    pub scores: bool,
}

/// The answer to [`Order`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ordered {
    /// The messages that match, sorted.
    pub uids: Vec<Uid>,
    /// The highest mod-sequence of [those it is wanted of](Order::mod_seq).
    pub mod_seq: Option<ModSeq>,
    /// How well each answers, from 1 to 100, if that [is wanted](Order::scores), in the same order.
    pub scores: Vec<u8>,
}

impl Ordered {
    /// These messages, in this order.
    pub fn new(uids: Vec<Uid>) -> Self {
        Self { uids, mod_seq: None, scores: Vec::new() }
    }

    /// With the mod-sequence that was asked for.
    #[must_use]
    pub fn with_mod_seq(self, mod_seq: Option<ModSeq>) -> Self {
        Self { mod_seq, ..self }
    }

    /// With how well each answers, in the same order.
    #[must_use]
    pub fn with_scores(self, scores: Vec<u8>) -> Self {
        Self { scores, ..self }
    }
}

impl Request for Order {
    type Answer = Answered<Ordered>;
}

/// Which messages match, and what threads do they make (THREAD, UID THREAD)?
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gather {
    /// What is searched for, sequence numbers in it already turned into UIDs.
    pub query: Query,
    /// How threads are found: see [`Threader`](mailwright_mail_model::thread::Threader).
    pub algorithm: ThreadAlgorithm,
    /// The messages that the client knows of: no others are to be in the threads.
    pub among: UidSet,
}

impl Request for Gather {
    type Answer = Answered<Threads>;
}

impl ModSeqOf {
    /// Those of messages that are sorted.
    pub fn of_sorted(self, sorted: &[Uid]) -> UidSet {
        let (first, last) = (sorted.first().copied(), sorted.last().copied());
        match self {
            Self::None => UidSet::new(),
            Self::All => sorted.iter().copied().collect(),
            Self::First => first.into_iter().collect(),
            Self::Last => last.into_iter().collect(),
            Self::Ends => first.into_iter().chain(last).collect(),
        }
    }
}

impl Server {
    pub(super) fn sort(&mut self, turn: Turn, sort: SortCommand) -> Option<Output<Event>> {
        let SortCommand { criteria, annotations, query, returns, sent, .. } = sort;
        let mod_seq = match self.mod_seq_wanted(&query, returns.as_ref()) {
            Ok(mod_seq) => mod_seq,
            Err(refusal) => return self.no_search(&turn, returns.as_ref(), refusal),
        };
        if let Some(refused) = self.reuses_tag(&turn, returns.as_ref()) {
            return refused;
        }
        if let Some(refused) = self.scores_nothing(&turn, &query, returns.as_ref()) {
            return refused;
        }
        if criteria.iter().any(|criterion| criterion.key == SortKey::Relevancy) && !query.is_fuzzy() {
            // RFC 6203 §6
            return self.bad(Some(&turn.tag), &Status::bad("RELEVANCY is for FUZZY searches alone"));
        }
        let scores = returns.is_some_and(|returns| returns.relevancy);
        self.ask(
            turn,
            Kind::Search { returns, sent },
            Order { query, criteria, annotations, mod_seq, scores },
            Event::Order,
        )
    }

    pub(super) fn thread(&mut self, turn: Turn, thread: ThreadCommand) -> Option<Output<Event>> {
        let ThreadCommand { algorithm, query, .. } = thread;
        if names_mod_seq(&query) && !self.config.abilities.mod_sequences {
            return self.no(&turn, Refusal::cannot());
        }
        let among = match &self.state {
            State::Selected { view, .. } => view.known().clone(),
            _ => UidSet::new(),
        };
        self.ask(turn, Kind::Plain, Gather { query, algorithm, among }, Event::Gather)
    }

    /// The message as the client names it, if it knows of it.
    pub(super) fn number(&self, uid: Uid, by_uid: bool) -> Option<u32> {
        let State::Selected { view, .. } = &self.state else { return None };
        let sequence = view.sequence(uid)?;
        if by_uid { Some(uid.get()) } else { u32::try_from(sequence).ok() }
    }
}

impl Reply for Order {
    fn reply(server: &mut Server, mut slot: Slot, request: Self, answer: Answered<Ordered>) {
        let Kind::Search { returns, sent } = std::mem::replace(&mut slot.kind, Kind::Plain) else {
            return server.done(&slot, answer.map(drop));
        };
        let Ordered { uids, mod_seq, scores } = match answer {
            Ok(ordered) => ordered,
            Err(refusal) => {
                return server.refuse_search(&slot, returns.is_some_and(|returns| returns.save), refusal);
            }
        };
        if returns.is_some_and(|returns| server.saves_too_many(returns, &uids.iter().copied().collect())) {
            return server.refuse_search(&slot, true, not_saved());
        }
        let scores: Vec<u8> = uids
            .iter()
            .zip(scores)
            .filter(|(uid, _)| server.number(**uid, true).is_some())
            .map(|(_, score)| score)
            .collect();
        let number = |uid: &Uid| server.number(*uid, slot.by_uid);
        let numbers: Vec<u32> = uids.iter().filter_map(number).collect();
        let mod_seq = mod_seq.filter(|_| !numbers.is_empty());
        match returns {
            None => Sort::encode_numbers(numbers.iter().copied(), mod_seq, server.out()),
            Some(returns) => server.sorted(&slot, returns, &numbers, mod_seq, scores),
        }
        if let Some(returns) = returns {
            let known = |uid: &Uid| server.number(*uid, true).is_some();
            let found: Vec<Uid> = uids.iter().copied().filter(known).collect();
            if let (true, State::Selected { saved, .. }) = (returns.save, &mut server.state) {
                *saved = saved_of(returns, &found);
            }
            if returns.update {
                server.begin_context(&slot, Question::Order(request), found, uids, sent);
            }
        }
        server.done(&slot, Ok(()));
    }
}

impl Server {
    /// RFC 5267 §3: as for SEARCH, in the order of the results.
    fn sorted(
        &mut self,
        slot: &Slot,
        returns: SearchReturn,
        numbers: &[u32],
        mod_seq: Option<ModSeq>,
        scores: Vec<u8>,
    ) {
        if returns.only_saves() {
            return;
        }
        let mut answer = Esearch::new(Some(slot.tag.to_string()), slot.by_uid);
        answer.min = numbers.first().copied().filter(|_| returns.min);
        answer.max = numbers.last().copied().filter(|_| returns.max);
        answer.count = returns.count.then(|| u32::try_from(numbers.len()).unwrap_or(u32::MAX));
        answer.mod_seq = mod_seq;
        answer.relevancy = returns.relevancy.then(|| {
            let places = returns.partial.map_or(0..u64::MAX, |range| range.places(numbers.len() as u64));
            let length = places.end.saturating_sub(places.start) as usize;
            scores.into_iter().skip(places.start as usize).take(length).collect()
        });
        let all = returns.all.then(|| set_of(numbers.iter().copied()));
        let partial = returns.partial.map(|range| {
            let places = range.places(numbers.len() as u64);
            let part = numbers.get(places.start as usize..places.end as usize).unwrap_or_default();
            (range, set_of(part.iter().copied()))
        });
        answer.encode_with(all, partial, self.out());
    }
}

/// As [`SearchReturn::saved_of`], where the first and the last are those of the order.
fn saved_of(returns: SearchReturn, found: &[Uid]) -> UidSet {
    if returns.all || returns.count || returns.names_none() {
        return found.iter().copied().collect();
    }
    let ends = [found.first().filter(|_| returns.min), found.last().filter(|_| returns.max)];
    let places = returns.partial.map_or(0..0, |range| range.places(found.len() as u64));
    let part = found.get(places.start as usize..places.end as usize).unwrap_or_default();
    ends.into_iter().flatten().chain(part).copied().collect()
}

impl Reply for Gather {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<Threads>) {
        if let Ok(threads) = &answer {
            let mut octets = Vec::new();
            Thread::encode_with(threads, |uid| server.number(uid, slot.by_uid), &mut octets);
            server.out().put_bytes(octets.into());
        }
        server.done(&slot, answer.map(drop));
    }
}
