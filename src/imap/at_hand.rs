//! What FETCH is asked for most, of all messages of a mailbox at once: nothing is allocated for a message, and nobody waits.

use mailwright_imap_proto::{command::FetchItem, server::FetchData};
use mailwright_mailstore::Message;

use super::known::Known;

/// How many items of the kinds that are at hand a client may ask for at most, for them to be sent so: each once, and two that come
/// along.
const MOST_READY: usize = 9;

/// The answer for a message of which everything that is asked for is at hand.
pub(super) struct Ready<'a> {
    data: [FetchData<'a>; MOST_READY],
    count: usize,
}

impl<'a> Ready<'a> {
    pub(super) fn of(
        items: &'a [FetchItem],
        message: &'a Message,
        known: &'a Known,
        told: bool,
    ) -> Option<Self> {
        let mut ready = Self { data: [FetchData::Size(0); MOST_READY], count: 0 };
        if told && !items.contains(&FetchItem::Flags) {
            ready.push(FetchData::Flags(&message.flags))?;
        }
        if told && !items.contains(&FetchItem::ModSeq) {
            ready.push(FetchData::ModSeq(message.modseq))?;
        }
        for item in items {
            let written = match item {
                FetchItem::Uid => continue,
                FetchItem::Envelope => known.envelope.as_ref(),
                FetchItem::BodyStructure => known.body_structure.as_ref(),
                _ => None,
            };
            ready.push(match (item, written) {
                (_, Some(octets)) => FetchData::Written(item, octets),
                _ => at_hand(item, message)?,
            })?;
        }
        Some(ready)
    }

    fn push(&mut self, data: FetchData<'a>) -> Option<()> {
        *self.data.get_mut(self.count)? = data;
        self.count += 1;
        Some(())
    }

    pub(super) fn data(&self) -> &[FetchData<'a>] {
        self.data.get(..self.count).unwrap_or_default()
    }
}

/// What the snapshot says of a message.
pub(super) fn at_hand<'a>(item: &FetchItem, message: &'a Message) -> Option<FetchData<'a>> {
    Some(match item {
        FetchItem::Flags => FetchData::Flags(&message.flags),
        FetchItem::InternalDate => FetchData::InternalDate(message.internal_date),
        FetchItem::Size => FetchData::Size(message.size),
        FetchItem::ModSeq => FetchData::ModSeq(message.modseq),
        FetchItem::SaveDate => FetchData::SaveDate(message.saved()),
        _ => return None,
    })
}
