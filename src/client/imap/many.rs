//! Changes to any number of messages, in as many commands as servers' lines ask for.

use mailwright_imap_proto::{
    MessageSet,
    command::{Copy, CopyUid, Expunge, Fetch, Move, Store, StoreOperation},
};
use mailwright_mail_model::{FlagSet, MailboxName};

use super::ImapClient;
use crate::client::ClientError;

/// How many octets the messages of one command may take. RFC 7162 §4 gives a line 8,192; what else stands in it needs room too.
pub(super) const WRITTEN: usize = 7_000;

impl ImapClient {
    /// Changes flags. Of many messages that are scattered, in several commands: what was changed before one is refused stays changed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn store(
        &mut self,
        messages: impl Into<MessageSet>,
        operation: StoreOperation,
        flags: FlagSet,
    ) -> Result<(), ClientError> {
        for some in messages.into().split(WRITTEN) {
            self.call(Store::new(some, operation, flags.clone())).await?;
        }
        Ok(())
    }

    /// Copies messages; where to, if the server tells. All of them or none, unless they are so many and so scattered that it takes several
    /// commands: what was copied before one is refused stays there.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn copy(
        &mut self,
        messages: impl Into<MessageSet>,
        to: MailboxName,
    ) -> Result<Option<CopyUid>, ClientError> {
        let mut copied = Copied::None;
        for some in messages.into().split(WRITTEN) {
            copied = copied.and(self.call(Copy::new(some, to.clone())).await?);
        }
        Ok(copied.told())
    }

    /// Moves messages (RFC 6851); where to, if the server tells. Of many messages that are scattered, in several commands: what was moved before
    /// one is refused stays there.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn move_to(
        &mut self,
        messages: impl Into<MessageSet>,
        to: MailboxName,
    ) -> Result<Option<CopyUid>, ClientError> {
        let mut moved = Copied::None;
        for some in messages.into().split(WRITTEN) {
            moved = moved.and(self.call(Move::new(some, to.clone())).await?);
        }
        Ok(moved.told())
    }

    /// Removes what is marked `\Deleted`. Which messages those were is among the [`news`](Self::news).
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn expunge(&mut self) -> Result<(), ClientError> {
        self.call(Expunge::new(None)).await
    }
}

/// The FETCH commands that one is sent as.
pub(super) fn parts(fetch: Fetch) -> Vec<Fetch> {
    // RFC 9394 §3.2, RFC 7162 §3.2.6: these are about all of them together.
    if fetch.partial.is_some() || fetch.vanished.is_some() {
        return vec![fetch];
    }
    let part = |messages| {
        let mut part = Fetch::new(messages, fetch.items.clone());
        part.changed_since = fetch.changed_since;
        part
    };
    fetch.messages.clone().split(WRITTEN).into_iter().map(part).collect()
}

/// Where the messages of several commands went.
enum Copied {
    None,
    Told(CopyUid),
    /// Of some the server has not said it.
    Untold,
}

impl Copied {
    fn and(self, more: Option<CopyUid>) -> Self {
        match (self, more) {
            (Self::None, Some(more)) => Self::Told(more),
            (Self::Told(told), Some(more)) => told.and(&more).map_or(Self::Untold, Self::Told),
            _ => Self::Untold,
        }
    }

    fn told(self) -> Option<CopyUid> {
        match self {
            Self::Told(told) => Some(told),
            Self::None | Self::Untold => None,
        }
    }
}
