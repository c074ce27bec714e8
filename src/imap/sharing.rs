//! Quota, access control lists and annotations.

use std::str::FromStr;

use bytes::Bytes;
use mailwright_imap_proto::{
    Answered, Refusal,
    command::{DeleteAcl, GetMetadata, ListRights, ListedRights, RightsChange, SetAcl, SetMetadata},
    response::{QuotaResource, QuotaRoot, ResponseCode},
    server::{Event, Server},
};
use mailwright_line_proto::Deflate;
use mailwright_mail_model::MailboxName;
use mailwright_mailstore::{
    Acl, AclChange, Annotated, EntryName, Identifier, Identity, Metadata, Quota, QuotaStatus, Resource,
    Right, Rights, Store, StoreError, User, accounts::Accounts,
};

use super::{Visit, refusal};
use crate::service::Session;

impl<S: Store, A: Accounts> Visit<'_, S, A> {
    /// Answers what is about who has what and may do what.
    pub(super) async fn handle_sharing(&self, connection: &mut Session<Deflate<Server>>, event: Event) {
        macro_rules! answer {
            ($ask:ident, $answer:expr) => {{
                let answer = $answer;
                let _ = connection.machine().inner_mut().inner_mut().answer($ask, answer);
            }};
        }
        match event {
            Event::GetQuota(ask) => answer!(ask, self.quota_root(&ask.root).await),
            Event::GetQuotaRoot(ask) => answer!(ask, self.quota_roots(&ask.mailbox).await),
            Event::SetAcl(ask) => answer!(ask, self.set_access(&ask).await),
            Event::DeleteAcl(ask) => answer!(ask, self.delete_access(&ask).await),
            Event::GetAcl(ask) => answer!(ask, self.access(&ask.mailbox).await),
            Event::ListRights(ask) => answer!(ask, self.rights_to_give(&ask).await),
            Event::MyRights(ask) => answer!(ask, self.my_rights(&ask.mailbox).await),
            Event::GetMetadata(ask) => answer!(ask, self.annotations_for(&ask).await),
            Event::SetMetadata(ask) => answer!(ask, self.annotate(&ask).await),
            other => connection.machine().inner_mut().inner_mut().decline(other),
        }
    }

    /// RFC 9208 §4.1.1. There is one root for each user, and everybody sees their own.
    async fn quota_root(&self, name: &str) -> Answered<QuotaRoot> {
        let user = self.user()?;
        let quota = self.store.quota().ok_or_else(Refusal::cannot)?;
        if user.as_str() != name {
            return Err(Refusal::new(ResponseCode::NonExistent, "there is no such quota root"));
        }
        quota.quota_of(user).await.map(|status| root(&status)).map_err(|error| refusal(&error))
    }

    async fn quota_roots(&self, mailbox: &MailboxName) -> Answered<Vec<QuotaRoot>> {
        let quota = self.store.quota().ok_or_else(Refusal::cannot)?;
        // RFC 9208 §6; of a mailbox that is not there yet, what would count for it.
        let located = self.locate_for(mailbox, Right::Read).await.map_err(|error| refusal(&error))?;
        let status = quota.quota_of(&located.owner).await.map_err(|error| refusal(&error))?;
        Ok(vec![root(&status)])
    }

    async fn set_access(&self, request: &SetAcl) -> Answered<()> {
        let rights = Rights::from_str(&request.rights).map_err(|error| Refusal::plain(error.to_string()))?;
        let change = match request.change {
            RightsChange::Replace => AclChange::Replace(rights),
            RightsChange::Add => AclChange::Add(rights),
            RightsChange::Remove => AclChange::Remove(rights),
        };
        self.change_access(&request.mailbox, &request.identifier, change).await
    }

    async fn delete_access(&self, request: &DeleteAcl) -> Answered<()> {
        let nothing = AclChange::Replace(Rights::NONE);
        self.change_access(&request.mailbox, &request.identifier, nothing).await
    }

    async fn change_access(&self, mailbox: &MailboxName, who: &str, change: AclChange) -> Answered<()> {
        let acl = self.store.acl().ok_or_else(Refusal::cannot)?;
        let who: Identifier = who.parse().map_err(|error| Refusal::plain(format!("{error}")))?;
        let at = self.locate_for(mailbox, Right::Administer).await.map_err(|error| refusal(&error))?;
        acl.change_access(&at.owner, &at.name, &who, change).await.map_err(|error| refusal(&error))
    }

    async fn access(&self, mailbox: &MailboxName) -> Answered<Vec<(String, String)>> {
        let acl = self.store.acl().ok_or_else(Refusal::cannot)?;
        let at = self.locate_for(mailbox, Right::Administer).await.map_err(|error| refusal(&error))?;
        let list = acl.access_list(&at.owner, &at.name).await.map_err(|error| refusal(&error))?;
        let owner = (at.owner.as_str().to_owned(), shown(Rights::ALL));
        let others = list.iter().map(|entry| (entry.identifier.to_string(), shown(entry.rights)));
        Ok(std::iter::once(owner).chain(others).collect())
    }

    async fn rights_to_give(&self, request: &ListRights) -> Answered<ListedRights> {
        let who: Identifier =
            request.identifier.parse().map_err(|error| Refusal::plain(format!("{error}")))?;
        let at =
            self.locate_for(&request.mailbox, Right::Administer).await.map_err(|error| refusal(&error))?;
        if !who.is_negative() && Identity::new(at.owner).is(who.subject()) {
            return Ok(ListedRights::new(shown(Rights::ALL), Vec::new()));
        }
        // RFC 4314 §2.1.1: nothing is tied to anything, so the old ones stand by themselves.
        let each = Rights::ALL.iter().map(|right| Rights::of(right).to_string());
        Ok(ListedRights::new("", each.chain(["c".into(), "d".into()]).collect()))
    }

    async fn my_rights(&self, mailbox: &MailboxName) -> Answered<String> {
        let at = self.locate(mailbox).await.map_err(|error| refusal(&error))?;
        // One's own need not be there for `locate`.
        self.store.status(&at.owner, &at.name).await.map_err(|error| refusal(&error))?;
        Ok(shown(at.rights))
    }

    /// What is noted about a mailbox, or about the server, all that the user may see.
    async fn annotations_for(&self, request: &GetMetadata) -> Answered<Vec<(String, Bytes)>> {
        let place = self.annotated(request.mailbox.as_ref(), Right::Read).await?;
        self.annotations(&place).await
    }

    pub(super) async fn annotations(&self, place: &Annotated) -> Answered<Vec<(String, Bytes)>> {
        let user = self.user()?;
        let metadata = self.store.metadata().ok_or_else(Refusal::cannot)?;
        let all = metadata.annotations(place, user).await.map_err(|error| refusal(&error))?;
        Ok(all.into_iter().map(|annotation| (annotation.entry.to_string(), annotation.value)).collect())
    }

    async fn annotate(&self, request: &SetMetadata) -> Answered<()> {
        let user = self.user()?;
        let metadata = self.store.metadata().ok_or_else(Refusal::cannot)?;
        let mut changes = Vec::with_capacity(request.changes.len());
        for (entry, value) in &request.changes {
            let entry: EntryName = entry.parse().map_err(|error| Refusal::plain(format!("{error}")))?;
            changes.push((entry, value.clone()));
        }
        let shares = changes.iter().any(|(entry, _)| !entry.is_private());
        // RFC 5464 §3.3: what is shared takes the right to write; of the server it is the administrator's.
        let right = if shares { Right::Write } else { Right::Read };
        let place = self.annotated(request.mailbox.as_ref(), right).await?;
        if shares && place == Annotated::Server {
            return Err(Refusal::no_permission());
        }
        metadata.annotate(&place, user, &changes).await.map_err(|error| match &error {
            StoreError::TooLarge { limit } => noted(&format!("MAXSIZE {limit}"), &error),
            StoreError::TooMany { .. } => noted("TOOMANY", &error),
            other => refusal(other),
        })
    }

    async fn annotated(&self, mailbox: Option<&MailboxName>, right: Right) -> Answered<Annotated> {
        let Some(mailbox) = mailbox else { return Ok(Annotated::Server) };
        let at = self.locate_for(mailbox, right).await.map_err(|error| refusal(&error))?;
        Ok(Annotated::Mailbox { owner: at.owner, name: at.name })
    }
}

/// RFC 5464 §4.3
fn noted(text: &str, error: &StoreError) -> Refusal {
    let text_of_error = error.to_string();
    match ResponseCode::other("METADATA", Some(text)) {
        Some(code) => Refusal::new(code, text_of_error),
        None => Refusal::plain(text_of_error),
    }
}

/// Rights as they are told: with the old ones beside those that they became (RFC 4314 §2.1.1).
pub(super) fn shown(rights: Rights) -> String {
    let any = |of: &[Right]| of.iter().any(|right| rights.contains(*right));
    let mut shown = rights.to_string();
    if any(&[Right::CreateBelow, Right::DeleteMailbox]) {
        shown.push('c');
    }
    if any(&[Right::DeleteMessages, Right::Expunge]) {
        shown.push('d');
    }
    shown
}

fn root(status: &QuotaStatus) -> QuotaRoot {
    let user: &User = &status.user;
    let limited =
        Resource::ALL.into_iter().filter_map(|resource| Some((resource, status.limits.of(resource)?)));
    let resources = limited.map(|(resource, limit)| {
        // RFC 9208 §5.1, §5.4: in units of 1,024 octets.
        let unit = if matches!(resource, Resource::Storage | Resource::AnnotationStorage) { 1024 } else { 1 };
        QuotaResource::new(resource.as_str(), status.usage.of(resource).div_ceil(unit), limit / unit)
    });
    QuotaRoot::new(user.as_str(), resources.collect())
}
