//! Names of mailboxes and of users: any letters, any number, none mistaken for another.

use std::collections::HashSet;

use mailwright_mail_model::MailboxName;

use super::folders::{folders, names};
use super::{Outcome, append, ensure, equal, name, refused, user};
use crate::{Folders, Quota, Store, StoreError, User};

/// More than anybody shows on a page.
const MANY: usize = 60;

pub(super) async fn names_of_all_letters(store: &impl Store) -> Outcome {
    let (user, folders) = (user("letters")?, folders(store)?);
    let mut expected = vec!["INBOX".to_owned()];
    let all = [
        "Gesendet/\u{e4}\u{f6} \u{4e2d}\u{6587}",
        "a&b",
        "it's",
        "x\"y",
        "50_",
        "~tilde",
        "dot.dot",
        "\u{1f4e7}",
    ];
    for text in all {
        match folders.create(&user, &name(text)?, None).await {
            // Where names are those of files, some cannot be.
            Err(StoreError::Invalid(_)) if text.is_ascii() => continue,
            made => equal("the name", made?.name, name(text)?)?,
        }
        expected.push(text.to_owned());
        folders.subscribe(&user, &name(text)?).await?;
        let uid = append(store, &user, &name(text)?, text, "()").await?.uid;
        equal("messages", store.open(&user, &name(text)?).await?.uids(), uid.into())?;
    }
    let subscribed =
        folders.subscriptions(&user).await?.iter().map(ToString::to_string).collect::<HashSet<_>>();
    equal("subscriptions", subscribed, expected.iter().skip(1).cloned().collect())?;
    expected.push("Gesendet".to_owned());
    expected.sort();
    equal("names", names(store, &user).await?, expected)?;
    // What has them gets others, and the other way round.
    folders.rename(&user, &name("Gesendet")?, &name("\u{412}/Sent")?).await?;
    let moved = name("\u{412}/Sent/\u{e4}\u{f6} \u{4e2d}\u{6587}")?;
    equal("messages", store.open(&user, &moved).await?.len(), 1)
}

/// [`Store`]: names are compared letter by letter, `INBOX` alone excepted, which [`MailboxName`] sees to.
pub(super) async fn names_that_differ_in_case(store: &impl Store) -> Outcome {
    let (user, folders) = (user("case")?, folders(store)?);
    folders.create(&user, &name("Box")?, None).await?;
    refused(store.open(&user, &name("BOX")?).await, &StoreError::NotFound)?;
    folders.create(&user, &name("box")?, None).await?;
    append(store, &user, &name("box")?, "text", "()").await?;
    equal("messages", store.open(&user, &name("Box")?).await?.len(), 0)?;
    folders.rename(&user, &name("box")?, &name("BOX")?).await?;
    folders.delete(&user, &name("Box")?).await?;
    equal("names", names(store, &user).await?, ["BOX", "INBOX"].map(str::to_owned).to_vec())?;
    equal("messages", store.open(&user, &name("BOX")?).await?.len(), 1)
}

/// In a pattern of a database `_` is any letter and `%` any number of them; `\` and `*` are something elsewhere.
pub(super) async fn names_are_no_patterns(store: &impl Store) -> Outcome {
    let (user, folders) = (user("pattern")?, folders(store)?);
    let there = ["a_b", "a_b/c", "axb", "axb/c", "a_bc", "A_B/c", "x"];
    for text in ["a_b/c", "axb/c", "a_bc", "A_B/c", "x"] {
        folders.create(&user, &name(text)?, None).await?;
    }
    let mut expected: Vec<_> = there.iter().chain(&["A_B", "INBOX"]).map(|name| (*name).to_owned()).collect();
    expected.sort();
    equal("names", names(store, &user).await?, expected.clone())?;
    folders.rename(&user, &name("a_b")?, &name("new")?).await?;
    for (from, to) in [("a_b", "new"), ("a_b/c", "new/c")] {
        expected.retain(|name| name != from);
        expected.push(to.to_owned());
    }
    expected.sort();
    equal("names", names(store, &user).await?, expected.clone())?;
    folders.create(&user, &name("_")?, None).await?;
    folders.delete(&user, &name("_")?).await?;
    equal("names", names(store, &user).await?, expected)
}

pub(super) async fn many_mailboxes_are_all_listed(store: &impl Store) -> Outcome {
    let (user, folders) = (user("mailboxes")?, folders(store)?);
    let mut expected = vec!["INBOX".to_owned()];
    for number in 0..MANY {
        let text = format!("Box {number:03}");
        folders.create(&user, &name(&text)?, None).await?;
        folders.subscribe(&user, &name(&text)?).await?;
        expected.insert(number, text);
    }
    equal("names", names(store, &user).await?, expected)?;
    equal("mailboxes with counts", store.list(&user).await?.len(), MANY + 1)?;
    equal("subscriptions", folders.subscriptions(&user).await?.len(), MANY)
}

/// Users whose names begin alike, or would match each other as patterns, have nothing in common.
pub(super) async fn users_are_not_mistaken_for_each_other(store: &impl Store) -> Outcome {
    let folders = folders(store)?;
    let mut users = Vec::new();
    for text in [
        "pre_ix@example.org",
        "prefix@example.org",
        "prefix@example.organ",
        "prefix2@example.org",
        "prefix@example.com",
    ] {
        let user =
            User::new(&format!("conformance-{text}")).map_err(|error| super::Wrong(error.to_string()))?;
        folders.create(&user, &name(&format!("of {}", user.as_str()))?, None).await?;
        folders.subscribe(&user, &name(&format!("of {}", user.as_str()))?).await?;
        append(store, &user, &MailboxName::inbox(), user.as_str(), "()").await?;
        users.push(user);
    }
    for user in &users {
        let own = format!("of {}", user.as_str());
        equal("names", names(store, user).await?, vec!["INBOX".to_owned(), own.clone()])?;
        equal("subscriptions", folders.subscriptions(user).await?, vec![name(&own)?])?;
        equal("messages", store.open(user, &MailboxName::inbox()).await?.len(), 1)?;
        if let Some(quota) = store.quota() {
            let usage = quota.quota_of(user).await?.usage;
            let octets = user.as_str().len() as u64;
            equal("what one has", (usage.messages, usage.storage, usage.mailboxes), (1, octets, 2))?;
        }
    }
    while let Some(gone) = users.pop() {
        folders.erase(&gone).await?;
        for user in &users {
            equal("names of another", names(store, user).await?.len(), 2)?;
            ensure(!store.open(user, &MailboxName::inbox()).await?.is_empty(), "messages of another")?;
            equal("subscriptions of another", folders.subscriptions(user).await?.len(), 1)?;
        }
    }
    Ok(())
}
