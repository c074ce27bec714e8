//! `sieve explain`: what the scripts would do with a message, and why.

use std::{
    fs,
    io::{self, Read},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use mailwright::{
    filter::{Explanation, Mail, Remembered, ScriptOrigin, SieveFilter},
    mail_model::{Address, DateTime, mime::Structure},
    mailstore::{AnyStore, Store, StoreError, Write, block_on},
    sieve::Envelope,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    admin::{Request, Response},
    cli::SieveCommand,
    command::{CommandError, print_json, request},
    config::Config,
    directory::{Directory, DirectoryError},
};

/// So much of a message is kept together.
const PIECE: usize = 64 << 10;

/// What runs scripts without doing what they say.
pub(crate) type Filter = SieveFilter<AnyStore, Remembered>;

/// What can be asked about scripts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "sieve", rename_all = "kebab-case")]
pub(crate) enum SieveRequest {
    Explain {
        user: String,
        /// In base64.
        message: String,
        from: String,
        to: Option<String>,
    },
    Log {
        user: String,
    },
}

/// What comes of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "sieve-response", rename_all = "kebab-case")]
pub(crate) enum SieveResponse {
    Explained(Box<Explained>),
    Log { lines: Vec<LogEntry> },
}

/// A line of a user's log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LogEntry {
    /// In seconds since 1970.
    pub(crate) at: i64,
    pub(crate) text: String,
}

/// Why a message came where it came, or would.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Explained {
    /// The scripts there are for the user, in order.
    pub(crate) scripts: Vec<String>,
    /// Why the user's own is not among them.
    pub(crate) problem: Option<String>,
    pub(crate) steps: Vec<StepEntry>,
    pub(crate) actions: Vec<String>,
    pub(crate) implicit_keep: bool,
    pub(crate) error: Option<String>,
    pub(crate) log: Vec<String>,
}

/// One test or action that was reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StepEntry {
    pub(crate) script: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) step: String,
}

/// Why there is nothing to be said.
#[derive(Debug, Error)]
pub(crate) enum SieveError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("the message cannot be held while it is looked at: {0}")]
    Store(#[from] StoreError),
    #[error("the log cannot be read: {0}")]
    Log(StoreError),
    #[error("the message did not arrive whole")]
    Message,
}

/// Does what is asked. Blocks.
pub(crate) fn execute(
    directory: &Directory,
    store: &AnyStore,
    filter: &Filter,
    request: &SieveRequest,
) -> Result<SieveResponse, SieveError> {
    let (user, message, from, to) = match request {
        SieveRequest::Explain { user, message, from, to } => (user, message, from, to),
        SieveRequest::Log { user } => {
            let user = directory.account(user)?.user.clone();
            let lines = block_on(filter.user_log(&user)).map_err(SieveError::Log)?;
            let lines = lines.into_iter().map(|line| LogEntry { at: line.at, text: line.text });
            return Ok(SieveResponse::Log { lines: lines.collect() });
        }
    };
    let user = directory.account(user)?.user.clone();
    let octets = STANDARD.decode(message).map_err(|_| SieveError::Message)?;
    let explanation = block_on(async {
        let writer = store.writer().ok_or_else(|| StoreError::ReadOnly("the store takes no mail".into()))?;
        // Never committed, so that nothing is left of it.
        let mut upload = writer.begin(Some(octets.len() as u64)).await?;
        for piece in octets.chunks(PIECE) {
            upload.write(piece.to_vec().into()).await?;
        }
        let mut envelope = Envelope::default();
        envelope.from = Some(from.clone());
        envelope.to = Some(to.clone().unwrap_or_else(|| user.as_str().to_owned()));
        let structure = Arc::new(Structure::of(&octets));
        let own = |address: &Address| Some(directory.current().is_own(user.as_str(), address));
        let mail = Mail::new(&user, &mut upload, structure, envelope, "explain", (now(), 0));
        let mut mail = mail.knowing(&own);
        Ok::<_, StoreError>(filter.explain(&mut mail).await)
    })?;
    Ok(SieveResponse::Explained(Box::new(explained(explanation))))
}

fn now() -> DateTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).ok().and_then(|now| DateTime::new(now, 0)).unwrap_or(DateTime::EPOCH)
}

fn explained(explanation: Explanation) -> Explained {
    let name = |origin: &ScriptOrigin| match origin {
        ScriptOrigin::Before(place) => format!("before {}", place + 1),
        ScriptOrigin::Personal(name) => format!("personal \"{name}\""),
        ScriptOrigin::Default => "default".to_owned(),
        ScriptOrigin::After(place) => format!("after {}", place + 1),
        _ => "script".to_owned(),
    };
    let scripts: Vec<String> = explanation.scripts.iter().map(name).collect();
    let mut explained = Explained {
        scripts,
        problem: explanation.problem,
        steps: Vec::new(),
        actions: vec!["keep".into()],
        implicit_keep: true,
        error: None,
        log: Vec::new(),
    };
    let Some(outcome) = explanation.outcome else { return explained };
    explained.actions = outcome.in_words();
    explained.implicit_keep = outcome.implicit_keep;
    explained.error = outcome.error.map(|error| error.to_string());
    explained.log =
        outcome.log.iter().map(|line| format!("line {}: {}", line.position.line, line.message)).collect();
    let step = |line: mailwright::sieve::TraceLine| {
        let script = explained.scripts.get(line.script).cloned().unwrap_or_default();
        let script = match &line.included {
            Some(included) => format!("{script}, included \"{included}\""),
            None => script,
        };
        StepEntry { script, line: line.position.line, column: line.position.column, step: line.text }
    };
    explained.steps = outcome.trace.into_iter().map(step).collect();
    explained
}

/// `sieve`.
pub(crate) fn run(config: &Config, command: SieveCommand) -> Result<(), CommandError> {
    let (user, message, from, to, json) = match command {
        SieveCommand::Explain { user, message, from, to, json } => (user, message, from, to, json),
        SieveCommand::Log { user, json } => return show_log(config, user, json),
    };
    let mut octets = Vec::new();
    let read = match message.as_os_str() == "-" {
        true => io::stdin().lock().read_to_end(&mut octets).map(drop),
        false => fs::read(&message).map(|found| octets = found),
    };
    read.map_err(|source| CommandError::File { file: message.display().to_string(), source })?;
    let asked = SieveRequest::Explain { user, message: STANDARD.encode(octets), from, to };
    let Response::Sieve(SieveResponse::Explained(explained)) = request(config, Request::Sieve(asked))? else {
        return Ok(());
    };
    if json {
        return print_json(&*explained);
    }
    for line in in_words(&explained) {
        println!("{line}");
    }
    Ok(())
}

/// `sieve log`.
fn show_log(config: &Config, user: String, json: bool) -> Result<(), CommandError> {
    let asked = Request::Sieve(SieveRequest::Log { user });
    let Response::Sieve(SieveResponse::Log { lines }) = request(config, asked)? else { return Ok(()) };
    for line in lines {
        if json {
            print_json(&line)?;
        } else {
            let time = DateTime::new(line.at, 0).unwrap_or(DateTime::EPOCH).to_rfc5322();
            println!("{time}  {}", line.text);
        }
    }
    Ok(())
}

fn in_words(explained: &Explained) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(problem) = &explained.problem {
        lines.push(problem.clone());
    }
    if explained.scripts.is_empty() {
        lines.push("there are no scripts for this user".into());
    } else {
        lines.push(format!("scripts: {}", explained.scripts.join(", ")));
    }
    let mut script = None;
    for step in &explained.steps {
        if script != Some(&step.script) {
            lines.push(format!("{}:", step.script));
            script = Some(&step.script);
        }
        lines.push(format!("  line {}: {}", step.line, step.step));
    }
    lines.extend(explained.log.iter().map(|line| format!("told the user: {line}")));
    lines.extend(explained.error.iter().map(|error| format!("error: {error}")));
    lines.extend(explained.actions.iter().map(|action| format!("would: {action}")));
    lines
}
