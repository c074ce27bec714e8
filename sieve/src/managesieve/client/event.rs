//! What a client's application is told.

use bytes::Bytes;
use mailwright_line_proto::{Authenticate, Closed, Request, Ticket};

use crate::managesieve::{
    Capability, CheckScript, DeleteScript, GetScript, HaveSpace, ListScripts, Logout, Noop, PutScript,
    Refusal, RenameScript, SetActive, StartTls, Unauthenticate,
};

/// What a [`Client`](super::Client) tells its application: the ticket of each call comes back with its answer.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The server is ready, and its [`capabilities`](super::Client::capabilities) are known.
    Greeting,
    /// What the server can do.
    Capability(Ticket<Capability>, <Capability as Request>::Answer),
    /// TLS is up and the capabilities are known anew, or it was refused.
    StartTls(Ticket<StartTls>, <StartTls as Request>::Answer),
    /// The server wants a response to this challenge: the next call must be an [`Authenticate`] that bears it, or
    /// [`cancel`](super::Client::cancel).
    Challenge(Ticket<Authenticate>, Bytes),
    /// The SASL exchange ended; what the server had still to say in it, for the mechanism to check.
    Authenticate(Ticket<Authenticate>, Result<Option<Bytes>, Refusal>),
    /// Somebody else can log in now.
    Unauthenticate(Ticket<Unauthenticate>, <Unauthenticate as Request>::Answer),
    /// Whether there is room.
    HaveSpace(Ticket<HaveSpace>, <HaveSpace as Request>::Answer),
    /// The script is stored, or was refused.
    PutScript(Ticket<PutScript>, <PutScript as Request>::Answer),
    /// The script is valid, or is not.
    CheckScript(Ticket<CheckScript>, <CheckScript as Request>::Answer),
    /// The scripts there are.
    ListScripts(Ticket<ListScripts>, <ListScripts as Request>::Answer),
    /// It is active now, or none is.
    SetActive(Ticket<SetActive>, <SetActive as Request>::Answer),
    /// The script comes next, or was refused.
    GetScript(Ticket<GetScript>, <GetScript as Request>::Answer),
    /// A part of a script.
    Body(Bytes),
    /// The end of a script.
    BodyEnd,
    /// The script is gone, or was not deleted.
    DeleteScript(Ticket<DeleteScript>, <DeleteScript as Request>::Answer),
    /// The script has its new name, or not.
    RenameScript(Ticket<RenameScript>, <RenameScript as Request>::Answer),
    /// A sign of life.
    Noop(Ticket<Noop>, <Noop as Request>::Answer),
    /// The server took leave.
    Logout(Ticket<Logout>, <Logout as Request>::Answer),
    /// The session is over. The last event.
    Closed(Closed),
}
