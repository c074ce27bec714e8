//! OK, NO and BYE, and their response codes (RFC 5804 §1.3).

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use mailwright_line_proto::AuthRefusal;
use thiserror::Error;

use super::token::{Token, put_string};

/// A request was refused: `NO`, perhaps a code, and a text for people, which may have several lines.
///
/// A server's application makes it, a client's application receives it.
///
/// ```
/// use mailwright_sieve::managesieve::{Refusal, ResponseCode};
///
/// let refusal = Refusal::new(Some(ResponseCode::Nonexistent), "there is no script \"a\"");
/// assert_eq!(refusal.to_string(), "(NONEXISTENT) there is no script \"a\"");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{text}", Prefix(.code))]
pub struct Refusal {
    code: Option<ResponseCode>,
    text: String,
}

impl Refusal {
    /// A refusal with these words.
    pub fn new(code: Option<ResponseCode>, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// `(TRYLATER)`: trouble that may be gone when it is tried again.
    pub fn temporary() -> Self {
        Self::new(Some(ResponseCode::TryLater), "temporary failure, try again later")
    }

    /// `(NONEXISTENT)`: there is no such script.
    pub fn nonexistent() -> Self {
        Self::new(Some(ResponseCode::Nonexistent), "there is no script of that name")
    }

    /// The machine-readable reason, if there is one.
    pub fn code(&self) -> Option<&ResponseCode> {
        self.code.as_ref()
    }

    /// The text for people.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl From<AuthRefusal> for Refusal {
    fn from(refusal: AuthRefusal) -> Self {
        let code = match refusal {
            AuthRefusal::NeedsTls => Some(ResponseCode::EncryptNeeded),
            AuthRefusal::Busy | AuthRefusal::Unavailable => Some(ResponseCode::TryLater),
            _ => None,
        };
        Self::new(code, refusal.to_string())
    }
}

/// A response code (RFC 5804 §1.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResponseCode {
    /// `AUTH-TOO-WEAK`: this mechanism is not allowed for this user.
    AuthTooWeak,
    /// `ENCRYPT-NEEDED`: not without TLS.
    EncryptNeeded,
    /// `QUOTA`: over a quota.
    Quota,
    /// `QUOTA/MAXSCRIPTS`: too many scripts.
    QuotaMaxScripts,
    /// `QUOTA/MAXSIZE`: the script is too large.
    QuotaMaxSize,
    /// `REFERRAL`: another server has this user's scripts; its Sieve URL.
    Referral(String),
    /// `SASL`: what the server had still to say in an exchange that ended well.
    Sasl(Bytes),
    /// `TRANSITION-NEEDED`: one login with PLAIN makes this mechanism usable.
    TransitionNeeded,
    /// `TRYLATER`: trouble that may pass.
    TryLater,
    /// `ACTIVE`: not with the active script.
    Active,
    /// `NONEXISTENT`: there is no such script.
    Nonexistent,
    /// `ALREADYEXISTS`: there is one of that name.
    AlreadyExists,
    /// `TAG`: what NOOP had with it.
    Tag(String),
    /// `WARNINGS`: the script is valid, but may not do what was meant.
    Warnings,
    /// Any other, without its arguments.
    Other(String),
}

/// The codes that are a name and nothing else.
static PLAIN: [(ResponseCode, &str); 10] = [
    (ResponseCode::AuthTooWeak, "AUTH-TOO-WEAK"),
    (ResponseCode::EncryptNeeded, "ENCRYPT-NEEDED"),
    (ResponseCode::Quota, "QUOTA"),
    (ResponseCode::QuotaMaxScripts, "QUOTA/MAXSCRIPTS"),
    (ResponseCode::QuotaMaxSize, "QUOTA/MAXSIZE"),
    (ResponseCode::TransitionNeeded, "TRANSITION-NEEDED"),
    (ResponseCode::TryLater, "TRYLATER"),
    (ResponseCode::Active, "ACTIVE"),
    (ResponseCode::Nonexistent, "NONEXISTENT"),
    (ResponseCode::AlreadyExists, "ALREADYEXISTS"),
];

impl ResponseCode {
    /// Its name, without arguments.
    pub fn name(&self) -> &str {
        match self {
            Self::Referral(_) => "REFERRAL",
            Self::Sasl(_) => "SASL",
            Self::Tag(_) => "TAG",
            Self::Warnings => "WARNINGS",
            Self::Other(name) => name,
            plain => PLAIN.iter().find(|(code, _)| code == plain).map_or("", |(_, name)| name),
        }
    }

    fn encode(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(self.name().as_bytes());
        let argument = match self {
            Self::Referral(text) | Self::Tag(text) => text.clone(),
            Self::Sasl(octets) => STANDARD.encode(octets),
            _ => return,
        };
        line.push(b' ');
        put_string(line, argument.as_bytes(), "");
    }

    /// What stands between the parentheses. Details that are not known are left off (RFC 5804 §1.3).
    fn decode(tokens: &[Token]) -> Option<Self> {
        let (Token::Atom(name), arguments) = tokens.split_first()? else { return None };
        let argument = || match arguments {
            [Token::String(octets)] => Some(String::from_utf8_lossy(octets).into_owned()),
            // Some servers leave the quotation marks off a URL.
            [Token::Atom(text)] => Some(text.clone()),
            _ => None,
        };
        let mut level = name.to_ascii_uppercase();
        loop {
            if let Some((code, _)) = PLAIN.iter().find(|(_, known)| *known == level) {
                return Some(code.clone());
            }
            match level.as_str() {
                "WARNINGS" => return Some(Self::Warnings),
                "REFERRAL" => return argument().map(Self::Referral),
                "TAG" => return argument().map(Self::Tag),
                "SASL" => {
                    return argument()
                        .and_then(|text| STANDARD.decode(text).ok())
                        .map(|data| Self::Sasl(data.into()));
                }
                _ => {}
            }
            match level.rfind('/') {
                Some(at) => level.truncate(at),
                None => return Some(Self::Other(name.to_ascii_uppercase())),
            }
        }
    }
}

struct Prefix<'a>(&'a Option<ResponseCode>);

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(code) => write!(formatter, "({}) ", code.name()),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    No,
    Bye,
}

/// The line that ends a server's answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: Status,
    pub(super) code: Option<ResponseCode>,
    pub(super) text: String,
}

impl Reply {
    pub(super) fn new(status: Status, code: Option<ResponseCode>, text: impl Into<String>) -> Self {
        Self { status, code, text: text.into() }
    }

    /// Nothing if it is none.
    pub(super) fn decode(tokens: &[Token]) -> Option<Self> {
        let (first, mut rest) = tokens.split_first()?;
        let status = [("OK", Status::Ok), ("NO", Status::No), ("BYE", Status::Bye)]
            .into_iter()
            .find_map(|(name, status)| first.is(name).then_some(status))?;
        let mut code = None;
        if let Some((Token::Open, inside)) = rest.split_first() {
            // Arguments may have parentheses of their own.
            let mut depth = 1_u32;
            let end = inside.iter().position(|token| {
                match token {
                    Token::Open => depth += 1,
                    Token::Close => depth -= 1,
                    _ => {}
                }
                depth == 0
            })?;
            code = ResponseCode::decode(inside.get(..end)?);
            rest = inside.get(end + 1..)?;
        }
        let text = match rest {
            [] => String::new(),
            [Token::String(octets)] => String::from_utf8_lossy(octets).into_owned(),
            _ => return None,
        };
        Some(Self { status, code, text })
    }

    /// Without the line end.
    pub(super) fn encode(&self) -> Vec<u8> {
        let status: &[u8] = match self.status {
            Status::Ok => b"OK",
            Status::No => b"NO",
            Status::Bye => b"BYE",
        };
        let mut line = status.to_vec();
        if let Some(code) = &self.code {
            line.extend_from_slice(b" (");
            code.encode(&mut line);
            line.push(b')');
        }
        if !self.text.is_empty() {
            line.push(b' ');
            put_string(&mut line, self.text.as_bytes(), "");
        }
        line
    }

    pub(super) fn refusal(self) -> Refusal {
        Refusal { code: self.code, text: self.text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managesieve::token::scan;

    fn decode(line: &str) -> Option<Reply> {
        let mut tokens = Vec::new();
        scan(line.as_bytes(), &mut tokens).ok()?;
        Reply::decode(&tokens)
    }

    #[test]
    fn every_code_survives_the_wire() {
        let mut codes: Vec<_> = PLAIN.iter().map(|(code, _)| code.clone()).collect();
        codes.extend([
            ResponseCode::Referral("sieve://b.example".into()),
            ResponseCode::Sasl("rspauth=1".into()),
            ResponseCode::Tag("STARTTLS-SYNC-42".into()),
            ResponseCode::Warnings,
            ResponseCode::Other("X-NEW".into()),
        ]);
        for code in codes {
            for text in ["", "say \"why\""] {
                let reply = Reply::new(Status::No, Some(code.clone()), text);
                let line = String::from_utf8(reply.encode()).unwrap();
                assert_eq!(decode(&line), Some(reply), "{line}");
            }
        }
    }

    #[test]
    fn reads_what_servers_send() {
        for (line, status, code, text) in [
            ("oK", Status::Ok, None, ""),
            ("No \"x\"", Status::No, None, "x"),
            ("BYE (TRYLATER)", Status::Bye, Some(ResponseCode::TryLater), ""),
            ("NO (quota/maxscripts/ever) \"x\"", Status::No, Some(ResponseCode::QuotaMaxScripts), "x"),
            ("NO (quota/never) \"x\"", Status::No, Some(ResponseCode::Quota), "x"),
            ("OK (X (1 \"2\") 3) \"x\"", Status::Ok, Some(ResponseCode::Other("X".into())), "x"),
            ("OK (TAG) \"x\"", Status::Ok, None, "x"),
        ] {
            assert_eq!(decode(line), Some(Reply::new(status, code, text)), "{line}");
        }
        for bad in ["", "OKAY", "\"OK\"", "OK x", "OK (A", "OK \"a\" \"b\"", "OK ()x", "* OK"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
