//! Who waits for slow work, and whose turn it is.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mailwright::network;
use tokio::sync::oneshot;

/// How many may wait: in all, and from one network. The second is above the connections that one address may have.
const WAITING: usize = 1024;
const WAITING_FROM_ONE: usize = 256;

/// Some who work and some who wait for it. Networks take turns, so that the flood from one of them makes the others wait
/// for one of its logins at most; where too many wait, those of the network that has most of them are sent away, the last
/// first.
pub(super) struct Lane(Arc<Shared>);

struct Shared {
    at_once: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    working: usize,
    waiting: usize,
    queues: HashMap<Option<IpAddr>, VecDeque<oneshot::Sender<Turn>>>,
    /// The networks that have somebody waiting, in the order of their turns.
    turns: VecDeque<Option<IpAddr>>,
}

/// Somebody's turn, until it is dropped.
pub(super) struct Turn(Option<Arc<Shared>>);

/// Too many wait already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Lane {
    /// A lane in which so many work at a time.
    pub(super) fn new(at_once: usize) -> Self {
        Self(Arc::new(Shared { at_once, state: Mutex::default() }))
    }

    /// Waits until it is the turn of somebody from this address.
    pub(super) async fn enter(&self, from: Option<IpAddr>) -> Result<Turn, TooMany> {
        let turn = {
            let mut state = self.0.state();
            if state.working < self.0.at_once {
                state.working += 1;
                return Ok(Turn(Some(Arc::clone(&self.0))));
            }
            state.wait(from.map(network))?
        };
        turn.await.map_err(|_| TooMany)
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.0.state().waiting
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Stands in the queue of this network.
    fn wait(&mut self, from: Option<IpAddr>) -> Result<oneshot::Receiver<Turn>, TooMany> {
        let own = self.queues.get(&from).map_or(0, VecDeque::len);
        if own >= WAITING_FROM_ONE {
            return Err(TooMany);
        }
        if self.waiting >= WAITING {
            let longest = self.queues.values_mut().max_by_key(|queue| queue.len());
            // Who is sent away learns it by the end of the channel.
            let Some(queue) = longest.filter(|queue| queue.len() > own) else { return Err(TooMany) };
            queue.pop_back();
            self.waiting -= 1;
        }
        let (sender, receiver) = oneshot::channel();
        let queue = self.queues.entry(from).or_default();
        if queue.is_empty() && !self.turns.contains(&from) {
            self.turns.push_back(from);
        }
        queue.push_back(sender);
        self.waiting += 1;
        Ok(receiver)
    }

    /// The next one, if anybody waits.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        loop {
            let from = self.turns.pop_front()?;
            let Some(queue) = self.queues.get_mut(&from) else { continue };
            let found = queue.pop_front();
            if queue.is_empty() {
                self.queues.remove(&from);
            } else {
                self.turns.push_back(from);
            }
            if found.is_some() {
                self.waiting -= 1;
                return found;
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(shared) = self.0.take() else { return };
        let mut state = shared.state();
        while let Some(next) = state.next() {
            match next.send(Self(Some(Arc::clone(&shared)))) {
                Ok(()) => return,
                // Its peer has gone; this turn must not end here, where the state is held.
                Err(mut turn) => turn.0 = None,
            }
        }
        state.working -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Poll};

    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[tokio::test]
    async fn networks_take_turns_and_who_left_loses_nothing_of_others() {
        let lane = Arc::new(Lane::new(1));
        let first = lane.enter(ip("192.0.2.1")).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        #[expect(clippy::async_yields_async, reason = "who came waits, and is not waited for yet")]
        let come = async |name: &'static str, from| {
            let (waiting, order, inner) = (lane.waiting(), Arc::clone(&order), Arc::clone(&lane));
            let task = tokio::spawn(async move {
                let turn = inner.enter(from).await;
                order.lock().unwrap().push(name);
                drop(turn);
            });
            while lane.waiting() == waiting {
                tokio::task::yield_now().await;
            }
            task
        };
        for name in ["a1", "a2", "a3"] {
            tasks.push(come(name, ip("2001:db8::1")).await);
        }
        let left = come("left", ip("198.51.100.1")).await;
        tasks.push(come("b1", ip("192.0.2.2")).await);
        tasks.push(come("b2", ip("::ffff:192.0.2.2")).await);
        tasks.push(come("a4", ip("2001:db8::ffff")).await);
        left.abort();
        let _ = left.await;
        drop(first);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), ["a1", "b1", "a2", "b2", "a3", "a4"]);
        {
            let state = lane.0.state();
            assert_eq!((state.waiting, state.working, state.queues.len()), (0, 0, 0));
        }
        assert!(lane.enter(None).await.is_ok());
    }

    #[tokio::test]
    async fn where_too_many_wait_the_greediest_network_loses() {
        let lane = Lane::new(1);
        let _turn = lane.enter(None).await;
        let mut floods = Vec::new();
        for number in 0..WAITING {
            // Four networks with as many as one may have.
            let from = ip(&format!("192.0.2.{}", number % 4));
            floods.push(Box::pin(lane.enter(from)));
            assert!(poll(floods.last_mut().unwrap()).is_pending());
        }
        assert!(matches!(poll(&mut Box::pin(lane.enter(ip("192.0.2.1")))), Poll::Ready(Err(TooMany))));
        let mut alice = Box::pin(lane.enter(ip("198.51.100.1")));
        assert!(poll(&mut alice).is_pending());
        let refused = floods.iter_mut().map(poll).filter(Poll::is_ready).count();
        assert_eq!((refused, lane.waiting()), (1, WAITING));
    }

    fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        pin!(future).poll(&mut context)
    }
}
