#![doc = include_str!("../README.md")]

pub mod client;
pub mod server;

mod body;
mod capabilities;
mod command;
mod params;
mod reply;
mod seven_bit;
mod timestamp;
mod turn;
mod words;
mod xtext;

pub use capabilities::{Capabilities, FutureRelease, SessionLimits, SizeLimit};
pub use command::{
    Atrn, Attribute, Bdat, Burl, ClientAttributes, Command, Commit, Connect, Data, Etrn, Expn, Hello,
    HelloKind, HelloName, Mail, Message, Noop, Outcome, Quit, Rcpt, Rset, StartTls, Syntax, SyntaxError,
    Vrfy, XClient, XForward,
};
pub use params::{
    BodyKind, ByMode, Changed, DeliverBy, EnvelopeId, Hold, MailParameters, Notify, OriginalRecipient,
    Parameter, Priority, RcptParameters, ReturnContent, Solicitation, Submitter, ValidSince, VerpDelimiters,
};
pub use reply::{LINE_LIMIT, Reply, ReplyError, Severity};
pub use seven_bit::SevenBit;
pub use turn::{Turn, TurnEvent};
