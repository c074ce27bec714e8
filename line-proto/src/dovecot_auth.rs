//! The protocol of Dovecot's authentication service, both sides: how Postfix, Exim and others ask somebody else whether a
//! login is right.
//!
//! Lines of fields with tabs between them. After a handshake the client sends `AUTH`, with a number of its own for each
//! exchange; the server answers `CONT`, `OK` or `FAIL` with that number, in any order. The socket is trusted: passwords cross
//! it as they are, so it belongs on a Unix socket or a private network.

mod client;
mod fields;
mod server;

pub use client::{Client, ClientEvent, Outcome};
pub use fields::{AuthRequest, MechanismOffer};
pub use server::{Answer, Exchange, Server, ServerConfig, ServerEvent};
