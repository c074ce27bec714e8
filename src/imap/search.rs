//! SEARCH: what the snapshot does not tell is read.

use mailwright_imap_proto::{
    Answered, Refusal,
    server::{Find, Found},
};
use mailwright_mail_model::{
    UidSet,
    query::{Key, Matcher, Metadata, Node, Query, Verdict},
};
use mailwright_mailstore::{MessageRef, Store, accounts::Accounts};

use super::{Visit, described::CHUNK};
use crate::smtp::now;

/// After so many messages others may go on.
const BREATH: usize = 32;

impl<S: Store, A: Accounts> Visit<'_, S, A> {
    pub(super) async fn find(&self, find: &Find) -> Answered<Found> {
        let selected = self.selected.as_ref().ok_or_else(Refusal::unavailable)?;
        let mut matcher = Matcher::new(&find.query);
        let mut found = UidSet::new();
        let now = now().seconds();
        let by_id = names_id(&find.query);
        for (index, message) in selected.snapshot.messages().enumerate() {
            if index % BREATH == BREATH - 1 {
                // A store whose reads never wait would otherwise keep this thread from everybody else.
                tokio::task::yield_now().await;
            }
            let metadata = Metadata::new(
                message.uid,
                &message.flags,
                message.internal_date,
                message.size,
                message.modseq,
            );
            let ids =
                [message.object, message.thread].map(|id| id.filter(|_| by_id).map(|id| id.to_string()));
            let [object, thread] = &ids;
            let metadata =
                metadata.at(now).saved(message.saved()).identified(object.as_deref(), thread.as_deref());
            let answers = match matcher.metadata(&metadata) {
                Verdict::True => true,
                Verdict::False => false,
                _ => read(self.store, &selected.mailbox.message(message), &mut matcher).await,
            };
            if answers {
                found.insert(message.uid);
            }
        }
        let told = find.mod_seq.of(&found);
        let mod_seq = selected.snapshot.among(&told).map(|message| message.modseq).max();
        Ok(Found::new(found).with_mod_seq(mod_seq))
    }
}

/// Whether identities are searched for: writing them down for every message costs something.
fn names_id(query: &Query) -> bool {
    match query.node() {
        Node::Key(Key::EmailId(_) | Key::ThreadId(_)) => true,
        Node::Not(query) => names_id(query),
        Node::And(queries) | Node::Or(queries) => queries.iter().any(names_id),
        _ => false,
    }
}

/// Feeds a message to the matcher until it knows. One that cannot be read any more does not match.
async fn read(store: &impl Store, message: &MessageRef, matcher: &mut Matcher) -> bool {
    let mut offset = 0;
    while offset < message.size {
        match store.read(message, offset..message.size.min(offset + CHUNK)).await {
            Ok(chunk) if !chunk.is_empty() => {
                offset += chunk.len() as u64;
                if let verdict @ (Verdict::True | Verdict::False) = matcher.message_chunk(&chunk) {
                    return verdict == Verdict::True;
                }
                if offset < message.size {
                    // A large message and many keys are long work: others go on between its parts.
                    tokio::task::yield_now().await;
                }
            }
            _ => return false,
        }
    }
    matcher.finish()
}
