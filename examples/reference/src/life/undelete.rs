//! Expunged messages are brought back.

use mailwright::{
    mail_model::MailboxName,
    mailstore::{ExpungedMessage, Folders, Store, StoreError, Undelete, User},
};
use serde::{Deserialize, Serialize};

use super::{Life, LifeError, LifeResponse};
use crate::queue::unix_time;

/// Which messages are meant: all conditions hold together.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// Those that were in this mailbox.
    pub(crate) mailbox: Option<String>,
    /// Those that were expunged within so many seconds.
    pub(crate) since: Option<u64>,
    /// Those with these identities, or all if there is none.
    pub(crate) ids: Vec<String>,
}

/// An expunged message, as it is listed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ExpungedEntry {
    pub(crate) id: String,
    pub(crate) mailbox: String,
    pub(crate) uid: u32,
    pub(crate) size: u64,
    /// Seconds since 1970, as all times here.
    pub(crate) arrived: u64,
    pub(crate) expunged: u64,
}

impl Wanted {
    fn holds(&self, message: &ExpungedMessage, now: u64) -> bool {
        let expunged = u64::try_from(message.expunged.seconds()).unwrap_or(0);
        self.mailbox.as_ref().is_none_or(|name| message.mailbox.as_str() == name)
            && self.since.is_none_or(|since| expunged >= now.saturating_sub(since))
            && (self.ids.is_empty() || self.ids.contains(&message.id.to_string()))
    }
}

impl Life {
    pub(super) async fn undelete(
        &self,
        user: &str,
        wanted: &Wanted,
        into: Option<&str>,
        list: bool,
    ) -> Result<LifeResponse, LifeError> {
        let user = self.directory.account(user)?.user.clone();
        let undelete = self.store.undelete().ok_or_else(|| {
            LifeError::Refused("nothing can be had back: set [store] undelete to a span of time".into())
        })?;
        let into = into.map(MailboxName::new).transpose();
        let into = into.map_err(|error| LifeError::Refused(error.to_string()))?;
        if let Some(into) = &into {
            self.names.refuse(&self.store, into)?;
        }
        let now = unix_time();
        let mut messages = undelete.expunged_messages(&user).await?;
        messages.retain(|message| wanted.holds(message, now));
        if list {
            return Ok(LifeResponse::Expunged { messages: messages.iter().map(entry).collect() });
        }
        let (mut count, mut problem) = (0, None);
        for message in &messages {
            let target = into.as_ref().unwrap_or(&message.mailbox);
            let made = match self.names.refuse(&self.store, target) {
                Ok(()) => self.make(&user, target).await,
                refused => refused,
            };
            let outcome = match made {
                Ok(()) => undelete.bring_back(&user, message.id, target).await.map(drop),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => count += 1,
                Err(error) => {
                    problem = Some(error.to_string());
                    break;
                }
            }
        }
        Ok(LifeResponse::Undeleted { count, problem })
    }

    /// Makes a mailbox that is not there any more.
    async fn make(&self, user: &User, name: &MailboxName) -> Result<(), StoreError> {
        match self.store.status(user, name).await {
            Err(StoreError::NotFound) => match self.store.folders() {
                Some(folders) => folders.create(user, name, None).await.map(drop),
                None => Err(StoreError::NotFound),
            },
            other => other.map(drop),
        }
    }
}

fn entry(message: &ExpungedMessage) -> ExpungedEntry {
    let seconds = |seconds: i64| u64::try_from(seconds).unwrap_or(0);
    ExpungedEntry {
        id: message.id.to_string(),
        mailbox: message.mailbox.to_string(),
        uid: message.uid.get(),
        size: message.size,
        arrived: seconds(message.internal_date.seconds()),
        expunged: seconds(message.expunged.seconds()),
    }
}
