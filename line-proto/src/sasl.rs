//! SASL (RFC 4422), both sides, without I/O: the same mechanisms for all protocols.
//!
//! A mechanism is one file and one row of the table in `mechanism.rs`. Base64, the `*` that cancels and the count of
//! failures belong to the protocol machines; who may log in is the application's. Between the two, this is a plain
//! object: the response goes in, a [`ServerStep`] comes out. If it is [`ServerStep::Verify`], the application looks
//! at it for as long as it likes and goes on with [`Server::resume`].
//!
//! ```
//! use mailwright_line_proto::{
//!     Secret,
//!     sasl::{Client, Context, Credentials, Mechanism, ScramHash, ScramKeys, Server, ServerStep, Verdict, Verify},
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let context = Context::plaintext();
//! let credentials = Credentials::new("user", Secret::from("pencil"));
//! let mechanism = Client::choose(["PLAIN", "SCRAM-SHA-256"], &credentials, &context).ok_or("none fits")?;
//! assert_eq!(mechanism.name(), "SCRAM-SHA-256");
//!
//! // Fresh random octets for each exchange.
//! let mut client = Client::new(mechanism, &credentials, &context, [1; 32])?;
//! let mut server = Server::start(mechanism.name(), &context, [2; 32])?;
//!
//! let mut step = server.step(client.initial().as_deref());
//! let user = loop {
//!     step = match step {
//!         ServerStep::Challenge(challenge) => server.step(Some(&client.respond(&challenge)?)),
//!         ServerStep::Verify(Verify::Scram { username, hash, .. }) => {
//!             assert_eq!(username, "user"); // here the application looks it up
//!             server.resume(Verdict::Keys(ScramKeys::derive(hash, &Secret::from("pencil"), b"salt", 4096)?))
//!         }
//!         ServerStep::Done(identity) => break identity.authcid,
//!         other => panic!("{other:?}"),
//!     };
//! };
//! client.finish(None)?; // the server has shown that it knows the password too
//! assert_eq!(user, "user");
//! # Ok(()) }
//! ```

mod anonymous;
mod apop;
mod attempts;
mod bearer;
mod client;
mod cram_md5;
mod external;
mod gssapi;
mod login;
mod mechanism;
mod plain;
mod prepare;
mod scram;
mod server;

pub use apop::apop_digest;
pub use attempts::{About, Attempts};
pub use client::{Client, ClientError, Credentials};
pub use gssapi::{GssContext, GssError, GssStep};
pub use mechanism::{Context, Mechanism};
pub use prepare::{name as prepare_name, password as prepare_password};
pub use scram::{KeysError, MAX_ITERATIONS, MIN_ITERATIONS, ScramHash, ScramKeys};
pub use server::{Identity, Server, ServerStep, Verdict, Verify};
