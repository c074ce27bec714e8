//! The body behind DATA, as a client sends it: dots stuffed, no lone CR or LF.

use bytes::Bytes;
use mailwright_line_proto::{Misuse, Transmit, frame::DotWriter};
use memchr::memchr2;

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
    writer: DotWriter,
    ends: LineEnds,
    /// The last octet was a CR, not sent yet.
    cr: bool,
}

const CRLF: Bytes = Bytes::from_static(b"\r\n");

impl Sender {
    pub(crate) fn new(ends: LineEnds) -> Self {
        Self { writer: DotWriter::default(), ends, cr: false }
    }

    /// Sends the next part, any split of the body.
    pub(crate) fn put(&mut self, mut chunk: Bytes, transmit: &mut Transmit) -> Result<(), Misuse> {
        if self.cr && !chunk.is_empty() {
            if chunk.first() == Some(&b'\n') {
                let _ = chunk.split_to(1);
            } else {
                self.bare()?;
            }
            self.cr = false;
            self.writer.put(CRLF, transmit);
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
                    self.writer.put(chunk.split_to(at), transmit);
                    self.writer.put(CRLF, transmit);
                    let _ = chunk.split_to(1);
                    from = 0;
                }
            }
        }
        self.writer.put(chunk, transmit);
        Ok(())
    }

    /// Ends the body.
    pub(crate) fn end(mut self, transmit: &mut Transmit) -> Result<(), Misuse> {
        if self.cr {
            self.bare()?;
            self.writer.put(CRLF, transmit);
        }
        self.writer.end(transmit);
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
