#![doc = include_str!("../README.md")]

pub mod client;
pub mod server;

mod body;
mod capabilities;
mod command;
mod params;
mod reply;
mod xtext;

pub use capabilities::{Capabilities, SizeLimit};
pub use command::{
    Command, Commit, Connect, Data, Hello, HelloKind, HelloName, Mail, Message, Noop, Outcome, Quit, Rcpt,
    Rset, StartTls, Syntax, SyntaxError, Vrfy,
};
pub use params::{BodyKind, MailParameters, RcptParameters, Submitter};
pub use reply::{LINE_LIMIT, Reply, ReplyError, Severity};
