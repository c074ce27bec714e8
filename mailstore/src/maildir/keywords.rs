//! `dovecot-keywords`: which letter in the names of a mailbox's files is which keyword, one `NUMBER KEYWORD` a line.
//!
//! When all letters are given out, those that no file has are given out again. Dovecot reads the file anew when it has changed, and what it
//! notes of messages in its indexes are names; so it takes that as it is.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mailwright_mail_model::{Flag, FlagSet, Keyword};

use super::dot_lock::DotLock;
use super::failed;
use super::file_name::{self, Letters};
use crate::{Result, StoreError};

const NAME: &str = "dovecot-keywords";
/// There are no more letters.
pub(super) const MOST: u8 = 26;

/// What becomes of keywords that there is no letter for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// They are an error: somebody has asked for them.
    Refused,
    /// They are left out: a message that comes is worth more than its keywords.
    LeftOut,
}

/// The keywords of one mailbox.
#[derive(Debug, Default)]
pub(super) struct Keywords {
    names: Vec<Option<Keyword>>,
    /// Lines for which there is no letter: another program has them.
    beyond: String,
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
        let (mut names, mut beyond) = (vec![None; usize::from(MOST)], String::new());
        for (number, name) in text.lines().filter_map(|line| line.split_once(' ')) {
            let Ok(number) = number.parse::<usize>() else { continue };
            match (names.get_mut(number), Keyword::new(name)) {
                (Some(slot), Ok(keyword)) => *slot = Some(keyword),
                (None, _) => beyond.push_str(&format!("{number} {name}\n")),
                (Some(_), Err(_)) => {}
            }
        }
        let changed = names != self.names && !self.names.is_empty();
        if names != self.names {
            self.sets.clear();
        }
        (self.names, self.beyond, self.read) = (names, beyond, stamp);
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

    /// The letters of flags, on top of letters that no flag is known for. Keywords that are new get letters, durably. The mailbox must be
    /// locked until a file has them, or they might be given out again.
    ///
    /// # Errors
    /// [`TooMany`](StoreError::TooMany) if there are not enough letters, unless what exceeds them is left out.
    pub(super) fn letters(
        &mut self,
        folder: &Path,
        host: &str,
        flags: &FlagSet,
        others: Letters,
        excess: Excess,
    ) -> Result<Letters> {
        if flags.keywords().iter().any(|keyword| self.number(keyword).is_none()) {
            self.add(folder, host, flags.keywords(), excess)?;
        }
        let numbers: Vec<_> = flags.keywords().iter().filter_map(|keyword| self.number(keyword)).collect();
        Ok(others.with(flags.system_bits(), numbers))
    }

    fn number(&self, keyword: &Keyword) -> Option<u8> {
        let place = self.names.iter().position(|name| name.as_ref() == Some(keyword))?;
        u8::try_from(place).ok()
    }

    fn add(&mut self, folder: &Path, host: &str, keywords: &[Keyword], excess: Excess) -> Result<()> {
        let lock = DotLock::acquire(folder.join("dovecot-keywords.lock"), host, Duration::from_secs(10))?;
        // Others may have added some before we had the lock.
        self.read = None;
        self.refresh(folder)?;
        self.names.resize(usize::from(MOST), None);
        let mut names = self.names.clone();
        let new: Vec<_> =
            keywords.iter().filter(|keyword| !names.contains(&Some((*keyword).clone()))).collect();
        if names.iter().filter(|name| name.is_none()).count() < new.len() {
            let used = used(folder)?;
            let is_used = |number: usize| used.keywords().any(|used| usize::from(used) == number);
            for (number, name) in names.iter_mut().enumerate() {
                // The file that is to have these may not have them yet.
                if !is_used(number) && !name.as_ref().is_some_and(|name| keywords.contains(name)) {
                    *name = None;
                }
            }
        }
        for keyword in new {
            match names.iter_mut().find(|name| name.is_none()) {
                Some(free) => *free = Some(keyword.clone()),
                None if excess == Excess::LeftOut => break,
                None => return Err(StoreError::TooMany { limit: MOST.into() }),
            }
        }
        if names == self.names {
            return Ok(());
        }
        let lines = names.iter().enumerate();
        let text: String =
            lines.filter_map(|(number, name)| Some(format!("{number} {}\n", name.as_ref()?))).collect();
        let text = text + &self.beyond;
        // Dovecot reads the file again only if the second it was written in is another.
        let after = self.read.and_then(|(.., seconds, _)| u64::try_from(seconds).ok()).unwrap_or(0) + 1;
        let time = SystemTime::now().max(UNIX_EPOCH + Duration::from_secs(after));
        lock.replace(&folder.join(NAME), text.as_bytes(), Some(time))?;
        self.refresh(folder).map(|_| ())
    }
}

/// The letters that files have.
fn used(folder: &Path) -> Result<Letters> {
    let (path, mut used) = (folder.join("cur"), Letters::default());
    let wrong = |error: std::io::Error| failed(&path, &error);
    let files = match fs::read_dir(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(used),
        files => files.map_err(wrong)?,
    };
    for file in files {
        if let Some(name) = file.map_err(wrong)?.file_name().to_str() {
            used = used.union(Letters::parse(file_name::split(name).1));
        }
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Excess = Excess::Refused;

    #[test]
    fn keywords_get_letters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let mut ours = Keywords::default();
        ours.refresh(folder.path()).unwrap();
        let flags: FlagSet = "(\\Seen $Junk Work)".parse().unwrap();
        let letters = ours.letters(folder.path(), "h", &flags, Letters::from_text("P"), REFUSED).unwrap();
        assert_eq!(letters.to_text(), "PSab");
        assert_eq!(ours.flags(letters), flags);
        assert_eq!(fs::read_to_string(&path).unwrap(), "0 $Junk\n1 Work\n");
        // Another one adds, and both know all.
        let mut theirs = Keywords::default();
        theirs.refresh(folder.path()).unwrap();
        let more: FlagSet = "(work Later)".parse().unwrap();
        let letters = theirs.letters(folder.path(), "h", &more, Letters::default(), REFUSED).unwrap();
        assert_eq!(letters.to_text(), "bc");
        assert!(ours.refresh(folder.path()).unwrap());
        assert_eq!(ours.flags(letters).to_string(), "(Later Work)");
        assert!(!ours.refresh(folder.path()).unwrap());
        let many: FlagSet = (0..24).map(|number| format!("k{number}").parse::<Flag>().unwrap()).collect();
        // All three are in use.
        fs::create_dir(folder.path().join("cur")).unwrap();
        fs::write(folder.path().join("cur/1.M1P1.h:2,Sabc"), "x").unwrap();
        let refused = ours.letters(folder.path(), "h", &many, Letters::default(), REFUSED);
        assert_eq!(refused, Err(StoreError::TooMany { limit: 26 }));
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
        assert!(!folder.path().join("dovecot-keywords.lock").exists());
        let letters = ours.letters(folder.path(), "h", &many, Letters::default(), Excess::LeftOut).unwrap();
        assert_eq!(letters.to_text(), "defghijklmnopqrstuvwxyz");
    }

    /// Letters that no file has are given out again, and nothing else.
    #[test]
    fn letters_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let all: String = (0..26).map(|number| format!("{number} k{number}\n")).collect();
        fs::write(&path, format!("{all}26 beyond\n")).unwrap();
        fs::create_dir(folder.path().join("cur")).unwrap();
        // All but `c`, which is k2, and `d`, which is k3.
        fs::write(folder.path().join("cur/1.M1P1.h:2,Sab"), "x").unwrap();
        fs::write(folder.path().join("cur/2.M1P1.h,S=1:2,efghijklmnopqrstuvwxyz"), "x").unwrap();
        let mut keywords = Keywords::default();
        keywords.refresh(folder.path()).unwrap();
        let mut letters = |flags: &str, excess| {
            let flags = flags.parse().unwrap();
            keywords.letters(folder.path(), "h", &flags, Letters::default(), excess).map(Letters::to_text)
        };
        // k2 is wanted itself, so it keeps its letter.
        assert_eq!(letters("(k2 new)", REFUSED).unwrap(), "cd");
        fs::write(folder.path().join("cur/3.M1P1.h:2,cd"), "x").unwrap();
        let before = fs::read_to_string(&path).unwrap();
        assert!(
            before.contains("2 k2\n3 new\n4 k4\n") && before.ends_with("25 k25\n26 beyond\n"),
            "{before}"
        );
        assert_eq!(letters("(k5 newer)", REFUSED), Err(StoreError::TooMany { limit: 26 }));
        assert_eq!(letters("(\\Seen k5 newer)", Excess::LeftOut).unwrap(), "Sf");
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
    }
}
