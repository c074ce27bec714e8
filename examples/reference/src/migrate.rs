//! The `migrate` command: an account's mail is taken over from elsewhere, with its UIDs, flags, dates and POP3 ids.
//!
//! What is here already is not fetched again, so a run that was stopped goes on where it was, also if mail has come here meanwhile, and a
//! later one brings what has come since. At the end both sides are compared.

mod along;
mod brought;
mod compare;
mod imap;
mod incoming;
mod mbox;
mod places;
mod source;
mod tree;
mod way;

use std::{
    collections::HashSet,
    io::{self, BufRead, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use mailwright::{
    client::ClientError,
    imap::ForeignNames,
    line_proto::Secret,
    mail_model::{FlagSet, MailboxName, Uid, UidSet},
    mailstore::{
        AnyStore, Batch, CommitError, FlagChange, FlagOperation, Folders, Import, MailboxRef, ScriptLimits,
        Snapshot, Store, StoreError, Target, User, Write as _, embedded::Table,
    },
};
use serde::Serialize;
use thiserror::Error;

use crate::{
    cli::Migrate,
    companion::Along,
    config::Config,
    directory::{DirectoryError, Members},
    serve::{self, ServeError},
};

use brought::Brought;
pub(crate) use brought::{MIGRATED, forget};
use compare::compare;
use incoming::Incoming;
use places::Places;
use source::{Entry, Folder, Source};

/// Why mail was not taken over.
#[derive(Debug, Error)]
pub(crate) enum MigrateError {
    #[error(
        "{0:?} is no source: write maildir:PATH, mbox:PATH (a file, or a directory of files), imap:HOST[:PORT] or imaps:HOST[:PORT]"
    )]
    Source(String),
    #[error("{0}\n  mail is taken over into an account: `mailwrightd user add` makes one")]
    Account(#[from] DirectoryError),
    #[error("{0:?} is not the name of an account")]
    Name(String),
    #[error("{0}\n  stop the server while mail is taken over")]
    Open(#[from] ServeError),
    #[error("{path}: {error}")]
    File { path: String, error: io::Error },
    #[error("{0}")]
    Tls(String),
    #[error("the source: {0}")]
    Client(#[from] ClientError),
    #[error("the source: {folder} has {most} messages, and the server names more")]
    Endless { folder: String, most: u32 },
    #[error("the source: {0}")]
    Read(StoreError),
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    #[error("the store: {0}")]
    Commit(#[from] CommitError),
    #[error(
        "{mailbox} of the account holds mail already, under another UIDVALIDITY: take over into an account without mail"
    )]
    Occupied { mailbox: String },
    #[error(
        "{mailbox}: mailboxes of others stand under this name here, nobody could open one of the account's own: rename it at the source"
    )]
    Foreign { mailbox: MailboxName },
    #[error(
        "{mailbox}: the message with UID {uid} is compressed ({how}), as Dovecot's zlib plugin keeps mail, which only that reads: take the mail over from that Dovecot, with --from imap:HOST"
    )]
    Compressed { mailbox: MailboxName, uid: Uid, how: &'static str },
    #[error("the message was removed at the source meanwhile")]
    Gone,
    #[error("this store cannot take over mail")]
    NoImport,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What became of a mailbox.
#[derive(Debug, Clone, Serialize)]
struct Report {
    mailbox: String,
    /// Messages at the source.
    messages: usize,
    /// Those of a view of all that are in other mailboxes too.
    #[serde(skip_serializing_if = "is_zero")]
    elsewhere: usize,
    /// Those that were fetched now.
    copied: usize,
    /// Those whose flags were brought up to date.
    reflagged: usize,
    /// Those that were removed at the source while it was read.
    #[serde(skip_serializing_if = "is_zero")]
    gone: usize,
    /// Those whose flags were changed here since they came.
    #[serde(skip_serializing_if = "is_zero")]
    changed_here: usize,
    /// What went along with them.
    along: Along,
    /// Messages that are not the same on both sides, and how.
    differences: Vec<String>,
}

/// Takes over mail. Says whether both sides are the same at the end.
pub(crate) fn run(config: &Config, options: &Migrate) -> Result<bool, MigrateError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let password = if options.from.starts_with("imap") { Some(password()?) } else { None };
        let mut source = Source::open(options, password).await?;
        let folders = source.folders().await?;
        if options.dry_run {
            for folder in folders {
                let entries = source.index(&folder).await?;
                let octets: u64 = entries.iter().map(|entry| entry.size).sum();
                let line = serde_json::json!({ "mailbox": folder.name.as_str(), "messages": entries.len(), "octets": octets });
                say(options, &line, || format!("{}: {} messages, {octets} octets", folder.name, entries.len()))?;
            }
            return Ok(true);
        }
        let (database, directory) = serve::open(config)?;
        let user = directory.account(&options.to)?.user.clone();
        let scripts = config.limits.of_scripts();
        let store = serve::mail_store(config, database.clone(), &serve::waiting(config, &database)?)?;
        let names = ForeignNames::with_groups(Arc::new(Members(directory)));
        if let Some(folder) = folders.iter().find(|folder| names.is_foreign(&store, &folder.name)) {
            return Err(MigrateError::Foreign { mailbox: folder.name.clone() });
        }
        let migrated = database.table(MIGRATED)?;
        let run = Run { store, migrated, user, options, scripts };
        for view in source.views() {
            let line = serde_json::json!({ "mailbox": view, "view": true });
            say(options, &line, || format!("{view}: shows messages of other mailboxes, which come with these"))?;
        }
        let (along, mut differences) = run.account(source.account().await?).await?;
        differences.extend(source.left_out());
        let mut same = differences.is_empty();
        if along != Along::default() || !same {
            let line = serde_json::json!({ "account": run.user.as_str(), "along": along, "differences": differences });
            say(options, &line, || {
                let differences = differences.iter().map(|difference| format!("\n  NOT THE SAME: {difference}"));
                format!("{}: {along}", run.user) + &differences.collect::<String>()
            })?;
        }
        let mut seen = HashSet::new();
        for folder in folders {
            let report = run.mailbox(&mut source, &folder, &mut seen).await?;
            same &= report.differences.is_empty();
            say(options, &report, || {
                let mut text = format!(
                    "{}: {} messages, {}{}{} copied, {} with other flags, {}{}",
                    report.mailbox,
                    report.messages,
                    match report.elsewhere {
                        0 => String::new(),
                        count => format!("{count} of them in other mailboxes, "),
                    },
                    match report.gone {
                        0 => String::new(),
                        count => format!("{count} of them removed there meanwhile, "),
                    },
                    report.copied,
                    report.reflagged,
                    if report.along == Along::default() { String::new() } else { format!("{}, ", report.along) },
                    if report.differences.is_empty() { "the same on both sides" } else { "NOT THE SAME:" }
                );
                if report.changed_here > 0 {
                    let but = format!(", but for the flags of {} that were changed here", report.changed_here);
                    text = match text.strip_suffix(" NOT THE SAME:") {
                        Some(_) => text,
                        None => text + &but,
                    };
                }
                for difference in &report.differences {
                    text.push_str("\n  ");
                    text.push_str(difference);
                }
                text
            })?;
        }
        Ok(same)
    })
}

/// One line of output.
fn say(options: &Migrate, object: &impl Serialize, text: impl FnOnce() -> String) -> io::Result<()> {
    let line = if options.json { serde_json::to_string(object).unwrap_or_default() } else { text() };
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn password() -> Result<Secret, MigrateError> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(Secret::from(line.trim_end_matches(['\r', '\n'])))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A mailbox that is ready to take messages.
struct Prepared {
    snapshot: Arc<Snapshot>,
    /// Whether it was not there.
    made: bool,
    brought: Brought,
}

/// A mailbox that messages come into.
struct Work<'a> {
    folder: &'a Folder,
    mailbox: MailboxRef,
    /// What was in it before.
    snapshot: Arc<Snapshot>,
    places: Places,
    brought: Brought,
}

struct Run<'a> {
    store: AnyStore,
    migrated: Table,
    user: User,
    options: &'a Migrate,
    scripts: ScriptLimits,
}

impl Run<'_> {
    async fn mailbox(
        &self,
        source: &mut Source,
        folder: &Folder,
        seen: &mut HashSet<u64>,
    ) -> Result<Report, MigrateError> {
        let mut entries = source.index(folder).await?;
        let messages = entries.len();
        match folder.view {
            true => entries.retain(|entry| !seen.contains(&entry.likeness)),
            false => seen.extend(entries.iter().map(|entry| entry.likeness)),
        }
        let mut report = Report {
            mailbox: folder.name.to_string(),
            messages,
            elsewhere: messages - entries.len(),
            copied: 0,
            reflagged: 0,
            changed_here: 0,
            gone: 0,
            along: Along::default(),
            differences: source.left_out(),
        };
        if folder.view && entries.is_empty() {
            return Ok(report);
        }
        let Prepared { snapshot, made, brought } = self.prepare(folder).await?;
        let places = Places::find(&entries, &snapshot, &brought, self.options.missing);
        let mailbox = MailboxRef::new(self.user.clone(), folder.name.clone(), &snapshot);
        let mut work = Work { folder, mailbox, snapshot, places, brought };
        report.reflagged = self.reflag(&mut work, &entries).await?;
        self.around(folder, made, source.around(folder).await?, &mut report).await?;
        let copied = self.copy_both(source, &mut work, &entries, &mut report).await;
        work.brought.write().await?;
        copied?;
        let Work { places, brought, .. } = work;
        let after = self.store.open(&self.user, &folder.name).await?;
        self.notes(source, folder, (&entries, &places, &after), &mut report).await?;
        compare(folder, &entries, (&places, &brought), &after, &mut report);
        Ok(report)
    }

    /// Brings what is to come.
    async fn copy_both(
        &self,
        source: &mut Source,
        work: &mut Work<'_>,
        entries: &[Entry],
        report: &mut Report,
    ) -> Result<(), MigrateError> {
        let mut progress = Instant::now();
        let [ahead, behind] = [&mut work.places.ahead, &mut work.places.behind].map(std::mem::take);
        self.copy_all((source, work), (entries, &ahead), true, report, &mut progress).await?;
        if let (Some(import), Some((validity, next))) = (self.store.import(), work.folder.numbers) {
            // Not every server tells the next one.
            let next = next.or_else(|| entries.last().map_or(Some(Uid::MIN), |last| last.uid.next()));
            import.adopt(&self.user, &work.folder.name, validity, next).await?;
        }
        if !behind.is_empty() {
            // A source is read from its beginning.
            source.index(work.folder).await?;
            self.copy_all((source, work), (entries, &behind), false, report, &mut progress).await?;
        }
        Ok(())
    }

    /// Brings some of the messages, with the UIDs that they have there or with the next.
    async fn copy_all(
        &self,
        (source, work): (&mut Source, &mut Work<'_>),
        (entries, some): (&[Entry], &[usize]),
        with_uid: bool,
        report: &mut Report,
        progress: &mut Instant,
    ) -> Result<(), MigrateError> {
        for place in some {
            let Some(entry) = entries.get(*place) else { continue };
            self.copy((&mut *source, &mut *work), entry, with_uid, report).await?;
            if progress.elapsed() > Duration::from_secs(1) {
                *progress = Instant::now();
                let (done, all) = (place + 1, entries.len());
                if self.options.json {
                    let line = serde_json::json!({ "mailbox": report.mailbox, "done": done, "of": all });
                    say(self.options, &line, String::new)?;
                } else {
                    eprintln!("{}: {done} of {all}", report.mailbox);
                }
            }
        }
        Ok(())
    }

    /// Makes the mailbox, with the numbers it has at the source.
    async fn prepare(&self, folder: &Folder) -> Result<Prepared, MigrateError> {
        let (user, name) = (&self.user, &folder.name);
        let folders = self.store.folders().ok_or(MigrateError::NoImport)?;
        let import = self.store.import().ok_or(MigrateError::NoImport)?;
        let made = match folders.create(user, name, folder.special_use).await {
            Ok(_) => true,
            Err(StoreError::Exists) => false,
            Err(error) => return Err(error.into()),
        };
        if folder.subscribed {
            folders.subscribe(user, name).await?;
        }
        // Before the mailbox has the source's UIDVALIDITY, as one of its name may have had that was renamed or deleted since.
        let validity = self.store.open(user, name).await?.uid_validity();
        let together = self.store.writer().is_some_and(mailwright::mailstore::Write::takes_rows);
        let table = self.migrated.clone();
        let mut brought = Brought::read(table, (user, folder), validity, together).await?;
        if let Some((validity, _)) = folder.numbers {
            import.adopt(user, name, validity, Some(Uid::MIN)).await.map_err(|error| match error {
                StoreError::Exists => MigrateError::Occupied { mailbox: name.to_string() },
                other => other.into(),
            })?;
        }
        let snapshot = self.store.open(user, name).await?;
        brought.validity = snapshot.uid_validity();
        Ok(Prepared { snapshot, made, brought })
    }

    /// Gives messages that an earlier run brought what has changed of their flags at the source since: what was changed here stays.
    async fn reflag(&self, work: &mut Work<'_>, entries: &[Entry]) -> Result<usize, MigrateError> {
        let mut count = 0;
        for entry in entries {
            let Some(here) = work.places.here(entry.uid) else { continue };
            let Some(before) = work.brought.record(entry, &work.snapshot).map(|record| &record.flags) else {
                continue;
            };
            let Some(message) = work.snapshot.message(here) else { continue };
            if *before == entry.flags {
                continue;
            }
            let (added, gone) = (entry.flags.difference(before), before.difference(&entry.flags));
            let flags = message.flags.union(&added).difference(&gone);
            count += usize::from(self.flag(work, here, flags).await?);
            work.brought.found(entry, here).await?;
        }
        Ok(count)
    }

    /// Gives a message these flags, if it has others.
    async fn flag(&self, work: &Work<'_>, here: Uid, flags: FlagSet) -> Result<bool, MigrateError> {
        if work.snapshot.message(here).is_none_or(|message| message.flags == flags) {
            return Ok(false);
        }
        let writer = self.store.writer().ok_or(MigrateError::NoImport)?;
        let change = FlagChange::new(FlagOperation::Replace, flags);
        writer.store_flags(&work.mailbox, &UidSet::from(here), &change).await?;
        Ok(true)
    }

    /// Brings a message, unless it cannot be read or is here.
    async fn copy(
        &self,
        (source, work): (&mut Source, &mut Work<'_>),
        entry: &Entry,
        with_uid: bool,
        report: &mut Report,
    ) -> Result<(), MigrateError> {
        let mut incoming = Incoming::begin(&self.store, Some(entry.size)).await?;
        let mut read = source.body(work.folder, entry, &mut incoming).await;
        if let Err(MigrateError::Read(StoreError::Corrupt(_))) = read {
            // Its size was not what it was told to be, and is right from now on.
            incoming = Incoming::begin(&self.store, None).await?;
            read = source.body(work.folder, entry, &mut incoming).await;
        }
        match read {
            Ok(()) => {}
            // A difference at the end.
            Err(MigrateError::Read(StoreError::Corrupt(_))) => return Ok(()),
            Err(MigrateError::Gone) => {
                work.places.gone(entry.uid);
                report.gone += 1;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let here = (&work.mailbox, &*work.snapshot);
        if let Some((uid, size)) = incoming.found(&self.store, here, &work.places, entry.date).await {
            work.places.found(entry.uid, uid, (entry.date, size));
            // Nobody knows which side changed them.
            let flags = work.snapshot.message(uid).map(|message| message.flags.union(&entry.flags));
            report.reflagged += usize::from(self.flag(work, uid, flags.unwrap_or_default()).await?);
            return Ok(work.brought.found(entry, uid).await?);
        }
        let target = Target::new(self.user.clone(), work.folder.name.clone(), entry.date);
        let mut target = target.with_flags(entry.flags.clone());
        target.uid = with_uid.then_some(entry.uid);
        target.unique_id.clone_from(&entry.unique_id);
        let batch = Batch::to([target]).with_rows(work.brought.rows(entry));
        let committed = incoming.upload.commit_batch(&batch).await?;
        let uid = committed.appended.first().map(|appended| appended.uid).ok_or(StoreError::NotFound)?;
        work.places.put(entry.uid, uid);
        work.brought.came(entry, uid).await?;
        report.copied += 1;
        Ok(())
    }
}
