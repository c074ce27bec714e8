//! Where operations wait, and the writer, which whoever commits has in hand.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Operation;
use super::writer::Writer;
use crate::signal::lock;

/// How soon the thread looks for the writer again that somebody else has.
const BUSY: Duration = Duration::from_millis(10);

pub(super) struct Desk {
    state: Mutex<State>,
    /// For the thread: there is something to do, or the writer is back.
    news: Condvar,
}

struct State {
    waiting: VecDeque<Operation>,
    /// `None` while somebody commits.
    writer: Option<Writer>,
    /// Whether the last group was of more than one operation: then more come than one alone can do without making others wait.
    crowded: bool,
    /// Whether the thread has more to do than that.
    chores: bool,
    /// Whether the thread waits for news: only then it is to be woken.
    idle: bool,
    closed: bool,
}

impl Desk {
    pub(super) fn new(writer: Writer) -> Self {
        let waiting = VecDeque::new();
        let (crowded, chores, idle, closed) = (false, true, false, false);
        let state = State { waiting, writer: Some(writer), crowded, chores, idle, closed };
        Self { state: Mutex::new(state), news: Condvar::new() }
    }

    /// Leaves an operation for the thread; whether it will be done.
    pub(super) fn send(&self, operation: Operation) -> bool {
        let mut state = lock(&self.state);
        if state.closed {
            return false;
        }
        state.waiting.push_back(operation);
        // Whoever has the writer sees it when it gives that back.
        if state.writer.is_some() {
            self.wake(state);
        }
        true
    }

    /// Whether there is nothing to do, and one caller at a time lately.
    pub(super) fn is_quiet(&self) -> bool {
        lock(&self.state).is_quiet()
    }

    /// The same, and the thread has nothing of its own to do.
    #[cfg(test)]
    pub(super) fn is_settled(&self) -> bool {
        let state = lock(&self.state);
        state.is_quiet() && state.idle && !state.chores
    }

    /// Does an operation on this thread, if still nobody does one. What came meanwhile is left to the thread.
    pub(super) fn lead(&self, operation: &mut Option<Operation>) {
        let mut state = lock(&self.state);
        if !state.is_quiet() {
            return;
        }
        let (Some(writer), Some(first)) = (state.writer.take(), operation.take()) else { return };
        drop(state);
        let mut hand = Hand::new(self, writer);
        hand.group(first);
    }

    /// The next operation, for the group that is being made.
    pub(super) fn next(&self) -> Option<Operation> {
        lock(&self.state).waiting.pop_front()
    }

    /// No more operations.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        self.wake(state);
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.news.notify_one();
        }
    }

    /// What the thread does: groups of operations, and between them what is to be done now and then.
    pub(super) fn run(&self) {
        let mut wait = BUSY;
        loop {
            let (mut hand, first) = match self.take(wait) {
                Turn::Take(writer, first) => (Hand::new(self, writer), first),
                Turn::Close(writer) => return writer.close(),
                Turn::Busy => {
                    wait = wait.min(BUSY);
                    continue;
                }
            };
            if let Some(first) = first {
                hand.group(first);
            }
            wait = hand.writer.as_mut().map_or(wait, Writer::housekeep);
            hand.tidied = true;
        }
    }

    /// Waits for something to do, at most so long.
    fn take(&self, wait: Duration) -> Turn {
        let nothing = |state: &mut State| {
            // The writer comes back with a call, if there is something to do by then.
            let nothing = state.waiting.is_empty() && !state.chores && !state.closed;
            state.idle = state.writer.is_none() || nothing;
            state.idle
        };
        let (mut state, _) = self
            .news
            .wait_timeout_while(lock(&self.state), wait, nothing)
            .unwrap_or_else(PoisonError::into_inner);
        state.idle = false;
        let Some(writer) = state.writer.take() else { return Turn::Busy };
        state.chores = false;
        match state.waiting.pop_front() {
            None if state.closed => Turn::Close(writer),
            first => Turn::Take(writer, first),
        }
    }
}

impl State {
    fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.writer.is_some() && !self.crowded && !self.closed
    }
}

enum Turn {
    Take(Writer, Option<Operation>),
    Close(Writer),
    /// Somebody else has the writer.
    Busy,
}

/// The writer while somebody commits. It is given back in any case.
struct Hand<'a> {
    desk: &'a Desk,
    writer: Option<Writer>,
    /// Whether there is nothing else to do, for that was just done.
    tidied: bool,
}

impl<'a> Hand<'a> {
    const fn new(desk: &'a Desk, writer: Writer) -> Self {
        Self { desk, writer: Some(writer), tidied: false }
    }

    fn group(&mut self, first: Operation) {
        let Some(writer) = &mut self.writer else { return };
        let operations = writer.group(first, || self.desk.next());
        lock(&self.desk.state).crowded = operations > 1;
    }
}

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        let Some(writer) = self.writer.take() else { return };
        let chores = !self.tidied && writer.has_chores();
        let mut state = lock(&self.desk.state);
        state.writer = Some(writer);
        state.chores |= chores;
        if state.chores || state.closed || !state.waiting.is_empty() {
            self.desk.wake(state);
        }
    }
}
