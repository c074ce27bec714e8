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
        let path = self.path.display();
        let lost =
            self.lost.filter(|lost| *lost > 0).map(|lost| format!("{lost} octets of {path} are damaged"));
        let cut = self.cut.map(|end| {
            let records = self.records;
            format!(
                "{path} breaks off at octet {end}, before its end: {records} records of it can be read, and all that came behind is lost"
            )
        });
        match (lost, cut) {
            (Some(lost), Some(cut)) => Some(format!("{cut}; {lost}")),
            (lost, cut) => lost.or(cut),
        }
    }

    /// Where the file breaks off, if it does.
    pub(super) const fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    /// The next record that is whole; `None` behind the last.
    pub(super) fn salvage(&mut self) -> Option<Record> {
        loop {
            let at = self.file.stream_position().ok()?;
            match self.checked() {
                Ok(Some(record)) => {
                    self.records += 1;
                    return Some(record);
                }
                Ok(None) => return None,
                Err(_) => {
                    let Some(next) = self.find(at + 1) else {
                        self.cut = Some(self.file.get_ref().metadata().map_or(at, |data| data.len()));
                        return None;
                    };
                    self.lost = self.lost.map(|before| before.saturating_add(next - at));
                    self.file.seek(SeekFrom::Start(next)).ok()?;
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
