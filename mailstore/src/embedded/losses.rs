//! What is done once after changes were lost with a part of the journal, before anybody sees the store.
//!
//! Clients may have seen what was lost, so every number goes on well above it: see [`leap`](super::leap). Whatever is packed is taken back
//! by that, and by the first change to come; so messages whose own rows are lost, and that are packed, get their rows again first.
//!
//! The files that were set aside are noted in the batch that ends it. If it is cut short it begins anew, which does no harm.

use fjall::{Keyspace, OwnedWriteBatch, PersistMode, Snapshot};

use super::Core;
use super::damage;
use super::database::{Database, failed, now};
use super::header::Header;
use super::leap::Leap;
use super::row;
use super::walk::{Step, Walk};
use crate::{Message, Result};

/// The key in `meta` of the names of the files that were leapt over, one in a line.
const LEAPT: &str = "leapt";

/// How many octets are written at a time.
const LOT: usize = 4 << 20;

/// Rows that are written in several batches.
struct Lot<'a> {
    database: &'a Database,
    batch: OwnedWriteBatch,
    octets: usize,
}

impl<'a> Lot<'a> {
    fn new(database: &'a Database) -> Self {
        Self { database, batch: database.handle.batch(), octets: 0 }
    }

    fn put(&mut self, keyspace: &Keyspace, key: &[u8], value: Vec<u8>) -> Result<()> {
        self.octets += key.len() + value.len();
        self.batch.insert(keyspace, key, value);
        if self.octets < LOT { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<()> {
        let batch = std::mem::replace(&mut self.batch, self.database.handle.batch());
        self.database.commit(batch, std::mem::take(&mut self.octets))
    }
}

impl Core {
    /// Looks whether changes were lost that nothing was done about yet.
    pub(super) fn settle_losses(&self) -> Result<()> {
        let files = damage::set_aside(&self.directory).map_err(|error| failed(fjall::Error::Io(error)))?;
        let names = files.iter().filter_map(|file| file.file_name()?.to_str());
        let names = names.collect::<Vec<_>>().join("\n");
        let sealed = self.database.meta.get(LEAPT).map_err(failed)?;
        let known = sealed.as_deref().and_then(|sealed| row::open(LEAPT.as_bytes(), sealed));
        let known = known.and_then(|known| str::from_utf8(known).ok()).unwrap_or_default();
        if self.database.lost_now || names.lines().any(|name| known.lines().all(|known| known != name)) {
            self.leap_over_losses(&names)
        } else if names != known {
            // One of these names may be that of another file some day.
            let mut lot = Lot::new(&self.database);
            lot.put(&self.database.meta, LEAPT.as_bytes(), leapt(&names))?;
            lot.write()
        } else {
            Ok(())
        }
    }

    fn leap_over_losses(&self, names: &str) -> Result<()> {
        let database = &self.database;
        let moment = database.moment();
        let mut leap = Leap::new(now());
        for_each(&moment, &database.meta, |key, value| {
            leap.takes(key, value);
            Ok(())
        })?;
        let (mut lot, mut found) = (Lot::new(database), 0);
        // Mailboxes before their messages, so that at no moment a message is above its mailbox.
        for_each(&moment, &database.names, |key, value| {
            let Ok(header) = Header::decode(key, value) else { return Ok(()) };
            found += self.write_lost_rows(&header, &moment, &mut lot)?;
            let history = keys_of(&moment, &database.expunged, header.id);
            for past in history {
                lot.batch.remove(&database.expunged, past);
            }
            lot.put(&database.names, key, leap.header(key, value.to_vec())?)
        })?;
        lot.write()?;
        for_each(&database.moment(), &database.rows, |key, value| {
            lot.put(&database.rows, key, leap.message(key, value.to_vec()))
        })?;
        for (name, value) in leap.numbers() {
            lot.put(&database.meta, name.as_bytes(), value)?;
        }
        lot.put(&database.meta, LEAPT.as_bytes(), leapt(names))?;
        lot.write()?;
        database.handle.persist(PersistMode::SyncAll).map_err(failed)?;
        if found > 0 {
            self.damage
                .note_text(&format!("rows of {found} messages were lost and written anew: they were packed"));
        }
        database.reread_numbers()
    }

    /// Writes the rows of messages that are packed and whose own are missing, or those of a time before; how many.
    fn write_lost_rows(&self, header: &Header, moment: &Snapshot, lot: &mut Lot<'_>) -> Result<u64> {
        use fjall::Readable as _;

        let packed = self.unpack(header, moment).or_else(|| self.unpack_parts(header, moment));
        let Some(packed) = packed.filter(crate::Snapshot::is_consistent) else { return Ok(0) };
        let rows = &self.database.rows;
        let mut found = 0;
        for message in packed.messages() {
            let key = row::key(header.rows, &message.uid.get().to_be_bytes());
            let own = moment.get(rows, &key).ok().flatten();
            let own = own.and_then(|sealed| row::decode_message(message.uid, row::open(&key, &sealed)?));
            if own.is_none_or(|own| is_older(&own, message)) {
                let value = row::seal(&key, row::encode_message(message));
                lot.put(rows, &key, value)?;
                found += 1;
            }
        }
        Ok(found)
    }
}

/// Whether a row is that of a time before the message was packed.
pub(super) fn is_older(own: &Message, packed: &Message) -> bool {
    own.modseq < packed.modseq && own.object == packed.object
}

fn leapt(names: &str) -> Vec<u8> {
    row::sealed(LEAPT.as_bytes(), &[names.as_bytes()])
}

/// The keys that begin with a number.
fn keys_of(moment: &Snapshot, keyspace: &Keyspace, number: u64) -> Vec<fjall::UserKey> {
    use fjall::Readable as _;

    moment.prefix(keyspace, number.to_be_bytes()).map_while(|entry| entry.key().ok()).collect()
}

/// Every row that can be read.
fn for_each(
    moment: &Snapshot,
    keyspace: &Keyspace,
    mut look: impl FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<()> {
    let mut walk = Walk::new(moment, keyspace);
    while let Some(step) = walk.step(|_| true) {
        if let Step::Row(key, Some(value)) = step {
            look(&key, &value)?;
        }
    }
    Ok(())
}
