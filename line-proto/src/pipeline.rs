//! Answers come in any order; replies leave in the order in which the requests came.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;

use crate::{Gone, Transmit};

/// The requests in flight on one connection, in the order in which they came.
///
/// ```
/// use std::time::Instant;
/// use mailwright_line_proto::{Pipeline, Transmit};
///
/// let (mut pipeline, mut transmit) = (Pipeline::default(), Transmit::default());
/// let deadline = Instant::now();
/// let (first, second) = (pipeline.open(deadline), pipeline.open(deadline));
/// pipeline.fill(second, "250 second\r\n".into(), &mut transmit)?;
/// assert!(transmit.is_empty());
/// pipeline.fill(first, "250 first\r\n".into(), &mut transmit)?;
/// assert_eq!(transmit.len(), 23);
/// # Ok::<(), mailwright_line_proto::Gone>(())
/// ```
#[derive(Debug, Default)]
pub struct Pipeline {
    /// The number of the slot at the front.
    first: u32,
    slots: VecDeque<Slot>,
}

#[derive(Debug)]
enum Slot {
    Open { deadline: Instant },
    Filled(Bytes),
}

impl Pipeline {
    /// Opens a slot for a request that must be answered before `deadline`; its number goes into the `Ask`.
    pub fn open(&mut self, deadline: Instant) -> u32 {
        self.slots.push_back(Slot::Open { deadline });
        self.first.wrapping_add(self.slots.len() as u32).wrapping_sub(1)
    }

    /// How many requests wait for their answer or for an answer before theirs.
    pub fn in_flight(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether `id` waits for its answer.
    pub fn is_open(&self, id: u32) -> bool {
        matches!(self.slots.get(id.wrapping_sub(self.first) as usize), Some(Slot::Open { .. }))
    }

    /// Files the reply to `id` and sends every reply whose turn has come.
    ///
    /// # Errors
    /// [`Gone`] if no such request waits for an answer.
    pub fn fill(&mut self, id: u32, reply: Bytes, transmit: &mut Transmit) -> Result<(), Gone> {
        match self.slots.get_mut(id.wrapping_sub(self.first) as usize) {
            Some(slot @ Slot::Open { .. }) => *slot = Slot::Filled(reply),
            _ => return Err(Gone),
        }
        self.send_ready(transmit);
        Ok(())
    }

    /// Queues a reply that needs no answer behind everything in flight.
    pub fn push(&mut self, reply: Bytes, transmit: &mut Transmit) {
        self.slots.push_back(Slot::Filled(reply));
        self.send_ready(transmit);
    }

    /// The earliest deadline of a request that still waits.
    pub fn deadline(&self) -> Option<Instant> {
        self.slots
            .iter()
            .filter_map(|slot| match slot {
                Slot::Open { deadline } => Some(*deadline),
                Slot::Filled(_) => None,
            })
            .min()
    }

    /// The first request whose deadline is not after `now`.
    pub fn expired(&self, now: Instant) -> Option<u32> {
        let position =
            self.slots.iter().position(|slot| matches!(slot, Slot::Open { deadline } if *deadline <= now))?;
        Some(self.first.wrapping_add(position as u32))
    }

    /// The first request that still waits.
    pub fn first_open(&self) -> Option<u32> {
        let position = self.slots.iter().position(|slot| matches!(slot, Slot::Open { .. }))?;
        Some(self.first.wrapping_add(position as u32))
    }

    /// Forgets everything in flight: late answers are [`Gone`].
    pub fn clear(&mut self) {
        self.first = self.first.wrapping_add(self.slots.len() as u32);
        self.slots = VecDeque::new();
    }

    fn send_ready(&mut self, transmit: &mut Transmit) {
        while let Some(Slot::Filled(reply)) = self.slots.front_mut() {
            transmit.put_bytes(std::mem::take(reply));
            self.slots.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        if self.slots.is_empty() {
            // An idle connection holds no buffer.
            self.slots = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Buf;

    use super::*;

    #[test]
    fn replies_leave_in_order_and_only_once() {
        let (mut pipeline, mut transmit) = (Pipeline::default(), Transmit::default());
        let now = Instant::now();
        let (a, b, c) = (pipeline.open(now), pipeline.open(now), pipeline.open(now));
        pipeline.push("4".into(), &mut transmit);
        assert_eq!(pipeline.fill(c, "3".into(), &mut transmit), Ok(()));
        assert_eq!(pipeline.fill(a, "1".into(), &mut transmit), Ok(()));
        assert_eq!(pipeline.fill(a, "x".into(), &mut transmit), Err(Gone));
        assert_eq!(transmit.remaining(), 1);
        assert_eq!(pipeline.fill(b, "2".into(), &mut transmit), Ok(()));
        assert_eq!(&transmit.copy_to_bytes(4)[..], b"1234");
        assert!(pipeline.is_empty());
        assert_eq!(pipeline.open(now), 4);
    }

    #[test]
    fn finds_the_expired_request() {
        let (mut pipeline, mut transmit) = (Pipeline::default(), Transmit::default());
        let now = Instant::now();
        let late = now + Duration::from_secs(9);
        let (a, b) = (pipeline.open(late), pipeline.open(now));
        assert_eq!(pipeline.deadline(), Some(now));
        assert_eq!(pipeline.expired(now), Some(b));
        pipeline.fill(b, "2".into(), &mut transmit).unwrap();
        assert_eq!(pipeline.expired(now), None);
        pipeline.clear();
        assert_eq!(pipeline.fill(a, "1".into(), &mut transmit), Err(Gone));
    }
}
