//! A connection on which the roles may turn (ATRN, RFC 2645): first the one machine, then the other.

use std::{sync::Arc, time::Instant};

use bytes::BytesMut;
use mailwright_line_proto::{Closed, Machine, Output, Peer, TlsInfo, Transmit};

use crate::{client, server};

/// One side of such a connection. Put it in the place of a server, or of a client, that offers or calls
/// [`Atrn`](crate::Atrn); after a positive answer it is the other, on the same connection and within the same TLS.
///
/// ```
/// use std::sync::Arc;
///
/// use mailwright_line_proto::Peer;
/// use mailwright_smtp_proto::{Turn, client, server};
///
/// let mut config = server::Config::smtp("provider.example")?;
/// config.abilities.turn = true;
/// let server = server::Server::new(Arc::new(config), Peer::unknown());
/// let turn = Turn::server(server, Arc::new(client::Config::default()));
/// assert!(matches!(turn, Turn::Server(..)));
/// # Ok::<(), mailwright_smtp_proto::SyntaxError>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Turn {
    /// It is the server, and will be a client of this configuration.
    Server(Box<server::Server>, Arc<client::Config>),
    /// It is the client, and will be a server of this configuration to this peer.
    Client(Box<client::Client>, Arc<server::Config>, Peer),
}

/// What happened, to whichever it is.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TurnEvent {
    /// To the server.
    Server(server::Event),
    /// To the client. After the turn, the first is the greeting.
    Client(client::Event),
}

impl Turn {
    /// A provider of mail: a server at first.
    pub fn server(server: server::Server, then: Arc<client::Config>) -> Self {
        Self::Server(Box::new(server), then)
    }

    /// A customer: a client at first. Of `then`, what is offered inside must not need what a second STARTTLS would give.
    pub fn client(client: client::Client, then: Arc<server::Config>, peer: Peer) -> Self {
        Self::Client(Box::new(client), then, peer)
    }

    /// The server, if that is what it is now.
    pub fn as_server(&mut self) -> Option<&mut server::Server> {
        match self {
            Self::Server(server, _) => Some(server),
            Self::Client(..) => None,
        }
    }

    /// The client, if that is what it is now.
    pub fn as_client(&mut self) -> Option<&mut client::Client> {
        match self {
            Self::Client(client, ..) => Some(client),
            Self::Server(..) => None,
        }
    }

    /// Turns round if it is time to.
    fn turn(&mut self) {
        let turned = match self {
            Self::Server(server, then) if server.is_turned() => {
                let client = server.turn_round(Arc::clone(then));
                let peer = *server.session().peer();
                Self::Client(Box::new(client), server.shared_config(), peer)
            }
            Self::Client(client, then, peer) if client.is_turned() => {
                let server = client.turn_round(Arc::clone(then), *peer);
                Self::Server(Box::new(server), client.shared_config())
            }
            _ => return,
        };
        *self = turned;
    }
}

impl Machine for Turn {
    type Event = TurnEvent;

    fn poll(&mut self, now: Instant, rx: &mut BytesMut) -> Output<TurnEvent> {
        self.turn();
        match self {
            Self::Server(server, _) => told(server.poll(now, rx), TurnEvent::Server),
            Self::Client(client, ..) => told(client.poll(now, rx), TurnEvent::Client),
        }
    }

    fn transmit(&mut self) -> &mut Transmit {
        match self {
            Self::Server(server, _) => server.transmit(),
            Self::Client(client, ..) => client.transmit(),
        }
    }

    fn handle_eof(&mut self) {
        match self {
            Self::Server(server, _) => server.handle_eof(),
            Self::Client(client, ..) => client.handle_eof(),
        }
    }

    fn handle_tls(&mut self, tls: TlsInfo) {
        match self {
            Self::Server(server, _) => server.handle_tls(tls),
            Self::Client(client, ..) => client.handle_tls(tls),
        }
    }

    fn handle_failure(&mut self, reason: Closed) {
        match self {
            Self::Server(server, _) => server.handle_failure(reason),
            Self::Client(client, ..) => client.handle_failure(reason),
        }
    }
}

fn told<E>(output: Output<E>, tell: impl FnOnce(E) -> TurnEvent) -> Output<TurnEvent> {
    match output {
        Output::Event(event) => Output::Event(tell(event)),
        Output::Start(layer) => Output::Start(layer),
        Output::Close => Output::Close,
        Output::Wait(wait) => Output::Wait(wait),
    }
}
