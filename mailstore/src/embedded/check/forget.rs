//! What was set aside is given up, when somebody says that nothing of it is needed any more.

use super::Finding;
use crate::embedded::committer::Group;
use crate::embedded::damage;
use crate::embedded::database::failed;
use crate::embedded::{Core, Embedded};
use crate::{Offload, Result};

/// How many rows go at a time.
const LOT: usize = 1_024;

impl<O: Offload + Clone> Embedded<O> {
    /// Gives up what was set aside because it could not be read: rows of messages ([`check`](Self::check) does it with `repair`), and the
    /// files `*.damaged-*` of earlier starts; says what went. Nothing that is left may need a body then that nothing refers to, so the next check removes
    /// those. What was found damaged since the store was opened stays as it is. Blocks.
    ///
    /// # Errors
    /// If the database cannot be read or written, or a file not be removed.
    pub async fn forget_set_aside(&self) -> Result<Vec<Finding>> {
        let mut rows = 0_u64;
        loop {
            let forgotten = self.shared.committer.submit(|group| group.forget_rows()).await?;
            if forgotten == 0 {
                break;
            }
            rows = rows.saturating_add(forgotten);
        }
        let mut gone = Vec::new();
        if rows > 0 {
            gone.push(format!("{rows} rows of messages that had been set aside are given up"));
        }
        gone.extend(self.shared.core()?.forget_files()?);
        Ok(gone.into_iter().map(|what| Finding { what, repaired: true }).collect())
    }
}

impl Group<'_> {
    fn forget_rows(&mut self) -> Result<u64> {
        let lost = &self.core.database.lost;
        let keys = lost.iter().take(LOT).map(|row| row.key().map_err(failed));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let count = keys.len() as u64;
        keys.into_iter().for_each(|key| self.delete(lost, key.to_vec()));
        Ok(count)
    }
}

impl Core {
    fn forget_files(&self) -> Result<Vec<String>> {
        let wrong = |error| failed(fjall::Error::Io(error));
        let mut gone = Vec::new();
        for file in damage::set_aside(&self.directory).map_err(wrong)? {
            // One of this start has another text.
            if self.damage.forget(&damage::kept(&file)) {
                std::fs::remove_file(&file).map_err(wrong)?;
                gone.push(format!("{} is removed", file.display()));
            }
        }
        Ok(gone)
    }
}
