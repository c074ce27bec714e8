//! Accounts whose mail is encrypted with a key that only their passwords open.

use mailwright::mailstore::{RecoveryKey, StoreError, User, block_on, embedded::Embedded};

use super::{Directory, DirectoryError, accounts::prepared};

impl Directory {
    /// From now on mail can be encrypted, in this store.
    pub(crate) fn encrypt_in(&self, store: Embedded) {
        // Told once, before anybody asks.
        let _ = self.vault.set(store);
    }

    /// Encrypts what comes for an account from now on, with a key that its password opens. Says whether there was a recovery key before, which
    /// opens nothing any more. Slow: it hashes passwords.
    pub(crate) fn encrypt(&self, name: &str, password: &str) -> Result<(RecoveryKey, bool), DirectoryError> {
        let vault = self.vault.get().ok_or(DirectoryError::NoEncryption)?;
        let _changing = self.lock_changes();
        let account = self.account(name)?;
        // As it is given when somebody logs in: what opens the account opens the mail.
        let prepared = prepared(password)?;
        let right =
            [prepared.as_str(), password].into_iter().find(|it| account.password.verify(it.as_bytes()));
        let Some(password) = right else {
            return Err(DirectoryError::WrongPassword(account.user.to_string()));
        };
        let again = self.has_keys(&account.user)?;
        let user = account.user.to_string();
        let key =
            block_on(vault.encrypt(&account.user, password.as_bytes())).map_err(|error| match error {
                StoreError::Exists => DirectoryError::Encrypted(user),
                StoreError::Denied => DirectoryError::NotOpened(user),
                error => error.into(),
            })?;
        self.forget_scram(&account)?;
        Ok((key, again))
    }

    /// Encrypts nothing that comes for an account from now on.
    pub(crate) fn stop_encrypting(&self, name: &str) -> Result<(), DirectoryError> {
        let vault = self.vault.get().ok_or(DirectoryError::NoEncryption)?;
        let account = self.account(name)?;
        Ok(block_on(vault.stop_encrypting(&account.user))?)
    }

    /// The user with the key to their mail, if that is encrypted. Slow: it hashes a password.
    pub(super) fn unlock(&self, user: &User, password: &[u8]) -> Result<User, StoreError> {
        self.vault.get().map_or_else(|| Ok(user.clone()), |vault| block_on(vault.unlock(user, password)))
    }

    /// Whether something of theirs is or was encrypted.
    pub(super) fn has_keys(&self, user: &User) -> Result<bool, DirectoryError> {
        Ok(self.vault.get().map_or(Ok(false), |vault| block_on(vault.has_keys(user)))?)
    }

    pub(super) fn add_mail_password(
        &self,
        user: &User,
        old: Option<&str>,
        new: &str,
    ) -> Result<(), DirectoryError> {
        let Some(vault) = self.vault.get() else { return Ok(()) };
        let old = old.ok_or_else(|| DirectoryError::OldPassword(user.to_string()))?;
        // A recovery key is read off paper.
        let tidy = old.trim().to_uppercase();
        let mut added = Err(StoreError::Denied);
        for old in [prepared(old)?.as_str(), old, &tidy] {
            if added == Err(StoreError::Denied) {
                added = block_on(vault.add_password(user, old.as_bytes(), new.as_bytes()));
            }
        }
        added.map_err(|error| match error {
            StoreError::Denied => DirectoryError::OldPassword(user.to_string()),
            error => error.into(),
        })
    }

    pub(super) fn forget_old_mail_passwords(&self, user: &User) -> Result<(), DirectoryError> {
        Ok(self.vault.get().map_or(Ok(()), |vault| block_on(vault.forget_old_passwords(user)))?)
    }
}
