//! What all clients have in common: a machine behind TLS on a socket, a login, a body.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use mailwright_line_proto::{
    Closed, Deflate, Limits, Machine, Misuse, Output, Peer, Shutdown, Timeouts, TlsInfo, Transmit,
    sasl::{Context, Credentials},
};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{
    AuthError, ClientError, Endpoint,
    login::{Attempts, Login},
};
use crate::{Connection, Stream, service::Session};

/// How much of a body is read at a time, and how much of it may wait to be sent.
const CHUNK: usize = 64 * 1024;
const AHEAD: usize = 256 * 1024;

/// A client's machine, as far as they are all alike.
pub(super) trait Client: Machine {
    /// The reason, if this is the closing event.
    fn closing(event: &Self::Event) -> Option<&Closed>;

    /// Ends the connection at once.
    fn give_up(&mut self);
}

macro_rules! client {
    ($($protocol:ident),*) => {$(
        impl Client for $protocol::client::Client {
            fn closing(event: &Self::Event) -> Option<&Closed> {
                match event {
                    $protocol::client::Event::Closed(why) => Some(why),
                    _ => None,
                }
            }

            fn give_up(&mut self) {
                self.shutdown(Shutdown::Kicked);
            }
        }
    )*};
}

use mailwright_imap_proto as imap_proto;
use mailwright_pop3_proto as pop3_proto;
use mailwright_sieve::managesieve;
use mailwright_smtp_proto as smtp_proto;

client!(imap_proto, managesieve, pop3_proto, smtp_proto);

/// A client's machine on its socket, with the layers that it may ask for.
#[derive(Debug)]
pub(super) struct Link<M>(Session<Noting<Deflate<M>>>);

impl<M: Client> Link<M> {
    pub(super) async fn open(
        endpoint: &Endpoint,
        machine: M,
        limits: &Limits,
        timeouts: &Timeouts,
    ) -> Result<Self, ClientError> {
        // Before the socket, so that a wrong name costs no connection.
        let machine = Deflate::new(machine).with_limits(limits);
        let machine = endpoint.secure(Noting { machine, tls: None })?.with_limits(limits, timeouts);
        let mut connection = Connection::new(machine, endpoint.open().await?);
        connection.set_write_timeout(timeouts.write);
        Ok(Self(connection))
    }

    /// Over a connection that there is already, whose machine another one takes the place of.
    pub(super) fn over<N: Machine>(
        connection: Session<N>,
        tls: Option<TlsInfo>,
        change: impl FnOnce(N) -> M,
    ) -> Self {
        Self(
            connection
                .map(|secure| secure.map(|machine| Noting { machine: Deflate::new(change(machine)), tls })),
        )
    }

    /// The connection, with another machine in place of this one.
    pub(super) fn into_connection<N: Machine>(self, change: impl FnOnce(M) -> N) -> Session<N> {
        self.0.map(|secure| secure.map(|noting| change(noting.machine.into_inner())))
    }

    /// Who is at the other end.
    pub(super) fn peer(&self) -> Peer {
        match self.0.socket() {
            Stream::Tcp(socket) => Peer::new(socket.peer_addr().ok(), socket.local_addr().ok()),
            _ => Peer::unknown(),
        }
    }

    /// The machine, to call it.
    pub(super) fn machine(&mut self) -> &mut M {
        self.0.machine().inner_mut().machine.inner_mut()
    }

    /// What TLS agreed on.
    pub(super) fn tls(&mut self) -> Option<&TlsInfo> {
        self.0.machine().inner().tls.as_ref()
    }

    /// The next event but the closing one, which is an error.
    pub(super) async fn next(&mut self) -> Result<M::Event, ClientError> {
        let event = self.0.next().await?;
        self.told(event).await
    }

    /// Takes what has come already and is no answer to anything, without waiting for more.
    pub(super) async fn settle(&mut self) -> Result<(), ClientError> {
        let event = tokio::select! {
            biased;
            event = self.0.next() => event?,
            () = std::future::ready(()) => return Ok(()),
        };
        self.told(event).await.map(drop)
    }

    async fn told(&mut self, event: Option<M::Event>) -> Result<M::Event, ClientError> {
        let Some(event) = event else { return Err(Misuse::Closed.into()) };
        let Some(why) = M::closing(&event) else { return Ok(event) };
        // What TLS knows is more exact than what the machine was told.
        let why = self.0.machine().failure().unwrap_or(why).clone();
        // Flushes and closes; what the socket says to that changes nothing any more.
        let _ = self.0.next().await;
        Err(ClientError::Closed(why))
    }

    /// Reads to the end of a connection that is being closed by both sides.
    pub(super) async fn finish(&mut self) {
        while self.next().await.is_ok() {}
    }

    /// Streams a body into the machine, to its end or to the event that came meanwhile: a server may refuse in the middle. If it fails the
    /// connection is given up, for it cannot be gone back to the beginning of it.
    pub(super) async fn send_body<R: AsyncRead + Unpin>(
        &mut self,
        source: &mut R,
        put: impl Fn(&mut M, Bytes) -> Result<(), Misuse>,
    ) -> Result<Option<M::Event>, ClientError> {
        let sent = self.pump(source, put).await;
        self.sent(sent).await
    }

    /// Puts a piece of a body into the machine, and waits until there is room for another: the event that came meanwhile.
    pub(super) async fn put_body(
        &mut self,
        chunk: Bytes,
        put: impl Fn(&mut M, Bytes) -> Result<(), Misuse>,
    ) -> Result<Option<M::Event>, ClientError> {
        let sent = match put(self.machine(), chunk) {
            Ok(()) => self.room().await,
            Err(misuse) => Err(misuse.into()),
        };
        self.sent(sent).await
    }

    async fn room(&mut self) -> Result<Option<M::Event>, ClientError> {
        if let Some(event) = self.0.flush_listening(AHEAD).await? {
            return self.told(Some(event)).await.map(Some);
        }
        let event = tokio::select! {
            biased;
            event = self.0.next() => event?,
            () = std::future::ready(()) => return Ok(None),
        };
        self.told(event).await.map(Some)
    }

    async fn pump<R: AsyncRead + Unpin>(
        &mut self,
        source: &mut R,
        put: impl Fn(&mut M, Bytes) -> Result<(), Misuse>,
    ) -> Result<Option<M::Event>, ClientError> {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            let count = tokio::select! {
                biased;
                event = self.0.next() => {
                    let event = event?;
                    return self.told(event).await.map(Some);
                }
                count = source.read_buf(&mut buffer) => count.map_err(ClientError::Body)?,
            };
            if count == 0 {
                return Ok(None);
            }
            put(self.machine(), buffer.split().freeze())?;
            if let Some(event) = self.0.flush_listening(AHEAD).await? {
                return self.told(Some(event)).await.map(Some);
            }
        }
    }

    /// What came of sending. A server that has refused may take nothing any more, and what it said is more than that the socket failed.
    async fn sent(
        &mut self,
        sent: Result<Option<M::Event>, ClientError>,
    ) -> Result<Option<M::Event>, ClientError> {
        if matches!(sent, Err(ClientError::Io(_)))
            && let Some(event) = self.0.last_words().await
            && M::closing(&event).is_none()
        {
            return Ok(Some(event));
        }
        if sent.is_err() {
            self.machine().give_up();
        }
        sent
    }

    /// Begins a login with the mechanisms that are offered and may be used.
    pub(super) fn attempts(
        &mut self,
        offered: Vec<String>,
        credentials: &Credentials,
        secrets_in_clear: bool,
    ) -> Attempts {
        let context = self.tls().map_or_else(Context::plaintext, Context::tls);
        let context = if secrets_in_clear { context.allow_secrets_in_clear() } else { context };
        Attempts::new(offered, credentials, &context)
    }

    /// Ends a login that the server has accepted, perhaps with what it had still to say in the exchange.
    pub(super) fn end_login(&mut self, login: Login, last: Option<&[u8]>) -> Result<(), AuthError> {
        let proven = login.finish(last);
        if proven.is_err() {
            // Whoever this is, nothing more is said to it.
            self.machine().give_up();
        }
        proven
    }
}

/// A machine, and what its TLS layer told it: binding a channel needs it.
#[derive(Debug)]
pub(super) struct Noting<M> {
    machine: M,
    tls: Option<TlsInfo>,
}

impl<M: Machine> Machine for Noting<M> {
    type Event = M::Event;

    fn poll(&mut self, now: Instant, rx: &mut BytesMut) -> Output<M::Event> {
        self.machine.poll(now, rx)
    }

    fn transmit(&mut self) -> &mut Transmit {
        self.machine.transmit()
    }

    fn handle_eof(&mut self) {
        self.machine.handle_eof();
    }

    fn handle_tls(&mut self, tls: TlsInfo) {
        self.tls = Some(tls.clone());
        self.machine.handle_tls(tls);
    }

    fn handle_failure(&mut self, reason: Closed) {
        self.machine.handle_failure(reason);
    }
}
