//! Lists of `tag=value`, as DKIM, ARC and DMARC write them (RFC 6376 §3.2).

/// A list that was understood; white space around names and values is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tags(Vec<(String, String)>);

impl Tags {
    /// `None` if it is no such list, or a tag is there twice.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut tags: Vec<(String, String)> = Vec::new();
        let mut parts = text.split(';').peekable();
        while let Some(part) = parts.next() {
            let part = part.trim_matches(is_space);
            if part.is_empty() && parts.peek().is_none() {
                break;
            }
            let (name, value) = part.split_once('=')?;
            let name = name.trim_end_matches(is_space);
            let fits = name.starts_with(|letter: char| letter.is_ascii_alphabetic())
                && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
            // Names are in order by number of parts only: so few that looking through them all is quick.
            if !fits || tags.len() >= MOST || tags.iter().any(|(other, _)| other == name) {
                return None;
            }
            tags.push((name.to_owned(), value.trim_start_matches(is_space).to_owned()));
        }
        Some(Self(tags))
    }

    /// The value of a tag.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(tag, _)| tag == name).map(|(_, value)| &**value)
    }

    /// The value of a tag without any white space: for base64 and lists.
    pub(super) fn dense(&self, name: &str) -> Option<String> {
        self.value(name).map(|value| value.chars().filter(|letter| !is_space(*letter)).collect())
    }

    /// The parts of a list with colons.
    pub(super) fn list(&self, name: &str) -> Option<Vec<String>> {
        self.value(name)
            .map(|value| value.split(':').map(|part| part.trim_matches(is_space).to_owned()).collect())
    }

    /// The name and value of the first tag.
    pub(super) fn first(&self) -> Option<(&str, &str)> {
        self.0.first().map(|(name, value)| (&**name, &**value))
    }
}

/// More tags than anybody has defined.
const MOST: usize = 64;

pub(super) fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_they_are_written() {
        let tags = Tags::parse("v=1; a = rsa-sha256;\r\n\tb=ab c\r\n d=; h=from : to ;").unwrap_or_default();
        assert_eq!(tags.first(), Some(("v", "1")));
        assert_eq!(tags.value("a"), Some("rsa-sha256"));
        assert_eq!(tags.dense("b").as_deref(), Some("abcd="));
        assert_eq!(tags.list("h").unwrap(), ["from", "to"]);
        assert_eq!(tags.value("x"), None);
        for wrong in ["v=1; v=2", "v", "=1", ";", "v=1;;a=b", "1=2", "a b=c"] {
            assert_eq!(Tags::parse(wrong), None, "{wrong}");
        }
    }
}
