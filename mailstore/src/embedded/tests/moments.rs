//! What is read at one moment: all of a batch, or nothing of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use fjall::Readable;

use super::*;
use crate::embedded::database::Database;

/// How many rows a batch writes between the two that are read: writing them takes a while.
const BETWEEN: u64 = 2_000;
const BATCHES: u64 = 150;

fn write(database: &Database, number: u64) {
    let mut batch = database.handle.batch();
    batch.insert(&database.rows, "first", number.to_be_bytes());
    for row in 0..BETWEEN {
        batch.insert(&database.lost, row.to_be_bytes(), number.to_be_bytes());
    }
    batch.insert(&database.references, "last", number.to_be_bytes());
    database.commit(batch, 0).unwrap();
}

/// The database publishes a number whenever it has written out or merged a table, whatever is being committed meanwhile.
#[test]
fn a_moment_has_all_of_a_batch_or_nothing_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { memtable: 32 << 10, ..Options::default() };
    let database = Database::open(directory.path(), &options).unwrap();
    write(&database, 0);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            (1..BATCHES).for_each(|number| write(&database, number));
            over.store(true, Ordering::Relaxed);
        });
        // What is merged all the time.
        scope.spawn(|| {
            let begun = Instant::now();
            while !over.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(60) {
                database.trash.insert("any", "row").unwrap();
                database.trash.rotate_memtable().unwrap();
                thread::sleep(Duration::from_millis(1));
            }
        });
        let mut moments = 0;
        while !over.load(Ordering::Relaxed) {
            let moment = database.moment();
            // What is there later in a batch may not be there yet, when what was earlier is.
            let last = moment.get(&database.references, "last").unwrap();
            let first = moment.get(&database.rows, "first").unwrap();
            assert_eq!(first, last, "a batch came while its moment was read, after {moments} others");
            moments += 1;
        }
        assert!(moments > 10, "{moments}");
    });
}
