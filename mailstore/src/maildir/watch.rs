//! Notices of changes by others: one thread looks at the directories that somebody waits for.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Shared;
use super::folder::Folder;
use crate::signal::lock;
use crate::{Result, StoreError};

/// Somebody who waits.
pub(super) struct Waiting(Arc<Folder>);

impl Waiting {
    pub(super) fn new(folder: &Arc<Folder>) -> Self {
        folder.waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(folder))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Starts the thread if it does not run.
    pub(super) fn look_out(self: &Arc<Self>) -> Result<()> {
        let mut running = lock(&self.looking);
        if *running {
            return Ok(());
        }
        let (shared, pause) = (Arc::downgrade(self), self.options.look);
        let started = std::thread::Builder::new().name("maildir".into()).spawn(move || look(&shared, pause));
        started.map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?;
        *running = true;
        Ok(())
    }
}

fn look(shared: &Weak<Shared>, pause: Duration) {
    loop {
        std::thread::sleep(pause);
        let Some(shared) = shared.upgrade() else { return };
        let folders: Vec<_> = lock(&shared.folders)
            .values()
            .filter(|folder| folder.waiting.load(Ordering::Relaxed) > 0)
            .cloned()
            .collect();
        for folder in folders {
            if !folder.is_fresh() {
                folder.changed.raise();
            }
        }
    }
}
