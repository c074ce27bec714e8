//! The facet of a store that keeps users' Sieve scripts.

use bytes::Bytes;
use mailwright_mail_model::ScriptName;

use crate::store::Never;
use crate::{Result, StoreError, User};

/// Users' Sieve scripts: ManageSieve, and the filter at delivery.
///
/// What a script says is for others to check: a store takes any octets.
pub trait Scripts: Send + Sync {
    /// All of a user's scripts, sorted by name.
    fn all_scripts(&self, user: &User) -> impl Future<Output = Result<Vec<ScriptEntry>>> + Send;

    /// The content of a script.
    ///
    /// # Errors
    /// [`NotFound`](StoreError::NotFound).
    fn script(&self, user: &User, name: &ScriptName) -> impl Future<Output = Result<Bytes>> + Send;

    /// The script that filters this user's mail, if one does.
    fn active_script(&self, user: &User) -> impl Future<Output = Result<Option<(ScriptName, Bytes)>>> + Send;

    /// Whether a script of this name and size could be stored.
    ///
    /// # Errors
    /// As [`put_script`](Self::put_script).
    fn admit_script(
        &self,
        user: &User,
        name: &ScriptName,
        size: u64,
        limits: ScriptLimits,
    ) -> impl Future<Output = Result<()>> + Send {
        async move { limits.admit(&self.all_scripts(user).await?, name, size) }
    }

    /// Stores a script, in the place of the one of that name if there is one; the active one stays active.
    ///
    /// # Errors
    /// [`TooLarge`](StoreError::TooLarge) for a script, [`TooMany`](StoreError::TooMany) of them.
    fn put_script(
        &self,
        user: &User,
        name: &ScriptName,
        script: Bytes,
        limits: ScriptLimits,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Makes a script the active one in the place of any other, or makes none active.
    ///
    /// # Errors
    /// [`NotFound`](StoreError::NotFound).
    fn activate_script(
        &self,
        user: &User,
        name: Option<&ScriptName>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Deletes a script.
    ///
    /// # Errors
    /// [`NotFound`](StoreError::NotFound), [`Denied`](StoreError::Denied) if it is the active one (RFC 5804 §2.10).
    fn delete_script(&self, user: &User, name: &ScriptName) -> impl Future<Output = Result<()>> + Send;

    /// Gives a script another name; the active one stays active.
    ///
    /// # Errors
    /// [`NotFound`](StoreError::NotFound), [`Exists`](StoreError::Exists) if the new name is taken.
    fn rename_script(
        &self,
        user: &User,
        from: &ScriptName,
        to: &ScriptName,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// One script of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScriptEntry {
    /// Its name.
    pub name: ScriptName,
    /// Its size in octets.
    pub size: u64,
    /// Whether it filters the user's mail.
    pub active: bool,
}

impl ScriptEntry {
    /// For stores.
    pub const fn new(name: ScriptName, size: u64, active: bool) -> Self {
        Self { name, size, active }
    }
}

/// How many and how large a user's scripts may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScriptLimits {
    /// How many scripts.
    pub scripts: u64,
    /// The largest, in octets.
    pub size: u64,
}

impl ScriptLimits {
    /// So many, each of at most `size` octets.
    pub const fn new(scripts: u64, size: u64) -> Self {
        Self { scripts, size }
    }

    /// Whether a script may be stored beside these, for stores.
    ///
    /// # Errors
    /// [`TooLarge`](StoreError::TooLarge), [`TooMany`](StoreError::TooMany).
    pub fn admit(&self, present: &[ScriptEntry], name: &ScriptName, size: u64) -> Result<()> {
        if size > self.size {
            return Err(StoreError::TooLarge { limit: self.size });
        }
        let others = present.iter().filter(|entry| entry.name != *name).count() as u64;
        if others >= self.scripts { Err(StoreError::TooMany { limit: self.scripts }) } else { Ok(()) }
    }
}

impl Default for ScriptLimits {
    /// 100 scripts of 1 MiB.
    fn default() -> Self {
        Self::new(100, 1 << 20)
    }
}

impl Scripts for Never {
    async fn all_scripts(&self, _: &User) -> Result<Vec<ScriptEntry>> {
        match *self {}
    }

    async fn script(&self, _: &User, _: &ScriptName) -> Result<Bytes> {
        match *self {}
    }

    async fn active_script(&self, _: &User) -> Result<Option<(ScriptName, Bytes)>> {
        match *self {}
    }

    async fn put_script(&self, _: &User, _: &ScriptName, _: Bytes, _: ScriptLimits) -> Result<()> {
        match *self {}
    }

    async fn activate_script(&self, _: &User, _: Option<&ScriptName>) -> Result<()> {
        match *self {}
    }

    async fn delete_script(&self, _: &User, _: &ScriptName) -> Result<()> {
        match *self {}
    }

    async fn rename_script(&self, _: &User, _: &ScriptName, _: &ScriptName) -> Result<()> {
        match *self {}
    }
}
