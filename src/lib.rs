#![doc = include_str!("../README.md")]

pub mod client;
pub mod fetch;
pub mod filter;
pub mod https;
pub mod imap;
pub mod managesieve;
pub mod pop3;
pub mod queue;
pub mod resolve;
pub mod smtp;

mod auth;
mod begun;
mod connection;
mod indexer;
mod listen;
mod pipe;
mod pool;
mod program;
mod service;
mod stream;

pub use auth::{
    Authenticator, Ban, CertificateError, CertificateNames, DovecotAccounts, DovecotAddress, DovecotAuth,
    Exchange, MasterUsers, PasswordProgram, Sessions, Throttle, ThrottleLimits, TokenIntrospection,
};
pub use connection::{Connection, Socket};
pub use indexer::keep_index;
pub use listen::{Accepted, Admission, Admitted, ConnectionLimits, Listener, Stress, TooMany, network};
pub use mailwright_imap_proto as imap_proto;
pub use mailwright_line_proto as line_proto;
pub use mailwright_mail_model as mail_model;
pub use mailwright_mailstore as mailstore;
pub use mailwright_pop3_proto as pop3_proto;
pub use mailwright_relay_policy as relay_policy;
pub use mailwright_sieve as sieve;
pub use mailwright_smtp_proto as smtp_proto;
pub use pipe::Pipe;
pub use pool::{Pool, in_place};
pub use program::ProcessGroup;
pub use service::ListenerTls;
pub use stream::Stream;
pub use tokio_util::{sync::CancellationToken, task::TaskTracker};
