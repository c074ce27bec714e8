//! What a client has been told of its mailbox, and whether that can be right.

use std::collections::BTreeSet;

use mailwright::imap_proto::response::{Fetched, FetchedItem, Response, ResponseCode};

use crate::mail::{Check, Flags, Folder, check};

/// How a session has its responses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Profile {
    pub(crate) rev2: bool,
    pub(crate) condstore: bool,
    pub(crate) qresync: bool,
    /// Whether what is told was asked for just now.
    pub(crate) asked: bool,
}

/// A message as a client knows it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) uid: u32,
    pub(crate) flags: Option<Flags>,
    pub(crate) mod_seq: u64,
}

/// An open mailbox as a client knows it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) identity: u32,
    pub(crate) validity: u32,
    pub(crate) read_only: bool,
    /// By number, the first at 0.
    pub(crate) mail: Vec<Seen>,
    /// The highest UID there ever was in it.
    pub(crate) top: u32,
    /// From where it would ask if it came back.
    pub(crate) mod_seq: u64,
    /// The highest mod-sequence that was told since the last command ended, and what the server said of it.
    pub(crate) told: u64,
    pub(crate) said: Option<u64>,
    /// Messages that this session knows of nothing but that they are there.
    pub(crate) recent: u32,
}

/// What a FETCH response brought.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    pub(crate) uid: u32,
    pub(crate) flags: Option<Flags>,
    pub(crate) mod_seq: Option<u64>,
    pub(crate) size: Option<u64>,
    pub(crate) octets: Option<Vec<u8>>,
}

impl View {
    pub(crate) fn uids(&self) -> BTreeSet<u32> {
        self.mail.iter().map(|seen| seen.uid).collect()
    }

    pub(crate) fn number(&self, uid: u32) -> Option<usize> {
        self.mail.iter().position(|seen| seen.uid == uid).map(|at| at + 1)
    }

    pub(crate) fn seen(&mut self, uid: u32) -> Option<&mut Seen> {
        self.mail.iter_mut().find(|seen| seen.uid == uid)
    }

    /// Whether all flags are known, so that nothing but changes need be told.
    pub(crate) fn is_complete(&self) -> bool {
        self.mail.iter().all(|seen| seen.flags.is_some())
    }

    /// Believes an untagged response. `folder` is what is there by now, if it is still there at all.
    pub(crate) fn believe(
        &mut self,
        response: &Response,
        folder: Option<&Folder>,
        profile: Profile,
        may_expunge: bool,
    ) -> Check<Option<News>> {
        match response {
            Response::Exists(count) => self.grow(*count as usize, folder)?,
            Response::Recent(count) => {
                check!(!profile.rev2, "RECENT after ENABLE IMAP4rev2");
                check!(*count as usize <= self.mail.len(), "more recent messages than there are");
                self.recent = *count;
            }
            Response::Expunge(number) => {
                check!(!profile.qresync, "EXPUNGE after ENABLE QRESYNC");
                check!(may_expunge, "EXPUNGE in the answer to a command with numbers");
                let at = number.get() as usize - 1;
                check!(at < self.mail.len(), "EXPUNGE of what is not there");
                let seen = self.mail.remove(at);
                check!(
                    folder.is_none_or(|folder| !folder.mail.contains_key(&seen.uid)),
                    "UID {} is not gone",
                    seen.uid
                );
            }
            Response::Vanished { earlier: false, uids } => {
                check!(profile.qresync, "VANISHED without ENABLE QRESYNC");
                check!(may_expunge, "VANISHED in the answer to a command with numbers");
                for uid in uids.iter() {
                    let number = self.number(uid.get());
                    check!(number.is_some(), "VANISHED {uid}: nobody knows it");
                    check!(
                        folder.is_none_or(|folder| !folder.mail.contains_key(&uid.get())),
                        "UID {uid} is not gone"
                    );
                    self.mail.retain(|seen| seen.uid != uid.get());
                }
            }
            Response::Fetch(fetched) => return self.fetched(fetched, folder, profile).map(Some),
            _ => {}
        }
        Ok(None)
    }

    fn grow(&mut self, count: usize, folder: Option<&Folder>) -> Check {
        check!(count >= self.mail.len(), "EXISTS fell from {} to {count}", self.mail.len());
        let Some(folder) = folder else { return Ok(()) };
        let new: Vec<u32> = folder.mail.range(self.top + 1..).map(|(uid, _)| *uid).collect();
        check!(
            self.mail.len() + new.len() == count,
            "EXISTS {count}, where {} and {new:?} are",
            self.mail.len()
        );
        self.top = folder.next - 1;
        self.mail.extend(new.into_iter().map(|uid| Seen { uid, flags: None, mod_seq: 0 }));
        Ok(())
    }

    fn fetched(&mut self, fetched: &Fetched, folder: Option<&Folder>, profile: Profile) -> Check<News> {
        let number = fetched.sequence.get();
        check!(number as usize <= self.mail.len(), "FETCH of number {number} of {}", self.mail.len());
        let seen = &mut self.mail[number as usize - 1];
        let mut news = News { uid: seen.uid, ..News::default() };
        let mut named = false;
        for item in &fetched.items {
            match item {
                FetchedItem::Uid(uid) => {
                    named = true;
                    check!(uid.get() == seen.uid, "number {number} is UID {}, not {uid}", seen.uid);
                }
                FetchedItem::Flags(flags) => {
                    check!(!(profile.rev2 && flags.recent), "\\Recent after ENABLE IMAP4rev2");
                    news.flags = Some(flags.flags.iter().map(|flag| flag.as_str().to_owned()).collect());
                }
                FetchedItem::ModSeq(mod_seq) => {
                    check!(profile.condstore, "MODSEQ although nobody asked for it");
                    news.mod_seq = Some(mod_seq.get());
                }
                FetchedItem::Size(size) => news.size = Some(*size),
                FetchedItem::Section(_, octets) => {
                    news.octets = Some(octets.as_ref().map(|octets| octets.to_vec()).unwrap_or_default());
                }
                other => return Err(format!("{other:?} was not asked for")),
            }
        }
        // RFC 7162 §3.2.4
        let bare = !named || news.mod_seq.is_none();
        check!(!(profile.condstore && !profile.asked && bare), "a change without UID and MODSEQ");
        if let Some(mail) = folder.and_then(|folder| folder.mail.get(&seen.uid)) {
            let expected = &mail.flags;
            check!(
                news.flags.as_ref().is_none_or(|flags| flags == expected),
                "UID {} has {expected:?}",
                seen.uid
            );
            let expected = mail.mod_seq;
            check!(news.mod_seq.is_none_or(|now| now == expected), "UID {} has MODSEQ {expected}", seen.uid);
        }
        if let Some(flags) = &news.flags {
            seen.flags = Some(flags.clone());
        }
        if let Some(mod_seq) = news.mod_seq {
            seen.mod_seq = mod_seq;
        }
        Ok(news)
    }

    /// After a command that brings everything up to date: what is known is what is there.
    pub(crate) fn compare(&self, folder: &Folder) -> Check {
        let (known, there) = (self.uids(), folder.mail.keys().copied().collect::<BTreeSet<u32>>());
        check!(known == there, "the client knows {known:?}, where {there:?} are");
        for seen in &self.mail {
            let mail = &folder.mail[&seen.uid];
            let flags = seen.flags.as_ref();
            check!(
                flags.is_none_or(|flags| *flags == mail.flags),
                "the client believes that UID {} has {flags:?}, but it has {:?}",
                seen.uid,
                mail.flags
            );
        }
        Ok(())
    }

    /// Notes mod-sequences that are told by the way.
    pub(crate) fn hear(&mut self, said: &[(Response, String)]) {
        for (response, _) in said {
            match response {
                Response::Fetch(fetched) => {
                    let told = fetched.items.iter().filter_map(|item| match item {
                        FetchedItem::ModSeq(mod_seq) => Some(mod_seq.get()),
                        _ => None,
                    });
                    self.told = told.fold(self.told, u64::max);
                }
                Response::Status(status) => self.hear_code(status.code.as_ref()),
                _ => {}
            }
        }
    }

    fn hear_code(&mut self, code: Option<&ResponseCode>) {
        if let Some(ResponseCode::HighestModSeq(mod_seq)) = code {
            self.said = Some(mod_seq.get());
        }
    }

    /// A command has ended: from where would this client ask if it came back (RFC 7162 §6)?
    pub(crate) fn ended(&mut self, code: Option<&ResponseCode>) {
        self.hear_code(code);
        let told = std::mem::take(&mut self.told);
        self.mod_seq = self.said.take().unwrap_or_else(|| self.mod_seq.max(told));
    }
}
