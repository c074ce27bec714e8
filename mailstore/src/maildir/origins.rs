//! Where messages came from: fields of `dovecot-uidlist`, which Dovecot keeps and copies keep.
//!
//! `P` is Dovecot's own, what POP3 clients know a message by. `E` is ours: sender, recipient, and what the recipient was at first if that
//! is known, with commas between them.

use std::sync::Arc;

use mailwright_mail_model::Uid;

use super::state::Entry;
use super::uid_list::field;
use super::{Maildir, escape};
use crate::{Delivery, MailboxRef, MessageRef, Offload, Origins, Result, StoreError};

/// What is longer is not kept: a line of the list is found by looking at its last octets.
const LONGEST: usize = 4_000;

impl<O: Offload + Clone> Origins for Maildir<O> {
    async fn deliveries(&self, messages: &[MessageRef]) -> Result<Vec<Option<Arc<Delivery>>>> {
        let messages = messages.to_vec();
        self.run(move |shared| {
            let mut deliveries = Vec::with_capacity(messages.len());
            for group in messages.chunk_by(|one, other| one.mailbox == other.mailbox) {
                let Some(mailbox) = group.first().map(|message| &message.mailbox) else { continue };
                let folder = shared.existing(mailbox.user(), mailbox.name());
                let found = folder.and_then(|folder| {
                    folder.lock(&shared.setting)?.with_valid(mailbox.uid_validity(), |state| {
                        let entries = group.iter().map(|message| state.entries.get(&message.uid));
                        let delivery = |entry: Option<&Entry>| {
                            let there = entry.filter(|entry| entry.file.is_some())?;
                            parse(field(&there.fields, 'E')?)
                        };
                        Ok(entries.map(delivery).collect::<Vec<_>>())
                    })
                });
                match found {
                    Ok(found) => deliveries.extend(found),
                    // Of what is gone nothing is known.
                    Err(StoreError::NotFound) => deliveries.extend(group.iter().map(|_| None)),
                    Err(error) => return Err(error),
                }
            }
            Ok(deliveries)
        })
        .await
    }

    async fn unique_ids(&self, mailbox: &MailboxRef) -> Result<Vec<(Uid, String)>> {
        let mailbox = mailbox.clone();
        self.run(move |shared| {
            let folder = shared.existing(mailbox.user(), mailbox.name())?;
            folder.lock(&shared.setting)?.with_valid(mailbox.uid_validity(), |state| {
                let id = |entry: &Entry| field(&entry.fields, 'P').map(str::to_owned);
                let there = state.entries.iter().filter(|(_, entry)| entry.file.is_some());
                Ok(there.filter_map(|(uid, entry)| Some((*uid, id(entry)?))).collect())
            })
        })
        .await
    }
}

/// The field for an envelope, if it is short enough to be kept.
pub(super) fn to_field(delivery: &Delivery) -> Option<String> {
    let parts = [Some(&delivery.sender), Some(&delivery.recipient), delivery.original_recipient.as_ref()];
    let parts: Vec<_> = parts.into_iter().flatten().map(|part| escape::encode(part.as_bytes())).collect();
    let field = format!("E{}", parts.join(","));
    (field.len() <= LONGEST).then_some(field)
}

fn parse(text: &str) -> Option<Arc<Delivery>> {
    let mut parts = text.split(',');
    let delivery = Delivery::new(escape::decode_text(parts.next()?)?, escape::decode_text(parts.next()?)?);
    Some(Arc::new(match parts.next() {
        Some(original) => delivery.original_recipient(escape::decode_text(original)?),
        None => delivery,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_are_one_word() {
        let plain = Delivery::new("", "me@example.org");
        let strange = Delivery::new("a b:c,d@x", "\u{e9}%@example.org").original_recipient("rfc822;a+3Db@x");
        for delivery in [plain, strange] {
            let field = to_field(&delivery).unwrap();
            assert!(!field.contains([' ', ':']), "{field}");
            assert_eq!(*parse(&field[1..]).unwrap(), delivery);
        }
        assert_eq!(to_field(&Delivery::new("x".repeat(4_000), "")), None);
        assert_eq!(parse("one"), None);
    }
}
