//! A socket, and the responses that come from it, read without the family's own reader.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A response in pieces: words, strings, and lists of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Word(String),
    Text(Vec<u8>),
    List(Vec<Self>),
}

impl Item {
    pub(crate) fn word(&self) -> &str {
        match self {
            Self::Word(word) => word,
            _ => "",
        }
    }

    pub(crate) fn number(&self) -> Option<u64> {
        self.word().parse().ok()
    }

    pub(crate) fn list(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }
}

/// One response as it came, literals in place.
#[derive(Clone, Debug)]
pub(crate) struct Response(pub(crate) Vec<u8>);

impl Response {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).trim_end().to_owned()
    }

    /// The pieces behind the tag. Text behind a status is no list of anything, so only what comes before is read.
    pub(crate) fn items(&self) -> Result<Vec<Item>, String> {
        let mut rest = &self.0[..self.0.len() - 2];
        let mut items = Vec::new();
        while !rest.is_empty() {
            items.push(read(&mut rest, 0).ok_or_else(|| format!("cannot be read: {}", self.text()))?);
            if let Some(behind) = rest.strip_prefix(b" ") {
                rest = behind;
            }
        }
        Ok(items)
    }

    /// What stands in brackets behind OK, NO and the like.
    pub(crate) fn code(&self) -> Option<String> {
        let text = self.text();
        let (_, rest) = text.split_once(" [")?;
        Some(rest.split_once(']')?.0.to_owned())
    }
}

fn read(rest: &mut &[u8], depth: usize) -> Option<Item> {
    if depth > 20 {
        return None;
    }
    match rest.first()? {
        b'(' => {
            *rest = &rest[1..];
            let mut items = Vec::new();
            loop {
                match rest.first()? {
                    b')' => {
                        *rest = &rest[1..];
                        return Some(Item::List(items));
                    }
                    b' ' => *rest = &rest[1..],
                    _ => items.push(read(rest, depth + 1)?),
                }
            }
        }
        b'"' => {
            let mut text = Vec::new();
            let mut at = 1;
            loop {
                match rest.get(at)? {
                    b'"' => break,
                    b'\\' => {
                        text.push(*rest.get(at + 1)?);
                        at += 2;
                    }
                    octet => {
                        text.push(*octet);
                        at += 1;
                    }
                }
            }
            *rest = &rest[at + 1..];
            Some(Item::Text(text))
        }
        b'{' => {
            let end = rest.iter().position(|octet| *octet == b'}')?;
            let length: usize = std::str::from_utf8(&rest[1..end]).ok()?.parse().ok()?;
            let text = rest.get(end + 3..end + 3 + length)?.to_vec();
            *rest = &rest[end + 3 + length..];
            Some(Item::Text(text))
        }
        _ => {
            // BODY[HEADER.FIELDS (SUBJECT)] is one word.
            let mut brackets = 0_i32;
            let end = rest.iter().position(|octet| {
                match octet {
                    b'[' => brackets += 1,
                    b']' => brackets -= 1,
                    _ => {}
                }
                brackets <= 0 && matches!(octet, b' ' | b'(' | b')')
            });
            let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
            if word.is_empty() {
                return None;
            }
            *rest = behind;
            Some(Item::Word(String::from_utf8_lossy(word).into_owned()))
        }
    }
}

pub(crate) struct Wire {
    reader: BufReader<TcpStream>,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let wire = Self { reader: BufReader::new(socket) };
        wire.patience(Duration::from_secs(120))?;
        Ok(wire)
    }

    pub(crate) fn patience(&self, patience: Duration) -> std::io::Result<()> {
        self.reader.get_ref().set_read_timeout(Some(patience))
    }

    pub(crate) fn send(&mut self, text: &str) -> std::io::Result<()> {
        self.reader.get_mut().write_all(text.as_bytes())
    }

    /// Whether something has come within this time.
    pub(crate) fn has_more(&mut self, within: Duration) -> std::io::Result<bool> {
        self.patience(within)?;
        let more = match self.reader.fill_buf() {
            Ok(octets) => Ok(!octets.is_empty()),
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        };
        self.patience(Duration::from_secs(120))?;
        more
    }

    pub(crate) fn next(&mut self) -> std::io::Result<Response> {
        let mut octets = Vec::new();
        loop {
            let start = octets.len();
            if self.reader.read_until(b'\n', &mut octets)? == 0 || !octets.ends_with(b"\r\n") {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let line = &octets[start..octets.len() - 2];
            let literal = line.strip_suffix(b"}").and_then(|line| {
                let open = line.iter().rposition(|octet| *octet == b'{')?;
                std::str::from_utf8(&line[open + 1..]).ok()?.parse::<usize>().ok()
            });
            let Some(length) = literal else { return Ok(Response(octets)) };
            let from = octets.len();
            octets.resize(from + length, 0);
            self.reader.read_exact(&mut octets[from..])?;
        }
    }
}
