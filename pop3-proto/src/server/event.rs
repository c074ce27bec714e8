//! What a server's application is asked and told.

use std::num::NonZeroU32;

use mailwright_line_proto::{Ask, Authenticate, Closed, Login, Request};

use crate::{Apop, Maildrop, Refusal};

/// What a [`Server`](super::Server) tells its application. Everything that holds an [`Ask`] wants an
/// [`answer`](super::Server::answer).
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// USER and PASS: is this the password?
    Login(Ask<Login>),
    /// APOP: is this the digest of [`timestamp`](super::Server::timestamp) and the password?
    Apop(Ask<Apop>),
    /// AUTH: the next step of a SASL exchange.
    Authenticate(Ask<Authenticate>),
    /// The login was right: what is in the maildrop?
    Open(Ask<Open>),
    /// RETR or TOP: may it be sent? If so, the body is owed next.
    Read(Ask<Read>),
    /// QUIT: delete these, durably.
    Commit(Ask<Commit>),
    /// The session is over. The last event.
    Closed(Closed),
}

/// The user whose login was just accepted wants the maildrop.
///
/// A refusal leaves the peer where it was before the login: it may log in again, as somebody else too. The codes are
/// those of [`Refusal::in_use`], [`Refusal::temporary`] and [`Refusal::permanent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Open;

impl Request for Open {
    type Answer = Result<Maildrop, Refusal>;
}

/// The peer wants to see a message.
///
/// `Ok` promises the body: the application owes it in any number of
/// [`send_body`](super::Server::send_body) and one [`end_body`](super::Server::end_body).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Read {
    /// The application's key of the message.
    pub key: u64,
    /// The message's number in this session.
    pub number: NonZeroU32,
    /// Its size, as the maildrop said.
    pub octets: u64,
    /// Of TOP, how many lines of the body are wanted; of RETR, nothing. The machine does the cutting: this is for
    /// applications that can spare themselves reading more.
    pub lines: Option<u32>,
}

impl Request for Read {
    type Answer = Result<(), Refusal>;
}

/// The peer quits and wants these messages deleted.
///
/// Asked only at QUIT, and only if something is marked deleted or must go by the policies. `Ok` means that they are gone for good: it is told
/// the peer. On a refusal the peer is told that, and the session ends all the same (RFC 1939 §6).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commit {
    /// The application's keys of the messages, in the order of their numbers.
    pub delete: Vec<u64>,
}

impl Request for Commit {
    type Answer = Result<(), Refusal>;
}

impl Read {
    pub(super) fn new(key: u64, number: NonZeroU32, octets: u64, lines: Option<u32>) -> Self {
        Self { key, number, octets, lines }
    }
}

impl Commit {
    pub(super) fn new(delete: Vec<u64>) -> Self {
        Self { delete }
    }
}
