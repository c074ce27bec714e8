//! URLs that carry the right to read what they name: made with a key of the mailbox, and checked with it (RFC 4467).
//!
//! The key of a mailbox is a private annotation of its owner that no client sees. So it goes with the mailbox, and with it all URLs that
//! were made for it.

use bytes::Bytes;
use mailwright_imap_proto::{
    Answered, AuthorizedUrl, Refusal, UrlAccess,
    command::{GenUrlAuth, ResetKey},
};
use mailwright_mail_model::MailboxName;
use mailwright_mailstore::{
    Annotated, EntryName, Metadata, Result as StoreResult, Store, StoreError, User, accounts::Accounts,
};
use ring::hmac;

use super::{Visit, refusal, sharing::HIDDEN};
use crate::{Authenticator, smtp::now};

/// The one mechanism that every server has; others nobody has defined.
const INTERNAL: &str = "INTERNAL";

/// Who uses a URL.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bearer<'a> {
    /// A reader of mail.
    Reader(&'a User),
    /// A server of submission, for what this user sends.
    Sender(&'a str),
}

impl Bearer<'_> {
    /// RFC 4467 §3
    fn is_meant_by(self, access: &UrlAccess) -> bool {
        let (name, sends, guest) = match self {
            Self::Reader(user) => (user.as_str(), false, user.is_guest()),
            Self::Sender(name) => (name, true, false),
        };
        match access {
            UrlAccess::Anonymous => true,
            // Whoever is nobody in particular is not meant by a name.
            _ if guest => false,
            UrlAccess::Submit(user) => sends && user.eq_ignore_ascii_case(name),
            UrlAccess::User(user) => user.eq_ignore_ascii_case(name),
            UrlAccess::Authenticated => true,
            _ => false,
        }
    }
}

/// Whose mailbox a URL names, if it was given out here, has not ended, and is meant for its bearer.
pub(crate) async fn check<A: Accounts>(
    store: &impl Store,
    authenticator: &Authenticator<A>,
    text: &str,
    bearer: Bearer<'_>,
) -> StoreResult<(User, MailboxName, AuthorizedUrl)> {
    let denied = || StoreError::Denied;
    let url: AuthorizedUrl = text.parse().map_err(|_| denied())?;
    let (owner, mailbox) = named(&url).ok_or_else(denied)?;
    // Of an account that is gone nothing is given out, though its mail may be kept still.
    if !authenticator.is_account(&owner).await {
        return Err(denied());
    }
    let ended = url.expires.is_some_and(|expires| expires <= now().seconds());
    let token = url.token.as_ref().filter(|token| token.mechanism == INTERNAL).ok_or_else(denied)?;
    if ended || !bearer.is_meant_by(&url.access) {
        return Err(denied());
    }
    let key = key_of(store, &owner, &mailbox).await?.ok_or_else(denied)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    hmac::verify(&key, url.rump().as_bytes(), &token.octets).map_err(|_| denied())?;
    Ok((owner, mailbox, url))
}

fn named(url: &AuthorizedUrl) -> Option<(User, MailboxName)> {
    let (user, _) = url.url.server.as_ref()?;
    Some((User::new(user).ok()?, url.url.mailbox.clone()?))
}

fn entry() -> StoreResult<EntryName> {
    format!("{HIDDEN}url-key").parse().map_err(|_| StoreError::Invalid("expected the name of a key".into()))
}

async fn key_of(store: &impl Store, owner: &User, mailbox: &MailboxName) -> StoreResult<Option<Bytes>> {
    let Some(metadata) = store.metadata() else { return Ok(None) };
    let place = Annotated::Mailbox { owner: owner.clone(), name: mailbox.clone() };
    let entry = entry()?;
    let all = metadata.annotations(&place, owner).await?;
    Ok(all.into_iter().find(|annotation| annotation.entry == entry).map(|annotation| annotation.value))
}

async fn set_key(
    store: &impl Store,
    owner: &User,
    mailbox: &MailboxName,
    key: Option<Bytes>,
) -> StoreResult<()> {
    let Some(metadata) = store.metadata() else { return Err(StoreError::Denied) };
    let place = Annotated::Mailbox { owner: owner.clone(), name: mailbox.clone() };
    metadata.annotate(&place, owner, &[(entry()?, key)]).await
}

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// GENURLAUTH (RFC 4467 §7): all of them or none.
    pub(super) async fn authorize_urls(&self, request: &GenUrlAuth) -> Answered<Vec<String>> {
        let mut whole = Vec::with_capacity(request.urls.len());
        for (url, mechanism) in &request.urls {
            whole.push(self.authorize_url(url, mechanism).await?);
        }
        Ok(whole)
    }

    async fn authorize_url(&self, url: &AuthorizedUrl, mechanism: &str) -> Answered<String> {
        let user = self.require_owner()?;
        if mechanism != INTERNAL {
            return Err(Refusal::plain("expected the mechanism INTERNAL"));
        }
        // RFC 4467 §7: a URL of another server is of no use here.
        let host = url.url.server.as_ref().map_or("", |(_, host)| host);
        if !self.service.options.names_us(host) {
            return Err(Refusal::plain("expected a URL with the name of this server"));
        }
        // RFC 4467 §7: nobody gives out rights in the name of others. What is others' is theirs to give.
        let (owner, mailbox) =
            named(url).filter(|(owner, name)| owner == user && !self.is_foreign(name)).ok_or_else(|| {
                Refusal::plain(
                    "expected a URL of a mailbox of your own, with your user name as you logged in",
                )
            })?;
        // One at a time, so that two who make the first key of a mailbox do not make two.
        let _alone = self.service.keys.lock().await;
        let known = key_of(self.store, &owner, &mailbox).await.map_err(|error| refusal(&error))?;
        let key = match known {
            Some(key) => key,
            None => {
                let key = crate::service::entropy().map_err(|_| Refusal::unavailable())?;
                let key = Bytes::copy_from_slice(&key);
                let set = set_key(self.store, &owner, &mailbox, Some(key.clone())).await;
                set.map_err(|error| refusal(&error))?;
                key
            }
        };
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), url.rump().as_bytes());
        Ok(url.with_token(INTERNAL, tag.as_ref()))
    }

    /// RESETKEY (RFC 4467 §7): without a key no URL is valid; the next one that is made makes another.
    pub(super) async fn reset_keys(&self, request: &ResetKey) -> Answered<()> {
        let user = self.require_owner()?;
        if !request.mechanisms.is_empty() && !request.mechanisms.iter().any(|name| name == INTERNAL) {
            return Err(Refusal::plain("expected the mechanism INTERNAL"));
        }
        let mailboxes = match &request.mailbox {
            Some(name) if self.is_foreign(name) => return Err(Refusal::no_permission()),
            Some(name) => vec![name.clone()],
            None => {
                let all = self.store.mailboxes(user).await.map_err(|error| refusal(&error))?;
                all.into_iter().map(|mailbox| mailbox.name).collect()
            }
        };
        let _alone = self.service.keys.lock().await;
        for mailbox in mailboxes {
            let known = key_of(self.store, user, &mailbox).await.map_err(|error| refusal(&error))?;
            if known.is_some() {
                set_key(self.store, user, &mailbox, None).await.map_err(|error| refusal(&error))?;
            }
        }
        Ok(())
    }
}
