//! Sieve scripts: rows among those of the tables, whose names are never empty.
//!
//! A zero octet, `scripts`, NUL, user, NUL, and the name of a script: its content. With an empty name: the name of the
//! active one.

use std::collections::BTreeMap;

use bytes::Bytes;
use mailwright_mail_model::ScriptName;

use super::committer::Group;
use super::database::failed;
use super::table::unseal;
use super::{Core, Embedded};
use crate::{Offload, Result, ScriptEntry, ScriptLimits, Scripts, StoreError, User};

impl<O: Offload + Clone> Scripts for Embedded<O> {
    async fn all_scripts(&self, user: &User) -> Result<Vec<ScriptEntry>> {
        let user = user.clone();
        self.run(move |core| core.scripts(&user).map(|found| found.entries())).await
    }

    async fn script(&self, user: &User, name: &ScriptName) -> Result<Bytes> {
        let key = key(user, name.as_str());
        self.run(move |core| core.script_row(&key)).await?.ok_or(StoreError::NotFound)
    }

    async fn active_script(&self, user: &User) -> Result<Option<(ScriptName, Bytes)>> {
        let user = user.clone();
        self.run(move |core| {
            let Some(active) = core.script_row(&key(&user, ""))? else { return Ok(None) };
            let name = name_of(&active)?;
            let script = core.script_row(&key(&user, name.as_str()))?;
            Ok(script.map(|script| (name, script)))
        })
        .await
    }

    async fn put_script(
        &self,
        user: &User,
        name: &ScriptName,
        script: Bytes,
        limits: ScriptLimits,
    ) -> Result<()> {
        let (user, name) = (user.clone(), name.clone());
        let operation = move |group: &mut Group<'_>| {
            limits.admit(&group.scripts(&user)?.entries(), &name, script.len() as u64)?;
            group.set_row(key(&user, name.as_str()), Some(script))
        };
        self.shared.committer.submit(operation).await
    }

    async fn activate_script(&self, user: &User, name: Option<&ScriptName>) -> Result<()> {
        let (user, name) = (user.clone(), name.cloned());
        let operation = move |group: &mut Group<'_>| {
            if let Some(name) = &name
                && group.row(&key(&user, name.as_str()))?.is_none()
            {
                return Err(StoreError::NotFound);
            }
            group.set_row(key(&user, ""), name.map(|name| octets(&name)))
        };
        self.shared.committer.submit(operation).await
    }

    async fn delete_script(&self, user: &User, name: &ScriptName) -> Result<()> {
        let (user, name) = (user.clone(), name.clone());
        let operation = move |group: &mut Group<'_>| {
            if group.row(&key(&user, name.as_str()))?.is_none() {
                return Err(StoreError::NotFound);
            }
            if group.row(&key(&user, ""))? == Some(octets(&name)) {
                return Err(StoreError::Denied);
            }
            group.set_row(key(&user, name.as_str()), None)
        };
        self.shared.committer.submit(operation).await
    }

    async fn rename_script(&self, user: &User, from: &ScriptName, to: &ScriptName) -> Result<()> {
        let (user, from, to) = (user.clone(), from.clone(), to.clone());
        let operation = move |group: &mut Group<'_>| {
            let script = group.row(&key(&user, from.as_str()))?.ok_or(StoreError::NotFound)?;
            if group.row(&key(&user, to.as_str()))?.is_some() {
                return Err(StoreError::Exists);
            }
            if group.row(&key(&user, ""))? == Some(octets(&from)) {
                group.set_row(key(&user, ""), Some(octets(&to)))?;
            }
            group.set_row(key(&user, from.as_str()), None)?;
            group.set_row(key(&user, to.as_str()), Some(script))
        };
        self.shared.committer.submit(operation).await
    }
}

/// A user's rows: the active one's name under the empty one, sizes under the others.
#[derive(Default)]
struct Found {
    sizes: BTreeMap<ScriptName, u64>,
    active: Option<ScriptName>,
}

impl Found {
    fn add(&mut self, name: &[u8], value: Option<&Bytes>) -> Result<()> {
        if name.is_empty() {
            self.active = value.map(name_of).transpose()?;
            return Ok(());
        }
        let name = name_of(name)?;
        match value {
            Some(value) => self.sizes.insert(name, value.len() as u64),
            None => self.sizes.remove(&name),
        };
        Ok(())
    }

    fn entries(self) -> Vec<ScriptEntry> {
        let entry = |(name, size): (ScriptName, u64)| {
            let active = self.active.as_ref() == Some(&name);
            ScriptEntry::new(name, size, active)
        };
        self.sizes.into_iter().map(entry).collect()
    }
}

impl Core {
    fn script_row(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let sealed = self.database.tables.get(key).map_err(failed)?;
        sealed.map(|sealed| unseal(key, sealed.into())).transpose()
    }

    fn scripts(&self, user: &User) -> Result<Found> {
        let (prefix, mut found) = (key(user, ""), Found::default());
        for entry in self.database.tables.prefix(&prefix) {
            let (key, sealed) = entry.into_inner().map_err(failed)?;
            let value = unseal(&key, sealed.into())?;
            found.add(key.get(prefix.len()..).unwrap_or_default(), Some(&value))?;
        }
        Ok(found)
    }
}

impl Group<'_> {
    /// As this group leaves them so far.
    fn scripts(&self, user: &User) -> Result<Found> {
        let (prefix, mut found) = (key(user, ""), self.core.scripts(user)?);
        for (key, value) in &self.tables {
            if let Some(name) = key.strip_prefix(&prefix[..]) {
                found.add(name, value.as_ref())?;
            }
        }
        Ok(found)
    }
}

pub(super) fn key(user: &User, name: &str) -> Vec<u8> {
    [b"\0scripts\0", user.as_str().as_bytes(), b"\0", name.as_bytes()].concat()
}

fn octets(name: &ScriptName) -> Bytes {
    Bytes::copy_from_slice(name.as_str().as_bytes())
}

fn name_of(octets: impl AsRef<[u8]>) -> Result<ScriptName> {
    let text = std::str::from_utf8(octets.as_ref()).ok();
    text.and_then(|text| ScriptName::new(text).ok())
        .ok_or_else(|| StoreError::Corrupt("the name of a script".into()))
}
