//! A mail store in memory behind the server machine: small, and the same every time.

mod appending;
mod exchange;
mod fetching;
mod folder;
mod mailboxes;
mod searching;
mod sharing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use fetching::cut;
use folder::{Folder, Stored, matches_query, score};
use mailwright_imap_proto::{
    AuthorizedUrl, ImapUrl, Referral, Refusal,
    command::{BodySection, CopyUid, FilterScript, NotifyMailboxes, StatusItem},
    response::{
        AnnotationSupport, FilterResult, MailboxStatus, Namespace, Namespaces, ResponseCode, ServerId,
    },
    server::{
        AppendUid, Change, Config, Event, Found, FoundIn, ListEntry, Message, Opened, Order, Ordered,
        Question, Server, UrlContent, Workarounds,
    },
};
use mailwright_line_proto::{
    AuthRefusal, AuthStep, Gone, Peer,
    testing::{Seen, Side, Subject},
};
use mailwright_mail_model::{
    Envelope, Flag, FlagSet, MailboxName, ModSeq, SpecialUse, Uid, UidSet, UidValidity,
    mime::Structure,
    query::{Key, Query},
    sort::Sorter,
    thread::Threader,
};
use sharing::Sharing;

pub(crate) struct App {
    config: Arc<Config>,
    folders: BTreeMap<String, Folder>,
    /// Subscribed to, though there are no such mailboxes.
    names: BTreeSet<MailboxName>,
    selected: Option<String>,
    incoming: Vec<(Message, Vec<u8>)>,
    sharing: Sharing,
    challenges: u32,
    binary: Bytes,
}

const VALIDITY: u32 = 3_857_529_045;

const LETTER: &str = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n\
From: Terry Gray <gray@cac.washington.edu>\r\n\
Subject: IMAP4rev1 WG mtg summary and minutes\r\n\
To: imap@cac.washington.edu\r\n\
cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n\
Message-Id: <B27397-0100000@cac.washington.edu>\r\n\
MIME-Version: 1.0\r\n\
Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\
\r\n\
Good afternoon.\r\n";

impl App {
    pub(crate) fn new(config: Config) -> Self {
        let mut inbox = Folder { next: 1, subscribed: true, ..Folder::default() };
        for (uid, flags) in [(2, "\\Seen"), (5, ""), (7, "\\Deleted"), (9, "\\Seen $Junk")] {
            inbox.next = uid;
            inbox.add(flags.parse().unwrap(), None, LETTER.as_bytes());
        }
        inbox.next = 12;
        let folder = |subscribed| Folder { next: 1, subscribed, ..Folder::default() };
        let folders = [
            ("INBOX", inbox),
            ("Sent", folder(true)),
            ("lists/rust", folder(true)),
            ("lists", folder(false)),
        ];
        Self {
            config: Arc::new(config),
            folders: folders.into_iter().map(|(name, folder)| (name.to_owned(), folder)).collect(),
            names: BTreeSet::new(),
            selected: None,
            incoming: Vec::new(),
            sharing: Sharing::new(),
            challenges: 0,
            binary: Bytes::from_static(b"a\0b"),
        }
    }

    fn folder(&mut self, name: &MailboxName) -> Result<&mut Folder, Refusal> {
        if name.as_str().starts_with("SHARED") {
            let place = Referral::new("user", "server2").of_mailbox(name.clone());
            return Err(Refusal::referred(vec![place]));
        }
        self.folders.get_mut(name.as_str()).ok_or_else(Refusal::non_existent)
    }

    fn open(&mut self) -> &mut Folder {
        let name = self.selected.as_ref().expect("a mailbox is open");
        self.folders.get_mut(name).unwrap()
    }

    fn copy(&mut self, uids: &UidSet, to: &MailboxName) -> Result<CopyUid, Refusal> {
        let messages: Vec<Stored> =
            self.open().messages.iter().filter(|m| uids.contains(m.uid)).cloned().collect();
        let target = self.folder(to).map_err(|_| Refusal::try_create())?;
        let mut copies = UidSet::new();
        for message in &messages {
            copies.insert(target.add(message.flags.clone(), Some(message.date), &message.octets));
        }
        let source = messages.iter().map(|message| message.uid).collect();
        Ok(CopyUid::new(validity(), source, copies))
    }
}

fn validity() -> UidValidity {
    UidValidity::new(VALIDITY).unwrap()
}

impl Subject for App {
    type Machine = Server;

    fn build(&self) -> Server {
        Server::new(self.config.clone(), Peer::unknown())
    }

    fn side(&self) -> Side {
        Side::Server
    }

    fn react(&mut self, server: &mut Server, event: Event) -> Seen {
        let seen = Seen::Event(format!("{event:?}"));
        let answered = match event {
            Event::Login(ask) => {
                let right = ask.password.expose() != b"wrong";
                let refusal = match &*ask.user {
                    _ if !right => Some(AuthRefusal::Credentials),
                    "MIKE" => Some(AuthRefusal::NotAuthorized),
                    _ => None,
                };
                // Whoever has not shown who they are does not learn it, though this says it of everybody.
                let elsewhere = ["MIKE", "MATTHEW"].contains(&&*ask.user);
                server.refer(elsewhere.then(|| Referral::new(ask.user.clone(), "server2")));
                server.answer(ask, refusal.map_or(Ok(()), Err))
            }
            Event::Authenticate(ask) if exchange::is_known(&ask.mechanism) => {
                self.challenges = if ask.continues { self.challenges + 1 } else { 0 };
                let step = exchange::step(&ask.mechanism, self.challenges);
                server.answer(ask, step)
            }
            Event::Authenticate(ask) => {
                let step = match (&ask.response, self.challenges) {
                    (None, _) => AuthStep::Challenge(Bytes::new()),
                    (Some(response), 0) if response.expose() == b"again" => {
                        self.challenges += 1;
                        AuthStep::Challenge("more".into())
                    }
                    (Some(response), _) if response.expose() == b"wrong" => {
                        AuthStep::Refuse(AuthRefusal::Credentials)
                    }
                    _ => AuthStep::Accept,
                };
                server.answer(ask, step)
            }
            Event::Id(ask) => {
                if ask.fields.iter().any(|(_, value)| value.as_deref() == Some("Wrong")) {
                    let mut workarounds = Workarounds::default();
                    (workarounds.delay_new_mail, workarounds.extra_separator) = (true, true);
                    server.work_around(workarounds);
                }
                let fields = vec![("name".to_owned(), Some("mailwright".to_owned()))];
                server.answer(ask, Ok(ServerId::new(fields)))
            }
            Event::Open(ask) => {
                let answer = self.folder(&ask.mailbox).map(|folder| {
                    let mut opened = Opened::new(folder.uids(), validity());
                    opened.uid_next = Uid::new(folder.next);
                    opened.first_unseen = folder.unseen().next().map(|message| message.uid);
                    opened.highest_mod_seq = ModSeq::new(folder.mod_seq);
                    if let Some(resync) =
                        ask.resync.as_ref().filter(|resync| resync.uid_validity == validity())
                    {
                        let since = resync.mod_seq.get();
                        opened.vanished = folder.gone_since(since);
                        if let Some(known) = &resync.known {
                            opened.vanished = opened.vanished.intersection(known);
                        }
                        let changed = folder.messages.iter().filter(|message| message.mod_seq > since);
                        opened.changed = changed.map(|message| message.uid).collect();
                    }
                    opened.annotations = AnnotationSupport::Writable { octets: 20_480, private: false };
                    opened.recent = opened.uids.within(Uid::new(9).unwrap()..=Uid::MAX);
                    opened
                });
                self.selected = answer.is_ok().then(|| ask.mailbox.to_string());
                server.answer(ask, answer)
            }
            Event::Close(ask) => {
                if ask.expunge && self.sharing.is_over_quota() {
                    self.selected = None;
                    let _ = server.answer(ask, Err(Refusal::over_quota()));
                    return seen;
                }
                if ask.expunge {
                    self.open().remove(|message| message.flags.contains(&Flag::Deleted));
                }
                self.selected = None;
                server.answer(ask, Ok(()))
            }
            Event::Refresh(ask) => {
                // Somebody else's work: whatever has \Flagged goes, and a message comes in its place.
                let folder = self.open();
                // And another notes something about what is a draft.
                if let Some(message) =
                    folder.messages.iter().find(|message| message.flags.contains(&Flag::Draft))
                {
                    let entries = vec!["/comment".parse().unwrap()];
                    let mod_seq = ModSeq::new(message.mod_seq);
                    server.notify(Change::Annotations { uid: message.uid, entries, mod_seq });
                }
                // And marks as answered what has this keyword.
                let folder = self.open();
                let (other, answered) = ("$Other".parse().unwrap(), Flag::Answered);
                if let Some(message) = folder
                    .messages
                    .iter_mut()
                    .find(|message| message.flags.contains(&other) && !message.flags.contains(&answered))
                {
                    folder.mod_seq += 1;
                    message.mod_seq = folder.mod_seq;
                    message.flags = message.flags.union(&[answered].into_iter().collect());
                    let (uid, flags, mod_seq) =
                        (message.uid, message.flags.clone(), ModSeq::new(folder.mod_seq));
                    server.notify(Change::Flags { uid, flags, mod_seq });
                    server.notify(folder.up_to());
                }
                let folder = self.open();
                let gone = folder.remove(|message| message.flags.contains(&Flag::Flagged));
                if !gone.is_empty() {
                    let uid = folder.add(FlagSet::new(), None, LETTER.as_bytes());
                    server.notify(Change::Removed(gone));
                    server.notify(Change::Added { uids: uid.into(), recent: uid.into() });
                    self.watch(server);
                }
                server.answer(ask, ())
            }
            Event::Body(octets) => {
                self.incoming.last_mut().unwrap().1.extend_from_slice(&octets);
                return Seen::Body(octets);
            }
            Event::Fetch(ask) => {
                self.fetch(server, &ask);
                server.answer(ask, Ok(()))
            }
            Event::Store(ask) => {
                let mut modified = UidSet::new();
                for uid in ask.messages.iter() {
                    let folder = self.open();
                    let mod_seq = folder.mod_seq + 1;
                    let Some(message) = folder.messages.iter_mut().find(|message| message.uid == uid) else {
                        continue;
                    };
                    let most = ask.unchanged_since.map(|since| since.map_or(0, ModSeq::get));
                    if most.is_some_and(|most| message.mod_seq > most) {
                        modified.insert(uid);
                        continue;
                    }
                    (message.mod_seq, folder.mod_seq) = (mod_seq, mod_seq);
                    message.flags = ask.operation.apply(&message.flags, &ask.flags);
                    server.fetch_flags(&ask, uid, &message.flags.clone(), ModSeq::new(mod_seq)).unwrap();
                }
                self.watch(server);
                server.answer(ask, Ok(modified))
            }
            Event::Annotate(ask) => {
                let (mut modified, mut answer) = (UidSet::new(), Ok(()));
                for uid in ask.messages.iter() {
                    let folder = self.open();
                    let mod_seq = folder.mod_seq + 1;
                    let Some(message) = folder.messages.iter_mut().find(|message| message.uid == uid) else {
                        continue;
                    };
                    let most = ask.unchanged_since.map(|since| since.map_or(0, ModSeq::get));
                    if most.is_some_and(|most| message.mod_seq > most) {
                        modified.insert(uid);
                        continue;
                    }
                    if ask.values.iter().any(|value| value.entry.part().is_some_and(|part| part[0].get() > 1))
                    {
                        answer = Err(Refusal::bad("there is no such part"));
                        break;
                    }
                    if ask
                        .values
                        .iter()
                        .any(|value| value.value.as_ref().is_some_and(|value| value.len() > 40))
                    {
                        answer = Err(Refusal::new(ResponseCode::AnnotateTooBig, "too large"));
                        break;
                    }
                    if message.annotations.len() + ask.values.len() > 6 {
                        answer = Err(Refusal::new(ResponseCode::AnnotateTooMany, "too many"));
                        break;
                    }
                    (message.mod_seq, folder.mod_seq) = (mod_seq, mod_seq);
                    message.annotate(&ask.values);
                    server.fetch_mod_seq(&ask, uid, ModSeq::new(mod_seq).unwrap()).unwrap();
                }
                server.answer(ask, answer.map(|()| modified))
            }
            Event::Expunge(ask) => {
                let wanted = ask.messages.clone();
                let gone = self.open().remove(|message| {
                    message.flags.contains(&Flag::Deleted)
                        && wanted.as_ref().is_none_or(|uids| uids.contains(message.uid))
                });
                server.notify(Change::Removed(gone.clone()));
                self.watch(server);
                server.notify(self.open().up_to());
                server.answer(ask, Ok(gone))
            }
            Event::Copy(ask) if self.sharing.is_over_quota() => {
                server.answer(ask, Err(Refusal::over_quota()))
            }
            Event::Copy(ask) => {
                let answer = self.copy(&ask.messages, &ask.to);
                server.answer(ask, answer.map(Some))
            }
            Event::Move(ask) => {
                let answer = self.copy(&ask.messages, &ask.to);
                if answer.is_ok() {
                    let uids = ask.messages.clone();
                    self.open().remove(|message| uids.contains(message.uid));
                    server.notify(self.open().up_to());
                }
                server.answer(ask, answer)
            }
            Event::Idle(ask) => {
                if self.selected.is_some() {
                    let folder = self.open();
                    let uid = folder.add(FlagSet::new(), None, LETTER.as_bytes());
                    let first = folder.messages.remove(0).uid;
                    server.notify(Change::Added { uids: uid.into(), recent: uid.into() });
                    server.notify(Change::Removed(first.into()));
                    self.watch(server);
                }
                server.answer(ask, ())
            }
            Event::IdleEnd => Ok(()),
            Event::Closed(why) => return Seen::Closed(format!("{why:?}")),
            event @ (Event::Namespace(_)
            | Event::Mailboxes(_)
            | Event::Create(_)
            | Event::Delete(_)
            | Event::Rename(_)
            | Event::Subscribe(_)
            | Event::Unsubscribe(_)
            | Event::Status(_)
            | Event::Notify(_)) => self.mailboxes(server, event),
            event @ (Event::Message(_)
            | Event::Include(_)
            | Event::BodyEnd(_)
            | Event::BodyAborted
            | Event::UrlFetch(_)
            | Event::GenUrlAuth(_)
            | Event::ResetKey(_)) => self.appending(server, event),
            event @ (Event::ApplyFilter(_)
            | Event::Find(_)
            | Event::MultiSearch(_)
            | Event::Order(_)
            | Event::Gather(_)) => self.searching(server, event),
            other => self.sharing.handle(server, other),
        };
        answered.unwrap();
        seen
    }
}

/// Everything on, passwords without TLS.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.allow_plaintext_auth = true;
    config.auth_mechanisms = vec!["PLAIN".into()];
    config
}
