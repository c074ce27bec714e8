//! Long work on the store: backup, restore, check, export. All but restore and the check of a backup run in the server if one runs, else
//! on the data themselves.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::Shutdown,
    ops::ControlFlow,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use mailwright::mailstore::{
    StoreError, block_on,
    embedded::{BackupCheck, BackupReport, Embedded, check_backup, restore, restore_damaged},
};
use serde::{Deserialize, Serialize};

use crate::{
    cli::ExportFormat,
    command::CommandError,
    companion::Along,
    config::Config,
    control,
    export::{self, Exported},
    life::{self, Expired, Gone, Life},
    serve,
};

/// How long the server may say nothing while it works.
const PATIENCE: Duration = Duration::from_secs(600);
/// How mail is kept safe that is in files of its own.
const COPY: &str = "copy that by a snapshot of the file system, or with rsync";
/// How often progress is told.
const OFTEN: Duration = Duration::from_millis(500);

/// What can be asked for. One JSON object a line on the control socket, as other requests.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "kebab-case")]
pub(crate) enum Work {
    Backup { directory: PathBuf },
    Check { repair: bool, forget: bool },
    Expire { dry_run: bool },
    Export { user: String, directory: PathBuf, format: ExportFormat },
}

/// What is told of it: any number of `progress`, then one of the others. Printed as they are with `--json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    Progress {
        step: String,
        rows: u64,
        octets: u64,
    },
    BackedUp {
        generation: u32,
        /// How many earlier generations it builds upon.
        bases: u32,
        rows: u64,
        chunks: u64,
        octets: u64,
        /// What could not be read.
        missing: Vec<String>,
        /// Where there is mail that no backup has.
        #[serde(default)]
        elsewhere: Vec<String>,
    },
    Restored {
        generation: u32,
        rows: u64,
        chunks: u64,
        octets: u64,
        /// What could not be read.
        #[serde(default)]
        missing: Vec<String>,
    },
    BackupChecked {
        /// Which generations can be restored whole, and which cannot.
        whole: Vec<u32>,
        damaged: Vec<u32>,
        records: u64,
        octets: u64,
        findings: Vec<String>,
    },
    /// As [`Gone`], any number of times.
    Expiring(Gone),
    Expired(Expired),
    Exported(Exported),
    Checked {
        mailboxes: u64,
        messages: u64,
        octets: u64,
        findings: Vec<Found>,
        /// Where there is mail that was not looked at.
        #[serde(default)]
        elsewhere: Vec<String>,
    },
    Failed {
        message: String,
    },
}

/// Something that is wrong with the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    what: String,
    repaired: bool,
}

/// `mailwrightd backup`
pub(crate) fn back_up(config: &Config, directory: PathBuf, json: bool) -> Result<(), CommandError> {
    // The server may have another working directory.
    let directory = std::path::absolute(&directory).unwrap_or(directory);
    if resolved(&directory).starts_with(resolved(&config.data)) {
        return Err(CommandError::Refused(format!(
            "{} is in the data directory {}, and would be lost with it: name a directory elsewhere, best of all on another disk",
            directory.display(),
            config.data.display()
        )));
    }
    finish(run(config, &Work::Backup { directory }, json)?, json)
}

/// `mailwrightd backup --check`
pub(crate) fn verify(directory: &Path, json: bool) -> Result<(), CommandError> {
    let mut teller = Teller::new();
    let mut progress = |check: &BackupCheck| {
        let _ = teller.tell("check", check.records, check.octets, &mut |event| shown(event, json));
    };
    let event = match check_backup(directory, &mut progress) {
        Ok(BackupCheck { whole, damaged, records, octets, findings, .. }) => {
            Event::BackupChecked { whole, damaged, records, octets, findings }
        }
        Err(StoreError::NotFound) => failed(format!("no generation in {}", directory.display())),
        Err(error) => failed(error),
    };
    finish(event, json)
}

/// The path without links, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    let Some((part, there)) = there else { return path };
    path.strip_prefix(part).map_or_else(|_| path.clone(), |rest| there.join(rest))
}

/// `mailwrightd fsck`
pub(crate) fn check(config: &Config, repair: bool, forget: bool, json: bool) -> Result<(), CommandError> {
    finish(run(config, &Work::Check { repair, forget }, json)?, json)
}

/// `mailwrightd expire`
pub(crate) fn expire(config: &Config, dry_run: bool, json: bool) -> Result<(), CommandError> {
    finish(run(config, &Work::Expire { dry_run }, json)?, json)
}

/// `mailwrightd export`
pub(crate) fn export_user(
    config: &Config,
    user: String,
    directory: PathBuf,
    format: ExportFormat,
    json: bool,
) -> Result<(), CommandError> {
    let directory = std::path::absolute(&directory).unwrap_or(directory);
    finish(run(config, &Work::Export { user, directory, format }, json)?, json)
}

/// `mailwrightd restore`
pub(crate) fn restore_from(
    config: &Config,
    directory: PathBuf,
    generation: Option<u32>,
    damaged: bool,
    json: bool,
) -> Result<(), CommandError> {
    let target = config.data.join("store");
    crate::first_run::make_private(&config.data)
        .map_err(|source| CommandError::File { file: config.data.display().to_string(), source })?;
    let mut teller = Teller::new();
    let mut progress = |report: &BackupReport| {
        let rows = report.rows + report.chunks;
        let _ = teller.tell("restore", rows, report.octets, &mut |event| shown(event, json));
    };
    let restored = match damaged {
        true => restore_damaged(&directory, generation, &target, &mut progress),
        false => restore(&directory, generation, &target, &mut progress),
    };
    let event = match restored {
        Ok(report) => Event::Restored {
            generation: report.generation,
            rows: report.rows,
            chunks: report.chunks,
            octets: report.octets,
            missing: report.missing,
        },
        Err(error @ StoreError::Corrupt(_)) if !damaged => failed(format!(
            "{error}\n  an earlier generation may be whole (--generation NUMBER), and --damaged brings back what can be read"
        )),
        Err(error @ StoreError::Corrupt(_)) => failed(format!(
            "{error}\n  nothing of this generation can be brought back; an earlier one may be whole (--generation NUMBER)"
        )),
        Err(StoreError::Exists) => failed(format!("{} is not empty", target.display())),
        Err(StoreError::NotFound) => failed(format!("no such generation in {}", directory.display())),
        Err(error) => failed(error),
    };
    finish(event, json)
}

/// Has it done by the server, or here.
fn run(config: &Config, work: &Work, json: bool) -> Result<Event, CommandError> {
    let stream = match UnixStream::connect(control::path(&config.data)) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            let (store, directory) = serve::open(config)?;
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let runtime = runtime.map_err(CommandError::Control)?;
            let _runtime = runtime.enter();
            let life = serve::life(config, &store, &directory)?;
            return Ok(execute(&store, &life, work, true, &mut |event| shown(event, json)));
        }
        Err(error) => return Err(CommandError::Control(error)),
    };
    listen(&stream, work, json).map_err(CommandError::Control)
}

fn listen(mut stream: &UnixStream, work: &Work, json: bool) -> io::Result<Event> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(work)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    for line in BufReader::new(stream).lines() {
        match serde_json::from_str(&line?)? {
            event @ (Event::Progress { .. } | Event::Expiring(_)) => show(&event, json),
            event => return Ok(event),
        }
    }
    Ok(failed("the server has ended"))
}

/// Does what another process asked for, and tells it. A backup that nobody waits for any more is broken off; all else is done.
pub(crate) fn serve_one(
    mut stream: &UnixStream,
    store: &Embedded,
    life: &Life,
    work: &Work,
) -> io::Result<()> {
    let mut send = |event: &Event| -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        stream.write_all(&line)
    };
    let last = execute(store, life, work, false, &mut send);
    if let (Event::Failed { message }, Err(_)) = (&last, send(&last)) {
        tracing::warn!(%message, ?work, "control: whoever asked has gone");
    }
    stream.shutdown(Shutdown::Write)
}

/// Tells somebody, who may have gone.
type Tell<'t> = &'t mut (dyn FnMut(&Event) -> io::Result<()> + Send);

fn execute(store: &Embedded, life: &Life, work: &Work, alone: bool, tell: Tell<'_>) -> Event {
    let mut teller = Teller::new();
    match work {
        Work::Backup { directory } => {
            let mut progress = |report: &BackupReport| {
                let told = teller.tell("backup", report.rows + report.chunks, report.octets, tell);
                told.map_or(ControlFlow::Break(()), ControlFlow::Continue)
            };
            match store.back_up_while(directory, &mut progress) {
                Ok(report) => Event::BackedUp {
                    generation: report.generation,
                    bases: report.bases,
                    rows: report.rows,
                    chunks: report.chunks,
                    octets: report.octets,
                    missing: report.missing,
                    elsewhere: life.elsewhere.clone(),
                },
                Err(error) => failed(error),
            }
        }
        Work::Expire { dry_run } => {
            let mut told = |accounts, gone: Option<Gone>| match gone {
                Some(gone) => drop(tell(&Event::Expiring(gone))),
                None => drop(teller.tell("accounts", accounts, 0, tell)),
            };
            Event::Expired(block_on(life::expire(life, *dry_run, &mut told)))
        }
        Work::Export { user, directory, format } => {
            let mut told = |messages, octets| drop(teller.tell("messages", messages, octets, tell));
            export::export(life, user, directory, *format, &mut told).map_or_else(failed, Event::Exported)
        }
        Work::Check { repair: true, .. } if !alone => {
            failed("expected no server to run while the store is repaired")
        }
        Work::Check { repair, forget } => {
            let mut progress = |at: mailwright::mailstore::embedded::CheckProgress| {
                let _ = teller.tell(at.step, at.rows, 0, tell);
            };
            let checked = block_on(async {
                let gone = if *forget { store.forget_set_aside().await? } else { Vec::new() };
                Ok::<_, StoreError>((gone, store.check(*repair, &mut progress).await?))
            });
            match checked {
                Ok((gone, report)) => Event::Checked {
                    mailboxes: report.mailboxes,
                    messages: report.messages,
                    octets: report.octets,
                    findings: gone
                        .into_iter()
                        .chain(report.findings)
                        .map(|found| Found { what: found.what, repaired: found.repaired })
                        .collect(),
                    elsewhere: life.elsewhere.clone(),
                },
                Err(error) => failed(error),
            }
        }
    }
}

fn failed(error: impl ToString) -> Event {
    Event::Failed { message: error.to_string() }
}

/// Tells progress now and then.
struct Teller(Instant);

impl Teller {
    fn new() -> Self {
        Self(Instant::now())
    }

    fn tell(
        &mut self,
        step: &str,
        rows: u64,
        octets: u64,
        tell: &mut dyn FnMut(&Event) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.0.elapsed() < OFTEN {
            return Ok(());
        }
        self.0 = Instant::now();
        tell(&Event::Progress { step: step.to_owned(), rows, octets })
    }
}

/// Progress is for whoever looks on, and stays out of what is printed for programs but with `--json`.
fn show(event: &Event, json: bool) {
    if json {
        println!("{}", serde_json::to_string(event).unwrap_or_default());
    } else if let Event::Expiring(Gone { user, mailbox, messages, octets }) = event {
        let place = if mailbox.is_empty() { "all mail of the removed account" } else { mailbox };
        println!("{user}  {place}: {messages} messages, {octets} octets");
    } else if let Event::Progress { step, rows, octets } = event {
        eprintln!("{step}: {rows} rows, {} MiB", octets >> 20);
    }
}

/// As [`show`], to somebody who does not go.
fn shown(event: &Event, json: bool) -> io::Result<()> {
    show(event, json);
    Ok(())
}

fn finish(event: Event, json: bool) -> Result<(), CommandError> {
    if json {
        show(&event, true);
    }
    let text = match &event {
        Event::Failed { message } => return Err(CommandError::Refused(message.clone())),
        Event::Progress { .. } | Event::Expiring(_) => String::new(),
        Event::Expired(Expired { accounts, messages, octets, erased }) => {
            format!(
                "{accounts} accounts: {messages} messages, {octets} octets, and {erased} removed accounts"
            )
        }
        Event::BackedUp { generation, bases, rows, chunks, octets, missing, elsewhere } => {
            let elsewhere: String =
                elsewhere.iter().map(|path| format!("not in it: the mail in {path}; {COPY}\n")).collect();
            let missing: String = missing.iter().map(|what| format!("found: {what}\n")).collect();
            let whole = if *generation > 1 && *bases == 0 {
                "; a whole one, since none of the earlier ones can be built upon: they are not of this store, or damaged"
            } else {
                ""
            };
            format!(
                "{missing}{elsewhere}generation {generation}: {rows} rows and {chunks} parts of messages, {octets} octets{whole}"
            )
        }
        Event::Exported(Exported { mailboxes, messages, octets, along, left, missing }) => {
            let missing = missing.iter().map(|what| format!("not exported: {what}\n"));
            let left = left.iter().map(|what| format!("stays here: {what}\n"));
            let before: String = missing.chain(left).collect();
            let mut text = format!("{before}{mailboxes} mailboxes, {messages} messages, {octets} octets");
            if *along != Along::default() {
                text.push_str(&format!("\nwith {along}"));
            }
            text
        }
        Event::Restored { generation, rows, chunks, octets, missing } => {
            let missing: String = missing.iter().map(|what| format!("missing: {what}\n")).collect();
            format!(
                "{missing}generation {generation} is back: {rows} rows and {chunks} parts of messages, {octets} octets"
            )
        }
        Event::BackupChecked { whole, damaged, records, octets, findings } => {
            let found: String = findings.iter().map(|what| format!("found: {what}\n")).collect();
            let (whole, damaged) = (ranges(whole), ranges(damaged));
            format!("{found}{records} records, {octets} octets; whole: {whole}; not whole: {damaged}")
        }
        Event::Checked { mailboxes, messages, octets, findings, elsewhere } => {
            let elsewhere = elsewhere.iter().map(|path| format!("not looked at: the mail in {path}\n"));
            let found = findings.iter().map(|found| {
                let mark = if found.repaired { "repaired" } else { "found" };
                format!("{mark}: {}\n", found.what)
            });
            let sum = format!("{mailboxes} mailboxes, {messages} messages, {octets} octets: ");
            let verdict = format!("{} findings", findings.len());
            elsewhere.chain(found).collect::<String>() + &sum + &verdict
        }
    };
    if !json {
        println!("{text}");
    }
    match event {
        Event::Checked { findings, .. } if findings.iter().any(|found| !found.repaired) => {
            Err(CommandError::Refused("the store is not in order".into()))
        }
        Event::BackupChecked { findings, .. } if !findings.is_empty() => {
            Err(CommandError::Refused("the backup is not in order".into()))
        }
        Event::Exported(Exported { missing, .. }) if !missing.is_empty() => {
            Err(CommandError::Refused("not everything could be exported".into()))
        }
        Event::Restored { missing, .. } if !missing.is_empty() => Err(CommandError::Refused(
            "not everything could be brought back; all else is there, and `mailwrightd fsck` names the messages that lack something".into(),
        )),
        Event::BackedUp { missing, .. } if !missing.is_empty() => {
            Err(CommandError::Refused("not everything could be read; all else was copied, and the generation is there".into()))
        }
        _ => Ok(()),
    }
}

/// Numbers that ascend, for people to read.
fn ranges(numbers: &[u32]) -> String {
    let runs = numbers.chunk_by(|one, next| one.checked_add(1) == Some(*next));
    let runs: Vec<String> = runs
        .filter_map(|run| match (run.first()?, run.last()?) {
            (first, last) if first == last => Some(first.to_string()),
            (first, last) => Some(format!("{first} to {last}")),
        })
        .collect();
    if runs.is_empty() { "none".into() } else { runs.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_told_in_runs() {
        assert_eq!(ranges(&[]), "none");
        assert_eq!(ranges(&[1, 2, 3, 5, 7, 8]), "1 to 3, 5, 7 to 8");
    }
}
