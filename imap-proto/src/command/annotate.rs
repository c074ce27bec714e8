//! ANNOTATE (RFC 5257): annotations of messages in FETCH, STORE and APPEND.

use bytes::Bytes;
use mailwright_line_proto::Request;
use mailwright_mail_model::{AnnotationEntry, AnnotationPattern, AnnotationScope, ModSeq, UidSet};

use crate::{
    MessageSet,
    grammar::{GrammarError, Input, Wire},
    refusal::Answered,
};

/// How many entries, attributes or values one command may name.
const MOST: usize = 256;

/// What of annotations FETCH asks for (RFC 5257 §4.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FetchAnnotations {
    /// Which entries.
    pub entries: Vec<AnnotationPattern>,
    /// What of each.
    pub attributes: Vec<AnnotationAttribute>,
}

/// An attribute of an entry (RFC 5257 §3.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AnnotationAttribute {
    /// Whether it is the size of the value, and not the value.
    pub is_size: bool,
    /// Whose value; both if `None`.
    pub scope: Option<AnnotationScope>,
}

impl AnnotationAttribute {
    /// The value, whosever it is.
    pub const VALUE: Self = Self { is_size: false, scope: None };
    /// The size of the value.
    pub const SIZE: Self = Self { is_size: true, scope: None };

    /// The same, of this scope only.
    #[must_use]
    pub const fn of(self, scope: AnnotationScope) -> Self {
        Self { scope: Some(scope), ..self }
    }

    /// The names of these are case-sensitive (RFC 5257 §3.2), and there are no others.
    fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        let here = input.clone();
        let name = input.astring()?;
        let known = [Self::VALUE, Self::SIZE].into_iter().find_map(|plain| {
            let rest = name.strip_prefix(plain.name().as_bytes())?;
            if rest.is_empty() {
                return Some(plain);
            }
            let scope = AnnotationScope::ALL.into_iter().find(|scope| scope.suffix().as_bytes() == rest);
            scope.map(|scope| plain.of(scope))
        });
        known.ok_or_else(|| here.expected("an attribute such as value, value.priv or size.shared"))
    }

    const fn name(self) -> &'static str {
        if self.is_size { "size" } else { "value" }
    }

    /// Writes its name.
    pub(crate) fn encode(self, wire: &mut impl Wire) {
        wire.put(self.name().as_bytes());
        wire.put(self.scope.map_or("", AnnotationScope::suffix).as_bytes());
    }
}

impl FetchAnnotations {
    /// These attributes of these entries.
    pub const fn new(entries: Vec<AnnotationPattern>, attributes: Vec<AnnotationAttribute>) -> Self {
        Self { entries, attributes }
    }

    /// Behind `ANNOTATION`.
    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        input.octet(b'(', "entries and attributes in parentheses")?;
        let entries = one_or_more(input, "entries", pattern)?;
        input.space()?;
        let attributes = one_or_more(input, "attributes", AnnotationAttribute::parse)?;
        input.octet(b')', "a closing parenthesis")?;
        Ok(Self { entries, attributes })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"ANNOTATION (");
        match self.entries.as_slice() {
            [only] => put_pattern(only, wire),
            several => wire.put_list(several, |wire, entry| put_pattern(entry, wire)),
        }
        wire.put(b" ");
        match self.attributes.as_slice() {
            [only] => only.encode(wire),
            several => wire.put_list(several, |wire, attribute| attribute.encode(wire)),
        }
        wire.put(b")");
    }

    /// The entries that are told of. RFC 5257 §3.2.2: one that is named and not there has no value, and the size 0; a pattern names only
    /// what is there.
    fn entries_of(&self, all: &[AnnotationValue]) -> Vec<AnnotationEntry> {
        let asked = |value: &&AnnotationValue| {
            let mut attributes = self.attributes.iter();
            value.value.is_some()
                && attributes.any(|asked| asked.scope.is_none_or(|scope| scope == value.scope))
        };
        let mut entries: Vec<AnnotationEntry> = Vec::new();
        for pattern in &self.entries {
            let named = match pattern.exact() {
                Some(entry) => vec![entry],
                None => {
                    let there = all.iter().filter(asked).map(|value| &value.entry);
                    there.filter(|entry| pattern.matches(entry)).cloned().collect()
                }
            };
            for entry in named {
                if !entries.contains(&entry) {
                    entries.push(entry);
                }
            }
        }
        entries
    }

    /// Whether anything is told.
    pub(crate) fn tells_of(&self, all: &[AnnotationValue]) -> bool {
        self.entries.iter().any(|pattern| pattern.exact().is_some()) || !self.entries_of(all).is_empty()
    }

    /// Writes what of these annotations is asked for, in its parentheses; nothing, and `false`, if that is of no entry.
    pub(crate) fn encode_of(&self, all: &[AnnotationValue], before: &[u8], wire: &mut impl Wire) -> bool {
        let entries = self.entries_of(all);
        if entries.is_empty() {
            return false;
        }
        wire.put(before);
        wire.put_list(&entries, |wire, entry| {
            wire.put_astring(entry.as_str().as_bytes());
            wire.put(b" ");
            let attributes = self.attributes.iter().copied().flat_map(|attribute| {
                let scopes = AnnotationScope::ALL.into_iter();
                let scopes = scopes.filter(move |scope| attribute.scope.is_none_or(|only| only == *scope));
                scopes.map(move |scope| (attribute.of(scope), scope))
            });
            wire.put_list(attributes, |wire, (attribute, scope)| {
                let found = all.iter().find(|value| value.scope == scope && value.entry == *entry);
                let value = found.and_then(|found| found.value.as_ref());
                attribute.encode(wire);
                wire.put(b" ");
                match attribute.is_size {
                    true => {
                        wire.put(b"\"");
                        wire.put_number(value.map_or(0, |value| value.len() as u64));
                        wire.put(b"\"");
                    }
                    false => put_value(value, wire),
                }
            });
        });
        true
    }
}

/// The value of an annotation: as it is, or as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnnotationValue {
    /// Of which entry.
    pub entry: AnnotationEntry,
    /// Whose.
    pub scope: AnnotationScope,
    /// The value, any octets; `None` if there is none.
    pub value: Option<Bytes>,
}

impl AnnotationValue {
    /// This value.
    pub const fn new(entry: AnnotationEntry, scope: AnnotationScope, value: Option<Bytes>) -> Self {
        Self { entry, scope, value }
    }
}

/// STORE with `ANNOTATION` (RFC 5257 §4.5): sets annotations, and removes those without a value.
///
/// A server's application reports the mod-sequence that each message has then with `Server::fetch_mod_seq`, and answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Annotate<M = MessageSet> {
    /// Of which messages.
    pub messages: M,
    /// The values.
    pub values: Vec<AnnotationValue>,
    /// As in [`Store`](super::Store).
    pub unchanged_since: Option<Option<ModSeq>>,
}

impl<M> Annotate<M> {
    /// Sets these values.
    pub const fn new(messages: M, values: Vec<AnnotationValue>) -> Self {
        Self { messages, values, unchanged_since: None }
    }
}

impl Annotate {
    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(if self.messages.is_uid() { b"UID STORE " } else { b"STORE " });
        self.messages.set().encode(wire);
        if let Some(mod_seq) = self.unchanged_since {
            wire.put(b" (UNCHANGEDSINCE ");
            wire.put_number(mod_seq.map_or(0, ModSeq::get));
            wire.put(b")");
        }
        wire.put(b" ");
        put_values(&self.values, wire);
    }
}

impl Request for Annotate<UidSet> {
    /// The messages left alone because they had changed.
    type Answer = Answered<UidSet>;
}

/// `att-annotate` behind `ANNOTATION` (RFC 5257 §5). STORE and APPEND say whose value it is (§3.2.2), and set no sizes.
pub(super) fn values(input: &mut Input<'_>) -> Result<Vec<AnnotationValue>, GrammarError> {
    input.space()?;
    let here = input.clone();
    let mut values = Vec::new();
    input.octet(b'(', "entries in parentheses")?;
    loop {
        let entry = entry(input)?;
        input.space()?;
        let attributes = input.clone();
        let set = input.list("values", MOST, |input| {
            let here = input.clone();
            let attribute = AnnotationAttribute::parse(input)?;
            let scope = attribute.scope.filter(|_| !attribute.is_size);
            let scope = scope.ok_or_else(|| here.expected("value.priv or value.shared"))?;
            input.space()?;
            Ok(AnnotationValue::new(entry.clone(), scope, value(input)?))
        })?;
        if set.is_empty() {
            return Err(attributes.expected("at least one attribute"));
        }
        values.extend(set);
        if values.len() > MOST {
            return Err(GrammarError::TooMany { what: "values", limit: MOST });
        }
        if input.eat(b')') {
            return if values.is_empty() { Err(here.expected("at least one entry")) } else { Ok(values) };
        }
        input.space()?;
    }
}

/// Writes `att-annotate`; values of the same entry that follow each other stand together.
pub(super) fn put_values(values: &[AnnotationValue], wire: &mut impl Wire) {
    wire.put(b"ANNOTATION ");
    wire.put_list(values.chunk_by(|one, other| one.entry == other.entry), |wire, values| {
        let name = values.first().map_or("", |value| value.entry.as_str());
        wire.put_astring(name.as_bytes());
        wire.put(b" ");
        wire.put_list(values, |wire, value| {
            AnnotationAttribute::VALUE.of(value.scope).encode(wire);
            wire.put(b" ");
            put_value(value.value.as_ref(), wire);
        });
    });
}

fn one_or_more<T>(
    input: &mut Input<'_>,
    what: &'static str,
    mut item: impl FnMut(&mut Input<'_>) -> Result<T, GrammarError>,
) -> Result<Vec<T>, GrammarError> {
    if input.peek() != Some(b'(') {
        return item(input).map(|item| vec![item]);
    }
    let here = input.clone();
    let items = input.list(what, MOST, item)?;
    if items.is_empty() { Err(here.expected("at least one name")) } else { Ok(items) }
}

/// The name of an entry (RFC 5257 §3.2).
pub(super) fn entry(input: &mut Input<'_>) -> Result<AnnotationEntry, GrammarError> {
    let here = input.clone();
    let text = input.text()?;
    text.parse().map_err(|_| here.expected("the name of an entry such as /comment"))
}

/// The name of an entry, perhaps with wildcards.
pub(super) fn pattern(input: &mut Input<'_>) -> Result<AnnotationPattern, GrammarError> {
    let here = input.clone();
    let wrong = || here.expected("the name of an entry such as /comment, or a pattern of names");
    let text = input.list_mailbox()?;
    str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)
}

/// Writes a pattern, an atom if it can be one (RFC 3501 §9 `list-mailbox`).
pub(super) fn put_pattern(pattern: &AnnotationPattern, wire: &mut impl Wire) {
    let text = pattern.as_str().as_bytes();
    match text.iter().all(|octet| crate::grammar::is_astring_char(*octet) || matches!(octet, b'*' | b'%')) {
        true => wire.put(text),
        false => wire.put_string(text),
    }
}

/// `nstring / literal8`.
fn value(input: &mut Input<'_>) -> Result<Option<Bytes>, GrammarError> {
    let value = match input.eat(b'~') {
        true => Some(input.string()?),
        false => input.nstring()?,
    };
    Ok(value.map(|value| Bytes::from(value.into_owned())))
}

fn put_value(value: Option<&Bytes>, wire: &mut impl Wire) {
    if let Some(value) = value.filter(|value| memchr::memchr(0, value).is_some()) {
        // RFC 4466 §6: NUL stands in a literal8 only.
        wire.put(b"~");
        return wire.put_literal(value);
    }
    wire.put_nstring(value.map(|value| &value[..]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        command::{Command, SearchContext},
        grammar::{CommandWriter, LiteralMode},
    };

    #[test]
    fn commands_are_read_as_they_were_written() {
        for text in [
            "FETCH 1 (ANNOTATION (/comment value))",
            "UID FETCH 1123 (UID ANNOTATION (/* (value.priv size.priv)))",
            "FETCH 1 (ANNOTATION ((/comment /1.2/altsubject) value.priv))",
            "FETCH 1 (ANNOTATION (\"/vendor/a b*\" (value size)))",
            "STORE 1 ANNOTATION (/comment (value.priv \"My new comment\"))",
            "STORE 1 ANNOTATION (/comment (value.shared NIL))",
            "UID STORE 1 (UNCHANGEDSINCE 7) ANNOTATION (/comment (value.priv \"a\" value.shared NIL) /altsubject (value.priv \"b\"))",
            "STORE 1 ANNOTATION (/vendor/x (value.priv ~{3+}\r\na\0b))",
        ] {
            let read = Command::parse(&mut Input::new(text.as_bytes()), SearchContext::default());
            let read = read.unwrap_or_else(|error| panic!("{text}: {error}"));
            let mut writer = CommandWriter::new(LiteralMode::Plus);
            read.encode(&mut writer);
            assert_eq!(String::from_utf8_lossy(writer.as_slice()), text);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [
            "FETCH 1 ANNOTATION",
            "FETCH 1 ANNOTATION (/comment)",
            "FETCH 1 ANNOTATION (comment value)",
            "FETCH 1 ANNOTATION (/comment/ value)",
            "FETCH 1 ANNOTATION (/comment//a value)",
            "FETCH 1 ANNOTATION (/0/comment value)",
            "FETCH 1 ANNOTATION (/comment values)",
            "FETCH 1 ANNOTATION (/comment Value)",
            "FETCH 1 ANNOTATION (/comment value.all)",
            "FETCH 1 ANNOTATION (() value)",
            "FETCH 1 ANNOTATION (/comment ())",
            "STORE 1 ANNOTATION (/comment (value \"x\"))",
            "STORE 1 ANNOTATION (/comment (size.priv \"x\"))",
            "STORE 1 ANNOTATION (/comment ())",
            "STORE 1 ANNOTATION ()",
            "STORE 1 ANNOTATION (/% (value.priv \"x\"))",
            "STORE 1 +ANNOTATION (/comment (value.priv \"x\"))",
            "STORE 1 ANNOTATION (/comment (value.priv \"x\")) FLAGS ()",
        ] {
            let read = Command::parse(&mut Input::new(bad.as_bytes()), SearchContext::default());
            assert!(read.is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_asked_for_is_told() {
        let value = |entry: &str, scope, value: &'static str| {
            AnnotationValue::new(entry.parse().unwrap(), scope, Some(Bytes::from_static(value.as_bytes())))
        };
        let all = [
            value("/altsubject", AnnotationScope::Shared, "x\0"),
            value("/comment", AnnotationScope::Private, "My comment"),
            AnnotationValue::new("/vendor/x".parse().unwrap(), AnnotationScope::Shared, None),
        ];
        for (asked, told) in [
            ("(/comment value)", "(/comment (value.priv \"My comment\" value.shared NIL))"),
            ("(/comment size)", "(/comment (size.priv \"10\" size.shared \"0\"))"),
            ("(/none value.priv)", "(/none (value.priv NIL))"),
            ("(* value.shared)", "(/altsubject (value.shared ~{2}\r\nx\0))"),
            ("((/% /comment) size.priv)", "(/comment (size.priv \"10\"))"),
            ("(/vendor/* value)", ""),
        ] {
            let asked = format!(" {asked}");
            let asked = FetchAnnotations::parse(&mut Input::new(asked.as_bytes())).unwrap();
            let mut wire = Vec::new();
            assert_eq!(asked.encode_of(&all, b"", &mut wire), !told.is_empty());
            assert_eq!(String::from_utf8(wire).unwrap(), told);
        }
    }
}
