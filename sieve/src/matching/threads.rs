//! The search for what an automaton cannot be made of in pieces (`\b` beside letters that are not ASCII) or does not tell (groups), one
//! octet after another: between any two of them the host can end the run ([`Run::until`](crate::Run::until)). It is Thompson's, as Pike
//! has it: all ways to match go on side by side, each state of the expression being in one of them at most.

use std::ops::Range;

use regex_automata::{
    nfa::thompson::{self, NFA, State, WhichCaptures},
    util::{primitives::StateID, syntax},
};

use super::groups::with_groups;
use crate::{Context, Stop};

/// So much is looked at without a pause, in octets times states: a millisecond or few.
const PIECE: usize = 1 << 16;

/// Where a group begins or ends; this, if it has not.
const NOWHERE: u32 = u32::MAX;

/// The states of an expression.
#[derive(Debug)]
pub(super) struct Threads(NFA);

/// The states that are reached at one place, those of the ways that count more first.
struct Reached {
    states: Vec<StateID>,
    /// For each state the number of the place it was reached at last, from 1.
    when: Vec<u32>,
    now: u32,
    /// For each state where groups begin and end on the way to it.
    groups: Vec<u32>,
    width: usize,
}

/// What is still to be done at one place.
enum Task {
    Follow(StateID),
    /// Another way goes on, on which that slot of a group was this.
    Restore(usize, u32),
}

/// A search at work on a value.
struct Walk<'w> {
    nfa: &'w NFA,
    value: &'w [u8],
    /// Where groups begin and end on the way that is followed.
    groups: Vec<u32>,
    tasks: Vec<Task>,
}

impl Threads {
    /// `None` if it would be larger than that.
    pub(super) fn new(key: &str, rules: &syntax::Config, limit: usize, groups: usize) -> Option<Self> {
        let parsed = with_groups(syntax::parse_with(key, rules).ok()?, groups);
        let config = thompson::Config::new().nfa_size_limit(Some(limit)).which_captures(WhichCaptures::All);
        NFA::compiler().configure(config).build_from_hir(&parsed).ok().map(Self)
    }

    /// Looks for the leftmost match that begins at or behind a place, or just there: where its groups begin and end, the whole first; of
    /// nothing if that is not wanted. In linear time.
    ///
    /// # Errors
    /// If a limit is reached, or the host says that it takes too long.
    pub(super) fn find(
        &self,
        context: &mut Context,
        value: &str,
        from: usize,
        just_there: bool,
        wants_groups: bool,
    ) -> Result<Option<Vec<Option<Range<usize>>>>, Stop> {
        let nfa = &self.0;
        let states = nfa.states().len();
        let width = if wants_groups { nfa.group_info().slot_len() } else { 0 };
        let pieces = (PIECE / states.max(1)).max(1);
        let octets = value.as_bytes();
        let mut walk = Walk { nfa, value: octets, groups: vec![NOWHERE; width], tasks: Vec::new() };
        let (mut here, mut next) = (Reached::new(states, width), Reached::new(states, width));
        let mut found: Option<Vec<u32>> = None;
        for at in from..=octets.len() {
            if (at - from).is_multiple_of(pieces) {
                // Those who have no clock have this limit.
                context.charge(pieces.saturating_mul(states))?;
                context.pause()?;
            }
            if found.is_none() && (at == from || !just_there) && value.is_char_boundary(at) {
                walk.groups.fill(NOWHERE);
                walk.follow(&mut here, nfa.start_anchored(), at);
            }
            if here.states.is_empty() && (found.is_some() || just_there) {
                break;
            }
            let octet = octets.get(at).copied();
            for state in &here.states {
                let to = match (nfa.state(*state), octet) {
                    (State::Match { .. }, _) => {
                        found = Some(here.groups(*state).to_vec());
                        // What would match as well counts less.
                        break;
                    }
                    (State::ByteRange { trans }, Some(octet)) => {
                        trans.matches_byte(octet).then_some(trans.next)
                    }
                    (State::Sparse(transitions), Some(octet)) => transitions.matches_byte(octet),
                    (State::Dense(transitions), Some(octet)) => transitions.matches_byte(octet),
                    _ => None,
                };
                if let Some(to) = to {
                    walk.groups.copy_from_slice(here.groups(*state));
                    walk.follow(&mut next, to, at + 1);
                }
            }
            if found.is_some() && !wants_groups {
                break;
            }
            std::mem::swap(&mut here, &mut next);
            next.clear();
        }
        Ok(found.map(|slots| {
            let place = |slot: &u32| (*slot != NOWHERE).then_some(*slot as usize);
            let group = |pair: &[u32]| match pair {
                [start, end] => place(start).zip(place(end)).map(|(start, end)| start..end),
                _ => None,
            };
            slots.chunks(2).map(group).collect()
        }))
    }
}

impl Reached {
    fn new(states: usize, width: usize) -> Self {
        let groups = vec![NOWHERE; states.saturating_mul(width)];
        Self { states: Vec::new(), when: vec![0; states], now: 1, groups, width }
    }

    fn clear(&mut self) {
        self.states.clear();
        self.now = match self.now.checked_add(1) {
            Some(now) => now,
            None => {
                self.when.fill(0);
                1
            }
        };
    }

    /// Whether a state has not been reached here before.
    fn reach(&mut self, state: StateID) -> bool {
        let now = self.now;
        self.when.get_mut(state.as_usize()).is_some_and(|when| std::mem::replace(when, now) != now)
    }

    fn groups(&self, state: StateID) -> &[u32] {
        let start = state.as_usize() * self.width;
        self.groups.get(start..start + self.width).unwrap_or_default()
    }

    /// A state goes on from here, with the groups so far.
    fn add(&mut self, state: StateID, groups: &[u32]) {
        self.states.push(state);
        let start = state.as_usize() * self.width;
        if let Some(known) = self.groups.get_mut(start..start + self.width) {
            known.copy_from_slice(groups);
        }
    }
}

impl Walk<'_> {
    /// To all states that are reached from one without an octet.
    fn follow(&mut self, reached: &mut Reached, start: StateID, at: usize) {
        self.tasks.push(Task::Follow(start));
        while let Some(task) = self.tasks.pop() {
            match task {
                Task::Restore(slot, before) => self.set(slot, before),
                Task::Follow(state) => self.enter(reached, state, at),
            }
        }
    }

    fn enter(&mut self, reached: &mut Reached, mut state: StateID, at: usize) {
        while reached.reach(state) {
            match self.nfa.state(state) {
                State::Look { look, next } => {
                    if !self.nfa.look_matcher().matches(*look, self.value, at) {
                        return;
                    }
                    state = *next;
                }
                State::Union { alternates } => {
                    let Some((first, others)) = alternates.split_first() else { return };
                    self.tasks.extend(others.iter().rev().map(|other| Task::Follow(*other)));
                    state = *first;
                }
                State::BinaryUnion { alt1, alt2 } => {
                    self.tasks.push(Task::Follow(*alt2));
                    state = *alt1;
                }
                State::Capture { next, slot, .. } => {
                    if let Some(before) = self.groups.get(slot.as_usize()).copied() {
                        self.tasks.push(Task::Restore(slot.as_usize(), before));
                        self.set(slot.as_usize(), u32::try_from(at).unwrap_or(NOWHERE));
                    }
                    state = *next;
                }
                State::Fail => return,
                State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) | State::Match { .. } => {
                    reached.add(state, &self.groups);
                    return;
                }
            }
        }
    }

    fn set(&mut self, slot: usize, place: u32) {
        if let Some(known) = self.groups.get_mut(slot) {
            *known = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mailwright_mail_model::{DateTime, mime::Structure};
    use proptest::prelude::*;
    use regex_automata::{Anchored, Input, meta};

    use super::*;
    use crate::Limits;

    type Groups = Option<Vec<Option<Range<usize>>>>;

    fn find(key: &str, value: &str, from: usize, just_there: bool) -> Groups {
        let input = crate::Input::new(Arc::new(Structure::of(b"Subject: tea\r\n\r\n")), DateTime::EPOCH);
        let mut context = Context::new(input, Limits::default());
        let threads = Threads::new(key, &syntax::Config::new(), 1 << 20, 33).unwrap();
        let found = threads.find(&mut context, value, from, just_there, true).unwrap();
        let any = threads.find(&mut context, value, from, just_there, false).unwrap();
        assert_eq!(found.is_some(), any.is_some(), "{key} {value}");
        found
    }

    fn expected(key: &str, value: &str, from: usize, just_there: bool) -> Groups {
        let anchored = if just_there { Anchored::Yes } else { Anchored::No };
        let regex = meta::Regex::new(key).unwrap();
        let mut captures = regex.create_captures();
        regex.captures(Input::new(value).range(from..).anchored(anchored), &mut captures);
        captures.is_match().then(|| captures.iter().map(|span| span.map(|span| span.range())).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn all_ways_find_what_one_finds(
            key in "(\\^|\\\\b|\\\\B|\\(\\?s\\))?(\\(?([abé.]|\\\\w|\\\\b|\\\\B|\\[aé\\]|\\(a\\|ab\\)|\\(b\\|(ba)?\\)[*+]\\??|\\(\\(a\\)\\|é\\)\\{1,2\\})([*+?]\\??)?){1,4}\\)*(\\$|\\\\b|a?)?",
            value in "[abé\n ]{0,12}",
        ) {
            if meta::Regex::new(&key).is_ok() {
                for (from, _) in value.char_indices().chain([(value.len(), ' ')]) {
                    for just_there in [false, true] {
                        prop_assert_eq!(find(&key, &value, from, just_there), expected(&key, &value, from, just_there), "{}", key);
                    }
                }
            }
        }
    }

    #[test]
    fn words_of_any_language() {
        let found =
            |key: &str, value: &str| find(key, value, 0, false).map(|groups| groups[0].clone().unwrap());
        assert_eq!(found("\\btea\\b", "étea teaé tea"), Some(12..15));
        assert_eq!(found("\\btea\\b", "étea teaé"), None);
        assert_eq!(found("x*", "é"), Some(0..0));
        let groups = find("(a)|(?:b(c+)?)", "é bcc", 0, false).unwrap();
        assert_eq!(groups, [Some(3..6), None, Some(4..6)]);
    }

    /// What is not ASCII keeps automata from knowing words, and groups are not told by them; the host is asked all the same.
    #[test]
    fn such_a_search_ends_when_its_host_says_so() {
        let subject = "abba".repeat(50_000);
        for (before, key) in [("é", "\\\\b(a|b)+c"), ("", "(a|b|ab)+$")] {
            let script = format!(
                "require [\"regex\", \"variables\", \"fileinto\"]; if header :regex \"subject\" \"{key}\" {{ fileinto \"${{1}}\"; }}"
            );
            let program = Arc::new(crate::Language::standard().compile(script.as_bytes()).unwrap());
            for most in [5, u32::MAX] {
                let mut host = crate::MemoryHost::new(format!("Subject: {before} {subject}\r\n\r\n"));
                let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
                let counted = Arc::clone(&asked);
                let over = move || counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 >= most;
                let run = crate::Run::new(Arc::clone(&program), host.input.clone()).until(over);
                let outcome = host.drive(run);
                let asked = asked.load(std::sync::atomic::Ordering::Relaxed);
                let error = outcome.error.as_ref().map(ToString::to_string).unwrap_or_default();
                match most {
                    5 => assert!(asked == 5 && error.contains("too long"), "{key}: {asked} {error}"),
                    _ => assert!(asked > 20 && error.is_empty(), "{key}: {asked} {error}"),
                }
                let filed = outcome.in_words() == ["fileinto \"a\""];
                assert_eq!(filed, most > 5 && before.is_empty(), "{outcome:?}");
            }
        }
    }
}
