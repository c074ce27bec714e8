//! How a restored store comes to lie in tables alone.
//!
//! What a restore writes goes through the journal, in groups of megabytes that do not say which of them were flushed: there one damaged octet would
//! cost all that follows. In tables it costs the rows of one block.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::Duration;

use fjall::{AbstractTree, Keyspace, PersistMode};

use super::file::io_failed;
use crate::Result;
use crate::embedded::database::{Database, failed};

/// How long to wait before the next look.
const MOMENT: Duration = Duration::from_millis(2);

/// Closes a database that nobody else has open, once all of it is in tables, and empties the journal.
pub(super) fn settle(database: Database, directory: &Path) -> Result<()> {
    let index = database.index();
    let all = index.iter().map(|(_, keyspace)| *keyspace).chain([&database.bodies, &database.packs]);
    let keyspaces: Vec<&Keyspace> = all.collect();
    for keyspace in &keyspaces {
        keyspace.rotate_memtable().map_err(failed)?;
    }
    while keyspaces.iter().any(|keyspace| keyspace.tree.sealed_memtable_count() > 0) {
        // Writes nothing, but says whether the threads that write the tables have failed.
        database.handle.persist(PersistMode::Buffer).map_err(failed)?;
        std::thread::sleep(MOMENT);
    }
    let written = keyspaces.iter().all(|keyspace| keyspace.tree.active_memtable().is_empty());
    database.handle.persist(PersistMode::SyncAll).map_err(failed)?;
    drop(database);
    if written { empty_journals(directory) } else { Ok(()) }
}

/// The files stay, for the database counts what it finds in tables only where it finds a journal.
fn empty_journals(directory: &Path) -> Result<()> {
    let wrong = |error| io_failed(directory, &error);
    for entry in fs::read_dir(directory).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            let empty = || {
                let journal = OpenOptions::new().write(true).open(&path)?;
                journal.set_len(0)?;
                journal.sync_all()
            };
            empty().map_err(|error| io_failed(&path, &error))?;
        }
    }
    Ok(())
}
