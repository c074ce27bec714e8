//! SEARCH: what is asked, and how what was found is told.

use mailwright_line_proto::{Output, Request};
use mailwright_mail_model::{ModSeq, Uid, UidSet, query::Query};

use super::{
    Event, Server, State,
    answer::Reply,
    contexts::Question,
    run::Turn,
    slots::{Kind, Slot},
};
use crate::{
    command::{Search as SearchCommand, SearchReturn, names_mod_seq},
    refusal::{Answered, Refusal},
    response::{Esearch, ResponseCode, Search, Status},
};

/// Which messages match (SEARCH, UID SEARCH)?
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Find {
    /// What is searched for, sequence numbers in it already turned into UIDs.
    pub query: Query,
    /// Of which of the messages found the highest mod-sequence is wanted.
    pub mod_seq: ModSeqOf,
    /// Whether it is wanted how well each answers (RFC 6203 §4).
    pub scores: bool,
}

impl Find {
    /// These messages, and that of their mod-sequences.
    pub fn new(query: Query, mod_seq: ModSeqOf) -> Self {
        Self { query, mod_seq, scores: false }
    }
}

/// Whose mod-sequence is wanted (RFC 7162 §3.1.5, §3.1.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ModSeqOf {
    /// Nobody's.
    #[default]
    None,
    /// All that were found.
    All,
    /// The first of them.
    First,
    /// The last of them.
    Last,
    /// The first and the last of them.
    Ends,
}

impl ModSeqOf {
    /// Whose is told with what a search finds.
    pub(super) fn wanted(query: &Query, returns: Option<&SearchReturn>) -> Self {
        if !names_mod_seq(query) {
            return Self::None;
        }
        match returns {
            Some(returns) if !returns.all && !returns.count && returns.partial.is_none() => {
                match (returns.min, returns.max) {
                    (true, true) => Self::Ends,
                    (true, false) => Self::First,
                    (false, true) => Self::Last,
                    (false, false) => Self::All,
                }
            }
            _ => Self::All,
        }
    }

    /// Those of the messages found.
    pub fn of(self, found: &UidSet) -> UidSet {
        match self {
            Self::None => UidSet::new(),
            Self::All => found.clone(),
            Self::First => found.first().into_iter().collect(),
            Self::Last => found.last().into_iter().collect(),
            Self::Ends => found.first().into_iter().chain(found.last()).collect(),
        }
    }
}

/// The answer to [`Find`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// The messages that match.
    pub uids: UidSet,
    /// The highest mod-sequence of [those it is wanted of](Find::mod_seq).
    pub mod_seq: Option<ModSeq>,
    /// How well each answers, from 1 to 100, if that [is wanted](Find::scores): in the order of the UIDs.
    pub scores: Vec<(Uid, u8)>,
}

impl Found {
    /// These messages.
    pub fn new(uids: UidSet) -> Self {
        Self { uids, mod_seq: None, scores: Vec::new() }
    }

    /// With how well each answers, in the order of the UIDs.
    #[must_use]
    pub fn with_scores(self, scores: Vec<(Uid, u8)>) -> Self {
        Self { scores, ..self }
    }

    /// With the mod-sequence that was asked for.
    #[must_use]
    pub fn with_mod_seq(self, mod_seq: Option<ModSeq>) -> Self {
        Self { mod_seq, ..self }
    }
}

impl From<UidSet> for Found {
    fn from(uids: UidSet) -> Self {
        Self::new(uids)
    }
}

impl Request for Find {
    type Answer = Answered<Found>;
}

impl Server {
    pub(super) fn search(&mut self, turn: Turn, search: SearchCommand) -> Option<Output<Event>> {
        let SearchCommand { query, mut returns, sent, .. } = search;
        if self.enabled.rev2 {
            // RFC 9051 §6.4.4: there is no other answer than ESEARCH.
            returns = returns.or_else(|| Some(SearchReturn::all()));
        }
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
        let scores = returns.is_some_and(|returns| returns.relevancy);
        self.ask(turn, Kind::Search { returns, sent }, Find { query, mod_seq, scores }, Event::Find)
    }

    /// RFC 6203 §4: what is not fuzzy has no score.
    #[expect(clippy::option_option, reason = "refused, and what a transition ends in")]
    pub(super) fn scores_nothing(
        &mut self,
        turn: &Turn,
        query: &Query,
        returns: Option<&SearchReturn>,
    ) -> Option<Option<Output<Event>>> {
        let wanted = returns.is_some_and(|returns| returns.relevancy);
        (wanted && !query.is_fuzzy())
            .then(|| self.bad(Some(&turn.tag), &Status::bad("RELEVANCY is for FUZZY searches alone")))
    }

    /// Whose mod-sequence is told with what is found (RFC 7162 §3.1.5, §3.1.10).
    pub(super) fn mod_seq_wanted(
        &mut self,
        query: &Query,
        returns: Option<&SearchReturn>,
    ) -> Result<ModSeqOf, Refusal> {
        if !names_mod_seq(query) {
            return Ok(ModSeqOf::None);
        }
        if !self.config.abilities.mod_sequences {
            return Err(Refusal::cannot());
        }
        self.tell_mod_sequences();
        Ok(ModSeqOf::wanted(query, returns))
    }

    /// These messages as the client names them; `None` if it knows none of them.
    pub(super) fn named(&self, uids: &UidSet, by_uid: bool) -> Option<UidSet> {
        let State::Selected { view, .. } = &self.state else { return None };
        let known = uids.intersection(view.known());
        let named: UidSet = if by_uid {
            known
        } else {
            let number =
                |uid| view.sequence(uid).and_then(|number| u32::try_from(number).ok()).and_then(Uid::new);
            // Row by row: what follows each other among the UIDs known does so among the numbers.
            let rows = known.ranges().filter_map(|row| Some(number(*row.start())?..=number(*row.end())?));
            rows.collect()
        };
        (!named.is_empty()).then_some(named)
    }
}

impl Reply for Find {
    fn reply(server: &mut Server, mut slot: Slot, request: Self, answer: Answered<Found>) {
        let Kind::Search { returns, sent } = std::mem::replace(&mut slot.kind, Kind::Plain) else {
            return server.done(&slot, answer.map(drop));
        };
        let found = match answer {
            Ok(found) => found,
            Err(refusal) => {
                return server.refuse_search(&slot, returns.is_some_and(|returns| returns.save), refusal);
            }
        };
        let Found { mut uids, mod_seq, scores } = found;
        if returns.is_none_or(|returns| returns.all) {
            slot.limited = server.keep_within_limit(&mut uids);
        }
        if returns.is_some_and(|returns| server.saves_too_many(returns, &uids)) {
            return server.refuse_search(&slot, true, not_saved());
        }
        let found = server.named(&uids, slot.by_uid).unwrap_or_default();
        match returns {
            None => Search::encode_numbers(
                found.iter().map(Uid::get),
                mod_seq.filter(|_| !found.is_empty()),
                server.out(),
            ),
            Some(returns) => {
                let told = match &server.state {
                    State::Selected { view, .. } => uids.intersection(view.known()),
                    _ => UidSet::new(),
                };
                let scores = returns.scores_of(&told, &scores);
                server.extended(&slot, returns, &found, mod_seq, scores);
            }
        }
        if let (Some(returns), State::Selected { saved, view, .. }) = (returns, &mut server.state)
            && returns.save
        {
            *saved = returns.saved_of(&uids.intersection(view.known()));
        }
        if let (Some(SearchReturn { update: true, .. }), State::Selected { view, .. }) =
            (returns, &server.state)
        {
            let told = uids.intersection(view.known()).iter().collect();
            server.begin_context(&slot, Question::Find(request), told, uids.iter().collect(), sent);
        }
        server.done(&slot, Ok(()));
    }
}

/// RFC 5182 §2.1
pub(super) fn not_saved() -> Refusal {
    Refusal::new(ResponseCode::NotSaved, "more messages than can be saved")
}

impl Server {
    /// `$` stands for nothing any more.
    pub(super) fn forget_saved(&mut self) {
        if let State::Selected { saved, .. } = &mut self.state {
            *saved = UidSet::new();
        }
    }

    /// Refuses a search that was asked about. RFC 5182 §2.1: if its result was to be saved, there is nothing saved after a NO.
    pub(super) fn refuse_search(&mut self, slot: &Slot, saves: bool, refusal: Refusal) {
        if saves {
            self.forget_saved();
        }
        self.refuse(slot, refusal);
    }

    /// The same of one that need not be asked about.
    pub(super) fn no_search(
        &mut self,
        turn: &Turn,
        returns: Option<&SearchReturn>,
        refusal: Refusal,
    ) -> Option<Output<Event>> {
        if returns.is_some_and(|returns| returns.save) {
            self.forget_saved();
        }
        self.no(turn, refusal)
    }

    /// Whether `$` would have to stand for more messages than it can (RFC 9738).
    pub(super) fn saves_too_many(&self, returns: SearchReturn, found: &UidSet) -> bool {
        let limit = self.config.save_limit.map_or(u64::MAX, |limit| limit.get().into());
        returns.save && returns.saved_of(found).len() > limit
    }

    fn extended(
        &mut self,
        slot: &Slot,
        returns: SearchReturn,
        found: &UidSet,
        mod_seq: Option<ModSeq>,
        scores: Option<Vec<u8>>,
    ) {
        if returns.only_saves() {
            return;
        }
        let mut answer = returns.tell(&slot.tag, found, mod_seq);
        answer.by_uid = slot.by_uid;
        answer.relevancy = scores;
        answer.encode(self.out());
    }
}

impl SearchReturn {
    /// The scores of those that are told of these UIDs, if they are wanted; both in the order of the mailbox.
    pub(super) fn scores_of(self, uids: &UidSet, scores: &[(Uid, u8)]) -> Option<Vec<u8>> {
        let told = self.partial.map_or_else(|| uids.clone(), |range| range.of(uids));
        let of_told = scores.iter().filter(|(uid, _)| told.contains(*uid)).map(|(_, score)| *score);
        self.relevancy.then(|| of_told.collect())
    }

    /// What is told of these UIDs.
    pub(super) fn tell(self, tag: &str, found: &UidSet, mod_seq: Option<ModSeq>) -> Esearch {
        let mut answer = Esearch::new(Some(tag.to_owned()), true);
        answer.min = found.first().filter(|_| self.min).map(Uid::get);
        answer.max = found.last().filter(|_| self.max).map(Uid::get);
        answer.count = self.count.then(|| u32::try_from(found.len()).unwrap_or(u32::MAX));
        answer.all = self.all.then(|| found.clone());
        answer.partial = self.partial.map(|range| (range, range.of(found)));
        answer.mod_seq = mod_seq.filter(|_| !found.is_empty());
        answer
    }
}
