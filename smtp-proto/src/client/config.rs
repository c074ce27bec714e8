//! How a client behaves, and what it tells its application.

use mailwright_line_proto::{Authenticate, Closed, Limits, Secret, Ticket, Timeouts};

pub use crate::body::LineEnds;
use crate::{
    Atrn, Burl, Commit, Data, Etrn, Expn, Hello, Mail, Message, Noop, Outcome, Quit, Rcpt, Reply, Rset,
    StartTls, Vrfy, XClient, XForward, server::Protocol,
};

/// The configuration of a client, shared by its connections.
///
/// ```
/// use mailwright_smtp_proto::client::Config;
///
/// let mut config = Config::default();
/// config.require_tls = true;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// Whether HELO is tried where EHLO is refused with 5yz (RFC 5321 §3.2).
    pub fall_back_to_helo: bool,
    /// Whether nothing but STARTTLS may be called in the clear. There is no falling back: without TLS, no mail.
    pub require_tls: bool,
    /// Whether mechanisms that show the password may be used without TLS (RFC 8314 says never).
    pub allow_plaintext_auth: bool,
    /// What is done with a CR without LF or an LF without CR in a message.
    pub line_ends: LineEnds,
    /// What is done with content that the server does not take.
    pub eight_bit: EightBit,
    /// When messages go by BDAT.
    pub chunking: Chunking,
    /// What one connection may cost: `line` is the longest line of a reply.
    pub limits: Limits,
    /// How long each thing may take.
    pub timeouts: Timeouts,
}

/// What a client does with a message of `BODY=8BITMIME` or `BODY=BINARYMIME` for a server that does not take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum EightBit {
    /// It is encoded on its way ([`SevenBit`](crate::SevenBit)); if that cannot be done the body is refused with
    /// [`Misuse::Argument`](mailwright_line_proto::Misuse::Argument).
    #[default]
    Convert,
    /// MAIL is refused with [`Misuse::NotOffered`](mailwright_line_proto::Misuse::NotOffered).
    Refuse,
}

/// When a client sends messages by BDAT (RFC 3030) rather than DATA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Chunking {
    /// If they are binary.
    #[default]
    WhenNeeded,
    /// Whenever the server offers CHUNKING and PIPELINING.
    WhenOffered,
}

impl Config {
    /// The longest line of a reply that is read. RFC 5321 §4.5.3.1.5 has 512.
    pub const REPLY_LINE: usize = 8192;
    /// How many calls may be in flight: more than a server takes at once does no harm.
    pub const IN_FLIGHT: usize = 128;

    /// A client of LMTP.
    pub fn lmtp() -> Self {
        Self { protocol: Protocol::Lmtp, ..Self::default() }
    }
}

impl Default for Config {
    /// A client of SMTP.
    fn default() -> Self {
        let mut limits = Limits::smtp();
        limits.line = Self::REPLY_LINE;
        limits.line_before_login = Self::REPLY_LINE;
        limits.in_flight = Self::IN_FLIGHT;
        Self {
            protocol: Protocol::Smtp,
            fall_back_to_helo: true,
            require_tls: false,
            allow_plaintext_auth: false,
            line_ends: LineEnds::Normalise,
            eight_bit: EightBit::Convert,
            chunking: Chunking::WhenNeeded,
            limits,
            timeouts: Timeouts::smtp(),
        }
    }
}

/// What happened: the server's greeting, the answers to calls, the end.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The server is there; calls can be made.
    Greeting(Reply),
    /// The answer to hello; what is offered is in [`capabilities`](super::Client::capabilities).
    Hello(Ticket<Hello>, Result<(), Reply>),
    /// TLS is up, or was refused. After the former only hello can be called.
    StartTls(Ticket<StartTls>, Reply),
    /// The server's challenge, to be answered by [`respond`](super::Client::respond).
    Challenge(Ticket<Authenticate>, Secret),
    /// The end of the login: 235 is success.
    Authenticate(Ticket<Authenticate>, Reply),
    /// The answer to MAIL.
    Mail(Ticket<Mail>, Reply),
    /// The answer to RCPT.
    Rcpt(Ticket<Rcpt>, Reply),
    /// The answer to DATA: after `Ok` the body is to be sent.
    Data(Ticket<Data>, Result<(), Reply>),
    /// The answers to a whole envelope: if [`is_ready`](Addressed::is_ready), the body is to be sent.
    Message(Ticket<Message>, Addressed),
    /// What became of the message. It can come before the body was ended, if the server wants no more of it.
    BodyEnd(Ticket<Commit>, Outcome),
    /// The answer to RSET.
    Rset(Ticket<Rset>, Reply),
    /// The answer to NOOP.
    Noop(Ticket<Noop>, Reply),
    /// The answer to VRFY.
    Vrfy(Ticket<Vrfy>, Reply),
    /// The answer to EXPN.
    Expn(Ticket<Expn>, Reply),
    /// The answer to ETRN.
    Etrn(Ticket<Etrn>, Reply),
    /// The answer to ATRN. After `Ok`, the connection is to be [turned](super::Client::is_turned).
    Atrn(Ticket<Atrn>, Result<(), Reply>),
    /// The answer to BURL: of the last part, what became of the message.
    Burl(Ticket<Burl>, Reply),
    /// The answer to XCLIENT. After a positive one, hello is to be said again.
    XClient(Ticket<XClient>, Reply),
    /// The answer to XFORWARD.
    XForward(Ticket<XForward>, Reply),
    /// The answer to QUIT.
    Quit(Ticket<Quit>, Reply),
    /// The connection is over. Calls that were not answered never will be: whether they were carried out is not
    /// known, and a message whose [`BodyEnd`](Self::BodyEnd) did not come must be tried again (RFC 1047).
    Closed(Closed),
}

/// What the server said to an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Addressed {
    /// To the sender.
    pub mail: Reply,
    /// To each recipient, in order; fewer than there are if the server does not pipeline and refused the sender. Those
    /// for whom the server has no room in one message ([`limits`](crate::Capabilities::limits)) were not named to it;
    /// theirs is 452 of this client's own, and they are for another message.
    pub recipients: Vec<Reply>,
    /// How many these are, who were not named: the last of the recipients.
    pub unnamed: usize,
    /// To DATA; `None` if it was not called any more. A message that goes by BDAT needs no leave: the 354 is this
    /// client's own.
    pub data: Option<Reply>,
}

impl Addressed {
    /// Whether the body is to be sent now: at least one recipient was accepted, and the server said 354. If not, the
    /// transaction is over, the RSET included.
    pub fn is_ready(&self) -> bool {
        let asked = self.data.as_ref().is_some_and(|reply| reply.code() == 354);
        asked && self.mail.is_positive() && self.recipients.iter().any(Reply::is_positive)
    }
}
