//! How long scripts run, without what they wait for.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Counts the time between [`start`](Self::start) and [`stop`](Self::stop).
#[derive(Debug, Clone)]
pub(super) struct Stopwatch(Arc<Mutex<Counted>>);

#[derive(Debug)]
struct Counted {
    left: Duration,
    since: Option<Instant>,
}

impl Stopwatch {
    /// One that is over after so long.
    pub(super) fn new(left: Duration) -> Self {
        Self(Arc::new(Mutex::new(Counted { left, since: None })))
    }

    pub(super) fn start(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).since = Some(Instant::now());
    }

    pub(super) fn stop(&self) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = counted.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        counted.left = counted.left.saturating_sub(spent);
    }

    pub(super) fn is_over(&self) -> bool {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.since.map_or(Duration::ZERO, |since| since.elapsed()) >= counted.left
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;

    #[test]
    fn the_time_in_between_does_not_count() {
        let watch = Stopwatch::new(Duration::from_secs(3_600));
        watch.start();
        sleep(Duration::from_millis(20));
        watch.stop();
        let left = watch.0.lock().unwrap().left;
        assert!(left <= Duration::from_secs(3_600) - Duration::from_millis(20), "{left:?}");
        sleep(Duration::from_millis(20));
        watch.stop();
        assert_eq!(watch.0.lock().unwrap().left, left);
        assert!(!watch.is_over());
        let watch = Stopwatch::new(Duration::from_millis(5));
        assert!(!watch.is_over());
        watch.start();
        sleep(Duration::from_millis(10));
        assert!(watch.is_over());
        watch.stop();
        assert!(watch.is_over(), "what is spent stays spent");
    }
}
