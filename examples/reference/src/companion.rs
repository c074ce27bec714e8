//! What goes along with mail and has no place in it: a file of JSON in an export, an object a line.
//!
//! Each line says what it is about: the account, a script, a mailbox or a message. Those of a mailbox's messages follow each other,
//! ascending by UID.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use mailwright::{
    mail_model::{AnnotationScope, MailboxName, Uid, UidSet},
    mailstore::{AclEntry, EntryName, Noted},
};
use serde::{Deserialize, Serialize};

use crate::cli::ExportFormat;

/// Where it is. No mailbox of a Maildir++ tree is without a dot, and no file of messages begins with one.
pub(crate) fn path(directory: &Path, format: ExportFormat) -> PathBuf {
    directory.join(match format {
        ExportFormat::Maildir => "mailwright-export",
        ExportFormat::Mbox => ".mailwright-export",
    })
}

/// How much of it there is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Along {
    /// Annotations of messages.
    pub(crate) annotations: u64,
    /// Annotations of mailboxes and of the server.
    pub(crate) metadata: u64,
    /// Entries of access control lists.
    pub(crate) access: u64,
    pub(crate) scripts: u64,
}

impl fmt::Display for Along {
    /// Nothing of what there is none of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.annotations, "annotations of messages"),
            (self.metadata, "annotations of mailboxes and of the server"),
            (self.access, "entries of access control lists"),
            (self.scripts, "Sieve scripts"),
        ];
        let mut between = "";
        for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{between}{count} {what}")?;
            between = ", ";
        }
        Ok(())
    }
}

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "kebab-case")]
pub(crate) enum Line {
    Account(Account),
    Script(Script),
    Mailbox(Mailbox),
    Message(Message),
}

/// What there is of the account beside its mailboxes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Subscribed names, also those that no mailbox has.
    #[serde(default)]
    pub(crate) subscriptions: Vec<String>,
    /// What the user has noted about the server.
    #[serde(default)]
    pub(crate) metadata: Vec<Note>,
}

/// A Sieve script.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Script {
    pub(crate) name: String,
    pub(crate) active: bool,
    pub(crate) content: Octets,
}

/// What there is of a mailbox beside its messages.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Mailbox {
    pub(crate) name: String,
    /// Its file, below the directory.
    pub(crate) file: String,
    pub(crate) special_use: Option<String>,
    pub(crate) uid_validity: u32,
    pub(crate) uid_next: Option<u32>,
    #[serde(default)]
    pub(crate) access: Vec<Access>,
    #[serde(default)]
    pub(crate) metadata: Vec<Note>,
}

/// An entry of an access control list.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Access {
    identifier: String,
    rights: String,
}

/// What is known of a message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) mailbox: String,
    pub(crate) uid: u32,
    /// What POP3 clients know it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unique_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) annotations: Vec<Note>,
}

/// An annotation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Note {
    entry: String,
    /// Only of messages, where the entry does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<Scope>,
    value: Octets,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Scope {
    Private,
    Shared,
}

/// Readable, if they are text.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Octets {
    Text(String),
    Encoded { base64: String },
}

impl From<&Bytes> for Octets {
    fn from(octets: &Bytes) -> Self {
        match std::str::from_utf8(octets) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Encoded { base64: STANDARD.encode(octets) },
        }
    }
}

impl Octets {
    /// The octets, unless somebody else wrote them.
    pub(crate) fn decode(&self) -> Option<Bytes> {
        match self {
            Self::Text(text) => Some(text.clone().into()),
            Self::Encoded { base64 } => STANDARD.decode(base64).ok().map(Bytes::from),
        }
    }
}

impl From<&AclEntry> for Access {
    fn from(entry: &AclEntry) -> Self {
        Self { identifier: entry.identifier.to_string(), rights: entry.rights.to_string() }
    }
}

impl Access {
    /// The entry, unless somebody else wrote it.
    pub(crate) fn entry(&self) -> Option<AclEntry> {
        Some(AclEntry::new(self.identifier.parse().ok()?, self.rights.parse().ok()?))
    }
}

impl Note {
    /// About a mailbox or the server.
    pub(crate) fn new(entry: &EntryName, value: &Bytes) -> Self {
        Self { entry: entry.to_string(), scope: None, value: value.into() }
    }

    /// About a message.
    pub(crate) fn of_message(noted: &Noted) -> Option<Self> {
        let scope = match noted.1 {
            AnnotationScope::Private => Scope::Private,
            AnnotationScope::Shared => Scope::Shared,
        };
        let value = noted.2.as_ref()?.into();
        Some(Self { entry: noted.0.to_string(), scope: Some(scope), value })
    }

    /// What is noted about a mailbox or the server, unless somebody else wrote it.
    pub(crate) fn metadata(&self) -> Option<(EntryName, Bytes)> {
        Some((self.entry.parse().ok()?, self.value.decode()?))
    }

    /// What is noted about a message, unless somebody else wrote it.
    pub(crate) fn noted(&self) -> Option<Noted> {
        let scope = match self.scope? {
            Scope::Private => AnnotationScope::Private,
            Scope::Shared => AnnotationScope::Shared,
        };
        Some((self.entry.parse().ok()?, scope, Some(self.value.decode()?)))
    }
}

/// The file as it is written. Where there is nothing to say, there is none.
pub(crate) struct Writer {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Writer {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    pub(crate) fn write(&mut self, line: &Line) -> Result<(), String> {
        let wrong = |error: io::Error| format!("{}: {error}", self.path.display());
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let made = File::options().write(true).create_new(true).mode(0o600).open(&self.path);
                none.insert(BufWriter::new(made.map_err(wrong)?))
            }
        };
        serde_json::to_writer(&mut *file, line).map_err(|error| wrong(error.into()))?;
        file.write_all(b"\n").map_err(wrong)
    }

    pub(crate) fn finish(self) -> Result<(), String> {
        let wrong = |error: io::Error| format!("{}: {error}", self.path.display());
        let Some(file) = self.file else { return Ok(()) };
        file.into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .map_err(wrong)
    }
}

/// The file as it is read: what is known of messages stays in it until it is asked for.
pub(crate) struct Companion {
    pub(crate) account: Account,
    pub(crate) scripts: Vec<Script>,
    /// By name.
    pub(crate) mailboxes: BTreeMap<String, Mailbox>,
    reader: BufReader<File>,
    /// Where the messages of each mailbox begin.
    starts: HashMap<String, u64>,
    /// The mailbox that was asked about last, the highest UID that was, and where it goes on.
    reached: Option<(String, Uid, u64)>,
}

impl Companion {
    /// Opens the file, if there is one.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut all = Self {
            account: Account::default(),
            scripts: Vec::new(),
            mailboxes: BTreeMap::new(),
            reader: BufReader::new(file),
            starts: HashMap::new(),
            reached: None,
        };
        let mut place = 0;
        while let Some((line, length)) = read_line(&mut all.reader)? {
            match line {
                Line::Account(account) => all.account = account,
                Line::Script(script) => all.scripts.push(script),
                Line::Mailbox(mailbox) => drop(all.mailboxes.insert(mailbox.name.clone(), mailbox)),
                Line::Message(message) => drop(all.starts.entry(message.mailbox).or_insert(place)),
            }
            place += length;
        }
        Ok(Some(all))
    }

    /// What is known of these messages. Asked in the order of UIDs, the file is read once.
    pub(crate) fn messages(&mut self, mailbox: &MailboxName, uids: &UidSet) -> io::Result<Vec<Message>> {
        let (Some(start), Some(first), Some(last)) =
            (self.starts.get(mailbox.as_str()), uids.first(), uids.last())
        else {
            return Ok(Vec::new());
        };
        let mut place = match &self.reached {
            Some((known, reached, place)) if known == mailbox.as_str() && *reached < first => *place,
            _ => *start,
        };
        self.reader.seek(SeekFrom::Start(place))?;
        let mut found = Vec::new();
        while let Some((Line::Message(message), length)) = read_line(&mut self.reader)? {
            if message.mailbox != mailbox.as_str() || message.uid > last.get() {
                break;
            }
            place += length;
            if Uid::new(message.uid).is_some_and(|uid| uids.contains(uid)) {
                found.push(message);
            }
        }
        self.reached = Some((mailbox.as_str().to_owned(), last, place));
        Ok(found)
    }
}

/// The next line, and how many octets it has.
fn read_line(reader: &mut BufReader<File>) -> io::Result<Option<(Line, u64)>> {
    let mut line = Vec::new();
    let length = reader.read_until(b'\n', &mut line)?;
    if length == 0 {
        return Ok(None);
    }
    let line = serde_json::from_slice(&line)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("not of an export: {error}")))?;
    Ok(Some((line, length as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uids(numbers: &[u32]) -> UidSet {
        numbers.iter().copied().filter_map(Uid::new).collect()
    }

    #[test]
    fn messages_are_found_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), ExportFormat::Mbox);
        assert!(Companion::open(&path).unwrap().is_none());
        let mut writer = Writer::new(path.clone());
        let value = Bytes::from_static(b"\xff\0");
        for (mailbox, numbers) in [("INBOX", &[2, 5, 9][..]), ("a", &[1]), ("b", &[5, 6])] {
            for uid in numbers {
                let noted = ("/comment".parse().unwrap(), AnnotationScope::Shared, Some(value.clone()));
                let annotations = Note::of_message(&noted).into_iter().collect();
                let unique_id = Some(format!("{mailbox}-{uid}"));
                let message = Message { mailbox: mailbox.into(), uid: *uid, unique_id, annotations };
                writer.write(&Line::Message(message)).unwrap();
            }
        }
        writer.finish().unwrap();
        let mut all = Companion::open(&path).unwrap().unwrap();
        let mut found = |name: &str, numbers: &[u32]| {
            let name = MailboxName::new(name).unwrap();
            let messages = all.messages(&name, &uids(numbers)).unwrap();
            messages.into_iter().map(|message| (message.mailbox, message.uid)).collect::<Vec<_>>()
        };
        let of = |name: &str, numbers: &[u32]| {
            numbers.iter().map(|uid| (name.to_owned(), *uid)).collect::<Vec<_>>()
        };
        assert_eq!(found("INBOX", &[1, 2, 3]), of("INBOX", &[2]));
        assert_eq!(found("INBOX", &[4, 5]), of("INBOX", &[5]));
        assert_eq!(found("b", &[5, 6]), of("b", &[5, 6]));
        assert_eq!(found("INBOX", &[2, 9, 10]), of("INBOX", &[2, 9]));
        assert_eq!(found("a", &[1]), of("a", &[1]));
        assert_eq!(found("c", &[1]), []);
        let name = MailboxName::new("a").unwrap();
        let noted = all.messages(&name, &uids(&[1])).unwrap()[0].annotations[0].noted().unwrap();
        assert_eq!((noted.1, noted.2), (AnnotationScope::Shared, Some(value)));
        std::fs::write(&path, "{}\n").unwrap();
        assert!(Companion::open(&path).is_err());
    }
}
