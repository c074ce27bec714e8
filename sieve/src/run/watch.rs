//! Who is asked whether a run takes too long: this crate has no clock.

/// Asks the host every so many steps. A step is an instruction or a KiB that is looked at, so that is well below a millisecond.
const STEPS: u64 = 256;

/// What a host has to say about the time.
pub(super) struct Watch {
    over: Option<Box<dyn FnMut() -> bool + Send>>,
    /// At how many steps it is asked next.
    next: u64,
    ended: bool,
}

impl Default for Watch {
    /// Nobody is asked.
    fn default() -> Self {
        Self { over: None, next: u64::MAX, ended: false }
    }
}

impl Watch {
    pub(super) fn new(over: impl FnMut() -> bool + Send + 'static) -> Self {
        Self { over: Some(Box::new(over)), next: STEPS, ended: false }
    }

    /// Whether it is over after so many steps. Then it stays so: no block that catches errors goes on.
    pub(super) fn is_over(&mut self, spent: u64) -> bool {
        if spent >= self.next { self.ask(spent) } else { self.ended }
    }

    /// The same, asked at once.
    pub(super) fn ask(&mut self, spent: u64) -> bool {
        if let Some(over) = &mut self.over {
            self.next = spent.saturating_add(STEPS);
            self.ended = self.ended || over();
        }
        self.ended
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Watch").field("ended", &self.ended).finish_non_exhaustive()
    }
}
