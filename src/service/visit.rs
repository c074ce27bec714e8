//! One session of a service, from its first event to its last.

use std::{fmt, io};

use mailwright_line_proto::{Closed, Machine, Peer, Shutdown};
use tokio_util::sync::CancellationToken;

use super::{Session, shown};

/// A server's machine, as far as services treat them alike.
pub(crate) trait ServerMachine: Machine {
    /// The reason, if this is the closing event.
    fn closing(event: &Self::Event) -> Option<&Closed>;

    /// Ends the session as soon as nothing is under way.
    fn shut_down(&mut self, why: Shutdown);
}

macro_rules! server_machine {
    ($($server:path, $event:path;)*) => {$(
        impl ServerMachine for $server {
            fn closing(event: &Self::Event) -> Option<&Closed> {
                match event {
                    $event(why) => Some(why),
                    _ => None,
                }
            }

            fn shut_down(&mut self, why: Shutdown) {
                self.shutdown(why);
            }
        }
    )*};
}

server_machine! {
    mailwright_pop3_proto::Server, mailwright_pop3_proto::server::Event::Closed;
    mailwright_sieve::managesieve::Server, mailwright_sieve::managesieve::server::Event::Closed;
}

/// What a service does for one peer.
pub(crate) trait Visit<M: ServerMachine> {
    /// Does what an event asks for; any but the closing one.
    fn handle(
        &mut self,
        connection: &mut Session<M>,
        event: M::Event,
    ) -> impl Future<Output = io::Result<()>> + Send;

    /// Lets go of what others may wait for: the session is over, though the peer does not know yet.
    fn end(&mut self) {}
}

/// Serves one peer to the end of its session, or until it is to stop.
pub(crate) async fn attend<M: ServerMachine>(
    visit: &mut impl Visit<M>,
    connection: &mut Session<M>,
    stop: &CancellationToken,
) -> io::Result<Option<Closed>> {
    let (mut closed, mut stopping) = (None, false);
    loop {
        let event = tokio::select! {
            biased;
            event = connection.next() => event?,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.machine().inner_mut().shut_down(Shutdown::Stopping);
                continue;
            }
        };
        let Some(event) = event else { return Ok(closed) };
        match M::closing(&event) {
            Some(why) => {
                closed = Some(why.clone());
                visit.end();
            }
            // In a box, so that a session that only waits does not hold room for everything it might do.
            None => Box::pin(visit.handle(connection, event)).await?,
        }
    }
}

/// Tells in the log how a session ended.
pub(crate) fn tell_end(
    protocol: &str,
    peer: &Peer,
    user: Option<&dyn fmt::Display>,
    ended: io::Result<Option<Closed>>,
) {
    let (peer, user) = (shown(peer), user.unwrap_or(&"-"));
    match ended {
        Ok(closed) => tracing::info!(protocol, peer, %user, ?closed, "disconnected"),
        Err(error) => tracing::info!(protocol, peer, %user, %error, "connection lost"),
    }
}
