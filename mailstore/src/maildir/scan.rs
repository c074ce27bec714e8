//! The files of a mailbox, by what their messages are called.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mailwright_mail_model::Uid;

use super::state::{Entry, Found};
use super::{failed, file_name};
use crate::Result;

/// Files by their names without flags.
type Files = HashMap<Box<str>, Found>;
/// Files that have the name of another one, but for its flags.
type Doubles = Vec<(Box<str>, Found)>;

/// The files that are messages, by their names without flags.
pub(super) fn scan(path: &Path) -> Result<Files> {
    scan_all(path).map(|(files, _)| files)
}

/// The files that are messages by their names without flags, and those that have the name of one of them.
pub(super) fn scan_all(path: &Path) -> Result<(Files, Doubles)> {
    let (mut files, mut others) = (HashMap::new(), Vec::new());
    // What is in both, as somebody moves it, is taken from `cur`.
    for (part, is_new) in [("new", true), ("cur", false)] {
        let path = path.join(part);
        let error = |error| failed(&path, &error);
        for entry in fs::read_dir(&path).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| file_name::is_message(name)) else { continue };
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                let (base, info) = file_name::split(name);
                if let Some(other) = files.insert(base.into(), Found { is_new, info: info.into() }) {
                    others.push((base.into(), other));
                }
            }
        }
    }
    Ok((files, others))
}

/// Gives files that are called like others, but for their flags, names of their own, as Dovecot does. The one with the flags that
/// are known of the message stays the message.
pub(super) fn separate(
    entries: &BTreeMap<Uid, Entry>,
    path: &Path,
    files: &mut Files,
    others: Doubles,
) -> Result<()> {
    let by_base: HashMap<&str, &Found> =
        entries.values().filter_map(|entry| Some((&*entry.base, entry.file.as_ref()?))).collect();
    let mut named = Vec::new();
    for (base, mut other) in others {
        let Some(first) = files.get_mut(&base).filter(|first| **first != other) else { continue };
        let known = by_base.get(&*base).copied();
        if known.map_or(other.info < first.info, |known| *known == other) {
            std::mem::swap(first, &mut other);
        }
        let place = |found: &Found| {
            let name = format!("{base}{}", found.info);
            path.join(if found.is_new { "new" } else { "cur" }).join(name)
        };
        let (one, two) = (fs::metadata(place(first)), fs::metadata(place(&other)));
        let (one, two) = match (one, two) {
            (Ok(one), Ok(two)) => (one, two),
            // It was renamed while the directory was read.
            (Err(_), Ok(_)) => {
                *first = other;
                continue;
            }
            _ => continue,
        };
        if (one.dev(), one.ino()) == (two.dev(), two.ino()) {
            continue;
        }
        let unique = file_name::unique(&file_name::host());
        let target = path.join("cur").join(format!("{unique}{}", other.info));
        match fs::rename(place(&other), &target) {
            Ok(()) => named.push((unique.into(), Found { is_new: false, ..other })),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&target, &error)),
        }
    }
    files.extend(named);
    Ok(())
}
