//! The body behind DATA or BDAT, as a client sends it: dots stuffed where a dot ends it, no lone CR or LF.

use bytes::Bytes;
use mailwright_line_proto::{
    Misuse, Transmit,
    frame::{DotWriter, has_bare_line_end},
};
use memchr::memchr2;

use crate::{Bdat, Command, SevenBit};

/// What a client does with a CR without LF or an LF without CR in a body.
///
/// Neither may be sent (RFC 5321 §2.3.8): the next server may take it for a line end where this one does not, and
/// find a second message in the first (CVE-2023-51764).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LineEnds {
    /// It becomes CRLF.
    #[default]
    Normalise,
    /// The body is refused with [`Misuse::Argument`], octets before the fault possibly sent; only closing is left.
    /// For messages that are signed or must arrive as they are.
    Refuse,
}

/// A body on its way out.
#[derive(Debug)]
pub(crate) struct Sender {
    sink: Sink,
    ends: LineEnds,
    convert: Option<SevenBit>,
    /// The last octet was a CR, not sent yet.
    cr: bool,
}

/// How it goes.
#[derive(Debug)]
enum Sink {
    /// Behind DATA, to a final dot.
    Dots(DotWriter),
    /// By BDAT. `binary` is sent as it is; so many parts were sent since that was last asked for.
    Parts { pending: Transmit, binary: bool, sent: usize },
}

const CRLF: Bytes = Bytes::from_static(b"\r\n");
/// How much is gathered for one BDAT.
const PART: usize = 256 * 1024;

impl Sender {
    /// Behind DATA.
    pub(crate) fn new(ends: LineEnds) -> Self {
        Self { sink: Sink::Dots(DotWriter::default()), ends, convert: None, cr: false }
    }

    /// By BDAT.
    pub(crate) fn parts(ends: LineEnds, binary: bool) -> Self {
        let sink = Sink::Parts { pending: Transmit::default(), binary, sent: 0 };
        Self { sink, ends, convert: None, cr: false }
    }

    /// The same, encoded so that a server which takes less can have it.
    pub(crate) fn converted(mut self, convert: Option<SevenBit>) -> Self {
        self.convert = convert;
        self
    }

    /// How many parts were sent that have no reply waited for yet.
    pub(crate) fn take_sent(&mut self) -> usize {
        match &mut self.sink {
            Sink::Parts { sent, .. } => std::mem::take(sent),
            Sink::Dots(_) => 0,
        }
    }

    /// Sends the next part, any split of the body.
    pub(crate) fn put(&mut self, chunk: Bytes, transmit: &mut Transmit) -> Result<(), Misuse> {
        let Some(convert) = &mut self.convert else { return self.put_lines(chunk, transmit) };
        let mut converted = Vec::new();
        convert.push(&chunk, &mut converted).map_err(Misuse::Argument)?;
        self.put_lines(converted.into(), transmit)
    }

    fn put_lines(&mut self, mut chunk: Bytes, transmit: &mut Transmit) -> Result<(), Misuse> {
        if let Sink::Parts { binary: true, .. } = self.sink {
            self.pass(chunk, transmit);
            return Ok(());
        }
        if self.cr && !chunk.is_empty() {
            if chunk.first() == Some(&b'\n') {
                let _ = chunk.split_to(1);
            } else {
                self.bare()?;
            }
            self.cr = false;
            self.pass(CRLF, transmit);
        }
        if !has_bare_line_end(&chunk) && chunk.first() != Some(&b'\n') {
            // Nearly all are so, and need no look at every line.
            if chunk.last() == Some(&b'\r') {
                self.cr = true;
                chunk.truncate(chunk.len() - 1);
            }
            self.pass(chunk, transmit);
            return Ok(());
        }
        let mut from = 0;
        while let Some(at) = memchr2(b'\r', b'\n', chunk.get(from..).unwrap_or_default()).map(|at| from + at)
        {
            match chunk.get(at..) {
                Some([b'\r', b'\n', ..]) => from = at + 2,
                Some([b'\r']) => {
                    self.cr = true;
                    chunk.truncate(at);
                    break;
                }
                _ => {
                    self.bare()?;
                    self.pass(chunk.split_to(at), transmit);
                    self.pass(CRLF, transmit);
                    let _ = chunk.split_to(1);
                    from = 0;
                }
            }
        }
        self.pass(chunk, transmit);
        Ok(())
    }

    fn pass(&mut self, chunk: Bytes, transmit: &mut Transmit) {
        match &mut self.sink {
            Sink::Dots(writer) => writer.put(chunk, transmit),
            Sink::Parts { pending, sent, .. } => {
                pending.put_bytes(chunk);
                if pending.len() >= PART {
                    transmit.put(Command::Bdat(Bdat::new(pending.len() as u64, false)).encode().as_bytes());
                    transmit.append(pending);
                    *sent += 1;
                }
            }
        }
    }

    /// Ends the body.
    pub(crate) fn end(&mut self, transmit: &mut Transmit) -> Result<(), Misuse> {
        if let Some(mut convert) = self.convert.take() {
            let mut converted = Vec::new();
            convert.finish(&mut converted).map_err(Misuse::Argument)?;
            self.put_lines(converted.into(), transmit)?;
        }
        if self.cr {
            self.bare()?;
            self.cr = false;
            self.pass(CRLF, transmit);
        }
        match &mut self.sink {
            Sink::Dots(writer) => std::mem::take(writer).end(transmit),
            Sink::Parts { pending, .. } => {
                transmit.put(Command::Bdat(Bdat::new(pending.len() as u64, true)).encode().as_bytes());
                transmit.append(pending);
            }
        }
        Ok(())
    }

    fn bare(&self) -> Result<(), Misuse> {
        match self.ends {
            LineEnds::Normalise => Ok(()),
            LineEnds::Refuse => {
                Err(Misuse::Argument("a body to be sent has no CR without LF and no LF without CR"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    #[test]
    fn parts_say_how_long_they_are() {
        let (mut sender, mut transmit) = (Sender::parts(LineEnds::Normalise, false), Transmit::default());
        for piece in ["a\n", ".\r", "\n.b"] {
            sender.put(Bytes::from(piece), &mut transmit).unwrap();
        }
        sender.end(&mut transmit).unwrap();
        let wire = transmit.copy_to_bytes(transmit.remaining());
        assert_eq!(wire, "BDAT 8 LAST\r\na\r\n.\r\n.b");

        let mut sender = Sender::parts(LineEnds::Refuse, true);
        let large = Bytes::from(vec![b'\r'; PART + 1]);
        sender.put(large.slice(..PART - 1), &mut transmit).unwrap();
        assert_eq!((sender.take_sent(), transmit.len()), (0, 0), "one less");
        sender.put(large.slice(..1), &mut transmit).unwrap();
        assert_eq!((sender.take_sent(), transmit.len()), (1, PART + "BDAT 262144\r\n".len()));
        sender.end(&mut transmit).unwrap();
        let wire = transmit.copy_to_bytes(transmit.remaining());
        assert!(wire.ends_with(b"\r\r\rBDAT 0 LAST\r\n"));
    }

    fn send(body: &[u8], split: usize, ends: LineEnds) -> Result<String, Misuse> {
        let (mut sender, mut transmit) = (Sender::new(ends), Transmit::default());
        for piece in body.chunks(split) {
            sender.put(Bytes::copy_from_slice(piece), &mut transmit)?;
        }
        sender.end(&mut transmit)?;
        Ok(String::from_utf8(transmit.copy_to_bytes(transmit.remaining()).to_vec()).unwrap())
    }

    #[test]
    fn nothing_but_crlf_ends_a_line() {
        for (body, wire, clean) in [
            ("", ".\r\n", true),
            (".", "..\r\n.\r\n", true),
            ("a\r\n.b\r\n", "a\r\n..b\r\n.\r\n", true),
            ("a\nb\n", "a\r\nb\r\n.\r\n", false),
            ("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n", false),
            ("a\r.\rb", "a\r\n..\r\nb\r\n.\r\n", false),
            ("a\r", "a\r\n.\r\n", false),
            ("a\r\r\n", "a\r\n\r\n.\r\n", false),
            ("a\n\r\n", "a\r\n\r\n.\r\n", false),
            ("a\r\n.\r\nMAIL", "a\r\n..\r\nMAIL\r\n.\r\n", true),
        ] {
            for split in 1..=body.len().max(1) {
                assert_eq!(
                    send(body.as_bytes(), split, LineEnds::Normalise).as_deref(),
                    Ok(wire),
                    "{body:?}/{split}"
                );
                assert_eq!(send(body.as_bytes(), split, LineEnds::Refuse).is_ok(), clean, "{body:?}/{split}");
            }
        }
    }
}
