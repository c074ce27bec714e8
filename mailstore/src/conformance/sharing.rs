//! Who may do what with a mailbox, and what is noted about it.

use bytes::Bytes;
use mailwright_mail_model::MailboxName;

use super::{Outcome, Wrong, ensure, equal, name, refused, some, user};
use crate::{
    Acl, AclChange, Annotated, EntryName, Folders, Identifier, Identity, Metadata, Rights, Store, StoreError,
    User,
};

pub(super) fn rights(text: &str) -> Outcome<Rights> {
    text.parse().map_err(|_| Wrong(format!("{text} are no rights")))
}

pub(super) fn identifier(text: &str) -> Outcome<Identifier> {
    text.parse().map_err(|_| Wrong(format!("{text} is no identifier")))
}

pub(super) fn entry(text: &str) -> Outcome<EntryName> {
    text.parse().map_err(|_| Wrong(format!("{text} is no entry name")))
}

fn acl(store: &impl Store) -> Outcome<&impl Acl> {
    some(store.acl(), "the access control that was there before")
}

pub(super) async fn give(
    store: &impl Store,
    owner: &User,
    name: &MailboxName,
    who: &str,
    what: &str,
) -> Outcome {
    let change = AclChange::Replace(rights(what)?);
    Ok(acl(store)?.change_access(owner, name, &identifier(who)?, change).await?)
}

pub(super) async fn rights_follow_the_list(store: &impl Store) -> Outcome {
    let (owner, shared) = (user("acl-owner")?, name("Shared")?);
    let folders = some(store.folders(), "the folders that were there before")?;
    folders.create(&owner, &shared, None).await?;
    let friend = Identity::new(user("ACL-Zo\u{eb}")?);
    let member = friend.clone().group("Staff").map_err(|error| Wrong(error.to_string()))?;
    let facet = acl(store)?;
    equal("a new list", facet.access_list(&owner, &shared).await?, Vec::new())?;
    equal(
        "rights of the owner",
        facet.rights_of(&Identity::new(owner.clone()), &owner, &shared).await?,
        Rights::ALL,
    )?;
    equal("rights of others", facet.rights_of(&friend, &owner, &shared).await?, Rights::NONE)?;
    give(store, &owner, &shared, "Conformance-acl-zoe\u{308}@EXAMPLE.org", "lrs").await?;
    give(store, &owner, &shared, "$staff", "wi").await?;
    give(store, &owner, &shared, "-anyone", "s").await?;
    equal("rights", facet.rights_of(&friend, &owner, &shared).await?, rights("lr")?)?;
    equal("rights by a group", facet.rights_of(&member, &owner, &shared).await?, rights("lrwi")?)?;
    let zoe = identifier("conformance-acl-zo\u{eb}@example.org")?;
    facet.change_access(&owner, &shared, &zoe, AclChange::Add(rights("t")?)).await?;
    facet.change_access(&owner, &shared, &zoe, AclChange::Remove(rights("r")?)).await?;
    equal("rights", facet.rights_of(&friend, &owner, &shared).await?, rights("lt")?)?;
    equal("entries", facet.access_list(&owner, &shared).await?.len(), 3)?;
    let own = identifier("conformance-acl-owner@example.org")?;
    let change = facet.change_access(&owner, &shared, &own, AclChange::Replace(Rights::NONE)).await;
    refused(change, &StoreError::Invalid(String::new()))?;
    refused(facet.access_list(&owner, &name("unknown")?).await, &StoreError::NotFound)?;
    // What is made below has the same list, and a new name changes none.
    folders.create(&owner, &name("Shared/Below")?, None).await?;
    folders.rename(&owner, &shared, &name("Renamed")?).await?;
    for below in [name("Renamed")?, name("Renamed/Below")?] {
        equal("rights", facet.rights_of(&friend, &owner, &below).await?, rights("lt")?)?;
    }
    folders.delete(&owner, &name("Renamed")?).await?;
    folders.create(&owner, &name("Renamed")?, None).await?;
    equal("a list anew", facet.access_list(&owner, &name("Renamed")?).await?, Vec::new())?;
    give(store, &owner, &name("Renamed")?, "anyone", "l").await?;
    equal("rights of anyone", facet.rights_of(&friend, &owner, &name("Renamed")?).await?, rights("l")?)?;
    give(store, &owner, &name("Renamed")?, "anyone", "").await
}

pub(super) async fn shared_mailboxes_are_listed(store: &impl Store) -> Outcome {
    let (first, second) = (user("share-a")?, user("share-b")?);
    let guest = Identity::new(user("share-guest")?);
    give(store, &first, &MailboxName::inbox(), "conformance-share-guest@example.org", "lr").await?;
    let folders = some(store.folders(), "the folders that were there before")?;
    folders.create(&second, &name("Open")?, None).await?;
    folders.create(&second, &name("Closed")?, None).await?;
    give(store, &second, &name("Open")?, "conformance-share-guest@example.org", "l").await?;
    let shared = acl(store)?.shared_with(&guest).await?;
    let seen: Vec<_> = shared
        .iter()
        .map(|shared| (shared.owner.clone(), shared.mailbox.name.clone(), shared.rights.to_string()))
        .collect();
    let expected = vec![
        (first.clone(), MailboxName::inbox(), "lr".to_owned()),
        (second.clone(), name("Open")?, "l".to_owned()),
    ];
    equal("shared", seen, expected)?;
    give(store, &first, &MailboxName::inbox(), "conformance-share-guest@example.org", "").await?;
    folders.rename(&second, &name("Open")?, &name("Opener")?).await?;
    let shared = acl(store)?.shared_with(&guest).await?;
    equal("shared", shared.into_iter().map(|shared| shared.mailbox.name).collect(), vec![name("Opener")?])?;
    // Who is gone for good is in no list any more; others are.
    let opener = name("Opener")?;
    give(store, &second, &opener, "-conformance-share-guest@example.org", "t").await?;
    give(store, &second, &opener, "anyone", "r").await?;
    acl(store)?.withdraw(guest.user()).await?;
    let left = acl(store)?.access_list(&second, &opener).await?;
    equal(
        "left",
        left.iter().map(|entry| entry.identifier.to_string()).collect(),
        vec!["anyone".to_owned()],
    )?;
    // An entry that only takes, one that takes all that another gives, and one of a mailbox that nobody shares.
    let (takes, gives) = ("-conformance-share-guest@example.org", "conformance-share-guest@example.org");
    folders.create(&second, &name("Barred")?, None).await?;
    give(store, &second, &name("Barred")?, takes, "lr").await?;
    for identifier in [takes, gives] {
        give(store, &second, &opener, identifier, "lr").await?;
    }
    acl(store)?.withdraw(guest.user()).await?;
    equal("left", acl(store)?.access_list(&second, &name("Barred")?).await?, Vec::new())?;
    let left = acl(store)?.access_list(&second, &opener).await?;
    equal("left", left.len(), 1)?;
    give(store, &second, &opener, "anyone", "").await?;
    ensure(acl(store)?.shared_with(&Identity::new(second)).await?.is_empty(), "one's own are not shared")
}

/// Rights come by a group and by being anyone, too.
pub(super) async fn what_groups_and_anyone_share_is_listed(store: &impl Store) -> Outcome {
    let owner = user("share-group")?;
    let folders = some(store.folders(), "the folders that were there before")?;
    for (text, who, what) in
        [("Group", "$conformance-staff", "lr"), ("Open", "anyone", "l"), ("Other", "$conformance-x", "lr")]
    {
        folders.create(&owner, &name(text)?, None).await?;
        give(store, &owner, &name(text)?, who, what).await?;
    }
    let stranger = Identity::new(user("share-stranger")?);
    let member = stranger.clone().group("conformance-staff").map_err(|error| Wrong(error.to_string()))?;
    for (who, expected) in [(&member, &["Group lr", "Open l"][..]), (&stranger, &["Open l"])] {
        let shared = acl(store)?.shared_with(who).await?.into_iter().filter(|shared| shared.owner == owner);
        let seen: Vec<_> =
            shared.map(|shared| format!("{} {}", shared.mailbox.name, shared.rights)).collect();
        equal("shared", seen, expected.iter().map(|text| (*text).to_owned()).collect())?;
    }
    // An entry that only takes is one of the list, too.
    give(store, &owner, &name("Other")?, "-$conformance-staff", "w").await?;
    let staff = identifier("$conformance-staff")?;
    let listing = acl(store)?.listing(staff.subject()).await?;
    let listing: Vec<_> =
        listing.into_iter().filter(|(whose, _)| *whose == owner).map(|(_, name)| name).collect();
    equal("lists that name a group", listing, vec![name("Group")?, name("Other")?])?;
    for text in ["Group", "Open", "Other"] {
        folders.delete(&owner, &name(text)?).await?;
    }
    ensure(
        acl(store)?.shared_with(&member).await?.iter().all(|shared| shared.owner != owner),
        "nothing of what is gone",
    )
}

pub(super) async fn annotations_are_private_or_shared(store: &impl Store) -> Outcome {
    let (owner, reader) = (user("meta-owner")?, user("meta-reader")?);
    let metadata = some(store.metadata(), "the metadata that was there before")?;
    let place = Annotated::Mailbox { owner: owner.clone(), name: MailboxName::inbox() };
    let (private, shared) = (entry("/private/comment")?, entry("/shared/Comment")?);
    let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let changes = [(private.clone(), value("mine")), (shared.clone(), value("a \0 b"))];
    metadata.annotate(&place, &owner, &changes).await?;
    metadata.annotate(&place, &reader, &[(private.clone(), value("yours"))]).await?;
    for (user, expected) in [(&owner, "mine"), (&reader, "yours")] {
        let seen = metadata.annotations(&place, user).await?;
        let seen: Vec<_> = seen.into_iter().map(|seen| (seen.entry, seen.value)).collect();
        let expected = vec![
            (private.clone(), Bytes::from_static(expected.as_bytes())),
            (shared.clone(), Bytes::from_static(b"a \0 b")),
        ];
        equal("annotations", seen, expected)?;
    }
    metadata.annotate(&place, &owner, &[(private.clone(), None), (entry("/private/none")?, None)]).await?;
    equal("after a removal", metadata.annotations(&place, &owner).await?.len(), 1)?;
    equal("of somebody else", metadata.annotations(&place, &reader).await?.len(), 2)?;
    // Of the server.
    metadata.annotate(&Annotated::Server, &owner, &[(private.clone(), value("server"))]).await?;
    equal("of the server", metadata.annotations(&Annotated::Server, &owner).await?.len(), 1)?;
    let others = metadata.annotations(&Annotated::Server, &reader).await?;
    ensure(others.iter().all(|seen| !seen.entry.is_private()), "what is private is its writer's")?;
    let large = Bytes::from(vec![b'x'; 4 << 20]);
    let changes = [(entry("/shared/small")?, value("small")), (entry("/shared/large")?, Some(large.clone()))];
    let before = metadata.annotations(&place, &owner).await?;
    match metadata.annotate(&place, &owner, &changes).await {
        // A store need have no limit.
        Ok(()) => {
            let kept = metadata.annotations(&place, &owner).await?;
            ensure(kept.iter().any(|kept| kept.value == large), "a value that was taken, whole")?;
            let changes = changes.map(|(entry, _)| (entry, None));
            metadata.annotate(&place, &owner, &changes).await?;
        }
        refusal => refused(refusal, &StoreError::TooLarge { limit: 0 })?,
    }
    equal("all or none", metadata.annotations(&place, &owner).await?, before)
}

pub(super) async fn annotations_go_with_the_mailbox(store: &impl Store) -> Outcome {
    let owner = user("meta-moved")?;
    let metadata = some(store.metadata(), "the metadata that was there before")?;
    let folders = some(store.folders(), "the folders that were there before")?;
    let place = |at: &str| Outcome::Ok(Annotated::Mailbox { owner: owner.clone(), name: name(at)? });
    refused(metadata.annotations(&place("Unknown")?, &owner).await, &StoreError::NotFound)?;
    folders.create(&owner, &name("Here")?, None).await?;
    let change = (entry("/shared/comment")?, Some(Bytes::from_static(b"here")));
    metadata.annotate(&place("Here")?, &owner, std::slice::from_ref(&change)).await?;
    folders.rename(&owner, &name("Here")?, &name("There")?).await?;
    equal("under a new name", metadata.annotations(&place("There")?, &owner).await?.len(), 1)?;
    folders.delete(&owner, &name("There")?).await?;
    folders.create(&owner, &name("There")?, None).await?;
    equal("of a new mailbox", metadata.annotations(&place("There")?, &owner).await?.len(), 0)
}
