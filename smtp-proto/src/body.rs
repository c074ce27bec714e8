//! Message bodies: how a server takes one and how a client sends one.

mod receive;

pub(crate) use receive::{Part, Receiver};
