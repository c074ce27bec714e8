//! `dovecot-keywords`: which letter in the names of a mailbox's files is which keyword, one `NUMBER KEYWORD` a line.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mailwright_mail_model::{Flag, FlagSet, Keyword};

use super::dot_lock::DotLock;
use super::failed;
use super::file_name::Letters;
use crate::{Result, StoreError};

const NAME: &str = "dovecot-keywords";
/// There are no more letters.
const MOST: u8 = 26;

/// The keywords of one mailbox.
#[derive(Debug, Default)]
pub(super) struct Keywords {
    names: Vec<Option<Keyword>>,
    /// The file's inode, size and time when it was read.
    read: Option<(u64, u64, i64, i64)>,
    /// The sets made so far: most messages have one of a few.
    sets: std::collections::HashMap<Letters, FlagSet>,
}

impl Keywords {
    /// Reads the file again if it is another. Says whether letters may mean something else now.
    pub(super) fn refresh(&mut self, folder: &Path) -> Result<bool> {
        let path = folder.join(NAME);
        let stamp = match fs::metadata(&path) {
            Ok(data) => Some((data.ino(), data.len(), data.mtime(), data.mtime_nsec())),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(failed(&path, &error)),
        };
        if stamp == self.read {
            return Ok(false);
        }
        let text = match fs::read(&path) {
            Ok(octets) => String::from_utf8_lossy(&octets).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(&path, &error)),
        };
        let mut names = vec![None; usize::from(MOST)];
        for (number, name) in text.lines().filter_map(|line| line.split_once(' ')) {
            let slot = number.parse::<usize>().ok().and_then(|number| names.get_mut(number));
            if let Some((slot, keyword)) = slot.zip(Keyword::new(name).ok()) {
                *slot = Some(keyword);
            }
        }
        let changed = names != self.names && !self.names.is_empty();
        if names != self.names {
            self.sets.clear();
        }
        (self.names, self.read) = (names, stamp);
        Ok(changed)
    }

    /// What letters mean.
    pub(super) fn flags(&mut self, letters: Letters) -> FlagSet {
        if let Some(flags) = self.sets.get(&letters) {
            return flags.clone();
        }
        let mut flags = FlagSet::from_system_bits(letters.system_bits()).unwrap_or_default();
        let named = letters.keywords().filter_map(|number| self.names.get(usize::from(number))?.clone());
        flags.extend(named.map(Flag::Keyword));
        if self.sets.len() < 1000 {
            self.sets.insert(letters, flags.clone());
        }
        flags
    }

    /// The letters of flags, on top of letters that no flag is known for. Keywords that are new get letters, durably.
    ///
    /// # Errors
    /// If there are not enough letters.
    pub(super) fn letters(
        &mut self,
        folder: &Path,
        host: &str,
        flags: &FlagSet,
        others: Letters,
    ) -> Result<Letters> {
        if flags.keywords().iter().any(|keyword| self.number(keyword).is_none()) {
            self.add(folder, host, flags.keywords())?;
        }
        let numbers: Vec<_> = flags.keywords().iter().filter_map(|keyword| self.number(keyword)).collect();
        Ok(others.with(flags.system_bits(), numbers))
    }

    fn number(&self, keyword: &Keyword) -> Option<u8> {
        let place = self.names.iter().position(|name| name.as_ref() == Some(keyword))?;
        u8::try_from(place).ok()
    }

    fn add(&mut self, folder: &Path, host: &str, keywords: &[Keyword]) -> Result<()> {
        let lock = DotLock::acquire(folder.join("dovecot-keywords.lock"), host, Duration::from_secs(10))?;
        // Others may have added some before we had the lock.
        self.read = None;
        self.refresh(folder)?;
        self.names.resize(usize::from(MOST), None);
        let mut names = self.names.clone();
        for keyword in keywords {
            if names.iter().flatten().any(|known| known == keyword) {
                continue;
            }
            let free = names.iter_mut().find(|name| name.is_none()).ok_or_else(|| {
                StoreError::Invalid(format!("expected at most {MOST} different keywords in a mailbox"))
            })?;
            *free = Some(keyword.clone());
        }
        let text: String = names
            .iter()
            .enumerate()
            .filter_map(|(number, name)| Some(format!("{number} {}\n", name.as_ref()?)))
            .collect();
        // Dovecot reads the file again only if the second it was written in is another.
        let after = self.read.and_then(|(.., seconds, _)| u64::try_from(seconds).ok()).unwrap_or(0) + 1;
        let time = SystemTime::now().max(UNIX_EPOCH + Duration::from_secs(after));
        lock.replace(&folder.join(NAME), text.as_bytes(), Some(time))?;
        self.refresh(folder).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_get_letters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let mut ours = Keywords::default();
        ours.refresh(folder.path()).unwrap();
        let flags: FlagSet = "(\\Seen $Junk Work)".parse().unwrap();
        let letters = ours.letters(folder.path(), "h", &flags, Letters::from_text("P")).unwrap();
        assert_eq!(letters.to_text(), "PSab");
        assert_eq!(ours.flags(letters), flags);
        assert_eq!(fs::read_to_string(&path).unwrap(), "0 $Junk\n1 Work\n");
        // Another one adds, and both know all.
        let mut theirs = Keywords::default();
        theirs.refresh(folder.path()).unwrap();
        let more: FlagSet = "(work Later)".parse().unwrap();
        let letters = theirs.letters(folder.path(), "h", &more, Letters::default()).unwrap();
        assert_eq!(letters.to_text(), "bc");
        assert!(ours.refresh(folder.path()).unwrap());
        assert_eq!(ours.flags(letters).to_string(), "(Later Work)");
        assert!(!ours.refresh(folder.path()).unwrap());
        let many: FlagSet = (0..24).map(|number| format!("k{number}").parse::<Flag>().unwrap()).collect();
        assert!(matches!(
            ours.letters(folder.path(), "h", &many, Letters::default()),
            Err(StoreError::Invalid(_))
        ));
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
        assert!(!folder.path().join("dovecot-keywords.lock").exists());
    }
}
