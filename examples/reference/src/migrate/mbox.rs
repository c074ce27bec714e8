//! From files of many messages: one is INBOX, a directory has one for each mailbox.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use mailwright::{
    fetch::local_names,
    mail_model::{DateTime, MailboxName, ScriptName, Uid, UidSet, UidValidity},
    mailstore::{
        Noted,
        mbox::{Piece, Reader},
    },
};
use ring::digest::{Context, SHA256};

use super::{
    MigrateError,
    along::{Account, Around, Found, Script},
    brought::shortened,
    incoming::Incoming,
    source::{Entry, Folder, noted_in},
};
use crate::{
    cli::ExportFormat,
    companion::{self, Access, Companion, Note},
};

/// So many messages are asked about at a time.
const BATCH: u64 = 1_000;
/// The highest UID that the file of another program may have given out: far below the end, so that no sender's header line takes the
/// mailbox what it needs for the mail to come.
const HIGHEST: u32 = u32::MAX - (1 << 24);

/// Files of messages.
pub(super) struct Mboxes {
    path: PathBuf,
    /// What an export has beside them, and where.
    companion: Option<Companion>,
    beside: PathBuf,
    /// The file that is being read, and the UIDs of the messages in it that are still to come.
    reading: Option<(PathBuf, Reader<BufReader<File>>, std::vec::IntoIter<Uid>)>,
}

impl Mboxes {
    pub(super) fn open(path: &str) -> Result<Self, MigrateError> {
        let path = PathBuf::from(path);
        fs::metadata(&path).map_err(|error| failed(&path, error))?;
        let beside = companion::path(&path, ExportFormat::Mbox);
        let companion = match path.is_dir() {
            true => Companion::open(&beside).map_err(|error| failed(&beside, error))?,
            false => None,
        };
        Ok(Self { path, companion, beside, reading: None })
    }

    pub(super) fn account(&self) -> Account {
        let Some(companion) = &self.companion else { return Account::default() };
        let subscriptions = companion.account.subscriptions.iter();
        let subscriptions = subscriptions.filter_map(|name| MailboxName::lookup(name).ok()).collect();
        let scripts = read("Sieve scripts", &companion.scripts, |script| {
            let (name, content) = (ScriptName::new(&script.name).ok()?, script.content.decode()?);
            Some(Script { name, content, active: script.active })
        });
        let metadata = read("annotations", &companion.account.metadata, Note::metadata);
        Account { subscriptions, metadata, scripts }
    }

    pub(super) fn around(&self, folder: &Folder) -> Around {
        let companion = self.companion.as_ref();
        let Some(mailbox) = companion.and_then(|all| all.mailboxes.get(folder.name.as_str())) else {
            return Around::default();
        };
        Around {
            access: read("entries of the access control list", &mailbox.access, Access::entry),
            metadata: read("annotations", &mailbox.metadata, Note::metadata),
        }
    }

    pub(super) fn annotations(
        &mut self,
        folder: &Folder,
        uids: &UidSet,
    ) -> Result<Vec<(Uid, Vec<Noted>)>, MigrateError> {
        noted_in(self.companion.as_mut(), &self.beside, folder, uids)
    }

    /// What POP3 clients knew messages by.
    fn unique_ids(&mut self, folder: &Folder, uids: &UidSet) -> Result<HashMap<Uid, String>, MigrateError> {
        let mut ids = HashMap::new();
        let Some(companion) = &mut self.companion else { return Ok(ids) };
        for start in (0..uids.len()).step_by(BATCH as usize) {
            let messages = companion.messages(&folder.name, &uids.at(start..start + BATCH));
            for message in messages.map_err(|error| failed(&self.beside, error))? {
                ids.extend(Uid::new(message.uid).zip(message.unique_id));
            }
        }
        Ok(ids)
    }

    pub(super) fn folders(&self) -> Result<Vec<Folder>, MigrateError> {
        if self.path.is_file() {
            return Ok(vec![self.folder(&self.path, MailboxName::inbox())?]);
        }
        let (mut paths, mut names) = (Vec::new(), Vec::new());
        let mut left = vec![(self.path.clone(), String::new())];
        while let Some((directory, prefix)) = left.pop() {
            for entry in fs::read_dir(&directory).map_err(|error| failed(&directory, error))? {
                let path = entry.map_err(|error| failed(&directory, error))?.path();
                let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
                // Indexes and locks of mail programs.
                if file.starts_with('.') || file.ends_with(".lock") {
                    continue;
                }
                // As an export and Thunderbird have it: beside the file of the mailbox above.
                let level = file.strip_suffix(".sbd").filter(|_| path.is_dir()).unwrap_or(file);
                let name = format!("{prefix}{level}");
                if path.is_dir() {
                    left.push((path, format!("{name}/")));
                } else {
                    paths.push(path);
                    names.push((name, Some('/')));
                }
            }
        }
        let named = paths.into_iter().zip(local_names(&names, false));
        let folders = named.filter_map(|(path, name)| Some(self.folder(&path, name?)));
        let mut folders = folders.collect::<Result<Vec<_>, _>>()?;
        folders.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(folders)
    }

    fn folder(&self, path: &Path, name: MailboxName) -> Result<Folder, MigrateError> {
        let mut reader = self.reader(path)?;
        let mut numbers = None;
        if reader.next_message().map_err(|error| failed(path, error))?.is_some()
            && let Some(Piece::Header { base: Some((validity, last)), .. }) =
                reader.next_piece().map_err(|error| failed(path, error))?
            && last <= HIGHEST
        {
            numbers = Some((validity, Uid::new(last + 1)));
        }
        let original = path.display().to_string();
        // An export knows more than the file, whose name may not be quite the mailbox's.
        let known = self.companion.as_ref().and_then(|companion| {
            let mailbox = self.exported(path)?;
            let name = MailboxName::lookup(&mailbox.name).ok()?;
            Some((companion, mailbox, name))
        });
        let Some((companion, mailbox, name)) = known else {
            return Ok(Folder { name, original, special_use: None, subscribed: true, numbers, view: false });
        };
        let validity = UidValidity::new(mailbox.uid_validity);
        Ok(Folder {
            special_use: mailbox.special_use.as_ref().and_then(|special_use| special_use.parse().ok()),
            subscribed: companion.account.subscriptions.contains(&mailbox.name),
            numbers: validity.map(|validity| (validity, mailbox.uid_next.and_then(Uid::new))).or(numbers),
            name,
            original,
            view: false,
        })
    }

    /// What an export tells of this file.
    fn exported(&self, path: &Path) -> Option<&companion::Mailbox> {
        let file = path.strip_prefix(&self.path).ok()?.display().to_string();
        self.companion.as_ref()?.mailboxes.values().find(|mailbox| mailbox.file == file)
    }

    fn reader(&self, path: &Path) -> Result<Reader<BufReader<File>>, MigrateError> {
        let file = File::open(path).map_err(|error| failed(path, error))?;
        let reader = Reader::new(BufReader::with_capacity(1 << 16, file));
        Ok(if self.exported(path).is_some() { reader.with_fields_in_front() } else { reader })
    }

    pub(super) fn index(&mut self, folder: &Folder) -> Result<Vec<Entry>, MigrateError> {
        let path = Path::new(&folder.original);
        let read = |error| failed(path, error);
        let (mut reader, mut entries, mut told) = (self.reader(path)?, Vec::new(), Vec::new());
        while let Some(line) = reader.next_message().map_err(read)? {
            let (mut flags, mut size, mut all) = (Default::default(), 0, Context::new(&SHA256));
            let mut uid = None;
            while let Some(piece) = reader.next_piece().map_err(read)? {
                let octets = octets_of(&piece);
                size += octets.len() as u64;
                all.update(&octets);
                if let Piece::Header { flags: found, uid: number, .. } = piece {
                    (flags, uid) = (found, number);
                }
            }
            // One that the file has not given out is a sender's.
            let next = folder.numbers.map(|(_, next)| next);
            told.push(uid.filter(|uid| next.is_some_and(|next| next.is_none_or(|next| *uid < next))));
            let date = line.date.unwrap_or(DateTime::EPOCH);
            let content = Some(shortened(&all.finish()));
            entries.push(Entry { uid: Uid::MIN, flags, date, size, unique_id: None, likeness: 0, content });
        }
        let uids = numbered(&told);
        for (entry, uid) in entries.iter_mut().zip(&uids) {
            entry.uid = *uid;
        }
        let mut ids = self.unique_ids(folder, &uids.iter().copied().collect())?;
        for entry in &mut entries {
            entry.unique_id = ids.remove(&entry.uid);
        }
        self.reading = Some((path.to_owned(), self.reader(path)?, uids.into_iter()));
        Ok(entries)
    }

    pub(super) async fn body(
        &mut self,
        folder: &Folder,
        entry: &Entry,
        upload: &mut Incoming,
    ) -> Result<(), MigrateError> {
        let path = Path::new(&folder.original);
        let changed = || std::io::Error::other("the file was changed while it was read");
        let Some((_, reader, uids)) = self.reading.as_mut().filter(|(open, ..)| open == path) else {
            return Err(failed(path, changed()));
        };
        loop {
            let uid = uids.next().ok_or_else(|| failed(path, changed()))?;
            reader.next_message().map_err(|error| failed(path, error))?;
            if uid == entry.uid {
                break;
            }
        }
        while let Some(piece) = reader.next_piece().map_err(|error| failed(path, error))? {
            upload.write(octets_of(&piece)).await?;
        }
        Ok(())
    }
}

/// What a program can make something of; the number of the others is told.
fn read<T, U>(what: &str, all: &[T], one: impl Fn(&T) -> Option<U>) -> Found<U> {
    let read: Vec<_> = all.iter().filter_map(one).collect();
    let left = all.len() - read.len();
    let missing =
        (left > 0).then(|| format!("{left} {what} that cannot be understood")).into_iter().collect();
    Found { all: read, missing }
}

fn octets_of(piece: &Piece) -> Bytes {
    match piece {
        Piece::Header { octets, .. } | Piece::Body(octets) => octets.clone(),
        _ => Bytes::new(),
    }
}

/// The UIDs of messages of which these are told. Without one, or with one that cannot be, a message gets the next; a second run finds
/// the same. Where none is left behind one that is told, all are numbered anew: no message stays without.
fn numbered(told: &[Option<Uid>]) -> Vec<Uid> {
    let ascending = |told: &[Option<Uid>]| {
        let mut uids: Vec<Uid> = Vec::with_capacity(told.len());
        for told in told {
            let last = uids.last().copied();
            let next = last.map_or(Some(Uid::MIN), Uid::next);
            uids.push(told.filter(|uid| Some(*uid) > last).or(next)?);
        }
        Some(uids)
    };
    ascending(told).or_else(|| ascending(&vec![None; told.len()])).unwrap_or_default()
}

fn failed(path: &Path, error: std::io::Error) -> MigrateError {
    MigrateError::File { path: path.display().to_string(), error }
}
