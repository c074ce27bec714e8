//! Encryption at rest, user by user: switching it on, opening it by a login, and changing by what it is opened.

use super::Embedded;
use super::committer::Group;
use super::sealed::lock_key;
use crate::vault::{Lock, RecoveryKey, SlotKind};
use crate::{Offload, Result, StoreError, User};

/// Encryption of one user's mail with a key that only a login opens.
///
/// ```
/// use bytes::Bytes;
/// use mailwright_mail_model::{DateTime, MailboxName};
/// use mailwright_mailstore::embedded::{Embedded, Options};
/// use mailwright_mailstore::{MailboxRef, Store, StoreError, Target, User, Write, block_on};
///
/// # let directory = tempfile::tempdir()?;
/// let store = Embedded::open(directory.path(), Options::default())?;
/// let alice = User::new("alice@example.org")?;
/// block_on(async {
///     let _to_be_written_down = store.encrypt(&alice, b"swordfish").await?;
///     // A delivery needs no key.
///     let arrived = DateTime::from_imap("17-Jul-1996 02:44:25 -0700")?;
///     let mut upload = store.begin(None).await?;
///     upload.write(Bytes::from_static(b"Subject: hi\r\n\r\n")).await?;
///     upload.commit(&[Target::new(alice.clone(), MailboxName::inbox(), arrived)]).await?;
///     let snapshot = store.open(&alice, &MailboxName::inbox()).await?;
///     let message = snapshot.messages().next().ok_or("no message")?;
///     let read = |user| {
///         let reference = MailboxRef::new(user, MailboxName::inbox(), &snapshot).message(message);
///         let store = store.clone();
///         async move { store.read(&reference, 0..11).await }
///     };
///     assert!(matches!(read(alice.clone()).await, Err(StoreError::Locked(_))));
///     let opened = store.unlock(&alice, b"swordfish").await?;
///     assert_eq!(read(opened).await?, "Subject: hi");
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<O: Offload + Clone> Embedded<O> {
    /// Encrypts what comes for a user from now on; what is there stays as it is. Whoever logs in with this password can read it, and
    /// so can whoever has the key that is returned. Without either it is lost.
    ///
    /// Switched on again after [`stop_encrypting`](Self::stop_encrypting), it goes on with the keys there were, and another recovery
    /// key.
    ///
    /// # Errors
    /// [`Exists`](StoreError::Exists) if it is on already, [`Denied`](StoreError::Denied) if it was on and this password does not open
    /// what is there; or the store cannot be written.
    pub async fn encrypt(&self, user: &User, password: &[u8]) -> Result<RecoveryKey> {
        let found = self.lock(user).await?;
        let password = zeroize::Zeroizing::new(password.to_vec());
        let made = move || match found {
            Some(lock) if lock.is_sealing() => Err(StoreError::Exists),
            Some(mut lock) => {
                let key = lock.open(&password).ok_or(StoreError::Denied)?;
                let recovery = lock.renew_recovery(&key)?;
                lock.set_sealing(true);
                Ok((lock, recovery))
            }
            None => Lock::new(&password),
        };
        let (lock, recovery) = self.offload.run(made).await?;
        // Before anybody asks whether there is a lock: what comes at this moment is looked at closely.
        self.shared.lasting.sealing.begin();
        let owner = user.clone();
        let operation = move |group: &mut Group<'_>| {
            if group.lock_of(&owner)?.is_some_and(|found| found.is_sealing() || found.id() != lock.id()) {
                return Err(StoreError::Exists);
            }
            let (name, row) = group.core.database.sealed_format()?;
            group.put(&group.core.database.meta, name.as_bytes().to_vec(), row);
            group.set_lock(&owner, &lock);
            Ok(())
        };
        self.shared.committer.submit(operation).await?;
        #[cfg(feature = "fulltext")]
        self.forget_texts(user).await?;
        Ok(recovery)
    }

    /// Whether what comes for a user is encrypted.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn is_encrypted(&self, user: &User) -> Result<bool> {
        Ok(self.lock(user).await?.is_some_and(|lock| lock.is_sealing()))
    }

    /// Whether a user has keys: something of theirs is or was encrypted.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn has_keys(&self, user: &User) -> Result<bool> {
        Ok(self.lock(user).await?.is_some())
    }

    /// The same user with the key to their mail, which a password or recovery key opens; if they have none, just the same user. Takes
    /// as long as hashing a password.
    ///
    /// # Errors
    /// [`Denied`](StoreError::Denied) if this is neither; or the store cannot be read.
    pub async fn unlock(&self, user: &User, secret: &[u8]) -> Result<User> {
        let Some(lock) = self.lock(user).await? else { return Ok(user.clone()) };
        let secret = zeroize::Zeroizing::new(secret.to_vec());
        let opened = self.offload.run(move || lock.open(&secret).ok_or(StoreError::Denied)).await;
        Ok(user.clone().with_key(opened?))
    }

    /// Lets another password open the mail too, for somebody who has the old one or the recovery key. Call
    /// [`forget_old_passwords`](Self::forget_old_passwords) when the new one is what opens the account.
    ///
    /// # Errors
    /// [`Denied`](StoreError::Denied) if the old one does not open it; or the store cannot be written.
    pub async fn add_password(&self, user: &User, old: &[u8], new: &[u8]) -> Result<()> {
        let Some(lock) = self.lock(user).await? else { return Ok(()) };
        let (old, new) = (zeroize::Zeroizing::new(old.to_vec()), zeroize::Zeroizing::new(new.to_vec()));
        let made = move || {
            let (key, mut lock) = (lock.open(&old).ok_or(StoreError::Denied)?, lock);
            lock.add(&key, SlotKind::Password, &new)?;
            Ok(lock)
        };
        let lock = self.offload.run(made).await?;
        self.change_lock(user, move |found| (found.id() == lock.id()).then_some(lock)).await
    }

    /// Lets no password open the mail but the last one that was added.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn forget_old_passwords(&self, user: &User) -> Result<()> {
        self.change_lock(user, |mut lock| {
            lock.keep_last_password();
            Some(lock)
        })
        .await
    }

    /// Encrypts nothing that comes from now on. What is encrypted stays so, and is opened by the same.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn stop_encrypting(&self, user: &User) -> Result<()> {
        self.change_lock(user, |mut lock| {
            lock.set_sealing(false);
            Some(lock)
        })
        .await
    }

    async fn lock(&self, user: &User) -> Result<Option<Lock>> {
        let user = user.clone();
        self.run(move |core| core.lock_of(&user)).await
    }

    async fn change_lock(
        &self,
        user: &User,
        change: impl FnOnce(Lock) -> Option<Lock> + Send + 'static,
    ) -> Result<()> {
        let user = user.clone();
        let operation = move |group: &mut Group<'_>| {
            if let Some(lock) = group.lock_of(&user)?.and_then(change) {
                group.set_lock(&user, &lock);
            }
            Ok(())
        };
        self.shared.committer.submit(operation).await
    }
}

impl Group<'_> {
    fn set_lock(&mut self, user: &User, lock: &Lock) {
        self.set_detail(lock_key(user), Some(lock.encode().into()));
    }
}
