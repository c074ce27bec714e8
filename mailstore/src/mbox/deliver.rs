//! Delivery to files, behind the trait that servers deliver through.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write as _};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::{MailboxName, Uid, UidSet, UidValidity};
use rustix::process::geteuid;

use super::{Appending, Mbox, TURNS};
use crate::maildir::{Template, failed, file_name};
use crate::signal::lock;
use crate::{
    Appended, CommitError, Copied, Expunge, Expunged, FlagChange, FlagsStored, Inline, Mailbox, MailboxRef,
    MessageRef, Offload, Result, Sink, Snapshot, Store, StoreError, Target, Upload, User, Write,
};

/// A [`Store`] that only takes mail: a delivery to `INBOX` goes to the user's file, where others read it. It shows nothing
/// itself, so it is for an SMTP or LMTP server, and IMAP and POP3 have nothing to serve from it.
///
/// As root, the file belongs to the user of that name in `/etc/passwd`; mail for a name that has none is refused for now
/// ([`Unavailable`](StoreError::Unavailable)). Otherwise all files belong to whom the process does.
///
/// ```
/// use bytes::Bytes;
/// use mailwright_mail_model::{DateTime, MailboxName};
/// use mailwright_mailstore::maildir::Template;
/// use mailwright_mailstore::mbox::MboxStore;
/// use mailwright_mailstore::{Target, User, Write, block_on};
///
/// # let directory = tempfile::tempdir()?;
/// let path = directory.path().display();
/// let store = MboxStore::new(Template::new(&format!("{path}/%u"))?, directory.path().join("spool"));
/// # let store = store.owned_by_process();
/// block_on(async {
///     let mut upload = store.begin(None).await?;
///     upload.write(Bytes::from_static(b"Return-Path: <bob@example.net>\r\nSubject: hi\r\n\r\n")).await?;
///     let target = Target::new(User::new("alice@example.org")?, MailboxName::inbox(), DateTime::EPOCH);
///     upload.commit(&[target]).await?;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// let file = std::fs::read_to_string(directory.path().join("alice@example.org"))?;
/// assert!(file.starts_with("From bob@example.net Thu Jan  1 00:00:00 1970\nReturn-Path"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MboxStore<O = Inline> {
    shared: Arc<Shared>,
    offload: O,
}

#[derive(Clone, Debug)]
struct Shared {
    template: Template,
    spool: PathBuf,
    /// Whether files belong to the users of the system that they are named after.
    system_users: bool,
}

/// What mail there is valid with, if anybody asks.
const VALIDITY: UidValidity = UidValidity::MIN;
/// Where the system's users are.
const PASSWD: &str = "/etc/passwd";

impl MboxStore {
    /// Files at these paths. Messages are kept in the directory `spool` while they come in.
    pub fn new(template: Template, spool: impl Into<PathBuf>) -> Self {
        Self::with_offload(template, spool, Inline)
    }
}

impl<O: Offload + Clone> MboxStore<O> {
    /// As [`new`](MboxStore::new), with another place to block in.
    pub fn with_offload(template: Template, spool: impl Into<PathBuf>, offload: O) -> Self {
        let system_users = geteuid().is_root();
        Self { shared: Arc::new(Shared { template, spool: spool.into(), system_users }), offload }
    }

    /// The same, where all files belong to the process's user, though it be root.
    #[must_use]
    pub fn owned_by_process(mut self) -> Self {
        Arc::make_mut(&mut self.shared).system_users = false;
        self
    }
}

impl Shared {
    fn mbox(&self, user: &User) -> Result<Mbox> {
        let mbox = Mbox::new(self.template.path(user)?);
        if !self.system_users {
            return Ok(mbox);
        }
        let name = user.as_str();
        let local = name.rsplit_once('@').map_or(name, |(local, _)| local);
        let passwd = fs::read_to_string(PASSWD).map_err(|error| failed(PASSWD.as_ref(), &error))?;
        let owner = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(local) {
                return None;
            }
            // Name, password, and then the numbers of user and group.
            let mut numbers = fields.skip(1).map_while(|field| field.parse::<u32>().ok());
            numbers.next().zip(numbers.next())
        });
        // Nobody but us is to blame: mail waits until the user is there.
        let none = || {
            let path = mbox.path.display();
            StoreError::Unavailable(format!("{PASSWD} has no user {local:?}, whose file {path} would be"))
        };
        let (user, group) = owner.ok_or_else(none)?;
        Ok(mbox.owned_by(user, group))
    }

    fn spool(&self) -> Result<Spooled> {
        let error = |error| failed(&self.spool, &error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.spool).map_err(error)?;
        let path = self.spool.join(file_name::unique("mbox"));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(error)?;
        // Nobody else needs its name, and it goes with the process.
        fs::remove_file(&path).map_err(error)?;
        Ok(Spooled(file))
    }

    /// Appends the message to every file, or to none.
    fn deliver(&self, content: &Spooled, targets: &[Target]) -> Result<Vec<Appended>, CommitError> {
        let mut files: BTreeMap<PathBuf, Mbox> = BTreeMap::new();
        let mut paths = Vec::new();
        for (index, target) in targets.iter().enumerate() {
            let mbox =
                if target.mailbox.is_inbox() { self.mbox(&target.user) } else { Err(StoreError::NotFound) };
            let mbox = mbox.map_err(|error| CommitError::of_target(index, error))?;
            paths.push(mbox.path.clone());
            files.insert(mbox.path.clone(), mbox);
        }
        let of_path = |path: &PathBuf, error| match paths.iter().position(|other| other == path) {
            Some(index) => CommitError::of_target(index, error),
            None => error.into(),
        };
        // All locks in an order that is the same for everybody.
        let mut turns: Vec<_> = files.values().map(Mbox::turn).collect();
        turns.sort_unstable();
        turns.dedup();
        let _turns: Vec<_> = turns.into_iter().filter_map(|turn| TURNS.get(turn)).map(lock).collect();
        let mut open: BTreeMap<&PathBuf, Appending<'_>> = BTreeMap::new();
        for (path, mbox) in &files {
            open.insert(path, mbox.begin().map_err(|error| of_path(path, error))?);
        }
        let mut outcome = Ok(());
        for (path, target) in paths.iter().zip(targets) {
            let Some(appending) = open.get(path) else { continue };
            let written = content
                .sender(target)
                .and_then(|sender| appending.write(&sender, target.internal_date, content.reader()));
            outcome = outcome.and_then(|()| written.map_err(|error| of_path(path, error)));
        }
        for (path, appending) in &open {
            outcome = outcome.and_then(|()| appending.sync().map_err(|error| of_path(path, error)));
        }
        if let Err(error) = outcome {
            open.values().for_each(Appending::undo);
            return Err(error);
        }
        Ok(targets.iter().map(|_| Appended::new(VALIDITY, Uid::MIN)).collect())
    }
}

/// A message that has come in.
#[derive(Debug)]
struct Spooled(File);

impl Spooled {
    fn reader(&self) -> At<'_> {
        At(&self.0, 0)
    }

    /// The reverse-path: what was said, or what is in the field that a server puts on top.
    fn sender(&self, target: &Target) -> Result<String> {
        if let Some(delivery) = &target.delivery {
            return Ok(delivery.sender.clone());
        }
        let mut line = Vec::new();
        let mut head = BufReader::new(std::io::Read::take(self.reader(), 1_000));
        let read = head.read_until(b'\n', &mut line);
        read.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let line = String::from_utf8_lossy(&line);
        let path = line.strip_prefix("Return-Path:").unwrap_or_default().trim();
        Ok(path.trim_start_matches('<').trim_end_matches('>').to_owned())
    }
}

/// A file read from a place of its own.
struct At<'a>(&'a File, u64);

impl std::io::Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read_at(buffer, self.1)?;
        self.1 += count as u64;
        Ok(count)
    }
}

struct Incoming<O> {
    shared: Arc<Shared>,
    offload: O,
    /// `None` once it is committed, or if a part could not be written.
    spooled: Option<Arc<Spooled>>,
}

impl<O: Offload + Clone> Sink for Incoming<O> {
    async fn write(&mut self, octets: Bytes) -> Result<()> {
        let spooled = self.spooled.take().ok_or_else(spent)?;
        let work = move || match (&spooled.0).write_all(&octets) {
            Ok(()) => Ok(spooled),
            Err(error) => Err(failed("the spool".as_ref(), &error)),
        };
        self.spooled = Some(self.offload.run(work).await?);
        Ok(())
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes> {
        let spooled = self.spooled.as_ref().map(Arc::clone).ok_or_else(spent)?;
        let work = move || {
            let error = |error| failed("the spool".as_ref(), &error);
            let end = range.end.min(spooled.0.metadata().map_err(error)?.len());
            // A part at a time: whoever wants more reads on.
            let length = end.saturating_sub(range.start).min(PIECE);
            let mut octets = vec![0; usize::try_from(length).unwrap_or_default()];
            spooled.0.read_exact_at(&mut octets, range.start).map_err(error)?;
            Ok(Bytes::from(octets))
        };
        self.offload.run(work).await
    }

    async fn commit(&mut self, targets: &[Target]) -> Result<Vec<Appended>, CommitError> {
        let spooled = self.spooled.take().ok_or_else(spent)?;
        let (shared, content, targets) = (Arc::clone(&self.shared), Arc::clone(&spooled), targets.to_vec());
        let result = self.offload.run(move || shared.deliver(&content, &targets)).await;
        if result.is_err() {
            self.spooled = Some(spooled);
        }
        result
    }
}

/// How much of a message is read at once.
const PIECE: u64 = 256 << 10;

fn spent() -> StoreError {
    StoreError::Invalid("expected an upload that is whole and not committed yet".into())
}

fn deliveries_only<T>() -> Result<T> {
    Err(StoreError::Invalid("expected a delivery: nothing else is done with these files".into()))
}

impl<O: Offload + Clone> Store for MboxStore<O> {
    async fn mailboxes(&self, _: &User) -> Result<Vec<Mailbox>> {
        Ok(vec![Mailbox::inbox()])
    }

    async fn open(&self, _: &User, name: &MailboxName) -> Result<Arc<Snapshot>> {
        if name.is_inbox() {
            Ok(Arc::new(Snapshot::builder(VALIDITY).build()))
        } else {
            Err(StoreError::NotFound)
        }
    }

    async fn read(&self, _: &MessageRef, _: Range<u64>) -> Result<Bytes> {
        Err(StoreError::NotFound)
    }

    fn writer(&self) -> Option<&impl Write> {
        Some(self)
    }
}

impl<O: Offload + Clone> Write for MboxStore<O> {
    async fn begin(&self, _: Option<u64>) -> Result<Upload> {
        let shared = Arc::clone(&self.shared);
        let spooled = self.offload.run(move || shared.spool()).await?;
        let (shared, offload) = (Arc::clone(&self.shared), self.offload.clone());
        Ok(Upload::new(Incoming { shared, offload, spooled: Some(Arc::new(spooled)) }))
    }

    async fn store_flags(&self, _: &MailboxRef, _: &UidSet, _: &FlagChange) -> Result<FlagsStored> {
        deliveries_only()
    }

    async fn expunge(&self, _: &MailboxRef, _: &Expunge) -> Result<Expunged> {
        deliveries_only()
    }

    async fn copy(&self, _: &MailboxRef, _: &UidSet, _: &MailboxName) -> Result<Copied> {
        deliveries_only()
    }

    async fn move_to(&self, _: &MailboxRef, _: &UidSet, _: &MailboxName) -> Result<Copied> {
        deliveries_only()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_for_who_is_no_user_of_the_system_waits() {
        let spool = PathBuf::from("spool");
        let shared = Shared { template: Template::new("/var/mail/%n").unwrap(), spool, system_users: true };
        let error = shared.mbox(&User::new("no-user-of-any-system@example.org").unwrap()).unwrap_err();
        assert_eq!(error.smtp_status(), (451, "4.3.0"));
        assert!(error.to_string().contains("no-user-of-any-system"), "{error}");
        assert!(shared.mbox(&User::new("root@example.org").unwrap()).is_ok());
    }
}
