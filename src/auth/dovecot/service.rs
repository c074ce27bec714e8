//! Our accounts for others: what Postfix calls `smtpd_sasl_type = dovecot`.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use mailwright_line_proto::{
    Ask, AuthRefusal, AuthStep, Authenticate, Peer, Secret, Shutdown, TlsInfo, can_offer,
    dovecot_auth::{self, Answer, MechanismOffer, Server, ServerConfig, ServerEvent},
    sasl::Mechanism,
};
use mailwright_mailstore::accounts::{Accounts, Service};
use tokio::{
    net::UnixListener,
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::super::{Authenticator, Exchange};
use crate::{Connection, Listener, Socket, service::entropy};

/// How many connections one listener has at once: Postfix opens one for each of its processes.
const CONNECTIONS: usize = 1000;

/// Answers programs that speak Dovecot's authentication protocol: Postfix, Exim, and Dovecot's own proxies.
///
/// Whoever reaches the socket can try passwords and is believed about where a login comes from, so it belongs into a folder
/// that only those programs can enter, or on a private network. Guessing is slowed down by the address that they tell.
#[derive(Debug)]
pub struct DovecotAuth<A> {
    authenticator: Arc<Authenticator<A>>,
    connections: AtomicU32,
}

/// An exchange under way, with what its beginning told.
struct Running {
    mechanism: String,
    peer: Peer,
    secured: bool,
    service: Service,
    exchange: Option<Exchange>,
}

/// Where an exchange is.
enum Open {
    /// It is being decided how it goes on.
    Asked(Ask<dovecot_auth::Exchange>, AbortHandle),
    /// The client is to respond.
    Challenged(Running),
}

impl<A: Accounts + 'static> DovecotAuth<A> {
    /// Over these logins.
    pub fn new(authenticator: Arc<Authenticator<A>>) -> Self {
        Self { authenticator, connections: AtomicU32::new(0) }
    }

    /// Serves every connection of a Unix socket until it is stopped.
    pub async fn serve_unix(
        self: Arc<Self>,
        listener: UnixListener,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let entering = async {
                let place = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
                Ok::<_, io::Error>((listener.accept().await?.0, place))
            };
            let entered = tokio::select! {
                entered = entering => entered,
                () = stop.cancelled() => return,
            };
            match entered {
                Ok((socket, place)) => {
                    let (service, stop) = (Arc::clone(&self), stop.clone());
                    tasks.spawn(async move {
                        service.session(socket, stop).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Serves every connection of a listener until it is stopped.
    pub async fn serve(self: Arc<Self>, listener: Listener, stop: CancellationToken) {
        listener
            .run(move |accepted| {
                let (service, stop) = (Arc::clone(&self), stop.clone());
                async move { service.session(accepted.socket, stop).await }
            })
            .await;
    }

    /// Serves one connection to its end.
    pub async fn session<S: Socket>(&self, socket: S, stop: CancellationToken) {
        if let Err(error) = self.run(socket, stop).await {
            tracing::info!(protocol = "dovecot-auth", %error, "connection lost");
        }
    }

    async fn run<S: Socket>(&self, socket: S, stop: CancellationToken) -> io::Result<()> {
        let mut connection = Connection::new(Server::new(self.config()?), socket);
        let mut open: HashMap<u32, Open> = HashMap::new();
        // Those of one connection are those of everybody behind it: none waits for what another one costs.
        let mut steps = JoinSet::new();
        let mut stopping = false;
        loop {
            let event = tokio::select! {
                event = connection.next() => event?,
                Some(ended) = steps.join_next_with_id() => {
                    match ended {
                        Ok((task, (id, running, answer))) => {
                            // One that was cancelled meanwhile is not there any more, or is another one.
                            let is_its = |exchange: &mut Open| {
                                matches!(exchange, Open::Asked(_, handle) if handle.id() == task)
                            };
                            let found = open.get_mut(&id).is_some_and(is_its);
                            if let Some(Open::Asked(ask, _)) = found.then(|| open.remove(&id)).flatten() {
                                if let Answer::Challenge(_) = answer {
                                    open.insert(id, Open::Challenged(running));
                                }
                                let _ = connection.machine().answer(ask, answer);
                            }
                        }
                        Err(error) if error.is_panic() => return Err(io::Error::other(error)),
                        Err(_) => {}
                    }
                    continue;
                }
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.machine().shutdown(Shutdown::Stopping);
                    continue;
                }
            };
            match event {
                None => return Ok(()),
                Some(ServerEvent::Exchange(ask)) => {
                    let id = ask.id();
                    let before = match open.remove(&id) {
                        Some(Open::Challenged(running)) => Some(running),
                        _ => None,
                    };
                    let Some((running, message)) = begin(before, ask.request()) else {
                        let _ = connection.machine().answer(ask, Answer::Refuse(AuthRefusal::Unavailable));
                        continue;
                    };
                    let authenticator = Arc::clone(&self.authenticator);
                    let handle = steps.spawn(async move {
                        let (running, answer) = step(&authenticator, running, &message).await;
                        (id, running, answer)
                    });
                    open.insert(id, Open::Asked(ask, handle));
                }
                Some(ServerEvent::Cancelled(id)) => {
                    if let Some(Open::Asked(ask, handle)) = open.remove(&id) {
                        handle.abort();
                        // Nobody hears it, and its number is free again.
                        let _ = connection.machine().answer(ask, Answer::Refuse(AuthRefusal::Unavailable));
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn config(&self) -> io::Result<ServerConfig> {
        let offers = self
            .authenticator
            .mechanisms_for(Service::Submission)
            .into_iter()
            .filter(|name| can_offer(name, None));
        let offer = |name: String| {
            let plaintext = Mechanism::find(&name).is_some_and(Mechanism::shows_secret);
            MechanismOffer::new(name, plaintext)
        };
        let mut config = ServerConfig::new(offers.map(offer).collect());
        config.process = std::process::id();
        config.connection = self.connections.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let random = entropy()?;
        for (to, from) in config.cookie.iter_mut().zip(random) {
            *to = from;
        }
        Ok(config)
    }
}

/// An exchange as it goes on, and what the client says next; `None` for one that has not begun.
fn begin(before: Option<Running>, request: &dovecot_auth::Exchange) -> Option<(Running, Authenticate)> {
    let (running, response, continues) = match request {
        dovecot_auth::Exchange::Begin(request) => {
            let port = |address| (address, 0).into();
            let begun = Running {
                mechanism: request.mechanism.clone(),
                peer: Peer::new(request.remote.map(port), request.local.map(port)),
                secured: request.secured,
                service: service(&request.service),
                exchange: None,
            };
            // Exim writes an empty one where its client has sent none. In EXTERNAL alone it says something (RFC 4422 appendix A.1).
            let says = |initial: &Secret| request.mechanism == "EXTERNAL" || !initial.expose().is_empty();
            (begun, request.initial.clone().filter(says), false)
        }
        dovecot_auth::Exchange::Response(response) => (before?, Some(response.clone()), true),
        _ => (before?, None, true),
    };
    let mut message = Authenticate::new(running.mechanism.clone(), response);
    message.continues = continues;
    Some((running, message))
}

async fn step<A: Accounts>(
    authenticator: &Authenticator<A>,
    mut running: Running,
    message: &Authenticate,
) -> (Running, Answer) {
    let tls = running.secured.then(TlsInfo::default);
    let (exchange, service) = (&mut running.exchange, running.service);
    let step = authenticator.step(exchange, message, &running.peer, tls.as_ref(), service);
    let answer = match Box::pin(step).await {
        (AuthStep::Challenge(challenge), _) => Answer::Challenge(challenge),
        // Whoever asks would not know that a guest may change nothing.
        (AuthStep::Accept, Some(user)) if user.is_guest() => Answer::Refuse(AuthRefusal::NotAuthorized),
        (AuthStep::Accept, Some(user)) => Answer::Accept(user.as_str().to_owned()),
        (AuthStep::Refuse(refusal), _) => Answer::Refuse(refusal),
        _ => Answer::Refuse(AuthRefusal::Unavailable),
    };
    (running, answer)
}

/// What a login is for, by Dovecot's name of it.
fn service(name: &str) -> Service {
    match name {
        "imap" => Service::Imap,
        "pop3" => Service::Pop3,
        "sieve" | "managesieve" => Service::ManageSieve,
        _ => Service::Submission,
    }
}
