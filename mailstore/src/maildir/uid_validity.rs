//! `dovecot-uidvalidity`: the last UIDVALIDITY given to any mailbox of the user.
//!
//! It is in the name of an empty file, `dovecot-uidvalidity.5f3a1b2c`, which is renamed to the next value: whoever
//! succeeds has it. The file without a value repeats it for those who do not want to search the directory.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use mailwright_mail_model::UidValidity;

use super::failed;
use crate::{Result, StoreError};

const NAME: &str = "dovecot-uidvalidity";
/// How often the directory must show no value before there is none.
const LOOKS: u32 = 8;

/// A UIDVALIDITY higher than any before.
pub(super) fn next(root: &Path) -> Result<UidValidity> {
    let _alone = alone(root);
    let mut missed = 0;
    for _ in 0..1000 {
        let value = match last(root)? {
            Some(last) => {
                let next = last.checked_add(1).ok_or_else(exhausted)?;
                match fs::rename(file(root, last), file(root, next)) {
                    Ok(()) => next,
                    // Somebody else was faster.
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => return Err(failed(root, &error)),
                }
            }
            // A directory that is read while another program renames may show neither name. To begin anew then would give
            // values out twice.
            None if missed < LOOKS => {
                missed += 1;
                continue;
            }
            None => {
                let first = of_the_time().max(repeated(root).map_or(0, |last| last.saturating_add(1)));
                let path = file(root, first);
                match OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path) {
                    Ok(_) => first,
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                    Err(error) => return Err(failed(&path, &error)),
                }
            }
        };
        // Only a hint for others, who look at the names too.
        let _hint = write(root, value);
        return UidValidity::new(value).ok_or_else(exhausted);
    }
    Err(StoreError::Unavailable(format!("{NAME} changes too often")))
}

/// The first one of a user who has none yet.
pub(super) fn of_the_time() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    u32::try_from(now).unwrap_or(u32::MAX / 2).max(1)
}

/// Makes sure that no mailbox gets one that is not higher than this.
pub(super) fn at_least(root: &Path, validity: UidValidity) -> Result<()> {
    for _ in 0..1000 {
        let alone = alone(root);
        let renamed = match last(root)? {
            Some(last) if last >= validity.get() => return Ok(()),
            Some(last) => fs::rename(file(root, last), file(root, validity.get())),
            None => {
                drop(alone);
                return next(root).and_then(|_| at_least(root, validity));
            }
        };
        match renamed {
            Ok(()) => {
                let _hint = write(root, validity.get());
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(root, &error)),
        }
    }
    Err(StoreError::Unavailable(format!("{NAME} changes too often")))
}

fn file(root: &Path, value: u32) -> PathBuf {
    root.join(format!("{NAME}.{value:08x}"))
}

fn write(root: &Path, value: u32) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(root.join(NAME))?;
    std::os::unix::fs::FileExt::write_all_at(&file, format!("{value:08x}").as_bytes(), 0)
}

/// Keeps the other threads and processes of ours out, as long as it is there: names are enough against one other, but of three, one
/// may begin while the second takes away what the third has just looked for. Where directories cannot be locked (NFS), there are
/// names alone.
fn alone(root: &Path) -> Option<Alone> {
    let directory = fs::File::open(root).ok()?;
    rustix::fs::flock(&directory, rustix::fs::FlockOperation::LockExclusive).ok()?;
    Some(Alone(directory))
}

struct Alone(fs::File);

impl Drop for Alone {
    fn drop(&mut self) {
        // To close it is not enough: a program that is just being started has it too, until it runs.
        let _unlocked = rustix::fs::flock(&self.0, rustix::fs::FlockOperation::Unlock);
    }
}

/// The value in the file without one in its name: the last, or one shortly before it.
fn repeated(root: &Path) -> Option<u32> {
    u32::from_str_radix(fs::read_to_string(root.join(NAME)).ok()?.trim(), 16).ok()
}

/// The value in the name of the file; the highest, if a crash or a clock left several.
fn last(root: &Path) -> Result<Option<u32>> {
    let error = |error| failed(root, &error);
    let mut values = Vec::new();
    for entry in fs::read_dir(root).map_err(error)? {
        let name = entry.map_err(error)?.file_name();
        let value = name.to_str().and_then(|name| name.strip_prefix(NAME)?.strip_prefix('.'));
        values.extend(
            value.filter(|value| value.len() == 8).and_then(|value| u32::from_str_radix(value, 16).ok()),
        );
    }
    values.sort_unstable();
    let last = values.pop();
    for value in values {
        let _removed = fs::remove_file(file(root, value));
    }
    Ok(last)
}

fn exhausted() -> StoreError {
    StoreError::Unavailable("no UIDVALIDITY is left".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_rise() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let first = next(root).unwrap();
        assert_eq!(next(root).unwrap().get(), first.get() + 1);
        fs::write(root.join("dovecot-uidvalidity.70000000"), "").unwrap();
        assert_eq!(next(root).unwrap().get(), 0x7000_0001);
        assert_eq!(fs::read_to_string(root.join(NAME)).unwrap(), "70000001");
        assert_eq!(fs::read_dir(root).unwrap().count(), 2);
        at_least(root, UidValidity::new(0x7100_0000).unwrap()).unwrap();
        at_least(root, first).unwrap();
        assert_eq!(next(root).unwrap().get(), 0x7100_0001);
        // Without the name that has it, the other file knows.
        fs::remove_file(file(root, 0x7100_0001)).unwrap();
        assert_eq!(next(root).unwrap().get(), 0x7100_0002);
    }

    #[test]
    fn no_two_have_the_same() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let mut values = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| (0..25).map(|_| next(folder.path()).unwrap()).collect::<Vec<_>>())
                    })
                    .collect();
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            });
            values.sort();
            values.dedup();
            assert_eq!(values.len(), 100);
        }
    }
}
