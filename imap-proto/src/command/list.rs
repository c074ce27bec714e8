//! LIST (RFC 3501 §6.3.8), with the options of RFC 5258, RFC 5819 and RFC 6154.

use std::borrow::Cow;

use mailwright_mail_model::{MailboxPattern, mailbox::utf7};

use super::StatusItem;
use crate::grammar::{GrammarError, Input, Wire};

/// How many patterns one LIST may have.
const MAX_PATTERNS: usize = 100;

/// Which mailboxes are there?
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct List {
    /// What the pattern is relative to; most often empty. UTF-8.
    pub reference: Cow<'static, str>,
    /// The pattern, with `*` and `%`. UTF-8.
    pub pattern: Cow<'static, str>,
    /// More patterns: whatever matches any of them is meant.
    pub more_patterns: Vec<String>,
    /// Which of those that match; all if `None`.
    pub selection: Option<ListSelection>,
    /// What to say of each besides; what is usual if `None`.
    pub returns: Option<ListReturn>,
}

/// Which mailboxes LIST is about (RFC 5258 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ListSelection {
    /// Names subscribed to, whether there are such mailboxes or not.
    pub subscribed: bool,
    /// Mailboxes on other servers too.
    pub remote: bool,
    /// Mailboxes too below which there is one that is meant.
    pub recursive_match: bool,
    /// Mailboxes with a special use (RFC 6154 §5.2).
    pub special_use: bool,
}

/// What LIST says of mailboxes (RFC 5258 §3.2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ListReturn {
    /// Whether the user is subscribed.
    pub subscribed: bool,
    /// Whether there are mailboxes below.
    pub children: bool,
    /// What it is used for (RFC 6154 §5.3).
    pub special_use: bool,
    /// Its numbers (RFC 5819).
    pub status: Vec<StatusItem>,
    /// What the user may do with it (RFC 8440).
    pub rights: bool,
    /// What is noted about it: these entries (RFC 9590).
    pub annotations: Vec<String>,
}

impl List {
    /// Asks for the mailboxes that match.
    pub fn new(reference: impl Into<String>, pattern: impl Into<String>) -> Self {
        Self {
            reference: Cow::Owned(reference.into()),
            pattern: Cow::Owned(pattern.into()),
            more_patterns: Vec::new(),
            selection: None,
            returns: None,
        }
    }

    /// Reference and first pattern together, ready to match with.
    pub fn matcher(&self) -> MailboxPattern {
        self.matcher_of(&self.pattern)
    }

    /// Every pattern with the reference before it.
    pub fn matchers(&self) -> Vec<MailboxPattern> {
        self.patterns()
            .filter(|pattern| !pattern.is_empty())
            .map(|pattern| self.matcher_of(pattern))
            .collect()
    }

    pub(crate) fn patterns(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.pattern).chain(self.more_patterns.iter().map(String::as_str))
    }

    fn matcher_of(&self, pattern: &str) -> MailboxPattern {
        // RFC 3501 §6.3.8: how the two are combined is the server's choice; a pattern with a leading separator
        // would leave the reference, and no name of ours begins with one.
        MailboxPattern::new(&format!("{}{pattern}", self.reference))
    }

    /// Whether it is of the form of RFC 5258.
    pub fn is_extended(&self) -> bool {
        self.selection.is_some() || self.returns.is_some() || !self.more_patterns.is_empty()
    }

    pub(super) fn parse_plain(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        let reference = pattern(&input.astring()?, input.is_utf8());
        input.space()?;
        let pattern = pattern(&input.list_mailbox()?, input.is_utf8());
        Ok(Self { reference, pattern, more_patterns: Vec::new(), selection: None, returns: None })
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        let mut selection = None;
        if input.rest().starts_with(b" (") {
            input.space()?;
            selection = Some(ListSelection::parse(input)?);
        }
        input.space()?;
        let utf8 = input.is_utf8();
        let reference = pattern(&input.astring()?, utf8);
        input.space()?;
        let (first, more_patterns) = if input.peek() == Some(b'(') {
            let here = input.clone();
            let mut patterns = input.list("patterns", MAX_PATTERNS, |input| {
                Ok(pattern(&input.list_mailbox()?, utf8).into_owned())
            })?;
            if patterns.is_empty() {
                return Err(here.expected("at least one pattern"));
            }
            (Cow::Owned(patterns.remove(0)), patterns)
        } else {
            (pattern(&input.list_mailbox()?, utf8), Vec::new())
        };
        let mut returns = None;
        if input.eat(b' ') {
            if !input.keyword("RETURN") {
                return Err(input.expected("RETURN"));
            }
            input.space()?;
            returns = Some(ListReturn::parse(input)?);
        }
        Ok(Self { reference, pattern: first, more_patterns, selection, returns })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"LIST ");
        if let Some(selection) = self.selection {
            selection.encode(wire);
        }
        if self.more_patterns.is_empty() {
            self.encode_arguments(wire);
        } else {
            wire.put_astring(utf7::encode(&self.reference).as_bytes());
            wire.put(b" ");
            wire.put_list(self.patterns(), |wire, pattern| wire.put_string(utf7::encode(pattern).as_bytes()));
        }
        if let Some(returns) = &self.returns {
            returns.encode(wire);
        }
    }

    pub(super) fn encode_arguments(&self, wire: &mut impl Wire) {
        wire.put_astring(utf7::encode(&self.reference).as_bytes());
        wire.put(b" ");
        wire.put_string(utf7::encode(&self.pattern).as_bytes());
    }
}

impl ListSelection {
    fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        let here = input.clone();
        let mut selection = Self::default();
        input.list("selection options", 16, |input| {
            if input.keyword("SUBSCRIBED") {
                selection.subscribed = true;
            } else if input.keyword("REMOTE") {
                selection.remote = true;
            } else if input.keyword("RECURSIVEMATCH") {
                selection.recursive_match = true;
            } else if input.keyword("SPECIAL-USE") {
                selection.special_use = true;
            } else {
                return Err(input.expected("SUBSCRIBED, REMOTE, RECURSIVEMATCH or SPECIAL-USE"));
            }
            Ok(())
        })?;
        // RFC 5258 §3.1: there must be something that recursion looks for.
        if selection.recursive_match && !selection.subscribed && !selection.special_use {
            return Err(here.expected("another selection beside RECURSIVEMATCH"));
        }
        Ok(selection)
    }

    fn encode(self, wire: &mut impl Wire) {
        let words = [
            ("SUBSCRIBED", self.subscribed),
            ("REMOTE", self.remote),
            ("RECURSIVEMATCH", self.recursive_match),
            ("SPECIAL-USE", self.special_use),
        ];
        wire.put_list(words.iter().filter(|(_, wanted)| *wanted), |wire, (word, _)| {
            wire.put(word.as_bytes())
        });
        wire.put(b" ");
    }
}

impl ListReturn {
    fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        let mut returns = Self::default();
        input.list("return options", 16, |input| {
            if input.keyword("SUBSCRIBED") {
                returns.subscribed = true;
            } else if input.keyword("CHILDREN") {
                returns.children = true;
            } else if input.keyword("SPECIAL-USE") {
                returns.special_use = true;
            } else if input.keyword("STATUS") {
                input.space()?;
                returns.status = StatusItem::parse_list(input)?;
            } else if input.keyword("MYRIGHTS") {
                returns.rights = true;
            } else if input.keyword("METADATA") {
                input.space()?;
                returns.annotations = super::metadata::entries(input)?;
            } else {
                let expected = "SUBSCRIBED, CHILDREN, SPECIAL-USE, STATUS, MYRIGHTS or METADATA";
                return Err(input.expected(expected));
            }
            Ok(())
        })?;
        Ok(returns)
    }

    fn encode(&self, wire: &mut impl Wire) {
        wire.put(b" RETURN (");
        let mut before: &[u8] = b"";
        let words = [
            ("SUBSCRIBED", self.subscribed),
            ("CHILDREN", self.children),
            ("SPECIAL-USE", self.special_use),
            ("MYRIGHTS", self.rights),
        ];
        for (word, _) in words.iter().filter(|(_, wanted)| *wanted) {
            wire.put(std::mem::replace(&mut before, b" "));
            wire.put(word.as_bytes());
        }
        if !self.status.is_empty() {
            wire.put(std::mem::replace(&mut before, b" "));
            wire.put(b"STATUS ");
            wire.put_list(&self.status, |wire, item| wire.put(item.as_str().as_bytes()));
        }
        if !self.annotations.is_empty() {
            wire.put(before);
            wire.put(b"METADATA ");
            wire.put_list(&self.annotations, |wire, entry| wire.put_astring(entry.as_bytes()));
        }
        wire.put(b")");
    }
}

/// A pattern that is no modified UTF-7 is taken as it stands: it may still match names that are spelled so.
fn pattern(text: &[u8], utf8: bool) -> Cow<'static, str> {
    match text {
        // As most references and patterns are.
        b"" => Cow::Borrowed(""),
        b"*" => Cow::Borrowed("*"),
        b"%" => Cow::Borrowed("%"),
        _ if utf8 => Cow::Owned(String::from_utf8_lossy(text).into_owned()),
        _ => Cow::Owned(utf7::decode(text).unwrap_or_else(|_| String::from_utf8_lossy(text).into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::MailboxName;

    use super::*;

    fn parse(text: &[u8]) -> Result<List, GrammarError> {
        List::parse(&mut Input::new(text))
    }

    #[test]
    fn patterns_are_utf8_inside() {
        assert_eq!(parse(b" \"\" %"), Ok(List::new("", "%")));
        assert_eq!(parse(b" a/ \"Entw&APw-rfe/*\""), Ok(List::new("a/", "Entw\u{fc}rfe/*")));
        assert_eq!(parse(b" \"\" {2}\r\n&x"), Ok(List::new("", "&x")));
        assert!(parse(b" \"\" (").is_err());
        let name = MailboxName::new("a/b").unwrap();
        assert!(parse(b" a/ %").unwrap().matcher().matches(&name));
        assert!(!parse(b" \"\" %").unwrap().matcher().matches(&name));
    }

    #[test]
    fn options_are_read_as_they_were_written() {
        for text in [
            "LIST (SUBSCRIBED) \"\" \"*\"",
            "LIST () \"\" (\"INBOX\" \"Drafts\" \"Sent/%\")",
            "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" \"*\" RETURN (CHILDREN STATUS (MESSAGES UNSEEN))",
            "LIST \"\" \"%\" RETURN (SUBSCRIBED CHILDREN SPECIAL-USE)",
            "LIST (SPECIAL-USE) \"\" \"*\" RETURN ()",
            "LIST \"\" \"%\" RETURN (MYRIGHTS STATUS (UNSEEN) METADATA (/shared/comment /private/x))",
        ] {
            let list = parse(text.strip_prefix("LIST").unwrap().as_bytes()).unwrap();
            let mut wire = Vec::new();
            list.encode(&mut wire);
            assert_eq!(String::from_utf8(wire).unwrap(), text);
        }
        for bad in [
            " (RECURSIVEMATCH) \"\" *",
            " (X) \"\" *",
            " \"\" ()",
            " \"\" * RETURN",
            " \"\" * RETURN (STATUS ())",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let many = format!(" \"\" ({})", ["a"; 101].join(" "));
        assert!(matches!(parse(many.as_bytes()), Err(GrammarError::TooMany { .. })));
    }
}
