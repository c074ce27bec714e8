//! SORT (RFC 5256 §3, RFC 5957, RFC 6203 §6), and how its results are told (RFC 5267 §3).

use mailwright_mail_model::{
    AnnotationEntry, AnnotationScope,
    query::Query,
    sort::{SortCriterion, SortKey},
};

use super::{
    FetchItem, SearchContext, SearchReturn,
    annotate::entry,
    search::{charset_name, keys_in, put_program},
};
use crate::grammar::{GrammarError, Input, Wire};

/// The most criteria of one command: more than there are keys.
const MOST: usize = 32;

/// Finds messages and puts them in order.
///
/// As in [`Search`](super::Search), sequence numbers are turned into UIDs when the command is read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sort {
    /// What counts first, what counts then, and so on; at least one.
    pub criteria: Vec<SortCriterion>,
    /// The annotations that [`SortKey::Annotation`] stands for, by their places (RFC 5257 §4.9).
    pub annotations: Vec<(AnnotationEntry, AnnotationScope)>,
    /// What to search for.
    pub query: Query,
    /// `UID SORT`: whether the answer is UIDs rather than sequence numbers.
    pub by_uid: bool,
    /// How to tell what was found.
    pub returns: Option<SearchReturn>,
    /// What a server with NOTIFY sends of each message that comes to results which are kept up to date (RFC 5465 §7).
    pub sent: Vec<FetchItem>,
}

/// The keys as they are written.
const KEYS: [(&str, SortKey); 10] = [
    ("ARRIVAL", SortKey::Arrival),
    ("CC", SortKey::Cc),
    ("DATE", SortKey::Date),
    ("FROM", SortKey::From),
    ("SIZE", SortKey::Size),
    ("SUBJECT", SortKey::Subject),
    ("TO", SortKey::To),
    ("DISPLAYFROM", SortKey::DisplayFrom),
    ("DISPLAYTO", SortKey::DisplayTo),
    ("RELEVANCY", SortKey::Relevancy),
];

impl Sort {
    /// Sorts what is searched for by these criteria, to be answered with UIDs.
    pub fn new(criteria: Vec<SortCriterion>, query: Query) -> Self {
        Self { criteria, annotations: Vec::new(), query, by_uid: true, returns: None, sent: Vec::new() }
    }

    pub(super) fn parse(
        input: &mut Input<'_>,
        by_uid: bool,
        context: SearchContext<'_>,
    ) -> Result<Self, GrammarError> {
        input.space()?;
        let (returns, sent) = SearchReturn::parse(input)?;
        let (mut criteria, mut annotations) = (Vec::new(), Vec::new());
        let here = input.clone();
        input.list("sort criteria", MOST, |input| {
            let reverse = input.keyword("REVERSE");
            if reverse {
                input.space()?;
            }
            if input.keyword("ANNOTATION") {
                // No more of these than criteria, of which there are few.
                let place = u8::try_from(annotations.len()).unwrap_or(u8::MAX);
                annotations.push(annotation(input)?);
                criteria.push(SortCriterion { key: SortKey::Annotation(place), reverse });
                return Ok(());
            }
            let key = KEYS.iter().find(|(word, _)| input.keyword(word)).map(|(_, key)| *key);
            let key = key.ok_or_else(|| input.expected("a sort key"))?;
            criteria.push(SortCriterion { key, reverse });
            Ok(())
        })?;
        if criteria.is_empty() {
            return Err(here.expected("at least one sort key"));
        }
        input.space()?;
        let charset = charset_name(input)?;
        input.space()?;
        let query = keys_in(charset.as_deref(), input, context)?;
        Ok(Self { criteria, annotations, query, by_uid, returns, sent })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(if self.by_uid { b"UID SORT " } else { b"SORT " });
        if let Some(returns) = &self.returns {
            returns.encode(&self.sent, wire);
        }
        wire.put_list(&self.criteria, |wire, criterion| {
            if criterion.reverse {
                wire.put(b"REVERSE ");
            }
            if let SortKey::Annotation(place) = criterion.key
                && let Some((entry, scope)) = self.annotations.get(usize::from(place))
            {
                wire.put(b"ANNOTATION ");
                wire.put_astring(entry.as_str().as_bytes());
                wire.put(b" value");
                return wire.put(scope.suffix().as_bytes());
            }
            let word = KEYS.iter().find(|(_, key)| *key == criterion.key).map_or("ARRIVAL", |(word, _)| word);
            wire.put(word.as_bytes());
        });
        wire.put(b" UTF-8 ");
        put_program(&self.query, wire);
    }
}

/// RFC 5257 §4.9: one entry, without wildcards, and whose value.
fn annotation(input: &mut Input<'_>) -> Result<(AnnotationEntry, AnnotationScope), GrammarError> {
    input.space()?;
    let entry = entry(input)?;
    input.space()?;
    let here = input.clone();
    let name = input.astring()?;
    let rest = name.strip_prefix(b"value");
    let scope = AnnotationScope::ALL.into_iter().find(|scope| rest == Some(scope.suffix().as_bytes()));
    scope.map(|scope| (entry, scope)).ok_or_else(|| here.expected("value.priv or value.shared"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        command::Command,
        grammar::{CommandWriter, LiteralMode},
    };

    #[test]
    fn commands_are_read_as_they_were_written() {
        for text in [
            "UID SORT (SUBJECT) UTF-8 ALL",
            "SORT (REVERSE DATE SUBJECT CC DISPLAYFROM REVERSE DISPLAYTO) UTF-8 SUBJECT tea",
            "SORT RETURN (ALL RELEVANCY) (RELEVANCY) UTF-8 FUZZY SUBJECT Helo",
            "SORT (ANNOTATION /altsubject value.shared) UTF-8 ALL",
            "SORT (SIZE REVERSE ANNOTATION /1/comment value.priv ANNOTATION /comment value.shared) UTF-8 ALL",
            "UID SORT RETURN (COUNT PARTIAL 1:10) (REVERSE ARRIVAL SIZE FROM TO) UTF-8 SEEN",
        ] {
            let read = Command::parse(&mut Input::new(text.as_bytes()), SearchContext::default()).unwrap();
            let mut writer = CommandWriter::new(LiteralMode::Plus);
            read.encode(&mut writer);
            assert_eq!(String::from_utf8_lossy(writer.as_slice()), text);
        }
        for bad in [
            "SORT () UTF-8 ALL",
            "SORT (REVERSE) UTF-8 ALL",
            "SORT (REVERSE REVERSE DATE) UTF-8 ALL",
            "SORT (SUBJECT) ALL",
            "SORT (SUBJECT) UTF-8",
            "SORT (DATE)UTF-8 ALL",
            "SORT DATE UTF-8 ALL",
            "SORT (AGE) UTF-8 ALL",
            "SORT (ANNOTATION /% value.shared) UTF-8 ALL",
            "SORT (ANNOTATION /comment value) UTF-8 ALL",
            "SORT (ANNOTATION /comment size.priv) UTF-8 ALL",
        ] {
            let read = Command::parse(&mut Input::new(bad.as_bytes()), SearchContext::default());
            assert!(read.is_err(), "{bad}");
        }
    }
}
