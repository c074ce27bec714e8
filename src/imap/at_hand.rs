//! What FETCH is asked for most, of all messages of a mailbox at once: nothing is allocated for a message, and nobody waits.

use mailwright_imap_proto::{command::FetchItem, response::ChosenFields, server::FetchData};
use mailwright_mailstore::Message;

use super::{fetch::is_whole, known::Known};

/// How many items of the kinds that are at hand a client may ask for at most, for them to be sent so: each once, two that come along,
/// and a few sections.
const MOST_READY: usize = 12;

/// The answer for a message of which everything that is asked for is at hand.
pub(super) struct Ready<'a> {
    data: [FetchData<'a>; MOST_READY],
    count: usize,
}

impl<'a> Ready<'a> {
    /// `chosen` has the fields of each item that is made of fields that are kept.
    pub(super) fn of(
        items: &'a [FetchItem],
        chosen: &'a [Option<ChosenFields>],
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
        for (item, chosen) in items.iter().zip(chosen) {
            ready.push(match item {
                FetchItem::Uid => continue,
                FetchItem::Envelope => FetchData::Written(item, known.envelope.as_ref()?),
                FetchItem::BodyStructure => FetchData::Written(item, known.body_structure.as_ref()?),
                FetchItem::Section(section) => match (chosen, &known.whole) {
                    (Some(chosen), _) => FetchData::Fields(chosen, known.header.as_ref()?),
                    (None, Some(whole)) if is_whole(section) && section.partial.is_none() => {
                        FetchData::Section(section, Some(whole))
                    }
                    _ => return None,
                },
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
