//! Sending mail: SMTP, submission and LMTP.

mod sending;

use std::sync::Arc;

use mailwright_line_proto::{Authenticate, Closed, Peer, Secret, sasl::Credentials};
use mailwright_mail_model::Domain;
use mailwright_smtp_proto::{
    Atrn, Capabilities, Hello, HelloName, Mail, Message, Noop, Quit, Rcpt, Reply, Rset, StartTls,
    client::{Client, Config, Event},
    server::{self, Server},
};
use tokio::io::AsyncRead;

use super::{ClientError, Endpoint, link::Link, login::NoLogin};
use crate::service::Session;

pub use sending::Sending;
pub(crate) use sending::Sent;

/// A connection over which mail can be sent, one message after the other. LMTP if [`Config::lmtp`] says so.
///
/// A future of it that is dropped in the middle leaves the connection in the middle: then drop the client too.
#[derive(Debug)]
pub struct SmtpClient {
    link: Link<Client>,
    hello: HelloName,
    config: Arc<Config>,
}

/// Why there is no connection to send mail over.
#[derive(Debug)]
pub(crate) struct NotOpened {
    pub(crate) error: ClientError,
    /// Whether STARTTLS was refused, or the connection was over between it and the end of the handshake. What TLS itself says is in the error.
    pub(crate) starting_tls: bool,
}

impl From<ClientError> for NotOpened {
    fn from(error: ClientError) -> Self {
        Self { error, starting_tls: false }
    }
}

impl SmtpClient {
    /// Connects, waits for the greeting, says hello as `hello`, and starts TLS as the endpoint has it. A server that refuses STARTTLS is
    /// spoken to in the clear where TLS is [opportunistic](super::Security::Opportunistic).
    ///
    /// # Errors
    /// [`ClientError`]; [`Misuse::NotOffered`](mailwright_line_proto::Misuse) in it if there is no STARTTLS.
    pub async fn connect(
        endpoint: &Endpoint,
        hello: HelloName,
        config: Arc<Config>,
    ) -> Result<Self, ClientError> {
        Self::open(endpoint, hello, config).await.map_err(|failed| failed.error)
    }

    /// As [`connect`](Self::connect); an error tells whether it was STARTTLS that failed.
    pub(crate) async fn open(
        endpoint: &Endpoint,
        hello: HelloName,
        config: Arc<Config>,
    ) -> Result<Self, NotOpened> {
        let mut client = Self::greeted(endpoint, hello, config).await?;
        let opportunistic = endpoint.is_opportunistic();
        let wanted = endpoint.is_starttls() || opportunistic;
        let offered = wanted && client.offers(|capabilities| capabilities.starttls).await?;
        if endpoint.is_starttls() || offered {
            match client.start_tls().await {
                Ok(reply) if reply.is_positive() => {}
                // RFC 3207 §4: the session goes on as it was; RFC 7435 §3: so does the mail, if it would go in the clear anyway.
                Ok(reply) if opportunistic && reply.code() != 421 => return Ok(client),
                Ok(reply) => {
                    let starting_tls = reply.code() != 421;
                    return Err(NotOpened { error: reply.into(), starting_tls });
                }
                Err(error) => return Err(client.not_started(error)),
            }
            // RFC 3207 §4.2: what was announced before counts no more.
            if let Err(error) = client.hello().await {
                return Err(client.not_started(error));
            }
        }
        Ok(client)
    }

    async fn start_tls(&mut self) -> Result<Reply, ClientError> {
        Ok(answer!(self.link, StartTls, StartTls))
    }

    /// What an error behind STARTTLS means: up to the end of the handshake, a connection that is over was ended by that.
    fn not_started(&mut self, error: ClientError) -> NotOpened {
        let over =
            matches!(error, ClientError::Io(_) | ClientError::Closed(Closed::Eof | Closed::TimedOut(_)));
        let starting_tls = over && self.tls().is_none();
        NotOpened { error, starting_tls }
    }

    async fn greeted(
        endpoint: &Endpoint,
        hello: HelloName,
        config: Arc<Config>,
    ) -> Result<Self, ClientError> {
        let machine = Client::new(Arc::clone(&config));
        let link = Link::open(endpoint, machine, &config.limits, &config.timeouts).await?;
        let mut client = Self { link, hello, config };
        while !matches!(client.link.next().await?, Event::Greeting(_)) {}
        client.hello().await?;
        Ok(client)
    }

    async fn hello(&mut self) -> Result<(), ClientError> {
        answer!(self.link, Hello, Hello::new(self.hello.clone()))?;
        // The rest of a list that a space has torn in the middle: STARTTLS may stand in it.
        self.link.settle().await
    }

    /// Whether something is offered. If it seems not to be, the server is given a reason to speak: of a list that a space has torn in
    /// the middle, the rest may be on its way, and comes before the answer.
    async fn offers(&mut self, what: fn(&Capabilities) -> bool) -> Result<bool, ClientError> {
        if !what(self.capabilities()) {
            // Whatever it says to that.
            let _ = answer!(self.link, Noop, Noop);
        }
        Ok(what(self.capabilities()))
    }

    /// What the server can do.
    pub fn capabilities(&mut self) -> &Capabilities {
        self.link.machine().capabilities()
    }

    /// What TLS agreed on, if there is TLS.
    pub fn tls(&mut self) -> Option<&mailwright_line_proto::TlsInfo> {
        self.link.tls()
    }

    /// Logs in with the strongest mechanism that both sides know, or [another](super) if the server refuses it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the server does not want us; [`ClientError::Auth`] if there is no mechanism that
    /// may be used, or the server did not prove that it knows the password.
    pub async fn login(&mut self, user: &str, password: &Secret) -> Result<(), ClientError> {
        self.authenticate(&Credentials::new(user, password.clone())).await
    }

    /// As [`login`](Self::login), perhaps to act as somebody else.
    ///
    /// # Errors
    /// As for [`login`](Self::login).
    pub async fn authenticate(&mut self, credentials: &Credentials) -> Result<(), ClientError> {
        self.exchange(credentials).await.map_err(|failure| failure.error)
    }

    async fn exchange(&mut self, credentials: &Credentials) -> Result<(), NoLogin> {
        self.offers(|capabilities| !capabilities.auth.is_empty()).await?;
        let offered = self.capabilities().auth.clone();
        let mut attempts = self.link.attempts(offered, credentials, self.config.allow_plaintext_auth);
        loop {
            let mut login = attempts.begin()?;
            let request = Authenticate::new(login.mechanism(), login.initial());
            let ticket = self.link.machine().call(request).map_err(ClientError::from)?;
            let reply = loop {
                match self.link.next().await.map_err(|error| attempts.cut_short(error))? {
                    Event::Challenge(_, challenge) => {
                        let response = login.respond(challenge.expose());
                        self.link.machine().respond(ticket, response.as_ref()).map_err(ClientError::from)?;
                    }
                    Event::Authenticate(_, reply) => break reply,
                    _ => {}
                }
            };
            if reply.is_positive() {
                return Ok(self.link.end_login(login, None).map_err(ClientError::from)?);
            }
            attempts.refused(login, reply.into());
        }
    }

    /// Sends a message that is at hand. The result is the server's last word about each recipient, in their order; it
    /// has taken the message for those whose reply [is positive](Reply::is_positive).
    ///
    /// # Errors
    /// [`ClientError`] if nothing was agreed on. After [`ClientError::Closed`], the server may have the message or not.
    pub async fn send(&mut self, message: Message, mut body: &[u8]) -> Result<Vec<Reply>, ClientError> {
        self.send_from(message, &mut body).await
    }

    /// As [`send`](Self::send), of a message that is streamed: no more of it is read than the server takes.
    ///
    /// # Errors
    /// As for [`send`](Self::send); [`ClientError::Body`] if it could not be read. It is not delivered then, and the
    /// connection is of no further use.
    pub async fn send_from<R: AsyncRead + Unpin>(
        &mut self,
        message: Message,
        body: &mut R,
    ) -> Result<Vec<Reply>, ClientError> {
        let mut sending = self.begin(message).await?;
        sending.read_from(body).await?;
        sending.finish().await
    }

    /// As [`send_from`](Self::send_from), with what was said of the envelope.
    pub(crate) async fn send_told<R: AsyncRead + Unpin>(
        &mut self,
        message: Message,
        body: &mut R,
    ) -> Result<Sent, ClientError> {
        let mut sending = self.begin(message).await?;
        sending.read_from(body).await?;
        let addressed = sending.addressed().clone();
        Ok(Sent { addressed, replies: sending.finish().await? })
    }

    /// Whether another message can be sent over this connection: it is open as far as is known, and the server takes more over one
    /// ([`Client::takes_more`]).
    pub fn takes_more(&mut self) -> bool {
        self.link.machine().takes_more()
    }

    /// Looks at what the server has said since the last answer, without waiting. Whatever it was would be taken for the answer to what is asked
    /// next.
    ///
    /// # Errors
    /// If the connection is over, by that too.
    pub(crate) async fn settle(&mut self) -> Result<(), ClientError> {
        self.link.settle().await
    }

    /// Whether the last message had an answer to its MAIL ([`Client::is_mail_answered`]).
    pub(crate) fn is_mail_answered(&mut self) -> bool {
        self.link.machine().is_mail_answered()
    }

    /// Whether the server has asked for the last message itself ([`Client::is_body_begun`]).
    pub(crate) fn is_body_begun(&mut self) -> bool {
        self.link.machine().is_body_begun()
    }

    /// As [`send`](Self::send), of a message that comes in pieces: asks the server for it, and gives what takes them.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub async fn begin(&mut self, message: Message) -> Result<Sending<'_>, ClientError> {
        let recipients = message.recipients.len();
        let ticket = self.link.machine().call(message)?;
        loop {
            if let Event::Message(answered, addressed) = self.link.next().await?
                && answered == ticket
            {
                return Ok(Sending::new(&mut self.link, addressed, recipients));
            }
        }
    }

    /// Asks whether the server would take mail for a recipient, and sends none: MAIL, RCPT and RSET. The reply to RCPT, or as an error that
    /// to MAIL, if that is refused: it says nothing of the recipient.
    ///
    /// # Errors
    /// [`ClientError`] if there is no answer.
    pub async fn probe(&mut self, mail: Mail, rcpt: Rcpt) -> Result<Result<Reply, Reply>, ClientError> {
        let reply = answer!(self.link, Mail, mail);
        let reply = match reply.is_positive() {
            true => Ok(answer!(self.link, Rcpt, rcpt)),
            false => Err(reply),
        };
        self.reset().await?;
        Ok(reply)
    }

    /// Asks for the mail of these domains, or of all that are the account's, on this connection (ATRN, RFC 2645): from here on this
    /// side is the server. Give what comes of it to [`Smtp::turned_session`](crate::smtp::Smtp::turned_session). Only behind a login.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the host does not agree: 453 says that nothing waits, 450 that the domains are not the account's.
    /// Leave was taken then.
    pub async fn turn(mut self, domains: Vec<Domain>) -> Result<TurnedClient, ClientError> {
        match answer!(self.link, Atrn, Atrn::new(domains)) {
            Ok(()) => Ok(TurnedClient(self.link)),
            Err(reply) => {
                // What is said to the farewell changes nothing.
                let _ = self.quit().await;
                Err(reply.into())
            }
        }
    }

    /// The client on a connection whose client is the server now: waits for the greeting, and says hello.
    pub(crate) async fn turned(
        mut connection: Session<Server>,
        hello: HelloName,
        config: Arc<Config>,
    ) -> Result<Self, ClientError> {
        let tls = connection.machine().inner().session().tls().cloned();
        let machine = Arc::clone(&config);
        let link = Link::over(connection, tls, |mut server: Server| server.turn_round(machine));
        let mut client = Self { link, hello, config };
        while !matches!(client.link.next().await?, Event::Greeting(_)) {}
        client.hello().await?;
        Ok(client)
    }

    /// A sign of life.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn noop(&mut self) -> Result<(), ClientError> {
        positive(answer!(self.link, Noop, Noop))
    }

    /// Makes the server forget what was begun.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reset(&mut self) -> Result<(), ClientError> {
        positive(answer!(self.link, Rset, Rset))
    }

    /// Takes leave.
    ///
    /// # Errors
    /// [`ClientError`]; what was sent before is sent nevertheless.
    pub async fn quit(mut self) -> Result<(), ClientError> {
        let reply = answer!(self.link, Quit, Quit);
        self.link.finish().await;
        positive(reply)
    }
}

/// A connection on which the roles have turned: the host that was asked is the client now, and waits for our greeting.
#[derive(Debug)]
pub struct TurnedClient(Link<Client>);

impl TurnedClient {
    /// The server in place of the client.
    pub(crate) fn into_server(self, config: Arc<server::Config>) -> (Session<Server>, Peer) {
        let peer = self.0.peer();
        let connection = self.0.into_connection(|mut client| client.turn_round(config, peer));
        (connection, peer)
    }
}

fn positive(reply: Reply) -> Result<(), ClientError> {
    if reply.is_positive() { Ok(()) } else { Err(reply.into()) }
}
