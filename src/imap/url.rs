//! Parts of messages by their URL (RFC 5092).

use std::ops::Range;

use bytes::Bytes;
use mailwright_imap_proto::{
    Answered, ImapUrl, Refusal,
    command::{Section, SectionText},
};
use mailwright_mailstore::{MailboxRef, MessageRef, Right, Store, StoreError, User, accounts::Accounts};

use super::{
    Visit,
    described::{short, structures, unreadable},
    fetch::read,
};
use crate::service::octets_of;

/// Octets of a message.
pub(super) enum Part {
    /// As they are stored, from here to there.
    Stored(MessageRef, Range<u64>),
    /// Chosen from it.
    Chosen(Bytes),
}

impl Part {
    /// How many there are left.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Stored(_, range) => range.end - range.start,
            Self::Chosen(octets) => octets.len() as u64,
        }
    }

    /// The next of them; `None` at their end.
    pub(super) async fn next(&mut self, store: &impl Store, most: u64) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Stored(_, range) if range.is_empty() => Ok(None),
            Self::Stored(message, range) => {
                let chunk = octets_of(store, message, range.start..range.end.min(range.start + most)).await?;
                if chunk.is_empty() {
                    return Err(short());
                }
                range.start += chunk.len() as u64;
                Ok(Some(chunk))
            }
            Self::Chosen(octets) => {
                let octets = std::mem::take(octets);
                Ok((!octets.is_empty()).then_some(octets))
            }
        }
    }
}

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// What a URL of the session itself means.
    pub(super) async fn part(&self, text: &str) -> Answered<Part> {
        let bad = || Refusal::bad_url(text);
        // RFC 4469 §3: those with a server are no matter of this session.
        let url: ImapUrl = text.parse().ok().filter(|url: &ImapUrl| url.server.is_none()).ok_or_else(bad)?;
        let selected = self.selected.as_ref().map(|selected| &selected.mailbox);
        let (user, name) = match (&url.mailbox, selected) {
            (Some(name), _) => {
                let at = self.locate_for(name, Right::Read).await.map_err(|_| bad())?;
                (at.owner, at.name)
            }
            (None, Some(mailbox)) => (mailbox.user().clone(), mailbox.name().clone()),
            (None, None) => return Err(bad()),
        };
        part_of(self.store, &user, &name, &url).await.map_err(|_| bad())
    }
}

/// What a URL means in a mailbox.
pub(super) async fn part_of(
    store: &impl Store,
    user: &User,
    name: &mailwright_mail_model::MailboxName,
    url: &ImapUrl,
) -> Result<Part, StoreError> {
    let snapshot = store.open(user, name).await?;
    if url.uid_validity.is_some_and(|validity| validity != snapshot.uid_validity()) {
        return Err(StoreError::NotFound);
    }
    let message = snapshot.message(url.uid).ok_or(StoreError::NotFound)?;
    let reference = MailboxRef::new(user.clone(), name.clone(), &snapshot).message(message);
    let (from, length) = url.partial.unwrap_or((0, None));
    let cut = |whole: Range<u64>| {
        let start = whole.start.saturating_add(from).min(whole.end);
        start..length.map_or(whole.end, |length| start.saturating_add(length).min(whole.end))
    };
    let section = match &url.section {
        None => return Ok(Part::Stored(reference, cut(0..message.size))),
        Some(section) if *section == Section::default() => {
            return Ok(Part::Stored(reference, cut(0..message.size)));
        }
        Some(section) => section,
    };
    let found = structures(store, std::slice::from_ref(&reference)).await?.pop().flatten();
    let Some(structure) = found else { return Err(unreadable(store, &reference).await) };
    let locator = section.locator().map_err(|error| StoreError::Invalid(error.to_string()))?;
    let whole = structure.locate(&locator).ok_or(StoreError::NotFound)?;
    if !matches!(section.text, SectionText::HeaderFields(_) | SectionText::HeaderFieldsNot(_)) {
        return Ok(Part::Stored(reference, cut(whole)));
    }
    let header = read(store, &reference, whole).await?;
    let chosen = Bytes::from(section.select(&header).unwrap_or_default());
    let range = cut(0..chosen.len() as u64);
    Ok(Part::Chosen(chosen.slice(range.start as usize..range.end as usize)))
}
