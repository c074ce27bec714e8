//! The database as it is open now. After a write for which there was no room it is opened anew, which is the only way to know
//! what the disk holds; nobody notices but by the refusals until then.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::database::Database;
use super::{Core, Lasting, journal};
use crate::{Result, StoreError};

/// Where the open database is found.
pub(super) struct Opening(RwLock<Option<Arc<Core>>>);

/// How long to wait for those who read. Somebody who takes longer has a backup made, say: then another time.
const PATIENCE: Duration = Duration::from_millis(300);
const MOMENT: Duration = Duration::from_millis(1);

impl Opening {
    pub(super) fn new(core: Core) -> Self {
        Self(RwLock::new(Some(Arc::new(core))))
    }

    /// The open database. Not to be held longer than one operation takes.
    pub(super) fn core(&self) -> Result<Arc<Core>> {
        let place = self.0.read().unwrap_or_else(PoisonError::into_inner);
        place.clone().ok_or_else(|| StoreError::Unavailable("the database is being opened anew".into()))
    }

    /// Closes the database and opens it again, without the group of changes of the number `failed`, which nobody was told of as
    /// done.
    pub(super) fn renew(&self, lasting: &Arc<Lasting>, failed: Option<u64>) -> Result<()> {
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(core) = place.take() {
            match alone(core) {
                // With it goes whatever it had not written yet, or even that is written now.
                Ok(core) => drop(core),
                Err(core) => {
                    *place = Some(core);
                    return Err(StoreError::Unavailable("the database is in use".into()));
                }
            }
        }
        if let Some(number) = failed {
            journal::withdraw(&lasting.directory, number)?;
        }
        let database = Database::open(&lasting.directory, &lasting.options)?;
        let core = Core { database, lasting: Arc::clone(lasting) };
        core.tell_damage();
        core.collect_uploads()?;
        *place = Some(Arc::new(core));
        Ok(())
    }

    /// Closes the database for good.
    pub(super) fn close(&self, lasting: &Lasting, failed: Option<u64>) {
        let core = self.0.write().unwrap_or_else(PoisonError::into_inner).take();
        // Nobody has it but whoever waits for this, unless it is a task that was just told of it.
        let closed = core.is_none_or(|core| alone(core).is_ok());
        if let Some(number) = failed.filter(|_| closed) {
            // If it cannot be withdrawn, the message may be there although it was refused, and come again: never the reverse.
            let _ = journal::withdraw(&lasting.directory, number);
        }
    }
}

/// The core when nobody else has it.
fn alone(mut core: Arc<Core>) -> Result<Core, Arc<Core>> {
    let begun = Instant::now();
    loop {
        match Arc::try_unwrap(core) {
            Ok(core) => return Ok(core),
            Err(shared) if begun.elapsed() > PATIENCE => return Err(shared),
            Err(shared) => core = shared,
        }
        std::thread::sleep(MOMENT);
    }
}
