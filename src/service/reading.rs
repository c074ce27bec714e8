//! Octets of messages, as stores give them.

use std::ops::Range;

use bytes::Bytes;
use mailwright_mailstore::{MessageRef, Result, Store};

/// Octets of a message: from the start of the range on, and none beyond its end. A store may give fewer than are asked for; of one that gives
/// more, against what it promises, the others are left away, for a client would take them for commands and replies.
pub(crate) async fn octets_of<S: Store>(store: &S, message: &MessageRef, range: Range<u64>) -> Result<Bytes> {
    let most = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
    let mut octets = store.read(message, range).await?;
    octets.truncate(most);
    Ok(octets)
}
