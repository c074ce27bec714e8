//! Reading ahead: the store reads on, while somebody looks at what came before. What reads may look at it as well.

use std::collections::VecDeque;

use crate::begun::{Begun, pass_on};

/// How many reads are under way while one is looked at.
const UNDER_WAY: usize = 2;

/// Reads that were begun, the oldest first, each with what it is for.
pub(super) struct Ahead<W, T>(VecDeque<(W, Begun<T>)>);

impl<W, T: Send + 'static> Ahead<W, T> {
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Begins to read; gives what the oldest read came to if there are enough. If there will be no `more`, a read that would be the only one is
    /// just made.
    pub(super) async fn begin(
        &mut self,
        wanted: W,
        read: impl Future<Output = T> + Send + 'static,
        more: bool,
    ) -> Option<(W, T)> {
        if !more && self.0.is_empty() {
            return Some((wanted, read.await));
        }
        self.0.push_back((wanted, Begun::new(read)));
        pass_on().await;
        if self.0.len() > UNDER_WAY { self.next().await } else { None }
    }

    /// What the oldest read came to, until there is none.
    pub(super) async fn next(&mut self) -> Option<(W, T)> {
        let (wanted, read) = self.0.pop_front()?;
        Some((wanted, read.end().await))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{Receiver, Sender, channel},
        time::Duration,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// Tells that it is dropped.
    struct Told(Sender<u64>, u64);

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(self.1);
        }
    }

    fn told() -> (Sender<u64>, Receiver<u64>) {
        channel()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn reads_go_on_while_others_are_looked_at_and_come_in_their_order() {
        let (tell, heard) = told();
        let (mut ahead, mut came) = (Ahead::new(), Vec::new());
        for number in 0..6_u64 {
            let tell = tell.clone();
            let (looks, looked_at) = channel();
            // Reads in place, and is done only when somebody looks at something meanwhile.
            let read = async move {
                let went_on = looked_at.recv_timeout(LONG);
                let _ = tell.send(number);
                went_on.map(|()| 10 * number)
            };
            came.extend(ahead.begin(number, read, true).await);
            assert_eq!(came.len() as u64, (number + 1).saturating_sub(UNDER_WAY as u64));
            // Looks at something without waiting for anything of the runtime: the read is done all the same.
            let _ = looks.send(());
            assert_eq!(heard.recv_timeout(LONG), Ok(number));
        }
        while let Some(last) = ahead.next().await {
            came.push(last);
        }
        assert_eq!(came, [0, 1, 2, 3, 4, 5].map(|number| (number, Ok(10 * number))));
        // Where it would be the only one, nobody else is bothered.
        let here = std::thread::current().id();
        let read = async { std::thread::current().id() };
        assert_eq!(Ahead::new().begin((), read, false).await, Some(((), here)));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn nothing_is_read_for_nobody() {
        let (tell, heard) = told();
        let mut ahead = Ahead::new();
        for number in 0..UNDER_WAY as u64 {
            let told = Told(tell.clone(), number);
            let read = async move {
                let _told = told;
                std::future::pending::<()>().await;
            };
            assert!(ahead.begin((), read, true).await.is_none());
        }
        drop(ahead);
        let mut ended: Vec<u64> = (0..UNDER_WAY).map(|_| heard.recv_timeout(LONG).unwrap()).collect();
        ended.sort_unstable();
        assert_eq!(ended, [0, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn simulated_time_goes_on() {
        let mut ahead = Ahead::new();
        let begun = tokio::time::Instant::now();
        assert!(ahead.begin((), tokio::time::sleep(LONG), true).await.is_none());
        assert!(ahead.next().await.is_some());
        assert_eq!(begun.elapsed(), LONG);
    }
}
