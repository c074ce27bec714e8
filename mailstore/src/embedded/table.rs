//! Small rows that are no mail, in the same database: accounts, domains, whatever a server keeps.

use std::sync::Arc;

use bytes::Bytes;

use super::committer::Group;
use super::database::failed;
use super::{Shared, row};
use crate::{Result, Row, StoreError};

/// How long the name of a message is in a key: UIDVALIDITY and UID.
const NAME_OF_MESSAGE: usize = 8;

/// A named map from keys to values in the database of an [`Embedded`](super::Embedded) store. Every change is
/// durable when its method returns. Cheap to clone.
///
/// ```
/// use mailwright_mailstore::block_on;
/// use mailwright_mailstore::embedded::{Embedded, Options};
///
/// # let directory = tempfile::tempdir()?;
/// let store = Embedded::open(directory.path(), Options::default())?;
/// let accounts = store.table("accounts")?;
/// block_on(accounts.put(b"alice@example.org", b"secret hash"))?;
/// assert_eq!(accounts.get(b"alice@example.org")?.as_deref(), Some(&b"secret hash"[..]));
/// assert_eq!(accounts.scan(b"alice")?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Table {
    shared: Arc<Shared>,
    prefix: Vec<u8>,
}

impl Table {
    /// The longest name of a table and the longest key in one, in octets.
    pub const MAX_OCTETS: usize = 255;

    pub(super) fn new(shared: Arc<Shared>, name: &str) -> Result<Self> {
        let length = check_length("a name of a table", name.as_bytes())?;
        Ok(Self { shared, prefix: [&[length], name.as_bytes()].concat() })
    }

    /// The value of a key. Reads in place: a row this small is a matter of microseconds.
    ///
    /// # Errors
    /// [`Corrupt`](StoreError::Corrupt), or the database cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let key = self.key(key)?;
        let Some(sealed) = self.shared.core()?.database.tables.get(&key).map_err(failed)? else {
            return Ok(None);
        };
        unseal(&key, sealed.into()).map(Some)
    }

    /// Every key that begins with `prefix`, and its value, sorted.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
        let start = [&self.prefix, prefix].concat();
        let mut rows = Vec::new();
        for entry in self.shared.core()?.database.tables.prefix(&start) {
            let (key, sealed) = entry.into_inner().map_err(failed)?;
            let value = unseal(&key, sealed.into())?;
            let key = Bytes::from(key);
            rows.push((key.slice(self.prefix.len().min(key.len())..), value));
        }
        Ok(rows)
    }

    /// Gives a key a value, whether it had one or not.
    ///
    /// # Errors
    /// [`Invalid`](StoreError::Invalid) for a key that is empty or too long; or the database cannot be written.
    pub async fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let (key, value) = (self.key(key)?, Bytes::copy_from_slice(value));
        self.shared.committer.submit(move |group| group.set_row(key, Some(value))).await
    }

    /// Gives a key its first value.
    ///
    /// # Errors
    /// [`Exists`](StoreError::Exists) if it has one; otherwise as [`put`](Self::put).
    pub async fn put_new(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let (key, value) = (self.key(key)?, Bytes::copy_from_slice(value));
        let operation = move |group: &mut Group<'_>| match group.row(&key)? {
            Some(_) => Err(StoreError::Exists),
            None => group.set_row(key, Some(value)),
        };
        self.shared.committer.submit(operation).await
    }

    /// Removes a key; whether it was there.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn delete(&self, key: &[u8]) -> Result<bool> {
        let key = self.key(key)?;
        let operation = move |group: &mut Group<'_>| {
            let found = group.row(&key)?.is_some();
            if found {
                group.set_row(key, None)?;
            }
            Ok(found)
        };
        self.shared.committer.submit(operation).await
    }

    /// A change to a row of this table, for [`change`](Self::change) or to be committed with a message
    /// ([`Batch::rows`](crate::Batch::rows)).
    pub fn row(&self, key: &[u8], value: Option<&[u8]>) -> Row {
        Row::new(self.name(), key, value.map(<[u8]>::to_vec))
    }

    /// Makes several changes at one moment, whichever tables they are to.
    ///
    /// # Errors
    /// As [`put`](Self::put); nothing is changed then.
    pub async fn change(&self, rows: Vec<Row>) -> Result<()> {
        let operation = move |group: &mut Group<'_>| {
            Group::check_rows(&rows, 0)?;
            group.check_conditions(&rows)?;
            group.set_rows(&rows)
        };
        self.shared.committer.submit(operation).await
    }

    fn name(&self) -> String {
        String::from_utf8_lossy(self.prefix.get(1..).unwrap_or_default()).into_owned()
    }

    fn key(&self, key: &[u8]) -> Result<Vec<u8>> {
        check_length("a key", key)?;
        Ok([&self.prefix, key].concat())
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl Group<'_> {
    /// A row as this group leaves it so far.
    pub(super) fn row(&self, key: &[u8]) -> Result<Option<Bytes>> {
        if let Some(staged) = self.tables.get(key) {
            return Ok(staged.clone());
        }
        let sealed = self.core.database.tables.get(key).map_err(failed)?;
        sealed.map(|sealed| unseal(key, sealed.into())).transpose()
    }

    /// Whether all of these can be rows of a commit with so many targets, to be asked before anything is changed.
    pub(super) fn check_rows(rows: &[Row], targets: usize) -> Result<()> {
        rows.iter().try_for_each(|row| {
            check_length("a name of a table", row.table.as_bytes())?;
            match row.target {
                Some(_) if row.unless_above.is_some() => Err(StoreError::Invalid(
                    "expected no condition for a row about a message that is new".into(),
                )),
                Some(target) if target >= targets => Err(StoreError::Invalid(format!(
                    "expected a row about one of {targets} targets, got one about target {target}"
                ))),
                Some(_) => {
                    let longest = Table::MAX_OCTETS - NAME_OF_MESSAGE;
                    let fits = row.key.len() <= longest;
                    let problem = || StoreError::Invalid(format!("expected a key of at most {longest} octets, which the name of a message comes behind, got {}", row.key.len()));
                    fits.then_some(()).ok_or_else(problem)
                }
                None => check_length("a key", &row.key).map(drop),
            }
        })
    }

    /// Whether the rows are as they must be to be changed, to be asked before any of them is.
    pub(super) fn check_conditions(&self, rows: &[Row]) -> Result<()> {
        let conditions = rows.iter().filter_map(|row| Some((row, row.unless_above.as_ref()?)));
        for (row, most) in conditions {
            if self.row(&key_of(row)?)?.is_some_and(|value| value > *most) {
                return Err(StoreError::Conflict);
            }
        }
        Ok(())
    }

    /// Changes rows, whichever tables they are of.
    pub(super) fn set_rows(&mut self, rows: &[Row]) -> Result<()> {
        rows.iter().try_for_each(|row| self.set_row(key_of(row)?, row.value.clone().map(Bytes::from)))
    }

    /// Changes a row.
    pub(super) fn set_row(&mut self, key: Vec<u8>, value: Option<Bytes>) -> Result<()> {
        let core = self.core;
        match &value {
            Some(value) => {
                let sealed = row::seal(&key, value.to_vec());
                self.put(&core.database.tables, key.clone(), sealed);
            }
            None => self.delete(&core.database.tables, key.clone()),
        }
        self.tables.insert(key, value);
        Ok(())
    }
}

/// The key of a row among those of all tables.
fn key_of(row: &Row) -> Result<Vec<u8>> {
    let length = check_length("a name of a table", row.table.as_bytes())?;
    Ok([&[length], row.table.as_bytes(), &row.key].concat())
}

pub(super) fn unseal(key: &[u8], sealed: Bytes) -> Result<Bytes> {
    let value = row::open(key, &sealed).map(|value| sealed.slice_ref(value));
    value.ok_or_else(|| StoreError::Corrupt(format!("the table row {:?}", String::from_utf8_lossy(key))))
}

fn check_length(what: &str, octets: &[u8]) -> Result<u8> {
    let length = u8::try_from(octets.len()).ok().filter(|length| *length > 0);
    length.ok_or_else(|| {
        StoreError::Invalid(format!("expected {what} of 1 to 255 octets, got {}", octets.len()))
    })
}
