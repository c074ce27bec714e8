//! IMAP over a store.

mod access;
mod ahead;
mod append;
mod at_hand;
mod derived;
mod described;
mod events;
mod fetch;
mod flags;
mod folders;
mod foreign;
mod headers;
mod identity;
mod known;
mod multi_search;
mod notify;
mod noting;
mod options;
mod preview;
mod progress;
mod recent;
mod referrals;
mod refilter;
mod remembered;
mod search;
mod selected;
mod session;
mod sharing;
mod sorting;
mod special_use;
mod transfer;
mod trash;
mod url;
mod url_auth;
mod url_fetch;

use std::{sync::Arc, time::Duration};

use mailwright_imap_proto::{
    Refusal,
    response::ResponseCode,
    server::{Abilities, Config, Server},
};
use mailwright_line_proto::{Deflate, Peer};
use mailwright_mail_model::UidSet;
use mailwright_mailstore::{
    Store, StoreError, User, Write,
    accounts::{Accounts, Service as Purpose},
};
use tokio_util::sync::CancellationToken;

pub use self::described::describer;
pub use self::events::{Cause, Events, ImapEvent};
pub use self::referrals::{Home, Referral, Referrals, RemoteMailbox};
pub use self::refilter::{Filtering, Later, Refilter};
pub(crate) use self::{access::permitted, described::Describer, foreign::Located};
use self::{
    append::Incoming, notify::Notifier, progress::Progress, recent::RecentMarks, remembered::Remembered,
    selected::Selected,
};
pub use self::{
    foreign::{ForeignNames, Groups},
    options::{Options, ToTrash},
    url_fetch::MailboxUrls,
};
use crate::{
    Accepted, Authenticator, Connection, Exchange, Listener, ListenerTls, Stream,
    auth::Seat,
    listen::Probation,
    service::{ALPN_IMAP, Latest, tell_end},
};

/// How often an idle client's mailbox is looked at, if the store cannot tell of changes.
const POLL: Duration = Duration::from_secs(15);

/// IMAP sessions over a store: it announces what the store can do, and derives the rest.
#[derive(Debug)]
pub struct Imap<S, A> {
    store: Arc<S>,
    authenticator: Arc<Authenticator<A>>,
    tls: ListenerTls,
    config: Arc<Config>,
    /// With other mechanisms, if those have changed.
    latest: Latest<Config>,
    recent: RecentMarks,
    remembered: Remembered,
    names: ForeignNames,
    referrals: Option<Arc<dyn Referrals>>,
    options: Options,
    /// Held while the key of a mailbox is made or taken away.
    keys: tokio::sync::Mutex<()>,
    events: Option<events::Told>,
    filters: Option<refilter::Filters>,
}

impl<S: Store + 'static, A: Accounts + 'static> Imap<S, A> {
    /// A service over a store. Of `config`, what follows from the store, the accounts and TLS is set here: the
    /// abilities, the mechanisms, and whether STARTTLS is offered.
    pub fn new(
        store: Arc<S>,
        authenticator: Arc<Authenticator<A>>,
        tls: ListenerTls,
        mut config: Config,
    ) -> Self {
        let mut abilities = Abilities::read_only();
        abilities.write = store.writer().is_some();
        abilities.folders = store.folders().is_some();
        abilities.mod_sequences = store.changes().is_some();
        abilities.object_ids = store.keeps_object_ids();
        // What is not known is NIL (RFC 8514 §4.2).
        abilities.save_dates = true;
        abilities.derives = true;
        abilities.several = store.writer().is_some_and(Write::takes_several);
        abilities.statuses = true;
        abilities.quota = store.quota().is_some();
        abilities.access_lists = store.acl().is_some();
        abilities.annotations = store.metadata().is_some();
        abilities.annotates = store.annotator().is_some();
        abilities.filters = abilities.annotations;
        // The keys are annotations.
        abilities.url_auth = abilities.annotations;
        abilities.set_quota = abilities.quota && authenticator.has_masters();
        abilities.sorts = true;
        abilities.tells_progress = true;
        abilities.searches_all = true;
        abilities.fuzzy = true;
        abilities.notifies = store.feed().is_some();
        if let Some(limit) = store.append_limit() {
            config.max_message_size = config.max_message_size.min(limit);
        }
        config.compress = true;
        config.abilities = abilities;
        let tls = tls.speaking(ALPN_IMAP);
        config.starttls = tls.is_starttls();
        config.auth_mechanisms = authenticator.mechanisms_for(Purpose::Imap);
        Self {
            store,
            authenticator,
            tls,
            config: Arc::new(config),
            latest: Latest::default(),
            recent: RecentMarks::default(),
            remembered: Remembered::new(Options::default().remembered_octets),
            names: ForeignNames::default(),
            referrals: None,
            options: Options::default(),
            keys: tokio::sync::Mutex::default(),
            events: None,
            filters: None,
        }
    }

    /// Tells of what happens to messages: where it runs scripts, name in `Config::sieve_url` where these are managed.
    #[must_use]
    pub fn with_events(mut self, events: Arc<dyn Events>) -> Self {
        self.events = Some(events::Told(events));
        self
    }

    /// Runs Sieve scripts on messages that are here already, when clients ask for it: FILTER=SIEVE.
    #[must_use]
    pub fn with_filters(mut self, filters: Arc<dyn Refilter>) -> Self {
        let mut config = Config::clone(&self.config);
        config.abilities.refilters = config.abilities.write;
        self.config = Arc::new(config);
        self.filters = Some(refilter::Filters(filters));
        self
    }

    /// Knows who is in which groups: access control lists can name them then.
    #[must_use]
    pub fn with_groups(mut self, groups: Arc<dyn Groups>) -> Self {
        self.names = ForeignNames::with_groups(groups);
        self
    }

    /// Knows whose mail is on other servers, and sends clients there: LOGIN-REFERRALS and MAILBOX-REFERRALS.
    #[must_use]
    pub fn with_referrals(mut self, referrals: Arc<dyn Referrals>) -> Self {
        let mut config = Config::clone(&self.config);
        (config.login_referrals, config.mailbox_referrals) = (true, true);
        self.config = Arc::new(config);
        self.referrals = Some(referrals);
        self
    }

    /// Sets what can be chosen.
    #[must_use]
    pub fn with_options(mut self, options: Options) -> Self {
        self.remembered = Remembered::new(options.remembered_octets);
        self.options = options;
        self
    }

    /// Serves every connection of a listener until it is stopped.
    pub async fn serve(self: Arc<Self>, listener: Listener, stop: CancellationToken) {
        let listener = listener.with_refusal(self.tls.refusal(b"* BYE [LIMIT] too many connections\r\n"));
        listener
            .run(move |accepted| {
                let (service, stop) = (Arc::clone(&self), stop.clone());
                async move { service.accepted(accepted, stop).await }
            })
            .await;
    }

    /// Serves one connection of a listener to its end. While connections run out, a client that has not logged in has little
    /// time ([`Stress`](crate::Stress)).
    pub async fn accepted(&self, accepted: Accepted, stop: CancellationToken) {
        let Accepted { socket, peer, admitted } = accepted;
        self.serve_one(socket.into(), peer, Probation::new(Some(admitted)), stop).await;
    }

    /// Serves one connection that nobody counts to its end.
    pub async fn session(&self, socket: impl Into<Stream>, peer: Peer, stop: CancellationToken) {
        self.serve_one(socket.into(), peer, Probation::new(None), stop).await;
    }

    async fn serve_one(&self, socket: Stream, peer: Peer, mut probation: Probation, stop: CancellationToken) {
        let config = self.latest.offering(&self.config, self.authenticator.mechanisms_for(Purpose::Imap));
        let machine = Deflate::new(Server::new(config, peer)).with_limits(&self.config.limits);
        let mut connection = Connection::new(self.tls.secure(machine), socket);
        connection.set_write_timeout(self.config.timeouts.write);
        let mut visit = Visit {
            store: &*self.store,
            service: self,
            peer,
            exchange: None,
            user: None,
            seat: self.authenticator.sessions().seat(),
            selected: None,
            incoming: None,
            idle: false,
            given_up: false,
            stale: None,
            notifier: None,
            progress: Progress::default(),
            client: None,
        };
        connection.machine().inner_mut().inner_mut().work_around(self.options.workarounds_for(None));
        let ended = visit.run(&mut connection, &mut probation, stop).await;
        Box::pin(visit.leave_soon()).await;
        tell_end("imap", &peer, visit.user.as_ref().map(|user| user as _), ended);
    }
}

/// One session.
struct Visit<'a, S, A> {
    store: &'a S,
    service: &'a Imap<S, A>,
    peer: Peer,
    exchange: Option<Exchange>,
    user: Option<User>,
    /// Its place among the sessions of its account.
    seat: Seat,
    selected: Option<Selected>,
    incoming: Option<Box<Incoming>>,
    idle: bool,
    /// The store does not answer: the session is to end.
    given_up: bool,
    /// What changed in the open mailbox since the searches that the client watches were made again.
    stale: Option<Box<UidSet>>,
    /// What the client wants to be told of all mailboxes.
    notifier: Option<Box<Notifier>>,
    /// How far the present search has come.
    progress: Progress,
    /// What the client calls itself (ID).
    client: Option<Box<str>>,
}

impl<S: Store, A: Accounts> Visit<'_, S, A> {
    /// Whether the user is one of those who may open everything.
    fn is_administrator(&self) -> bool {
        self.user.as_ref().is_some_and(|user| self.service.authenticator.is_master(user))
    }

    fn user(&self) -> Result<&User, Refusal> {
        self.user.as_ref().ok_or_else(Refusal::unavailable)
    }
}

/// What a client is told of a failure of the store.
fn refusal(error: &StoreError) -> Refusal {
    match error {
        // What clients bring about themselves.
        StoreError::NotFound
        | StoreError::Exists
        | StoreError::Conflict
        | StoreError::OverQuota
        | StoreError::Denied
        | StoreError::TooMany { .. }
        | StoreError::Invalid(_) => tracing::debug!(%error, "the store refuses"),
        _ => tracing::warn!(%error, "the store refuses"),
    }
    match error {
        StoreError::NotFound => Refusal::non_existent(),
        StoreError::Exists => Refusal::already_exists(),
        StoreError::Conflict => gone(),
        StoreError::OverQuota => Refusal::over_quota(),
        // RFC 5530 §3: also where the system as a whole has no room.
        StoreError::Full(_) => Refusal::new(ResponseCode::OverQuota, "no room on disk; try again later"),
        StoreError::Locked(_) => Refusal::new(ResponseCode::NoPerm, error.to_string()),
        StoreError::Corrupt(_) => Refusal::new(ResponseCode::Corruption, "what is stored is damaged"),
        StoreError::Denied | StoreError::ReadOnly(_) => Refusal::no_permission(),
        // RFC 5530 §3
        StoreError::TooMany { .. } => Refusal::new(ResponseCode::Limit, error.to_string()),
        StoreError::Invalid(why) => Refusal::new(ResponseCode::Cannot, why.clone()),
        _ => Refusal::unavailable(),
    }
}

/// RFC 5530 §3: another session has expunged what was to be dealt with.
fn gone() -> Refusal {
    Refusal::new(ResponseCode::ExpungeIssued, "another session has expunged some of the messages")
}

/// The same, where the mailbox that is not found is the target: the client may make it and try again.
fn target_refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::NotFound => Refusal::try_create(),
        other => refusal(other),
    }
}
