//! Sieve scripts.

use bytes::Bytes;
use mailwright_mail_model::ScriptName;

use super::Memory;
use crate::{Result, ScriptEntry, ScriptLimits, Scripts, StoreError, User};

impl Scripts for Memory {
    async fn all_scripts(&self, user: &User) -> Result<Vec<ScriptEntry>> {
        let mut state = self.state();
        let account = state.account(user)?;
        let entry = |(name, script): (&ScriptName, &Bytes)| {
            let active = account.active_script.as_ref() == Some(name);
            ScriptEntry::new(name.clone(), script.len() as u64, active)
        };
        Ok(account.scripts.iter().map(entry).collect())
    }

    async fn script(&self, user: &User, name: &ScriptName) -> Result<Bytes> {
        self.state().account(user)?.scripts.get(name).cloned().ok_or(StoreError::NotFound)
    }

    async fn active_script(&self, user: &User) -> Result<Option<(ScriptName, Bytes)>> {
        let mut state = self.state();
        let account = state.account(user)?;
        let name = account.active_script.clone();
        Ok(name.and_then(|name| account.scripts.get(&name).cloned().map(|script| (name, script))))
    }

    async fn put_script(
        &self,
        user: &User,
        name: &ScriptName,
        script: Bytes,
        limits: ScriptLimits,
    ) -> Result<()> {
        let present = self.all_scripts(user).await?;
        limits.admit(&present, name, script.len() as u64)?;
        self.state().account(user)?.scripts.insert(name.clone(), script);
        Ok(())
    }

    async fn activate_script(&self, user: &User, name: Option<&ScriptName>) -> Result<()> {
        let mut state = self.state();
        let account = state.account(user)?;
        if name.is_some_and(|name| !account.scripts.contains_key(name)) {
            return Err(StoreError::NotFound);
        }
        account.active_script = name.cloned();
        Ok(())
    }

    async fn delete_script(&self, user: &User, name: &ScriptName) -> Result<()> {
        let mut state = self.state();
        let account = state.account(user)?;
        if account.active_script.as_ref() == Some(name) {
            return Err(StoreError::Denied);
        }
        account.scripts.remove(name).map(drop).ok_or(StoreError::NotFound)
    }

    async fn rename_script(&self, user: &User, from: &ScriptName, to: &ScriptName) -> Result<()> {
        let mut state = self.state();
        let account = state.account(user)?;
        if !account.scripts.contains_key(from) {
            return Err(StoreError::NotFound);
        }
        if account.scripts.contains_key(to) {
            return Err(StoreError::Exists);
        }
        if let Some(script) = account.scripts.remove(from) {
            account.scripts.insert(to.clone(), script);
        }
        if account.active_script.as_ref() == Some(from) {
            account.active_script = Some(to.clone());
        }
        Ok(())
    }
}
