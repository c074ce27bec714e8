//! What became of the last failed write: whether to wait for room, or for somebody to look at the disk.

use std::sync::Mutex;

use super::{Core, Lasting};
use crate::signal::lock;
use crate::{Result, StoreError};

/// The failure after which nothing is written, until it is over.
#[derive(Default)]
pub(super) struct Failure(Mutex<Option<Fault>>);

#[derive(Clone)]
enum Fault {
    /// There was no room. It may be over when there is.
    Full(String),
    /// Nobody knows what the disk holds now. Only a new start finds out.
    Broken(String),
}

impl Failure {
    /// Why nothing is written, if so.
    pub(super) fn text(&self) -> Option<String> {
        lock(&self.0).clone().map(|fault| match fault {
            Fault::Full(text) => format!("no room on disk, until there is: {text}"),
            Fault::Broken(text) => format!("read-only until it is started anew: {text}"),
        })
    }

    /// Whether it may be over once there is room.
    pub(super) fn is_passing(&self) -> bool {
        matches!(*lock(&self.0), Some(Fault::Full(_)))
    }

    pub(super) fn is_over(&self) {
        *lock(&self.0) = None;
    }

    fn note(&self, fault: Fault) -> Fault {
        let mut noted = lock(&self.0);
        match &*noted {
            // What is worse stays, and so does what came first.
            Some(Fault::Broken(_)) => {}
            Some(Fault::Full(_)) if matches!(fault, Fault::Full(_)) => {}
            _ => *noted = Some(fault.clone()),
        }
        noted.clone().unwrap_or(fault)
    }
}

impl Fault {
    fn error(self) -> StoreError {
        match self {
            Self::Full(text) => StoreError::Full(text),
            Self::Broken(text) => StoreError::ReadOnly(text),
        }
    }
}

impl Lasting {
    /// Whether writes are possible still.
    pub(super) fn writable(&self) -> Result<()> {
        lock(&self.failure.0).clone().map_or(Ok(()), |fault| Err(fault.error()))
    }
}

impl Core {
    /// Notes that a write failed, of whatever kind the failure is: nobody knows what the disk holds now. What to say of it.
    pub(super) fn fail(&self, error: &StoreError) -> StoreError {
        let fault = match error {
            StoreError::Full(text) => Fault::Full(text.clone()),
            // A thread of the database failed before, and it does not say of what.
            StoreError::ReadOnly(text) if self.space.is_used_up() => Fault::Full(text.clone()),
            error => Fault::Broken(error.to_string()),
        };
        self.failure.note(fault).error()
    }
}
