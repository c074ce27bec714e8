//! The session loop: what the machine asks for, and the end of it all, as they come.

use std::io;

use mailwright_line_proto::{Ask, Closed, Shutdown};
use mailwright_mailstore::accounts::{Accounts, Service as Purpose};
use mailwright_smtp_proto::{
    Expn, Message, Reply, Vrfy,
    server::{Event, Protocol, Server},
};
use tokio_util::sync::CancellationToken;

use super::{Body, Expand, Inbox, Incomplete, SendBack, StartQueue, Verify, Visit, border::BorderFilter};
use crate::{
    auth::Seat,
    listen::Probation,
    service::{Session, abandon, release, revoke, shown, warn},
};

impl<I: Inbox, A: Accounts> Visit<'_, I, A> {
    /// Serves the client until the connection ends or the roles turn.
    pub(super) async fn run(
        &mut self,
        connection: &mut Session<Server>,
        probation: &mut Probation,
        stop: CancellationToken,
    ) -> io::Result<Option<Closed>> {
        let (mut closed, mut stopping, mut revoked, mut given_up) = (None, false, false, false);
        if let Some(news) = probation.first() {
            warn(connection, news);
        }
        let mut pending = None;
        loop {
            let event = match pending.take() {
                Some(event) => Some(event),
                None => tokio::select! {
                    event = connection.next() => event?,
                    () = stop.cancelled(), if !stopping => {
                        stopping = true;
                        connection.machine().inner_mut().shutdown(Shutdown::Stopping);
                        continue;
                    }
                    () = ended(self.seat.as_ref()), if !revoked => {
                        revoked = true;
                        revoke(connection);
                        continue;
                    }
                    news = probation.news() => {
                        warn(connection, news);
                        continue;
                    }
                },
            };
            probation.busy();
            match event {
                None => return Ok(closed),
                Some(Event::Closed(reason)) => closed = Some(reason),
                Some(_) if given_up => {}
                // In boxes, so that a session that only waits does not hold room for all that it might do, nor a command for a message.
                Some(Event::Message(ask)) => {
                    let patience = self.service.config.timeouts.work;
                    match Box::pin(connection.turns().within(patience, self.message(connection, ask))).await {
                        Some(done) => pending = done?,
                        None => given_up = self.give_up(connection),
                    }
                }
                Some(event) => {
                    let patience = self.service.config.timeouts.work;
                    if Box::pin(connection.turns().within(patience, self.handle(connection, event)))
                        .await
                        .is_none()
                    {
                        given_up = self.give_up(connection);
                    }
                }
            }
            if self.turned.is_some() {
                return Ok(None);
            }
            if self.has_recipient || self.conversation.user.is_some() {
                release(connection, probation);
            }
        }
    }

    /// The store, or whatever else is asked, does not answer: the client is told to try again.
    fn give_up(&self, connection: &mut Session<Server>) -> bool {
        let protocol = if self.service.config.protocol == Protocol::Lmtp { "lmtp" } else { "smtp" };
        abandon(connection, protocol, &self.conversation.peer);
        true
    }

    /// Handles an event that is no message.
    async fn handle(&mut self, connection: &mut Session<Server>, event: Event) {
        self.look(connection);
        // An answer that comes too late was given by the machine already: nothing is left to do about it.
        match event {
            Event::Connect(ask) => {
                let answer = self.service.inbox.connection(&self.conversation).await;
                if let Err(reply) = &answer {
                    self.refused("connection", "", reply);
                }
                let _ = connection.machine().inner_mut().answer(ask, answer);
            }
            Event::Hello(ask) => {
                let answer = self.service.inbox.hello(&self.conversation, &ask).await;
                match &answer {
                    Ok(()) => self.conversation.hello = Some(ask.request().clone()),
                    Err(reply) => self.refused("hello", ask.name.as_str(), reply),
                }
                let _ = connection.machine().inner_mut().answer(ask, answer);
            }
            Event::Authenticate(ask) => {
                let Some(authenticator) = &self.service.authenticator else {
                    return connection.machine().inner_mut().decline(Event::Authenticate(ask));
                };
                let tls = connection.machine().inner().session().tls().cloned();
                let peer = self.conversation.peer;
                let tls = tls.as_ref();
                if !ask.continues {
                    self.seat.iter_mut().for_each(Seat::begin);
                }
                let step = authenticator.step(&mut self.exchange, &ask, &peer, tls, Purpose::Submission);
                let (step, user) = Box::pin(step).await;
                let (step, user) = crate::auth::without_guests(step, user);
                if let Some(user) = user {
                    self.seat.iter_mut().for_each(|seat| seat.take(&user));
                    self.conversation.user = Some(user.as_str().to_owned());
                }
                let _ = connection.machine().inner_mut().answer(ask, step);
            }
            Event::Mail(ask) => {
                let reply = self.service.inbox.sender(&self.conversation, &ask).await;
                if reply.is_positive() {
                    self.conversation.mail = Some(ask.request().clone());
                } else {
                    self.refused("sender", &ask.from.to_string(), &reply);
                    self.tarry().await;
                }
                let _ = connection.machine().inner_mut().answer(ask, reply);
            }
            Event::Rcpt(ask) => {
                let reply = self.service.inbox.recipient(&self.conversation, &ask).await;
                self.has_recipient |= reply.is_positive();
                if !reply.is_positive() {
                    self.refused("recipient", &ask.to.to_string(), &reply);
                    self.tarry().await;
                }
                let _ = connection.machine().inner_mut().answer(ask, reply);
            }
            Event::Vrfy(ask) => {
                let reply = match self.service.inbox.verify() {
                    Some(verify) => Box::pin(verify.verify(&self.conversation, &ask)).await,
                    None => Vrfy::DECLINED,
                };
                let _ = connection.machine().inner_mut().answer(ask, reply);
            }
            Event::Expn(ask) => {
                let reply = match self.service.inbox.expand() {
                    Some(expand) => Box::pin(expand.expand(&self.conversation, &ask)).await,
                    None => Expn::DECLINED,
                };
                let _ = connection.machine().inner_mut().answer(ask, reply);
            }
            Event::Etrn(ask) => match self.service.inbox.queues() {
                Some(queues) => {
                    let reply = Box::pin(queues.start(&self.conversation, &ask)).await;
                    let _ = connection.machine().inner_mut().answer(ask, reply);
                }
                None => connection.machine().inner_mut().decline(Event::Etrn(ask)),
            },
            Event::Atrn(ask) => match self.service.inbox.turns() {
                Some(turns) => {
                    let granted = Box::pin(turns.grant(&self.conversation, &ask)).await;
                    let (answer, domains) = match granted {
                        Ok(domains) => (Ok(()), Some(domains)),
                        Err(reply) => (Err(reply), None),
                    };
                    if connection.machine().inner_mut().answer(ask, answer).is_ok() {
                        self.turned = domains;
                    }
                }
                None => connection.machine().inner_mut().decline(Event::Atrn(ask)),
            },
            Event::XClient(ask) => Box::pin(self.take_over(connection, ask)).await,
            Event::XForward(ask) => {
                let (peer, client) = (shown(&self.conversation.peer), &ask.request().0);
                tracing::info!(protocol = "smtp", peer, ?client, "forwarded");
                let _ = connection.machine().inner_mut().answer(ask, Reply::OK);
            }
            Event::Reset => self.conversation.mail = None,
            other => connection.machine().inner_mut().decline(other),
        }
    }

    /// Waits, if there were many refusals before.
    async fn tarry(&mut self) {
        self.refusals = self.refusals.saturating_add(1);
        if let Some((_, delay)) = self.service.tarpit.filter(|(after, _)| self.refusals > *after) {
            tokio::time::sleep(delay).await;
        }
    }

    fn refused(&self, what: &str, name: &str, reply: &Reply) {
        let (peer, reply) = (shown(&self.conversation.peer), reply.to_string());
        tracing::info!(protocol = "smtp", peer, what, name, reply = %reply.trim_end(), "refused");
    }

    /// Takes a message; gives an event that came meanwhile and is not handled yet.
    async fn message(
        &mut self,
        connection: &mut Session<Server>,
        ask: Ask<Message>,
    ) -> io::Result<Option<Event>> {
        self.look(connection);
        let message = ask.request().clone();
        if connection.machine().inner_mut().answer(ask, Ok(())).is_err() {
            return Ok(None);
        }
        // LMTP is for servers of our own, whose results are ours.
        let config = &self.service.config;
        let outside = config.protocol == Protocol::Smtp;
        let border = outside.then(|| BorderFilter::new(config.hostname.as_str()));
        let urls = self.service.urls.as_deref().zip(self.conversation.user.clone());
        let mut body = Body::new(connection, border, urls);
        let outcome = self.service.inbox.deliver(&self.conversation, &message, &mut body).await;
        let next = match body.finish().await {
            Ok(ask) => {
                let _ = connection.machine().inner_mut().answer(ask, outcome);
                None
            }
            Err(Incomplete::Connection(error)) => return Err(error),
            Err(Incomplete::Event(event)) => event.map(|event| *event),
        };
        self.conversation.mail = None;
        Ok(next)
    }
}

/// Completes when the session of an account is to end.
async fn ended(seat: Option<&Seat>) {
    match seat {
        Some(seat) => seat.ended().await,
        None => std::future::pending().await,
    }
}
