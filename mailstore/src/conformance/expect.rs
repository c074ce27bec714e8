//! What a check expects, and what it says where something else comes.

use std::fmt;
use std::panic::Location;

use crate::{CommitError, StoreError};

/// What went wrong within a check.
#[derive(Debug)]
pub(super) struct Wrong(pub(super) String);

impl Wrong {
    /// With what it was that went wrong.
    pub(super) fn within(self, what: &str) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

pub(super) type Outcome<T = ()> = Result<T, Wrong>;

impl From<StoreError> for Wrong {
    #[track_caller]
    fn from(error: StoreError) -> Self {
        wrong(&format!("expected success, got {error:?}"))
    }
}

impl From<CommitError> for Wrong {
    #[track_caller]
    fn from(error: CommitError) -> Self {
        wrong(&format!("expected success, got {error:?}"))
    }
}

/// With the line of the suite that expects otherwise: a check calls a store many times.
#[track_caller]
pub(super) fn wrong(what: &str) -> Wrong {
    let place = Location::caller();
    let file = place.file().rsplit(['/', '\\']).next().unwrap_or_default();
    Wrong(format!("{what} (conformance/{file}, line {})", place.line()))
}

#[track_caller]
pub(super) fn ensure(holds: bool, rule: &str) -> Outcome {
    if holds { Ok(()) } else { Err(wrong(&format!("expected: {rule}"))) }
}

#[track_caller]
pub(super) fn equal<T: PartialEq + fmt::Debug>(what: &str, got: T, expected: T) -> Outcome {
    if got == expected { Ok(()) } else { Err(wrong(&format!("{what}: expected {expected:?}, got {got:?}"))) }
}

#[track_caller]
pub(super) fn refused<T: fmt::Debug>(result: crate::Result<T>, expected: &StoreError) -> Outcome {
    match result {
        Err(error) if std::mem::discriminant(&error) == std::mem::discriminant(expected) => Ok(()),
        other => Err(wrong(&format!("expected {expected:?}, got {other:?}"))),
    }
}

#[track_caller]
pub(super) fn some<T>(value: Option<T>, rule: &str) -> Outcome<T> {
    match value {
        Some(value) => Ok(value),
        None => Err(wrong(&format!("expected: {rule}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_says_where_it_was_asked_for() {
        let asks = || -> Outcome { Err(StoreError::NotFound)? };
        let [by_store, by_rule] = [asks(), ensure(false, "a rule")].map(|wrong| wrong.unwrap_err().0);
        let line = line!() - 2;
        assert_eq!(by_store, format!("expected success, got NotFound (conformance/expect.rs, line {line})"));
        assert_eq!(by_rule, format!("expected: a rule (conformance/expect.rs, line {})", line + 1));
    }
}
