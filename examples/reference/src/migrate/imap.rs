//! From an IMAP server.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

use bytes::Bytes;
use mailwright::{
    client::{ClientError, ImapClient},
    fetch::local_names,
    imap_proto::{
        MessageSet,
        client::Event,
        command::{
            AnnotationAttribute, BodySection, Depth, FetchAnnotations, FetchItem, GetAcl, GetMetadata, List,
            ListSelection, Lsub, Section, Select,
        },
        response::{AnnotationSupport, FetchedAnnotation, FetchedItem, ListAttribute, Listed, ListedName},
    },
    line_proto::Secret,
    mail_model::{
        AnnotationEntry, AnnotationScope, DateTime, FlagSet, MailboxName, SpecialUse, Uid, UidSet,
        query::{Key, Query},
    },
    mailstore::{AclEntry, EntryName, Noted, StoreError},
};

use super::{
    MigrateError,
    along::{Account, Around, Found},
    incoming::Incoming,
    source::{Entry, Folder, dovecot_id},
    way::Way,
};
use crate::cli::{Migrate, Pop3Ids};

/// One message that does not come stops no others, and is a difference at the end.
fn not_given(why: &str) -> MigrateError {
    MigrateError::Read(StoreError::Corrupt(why.into()))
}

/// A server that is logged in to.
pub(super) struct Imap {
    client: ImapClient,
    way: Way,
    /// How often in a row the connection has broken.
    broken: u32,
    /// Who is logged in.
    owner: String,
    ids: Pop3Ids,
    /// Whether there are annotations of messages in the mailbox that is open.
    annotates: bool,
    /// What mailboxes are called there, by their names here.
    there: HashMap<MailboxName, ListedName>,
    /// What is subscribed to, until somebody has looked at it.
    subscribed: Vec<Listed>,
    pub(super) left_out: Vec<String>,
    pub(super) views: Vec<String>,
    /// Whether there is a mailbox that shows the messages of all.
    has_view: bool,
}

/// So often in a row the connection may break: each message is asked for twice.
const BREAKS: u32 = 6;
/// So many messages are asked about at a time.
const BATCH: u32 = 1_000;

impl Imap {
    pub(super) async fn open(
        implicit: bool,
        place: &str,
        options: &Migrate,
        password: Secret,
    ) -> Result<Self, MigrateError> {
        let way = Way::new(implicit, place, options, password)?;
        let client = way.go().await?;
        let ids = options.pop3_ids.unwrap_or(Pop3Ids::None);
        Ok(Self {
            client,
            owner: way.login.clone(),
            way,
            broken: 0,
            ids,
            annotates: false,
            there: HashMap::new(),
            subscribed: Vec::new(),
            left_out: Vec::new(),
            views: Vec::new(),
            has_view: false,
        })
    }

    pub(super) async fn folders(&mut self) -> Result<Vec<Folder>, MigrateError> {
        let subscriptions = self.subscriptions().await?;
        let all_are = subscriptions.is_none();
        self.subscribed = subscriptions.unwrap_or_default();
        let subscribed: Vec<_> = self.subscribed.iter().map(|listed| listed.name.clone()).collect();
        let namespaces = self.client.namespaces().await?;
        let mut all = self.client.list("*").await?;
        let nothing = [ListAttribute::NoSelect, ListAttribute::NonExistent];
        all.retain(|listed| {
            // RFC 2342: what is not the user's own comes with the account that it belongs to.
            namespaces.is_personal(&listed.name.text())
                && !nothing.iter().any(|attribute| listed.attributes.contains(attribute))
        });
        let names: Vec<_> =
            all.iter().map(|listed| (listed.name.text().into_owned(), listed.delimiter)).collect();
        let mut folders: Vec<Folder> = Vec::new();
        for (listed, name) in all.into_iter().zip(local_names(&names, false)) {
            let original = listed.name.text().into_owned();
            let special_use = listed.attributes.iter().find_map(|attribute| match attribute {
                ListAttribute::Special(special_use) => Some(*special_use),
                _ => None,
            });
            // RFC 6154 §2, RFC 8457 §3: these show what is in other mailboxes.
            if let Some(SpecialUse::Flagged | SpecialUse::Important) = special_use {
                self.views.push(original);
                continue;
            }
            let Some(name) = name.filter(|name| !self.there.contains_key(name)) else { continue };
            let opened = match self.client.call(Select::listed(&listed.name, true)).await {
                Ok(opened) => opened,
                Err(ClientError::Refused(refusal)) => {
                    self.left_out.push(format!("{original:?} cannot be opened: {refusal}"));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let numbers = opened.uid_validity.map(|validity| (validity, opened.uid_next));
            let subscribed = all_are || subscribed.contains(&listed.name);
            let view = special_use == Some(SpecialUse::All);
            self.has_view |= view;
            self.there.insert(name.clone(), listed.name);
            folders.push(Folder { name, original, special_use, subscribed, numbers, view });
        }
        // What comes of it are messages that were put away, not a view of all.
        let put_away = folders.iter().any(|folder| folder.special_use == Some(SpecialUse::Archive));
        for folder in folders.iter_mut().filter(|folder| folder.view) {
            folder.special_use = (!put_away).then_some(SpecialUse::Archive);
        }
        // By then it is known what is in the others.
        folders.sort_by_key(|folder| folder.view);
        Ok(folders)
    }

    /// What is subscribed to, if the server tells: where it does not, many clients would show nothing if nothing were.
    async fn subscriptions(&mut self) -> Result<Option<Vec<Listed>>, MigrateError> {
        match self.client.call(Lsub::new(List::new("", "*"))).await {
            // RFC 9051 has no LSUB any more.
            Err(ClientError::Refused(_)) => {}
            listed => return Ok(Some(listed?)),
        }
        let (mut list, mut selection) = (List::new("", "*"), ListSelection::default());
        selection.subscribed = true;
        list.selection = Some(selection);
        match self.client.call(list).await {
            Err(ClientError::Refused(refusal)) => {
                self.left_out
                    .push(format!("what is subscribed to, so that all mailboxes are here: {refusal}"));
                Ok(None)
            }
            listed => Ok(Some(listed?)),
        }
    }

    /// What a mailbox is called there.
    fn there(&self, folder: &Folder) -> ListedName {
        self.there.get(&folder.name).cloned().unwrap_or_else(|| folder.name.clone().into())
    }

    pub(super) async fn index(&mut self, folder: &Folder) -> Result<Vec<Entry>, MigrateError> {
        let opened = self.client.call(Select::listed(&self.there(folder), true)).await?;
        // RFC 5257 §4.1
        self.annotates = !matches!(opened.annotations, None | Some(AnnotationSupport::None));
        let validity = opened.uid_validity;
        let last = opened.uid_next.and_then(Uid::previous).unwrap_or(Uid::MAX);
        let uids: UidSet = if opened.messages == 0 {
            UidSet::new()
        } else {
            self.client.search(Query::all()).await?.into_iter().collect()
        };
        let mut most = opened.messages;
        while let Some(news) = self.client.news() {
            if let Event::Exists(messages) = news {
                most = most.max(messages);
            }
        }
        if uids.len() > u64::from(most) {
            return Err(MigrateError::Endless { folder: folder.original.clone(), most });
        }
        let mut entries = Vec::new();
        let mut items = vec![FetchItem::Uid, FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size];
        items.extend(self.has_view.then_some(FetchItem::Envelope));
        self.describe(&uids, &items, &mut entries).await?;
        // What came while we looked is for the next run.
        entries.retain(|entry| entry.uid <= last);
        let found: UidSet = entries.iter().map(|entry| entry.uid).collect();
        let missing = uids.within(Uid::MIN..=last).difference(&found);
        if !missing.is_empty() {
            // A response that is malformed anywhere tells nothing: most often it is the date, which the header has too.
            let items = [FetchItem::Uid, FetchItem::Flags, FetchItem::Size, FetchItem::Envelope];
            self.describe(&missing, &items, &mut entries).await?;
            self.name_untold(folder, &missing, &entries).await?;
        }
        let made = folder.name.is_inbox() && self.ids == Pop3Ids::Dovecot;
        for entry in &mut entries {
            let validity = validity.filter(|_| made);
            entry.unique_id = validity.map(|validity| dovecot_id(entry.uid, validity));
        }
        entries.sort_by_key(|entry| entry.uid);
        entries.dedup_by_key(|entry| entry.uid);
        Ok(entries)
    }

    /// Asks for what is known of messages.
    async fn describe(
        &mut self,
        uids: &UidSet,
        items: &[FetchItem],
        entries: &mut Vec<Entry>,
    ) -> Result<(), MigrateError> {
        for start in (0..uids.len()).step_by(BATCH as usize) {
            let batch = uids.at(start..(start + u64::from(BATCH)).min(uids.len()));
            for fetched in self.client.readable_items(MessageSet::from(batch), items.to_vec()).await? {
                let (mut uid, mut flags, mut date, mut sent, mut size) =
                    (None, FlagSet::new(), None, None, 0);
                let mut like = DefaultHasher::new();
                for item in fetched.items {
                    match item {
                        FetchedItem::Uid(found) => uid = Some(found),
                        FetchedItem::Flags(found) => flags = found.flags,
                        FetchedItem::InternalDate(found) => date = Some(found),
                        FetchedItem::Size(found) => size = found,
                        FetchedItem::Envelope(found) => {
                            found.hash(&mut like);
                            let text = found.date.as_deref();
                            sent = text.and_then(|text| DateTime::from_rfc5322(text).ok());
                        }
                        _ => {}
                    }
                }
                let date = date.or(sent).unwrap_or(DateTime::EPOCH);
                (date.seconds(), size).hash(&mut like);
                let likeness = like.finish();
                entries.extend(uid.map(|uid| Entry {
                    uid,
                    flags,
                    date,
                    size,
                    unique_id: None,
                    likeness,
                    content: None,
                }));
            }
        }
        Ok(())
    }

    /// Names messages that are there, and of which the server tells nothing that could be understood.
    async fn name_untold(
        &mut self,
        folder: &Folder,
        asked: &UidSet,
        told: &[Entry],
    ) -> Result<(), MigrateError> {
        let untold = asked.difference(&told.iter().map(|entry| entry.uid).collect());
        if untold.is_empty() {
            return Ok(());
        }
        // Others were expunged meanwhile.
        let there: UidSet =
            self.client.search(Query::from(Key::Uid(untold.clone()))).await?.into_iter().collect();
        for uid in untold.intersection(&there).iter() {
            self.left_out.push(format!(
                "what the server tells of the message with UID {uid} in {:?} cannot be understood: it stays there",
                folder.original
            ));
        }
        Ok(())
    }

    /// Writes a message.
    pub(super) async fn body(
        &mut self,
        folder: &Folder,
        entry: &Entry,
        upload: &mut Incoming,
    ) -> Result<(), MigrateError> {
        match self.given(entry.uid, upload).await {
            Ok(true) => {
                self.broken = 0;
                Ok(())
            }
            Ok(false) => Err(not_given("the server does not give it")),
            Err(MigrateError::Client(ClientError::Refused(refusal))) => Err(not_given(&refusal.to_string())),
            Err(MigrateError::Client(error @ (ClientError::AnotherMessage | ClientError::Unreadable(_)))) => {
                Err(not_given(&error.to_string()))
            }
            Err(MigrateError::Client(error @ (ClientError::Io(_) | ClientError::Closed(_)))) => {
                self.come_back(folder, error).await?;
                Err(not_given("the connection breaks"))
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the mailbox again after the connection has broken: it may be one message that breaks it.
    async fn come_back(&mut self, folder: &Folder, error: ClientError) -> Result<(), MigrateError> {
        self.broken += 1;
        if self.broken > BREAKS {
            return Err(error.into());
        }
        self.client = self.way.go().await?;
        let opened = self.client.call(Select::listed(&self.there(folder), true)).await?;
        match opened.uid_validity == folder.numbers.map(|(validity, _)| validity) {
            true => Ok(()),
            false => Err(error.into()),
        }
    }

    /// Writes a message; whether there was one, all of it and no other.
    async fn given(&mut self, wanted: Uid, upload: &mut Incoming) -> Result<bool, MigrateError> {
        let mut body = self.client.body(wanted, BodySection::peek(Section::default())).await?;
        while let Some(octets) = body.next().await? {
            upload.write(octets).await?;
        }
        Ok(body.length().is_some())
    }

    /// What is noted about messages of the mailbox that is open.
    pub(super) async fn annotations(
        &mut self,
        uids: &UidSet,
    ) -> Result<Vec<(Uid, Vec<Noted>)>, MigrateError> {
        let Some(all) = "*".parse().ok().filter(|_| self.annotates) else { return Ok(Vec::new()) };
        let asked = FetchAnnotations::new(vec![all], vec![AnnotationAttribute::VALUE]);
        let items = [FetchItem::Uid, FetchItem::Annotations(asked)];
        let mut found = BTreeMap::new();
        for fetched in self.client.readable_items(MessageSet::from(uids.clone()), items).await? {
            let (mut uid, mut noted) = (None, Vec::new());
            for item in fetched.items {
                match item {
                    FetchedItem::Uid(found) => uid = Some(found),
                    FetchedItem::Annotations(all) => noted.extend(all.iter().flat_map(values)),
                    _ => {}
                }
            }
            if let Some(uid) = uid.filter(|uid| !noted.is_empty() && uids.contains(*uid)) {
                found.insert(uid, noted);
            }
        }
        Ok(found.into_iter().collect())
    }

    pub(super) async fn account(&mut self) -> Result<Account, MigrateError> {
        let mut account = Account::default();
        for listed in std::mem::take(&mut self.subscribed) {
            // What has another name here is subscribed to as a mailbox.
            let name = [(listed.name.text().into_owned(), listed.delimiter)];
            let names = listed.name.name().and_then(|_| local_names(&name, false).pop()).flatten();
            account.subscriptions.extend(names.filter(|name| self.is_itself(name, &listed.name)));
        }
        // What is shared of the server is not the user's.
        account.metadata = self.metadata(None, &["/private"]).await?;
        Ok(account)
    }

    pub(super) async fn around(&mut self, folder: &Folder) -> Result<Around, MigrateError> {
        let ListedName::Name(name) = self.there(folder) else {
            let mut around = Around::default();
            if self.offers("ACL") || self.offers("METADATA") {
                let lost = "rights and annotations: its name is none that one could ask about".to_owned();
                around.metadata.missing.push(lost);
            }
            return Ok(around);
        };
        let metadata = self.metadata(Some(name.clone()), &["/private", "/shared"]).await?;
        Ok(Around { access: self.access(name).await?, metadata })
    }

    /// Whether a name here is that of this mailbox, or of none.
    fn is_itself(&self, name: &MailboxName, there: &ListedName) -> bool {
        self.there.get(name).is_none_or(|known| known == there)
    }

    async fn access(&mut self, name: MailboxName) -> Result<Found<AclEntry>, MigrateError> {
        const WHAT: &str = "the access control list";
        if !self.offers("ACL") {
            return Ok(Found::default());
        }
        let list = match self.client.call(GetAcl::new(name)).await {
            Ok(list) => list,
            // RFC 4314 §3.3: whoever may not administer it is not told.
            Err(ClientError::Refused(refusal)) => return Ok(Found::new(WHAT, Err(refusal))),
            Err(error) => return Err(error.into()),
        };
        let mut found = Found::default();
        for (identifier, rights) in list {
            // The owner has every right always.
            if identifier.eq_ignore_ascii_case(&self.owner) || identifier.eq_ignore_ascii_case("owner") {
                continue;
            }
            match (known(&identifier).map(str::parse), rights.parse()) {
                (Some(Ok(who)), Ok(rights)) => found.all.push(AclEntry::new(who, rights)),
                _ => found.missing.push(format!("rights {rights} of {identifier}: unknown here")),
            }
        }
        Ok(found)
    }

    async fn metadata(
        &mut self,
        mailbox: Option<MailboxName>,
        below: &[&str],
    ) -> Result<Found<(EntryName, Bytes)>, MigrateError> {
        let server_alone = mailbox.is_none() && self.offers("METADATA-SERVER");
        if !self.offers("METADATA") && !server_alone {
            return Ok(Found::default());
        }
        let mut asked = GetMetadata::new(mailbox, below.iter().copied());
        asked.depth = Depth::Infinity;
        let all = match self.client.call(asked).await {
            Ok(all) => all,
            Err(ClientError::Refused(refusal)) => return Ok(Found::new("annotations", Err(refusal))),
            Err(error) => return Err(error.into()),
        };
        let mut found = Found::default();
        for (entry, value) in all {
            let Some(value) = value else { continue };
            // RFC 6154 §4: it is the special use, which comes with the mailbox.
            if entry.eq_ignore_ascii_case("/private/specialuse") {
                continue;
            }
            match entry.parse() {
                Ok(entry) => found.all.push((entry, value)),
                Err(error) => found.missing.push(format!("the annotation {entry}: {error}")),
            }
        }
        Ok(found)
    }

    fn offers(&mut self, name: &str) -> bool {
        self.client.capabilities().is_some_and(|offered| offered.has(name))
    }
}

/// What an identifier is called here: Dovecot has those of its own for everybody who has logged in, for groups that override, and for lists
/// of the whole server.
fn known(identifier: &str) -> Option<&str> {
    match identifier {
        "authenticated" => Some("anyone"),
        _ if identifier.starts_with(['#', '!']) => None,
        _ => Some(identifier),
    }
}

/// The values of an entry that can be taken over.
fn values(annotation: &FetchedAnnotation) -> Vec<Noted> {
    let Some(entry) = annotation.entry.parse::<AnnotationEntry>().ok().filter(AnnotationEntry::is_registered)
    else {
        return Vec::new();
    };
    let value = |scope: AnnotationScope| {
        let value = annotation.attribute(&format!("value{}", scope.suffix()))?;
        Some((entry.clone(), scope, Some(value.clone())))
    };
    AnnotationScope::ALL.into_iter().filter_map(value).collect()
}
