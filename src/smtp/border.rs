//! What must not come in from outside: results of authentication in our own name (RFC 8601 §5).

use bytes::{Bytes, BytesMut};

/// Takes the Authentication-Results fields that claim to be ours out of a message while it streams by.
///
/// A field is held back until its first line is whole, or so long that no claim of ours could come any more; nothing
/// else is.
#[derive(Debug)]
pub(super) struct BorderFilter {
    /// The name that our results carry, in lower case.
    own: String,
    place: Place,
    /// The beginning of a field.
    kept: BytesMut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where a field, a folded line, or the empty line may begin. The last field was dropped, or not.
    LineStart { dropped: bool },
    /// In a line that is passed on, or dropped.
    Line { dropped: bool },
    /// Behind the header.
    Body,
}

const NAME: &[u8] = b"authentication-results";
/// How much of a field is looked at: the name, comments, our name.
const LOOK: usize = 1024;

impl BorderFilter {
    pub(super) fn new(own: &str) -> Self {
        Self {
            own: own.to_ascii_lowercase(),
            place: Place::LineStart { dropped: false },
            kept: BytesMut::new(),
        }
    }

    /// What of the next part is passed on.
    pub(super) fn push(&mut self, chunk: Bytes) -> Bytes {
        if self.place == Place::Body {
            return chunk;
        }
        let mut output = BytesMut::with_capacity(chunk.len());
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            if self.place == Place::Body {
                output.extend_from_slice(rest);
                break;
            }
            let end = memchr(rest).map_or(rest.len(), |at| at + 1);
            let (line, after) = rest.split_at_checked(end).unwrap_or((rest, b""));
            rest = after;
            match self.place {
                Place::LineStart { dropped } => {
                    self.kept.extend_from_slice(line);
                    self.judge(dropped, &mut output);
                }
                Place::Line { dropped } => {
                    if !dropped {
                        output.extend_from_slice(line);
                    }
                    if line.last() == Some(&b'\n') {
                        self.place = Place::LineStart { dropped };
                    }
                }
                Place::Body => {}
            }
        }
        output.freeze()
    }

    /// What was kept at the end of the message.
    pub(super) fn finish(&mut self) -> Bytes {
        let dropped = matches!(self.place, Place::LineStart { dropped } if dropped && self.continues())
            || self.is_ours() == Some(true);
        self.place = Place::Body;
        let kept = self.kept.split().freeze();
        if dropped { Bytes::new() } else { kept }
    }

    /// Decides about the line that was begun, as soon as that can be done.
    fn judge(&mut self, dropped: bool, output: &mut BytesMut) {
        let whole = self.kept.last() == Some(&b'\n');
        let drop = match &self.kept[..] {
            b"\r\n" | b"\n" => {
                output.extend_from_slice(&self.kept.split());
                self.place = Place::Body;
                return;
            }
            b"\r" => return,
            _ if self.continues() => dropped,
            _ => match self.is_ours() {
                Some(ours) => ours,
                None if whole || self.kept.len() > LOOK => {
                    // Our name may stand on the next line: nobody honest folds there, so the field is not ours to lose.
                    self.is_named()
                }
                None => return,
            },
        };
        let line = self.kept.split();
        if !drop {
            output.extend_from_slice(&line);
        }
        self.place = if whole { Place::LineStart { dropped: drop } } else { Place::Line { dropped: drop } };
    }

    /// Whether the line belongs to the field before it.
    fn continues(&self) -> bool {
        matches!(self.kept.first(), Some(b' ' | b'\t'))
    }

    /// Whether the field is an Authentication-Results.
    fn is_named(&self) -> bool {
        let name = split_once(&self.kept, b':').map_or(b"".as_slice(), |(name, _)| name);
        name.trim_ascii_end().eq_ignore_ascii_case(NAME)
    }

    /// Whether the field carries our name; `None` as long as that cannot be said.
    fn is_ours(&self) -> Option<bool> {
        let Some((name, value)) = split_once(&self.kept, b':') else {
            let begun = self.kept.trim_ascii_end();
            let may_be = NAME.get(..begun.len()).is_some_and(|start| start.eq_ignore_ascii_case(begun));
            return (!may_be).then_some(false);
        };
        if !name.trim_ascii_end().eq_ignore_ascii_case(NAME) {
            return Some(false);
        }
        let mut value = value.trim_ascii_start();
        while let Some(comment) = value.strip_prefix(b"(") {
            value = behind_comment(comment)?.trim_ascii_start();
        }
        // RFC 8601 §2.2: authserv-id, perhaps quoted, then white space or a semicolon
        if let Some(quoted) = value.strip_prefix(b"\"") {
            return Some(quoted_string(quoted)?.eq_ignore_ascii_case(self.own.as_bytes()));
        }
        let end = value
            .iter()
            .position(|octet| matches!(octet, b' ' | b'\t' | b';' | b'"' | b'\r' | b'\n' | b'('))?;
        let id = value.get(..end).unwrap_or_default();
        if id.is_empty() { None } else { Some(id.eq_ignore_ascii_case(self.own.as_bytes())) }
    }
}

/// What follows a comment that was begun (RFC 5322 §3.2.2: comments nest, and a backslash quotes); `None` before its end.
fn behind_comment(text: &[u8]) -> Option<&[u8]> {
    let mut depth = 1_usize;
    let mut octets = text.iter().enumerate();
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'\\' => drop(octets.next()?),
            b'(' => depth += 1,
            b')' if depth == 1 => return text.get(at + 1..),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// What a quoted string that was begun means (RFC 5322 §3.2.4); `None` before its end.
fn quoted_string(text: &[u8]) -> Option<Vec<u8>> {
    let mut meant = Vec::new();
    let mut octets = text.iter();
    loop {
        match octets.next()? {
            b'"' => return Some(meant),
            b'\\' => meant.push(*octets.next()?),
            other => meant.push(*other),
        }
    }
}

fn split_once(octets: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let at = octets.iter().position(|octet| *octet == mark)?;
    Some((octets.get(..at)?, octets.get(at + 1..)?))
}

fn memchr(octets: &[u8]) -> Option<usize> {
    octets.iter().position(|octet| *octet == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_results_are_ours_to_write() {
        for (message, expected) in [
            ("A: b\r\n\r\nbody\r\nAuthentication-Results: mx.example; x\r\n", None),
            (
                "Authentication-Results: mx.example; spf=pass\r\n\tfolded\r\nA: b\r\n\r\n",
                Some("A: b\r\n\r\n"),
            ),
            (
                "A: b\r\nAUTHENTICATION-RESULTS : (c) \"MX.Example\" 1; none\r\n x\r\n y\r\nC: d\r\n",
                Some("A: b\r\nC: d\r\n"),
            ),
            ("Authentication-Results: ((a)b) mx.example; x\r\nA: b\r\n", Some("A: b\r\n")),
            ("Authentication-Results: (\\)) (c) mx.example; x\r\nA: b\r\n", Some("A: b\r\n")),
            ("Authentication-Results: \"mx.ex\\ample\"; x\r\nA: b\r\n", Some("A: b\r\n")),
            ("Authentication-Results: (mx.example) other.example; x\r\nA: b\r\n", None),
            ("Authentication-Results: other.example; mx.example=pass\r\n\r\n", None),
            ("Authentication-Results: mx.example.org; spf=pass\r\n\r\n", None),
            ("Authentication-Results:\r\n mx.example; spf=pass\r\nA: b\r\n", Some("A: b\r\n")),
            ("X-Authentication-Results: mx.example; x\r\n\r\n", None),
            ("Authentication-Results: mx.example; x\n folded\nA: b\n\nbody", Some("A: b\n\nbody")),
            ("Authentication-Results: mx.example;", Some("")),
            ("Authentication-Resul", None),
            ("A: b\r\n c\r\n\td\r", None),
            ("", None),
        ] {
            for split in 1..=message.len().max(1) {
                let mut filter = BorderFilter::new("mx.example");
                let mut output = Vec::new();
                for piece in message.as_bytes().chunks(split) {
                    output.extend_from_slice(&filter.push(Bytes::copy_from_slice(piece)));
                }
                output.extend_from_slice(&filter.finish());
                let output = String::from_utf8(output).unwrap();
                assert_eq!(output, expected.unwrap_or(message), "{message:?}/{split}");
            }
        }
    }

    #[test]
    fn little_is_held_back() {
        let mut filter = BorderFilter::new("mx.example");
        let long = Bytes::from(format!("Authentication-Results: ({}", "x".repeat(5000)));
        filter.push(long);
        assert!(filter.kept.is_empty());
        assert_eq!(filter.push(Bytes::from_static(b") more\r\nA: b\r\n")), "A: b\r\n");
    }
}
