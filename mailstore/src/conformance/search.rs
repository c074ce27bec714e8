//! An index of texts leaves out no message that answers.

use mailwright_mail_model::query::{Key, Query};
use mailwright_mail_model::{MailboxName, Uid};

use super::{Outcome, append, ensure, some, user, writer};
use crate::{Expunge, MailboxRef, Search, Store, User, Write};

/// Whether these messages of the INBOX are among the candidates for a word.
async fn finds(store: &impl Store, user: &User, word: &str, expected: &[Uid]) -> Outcome {
    let search = some(store.search(), "the search that was there before")?;
    let inbox = MailboxName::inbox();
    let snapshot = store.open(user, &inbox).await?;
    let mailbox = MailboxRef::new(user.clone(), inbox, &snapshot);
    let query = Query::from(Key::Text(word.into()));
    let found = search.candidates(&mailbox, &snapshot, &query).await?;
    let found = found.unwrap_or_else(|| snapshot.uids());
    let missing = expected.iter().find(|uid| !found.contains(**uid));
    ensure(missing.is_none(), &format!("{missing:?} among the candidates for {word:?}, which are {found}"))
}

pub(super) async fn no_message_that_answers_is_left_out(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("search")?, MailboxName::inbox());
    let search = some(store.search(), "the search that was there before")?;
    let texts = ["Subject: a needle\r\n\r\nin hay\r\n", "\r\nhay\r\n", "\r\nanother NEEDLE\r\n"];
    let mut uids = Vec::new();
    for text in texts {
        uids.push(append(store, &user, &inbox, text, "()").await?.uid);
    }
    let [first, second, third] = *uids.as_slice() else { return ensure(false, "three messages") };
    // What it has not looked at yet may answer anything.
    finds(store, &user, "needle", &[first, third]).await?;
    search.keep_up(&user).await?;
    finds(store, &user, "needle", &[first, third]).await?;
    finds(store, &user, "hay", &[first, second]).await?;
    let late = append(store, &user, &inbox, "\r\nneedles, late\r\n", "()").await?.uid;
    finds(store, &user, "needle", &[first, third, late]).await?;
    let snapshot = store.open(&user, &inbox).await?;
    let mailbox = MailboxRef::new(user.clone(), inbox, &snapshot);
    writer(store)?.expunge(&mailbox, &Expunge::Exactly(first.into())).await?;
    search.keep_up(&user).await?;
    finds(store, &user, "needle", &[third, late]).await
}
