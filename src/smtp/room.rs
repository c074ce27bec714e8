//! Whether there is room on the disk for a message, before it comes.

use std::{fmt, sync::Arc};

use mailwright_smtp_proto::{Mail, Reply};

/// Says whether so many octets fit.
#[derive(Clone)]
pub(super) struct Room(Arc<dyn Fn(u64) -> bool + Send + Sync>);

impl Room {
    pub(super) fn new(fits: impl Fn(u64) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(fits))
    }

    /// What a sender is told for whose message there is none. RFC 1870 §6.1: 452, for there may be room later.
    pub(super) fn refusal(&self, mail: &Mail) -> Option<Reply> {
        let octets = mail.parameters.size.unwrap_or(0);
        if (self.0)(octets) {
            return None;
        }
        let text = "There is no room for the message now; try again later";
        Some(Reply::new(452, (4, 3, 1), text).unwrap_or(Reply::INTERNAL))
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Room")
    }
}
