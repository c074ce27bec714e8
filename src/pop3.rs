//! POP3 over a store.

mod ahead;
mod first;
mod maildrops;
mod unique_ids;

use std::{
    collections::{HashMap, HashSet},
    io,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use mailwright_line_proto::{Ask, Authenticate, Login, Peer};
use mailwright_mail_model::{MailboxName, Uid, UidSet};
use mailwright_mailstore::{
    Expunge, MailboxRef, Message, MessageRef, Origins, Snapshot, Store, StoreError, User, Write,
    accounts::{Accounts, Service as Purpose},
    clock,
};
use mailwright_pop3_proto::{
    Apop, Expire, Maildrop, Refusal, Server, Timestamp, UniqueId,
    server::{Announced, BodyWanted, Commit, Config, Event, Open, Workarounds},
};
use tokio_util::sync::CancellationToken;

use self::{ahead::Ahead, maildrops::Lock};
use crate::{
    Accepted, Authenticator, Connection, Exchange, Listener, ListenerTls, Stream,
    auth::{Seat, without_detail},
    listen::Probation,
    service::{self, ALPN_POP3, Latest, Session, attend, entropy, tell_end},
};

pub use self::{
    maildrops::Maildrops,
    unique_ids::{UidTemplate, UidTemplateError},
};

/// How much of a message is read from the store at a time, in octets.
const CHUNK: u64 = 256 * 1024;

/// What a service does beyond its protocol.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// What unique ids are made of. Messages that came from another server with ids of their own keep those.
    pub unique_ids: UidTemplate,
    /// Whether a maildrop is open in one session at a time (RFC 1939 §8); a second one is told `[IN-USE]`. On by default.
    /// Otherwise each session sees what was there when it began, and a message that another one has deleted cannot be read
    /// any more.
    pub exclusive: bool,
    /// What separates an account's name from a folder's at login: with `+`, `alice+Lists@a.example` is alice's folder
    /// `Lists`. None by default: there is the INBOX and nothing else.
    pub folder_separator: Option<char>,
    /// The host name in the timestamps of APOP; without one, as by default, it is not offered, nor with accounts that do
    /// not keep their passwords in clear.
    pub apop: Option<String>,
    /// The policies of users who have their own, by account.
    pub policies: HashMap<String, Policy>,
    /// What services know of each other: give all that serve one store the same.
    pub maildrops: Maildrops,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            unique_ids: UidTemplate::default(),
            exclusive: true,
            folder_separator: None,
            apop: None,
            policies: HashMap::new(),
            maildrops: Maildrops::default(),
        }
    }
}

/// What holds for a user, where it is not what holds for all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// How long messages stay: what is older, counted from when it came into the mailbox, is deleted at QUIT.
    pub expire: Option<Expire>,
    /// How many seconds must lie between two logins.
    pub login_delay: Option<u32>,
    /// What is done for the user's client, which is wrong.
    pub workarounds: Option<Workarounds>,
}

/// POP3 sessions on the `INBOX` of each account.
#[derive(Debug)]
pub struct Pop3<S, A> {
    store: Arc<S>,
    authenticator: Arc<Authenticator<A>>,
    tls: ListenerTls,
    config: Arc<Config>,
    /// With other mechanisms, if those have changed.
    latest: Latest<Config>,
    /// What holds for users without policies of their own.
    general: Policy,
    options: Options,
}

impl<S: Store + 'static, A: Accounts + 'static> Pop3<S, A> {
    /// A service over a store. Of `config`, what follows from the accounts and from TLS is set here: the mechanisms,
    /// whether STLS is offered, and that names may be UTF-8.
    pub fn new(
        store: Arc<S>,
        authenticator: Arc<Authenticator<A>>,
        tls: ListenerTls,
        mut config: Config,
    ) -> Self {
        let tls = tls.speaking(ALPN_POP3);
        config.starttls = tls.is_starttls();
        config.mechanisms = authenticator.mechanisms_for(Purpose::Pop3);
        config.utf8_logins = true;
        let general = Policy {
            expire: config.expire,
            login_delay: config.login_delay,
            workarounds: Some(config.workarounds),
        };
        let (config, latest) = (Arc::new(config), Latest::default());
        Self { store, authenticator, tls, config, latest, general, options: Options::default() }
    }

    /// Sets what is done beyond the protocol. Before login the strictest of all policies is announced; after it, the user's own, or
    /// that of the configuration.
    #[must_use]
    pub fn with_options(mut self, options: Options) -> Self {
        let config = Arc::make_mut(&mut self.config);
        let mut strictest = Announced::new(config.expire, config.login_delay);
        for policy in options.policies.values() {
            // RFC 2449 §6.5, §6.7: the smallest, and the largest.
            let shorter = policy.expire.map(|own| own.min(strictest.expire.unwrap_or(Expire::Never)));
            strictest.expire = shorter.or(strictest.expire);
            strictest.login_delay = strictest.login_delay.max(policy.login_delay);
        }
        config.announced = Some(strictest).filter(|_| !options.policies.is_empty());
        Self { options, ..self }
    }

    /// Serves every connection of a listener until it is stopped.
    pub async fn serve(self: Arc<Self>, listener: Listener, stop: CancellationToken) {
        let listener = listener.with_refusal(self.tls.refusal(b"-ERR [SYS/TEMP] too many connections\r\n"));
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

    async fn serve_one(&self, socket: Stream, peer: Peer, probation: Probation, stop: CancellationToken) {
        let config = self.latest.offering(&self.config, self.authenticator.mechanisms_for(Purpose::Pop3));
        let mut machine = Server::new(config, peer);
        if let Some(timestamp) = self.timestamp() {
            machine.offer_apop(timestamp);
        }
        let mut connection = Connection::new(self.tls.secure(machine), socket);
        connection.set_write_timeout(self.config.timeouts.write);
        let seat = self.authenticator.sessions().seat();
        let mut visit =
            Visit { service: self, peer, exchange: None, user: None, seat, folder: None, maildrop: None };
        let about = ("pop3", &peer, self.config.timeouts.work);
        let ended = attend(&mut visit, &mut connection, probation, &stop, about).await;
        tell_end("pop3", &peer, visit.user.as_ref().map(|user| user as _), ended);
    }

    /// What the greeting bears for APOP, if that is offered: never the same twice, and not to be guessed.
    fn timestamp(&self) -> Option<Timestamp> {
        let host = self.options.apop.as_ref().filter(|_| self.authenticator.has_shared_passwords())?;
        let octets = entropy().ok()?;
        let (left, right) = octets.split_at_checked(16)?;
        let [left, right] = [left, right].map(|half| half.try_into().map(u128::from_be_bytes));
        Timestamp::new(&format!("<{:x}.{:x}@{host}>", left.ok()?, right.ok()?)).ok()
    }

    /// What holds for a user.
    fn policy(&self, user: &User) -> Policy {
        let own = self.options.policies.get(user.as_str()).copied().unwrap_or_default();
        Policy {
            expire: own.expire.or(self.general.expire),
            login_delay: own.login_delay.or(self.general.login_delay),
            workarounds: own.workarounds.or(self.general.workarounds),
        }
    }
}

/// One session.
struct Visit<'a, S, A> {
    service: &'a Pop3<S, A>,
    peer: Peer,
    exchange: Option<Exchange>,
    user: Option<User>,
    seat: Seat,
    /// The folder that was named at login.
    folder: Option<String>,
    maildrop: Option<Opened>,
}

/// An open maildrop. Keys of messages are their UIDs.
struct Opened {
    mailbox: MailboxRef,
    snapshot: Arc<Snapshot>,
    ahead: Ahead,
    _lock: Option<Lock>,
}

impl<S: Store + 'static, A: Accounts + 'static> service::Visit<Server> for Visit<'_, S, A> {
    fn is_proved(&self) -> bool {
        self.user.is_some()
    }

    fn seat(&self) -> &Seat {
        &self.seat
    }

    async fn handle(&mut self, connection: &mut Session<Server>, event: Event) -> io::Result<()> {
        // An answer that comes too late was given by the machine already: nothing is left to do about it.
        match event {
            Event::Login(ask) => self.log_in(connection, ask).await,
            Event::Apop(ask) => self.log_in_by_digest(connection, ask).await,
            Event::Authenticate(ask) => self.authenticate(connection, ask).await,
            Event::Open(ask) => {
                let answer = self.open().await;
                if let Some(workarounds) =
                    self.user.as_ref().and_then(|user| self.service.policy(user).workarounds)
                {
                    connection.machine().inner_mut().set_workarounds(workarounds);
                }
                let _ = connection.machine().inner_mut().answer::<Open>(ask, answer);
            }
            Event::Read(ask) => {
                let whole = ask.lines.is_none();
                let begun = self.begin(ask.key, whole).await;
                let granted = begun.as_ref().map(drop).map_err(Clone::clone);
                if connection.machine().inner_mut().answer(ask, granted).is_ok()
                    && let Ok((message, first)) = begun
                {
                    self.send(connection, &message, first).await?;
                    if whole {
                        self.read_ahead(connection, &message).await?;
                    }
                }
            }
            Event::Commit(ask) => {
                let answer = self.delete(&ask).await;
                let _ = connection.machine().inner_mut().answer(ask, answer);
                self.maildrop = None;
            }
            other => connection.machine().inner_mut().decline(other),
        }
        Ok(())
    }

    fn end(&mut self) {
        // Who has heard our goodbye may come again at once.
        self.maildrop = None;
    }
}

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    fn enter(&mut self, user: User, folder: Option<String>) {
        self.seat.take(&user);
        (self.user, self.folder) = (Some(user), folder);
    }

    async fn log_in(&mut self, connection: &mut Session<Server>, ask: Ask<Login>) {
        let tls = connection.machine().is_secure();
        self.seat.begin();
        let (name, folder) = without_detail(ask.user.clone(), self.service.options.folder_separator);
        let login = Login::new(name, ask.password.clone());
        let authenticator = &self.service.authenticator;
        let answer =
            authenticator.password_after(&mut self.exchange, &login, &self.peer, tls, Purpose::Pop3).await;
        let answer = answer.map(|user| self.enter(user, folder));
        let _ = connection.machine().inner_mut().answer(ask, answer);
    }

    async fn log_in_by_digest(&mut self, connection: &mut Session<Server>, ask: Ask<Apop>) {
        let tls = connection.machine().is_secure();
        let Some(timestamp) = connection.machine().inner().timestamp().cloned() else {
            return connection.machine().inner_mut().decline(Event::Apop(ask));
        };
        self.seat.begin();
        let (name, folder) = without_detail(ask.user.clone(), self.service.options.folder_separator);
        let login = Apop::new(name, ask.digest);
        let answer =
            self.service.authenticator.apop(&login, &timestamp, &self.peer, tls, Purpose::Pop3).await;
        let answer = answer.map(|user| self.enter(user, folder));
        let _ = connection.machine().inner_mut().answer(ask, answer);
    }

    async fn authenticate(&mut self, connection: &mut Session<Server>, ask: Ask<Authenticate>) {
        let tls = connection.machine().inner().tls().cloned();
        if !ask.continues {
            self.seat.begin();
        }
        let (service, separator) = (self.service, self.service.options.folder_separator);
        let (step, user, folder) = service
            .authenticator
            .step_into(&mut self.exchange, &ask, &self.peer, tls.as_ref(), Purpose::Pop3, separator)
            .await;
        if let Some(user) = user {
            self.enter(user, folder);
        }
        let _ = connection.machine().inner_mut().answer(ask, step);
    }

    async fn open(&mut self) -> Result<Maildrop, Refusal> {
        let options = &self.service.options;
        let user = self.user.clone().ok_or_else(Refusal::temporary)?;
        let (now, mut policy) = (Instant::now(), self.service.policy(&user));
        if user.is_guest() {
            // They change nothing, and so nobody stands in another's way, nor in the owner's.
            policy.expire = Some(Expire::Never);
            policy.login_delay = None;
        } else if !options.maildrops.may_come(&user, now) {
            return Err(Refusal::login_delay());
        }
        let name = match &self.folder {
            Some(folder) => MailboxName::new(folder).map_err(|_| Refusal::permanent())?,
            None => MailboxName::inbox(),
        };
        let lock = match options.exclusive && !user.is_guest() {
            true => Some(options.maildrops.lock(&user, &name).ok_or_else(Refusal::in_use)?),
            false => None,
        };
        let snapshot = self.service.store.open(&user, &name).await.map_err(|error| refusal(&error))?;
        let mailbox = MailboxRef::new(user.clone(), name, &snapshot);
        let mut maildrop = self.list(&mailbox, &snapshot, policy).await?;
        if user.is_guest() {
            maildrop.set_read_only();
        }
        self.maildrop = Some(Opened { mailbox, snapshot, ahead: Ahead::default(), _lock: lock });
        if !user.is_guest() {
            options.maildrops.came(&user, now, Duration::from_secs(policy.login_delay.unwrap_or(0).into()));
        }
        Ok(maildrop)
    }

    /// What is in a mailbox.
    async fn list(
        &self,
        mailbox: &MailboxRef,
        snapshot: &Snapshot,
        policy: Policy,
    ) -> Result<Maildrop, Refusal> {
        // Messages taken over from another server keep the ids their clients know.
        let stored = match self.service.store.origins() {
            Some(origins) => origins.unique_ids(mailbox).await.map_err(|error| refusal(&error))?,
            None => Vec::new(),
        };
        let taken: HashSet<&str> = stored.iter().map(|(_, id)| id.as_str()).collect();
        let mut stored = stored.iter().peekable();
        let (template, oldest) = (&self.service.options.unique_ids, oldest(policy.expire));
        let mut maildrop = Maildrop::default();
        for message in snapshot.messages() {
            // Both ascend.
            while stored.next_if(|(uid, _)| *uid < message.uid).is_some() {}
            let id = match stored.next_if(|(uid, _)| *uid == message.uid) {
                Some((_, id)) => id.clone(),
                None => {
                    let mut id = template.unique_id(message.uid, snapshot.uid_validity());
                    // RFC 1939 §7: no two messages have the same one.
                    while taken.contains(id.as_str()) {
                        id.push('+');
                    }
                    id
                }
            };
            let id = UniqueId::new(id).map_err(|_| Refusal::permanent())?;
            maildrop
                .push(u64::from(message.uid.get()), message.size, &id)
                .map_err(|_| Refusal::permanent())?;
            if let Some(number) = NonZeroU32::new(maildrop.len())
                && oldest.is_some_and(|oldest| came(message) < oldest)
            {
                maildrop.expire(number);
            }
        }
        maildrop.set_policies(policy.expire, policy.login_delay);
        Ok(maildrop)
    }

    fn message(&self, key: u64) -> Option<MessageRef> {
        let opened = self.maildrop.as_ref()?;
        Some(opened.mailbox.message(opened.snapshot.message(uid(key)?)?))
    }

    /// Sends a message, whose first octets are there.
    async fn send(
        &self,
        connection: &mut Session<Server>,
        message: &MessageRef,
        first: Bytes,
    ) -> io::Result<()> {
        let (mut offset, mut first) = (0, Some(first));
        while offset < message.size {
            let chunk = match first.take() {
                Some(first) => Ok(first),
                None => self.read(message, offset).await,
            };
            let server = connection.machine().inner_mut();
            let Ok(chunk) = chunk.inspect_err(|error| {
                tracing::error!(user = %message.mailbox.user(), uid = message.uid.get(), %error, "cannot read a message");
            }) else {
                server.abort_body();
                return Ok(());
            };
            offset += chunk.len() as u64;
            match server.send_body(chunk) {
                Ok(BodyWanted::More) => {}
                // TOP has all its lines, or the connection is gone.
                _ => break,
            }
            // What is left leaves with the end of the message, and perhaps with the next one.
            if offset < message.size {
                connection.flush_below(self.service.config.limits.transmit).await?;
            }
        }
        // If the connection is gone, its closing event says so next.
        let _ = connection.machine().inner_mut().end_body();
        Ok(())
    }

    /// Reads on while the client takes what it was sent.
    async fn read_ahead(&mut self, connection: &mut Session<Server>, message: &MessageRef) -> io::Result<()> {
        let Some(Opened { mailbox, snapshot, ahead, .. }) = &mut self.maildrop else { return Ok(()) };
        if !connection.has_input() {
            connection.flush_below(self.service.config.limits.transmit).await?;
        }
        ahead.read(&self.service.store, mailbox, snapshot, message);
        Ok(())
    }

    async fn delete(&self, commit: &Commit) -> Result<(), Refusal> {
        let (Some(opened), Some(writer)) = (&self.maildrop, self.service.store.writer()) else {
            return Err(Refusal::permanent());
        };
        if opened.mailbox.user().is_guest() {
            return Err(Refusal::permanent());
        }
        let uids: UidSet = commit.delete.iter().filter_map(|key| uid(*key)).collect();
        let count = uids.len();
        writer.expunge(&opened.mailbox, &Expunge::Exactly(uids)).await.map_err(|error| refusal(&error))?;
        tracing::info!(protocol = "pop3", user = %opened.mailbox.user(), count, "messages deleted");
        Ok(())
    }
}

/// When a message came into its mailbox, in seconds since 1970.
fn came(message: &Message) -> i64 {
    message.saved().unwrap_or(message.internal_date).seconds()
}

/// What came before this, in seconds since 1970, is to go. With no day it goes once it is retrieved, which the machine knows.
fn oldest(expire: Option<Expire>) -> Option<i64> {
    const DAY: i64 = 24 * 60 * 60;
    match expire {
        Some(Expire::Days(days)) if days > 0 => {
            Some(i64::try_from(clock::read().to_judge_age()).ok()? - i64::from(days) * DAY)
        }
        _ => None,
    }
}

fn uid(key: u64) -> Option<Uid> {
    u32::try_from(key).ok().and_then(Uid::new)
}

fn refusal(error: &StoreError) -> Refusal {
    tracing::warn!(%error, "a maildrop cannot be used");
    if error.pop3_code() == "SYS/PERM" { Refusal::permanent() } else { Refusal::temporary() }
}
