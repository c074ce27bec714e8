//! What a filter remembers from one message to the next: whom it answered, and which messages it has seen.

use mailwright_mailstore::{Result, Row, User, embedded::Table};

/// Remembers keys for a time.
pub trait Remember: Send + Sync {
    /// Whether a key of this user's is remembered, at this moment in seconds since 1970.
    ///
    /// # Errors
    /// If nobody can tell now.
    fn remembers(&self, user: &User, key: &str, now: u64) -> Result<bool>;

    /// Remembers a key up to a moment.
    ///
    /// # Errors
    /// If it cannot be written.
    fn remember(&self, user: &User, key: &str, until: u64) -> impl Future<Output = Result<()>> + Send;

    /// The row by which a key is remembered up to a moment. With it, the key is remembered in the commit of the message that it is about,
    /// in a store that [takes rows](mailwright_mailstore::Write::takes_rows): a message that comes again because it could not be taken is not
    /// the second of its kind. By default there is none, and the key is remembered after that commit.
    fn row(&self, user: &User, key: &str, until: u64) -> Option<Row> {
        let _ = (user, key, until);
        None
    }

    /// The same for a key that was not remembered at this moment. If somebody else has it remembered by the time of the commit, that is to
    /// fail with [`Conflict`](mailwright_mailstore::StoreError::Conflict), and the message is filtered again: of two messages that come at once,
    /// one is the first of its kind. By default it is as [`row`](Self::row), and both may be.
    fn first_row(&self, user: &User, key: &str, now: u64, until: u64) -> Option<Row> {
        let _ = now;
        self.row(user, key, until)
    }
}

/// Remembers nothing: `vacation` answers each message, `duplicate` finds none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Forgetful;

impl Remember for Forgetful {
    fn remembers(&self, _: &User, _: &str, _: u64) -> Result<bool> {
        Ok(false)
    }

    async fn remember(&self, _: &User, _: &str, _: u64) -> Result<()> {
        Ok(())
    }
}

/// Remembers in a table of the embedded store, through restarts.
#[derive(Debug, Clone)]
pub struct Remembered(Table);

impl Remembered {
    /// In this table, which is for nothing else. If the mail is in an embedded store too, the table must be one of that.
    pub const fn new(table: Table) -> Self {
        Self(table)
    }

    /// Forgets what is past; how much that was.
    ///
    /// # Errors
    /// The table's.
    pub async fn tidy(&self, now: u64) -> Result<usize> {
        let mut gone = 0;
        for (key, until) in self.0.scan(b"")? {
            if moment(&until).is_none_or(|until| until <= now) {
                self.0.delete(&key).await?;
                gone += 1;
            }
        }
        Ok(gone)
    }
}

impl Remember for Remembered {
    fn remembers(&self, user: &User, key: &str, now: u64) -> Result<bool> {
        let until = self.0.get(&digest(user, key))?;
        Ok(until.and_then(|until| moment(&until)).is_some_and(|until| until > now))
    }

    async fn remember(&self, user: &User, key: &str, until: u64) -> Result<()> {
        self.0.put(&digest(user, key), &until.to_be_bytes()).await
    }

    fn row(&self, user: &User, key: &str, until: u64) -> Option<Row> {
        Some(self.0.row(&digest(user, key), Some(&until.to_be_bytes())))
    }

    fn first_row(&self, user: &User, key: &str, now: u64, until: u64) -> Option<Row> {
        // As `remembers` has it: what is past by now counts for nothing. The order of the octets is that of the numbers.
        self.row(user, key, until).map(|row| row.unless_above(now.to_be_bytes()))
    }
}

fn moment(octets: &[u8]) -> Option<u64> {
    octets.try_into().ok().map(u64::from_be_bytes)
}

/// Keys are of any length, those of a table are not.
fn digest(user: &User, key: &str) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(user.as_str().as_bytes());
    context.update(b"\0");
    context.update(key.as_bytes());
    let mut octets = [0; 32];
    octets.iter_mut().zip(context.finish().as_ref()).for_each(|(octet, digest)| *octet = *digest);
    octets
}

#[cfg(test)]
mod tests {
    use mailwright_mailstore::{
        StoreError, block_on,
        embedded::{Embedded, Options},
    };

    use super::*;

    #[test]
    fn keys_are_remembered_for_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path(), Options::default()).unwrap();
        let memory = Remembered::new(store.table("seen").unwrap());
        let (ann, bob) = (User::new("ann").unwrap(), User::new("bob").unwrap());
        let key = "k".repeat(10_000);
        block_on(memory.remember(&ann, &key, 100)).unwrap();
        assert!(memory.remembers(&ann, &key, 99).unwrap());
        assert!(!memory.remembers(&ann, &key, 100).unwrap());
        assert!(!memory.remembers(&bob, &key, 99).unwrap());
        assert_eq!(block_on(memory.tidy(99)).unwrap(), 0);
        assert_eq!(block_on(memory.tidy(100)).unwrap(), 1);
    }

    #[test]
    fn a_row_is_the_first_exactly_if_its_key_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path(), Options::default()).unwrap();
        let table = store.table("seen").unwrap();
        let (memory, ann) = (Remembered::new(table.clone()), User::new("ann").unwrap());
        for (now, until) in
            [(100, 200), (100, 200), (199, 300), (200, 200), (200, 260), (255, 300), (260, 512)]
        {
            let known = memory.remembers(&ann, "k", now).unwrap();
            let row = memory.first_row(&ann, "k", now, until).unwrap();
            let done = block_on(table.change(vec![row]));
            assert_eq!(done, if known { Err(StoreError::Conflict) } else { Ok(()) }, "{now}");
        }
        assert!(memory.remembers(&ann, "k", 511).unwrap());
    }
}
