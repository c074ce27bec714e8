//! Quoted-printable (RFC 2045 §6.7), both ways, as a stream.

use memchr::memchr2;

use super::LINE;

/// Blanks that may end a line and still be taken for padding added on the way; more of them are kept as text.
const BLANKS: usize = 998;

/// Decodes quoted-printable of any quality: what is no escape stays as it is, blanks at the end of a line go.
///
/// Holds back at most about 2,000 octets. Lines keep the break they have, CRLF or LF.
///
/// ```
/// use mailwright_mail_model::encoding::QuotedPrintableDecoder;
///
/// let mut decoder = QuotedPrintableDecoder::new();
/// let mut octets = Vec::new();
/// decoder.push(b"caf=C3=A9 =", &mut octets);
/// decoder.push(b"\r\nnoir  \r\n", &mut octets);
/// decoder.finish(&mut octets);
/// assert_eq!(octets, "café noir\r\n".as_bytes());
/// ```
#[derive(Clone, Debug, Default)]
pub struct QuotedPrintableDecoder {
    /// An escape that is not complete: `=`, `=` and a digit, or `=` and blanks that may come to be a soft break.
    escape: Vec<u8>,
    /// Blanks, then perhaps a CR, that are dropped if the line ends here.
    blanks: Vec<u8>,
    /// More than [`BLANKS`] came in a row and were let through, as will be those that follow.
    long: bool,
}

impl QuotedPrintableDecoder {
    /// A decoder at the start of a body.
    pub const fn new() -> Self {
        Self { escape: Vec::new(), blanks: Vec::new(), long: false }
    }

    /// Appends the octets that `bytes` complete to `output`.
    pub fn push(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if !self.escape.is_empty() {
                if self.take_escaped(byte, output) {
                    rest = after;
                }
                continue;
            }
            let stop = memchr2(b'=', b'\n', rest).unwrap_or(rest.len());
            let Some((run, after)) = rest.split_at_checked(stop) else { return };
            self.take_plain(run, output);
            let Some((&byte, after)) = after.split_first() else { return };
            rest = after;
            if byte == b'=' {
                self.keep_blanks(output);
                self.escape.push(byte);
            } else {
                self.end_line(output);
            }
        }
    }

    /// The body has ended: appends what was kept back and is no padding to `output`, and starts anew.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        if self.escape.get(1).is_some_and(u8::is_ascii_hexdigit) {
            output.append(&mut self.escape);
        }
        if self.blanks.last() == Some(&b'\r') {
            output.push(b'\r');
        }
        *self = Self::new();
    }

    /// Octets between escapes and line breaks: out at once, but for the blanks at their end.
    fn take_plain(&mut self, run: &[u8], output: &mut Vec<u8>) {
        if run.is_empty() {
            return;
        }
        let text = trim_blanks(run);
        if !text.is_empty() || self.blanks.last() == Some(&b'\r') {
            self.keep_blanks(output);
        }
        output.extend_from_slice(text);
        let Some(blanks) = run.get(text.len()..) else { return };
        let carriage_return = usize::from(blanks.last() == Some(&b'\r'));
        if self.long || self.blanks.len() + blanks.len() - carriage_return > BLANKS {
            output.append(&mut self.blanks);
            output.extend_from_slice(blanks);
            self.long = carriage_return == 0;
        } else {
            self.blanks.extend_from_slice(blanks);
        }
    }

    fn keep_blanks(&mut self, output: &mut Vec<u8>) {
        output.append(&mut self.blanks);
        self.long = false;
    }

    /// RFC 2045 §6.7 rule 3: blanks before a line break were added on the way.
    fn end_line(&mut self, output: &mut Vec<u8>) {
        if self.blanks.last() == Some(&b'\r') {
            output.push(b'\r');
        }
        output.push(b'\n');
        self.blanks.clear();
        self.long = false;
    }

    /// One octet after a `=`; `false` if it is not part of the escape and has to be looked at again.
    fn take_escaped(&mut self, byte: u8, output: &mut Vec<u8>) -> bool {
        let blank = matches!(byte, b' ' | b'\t' | b'\r');
        match self.escape.as_slice() {
            // RFC 2045 §6.7 rule 5: a soft line break, even with padding.
            [b'='] | [b'=', b' ' | b'\t' | b'\r', ..] if byte == b'\n' => self.escape.clear(),
            [b'='] if byte.is_ascii_hexdigit() || blank => self.escape.push(byte),
            [b'=', high] if high.is_ascii_hexdigit() => {
                let (Some(high), Some(low)) = (hexadecimal(*high), hexadecimal(byte)) else {
                    output.append(&mut self.escape);
                    return false;
                };
                output.push(high << 4 | low);
                self.escape.clear();
            }
            [.., last] if blank && *last != b'\r' && *last != b'=' && self.escape.len() <= BLANKS => {
                self.escape.push(byte);
            }
            _ => {
                output.append(&mut self.escape);
                return false;
            }
        }
        true
    }
}

/// The octets before the blanks, and perhaps a CR, at the end.
fn trim_blanks(run: &[u8]) -> &[u8] {
    let mut text = run.strip_suffix(b"\r").unwrap_or(run);
    while let [before @ .., b' ' | b'\t'] = text {
        text = before;
    }
    text
}

fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Encodes octets to quoted-printable in lines of at most 76 columns.
///
/// CRLF is a line break and stays one; a lone CR or LF is escaped, so that decoding gives back every octet.
///
/// ```
/// use mailwright_mail_model::encoding::QuotedPrintableEncoder;
///
/// let mut encoder = QuotedPrintableEncoder::new();
/// let mut text = Vec::new();
/// encoder.push("1 = één \r\n".as_bytes(), &mut text);
/// encoder.finish(&mut text);
/// assert_eq!(text, b"1 =3D =C3=A9=C3=A9n=20\r\n");
/// ```
#[derive(Clone, Debug, Default)]
pub struct QuotedPrintableEncoder {
    /// A blank, which is escaped if the line ends after it.
    blank: Option<u8>,
    /// A CR, which is escaped unless LF follows.
    carriage_return: bool,
    column: usize,
}

impl QuotedPrintableEncoder {
    /// An encoder at the start of a body.
    pub const fn new() -> Self {
        Self { blank: None, carriage_return: false, column: 0 }
    }

    /// Appends the text that `bytes` complete to `output`; at most about three octets per octet.
    pub fn push(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        output.reserve(bytes.len() + bytes.len() / 8);
        for &byte in bytes {
            if std::mem::take(&mut self.carriage_return) {
                if byte == b'\n' {
                    self.escape_blank(output);
                    output.extend_from_slice(b"\r\n");
                    self.column = 0;
                    continue;
                }
                self.keep_blank(output);
                self.escape(b'\r', output);
            }
            if byte == b'\r' {
                self.carriage_return = true;
                continue;
            }
            self.keep_blank(output);
            match byte {
                b' ' | b'\t' => self.blank = Some(byte),
                b'=' | 0..=31 | 127..=255 => self.escape(byte, output),
                _ => self.write(&[byte], output),
            }
        }
    }

    /// The body has ended: appends what was kept back to `output`, and starts anew.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        if self.carriage_return {
            self.keep_blank(output);
            self.escape(b'\r', output);
        }
        self.escape_blank(output);
        *self = Self::new();
    }

    fn keep_blank(&mut self, output: &mut Vec<u8>) {
        if let Some(blank) = self.blank.take() {
            self.write(&[blank], output);
        }
    }

    fn escape_blank(&mut self, output: &mut Vec<u8>) {
        if let Some(blank) = self.blank.take() {
            self.escape(blank, output);
        }
    }

    fn escape(&mut self, byte: u8, output: &mut Vec<u8>) {
        self.write(&[b'=', digit(byte >> 4), digit(byte & 15)], output);
    }

    fn write(&mut self, text: &[u8], output: &mut Vec<u8>) {
        // RFC 2045 §6.7 rule 5: the `=` of a soft break counts, so it must fit too.
        if self.column + text.len() >= LINE {
            output.extend_from_slice(b"=\r\n");
            self.column = 0;
        }
        output.extend_from_slice(text);
        self.column += text.len();
    }
}

/// RFC 2045 §6.7 rule 1: upper case.
const fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'A' - 10 + value }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(pieces: &[&[u8]]) -> Vec<u8> {
        let mut decoder = QuotedPrintableDecoder::new();
        let mut output = Vec::new();
        pieces.iter().for_each(|piece| decoder.push(piece, &mut output));
        decoder.finish(&mut output);
        output
    }

    fn encode(pieces: &[&[u8]]) -> Vec<u8> {
        let mut encoder = QuotedPrintableEncoder::new();
        let mut output = Vec::new();
        pieces.iter().for_each(|piece| encoder.push(piece, &mut output));
        encoder.finish(&mut output);
        output
    }

    #[test]
    fn escapes_soft_breaks_and_what_is_neither() {
        let cases = [
            ("a=3D=3d=e9", "a==\u{e9}"),
            ("a=\r\nb=\nc= \t\r\nd", "abcd"),
            ("a \t\r\nb \nc ", "a\r\nb\nc"),
            ("a =20\r\n", "a  \r\n"),
            ("a=zz=3", "a=zz=3"),
            ("==3D=", "=="),
            ("a= b", "a= b"),
            ("=\rb\rc \rd\r", "=\rb\rc \rd\r"),
            ("a \r\r\n", "a \r\r\n"),
        ];
        for (text, expected) in cases {
            let expected: Vec<u8> = expected.chars().map(|character| character as u8).collect();
            assert_eq!(decode(&[text.as_bytes()]), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_held_back_is_bounded() {
        for text in ["=", "x"] {
            let mut decoder = QuotedPrintableDecoder::new();
            let mut output = Vec::new();
            decoder.push(text.as_bytes(), &mut output);
            for _ in 0..100_000 {
                decoder.push(b" ", &mut output);
                assert!(decoder.escape.len() + decoder.blanks.len() <= 2 * BLANKS + 2);
            }
            decoder.push(b"\r\n", &mut output);
            decoder.finish(&mut output);
            assert!(output.len() > 99_000);
        }
    }

    #[test]
    fn blanks_up_to_the_bound_are_dropped_however_they_come() {
        for (blanks, octets) in [(BLANKS, 3), (BLANKS + 1, BLANKS + 4)] {
            let line = format!("x{}\r\n", " ".repeat(blanks));
            let singles: Vec<&[u8]> = line.as_bytes().chunks(1).collect();
            assert_eq!((decode(&[line.as_bytes()]).len(), decode(&singles).len()), (octets, octets));
        }
    }

    #[test]
    fn long_lines_are_broken() {
        let text = encode(&["é".repeat(200).as_bytes(), &[b'a'; 200]]);
        assert!(std::str::from_utf8(&text).unwrap().split("\r\n").all(|line| line.len() <= 76));
    }

    proptest! {
        #[test]
        fn any_split_round_trips(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b" \t\r\n=a".to_vec())], 0..300),
            split in 0_usize..300,
        ) {
            let (left, right) = bytes.split_at(split.min(bytes.len()));
            let text = encode(&[left, right]);
            prop_assert_eq!(&text, &encode(&[&bytes]));
            prop_assert!(text.split(|byte| *byte == b'\n').all(|line| line.len() <= 77));
            let (left, right) = text.split_at(split.min(text.len()));
            prop_assert_eq!(decode(&[left, right]), bytes);
        }

        #[test]
        fn any_split_of_anything_gives_the_same(text in "[=aF \t\r\nx]{0,24}", blanks in 990_usize..1005, at in 0_usize..24) {
            let mut text = text.into_bytes();
            let at = at.min(text.len());
            let whole = decode(&[&text]);
            let singles: Vec<&[u8]> = text.chunks(1).collect();
            prop_assert_eq!(decode(&singles), whole);
            text.splice(at..at, std::iter::repeat_n(b' ', blanks));
            let singles: Vec<&[u8]> = text.chunks(1).collect();
            prop_assert_eq!(decode(&singles), decode(&[&text]));
        }
    }
}
