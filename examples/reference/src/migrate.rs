//! The `migrate` command: an account's mail is taken over from elsewhere, with its UIDs, flags, dates and POP3 ids.
//!
//! What is here already is not fetched again, so a run that was stopped goes on where it was, also if mail has come here meanwhile, and a
//! later one brings what has come since. At the end both sides are compared.

mod along;
mod imap;
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
    mail_model::{MailboxName, Uid, UidSet},
    mailstore::{
        AnyStore, CommitError, FlagChange, FlagOperation, Folders, Import, MailboxRef, ScriptLimits,
        Snapshot, Store, StoreError, Target, User, Write as _,
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
    /// What went along with them.
    along: Along,
    /// Messages that are not the same on both sides, and how.
    differences: Vec<String>,
}

/// How many differences of a mailbox are told.
const TOLD: usize = 20;

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
        let run = Run { store, user, options, scripts };
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
                    "{}: {} messages, {}{} copied, {} with other flags, {}{}",
                    report.mailbox,
                    report.messages,
                    match report.elsewhere {
                        0 => String::new(),
                        count => format!("{count} of them in other mailboxes, "),
                    },
                    report.copied,
                    report.reflagged,
                    if report.along == Along::default() { String::new() } else { format!("{}, ", report.along) },
                    if report.differences.is_empty() { "the same on both sides" } else { "NOT THE SAME:" }
                );
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
    /// Whether an earlier run gave it its numbers.
    resumed: bool,
}

struct Run<'a> {
    store: AnyStore,
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
            along: Along::default(),
            differences: source.left_out(),
        };
        if folder.view && entries.is_empty() {
            return Ok(report);
        }
        let Prepared { snapshot, made, resumed } = self.prepare(folder).await?;
        let places = Places::find(&entries, &snapshot, resumed, self.options.missing);
        report.reflagged = self.reflag(folder, &snapshot, &places, &entries).await?;
        self.around(folder, made, source.around(folder).await?, &mut report).await?;
        let mut progress = Instant::now();
        self.copy_all(source, folder, (&entries, &places.ahead), true, &mut report, &mut progress).await?;
        if let (Some(import), Some((validity, next))) = (self.store.import(), folder.numbers) {
            // Not every server tells the next one.
            let next = next.or_else(|| entries.last().map_or(Some(Uid::MIN), |last| last.uid.next()));
            import.adopt(&self.user, &folder.name, validity, next).await?;
        }
        if !places.behind.is_empty() {
            // A source is read from its beginning.
            source.index(folder).await?;
            self.copy_all(source, folder, (&entries, &places.behind), false, &mut report, &mut progress)
                .await?;
        }
        let after = self.store.open(&self.user, &folder.name).await?;
        let places = Places::find(&entries, &after, true, false);
        self.notes(source, folder, (&entries, &places, &after), &mut report).await?;
        compare(folder, &entries, &places, &after, &mut report.differences);
        Ok(report)
    }

    /// Copies some of the messages, with the UIDs that they have there or with the next.
    async fn copy_all(
        &self,
        source: &mut Source,
        folder: &Folder,
        (entries, some): (&[Entry], &[usize]),
        with_uid: bool,
        report: &mut Report,
        progress: &mut Instant,
    ) -> Result<(), MigrateError> {
        for place in some {
            let Some(entry) = entries.get(*place) else { continue };
            report.copied += usize::from(self.copy(source, folder, entry, with_uid).await?);
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
        let mut resumed = false;
        if let Some((validity, _)) = folder.numbers {
            resumed = self.store.open(user, name).await?.uid_validity() == validity;
            import.adopt(user, name, validity, Some(Uid::MIN)).await.map_err(|error| match error {
                StoreError::Exists => MigrateError::Occupied { mailbox: name.to_string() },
                other => other.into(),
            })?;
        }
        Ok(Prepared { snapshot: self.store.open(user, name).await?, made, resumed })
    }

    /// Gives messages that an earlier run brought the flags they have now.
    async fn reflag(
        &self,
        folder: &Folder,
        snapshot: &Snapshot,
        places: &Places,
        entries: &[Entry],
    ) -> Result<usize, MigrateError> {
        let mailbox = MailboxRef::new(self.user.clone(), folder.name.clone(), snapshot);
        let mut count = 0;
        for entry in entries {
            let Some(uid) = places.here(entry.uid) else { continue };
            let Some(message) = snapshot.message(uid) else { continue };
            if message.flags != entry.flags {
                let change = FlagChange::new(FlagOperation::Replace, entry.flags.clone());
                let writer = self.store.writer().ok_or(MigrateError::NoImport)?;
                writer.store_flags(&mailbox, &UidSet::from(uid), &change).await?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Copies a message, unless it cannot be read.
    async fn copy(
        &self,
        source: &mut Source,
        folder: &Folder,
        entry: &Entry,
        with_uid: bool,
    ) -> Result<bool, MigrateError> {
        let writer = self.store.writer().ok_or(MigrateError::NoImport)?;
        let mut upload = writer.begin(Some(entry.size)).await?;
        let mut read = source.body(folder, entry, &mut upload).await;
        if let Err(MigrateError::Read(StoreError::Corrupt(_))) = read {
            // Its size was not what it was told to be, and is right from now on.
            upload = writer.begin(None).await?;
            read = source.body(folder, entry, &mut upload).await;
        }
        match read {
            Ok(()) => {}
            // A difference at the end.
            Err(MigrateError::Read(StoreError::Corrupt(_))) => return Ok(false),
            Err(error) => return Err(error),
        }
        let target = Target::new(self.user.clone(), folder.name.clone(), entry.date);
        let mut target = target.with_flags(entry.flags.clone());
        target.uid = with_uid.then_some(entry.uid);
        target.unique_id.clone_from(&entry.unique_id);
        upload.commit(&[target]).await?;
        Ok(true)
    }
}

/// Adds what is not the same on both sides.
fn compare(
    folder: &Folder,
    entries: &[Entry],
    places: &Places,
    snapshot: &Snapshot,
    differences: &mut Vec<String>,
) {
    if let Some((validity, _)) = folder.numbers
        && validity != snapshot.uid_validity()
    {
        differences.push(format!("UIDVALIDITY {validity} is {} here", snapshot.uid_validity()));
    }
    for entry in entries {
        let uid = entry.uid;
        let Some(message) = places.here(uid).and_then(|here| snapshot.message(here)) else {
            differences.push(match snapshot.message(uid) {
                Some(_) => format!("UID {uid} is not here, but another message of that UID"),
                None => format!("UID {uid} is not here (--missing brings what the source gives by now)"),
            });
            continue;
        };
        // Of a source without UIDs of its own it does not matter.
        if message.uid != uid && folder.numbers.is_some() {
            let why = match snapshot.message(uid) {
                Some(_) => "another message had it before",
                None => "UIDs only rise",
            };
            differences.push(format!("UID {uid} is {} here, for {why}", message.uid));
        }
        if message.size != entry.size {
            differences.push(format!("UID {uid} of {} octets has {} here", entry.size, message.size));
        }
        if message.flags != entry.flags {
            differences.push(format!("UID {uid} with {} has {} here", entry.flags, message.flags));
        }
        if message.internal_date.seconds() != entry.date.seconds() {
            let (there, here) = (entry.date.to_imap(), message.internal_date.to_imap());
            differences.push(format!("UID {uid} of {there} is of {here} here"));
        }
    }
    let theirs: UidSet = places.all().collect();
    for uid in snapshot.uids().difference(&theirs).iter().take(TOLD) {
        differences.push(format!("UID {uid} is only here"));
    }
    let more = differences.len().saturating_sub(TOLD);
    if more > 0 {
        differences.truncate(TOLD);
        differences.push(format!("and {more} more"));
    }
}
