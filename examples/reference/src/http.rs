//! HTTP for administrators: what the command line can do, with the same answers. `docs/http.md` is what users read.
//!
//! [`routes`] is the table of everything that can be asked; each row makes an [`admin::Request`](crate::admin::Request) and shows the
//! response, so that HTTP, the control socket and the command line cannot differ.

mod answer;
mod connection;
mod given;
mod print;
mod problem;
mod routes;
mod show;
mod token;

pub(crate) use connection::{Serving, bind, serve};
pub(crate) use print::run;
pub(crate) use token::{TokenEntry, TokenRequest, Tokens};
