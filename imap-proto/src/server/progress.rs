//! How far a command has come that takes long (RFC 9585).

use mailwright_line_proto::Ask;

use super::{Serve, Server};
use crate::response::{ResponseCode, Status};

impl Server {
    /// Tells how far a command has come: so many of so many messages, as far as that is known. Its time to be answered begins anew.
    ///
    /// Nothing is told of one that is answered already. Every ten seconds is often enough.
    pub fn progress<R: Serve>(&mut self, ask: &Ask<R>, done: Option<u64>, goal: Option<u64>) {
        let Some(slot) = self.slots.find(ask.id()) else { return };
        // What cannot stand in brackets is not named.
        let tag = Some(&slot.tag).filter(|tag| !tag.is_empty() && !tag.contains([']', '"', '\\']));
        let tag = tag.map_or_else(|| "NIL".to_owned(), |tag| format!("\"{tag}\""));
        // RFC 9585 §4: a goal is not 0, and what has come so far is less.
        let goal = goal.filter(|goal| *goal > 0 && done.is_none_or(|done| done < *goal));
        let number =
            |number: Option<u64>| number.map_or_else(|| "NIL".to_owned(), |number| number.to_string());
        let text = format!("({tag} {} {})", number(done), number(goal));
        let code = ResponseCode::Other { name: "INPROGRESS".into(), text: Some(text) };
        self.slots.touch(ask.id());
        self.say(None, &Status::ok("still working").with(code));
    }
}
