//! `dovecot-uidlist`: which message has which UID.
//!
//! ```text
//! 3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1
//! 25006 :1276528487.M364837P9451.host,S=1355,W=1394
//! 25017 W2481 :1276533073.M242911P3632.host
//! ```
//!
//! The first line has the UIDVALIDITY, a UID above those given out before it was written, and the mailbox's identity.
//! The others have a UID, fields that begin with a letter each, and the name of a file. They are appended as messages come;
//! the lines of messages that are gone stay until the file is written anew. Fields that Dovecot does not know it keeps:
//! `Z` is the zone of the internal date in minutes east of UTC, `X` says that the file holds the message's exact octets, `T` is when it
//! came into the mailbox that it was in elsewhere, `E` the envelope it came with.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mailwright_mail_model::{Uid, UidValidity};

use super::failed;
use crate::{Result, StoreError};

/// The list and the file that becomes the next one.
pub(super) const NAME: &str = "dovecot-uidlist";
const NEXT: &str = "dovecot-uidlist.tmp";

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) validity: UidValidity,
    /// The next UID; beyond the highest possible one if none is left.
    pub(super) next: u32,
    pub(super) guid: Option<u128>,
    /// Fields of others.
    others: Vec<String>,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) uid: Uid,
    /// The fields, separated by spaces.
    pub(super) fields: Box<str>,
    pub(super) base: Box<str>,
}

/// What is known of the file, without its lines.
#[derive(Debug)]
pub(super) struct UidList {
    path: PathBuf,
    pub(super) header: Header,
    file: File,
    /// Up to where it was read: the end of a line.
    length: u64,
    inode: u64,
}

/// What became of the file since it was read last.
#[derive(Debug)]
pub(super) enum Refreshed {
    /// Lines were added.
    More(Vec<Line>),
    /// It is another file, with all these lines.
    Anew(Vec<Line>),
}

/// Where the lines of a list end that is not read in whole, and the longest line.
const TAIL: u64 = 8 << 10;

impl UidList {
    /// Reads the list of a folder, if there is one.
    pub(super) fn read(folder: &Path) -> Result<Option<(Self, Vec<Line>)>> {
        let Some(mut list) = Self::open(folder)? else { return Ok(None) };
        let text = list.text(0)?;
        let mut lines = text.split_terminator('\n');
        if list.parse_header(lines.next().unwrap_or_default()).is_none() {
            return Ok(None);
        }
        let lines = list.parse_lines(lines);
        Ok(Some((list, lines)))
    }

    /// Reads only what it takes to add to the list. Its lines count as read.
    pub(super) fn read_end(folder: &Path) -> Result<Option<Self>> {
        let Some(mut list) = Self::open(folder)? else { return Ok(None) };
        let head = list.text_between(0, TAIL)?;
        let Some((head, _)) = head.split_once('\n') else { return Ok(None) };
        let first_line = head.len() as u64 + 1;
        if list.parse_header(head).is_none() {
            return Ok(None);
        }
        let size = list.file.metadata().map_err(|error| list.failed(&error))?.len();
        let start = size.saturating_sub(TAIL).max(first_line);
        let tail = list.text_between(start, size.saturating_sub(start))?;
        let whole = tail.rfind('\n').and_then(|end| tail.get(..=end)).unwrap_or_default();
        // The tail may begin within a line, which is not the last one.
        let whole = if start > first_line {
            match whole.split_once('\n') {
                Some((_, rest)) if !rest.is_empty() => rest,
                _ => return Ok(Self::read(folder)?.map(|(list, _)| list)),
            }
        } else {
            whole
        };
        list.parse_lines(whole.split_terminator('\n'));
        list.length = start + tail.rfind('\n').map_or(0, |end| end as u64 + 1);
        Ok(Some(list))
    }

    /// Makes a new list, durably, in place of what may be there.
    pub(super) fn create(folder: &Path, header: Header, lines: &[Line]) -> Result<Self> {
        let (path, next) = (folder.join(NAME), folder.join(NEXT));
        let error = |error| failed(&path, &error);
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&next).map_err(error)?;
        let mut text = header.to_line();
        lines.iter().for_each(|line| text.push_str(&line.to_line()));
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        if let Err(problem) = written.and_then(|()| fs::rename(&next, &path)) {
            let _removed = fs::remove_file(&next);
            return Err(error(problem));
        }
        let mut list = Self::open(folder)?.ok_or(StoreError::NotFound)?;
        (list.header, list.length) = (header, text.len() as u64);
        if let Some(last) = lines.last() {
            list.header.next = list.header.next.max(last.uid.get().saturating_add(1));
        }
        Ok(list)
    }

    fn open(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(NAME);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&path, &error)),
        };
        let inode = file.metadata().map_err(|error| failed(&path, &error))?.ino();
        let header = Header { validity: PLACEHOLDER, next: 1, guid: None, others: Vec::new() };
        Ok(Some(Self { path, header, file, length: 0, inode }))
    }

    /// Reads what is new in it. `None` if there is no list any more, or none that can be understood.
    pub(super) fn refresh(&mut self) -> Result<Option<Refreshed>> {
        let folder = self.path.parent().unwrap_or_else(|| Path::new(""));
        match fs::metadata(&self.path) {
            Ok(data) if data.ino() == self.inode && data.len() >= self.length => {
                if data.len() == self.length {
                    return Ok(Some(Refreshed::More(Vec::new())));
                }
                let text = self.text(self.length)?;
                let lines = self.parse_lines(text.split_terminator('\n'));
                Ok(Some(Refreshed::More(lines)))
            }
            Ok(_) => Ok(Self::read(folder)?.map(|(list, lines)| {
                *self = list;
                Refreshed::Anew(lines)
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Whether the file is as it was when it was read last.
    pub(super) fn is_current(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|data| (data.ino(), data.len()) == (self.inode, self.length))
    }

    /// A UID that was not given out.
    pub(super) fn next_uid(&mut self) -> Result<Uid> {
        // Dovecot gives out none as high as this either.
        let uid = Uid::new(self.header.next).filter(|uid| uid.get() < u32::MAX);
        let uid = uid.ok_or_else(|| StoreError::Unavailable("no UID is left in the mailbox".into()))?;
        self.header.next = uid.get().saturating_add(1);
        Ok(uid)
    }

    /// This UID, if it was not given out.
    pub(super) fn take_uid(&mut self, uid: Uid) -> Result<Uid> {
        if uid.get() < self.header.next {
            return Err(StoreError::Exists);
        }
        self.header.next = uid.get();
        self.next_uid()
    }

    /// Adds lines: all, or none if there is an error. They last once [`flush`](Self::flush) has returned.
    pub(super) fn append(&mut self, lines: &[Line]) -> Result<()> {
        let text: String = lines.iter().map(Line::to_line).collect();
        let size = self.file.metadata().map_err(|error| self.failed(&error))?.len();
        if size > self.length {
            // Half a line, of somebody who was killed.
            self.file.set_len(self.length).map_err(|error| self.failed(&error))?;
        }
        if let Err(error) = self.file.write_all_at(text.as_bytes(), self.length) {
            let _undone = self.file.set_len(self.length);
            return Err(self.failed(&error));
        }
        self.length += text.len() as u64;
        Ok(())
    }

    /// Takes back the lines that were added last, which begin here.
    pub(super) fn truncate(&mut self, length: u64) {
        if self.file.set_len(length).is_ok() {
            self.length = length;
        }
    }

    /// Where the next line begins.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// The file, to be flushed when others may go on.
    pub(super) fn handle(&self) -> Result<File> {
        self.file.try_clone().map_err(|error| self.failed(&error))
    }

    fn text(&self, start: u64) -> Result<String> {
        let mut octets = Vec::new();
        let mut file = &self.file;
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_to_end(&mut octets));
        read.map_err(|error| self.failed(&error))?;
        // What is not UTF-8 is not a name of ours; it must not make the rest unreadable, nor change its length.
        Ok(lossless(octets))
    }

    fn text_between(&self, start: u64, length: u64) -> Result<String> {
        let mut octets = Vec::new();
        let mut file = &self.file;
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.take(length).read_to_end(&mut octets));
        read.map_err(|error| self.failed(&error))?;
        Ok(lossless(octets))
    }

    fn parse_header(&mut self, line: &str) -> Option<()> {
        self.header = Header::parse(without_cr(line))?;
        self.length = line.len() as u64 + 1;
        Some(())
    }

    /// Takes whole lines, with a CR that they may have: what they take up in the file is counted. Whatever is no line, or out of order, is passed over: its message gets another UID.
    fn parse_lines<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> Vec<Line> {
        let mut parsed = Vec::new();
        let mut last = 0;
        for text in lines {
            self.length += text.len() as u64 + 1;
            if let Some(line) = Line::parse(without_cr(text)).filter(|line| line.uid.get() > last) {
                last = line.uid.get();
                self.header.next = self.header.next.max(last.saturating_add(1));
                parsed.push(line);
            }
        }
        parsed
    }

    fn failed(&self, error: &std::io::Error) -> StoreError {
        failed(&self.path, error)
    }
}

/// A line as it was before an editor of another system wrote the list anew.
fn without_cr(line: &str) -> &str {
    line.strip_suffix('\r').unwrap_or(line)
}

/// Octets as text of the same length; ends behind the last whole line.
fn lossless(mut octets: Vec<u8>) -> String {
    let end = octets.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
    octets.truncate(end);
    match String::from_utf8(octets) {
        Ok(text) => text,
        Err(error) => {
            let mut octets = error.into_bytes();
            octets.iter_mut().filter(|octet| !octet.is_ascii()).for_each(|octet| *octet = b'?');
            String::from_utf8(octets).unwrap_or_default()
        }
    }
}

/// Until the header is read.
const PLACEHOLDER: UidValidity = match UidValidity::new(1) {
    Some(validity) => validity,
    None => unreachable!(),
};

impl Header {
    pub(super) const fn new(validity: UidValidity, guid: u128) -> Self {
        Self { validity, next: 1, guid: Some(guid), others: Vec::new() }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ').filter(|field| !field.is_empty());
        match fields.next()? {
            "3" => {
                let (mut validity, mut next, mut guid, mut others) = (None, 1, None, Vec::new());
                for field in fields {
                    let (key, value) = field.split_at_checked(1)?;
                    match key {
                        "V" => validity = UidValidity::new(value.parse().ok()?),
                        "N" => next = value.parse().ok()?,
                        "G" => guid = u128::from_str_radix(value, 16).ok(),
                        _ => others.push(field.to_owned()),
                    }
                }
                Some(Self { validity: validity?, next, guid, others })
            }
            // As it was before Dovecot 1.1.
            "1" => {
                let validity = UidValidity::new(fields.next()?.parse().ok()?)?;
                let next = fields.next()?.parse().ok()?;
                Some(Self { validity, next, guid: None, others: Vec::new() })
            }
            _ => None,
        }
    }

    fn to_line(&self) -> String {
        let mut line = format!("3 V{} N{}", self.validity, self.next);
        if let Some(guid) = self.guid {
            line.push_str(&format!(" G{guid:032x}"));
        }
        for other in &self.others {
            line.push(' ');
            line.push_str(other);
        }
        line.push('\n');
        line
    }
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let (uid, rest) = line.split_once(' ')?;
        let uid = Uid::new(uid.parse().ok()?)?;
        let parts = rest.strip_prefix(':').map(|name| ("", name));
        let parts = parts.or_else(|| rest.split_once(" :").filter(|(fields, _)| are_fields(fields)));
        // Without a colon it is a line of the older version.
        let (fields, name) = parts.unwrap_or(("", rest));
        let (base, _) = super::file_name::split(name);
        let fits = !base.is_empty() && !base.contains('/') && super::file_name::is_message(base);
        fits.then(|| Self { uid, fields: fields.trim().into(), base: base.into() })
    }

    fn to_line(&self) -> String {
        let space = if self.fields.is_empty() { "" } else { " " };
        format!("{} {}{space}:{}\n", self.uid, self.fields, self.base)
    }
}

fn are_fields(fields: &str) -> bool {
    let mut fields = fields.split(' ').filter(|field| !field.is_empty());
    fields.all(|field| field.starts_with(|letter: char| letter.is_ascii_uppercase()))
}

/// The value of a field of a line.
pub(super) fn field(fields: &str, key: char) -> Option<&str> {
    fields.split(' ').find_map(|field| field.strip_prefix(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1 Fx\n\
        25006 :1276528487.M364837P9451.host,S=1355,W=1394:2,S\n\
        25017 W2481 Pa:b Z-90 :1276533073.M242911P3632.host\n";

    fn line(uid: u32, fields: &str, base: &str) -> Line {
        Line { uid: Uid::new(uid).unwrap(), fields: fields.into(), base: base.into() }
    }

    #[test]
    fn a_list_with_crlf_is_added_to_behind_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let (path, text) = (folder.path().join(NAME), LIST.replace('\n', "\r\n"));
        for whole in [true, false] {
            fs::write(&path, &text).unwrap();
            let mut list = if whole {
                let (list, lines) = UidList::read(folder.path()).unwrap().unwrap();
                assert_eq!(lines[1].base, "1276533073.M242911P3632.host".into());
                list
            } else {
                UidList::read_end(folder.path()).unwrap().unwrap()
            };
            assert!(list.is_current());
            list.append(&[line(25022, "", "new")]).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{text}25022 :new\n"));
            let more = format!("{text}25022 :new\n25023 :a\r\n25024 :b\r\n");
            fs::write(&path, &more).unwrap();
            assert!(matches!(list.refresh(), Ok(Some(Refreshed::More(lines))) if lines.len() == 2));
            list.append(&[line(25025, "", "c")]).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{more}25025 :c\n"));
        }
    }

    #[test]
    fn a_list_is_read_and_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        assert!(UidList::read(folder.path()).unwrap().is_none());
        fs::write(&path, LIST).unwrap();
        let (mut list, lines) = UidList::read(folder.path()).unwrap().unwrap();
        let expected = [
            line(25006, "", "1276528487.M364837P9451.host,S=1355,W=1394"),
            line(25017, "W2481 Pa:b Z-90", "1276533073.M242911P3632.host"),
        ];
        assert_eq!(lines, expected);
        assert_eq!((list.header.validity.get(), list.header.next), (1_275_660_208, 25_022));
        assert_eq!(field(&lines[1].fields, 'Z'), Some("-90"));
        let uid = list.next_uid().unwrap();
        list.append(&[line(uid.get(), "", "new")]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{LIST}25022 :new\n"));
        // What others add is seen, and half a line is not.
        fs::write(&path, format!("{text}25030 :theirs\n25031 :ha")).unwrap();
        let Some(Refreshed::More(more)) = list.refresh().unwrap() else { panic!("lines were added") };
        assert_eq!(more, [line(25030, "", "theirs")]);
        list.append(&[line(25031, "", "ours")]).unwrap();
        assert!(fs::read_to_string(&path).unwrap().ends_with("25030 :theirs\n25031 :ours\n"));
        assert!(list.is_current());
        // Written anew, it keeps what was not understood.
        let header = list.header.clone();
        UidList::create(folder.path(), header, &expected).unwrap();
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .starts_with("3 V1275660208 N25031 G3085f01b7f11094c501100008c4a11c1 Fx\n25006 :")
        );
        assert!(!list.is_current());
        let Some(Refreshed::Anew(lines)) = list.refresh().unwrap() else { panic!("another file") };
        assert_eq!((lines.len(), list.header.next), (2, 25_031));
    }

    #[test]
    fn the_end_is_enough_to_add() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        for count in [0, 1, 2, 100, 5_000] {
            let lines: String = (1..=count).map(|uid| format!("{uid} :file-{uid:030}\n")).collect();
            fs::write(&path, format!("3 V7 N1\n{lines}{}", if count > 1 { "torn" } else { "" })).unwrap();
            let mut list = UidList::read_end(folder.path()).unwrap().unwrap();
            let (mut whole, all) = UidList::read(folder.path()).unwrap().unwrap();
            assert_eq!(all.len(), count);
            assert_eq!((list.header.next, list.length), (whole.header.next, whole.length), "{count}");
            let uid = list.next_uid().unwrap();
            assert_eq!(uid.get() as usize, count + 1);
            list.append(&[line(uid.get(), "", "last")]).unwrap();
            assert!(matches!(whole.refresh().unwrap(), Some(Refreshed::More(lines)) if lines.len() == 1));
        }
    }

    #[test]
    fn broken_lines_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let text = "3 V7 N3\n5 :five\nnonsense\n4 :back\n0 :zero\n6 x :small\n7 :a/b\n8 G1 :eight\n";
        fs::write(folder.path().join(NAME), text).unwrap();
        let (list, lines) = UidList::read(folder.path()).unwrap().unwrap();
        let read: Vec<_> = lines.iter().map(|line| (line.uid.get(), &*line.base)).collect();
        assert_eq!(read, [(5, "five"), (6, "x "), (8, "eight")]);
        assert_eq!((list.header.next, list.length), (9, text.len() as u64));
        for broken in ["", "4 V7 N3\n", "3 N3\n", "3 V0 N3\n", "garbage"] {
            fs::write(folder.path().join(NAME), broken).unwrap();
            assert!(UidList::read(folder.path()).unwrap().is_none(), "{broken:?}");
            assert!(UidList::read_end(folder.path()).unwrap().is_none(), "{broken:?}");
        }
        fs::write(folder.path().join(NAME), "1 99 8\n7 old:2,S\n").unwrap();
        let (list, lines) = UidList::read(folder.path()).unwrap().unwrap();
        assert_eq!((list.header.validity.get(), lines), (99, vec![line(7, "", "old")]));
    }
}
