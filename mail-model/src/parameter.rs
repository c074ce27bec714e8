//! Parameters of MIME fields (RFC 2045 §5.1), with continuations and charsets (RFC 2231).

use crate::{charset, header, word};

/// The parameters of a field such as Content-Type, as written, and decoded on demand.
///
/// ```
/// use mailwright_mail_model::parameter::Parameters;
///
/// let value = b"attachment; filename*0*=UTF-8''caf%C3; filename*1*=%A9.txt; size=\"12\"";
/// let parameters = Parameters::parse(value);
/// assert_eq!(parameters.decoded("FILENAME").as_deref(), Some("café.txt"));
/// assert_eq!(parameters.value("size"), Some(&b"12"[..]));
/// assert_eq!(parameters.iter().count(), 3);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(Vec<Parameter>);

/// One parameter as written, but for quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    name: String,
    value: Vec<u8>,
}

impl Parameter {
    /// The name in the case it was written in, with the asterisks of RFC 2231.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value without its quotes; not decoded.
    pub fn value(&self) -> &[u8] {
        &self.value
    }
}

impl Parameters {
    /// The most parameters taken from one field; the rest are ignored (CVE-2026-27859).
    pub const MAX: usize = 128;

    /// The parameters of a field's value, which may be folded: what stands before the first `;` is passed over.
    ///
    /// Never fails: what is no parameter is passed over up to the next `;`.
    pub fn parse(value: &[u8]) -> Self {
        let value = header::unfold(value);
        let mut cursor = Cursor { rest: &value };
        let mut parameters = Vec::new();
        while parameters.len() < Self::MAX && cursor.skip_to_semicolon() {
            parameters.extend(cursor.parameter());
        }
        Self(parameters)
    }

    /// Parameters that were taken apart already.
    pub(crate) fn of_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        Self(pairs.map(|(name, value)| Parameter { name: name.into(), value: value.into() }).collect())
    }

    /// Every parameter, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Parameter> + '_ {
        self.0.iter()
    }

    /// The value of the first parameter of exactly that name, case apart; not decoded.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name)).map(Parameter::value)
    }

    /// The text of the parameter of that name, put together and decoded.
    ///
    /// The form of RFC 2231 goes before the plain one. In the plain one encoded words are decoded, which
    /// RFC 2047 §5 forbids but many write.
    pub fn decoded(&self, name: &str) -> Option<String> {
        self.extended(name).or_else(|| self.value(name).map(word::decode))
    }

    fn extended(&self, name: &str) -> Option<String> {
        let mut sections: Vec<_> =
            self.0.iter().filter_map(|parameter| Section::of(parameter, name)).collect();
        sections.sort_by_key(|section| section.number);
        sections.dedup_by_key(|section| section.number);
        let first = sections.first()?;
        // RFC 2231 §4: charset, language and text, each but the last before a `'`.
        let mut label = "utf-8";
        let mut first_value = first.value;
        if first.extended {
            let mut parts = first.value.splitn(3, |byte| *byte == b'\'');
            if let (Some(charset), Some(_language), Some(text)) = (parts.next(), parts.next(), parts.next()) {
                label = str::from_utf8(charset).ok().filter(|label| !label.is_empty()).unwrap_or(label);
                first_value = text;
            }
        }
        let mut octets = Vec::new();
        for (number, section) in (0..).zip(&sections) {
            // RFC 2231 §3: sections count from 0; what follows a gap belongs to nothing.
            if section.number != number {
                break;
            }
            let value = if number == 0 { first_value } else { section.value };
            if section.extended { octets.extend(unescape(value)) } else { octets.extend_from_slice(value) }
        }
        let first_missing = first.number != 0;
        let text = charset::decode(label, &octets).unwrap_or_else(|| String::from_utf8_lossy(&octets));
        (!first_missing).then(|| text.into_owned())
    }
}

/// A parameter as the section of a longer one: `name*`, `name*0`, `name*0*`.
struct Section<'a> {
    number: usize,
    extended: bool,
    value: &'a [u8],
}

impl<'a> Section<'a> {
    fn of(parameter: &'a Parameter, name: &str) -> Option<Self> {
        let (head, tail) = parameter.name.split_at_checked(name.len())?;
        let tail = tail.strip_prefix('*').filter(|_| head.eq_ignore_ascii_case(name))?;
        let value = parameter.value.as_slice();
        if tail.is_empty() {
            return Some(Self { number: 0, extended: true, value });
        }
        let digits = tail.strip_suffix('*').unwrap_or(tail);
        let canonical = digits == "0" || !digits.starts_with('0');
        let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
        number.filter(|_| canonical).map(|number| Self { number, extended: digits.len() < tail.len(), value })
    }
}

/// Takes `%` and two hexadecimal digits for the octet they spell.
fn unescape(value: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, after @ ..]) if let Some(octet) = word::hexadecimal(*high, *low) => {
                octets.push(octet);
                rest = after;
            }
            (other, _) => octets.push(*other),
        }
    }
    octets
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self) -> Option<u8> {
        let (byte, after) = self.rest.split_first()?;
        self.rest = after;
        Some(*byte)
    }

    fn take_while(&mut self, belongs: fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !belongs(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    /// Passes over everything up to and over a `;` outside quotes and comments; `false` if there is none.
    fn skip_to_semicolon(&mut self) -> bool {
        while let Some(byte) = self.take() {
            match byte {
                b';' => return true,
                b'"' => drop(self.quoted()),
                b'(' => self.skip_comment(),
                _ => {}
            }
        }
        false
    }

    fn skip_blanks(&mut self) {
        loop {
            self.take_while(|byte| byte.is_ascii_whitespace());
            if !self.rest.starts_with(b"(") {
                return;
            }
            self.take();
            self.skip_comment();
        }
    }

    /// After the opening parenthesis. Comments nest; one that is open goes to the end.
    fn skip_comment(&mut self) {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.take() {
                Some(b'(') => depth += 1,
                Some(b')') => depth -= 1,
                Some(b'\\') => drop(self.take()),
                Some(_) => {}
                None => return,
            }
        }
    }

    /// After the opening quote.
    fn quoted(&mut self) -> Vec<u8> {
        let mut value = Vec::new();
        while let Some(byte) = self.take() {
            match byte {
                b'"' => break,
                b'\\' => value.extend(self.take()),
                other => value.push(other),
            }
        }
        value
    }

    /// After a `;`.
    fn parameter(&mut self) -> Option<Parameter> {
        self.skip_blanks();
        let name =
            self.take_while(|byte| byte.is_ascii_graphic() && !matches!(byte, b'=' | b';' | b'"' | b'('));
        self.skip_blanks();
        if name.is_empty() || !self.rest.starts_with(b"=") {
            return None;
        }
        self.take();
        self.skip_blanks();
        let value = if self.rest.starts_with(b"\"") {
            self.take();
            self.quoted()
        } else {
            // RFC 2045 §5.1 wants quotes around spaces; names of files come without.
            self.take_while(|byte| !matches!(byte, b';' | b'(')).trim_ascii().to_vec()
        };
        Some(Parameter { name: str::from_utf8(name).ok()?.to_owned(), value })
    }
}

/// A parameter to write after a `;`: `name=value`, in quotes if need be, or in the form of RFC 2231 if the
/// value is long or not printable ASCII; then in sections on lines of their own, at most 76 octets each
/// (if the name leaves room for that). Readers take [`Parameters::MAX`] sections, which hold over 1,500
/// octets of value.
///
/// `name` must be a short token; it is written as it is.
///
/// ```
/// use mailwright_mail_model::parameter;
///
/// assert_eq!(parameter::encode("charset", "utf-8"), "charset=utf-8");
/// assert_eq!(parameter::encode("filename", "a \"b\""), r#"filename="a \"b\"""#);
/// assert_eq!(parameter::encode("filename", "é"), "filename*=UTF-8''%C3%A9");
/// ```
pub fn encode(name: &str, value: &str) -> String {
    let plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~')) && !value.contains("=?");
    if plain && name.len() + value.len() <= MAX_PLAIN_OCTETS {
        if !value.is_empty() && value.bytes().all(is_token) {
            return format!("{name}={value}");
        }
        return format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    }
    // The longest start of a line: ` name*127*=UTF-8''`, with room for a `;`.
    let room = MAX_LINE_OCTETS.saturating_sub(name.len() + " *127*=UTF-8'';".len());
    let mut sections = vec![String::new()];
    // RFC 2231 allows a character to be split over two sections; many readers do not.
    for character in value.chars() {
        let escape =
            |byte| if is_attribute(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        let escaped: String = character.encode_utf8(&mut [0; 4]).bytes().map(escape).collect();
        match sections.last_mut() {
            Some(section) if section.len() + escaped.len() <= room => section.push_str(&escaped),
            _ => sections.push(escaped),
        }
    }
    if let [section] = sections.as_slice() {
        return format!("{name}*=UTF-8''{section}");
    }
    let numbered = sections.iter().enumerate().map(|(number, section)| {
        let charset = if number == 0 { "UTF-8''" } else { "" };
        format!("{name}*{number}*={charset}{section}")
    });
    numbered.collect::<Vec<_>>().join(";\r\n ")
}

/// RFC 2045 §6.7 and RFC 5322 §2.1.1: lines of 76 to 78 octets.
const MAX_LINE_OCTETS: usize = 76;
const MAX_PLAIN_OCTETS: usize = 60;

/// RFC 2045 §5.1 `token`: printable ASCII without `tspecials`.
pub(crate) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(
            byte,
            b'(' | b')'
                | b'<'
                | b'>'
                | b'@'
                | b','
                | b';'
                | b':'
                | b'\\'
                | b'"'
                | b'/'
                | b'['
                | b']'
                | b'?'
                | b'='
        )
}

/// RFC 2231 §7 `attribute-char`.
pub(crate) const fn is_attribute(byte: u8) -> bool {
    is_token(byte) && !matches!(byte, b'*' | b'\'' | b'%')
}

#[cfg(test)]
mod tests;
