//! What is noted about messages.

use bytes::Bytes;
use mailwright_mail_model::{AnnotationScope, MailboxName, Uid, UidSet};

use super::{Outcome, date, ensure, equal, filled, message, name, refused, some, user, writer};
use crate::{
    Acl, AclChange, Annotate, AnnotationChange, Carried, Expunge, Folders, MailboxRef, Noted, Quota,
    QuotaLimits, Store, StoreError, Target, Undelete, User, Write,
};

use AnnotationScope::{Private, Shared};

/// Limits above these are as good as none: nobody fills a store to try them.
const OCTETS: u32 = 4 << 20;
const ENTRIES: u16 = 1_000;

fn facet(store: &impl Store) -> Outcome<&impl Annotate> {
    some(store.annotator(), "the annotations that were there before")
}

fn noted(entry: &str, scope: AnnotationScope, value: Option<&'static str>) -> Outcome<Noted> {
    let entry = some(entry.parse().ok(), "the name of an entry")?;
    Ok((entry, scope, value.map(|value| Bytes::from_static(value.as_bytes()))))
}

/// What a reader sees of a mailbox: UID, entry, and value, if there is one.
async fn seen(
    store: &impl Store,
    mailbox: &MailboxRef,
    uids: &UidSet,
    reader: &User,
) -> Outcome<Vec<(u32, String)>> {
    let mut all = Vec::new();
    for (uid, annotations) in facet(store)?.message_annotations(mailbox, uids, reader).await? {
        for annotation in annotations {
            if let Some(value) = annotation.value {
                let value = String::from_utf8_lossy(&value).into_owned();
                all.push((uid.get(), format!("{}{} {value}", annotation.entry, annotation.scope.suffix())));
            }
        }
    }
    Ok(all)
}

fn told(all: &[(Uid, &str)]) -> Vec<(u32, String)> {
    all.iter().map(|(uid, text)| (uid.get(), (*text).to_owned())).collect()
}

pub(super) async fn notes_are_private_or_shared(store: &impl Store) -> Outcome {
    let (owner, reader) = (user("note-owner")?, user("note-reader")?);
    let (mailbox, uids) = filled(store, &owner, &["()", "()", "()"]).await?;
    let [first, second, third] = uids[..] else { return ensure(false, "three messages") };
    let (all, facet) = (uids.iter().copied().collect::<UidSet>(), facet(store)?);
    equal("of new messages", seen(store, &mailbox, &all, &owner).await?, Vec::new())?;
    let some_of_them: UidSet = [first, third].into_iter().collect();
    let change = AnnotationChange::new(vec![
        noted("/comment", Private, Some("mine"))?,
        noted("/comment", Shared, Some("a \0 b"))?,
        noted("/1/flags/seen", Shared, Some("1"))?,
    ]);
    let before = store.open(&owner, mailbox.name()).await?;
    let stored = facet.annotate_messages(&mailbox, &some_of_them, &owner, &change).await?;
    let after = store.open(&owner, mailbox.name()).await?;
    equal("what was stored", stored.messages.iter().map(|(uid, _)| *uid).collect(), some_of_them.clone())?;
    for (uid, modseq) in &stored.messages {
        equal("the mod-sequence", message(&after, *uid)?.modseq, *modseq)?;
        ensure(!super::modseq_is_known(store) || *modseq > before.highest_modseq(), "a higher mod-sequence")?;
    }
    equal("flags", &message(&after, first)?.flags, &message(&before, first)?.flags)?;
    equal("another message", message(&after, second)?, message(&before, second)?)?;
    let yours = AnnotationChange::new(vec![noted("/comment", Private, Some("yours"))?]);
    facet.annotate_messages(&mailbox, &first.into(), &reader, &yours).await?;
    let shared = [(first, "/1/flags/seen.shared 1"), (first, "/comment.shared a \0 b")];
    let of = |private: &'static str, all: &[(Uid, &'static str)]| {
        let mut told = told(all);
        told.insert(1, (first.get(), format!("/comment.priv {private}")));
        told
    };
    equal("of the owner", seen(store, &mailbox, &first.into(), &owner).await?, of("mine", &shared))?;
    equal("of the reader", seen(store, &mailbox, &first.into(), &reader).await?, of("yours", &shared))?;
    equal("of all", seen(store, &mailbox, &all, &owner).await?.len(), 6)?;
    equal("of one without", seen(store, &mailbox, &second.into(), &owner).await?, Vec::new())?;
    // What is so already is no change.
    let again = facet.annotate_messages(&mailbox, &first.into(), &reader, &yours).await?;
    let known = store.open(&owner, mailbox.name()).await?;
    equal("nothing new", again.messages, vec![(first, message(&known, first)?.modseq)])?;
    let none =
        AnnotationChange::new(vec![noted("/comment", Private, None)?, noted("/altsubject", Shared, None)?]);
    let removed = facet.annotate_messages(&mailbox, &first.into(), &owner, &none).await?;
    equal("after a removal", seen(store, &mailbox, &first.into(), &owner).await?, told(&shared))?;
    // So that a session can be told which entry it was.
    let remembered = facet.message_annotations(&mailbox, &first.into(), &owner).await?;
    let comment = remembered.iter().flat_map(|(_, all)| all).find(|one| one.value.is_none());
    let modseq = removed.messages.first().map(|(_, modseq)| *modseq);
    equal(
        "what is remembered",
        comment.map(|one| (one.entry.as_str(), one.modseq)),
        modseq.map(|at| ("/comment", at)),
    )?;
    equal("of somebody else", seen(store, &mailbox, &first.into(), &reader).await?.len(), 3)
}

pub(super) async fn notes_of_what_changed_stay(store: &impl Store) -> Outcome {
    let owner = user("note-since")?;
    let (mailbox, uids) = filled(store, &owner, &["()", "()"]).await?;
    let all: UidSet = uids.iter().copied().collect();
    let facet = facet(store)?;
    let first = uids.first().copied().unwrap_or(Uid::MIN);
    let before = store.open(&owner, mailbox.name()).await?.highest_modseq();
    let change = |value| Outcome::Ok(AnnotationChange::new(vec![noted("/comment", Shared, Some(value))?]));
    facet.annotate_messages(&mailbox, &first.into(), &owner, &change("one")?).await?;
    let stored =
        facet.annotate_messages(&mailbox, &all, &owner, &change("two")?.unchanged_since(before)).await?;
    equal("left alone", stored.modified, first.into())?;
    equal("changed", stored.messages.len(), 1)?;
    let seen = seen(store, &mailbox, &all, &owner).await?;
    equal(
        "values",
        seen.iter().map(|(_, text)| text.as_str()).collect(),
        vec!["/comment.shared one", "/comment.shared two"],
    )?;
    // UIDs that do not exist are no error; a mailbox that is gone is.
    let unknown: UidSet = some(Uid::new(4_000_000), "a UID")?.into();
    equal(
        "unknown",
        facet.annotate_messages(&mailbox, &unknown, &owner, &change("x")?).await?.messages,
        Vec::new(),
    )?;
    let gone = MailboxRef::with_validity(owner.clone(), name("Gone")?, mailbox.uid_validity());
    refused(facet.annotate_messages(&gone, &all, &owner, &change("x")?).await, &StoreError::NotFound)?;
    refused(facet.message_annotations(&gone, &all, &owner).await, &StoreError::NotFound)
}

pub(super) async fn notes_go_along_with_copies(store: &impl Store) -> Outcome {
    let (owner, reader) = (user("note-copied")?, user("note-copier")?);
    let folders = some(store.folders(), "the folders that were there before")?;
    folders.create(&owner, &name("There")?, None).await?;
    let (mailbox, uids) = filled(store, &owner, &["()", "()"]).await?;
    let (facet, all) = (facet(store)?, uids.iter().copied().collect::<UidSet>());
    let both = |value| Outcome::Ok(AnnotationChange::new(vec![noted("/comment", Private, Some(value))?]));
    facet.annotate_messages(&mailbox, &all, &owner, &both("owner")?).await?;
    facet.annotate_messages(&mailbox, &all, &reader, &both("reader")?).await?;
    let shared = AnnotationChange::new(vec![noted("/comment", Shared, Some("all"))?]);
    facet.annotate_messages(&mailbox, &all, &owner, &shared).await?;
    let there = name("There")?;
    let look = async |who: &User, uids: &UidSet| {
        let mailbox = MailboxRef::new(owner.clone(), there.clone(), &*store.open(&owner, &there).await?);
        let seen = seen(store, &mailbox, uids, who).await?;
        Outcome::Ok(seen.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(","))
    };
    // RFC 5257 §4.6: of what is private, only that of who copies.
    let (first, second) = (some(all.first(), "a UID")?, some(all.last(), "a UID")?);
    let by_reader = Carried::new(Some(reader.clone()), true);
    let copied = facet.copy_annotated(&mailbox, &first.into(), &there, &by_reader).await?.target;
    equal("of the owner", look(&owner, &copied).await?, "/comment.shared all".to_owned())?;
    equal(
        "of the reader",
        look(&reader, &copied).await?,
        "/comment.priv reader,/comment.shared all".to_owned(),
    )?;
    let copied = facet.copy_annotated(&mailbox, &first.into(), &there, &Carried::default()).await?.target;
    equal("without", look(&reader, &copied).await?, String::new())?;
    let copied = writer(store)?.copy(&mailbox, &first.into(), &there).await?.target;
    equal(
        "by the owner",
        look(&owner, &copied).await?,
        "/comment.priv owner,/comment.shared all".to_owned(),
    )?;
    equal("by the owner", look(&reader, &copied).await?, "/comment.shared all".to_owned())?;
    let only = Carried::new(Some(owner.clone()), false);
    let moved = facet.move_annotated(&mailbox, &second.into(), &there, &only).await?.target;
    equal("moved", look(&owner, &moved).await?, "/comment.priv owner".to_owned())?;
    let moved = writer(store)?.move_to(&mailbox, &first.into(), &there).await?.target;
    equal("moved", look(&owner, &moved).await?, "/comment.priv owner,/comment.shared all".to_owned())?;
    equal("nothing is left", seen(store, &mailbox, &all, &owner).await?, Vec::new())?;
    // A new name changes nothing.
    folders.rename(&owner, &there, &name("Elsewhere")?).await?;
    let snapshot = store.open(&owner, &name("Elsewhere")?).await?;
    let renamed = MailboxRef::new(owner.clone(), name("Elsewhere")?, &snapshot);
    equal("renamed", seen(store, &renamed, &snapshot.uids(), &owner).await?.len(), 6)
}

pub(super) async fn notes_come_with_messages_and_end_with_them(store: &impl Store) -> Outcome {
    let owner = user("note-appended")?;
    let (inbox, facet) = (MailboxName::inbox(), facet(store)?);
    let values =
        vec![noted("/comment", Private, Some("wait"))?, noted("/altsubject", Shared, Some("Later"))?];
    let mut upload = writer(store)?.begin(None).await?;
    upload.write(Bytes::from_static(b"Subject: x\r\n\r\n")).await?;
    let target = Target::new(owner.clone(), inbox.clone(), date()?);
    if facet.annotation_limits().octets < OCTETS {
        let large =
            (some("/comment".parse().ok(), "an entry")?, Shared, Some(Bytes::from(vec![b'x'; 4 << 20])));
        let too_large = target.clone().with_annotations(owner.clone(), vec![large]);
        refused(
            upload.commit(&[too_large]).await.map_err(|error| error.error),
            &StoreError::TooLarge { limit: 0 },
        )?;
    }
    let target = target.with_annotations(owner.clone(), values);
    let uid = some(upload.commit(&[target]).await?.first().copied(), "an answer")?.uid;
    let mailbox = MailboxRef::new(owner.clone(), inbox.clone(), &*store.open(&owner, &inbox).await?);
    let noted = told(&[(uid, "/altsubject.shared Later"), (uid, "/comment.priv wait")]);
    equal("as it came", seen(store, &mailbox, &uid.into(), &owner).await?, noted.clone())?;
    writer(store)?.expunge(&mailbox, &Expunge::Exactly(uid.into())).await?;
    equal("expunged", seen(store, &mailbox, &uid.into(), &owner).await?, Vec::new())?;
    equal("nothing is told", facet.message_annotations(&mailbox, &uid.into(), &owner).await?, Vec::new())?;
    if let Some(undelete) = store.undelete() {
        let kept = undelete.expunged_messages(&owner).await?;
        let id = some(kept.first(), "an expunged message")?.id;
        let back = undelete.bring_back(&owner, id, &inbox).await?.uid;
        let texts = noted.into_iter().map(|(_, text)| (back.get(), text)).collect();
        equal("had back", seen(store, &mailbox, &back.into(), &owner).await?, texts)?;
    }
    Ok(())
}

pub(super) async fn notes_have_limits_and_count(store: &impl Store) -> Outcome {
    let owner = user("note-limits")?;
    let (mailbox, uids) = filled(store, &owner, &["()"]).await?;
    let (facet, all) = (facet(store)?, uids.iter().copied().collect::<UidSet>());
    let limits = facet.annotation_limits();
    ensure(limits.octets >= 1_024 && limits.entries >= 10, "the limits that RFC 5257 wants at least")?;
    if limits.octets >= OCTETS || limits.entries > ENTRIES {
        return Ok(());
    }
    let entry = |text: &str| some(text.parse().ok(), "the name of an entry");
    let large = Bytes::from(vec![b'x'; limits.octets as usize]);
    let larger = Bytes::from(vec![b'x'; limits.octets as usize + 1]);
    let put = async |values: Vec<Noted>| {
        facet.annotate_messages(&mailbox, &all, &owner, &AnnotationChange::new(values)).await
    };
    put(vec![(entry("/comment")?, Shared, Some(large))]).await?;
    let too_large =
        vec![noted("/altsubject", Shared, Some("x"))?, (entry("/comment")?, Shared, Some(larger))];
    refused(put(too_large).await, &StoreError::TooLarge { limit: 0 })?;
    equal("all or none", seen(store, &mailbox, &all, &owner).await?.len(), 1)?;
    for number in 1..limits.entries {
        put(vec![(entry(&format!("/vendor/{number}"))?, Shared, Some(Bytes::from_static(b"x")))]).await?;
    }
    refused(put(vec![noted("/altsubject", Shared, Some("x"))?]).await, &StoreError::TooMany { limit: 0 })?;
    put(vec![noted("/vendor/1", Shared, None)?, noted("/altsubject", Shared, Some("x"))?]).await?;
    let Some(quota) = store.quota() else { return Ok(()) };
    let used = quota.quota_of(&owner).await?.usage.annotations;
    ensure(used > u64::from(limits.octets), "annotations of messages count")?;
    quota.set_quota(&owner, Some(QuotaLimits::NONE.annotations(Some(used + 20)))).await?;
    put(vec![noted("/vendor/2", Shared, Some("y"))?]).await?;
    put(vec![noted("/vendor/2", Shared, Some("0123456789"))?]).await?;
    refused(
        put(vec![noted("/vendor/2", Shared, Some("01234567890123456789012345"))?]).await,
        &StoreError::OverQuota,
    )?;
    refused(writer(store)?.copy(&mailbox, &all, mailbox.name()).await, &StoreError::OverQuota)?;
    writer(store)?.expunge(&mailbox, &Expunge::Exactly(all.clone())).await?;
    equal("after the message", quota.quota_of(&owner).await?.usage.annotations, 0)?;
    quota.set_quota(&owner, None).await.map_err(Into::into)
}

pub(super) async fn the_right_to_annotate_is_kept(store: &impl Store) -> Outcome {
    let owner = user("note-rights")?;
    let acl = some(store.acl(), "the access control that was there before")?;
    let who = some("conformance-note-guest@example.org".parse().ok(), "an identifier")?;
    let rights = some("lrn".parse().ok(), "rights")?;
    acl.change_access(&owner, &MailboxName::inbox(), &who, AclChange::Replace(rights)).await?;
    let list = acl.access_list(&owner, &MailboxName::inbox()).await?;
    equal("rights", list.first().map(|entry| entry.rights), Some(rights))
}
