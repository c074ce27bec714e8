//! Mail going out: what the server sends, and the commands that show and change what waits.

mod admin;
mod outbound;
mod print;
mod sts;
mod suppressed;

pub(crate) use admin::{Access, Change, Entry, QueueRequest, QueueResponse, Selection, answer, unix_time};
pub(crate) use outbound::{Outbound, Parts, own_lists, resolver, start, web};
pub(crate) use print::{entries, flush, mailq, run};
pub(crate) use sts::{KeptPolicies, WebPolicies};
pub(crate) use suppressed::{Suppressed, SuppressedEntry};
