//! Writing: which form a string takes, and where a client must wait before it goes on.

use std::{fmt, sync::LazyLock};

use bytes::{Bytes, BytesMut};
use mailwright_line_proto::Transmit;
use mailwright_mail_model::{FlagSet, MailboxName};

use super::{is_astring_char, is_text_char};

/// The longest string that is sent quoted; longer ones go as literals.
const QUOTED: usize = 1000;

/// The system flags of a message as they are written, by their bits.
static SYSTEM_FLAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    (0..=u8::MAX).map_while(FlagSet::from_system_bits).map(|flags| flags.to_string()).collect()
});

/// Somewhere to write commands or responses to. Only [`put`](Self::put) and [`put_literal`](Self::put_literal) differ
/// between the two sides.
pub trait Wire {
    /// Writes octets as they are.
    fn put(&mut self, octets: &[u8]);

    /// Writes a literal: its mark, CRLF, and the octets.
    fn put_literal(&mut self, octets: &[u8]);

    /// The same with octets that may be shared, so that they need not be copied.
    fn put_shared_literal(&mut self, octets: Bytes) {
        self.put_literal(&octets);
    }

    /// Writes a number in decimal digits, without an allocation.
    fn put_number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut used = 0;
        for slot in digits.iter_mut().rev() {
            *slot = b'0' + (number % 10) as u8;
            number /= 10;
            used += 1;
            if number == 0 {
                break;
            }
        }
        self.put(digits.get(digits.len() - used..).unwrap_or_default());
    }

    /// Writes what `value` displays, without an allocation. It must fit the grammar where it stands.
    fn put_display(&mut self, value: impl fmt::Display)
    where
        Self: Sized,
    {
        // Writing to memory does not fail; a Display that fails by itself writes what it has written.
        let _ = fmt::Write::write_fmt(&mut Formatted(self), format_args!("{value}"));
    }

    /// Writes a string: quoted if it is short and of 7 bits, else a literal.
    fn put_string(&mut self, text: &[u8]) {
        if text.len() > QUOTED || !text.iter().copied().all(is_text_char) {
            return self.put_literal(text);
        }
        self.put(b"\"");
        let mut rest = text;
        while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
            let Some((plain, after)) = rest.split_at_checked(at) else { break };
            let Some((special, after)) = after.split_first() else { break };
            self.put(plain);
            self.put(&[b'\\', *special]);
            rest = after;
        }
        self.put(rest);
        self.put(b"\"");
    }

    /// Writes a string, or `NIL`.
    fn put_nstring(&mut self, text: Option<&[u8]>) {
        match text {
            Some(text) => self.put_string(text),
            None => self.put(b"NIL"),
        }
    }

    /// Writes an astring: as an atom if it can be one and is not the word `NIL`.
    fn put_astring(&mut self, text: &[u8]) {
        let is_atom = !text.is_empty()
            && text.len() <= QUOTED
            && text.iter().copied().all(is_astring_char)
            && !text.eq_ignore_ascii_case(b"NIL");
        if is_atom { self.put(text) } else { self.put_string(text) }
    }

    /// Writes a mailbox name in modified UTF-7.
    fn put_mailbox(&mut self, name: &MailboxName) {
        let text = name.as_str();
        // Most names stand for themselves.
        match text.bytes().all(|octet| matches!(octet, b' '..=b'~') && octet != b'&') {
            true => self.put_astring(text.as_bytes()),
            false => self.put_astring(name.to_utf7().as_bytes()),
        }
    }

    /// Writes flags in parentheses.
    fn put_flags(&mut self, flags: &FlagSet) {
        self.put_flags_and(flags, None);
    }

    /// Writes flags in parentheses, with one more that is no [`Flag`](mailwright_mail_model::Flag): `\Recent`, or `\*`.
    fn put_flags_and(&mut self, flags: &FlagSet, extra: Option<&str>) {
        // One of these for every message of a mailbox: most are written in one piece.
        let system = SYSTEM_FLAGS.get(usize::from(flags.system_bits())).map_or("", String::as_str);
        if flags.keywords().is_empty() && extra.is_none() {
            return self.put(system.as_bytes());
        }
        let begun = system.strip_suffix(')').unwrap_or("(");
        self.put(begun.as_bytes());
        let mut before: &[u8] = if begun == "(" { b"" } else { b" " };
        for word in flags.keywords().iter().map(|keyword| keyword.as_str()).chain(extra) {
            self.put(before);
            self.put(word.as_bytes());
            before = b" ";
        }
        self.put(b")");
    }

    /// Writes a list in parentheses, each item as `put_item` writes it.
    fn put_list<T>(&mut self, items: impl IntoIterator<Item = T>, mut put_item: impl FnMut(&mut Self, T))
    where
        Self: Sized,
    {
        self.put(b"(");
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.put(b" ");
            }
            put_item(self, item);
        }
        self.put(b")");
    }
}

/// Writes mailbox names in UTF-8 rather than in modified UTF-7, to a peer that has agreed to it (RFC 6855 §3, RFC 9051 §5.1).
#[derive(Debug)]
pub struct Utf8Wire<'a, W>(pub &'a mut W);

impl<W: Wire> Wire for Utf8Wire<'_, W> {
    fn put(&mut self, octets: &[u8]) {
        self.0.put(octets);
    }

    fn put_literal(&mut self, octets: &[u8]) {
        self.0.put_literal(octets);
    }

    fn put_mailbox(&mut self, name: &MailboxName) {
        let name = name.as_str();
        if name.is_ascii() {
            return self.0.put_astring(name.as_bytes());
        }
        self.put(b"\"");
        for piece in name.split_inclusive(['"', '\\']) {
            let plain = piece.strip_suffix(['"', '\\']).unwrap_or(piece);
            self.put(plain.as_bytes());
            if let Some(special) = piece.strip_prefix(plain).filter(|special| !special.is_empty()) {
                self.put(b"\\");
                self.put(special.as_bytes());
            }
        }
        self.put(b"\"");
    }
}

struct Formatted<'a, W: ?Sized>(&'a mut W);

impl<W: Wire + ?Sized> fmt::Write for Formatted<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.put(text.as_bytes());
        Ok(())
    }
}

/// What a server sends: a literal needs no consent.
impl Wire for Transmit {
    fn put(&mut self, octets: &[u8]) {
        Self::put(self, octets);
    }

    fn put_literal(&mut self, octets: &[u8]) {
        self.put(b"{");
        self.put_number(octets.len() as u64);
        self.put(b"}\r\n");
        if octets.len() < QUOTED {
            self.put(octets);
        } else {
            self.put_bytes(Bytes::copy_from_slice(octets));
        }
    }

    fn put_shared_literal(&mut self, octets: Bytes) {
        self.put(b"{");
        self.put_number(octets.len() as u64);
        self.put(b"}\r\n");
        self.put_bytes(octets);
    }
}

impl Wire for Vec<u8> {
    fn put(&mut self, octets: &[u8]) {
        self.extend_from_slice(octets);
    }

    fn put_literal(&mut self, octets: &[u8]) {
        self.put(b"{");
        self.put_number(octets.len() as u64);
        self.put(b"}\r\n");
        self.put(octets);
    }
}

/// Which literals a client may send without waiting for `+` (RFC 7888).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LiteralMode {
    /// None: the server offers no extension.
    #[default]
    Synchronizing,
    /// Those of at most 4,096 octets: the server offers LITERAL-.
    Minus,
    /// All: the server offers LITERAL+.
    Plus,
}

impl LiteralMode {
    /// Whether the server must be asked before a literal of `length` octets.
    pub fn synchronizes(self, length: u64) -> bool {
        match self {
            Self::Synchronizing => true,
            Self::Minus => length > 4096, // RFC 7888 §5
            Self::Plus => false,
        }
    }
}

/// A client's command, written down, with the places where it must wait for `+` before it goes on.
///
/// ```
/// use mailwright_imap_proto::grammar::{CommandWriter, LiteralMode, Wire};
///
/// let mut writer = CommandWriter::new(LiteralMode::Synchronizing);
/// writer.put(b"a1 LOGIN ");
/// writer.put_astring("J\u{f6}rg".as_bytes());
/// writer.put(b" x\r\n");
/// let mut parts = writer.into_parts();
/// assert_eq!(parts.next().as_deref(), Some(&b"a1 LOGIN {5}\r\n"[..]));
/// assert_eq!(parts.next().as_deref(), Some("J\u{f6}rg x\r\n".as_bytes()));
/// assert_eq!(parts.next(), None);
/// ```
#[derive(Debug, Clone, Default)]
pub struct CommandWriter {
    octets: BytesMut,
    pauses: Vec<usize>,
    mode: LiteralMode,
}

impl CommandWriter {
    /// An empty command.
    pub fn new(mode: LiteralMode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// Writes the mark of a literal and its CRLF, and a place to wait if the server wants to be asked. The octets
    /// come next, or are streamed.
    pub fn put_mark(&mut self, length: u64) {
        let synchronizes = self.mode.synchronizes(length);
        self.put(b"{");
        self.put_number(length);
        self.put(if synchronizes { b"}\r\n" } else { b"+}\r\n" });
        if synchronizes {
            self.pauses.push(self.octets.len());
        }
    }

    /// All that was written, without regard to the places to wait at.
    pub fn as_slice(&self) -> &[u8] {
        &self.octets
    }

    /// The command in parts: before each but the first, wait for `+`. A command that ends with a place to wait at
    /// (a message that is streamed) has an empty last part.
    pub fn into_parts(self) -> impl Iterator<Item = Bytes> {
        let mut octets = self.octets.freeze();
        let mut start = 0;
        let mut parts = Vec::with_capacity(self.pauses.len() + 1);
        for pause in self.pauses {
            parts.push(octets.split_to(pause - start));
            start = pause;
        }
        parts.push(octets);
        parts.into_iter()
    }
}

impl Wire for CommandWriter {
    fn put(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    fn put_literal(&mut self, octets: &[u8]) {
        self.put_mark(octets.len() as u64);
        self.put(octets);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::grammar::Input;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut octets = Vec::new();
        write(&mut octets);
        String::from_utf8(octets).unwrap()
    }

    #[test]
    fn strings_take_the_form_they_need() {
        for (text, expected) in [
            ("", "\"\""),
            ("abc", "abc"),
            ("a b", "\"a b\""),
            ("nil", "\"nil\""),
            ("a\"\\", "\"a\\\"\\\\\""),
            ("a\r\nb", "{4}\r\na\r\nb"),
            ("é", "{2}\r\né"),
        ] {
            assert_eq!(written(|wire| wire.put_astring(text.as_bytes())), expected);
        }
    }

    #[test]
    fn flags_and_numbers() {
        assert_eq!(written(|wire| wire.put_flags(&FlagSet::new())), "()");
        let flags = "\\Seen $Junk".parse().unwrap();
        assert_eq!(written(|wire| wire.put_flags_and(&flags, Some("\\Recent"))), "(\\Seen $Junk \\Recent)");
        assert_eq!(written(|wire| wire.put_flags_and(&FlagSet::new(), Some("\\*"))), "(\\*)");
        for flags in
            ["()", "(\\Draft)", "(\\Seen \\Answered \\Flagged \\Deleted \\Draft)", "(\\Seen $A $B)", "($A)"]
        {
            assert_eq!(written(|wire| wire.put_flags(&flags.parse().unwrap())), flags);
        }
        for number in [0, 9, 10, 4_294_967_296, u64::MAX] {
            assert_eq!(written(|wire| wire.put_number(number)), number.to_string());
        }
    }

    #[test]
    fn small_literals_are_not_waited_for_with_literal_minus() {
        for (mode, length, parts) in [
            (LiteralMode::Synchronizing, 1, 2),
            (LiteralMode::Minus, 4096, 1),
            (LiteralMode::Minus, 4097, 2),
            (LiteralMode::Plus, 1 << 20, 1),
        ] {
            let mut writer = CommandWriter::new(mode);
            writer.put_literal(&vec![b'x'; length]);
            assert_eq!(writer.into_parts().count(), parts, "{mode:?} {length}");
        }
    }

    proptest! {
        #[test]
        fn strings_are_read_as_they_were_written(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut octets = Vec::new();
            octets.put_astring(&text);
            octets.put_nstring(Some(&text));
            octets.put_nstring(None);
            let mut input = Input::new(&octets);
            prop_assert_eq!(&*input.astring().unwrap(), &text[..]);
            prop_assert_eq!(input.nstring().unwrap().unwrap().into_owned(), text.clone());
            prop_assert_eq!(input.nstring().unwrap(), None);
            input.end().unwrap();
        }
    }
}
