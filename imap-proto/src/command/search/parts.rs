//! MIMEPART: conditions on one part of a message, read and written (draft-bosch-imap-search-mimepart). The text was not at hand; what
//! the words mean is what Dovecot 2.3 makes of them.

use mailwright_mail_model::{
    Date,
    query::{AddressField, Compare, FileNameMatch, PartKey, PartNode, PartQuery, Query},
};

use super::{
    reader::{Reader, date, number, too_many},
    writer::put_or,
};
use crate::grammar::{GrammarError, Input, Wire};

type TextKey = fn(Box<str>) -> PartKey;
type PairKey = fn(Box<str>, Box<str>) -> PartKey;
type DateKey = fn(Date) -> PartKey;

/// The keys with one text. The first word of two that mean the same is the one that is written.
static TEXTS: [(&str, TextKey); 20] = [
    ("TYPE", PartKey::Type),
    ("SUBTYPE", PartKey::Subtype),
    ("ENCODING", PartKey::Encoding),
    ("ID", PartKey::Id),
    ("CID", PartKey::Id),
    ("DESCRIPTION", PartKey::Description),
    ("LANGUAGE", PartKey::Language),
    ("LOCATION", PartKey::Location),
    ("MD5", PartKey::Md5),
    ("FROM", |text| PartKey::Address(AddressField::From, text)),
    ("SENDER", |text| PartKey::Address(AddressField::Sender, text)),
    ("REPLY-TO", |text| PartKey::Address(AddressField::ReplyTo, text)),
    ("TO", |text| PartKey::Address(AddressField::To, text)),
    ("CC", |text| PartKey::Address(AddressField::Cc, text)),
    ("BCC", |text| PartKey::Address(AddressField::Bcc, text)),
    ("SUBJECT", PartKey::Subject),
    ("MESSAGE-ID", PartKey::MessageId),
    ("IN-REPLY-TO", PartKey::InReplyTo),
    ("BODY", PartKey::Body),
    ("TEXT", PartKey::Text),
];

/// Those with a name and a text.
static PAIRS: [(&str, PairKey); 3] =
    [("PARAM", PartKey::Parameter), ("HEADER", PartKey::Header), ("FIELD", PartKey::Header)];

static DATES: [(&str, DateKey); 3] =
    [("SENTBEFORE", PartKey::SentBefore), ("SENTON", PartKey::SentOn), ("SENTSINCE", PartKey::SentSince)];

static FILE_NAMES: [(&str, FileNameMatch); 4] = [
    ("IS", FileNameMatch::Is),
    ("CONTAINS", FileNameMatch::Contains),
    ("BEGINS", FileNameMatch::Begins),
    ("ENDS", FileNameMatch::Ends),
];

impl Reader<'_> {
    /// One key, behind MIMEPART or within it. It calls itself no deeper than a query may be.
    pub(super) fn part(&mut self, input: &mut Input<'_>, depth: usize) -> Result<PartQuery, GrammarError> {
        self.count(depth)?;
        if input.eat(b'(') {
            let mut queries = vec![self.part(input, depth + 1)?];
            while input.eat(b' ') {
                queries.push(self.part(input, depth + 1)?);
            }
            input.octet(b')', "a closing parenthesis")?;
            return PartQuery::and(queries).map_err(too_many);
        }
        if input.keyword("NOT") {
            input.space()?;
            return PartQuery::not(self.part(input, depth + 1)?).map_err(too_many);
        }
        if input.keyword("OR") {
            input.space()?;
            let one = self.part(input, depth + 1)?;
            input.space()?;
            let other = self.part(input, depth + 1)?;
            return PartQuery::or(vec![one, other]).map_err(too_many);
        }
        if input.keyword("PARENT") {
            return PartQuery::parent(self.relative(input, depth)?).map_err(too_many);
        }
        if input.keyword("CHILD") {
            return PartQuery::child(self.relative(input, depth)?).map_err(too_many);
        }
        self.part_key(input).map(PartQuery::from)
    }

    /// What the part above or one below has to answer: nothing but to be there, or keys.
    fn relative(&mut self, input: &mut Input<'_>, depth: usize) -> Result<Option<PartQuery>, GrammarError> {
        input.space()?;
        if input.keyword("EXISTS") { Ok(None) } else { self.part(input, depth + 1).map(Some) }
    }

    fn part_key(&self, input: &mut Input<'_>) -> Result<PartKey, GrammarError> {
        if let Some((_, key)) = TEXTS.iter().find(|(word, _)| input.keyword(word)) {
            return self.string(input).map(key);
        }
        if let Some((_, key)) = PAIRS.iter().find(|(word, _)| input.keyword(word)) {
            let name = self.string(input)?;
            return Ok(key(name, self.string(input)?));
        }
        if let Some((_, key)) = DATES.iter().find(|(word, _)| input.keyword(word)) {
            return date(input).map(key);
        }
        if input.keyword("DISPOSITION") {
            input.space()?;
            if input.keyword("TYPE") {
                return self.string(input).map(PartKey::Disposition);
            }
            if input.keyword("PARAM") {
                let name = self.string(input)?;
                return Ok(PartKey::DispositionParameter(name, self.string(input)?));
            }
            return Err(input.expected("TYPE or PARAM"));
        }
        if input.keyword("FILENAME") {
            input.space()?;
            let how = FILE_NAMES.iter().find(|(word, _)| input.keyword(word)).map(|(_, how)| *how);
            let how = how.ok_or_else(|| input.expected("IS, CONTAINS, BEGINS or ENDS"))?;
            return Ok(PartKey::FileName(how, self.string(input)?));
        }
        if input.keyword("SIZE") {
            let words: [Comparison<'_, u64>; 2] =
                [("LARGER", Compare::Larger), ("SMALLER", Compare::Smaller)];
            return compared(input, &words, number).map(PartKey::Size);
        }
        if input.keyword("DEPTH") {
            let words: [Comparison<'_, u32>; 2] = [("MIN", Compare::AtLeast), ("MAX", Compare::AtMost)];
            return compared(input, &words, small).map(PartKey::Depth);
        }
        if input.keyword("INDEX") {
            return small(input).map(PartKey::Index);
        }
        Err(input.expected("a search key of a part"))
    }
}

fn small(input: &mut Input<'_>) -> Result<u32, GrammarError> {
    input.space()?;
    input.number()
}

/// A word, and how a number behind it is compared.
type Comparison<'a, N> = (&'a str, fn(N) -> Compare<N>);

/// A number, and before it a word that says how it is compared.
fn compared<N>(
    input: &mut Input<'_>,
    words: &[Comparison<'_, N>],
    number: fn(&mut Input<'_>) -> Result<N, GrammarError>,
) -> Result<Compare<N>, GrammarError> {
    let mut ahead = input.clone();
    ahead.space()?;
    match words.iter().find(|(word, _)| ahead.keyword(word)) {
        Some((_, compare)) => {
            *input = ahead;
            number(input).map(compare)
        }
        None => number(input).map(Compare::Equal),
    }
}

/// Whether all of its texts are ASCII. As deep as the tree is, which is bounded.
pub(super) fn is_ascii(query: &PartQuery) -> bool {
    match query.node() {
        PartNode::Key(key) => {
            let mut wire = Vec::new();
            put_key(key, &mut wire);
            wire.is_ascii()
        }
        PartNode::Not(query) | PartNode::Parent(Some(query)) | PartNode::Child(Some(query)) => {
            is_ascii(query)
        }
        PartNode::And(queries) | PartNode::Or(queries) => queries.iter().all(is_ascii),
        _ => true,
    }
}

/// Writes a tree as one key. As deep as the tree is, which is bounded.
pub(super) fn put(query: &PartQuery, wire: &mut impl Wire) {
    match query.node() {
        PartNode::Key(key) => put_key(key, wire),
        PartNode::Not(query) => {
            wire.put(b"NOT ");
            put(query, wire);
        }
        PartNode::And(queries) => {
            wire.put(b"(");
            for (index, query) in queries.iter().enumerate() {
                if index > 0 {
                    wire.put(b" ");
                }
                put(query, wire);
            }
            wire.put(b")");
        }
        PartNode::Or(queries) => put_or(queries, wire, &|query, wire| put(query, wire)),
        PartNode::Parent(query) => put_relative(b"PARENT ", query.as_deref(), wire),
        PartNode::Child(query) => put_relative(b"CHILD ", query.as_deref(), wire),
        // A kind of node that is newer than this file cannot be put into words.
        _ => wire.put(b"DEPTH MIN 0"),
    }
}

fn put_relative(word: &[u8], query: Option<&PartQuery>, wire: &mut impl Wire) {
    wire.put(word);
    match query {
        Some(query) => put(query, wire),
        None => wire.put(b"EXISTS"),
    }
}

fn put_key(key: &PartKey, wire: &mut impl Wire) {
    let mut words = |words: &str, texts: &[&str]| {
        wire.put(words.as_bytes());
        for text in texts {
            wire.put(b" ");
            wire.put_astring(text.as_bytes());
        }
    };
    match key {
        PartKey::Type(text) => words("TYPE", &[text]),
        PartKey::Subtype(text) => words("SUBTYPE", &[text]),
        PartKey::Parameter(name, text) => words("PARAM", &[name, text]),
        PartKey::Disposition(text) => words("DISPOSITION TYPE", &[text]),
        PartKey::DispositionParameter(name, text) => words("DISPOSITION PARAM", &[name, text]),
        PartKey::Encoding(text) => words("ENCODING", &[text]),
        PartKey::Id(text) => words("ID", &[text]),
        PartKey::Description(text) => words("DESCRIPTION", &[text]),
        PartKey::Language(text) => words("LANGUAGE", &[text]),
        PartKey::Location(text) => words("LOCATION", &[text]),
        PartKey::Md5(text) => words("MD5", &[text]),
        PartKey::FileName(how, text) => {
            let word = FILE_NAMES.iter().find(|(_, known)| known == how).map_or("IS", |(word, _)| word);
            words(&format!("FILENAME {word}"), &[text]);
        }
        PartKey::Size(size) => words(&format!("SIZE {}", comparison(*size)), &[]),
        PartKey::Depth(depth) => words(&format!("DEPTH {}", comparison(*depth)), &[]),
        PartKey::Index(index) => words(&format!("INDEX {index}"), &[]),
        PartKey::Address(field, text) => {
            let word = match field {
                AddressField::From => "FROM",
                AddressField::Sender => "SENDER",
                AddressField::ReplyTo => "REPLY-TO",
                AddressField::To => "TO",
                AddressField::Cc => "CC",
                AddressField::Bcc => "BCC",
            };
            words(word, &[text]);
        }
        PartKey::Subject(text) => words("SUBJECT", &[text]),
        PartKey::MessageId(text) => words("MESSAGE-ID", &[text]),
        PartKey::InReplyTo(text) => words("IN-REPLY-TO", &[text]),
        PartKey::SentBefore(date) => words(&format!("SENTBEFORE {date}"), &[]),
        PartKey::SentOn(date) => words(&format!("SENTON {date}"), &[]),
        PartKey::SentSince(date) => words(&format!("SENTSINCE {date}"), &[]),
        PartKey::Header(name, text) => words("HEADER", &[name, text]),
        PartKey::Body(text) => words("BODY", &[text]),
        PartKey::Text(text) => words("TEXT", &[text]),
        _ => words("DEPTH MIN 0", &[]),
    }
}

fn comparison<N: std::fmt::Display>(compare: Compare<N>) -> String {
    match compare {
        Compare::Larger(number) => format!("LARGER {number}"),
        Compare::Smaller(number) => format!("SMALLER {number}"),
        Compare::AtLeast(number) => format!("MIN {number}"),
        Compare::AtMost(number) => format!("MAX {number}"),
        Compare::Equal(number) => number.to_string(),
        _ => String::new(),
    }
}

impl Reader<'_> {
    /// One key more, so deep.
    pub(super) fn count(&mut self, depth: usize) -> Result<(), GrammarError> {
        if depth >= Query::MAX_DEPTH {
            return Err(GrammarError::TooMany { what: "levels of search keys", limit: Query::MAX_DEPTH });
        }
        self.keys += 1;
        if self.keys > 2 * Query::MAX_KEYS {
            // ANDs and the like are counted here too; the exact bound is the query's.
            return Err(GrammarError::TooMany { what: "search keys", limit: Query::MAX_KEYS });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::query::{Key, Node};

    use super::super::{is_ascii, put_program};
    use crate::{
        command::{Search, SearchContext},
        grammar::{GrammarError, Input},
    };

    fn parse(text: &str) -> Result<Search, GrammarError> {
        let mut input = Input::new(text.as_bytes());
        let search = Search::parse(&mut input, true, SearchContext::default())?;
        input.end().map(|()| search)
    }

    #[test]
    fn keys_are_written_as_they_are_read() {
        for text in [
            "MIMEPART TYPE text",
            "MIMEPART (TYPE image SUBTYPE png PARAM name x)",
            "MIMEPART NOT DISPOSITION TYPE inline",
            "MIMEPART OR DISPOSITION PARAM filename x ENCODING base64",
            "MIMEPART (ID <a@b> DESCRIPTION x LANGUAGE de LOCATION http://a/b MD5 abc==)",
            "MIMEPART FILENAME CONTAINS \"a b\"",
            "MIMEPART OR FILENAME IS a OR FILENAME BEGINS b FILENAME ENDS c",
            "MIMEPART (SIZE 5 SIZE LARGER 6 SIZE SMALLER 18446744073709)",
            "MIMEPART (DEPTH 0 DEPTH MIN 1 DEPTH MAX 2 INDEX 3)",
            "MIMEPART (PARENT EXISTS CHILD EXISTS PARENT (TYPE multipart SUBTYPE mixed) CHILD TYPE text)",
            "MIMEPART (FROM a SENDER b REPLY-TO c TO d CC e BCC f SUBJECT g MESSAGE-ID h IN-REPLY-TO i)",
            "MIMEPART (SENTBEFORE 1-Feb-1994 SENTON 2-Feb-1994 SENTSINCE 3-Feb-1994)",
            "MIMEPART (HEADER X-A b BODY c TEXT \"\")",
            "NOT MIMEPART TYPE application SEEN",
        ] {
            let search = parse(&format!(" {text}")).unwrap();
            let mut wire = Vec::new();
            put_program(&search.query, &mut wire);
            assert_eq!(String::from_utf8(wire).unwrap(), text);
            assert!(is_ascii(&search.query));
        }
        // Other words for the same.
        let query = |text: &str| parse(text).unwrap().query;
        assert_eq!(query(" MIMEPART CID <a>"), query(" MIMEPART (ID <a>)"));
        assert_eq!(query(" MIMEPART FIELD X-A b"), query(" MIMEPART HEADER X-A b"));
        let umlaut = parse(" CHARSET UTF-8 MIMEPART FILENAME IS {5}\r\nM\u{fc}ll").unwrap();
        assert!(!is_ascii(&umlaut.query) && matches!(umlaut.query.node(), Node::Key(Key::Part(_))));
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [
            "MIMEPART",
            "MIMEPART ()",
            "MIMEPART (",
            "MIMEPART (TYPE text",
            "MIMEPART ALL",
            "MIMEPART SEEN",
            "MIMEPART FILENAME x",
            "MIMEPART DISPOSITION x",
            "MIMEPART SIZE MIN 5",
            "MIMEPART INDEX MIN 5",
            "MIMEPART PARENT",
            "MIMEPART HEADER x",
            "MIMEPART SENTON x",
            "MIMEPART EXISTS",
        ] {
            assert!(matches!(parse(&format!(" {bad}")), Err(GrammarError::Syntax { .. })), "{bad}");
        }
        for deep in [
            format!(" MIMEPART {}TYPE x", "NOT ".repeat(40)),
            format!(" MIMEPART {}", "PARENT ".repeat(5000)),
        ] {
            assert!(matches!(parse(&deep), Err(GrammarError::TooMany { .. })));
        }
        let many = vec!["DEPTH 1"; 1001].join(" ");
        assert!(matches!(parse(&format!(" MIMEPART ({many})")), Err(GrammarError::TooMany { .. })));
    }
}
