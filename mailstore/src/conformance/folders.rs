//! Mailboxes are made, renamed and deleted.

use mailwright_mail_model::{MailboxName, SpecialUse};

use super::{Outcome, ensure, equal, name, refused, some, user};
use crate::{Folders, Store, StoreError, User};

pub(super) fn folders(store: &impl Store) -> Outcome<&impl Folders> {
    some(store.folders(), "the folders that were there before")
}

pub(super) async fn names(store: &impl Store, user: &User) -> Outcome<Vec<String>> {
    let mut names: Vec<_> =
        store.mailboxes(user).await?.iter().map(|mailbox| mailbox.name.to_string()).collect();
    names.sort();
    Ok(names)
}

pub(super) async fn mailboxes_are_made_with_those_above(store: &impl Store) -> Outcome {
    let user = user("create")?;
    let made = folders(store)?.create(&user, &name("a/b/c")?, Some(SpecialUse::Sent)).await?;
    equal("special use", made.special_use, Some(SpecialUse::Sent))?;
    equal("names", names(store, &user).await?, ["INBOX", "a", "a/b", "a/b/c"].map(str::to_owned).to_vec())?;
    let listed = store.mailboxes(&user).await?;
    equal("in the list", listed.into_iter().find(|mailbox| mailbox.name == made.name), Some(made))?;
    refused(folders(store)?.create(&user, &name("a/b")?, None).await, &StoreError::Exists)?;
    // Others below it stay, and so does the name of what is not there as a mailbox.
    folders(store)?.delete(&user, &name("a")?).await?;
    equal("names", names(store, &user).await?, ["INBOX", "a/b", "a/b/c"].map(str::to_owned).to_vec())?;
    refused(folders(store)?.delete(&user, &name("a")?).await, &StoreError::NotFound)?;
    refused(store.open(&user, &name("a")?).await, &StoreError::NotFound)
}

pub(super) async fn subscriptions_need_no_mailbox(store: &impl Store) -> Outcome {
    let (user, folders) = (user("subscribe")?, folders(store)?);
    for wanted in ["z", "INBOX", "z"] {
        folders.subscribe(&user, &name(wanted)?).await?;
    }
    equal("subscriptions", folders.subscriptions(&user).await?, vec![MailboxName::inbox(), name("z")?])?;
    folders.unsubscribe(&user, &name("z")?).await?;
    folders.unsubscribe(&user, &name("never")?).await?;
    equal("subscriptions", folders.subscriptions(&user).await?, vec![MailboxName::inbox()])
}

pub(super) async fn names_that_cannot_be(store: &impl Store) -> Outcome {
    let (user, folders, inbox) = (user("wrong")?, folders(store)?, MailboxName::inbox());
    let invalid = StoreError::Invalid(String::new());
    folders.create(&user, &name("x")?, None).await?;
    folders.create(&user, &name("y")?, None).await?;
    refused(folders.create(&user, &inbox, None).await, &StoreError::Exists)?;
    refused(folders.delete(&user, &inbox).await, &invalid)?;
    refused(folders.rename(&user, &name("x")?, &name("y")?).await, &StoreError::Exists)?;
    refused(folders.rename(&user, &name("x")?, &inbox).await, &StoreError::Exists)?;
    refused(folders.rename(&user, &inbox, &name("y")?).await, &StoreError::Exists)?;
    refused(folders.rename(&user, &name("x")?, &name("x/y")?).await, &invalid)?;
    refused(folders.rename(&user, &name("nowhere")?, &name("z")?).await, &StoreError::NotFound)?;
    equal("names", names(store, &user).await?, ["INBOX", "x", "y"].map(str::to_owned).to_vec())
}

pub(super) async fn a_name_made_again_is_another_mailbox(store: &impl Store) -> Outcome {
    let (user, box_name, folders) = (user("again")?, name("box")?, folders(store)?);
    let first = folders.create(&user, &box_name, None).await?;
    let before = store.open(&user, &box_name).await?;
    folders.delete(&user, &box_name).await?;
    let second = folders.create(&user, &box_name, None).await?;
    let after = store.open(&user, &box_name).await?;
    ensure(before.uid_validity() < after.uid_validity(), "another, higher UIDVALIDITY")?;
    ensure(first.id.is_none() || first.id != second.id, "another identity")?;
    ensure(after.is_empty(), "no messages")
}
