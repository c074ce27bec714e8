//! What a server's application is asked and told.

use bytes::Bytes;
use mailwright_line_proto::{Ask, Authenticate, Closed, Request};

use crate::managesieve::{
    CheckScript, DeleteScript, GetScript, HaveSpace, ListScripts, PutScript, Refusal, RenameScript,
    ScriptName, SetActive, Unauthenticate,
};

/// What a [`Server`](super::Server) tells its application. Everything that holds an [`Ask`] wants an
/// [`answer`](super::Server::answer).
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The next step of a SASL exchange. Before the last one is accepted,
    /// [`set_owner`](super::Server::set_owner).
    Authenticate(Ask<Authenticate>),
    /// The user is gone; another may log in.
    Unauthenticate(Ask<Unauthenticate>),
    /// Is there room?
    HaveSpace(Ask<HaveSpace>),
    /// A script is about to come: may it? If so, its octets are next. Whatever came for an earlier one is of no use
    /// any more.
    Upload(Ask<Upload>),
    /// A part of the script, cut anywhere.
    Body(Bytes),
    /// All of it came: check it, and store it durably if it is valid.
    PutScript(Ask<PutScript>),
    /// All of it came: check it.
    CheckScript(Ask<CheckScript>),
    /// Which scripts are there?
    ListScripts(Ask<ListScripts>),
    /// This one, or none, is to filter mail.
    SetActive(Ask<SetActive>),
    /// A script is wanted: the answer is its size, and then its octets are owed.
    GetScript(Ask<GetScript>),
    /// A script is to be deleted, unless it is the active one.
    DeleteScript(Ask<DeleteScript>),
    /// A script is to have another name.
    RenameScript(Ask<RenameScript>),
    /// The session is over. The last event.
    Closed(Closed),
}

/// A script is about to come. A refusal spares its checking; the machine passes over it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upload {
    /// The name it will have, or nothing if it is only to be checked.
    pub name: Option<ScriptName>,
    /// Its size in octets.
    pub size: u32,
}

impl Request for Upload {
    type Answer = Result<(), Refusal>;
}

impl Upload {
    pub(super) fn new(name: Option<ScriptName>, size: u32) -> Self {
        Self { name, size }
    }
}
