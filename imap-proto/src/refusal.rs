//! Why a command is answered NO.

use std::fmt;

use mailwright_line_proto::AuthRefusal;
use thiserror::Error;

use crate::{
    Referral,
    response::{ResponseCode, Status, Text},
};

/// What a request comes back with: what was asked for, or a refusal.
pub type Answered<T> = Result<T, Refusal>;

/// A `NO`, or a `BAD`, with the reason for programs and the reason for people.
///
/// ```
/// use mailwright_imap_proto::{Refusal, response::ResponseCode};
///
/// let refusal = Refusal::new(ResponseCode::NonExistent, "there is no such mailbox");
/// assert_eq!(refusal.to_string(), "[NONEXISTENT] there is no such mailbox");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{text}", CodePrefix(code))]
#[non_exhaustive]
pub struct Refusal {
    /// The reason for programs, if there is a code for it.
    pub code: Option<ResponseCode>,
    /// The reason for people.
    pub text: Text,
    /// Whether it is `BAD` in place of `NO`: the command is wrong, though only the application can see that.
    pub bad: bool,
}

impl Refusal {
    /// A refusal with a code.
    pub fn new(code: ResponseCode, text: impl Into<Text>) -> Self {
        Self { code: Some(code), text: text.into(), bad: false }
    }

    /// A refusal without a code.
    pub fn plain(text: impl Into<Text>) -> Self {
        Self { code: None, text: text.into(), bad: false }
    }

    /// `BAD`, without a code.
    pub fn bad(text: impl Into<Text>) -> Self {
        Self { bad: true, ..Self::plain(text) }
    }

    /// The mailbox named does not exist.
    pub fn non_existent() -> Self {
        Self::new(ResponseCode::NonExistent, "there is no such mailbox")
    }

    /// The mailbox to be written to does not exist, but could be made.
    pub fn try_create() -> Self {
        Self::new(ResponseCode::TryCreate, "there is no such mailbox; create it first")
    }

    /// The mailbox to be made exists already.
    pub fn already_exists() -> Self {
        Self::new(ResponseCode::AlreadyExists, "there is such a mailbox already")
    }

    /// No mailbox can be made for this use (RFC 6154 §3).
    pub fn special_use() -> Self {
        Self::new(ResponseCode::UseAttr, "no mailbox can have this special use here")
    }

    /// A URL means nothing that is here, or nothing that the user may see (RFC 4469 §4.1).
    pub fn bad_url(url: &str) -> Self {
        Self::new(ResponseCode::BadUrl(url.to_owned()), "this URL names no part of a message here")
    }

    /// The mailbox is on another server, in one of these places (RFC 2193 §4).
    pub fn referred(places: Vec<Referral>) -> Self {
        // A bracket, as in addresses of IPv6, would end the code.
        let places: Vec<_> = places.into_iter().filter(|place| !place.host.contains(']')).collect();
        if places.is_empty() {
            return Self::cannot();
        }
        Self::new(ResponseCode::Referral(places), "the mailbox is on another server")
    }

    /// The quota does not allow it.
    pub fn over_quota() -> Self {
        Self::new(ResponseCode::OverQuota, "over quota")
    }

    /// The user is not allowed to do that.
    pub fn no_permission() -> Self {
        Self::new(ResponseCode::NoPerm, "permission denied")
    }

    /// Something that is needed is down at the moment.
    pub fn unavailable() -> Self {
        Self::new(ResponseCode::Unavailable, "temporarily unavailable; try again later")
    }

    /// This server does not do that.
    pub fn cannot() -> Self {
        Self::new(ResponseCode::Cannot, "not possible on this server")
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let status = if refusal.bad { Self::bad(refusal.text) } else { Self::no(refusal.text) };
        match refusal.code {
            Some(code) => status.with(code),
            None => status,
        }
    }
}

impl From<AuthRefusal> for Refusal {
    fn from(refusal: AuthRefusal) -> Self {
        let code = match refusal {
            AuthRefusal::NeedsTls => Some(ResponseCode::PrivacyRequired),
            AuthRefusal::NotAuthorized => Some(ResponseCode::AuthorizationFailed),
            AuthRefusal::Expired => Some(ResponseCode::Expired),
            AuthRefusal::Busy | AuthRefusal::Unavailable => Some(ResponseCode::Unavailable),
            AuthRefusal::Mechanism => None,
            _ => Some(ResponseCode::AuthenticationFailed),
        };
        Self { code, text: refusal.to_string().into(), bad: false }
    }
}

struct CodePrefix<'a>(&'a Option<ResponseCode>);

impl fmt::Display for CodePrefix<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(code) = self.0 else { return Ok(()) };
        let mut octets = Vec::new();
        code.encode(&mut octets);
        write!(formatter, "{} ", String::from_utf8_lossy(&octets))
    }
}
