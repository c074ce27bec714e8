//! A mailbox of the store in memory.

use bytes::Bytes;
use mailwright_imap_proto::{command::AnnotationValue, response::MailboxStatus, server::Change};
use mailwright_mail_model::{
    AnnotationEntry, AnnotationScope, DateTime, Flag, FlagSet, MailboxName, ModSeq, Uid, UidSet,
    annotation_contains,
    query::{Key, Matcher, Metadata, Node, Query},
};

#[derive(Default)]
pub(super) struct Folder {
    pub(super) messages: Vec<Stored>,
    pub(super) next: u32,
    pub(super) subscribed: bool,
    pub(super) mod_seq: u64,
    pub(super) gone: Vec<(Uid, u64)>,
}

#[derive(Clone)]
pub(super) struct Stored {
    pub(super) uid: Uid,
    pub(super) flags: FlagSet,
    pub(super) date: DateTime,
    pub(super) octets: Bytes,
    pub(super) mod_seq: u64,
    pub(super) annotations: Vec<AnnotationValue>,
}

impl Stored {
    /// Sets what is noted about it.
    pub(super) fn annotate(&mut self, values: &[AnnotationValue]) {
        for value in values {
            self.annotations.retain(|known| (&known.entry, known.scope) != (&value.entry, value.scope));
            self.annotations.push(value.clone());
        }
        self.annotations.retain(|known| known.value.is_some());
    }

    pub(super) fn noted(&self, entry: &AnnotationEntry, scope: AnnotationScope) -> Option<String> {
        let found = self.annotations.iter().find(|known| known.entry == *entry && known.scope == scope)?;
        Some(String::from_utf8_lossy(found.value.as_deref()?).into_owned())
    }
}

impl Folder {
    pub(super) fn add(&mut self, flags: FlagSet, date: Option<DateTime>, octets: &[u8]) -> Uid {
        let uid = Uid::new(self.next).unwrap();
        self.next += 1;
        let date = date.unwrap_or_else(|| DateTime::from_imap("17-Jul-1996 02:44:25 -0700").unwrap());
        self.mod_seq += 1;
        let mod_seq = self.mod_seq;
        self.messages.push(Stored {
            uid,
            flags,
            date,
            octets: Bytes::copy_from_slice(octets),
            mod_seq,
            annotations: Vec::new(),
        });
        uid
    }

    pub(super) fn counts(&self, name: &str) -> MailboxStatus {
        let mut status = MailboxStatus::new(MailboxName::new(name).unwrap());
        status.messages = Some(self.messages.len() as u32);
        status.uid_next = Uid::new(self.next);
        status
    }

    /// Everything that has changed up to now was told.
    pub(super) fn up_to(&self) -> Change {
        Change::UpTo(ModSeq::new(self.mod_seq).unwrap())
    }

    pub(super) fn gone_since(&self, mod_seq: u64) -> UidSet {
        self.gone.iter().filter(|(_, gone)| *gone > mod_seq).map(|(uid, _)| *uid).collect()
    }

    pub(super) fn uids(&self) -> UidSet {
        self.messages.iter().map(|message| message.uid).collect()
    }

    pub(super) fn remove(&mut self, gone: impl Fn(&Stored) -> bool) -> UidSet {
        let uids: UidSet =
            self.messages.iter().filter(|message| gone(message)).map(|message| message.uid).collect();
        self.mod_seq += u64::from(!uids.is_empty());
        self.gone.extend(uids.iter().map(|uid| (uid, self.mod_seq)));
        self.messages.retain(|message| !gone(message));
        uids
    }

    pub(super) fn unseen(&self) -> impl Iterator<Item = &Stored> {
        self.messages.iter().filter(|message| !message.flags.contains(&Flag::Seen))
    }
}

/// How well a message answers what is fuzzy; `None` if it does not.
pub(super) fn score(message: &Stored, query: &Query) -> Option<u8> {
    let mut matcher = Matcher::scoring(query);
    matcher.metadata(&Metadata::new(
        message.uid,
        &message.flags,
        message.date,
        message.octets.len() as u64,
        ModSeq::new(message.mod_seq).unwrap(),
    ));
    matcher.message_chunk(&message.octets);
    matcher.finish().then(|| matcher.score())
}

pub(super) fn matches_query(message: &Stored, query: &Query) -> bool {
    match query.node() {
        Node::Key(Key::All) => true,
        Node::Key(Key::Flag(flag)) => message.flags.contains(flag),
        Node::Key(Key::ModSeq(mod_seq)) => message.mod_seq >= mod_seq.get(),
        Node::Key(Key::Uid(uids)) => uids.contains(message.uid),
        Node::Key(Key::Annotation { entry, scope, text }) => message.annotations.iter().any(|known| {
            entry.matches(&known.entry)
                && scope.is_none_or(|scope| scope == known.scope)
                && annotation_contains(known.value.as_deref().unwrap_or_default(), text)
        }),
        Node::Key(Key::Smaller(size)) => (message.octets.len() as u64) < *size,
        Node::Key(Key::Since(date)) => message.date.date() >= *date,
        Node::Key(Key::Header { text, .. } | Key::Text(text)) => {
            String::from_utf8_lossy(&message.octets).to_lowercase().contains(&text.to_lowercase())
        }
        Node::Fuzzy(_) => score(message, query).is_some(),
        Node::Not(query) => !matches_query(message, query),
        Node::And(queries) => queries.iter().all(|query| matches_query(message, query)),
        Node::Or(queries) => queries.iter().any(|query| matches_query(message, query)),
        _ => false,
    }
}
