//! Message bodies: how a server takes one and how a client sends one.

mod receive;
mod send;

pub(crate) use receive::{Part, Receiver};
pub use send::LineEnds;
pub(crate) use send::Sender;
