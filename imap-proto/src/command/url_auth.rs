//! GENURLAUTH and RESETKEY (RFC 4467): URLs that let others read a message or a part of one.

use mailwright_line_proto::Request;
use mailwright_mail_model::MailboxName;

use crate::{
    AuthorizedUrl, UrlError,
    grammar::{GrammarError, Input, Wire},
    refusal::Answered,
};

/// How many URLs one command may name.
const MOST_URLS: usize = 100;
/// How many mechanisms one RESETKEY may name.
const MOST_MECHANISMS: usize = 16;

/// URLs that are to be given their tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GenUrlAuth {
    /// Each without a token yet, and the mechanism it is to be given one by, in upper case.
    pub urls: Vec<(AuthorizedUrl, String)>,
}

/// The URLs that were given out for a mailbox, or for all, are to be of no use any more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ResetKey {
    /// The mailbox; all of the user's if `None`.
    pub mailbox: Option<MailboxName>,
    /// Of which mechanisms, in upper case; of all, if none is named.
    pub mechanisms: Vec<String>,
}

impl GenUrlAuth {
    /// Asks for a token of the mechanism `INTERNAL` for this URL.
    pub fn new(url: AuthorizedUrl) -> Self {
        Self { urls: vec![(url, "INTERNAL".into())] }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        let mut urls = Vec::new();
        input.space()?;
        loop {
            if urls.len() == MOST_URLS {
                return Err(GrammarError::TooMany { what: "URLs", limit: MOST_URLS });
            }
            let here = input.clone();
            let url = read_url(&input.astring()?).ok().filter(|url| url.token.is_none());
            let url = url.ok_or_else(|| here.expected("a URL that ends with URLAUTH and who may use it"))?;
            input.space()?;
            urls.push((url, input.atom()?.to_ascii_uppercase()));
            if !input.eat(b' ') {
                return Ok(Self { urls });
            }
        }
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"GENURLAUTH");
        for (url, mechanism) in &self.urls {
            wire.put(b" ");
            wire.put_string(url.rump().as_bytes());
            wire.put(b" ");
            wire.put(mechanism.as_bytes());
        }
    }
}

impl Request for GenUrlAuth {
    /// The whole URLs, in order.
    type Answer = Answered<Vec<String>>;
}

impl ResetKey {
    /// For all mailboxes.
    pub fn all() -> Self {
        Self::default()
    }

    /// For this mailbox.
    pub fn of(mailbox: MailboxName) -> Self {
        Self { mailbox: Some(mailbox), mechanisms: Vec::new() }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        if !input.eat(b' ') {
            return Ok(Self::all());
        }
        let mut request = Self::of(input.mailbox()?);
        while input.eat(b' ') {
            if request.mechanisms.len() == MOST_MECHANISMS {
                return Err(GrammarError::TooMany { what: "mechanisms", limit: MOST_MECHANISMS });
            }
            request.mechanisms.push(input.atom()?.to_ascii_uppercase());
        }
        Ok(request)
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"RESETKEY");
        if let Some(mailbox) = &self.mailbox {
            wire.put(b" ");
            wire.put_mailbox(mailbox);
        }
        for mechanism in &self.mechanisms {
            wire.put(b" ");
            wire.put(mechanism.as_bytes());
        }
    }
}

impl Request for ResetKey {
    type Answer = Answered<()>;
}

pub(super) fn read_url(octets: &[u8]) -> Result<AuthorizedUrl, UrlError> {
    str::from_utf8(octets).map_err(|_| UrlError)?.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_they_were_written() {
        let url = "imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred";
        let text = format!(" \"{url}\" INTERNAL \"{url}\" INTERNAL");
        let read = GenUrlAuth::parse(&mut Input::new(text.as_bytes())).unwrap();
        assert_eq!(read.urls.len(), 2);
        let mut wire = Vec::new();
        read.encode(&mut wire);
        assert_eq!(wire, format!("GENURLAUTH{text}").into_bytes());
        for text in ["", " INBOX", " INBOX INTERNAL XSAMPLE"] {
            let mut input = Input::new(text.as_bytes());
            let read = ResetKey::parse(&mut input).unwrap();
            assert!(input.is_empty());
            let mut wire = Vec::new();
            read.encode(&mut wire);
            assert_eq!(wire, format!("RESETKEY{text}").into_bytes());
        }
        for bad in ["", " x INTERNAL", &format!(" {url}"), &format!(" {url}:internal:ab INTERNAL")] {
            assert!(GenUrlAuth::parse(&mut Input::new(bad.as_bytes())).is_err(), "{bad}");
        }
    }
}
