//! Messages of BINARYMIME (RFC 3030 §3): they are taken, and kept in lines.

use bytes::Bytes;
use mailwright_smtp_proto::{BodyKind, Message, Reply, SevenBit};

use super::urls::LineEnds;

/// Encodes the binary parts of a message while it streams by, quoted-printable or base64: what is kept is read by POP3, IMAP without BINARY,
/// scripts and hosts that know nothing but lines, and a lone CR or LF in it would be the end of a line to some and not to others.
/// Any other message passes as it is.
pub(super) struct InLines(Option<Encoding>);

struct Encoding {
    encoder: SevenBit,
    ends: LineEnds,
}

impl InLines {
    pub(super) fn new(message: &Message) -> Self {
        let binary = message.mail.parameters.body == Some(BodyKind::BinaryMime);
        Self(binary.then(|| Encoding { encoder: SevenBit::eight_bit(), ends: LineEnds::default() }))
    }

    /// Whether a message may come out as other octets than came in.
    pub(super) const fn change(&self) -> bool {
        self.0.is_some()
    }

    /// What the next octets become.
    ///
    /// # Errors
    /// The message cannot be kept in lines: it is binary where it does not say so, or below a signature.
    pub(super) fn push(&mut self, chunk: Bytes) -> Result<Bytes, Reply> {
        let Some(encoding) = &mut self.0 else { return Ok(chunk) };
        let mut output = Vec::with_capacity(chunk.len());
        encoding.encoder.push(&chunk, &mut output).map_err(refused)?;
        encoding.lines(output)
    }

    /// What is left of it at its end.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub(super) fn finish(&mut self) -> Result<Bytes, Reply> {
        let Some(encoding) = &mut self.0 else { return Ok(Bytes::new()) };
        let mut output = Vec::new();
        encoding.encoder.finish(&mut output).map_err(refused)?;
        let rest = encoding.lines(output)?;
        if encoding.ends.finish() { Ok(rest) } else { Err(refused(UNDECLARED)) }
    }
}

impl Encoding {
    fn lines(&mut self, output: Vec<u8>) -> Result<Bytes, Reply> {
        if self.ends.push(&output) { Ok(output.into()) } else { Err(refused(UNDECLARED)) }
    }
}

const UNDECLARED: &str = "octets that no line may have are in a part that does not say that it is binary";

fn refused(why: &str) -> Reply {
    Reply::permanent((6, 3), format!("This message cannot be kept in lines: {why}"))
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::{ForwardPath, ReversePath};
    use mailwright_smtp_proto::{Mail, Rcpt};

    use super::*;

    fn message(body: Option<BodyKind>) -> Message {
        let mut mail = Mail::new(ReversePath::Null);
        mail.parameters.body = body;
        Message::new(mail, vec![Rcpt::new(ForwardPath::Postmaster)])
    }

    fn kept(body: BodyKind, octets: &[u8], split: usize) -> Result<Vec<u8>, Reply> {
        let mut lines = InLines::new(&message(Some(body)));
        let mut kept = Vec::new();
        for chunk in octets.chunks(split) {
            kept.extend_from_slice(&lines.push(Bytes::copy_from_slice(chunk))?);
        }
        kept.extend_from_slice(&lines.finish()?);
        Ok(kept)
    }

    #[test]
    fn binary_parts_are_encoded_and_nothing_else_is_touched() {
        let header = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n";
        let message = [&header[..], b"\0\n\r\r\n.\r\n\xff"].concat();
        let expected = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAoNDQouDQr/\r\n";
        let eight = b"Subject: \xc3\xb6\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xc3\xb6\r\n";
        for split in 1..=message.len() {
            assert_eq!(kept(BodyKind::BinaryMime, &message, split).unwrap(), expected, "{split}");
            assert_eq!(kept(BodyKind::BinaryMime, eight, split).unwrap(), eight, "{split}");
            assert_eq!(kept(BodyKind::EightBitMime, &message, split).unwrap(), message, "{split}");
        }
        let changes = |body| InLines::new(&self::message(body)).change();
        assert_eq!([None, Some(BodyKind::BinaryMime)].map(changes), [false, true]);
    }

    #[test]
    fn what_does_not_say_that_it_is_binary_is_refused() {
        for octets in [
            &b"Subject: x\r\n\r\na\nb\r\n"[..],
            b"Subject: x\r\n\r\na\rb\r\n",
            b"Subject: x\r\n\r\na\r",
            b"Subject: x\r\n\r\n\0",
            b"Subject: x\nBcc: y\r\n\r\n",
            b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\r\n--b--\r\n",
        ] {
            for split in 1..=octets.len() {
                let refusal = kept(BodyKind::BinaryMime, octets, split).unwrap_err();
                assert!(refusal.to_string().contains("5.6.3"), "{refusal}");
            }
        }
    }
}
