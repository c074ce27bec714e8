//! A mail store in memory behind the server machine: small, and the same every time.

mod fetching;
mod folder;
mod sharing;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use fetching::cut;
use folder::{Folder, Stored, matches_query, score};
use mailwright_imap_proto::{
    AuthorizedUrl, ImapUrl, Refusal,
    command::{BodySection, CopyUid, FilterScript, NotifyMailboxes, StatusItem},
    response::{FilterResult, MailboxStatus, Namespaces, ServerId},
    server::{
        AppendUid, Change, Config, Event, Found, FoundIn, ListEntry, Message, Opened, Order, Ordered,
        Question, Server, UrlContent, Workarounds,
    },
};
use mailwright_line_proto::{
    AuthRefusal, AuthStep, Peer,
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
            selected: None,
            incoming: Vec::new(),
            sharing: Sharing::new(),
            challenges: 0,
            binary: Bytes::from_static(b"a\0b"),
        }
    }

    fn folder(&mut self, name: &MailboxName) -> Result<&mut Folder, Refusal> {
        self.folders.get_mut(name.as_str()).ok_or_else(Refusal::non_existent)
    }

    fn open(&mut self) -> &mut Folder {
        let name = self.selected.as_ref().expect("a mailbox is open");
        self.folders.get_mut(name).unwrap()
    }

    /// The octets that a URL means.
    fn part(&self, url: &str) -> Option<Bytes> {
        let url: ImapUrl = url.parse().ok()?;
        let folder = match &url.mailbox {
            Some(name) => self.folders.get(name.as_str())?,
            None => self.folders.get(self.selected.as_ref()?)?,
        };
        let message = folder.messages.iter().find(|message| message.uid == url.uid)?;
        let structure = Structure::of(&message.octets);
        let section = BodySection::peek(url.section.clone().unwrap_or_default());
        cut(&message.octets, &structure, &section)
    }

    fn create(&mut self, name: &MailboxName) -> Result<(), Refusal> {
        if self.folders.contains_key(name.as_str()) {
            return Err(Refusal::already_exists());
        }
        self.folders.insert(name.to_string(), Folder { next: 1, ..Folder::default() });
        Ok(())
    }

    fn find(&mut self, query: &Query) -> UidSet {
        let folder = self.open();
        folder
            .messages
            .iter()
            .filter(|message| matches_query(message, query))
            .map(|message| message.uid)
            .collect()
    }

    fn scores(&mut self, query: &Query, wanted: bool) -> Vec<(Uid, u8)> {
        let messages = self.open().messages.iter().filter(|_| wanted);
        messages.filter_map(|message| Some((message.uid, score(message, query)?))).collect()
    }

    fn order(&mut self, order: &Order) -> Vec<Uid> {
        let found = self.find(&order.query);
        let mut sorter = Sorter::new(order.criteria.clone());
        for message in self.open().messages.iter().filter(|message| found.contains(message.uid)) {
            let envelope = Envelope::of(&message.octets);
            let size = message.octets.len() as u64;
            let score = score(message, &order.query).unwrap_or(100);
            sorter.add_scored(message.uid, message.date, size, Some(&envelope), score);
        }
        sorter.finish()
    }

    /// Searches again for what the client watches.
    fn watch(&mut self, server: &mut Server) {
        let watched: Vec<(String, Question)> =
            server.watched().map(|watched| (watched.tag.to_owned(), watched.question.clone())).collect();
        for (tag, question) in watched {
            let found = match question {
                Question::Find(find) => self.find(&find.query).iter().collect(),
                Question::Order(order) => self.order(&order),
                other => panic!("{other:?}"),
            };
            server.found(&tag, found);
        }
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
                server.answer(ask, if right { Ok(()) } else { Err(AuthRefusal::Credentials) })
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
            Event::Namespace(ask) => server.answer(ask, Ok(Namespaces::personal('/'))),
            Event::Mailboxes(ask) => {
                let entries = self.folders.iter().map(|(name, folder)| {
                    let mut entry = ListEntry::new(MailboxName::new(name).unwrap());
                    if ask.wants_status_of(&entry.mailbox) {
                        let mut status = MailboxStatus::new(entry.mailbox.clone());
                        status.messages = Some(folder.messages.len() as u32);
                        status.unseen = Some(folder.unseen().count() as u32);
                        entry.status = Some(status);
                    }
                    entry.subscribed = folder.subscribed;
                    entry.has_children =
                        Some(self.folders.keys().any(|other| other.starts_with(&format!("{name}/"))));
                    entry.rights = ask.rights.then(|| sharing::RIGHTS.into());
                    if ask.annotations {
                        entry.annotations = self.sharing.notes(Some(name));
                    }
                    if name == "Sent" {
                        entry.special_use = vec![SpecialUse::Sent];
                    }
                    entry
                });
                let entries = entries.collect();
                server.answer(ask, Ok(entries))
            }
            Event::Create(ask) => {
                let answer = self.create(&ask.mailbox);
                server.answer(ask, answer)
            }
            Event::Delete(ask) => {
                let gone = self.folders.remove(ask.mailbox.as_str());
                let mut entry = ListEntry::new(ask.mailbox.clone());
                entry.exists = false;
                server.notify_mailbox(&entry, None);
                server.answer(ask, gone.map(drop).ok_or_else(Refusal::non_existent))
            }
            Event::Rename(ask) => {
                let answer = match self.folders.remove(ask.from.as_str()) {
                    Some(folder) => {
                        self.folders.insert(ask.to.to_string(), folder);
                        server.notify_mailbox(&ListEntry::new(ask.to.clone()), Some(&ask.from));
                        Ok(())
                    }
                    None => Err(Refusal::non_existent()),
                };
                server.answer(ask, answer)
            }
            Event::Subscribe(ask) => {
                let answer = self.folder(&ask.mailbox).map(|folder| folder.subscribed = true);
                let mut entry = ListEntry::new(ask.mailbox.clone());
                entry.subscribed = true;
                server.notify_mailbox(&entry, None);
                server.answer(ask, answer)
            }
            Event::Unsubscribe(ask) => {
                let answer = self.folder(&ask.mailbox).map(|folder| folder.subscribed = false);
                server.answer(ask, answer)
            }
            Event::Status(ask) => {
                let name = ask.mailbox.clone();
                let answer = self.folder(&name).map(|folder| {
                    let mut status = MailboxStatus::new(name);
                    status.messages = Some(folder.messages.len() as u32);
                    status.recent = Some(0);
                    status.uid_next = Uid::new(folder.next);
                    status.uid_validity = Some(validity());
                    status.unseen = Some(folder.unseen().count() as u32);
                    status.size =
                        Some(folder.messages.iter().map(|message| message.octets.len() as u64).sum());
                    status.deleted = Some(1);
                    status.deleted_storage = Some(430);
                    status.highest_mod_seq = ModSeq::new(folder.mod_seq);
                    status.mailbox_id = Some("F2212ea87".into());
                    status
                });
                assert!(!ask.items.is_empty() && ask.items.len() <= StatusItem::ALL.len());
                server.answer(ask, answer)
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
                    opened.recent = opened.uids.within(Uid::new(9).unwrap()..=Uid::MAX);
                    opened
                });
                self.selected = answer.is_ok().then(|| ask.mailbox.to_string());
                server.answer(ask, answer)
            }
            Event::Notify(ask) => {
                let below = |name: &str| {
                    ask.groups.iter().any(|group| match &group.mailboxes {
                        NotifyMailboxes::Subtree(names) => {
                            names.iter().any(|above| name.starts_with(above.as_str()))
                        }
                        _ => false,
                    })
                };
                let folders = self.folders.iter().filter(|(name, _)| ask.status && below(name));
                let statuses = folders.map(|(name, folder)| folder.counts(name)).collect();
                server.answer(ask, Ok(statuses))
            }
            Event::Close(ask) => {
                if ask.expunge {
                    self.open().remove(|message| message.flags.contains(&Flag::Deleted));
                }
                self.selected = None;
                server.answer(ask, Ok(()))
            }
            Event::Refresh(ask) => {
                // Somebody else's work: whatever has \Flagged goes, and a message comes in its place.
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
            Event::Message(ask) => {
                let answer = self.folder(&ask.mailbox).map(drop).map_err(|_| Refusal::try_create());
                if answer.is_ok() {
                    self.incoming.push((ask.request().clone(), Vec::new()));
                }
                server.answer(ask, answer)
            }
            Event::Body(octets) => {
                self.incoming.last_mut().unwrap().1.extend_from_slice(&octets);
                return Seen::Body(octets);
            }
            Event::Include(ask) => {
                let answer = match self.part(&ask.url) {
                    Some(octets) => {
                        self.incoming.last_mut().unwrap().1.extend_from_slice(&octets);
                        Ok(octets.len() as u64)
                    }
                    None => Err(Refusal::bad_url(&ask.url)),
                };
                server.answer(ask, answer)
            }
            Event::BodyEnd(ask) => {
                let mut uids = UidSet::new();
                for (index, (message, octets)) in std::mem::take(&mut self.incoming).into_iter().enumerate() {
                    assert_eq!(message.sequel, index > 0);
                    assert!(message.size.is_none_or(|size| octets.len() as u64 == size));
                    let folder = self.folder(&message.mailbox).unwrap();
                    let uid = folder.add(message.flags, message.internal_date, &octets);
                    uids.insert(uid);
                    if self.selected.as_deref() == Some(message.mailbox.as_str()) {
                        server.notify(Change::Added { uids: uid.into(), recent: UidSet::new() });
                        self.watch(server);
                    } else {
                        let name = message.mailbox.to_string();
                        server.notify_status(&self.folders[&name].counts(&name));
                    }
                    if let Some(replaced) = message.replaces {
                        self.open().remove(|message| message.uid == replaced);
                    }
                }
                server.answer(ask, Ok(Some(AppendUid::new(validity(), uids))))
            }
            Event::BodyAborted => {
                self.incoming.clear();
                Ok(())
            }
            Event::UrlFetch(ask) => {
                for (place, wanted) in ask.urls.iter().enumerate() {
                    let url = wanted.url.parse::<AuthorizedUrl>().ok().map(|url| url.url);
                    let Some(url) = url else {
                        server.fetch_url(&ask, place, None).unwrap();
                        continue;
                    };
                    let folder = &self.folders[url.mailbox.as_ref().unwrap().as_str()];
                    let message = folder.messages.iter().find(|message| message.uid == url.uid).unwrap();
                    let structure = Structure::of(&message.octets);
                    let octets = cut(&message.octets, &structure, &BodySection::peek(url.section.unwrap()));
                    let octets = octets.filter(|_| wanted.octets.is_some());
                    let length = octets.as_ref().map(|octets| octets.len() as u64);
                    let content = UrlContent::part(&structure, &[], length);
                    server.fetch_url(&ask, place, Some(content)).unwrap();
                    if let Some(octets) = octets {
                        server.send_body(octets).unwrap();
                        server.end_body().unwrap();
                    }
                }
                server.answer(ask, Ok(()))
            }
            Event::GenUrlAuth(ask) => {
                let whole =
                    ask.urls.iter().map(|(url, name)| url.with_token(name, &[0x91, 0x35, 0x4a, 0x47]));
                let whole = whole.collect();
                server.answer(ask, Ok(whole))
            }
            Event::ResetKey(ask) => server.answer(ask, Ok(())),
            Event::ApplyFilter(ask) if matches!(ask.script, FilterScript::Personal(_)) => {
                server.filter_problem(&ask, FilterResult::Errors("line 1: what is that?".into()));
                server.answer(ask, Err(Refusal::plain("no such script")))
            }
            Event::ApplyFilter(ask) => {
                if let FilterScript::Global(name) = &ask.script {
                    server.filter_problem(&ask, FilterResult::Warnings(format!("{name} is old")));
                }
                let failed = FilterResult::Errors("line 1: what is that?".into());
                let results = [Some(FilterResult::Done), None, Some(failed)];
                for (uid, result) in self.find(&ask.query).iter().zip(results.into_iter().cycle()) {
                    server.filtered(&ask, uid, result);
                }
                server.answer(ask, Ok(()))
            }
            Event::Find(ask) if ask.query == Query::from(Key::Larger(99)) => {
                server.progress(&ask, Some(2), Some(4));
                server.progress(&ask, Some(4), Some(4));
                server.progress(&ask, None, None);
                server.answer(ask, Ok(UidSet::new().into()))
            }
            Event::Find(ask) => {
                let found = self.find(&ask.query);
                let told = ask.mod_seq.of(&found);
                let messages = self.open().messages.iter().filter(|message| told.contains(message.uid));
                let mod_seq = messages.map(|message| message.mod_seq).max().and_then(ModSeq::new);
                let scores = self.scores(&ask.query, ask.scores);
                server.answer(ask, Ok(Found::new(found).with_mod_seq(mod_seq).with_scores(scores)))
            }
            Event::MultiSearch(ask) => {
                let mut all = Vec::new();
                for (name, folder) in &self.folders {
                    let selected = self.selected.as_deref() == Some(name) && ask.names_selected();
                    let named = ask.sources.iter().any(|source| match source {
                        NotifyMailboxes::Personal => true,
                        NotifyMailboxes::Subtree(names) => {
                            names.iter().any(|above| name.starts_with(above.as_str()))
                        }
                        NotifyMailboxes::Mailboxes(names) => names.iter().any(|one| one.as_str() == name),
                        _ => false,
                    });
                    if let (true, Some(query)) = (selected || named, ask.query_in(&folder.uids())) {
                        let messages =
                            folder.messages.iter().filter(|message| matches_query(message, &query));
                        let uids: UidSet = messages.map(|message| message.uid).collect();
                        let mut found =
                            FoundIn::new(MailboxName::new(name).unwrap(), validity(), uids.into());
                        found.selected = selected;
                        all.push(found);
                    }
                }
                server.answer(ask, Ok(all))
            }
            Event::Order(ask) => {
                let sorted = self.order(&ask);
                let told = ask.mod_seq.of_sorted(&sorted);
                let messages = self.open().messages.iter().filter(|message| told.contains(message.uid));
                let mod_seq = messages.map(|message| message.mod_seq).max().and_then(ModSeq::new);
                let scores = self.scores(&ask.query, ask.scores);
                let of = |uid: &Uid| scores.iter().find(|(scored, _)| scored == uid).map(|(_, score)| *score);
                let scores = sorted.iter().filter_map(of).collect();
                server.answer(ask, Ok(Ordered::new(sorted).with_mod_seq(mod_seq).with_scores(scores)))
            }
            Event::Gather(ask) => {
                let found = self.find(&ask.query).intersection(&ask.among);
                let mut threader = Threader::new(ask.algorithm);
                for message in self.open().messages.iter().filter(|message| found.contains(message.uid)) {
                    threader.add(message.uid, message.date, &message.octets);
                }
                server.answer(ask, Ok(threader.finish()))
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
