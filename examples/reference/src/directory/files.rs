//! What the directory takes from files: the alias file, the lists it names, and users' own forward files.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use mailwright::{
    mail_model::Domain,
    mailstore::{User, maildir::Template},
    relay_policy::{
        alias_file::{self, AliasFile},
        delivery::{CommandLine, Identity},
        directory::{Forwarding, Includes, Target},
    },
};

use super::DirectoryError;
use crate::config::Config;

/// The largest alias file or list, in octets: half a million addresses fit.
const LARGEST: u64 = 16 << 20;
/// The largest forward file.
const LARGEST_FORWARD: u64 = 64 << 10;
/// How many lists are remembered.
const REMEMBERED: usize = 256;
/// Neither a terminal nor a FIFO keeps us waiting.
const NONBLOCK: i32 = 0o4000;

/// The files, and what was in them.
pub(super) struct Files {
    /// The alias file.
    path: Option<PathBuf>,
    /// The domain of names without one.
    origin: Domain,
    /// The domains in which the alias file's names are.
    domains: Vec<Domain>,
    forward: Option<Template>,
    /// Whether programs may be named.
    pub(super) programs: bool,
    lists: Mutex<HashMap<PathBuf, Remembered>>,
}

/// A list as it was when it was read.
struct Remembered {
    stamp: Stamp,
    targets: Arc<Vec<Target>>,
}

/// By what a file is known to be the same: device, number, size and times.
#[derive(PartialEq, Eq)]
struct Stamp(u64, u64, u64, i64, i64);

impl Stamp {
    fn of(found: &fs::Metadata) -> Self {
        Self(found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec())
    }
}

impl Files {
    pub(super) fn new(config: &Config, domains: &[Domain]) -> Result<Self, DirectoryError> {
        let wrong = |text: String| DirectoryError::Target(text);
        let aliases = &config.aliases;
        let origin = config.origin();
        let forward = match &*aliases.forward {
            "" => None,
            path => Some(Template::new(path).map_err(|error| wrong(format!("[aliases] forward: {error}")))?),
        };
        Ok(Self {
            path: Some(aliases.file.clone()).filter(|path| !path.as_os_str().is_empty()),
            origin: origin.parse().map_err(|_| wrong(format!("origin = {origin:?} is not a domain name")))?,
            domains: domains.to_vec(),
            forward,
            programs: !aliases.programs.as_os_str().is_empty(),
            lists: Mutex::default(),
        })
    }

    /// When the alias file was changed last, and how long it is: by that it is known again.
    pub(super) fn stamp(&self) -> Option<(SystemTime, u64)> {
        let found = fs::metadata(self.path.as_ref()?).ok()?;
        Some((found.modified().ok()?, found.len()))
    }

    /// The domains in which the alias file's names are.
    pub(super) fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// The alias file; nothing if there is none.
    pub(super) fn aliases(&self) -> Result<AliasFile, DirectoryError> {
        match &self.path {
            Some(path) => self.check(path).map_err(DirectoryError::Target),
            None => Ok(AliasFile::default()),
        }
    }

    /// Reads an alias file and looks whether everything in it can be used.
    pub(super) fn check(&self, path: &Path) -> Result<AliasFile, String> {
        let shown = path.display();
        let failed = |error: io::Error| format!("cannot read the alias file {shown}: {error}");
        let (mut file, _) = open(path).map_err(failed)?;
        let text = read(&mut file, LARGEST).map_err(failed)?;
        let read = alias_file::aliases(&text, &self.origin).map_err(|error| format!("{shown}, {error}"))?;
        for line in &read.aliases {
            for target in &line.targets {
                self.usable(target).map_err(|problem| format!("{shown}, {}: {problem}", line.name))?;
            }
        }
        Ok(read)
    }

    /// Whether a target is one that mail can be handed to.
    fn usable(&self, target: &Target) -> Result<(), String> {
        match target {
            Target::Command(_) if !self.programs => {
                Err(format!("{target} names a program, which [aliases] programs does not enable"))
            }
            Target::Command(line) => {
                CommandLine::parse(line).map(drop).map_err(|error| format!("{target}: {error}"))
            }
            _ => Ok(()),
        }
    }

    fn list(&self, path: &Path, identity: Option<Identity>) -> Result<Arc<Vec<Target>>, String> {
        let failed = |error: io::Error| format!("cannot read {}: {error}", path.display());
        let (mut file, found) = open(path).map_err(failed)?;
        if identity.is_some_and(|identity| identity.user != found.uid()) {
            return Err(format!("{} does not belong to who includes it", path.display()));
        }
        let stamp = Stamp::of(&found);
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lists.get(path).filter(|known| known.stamp == stamp) {
            return Ok(Arc::clone(&known.targets));
        }
        let text = read(&mut file, LARGEST).map_err(failed)?;
        let targets = alias_file::forwards(&text, &self.origin)
            .map_err(|error| format!("{}, {error}", path.display()))?;
        if let Some(target) =
            targets.iter().find(|target| matches!(target, Target::File(_) | Target::Command(_)))
        {
            // Whoever may write a list need not be who may write aliases.
            return Err(format!("{}: {target} is not an address", path.display()));
        }
        if lists.len() >= REMEMBERED {
            lists.clear();
        }
        let targets = Arc::new(targets);
        lists.insert(path.to_owned(), Remembered { stamp, targets: Arc::clone(&targets) });
        Ok(targets)
    }

    fn own(&self, account: &str) -> Result<Option<Forwarding>, String> {
        let Some(template) = &self.forward else { return Ok(None) };
        // Who has a name that no path can have has no such file.
        let Some(path) = User::new(account).ok().and_then(|user| template.path(&user).ok()) else {
            return Ok(None);
        };
        let failed = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
        let (mut file, found) = match open(&path) {
            Ok(found) => found,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(failed(&error)),
        };
        if found.mode() & 0o022 != 0 {
            return Err(failed(&"others may write to this file; chmod go-w it"));
        }
        let text = read(&mut file, LARGEST_FORWARD).map_err(|error| failed(&error))?;
        let domain = account.rsplit_once('@').and_then(|(_, domain)| domain.parse().ok());
        let targets = alias_file::forwards(&text, domain.as_ref().unwrap_or(&self.origin))
            .map_err(|error| failed(&error))?;
        for target in &targets {
            self.usable(target).map_err(|problem| failed(&problem))?;
        }
        Ok(Some(Forwarding::new(targets, Identity::new(found.uid(), found.gid()))))
    }
}

impl Includes for Files {
    fn include(&self, path: &str, identity: Option<Identity>) -> Result<Vec<Target>, String> {
        self.list(Path::new(path), identity).map(|targets| targets.to_vec()).inspect_err(|problem| {
            tracing::error!(problem, "a list cannot be used; mail for it is to be tried again");
        })
    }

    fn forward(&self, account: &str) -> Result<Option<Forwarding>, String> {
        self.own(account).inspect_err(|problem| {
            tracing::error!(
                account,
                problem,
                "a forward file cannot be used; mail for its user is to be tried again"
            );
        })
    }
}

fn open(path: &Path) -> io::Result<(File, fs::Metadata)> {
    let file = File::options().read(true).custom_flags(NONBLOCK).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is not a file"));
    }
    Ok((file, found))
}

fn read(file: &mut File, most: u64) -> io::Result<String> {
    let mut text = String::new();
    file.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("the file has more than {most} octets"),
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn files(folder: &Path) -> Files {
        let mut config = Config { domains: vec!["a.test".into()], ..Config::default() };
        config.aliases.forward = folder.join("%n").display().to_string();
        config.aliases.programs = folder.to_owned();
        Files::new(&config, &["a.test".parse().unwrap()]).unwrap()
    }

    #[test]
    fn forward_files_that_are_not_safe_are_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        assert_eq!(files.forward("ann@a.test"), Ok(None));
        assert_eq!(files.forward("x/../ann@a.test"), Ok(None));
        let path = folder.path().join("ann");
        fs::write(&path, "bob\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(files.forward("ann@a.test").unwrap().unwrap().targets[0].to_string(), "bob@a.test");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        assert!(files.forward("ann@a.test").unwrap_err().contains("go-w"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for (text, word) in [
            ("|a && b", "without a shell"),
            ("\"|a", "closing quote"),
            (&*"x@y.test\n".repeat(10_000), "more than"),
        ] {
            fs::write(&path, text).unwrap();
            let problem = files.forward("ann@a.test").unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(files.forward("ann@a.test").unwrap_err().contains("not a file"));
    }

    #[test]
    fn lists_are_read_once_until_they_change_and_hold_addresses_only() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let path = folder.path().join("list");
        let name = path.to_str().unwrap();
        fs::write(&path, "bob\n").unwrap();
        assert_eq!(files.include(name, None).unwrap().len(), 1);
        fs::write(&path, "bob, eve@b.test # no comment\n").unwrap_or_default();
        assert!(files.include(name, None).is_err());
        fs::write(&path, "bob, eve@b.test\n").unwrap();
        assert_eq!(files.include(name, None).unwrap().len(), 2);
        for text in ["|program\n", "bob\n/file\n"] {
            fs::write(&path, text).unwrap();
            assert!(files.include(name, None).unwrap_err().contains("not an address"));
        }
        let owner = fs::metadata(&path).unwrap().uid();
        let somebody = Some(Identity::new(owner + 1, 0));
        assert!(files.include(name, somebody).unwrap_err().contains("belong"));
    }
}
