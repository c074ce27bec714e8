//! Small rows of mailboxes and users in one keyspace: access control lists, annotations, expunged messages that can be had back,
//! warnings. The first octet of a key says what it is.

use bytes::Bytes;
use fjall::Readable;
use mailwright_mail_model::MailboxName;

use super::committer::Group;
use super::database::failed;
use super::header::Header;
use super::row::{self, Fields, name_key};
use super::{Core, arrange};
use crate::acl::changed_list;
use crate::metadata::{MOST_ENTRIES, MOST_VALUE};
use crate::{
    AclChange, AclEntry, Annotated, Annotation, EntryName, FeedEvent, Identifier, Identity, QuotaUsage,
    Result, Rights, SharedMailbox, StoreError, Subject, User,
};

/// mailbox identity: entries.
pub(super) const ACL: u8 = 1;
/// subject, NUL, owner: nothing. The owner has or had a mailbox with an entry for the subject.
pub(super) const SHARED: u8 = 2;
/// mailbox identity (0 for the server), reader (empty if shared), NUL, name: value.
pub(super) const ANNOTATION: u8 = 3;
/// user, NUL, identity: see [`undelete`](super::undelete).
pub(super) const EXPUNGED: u8 = 4;
/// seconds, then as `EXPUNGED`: nothing.
pub(super) const EXPUNGED_AT: u8 = 5;
/// user, NUL, resource, percent: nothing.
pub(super) const WARNING: u8 = 6;
/// user: their pair of keys. See [`sealed`](super::sealed).
pub(super) const LOCK: u8 = 7;
/// body, user (empty for everybody): by what it is opened.
pub(super) const BODY_KEY: u8 = 8;
/// rows, UID, user (empty for everybody): see [`annotations`](super::annotations).
pub(super) const NOTES: u8 = 9;

/// The identity that annotations of the server have in place of a mailbox's.
pub(super) const SERVER: u64 = 0;

impl Core {
    fn header(&self, user: &User, name: &MailboxName) -> Result<Header> {
        let live = self.live(&name_key(user.as_str(), name.as_str()))?.ok_or(StoreError::NotFound)?;
        let header = crate::signal::lock(&live.state).header.clone();
        Ok(header)
    }

    pub(super) fn detail(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let Some(sealed) = self.database.details.get(key).map_err(failed)? else { return Ok(None) };
        unseal(key, sealed.into()).map(Some)
    }

    pub(super) fn access_list(&self, owner: &User, name: &MailboxName) -> Result<Vec<AclEntry>> {
        self.list_of(self.header(owner, name)?.id)
    }

    fn list_of(&self, mailbox: u64) -> Result<Vec<AclEntry>> {
        let key = acl_key(mailbox);
        self.detail(&key)?.map_or(Ok(Vec::new()), |value| decode_list(&value))
    }

    /// Those who have or had a mailbox with an entry for a subject.
    fn owners_listing(&self, subject: &Subject) -> Result<Vec<User>> {
        let mut owners = Vec::new();
        let prefix = shared_key(&subject.to_string(), "");
        for entry in self.database.details.prefix(&prefix) {
            let key = entry.key().map_err(failed)?;
            let owner = key.get(prefix.len()..).and_then(|owner| str::from_utf8(owner).ok());
            owners.extend(owner.and_then(|owner| User::new(owner).ok()));
        }
        Ok(owners)
    }

    pub(super) fn listing(&self, subject: &Subject) -> Result<Vec<(User, MailboxName)>> {
        let mut listing = Vec::new();
        for owner in self.owners_listing(subject)? {
            let prefix = name_key(owner.as_str(), "");
            for entry in self.database.moment().prefix(&self.database.names, &prefix) {
                let (key, sealed) = entry.into_inner().map_err(failed)?;
                let Ok(header) = Header::decode(&key, &sealed) else { continue };
                if self.list_of(header.id)?.iter().any(|entry| entry.identifier.subject() == subject) {
                    listing.push((owner.clone(), arrange::name_of(&prefix, &key)?));
                }
            }
        }
        listing.sort_unstable();
        Ok(listing)
    }

    pub(super) fn shared_with(&self, who: &Identity) -> Result<Vec<SharedMailbox>> {
        let mut owners = Vec::new();
        for subject in who.subjects() {
            owners.extend(self.owners_listing(subject)?);
        }
        owners.sort_unstable();
        owners.dedup();
        let mut shared = Vec::new();
        for owner in owners.into_iter().filter(|owner| owner != who.user()) {
            let prefix = name_key(owner.as_str(), "");
            for entry in self.database.moment().prefix(&self.database.names, &prefix) {
                let (key, sealed) = entry.into_inner().map_err(failed)?;
                let Ok(header) = Header::decode(&key, &sealed) else { continue };
                let rights = who.rights(&owner, &self.list_of(header.id)?);
                if !rights.is_empty() {
                    let mailbox = arrange::describe(arrange::name_of(&prefix, &key)?, &header);
                    shared.push(SharedMailbox::new(owner.clone(), mailbox, rights));
                }
            }
        }
        Ok(shared)
    }

    pub(super) fn annotations(&self, place: &Annotated, reader: &User) -> Result<Vec<Annotation>> {
        let mailbox = match place {
            Annotated::Server => SERVER,
            Annotated::Mailbox { owner, name } => self.header(owner, name)?.id,
        };
        let mut annotations = Vec::new();
        for reader in [reader.as_str(), ""] {
            let prefix = annotation_key(mailbox, reader, "");
            for entry in self.database.details.prefix(&prefix) {
                let (key, sealed) = entry.into_inner().map_err(failed)?;
                let name = key.get(prefix.len()..).and_then(|name| str::from_utf8(name).ok());
                let corrupt = || StoreError::Corrupt("the name of an annotation".into());
                let entry = name.and_then(|name| name.parse().ok()).ok_or_else(corrupt)?;
                annotations.push(Annotation::new(entry, unseal(&key, sealed.into())?));
            }
        }
        annotations.sort_by(|a, b| a.entry.cmp(&b.entry));
        Ok(annotations)
    }

    /// The octets of all annotations of a mailbox, names and values.
    pub(super) fn annotation_octets(&self, mailbox: u64) -> Result<u64> {
        let mut octets = 0;
        for entry in self.database.details.prefix(annotation_prefix(mailbox)) {
            let (key, sealed) = entry.into_inner().map_err(failed)?;
            let name =
                key.get(9..).and_then(|rest| rest.split(|octet| *octet == 0).nth(1)).unwrap_or_default();
            octets += (name.len() + sealed.len().saturating_sub(4)) as u64;
        }
        Ok(octets)
    }
}

impl Group<'_> {
    /// A row as this group leaves it so far.
    pub(super) fn detail(&self, key: &[u8]) -> Result<Option<Bytes>> {
        match self.details.get(key) {
            Some(staged) => Ok(staged.clone()),
            None => self.core.detail(key),
        }
    }

    pub(super) fn set_detail(&mut self, key: Vec<u8>, value: Option<Bytes>) {
        match &value {
            Some(value) => {
                let sealed = row::seal(&key, value.to_vec());
                self.put(&self.core.database.details, key.clone(), sealed);
            }
            None => self.delete(&self.core.database.details, key.clone()),
        }
        self.details.insert(key, value);
    }

    pub(super) fn change_access(
        &mut self,
        owner: &User,
        name: &MailboxName,
        identifier: &Identifier,
        change: AclChange,
    ) -> Result<()> {
        let (_, staged) = self.named(owner, name)?;
        let key = acl_key(staged.header()?.id);
        let list = self.detail(&key)?.map_or(Ok(Vec::new()), |value| decode_list(&value))?;
        let list = changed_list(owner, list, identifier, change)?;
        self.set_list(owner.as_str(), key, &list);
        // Whoever gets or loses a right sees other mailboxes than before.
        let other = identifier.subject().account();
        let told = [Some(owner.as_str()), other].into_iter().flatten();
        self.events.extend(told.map(|user| (user.as_bytes().into(), FeedEvent::Mailboxes)));
        Ok(())
    }

    fn set_list(&mut self, owner: &str, key: Vec<u8>, list: &[AclEntry]) {
        for entry in list {
            let shared = shared_key(&entry.identifier.subject().to_string(), owner);
            self.put(&self.core.database.details, shared, Bytes::new());
        }
        self.set_detail(key, (!list.is_empty()).then(|| encode_list(list)));
    }

    /// Gives a new mailbox the list of the one above it.
    pub(super) fn inherit_access(&mut self, user: &User, parent: u64, child: u64) -> Result<()> {
        if let Some(value) = self.detail(&acl_key(parent))? {
            let list = decode_list(&value)?;
            self.set_list(user.as_str(), acl_key(child), &list);
        }
        Ok(())
    }

    pub(super) fn annotate(
        &mut self,
        place: &Annotated,
        writer: &User,
        changes: &[(EntryName, Option<Bytes>)],
    ) -> Result<()> {
        if let Some(limit) =
            changes.iter().flat_map(|(_, value)| value).find(|value| value.len() > MOST_VALUE)
        {
            let _ = limit;
            return Err(StoreError::TooLarge { limit: MOST_VALUE as u64 });
        }
        let (mailbox, owner) = match place {
            Annotated::Server => (SERVER, None),
            Annotated::Mailbox { owner, name } => (self.named(owner, name)?.1.header()?.id, Some(owner)),
        };
        let (mut before, mut after, mut made) = (0, 0, 0);
        let mut rows = Vec::with_capacity(changes.len());
        for (entry, value) in changes {
            let reader = if entry.is_private() { writer.as_str() } else { "" };
            let key = annotation_key(mailbox, reader, entry.as_str());
            let length = |value: &Bytes| (entry.as_str().len() + value.len()) as u64;
            let old = self.detail(&key)?;
            before += old.as_ref().map_or(0, length);
            after += value.as_ref().map_or(0, length);
            made += usize::from(old.is_none() && value.is_some());
            rows.push((key, value.clone()));
        }
        if made > 0 {
            let count =
                self.core.database.details.prefix(annotation_prefix(mailbox)).take(MOST_ENTRIES).count();
            if count + made > MOST_ENTRIES {
                return Err(StoreError::TooMany { limit: MOST_ENTRIES as u64 });
            }
        }
        if let Some(owner) = owner {
            let user = owner.as_str().as_bytes();
            let usage = |annotations| QuotaUsage { annotations, ..QuotaUsage::NOTHING };
            self.admit(user, &usage(after), &usage(before))?;
            self.account(user)?.change_annotations(before, after);
        }
        for (key, value) in rows {
            self.set_detail(key, value);
        }
        let (teller, name) = match place {
            Annotated::Server => (writer, None),
            Annotated::Mailbox { owner, name } => (owner, Some(name.clone())),
        };
        self.events.push((teller.as_str().as_bytes().into(), FeedEvent::Annotations(name)));
        Ok(())
    }

    /// Removes what belongs to a mailbox that is deleted.
    pub(super) fn forget_details(&mut self, user: &[u8], mailbox: u64) -> Result<()> {
        let core = self.core;
        let octets = core.annotation_octets(mailbox)?;
        self.account(user)?.change_annotations(octets, 0);
        for entry in core.database.details.prefix(annotation_prefix(mailbox)) {
            let key = entry.key().map_err(failed)?.to_vec();
            self.set_detail(key, None);
        }
        // Annotations made in this very group.
        let prefix = annotation_prefix(mailbox);
        let staged: Vec<_> = self.details.keys().filter(|key| key.starts_with(&prefix)).cloned().collect();
        for key in staged {
            self.set_detail(key, None);
        }
        self.set_detail(acl_key(mailbox), None);
        Ok(())
    }
}

pub(super) fn acl_key(mailbox: u64) -> Vec<u8> {
    [&[ACL][..], &mailbox.to_be_bytes()].concat()
}

fn shared_key(subject: &str, owner: &str) -> Vec<u8> {
    [&[SHARED][..], subject.as_bytes(), b"\0", owner.as_bytes()].concat()
}

fn annotation_prefix(mailbox: u64) -> Vec<u8> {
    [&[ANNOTATION][..], &mailbox.to_be_bytes()].concat()
}

fn annotation_key(mailbox: u64, reader: &str, entry: &str) -> Vec<u8> {
    [&annotation_prefix(mailbox)[..], reader.as_bytes(), b"\0", entry.as_bytes()].concat()
}

/// The mailbox and the name of an annotation that is private to this reader.
pub(super) fn private_annotation<'a>(key: &'a [u8], reader: &str) -> Option<(u64, &'a [u8])> {
    let mut fields = Fields(key.strip_prefix(&[ANNOTATION])?);
    let mailbox = fields.u64()?;
    Some((mailbox, fields.0.strip_prefix(reader.as_bytes())?.strip_prefix(b"\0")?))
}

/// The value of a sealed row.
pub(super) fn unseal(key: &[u8], sealed: Bytes) -> Result<Bytes> {
    let value = row::open(key, &sealed).map(|value| sealed.slice_ref(value));
    value.ok_or_else(|| StoreError::Corrupt(format!("the row {:?}", String::from_utf8_lossy(key))))
}

/// Each entry: the length of the identifier, the identifier, the length of the rights, the rights.
fn encode_list(list: &[AclEntry]) -> Bytes {
    let mut value = Vec::new();
    for entry in list {
        for text in [entry.identifier.to_string(), entry.rights.to_string()] {
            value.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
            value.extend_from_slice(text.as_bytes());
        }
    }
    value.into()
}

fn decode_list(value: &[u8]) -> Result<Vec<AclEntry>> {
    let mut fields = Fields(value);
    let mut text = || {
        let length = u16::from_be_bytes(fields.take()?);
        str::from_utf8(fields.octets(usize::from(length))?).ok()
    };
    let mut list = Vec::new();
    while let Some(identifier) = text() {
        let rights = text().and_then(|rights| rights.parse::<Rights>().ok());
        let entry = identifier.parse().ok().zip(rights);
        let corrupt = || StoreError::Corrupt("an access control list".into());
        let (identifier, rights) = entry.ok_or_else(corrupt)?;
        list.push(AclEntry::new(identifier, rights));
    }
    Ok(list)
}
