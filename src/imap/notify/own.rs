//! What a client does itself, which it is not told of (RFC 5465 §5). Nothing else is passed over: what others do meanwhile is told with
//! the next news.

use bytes::Bytes;
use mailwright_imap_proto::server::Event;
use mailwright_mail_model::{MailboxName, Uid};
use mailwright_mailstore::{EntryName, Store, accounts::Accounts};

use super::seen::{Annotations, Known, Seen, hashed};
use crate::imap::Visit;

/// A change that a command makes, if it succeeds.
#[derive(Debug)]
pub(in crate::imap) enum Own {
    Create(MailboxName),
    Delete(MailboxName),
    Rename { from: MailboxName, to: MailboxName },
    Subscribe(MailboxName, bool),
    Annotate { mailbox: Option<MailboxName>, changes: Vec<(String, Option<Bytes>)> },
}

impl Own {
    /// What a command is about to do that clients are told of.
    pub(in crate::imap) fn of(event: &Event) -> Option<Self> {
        Some(match event {
            Event::Create(ask) => Self::Create(ask.mailbox.clone()),
            Event::Delete(ask) => Self::Delete(ask.mailbox.clone()),
            Event::Rename(ask) => Self::Rename { from: ask.from.clone(), to: ask.to.clone() },
            Event::Subscribe(ask) => Self::Subscribe(ask.mailbox.clone(), true),
            Event::Unsubscribe(ask) => Self::Subscribe(ask.mailbox.clone(), false),
            Event::SetMetadata(ask) => {
                Self::Annotate { mailbox: ask.mailbox.clone(), changes: ask.changes.clone() }
            }
            _ => return None,
        })
    }

    /// Whether the store must be asked what came of it.
    fn makes_mailboxes(&self) -> bool {
        match self {
            Self::Create(_) => true,
            // RFC 3501 §6.3.5: INBOX stays, and its messages go to a new mailbox.
            Self::Rename { from, .. } => from.is_inbox(),
            _ => false,
        }
    }
}

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// Takes what the client has just done for known.
    pub(in crate::imap) async fn pass_over(&mut self, own: &Own) {
        let (Some(mut notifier), Some(user)) = (self.notifier.take(), self.user.clone()) else { return };
        let now = match own.makes_mailboxes() {
            true => Seen::look(self, &user, &notifier).await,
            false => Ok(Seen::default()),
        };
        match now {
            Ok(now) => notifier.seen.take_over(own, now),
            // It is told of it then, which is allowed.
            Err(error) => tracing::debug!(%error, "cannot look at mailboxes"),
        }
        self.notifier = Some(notifier);
    }
}

impl Seen {
    /// Takes over what was done; `now` is looked at where mailboxes were made.
    fn take_over(&mut self, own: &Own, mut now: Self) {
        match own {
            Own::Create(name) => {
                // With those above it that were missing.
                for name in std::iter::successors(Some(name.clone()), MailboxName::parent) {
                    let Some(made) = now.mailboxes.remove(name.as_str()) else { continue };
                    self.mailboxes.entry(name.as_str().to_owned()).or_insert_with(|| empty(made));
                }
            }
            Own::Delete(name) => {
                self.mailboxes.remove(name.as_str());
                self.annotations.remove(name.as_str());
            }
            Own::Rename { from, to } if from.is_inbox() => {
                for name in [from, to] {
                    let name = name.as_str();
                    self.mailboxes.extend(now.mailboxes.remove_entry(name));
                }
            }
            Own::Rename { from, to } => self.rename(from, to),
            Own::Subscribe(name, true) => drop(self.subscribed.insert(name.clone())),
            Own::Subscribe(name, false) => drop(self.subscribed.remove(name)),
            Own::Annotate { mailbox, changes } => {
                let place = mailbox.as_ref().map_or("", MailboxName::as_str);
                if let Some(known) = self.annotations.get_mut(place) {
                    annotate(known, changes);
                }
            }
        }
    }

    /// A mailbox has another name, and so have those below it.
    fn rename(&mut self, from: &MailboxName, to: &MailboxName) {
        let moved = |name: &MailboxName| name == from || name.starts_with_level(from);
        let names: Vec<MailboxName> =
            self.mailboxes.values().map(|known| known.name.clone()).filter(moved).collect();
        for old in names {
            let below = old.as_str().get(from.as_str().len()..).unwrap_or_default();
            let Ok(new) = MailboxName::lookup(&format!("{to}{below}")) else { continue };
            if let Some(known) = self.mailboxes.remove(old.as_str()) {
                self.mailboxes.insert(new.as_str().to_owned(), Known { name: new.clone(), ..known });
            }
            if let Some(annotations) = self.annotations.remove(old.as_str()) {
                self.annotations.insert(new.as_str().to_owned(), annotations);
            }
        }
    }
}

/// A mailbox as it was made: what others have put there since is still to be told.
fn empty(mut made: Known) -> Known {
    if made.status.messages > 0 {
        (made.status.messages, made.status.unseen, made.status.uid_next) = (0, 0, Some(Uid::MIN));
    }
    made
}

fn annotate(known: &mut Annotations, changes: &[(String, Option<Bytes>)]) {
    for (entry, value) in changes {
        let Ok(entry) = entry.parse::<EntryName>() else { continue };
        match value {
            Some(value) => drop(known.insert(entry.to_string(), hashed(value))),
            None => drop(known.remove(&entry.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::{ModSeq, UidValidity};
    use mailwright_mailstore::{Snapshot, Status};

    use super::*;

    fn name(text: &str) -> MailboxName {
        MailboxName::lookup(text).unwrap()
    }

    fn seen(mailboxes: &[(&str, u32)]) -> Seen {
        let mut seen = Seen::default();
        for (text, messages) in mailboxes {
            let mut status = Status::from(&Snapshot::builder(UidValidity::new(1).unwrap()).build());
            (status.messages, status.highest_modseq) = (*messages, ModSeq::MIN);
            let known = Known {
                name: name(text),
                special_use: None,
                status,
                owner: None,
                inner: name(text),
                readable: true,
            };
            seen.mailboxes.insert((*text).to_owned(), known);
        }
        seen
    }

    fn counts(seen: &Seen) -> Vec<(&str, u32)> {
        seen.mailboxes.iter().map(|(name, known)| (name.as_str(), known.status.messages)).collect()
    }

    #[test]
    fn nothing_but_what_was_done_is_taken_over() {
        let mut known = seen(&[("INBOX", 1), ("a", 2), ("a/b", 3), ("other", 4)]);
        // Meanwhile mail came everywhere, and somebody else has made and deleted mailboxes.
        let later = || seen(&[("INBOX", 9), ("a", 9), ("a/b", 9), ("new", 9), ("new/below", 9), ("else", 9)]);
        known.take_over(&Own::Create(name("new/below")), later());
        let made = [("INBOX", 1), ("a", 2), ("a/b", 3), ("new", 0), ("new/below", 0), ("other", 4)];
        assert_eq!(counts(&known), made);
        known.take_over(&Own::Rename { from: name("a"), to: name("new/a") }, Seen::default());
        known.take_over(&Own::Delete(name("new/below")), Seen::default());
        let left = [("INBOX", 1), ("new", 0), ("new/a", 2), ("new/a/b", 3), ("other", 4)];
        assert_eq!(counts(&known), left);
        assert_eq!(known.mailboxes["new/a/b"].name, name("new/a/b"));
        known.take_over(&Own::Rename { from: name("INBOX"), to: name("new") }, later());
        assert_eq!(counts(&known)[..2], [("INBOX", 9), ("new", 9)]);
    }

    #[test]
    fn annotations_of_ones_own_are_known() {
        let mut known = Seen::default();
        let before = [("/private/comment", "x"), ("/shared/comment", "y")];
        let hashes = before.map(|(entry, value)| (entry.to_owned(), hashed(&Bytes::from(value))));
        known.annotations.insert("INBOX".into(), hashes.clone().into());
        let changes = vec![
            ("/PRIVATE/comment".to_owned(), None),
            ("/private/x".to_owned(), Some(Bytes::from_static(b"z"))),
        ];
        known.take_over(&Own::Annotate { mailbox: Some(name("INBOX")), changes }, Seen::default());
        let x = ("/private/x".to_owned(), hashed(&Bytes::from_static(b"z")));
        assert_eq!(known.annotations["INBOX"], Annotations::from([x, hashes[1].clone()]));
    }
}
