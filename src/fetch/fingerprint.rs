//! What a message is known by wherever it is: its header.

use mailwright_mail_model::ReversePath;
use ring::digest;

/// How much of a header is looked at.
const LOOK: usize = 256 << 10;
/// Fields that servers change as time goes by.
const CHANGING: [&str; 9] = [
    "status",
    "x-status",
    "x-uidl",
    "x-uid",
    "x-keywords",
    "x-imap",
    "x-imapbase",
    "content-length",
    "lines",
];

/// The digest of a message's header, without the fields that servers change. Two copies of one message have the same, two
/// messages do not: they came on different ways, and their trace fields differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 16]);

/// The digest of what follows a message's header. Scanners and their like send messages whose headers are alike, octet by octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BodyDigest(pub [u8; 16]);

/// Looks at a message that streams by: at its header, and for the digest of the rest.
pub(super) struct HeaderReader {
    kept: Vec<u8>,
    /// How far the end of the header was looked for.
    searched: usize,
    whole: bool,
    body: digest::Context,
}

impl Default for HeaderReader {
    fn default() -> Self {
        let body = digest::Context::new(&digest::SHA256);
        Self { kept: Vec::new(), searched: 0, whole: false, body }
    }
}

impl HeaderReader {
    /// Looks at the next part of the message.
    pub(super) fn push(&mut self, octets: &[u8]) {
        let room = if self.whole { 0 } else { LOOK - self.kept.len() };
        let (header, body) = octets.split_at_checked(room).unwrap_or((octets, &[]));
        self.push_header(header);
        self.body.update(body);
    }

    fn push_header(&mut self, octets: &[u8]) {
        if self.whole {
            return;
        }
        self.kept.extend_from_slice(octets);
        // An empty line, whatever the line ends are.
        while let Some(at) = self.kept.get(self.searched..).and_then(|rest| position(rest, b'\n')) {
            let line = self.kept.get(self.searched..self.searched + at).unwrap_or_default();
            if matches!(line, b"" | b"\r") {
                self.whole = true;
                self.body.update(self.kept.get(self.searched + at + 1..).unwrap_or_default());
                self.kept.truncate(self.searched);
                return;
            }
            self.searched += at + 1;
        }
        self.whole = self.kept.len() >= LOOK;
    }

    /// The fingerprint of what was seen.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut context = digest::Context::new(&digest::SHA256);
        for (name, field) in self.fields() {
            if CHANGING.contains(&&*name) {
                continue;
            }
            for line in field.split(|octet| *octet == b'\n') {
                context.update(line.trim_ascii_end());
                context.update(b"\n");
            }
        }
        Fingerprint(shortened(context))
    }

    /// The digest of what followed the header, as far as it was seen.
    pub(super) fn body(&self) -> BodyDigest {
        BodyDigest(shortened(self.body.clone()))
    }

    /// Who sent it, as the server it was fetched from was told (RFC 5321 §4.4); null if it does not say.
    pub(super) fn sender(&self) -> ReversePath {
        let found = self.fields().find(|(name, _)| name == "return-path");
        let path = found.and_then(|(_, field)| {
            let value = field.splitn(2, |octet| *octet == b':').nth(1)?;
            ReversePath::parse(value.trim_ascii()).ok()
        });
        path.unwrap_or(ReversePath::Null)
    }

    /// Whether a trace field holds all of these words, blanks apart.
    pub(super) fn came_by(&self, words: &[&str]) -> bool {
        self.fields().filter(|(name, _)| name == "received").any(|(_, field)| {
            let text = String::from_utf8_lossy(field);
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
            words.iter().all(|word| text.contains(&word.to_ascii_lowercase()))
        })
    }

    /// The fields: names in lower case, and all of their octets.
    fn fields(&self) -> impl Iterator<Item = (String, &[u8])> {
        let mut rest = &self.kept[..];
        std::iter::from_fn(move || {
            let mut end = 0;
            loop {
                let line = position(rest.get(end..)?, b'\n');
                end = line.map_or(rest.len(), |at| end + at + 1);
                // RFC 5322 §2.2.3: a field goes on as long as lines begin with a blank.
                if !matches!(rest.get(end), Some(b' ' | b'\t')) {
                    break;
                }
            }
            let (field, after) = rest.split_at_checked(end).filter(|(field, _)| !field.is_empty())?;
            rest = after;
            let name = field.split(|octet| *octet == b':').next().unwrap_or_default();
            Some((String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase(), field))
        })
    }
}

fn shortened(context: digest::Context) -> [u8; 16] {
    let mut octets = [0; 16];
    octets.iter_mut().zip(context.finish().as_ref()).for_each(|(octet, found)| *octet = *found);
    octets
}

fn position(octets: &[u8], wanted: u8) -> Option<usize> {
    octets.iter().position(|octet| *octet == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &str, piece: usize) -> HeaderReader {
        let mut reader = HeaderReader::default();
        message.as_bytes().chunks(piece).for_each(|chunk| reader.push(chunk));
        reader
    }

    const MESSAGE: &str = "Return-Path: <ann@a.test>\r\nReceived: from x\r\n\tby mx.test with POP3S id 1F;\r\n\
                           Status: RO\r\nSubject: hello\r\n\r\nStatus: no header\r\n";

    #[test]
    fn the_fingerprint_is_of_the_header_and_of_what_stays() {
        let first = read(MESSAGE, 1);
        let same = "Return-Path: <ann@a.test>\nReceived: from x\n\tby mx.test with POP3S id 1F;\n\
                    Subject: hello\nX-UIDL: 7\n more\n\nother body";
        for piece in [1, 7, 1_000] {
            assert_eq!(read(MESSAGE, piece).fingerprint(), first.fingerprint());
            assert_eq!(read(same, piece).fingerprint(), first.fingerprint());
            assert_eq!(read(MESSAGE, piece).body(), first.body());
            assert_ne!(read(same, piece).body(), first.body());
            assert_eq!(read("other: header\n\nStatus: no header\r\n", piece).body(), first.body());
        }
        assert!(first.whole);
        assert_ne!(read(&MESSAGE.replace("1F", "1E"), 9).fingerprint(), first.fingerprint());
        assert_eq!(read("", 1).fingerprint(), read("\r\nbody", 1).fingerprint());
    }

    #[test]
    fn sender_and_way_are_read() {
        let reader = read(MESSAGE, 5);
        assert_eq!(reader.sender().to_string(), "<ann@a.test>");
        assert!(reader.came_by(&["by MX.test with pop3s"]) && !reader.came_by(&["by other.test"]));
        assert_eq!(read("Subject: x\r\n\r\n", 2).sender(), ReversePath::Null);
        assert_eq!(read("Return-Path: nonsense <\r\n\r\n", 2).sender(), ReversePath::Null);
    }

    #[test]
    fn a_header_without_end_costs_no_more_than_its_share() {
        let mut reader = HeaderReader::default();
        for _ in 0..1_000 {
            reader.push(&[b'x'; 1_000]);
        }
        assert!(reader.whole && reader.kept.len() == LOOK);
        let mut other = HeaderReader::default();
        other.push(&vec![b'x'; 1_000_000]);
        assert_eq!(other.body(), reader.body());
    }
}
