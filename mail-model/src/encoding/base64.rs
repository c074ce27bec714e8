//! Base64 (RFC 2045 §6.8), both ways, as a stream.

use super::LINE;

/// Decodes base64 of any quality: what is no letter of the alphabet is skipped, missing padding is not missed.
///
/// ```
/// use mailwright_mail_model::encoding::Base64Decoder;
///
/// let mut decoder = Base64Decoder::new();
/// let mut octets = Vec::new();
/// decoder.push(b"aGV\r\nsbG", &mut octets);
/// decoder.push(b"8", &mut octets);
/// decoder.finish(&mut octets);
/// assert_eq!(octets, b"hello");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Base64Decoder {
    /// The sextets of the group that is not complete, lowest last.
    group: u32,
    /// How many of them, 0 to 3.
    sextets: u8,
}

impl Base64Decoder {
    /// A decoder at the start of a body.
    pub const fn new() -> Self {
        Self { group: 0, sextets: 0 }
    }

    /// Appends the octets that `bytes` complete to `output`.
    pub fn push(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        output.reserve(bytes.len() / 4 * 3 + 3);
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.sextets == 0 {
                rest = whole_groups(rest, output);
            }
            let Some((&byte, after)) = rest.split_first() else { return };
            rest = after;
            self.push_one(byte, output);
        }
    }

    /// The body has ended: appends the octets of an incomplete group to `output`, and starts anew.
    ///
    /// A single letter left over holds no octet and is dropped.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        let [_, first, second, _] = (self.group << (6 * (4 - u32::from(self.sextets.min(4))))).to_be_bytes();
        match self.sextets {
            2 => output.push(first),
            3 => output.extend_from_slice(&[first, second]),
            _ => {}
        }
        *self = Self::new();
    }

    fn push_one(&mut self, byte: u8, output: &mut Vec<u8>) {
        let value = sextet(byte);
        if byte == b'=' {
            // Bodies made by joining encoded pieces go on after their padding.
            self.finish(output);
        } else if value < 64 {
            self.group = self.group << 6 | u32::from(value);
            self.sextets += 1;
            if self.sextets == 4 {
                let [_, a, b, c] = self.group.to_be_bytes();
                output.extend_from_slice(&[a, b, c]);
                *self = Self::new();
            }
        }
    }
}

/// Decodes groups of four as long as they hold nothing but letters; gives back what follows.
fn whole_groups<'a>(bytes: &'a [u8], output: &mut Vec<u8>) -> &'a [u8] {
    let mut rest = bytes;
    while let Some((&[a, b, c, d], after)) = rest.split_first_chunk() {
        let (a, b, c, d) = (sextet(a), sextet(b), sextet(c), sextet(d));
        if (a | b | c | d) >= 64 {
            break;
        }
        let group = u32::from(a) << 18 | u32::from(b) << 12 | u32::from(c) << 6 | u32::from(d);
        let [_, first, second, third] = group.to_be_bytes();
        output.extend_from_slice(&[first, second, third]);
        rest = after;
    }
    rest
}

/// Encodes octets to base64 in lines of 76 letters that end in CRLF.
///
/// ```
/// use mailwright_mail_model::encoding::Base64Encoder;
///
/// let mut encoder = Base64Encoder::new();
/// let mut text = Vec::new();
/// encoder.push(b"hel", &mut text);
/// encoder.push(b"lo", &mut text);
/// encoder.finish(&mut text);
/// assert_eq!(text, b"aGVsbG8=\r\n");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Base64Encoder {
    /// The octets of the group that is not complete, lowest last.
    group: u32,
    /// How many of them, 0 to 2.
    octets: u8,
    /// How many letters the line has.
    column: usize,
}

impl Base64Encoder {
    /// An encoder at the start of a body.
    pub const fn new() -> Self {
        Self { group: 0, octets: 0, column: 0 }
    }

    /// Appends the letters that `bytes` complete to `output`.
    pub fn push(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        output.reserve(bytes.len() / 57 * 78 + 80);
        for &byte in bytes {
            self.group = self.group << 8 | u32::from(byte);
            self.octets += 1;
            if self.octets == 3 {
                self.write(4, output);
            }
        }
    }

    /// The body has ended: appends the last group, its padding and a line break to `output`, and starts anew.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        match self.octets {
            1 => {
                self.group <<= 16;
                self.write(2, output);
            }
            2 => {
                self.group <<= 8;
                self.write(3, output);
            }
            _ => {}
        }
        if self.column > 0 {
            output.extend_from_slice(b"\r\n");
        }
        *self = Self::new();
    }

    /// Writes a group: so many letters, the rest padding.
    fn write(&mut self, letters: usize, output: &mut Vec<u8>) {
        let group = self.group;
        let sextets = [18, 12, 6, 0].map(|shift| letter(group >> shift & 63));
        output.extend(sextets.into_iter().take(letters));
        output.extend(std::iter::repeat_n(b'=', 4 - letters));
        self.column += 4;
        if self.column >= LINE {
            output.extend_from_slice(b"\r\n");
            self.column = 0;
        }
        self.group = 0;
        self.octets = 0;
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn letter(sextet: u32) -> u8 {
    ALPHABET.get(sextet as usize).copied().unwrap_or(b'=')
}

/// The value of a letter, or 255.
fn sextet(byte: u8) -> u8 {
    SEXTETS.get(usize::from(byte)).copied().unwrap_or(255)
}

static SEXTETS: [u8; 256] = {
    let mut table = [255; 256];
    let mut letters = ALPHABET.as_slice();
    let mut value = 0;
    while let Some((&letter, rest)) = letters.split_first() {
        // Evaluated when the crate is built, where a letter is always below 256.
        #[allow(clippy::indexing_slicing)]
        {
            table[letter as usize] = value;
        }
        value += 1;
        letters = rest;
    }
    table
};

#[cfg(test)]
mod tests {
    use ::base64::{Engine, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    use super::*;

    fn decode(pieces: &[&[u8]]) -> Vec<u8> {
        let mut decoder = Base64Decoder::new();
        let mut output = Vec::new();
        pieces.iter().for_each(|piece| decoder.push(piece, &mut output));
        decoder.finish(&mut output);
        output
    }

    fn encode(pieces: &[&[u8]]) -> Vec<u8> {
        let mut encoder = Base64Encoder::new();
        let mut output = Vec::new();
        pieces.iter().for_each(|piece| encoder.push(piece, &mut output));
        encoder.finish(&mut output);
        output
    }

    #[test]
    fn junk_is_skipped_and_padding_may_be_missing() {
        for text in ["aGVsbG8=", "aGVsbG8", "a!G V-s_b\r\nG8", "aGVs=bG8=", "aGVsbG8=====", "aGVsbG8A"] {
            assert!(decode(&[text.as_bytes()]).starts_with(b"hello"), "{text}");
        }
        assert_eq!(decode(&[b"aGk=aGk="]), b"hihi");
        assert_eq!(decode(&[b"a"]), b"");
        assert_eq!(decode(&[b"===="]), b"");
    }

    #[test]
    fn lines_have_76_letters() {
        let text = encode(&[&[7; 100]]);
        let lines: Vec<_> =
            std::str::from_utf8(&text).unwrap().split_terminator("\r\n").map(str::len).collect();
        assert_eq!(lines, [76, 60]);
        assert_eq!(encode(&[&[7; 57]]).len(), 78);
        assert_eq!(encode(&[b""]), b"");
    }

    proptest! {
        #[test]
        fn any_split_round_trips(bytes in prop::collection::vec(any::<u8>(), 0..300), split in 0_usize..300) {
            let (left, right) = bytes.split_at(split.min(bytes.len()));
            let text = encode(&[left, right]);
            let bare: Vec<u8> = text.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect();
            prop_assert_eq!(String::from_utf8(bare).unwrap(), STANDARD.encode(&bytes));
            let (left, right) = text.split_at(split.min(text.len()));
            prop_assert_eq!(decode(&[left, right]), bytes);
        }

        #[test]
        fn any_split_of_anything_gives_the_same(text in "[A-Da-d=!\r\n]{0,40}", split in 0_usize..40) {
            let (left, right) = text.as_bytes().split_at(split.min(text.len()));
            prop_assert_eq!(decode(&[left, right]), decode(&[text.as_bytes()]));
        }
    }
}
