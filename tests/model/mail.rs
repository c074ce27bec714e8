//! The model: what is in each mailbox, and nothing of how it came to be known.

use std::collections::{BTreeMap, BTreeSet};

use mailwright::{
    mail_model::MailboxName,
    mailstore::{Snapshot, Store, User, memory::Memory},
};

pub(crate) type Check<T = ()> = Result<T, String>;

/// Ends the test's present step with a reason unless something holds.
macro_rules! check {
    ($holds:expr, $($reason:tt)+) => {
        if !$holds {
            return Err(format!($($reason)+));
        }
    };
}
pub(crate) use check;

/// Numbers that are random enough, and the same for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Whether something happens that does once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

pub(crate) type Flags = BTreeSet<String>;

pub(crate) const FLAGS: [&str; 8] =
    ["\\Seen", "\\Deleted", "\\Flagged", "\\Answered", "\\Draft", "$Forwarded", "work", "later"];

#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) flags: Flags,
    /// 0 if it has changed and the store has not been asked yet.
    pub(crate) mod_seq: u64,
    /// Which text it has.
    pub(crate) token: u32,
}

impl Mail {
    pub(crate) fn text(&self) -> String {
        text(self.token)
    }

    pub(crate) fn set(&mut self, flags: Flags) {
        if self.flags != flags {
            self.flags = flags;
            self.mod_seq = 0;
        }
    }
}

pub(crate) fn text(token: u32) -> String {
    format!("Subject: token{token}x\r\n\r\n{}\r\n", "body ".repeat(token as usize % 7))
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Folder {
    /// Which mailbox it is, whatever its name.
    pub(crate) identity: u32,
    /// 0 until the store has said it.
    pub(crate) validity: u32,
    pub(crate) next: u32,
    pub(crate) highest: u64,
    pub(crate) mail: BTreeMap<u32, Mail>,
    /// What was expunged, and by when.
    pub(crate) gone: BTreeMap<u32, u64>,
}

impl Folder {
    pub(crate) fn append(&mut self, flags: Flags, token: u32) -> u32 {
        let uid = self.next;
        self.mail.insert(uid, Mail { flags, mod_seq: 0, token });
        self.next += 1;
        uid
    }

    pub(crate) fn remove(&mut self, uid: u32) {
        if self.mail.remove(&uid).is_some() {
            self.gone.insert(uid, 0);
        }
    }

    pub(crate) fn expunge(&mut self, among: Option<&BTreeSet<u32>>) -> BTreeSet<u32> {
        let deleted = |(uid, mail): (&u32, &Mail)| {
            let wanted = among.is_none_or(|among| among.contains(uid)) && mail.flags.contains("\\Deleted");
            wanted.then_some(*uid)
        };
        let gone: BTreeSet<u32> = self.mail.iter().filter_map(deleted).collect();
        gone.iter().for_each(|uid| self.remove(*uid));
        gone
    }

    /// Compares it with what the store has, and learns what only the store decides.
    fn compare(&mut self, snapshot: &Snapshot) -> Check {
        if self.validity == 0 {
            self.validity = snapshot.uid_validity().get();
        }
        check!(self.validity == snapshot.uid_validity().get(), "another UIDVALIDITY");
        let next = snapshot.uid_next().map_or(0, u32::from);
        check!(self.next == next, "UIDNEXT is {next}, not {}", self.next);
        let highest = snapshot.highest_modseq().get();
        let there: Vec<u32> = snapshot.messages().map(|message| message.uid.get()).collect();
        let expected: Vec<u32> = self.mail.keys().copied().collect();
        check!(there == expected, "the store has {there:?}, the model {expected:?}");
        for message in snapshot.messages() {
            let mail = self.mail.get_mut(&message.uid.get()).expect("compared before");
            let flags: Flags = message.flags.iter().map(|flag| flag.as_str().to_owned()).collect();
            check!(flags == mail.flags, "UID {} has {flags:?}, not {:?}", message.uid, mail.flags);
            let mod_seq = message.modseq.get();
            let right = match mail.mod_seq {
                0 => mod_seq > self.highest && mod_seq <= highest,
                before => mod_seq == before,
            };
            check!(right, "UID {}: MODSEQ {mod_seq} after {}", message.uid, self.highest);
            mail.mod_seq = mod_seq;
        }
        for since in self.gone.values_mut().filter(|since| **since == 0) {
            check!(highest > self.highest, "an expunge did not raise HIGHESTMODSEQ {highest}");
            *since = highest;
        }
        check!(highest >= self.highest, "HIGHESTMODSEQ fell from {} to {highest}", self.highest);
        self.highest = highest;
        Ok(())
    }
}

/// All mailboxes.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) folders: BTreeMap<String, Folder>,
    identities: u32,
    tokens: u32,
    /// Which mailbox was seen by this name under this UIDVALIDITY.
    seen: BTreeMap<(String, u32), u32>,
}

impl Model {
    pub(crate) fn create(&mut self, name: &str) {
        self.identities += 1;
        let folder = Folder { identity: self.identities, next: 1, ..Folder::default() };
        self.folders.insert(name.to_owned(), folder);
    }

    pub(crate) fn token(&mut self) -> u32 {
        self.tokens += 1;
        self.tokens
    }

    /// The mailbox, if it is still this one.
    pub(crate) fn find(&mut self, name: &str, identity: u32) -> Option<&mut Folder> {
        self.folders.get_mut(name).filter(|folder| folder.identity == identity)
    }

    pub(crate) async fn compare(&mut self, store: &Memory, user: &User) -> Check {
        let mailboxes = store.mailboxes(user).await.map_err(|error| error.to_string())?;
        let mut names: Vec<String> =
            mailboxes.iter().map(|mailbox| mailbox.name.as_str().to_owned()).collect();
        names.sort();
        let expected: Vec<String> = self.folders.keys().cloned().collect();
        check!(names == expected, "the store has {names:?}, the model {expected:?}");
        for (name, folder) in &mut self.folders {
            let parsed: MailboxName = name.parse().map_err(|_| "no name".to_owned())?;
            let snapshot = store.open(user, &parsed).await.map_err(|error| error.to_string())?;
            folder.compare(&snapshot).map_err(|why| format!("{name}: {why}"))?;
            let first = *self.seen.entry((name.clone(), folder.validity)).or_insert(folder.identity);
            check!(first == folder.identity, "{name}: UIDVALIDITY {} is used again", folder.validity);
        }
        Ok(())
    }
}
