//! Small messages that are wanted whole, one after another: several are read at a time, which costs less, and waits once.

use bytes::Bytes;
use mailwright_imap_proto::command::{FetchItem, SectionText};
use mailwright_mailstore::{MessageRef, Store};

use super::items::INLINE;

/// How many octets are read at a time at most: what waits for a client that takes nothing, beside what is written already.
const TOGETHER: u64 = 256 * 1024;

/// What is read already of the messages that are next.
#[derive(Debug)]
pub(super) struct Together {
    wanted: bool,
    ready: std::vec::IntoIter<Option<Bytes>>,
}

impl Together {
    pub(super) fn new(items: &[FetchItem]) -> Self {
        let wanted = items.iter().any(|item| {
            let FetchItem::Section(asked) = item else { return false };
            let most = matches!(asked.section.text, SectionText::Whole | SectionText::Text);
            most && asked.section.part.is_empty() && asked.partial.is_none()
        });
        Self { wanted, ready: Vec::new().into_iter() }
    }

    pub(super) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// The octets of the first of these messages, if it is small. To be asked once for each of them, in their order.
    pub(super) async fn next(&mut self, store: &impl Store, messages: &[MessageRef]) -> Option<Bytes> {
        if !self.wanted {
            return None;
        }
        if let Some(octets) = self.ready.next() {
            return octets;
        }
        let mut octets = 0_u64;
        let fits = |message: &&MessageRef| {
            octets = octets.saturating_add(message.size);
            message.size <= INLINE && octets <= TOGETHER
        };
        let few = messages.get(..messages.iter().take_while(fits).count())?;
        if few.len() < 2 {
            return None;
        }
        self.ready = store.read_together(few).await.unwrap_or_default().into_iter();
        self.ready.next().flatten()
    }
}
