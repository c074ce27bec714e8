//! Into a file for each mailbox; those below it are in the directory of its name and `.sbd`, as Thunderbird has it.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufWriter, Read, Seek, SeekFrom},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use bytes::{Buf, Bytes};
use mailwright::{
    mail_model::{Flag, MailboxName, Uid},
    mailstore::{Message, MessageRef, StoreError, mbox::write_message},
};

use super::{
    Export, Source,
    along::{self, Account},
    failed,
};
use crate::companion::{self, Line, Note};

/// Files of messages have no place for any of it.
pub(super) fn account(account: &Account, export: &mut Export<'_>) -> Result<(), String> {
    let subscriptions = account.subscriptions.iter().map(ToString::to_string).collect();
    let metadata = account.metadata.iter().map(|(entry, value)| Note::new(entry, value)).collect();
    export.companion.write(&Line::Account(companion::Account { subscriptions, metadata }))?;
    for along::Script { name, content, active } in &account.scripts {
        let script = companion::Script { name: name.to_string(), active: *active, content: content.into() };
        export.companion.write(&Line::Script(script))?;
    }
    export.done.along.metadata += account.metadata.len() as u64;
    export.done.along.scripts += account.scripts.len() as u64;
    Ok(())
}

/// What is around the messages of a mailbox.
fn around(file: &Path, source: &Source<'_>, export: &mut Export<'_>) -> Result<(), String> {
    let mailbox = companion::Mailbox {
        name: source.entry.name.as_str().to_owned(),
        file: file.display().to_string(),
        special_use: source.entry.special_use.map(|special_use| special_use.as_str().to_owned()),
        uid_validity: source.snapshot.uid_validity().get(),
        uid_next: source.snapshot.uid_next().map(Uid::get),
        access: source.access.iter().map(Into::into).collect(),
        metadata: source.metadata.iter().map(|(entry, value)| Note::new(entry, value)).collect(),
    };
    export.done.along.access += source.access.len() as u64;
    export.done.along.metadata += source.metadata.len() as u64;
    export.companion.write(&Line::Mailbox(mailbox))
}

pub(super) fn mailbox(directory: &Path, source: &Source<'_>, export: &mut Export<'_>) -> Result<(), String> {
    let (name, mut file) = create(directory, &source.entry.name)?;
    let wrong = failed(directory.join(&name));
    around(&name, source, export)?;
    let mut first = true;
    for message in source.snapshot.messages() {
        let before = file.stream_position().map_err(&wrong)?;
        let fields = fields(source, message, first);
        let mut body = Body {
            source,
            message: source.mailbox.message(message),
            place: 0,
            octets: Bytes::new(),
            failed: None,
        };
        let written = write_message(
            BufWriter::with_capacity(1 << 16, &file),
            "",
            message.internal_date,
            Read::chain(fields.as_bytes(), &mut body),
        );
        match (written, body.failed) {
            (Ok(()), _) => {
                first = false;
                export.count(message.size);
            }
            (Err(_), Some(error)) => {
                // What there is of it must not be taken for a message.
                file.set_len(before).map_err(&wrong)?;
                file.seek(SeekFrom::Start(before)).map_err(&wrong)?;
                export.miss(format!("UID {} in {}: {error}", message.uid, source.entry.name));
            }
            (Err(error), None) => return Err(wrong(error)),
        }
    }
    file.sync_all().map_err(wrong)
}

/// The file of a mailbox, and where in the directory it is. One whose name makes no name of a file, or that of another mailbox's, is in a
/// file with a short name and a number; what it is called is in the file beside.
fn create(directory: &Path, name: &MailboxName) -> Result<(PathBuf, File), String> {
    let wanted = path_of(name);
    match create_at(&directory.join(&wanted)) {
        Ok(file) => return Ok((wanted, file)),
        Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(directory.join(wanted))(error)),
    }
    let level = wanted.file_name().unwrap_or_default().to_string_lossy();
    let short: String = level.chars().take(SHORT).collect();
    for number in 1_u32.. {
        let numbered = PathBuf::from(format!("{short}-{number}"));
        match create_at(&directory.join(&numbered)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => {
                let wrong = failed(directory.join(&numbered));
                return created.map(|file| (numbered, file)).map_err(wrong);
            }
        }
    }
    Err(format!("no file name is left for {name}"))
}

/// So many characters of a level are in a short name, of at most four octets each.
const SHORT: usize = 40;

fn create_at(path: &Path) -> io::Result<File> {
    if let Some(above) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(above)?;
    }
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// Where a mailbox goes. No level leaves the directory or is passed over: those that begin with a dot, and those that end as locks and
/// directories do, have something before or behind.
fn path_of(name: &MailboxName) -> PathBuf {
    let mut path = PathBuf::new();
    let mut levels = name.as_str().split('/').peekable();
    while let Some(level) = levels.next() {
        let mut file = if level.starts_with('.') { format!("_{level}") } else { level.to_owned() };
        if [".lock", ".sbd", ".msf"].iter().any(|end| file.ends_with(end)) {
            file.push('_');
        }
        if levels.peek().is_some() {
            file.push_str(".sbd");
        }
        path.push(file);
    }
    path
}

/// What mail programs keep flags and UIDs in. All of them are there, if they tell nothing too: the sender's of the same name count no more.
fn fields(source: &Source<'_>, message: &Message, first: bool) -> String {
    let mut fields = String::new();
    if first {
        let last = source.snapshot.uid_next().map_or(u32::MAX, |next| next.get() - 1);
        let _never_fails = write!(fields, "X-IMAPbase: {} {last:010}\r\n", source.snapshot.uid_validity());
    }
    let has = |flag: &Flag| message.flags.contains(flag);
    let _never_fails =
        write!(fields, "X-UID: {}\r\nStatus: {}O\r\n", message.uid, if has(&Flag::Seen) { "R" } else { "" });
    let letters = [(Flag::Answered, 'A'), (Flag::Flagged, 'F'), (Flag::Draft, 'T'), (Flag::Deleted, 'D')];
    let letters: String = letters.iter().filter(|(flag, _)| has(flag)).map(|(_, letter)| *letter).collect();
    let keywords: Vec<&str> = message.flags.keywords().iter().map(|keyword| keyword.as_str()).collect();
    let _never_fails = write!(fields, "X-Status: {letters}\r\nX-Keywords: {}\r\n", keywords.join(" "));
    fields
}

/// The octets of a message.
struct Body<'a> {
    source: &'a Source<'a>,
    message: MessageRef,
    place: u64,
    octets: Bytes,
    failed: Option<StoreError>,
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.octets.is_empty() && self.place < self.message.size {
            match self.source.read(&self.message, self.place) {
                Ok(octets) => {
                    self.place += octets.len() as u64;
                    self.octets = octets;
                }
                Err(error) => {
                    let told = io::Error::other(error.to_string());
                    self.failed = Some(error);
                    return Err(told);
                }
            }
        }
        let length = buffer.len().min(self.octets.len());
        self.octets.copy_to_slice(buffer.get_mut(..length).unwrap_or_default());
        Ok(length)
    }
}
