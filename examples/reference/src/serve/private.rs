//! That nobody else on this machine can read what is in the data directory, and whose files these are.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

use super::ServeError;
use crate::config::Config;

/// What the group and others may do.
const OTHERS: u32 = 0o077;
/// A directory with this bit, such as /tmp, is everybody's.
const STICKY: u32 = 0o1000;
/// How deep files of somebody else are looked for.
const DEPTH: u32 = 5;

/// Takes from others what they may do with a data directory and a store that somebody else made, as systemd's `StateDirectory=` does: the
/// files of a store have the modes that the process makes files with, and hold all mail and the hashes of all passwords.
pub(super) fn keep(config: &Config) -> Result<(), ServeError> {
    let store = config.data.join("store");
    if let Some(mode) = open_mode(&store) {
        narrow(&store, mode).map_err(|source| ServeError::Readable {
            path: store.display().to_string(),
            mode,
            source,
        })?;
    }
    // What else is in there has modes of its own, so one that belongs to somebody else is no reason not to serve.
    if let Some(mode) = open_mode(&config.data) {
        let path = config.data.display();
        if !is_ours(&config.data) || mode & STICKY != 0 {
            tracing::warn!(%path, mode = format!("{mode:o}"), "others may enter the data directory, which is not the server's own");
        } else if let Err(error) = narrow(&config.data, mode) {
            tracing::warn!(%path, %error, "others may enter the data directory");
        }
    }
    Ok(())
}

/// What `config check` says of directories that others can enter.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let told = |path: &PathBuf| {
        let (mode, path) = (open_mode(path)?, path.display());
        Some(format!(
            "others may enter {path} (mode {mode:o}), where mail and password hashes are: the server will take that from them if it may (chmod 700 {path})"
        ))
    };
    [config.data.clone(), config.data.join("store")].iter().filter_map(told).collect()
}

/// The mode of a directory that is not for its owner alone.
fn open_mode(path: &Path) -> Option<u32> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    (mode & OTHERS != 0).then_some(mode)
}

fn is_ours(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.uid() == geteuid().as_raw())
}

fn narrow(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode & !OTHERS))?;
    let (path, before) = (path.display(), format!("{mode:o}"));
    tracing::warn!(%path, before, "others could enter this directory; it is for its owner alone now");
    // A command has no log.
    if !tracing::dispatcher::has_been_set() {
        eprintln!(
            "mailwrightd: warning: others could enter {path} (mode {before}); it is for its owner alone now"
        );
    }
    Ok(())
}

/// A file in the data directory that belongs to somebody else, with the number of that user: what a command leaves that another user has
/// called.
pub(super) fn foreign(data: &Path) -> Option<(PathBuf, u32)> {
    let ours = geteuid().as_raw();
    // Root may use them all.
    if ours == 0 { None } else { foreign_in(data, ours, DEPTH) }
}

fn foreign_in(path: &Path, ours: u32, depth: u32) -> Option<(PathBuf, u32)> {
    let found = fs::symlink_metadata(path).ok()?;
    if found.uid() != ours {
        return Some((path.to_owned(), found.uid()));
    }
    let deeper = depth.checked_sub(1).filter(|_| found.is_dir())?;
    fs::read_dir(path).ok()?.flatten().find_map(|entry| foreign_in(&entry.path(), ours, deeper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_others_could_enter_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().join("data"), ..Config::default() };
        let store = config.data.join("store");
        fs::create_dir_all(&store).unwrap();
        for (path, before) in [(&config.data, 0o755), (&store, 0o2750)] {
            fs::set_permissions(path, fs::Permissions::from_mode(before)).unwrap();
        }
        let told = warnings(&config);
        assert!(told.len() == 2 && told[0].contains("mode 755") && told[1].contains("/store"), "{told:?}");
        keep(&config).unwrap();
        assert_eq!((mode(&config.data), mode(&store)), (0o700, 0o2700));
        assert!(warnings(&config).is_empty());
        // Everybody's stays so, and what is in it is ours alone.
        fs::set_permissions(&config.data, fs::Permissions::from_mode(0o1777)).unwrap();
        fs::set_permissions(&store, fs::Permissions::from_mode(0o755)).unwrap();
        keep(&config).unwrap();
        assert_eq!((mode(&config.data), mode(&store)), (0o1777, 0o700));
    }

    #[test]
    fn a_file_of_somebody_else_is_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("store/keyspaces")).unwrap();
        let ours = fs::metadata(folder.path()).unwrap().uid();
        assert_eq!(foreign_in(folder.path(), ours, DEPTH), None);
        assert_eq!(foreign_in(folder.path(), ours + 1, DEPTH), Some((folder.path().to_owned(), ours)));
        if ours == 0 {
            let file = folder.path().join("store/lock");
            fs::write(&file, "").unwrap();
            std::os::unix::fs::chown(&file, Some(65_534), None).unwrap();
            assert_eq!(foreign_in(folder.path(), ours, DEPTH), Some((file, 65_534)));
        }
    }
}
