#![doc = include_str!("../README.md")]

mod blocking;
pub mod dovecot_auth;
pub mod frame;
pub mod language;
#[cfg(feature = "sasl")]
pub mod sasl;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tls")]
pub mod tls;

mod authenticate;
#[cfg(feature = "deflate")]
mod deflate;
mod limits;
mod machine;
mod outgoing;
mod peer;
mod pipeline;
#[cfg(feature = "proxy")]
mod proxy;
mod secret;
#[cfg(feature = "tls")]
mod secure;
mod trace;
mod transmit;

pub use authenticate::{AuthRefusal, AuthStep, Authenticate, Login, is_mechanism_name};
pub use blocking::Blocking;
#[cfg(feature = "deflate")]
pub use deflate::Deflate;
pub use language::Language;
pub use limits::{Limits, Timeouts};
pub use machine::{
    Ask, Closed, Deadline, Gone, Layer, Machine, Misuse, Output, PeerMisbehaved, Request, Shutdown, Ticket,
    Wait,
};
pub use outgoing::Outgoing;
pub use peer::{Peer, TlsInfo, can_offer};
pub use pipeline::Pipeline;
#[cfg(feature = "proxy")]
pub use proxy::ProxyHeader;
pub use secret::Secret;
#[cfg(feature = "tls")]
pub use secure::{Secure, TlsSide};
pub use trace::{Trace, Traced};
pub use transmit::Transmit;
