//! What can still be read of a damaged file of a backup.

use std::io::{Read, Seek, SeekFrom};

use super::file::{Head, Reader, Record};

/// How many octets are searched for the next record at a time.
const STRETCH: u64 = 1 << 20;
/// No record is longer.
const LONGEST: u64 = 4 << 20;

impl Reader {
    /// From here on it passes over what is damaged.
    pub(super) const fn passing_over(mut self) -> Self {
        self.lost = Some(0);
        self
    }

    /// What was passed over, in words.
    pub(super) fn told(&self) -> Option<String> {
        let lost = self.lost.filter(|lost| *lost > 0)?;
        Some(format!("{lost} octets of {} are damaged", self.path.display()))
    }

    /// The next record that is whole; `None` behind the last.
    pub(super) fn salvage(&mut self) -> Option<Record> {
        loop {
            let at = self.file.stream_position().ok()?;
            match self.checked() {
                Ok(Some(record)) => return Some(record),
                Ok(None) => return None,
                Err(_) => {
                    let next = self.find(at + 1);
                    let end = next.or_else(|| self.file.get_ref().metadata().ok().map(|data| data.len()));
                    let lost = end.unwrap_or(at).saturating_sub(at).max(1);
                    self.lost = self.lost.map(|before| before.saturating_add(lost));
                    self.file.seek(SeekFrom::Start(next?)).ok()?;
                }
            }
        }
    }

    /// Where the next whole record begins, from here on.
    fn find(&mut self, from: u64) -> Option<u64> {
        let mut start = from;
        loop {
            self.file.seek(SeekFrom::Start(start)).ok()?;
            let mut octets = Vec::new();
            (&mut self.file).take(STRETCH + LONGEST).read_to_end(&mut octets).ok()?;
            let mut rest = octets.as_slice();
            for place in start..start + STRETCH {
                if Head::is_at(rest) {
                    return Some(place);
                }
                rest = rest.split_first()?.1;
            }
            start += STRETCH;
        }
    }
}
