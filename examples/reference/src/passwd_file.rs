//! Passwd-files of Dovecot that are followed while the server runs: an account for each line, and none for a line that is
//! gone.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::ImportEntry,
    command::CommandError,
    directory::{Directory, DirectoryError},
    password::StoredPassword,
    user::read_passwd,
};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// Why the accounts stay as they are.
#[derive(Debug, Error)]
pub(crate) enum PasswdError {
    #[error(transparent)]
    Read(#[from] CommandError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("cannot write {path}: {source}")]
    Ledger { path: PathBuf, source: io::Error },
}

/// The files, and which accounts are theirs.
pub(crate) struct PasswdFiles {
    files: Vec<PathBuf>,
    /// The names of the accounts that came from the files: what tells them from accounts that were added by hand.
    ledger: PathBuf,
    directory: Arc<Directory>,
}

/// The accounts that came from files the last time that a server looked.
pub(crate) fn followed(data: &Path) -> BTreeSet<String> {
    read_ledger(&ledger(data))
}

fn ledger(data: &Path) -> PathBuf {
    data.join("passwd-files.json")
}

fn read_ledger(path: &Path) -> BTreeSet<String> {
    fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

impl PasswdFiles {
    pub(crate) fn new(files: Vec<PathBuf>, data: &Path, directory: Arc<Directory>) -> Self {
        Self { files, ledger: ledger(data), directory }
    }

    /// Makes the accounts what the files say. If one of them cannot be used, nothing changes.
    pub(crate) fn follow(&self) -> Result<(), PasswdError> {
        let ours = read_ledger(&self.ledger);
        if self.files.is_empty() && ours.is_empty() {
            return Ok(());
        }
        let mut entries: Vec<ImportEntry> = Vec::new();
        let mut empty = None;
        for file in &self.files {
            let found = read_passwd(file)?;
            if found.is_empty() {
                empty = Some(file);
            }
            entries.extend(found);
        }
        let changed: Vec<ImportEntry> = entries.iter().filter(|entry| self.is_new(entry)).cloned().collect();
        self.directory.import(&changed, true)?;
        let mut wanted = BTreeSet::new();
        for entry in &entries {
            wanted.insert(self.directory.account(&entry.name)?.user.as_str().to_owned());
        }
        // A file that is written anew is empty for a moment: nobody is removed for that, as for a directory that answers nothing.
        if let Some(file) = empty
            && !ours.is_subset(&wanted)
        {
            tracing::warn!(
                file = %file.display(),
                "this passwd-file has no accounts: those that came from files and are in none now stay; remove them by `mailwrightd user remove`"
            );
            wanted.extend(ours.iter().filter(|name| self.directory.has(name)).cloned());
        }
        let gone: Vec<&String> = ours.difference(&wanted).collect();
        for name in &gone {
            match self.directory.remove(name) {
                // Somebody has removed it by hand.
                Ok(()) | Err(DirectoryError::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !changed.is_empty() || !gone.is_empty() {
            tracing::info!(changed = changed.len(), removed = gone.len(), "the passwd-files were read");
        }
        let failed = |source| PasswdError::Ledger { path: self.ledger.clone(), source };
        let text = serde_json::to_vec(&wanted).map_err(|error| failed(error.into()))?;
        let new = self.ledger.with_extension("new");
        fs::write(&new, text).and_then(|()| fs::rename(&new, &self.ledger)).map_err(failed)
    }

    /// Follows the files whenever one changes, until it is stopped.
    pub(crate) async fn watch(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let mut seen = this.stamps();
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
            let found = this.stamps();
            if found == seen {
                continue;
            }
            let follower = Arc::clone(&this);
            let followed = tokio::task::spawn_blocking(move || follower.follow()).await;
            if let Ok(Err(error)) = followed {
                tracing::error!(%error, "the accounts of the passwd-files stay as they are");
            }
            seen = found;
        }
    }

    fn stamps(&self) -> Vec<Option<(SystemTime, u64)>> {
        let stamp = |file: &PathBuf| {
            let found = fs::metadata(file).ok()?;
            Some((found.modified().ok()?, found.len()))
        };
        self.files.iter().map(stamp).collect()
    }

    fn is_new(&self, entry: &ImportEntry) -> bool {
        let Ok(account) = self.directory.account(&entry.name) else { return true };
        StoredPassword::parse(&entry.password).map_or(true, |password| password != account.password)
    }
}

#[cfg(test)]
mod tests {
    use mailwright::mailstore::embedded::{Embedded, Options};

    use super::*;
    use crate::config::Config;

    #[test]
    fn accounts_are_what_the_files_say_and_those_added_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { domains: vec!["a.test".into()], ..Config::default() };
        let store = Embedded::open(folder.path().join("store"), Options::default()).unwrap();
        let table = |name| store.table(name).unwrap();
        let keys = crate::dkim::Keys::open(table("k")).unwrap();
        let directory =
            Directory::open(table("a"), table("e"), table("s"), table("r"), keys, &config).unwrap();
        let directory = Arc::new(directory);
        directory.add("hand@a.test", "pencil", true).unwrap();
        let file = folder.path().join("users");
        let files = PasswdFiles::new(vec![file.clone()], folder.path(), Arc::clone(&directory));
        let names = || directory.list().into_iter().map(|user| user.name).collect::<Vec<_>>();

        fs::write(&file, "Ann@a.test:{PLAIN}one\nbob@a.test:{PLAIN}two:::::\n").unwrap();
        files.follow().unwrap();
        assert_eq!(names(), ["ann@a.test", "bob@a.test", "hand@a.test"]);
        fs::write(&file, "bob@a.test:{PLAIN}three\n").unwrap();
        files.follow().unwrap();
        assert_eq!(names(), ["bob@a.test", "hand@a.test"]);
        assert!(directory.account("bob@a.test").unwrap().password.verify(b"three"));
        // A file that cannot be used changes nothing.
        for bad in
            ["bob@a.test:{PLAIN}four\nnonsense\n", "bob@a.test:{MD5}x\n", "bob@elsewhere.test:{PLAIN}x\n"]
        {
            fs::write(&file, bad).unwrap();
            assert!(files.follow().is_err(), "{bad}");
        }
        assert!(directory.account("bob@a.test").unwrap().password.verify(b"three"));
        // Nor does one that is empty, as it is while somebody writes it.
        for empty in ["", "# nobody\n"] {
            fs::write(&file, empty).unwrap();
            files.follow().unwrap();
            assert_eq!(names(), ["bob@a.test", "hand@a.test"]);
        }
        fs::write(&file, "eve@a.test:{PLAIN}five\n").unwrap();
        files.follow().unwrap();
        assert_eq!(names(), ["eve@a.test", "hand@a.test"], "those that stayed are the file's still");
        // Without the files their accounts go.
        PasswdFiles::new(Vec::new(), folder.path(), Arc::clone(&directory)).follow().unwrap();
        assert_eq!(names(), ["hand@a.test"]);
    }
}
