//! The server: opens the data, listens, and stops in order.

mod announce;
mod descriptors;
mod open;
mod services;
mod sockets;

use std::{io, sync::Arc, time::Duration};

use mailwright::{
    Admission, Authenticator, ConnectionLimits, Listener, ListenerTls,
    filter::{Alarm, Remembered, SieveFilter},
    mailstore::{AnyStore, Store as _, accounts::Accounts},
    pop3::Maildrops,
    queue::{OwnListings, Probed},
    relay_policy::dns::AnyResolver,
    smtp::{OnDemand, QueueStarter, StoreInbox},
};
use thiserror::Error;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    certificate::{CertificateError, Certificates, ServerConfigs},
    config::{self, Config, ListenAddress, TlsMode},
    control,
    directory::{Backends, DirectoryError, Logins, watch_aliases},
    dkim::KeyError,
    dmarc::{Collector, Reports},
    first_run, health,
    life::{self, Life},
    live::Live,
    local::Local,
    passwd_file::PasswdFiles,
    queue::{self, Access},
    rules::Rules,
    server_scripts,
    tlsrpt::{self, Collected, Reporter},
};

use announce::{StopSignals, announce, reload_on_signal};
use descriptors::Descriptors;
use open::{DMARC, delivery_store};
pub(crate) use open::{SIEVE_MEMORY, fetch, known, life, mail_store, open, suppressed};
use services::Services;
use sockets::{Accept, auth_socket, tcp_socket};

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
    #[error(
        "cannot listen on {address} for {protocol}: {source}\n  is another server running there? ports below 1024 need a privilege"
    )]
    Listen { protocol: &'static str, address: String, source: io::Error },
    #[error(
        "cannot listen on {path} for other programs' logins: {source}\n  it is named in auth.listen of the configuration; its folder must be there and ours to write to"
    )]
    AuthSocket { path: String, source: io::Error },
    #[error(
        "cannot listen on {path} for programs of this machine: {source}\n  it is named as socket in [sendmail] of the configuration; its folder must be there and ours to write to"
    )]
    Sendmail { path: String, source: io::Error },
    #[cfg(feature = "acme")]
    #[error(transparent)]
    Acme(#[from] crate::acme::AcmeError),
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

/// Serves until told to stop.
pub(crate) async fn serve(config: Config) -> Result<(), ServeError> {
    let (database, directory) = open(&config)?;
    let opened = |source| ServeError::Store { path: config.data.display().to_string(), source };
    let memory = Remembered::new(database.table(SIEVE_MEMORY).map_err(opened)?);
    let snoozed = database.table(config::SNOOZED).map_err(opened)?;
    let scripts = server_scripts::load(&config)?;
    let store = mail_store(&config, database.clone())?;
    let (certificates, certificate) = Certificates::load(&config)?;
    let certificates = Arc::new(certificates);
    let server_configs = ServerConfigs::new(&config, &certificates)?;
    // Who has accounts elsewhere needs none to try.
    let first = directory.is_empty() && config.auth.passwd_files.is_empty() && config.auth.ldap.is_none();
    let made = if first { Some(first_run::make_accounts(&directory, &config)?) } else { None };
    let throttle = config.auth.throttle();
    let passwd = PasswdFiles::new(config.auth.passwd_files.clone(), &config.data, Arc::clone(&directory));
    passwd.follow().map_err(|error| ServeError::Config(format!("auth.passwd_files: {error}")))?;
    let backends = Backends::new(&config).map_err(ServeError::Config)?;
    #[cfg(feature = "ldap")]
    let ldap = backends.ldap();
    let logins = Logins::new(Arc::clone(&directory), backends)?;
    if !config.auth.anonymous.is_empty() && Accounts::guest(&logins).is_none() {
        let name = &config.auth.anonymous;
        tracing::warn!(name, "auth.anonymous: there is no such account, so nobody is a guest");
    }
    let routes = Arc::new(config.routes().map_err(ServeError::Config)?);
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
    let (watched, ending) = (database.clone(), database.clone());
    let suppressed = suppressed(&config, &database)?;
    let collected = Collected::wanted(&config, &database).map_err(opened)?;
    let web = queue::web(&config, &resolver);
    let local = Local::new(&config).map_err(ServeError::Config)?;
    let own_listings =
        queue::own_lists(&config, &resolver).map(|lists| Arc::new(lists) as Arc<dyn OwnListings>);
    let sender = queue::Parts {
        logins: logins.clone(),
        routes: Arc::clone(&routes),
        resolver,
        signing: Arc::clone(&rules.authentication),
        local,
        policies: queue::KeptPolicies::open(&database).map_err(opened)?,
        web: web.clone(),
        own_listings: own_listings.clone(),
        suppressed: suppressed.clone(),
        collected: collected.clone(),
    };
    let queue = queue::start(&config, &store, sender).map_err(ServeError::Config)?;
    let asks = Arc::downgrade(&queue);
    directory.ask_by(Box::new(move |address| {
        let queue = asks.upgrade();
        Box::pin(async move {
            match queue?.probe(&address).await {
                Probed::Refused(reply) => Some(reply),
                _ => None,
            }
        })
    }));
    let reporter = collected.map(|collected| Reporter {
        collected,
        resolver: names.clone(),
        https: web,
        queue: Arc::clone(&queue),
        directory: Arc::clone(&directory),
        domain: config.reporting_domain(),
    });
    let (runtime, tls_reports) = (tokio::runtime::Handle::current(), reporter.clone());
    let hostname = config.hostname.clone();
    let reports = collector
        .map(|collector| Arc::new(Reports { collector, queue: Arc::clone(&queue), names, hostname }));
    let live = Live {
        throttle: Arc::clone(&throttle),
        certificates: Arc::clone(&certificates),
        rules: Arc::clone(&rules),
        store: database.clone(),
        reports: reports.clone(),
        report_tls: Arc::new(move || {
            tls_reports.as_ref().map_or(0, |reporter| runtime.block_on(reporter.send_all()))
        }),
    };
    let flush = Arc::clone(&queue);
    let flush: Arc<dyn Fn() + Send + Sync> = Arc::new(move || flush.flush());
    let access = Access { store: store.clone(), flush: Some(flush), suppressed, own_listings };
    let fetch = fetch(&config, &database, &directory)?;
    let life = Life::new(&config, store.clone(), Arc::clone(&directory), fetch.clone(), &database)
        .map_err(|source| ServeError::Store { path: config.data.display().to_string(), source })?;
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
    let accounts = Arc::clone(&directory);
    let policy = rules.chain.clone();
    let options = config.filter_options();
    let alarm = options.snooze.as_ref().map(|snoozing| Alarm::new(store.clone(), snoozed, snoozing));
    let filter = SieveFilter::new(store.clone(), memory.clone(), config.hostname.clone())
        .with_options(options)
        .with_server_scripts(scripts);
    let delivery = delivery_store(&config, &store)?;
    let mut inbox =
        StoreInbox::new(delivery, logins.clone(), policy, config.hostname.clone()).with_filter(filter);
    if !config.smtp.etrn.is_empty() {
        let (flush, allowed) = (Arc::clone(&queue), config::ranges(&config.smtp.etrn));
        inbox = inbox.with_queue_starter(QueueStarter::new(allowed, move || flush.flush()));
    }
    if !config.on_demand.accounts.is_empty() {
        let accounts = config.on_demand.accounts.clone();
        let own = move |user: &str| {
            accounts.get(user).map(|domains| config::on_demand::domains(domains)).unwrap_or_default()
        };
        inbox = inbox.with_on_demand(OnDemand::new(own, Arc::clone(&queue)));
    }
    if let Some(fits) = config.store.room(&config.data) {
        inbox = inbox.with_room(fits);
    }
    let inbox = inbox
        .with_routes(routes)
        .with_authentication(Arc::clone(&rules.authentication))
        .with_longest_hold(Duration::from_secs(u64::from(config.queue.hold_days) * 86_400))
        .with_urgent_clients(config::ranges(&config.smtp.urgent))
        .with_unwanted(config.smtp.unwanted().unwrap_or_default());
    let inbox = Arc::new(inbox);
    queue.release_to(&inbox);
    let services = Services {
        inbox,
        store: Arc::new(store),
        authenticator: Arc::new(
            Authenticator::new(logins, secret)
                .with_throttle(throttle)
                .with_spellings(move |name| Some(accounts.account(name).ok()?.user.as_str().to_owned()))
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
    let descriptors = Descriptors::claim(&config);
    descriptors.warn(&config);
    let admission = Admission::new(ConnectionLimits {
        per_address: config.limits.connections_per_address,
        new_per_minute: config.limits.new_connections_per_minute,
        total: descriptors.connections,
    });
    let mut bound = Vec::new();
    for listener in &config.listeners {
        let name = listener.protocol.name();
        let address = listener.address.to_string();
        let failed = |source| ServeError::Listen { protocol: name, address: address.clone(), source };
        let (accept, at) = match &listener.address {
            ListenAddress::Network(address) => {
                let socket = tcp_socket(*address).map_err(failed)?;
                let at = ListenAddress::Network(socket.local_addr().map_err(failed)?);
                let (stop, tasks) = (services.stop.clone(), services.tasks.clone());
                let accept = Listener::new(socket, Arc::clone(&admission), stop, tasks)
                    .behind_proxies(config::ranges(&config.proxies));
                (Accept::Network(accept), at)
            }
            ListenAddress::Unix(path) => {
                let socket = auth_socket(path, listener.mode()).map_err(failed)?;
                (Accept::Unix(socket), listener.address.clone())
            }
        };
        bound.push((listener, at));
        let tls = match listener.tls {
            TlsMode::None => ListenerTls::None,
            TlsMode::Starttls | TlsMode::Required => {
                ListenerTls::Starttls(server_configs.of(listener.client_certificates))
            }
            TlsMode::Implicit => ListenerTls::Implicit(server_configs.of(listener.client_certificates)),
        };
        services.start(listener, accept, tls)?;
    }
    services.answer_others(&admission).await?;
    #[cfg(feature = "acme")]
    if let Some(options) = &config.acme {
        let ours = Arc::clone(&certificates);
        let acme = crate::acme::Acme::new(&config, options, ours, &services.stop).await?;
        services.tasks.spawn(acme.run(services.stop.clone()));
    }
    services.take_from_programs()?;
    services.fetch(&fetch)?;
    services.call_providers(&fetch)?;
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
    if let Some(reporter) = reporter {
        services.tasks.spawn(tlsrpt::watch(reporter, services.stop.clone()));
    }
    services.tasks.spawn(mailwright::keep_index(Arc::clone(&services.store), services.stop.clone()));
    services.tasks.spawn(health::watch(watched, services.stop.clone()));
    services.tasks.spawn(passwd.watch(services.stop.clone()));
    services.tasks.spawn(watch_aliases(Arc::clone(&directory), services.stop.clone()));
    let (command, name) = (config.quota.warn_command.clone(), config.hostname.clone());
    services.tasks.spawn(life::warn(life.store.clone(), command, name, services.stop.clone()));
    #[cfg(feature = "ldap")]
    if let Some(ldap) =
        ldap.filter(|_| config.auth.ldap.as_ref().is_some_and(|ldap| !ldap.accounts.is_empty()))
    {
        let accounts =
            crate::ldap::LdapAccounts::new(ldap, Arc::clone(&directory), life.clone(), &config.data);
        services.tasks.spawn(accounts.watch(services.stop.clone()));
    }
    if let Some(alarm) = alarm {
        services.tasks.spawn(alarm.run(services.stop.clone()));
    }
    services.tasks.spawn(life::watch(life, memory, services.stop.clone()));
    // Before it is said that we are ready: whoever reads that may stop us at once, and expects goodbyes.
    let mut signals = StopSignals::catch()?;
    reload_on_signal(certificates, Arc::clone(&directory))?;
    announce(&config, &bound, &certificate, made.as_ref())?;
    signals.wait().await;

    tracing::info!("stopping");
    services.stop.cancel();
    services.tasks.close();
    let patience = Duration::from_secs(config.limits.stop_seconds);
    if tokio::time::timeout(patience, services.tasks.wait()).await.is_err() {
        tracing::warn!(sessions = services.tasks.len(), "sessions did not end in time");
    }
    // Whoever answers commands from other processes keeps the store to the very end.
    if let Err(error) = ending.wind_down().await {
        tracing::warn!(%error, "large mailboxes will open slowly at the next start");
    }
    tracing::info!("stopped");
    Ok(())
}
