//! What was found to be damaged.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::StoreError;
use crate::signal::lock;

/// How many findings are remembered.
const MOST: usize = 1_000;

/// What is in the names of files with what was damaged when the store was opened, before a number.
pub(super) const ASIDE: &str = "damaged-";

/// The files with what was damaged when the store was opened, now or at another time. Each is there until somebody removes it, which says
/// that nothing of it is needed any more; until then rows may be lost that nobody knows of.
pub(super) fn set_aside(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension.to_string_lossy().starts_with(ASIDE)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What is said of such a file.
pub(super) fn kept(file: &Path) -> String {
    format!(
        "{}: changes were lost when this was set aside; bodies that nothing refers to are kept until the file is removed",
        file.display()
    )
}

/// Damage that was found while the rest was served.
#[derive(Default)]
pub(super) struct Damage(Mutex<BTreeSet<String>>);

impl Damage {
    pub(super) fn note(&self, error: &StoreError) {
        self.note_text(&error.to_string());
    }

    pub(super) fn note_text(&self, text: &str) {
        let mut found = lock(&self.0);
        if found.len() < MOST {
            found.insert(text.to_owned());
        }
    }

    /// Takes a finding back; whether it was one.
    pub(super) fn forget(&self, text: &str) -> bool {
        lock(&self.0).remove(text)
    }

    pub(super) fn all(&self) -> Vec<String> {
        lock(&self.0).iter().cloned().collect()
    }
}
