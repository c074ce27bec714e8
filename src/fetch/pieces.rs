//! A fetched message on its way to whoever takes it.

use std::future::Future;

use bytes::Bytes;
use mailwright_mail_model::{DateTime, FlagSet, MailboxName, ReversePath};
use mailwright_mailstore::{Row, User};
use mailwright_smtp_proto::Reply;

use super::FetchProtocol;

/// Takes mail that was fetched: as if it had come for the user by LMTP.
pub trait Receive: Send + Sync {
    /// Whether mail for a user is taken at all: asked before each look, so that nothing is fetched for who is gone. By default it is.
    ///
    /// # Errors
    /// Why it is not.
    fn takes_for(&self, user: &User) -> impl Future<Output = Result<(), Reply>> + Send {
        let _ = user;
        std::future::ready(Ok(()))
    }

    /// Takes a message. What [`Pieces::end`] gives is committed at the moment of the message, where that can be.
    ///
    /// # Errors
    /// Why it is not taken, and nothing of it is kept. 4yz and 5.2.z concern the mailbox and pass; other 5yz are of this message.
    fn receive<P: Pieces>(
        &self,
        arrival: &Arrival<'_>,
        pieces: &mut P,
    ) -> impl Future<Output = Result<Received, Reply>> + Send;
}

/// A message that is fetched.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Arrival<'a> {
    /// Whose it will be.
    pub user: &'a User,
    /// How it comes.
    pub protocol: FetchProtocol,
    /// Where from.
    pub host: &'a str,
    /// Its size, as far as the server tells the truth, in octets.
    pub size: Option<u64>,
    /// The mailbox that it comes into, past all filters; `None` if it goes the way of all mail.
    pub mailbox: Option<&'a MailboxName>,
}

/// The octets of a message, pulled from its server.
pub trait Pieces: Send {
    /// The next of them, cut anywhere; `None` at the end.
    ///
    /// # Errors
    /// The message will not be complete.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, Broken>> + Send;

    /// Called once, behind the end; `None` if the message is not to be delivered after all.
    fn end(&mut self) -> Option<End>;
}

/// A message that will not be complete.
#[derive(Debug, Clone, Copy)]
pub struct Broken;

/// What is known behind the end of a message.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct End {
    /// Who sent it.
    pub sender: ReversePath,
    /// When it came to the server it was fetched from, if that tells.
    pub date: Option<DateTime>,
    /// What is written in the same commit.
    pub rows: Vec<Row>,
    /// The flags that it begins with, if [`Arrival::mailbox`] says where.
    pub flags: FlagSet,
}

impl End {
    /// An end.
    pub const fn new(sender: ReversePath, date: Option<DateTime>, rows: Vec<Row>) -> Self {
        Self { sender, date, rows, flags: FlagSet::new() }
    }
}

/// What came of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// It is here, and so are the rows.
    WithRows,
    /// It is here, but the rows are still to be written.
    WithoutRows,
    /// It was not to be delivered, or not complete; nothing is here.
    Dropped,
}
