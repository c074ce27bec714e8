//! What a server tells its application.

use bytes::Bytes;
use mailwright_line_proto::{Ask, Authenticate, Closed};

use crate::{Atrn, Burl, Commit, Connect, Etrn, Expn, Hello, Mail, Message, Rcpt, Vrfy, XClient, XForward};

/// What happened. Every `Ask` wants an answer: [`Server::answer`](super::Server::answer), or
/// [`Server::decline`](super::Server::decline) for what an application does not care for.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A client has connected; asked only with [`Config::ask_connect`](super::Config::ask_connect).
    Connect(Ask<Connect>),
    /// It says who it is.
    Hello(Ask<Hello>),
    /// It logs in.
    Authenticate(Ask<Authenticate>),
    /// It begins a message.
    Mail(Ask<Mail>),
    /// It names a recipient. Up to [`in_flight`](mailwright_line_proto::Limits::in_flight) of them are asked at
    /// once; they may be answered in any order, and the replies leave in the order of the commands.
    Rcpt(Ask<Rcpt>),
    /// It wants to send the message.
    Message(Ask<Message>),
    /// A part of the message, dots unstuffed. The parts have no meaning; a line or a CRLF may be cut.
    Body(Bytes),
    /// The message will not be complete: what came of it is to be thrown away. The machine refuses it.
    BodyAborted(Aborted),
    /// The message is complete.
    BodyEnd(Ask<Commit>),
    /// The transaction begun with MAIL ended without a message: RSET, EHLO.
    Reset,
    /// It wants to know whether there is such a user; asked only with
    /// [`VrfyPolicy::Ask`](super::VrfyPolicy::Ask).
    Vrfy(Ask<Vrfy>),
    /// It wants to know who is on a list; asked only with [`VrfyPolicy::Ask`](super::VrfyPolicy::Ask).
    Expn(Ask<Expn>),
    /// It wants a queue to be run.
    Etrn(Ask<Etrn>),
    /// It wants its mail on this connection. After a positive answer the connection is to be
    /// [turned](super::Server::is_turned).
    Atrn(Ask<Atrn>),
    /// The next part of the message is at this URL.
    Burl(Ask<Burl>),
    /// It is a proxy, and says for whom it speaks. After a positive answer nothing that was known of the client holds
    /// any more; the new address is in the [session](super::Session::peer).
    XClient(Ask<XClient>),
    /// It is a proxy or filter, and says whose message the next one is.
    XForward(Ask<XForward>),
    /// The connection is over, and whatever was under way with it.
    Closed(Closed),
}

/// Why a message is refused by the machine itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Aborted {
    /// It is larger than [`Config::max_message_size`](super::Config::max_message_size); the rest is thrown away.
    TooLarge,
    /// It has a CR without LF or an LF without CR.
    BareLineEnds,
    /// Not all of its parts came: the client said RSET or EHLO between two of them, or one could not be fetched.
    Unfinished,
}
