//! A session with an IMAP server.

use std::{collections::HashMap, future::Future, sync::Arc};

use bytes::Bytes;
use mailwright_imap_proto::{
    MessageSet,
    client::{Config, Event},
    command::{BodySection, Expunge, Fetch, FetchItem, Section, SectionText, StoreOperation},
    response::FetchedItem,
};
use mailwright_mail_model::{
    DateTime, Flag, FlagSet, Uid, UidSet,
    query::{Key, Query},
};

use super::{
    Entry, FetchAccount, FetchError, FetchPolicy, MessageName,
    pass::{Listed, Remote},
};
use crate::client::{ClientError, Endpoint, ImapClient};

/// How many messages are asked about together.
const TOGETHER: u64 = 500;

/// A server that is logged in to.
pub(super) struct Imap<'a> {
    client: ImapClient,
    account: &'a FetchAccount,
    message: Message,
}

/// What is known of the message that is being read.
#[derive(Default)]
struct Message {
    wanted: Option<Uid>,
    /// Whether its octets have begun, and whether they are those that come now.
    begun: bool,
    reading: bool,
    /// Whether the server said that they are those of the message we asked for.
    named: bool,
    date: Option<DateTime>,
}

impl<'a> Imap<'a> {
    pub(super) async fn open(endpoint: &Endpoint, account: &'a FetchAccount) -> Result<Self, FetchError> {
        let mut config = Config::default();
        config.allow_plaintext_auth = account.in_clear;
        let mut client = ImapClient::connect(endpoint, Arc::new(config)).await?;
        if !client.is_preauthenticated() {
            client.login(&account.login, &account.password).await.map_err(FetchError::at_login)?;
        }
        Ok(Self { client, account, message: Message::default() })
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
        self.client.idle(stop).await?;
        Ok(())
    }

    pub(super) async fn logout(self) -> Result<(), FetchError> {
        Ok(self.client.logout().await?)
    }

    async fn sizes(&mut self, uids: &UidSet) -> Result<HashMap<Uid, u64>, FetchError> {
        let mut sizes = HashMap::new();
        for start in (0..uids.len()).step_by(TOGETHER as usize) {
            let some = uids.at(start..(start + TOGETHER).min(uids.len()));
            let asked = [FetchItem::Uid, FetchItem::Size];
            for fetched in self.client.items(MessageSet::from(some), asked).await? {
                let (mut uid, mut size) = (None, None);
                for item in fetched.items {
                    match item {
                        FetchedItem::Uid(found) => uid = Some(found),
                        FetchedItem::Size(found) => size = Some(found),
                        _ => {}
                    }
                }
                sizes.extend(uid.zip(size));
            }
        }
        Ok(sizes)
    }
}

impl Remote for Imap<'_> {
    async fn list(&mut self, known: &HashMap<MessageName, Entry>) -> Result<Vec<Listed>, FetchError> {
        // What is new from here on is new to the list below, or makes the next wait a short one.
        while self.client.news().is_some() {}
        let folder = self.account.folder.clone();
        // Each time, for the mailbox may be another one by now.
        let opened = match self.account.policy {
            // RFC 9051 §6.3.3: others still see what is new to them.
            FetchPolicy::Keep => self.client.examine(folder).await?,
            _ => self.client.select(folder).await?,
        };
        let validity = opened.uid_validity.filter(|_| !opened.uid_not_sticky);
        let Some(validity) = validity else {
            let text = "expected UIDs that stay, got a mailbox without UIDVALIDITY or with UIDNOTSTICKY";
            return Err(FetchError::Server(text.into()));
        };
        if opened.messages == 0 {
            return Ok(Vec::new());
        }
        let uids: UidSet = self.client.search(Query::all()).await?.into_iter().collect();
        let (folder, validity) = (self.account.folder.as_str().to_owned(), validity.get().to_be_bytes());
        let name =
            |uid: Uid| MessageName::of(&[b"imap", folder.as_bytes(), &validity, &uid.get().to_be_bytes()]);
        let fresh: UidSet = uids.iter().filter(|uid| !known.contains_key(&name(*uid))).collect();
        let sizes = self.sizes(&fresh).await?;
        let listed = |uid: Uid| Listed { name: name(uid), handle: uid.get(), size: sizes.get(&uid).copied() };
        Ok(uids.iter().map(listed).collect())
    }

    async fn open(&mut self, handle: u32, header: bool) -> Result<bool, FetchError> {
        let Some(uid) = Uid::new(handle) else { return Ok(false) };
        let text = if header { SectionText::Header } else { SectionText::Whole };
        let section = BodySection::peek(Section::new(Vec::new(), text));
        let items = [FetchItem::Uid, FetchItem::InternalDate, FetchItem::Section(section)];
        self.message = Message { wanted: Some(uid), ..Message::default() };
        self.client.fetch(Fetch::new(MessageSet::from(UidSet::from(uid)), items)).await?;
        Ok(true)
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, FetchError> {
        let message = &mut self.message;
        loop {
            match self.client.next_fetched().await {
                Ok(Some(Event::FetchBody { uid, length, .. })) => {
                    if uid.is_some_and(|uid| Some(uid) != message.wanted) || message.begun {
                        return Err(FetchError::Server(
                            "expected the message that was asked for, got another".into(),
                        ));
                    }
                    message.begun = length.is_some();
                    message.reading = message.begun;
                    message.named |= uid.is_some();
                }
                Ok(Some(Event::Body(octets))) if message.reading => return Ok(Some(octets)),
                Ok(Some(Event::BodyEnd)) => message.reading = false,
                Ok(Some(Event::Fetched { uid, fetched })) => {
                    if uid == message.wanted {
                        message.named = true;
                        let date = fetched.items.iter().find_map(|item| match item {
                            FetchedItem::InternalDate(date) => Some(*date),
                            _ => None,
                        });
                        message.date = message.date.or(date);
                    } else if uid.is_some() && !message.named && message.begun {
                        return Err(FetchError::Server(
                            "expected the message that was asked for, got another".into(),
                        ));
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                // RFC 9051 §6.4.9: what is not there is no error; a server may say NO to what went away, and goes on.
                Err(ClientError::Refused(refusal)) if !message.begun => {
                    tracing::warn!(%refusal, "the server does not give a message that it lists");
                    return Ok(None);
                }
                Err(ClientError::Refused(refusal)) => {
                    return Err(FetchError::Server(format!("half a message, then {refusal}")));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn came(&self) -> (bool, Option<DateTime>) {
        (self.message.begun && self.message.named, self.message.date)
    }

    async fn delete(&mut self, handles: &[u32]) -> Result<(), FetchError> {
        let uids: UidSet = handles.iter().filter_map(|handle| Uid::new(*handle)).collect();
        let only = self.has("UIDPLUS") || self.has("IMAP4rev2");
        for start in (0..uids.len()).step_by(TOGETHER as usize) {
            let some = MessageSet::from(uids.at(start..(start + TOGETHER).min(uids.len())));
            let deleted: FlagSet = [Flag::Deleted].into_iter().collect();
            self.client.store(some.clone(), StoreOperation::Add, deleted).await?;
            if only {
                self.client.call(Expunge::new(Some(some))).await?;
            }
        }
        if !only {
            // RFC 4315 §2.1: EXPUNGE takes all that is marked, so it waits until nothing is but what we marked.
            let marked = self.client.search(Query::from(Key::Flag(Flag::Deleted))).await?;
            if marked.into_iter().all(|uid| uids.contains(uid)) {
                self.client.expunge().await?;
            }
        }
        Ok(())
    }
}
