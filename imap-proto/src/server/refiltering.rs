//! FILTER: telling what a script has made of each message.

use std::num::NonZeroU32;

use mailwright_line_proto::Ask;
use mailwright_mail_model::Uid;

use super::{Server, State, answer::Reply, slots::Slot};
use crate::{
    command::ApplyFilter,
    refusal::Answered,
    response::{FilterResult, Filtered},
};

impl Server {
    /// Tells what a script has made of a message; `None` if nothing was done, which is not told. The command's time to be answered begins
    /// anew.
    pub fn filtered(&mut self, ask: &Ask<ApplyFilter>, uid: Uid, result: Option<FilterResult>) {
        let Some(slot) = self.slots.find(ask.id()) else { return };
        let (tag, says_uid) = (slot.tag.to_string(), slot.says_uid);
        self.slots.touch(ask.id());
        let State::Selected { view, .. } = &self.state else { return };
        let number = match self.enabled.uid_only {
            // RFC 9586 §3: no sequence number goes to such a client.
            true => Some(uid.get()),
            false => view.sequence(uid).and_then(|number| u32::try_from(number).ok()),
        };
        let (Some(sequence), Some(result)) = (number.and_then(NonZeroU32::new), result) else { return };
        let uid = says_uid.then_some(uid);
        Filtered { sequence: Some(sequence), tag, uid, result }.encode(&mut self.transmit);
    }

    /// Tells what is wrong with the script itself, at most once. After [`FilterResult::Errors`] the command is to be refused.
    pub fn filter_problem(&mut self, ask: &Ask<ApplyFilter>, problem: FilterResult) {
        let Some(slot) = self.slots.find(ask.id()) else { return };
        let tag = slot.tag.to_string();
        if problem != FilterResult::Done {
            Filtered { sequence: None, tag, uid: None, result: problem }.encode(&mut self.transmit);
        }
    }
}

impl Reply for ApplyFilter {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<()>) {
        server.done(&slot, answer);
    }
}
