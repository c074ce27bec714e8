//! One session of a service, from its first event to its last.

use std::{fmt, io, time::Duration};

use mailwright_line_proto::{Closed, Deflate, Machine, Peer, Shutdown};
use tokio_util::sync::CancellationToken;

use super::{Session, shown};
use crate::{
    auth::Seat,
    listen::{News, Probation},
};

/// How long a client that makes room for others has to hear so.
const FAREWELL: Duration = Duration::from_secs(1);

/// A server's machine, as far as services treat them alike.
pub(crate) trait ServerMachine: Machine {
    /// The reason, if this is the closing event.
    fn closing(event: &Self::Event) -> Option<&Closed>;

    /// Ends the session as soon as nothing is under way.
    fn shut_down(&mut self, why: Shutdown);

    /// Allows so many errors from now on, if the configuration allows more.
    fn allow_errors(&mut self, most: u32);
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

            fn allow_errors(&mut self, most: u32) {
                self.limit_errors(most);
            }
        }
    )*};
}

server_machine! {
    mailwright_pop3_proto::Server, mailwright_pop3_proto::server::Event::Closed;
    mailwright_sieve::managesieve::Server, mailwright_sieve::managesieve::server::Event::Closed;
    mailwright_smtp_proto::server::Server, mailwright_smtp_proto::server::Event::Closed;
    mailwright_imap_proto::server::Server, mailwright_imap_proto::server::Event::Closed;
}

impl<M: ServerMachine> ServerMachine for Deflate<M> {
    fn closing(event: &Self::Event) -> Option<&Closed> {
        M::closing(event)
    }

    fn shut_down(&mut self, why: Shutdown) {
        self.inner_mut().shut_down(why);
    }

    fn allow_errors(&mut self, most: u32) {
        self.inner_mut().allow_errors(most);
    }
}

/// Tells a session that has proved nothing what it must know.
pub(crate) fn warn<M: ServerMachine>(connection: &mut Session<M>, news: News) {
    match news {
        News::Errors(most) => connection.machine().inner_mut().allow_errors(most),
        News::Over => {
            connection.machine().inner_mut().shut_down(Shutdown::TooBusy);
            connection.end_within(FAREWELL);
        }
    }
}

/// Nothing more is asked of a session that has proved something.
pub(crate) fn release<M: ServerMachine>(connection: &mut Session<M>, probation: &mut Probation) {
    if probation.prove() {
        connection.machine().inner_mut().allow_errors(u32::MAX);
    }
}

/// The session's account is no more what it was.
pub(crate) fn revoke<M: ServerMachine>(connection: &mut Session<M>) {
    connection.machine().inner_mut().shut_down(Shutdown::Revoked);
    connection.end_within(FAREWELL);
}

/// Ends a session whose work has gone on for too long: what was asked is refused with what the protocol has for "try again later". What the peer
/// asks for from then on is not to be answered.
///
/// What the work has begun may be done all the same. Nothing of it was said to be, so nothing is lost, but who asks again may have it done twice.
pub(crate) fn abandon<M: ServerMachine>(connection: &mut Session<M>, protocol: &str, peer: &Peer) {
    tracing::error!(
        protocol,
        peer = shown(peer),
        "what the session wants takes too long, so it ends; it may be done all the same, and again when it is asked for again"
    );
    connection.machine().inner_mut().shut_down(Shutdown::Unanswered);
    connection.end_within(FAREWELL);
}

/// What a service does for one peer.
pub(crate) trait Visit<M: ServerMachine> {
    /// Does what an event asks for; any but the closing one.
    fn handle(
        &mut self,
        connection: &mut Session<M>,
        event: M::Event,
    ) -> impl Future<Output = io::Result<()>> + Send;

    /// Whether the peer has proved something: that it may log in.
    fn is_proved(&self) -> bool;

    /// Its place among the sessions of its account.
    fn seat(&self) -> &Seat;

    /// Lets go of what others may wait for: the session is over, though the peer does not know yet.
    fn end(&mut self) {}
}

/// Serves one peer to the end of its session, or until it is to stop; with what is in the log of it, and how long work may take.
pub(crate) async fn attend<M: ServerMachine>(
    visit: &mut impl Visit<M>,
    connection: &mut Session<M>,
    mut probation: Probation,
    stop: &CancellationToken,
    about: (&str, &Peer, Duration),
) -> io::Result<Option<Closed>> {
    let (protocol, peer, patience) = about;
    let (mut closed, mut stopping, mut revoked, mut abandoned) = (None, false, false, false);
    if let Some(news) = probation.first() {
        warn(connection, news);
    }
    loop {
        let event = tokio::select! {
            biased;
            // First: who always has more to say is ended all the same.
            () = visit.seat().ended(), if !revoked => {
                revoked = true;
                revoke(connection);
                continue;
            }
            event = connection.next() => event?,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.machine().inner_mut().shut_down(Shutdown::Stopping);
                continue;
            }
            news = probation.news() => {
                warn(connection, news);
                continue;
            }
        };
        probation.busy();
        let Some(event) = event else { return Ok(closed) };
        match M::closing(&event) {
            Some(why) => {
                closed = Some(why.clone());
                visit.end();
            }
            None if abandoned => {}
            // In a box, so that a session that only waits does not hold room for everything it might do.
            None => {
                let work = connection.turns().within(patience, visit.handle(connection, event));
                match Box::pin(work).await {
                    Some(done) => done?,
                    None => {
                        visit.end();
                        abandon(connection, protocol, peer);
                        abandoned = true;
                    }
                }
                if visit.is_proved() {
                    release(connection, &mut probation);
                }
            }
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
