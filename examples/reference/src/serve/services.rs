//! The protocols: what each listener serves.

use std::{sync::Arc, time::Duration};

use mailwright::{
    Admission, Authenticator, DovecotAuth, Listener, ListenerTls,
    fetch::{FetchConfig, Fetcher},
    imap::{Imap, MailboxUrls},
    mailstore::Store as _,
    managesieve::ManageSieve,
    pop3::{Maildrops, Pop3},
    smtp::Smtp,
    smtp_proto::HelloName,
};
use tokio::{
    net::UnixListener,
    sync::{Semaphore, watch},
    task::AbortHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Inbox, ServeError, Store,
    sockets::{Accept, auth_socket, tcp_socket},
};
use crate::{
    config::{self, Answers, Config, Lists, Protocol, Syntax, TlsMode, auth::Listen},
    directory::{Directory, Logins, Members},
    fetch::Fetch,
    local::Users,
    on_demand::{Caller, Receiving},
};

/// How many programs hand mail over at once; more wait.
const MOST_PROGRAMS: usize = 100;

/// What every listener needs.
pub(super) struct Services {
    pub(super) inbox: Arc<Inbox>,
    pub(super) store: Arc<Store>,
    pub(super) authenticator: Arc<Authenticator<Logins>>,
    pub(super) directory: Arc<Directory>,
    /// What all POP3 listeners know of each other.
    pub(super) maildrops: Maildrops,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) config: Arc<Config>,
}

impl Services {
    /// Fetches mail from accounts elsewhere.
    pub(super) fn fetch(&self, fetch: &Fetch) -> Result<(), ServeError> {
        let (stop, tasks) = (self.stop.clone(), self.tasks.clone());
        let options = self.fetch_options();
        let fetcher = Fetcher::new(Arc::clone(&self.inbox), fetch.ledger(), options, stop, tasks);
        let path = self.config.data.display().to_string();
        fetch.start(fetcher).map_err(|source| ServeError::Store { path, source })
    }

    /// How it is fetched.
    pub(super) fn fetch_options(&self) -> FetchConfig {
        self.config.fetch.options(&self.config.hostname, self.config.limits.message_size)
    }

    /// Comes for mail that waits elsewhere. What receives it can be replaced: each call goes by what is there then.
    pub(super) fn call_providers(&self, fetch: &Fetch) -> Result<watch::Sender<Arc<Receiving>>, ServeError> {
        let receiving = watch::Sender::new(Arc::new(self.receiving()?));
        for provider in self.config.on_demand.providers.clone() {
            let (receiving, calls) = (receiving.subscribe(), fetch.calls());
            self.tasks.spawn(Caller { provider, receiving, calls }.run(self.stop.clone()));
        }
        Ok(receiving)
    }

    /// What takes mail of providers that are called.
    pub(super) fn receiving(&self) -> Result<Receiving, ServeError> {
        let config = &self.config;
        let made = mailwright::smtp_proto::server::Config::smtp(&config.hostname);
        let wrong = |error: mailwright::smtp_proto::SyntaxError| ServeError::Config(error.to_string());
        let smtp = self.limited(made.map_err(wrong)?);
        let service = Arc::new(Smtp::new(Arc::clone(&self.inbox), None, ListenerTls::None, smtp));
        let hello: HelloName = config.hostname.parse().map_err(wrong)?;
        // Without providers nobody is trusted, and no file is read.
        let asks = !config.on_demand.providers.is_empty();
        let tls = if asks { self.fetch_options().tls } else { None };
        Ok(Receiving { hello, tls, service })
    }

    /// Answers other programs that ask whether a login is right.
    pub(super) async fn answer_others(&self, admission: &Arc<Admission>) -> Result<(), ServeError> {
        let service = Arc::new(DovecotAuth::new(Arc::clone(&self.authenticator)));
        for place in self.config.auth.listen() {
            let (service, stop, tasks) = (Arc::clone(&service), self.stop.clone(), self.tasks.clone());
            match place {
                Listen::Path(path) => {
                    let shown = path.display().to_string();
                    let failed = |source| ServeError::AuthSocket { path: shown.clone(), source };
                    let listener = auth_socket(&path, self.config.auth.mode()).map_err(failed)?;
                    tracing::info!(protocol = "dovecot-auth", path = shown, "listening");
                    self.tasks.spawn(service.serve_unix(listener, stop, tasks));
                }
                Listen::Address(address) => {
                    let failed = |source| ServeError::Listen {
                        protocol: "dovecot-auth",
                        address: address.to_string(),
                        source,
                    };
                    let socket = tcp_socket(address).map_err(failed)?;
                    let bound = socket.local_addr().map_err(failed)?;
                    tracing::info!(protocol = "dovecot-auth", address = %bound, "listening");
                    let accept = Listener::new(socket, Arc::clone(admission), stop.clone(), tasks);
                    self.tasks.spawn(service.serve(accept, stop));
                }
            }
        }
        Ok(())
    }

    /// Takes mail from programs of this machine.
    pub(super) fn take_from_programs(&self, socket: UnixListener) -> Result<AbortHandle, ServeError> {
        let hostname = &self.config.hostname;
        let config = mailwright::smtp_proto::server::Config::smtp(hostname)
            .map_err(|error| ServeError::Config(error.to_string()))?;
        let config = self.limited(config);
        let service =
            Arc::new(Smtp::<_, Logins>::new(Arc::clone(&self.inbox), None, ListenerTls::None, config));
        let (stop, tasks) = (self.stop.clone(), self.tasks.clone());
        let accepting = self.tasks.spawn(async move {
            let places = Arc::new(Semaphore::new(MOST_PROGRAMS));
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let accepted = tokio::select! {
                    () = stop.cancelled() => return,
                    accepted = socket.accept() => accepted,
                };
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let number = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
                let user = Users.by_number(number).map_or_else(|| format!("uid{number}"), |user| user.name);
                let (service, stop) = (Arc::clone(&service), stop.clone());
                tasks.spawn(async move {
                    service.local_session(stream, user, stop).await;
                    drop(place);
                });
            }
        });
        Ok(accepting.abort_handle())
    }

    /// Serves a listener; sessions are tasks of their own, which go on when accepting is ended.
    pub(super) fn start(
        &self,
        listener: &config::Listener,
        accept: Accept,
        admission: &Arc<Admission>,
        tls: ListenerTls,
    ) -> Result<AbortHandle, ServeError> {
        let network = |accept| match accept {
            Accept::Network(listener) => Ok(listener),
            Accept::Unix(_) => {
                Err(ServeError::Config("only smtp and lmtp are served at sockets of the file system".into()))
            }
        };
        let (stop, plaintext) = (self.stop.clone(), self.config.allow_plaintext_auth);
        let accepting = match listener.protocol {
            Protocol::Pop3 => {
                let mut config = self.config.pop3.config();
                config.timeouts.work = self.config.limits.work();
                config.allow_plaintext_auth = plaintext;
                let options = self.config.pop3.options(&self.config.hostname, &self.maildrops);
                let service =
                    Pop3::new(Arc::clone(&self.store), Arc::clone(&self.authenticator), tls, config)
                        .with_options(options);
                self.tasks.spawn(Arc::new(service).serve(network(accept)?, stop))
            }
            Protocol::ManageSieve => {
                let mut config = mailwright::sieve::managesieve::server::Config::default();
                config.timeouts.work = self.config.limits.work();
                config.allow_plaintext_auth = plaintext;
                let language = self.config.filter_options().language();
                config.external_lists =
                    self.config.filter_options().lists.map_or_else(Vec::new, |lists| lists.schemes());
                config.max_redirects = u32::try_from(self.config.sieve.redirects).ok();
                let service = ManageSieve::new(
                    Arc::clone(&self.store),
                    Arc::clone(&self.authenticator),
                    Arc::new(language),
                    tls,
                    config,
                    self.config.limits.of_scripts(),
                );
                let service = service.with_referrals(self.config.sieve.referrals.clone());
                self.tasks.spawn(Arc::new(service).serve(network(accept)?, stop))
            }
            Protocol::Imap => {
                let mut config = self.config.imap.config();
                config.timeouts.work = self.config.limits.work();
                config.allow_plaintext_auth = plaintext;
                config.max_message_size = match self.config.limits.message_size {
                    0 => u64::MAX,
                    limit => limit,
                };
                config.sieve_url = self.config.sieve_url();
                let scripts = config.sieve_url.is_some();
                let mut service =
                    Imap::new(Arc::clone(&self.store), Arc::clone(&self.authenticator), tls, config)
                        .with_groups(Arc::new(Members(Arc::clone(&self.directory))))
                        .with_options(self.config.imap.options(&self.config.hostname));
                let inbox: Arc<Inbox> = Arc::clone(&self.inbox);
                if self.config.sieve.filter_command {
                    service = service.with_filters(Arc::<Inbox>::clone(&inbox));
                }
                if scripts {
                    service = service.with_events(inbox);
                }
                self.tasks.spawn(Arc::new(service).serve(network(accept)?, stop))
            }
            Protocol::Smtp | Protocol::Submission | Protocol::Odmr | Protocol::Lmtp => {
                let config = self.smtp_config(listener)?;
                // Strangers have no account here, and LMTP is for machines: login is for submission, unless it is said otherwise.
                let authenticator = listener.logs_in().then(|| Arc::clone(&self.authenticator));
                let options = &self.config.smtp;
                let service = Smtp::new(Arc::clone(&self.inbox), authenticator, tls, config)
                    .with_proxies(config::ranges(&options.xclient), config::ranges(&options.xforward))
                    .with_proxied_logins(Arc::clone(&self.authenticator))
                    .with_verp(config::ranges(&options.xverp))
                    .with_tarpit(
                        self.config.rules.tarpit_after,
                        Duration::from_secs(self.config.rules.tarpit_seconds),
                    );
                let service = match listener.protocol {
                    Protocol::Submission if self.store.metadata().is_some() => {
                        let words = vec!["imap".into(), format!("imap://{}", self.config.hostname)];
                        service.with_urls(
                            Arc::new(MailboxUrls::new(
                                Arc::clone(&self.store),
                                Arc::clone(&self.authenticator),
                            )),
                            words,
                        )
                    }
                    Protocol::Odmr => service.with_turning(),
                    _ => service,
                };
                let service = Arc::new(service);
                match accept {
                    Accept::Network(accept) => self.tasks.spawn(service.serve(accept, stop)),
                    Accept::Unix(socket) => {
                        let (admission, tasks) = (Arc::clone(admission), self.tasks.clone());
                        self.tasks.spawn(service.serve_unix(socket, admission, stop, tasks))
                    }
                }
            }
        };
        Ok(accepting.abort_handle())
    }

    fn smtp_config(
        &self,
        listener: &config::Listener,
    ) -> Result<mailwright::smtp_proto::server::Config, ServeError> {
        use mailwright::smtp_proto::server::{Config as Smtp, VrfyPolicy};
        let hostname = &self.config.hostname;
        let made = match listener.protocol {
            // RFC 2645 §4: whoever comes for mail logs in first.
            Protocol::Submission | Protocol::Odmr => Smtp::submission(hostname),
            Protocol::Lmtp => Smtp::lmtp(hostname),
            _ => Smtp::smtp(hostname),
        };
        let mut config = made.map_err(|error| ServeError::Config(error.to_string()))?;
        config = self.limited(config);
        config.allow_plaintext_auth = self.config.allow_plaintext_auth;
        config.legacy_auth = self.config.smtp.legacy_auth;
        config.vrfy = match self.config.smtp.vrfy {
            Answers::Decline => VrfyPolicy::Decline,
            Answers::Ask => VrfyPolicy::Ask,
            Answers::Off => VrfyPolicy::Off,
        };
        config.expn = match self.config.smtp.expn {
            Lists::Off => VrfyPolicy::Off,
            Lists::Decline => VrfyPolicy::Decline,
        };
        // RFC 3207 §4: a server that everybody's mail comes to must not; who says so knows its clients.
        config.require_tls = listener.tls == TlsMode::Required;
        if listener.syntax == Syntax::Lenient {
            config.syntax = mailwright::smtp_proto::Syntax::Lenient;
        }
        Ok(config)
    }

    fn limited(
        &self,
        mut config: mailwright::smtp_proto::server::Config,
    ) -> mailwright::smtp_proto::server::Config {
        let limits = &self.config.limits;
        config.timeouts.work = limits.work();
        config.max_message_size = (limits.message_size != 0).then_some(limits.message_size);
        config.max_recipients = match limits.recipients {
            0 => usize::MAX,
            count => usize::try_from(count).unwrap_or(usize::MAX),
        };
        config
    }
}
