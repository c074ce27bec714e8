//! A file of messages is taken apart.

use std::io::{self, BufRead};

use bytes::Bytes;
use mailwright_mail_model::{DateTime, Flag, FlagSet, Keyword, Uid, UidValidity};

use super::FROM;
use super::from_line::{begins_message, moment};

/// Reads the messages of a file one after the other, piece by piece.
///
/// A message begins at a line that begins with `From `, at the start of the file, or behind an empty line if it says when. The fields in which
/// mail programs keep flags and UIDs (`Status`, `X-Status`, `X-Keywords`, `X-UID`, `X-IMAP` and `X-IMAPbase`) are
/// taken out of the message and told in [`Piece::Header`]: the first of each name, and what is valid for the whole file only in its
/// first message. Further ones came with the message and stay in it. The first message of files by UW IMAP, Pine and Alpine, which says
/// of itself that it is none, is passed over.
///
/// ```
/// use mailwright_mailstore::mbox::{Piece, Reader};
///
/// let file = b"From bob@example.net Thu Jan  1 00:00:00 1970\nStatus: RO\nSubject: hi\n\n>From here on\n\n";
/// let mut reader = Reader::new(&file[..]);
/// assert_eq!(reader.next_message()?.map(|line| line.sender), Some("bob@example.net".into()));
/// let mut octets = Vec::new();
/// while let Some(piece) = reader.next_piece()? {
///     if let Piece::Header { octets: header, flags, .. } = &piece {
///         assert_eq!(flags.to_string(), "(\\Seen)");
///         octets.extend_from_slice(header);
///     } else if let Piece::Body(body) = piece {
///         octets.extend_from_slice(&body);
///     }
/// }
/// assert_eq!(octets, b"Subject: hi\r\n\r\nFrom here on\r\n");
/// assert!(reader.next_message()?.is_none());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    /// The line read ahead: the one that begins the next message.
    ahead: Option<Vec<u8>>,
    /// The first line of the body, read ahead to see whether there is one.
    begun: Option<Vec<u8>>,
    /// Whether fields count in front of the message only.
    in_front: bool,
    /// Whether this is the first message.
    first: bool,
    /// Its header, which is read to see whether it is a message.
    header: Option<Piece>,
    /// What a first message that is none has told.
    base: Option<(UidValidity, u32)>,
    /// Within the header, within the body, or between messages.
    place: Place,
    /// An empty line that belongs to the message only if the message goes on behind it.
    empty: bool,
    /// Whether the last piece ended with its line.
    at_start: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Header,
    Body,
    Between,
}

/// The line that begins a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FromLine {
    /// The reverse-path, as it was written.
    pub sender: String,
    /// When the message arrived, taken as UTC; `None` if that cannot be understood.
    pub date: Option<DateTime>,
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Piece {
    /// The header with the empty line behind it, lines ending with CRLF. Comes first, once. A message that ends with its header has no
    /// empty line there.
    #[non_exhaustive]
    Header {
        /// Its octets.
        octets: Bytes,
        /// The flags the message has.
        flags: FlagSet,
        /// Its UID, if a mail program has given it one.
        uid: Option<Uid>,
        /// What UIDs in this file are valid with, and the last one given out; in the first message of the file.
        base: Option<(UidValidity, u32)>,
    },
    /// Octets of the body, lines ending with CRLF.
    Body(Bytes),
}

/// The longest header; a longer one goes on as body.
const LONGEST_HEADER: usize = 1 << 20;
/// The longest piece.
const PIECE: usize = 64 << 10;

impl<R: BufRead> Reader<R> {
    /// The messages of this file.
    pub const fn new(input: R) -> Self {
        Self {
            input,
            ahead: None,
            begun: None,
            in_front: false,
            first: true,
            header: None,
            base: None,
            place: Place::Between,
            empty: false,
            at_start: true,
        }
    }

    /// Takes fields with flags and UIDs only where whoever wrote the file has put them: in front of the message, each once, on a line of
    /// its own, ending with `X-Keywords`. What comes behind belongs to the message, whatever it is called.
    #[must_use]
    pub fn with_fields_in_front(self) -> Self {
        Self { in_front: true, ..self }
    }

    /// Goes on to the next message, past what is left of this one.
    ///
    /// # Errors
    /// If the file cannot be read, or does not begin with a message.
    pub fn next_message(&mut self) -> io::Result<Option<FromLine>> {
        loop {
            let (first, line) = (self.first, self.next_line()?);
            if !first || self.in_front || line.is_none() {
                return Ok(line);
            }
            let (header, is_internal) = self.header()?;
            let Piece::Header { base, .. } = header else { return Ok(line) };
            if !is_internal {
                self.header = Some(header);
                return Ok(line);
            }
            self.base = base;
        }
    }

    /// The line that begins the next message.
    fn next_line(&mut self) -> io::Result<Option<FromLine>> {
        while self.next_piece()?.is_some() {}
        let line = match self.ahead.take() {
            Some(line) => Some(line),
            None => loop {
                match self.line()? {
                    Some(line) if line.trim_ascii().is_empty() => {}
                    other => break other,
                }
            },
        };
        let Some(line) = line else { return Ok(None) };
        let Some(rest) = line.strip_prefix(FROM) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "expected a line that begins with `From `",
            ));
        };
        self.place = Place::Header;
        (self.empty, self.at_start) = (false, true);
        let text = String::from_utf8_lossy(rest).trim_end().to_owned();
        let sender = text.split(' ').next().unwrap_or_default();
        let sender = if sender == "MAILER-DAEMON" { "" } else { sender };
        Ok(Some(FromLine { sender: sender.into(), date: moment(&text) }))
    }

    /// The next piece of this message.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        if let Some(header) = self.header.take() {
            return Ok(Some(header));
        }
        match self.place {
            Place::Between => Ok(None),
            Place::Header => Ok(Some(self.header()?.0)),
            Place::Body => self.body(),
        }
    }

    /// The header, and whether it is that of a message for the programs that use the file.
    fn header(&mut self) -> io::Result<(Piece, bool)> {
        let mut octets = Vec::new();
        // What is valid for all messages is in the first.
        let has_base = !std::mem::take(&mut self.first);
        let mut kept = Marks { names: if has_base { 1 << BASE } else { 0 }, ..Marks::default() };
        let (mut taken, mut ours) = (false, true);
        self.place = Place::Body;
        while let Some(line) = self.line()? {
            let text = trim_line(&line);
            if text.is_empty() {
                self.end_header(&mut octets)?;
                break;
            }
            // A folded line belongs to the field above it.
            let folded = text.starts_with(b" ") || text.starts_with(b"\t");
            taken = match (folded, self.in_front) {
                (true, false) => taken,
                (true, true) => false,
                // One that comes again tells nothing and goes too: written without its first it would be believed.
                (false, false) => kept.take(text).is_some(),
                (false, true) => ours && kept.take(text) == Some(true),
            };
            ours = taken && !kept.has(KEYWORDS);
            if !taken {
                octets.extend_from_slice(unquote(text));
                octets.extend_from_slice(b"\r\n");
            }
            if octets.len() > LONGEST_HEADER {
                break;
            }
        }
        let is_internal =
            kept.is_internal && octets.split(|octet| *octet == b'\n').any(|line| line.starts_with(INTERNAL));
        let base = kept.base.or_else(|| self.base.take());
        Ok((Piece::Header { octets: octets.into(), flags: kept.flags, uid: kept.uid, base }, is_internal))
    }

    /// Behind the empty line there is the body, or it parts this message from the next.
    fn end_header(&mut self, octets: &mut Vec<u8>) -> io::Result<()> {
        let next = self.line()?;
        let ends = next.as_ref().is_none_or(|next| begins_message(next));
        // Nothing at all would be no message.
        if !ends || octets.is_empty() {
            octets.extend_from_slice(b"\r\n");
        }
        if ends {
            (self.ahead, self.place) = (next, Place::Between);
        } else {
            self.begun = next;
        }
        Ok(())
    }

    fn body(&mut self) -> io::Result<Option<Piece>> {
        let mut octets = Vec::new();
        while octets.len() < PIECE {
            let Some(line) = self.begun.take().map_or_else(|| self.line(), |line| Ok(Some(line)))? else {
                self.place = Place::Between;
                break;
            };
            if self.at_start {
                if self.empty && begins_message(&line) {
                    (self.ahead, self.place) = (Some(line), Place::Between);
                    break;
                }
                if std::mem::take(&mut self.empty) {
                    octets.extend_from_slice(b"\r\n");
                }
                if trim_line(&line).is_empty() && line.ends_with(b"\n") {
                    self.empty = true;
                    continue;
                }
            }
            let text = if self.at_start { unquote(&line) } else { &line };
            self.at_start = line.ends_with(b"\n");
            if self.at_start {
                octets.extend_from_slice(trim_line(text));
                octets.extend_from_slice(b"\r\n");
            } else {
                octets.extend_from_slice(text);
            }
        }
        if octets.is_empty() && self.place == Place::Between {
            Ok(None)
        } else {
            Ok(Some(Piece::Body(octets.into())))
        }
    }

    /// A line, or a piece of one that is very long.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            let octets = self.input.fill_buf()?;
            if octets.is_empty() {
                return Ok(Some(line).filter(|line| !line.is_empty()));
            }
            let end = octets.iter().position(|octet| *octet == b'\n').map_or(octets.len(), |at| at + 1);
            let taken = octets.get(..end).unwrap_or_default();
            line.extend_from_slice(taken);
            self.input.consume(end);
            // A CR is not parted from its LF.
            if line.ends_with(b"\n") || (line.len() >= PIECE && !line.ends_with(b"\r")) {
                return Ok(Some(line));
            }
        }
    }
}

fn trim_line(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Takes one `>` from a line that was quoted.
fn unquote(line: &[u8]) -> &[u8] {
    let Some(rest) = line.strip_prefix(b">") else { return line };
    let word = rest.iter().position(|octet| *octet != b'>').and_then(|at| rest.get(at..));
    if word.is_some_and(|word| word.starts_with(FROM)) { rest } else { line }
}

/// The fields, and the number of what they tell: of two with the same number the first counts.
const FIELDS: [(&str, u8); 6] = [
    ("status", 0),
    ("x-status", 1),
    ("x-uid", 2),
    ("x-keywords", KEYWORDS),
    ("x-imap", BASE),
    ("x-imapbase", BASE),
];
/// Beside `X-IMAP` this tells that a message is none.
const INTERNAL: &[u8] = b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA";
const KEYWORDS: u8 = 3;
const BASE: u8 = 4;

/// What is kept in fields of the header.
#[derive(Default)]
struct Marks {
    /// Which fields were there, a bit each.
    names: u8,
    flags: FlagSet,
    uid: Option<Uid>,
    base: Option<(UidValidity, u32)>,
    /// Whether it was `X-IMAP` that told it.
    is_internal: bool,
}

impl Marks {
    const fn has(&self, number: u8) -> bool {
        self.names >> number & 1 == 1
    }

    /// Notes a field, if it is one of these; whether it is the first of its kind.
    fn take(&mut self, line: &[u8]) -> Option<bool> {
        let (name, value) = str::from_utf8(line).ok().and_then(|line| line.split_once(':'))?;
        let (name, value) = (name.trim_end().to_ascii_lowercase(), value.trim());
        let (_, number) = FIELDS.iter().find(|(field, _)| *field == name)?;
        if self.has(*number) {
            return Some(false);
        }
        self.names |= 1 << number;
        match &*name {
            "status" | "x-status" => self.flags.extend(value.chars().filter_map(|letter| match letter {
                'R' => Some(Flag::Seen),
                'A' => Some(Flag::Answered),
                'F' => Some(Flag::Flagged),
                'D' => Some(Flag::Deleted),
                'T' => Some(Flag::Draft),
                _ => None,
            })),
            "x-keywords" => {
                let keywords = value.split_ascii_whitespace().filter_map(|name| Keyword::new(name).ok());
                self.flags.extend(keywords.map(Flag::Keyword));
            }
            "x-uid" => self.uid = value.parse().ok().and_then(Uid::new),
            _ => {
                let mut numbers = value.split_ascii_whitespace().map_while(|number| number.parse().ok());
                let validity = numbers.next().and_then(UidValidity::new);
                self.base = validity.zip(numbers.next());
                self.is_internal = name == "x-imap";
            }
        }
        Some(true)
    }
}
