//! Passwd-files of Dovecot that are followed while the server runs: an account for each line, and none for a line that is
//! gone.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::{
    admin::ImportEntry,
    command::CommandError,
    directory::{Directory, DirectoryError, Origin},
    password::StoredPassword,
    serve::ServeError,
    user::read_passwd,
};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// Where earlier versions noted which accounts came from the files.
const LEDGER: &str = "passwd-files.json";

/// Why the accounts stay as they are.
#[derive(Debug, Error)]
pub(crate) enum PasswdError {
    #[error(transparent)]
    Read(#[from] CommandError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// The files, and the accounts that come from them.
pub(crate) struct PasswdFiles {
    files: Vec<PathBuf>,
    directory: Arc<Directory>,
    /// Held while the files are followed: what they were at the last time that this was done, and what was wrong then.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen: Stamps,
    told: BTreeSet<String>,
}

/// When each file was changed, and how long it is; `None` for one that is not there.
type Stamps = Vec<Option<(SystemTime, u64)>>;

/// Moves what an earlier version noted beside the store to the accounts themselves.
pub(crate) fn take_over_ledger(data: &Path, directory: &Directory) -> Result<(), ServeError> {
    let path = data.join(LEDGER);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // One that cannot be read said nothing to that version either.
    let names: BTreeSet<String> = serde_json::from_slice(&text).unwrap_or_default();
    directory.claim(&names, Origin::PasswdFile)?;
    Ok(fs::remove_file(&path)?)
}

impl PasswdFiles {
    pub(crate) fn new(files: Vec<PathBuf>, directory: Arc<Directory>) -> Self {
        Self { files, directory, state: Mutex::default() }
    }

    /// Makes the accounts what the files say. If one of them cannot be used, nothing changes, and it is tried again; the same is told
    /// once.
    pub(crate) fn follow(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Before they are read: what changes meanwhile is read again.
        let found = self.stamps();
        let mut warnings = BTreeSet::new();
        let followed = self.followed(&mut warnings);
        warnings.difference(&state.told).for_each(|warning| tracing::warn!("{warning}"));
        if let Err(error) = followed {
            let problem = error.to_string();
            if !state.told.contains(&problem) {
                tracing::error!(problem, "the accounts of the passwd-files stay as they are");
            }
            warnings.insert(problem);
        } else {
            state.seen = found;
        }
        state.told = warnings;
    }

    fn followed(&self, warnings: &mut BTreeSet<String>) -> Result<(), PasswdError> {
        let ours = self.directory.accounts_from(Origin::PasswdFile);
        if self.files.is_empty() && ours.is_empty() {
            return Ok(());
        }
        // In the order of the files: of accounts that are new together the first is the oldest.
        let (mut wanted, mut entries) = (BTreeSet::new(), Vec::new());
        let mut empty = None;
        for file in &self.files {
            let found = read_passwd(file)?;
            if found.is_empty() {
                empty = Some(file.display());
            }
            for entry in found {
                let name = self.directory.local_name(&entry.name).map_err(|error| {
                    DirectoryError::Import { name: entry.name.clone(), problem: error.to_string() }
                })?;
                if wanted.contains(&name) {
                    let file = file.display();
                    warnings
                        .insert(format!("{file}: another line for {name} does not count, the first does"));
                } else {
                    wanted.insert(name);
                    entries.push(entry);
                }
            }
        }
        entries.retain(|entry| self.is_new(entry));
        self.directory.import(&entries, true, Some(Origin::PasswdFile))?;
        let mut gone: Vec<&String> = ours.difference(&wanted).collect();
        // A file that is written anew is empty for a moment: nobody is removed for that, as for a directory that answers nothing.
        if let Some(file) = empty
            && !gone.is_empty()
        {
            warnings.insert(format!(
                "{file}: there are no accounts in it: those that came from files and are in none now stay; remove them by `mailwrightd user remove`"
            ));
            gone.clear();
        }
        for name in &gone {
            match self.directory.remove(name) {
                // Somebody has removed it by hand.
                Ok(()) | Err(DirectoryError::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !entries.is_empty() || !gone.is_empty() {
            tracing::info!(changed = entries.len(), removed = gone.len(), "the passwd-files were read");
        }
        Ok(())
    }

    /// Follows the files whenever one changes, until it is stopped.
    pub(crate) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
            let this = Arc::clone(&self);
            let followed = tokio::task::spawn_blocking(move || {
                if this.stamps() != this.state.lock().unwrap_or_else(PoisonError::into_inner).seen {
                    this.follow();
                }
            });
            let _ended = followed.await;
        }
    }

    fn stamps(&self) -> Stamps {
        let stamp = |file: &PathBuf| {
            let found = fs::metadata(file).ok()?;
            Some((found.modified().ok()?, found.len()))
        };
        self.files.iter().map(stamp).collect()
    }

    fn is_new(&self, entry: &ImportEntry) -> bool {
        let Ok(account) = self.directory.account(&entry.name) else { return true };
        account.origin != Origin::PasswdFile
            || !account.goes_by(entry.login.as_ref())
            || StoredPassword::parse(&entry.password).map_or(true, |password| password != account.password)
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
        let files = PasswdFiles::new(vec![file.clone()], Arc::clone(&directory));
        let names = || directory.list().into_iter().map(|user| user.name).collect::<Vec<_>>();

        fs::write(&file, "Ann@a.test:{PLAIN}one\nbob@a.test:{PLAIN}two:::::\n").unwrap();
        files.follow();
        assert_eq!(names(), ["ann@a.test", "bob@a.test", "hand@a.test"]);
        fs::write(&file, "bob@a.test:{PLAIN}three\n").unwrap();
        files.follow();
        assert_eq!(names(), ["bob@a.test", "hand@a.test"]);
        assert!(directory.account("bob@a.test").unwrap().password.verify(b"three"));
        // A file that cannot be used changes nothing.
        for bad in
            ["bob@a.test:{PLAIN}four\nnonsense\n", "bob@a.test:{MD5}x\n", "bob@elsewhere.test:{PLAIN}x\n"]
        {
            fs::write(&file, bad).unwrap();
            assert!(files.followed(&mut BTreeSet::new()).is_err(), "{bad}");
        }
        assert!(directory.account("bob@a.test").unwrap().password.verify(b"three"));
        // Nor does one that is empty, as it is while somebody writes it.
        for empty in ["", "# nobody\n"] {
            fs::write(&file, empty).unwrap();
            files.followed(&mut BTreeSet::new()).unwrap();
            assert_eq!(names(), ["bob@a.test", "hand@a.test"]);
        }
        fs::write(&file, "eve@a.test:{PLAIN}five\n").unwrap();
        files.follow();
        assert_eq!(names(), ["eve@a.test", "hand@a.test"], "those that stayed are the file's still");
        // Without the files their accounts go.
        PasswdFiles::new(Vec::new(), Arc::clone(&directory)).follow();
        assert_eq!(names(), ["hand@a.test"]);
    }

    #[test]
    fn where_an_account_comes_from_is_kept_with_it() {
        let (folder, open) = opened();
        let directory = open();
        directory.add("hand@a.test", "pencil", true).unwrap();
        let file = folder.path().join("users");
        let names =
            |directory: &Directory| directory.list().into_iter().map(|user| user.name).collect::<Vec<_>>();
        fs::write(&file, "ann@a.test:{PLAIN}one\nbob@a.test:{PLAIN}two\neve@a.test:{PLAIN}three\n").unwrap();
        PasswdFiles::new(vec![file.clone()], Arc::clone(&directory)).follow();
        // What somebody has done with it by hand does not make it theirs, but that they had it back does.
        directory.set_password("ann@a.test", "other", None).unwrap();
        directory.remove("eve@a.test").unwrap();
        directory.restore("eve@a.test").unwrap();
        drop(directory);
        // Nothing is in the data directory but the store: all that a backup brings back.
        let directory = open();
        fs::write(&file, "zoe@a.test:{PLAIN}four\n").unwrap();
        PasswdFiles::new(vec![file.clone()], Arc::clone(&directory)).follow();
        assert_eq!(names(&directory), ["eve@a.test", "hand@a.test", "zoe@a.test"]);

        // What earlier versions noted.
        directory.import(&[entry("old@a.test")], false, None).unwrap();
        fs::write(folder.path().join(LEDGER), r#"["gone@a.test","old@a.test"]"#).unwrap();
        take_over_ledger(folder.path(), &directory).unwrap();
        take_over_ledger(folder.path(), &directory).unwrap();
        assert!(!folder.path().join(LEDGER).exists());
        PasswdFiles::new(vec![file], Arc::clone(&directory)).follow();
        assert_eq!(names(&directory), ["eve@a.test", "hand@a.test", "zoe@a.test"]);
    }

    fn entry(name: &str) -> ImportEntry {
        ImportEntry { name: name.to_owned(), password: "{PLAIN}x".into(), login: None }
    }

    /// Opens the accounts of a store again and again.
    fn opened() -> (tempfile::TempDir, impl Fn() -> Arc<Directory>) {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path().join("store"), Options::default()).unwrap();
        let open = move || {
            let config = Config { domains: vec!["a.test".into()], ..Config::default() };
            let table = |name| store.table(name).unwrap();
            let keys = crate::dkim::Keys::open(table("k")).unwrap();
            let directory =
                Directory::open(table("a"), table("e"), table("s"), table("r"), keys, &config).unwrap();
            Arc::new(directory)
        };
        (folder, open)
    }

    #[test]
    fn of_two_lines_for_one_account_the_first_counts_and_what_is_there_is_not_written_again() {
        let (folder, open) = opened();
        let directory = open();
        let file = folder.path().join("users");
        let files = PasswdFiles::new(vec![file.clone()], Arc::clone(&directory));
        fs::write(
            &file,
            "bob@a.test:{PLAIN}one\nann@a.test:{PLAIN}x\n\"bob\"@A.test:{PLAIN}two::::::nologin\n",
        )
        .unwrap();
        let mut warnings = BTreeSet::new();
        files.followed(&mut warnings).unwrap();
        // The oldest account is the postmaster.
        let postmaster = directory.expand(&mailwright::mail_model::ForwardPath::Postmaster, false).unwrap();
        assert_eq!(postmaster.deliveries[0].account, "bob@a.test");
        let warning = warnings.first().unwrap();
        assert!(warning.contains("another line for bob@a.test does not count"), "{warning}");
        let bob = directory.account("bob@a.test").unwrap();
        assert!(bob.password.verify(b"one") && bob.goes_by(None));
        files.follow();
        assert!(
            Arc::ptr_eq(&bob, &directory.account("bob@a.test").unwrap()),
            "a session of his would have ended"
        );
    }

    #[test]
    fn what_was_wrong_is_looked_at_again() {
        let (folder, open) = opened();
        let directory = open();
        let file = folder.path().join("users");
        let files = PasswdFiles::new(vec![file.clone()], Arc::clone(&directory));
        let is_behind = || files.state.lock().unwrap().seen != files.stamps();
        fs::write(&file, "dave@new.test:{PLAIN}two\n").unwrap();
        files.follow();
        assert!(is_behind() && directory.account("dave@new.test").is_err());
        let edit = crate::directory::Edit::Domain {
            name: "new.test".into(),
            change: crate::directory::DomainChange::default(),
            new: true,
        };
        directory.edit(edit).unwrap();
        files.follow();
        assert!(!is_behind() && directory.account("dave@new.test").is_ok());
    }
}
