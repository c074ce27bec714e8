//! How the content of one part is written.

use mailwright_mail_model::encoding::{Base64Encoder, QuotedPrintableEncoder};

/// A part being written. A CR at the end of what came is kept until it is clear what follows it.
#[derive(Debug)]
pub(super) struct Coding {
    kind: Kind,
    /// A CR that may be the first half of a line end.
    cr: bool,
    /// A lone LF or CR is content, not a line end that was written wrongly.
    exact: bool,
}

#[derive(Debug)]
enum Kind {
    /// As it is, but nothing beyond ASCII where that is not taken.
    Pass {
        ascii: bool,
    },
    QuotedPrintable(QuotedPrintableEncoder),
    Base64(Base64Encoder),
}

impl Coding {
    pub(super) fn pass(ascii: bool) -> Self {
        Self { kind: Kind::Pass { ascii }, cr: false, exact: true }
    }

    pub(super) fn quoted_printable(exact: bool) -> Self {
        Self { kind: Kind::QuotedPrintable(QuotedPrintableEncoder::new()), cr: false, exact }
    }

    pub(super) fn base64(exact: bool) -> Self {
        Self { kind: Kind::Base64(Base64Encoder::new()), cr: false, exact }
    }

    /// Whether what it writes ends with a line end of its own.
    pub(super) fn ends_lines(&self) -> bool {
        matches!(self.kind, Kind::Base64(_))
    }

    /// Whether the last octet was a CR; it is forgotten then.
    pub(super) fn take_back_cr(&mut self) -> bool {
        std::mem::take(&mut self.cr)
    }

    pub(super) fn content(&mut self, octets: &[u8], output: &mut Vec<u8>) -> Result<(), &'static str> {
        if octets.is_empty() {
            return Ok(());
        }
        // Of a line end that is written anew, the CR comes with it.
        if std::mem::take(&mut self.cr) && (self.exact || octets.first() != Some(&b'\n')) {
            self.write(b"\r", output)?;
        }
        let octets = match octets.strip_suffix(b"\r") {
            Some(before) => {
                self.cr = true;
                before
            }
            None => octets,
        };
        if self.exact || !octets.contains(&b'\n') {
            return self.write(octets, output);
        }
        // Lines that end with LF are lines.
        for piece in octets.split_inclusive(|octet| *octet == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(line) => {
                    self.write(line.strip_suffix(b"\r").unwrap_or(line), output)?;
                    self.write(b"\r\n", output)?;
                }
                None => self.write(piece, output)?,
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self, output: &mut Vec<u8>) {
        if std::mem::take(&mut self.cr) {
            // Of a CR it is known that it can be written.
            let _ = self.write(b"\r", output);
        }
        match self.kind {
            Kind::Pass { .. } => {}
            Kind::QuotedPrintable(mut encoder) => encoder.finish(output),
            Kind::Base64(mut encoder) => encoder.finish(output),
        }
    }

    fn write(&mut self, octets: &[u8], output: &mut Vec<u8>) -> Result<(), &'static str> {
        match &mut self.kind {
            Kind::Pass { ascii: true } if !octets.is_ascii() => {
                return Err("octets beyond ASCII where none should be cannot be encoded");
            }
            Kind::Pass { .. } => output.extend_from_slice(octets),
            Kind::QuotedPrintable(encoder) => encoder.push(octets, output),
            Kind::Base64(encoder) => encoder.push(octets, output),
        }
        Ok(())
    }
}
