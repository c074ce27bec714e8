//! Reading what servers really send: [`Input`] with the tolerance of a client.

use std::borrow::Cow;

use super::Leniency;
use crate::grammar::{FEW_ITEMS, GrammarError, Input, quoted_leniently};

/// What a response could not be read as.
pub(crate) type Result<T> = std::result::Result<T, GrammarError>;

/// A cursor over one complete response, literals in place.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    pub(crate) input: Input<'a>,
    pub(crate) leniency: Leniency,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(octets: &'a [u8], leniency: Leniency) -> Self {
        Self { input: Input::new(octets), leniency }
    }

    pub(crate) fn expected(&self, expected: &'static str) -> GrammarError {
        self.input.expected(expected)
    }

    pub(crate) fn keyword(&mut self, word: &str) -> bool {
        self.input.keyword(word)
    }

    pub(crate) fn eat(&mut self, octet: u8) -> bool {
        self.input.eat(octet)
    }

    pub(crate) fn open(&mut self) -> Result<()> {
        self.input.octet(b'(', "an opening parenthesis")?;
        self.padding();
        Ok(())
    }

    /// One space; more of them if that is tolerated.
    pub(crate) fn space(&mut self) -> Result<()> {
        self.input.space()?;
        self.padding();
        Ok(())
    }

    /// Spaces where none belong, if they are tolerated.
    pub(crate) fn padding(&mut self) {
        while self.leniency.spaces && self.eat(b' ') {}
    }

    /// Whether the list that is being read ends here; otherwise what stands before its next item is taken.
    pub(crate) fn closes(&mut self) -> Result<bool> {
        if self.eat(b')') {
            return Ok(true);
        }
        self.space()?;
        Ok(self.leniency.spaces && self.eat(b')'))
    }

    /// The items of a list in parentheses.
    pub(crate) fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.open()?;
        if self.eat(b')') {
            return Ok(Vec::new());
        }
        let mut items = Vec::with_capacity(FEW_ITEMS);
        loop {
            items.push(item(self)?);
            if self.closes()? {
                return Ok(items);
            }
        }
    }

    pub(crate) fn end(&mut self) -> Result<()> {
        self.padding();
        self.input.end()
    }

    pub(crate) fn number(&mut self) -> Result<u32> {
        self.input.number()
    }

    pub(crate) fn number64(&mut self) -> Result<u64> {
        self.input.number64()
    }

    pub(crate) fn atom(&mut self) -> Result<&'a str> {
        self.input.atom()
    }

    pub(crate) fn nil(&mut self) -> bool {
        self.input.nil()
    }

    pub(crate) fn string(&mut self) -> Result<Cow<'a, [u8]>> {
        if let Some(text) = self.input.plain_quoted() {
            return Ok(Cow::Borrowed(text));
        }
        if self.leniency.nil_strings && self.nil() {
            return Ok(Cow::Borrowed(b""));
        }
        if self.leniency.eight_bit_quoted && self.input.peek() == Some(b'"') {
            return self.input.take("a quoted string", quoted_leniently);
        }
        self.input.string()
    }

    pub(crate) fn nstring(&mut self) -> Result<Option<Cow<'a, [u8]>>> {
        if self.nil() { Ok(None) } else { self.string().map(Some) }
    }

    pub(crate) fn astring(&mut self) -> Result<Cow<'a, [u8]>> {
        match self.input.peek() {
            Some(b'"') => self.string(),
            _ => self.input.astring(),
        }
    }

    /// The text of a string, octets that are no UTF-8 replaced.
    pub(crate) fn text(&mut self) -> Result<String> {
        match self.input.plain_quoted() {
            Some(text) => Ok(text_of(text)),
            None => self.string().map(|octets| text_of(&octets)),
        }
    }

    /// The same, or `NIL`.
    pub(crate) fn optional_text(&mut self) -> Result<Option<String>> {
        if self.nil() { Ok(None) } else { self.text().map(Some) }
    }

    /// Everything up to a space or parenthesis: a flag or an attribute, well formed or not.
    pub(crate) fn word(&mut self) -> Result<&'a [u8]> {
        self.input.take("a word", |input: &'a [u8]| {
            let length = input.iter().take_while(|octet| !matches!(octet, b' ' | b'(' | b')' | b'"')).count();
            match input.split_at_checked(length) {
                Some((word, rest)) if length > 0 => Ok((rest, word)),
                _ => Err(nom::Err::Error(())),
            }
        })
    }

    /// Skips one value of any kind, lists with all that is in them. No recursion, whatever the depth.
    pub(crate) fn skip_value(&mut self) -> Result<()> {
        let mut depth = 0_u32;
        loop {
            match self.input.peek() {
                Some(b'(') => {
                    self.eat(b'(');
                    depth += 1;
                }
                Some(b')') if depth > 0 => {
                    self.eat(b')');
                    depth -= 1;
                }
                Some(b' ') if depth > 0 => drop(self.eat(b' ')),
                Some(b'"' | b'{') => drop(self.string()?),
                Some(b'~') if self.input.rest().starts_with(b"~{") => {
                    self.eat(b'~');
                    self.string()?;
                }
                _ => drop(self.word()?),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = self.input.rest();
        self.input = Input::new(b"");
        rest
    }
}

/// Octets as text, those that are no UTF-8 replaced.
pub(super) fn text_of(octets: &[u8]) -> String {
    match str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(octets).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lenient(text: &[u8]) -> Reader<'_> {
        Reader::new(text, Leniency::tolerant())
    }

    fn strict(text: &[u8]) -> Reader<'_> {
        Reader::new(text, Leniency::strict())
    }

    #[test]
    fn tolerance_is_a_matter_of_choice() {
        assert_eq!(&*lenient(b"\"caf\xe9\"").string().unwrap(), b"caf\xe9");
        assert!(strict(b"\"caf\xe9\"").string().is_err());
        assert_eq!(&*lenient(b"NIL").string().unwrap(), b"");
        assert!(strict(b"NIL").string().is_err());
        assert!(lenient(b"   x").space().is_ok());
        assert!(lenient(b"  ").end().is_ok());
        assert!(strict(b"  ").end().is_err());
        assert_eq!(lenient(b"( a  b )").list(|reader| reader.atom()).unwrap(), ["a", "b"]);
        assert!(strict(b"( a b )").list(|reader| reader.atom()).is_err());
    }

    #[test]
    fn any_value_can_be_skipped_without_recursion() {
        for value in ["abc", "\"a)b\"", "{3}\r\na)(", "(a (b \"c)\") {1}\r\n( NIL)", "()", "~{2}\r\n()"] {
            let text = format!("{value} next");
            let mut reader = lenient(text.as_bytes());
            reader.skip_value().unwrap();
            assert_eq!(reader.rest(), b" next", "{value}");
        }
        let deep = [vec![b'('; 1_000_000], vec![b')'; 1_000_000]].concat();
        assert!(lenient(&deep).skip_value().is_ok());
        assert!(lenient(&vec![b'('; 1_000_000]).skip_value().is_err());
    }
}
