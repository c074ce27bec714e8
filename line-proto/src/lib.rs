#![doc = include_str!("../README.md")]

pub mod frame;
#[cfg(feature = "testing")]
pub mod testing;

mod authenticate;
mod limits;
mod machine;
mod peer;
mod pipeline;
mod secret;
mod trace;
mod transmit;

pub use authenticate::{AuthRefusal, AuthStep, Authenticate, Login};
pub use limits::{Limits, Timeouts};
pub use machine::{
    Ask, Closed, Deadline, Gone, Layer, Machine, Misuse, Output, PeerMisbehaved, Request, Shutdown, Ticket,
    Wait,
};
pub use peer::{Peer, TlsInfo};
pub use pipeline::Pipeline;
pub use secret::Secret;
pub use trace::{Trace, Traced};
pub use transmit::Transmit;
