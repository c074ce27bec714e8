//! What a server has as long as it runs, and what of it is made anew when the configuration is read again.

use std::{sync::Arc, time::Duration};

use mailwright::{
    Authenticator,
    filter::{Remembered, SieveFilter, Snoozing},
    mailstore::embedded::Embedded,
    pop3::Maildrops,
    relay_policy::{dns::AnyResolver, route::RouteTable, rules::RateCounts},
    smtp::{OnDemand, QueueStarter, StoreInbox},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Inbox, ServeError, Store, Waiting, open::delivery_store, services::Services};
use crate::{
    admin::Administration,
    config::{self, Config},
    directory::{Directory, Logins, Members},
    dmarc::Collector,
    fetch::Fetch,
    http::Tokens,
    life::Life,
    live::Live,
    queue::{Access, Outbound, Parts},
    rules::{Known, Rules},
    server_scripts,
};

/// What stays.
pub(super) struct Lasting {
    pub(super) database: Embedded,
    pub(super) store: Store,
    pub(super) waiting: Waiting,
    pub(super) directory: Arc<Directory>,
    pub(super) logins: Logins,
    pub(super) authenticator: Arc<Authenticator<Logins>>,
    pub(super) queue: Arc<Outbound>,
    pub(super) parts: Parts,
    pub(super) names: AnyResolver,
    pub(super) known: Arc<Known>,
    /// How many messages have come, for limits that go on.
    pub(super) counts: RateCounts,
    pub(super) collector: Option<Arc<Collector>>,
    /// What Sieve scripts remember.
    pub(super) memory: Remembered,
    /// What they tell the alarm of, whatever the configuration is by now.
    pub(super) snoozing: Snoozing,
    /// What all POP3 listeners know of each other.
    pub(super) maildrops: Maildrops,
    pub(super) fetch: Fetch,
    pub(super) tokens: Arc<Tokens>,
    pub(super) access: Access,
    pub(super) live: Arc<Live>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Lasting {
    /// What decides about mail by this configuration.
    pub(super) fn rules(&self, config: &Config) -> Rules {
        let (names, known) = (self.names.clone(), Arc::clone(&self.known));
        let runtime = tokio::runtime::Handle::current();
        Rules::new(
            config,
            names,
            &self.directory,
            known,
            self.collector.clone(),
            self.counts.clone(),
            runtime,
        )
    }

    /// What serves clients by this configuration. Nobody is served yet.
    pub(super) fn services(
        &self,
        config: &Arc<Config>,
        rules: &Rules,
        routes: Arc<RouteTable>,
    ) -> Result<Services, ServeError> {
        if config.pop3.apop && !self.authenticator.has_shared_passwords() {
            return Err(ServeError::Config(
                "pop3.apop is on, but not all accounts have their passwords in clear ({PLAIN}), which APOP needs\n  switch it off, or keep all accounts in auth.passwd_files with {PLAIN} passwords".into(),
            ));
        }
        Ok(Services {
            inbox: Arc::new(self.inbox(config, rules, routes)?),
            store: Arc::new(self.store.clone()),
            authenticator: Arc::clone(&self.authenticator),
            directory: Arc::clone(&self.directory),
            maildrops: self.maildrops.clone(),
            stop: self.stop.clone(),
            tasks: self.tasks.clone(),
            config: Arc::clone(config),
        })
    }

    fn inbox(&self, config: &Config, rules: &Rules, routes: Arc<RouteTable>) -> Result<Inbox, ServeError> {
        let mut options = config.filter_options();
        options.snooze = options.snooze.map(|_| self.snoozing.clone());
        let filter = SieveFilter::new(self.store.clone(), self.memory.clone(), config.hostname.clone())
            .with_options(options)
            .with_groups(Arc::new(Members(Arc::clone(&self.directory))))
            .with_server_scripts(server_scripts::load(config)?);
        let (delivery, chain) = (delivery_store(config, &self.store, &self.waiting)?, rules.chain.clone());
        let mut inbox = StoreInbox::new(delivery, self.logins.clone(), chain, config.hostname.clone())
            .with_filter(filter)
            .with_groups(Arc::new(Members(Arc::clone(&self.directory))));
        if !config.smtp.etrn.is_empty() {
            let (flush, allowed) = (Arc::clone(&self.queue), config::ranges(&config.smtp.etrn));
            inbox = inbox.with_queue_starter(QueueStarter::new(allowed, move || flush.flush()));
        }
        if !config.on_demand.accounts.is_empty() {
            let accounts = config.on_demand.accounts.clone();
            let own = move |user: &str| {
                accounts.get(user).map(|domains| config::on_demand::domains(domains)).unwrap_or_default()
            };
            inbox = inbox.with_on_demand(OnDemand::new(own, Arc::clone(&self.queue)));
        }
        if let Some(fits) = config.store.room(&config.data) {
            inbox = inbox.with_room(fits);
        }
        Ok(inbox
            .with_routes(routes)
            .with_authentication(Arc::clone(&rules.authentication))
            .with_longest_hold(Duration::from_secs(u64::from(config.queue.hold_days) * 86_400))
            .with_urgent_clients(config::ranges(&config.smtp.urgent))
            .with_unwanted(config.smtp.unwanted().unwrap_or_default()))
    }

    /// What answers administrators by this configuration.
    pub(super) fn administration(
        &self,
        config: &Arc<Config>,
        rules: &Arc<Rules>,
    ) -> Result<Administration, ServeError> {
        let (store, directory) = (self.store.clone(), Arc::clone(&self.directory));
        let life = Life::new(config, store, directory, self.fetch.clone(), &self.database)
            .map_err(|source| ServeError::Store { path: config.data.display().to_string(), source })?;
        Ok(Administration {
            config: Arc::clone(config),
            directory: Arc::clone(&self.directory),
            queue: self.access.clone(),
            life,
            fetch: self.fetch.clone(),
            tokens: Arc::clone(&self.tokens),
            rules: Some(Arc::clone(rules)),
            live: Some(Arc::clone(&self.live)),
        })
    }
}
