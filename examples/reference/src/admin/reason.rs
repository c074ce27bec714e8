//! Why something was not done, by the errors that say it in words.

use mailwright::mailstore::StoreError;

use super::{Reason, Response};
use crate::{
    directory::DirectoryError, dkim::KeyError, fetch::FetchError, life::LifeError, sieve::SieveError,
    trace::TraceError,
};

impl Response {
    /// It was not done, and this is why.
    pub(super) fn failed<E: ToString>(error: E) -> Self
    where
        for<'a> Reason: From<&'a E>,
    {
        Self::Failed { reason: Reason::from(&error), message: error.to_string() }
    }
}

impl From<&StoreError> for Reason {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::Missing,
            StoreError::Exists => Self::Exists,
            StoreError::Unavailable(_) | StoreError::Full(_) => Self::Unavailable,
            _ => Self::Refused,
        }
    }
}

impl From<&DirectoryError> for Reason {
    fn from(error: &DirectoryError) -> Self {
        match error {
            DirectoryError::Missing(_) | DirectoryError::Unknown(_) | DirectoryError::NotRemoved(_) => {
                Self::Missing
            }
            DirectoryError::Taken(_) | DirectoryError::Exists(_) | DirectoryError::Removed(_) => Self::Exists,
            DirectoryError::Store(error) => error.into(),
            _ => Self::Refused,
        }
    }
}

impl From<&LifeError> for Reason {
    fn from(error: &LifeError) -> Self {
        match error {
            LifeError::Store(error) => error.into(),
            LifeError::Directory(error) => error.into(),
            LifeError::Refused(_) => Self::Refused,
        }
    }
}

impl From<&FetchError> for Reason {
    fn from(error: &FetchError) -> Self {
        match error {
            FetchError::Store(error) => error.into(),
            FetchError::Directory(error) => error.into(),
            FetchError::Unknown(_) => Self::Missing,
            _ => Self::Refused,
        }
    }
}

impl From<&SieveError> for Reason {
    fn from(error: &SieveError) -> Self {
        match error {
            SieveError::Directory(error) => error.into(),
            SieveError::Store(error) | SieveError::Log(error) => error.into(),
            SieveError::Message => Self::Refused,
        }
    }
}

impl From<&KeyError> for Reason {
    fn from(error: &KeyError) -> Self {
        match error {
            KeyError::Store(error) => error.into(),
            KeyError::Unknown { .. } => Self::Missing,
            KeyError::Exists { .. } => Self::Exists,
            _ => Self::Refused,
        }
    }
}

impl From<&TraceError> for Reason {
    fn from(error: &TraceError) -> Self {
        match error {
            TraceError::Nothing { .. } | TraceError::NotKept => Self::Missing,
            TraceError::Read { .. } => Self::Unavailable,
        }
    }
}
