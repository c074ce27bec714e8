//! A session with an IMAP server.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::Arc,
};

use bytes::Bytes;
use mailwright_imap_proto::{
    MessageSet,
    client::{Config, Event, Opened},
    command::{
        BodySection, Expunge, Fetch, FetchItem, Notify, NotifyEvents, NotifyGroup, NotifyMailboxes, Section,
        SectionText, Select, StoreOperation,
    },
    response::FetchedItem,
};
use mailwright_mail_model::{
    DateTime, Flag, FlagSet, MailboxName, Uid, UidSet,
    query::{Key, Query},
};

use super::{
    Entry, FetchAccount, FetchError, FetchPolicy, MessageName,
    folders::Folder,
    notes::Notes,
    pass::{Listed, Remote},
    patience::Patience,
};
use crate::client::{ClientError, Endpoint, ImapClient, Wanted};

/// How many messages are asked about together.
const TOGETHER: u64 = 500;
/// What is told of a mailbox where that is so.
const NO_DELETION: &str = "keeps its messages";
/// How many octets the answer to one question may have: a SEARCH that finds two million messages.
const ANSWER: u64 = 16 << 20;
/// How many messages are looked at in one session. What is known of each is held until it is over.
const MOST: usize = 4_000_000;

/// A server that is logged in to.
pub(super) struct Imap<'a> {
    client: ImapClient,
    patience: Patience,
    account: &'a FetchAccount,
    message: Message,
    folders: Vec<Folder>,
    /// The one that is open.
    open: Option<usize>,
    /// The messages as they were listed: the folder of each, and its UID there. Handles are their places.
    listed: Vec<(usize, Uid)>,
    /// The next UID of the last folder when it was listed.
    next: Option<Uid>,
    /// Whether the server was asked to tell the news of all folders.
    notified: bool,
    notes: Notes,
    /// See [`Remote::views`].
    views: Option<Vec<String>>,
}

/// What is known of the message that is being read.
#[derive(Default)]
struct Message {
    handle: u32,
    /// Which octets are its.
    wanted: Option<Wanted>,
    date: Option<DateTime>,
    flags: FlagSet,
}

impl<'a> Imap<'a> {
    pub(super) async fn open(endpoint: &Endpoint, account: &'a FetchAccount) -> Result<Self, FetchError> {
        let mut config = Config::default();
        config.allow_plaintext_auth = account.in_clear;
        config.answer = ANSWER;
        let mut patience = Patience::default();
        let mut client = patience.answer(ImapClient::connect(endpoint, Arc::new(config))).await?;
        if !client.is_preauthenticated() {
            let bearer = account.bearer().await?;
            let login = async {
                let login = match bearer {
                    Some(bearer) => client.authenticate(&bearer).await,
                    None => client.login(&account.login, &account.password).await,
                };
                login.map_err(FetchError::at_login)
            };
            patience.answer(login).await?;
        }
        let (folders, listed) = (Vec::new(), Vec::new());
        Ok(Self {
            client,
            patience,
            account,
            message: Message::default(),
            folders,
            open: None,
            listed,
            next: None,
            notified: false,
            notes: Notes::default(),
            views: None,
        })
    }

    /// Whether the server tells its news.
    pub(super) fn tells(&mut self) -> bool {
        self.has("IDLE")
    }

    fn has(&mut self, capability: &str) -> bool {
        self.client.capabilities().is_some_and(|all| all.has(capability))
    }

    /// Waits for news, or for `stop`.
    pub(super) async fn listen(&mut self, stop: impl Future<Output = ()>) -> Result<(), FetchError> {
        let last = self.folders.len().saturating_sub(1);
        if self.open != Some(last) && self.enter(last).await?.uid_next != self.next {
            // Something came while others were looked into.
            return Ok(());
        }
        self.client.idle(stop).await?;
        Ok(())
    }

    pub(super) async fn logout(mut self) -> Result<(), FetchError> {
        self.patience.answer(self.client.logout()).await
    }

    /// Opens a folder.
    async fn enter(&mut self, index: usize) -> Result<Box<Opened>, FetchError> {
        let Some(folder) = self.folders.get_mut(index) else {
            return Err(FetchError::Server("expected a mailbox that was listed".into()));
        };
        self.open = None;
        // RFC 9051 §6.3.3: others still see what is new to them.
        let keep = self.account.policy == FetchPolicy::Keep;
        let opened = self.patience.answer(self.client.call(Select::listed(&folder.there, keep))).await?;
        let validity = opened.uid_validity.filter(|_| !opened.uid_not_sticky);
        if validity.is_none() {
            let text = "expected UIDs that stay, got a mailbox without UIDVALIDITY or with UIDNOTSTICKY";
            return Err(FetchError::Server(text.into()));
        }
        (folder.validity, folder.read_only) = (validity, opened.read_only);
        self.open = Some(index);
        Ok(opened)
    }

    /// Opens the folder of a message again, if another one is open.
    async fn enter_again(&mut self, index: usize) -> Result<(), FetchError> {
        if self.open == Some(index) {
            return Ok(());
        }
        let before = self.folders.get(index).and_then(|folder| folder.validity);
        self.enter(index).await?;
        match self.folders.get(index).is_some_and(|folder| folder.validity == before) {
            true => Ok(()),
            false => {
                Err(FetchError::Server("expected a mailbox that is as it was listed, got a new one".into()))
            }
        }
    }

    /// The messages of a folder, as it is opened.
    async fn list_folder(
        &mut self,
        index: usize,
        known: &HashMap<MessageName, Entry>,
    ) -> Result<Vec<Listed>, FetchError> {
        let opened = match self.enter(index).await {
            Ok(opened) => opened,
            // One of many that nobody may look into is no reason to leave the others.
            Err(FetchError::Client(ClientError::Refused(refusal))) if self.account.all_folders => {
                self.pass_over(index, "cannot be opened", refusal);
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        self.next = opened.uid_next;
        if opened.messages == 0 {
            return Ok(Vec::new());
        }
        let uids: UidSet =
            self.patience.answer(self.client.search(Query::all())).await?.into_iter().collect();
        let most = opened.messages.max(self.client.told_exists().unwrap_or_default());
        if uids.len() > u64::from(most) {
            let text = format!("expected the UIDs of {most} messages, got {}", uids.len());
            return Err(FetchError::Server(text));
        }
        if self.listed.len().saturating_add(uids.len() as usize) > MOST {
            return Err(FetchError::Server(format!("expected at most {MOST} messages, got more")));
        }
        let Some((folder, validity)) =
            self.folders.get(index).and_then(|folder| Some((folder.clone(), folder.validity?)))
        else {
            return Ok(Vec::new());
        };
        let (validity, [kind, folder]) = (validity.get().to_be_bytes(), folder.key());
        let name = |uid: Uid| MessageName::of(&[kind, folder, &validity, &uid.get().to_be_bytes()]);
        let fresh: UidSet = uids.iter().filter(|uid| !known.contains_key(&name(*uid))).collect();
        let sizes = self.sizes(&fresh).await?;
        let mut all = Vec::new();
        for uid in uids.iter() {
            let handle = u32::try_from(self.listed.len()).unwrap_or(u32::MAX);
            self.listed.push((index, uid));
            all.push(Listed { name: name(uid), handle, size: sizes.get(&uid).copied(), shared: None });
        }
        Ok(all)
    }

    /// Where the server can do so, what is new in other folders ends the wait too (RFC 5465).
    async fn ask_for_all_news(&mut self) -> Result<(), FetchError> {
        if std::mem::replace(&mut self.notified, true) || !self.has("NOTIFY") {
            return Ok(());
        }
        let group = |mailboxes| {
            let mut events = NotifyEvents::default();
            (events.new, events.expunge) = (Some(Vec::new()), true);
            NotifyGroup::new(mailboxes, events)
        };
        let groups = [NotifyMailboxes::Selected { delayed: false }, NotifyMailboxes::Personal].map(group);
        match self.patience.answer(self.client.call(Notify::new(groups.into()))).await {
            // Then it takes until the next look.
            Ok(()) | Err(FetchError::Client(ClientError::Refused(_))) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Tells that something cannot be done in a folder.
    fn pass_over(&mut self, index: usize, what: &str, why: impl std::fmt::Display) {
        let name = self.folders.get(index).map_or_else(|| "".into(), |folder| folder.there.text());
        self.notes.mailbox(self.account, &name, what, why);
    }

    fn place(&self, handle: u32) -> Option<(usize, Uid)> {
        self.listed.get(usize::try_from(handle).ok()?).copied()
    }

    /// Deletes messages of a folder; whether they are gone.
    async fn delete_in(&mut self, index: usize, uids: UidSet) -> Result<bool, FetchError> {
        self.enter_again(index).await?;
        if self.folders.get(index).is_some_and(|folder| folder.read_only) {
            // RFC 9051 §6.3.2: STORE would be refused, each time.
            self.pass_over(index, NO_DELETION, "it can only be read");
            return Ok(false);
        }
        let only = self.has("UIDPLUS") || self.has("IMAP4rev2");
        for start in (0..uids.len()).step_by(TOGETHER as usize) {
            let some = MessageSet::from(uids.at(start..(start + TOGETHER).min(uids.len())));
            let deleted: FlagSet = [Flag::Deleted].into_iter().collect();
            let store = self.client.store(some.clone(), StoreOperation::Add, deleted);
            self.patience.answer(store).await?;
            if only {
                self.patience.answer(self.client.call(Expunge::new(Some(some)))).await?;
            }
        }
        if only {
            return Ok(true);
        }
        // RFC 4315 §2.1: EXPUNGE takes all that is marked, so it waits until nothing is but what we marked.
        let marked = self.client.search(Query::from(Key::Flag(Flag::Deleted)));
        let ours = self.patience.answer(marked).await?.into_iter().all(|uid| uids.contains(uid));
        if ours {
            self.patience.answer(self.client.expunge()).await?;
        }
        Ok(ours)
    }

    async fn sizes(&mut self, uids: &UidSet) -> Result<HashMap<Uid, u64>, FetchError> {
        let mut sizes = HashMap::new();
        for start in (0..uids.len()).step_by(TOGETHER as usize) {
            let some = uids.at(start..(start + TOGETHER).min(uids.len()));
            let asked = Fetch::new(MessageSet::from(some.clone()), [FetchItem::Uid, FetchItem::Size]);
            let (client, sizes) = (&mut self.client, &mut sizes);
            let answer = async {
                let mut fetching = client.fetch(asked).await?;
                while let Some(event) = fetching.next().await? {
                    let Event::Fetched { fetched, .. } = event else { continue };
                    let (mut uid, mut size) = (None, None);
                    for item in fetched.items {
                        match item {
                            FetchedItem::Uid(found) => uid = Some(found),
                            FetchedItem::Size(found) => size = Some(found),
                            _ => {}
                        }
                    }
                    // No others, of which there may be any number.
                    sizes.extend(uid.filter(|uid| some.contains(*uid)).zip(size));
                }
                Ok::<_, ClientError>(())
            };
            self.patience.answer(answer).await?;
        }
        Ok(sizes)
    }
}

impl Remote for Imap<'_> {
    async fn list(&mut self, known: &HashMap<MessageName, Entry>) -> Result<Vec<Listed>, FetchError> {
        self.patience = Patience::default();
        // What is new from here on is new to the list below, or makes the next wait a short one.
        while self.client.news().is_some() {}
        if self.account.all_folders && self.account.push {
            self.ask_for_all_news().await?;
        }
        // Each time, for the mailboxes may be others by now.
        self.folders = match self.account.all_folders {
            true => {
                let namespaces = self.patience.answer(self.client.namespaces()).await?;
                let listed = self.patience.answer(self.client.list("*")).await?;
                self.views = Some(Folder::views(&listed, &namespaces));
                Folder::all(listed, &namespaces)
            }
            false => Folder::only(self.account),
        };
        (self.open, self.next) = (None, None);
        self.listed.clear();
        let mut all = Vec::new();
        for index in 0..self.folders.len() {
            all.extend(self.list_folder(index, known).await?);
        }
        Ok(all)
    }

    fn mailbox(&self, handle: u32) -> Option<MailboxName> {
        self.folders.get(self.place(handle)?.0)?.here.clone()
    }

    fn flags(&self) -> FlagSet {
        self.message.flags.clone()
    }

    async fn open(&mut self, handle: u32, header: bool) -> Result<bool, FetchError> {
        let Some((folder, uid)) = self.place(handle) else { return Ok(false) };
        self.enter_again(folder).await?;
        let text = if header { SectionText::Header } else { SectionText::Whole };
        let section = BodySection::peek(Section::new(Vec::new(), text));
        let wanted = Wanted::new(uid, &section);
        let mut items = vec![FetchItem::Uid, FetchItem::InternalDate, FetchItem::Section(section)];
        if self.mailbox(handle).is_some() {
            items.push(FetchItem::Flags);
        }
        self.message = Message { handle, wanted: Some(wanted), ..Message::default() };
        let fetch = Fetch::new(MessageSet::from(UidSet::from(uid)), items);
        self.patience.part(self.client.fetch(fetch)).await?;
        Ok(true)
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, FetchError> {
        let message = &mut self.message;
        let Some(wanted) = &mut message.wanted else { return Ok(None) };
        loop {
            match self.patience.part(self.client.next_fetched()).await {
                Ok(Some(event)) => {
                    if let Event::Fetched { uid, fetched } = &event
                        && *uid == Some(wanted.uid())
                    {
                        for item in &fetched.items {
                            match item {
                                FetchedItem::InternalDate(date) => {
                                    message.date = message.date.or(Some(*date))
                                }
                                FetchedItem::Flags(found) => {
                                    message.flags =
                                        found.flags.difference(&[Flag::Deleted].into_iter().collect());
                                }
                                _ => {}
                            }
                        }
                    }
                    match wanted.take(event, self.client.skipped_uid()) {
                        Ok(Some(octets)) => {
                            self.patience.came(octets.len());
                            return Ok(Some(octets));
                        }
                        Ok(None) => {}
                        Err(error @ ClientError::Unreadable(_)) => {
                            self.patience.ended();
                            self.notes.not_given(self.account, message.handle, error);
                            return Ok(None);
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                // RFC 9051 §6.4.9: what is not there is no error; a server may say NO to what went away, and goes on. If it is
                // listed again, it did not go away.
                Ok(None) => {
                    self.patience.ended();
                    let why = match wanted.end() {
                        Err(error @ ClientError::Unreadable(_)) => Some(error.to_string()),
                        ended => {
                            let nothing = || "the server says OK, and sends nothing".to_owned();
                            ended.map(|()| (!wanted.is_named()).then(nothing))?
                        }
                    };
                    if let Some(why) = why {
                        self.notes.not_given(self.account, message.handle, why);
                    }
                    return Ok(None);
                }
                Err(FetchError::Client(ClientError::Refused(refusal))) if !wanted.has_begun() => {
                    self.notes.not_given(self.account, message.handle, refusal);
                    return Ok(None);
                }
                Err(FetchError::Client(ClientError::Refused(refusal))) => {
                    return Err(FetchError::Server(format!("half a message, then {refusal}")));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn came(&self) -> (bool, Option<DateTime>) {
        (self.message.wanted.as_ref().is_some_and(Wanted::is_named), self.message.date)
    }

    async fn delete(&mut self, handles: &[u32]) -> Result<Vec<u32>, FetchError> {
        let mut folders: BTreeMap<usize, (Vec<u32>, Vec<Uid>)> = BTreeMap::new();
        for (handle, (folder, uid)) in
            handles.iter().filter_map(|handle| Some((*handle, self.place(*handle)?)))
        {
            let (handles, uids) = folders.entry(folder).or_default();
            handles.push(handle);
            uids.push(uid);
        }
        let mut deleted = Vec::new();
        for (folder, (handles, uids)) in folders {
            match self.delete_in(folder, uids.into_iter().collect()).await {
                Ok(true) => deleted.extend(handles),
                Ok(false) => {}
                // One of many that nobody may write to is no reason to leave the others.
                Err(FetchError::Client(ClientError::Refused(refusal))) => {
                    self.pass_over(folder, NO_DELETION, refusal);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(deleted)
    }

    fn notes(&mut self) -> Vec<String> {
        self.notes.take()
    }

    fn views(&self) -> Option<&[String]> {
        self.views.as_deref()
    }
}
