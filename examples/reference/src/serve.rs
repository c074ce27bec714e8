//! The server: opens the data, listens, and stops in order.

use std::{
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use mailwright::{
    Admission, Authenticator, ConnectionLimits, DovecotAuth, Listener, ListenerTls, Pool,
    fetch::Fetcher,
    filter::{Remembered, SieveFilter},
    imap::Imap,
    line_proto::tls,
    mailstore::{
        AnyStore, ScriptLimits, Store as _,
        embedded::{Embedded, Options},
        maildir::{self, Maildir},
        mbox::MboxStore,
    },
    managesieve::ManageSieve,
    pop3::{Maildrops, Pop3},
    relay_policy::dns::AnyResolver,
    smtp::{Smtp, StoreInbox},
};
use thiserror::Error;
use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    certificate::{Certificate, CertificateError, Certificates},
    config::{self, Answers, Config, Lists, Protocol, StoreKind, Syntax, TlsMode, auth::Listen},
    control,
    directory::{Directory, DirectoryError, Logins, Members},
    dkim::{KeyError, Keys},
    dmarc::{Collector, Reports},
    fetch::Fetch,
    first_run, health,
    life::{self, Life},
    live::Live,
    passwd_file::PasswdFiles,
    queue::{self, Access, Suppressed},
    rules::{Known, Rules},
    server_scripts,
};

/// The table of the accounts in the store's database.
const ACCOUNTS: &str = "accounts";
/// The table of domains, aliases and groups.
const ENTRIES: &str = "directory";
/// The table of what is made once and never shown.
const SECRETS: &str = "secrets";
/// The table of accounts that were removed.
const REMOVED: &str = "removed";
/// The table of strangers that came again.
const KNOWN: &str = "greylist";
/// The table of addresses that refused for good.
const SUPPRESSED: &str = "suppressed";
/// The table of what is to be reported of DMARC.
const DMARC: &str = "dmarc";
/// The table of the keys that sign.
const KEYS: &str = "dkim";
/// The table of what Sieve scripts remember: whom they answered, what they have seen.
pub(crate) const SIEVE_MEMORY: &str = "sieve-memory";

/// Why the server does not start, and what to do.
#[derive(Debug, Error)]
pub(crate) enum ServeError {
    #[error(
        "cannot make the data directory {path}: {source}\n  choose another with --data DIR, or as data in the configuration"
    )]
    Data { path: String, source: io::Error },
    #[error("cannot open the store in {path}: {source}")]
    Store { path: String, source: mailwright::mailstore::StoreError },
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("the certificate cannot be used: {0}")]
    Tls(#[from] tls::TlsConfigError),
    #[error(
        "cannot listen on {address} for {protocol}: {source}\n  is another server running there? ports below 1024 need a privilege"
    )]
    Listen { protocol: &'static str, address: SocketAddr, source: io::Error },
    #[error(
        "cannot listen on {path} for other programs' logins: {source}\n  it is named in auth.listen of the configuration; its folder must be there and ours to write to"
    )]
    AuthSocket { path: String, source: io::Error },
    #[error(transparent)]
    Sieve(#[from] server_scripts::ScriptError),
    #[error("the control socket cannot be made: {0}")]
    Control(io::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the configuration cannot be used: {0}")]
    Config(String),
}

/// Where mail is, as the configuration says.
type Store = AnyStore;
pub(crate) type Inbox = StoreInbox<Store, Logins, SieveFilter<Store, Remembered>>;

/// Opens the store and its accounts.
pub(crate) fn open(config: &Config) -> Result<(Embedded, Arc<Directory>), ServeError> {
    let path = config.data.display().to_string();
    first_run::make_private(&config.data)
        .map_err(|source| ServeError::Data { path: path.clone(), source })?;
    let opened = |source| ServeError::Store { path: path.clone(), source };
    // Reads run in place: they take microseconds where the system has the octets in memory, less than handing them to
    // another thread would. For those that wait for the disk there are more threads than cores.
    let mut options = Options::default();
    options.reserve = config.store.reserve;
    options.undelete = Duration::from_secs(config.store.undelete.seconds());
    options.quota = config.quota.limits();
    options.zstd = Some(i32::from(config.store.compression)).filter(|level| *level > 0);
    options.quota_warnings.clone_from(&config.quota.warn_percent);
    let store = Embedded::open(config.data.join("store"), options).map_err(opened)?;
    let table = store.table(ACCOUNTS).map_err(opened)?;
    let secrets = store.table(SECRETS).map_err(opened)?;
    let entries = store.table(ENTRIES).map_err(opened)?;
    let removed = store.table(REMOVED).map_err(opened)?;
    let keys = Keys::open(store.table(KEYS).map_err(opened)?)?;
    let directory = Directory::open(table, entries, secrets, removed, keys, config)?;
    Ok((store, Arc::new(directory)))
}

/// The addresses that nothing is sent to.
pub(crate) fn suppressed(config: &Config, database: &Embedded) -> Result<Suppressed, ServeError> {
    let opened = |source| ServeError::Store { path: config.data.display().to_string(), source };
    Suppressed::open(database.table(SUPPRESSED).map_err(opened)?, config).map_err(opened)
}

/// What looks after the mailboxes.
pub(crate) fn life(
    config: &Config,
    database: &Embedded,
    directory: &Arc<Directory>,
) -> Result<Life, ServeError> {
    let store = mail_store(config, database.clone())?;
    Life::new(config, store, Arc::clone(directory), database)
        .map_err(|source| ServeError::Store { path: config.data.display().to_string(), source })
}

/// Strangers that came again.
pub(crate) fn known(config: &Config, database: &Embedded) -> Result<Arc<Known>, ServeError> {
    let path = config.data.display().to_string();
    let opened = |source| ServeError::Store { path: path.clone(), source };
    let table = database.table(KNOWN).map_err(opened)?;
    Known::open(table).map(Arc::new).map_err(opened)
}

/// The accounts elsewhere.
pub(crate) fn fetch(
    config: &Config,
    database: &Embedded,
    directory: &Arc<Directory>,
) -> Result<Fetch, ServeError> {
    Fetch::open(&config.data, database, Arc::clone(directory))
        .map_err(|source| ServeError::Store { path: config.data.display().to_string(), source })
}

/// The mail of the accounts: in the database, or elsewhere.
pub(crate) fn mail_store(config: &Config, database: Embedded) -> Result<AnyStore, ServeError> {
    match config.store.kind {
        StoreKind::Embedded => Ok(AnyStore::new(database)),
        StoreKind::Maildir => {
            let template = maildir::Template::new(&config.store.path)
                .map_err(|error| ServeError::Config(error.to_string()))?;
            let mut options = maildir::Options::default();
            options.spool = config.data.join("spool");
            options.quota = config.quota.limits();
            options.quota_warnings.clone_from(&config.quota.warn_percent);
            // Other programs' locks are waited for, so this must not be where sessions run.
            Ok(AnyStore::new(Maildir::with_offload(template, options, Pool)))
        }
    }
}

/// Where mail that comes in goes: into the store, or into files.
fn delivery_store(config: &Config, store: &AnyStore) -> Result<AnyStore, ServeError> {
    if config.store.mbox.is_empty() {
        return Ok(store.clone());
    }
    let template =
        maildir::Template::new(&config.store.mbox).map_err(|error| ServeError::Config(error.to_string()))?;
    Ok(AnyStore::new(MboxStore::with_offload(template, config.data.join("spool"), Pool)))
}

/// Serves until told to stop.
pub(crate) async fn serve(config: Config) -> Result<(), ServeError> {
    let (database, directory) = open(&config)?;
    let opened = |source| ServeError::Store { path: config.data.display().to_string(), source };
    let memory = Remembered::new(database.table(SIEVE_MEMORY).map_err(opened)?);
    let scripts = server_scripts::load(&config.sieve)?;
    let store = mail_store(&config, database.clone())?;
    let (certificates, certificate) = Certificates::load(&config)?;
    let certificates = Arc::new(certificates);
    let resolver: Arc<dyn tls::rustls::server::ResolvesServerCert> = Arc::clone(&certificates) as _;
    let server_config = Arc::new(tls::server_config_resolving(resolver, tls::ClientCertificates::Ignored)?);
    // Who has accounts elsewhere needs none to try.
    let first = directory.is_empty() && config.auth.passwd_files.is_empty();
    let made = if first { Some(first_run::make_accounts(&directory, &config)?) } else { None };
    let throttle = config.auth.throttle();
    let passwd = PasswdFiles::new(config.auth.passwd_files.clone(), &config.data, Arc::clone(&directory));
    passwd.follow().map_err(|error| ServeError::Config(format!("auth.passwd_files: {error}")))?;
    let logins = Logins::new(Arc::clone(&directory), config.auth.dovecot())?;
    let routes = Arc::new(config.relay.routes().map_err(ServeError::Config)?);
    let resolver = queue::resolver(&config).map_err(ServeError::Config)?;
    let names = AnyResolver::new(resolver.clone());
    let collector = match config.authentication.reports {
        true => Some(Arc::new(Collector::new(database.table(DMARC).map_err(opened)?))),
        false => None,
    };
    let rules = Arc::new(Rules::new(
        &config,
        names.clone(),
        &directory,
        known(&config, &database)?,
        collector.clone(),
        tokio::runtime::Handle::current(),
    ));
    let watched = database.clone();
    let suppressed = suppressed(&config, &database)?;
    let signing = Arc::clone(&rules.authentication);
    let sender = queue::Parts { logins: logins.clone(), routes: Arc::clone(&routes), resolver, signing };
    let queue = queue::start(&config, &store, sender, suppressed.clone()).map_err(ServeError::Config)?;
    let hostname = config.hostname.clone();
    let reports = collector
        .map(|collector| Arc::new(Reports { collector, queue: Arc::clone(&queue), names, hostname }));
    let live = Live {
        throttle: Arc::clone(&throttle),
        certificates: Arc::clone(&certificates),
        rules: Arc::clone(&rules),
        store: database.clone(),
        reports: reports.clone(),
    };
    let flush = Arc::clone(&queue);
    let access = Access { store: store.clone(), flush: Some(Arc::new(move || flush.flush())), suppressed };
    let life = Life::new(&config, store.clone(), Arc::clone(&directory), &database)
        .map_err(|source| ServeError::Store { path: config.data.display().to_string(), source })?;
    let fetch = fetch(&config, &database, &directory)?;
    control::listen(
        &config.data,
        Arc::clone(&directory),
        access,
        live,
        database,
        life.clone(),
        fetch.clone(),
    )
    .map_err(ServeError::Control)?;

    let secret = directory.secret()?;
    let policy = rules.chain.clone();
    let filter = SieveFilter::new(store.clone(), memory.clone(), config.hostname.clone())
        .with_options(config.sieve.options())
        .with_server_scripts(scripts);
    let delivery = delivery_store(&config, &store)?;
    let inbox =
        StoreInbox::new(delivery, logins.clone(), policy, config.hostname.clone()).with_filter(filter);
    let services = Services {
        inbox: Arc::new(inbox.with_routes(routes).with_authentication(Arc::clone(&rules.authentication))),
        store: Arc::new(store),
        authenticator: Arc::new(
            Authenticator::new(logins, secret)
                .with_throttle(throttle)
                .with_masters(config.auth.masters())
                .with_legacy(config.auth.legacy_mechanisms),
        ),
        directory: Arc::clone(&directory),
        maildrops: Maildrops::default(),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
        config: &config,
    };
    if config.pop3.apop && !services.authenticator.has_shared_passwords() {
        return Err(ServeError::Config(
            "pop3.apop is on, but not all accounts have their passwords in clear ({PLAIN}), which APOP needs\n  switch it off, or keep all accounts in auth.passwd_files with {PLAIN} passwords".into(),
        ));
    }
    let admission = Admission::new(ConnectionLimits {
        per_address: config.limits.connections_per_address,
        new_per_minute: config.limits.new_connections_per_minute,
        total: config.limits.connections,
    });
    let mut bound = Vec::new();
    for listener in &config.listeners {
        let name = listener.protocol.name();
        let failed = |source| ServeError::Listen { protocol: name, address: listener.address, source };
        let socket = TcpListener::bind(listener.address).await.map_err(failed)?;
        bound.push((listener, socket.local_addr().map_err(failed)?));
        let accept =
            Listener::new(socket, Arc::clone(&admission), services.stop.clone(), services.tasks.clone())
                .behind_proxies(config::ranges(&config.proxies));
        let tls = match listener.tls {
            TlsMode::None => ListenerTls::None,
            TlsMode::Starttls => ListenerTls::Starttls(Arc::clone(&server_config)),
            TlsMode::Implicit => ListenerTls::Implicit(Arc::clone(&server_config)),
        };
        services.start(listener, accept, tls)?;
    }
    services.answer_others(&admission).await?;
    services.fetch(&fetch)?;
    // Maildirs have no queue; then nothing is taken that would have to go on.
    if services.store.spool().is_some() {
        let sending = queue.run(services.stop.clone());
        services.tasks.spawn(async move {
            if let Err(error) = sending.await {
                tracing::error!(%error, "nothing is sent on");
            }
        });
    }
    if let Some(reports) = reports {
        services.tasks.spawn(reports.run(services.stop.clone()));
    }
    services.tasks.spawn(health::watch(watched, services.stop.clone()));
    services.tasks.spawn(passwd.watch(services.stop.clone()));
    let (command, name) = (config.quota.warn_command.clone(), config.hostname.clone());
    services.tasks.spawn(life::warn(life.store.clone(), command, name, services.stop.clone()));
    services.tasks.spawn(life::watch(life, memory, services.stop.clone()));
    // Before it is said that we are ready: whoever reads that may stop us at once, and expects goodbyes.
    let mut signals = StopSignals::catch()?;
    reload_on_signal(certificates)?;
    announce(&config, &bound, &certificate, made.as_ref())?;
    signals.wait().await;

    tracing::info!("stopping");
    services.stop.cancel();
    services.tasks.close();
    let patience = Duration::from_secs(config.limits.stop_seconds);
    if tokio::time::timeout(patience, services.tasks.wait()).await.is_err() {
        tracing::warn!(sessions = services.tasks.len(), "sessions did not end in time");
    }
    tracing::info!("stopped");
    Ok(())
}

/// What every listener needs.
struct Services<'a> {
    inbox: Arc<Inbox>,
    store: Arc<Store>,
    authenticator: Arc<Authenticator<Logins>>,
    directory: Arc<Directory>,
    /// What all POP3 listeners know of each other.
    maildrops: Maildrops,
    stop: CancellationToken,
    tasks: TaskTracker,
    config: &'a Config,
}

impl Services<'_> {
    /// Fetches mail from accounts elsewhere.
    fn fetch(&self, fetch: &Fetch) -> Result<(), ServeError> {
        let options = self.config.fetch.options(&self.config.hostname, self.config.limits.message_size);
        let (stop, tasks) = (self.stop.clone(), self.tasks.clone());
        let fetcher = Fetcher::new(Arc::clone(&self.inbox), fetch.ledger(), options, stop, tasks);
        let path = self.config.data.display().to_string();
        fetch.start(fetcher).map_err(|source| ServeError::Store { path, source })
    }

    /// Answers other programs that ask whether a login is right.
    async fn answer_others(&self, admission: &Arc<Admission>) -> Result<(), ServeError> {
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
                    let failed = |source| ServeError::Listen { protocol: "dovecot-auth", address, source };
                    let socket = TcpListener::bind(address).await.map_err(failed)?;
                    let bound = socket.local_addr().map_err(failed)?;
                    tracing::info!(protocol = "dovecot-auth", address = %bound, "listening");
                    let accept = Listener::new(socket, Arc::clone(admission), stop.clone(), tasks);
                    self.tasks.spawn(service.serve(accept, stop));
                }
            }
        }
        Ok(())
    }

    fn start(
        &self,
        listener: &config::Listener,
        accept: Listener,
        tls: ListenerTls,
    ) -> Result<(), ServeError> {
        let (stop, plaintext) = (self.stop.clone(), self.config.allow_plaintext_auth);
        match listener.protocol {
            Protocol::Pop3 => {
                let mut config = self.config.pop3.config();
                config.allow_plaintext_auth = plaintext;
                let options = self.config.pop3.options(&self.config.hostname, &self.maildrops);
                let service =
                    Pop3::new(Arc::clone(&self.store), Arc::clone(&self.authenticator), tls, config)
                        .with_options(options);
                self.tasks.spawn(Arc::new(service).serve(accept, stop));
            }
            Protocol::ManageSieve => {
                let mut config = mailwright::sieve::managesieve::server::Config::default();
                config.allow_plaintext_auth = plaintext;
                let language = self.config.sieve.options().language();
                config.max_redirects = u32::try_from(mailwright::sieve::Limits::default().redirects).ok();
                let service = ManageSieve::new(
                    Arc::clone(&self.store),
                    Arc::clone(&self.authenticator),
                    Arc::new(language),
                    tls,
                    config,
                    self.script_limits(),
                );
                self.tasks.spawn(Arc::new(service).serve(accept, stop));
            }
            Protocol::Imap => {
                let mut config = mailwright::imap_proto::server::Config::default();
                config.allow_plaintext_auth = plaintext;
                config.max_message_size = match self.config.limits.message_size {
                    0 => u64::MAX,
                    limit => limit,
                };
                let service =
                    Imap::new(Arc::clone(&self.store), Arc::clone(&self.authenticator), tls, config)
                        .with_groups(Arc::new(Members(Arc::clone(&self.directory))));
                self.tasks.spawn(Arc::new(service).serve(accept, stop));
            }
            Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => {
                let config = self.smtp_config(listener)?;
                // Strangers have no account here, and LMTP is for machines: login is for submission.
                let authenticator =
                    (listener.protocol == Protocol::Submission).then(|| Arc::clone(&self.authenticator));
                let options = &self.config.smtp;
                let service = Smtp::new(Arc::clone(&self.inbox), authenticator, tls, config)
                    .with_proxies(config::ranges(&options.xclient), config::ranges(&options.xforward))
                    .with_tarpit(
                        self.config.rules.tarpit_after,
                        Duration::from_secs(self.config.rules.tarpit_seconds),
                    );
                self.tasks.spawn(Arc::new(service).serve(accept, stop));
            }
        }
        Ok(())
    }

    fn script_limits(&self) -> ScriptLimits {
        let limit = |limit: u64| if limit == 0 { u64::MAX } else { limit };
        let limits = &self.config.limits;
        // The language itself takes no larger ones.
        let size = limit(limits.script_size.into()).min(mailwright::sieve::Limits::default().script as u64);
        ScriptLimits::new(limit(limits.scripts), size)
    }

    fn smtp_config(
        &self,
        listener: &config::Listener,
    ) -> Result<mailwright::smtp_proto::server::Config, ServeError> {
        use mailwright::smtp_proto::server::{Config as Smtp, VrfyPolicy};
        let hostname = &self.config.hostname;
        let made = match listener.protocol {
            Protocol::Submission => Smtp::submission(hostname),
            Protocol::Lmtp => Smtp::lmtp(hostname),
            _ => Smtp::smtp(hostname),
        };
        let mut config = made.map_err(|error| ServeError::Config(error.to_string()))?;
        let limits = &self.config.limits;
        config.allow_plaintext_auth = self.config.allow_plaintext_auth;
        config.max_message_size = (limits.message_size != 0).then_some(limits.message_size);
        config.max_recipients = match limits.recipients {
            0 => usize::MAX,
            count => usize::try_from(count).unwrap_or(usize::MAX),
        };
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
        if listener.syntax == Syntax::Lenient {
            config.syntax = mailwright::smtp_proto::Syntax::Lenient;
        }
        Ok(config)
    }
}

/// Says where it listens, in lines that a program can read, and to a first-time user what to do.
fn announce(
    config: &Config,
    bound: &[(&config::Listener, SocketAddr)],
    certificate: &Certificate,
    made: Option<&first_run::Accounts>,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (listener, address) in bound {
        let tls = match listener.tls {
            TlsMode::None => "none",
            TlsMode::Starttls => "starttls",
            TlsMode::Implicit => "implicit",
        };
        let syntax = match listener.syntax {
            Syntax::Strict => "strict",
            Syntax::Lenient => "lenient",
        };
        writeln!(out, "listening {} {tls} {syntax} {address}", listener.protocol.name())?;
        tracing::info!(protocol = listener.protocol.name(), tls, %address, "listening");
    }
    if let Some(accounts) = made {
        write!(out, "{}", first_run::recipe(config, bound, certificate, accounts))?;
    }
    writeln!(out, "ready")?;
    out.flush()
}

/// A socket for other programs. One that a dead server has left is replaced; one that somebody listens on is not.
fn auth_socket(path: &Path, mode: Option<u32>) -> io::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there already"));
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something else than a socket is there",
            ));
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(listener)
}

/// Reads the certificates again whenever SIGHUP comes.
fn reload_on_signal(certificates: Arc<Certificates>) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let certificates = Arc::clone(&certificates);
            let reloaded = tokio::task::spawn_blocking(move || certificates.reload()).await;
            if let Ok(Err(error)) = reloaded {
                tracing::error!(%error, "the certificates in use stay");
            }
        }
    });
    Ok(())
}

/// The signals that stop the server.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// From here on they do not end the process by themselves.
    fn catch() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
