//! Messages of more than ASCII for servers that take nothing else: their parts encoded while they stream by
//! (RFC 6152 §3, RFC 3030 §3).

mod coding;
mod header;

use memchr::memchr;

use coding::Coding;
use header::{Entity, Kind};

/// Encodes a MIME message so that a server without 8BITMIME or BINARYMIME can have it.
///
/// Text becomes quoted-printable, other content base64; what is ASCII already stays as it is. Nothing is held back
/// but headers, line ends and the beginnings of lines that may be boundaries.
///
/// What would come out as something else is refused rather than encoded: octets beyond ASCII in header fields, in
/// parts that say they have none, in preambles, and below `multipart/signed`, whose signature would break. A DKIM
/// signature does break; sign behind this.
///
/// ```
/// use mailwright_smtp_proto::SevenBit;
///
/// let mut encoder = SevenBit::new();
/// let mut message = Vec::new();
/// let text = "Content-Transfer-Encoding: 8bit\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ncafé\r\n";
/// encoder.push(text.as_bytes(), &mut message)?;
/// encoder.finish(&mut message)?;
/// assert_eq!(
///     String::from_utf8_lossy(&message),
///     "Content-Transfer-Encoding: quoted-printable\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ncaf=C3=A9\r\n"
/// );
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug)]
pub struct SevenBit {
    /// 8-bit content stays; only binary parts are encoded.
    eight_bit: bool,
    place: Place,
    /// The header, or the beginning of a line that may be a boundary.
    kept: Vec<u8>,
    /// The boundaries of the multiparts that are open, outermost first, and whether the part is signed.
    open: Vec<(Vec<u8>, bool)>,
    coding: Coding,
    /// The line end before this line, which belongs to a boundary if the line is one.
    line_end: &'static [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the header of the message or of a part; at so much of it a line begins.
    Header(usize),
    /// Where a line of a body begins.
    LineStart,
    /// In a line that is no boundary.
    Line,
    /// In the rest of a boundary's line; whether it ends its multipart.
    Delimiter(bool),
}

/// The largest header of a message or part.
const HEADER: usize = 1 << 20;
/// RFC 2046 §5.1.1: a boundary has 70 characters; some have more. Hyphens, white space and the line end are beside.
const BOUNDARY_LINE: usize = 200;
/// How deep parts may lie in each other.
const DEPTH: usize = 100;

impl Default for SevenBit {
    fn default() -> Self {
        Self::new()
    }
}

impl SevenBit {
    /// For a server that takes ASCII.
    pub fn new() -> Self {
        Self {
            eight_bit: false,
            place: Place::Header(0),
            kept: Vec::new(),
            open: Vec::new(),
            coding: Coding::pass(true),
            line_end: b"",
        }
    }

    /// For a server that takes octets beyond ASCII, but only in lines.
    pub fn eight_bit() -> Self {
        Self { eight_bit: true, coding: Coding::pass(false), ..Self::new() }
    }

    /// Appends to `output` what the next part of the message, cut anywhere, becomes.
    ///
    /// # Errors
    /// Why the message cannot be encoded. What came out so far must not be taken for a message.
    pub fn push(&mut self, octets: &[u8], output: &mut Vec<u8>) -> Result<(), &'static str> {
        let mut rest = octets;
        while !rest.is_empty() {
            rest = match self.place {
                Place::Header(line) => self.push_header(line, rest, output)?,
                Place::LineStart => self.push_line_start(rest, output)?,
                Place::Line => self.push_line(rest, output)?,
                Place::Delimiter(last) => self.push_delimiter(last, rest, output)?,
            };
        }
        Ok(())
    }

    /// Appends what is left at the end of the message.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub fn finish(&mut self, output: &mut Vec<u8>) -> Result<(), &'static str> {
        if let Place::Header(_) = self.place {
            self.end_header(output)?;
        } else {
            self.end_line_start(output)?;
        }
        self.coding.content(std::mem::take(&mut self.line_end), output)?;
        std::mem::replace(&mut self.coding, Coding::pass(false)).finish(output);
        Ok(())
    }

    fn push_header<'a>(
        &mut self,
        line: usize,
        octets: &'a [u8],
        output: &mut Vec<u8>,
    ) -> Result<&'a [u8], &'static str> {
        let end = memchr(b'\n', octets).map_or(octets.len(), |at| at + 1);
        let (now, rest) = octets.split_at_checked(end).unwrap_or((octets, b""));
        self.kept.extend_from_slice(now);
        if self.kept.len() > HEADER {
            return Err("a header of more than 1 MiB cannot be encoded");
        }
        if now.last() != Some(&b'\n') {
            return Ok(rest);
        }
        let whole = self.kept.get(line..).unwrap_or_default();
        if self.boundary(whole).is_some() {
            // A part that is all header.
            let delimiter = self.kept.split_off(line);
            self.end_header(output)?;
            self.kept = delimiter;
            self.place = Place::LineStart;
            self.end_line_start(output)?;
        } else if matches!(whole, b"\r\n" | b"\n") {
            self.end_header(output)?;
        } else {
            self.place = Place::Header(self.kept.len());
        }
        Ok(rest)
    }

    /// Writes the header, and chooses how what follows it is encoded.
    fn end_header(&mut self, output: &mut Vec<u8>) -> Result<(), &'static str> {
        let header = std::mem::take(&mut self.kept);
        let signed = self.open.last().is_some_and(|(_, signed)| *signed);
        if !self.eight_bit && !header.is_ascii() {
            return Err("a header field with octets beyond ASCII cannot be encoded");
        }
        let entity = Entity::of(&header);
        self.place = Place::LineStart;
        self.line_end = b"";
        self.coding = Coding::pass(!self.eight_bit);
        let encoded = entity.is_binary() || (entity.is_eight_bit() && !self.eight_bit);
        if signed {
            // Octet for octet, or not at all.
            output.extend_from_slice(&header);
            if encoded && entity.is_binary() {
                return Err("a signed part cannot be encoded");
            }
            return self.enter(entity.kind, true);
        }
        match &entity.kind {
            _ if !encoded => output.extend_from_slice(&header),
            Kind::Multipart { .. } | Kind::Message => {
                let name = if self.eight_bit { "8bit" } else { "7bit" };
                entity.write(&header, name, output);
            }
            Kind::Text => {
                entity.write(&header, "quoted-printable", output);
                self.coding = Coding::quoted_printable(entity.is_binary());
            }
            Kind::Other => {
                entity.write(&header, "base64", output);
                self.coding = Coding::base64(entity.is_binary());
            }
        }
        self.enter(entity.kind, false)
    }

    fn enter(&mut self, kind: Kind, signed: bool) -> Result<(), &'static str> {
        match kind {
            Kind::Multipart { .. } if self.open.len() >= DEPTH => {
                return Err("parts more than 100 deep cannot be encoded");
            }
            Kind::Multipart { boundary, signed: signs } => self.open.push((boundary, signed || signs)),
            // RFC 2046 §5.2.1: never encoded itself; its parts are.
            Kind::Message => self.place = Place::Header(0),
            _ => {}
        }
        Ok(())
    }

    fn push_line_start<'a>(
        &mut self,
        octets: &'a [u8],
        output: &mut Vec<u8>,
    ) -> Result<&'a [u8], &'static str> {
        let end = memchr(b'\n', octets).map_or(octets.len(), |at| at + 1);
        let end = end.min(BOUNDARY_LINE.saturating_sub(self.kept.len()));
        let (now, rest) = octets.split_at_checked(end).unwrap_or((octets, b""));
        self.kept.extend_from_slice(now);
        let may_be = !self.open.is_empty() && (b"--".starts_with(&self.kept) || self.kept.starts_with(b"--"));
        if may_be && self.kept.last() != Some(&b'\n') && self.kept.len() < BOUNDARY_LINE {
            return Ok(rest);
        }
        self.end_line_start(output)?;
        Ok(rest)
    }

    /// Decides about the line whose beginning was kept.
    fn end_line_start(&mut self, output: &mut Vec<u8>) -> Result<(), &'static str> {
        let kept = std::mem::take(&mut self.kept);
        self.place = Place::Line;
        let Some((level, last)) = self.boundary(&kept) else {
            return self.push_line(&kept, output).map(|_| ());
        };
        let coding = std::mem::replace(&mut self.coding, Coding::pass(!self.eight_bit));
        if coding.ends_lines() {
            coding.finish(output);
        } else {
            coding.finish(output);
            output.extend_from_slice(self.line_end);
        }
        self.line_end = b"";
        self.open.truncate(if last { level } else { level + 1 });
        self.push_delimiter(last, &kept, output).map(|_| ())
    }

    /// A boundary's line up to its end. What stands behind the boundary stays there.
    fn push_delimiter<'a>(
        &mut self,
        last: bool,
        octets: &'a [u8],
        output: &mut Vec<u8>,
    ) -> Result<&'a [u8], &'static str> {
        let end = memchr(b'\n', octets).map_or(octets.len(), |at| at + 1);
        let (now, rest) = octets.split_at_checked(end).unwrap_or((octets, b""));
        if !self.eight_bit && !now.is_ascii() {
            return Err("a boundary with octets beyond ASCII cannot be encoded");
        }
        output.extend_from_slice(now);
        self.place = match (now.ends_with(b"\n"), last) {
            (false, _) => Place::Delimiter(last),
            (true, true) => Place::LineStart,
            (true, false) => Place::Header(0),
        };
        Ok(rest)
    }

    /// The content of a line up to its end.
    fn push_line<'a>(&mut self, octets: &'a [u8], output: &mut Vec<u8>) -> Result<&'a [u8], &'static str> {
        if octets.is_empty() {
            return Ok(octets);
        }
        self.coding.content(std::mem::take(&mut self.line_end), output)?;
        let Some(at) = memchr(b'\n', octets).filter(|_| !self.open.is_empty()) else {
            self.coding.content(octets, output)?;
            return Ok(b"");
        };
        let (line, rest) = octets.split_at_checked(at + 1).unwrap_or((octets, b""));
        let (content, line_end): (_, &'static [u8]) = match line.strip_suffix(b"\r\n") {
            Some(content) => (content, b"\r\n"),
            // The CR may have come before: it is taken back.
            None if line == b"\n" && self.coding.take_back_cr() => (b"".as_slice(), b"\r\n"),
            None => (line.strip_suffix(b"\n").unwrap_or(line), b"\n"),
        };
        self.coding.content(content, output)?;
        self.line_end = line_end;
        self.place = Place::LineStart;
        Ok(rest)
    }

    /// Which multipart the line delimits, and whether it ends it. RFC 2046 §5.1.1: "An exact match of the entire
    /// candidate line is not required"; where there is none, the longest boundary that starts the line is meant.
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        let name = line.strip_prefix(b"--")?.trim_ascii_end();
        let mut longest: Option<(usize, usize, bool)> = None;
        for (level, (boundary, _)) in self.open.iter().enumerate().rev() {
            match name.strip_prefix(&boundary[..]) {
                None => {}
                Some(b"") => return Some((level, false)),
                Some(b"--") => return Some((level, true)),
                Some(rest) if longest.is_none_or(|(octets, ..)| octets < boundary.len()) => {
                    longest = Some((boundary.len(), level, rest.starts_with(b"--")));
                }
                Some(_) => {}
            }
        }
        longest.map(|(_, level, last)| (level, last))
    }
}

#[cfg(test)]
mod tests;
