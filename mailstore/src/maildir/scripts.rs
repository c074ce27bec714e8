//! Sieve scripts, where Dovecot's Pigeonhole keeps them too: `sieve/NAME.sieve` in the user's home, and `.dovecot.sieve`, a symbolic link to
//! the active one.
//!
//! A slash in a name is written `%2F`, which no name of Pigeonhole's has. Links to elsewhere are not followed, since the process may see more
//! than the user.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use mailwright_mail_model::ScriptName;
use rustix::fs::OFlags;

use super::folder::sync_directory;
use super::{Maildir, Shared, failed, file_name};
use crate::{Offload, Result, ScriptEntry, ScriptLimits, Scripts, StoreError, User};

const ACTIVE: &str = ".dovecot.sieve";
const FOLDER: &str = "sieve";
const SUFFIX: &str = ".sieve";
/// What an active script is called that was no link, once another takes its place; Pigeonhole does that too.
const ORIGINAL: &str = "dovecot.orig";
/// The longest name of a file that common file systems take, in octets.
const LONGEST_NAME: usize = 255;
/// No script that is read is larger, whoever wrote it.
const LARGEST: u64 = 64 << 20;

impl<O: Offload + Clone> Scripts for Maildir<O> {
    async fn all_scripts(&self, user: &User) -> Result<Vec<ScriptEntry>> {
        let user = user.clone();
        self.run(move |shared| shared.home(&user)?.all()).await
    }

    async fn script(&self, user: &User, name: &ScriptName) -> Result<Bytes> {
        let (user, name) = (user.clone(), name.clone());
        self.run(move |shared| {
            let home = shared.home(&user)?;
            read(&home.script(&name)?)
        })
        .await
    }

    async fn active_script(&self, user: &User) -> Result<Option<(ScriptName, Bytes)>> {
        let user = user.clone();
        self.run(move |shared| {
            let home = shared.home(&user)?;
            let (name, path) = match home.active() {
                Some(name) => (Some(name.clone()), home.script(&name)?),
                // Perhaps written by hand. A link to somewhere else is not followed.
                None if home.is_by_hand() => (ScriptName::new(ORIGINAL).ok(), home.0.join(ACTIVE)),
                None => return Ok(None),
            };
            match read(&path) {
                Ok(script) => Ok(name.map(|name| (name, script))),
                Err(StoreError::NotFound) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn put_script(
        &self,
        user: &User,
        name: &ScriptName,
        script: Bytes,
        limits: ScriptLimits,
    ) -> Result<()> {
        let (user, name) = (user.clone(), name.clone());
        self.run(move |shared| {
            let home = shared.home(&user)?;
            limits.admit(&home.all()?, &name, script.len() as u64)?;
            home.put(&name, &script, &shared.setting.host)
        })
        .await
    }

    async fn activate_script(&self, user: &User, name: Option<&ScriptName>) -> Result<()> {
        let (user, name) = (user.clone(), name.cloned());
        self.run(move |shared| shared.home(&user)?.activate(name.as_ref(), &shared.setting.host)).await
    }

    async fn delete_script(&self, user: &User, name: &ScriptName) -> Result<()> {
        let (user, name) = (user.clone(), name.clone());
        self.run(move |shared| {
            let home = shared.home(&user)?;
            let path = home.script(&name)?;
            if !path.is_file() {
                return Err(StoreError::NotFound);
            }
            if home.active().as_ref() == Some(&name) {
                return Err(StoreError::Denied);
            }
            fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
            sync_directory(&home.folder())
        })
        .await
    }

    async fn rename_script(&self, user: &User, from: &ScriptName, to: &ScriptName) -> Result<()> {
        let (user, from, to) = (user.clone(), from.clone(), to.clone());
        self.run(move |shared| {
            let home = shared.home(&user)?;
            let (old, new) = (home.script(&from)?, home.script(&to)?);
            let active = home.active().as_ref() == Some(&from);
            // A link, so that a script that is there already is not lost to one that comes at the same time.
            match fs::hard_link(&old, &new) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(StoreError::NotFound),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(StoreError::Exists),
                done => done.map_err(|error| failed(&new, &error))?,
            }
            if active {
                home.activate(Some(&to), &shared.setting.host)?;
            }
            fs::remove_file(&old).map_err(|error| failed(&old, &error))?;
            sync_directory(&home.folder())
        })
        .await
    }
}

/// Where a user's scripts are.
struct Home(PathBuf);

impl Shared {
    fn home(&self, user: &User) -> Result<Home> {
        self.template.home(user).map(Home)
    }

    /// Removes a user's scripts.
    pub(super) fn erase_scripts(&self, user: &User) -> Result<()> {
        let home = self.home(user)?;
        let (active, folder) = (home.0.join(ACTIVE), home.folder());
        for (path, removed) in [(&active, fs::remove_file(&active)), (&folder, fs::remove_dir_all(&folder))] {
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(path, &error)),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Home {
    fn folder(&self) -> PathBuf {
        self.0.join(FOLDER)
    }

    fn script(&self, name: &ScriptName) -> Result<PathBuf> {
        let file = file(name);
        if file.len() > LONGEST_NAME {
            return Err(StoreError::Invalid(format!(
                "expected a name of a script of at most {} octets",
                LONGEST_NAME - SUFFIX.len()
            )));
        }
        Ok(self.folder().join(file))
    }

    fn all(&self) -> Result<Vec<ScriptEntry>> {
        let (folder, active) = (self.folder(), self.active());
        let error = |error| failed(&folder, &error);
        let found = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            found => found.map_err(error)?,
        };
        let mut scripts = Vec::new();
        for entry in found {
            let entry = entry.map_err(error)?;
            let (file, size) = (entry.file_name(), entry.metadata());
            let Some(name) = file.to_str().and_then(name) else { continue };
            // Anything else, or gone meanwhile, is no script.
            let Some(data) = size.ok().filter(fs::Metadata::is_file) else { continue };
            let is_active = active.as_ref() == Some(&name);
            scripts.push(ScriptEntry::new(name, data.len(), is_active));
        }
        scripts.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(scripts)
    }

    /// The active script, if it is one of these.
    fn active(&self) -> Option<ScriptName> {
        let target = fs::read_link(self.0.join(ACTIVE)).ok()?;
        let within = self.0.join(&target).parent() == Some(&*self.folder());
        target.file_name()?.to_str().filter(|_| within).and_then(name)
    }

    /// Whether the active script is a file of its own.
    fn is_by_hand(&self) -> bool {
        fs::symlink_metadata(self.0.join(ACTIVE)).is_ok_and(|found| found.is_file())
    }

    fn make(&self) -> Result<PathBuf> {
        let drafts = self.folder().join("tmp");
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&drafts);
        made.map_err(|error| failed(&drafts, &error)).map(|()| drafts)
    }

    fn put(&self, name: &ScriptName, script: &[u8], host: &str) -> Result<()> {
        let (target, draft) = (self.script(name)?, self.make()?.join(file_name::unique(host)));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            file.write_all(script)?;
            file.sync_all()?;
            fs::rename(&draft, &target)
        })();
        if written.is_err() {
            let _removed = fs::remove_file(&draft);
        }
        written.map_err(|error| failed(&target, &error))?;
        sync_directory(&self.folder())
    }

    fn activate(&self, name: Option<&ScriptName>, host: &str) -> Result<()> {
        let link = self.0.join(ACTIVE);
        let error = |error| failed(&link, &error);
        let by_hand = self.is_by_hand();
        let Some(name) = name else {
            if by_hand {
                self.keep_original(&link)?;
            }
            return match fs::remove_file(&link) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                removed => removed.map_err(error).and_then(|()| sync_directory(&self.0)),
            };
        };
        if !self.script(name)?.is_file() {
            return Err(StoreError::NotFound);
        }
        if by_hand {
            self.keep_original(&link)?;
        }
        let draft = self.make()?.join(file_name::unique(host));
        symlink(Path::new(FOLDER).join(file(name)), &draft).map_err(error)?;
        fs::rename(&draft, &link).map_err(error)?;
        sync_directory(&self.0)
    }

    /// What was written by hand stays, as a script among the others.
    fn keep_original(&self, link: &Path) -> Result<()> {
        self.make()?;
        let kept = self.folder().join(format!("{ORIGINAL}{SUFFIX}"));
        fs::rename(link, &kept).map_err(|error| failed(&kept, &error))
    }
}

/// The content of a file that is one itself: who may write into a home must not have others' files shown by a link to them.
fn read(path: &Path) -> Result<Bytes> {
    let no_links = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let file = match OpenOptions::new().read(true).custom_flags(no_links).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(StoreError::NotFound),
        file => file.map_err(|error| failed(path, &error))?,
    };
    let error = |error| failed(path, &error);
    let data = file.metadata().map_err(error)?;
    if !data.is_file() {
        return Err(StoreError::NotFound);
    }
    if data.len() > LARGEST {
        return Err(StoreError::TooLarge { limit: LARGEST });
    }
    let mut octets = Vec::new();
    file.take(LARGEST).read_to_end(&mut octets).map_err(error)?;
    Ok(octets.into())
}

/// The file of a script.
fn file(name: &ScriptName) -> String {
    let plain = name.as_str().replace("%2", "%252").replace('/', "%2F");
    format!("{plain}{SUFFIX}")
}

/// The script of a file, if it can be one.
fn name(file: &str) -> Option<ScriptName> {
    let plain = file.strip_suffix(SUFFIX)?.replace("%2F", "/").replace("%252", "%2");
    ScriptName::new(&plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for text in ["a", "50% off", "a/b", "a%2Fb", "a%25b", "%252F", "..", "/", "a.sieve", "größer"] {
            let script = ScriptName::new(text).unwrap();
            let file = file(&script);
            assert!(!file.contains('/'), "{file}");
            assert_eq!(name(&file), Some(script), "{file}");
        }
        assert_eq!(name("50%.sieve").unwrap().as_str(), "50%");
        assert_eq!(name("tmp"), None);
        assert_eq!(name(".sieve"), None);
    }
}
