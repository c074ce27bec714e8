//! The server's own Sieve scripts: read and compiled at the start, so that a mistake is told then and not with the first
//! message.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use mailwright::{
    filter::ServerScripts,
    sieve::{CompileError, Language, Program},
};
use thiserror::Error;

use crate::config::Config;

/// Why a script of the server cannot be used.
#[derive(Debug, Error)]
pub(crate) enum ScriptError {
    #[error("cannot read the sieve script {path}: {source}\n  it is named in [sieve] of the configuration")]
    Read { path: PathBuf, source: io::Error },
    #[error("the sieve script {path} is not right:\n  {source}")]
    Compile { path: PathBuf, source: CompileError },
}

/// All of them.
pub(crate) fn load(config: &Config) -> Result<ServerScripts, ScriptError> {
    let language = config.filter_options().server_language();
    let config = &config.sieve;
    let all =
        |paths: &[PathBuf]| paths.iter().map(|path| compile(&language, path)).collect::<Result<Vec<_>, _>>();
    let mut scripts = ServerScripts::default();
    scripts.before = all(&config.before)?;
    scripts.after = all(&config.after)?;
    scripts.default = config.default.as_deref().map(|path| compile(&language, path)).transpose()?;
    if let Some(folder) = &config.included {
        let failed = |source| ScriptError::Read { path: folder.clone(), source };
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "sieve")
                && let Some(name) = path.file_stem().and_then(|name| name.to_str())
            {
                scripts.included.insert(name.to_owned(), compile(&language, &path)?);
            }
        }
    }
    Ok(scripts)
}

fn compile(language: &Language, path: &Path) -> Result<Arc<Program>, ScriptError> {
    let text = fs::read(path).map_err(|source| ScriptError::Read { path: path.into(), source })?;
    let program =
        language.compile(&text).map_err(|source| ScriptError::Compile { path: path.into(), source })?;
    Ok(Arc::new(program))
}
