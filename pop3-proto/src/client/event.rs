//! What a client's application is told.

use bytes::Bytes;
use mailwright_line_proto::{Authenticate, Closed, Login, Request, Ticket};

use crate::{
    Apop, Capa, Dele, Identified, Lang, Last, List, Listed, Noop, Quit, Refusal, Retr, Rset, Stat, Stls,
    Text, Top, Uidl, Utf8,
};

/// What a [`Client`](super::Client) tells its application: the ticket of each call comes back with its answer.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The server is ready, and says this.
    Greeting(Text),
    /// What the server can do.
    Capa(Ticket<Capa>, <Capa as Request>::Answer),
    /// TLS is up, or was refused.
    Stls(Ticket<Stls>, <Stls as Request>::Answer),
    /// The login with a password was accepted or refused.
    Login(Ticket<Login>, Result<(), Refusal>),
    /// The login with a digest was accepted or refused.
    Apop(Ticket<Apop>, Result<(), Refusal>),
    /// The server sends messages as they are, or does not know of that.
    Utf8(Ticket<Utf8>, <Utf8 as Request>::Answer),
    /// The language was chosen, or these are all.
    Lang(Ticket<Lang>, <Lang as Request>::Answer),
    /// The server wants a response to this challenge: the next call must be an [`Authenticate`] that bears it, or
    /// [`cancel`](super::Client::cancel).
    Challenge(Ticket<Authenticate>, Bytes),
    /// The SASL exchange ended.
    Authenticate(Ticket<Authenticate>, Result<(), Refusal>),
    /// How much there is.
    Stat(Ticket<Stat>, <Stat as Request>::Answer),
    /// One message's size.
    Listed(Ticket<List>, Listed),
    /// The end of the sizes: how many came.
    List(Ticket<List>, <List as Request>::Answer),
    /// One message's unique id.
    Identified(Ticket<Uidl>, Identified),
    /// The end of the unique ids: how many came.
    Uidl(Ticket<Uidl>, <Uidl as Request>::Answer),
    /// The message comes next, or was refused.
    Retr(Ticket<Retr>, <Retr as Request>::Answer),
    /// The top of the message comes next, or was refused.
    Top(Ticket<Top>, <Top as Request>::Answer),
    /// A part of a message, its dots unstuffed.
    Body(Bytes),
    /// The end of a message.
    BodyEnd,
    /// The message was marked deleted, or not.
    Dele(Ticket<Dele>, <Dele as Request>::Answer),
    /// A sign of life.
    Noop(Ticket<Noop>, <Noop as Request>::Answer),
    /// The marks were taken back.
    Rset(Ticket<Rset>, <Rset as Request>::Answer),
    /// The highest message that was retrieved.
    Last(Ticket<Last>, <Last as Request>::Answer),
    /// What was marked deleted is deleted; on a refusal, some of it may not be.
    Quit(Ticket<Quit>, <Quit as Request>::Answer),
    /// The session is over. The last event.
    Closed(Closed),
}
