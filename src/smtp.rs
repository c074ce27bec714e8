//! Mail coming in: SMTP, submission and LMTP.

mod addressing;
mod authentication;
mod binary;
mod body;
mod border;
mod commit;
mod deliver;
mod events;
mod facets;
mod fetched;
mod filtering;
mod held_back;
mod hops;
mod identity;
mod inbox;
mod intake;
pub(crate) mod journal;
mod on_demand;
mod parts;
mod patient;
mod plan;
mod quarantine;
mod recipient;
mod room;
mod solicited;
mod start_queue;
mod timing;
mod trace_fields;
mod unix;
mod urls;

use std::{io, sync::Arc, time::Duration};

use mailwright_line_proto::{Ask, Closed, Peer, Shutdown};
use mailwright_mail_model::Domain;
use mailwright_mailstore::accounts::{Accounts, Nobody, Service as Purpose};
use mailwright_relay_policy::{Session as Conversation, networks::AddressRange};
use mailwright_smtp_proto::{
    Expn, Message, Reply, Vrfy,
    server::{Config, Event, Protocol, Server, VrfyPolicy},
};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use crate::{
    Accepted, Authenticator, Connection, Exchange, Listener, ListenerTls, Stream,
    auth::Seat,
    client::TurnedClient,
    listen::Probation,
    service::{ALPN_SMTP, Latest, Session, release, revoke, shown, tell_end, warn},
};

use border::BorderFilter;

pub use addressing::{Addressing, Elsewhere};
pub use authentication::{Authentication, Observation};
pub use body::{Body, Incomplete};
pub use deliver::StoreInbox;
pub(crate) use deliver::queue_id;
pub use facets::{Expand, SendBack, StartQueue, Verify};
pub use inbox::Inbox;
pub use on_demand::{OnDemand, TurnedServer};
pub(crate) use plan::{Origin, Plan, Way};
pub use start_queue::QueueStarter;
pub(crate) use timing::Times;
pub use trace_fields::{delivered_to, received, return_path};
pub(crate) use trace_fields::{fetched_words, now};
pub use urls::{NextOctets, OpenUrl, UrlOctets, UrlSource};

/// SMTP, submission or LMTP sessions: `config` says which.
#[derive(Debug)]
pub struct Smtp<I, A> {
    inbox: Arc<I>,
    authenticator: Option<Arc<Authenticator<A>>>,
    /// Who knows the accounts that proxies name, if that is another one.
    proxied: Option<Arc<Authenticator<A>>>,
    tls: ListenerTls,
    config: Arc<Config>,
    /// With other mechanisms, if those have changed.
    latest: Latest<Config>,
    xclient: Vec<AddressRange>,
    xforward: Vec<AddressRange>,
    verp: Vec<AddressRange>,
    /// After so many refusals, each further one takes so long.
    tarpit: Option<(u32, Duration)>,
    urls: Option<Arc<dyn UrlSource>>,
}

impl<I: Inbox + 'static> Smtp<I, Nobody> {
    /// As [`new`](Self::new), where nobody logs in.
    pub fn without_logins(inbox: Arc<I>, tls: ListenerTls, config: Config) -> Self {
        Self::new(inbox, None, tls, config)
    }
}

impl<I: Inbox + 'static, A: Accounts + 'static> Smtp<I, A> {
    /// A service over an inbox. Without an authenticator nobody can log in. Of `config`, what follows from these and
    /// from TLS is set here: the mechanisms, and whether STARTTLS is offered.
    pub fn new(
        inbox: Arc<I>,
        authenticator: Option<Arc<Authenticator<A>>>,
        tls: ListenerTls,
        mut config: Config,
    ) -> Self {
        let tls = tls.speaking(ALPN_SMTP);
        config.starttls = tls.is_starttls();
        config.ask_connect = true;
        config.auth_mechanisms = authenticator
            .as_ref()
            .map(|authenticator| authenticator.mechanisms_for(Purpose::Submission))
            .unwrap_or_default();
        config.abilities = inbox.abilities();
        config.abilities.start_queue = inbox.queues().is_some();
        // There is nobody to fetch the one before `with_urls`, and the other is for few to do: `with_turning`.
        config.abilities.burl = None;
        config.abilities.turn = false;
        if config.vrfy == VrfyPolicy::Ask && inbox.verify().is_none() {
            config.vrfy = VrfyPolicy::Decline;
        }
        if config.expn == VrfyPolicy::Ask && inbox.expand().is_none() {
            config.expn = VrfyPolicy::Off;
        }
        let config = Arc::new(config);
        let (xclient, xforward, verp) = (Vec::new(), Vec::new(), Vec::new());
        let latest = Latest::default();
        let (proxied, tarpit, urls) = (None, None, None);
        Self { inbox, authenticator, proxied, tls, config, latest, xclient, xforward, verp, tarpit, urls }
    }

    /// Believes XCLIENT from proxies at the first addresses and XFORWARD at the second. From nobody else, and by default
    /// from nobody.
    pub fn with_proxies(mut self, xclient: Vec<AddressRange>, xforward: Vec<AddressRange>) -> Self {
        (self.xclient, self.xforward) = (xclient, xforward);
        self
    }

    /// Finds here the accounts that believed proxies say their clients have logged in to (XCLIENT LOGIN), where nobody logs in by other
    /// means. Without either such a login is refused.
    #[must_use]
    pub fn with_proxied_logins(mut self, authenticator: Arc<Authenticator<A>>) -> Self {
        self.proxied = Some(authenticator);
        self
    }

    /// Lets clients at these addresses have senders written that tell who a message was for (XVERP).
    #[must_use]
    pub fn with_verp(mut self, clients: Vec<AddressRange>) -> Self {
        self.verp = clients;
        self
    }

    /// Makes clients wait for each refusal of a sender or a recipient after so many of them: who guesses addresses guesses slowly.
    pub fn with_tarpit(mut self, after: u32, delay: Duration) -> Self {
        self.tarpit = (!delay.is_zero()).then_some((after, delay));
        self
    }

    /// Lets clients that have logged in come for the mail of their domains (ATRN, RFC 2645), if the inbox can send it back. For a
    /// listener at port 366.
    #[must_use]
    pub fn with_turning(mut self) -> Self {
        let mut config = Config::clone(&self.config);
        config.abilities.turn = self.authenticator.is_some() && self.inbox.turns().is_some();
        self.config = Arc::new(config);
        self
    }

    /// Fetches parts of messages from here for users who have logged in, and says so with these words: `imap`, `imap://host` (RFC 4468
    /// §3.2).
    #[must_use]
    pub fn with_urls(mut self, urls: Arc<dyn UrlSource>, words: Vec<String>) -> Self {
        let mut config = Config::clone(&self.config);
        config.abilities.burl = self.authenticator.is_some().then_some(words);
        self.config = Arc::new(config);
        self.urls = Some(urls);
        self
    }

    /// The configuration for this peer: what it may do depends on where it is, and what it can log in with on the accounts as they are.
    fn config_for(&self, peer: &Peer) -> Arc<Config> {
        let now = match &self.authenticator {
            Some(authenticator) => {
                self.latest.offering(&self.config, authenticator.mechanisms_for(Purpose::Submission))
            }
            None => Arc::clone(&self.config),
        };
        let is_in = |ranges: &[AddressRange]| {
            let address = peer.remote.map(|remote| remote.ip().to_canonical());
            address.is_some_and(|address| ranges.iter().any(|range| range.contains(address)))
        };
        let (xclient, xforward, verp) = (is_in(&self.xclient), is_in(&self.xforward), is_in(&self.verp));
        let hold = self.inbox.longest_hold().filter(|_| self.authenticator.is_some());
        if !xclient && !xforward && !verp && hold.is_none() {
            return now;
        }
        let mut config = Config::clone(&now);
        (config.xclient, config.xforward, config.verp) = (xclient, xforward, verp);
        if let Some(hold) = hold {
            config.abilities.future_release = timing::longest(hold);
        }
        Arc::new(config)
    }

    /// Serves every connection of a listener until it is stopped.
    pub async fn serve(self: Arc<Self>, listener: Listener, stop: CancellationToken) {
        let listener = listener.with_refusal(self.tls.refusal(b"421 4.7.0 Too many connections\r\n"));
        listener
            .run(move |accepted| {
                let (service, stop) = (Arc::clone(&self), stop.clone());
                async move { service.accepted(accepted, stop).await }
            })
            .await;
    }

    /// Serves one connection of a listener to its end. While connections run out, a client that has neither logged in nor named a
    /// recipient that was accepted has little time ([`Stress`](crate::Stress)).
    pub async fn accepted(&self, accepted: Accepted, stop: CancellationToken) {
        let Accepted { socket, peer, admitted } = accepted;
        let mut conversation = Conversation::default();
        conversation.peer = peer;
        self.serve_one(socket.into(), conversation, Probation::new(Some(admitted)), stop).await;
    }

    /// Serves one connection that nobody counts to its end.
    pub async fn session(&self, socket: impl Into<Stream>, peer: Peer, stop: CancellationToken) {
        let mut conversation = Conversation::default();
        conversation.peer = peer;
        self.serve_one(socket.into(), conversation, Probation::new(None), stop).await;
    }

    /// Serves a program of this machine, run by this user, to its end: what sendmail's name stands for.
    pub async fn local_session(&self, socket: UnixStream, user: String, stop: CancellationToken) {
        let mut conversation = Conversation::default();
        conversation.local = Some(user);
        self.serve_one(socket.into(), conversation, Probation::new(None), stop).await;
    }

    fn serve_one(
        &self,
        socket: Stream,
        conversation: Conversation,
        probation: Probation,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send {
        let peer = conversation.peer;
        let machine = Server::new(self.config_for(&peer), peer);
        let mut connection = Connection::new(self.tls.secure(machine), socket);
        connection.set_write_timeout(self.config.timeouts.write);
        self.attend(connection, conversation, probation, stop)
    }

    /// Serves a connection on which the roles have turned to its end: the host that was asked for mail sends it.
    pub async fn turned_session(&self, turned: TurnedClient, stop: CancellationToken) {
        let mut config = Config::clone(&self.config);
        // It was looked for, it has no more to prove, and there is no second layer of TLS.
        config.ask_connect = false;
        (config.starttls, config.require_tls, config.require_auth) = (false, false, false);
        config.auth_mechanisms.clear();
        config.abilities.turn = false;
        let (connection, peer) = turned.into_server(Arc::new(config));
        let mut conversation = Conversation::default();
        (conversation.peer, conversation.fetched) = (peer, true);
        self.attend(connection, conversation, Probation::new(None), stop).await;
    }

    /// Not an `async fn`: that would keep what it is given twice, as it was given and as it is used.
    fn attend(
        &self,
        mut connection: Session<Server>,
        conversation: Conversation,
        mut probation: Probation,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send {
        let peer = conversation.peer;
        let (exchange, turned) = (None, None);
        let seat = self.knows_accounts().map(|authenticator| authenticator.sessions().seat());
        let mut visit =
            Visit { service: self, conversation, exchange, seat, refusals: 0, has_recipient: false, turned };
        async move {
            let ended = visit.run(&mut connection, &mut probation, stop.clone()).await;
            if let Some((domains, turns)) = visit.turned.take().zip(self.inbox.turns()) {
                tokio::select! {
                    () = Box::pin(turns.send_back(domains, TurnedServer(connection))) => {}
                    // What is under way may end; the rest waits for the next time.
                    () = stop.cancelled() => {}
                }
            }
            tell_end("smtp", &peer, visit.conversation.user.as_ref().map(|user| user as _), ended);
        }
    }
}

/// Completes when the session of an account is to end.
async fn ended(seat: Option<&Seat>) {
    match seat {
        Some(seat) => seat.ended().await,
        None => std::future::pending().await,
    }
}

/// One session.
struct Visit<'a, I, A> {
    service: &'a Smtp<I, A>,
    conversation: Conversation,
    exchange: Option<Exchange>,
    /// Its place among the sessions of its account, where there are accounts.
    seat: Option<Seat>,
    refusals: u32,
    /// A recipient was accepted, of any message.
    has_recipient: bool,
    /// The roles have turned, for the mail of these domains.
    turned: Option<Vec<Domain>>,
}

impl<I: Inbox, A: Accounts> Visit<'_, I, A> {
    async fn run(
        &mut self,
        connection: &mut Session<Server>,
        probation: &mut Probation,
        stop: CancellationToken,
    ) -> io::Result<Option<Closed>> {
        let (mut closed, mut stopping, mut revoked) = (None, false, false);
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
                // In boxes, so that a session that only waits does not hold room for all that it might do, nor a command for a message.
                Some(Event::Message(ask)) => pending = Box::pin(self.message(connection, ask)).await?,
                Some(event) => Box::pin(self.handle(connection, event)).await,
            }
            if self.turned.is_some() {
                return Ok(None);
            }
            if self.has_recipient || self.conversation.user.is_some() {
                release(connection, probation);
            }
        }
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
