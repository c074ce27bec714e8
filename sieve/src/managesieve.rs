//! ManageSieve (RFC 5804): both ends of a session as sans-IO machines.
//!
//! A server is asked what only its application can know, script by script, and answers the rest by itself:
//! capabilities, STARTTLS, NOOP, LOGOUT, everything that is wrong. Scripts are streamed both ways.
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//!
//! use bytes::{BufMut, BytesMut};
//! use mailwright_line_proto::{AuthStep, Machine, Output, Peer};
//! use mailwright_sieve::managesieve::{Accepted, Listed, Server, server::{Config, Event}};
//!
//! let mut config = Config::default();
//! config.allow_plaintext_auth = true; // this example has no TLS beneath it
//! config.mechanisms = vec!["PLAIN".to_owned()];
//! config.extensions = vec!["fileinto".to_owned()];
//! let mut server = Server::new(Arc::new(config), Peer::unknown());
//!
//! let mut rx = BytesMut::from(
//!     "AUTHENTICATE \"PLAIN\" \"AHRpbQB0YW5zdGFhZg==\"\r\nPUTSCRIPT \"a\" {7+}\r\nkeep;\r\n\r\nLISTSCRIPTS\r\nLOGOUT\r\n",
//! );
//! let (mut script, mut sent) = (Vec::new(), Vec::new());
//! loop {
//!     match server.poll(Instant::now(), &mut rx) {
//!         Output::Event(Event::Authenticate(ask)) => {
//!             server.set_owner("tim");
//!             server.answer(ask, AuthStep::Accept)?;
//!         }
//!         Output::Event(Event::Upload(ask)) => server.answer(ask, Ok(()))?,
//!         Output::Event(Event::Body(chunk)) => script.extend_from_slice(&chunk),
//!         Output::Event(Event::PutScript(ask)) => {
//!             assert_eq!((ask.name.as_str(), &script[..]), ("a", &b"keep;\r\n"[..]));
//!             server.answer(ask, Ok(Accepted::default()))?; // it was checked, and stored durably
//!         }
//!         Output::Event(Event::ListScripts(ask)) => {
//!             server.answer(ask, Ok(vec![Listed::new("a".parse()?, true)]))?;
//!         }
//!         Output::Event(other) => server.decline(other),
//!         Output::Start(_) => unreachable!("STARTTLS is not offered"),
//!         Output::Close => break,
//!         Output::Wait(wait) => unreachable!("a driver reads and writes here: {wait:?}"),
//!     }
//! }
//! sent.put(server.transmit());
//! assert!(String::from_utf8(sent)?.ends_with("\r\nOK\r\nOK\r\n\"a\" ACTIVE\r\nOK\r\nOK \"bye\"\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod client;
pub mod server;

mod capability;
mod command;
mod gather;
mod reply;
mod token;

pub use capability::Capabilities;
pub use client::Client;
pub use command::{
    Accepted, Capability, CheckScript, DeleteScript, GetScript, HaveSpace, ListScripts, Listed, Logout, Noop,
    PutScript, RenameScript, SetActive, StartTls, Unauthenticate,
};
pub use mailwright_mail_model::{ScriptName, ScriptNameError};
pub use reply::{Refusal, ResponseCode};
pub use server::Server;
