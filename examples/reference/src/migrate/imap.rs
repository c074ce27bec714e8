//! From an IMAP server.

use std::{fs, sync::Arc};

use mailwright::{
    client::{Endpoint, ImapClient, Security},
    imap_proto::{
        MessageSet,
        client::{Config, Event},
        command::{
            AnnotationAttribute, BodySection, Fetch, FetchAnnotations, FetchItem, List, Lsub, Section,
        },
        response::{AnnotationSupport, FetchedAnnotation, FetchedItem, ListAttribute, ListedName},
    },
    line_proto::{Secret, sasl::Credentials, tls},
    mail_model::{AnnotationEntry, AnnotationScope, DateTime, FlagSet, MailboxName, Uid, UidSet},
    mailstore::{Noted, Upload},
};

use super::{
    MigrateError, local_name,
    source::{Entry, Folder, dovecot_id},
};
use crate::cli::{Migrate, Pop3Ids};

/// A server that is logged in to.
pub(super) struct Imap {
    client: ImapClient,
    ids: Pop3Ids,
    /// Whether there are annotations of messages in the mailbox that is open.
    annotates: bool,
}

/// Where certificates are that this system trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// So many messages are asked about at a time.
const BATCH: u32 = 1_000;

impl Imap {
    pub(super) async fn open(
        implicit: bool,
        place: &str,
        options: &Migrate,
        password: Secret,
    ) -> Result<Self, MigrateError> {
        let bad = || MigrateError::Source(options.from.clone());
        let place = place.trim_start_matches("//");
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| bad())?),
            None => (place, if implicit { 993 } else { 143 }),
        };
        let security = if options.plaintext {
            Security::Plain
        } else {
            let path = options.certificate.clone().unwrap_or_else(|| SYSTEM_ROOTS.into());
            let pem = fs::read(&path)
                .map_err(|error| MigrateError::File { path: path.display().to_string(), error })?;
            let roots = tls::roots(&pem).map_err(|error| MigrateError::Tls(error.to_string()))?;
            let config = tls::client_config(roots).map_err(|error| MigrateError::Tls(error.to_string()))?;
            let config = Arc::new(config);
            if implicit { Security::Implicit(config) } else { Security::Starttls(config) }
        };
        let mut config = Config::default();
        config.allow_plaintext_auth = options.plaintext;
        let mut client = ImapClient::connect(&Endpoint::new(host, port, security), Arc::new(config)).await?;
        let login = options.login.as_deref().unwrap_or(&options.to);
        match &options.master {
            // RFC 4616 §2: the master's own password, and the name to act as.
            Some(master) => client.authenticate(&Credentials::new(master, password).acting_as(login)).await?,
            None => client.login(login, &password).await?,
        }
        Ok(Self { client, ids: options.pop3_ids.unwrap_or(Pop3Ids::None), annotates: false })
    }

    pub(super) async fn folders(&mut self) -> Result<Vec<Folder>, MigrateError> {
        let subscribed: Vec<_> = self.client.call(Lsub::new(List::new("", "*"))).await?;
        let subscribed: Vec<_> = subscribed.into_iter().map(|listed| listed.name).collect();
        let mut folders = Vec::new();
        for listed in self.client.list("*").await? {
            let ListedName::Name(original) = &listed.name else { continue };
            let nothing = [ListAttribute::NoSelect, ListAttribute::NonExistent];
            if nothing.iter().any(|attribute| listed.attributes.contains(attribute)) {
                continue;
            }
            let Some(name) = local_name(original.as_str(), listed.delimiter) else { continue };
            let special_use = listed.attributes.iter().find_map(|attribute| match attribute {
                ListAttribute::Special(special_use) => Some(*special_use),
                _ => None,
            });
            let opened = self.client.examine(original.clone()).await?;
            let numbers = opened.uid_validity.map(|validity| (validity, opened.uid_next));
            let subscribed = subscribed.contains(&listed.name);
            folders.push(Folder { name, original: original.to_string(), special_use, subscribed, numbers });
        }
        Ok(folders)
    }

    pub(super) async fn index(&mut self, folder: &Folder) -> Result<Vec<Entry>, MigrateError> {
        let name = MailboxName::lookup(&folder.original).unwrap_or_else(|_| folder.name.clone());
        let opened = self.client.examine(name).await?;
        // RFC 5257 §4.1
        self.annotates = !matches!(opened.annotations, None | Some(AnnotationSupport::None));
        let validity = opened.uid_validity;
        let last = opened.uid_next.and_then(Uid::previous).unwrap_or(Uid::MAX);
        let uids: UidSet = if opened.messages == 0 {
            UidSet::new()
        } else {
            self.client.search(mailwright::mail_model::query::Query::all()).await?.into_iter().collect()
        };
        let mut entries = Vec::new();
        let total = uids.len();
        for start in (0..total).step_by(BATCH as usize) {
            let batch = uids.at(start..(start + u64::from(BATCH)).min(total));
            let items = [FetchItem::Uid, FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size];
            for fetched in self.client.items(MessageSet::from(batch), items).await? {
                let (mut uid, mut flags, mut date, mut size) = (None, FlagSet::new(), DateTime::EPOCH, 0);
                for item in fetched.items {
                    match item {
                        FetchedItem::Uid(found) => uid = Some(found),
                        FetchedItem::Flags(found) => flags = found.flags,
                        FetchedItem::InternalDate(found) => date = found,
                        FetchedItem::Size(found) => size = found,
                        _ => {}
                    }
                }
                // What came while we looked is for the next run.
                let Some(uid) = uid.filter(|uid| *uid <= last) else { continue };
                let made = folder.name.is_inbox() && self.ids == Pop3Ids::Dovecot;
                let unique_id = validity.filter(|_| made).map(|validity| dovecot_id(uid, validity));
                entries.push(Entry { uid, flags, date, size, unique_id });
            }
        }
        entries.sort_by_key(|entry| entry.uid);
        entries.dedup_by_key(|entry| entry.uid);
        Ok(entries)
    }

    /// Writes a message; gives what is noted about it.
    pub(super) async fn body(
        &mut self,
        entry: &Entry,
        upload: &mut Upload,
    ) -> Result<Vec<Noted>, MigrateError> {
        let messages = MessageSet::from(UidSet::from(entry.uid));
        let mut items = vec![FetchItem::Section(BodySection::peek(Section::default()))];
        if let Some(all) = "*".parse().ok().filter(|_| self.annotates) {
            let asked = FetchAnnotations::new(vec![all], vec![AnnotationAttribute::VALUE]);
            items.push(FetchItem::Annotations(asked));
        }
        let mut noted = Vec::new();
        let mut fetching = self.client.fetch(Fetch::new(messages, items)).await?;
        while let Some(event) = fetching.next().await? {
            match event {
                Event::Body(octets) => upload.write(octets).await?,
                Event::Fetched { fetched, .. } => {
                    for item in fetched.items {
                        if let FetchedItem::Annotations(annotations) = item {
                            noted.extend(annotations.iter().flat_map(values));
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(noted)
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
