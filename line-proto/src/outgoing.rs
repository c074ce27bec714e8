//! What goes to the peer: the rope of octets, watched for a peer that takes nothing of it.

use std::time::Instant;

use crate::{Trace, Traced, Transmit};

/// The transmit rope of a machine, with the trace of what is put into it: for writers of machines.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use bytes::Buf;
/// use mailwright_line_proto::Outgoing;
///
/// let (mut out, start) = (Outgoing::default(), Instant::now());
/// out.line(b"+OK ready");
/// assert_eq!(out.observe(start), start);
/// // Nothing is taken for a while, then all of it.
/// let later = start + Duration::from_secs(60);
/// assert_eq!(out.observe(later), start);
/// out.transmit().advance(11);
/// assert_eq!(out.observe(later), later);
/// ```
#[derive(Debug, Default)]
pub struct Outgoing {
    transmit: Transmit,
    trace: Trace,
    /// The length when it was last looked at or added to: if it is shorter now, the peer took something.
    seen: usize,
    /// Whether the peer took something since the last [`Self::observe`].
    moved: bool,
    /// Since when the peer has taken nothing.
    since: Option<Instant>,
}

impl Outgoing {
    /// Sends a line, with its CRLF.
    pub fn line(&mut self, line: &[u8]) {
        self.trace.line(Traced::Sent(line));
        self.put(line);
    }

    /// Sends a line that must not be shown; the trace is told what it is.
    pub fn secret_line(&mut self, line: &[u8], what: &'static str) {
        self.trace.line(Traced::SentSecret(what));
        self.put(line);
    }

    /// Lets `write` add to the rope.
    pub fn body(&mut self, write: impl FnOnce(&mut Transmit)) {
        self.notice();
        write(&mut self.transmit);
        self.seen = self.transmit.len();
    }

    /// Reports a line of the peer to the trace.
    pub fn received(&mut self, traced: Traced<'_>) {
        self.trace.line(traced);
    }

    /// How many octets wait.
    pub fn len(&self) -> usize {
        self.transmit.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.transmit.is_empty()
    }

    /// The rope, for the driver.
    pub fn transmit(&mut self) -> &mut Transmit {
        &mut self.transmit
    }

    /// From now on reports every line to `trace`.
    pub fn watch(&mut self, trace: Trace) {
        self.trace = trace;
    }

    /// Notes at the start of a poll whether the peer took something, and says since when it took nothing.
    pub fn observe(&mut self, now: Instant) -> Instant {
        self.notice();
        if std::mem::take(&mut self.moved) || self.transmit.is_empty() {
            self.since = Some(now);
        }
        *self.since.get_or_insert(now)
    }

    /// Forgets what the peer does not take.
    pub fn clear(&mut self) {
        self.transmit.clear();
        self.seen = 0;
    }

    fn put(&mut self, line: &[u8]) {
        self.body(|transmit| {
            transmit.put(line);
            transmit.put(b"\r\n");
        });
    }

    fn notice(&mut self) {
        self.moved |= self.transmit.len() < self.seen;
        self.seen = self.transmit.len();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Buf;

    use super::*;

    #[test]
    fn knows_since_when_nothing_was_taken() {
        let (mut out, start) = (Outgoing::default(), Instant::now());
        let later = |seconds| start + Duration::from_secs(seconds);
        out.line(b"+OK");
        assert_eq!(out.observe(later(0)), start);
        assert_eq!(out.observe(later(5)), start);
        // One octet is progress, even if more was added meanwhile.
        out.transmit().advance(1);
        out.line(b"+OK");
        assert_eq!(out.observe(later(6)), later(6));
        assert_eq!(out.observe(later(9)), later(6));
        let rest = out.len();
        out.transmit().advance(rest);
        assert_eq!(out.observe(later(10)), later(10));
    }
}
