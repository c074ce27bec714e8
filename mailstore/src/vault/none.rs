//! In place of `vault` without the feature `encryption`: there are no keys, and none of these types has a value.

use crate::Result;

#[derive(Clone, Debug)]
pub(crate) enum MailKey {}

pub(crate) type KeyId = [u8; 8];

impl MailKey {
    pub(crate) const fn id(&self) -> KeyId {
        match *self {}
    }

    pub(crate) const fn open(&self, _: u64, _: u64, _: &[u8]) -> Option<BodyKey> {
        match *self {}
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Lock {}

impl Lock {
    pub(crate) const fn id(&self) -> KeyId {
        match *self {}
    }

    pub(crate) const fn is_sealing(&self) -> bool {
        match *self {}
    }

    pub(crate) const fn seal(&self, _: u64, _: u64, _: &BodyKey) -> Result<Vec<u8>> {
        match *self {}
    }

    pub(crate) const fn decode(_: &[u8]) -> Option<Self> {
        None
    }
}

#[derive(Clone, Debug)]
pub(crate) enum BodyKey {}

impl BodyKey {
    pub(crate) fn random() -> Result<Self> {
        Err(crate::StoreError::Unavailable("expected a program with the feature encryption".into()))
    }

    pub(crate) const fn from_octets(_: &[u8]) -> Option<Self> {
        None
    }

    pub(crate) const fn octets(&self) -> &[u8] {
        match *self {}
    }

    pub(crate) const fn seal(&self, _: &[u8], _: &[u8]) -> Result<Vec<u8>> {
        match *self {}
    }

    pub(crate) const fn open(&self, _: &[u8], _: &[u8]) -> Option<Vec<u8>> {
        match *self {}
    }
}
