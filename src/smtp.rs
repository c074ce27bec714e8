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
mod opening;
mod parts;
mod patient;
mod plan;
mod quarantine;
mod recipient;
mod room;
mod session;
mod solicited;
mod start_queue;
mod timing;
mod trace_fields;
mod unix;
mod urls;

use std::{sync::Arc, time::Duration};

use mailwright_line_proto::Peer;
use mailwright_mail_model::Domain;
use mailwright_mailstore::accounts::{Accounts, Nobody, Service as Purpose};
use mailwright_relay_policy::{Session as Conversation, networks::AddressRange};
use mailwright_smtp_proto::server::{Config, Server, VrfyPolicy};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use crate::{
    Accepted, Authenticator, Connection, Exchange, Listener, ListenerTls, Stream,
    auth::Seat,
    client::TurnedClient,
    listen::Probation,
    service::{ALPN_SMTP, Latest, Session, tell_end},
};

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
