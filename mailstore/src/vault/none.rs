//! In place of `vault` without the feature `encryption`: there are no keys, and nobody makes a value of these types.
#![cfg_attr(feature = "embedded", allow(dead_code, reason = "nothing makes a key here"))]

use crate::{Result, StoreError};

#[derive(Clone, Debug)]
pub(crate) struct MailKey(());

pub(crate) type KeyId = [u8; 8];

impl MailKey {
    pub(crate) const fn id(&self) -> KeyId {
        [0; 8]
    }

    pub(crate) const fn open(&self, _: u64, _: u64, _: &[u8]) -> Option<BodyKey> {
        None
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Lock(());

impl Lock {
    pub(crate) const fn id(&self) -> KeyId {
        [0; 8]
    }

    pub(crate) const fn is_sealing(&self) -> bool {
        false
    }

    pub(crate) fn seal(&self, _: u64, _: u64, _: &BodyKey) -> Result<Vec<u8>> {
        Err(lacking())
    }

    pub(crate) const fn decode(_: &[u8]) -> Option<Self> {
        None
    }
}

#[derive(Clone, Debug)]
pub(crate) struct BodyKey(());

impl BodyKey {
    pub(crate) fn random() -> Result<Self> {
        Err(lacking())
    }

    pub(crate) const fn from_octets(_: &[u8]) -> Option<Self> {
        None
    }

    pub(crate) const fn octets(&self) -> &[u8] {
        &[]
    }

    pub(crate) fn seal(&self, _: &[u8], _: &[u8]) -> Result<Vec<u8>> {
        Err(lacking())
    }

    pub(crate) const fn open(&self, _: &[u8], _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

fn lacking() -> StoreError {
    StoreError::Unavailable("expected a program with the feature encryption".into())
}
