//! What a server can do (RFC 5804 §1.7).

use super::token::{Token, put_string};

/// What a server said that it can do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities(Vec<(String, Option<String>)>);

impl Capabilities {
    /// All of them: names in upper case, and their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// The value of one, which may be none; nothing if it is not among them.
    pub fn value(&self, name: &str) -> Option<Option<&str>> {
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether it is among them.
    pub fn contain(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The SASL mechanisms that are offered now.
    pub fn mechanisms(&self) -> impl Iterator<Item = &str> {
        self.words("SASL")
    }

    /// The Sieve extensions that scripts may require.
    pub fn extensions(&self) -> impl Iterator<Item = &str> {
        self.words("SIEVE")
    }

    /// Whose scripts they are, after login.
    pub fn owner(&self) -> Option<&str> {
        self.value("OWNER").flatten()
    }

    /// How many redirects one run of a script may perform.
    pub fn max_redirects(&self) -> Option<u32> {
        self.value("MAXREDIRECTS").flatten().and_then(|value| value.parse().ok())
    }

    fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        self.value(name).flatten().unwrap_or_default().split_ascii_whitespace()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, name: &str, value: Option<String>) {
        self.0.push((name.to_ascii_uppercase(), value));
    }

    /// Adds a line of a server's answer; nothing if it is none.
    pub(super) fn decode(&mut self, tokens: &[Token]) -> Option<()> {
        let (Token::String(name), rest) = tokens.split_first()? else { return None };
        let value = match rest {
            [] => None,
            [Token::String(value)] => Some(String::from_utf8_lossy(value).into_owned()),
            _ => return None,
        };
        self.push(&String::from_utf8_lossy(name), value);
        Some(())
    }

    /// The lines of the answer, without their ends.
    pub(super) fn encode(&self) -> impl Iterator<Item = Vec<u8>> {
        self.0.iter().map(|(name, value)| {
            let mut line = Vec::new();
            put_string(&mut line, name.as_bytes(), "");
            if let Some(value) = value {
                line.push(b' ');
                put_string(&mut line, value.as_bytes(), "");
            }
            line
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managesieve::token::scan;

    #[test]
    fn reads_the_example_of_the_rfc() {
        let mut capabilities = Capabilities::default();
        for line in [
            "\"IMPlemENTATION\" \"Example1 ManageSieved v001\"",
            "\"SASl\" \"DIGEST-MD5 GSSAPI\"",
            "\"SIeVE\" \"fileinto vacation\"",
            "\"NOTIFY\" \"xmpp mailto\"",
            "\"OWNER\" \"alexey@example.com\"",
            "\"MAXREdIRECTS\" \"5\"",
            "\"StaRTTLS\"",
        ] {
            let mut tokens = Vec::new();
            scan(line.as_bytes(), &mut tokens).unwrap();
            capabilities.decode(&tokens).unwrap();
        }
        assert_eq!(capabilities.mechanisms().collect::<Vec<_>>(), ["DIGEST-MD5", "GSSAPI"]);
        assert_eq!(capabilities.extensions().collect::<Vec<_>>(), ["fileinto", "vacation"]);
        assert_eq!(
            (capabilities.owner(), capabilities.max_redirects()),
            (Some("alexey@example.com"), Some(5))
        );
        assert!(capabilities.contain("starttls") && !capabilities.contain("VERSION"));
        let lines: Vec<_> = capabilities.encode().map(|line| String::from_utf8(line).unwrap()).collect();
        assert_eq!(lines[1], "\"SASL\" \"DIGEST-MD5 GSSAPI\"");
        assert_eq!(lines[6], "\"STARTTLS\"");
    }
}
