//! Quota, access control lists and annotations.

use std::str::FromStr;

use bytes::Bytes;
use mailwright_imap_proto::{
    Answered, Refusal,
    command::{
        Command, DeleteAcl, GetMetadata, ListRights, ListedRights, RightsChange, SearchContext, SetAcl,
        SetMetadata, SetQuota,
    },
    grammar::{GrammarError, Input},
    response::{QuotaResource, QuotaRoot, ResponseCode},
    server::{Event, Server},
};
use mailwright_line_proto::Deflate;
use mailwright_mail_model::MailboxName;
use mailwright_mailstore::{
    Acl, AclChange, Annotated, EntryName, Identifier, Identity, Metadata, Quota, QuotaLimits, QuotaStatus,
    Resource, Right, Rights, Store, StoreError, Subject, User, accounts::Accounts,
};

use super::{Visit, refusal, special_use::is_special_use};
use crate::service::Session;

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// Answers what is about who has what and may do what; says whether it was done.
    pub(super) async fn handle_sharing(
        &self,
        connection: &mut Session<Deflate<Server>>,
        event: Event,
    ) -> bool {
        macro_rules! answer {
            ($ask:ident, $answer:expr) => {{
                let answer = $answer;
                let done = answer.is_ok();
                let _ = connection.machine().inner_mut().inner_mut().answer($ask, answer);
                done
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
            Event::GenUrlAuth(ask) => answer!(ask, self.authorize_urls(&ask).await),
            Event::ResetKey(ask) => answer!(ask, self.reset_keys(&ask).await),
            Event::Filter(ask) => answer!(ask, self.filter(&ask.name).await),
            Event::SetQuota(ask) => answer!(ask, self.set_quota(&ask).await),
            other => {
                connection.machine().inner_mut().inner_mut().decline(other);
                false
            }
        }
    }

    /// RFC 9208 §4.1.1. There is one root for each user, and everybody sees their own; administrators see all.
    async fn quota_root(&self, name: &str) -> Answered<QuotaRoot> {
        let user = self.root_named(name).await?;
        let quota = self.store.quota().ok_or_else(Refusal::cannot)?;
        quota.quota_of(&user).await.map(|status| root(&status)).map_err(|error| refusal(&error))
    }

    /// RFC 9208 §4.1.3: these limits and no others.
    async fn set_quota(&self, request: &SetQuota) -> Answered<QuotaRoot> {
        if !self.is_administrator() {
            return Err(Refusal::no_permission());
        }
        let user = self.root_named(&request.root).await?;
        let quota = self.store.quota().ok_or_else(Refusal::cannot)?;
        let mut limits = QuotaLimits::NONE;
        for (name, limit) in &request.limits {
            let known = Resource::ALL.iter().copied().find(|resource| resource.as_str() == name);
            let resource =
                known.ok_or_else(|| Refusal::plain(format!("there is no limit of the resource {name}")))?;
            let limit = Some(limit.saturating_mul(unit(resource)));
            limits = match resource {
                Resource::Storage => limits.storage(limit),
                Resource::Message => limits.messages(limit),
                Resource::Mailbox => limits.mailboxes(limit),
                Resource::AnnotationStorage => limits.annotations(limit),
                _ => return Err(Refusal::plain(format!("there is no limit of the resource {name}"))),
            };
        }
        quota.set_quota(&user, Some(limits)).await.map_err(|error| refusal(&error))?;
        quota.quota_of(&user).await.map(|status| root(&status)).map_err(|error| refusal(&error))
    }

    /// Whose quota root has this name, of those that the user may know of.
    async fn root_named(&self, name: &str) -> Answered<User> {
        let user = self.user()?;
        if user.as_str() == name {
            return Ok(user.clone());
        }
        let quota = self.store.quota().filter(|_| self.is_administrator());
        let all = match quota {
            Some(quota) => quota.quotas().await.map_err(|error| refusal(&error))?,
            None => Vec::new(),
        };
        let found = all.into_iter().map(|status| status.user).find(|known| known.as_str() == name);
        found.ok_or_else(|| Refusal::new(ResponseCode::NonExistent, "there is no such quota root"))
    }

    /// A search that was noted under a name (RFC 5466 §3.1).
    async fn filter(&self, name: &str) -> Answered<Option<String>> {
        let all = self.annotations(&Annotated::Server).await?;
        let find = |place: &str| {
            let entry = format!("{place}{FILTERS}{name}");
            all.iter().find(|(known, _)| *known == entry)
        };
        let found = find("/private").or_else(|| find("/shared"));
        Ok(found.and_then(|(_, text)| String::from_utf8(text.to_vec()).ok()))
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
        if rights != self.known_rights(rights) {
            return Err(Refusal::plain("there is no right n where nothing can be noted about messages"));
        }
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
        let owner = (at.owner.as_str().to_owned(), shown(self.known_rights(Rights::ALL)));
        let others =
            list.iter().map(|entry| (entry.identifier.to_string(), shown(self.known_rights(entry.rights))));
        Ok(std::iter::once(owner).chain(others).collect())
    }

    async fn rights_to_give(&self, request: &ListRights) -> Answered<ListedRights> {
        let who: Identifier =
            request.identifier.parse().map_err(|error| Refusal::plain(format!("{error}")))?;
        let at =
            self.locate_for(&request.mailbox, Right::Administer).await.map_err(|error| refusal(&error))?;
        // The owner has them all, whatever is said of everybody.
        let is_owner = *who.subject() != Subject::Anyone && Identity::new(at.owner).is(who.subject());
        if !who.is_negative() && is_owner {
            return Ok(ListedRights::new(shown(self.known_rights(Rights::ALL)), Vec::new()));
        }
        // RFC 4314 §2.1.1: nothing is tied to anything, so the old ones stand by themselves.
        let each = self.known_rights(Rights::ALL).iter().map(|right| Rights::of(right).to_string());
        Ok(ListedRights::new("", each.chain(["c".into(), "d".into()]).collect()))
    }

    async fn my_rights(&self, mailbox: &MailboxName) -> Answered<String> {
        let at = self.locate(mailbox).await.map_err(|error| refusal(&error))?;
        // RFC 4314 §4: who has others only may not know that it is there.
        let needed = [
            Right::Lookup,
            Right::Read,
            Right::Insert,
            Right::CreateBelow,
            Right::DeleteMailbox,
            Right::Administer,
        ];
        if !needed.into_iter().any(|right| at.rights.contains(right)) {
            return Err(Refusal::non_existent());
        }
        // One's own need not be there for `locate`.
        self.store.status(&at.owner, &at.name).await.map_err(|error| refusal(&error))?;
        Ok(shown(at.rights))
    }

    /// What is noted about a mailbox, or about the server, all that the user may see.
    async fn annotations_for(&self, request: &GetMetadata) -> Answered<Vec<(String, Bytes)>> {
        let place = self.annotated(request.mailbox.as_ref(), Right::Read).await?;
        let mut all = self.annotations(&place).await?;
        all.extend(self.special_use_of(&place).await?);
        Ok(all)
    }

    pub(super) async fn annotations(&self, place: &Annotated) -> Answered<Vec<(String, Bytes)>> {
        let user = self.user()?;
        let metadata = self.store.metadata().ok_or_else(Refusal::cannot)?;
        let all = metadata.annotations(place, user).await.map_err(|error| refusal(&error))?;
        let of_mailbox = matches!(place, Annotated::Mailbox { .. });
        let own = |entry: &EntryName| is_hidden(entry) || of_mailbox && is_special_use(entry);
        // What is private is the owner's.
        let is_shown = |entry: &EntryName| !(own(entry) || user.is_guest() && entry.is_private());
        let shown = all.into_iter().filter(|annotation| is_shown(&annotation.entry));
        Ok(shown.map(|annotation| (annotation.entry.to_string(), annotation.value)).collect())
    }

    async fn annotate(&self, request: &SetMetadata) -> Answered<()> {
        let user = self.require_owner()?;
        let metadata = self.store.metadata().ok_or_else(Refusal::cannot)?;
        let mut changes = Vec::with_capacity(request.changes.len());
        for (entry, value) in &request.changes {
            let entry: EntryName = entry.parse().map_err(|error| Refusal::plain(format!("{error}")))?;
            if is_hidden(&entry) {
                return Err(Refusal::no_permission());
            }
            Self::keeps_special_use(&entry, request.mailbox.as_ref())?;
            if let (None, Some(value)) = (&request.mailbox, value) {
                check_filter(&entry, value)?;
            }
            changes.push((entry, value.clone()));
        }
        let shares = changes.iter().any(|(entry, _)| !entry.is_private());
        // RFC 5464 §3.3: what is shared takes the right to write; of the server it is the administrator's.
        let right = if shares { Right::Write } else { Right::Read };
        let place = self.annotated(request.mailbox.as_ref(), right).await?;
        if shares && place == Annotated::Server && !self.is_administrator() {
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

/// Below this are searches with names, each user's own and those of all (RFC 5466 §3.2).
const FILTERS: &str = "/filters/values/";

/// Below this the server keeps what is its own and no client's.
pub(super) const HIDDEN: &str = "/private/vendor/mailwright/server/";

/// Whether an annotation is none of the clients'.
pub(super) fn is_hidden(entry: &EntryName) -> bool {
    entry.as_str().starts_with(HIDDEN)
}

/// Refuses what is to be searched for under a name, if it is no search (RFC 5466 §3.2).
fn check_filter(entry: &EntryName, text: &[u8]) -> Answered<()> {
    let rest = entry.as_str().strip_prefix("/private").or_else(|| entry.as_str().strip_prefix("/shared"));
    if !rest.is_some_and(|rest| rest.starts_with(FILTERS)) {
        return Ok(());
    }
    // It is a row of keys: what stands before those in a command is no part of it.
    let first = text.split(|octet| *octet == b' ').next().unwrap_or_default();
    if [&b"CHARSET"[..], b"RETURN"].iter().any(|word| first.eq_ignore_ascii_case(word)) {
        return Err(Refusal::plain(
            "this is no search: expected a search key at its start, and UTF-8 throughout",
        ));
    }
    let command = [b"SEARCH ", text].concat();
    let read = Command::parse(&mut Input::new(&command).with_utf8(true), SearchContext::default());
    match read {
        Err(error @ (GrammarError::Syntax { .. } | GrammarError::TooMany { .. } | GrammarError::Charset)) => {
            Err(Refusal::plain(format!("this is no search: {error}")))
        }
        // What its numbers and the filters in it mean is known when it is used.
        _ => Ok(()),
    }
}

/// RFC 9208 §5.1, §5.4: in units of 1,024 octets.
fn unit(resource: Resource) -> u64 {
    if matches!(resource, Resource::Storage | Resource::AnnotationStorage) { 1024 } else { 1 }
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
        Resource::ALL.iter().copied().filter_map(|resource| Some((resource, status.limits.of(resource)?)));
    let resources = limited.map(|(resource, limit)| {
        let unit = unit(resource);
        QuotaResource::new(resource.as_str(), status.usage.of(resource).div_ceil(unit), limit.div_ceil(unit))
    });
    QuotaRoot::new(user.as_str(), resources.collect())
}
