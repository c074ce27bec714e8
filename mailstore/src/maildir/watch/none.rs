//! Where the system tells nothing that is understood here.

use std::collections::HashSet;
use std::path::Path;

use super::What;

/// There is none.
pub(super) enum System {}

impl System {
    pub(super) const fn new() -> Option<Self> {
        None
    }

    pub(super) const fn add(&self, _: &Path, _: What) -> Option<i32> {
        match *self {}
    }

    pub(super) const fn remove(&self, _: i32) {
        match *self {}
    }

    pub(super) const fn reader(&self) -> Told {
        Told
    }
}

/// Nothing is told.
pub(super) struct Told;

impl Told {
    pub(super) fn read(self, _: fn(&str) -> bool, _: impl FnMut(HashSet<i32>, bool) -> bool) {}
}
