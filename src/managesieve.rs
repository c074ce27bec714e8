//! ManageSieve over a store.

use std::{collections::HashMap, fmt::Write as _, io, sync::Arc};

use bytes::{Bytes, BytesMut};
use mailwright_line_proto::{AuthStep, Peer};
use mailwright_mailstore::{
    ScriptLimits, Scripts, Store, StoreError, User,
    accounts::{Accounts, Service as Purpose},
};
use mailwright_sieve::{
    Diagnostic, Language,
    managesieve::{
        Accepted, Listed, Refusal, ResponseCode, Server,
        server::{Config, Event},
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    Authenticator, Connection, Exchange, Listener, ListenerTls, Stream,
    auth::Seat,
    listen::Probation,
    service::{self, ALPN_MANAGESIEVE, Latest, Session, attend, tell_end},
};

/// How much of a script is handed to the connection at a time, in octets.
const CHUNK: usize = 64 * 1024;
/// How much is said of what is wrong with a script, in octets.
const COMPLAINTS: usize = 4096;

/// ManageSieve sessions: each account's scripts, checked before they are stored.
#[derive(Debug)]
pub struct ManageSieve<S, A> {
    store: Arc<S>,
    authenticator: Arc<Authenticator<A>>,
    language: Arc<Language>,
    tls: ListenerTls,
    config: Arc<Config>,
    /// With other mechanisms, if those have changed.
    latest: Latest<Config>,
    limits: ScriptLimits,
    /// By the user's name, or by the domain in it, in lower case: the server that has the scripts.
    referrals: HashMap<String, String>,
}

impl<S: Store + 'static, A: Accounts + 'static> ManageSieve<S, A> {
    /// A service over a store. Scripts are checked in `language`, which ought to be that of the filter at delivery. Of
    /// `config`, what follows from language, accounts, limits and TLS is set here: extensions, mechanisms, the largest
    /// script, and whether STARTTLS is offered.
    pub fn new(
        store: Arc<S>,
        authenticator: Arc<Authenticator<A>>,
        language: Arc<Language>,
        tls: ListenerTls,
        mut config: Config,
        limits: ScriptLimits,
    ) -> Self {
        let tls = tls.speaking(ALPN_MANAGESIEVE);
        config.starttls = tls.is_starttls();
        config.mechanisms = authenticator.mechanisms_for(Purpose::ManageSieve);
        config.extensions = language.extensions().map(str::to_owned).collect();
        // RFC 5804 §1.7: to be said if `enotify` is known.
        if config.notify.is_empty() && language.extensions().any(|name| name == "enotify") {
            config.notify = vec!["mailto".to_owned()];
        }
        // RFC 5804 §1.7: what we say to people is English.
        config.language.get_or_insert_with(|| "en".to_owned());
        config.script = u32::try_from(limits.size).unwrap_or(u32::MAX);
        Self {
            store,
            authenticator,
            language,
            tls,
            config: Arc::new(config),
            latest: Latest::default(),
            limits,
            referrals: HashMap::new(),
        }
    }

    /// Sends users to other servers once they have logged in (RFC 5804 §1.3): each by name, or all of a domain. The
    /// URLs are such as `sieve://sieve.example.net`.
    #[must_use]
    pub fn with_referrals(mut self, referrals: impl IntoIterator<Item = (String, String)>) -> Self {
        self.referrals = referrals.into_iter().map(|(who, url)| (who.to_lowercase(), url)).collect();
        self
    }

    /// Serves every connection of a listener until it is stopped.
    pub async fn serve(self: Arc<Self>, listener: Listener, stop: CancellationToken) {
        let listener =
            listener.with_refusal(self.tls.refusal(b"BYE (TRYLATER) \"too many connections\"\r\n"));
        listener
            .run(move |accepted| {
                let (service, stop) = (Arc::clone(&self), stop.clone());
                async move { service.accepted(accepted, stop).await }
            })
            .await;
    }

    /// Serves one connection of a listener to its end. While connections run out, a client that has not logged in has little
    /// time ([`Stress`](crate::Stress)).
    pub async fn accepted(&self, accepted: crate::Accepted, stop: CancellationToken) {
        let crate::Accepted { socket, peer, admitted } = accepted;
        self.serve_one(socket.into(), peer, Probation::new(Some(admitted)), stop).await;
    }

    /// Serves one connection that nobody counts to its end.
    pub async fn session(&self, socket: impl Into<Stream>, peer: Peer, stop: CancellationToken) {
        self.serve_one(socket.into(), peer, Probation::new(None), stop).await;
    }

    async fn serve_one(&self, socket: Stream, peer: Peer, probation: Probation, stop: CancellationToken) {
        let config =
            self.latest.offering(&self.config, self.authenticator.mechanisms_for(Purpose::ManageSieve));
        let machine = Server::new(config, peer);
        let mut connection = Connection::new(self.tls.secure(machine), socket);
        connection.set_write_timeout(self.config.timeouts.write);
        let seat = self.authenticator.sessions().seat();
        let mut visit =
            Visit { service: self, peer, exchange: None, user: None, seat, script: BytesMut::new() };
        let about = ("managesieve", &peer, self.config.timeouts.work);
        let ended = attend(&mut visit, &mut connection, probation, &stop, about).await;
        tell_end("managesieve", &peer, visit.user.as_ref().map(|user| user as _), ended);
    }
}

/// What is wrong with a script, or what it might do that was not meant.
fn check(language: &Language, script: &[u8]) -> Result<Accepted, Refusal> {
    match language.compile(script) {
        Ok(program) if program.warnings().is_empty() => Ok(Accepted::default()),
        Ok(program) => Ok(Accepted::with_warnings(lines(program.warnings()))),
        Err(error) => Err(Refusal::new(None, lines(error.diagnostics()))),
    }
}

/// RFC 5804 §2.6: several lines are parted by CRLF.
fn lines(diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for (index, diagnostic) in diagnostics.iter().enumerate() {
        let line_end = if index > 0 { "\r\n" } else { "" };
        if text.len() > COMPLAINTS {
            // Writing to a string cannot fail.
            let _ = write!(text, "{line_end}and {} more", diagnostics.len() - index);
            break;
        }
        let _ = write!(text, "{line_end}{diagnostic}");
    }
    text
}

/// The server that has a user's scripts, if it is another one.
fn referral<'r>(referrals: &'r HashMap<String, String>, user: &User) -> Option<&'r str> {
    let name = user.as_str().to_lowercase();
    let domain = || name.rsplit_once('@').and_then(|(_, domain)| referrals.get(domain));
    referrals.get(&name).or_else(domain).map(String::as_str)
}

/// One session.
struct Visit<'a, S, A> {
    service: &'a ManageSieve<S, A>,
    peer: Peer,
    exchange: Option<Exchange>,
    user: Option<User>,
    seat: Seat,
    /// What came of the script that is coming: a language is checked as a whole.
    script: BytesMut,
}

impl<S: Store, A: Accounts> service::Visit<Server> for Visit<'_, S, A> {
    fn is_proved(&self) -> bool {
        self.user.is_some()
    }

    fn seat(&self) -> &Seat {
        &self.seat
    }

    async fn handle(&mut self, connection: &mut Session<Server>, event: Event) -> io::Result<()> {
        let (service, user) = (self.service, self.user.clone());
        let scripts = || service.store.scripts().zip(user.as_ref()).ok_or_else(Refusal::temporary);
        // An answer that comes too late was given by the machine already: nothing is left to do about it.
        let _ = match event {
            Event::Authenticate(ask) => {
                let tls = connection.machine().inner().tls().cloned();
                if !ask.continues {
                    self.seat.begin();
                }
                let (step, user) = service
                    .authenticator
                    .step(&mut self.exchange, &ask, &self.peer, tls.as_ref(), Purpose::ManageSieve)
                    .await;
                let (step, user) = crate::auth::without_guests(step, user);
                if let (AuthStep::Accept, Some(user)) = (&step, &user) {
                    if let Some(url) = referral(&service.referrals, user) {
                        connection.machine().inner_mut().refer(url);
                        return Ok(());
                    }
                    connection.machine().inner_mut().set_owner(user.as_str());
                }
                if let Some(user) = user {
                    self.seat.take(&user);
                    self.user = Some(user);
                }
                connection.machine().inner_mut().answer(ask, step)
            }
            Event::Unauthenticate(ask) => {
                self.user = None;
                self.seat.leave();
                connection.machine().inner_mut().answer(ask, Ok(()))
            }
            Event::HaveSpace(ask) => {
                let answer = match scripts() {
                    Ok((scripts, user)) => {
                        let size = u64::from(ask.size);
                        scripts.admit_script(user, &ask.name, size, service.limits).await.map_err(refusal)
                    }
                    Err(refusal) => Err(refusal),
                };
                connection.machine().inner_mut().answer(ask, answer)
            }
            Event::Upload(ask) => {
                self.script = BytesMut::new();
                let answer = match (scripts(), &ask.name) {
                    (Ok((scripts, user)), Some(name)) => {
                        let size = u64::from(ask.size);
                        scripts.admit_script(user, name, size, service.limits).await.map_err(refusal)
                    }
                    (result, _) => result.map(|_| ()),
                };
                connection.machine().inner_mut().answer(ask, answer)
            }
            Event::Body(chunk) => {
                self.script.extend_from_slice(&chunk);
                Ok(())
            }
            Event::PutScript(ask) => {
                let script = std::mem::take(&mut self.script).freeze();
                let answer = match (check(&service.language, &script), scripts()) {
                    (Ok(accepted), Ok((scripts, user))) => scripts
                        .put_script(user, &ask.name, script, service.limits)
                        .await
                        .map(|()| accepted)
                        .map_err(refusal),
                    (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
                };
                connection.machine().inner_mut().answer(ask, answer)
            }
            Event::CheckScript(ask) => {
                let answer = check(&service.language, &std::mem::take(&mut self.script));
                connection.machine().inner_mut().answer(ask, answer)
            }
            Event::ListScripts(ask) => {
                let answer = match scripts() {
                    Ok((scripts, user)) => scripts.all_scripts(user).await.map_err(refusal),
                    Err(refusal) => Err(refusal),
                };
                let listed = answer.map(|entries| {
                    entries.into_iter().map(|entry| Listed::new(entry.name, entry.active)).collect()
                });
                connection.machine().inner_mut().answer(ask, listed)
            }
            Event::SetActive(ask) => {
                let answer = match scripts() {
                    Ok((scripts, user)) => {
                        scripts.activate_script(user, ask.0.as_ref()).await.map_err(refusal)
                    }
                    Err(refusal) => Err(refusal),
                };
                connection.machine().inner_mut().answer(ask, answer)
            }
            Event::GetScript(ask) => {
                let answer = match scripts() {
                    Ok((scripts, user)) => scripts.script(user, &ask.name).await.map_err(refusal),
                    Err(refusal) => Err(refusal),
                };
                let size = answer.as_ref().map(|script| u32::try_from(script.len()).unwrap_or(u32::MAX));
                let granted = connection.machine().inner_mut().answer(ask, size.map_err(Clone::clone));
                if let (Ok(()), Ok(script)) = (granted, answer) {
                    self.send(connection, script).await?;
                }
                Ok(())
            }
            Event::DeleteScript(ask) => {
                let answer = match scripts() {
                    Ok((scripts, user)) => scripts.delete_script(user, &ask.name).await.map_err(refusal),
                    Err(refusal) => Err(refusal),
                };
                connection.machine().inner_mut().answer(ask, answer)
            }
            Event::RenameScript(ask) => {
                let answer = match scripts() {
                    Ok((scripts, user)) => {
                        scripts.rename_script(user, &ask.from, &ask.to).await.map_err(refusal)
                    }
                    Err(refusal) => Err(refusal),
                };
                connection.machine().inner_mut().answer(ask, answer)
            }
            other => {
                connection.machine().inner_mut().decline(other);
                Ok(())
            }
        };
        Ok(())
    }
}

impl<S: Store, A: Accounts> Visit<'_, S, A> {
    async fn send(&self, connection: &mut Session<Server>, mut script: Bytes) -> io::Result<()> {
        while !script.is_empty() {
            let chunk = script.split_to(script.len().min(CHUNK));
            // If the connection is gone, its closing event says so next.
            let _ = connection.machine().inner_mut().send_body(chunk);
            connection.flush_below(self.service.config.limits.transmit).await?;
        }
        let _ = connection.machine().inner_mut().end_body();
        Ok(())
    }
}

fn refusal(error: StoreError) -> Refusal {
    let code = match &error {
        StoreError::NotFound => return Refusal::nonexistent(),
        StoreError::Exists => ResponseCode::AlreadyExists,
        StoreError::Denied => ResponseCode::Active,
        StoreError::TooLarge { .. } => ResponseCode::QuotaMaxSize,
        StoreError::TooMany { .. } => ResponseCode::QuotaMaxScripts,
        StoreError::OverQuota | StoreError::Full(_) => ResponseCode::Quota,
        _ => {
            tracing::warn!(%error, "scripts cannot be used");
            return Refusal::temporary();
        }
    };
    let text = match &code {
        ResponseCode::Active => "the active script cannot be deleted".to_owned(),
        ResponseCode::AlreadyExists => "there is a script of that name already".to_owned(),
        ResponseCode::QuotaMaxScripts => format!("{error} scripts"),
        _ => error.to_string(),
    };
    Refusal::new(Some(code), text)
}
