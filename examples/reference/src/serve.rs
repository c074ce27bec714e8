//! The server: opens the data, listens, and stops in order.

mod announce;
mod descriptors;
mod lasting;
mod listening;
mod open;
mod private;
mod reload;
mod services;
mod sockets;

use std::{
    io,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use mailwright::{
    Admission, Authenticator, ConnectionLimits,
    filter::{Alarm, Remembered, SieveFilter, Snoozing},
    mailstore::{AnyStore, accounts::Accounts},
    pop3::Maildrops,
    queue::Probed,
    relay_policy::dns::AnyResolver,
    smtp::StoreInbox,
};
use thiserror::Error;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    certificate::{CertificateError, Certificates, ServerConfigs},
    config::{self, AskForCertificate, Config},
    control,
    directory::{Backends, DirectoryError, Logins, watch_aliases},
    dkim::KeyError,
    dmarc::{Collector, Reports},
    first_run, health, http, life,
    live::{Current, Live},
    passwd_file::PasswdFiles,
    queue::{self, Access},
    rules::{self, Rules},
    server_scripts,
    tlsrpt::{self, Collected, Reporter},
};

use announce::{StopSignals, announce};
use descriptors::Descriptors;
use lasting::Lasting;
use listening::Listening;
use open::DMARC;
pub(crate) use open::{
    SIEVE_MEMORY, Waiting, fetch, known, life, mail_store, open, suppressed, tokens, waiting,
};
pub(crate) use private::warnings;
pub(crate) use reload::Source;
use reload::{Reloader, State, reload_on_signal};
pub(crate) use sockets::{auth_socket, tcp_socket};

/// Why the server does not start, and what to do.
#[derive(Debug, Error)]
pub(crate) enum ServeError {
    #[error(
        "cannot make the data directory {path}: {source}\n  choose another with --data DIR, or as data in the configuration"
    )]
    Data { path: String, source: io::Error },
    #[error(
        "others on this machine may enter {path} (mode {mode:o}), where all mail and password hashes are, and that cannot be mended: {source}\n  mend it with: chmod 700 {path}, by its owner"
    )]
    Readable { path: String, mode: u32, source: io::Error },
    #[error("cannot open the store in {path}: {source}")]
    Store { path: String, source: mailwright::mailstore::StoreError },
    #[error(
        "cannot open the store in {data}: {source}\n  {file} belongs to the user of the number {owner}, and this runs as {ours}: run commands as the user that the server runs as (sudo -u USER mailwrightd …); mend it with: chown -R {ours} {data}"
    )]
    Foreign { data: String, file: String, owner: u32, ours: u32, source: mailwright::mailstore::StoreError },
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
pub(crate) async fn serve(config: Config, source: Source) -> Result<(), ServeError> {
    let config = Arc::new(config);
    let (database, directory) = open(&config)?;
    let opened = |source| ServeError::Store { path: config.data.display().to_string(), source };
    let snoozed = database.table(config::SNOOZED).map_err(opened)?;
    let waiting = waiting(&config, &database)?;
    let store = mail_store(&config, database.clone(), &waiting)?;
    let (certificates, certificate) = Certificates::load(&config)?;
    let certificates = Arc::new(certificates);
    let server_configs = ServerConfigs::new(&config, &certificates)?;
    // Who has accounts elsewhere needs none to try, and who had some and has none any more did not ask for these.
    let elsewhere = !config.auth.passwd_files.is_empty() || config.auth.ldap.is_some();
    let first = !elsewhere && directory.begin_first_start()?;
    let throttle = config.auth.throttle();
    let passwd = Arc::new(PasswdFiles::new(config.auth.passwd_files.clone(), Arc::clone(&directory)));
    passwd.follow();
    let backends = Backends::new(&config).map_err(ServeError::Config)?;
    #[cfg(feature = "ldap")]
    let ldap = backends.ldap();
    let logins = Logins::new(Arc::clone(&directory), backends)?;
    if !config.auth.anonymous.is_empty() && Accounts::guest(&logins).is_none() {
        let name = &config.auth.anonymous;
        tracing::warn!(name, "auth.anonymous: there is no such account, so nobody is a guest");
    }
    let accounts = Arc::clone(&directory);
    let authenticator = Authenticator::new(logins.clone(), directory.secret()?)
        .with_throttle(Arc::clone(&throttle))
        .with_sessions(Arc::clone(directory.sessions()))
        .with_spellings(move |name| accounts.canonical_name(name))
        .with_masters(config.auth.masters(|name| directory.current().canonical(name)))
        .with_legacy(config.auth.legacy_mechanisms);
    let routes = Arc::new(config.routes().map_err(ServeError::Config)?);
    let resolver = queue::resolver(&config).map_err(ServeError::Config)?;
    let names = AnyResolver::new(resolver.clone());
    let collector = match config.authentication.reports {
        true => Some(Arc::new(Collector::new(database.table(DMARC).map_err(opened)?))),
        false => None,
    };
    let known = known(&config, &database)?;
    let (runtime, counts) = (tokio::runtime::Handle::current(), rules::counts());
    let rules = Arc::new(Rules::new(
        &config,
        names.clone(),
        &directory,
        Arc::clone(&known),
        collector.clone(),
        counts.clone(),
        runtime.clone(),
    ));
    let suppressed = suppressed(&config, &database)?;
    let collected = Collected::wanted(&config, &database).map_err(opened)?;
    let web = queue::web(&config, &resolver);
    let policies = queue::KeptPolicies::open(&database).map_err(opened)?;
    let parts =
        queue::Parts::new(&config, &resolver, suppressed.clone(), collected.clone(), policies, web.clone());
    let signing = Arc::clone(&rules.authentication);
    let behaviour =
        parts.clone().configure(&config, Arc::clone(&routes), signing).map_err(ServeError::Config)?;
    let queue = queue::start(&store, resolver, logins.clone(), behaviour);
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
    let tls_reports = reporter.clone();
    let hostname = config.hostname.clone();
    let reports = collector.clone().map(|collector| {
        Arc::new(Reports { collector, queue: Arc::clone(&queue), names: names.clone(), hostname })
    });
    // Who reads the configuration again is made of what it is told to by.
    let reloader: Arc<OnceLock<Arc<Reloader>>> = Arc::default();
    let reloads = Arc::clone(&reloader);
    let live = Live {
        throttle: Arc::clone(&throttle),
        reload: Arc::new(move || match reloads.get() {
            Some(reloader) => reloader.reload(),
            None => Err("the server has not started yet".into()),
        }),
        store: database.clone(),
        reports: reports.clone(),
        report_tls: Arc::new(move || {
            tls_reports.as_ref().map_or(0, |reporter| runtime.block_on(reporter.send_all()))
        }),
    };
    let flush = Arc::clone(&queue);
    let flush: Arc<dyn Fn() + Send + Sync> = Arc::new(move || flush.flush());
    let own_listings = parts.own_listings.clone();
    let access = Access {
        store: store.clone(),
        waiting: waiting.clone(),
        flush: Some(flush),
        suppressed,
        own_listings,
    };
    let fetch = fetch(&config, &database, &directory)?;
    let snoozing = Snoozing::new(config::SNOOZED);
    let lasting = Lasting {
        database: database.clone(),
        store: store.clone(),
        waiting,
        directory: Arc::clone(&directory),
        logins,
        authenticator: Arc::new(authenticator),
        queue: Arc::clone(&queue),
        parts,
        names,
        known,
        counts,
        collector,
        memory: Remembered::new(database.table(SIEVE_MEMORY).map_err(opened)?),
        snoozing: snoozing.clone(),
        maildrops: Maildrops::default(),
        fetch: fetch.clone(),
        tokens: tokens(&config, &database)?,
        access,
        live: Arc::new(live),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    let (stop, tasks, memory) = (lasting.stop.clone(), lasting.tasks.clone(), lasting.memory.clone());
    let services = lasting.services(&config, &rules, routes)?;
    let administration = lasting.administration(&config, &rules)?;
    let life = administration.life.clone();
    let administration = Arc::new(Current::new(administration));
    control::listen(&config.data, database.clone(), Arc::clone(&administration))
        .map_err(ServeError::Control)?;
    let alarm = config.filter_options().snooze.map(|_| Alarm::new(store.clone(), snoozed, &snoozing));
    queue.release_to(&services.inbox);
    let descriptors = Descriptors::claim(&config);
    descriptors.warn(&config);
    let admission = Admission::new(ConnectionLimits {
        per_address: config.limits.connections_per_address,
        new_per_minute: config.limits.new_connections_per_minute,
        total: descriptors.connections,
        stress: config.limits.stress(),
    });
    let mut listening = Listening::open(&config, None)?;
    listening.serve(&services, &admission, &server_configs)?;
    let http = http::bind(&config)?;
    let told: Vec<_> = http.iter().map(|bound| (bound.address.clone(), bound.tls)).collect();
    let serving = http::Serving {
        administration: Arc::clone(&administration),
        throttle,
        tls: server_configs.of(AskForCertificate::None),
        proxies: config::ranges(&config.proxies),
        stop: stop.clone(),
        tasks: tasks.clone(),
    };
    http::serve(http, serving);
    services.answer_others(&admission).await?;
    #[cfg(feature = "acme")]
    if let Some(options) = &config.acme {
        let ours = Arc::clone(&certificates);
        let acme = crate::acme::Acme::new(&config, options, ours, &stop).await?;
        tasks.spawn(acme.run(stop.clone()));
    }
    services.fetch(&fetch)?;
    let receiving = services.call_providers(&fetch)?;
    let sending = queue.run(stop.clone());
    tasks.spawn(async move {
        if let Err(error) = sending.await {
            tracing::error!(%error, "nothing is sent on");
        }
    });
    if let Some(reports) = reports {
        tasks.spawn(reports.run(stop.clone()));
    }
    if let Some(reporter) = reporter {
        tasks.spawn(tlsrpt::watch(reporter, stop.clone()));
    }
    tasks.spawn(mailwright::keep_index(Arc::clone(&services.store), stop.clone()));
    tasks.spawn(health::watch(database.clone(), stop.clone()));
    tasks.spawn(Arc::clone(&passwd).watch(stop.clone()));
    tasks.spawn(watch_aliases(Arc::clone(&directory), stop.clone()));
    let (command, name) = (config.quota.warn_command.clone(), config.hostname.clone());
    tasks.spawn(life::warn(life.store.clone(), command, name, stop.clone()));
    #[cfg(feature = "ldap")]
    if let Some(ldap) =
        ldap.filter(|_| config.auth.ldap.as_ref().is_some_and(|ldap| !ldap.accounts.is_empty()))
    {
        let table = database.table(open::LDAP).map_err(opened)?;
        let accounts = crate::ldap::LdapAccounts::new(ldap, Arc::clone(&directory), life.clone(), table);
        accounts.take_over_ledger(&config.data)?;
        tasks.spawn(accounts.watch(stop.clone()));
    }
    if let Some(alarm) = alarm {
        tasks.spawn(alarm.run(stop.clone()));
    }
    tasks.spawn(life::watch(life, memory, stop.clone()));
    tasks.spawn(life::watch_clock(config.data.clone(), stop.clone()));
    // Before it is said that we are ready: whoever reads that may stop us at once, and expects goodbyes.
    let mut signals = StopSignals::catch()?;
    let bound: Vec<_> =
        config.listeners.iter().zip(listening.places.iter().map(|place| place.at.clone())).collect();
    let state = Mutex::new(State { config: Arc::clone(&config), listening });
    let reading =
        Reloader { source, lasting, certificates, admission, administration, receiving, passwd, state };
    reload_on_signal(Arc::clone(reloader.get_or_init(|| Arc::new(reading))))?;
    // Only now: passwords that were made before something else failed would never be seen.
    let made = if first { first_run::try_accounts(&directory, &config) } else { None };
    announce(&config, &bound, &told, &certificate, made.as_ref())?;
    directory.end_first_start()?;
    signals.wait().await;

    tracing::info!("stopping");
    stop.cancel();
    tasks.close();
    let patience = Duration::from_secs(config.limits.stop_seconds);
    if tokio::time::timeout(patience, tasks.wait()).await.is_err() {
        tracing::warn!(sessions = tasks.len(), "sessions did not end in time");
    }
    // Whoever answers commands from other processes keeps the store to the very end.
    if let Err(error) = database.wind_down().await {
        tracing::warn!(%error, "large mailboxes will open slowly at the next start");
    }
    tracing::info!("stopped");
    Ok(())
}
