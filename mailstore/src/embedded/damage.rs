//! What was found to be damaged.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::StoreError;
use crate::signal::lock;

/// How many findings are remembered.
const MOST: usize = 1_000;

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

    pub(super) fn all(&self) -> Vec<String> {
        lock(&self.0).iter().cloned().collect()
    }
}
