//! Commands that show or change what the server knows: by the control socket if one runs, else on the data themselves.

use std::{fmt::Display, fs, io, path::Path, sync::Arc};

use thiserror::Error;

use crate::{
    admin::{Administration, Request, Response},
    config::Config,
    control,
    directory::DirectoryError,
    queue::Access,
    rules::Rules,
    serve::{self, ServeError},
    trace::TraceError,
};

/// Why a command did not do what was asked.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Open(#[from] ServeError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("cannot talk to the running server: {0}")]
    Control(io::Error),
    #[error("cannot read the password from standard input: {0}")]
    Password(io::Error),
    #[error("cannot read {file}: {source}")]
    File { file: String, source: io::Error },
    #[error("{file}, line {line}: expected user@domain:{{SCHEME}}hash")]
    Line { file: String, line: usize },
    #[error("{file}: {problem}")]
    Content { file: String, problem: String },
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error("{0}")]
    Print(String),
}

/// Has it done.
pub(crate) fn request(config: &Config, request: Request) -> Result<Response, CommandError> {
    let response = match control::ask(&config.data, &request).map_err(CommandError::Control)? {
        Some(response) => response,
        None => {
            let (database, directory) = serve::open(config)?;
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let runtime = runtime.map_err(|error| CommandError::Refused(error.to_string()))?;
            // Stores may hand what blocks to its threads.
            let _runtime = runtime.enter();
            let life = serve::life(config, &database, &directory)?;
            let fetch = serve::fetch(config, &database, &directory)?;
            let suppressed = serve::suppressed(config, &database)?;
            let waiting = serve::waiting(config, &database)?;
            let store = serve::mail_store(config, database.clone(), &waiting)?;
            let access = Access { store, waiting, flush: None, suppressed, own_listings: None };
            let rules = match request {
                Request::Explain(_) => {
                    let known = serve::known(config, &database)?;
                    let rules = Rules::alone(config, &directory, known).map_err(CommandError::Refused)?;
                    Some(Arc::new(rules))
                }
                _ => None,
            };
            let tokens = serve::tokens(config, &database)?;
            let config = Arc::new(config.clone());
            let administration =
                Administration { config, directory, queue: access, life, fetch, tokens, rules, live: None };
            administration.execute(request)
        }
    };
    match response {
        Response::Failed { message, .. } => Err(CommandError::Refused(message)),
        response => Ok(response),
    }
}

/// Reads a file, and understands it.
pub(crate) fn read_file<T, E: Display>(
    file: &Path,
    understand: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Result<T, CommandError> {
    let shown = file.display().to_string();
    let octets = fs::read(file).map_err(|source| CommandError::File { file: shown.clone(), source })?;
    understand(&octets).map_err(|error| CommandError::Content { file: shown, problem: error.to_string() })
}

/// Prints something as one line of JSON.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), CommandError> {
    println!("{}", serde_json::to_string(value).map_err(|error| CommandError::Print(error.to_string()))?);
    Ok(())
}
