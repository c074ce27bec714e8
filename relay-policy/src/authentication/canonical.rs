//! Canonical forms of headers and bodies (RFC 6376 §3.4), of bodies while they stream by.

use ring::digest;

/// How much change on the way is overlooked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Canonicalization {
    /// Next to none.
    #[default]
    Simple,
    /// White space and the case of names.
    Relaxed,
}

impl Canonicalization {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Relaxed => "relaxed",
        }
    }

    /// What a word says.
    pub(super) fn parse(word: &str) -> Option<Self> {
        [Self::Simple, Self::Relaxed].into_iter().find(|kind| word.eq_ignore_ascii_case(kind.as_str()))
    }

    /// Writes a header field, given as it stands in the message with its line ends, without the last of them.
    pub(super) fn field(self, field: &[u8], output: &mut Vec<u8>) {
        let field = field.strip_suffix(b"\r\n").or_else(|| field.strip_suffix(b"\n")).unwrap_or(field);
        if self == Self::Simple {
            output.extend_from_slice(field);
            return;
        }
        // RFC 6376 §3.4.2
        let colon = field.iter().position(|octet| *octet == b':').unwrap_or(field.len());
        let (name, value) = field.split_at_checked(colon).unwrap_or((field, b""));
        output.extend(name.trim_ascii_end().iter().map(u8::to_ascii_lowercase));
        output.push(b':');
        let (mut space, mut begun) = (false, false);
        for octet in value.iter().skip(1) {
            match octet {
                b'\r' | b'\n' => {}
                b' ' | b'\t' => space = true,
                other => {
                    if space && begun {
                        output.push(b' ');
                    }
                    (space, begun) = (false, true);
                    output.push(*other);
                }
            }
        }
    }
}

/// Hashes a body in its canonical form.
#[derive(Clone)]
pub(super) struct BodyHasher {
    kind: Canonicalization,
    digest: digest::Context,
    /// How many octets of the canonical form are hashed; all without it.
    limit: Option<u64>,
    /// How many octets it has so far.
    octets: u64,
    /// Line ends that count only if something follows.
    line_ends: u64,
    space: bool,
    after_cr: bool,
}

impl BodyHasher {
    pub(super) fn new(kind: Canonicalization, limit: Option<u64>) -> Self {
        let digest = digest::Context::new(&digest::SHA256);
        Self { kind, digest, limit, octets: 0, line_ends: 0, space: false, after_cr: false }
    }

    pub(super) fn push(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while let Some((first, behind)) = rest.split_first() {
            if std::mem::take(&mut self.after_cr) {
                if *first == b'\n' {
                    // RFC 6376 §3.4.4: white space at the end of a line is none.
                    (self.space, self.line_ends, rest) = (false, self.line_ends + 1, behind);
                    continue;
                }
                self.content(b"\r");
            }
            match first {
                b'\r' => (self.after_cr, rest) = (true, behind),
                b' ' | b'\t' if self.kind == Canonicalization::Relaxed => (self.space, rest) = (true, behind),
                _ => {
                    let relaxed = self.kind == Canonicalization::Relaxed;
                    let is_plain =
                        |octet: &u8| *octet != b'\r' && !(relaxed && matches!(octet, b' ' | b'\t'));
                    let end = rest.iter().position(|octet| !is_plain(octet)).unwrap_or(rest.len());
                    let (plain, behind) = rest.split_at_checked(end).unwrap_or((rest, b""));
                    self.content(plain);
                    rest = behind;
                }
            }
        }
    }

    /// The hash, and the length of the canonical form.
    pub(super) fn finish(mut self) -> ([u8; 32], u64) {
        if std::mem::take(&mut self.after_cr) {
            self.content(b"\r");
        }
        // RFC 6376 §3.4.3 and §3.4.4: an empty body is a line end, or nothing.
        if self.kind == Canonicalization::Simple || self.octets > 0 {
            self.emit(b"\r\n");
        }
        let mut hash = [0; 32];
        for (target, octet) in hash.iter_mut().zip(self.digest.finish().as_ref()) {
            *target = *octet;
        }
        (hash, self.octets)
    }

    fn content(&mut self, octets: &[u8]) {
        const LINES: &[u8] = b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";
        while self.line_ends > 0 {
            let some = self.line_ends.min(LINES.len() as u64 / 2);
            self.line_ends -= some;
            let length = usize::try_from(some * 2).unwrap_or(0);
            self.emit(LINES.get(..length).unwrap_or_default());
        }
        if std::mem::take(&mut self.space) {
            self.emit(b" ");
        }
        self.emit(octets);
    }

    fn emit(&mut self, octets: &[u8]) {
        let room = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.octets));
        let length = usize::try_from(room).unwrap_or(usize::MAX).min(octets.len());
        self.digest.update(octets.get(..length).unwrap_or_default());
        self.octets += octets.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(octets: &[u8]) -> [u8; 32] {
        digest::digest(&digest::SHA256, octets).as_ref().try_into().unwrap()
    }

    #[test]
    fn bodies_of_the_rfc_however_they_are_cut() {
        for (kind, body, expected) in [
            // RFC 6376 §3.4.5
            (Canonicalization::Relaxed, " C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"),
            (Canonicalization::Simple, " C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n"),
            // RFC 6376 §3.4.3, §3.4.4
            (Canonicalization::Simple, "", "\r\n"),
            (Canonicalization::Relaxed, "", ""),
            (Canonicalization::Simple, "\r\n\r\n", "\r\n"),
            (Canonicalization::Relaxed, " \r\n\t\r\n", ""),
            (Canonicalization::Simple, "a", "a\r\n"),
            (Canonicalization::Relaxed, "a \t", "a\r\n"),
            (Canonicalization::Simple, "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"),
            (Canonicalization::Relaxed, "a\rb\nc \r", "a\rb\nc \r\r\n"),
        ] {
            for piece in 1..=body.len().max(1) {
                let mut hasher = BodyHasher::new(kind, None);
                body.as_bytes().chunks(piece).for_each(|part| hasher.push(part));
                let expected = (hash(expected.as_bytes()), expected.len() as u64);
                assert_eq!(hasher.finish(), expected, "{kind:?} {body:?}/{piece}");
            }
        }
        let mut hasher = BodyHasher::new(Canonicalization::Simple, Some(2));
        hasher.push(b"abcdef\r\n");
        assert_eq!(hasher.finish(), (hash(b"ab"), 8));
        let mut hasher = BodyHasher::new(Canonicalization::Simple, None);
        hasher.push(&b"\r\n".repeat(100));
        hasher.push(b"x");
        assert_eq!(hasher.finish().1, 203);
    }

    #[test]
    fn fields_of_the_rfc() {
        let shown = |kind: Canonicalization, field: &str| {
            let mut output = Vec::new();
            kind.field(field.as_bytes(), &mut output);
            String::from_utf8(output).unwrap()
        };
        assert_eq!(shown(Canonicalization::Relaxed, "A: X\r\n"), "a:X");
        assert_eq!(shown(Canonicalization::Relaxed, "B : Y\t\r\n\tZ  \r\n"), "b:Y Z");
        assert_eq!(shown(Canonicalization::Simple, "B : Y\t\r\n\tZ  \r\n"), "B : Y\t\r\n\tZ  ");
        assert_eq!(shown(Canonicalization::Relaxed, "A:\r\n"), "a:");
    }
}
