//! Messages that were expunged, and can be had back for a while: in `mailwright-expunged` of each user.
//!
//! A message is a file whose name is its identity; beside it, with `.info` behind the name, is a line that says what it was:
//!
//! ```text
//! 1 1763740000 Work/Plans 17 1355 1276528487 -90 . (\Seen work) Gabc Zxy
//! ```
//!
//! the version, when it was expunged, its mailbox, UID, size, internal date and zone, `.` or `L` for how its lines end, its flags,
//! and its fields of the list of UIDs. The line is written first: a message without one does not come about.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mailwright_mail_model::{DateTime, Flag, FlagSet, MailboxName, ModSeq, Uid};

use super::copy::{Original, Placed, draft_of};
use super::file_name::{self, Letters};
use super::folder::{private_directory, sync_directory};
use super::journal::Known;
use super::uid_validity::of_the_time;
use super::{Maildir, Shared, escape, failed};
use crate::signal::lock;
use crate::{
    Appended, ExpungedMessage, Message, ObjectId, Offload, QuotaUsage, Result, StoreError, Undelete, User,
    clock,
};

const DIRECTORY: &str = "mailwright-expunged";
const INFO: &str = "info";
/// How many lines are flushed one by one.
const FEW: usize = 8;
/// How often at most what nobody can have back any more is removed.
const PAUSE: Duration = Duration::from_secs(600);

impl<O: Offload + Clone> Undelete for Maildir<O> {
    async fn expunged_messages(&self, user: &User) -> Result<Vec<ExpungedMessage>> {
        let user = user.clone();
        self.run(move |shared| {
            let root = shared.template.path(&user)?;
            let mut all: Vec<_> = shared.kept(&root)?.into_iter().map(|kept| kept.told).collect();
            all.sort_by_key(|message| (message.expunged, message.uid));
            Ok(all)
        })
        .await
    }

    async fn bring_back(&self, user: &User, id: ObjectId, target: &MailboxName) -> Result<Appended> {
        let (user, target) = (user.clone(), target.clone());
        self.run(move |shared| shared.bring_back(&user, id, &target)).await
    }
}

/// A message that can be had back.
struct Kept {
    told: ExpungedMessage,
    flags: FlagSet,
    known: Known,
    fields: String,
    path: PathBuf,
}

/// Where to keep what is expunged from a mailbox.
pub(super) struct Keep {
    directory: PathBuf,
    mailbox: MailboxName,
    now: i64,
    /// The lines that are not flushed yet.
    written: RefCell<Vec<PathBuf>>,
}

impl Keep {
    /// Moves a message's file there. An error of the kind `NotFound` says that the file is not where it was.
    pub(super) fn take(
        &self,
        message: &Message,
        (guid, fields): (&str, &str),
        known: &Known,
        path: &Path,
    ) -> std::io::Result<()> {
        let file = self.directory.join(format!("{:032x}", file_name::random()));
        let info = file.with_extension(INFO);
        let (zone, end) = (known.date.offset_minutes(), if known.bare { "L" } else { "." });
        let mailbox = escape::encode(self.mailbox.as_str().as_bytes());
        let flags = escape::encode(message.flags.to_string().as_bytes());
        let text = format!(
            "1 {} {mailbox} {} {} {} {zone} {end} {flags} G{} {}\n",
            self.now,
            message.uid,
            known.size,
            known.date.seconds(),
            guid,
            fields
        );
        let mut options = OpenOptions::new();
        let line = options.write(true).create_new(true).mode(0o600).open(&info);
        line.and_then(|mut line| line.write_all(text.as_bytes()))?;
        let moved = fs::rename(path, &file);
        match moved {
            Ok(()) => self.written.borrow_mut().push(info),
            Err(_) => drop(fs::remove_file(&info)),
        }
        moved
    }

    /// Makes what was moved last.
    pub(super) fn flush(&self) -> Result<()> {
        let written = self.written.take();
        if written.len() > FEW {
            // One flush of all there is costs less than one for each.
            let directory = File::open(&self.directory);
            let flushed = directory.and_then(|directory| Ok(rustix::fs::syncfs(directory)?));
            return flushed.map_err(|error| failed(&self.directory, &error));
        }
        for line in written {
            let flushed = File::open(&line).and_then(|line| line.sync_data());
            flushed.map_err(|error| failed(&line, &error))?;
        }
        sync_directory(&self.directory)
    }
}

impl Shared {
    /// Where to keep what is expunged from a mailbox, if it is kept.
    pub(super) fn keeping(&self, user: &User, mailbox: &MailboxName) -> Result<Option<Keep>> {
        if self.options.undelete.is_zero() {
            return Ok(None);
        }
        let root = self.template.path(user)?;
        let directory = root.join(DIRECTORY);
        private_directory(&directory)?;
        let due = {
            let mut looked = lock(&self.looked_for_old);
            let due = looked.get(&root).is_none_or(|looked| looked.elapsed() > PAUSE);
            if due {
                looked.retain(|_, looked| looked.elapsed() < PAUSE);
                looked.insert(root.clone(), Instant::now());
            }
            due
        };
        if due {
            // What is too old goes.
            self.kept(&root)?;
        }
        let now = i64::try_from(clock::read().to_date_with()).unwrap_or(i64::MAX);
        Ok(Some(Keep { directory, mailbox: mailbox.clone(), now, written: RefCell::default() }))
    }

    /// What can be had back of a user; what cannot any more is removed.
    fn kept(&self, root: &Path) -> Result<Vec<Kept>> {
        let directory = root.join(DIRECTORY);
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| failed(&directory, &error))?,
        };
        let window = i64::try_from(self.options.undelete.as_secs()).unwrap_or(i64::MAX);
        let oldest = i64::try_from(clock::read().to_judge_age()).unwrap_or(i64::MAX).saturating_sub(window);
        let mut kept = Vec::new();
        for entry in entries {
            let info = entry.map_err(|error| failed(&directory, &error))?.path();
            if info.extension().is_none_or(|extension| extension != INFO) {
                continue;
            }
            let Some(message) = read(&info) else { continue };
            if message.told.expunged.seconds() >= oldest {
                if message.path.exists() {
                    kept.push(message);
                }
                continue;
            }
            // The line last: while it is there, whoever is stopped comes back to this.
            match fs::remove_file(&message.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(failed(&message.path, &error));
                }
                _ => drop(fs::remove_file(&info)),
            }
        }
        Ok(kept)
    }

    fn bring_back(&self, user: &User, id: ObjectId, name: &MailboxName) -> Result<Appended> {
        let target = self.existing(user, name)?;
        let kept = self.kept(&target.root)?.into_iter().find(|kept| kept.told.id == id);
        let kept = kept.ok_or(StoreError::NotFound)?;
        let more = QuotaUsage::of_messages(1, kept.told.size);
        self.admit(user, &more)?;
        let uid = kept.told.uid;
        let draft = target.path.join("tmp").join(file_name::unique(&self.setting.host));
        draft_of(&kept.path, &draft).map_err(|error| match error.kind() {
            ErrorKind::NotFound => StoreError::NotFound,
            _ => failed(&kept.path, &error),
        })?;
        let mut staged = Placed(vec![draft.clone()]);
        let original = Original {
            uid,
            base: base(&kept).into(),
            path: draft,
            flags: kept.flags,
            known: kept.known,
            fields: kept.fields.into(),
        };
        let (validity, pairs) = target.lock(&self.setting)?.link(&[original])?;
        let (_, uid) = pairs.into_iter().next().ok_or(StoreError::NotFound)?;
        staged.0.clear();
        // From here on it is a message again; if its file stays here, it can be had back twice.
        let _removed = fs::remove_file(&kept.path);
        let _removed = fs::remove_file(kept.path.with_extension(INFO));
        self.note(user, i64::try_from(more.storage).unwrap_or(i64::MAX), 1);
        self.tell_messages(user, name);
        Ok(Appended::new(validity, uid))
    }
}

/// A name with the sizes of the message, as far as they are known.
fn base(kept: &Kept) -> String {
    let size = fs::metadata(&kept.path).map_or(kept.told.size, |data| data.len());
    format!(
        "expunged,S={size}{}",
        if kept.known.bare { format!(",W={}", kept.told.size) } else { String::new() }
    )
}

fn read(info: &Path) -> Option<Kept> {
    let text = fs::read_to_string(info).ok()?;
    let path = info.with_extension("");
    let id = u128::from_str_radix(path.file_name()?.to_str()?, 16).ok()?;
    let mut words = text.strip_suffix('\n')?.splitn(10, ' ');
    if words.next()? != "1" {
        return None;
    }
    let expunged = DateTime::new(words.next()?.parse().ok()?, 0)?;
    let mailbox = MailboxName::lookup(&escape::decode_text(words.next()?)?).ok()?;
    let uid = Uid::new(words.next()?.parse().ok()?)?;
    let size = words.next()?.parse().ok()?;
    let date = DateTime::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?)?;
    let bare = words.next()? == "L";
    let flags: FlagSet = escape::decode_text(words.next()?)?.parse().ok()?;
    let flags = flags.difference(&FlagSet::from_iter([Flag::Deleted]));
    let mut fields: Vec<&str> = words.next()?.split(' ').filter(|field| !field.is_empty()).collect();
    // The identity that comes first is the one of all copies.
    let mut seen = false;
    fields.retain(|field| {
        !field.starts_with(['G', 'T']) || (field.starts_with('G') && !std::mem::replace(&mut seen, true))
    });
    let known =
        Known { letters: Letters::default(), modseq: ModSeq::ZERO, size, date, bare, saved: of_the_time() };
    let told = ExpungedMessage::new(ObjectId::from(id), mailbox, &Message::new(uid, size, date), expunged);
    Some(Kept { told, flags, known, fields: fields.join(" "), path })
}
