//! What happens to messages in mailboxes, for scripts that run then (RFC 6785).

use std::{fmt, pin::Pin, sync::Arc};

use mailwright_mail_model::{FlagSet, MailboxName, Uid, UidSet};
use mailwright_mailstore::{Store, User, accounts::Accounts};

use super::Visit;

/// Is told what clients do with messages: runs Sieve scripts, if it is a [`StoreInbox`](crate::smtp::StoreInbox) with a
/// [`SieveFilter`](crate::filter::SieveFilter).
pub trait Events: Send + Sync {
    /// Something has happened, and the client waits for its answer until this is done.
    fn happened<'a>(&'a self, event: &'a ImapEvent) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// What has happened to messages of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImapEvent {
    /// Who is logged in.
    pub user: User,
    /// Whose mailbox it is.
    pub owner: User,
    /// Which.
    pub mailbox: MailboxName,
    /// What it was.
    pub cause: Cause,
    /// The messages, each with its flags that have changed, whether they are set now or not; none for new messages.
    pub messages: Vec<(Uid, FlagSet)>,
}

/// By what a script is started (RFC 6785 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Messages were added by APPEND or REPLACE.
    Append,
    /// Messages were added by COPY, or by MOVE (RFC 6851 §4.6).
    Copy,
    /// Flags of messages have changed.
    Flag,
}

impl Cause {
    /// Its name for scripts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Append => "APPEND",
            Self::Copy => "COPY",
            Self::Flag => "FLAG",
        }
    }
}

/// Who is told.
#[derive(Clone)]
pub(super) struct Told(pub(super) Arc<dyn Events>);

impl fmt::Debug for Told {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Told").finish_non_exhaustive()
    }
}

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// Tells of messages that are new in a mailbox.
    pub(super) async fn added(&self, cause: Cause, owner: &User, mailbox: &MailboxName, uids: &UidSet) {
        if self.service.events.is_some() {
            let messages = uids.iter().map(|uid| (uid, FlagSet::new())).collect();
            self.tell(cause, owner, mailbox, messages).await;
        }
    }

    /// Tells of messages of the open mailbox whose flags have changed.
    pub(super) async fn flagged(&self, messages: Vec<(Uid, FlagSet)>) {
        if let Some(selected) = &self.selected {
            self.tell(Cause::Flag, selected.mailbox.user(), selected.mailbox.name(), messages).await;
        }
    }

    async fn tell(&self, cause: Cause, owner: &User, mailbox: &MailboxName, messages: Vec<(Uid, FlagSet)>) {
        let (Some(Told(events)), Some(user)) = (&self.service.events, &self.user) else { return };
        if messages.is_empty() {
            return;
        }
        let (user, owner, mailbox) = (user.clone(), owner.clone(), mailbox.clone());
        events.happened(&ImapEvent { user, owner, mailbox, cause, messages }).await;
    }
}
