//! Sending a script.

use bytes::Bytes;
use mailwright_line_proto::{Closed, Deadline, Misuse};

use super::{Server, State};

impl Server {
    /// Sends the next part of a script, cut anywhere. Stop while
    /// [`transmit`](mailwright_line_proto::Machine::transmit) is longer than
    /// [`Limits::transmit`](mailwright_line_proto::Limits::transmit).
    ///
    /// # Errors
    /// [`Misuse::NoBody`] if no [`GetScript`](crate::managesieve::GetScript) was granted, [`Misuse::Closed`] if the
    /// connection is gone, [`Misuse::BodyLength`] if it is more than was announced: the connection closes.
    pub fn send_body(&mut self, chunk: Bytes) -> Result<(), Misuse> {
        let State::Body { remaining, announced, since } = &mut self.state else { return Err(self.no_body()) };
        *since = None;
        let left = u32::try_from(chunk.len()).ok().and_then(|length| remaining.checked_sub(length));
        let Some(left) = left else {
            let announced = u64::from(*announced);
            return Err(self.wrong_length(announced));
        };
        *remaining = left;
        self.out.body(|transmit| transmit.put_bytes(chunk));
        Ok(())
    }

    /// Ends the script.
    ///
    /// # Errors
    /// As [`send_body`](Self::send_body); [`Misuse::BodyLength`] if it is less than was announced.
    pub fn end_body(&mut self) -> Result<(), Misuse> {
        match self.state {
            State::Body { remaining: 0, .. } => {
                self.out.body(|transmit| transmit.put(b"\r\n"));
                self.state = State::Command;
                self.idle_since = None;
                self.ok("");
                Ok(())
            }
            State::Body { announced, .. } => Err(self.wrong_length(announced.into())),
            _ => Err(self.no_body()),
        }
    }

    /// The rest of the script cannot be had: closes the connection, so that the peer does not take the part for
    /// the whole. Without a body under way, nothing happens.
    pub fn abort_body(&mut self) {
        if matches!(self.state, State::Body { .. }) {
            self.close(Closed::TimedOut(Deadline::Body));
        }
    }

    fn no_body(&self) -> Misuse {
        if matches!(self.state, State::Closing(_) | State::Closed) { Misuse::Closed } else { Misuse::NoBody }
    }

    fn wrong_length(&mut self, announced: u64) -> Misuse {
        let misuse = Misuse::BodyLength { announced };
        self.close(Closed::Misuse(misuse));
        misuse
    }
}
