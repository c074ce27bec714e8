//! POP3 over a store.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Mutex, PoisonError},
};

use mailwright_line_proto::Peer;
use mailwright_mail_model::{MailboxName, Uid, UidSet};
use mailwright_mailstore::{
    Expunge, MailboxRef, MessageRef, Origins, Snapshot, Store, StoreError, User, Write,
    accounts::{Accounts, Service as Purpose},
};
use mailwright_pop3_proto::{
    Maildrop, Refusal, Server, UniqueId,
    server::{BodyWanted, Commit, Config, Event, Open},
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::{
    Authenticator, Connection, Exchange, Listener, ListenerTls,
    service::{self, ALPN_POP3, Session, attend, tell_end},
};

/// How much of a message is read from the store at a time, in octets.
const CHUNK: u64 = 256 * 1024;

/// POP3 sessions on the `INBOX` of each account.
///
/// A maildrop is open in one session at a time (RFC 1939 §8); a second one is told `[IN-USE]`.
#[derive(Debug)]
pub struct Pop3<S, A> {
    store: Arc<S>,
    authenticator: Arc<Authenticator<A>>,
    tls: ListenerTls,
    config: Arc<Config>,
    open: Arc<Mutex<HashSet<User>>>,
}

impl<S: Store + 'static, A: Accounts + 'static> Pop3<S, A> {
    /// A service over a store. Of `config`, what follows from the accounts and from TLS is set here: the mechanisms,
    /// and whether STLS is offered.
    pub fn new(
        store: Arc<S>,
        authenticator: Arc<Authenticator<A>>,
        tls: ListenerTls,
        mut config: Config,
    ) -> Self {
        let tls = tls.speaking(ALPN_POP3);
        config.starttls = tls.is_starttls();
        config.mechanisms = authenticator.mechanisms();
        Self { store, authenticator, tls, config: Arc::new(config), open: Arc::default() }
    }

    /// Serves every connection of a listener until it is stopped.
    pub async fn serve(self: Arc<Self>, listener: Listener, stop: CancellationToken) {
        let listener = listener.with_refusal(self.tls.refusal(b"-ERR [SYS/TEMP] too many connections\r\n"));
        listener
            .run(move |socket, peer| {
                let (service, stop) = (Arc::clone(&self), stop.clone());
                async move { service.session(socket, peer, stop).await }
            })
            .await;
    }

    /// Serves one connection to its end.
    pub async fn session(&self, socket: TcpStream, peer: Peer, stop: CancellationToken) {
        let machine = Server::new(Arc::clone(&self.config), peer);
        let mut connection = Connection::new(self.tls.secure(machine), socket);
        connection.set_write_timeout(self.config.timeouts.write);
        let mut visit = Visit { service: self, peer, exchange: None, user: None, maildrop: None };
        let ended = attend(&mut visit, &mut connection, &stop).await;
        tell_end("pop3", &peer, visit.user.as_ref().map(|user| user as _), ended);
    }
}

/// One session.
struct Visit<'a, S, A> {
    service: &'a Pop3<S, A>,
    peer: Peer,
    exchange: Option<Exchange>,
    user: Option<User>,
    maildrop: Option<Opened>,
}

/// An open maildrop. Keys of messages are their UIDs.
struct Opened {
    mailbox: MailboxRef,
    snapshot: Arc<Snapshot>,
    _lock: Lock,
}

impl<S: Store, A: Accounts> service::Visit<Server> for Visit<'_, S, A> {
    async fn handle(&mut self, connection: &mut Session<Server>, event: Event) -> io::Result<()> {
        // An answer that comes too late was given by the machine already: nothing is left to do about it.
        match event {
            Event::Login(ask) => {
                let tls = connection.machine().is_secure();
                let authenticator = &self.service.authenticator;
                let answer = authenticator.password(&ask, &self.peer, tls, Purpose::Pop3).await;
                let answer = answer.map(|user| self.user = Some(user));
                let _ = connection.machine().inner_mut().answer(ask, answer);
            }
            Event::Authenticate(ask) => {
                let tls = connection.machine().inner().tls().cloned();
                let (step, user) = self
                    .service
                    .authenticator
                    .step(&mut self.exchange, &ask, &self.peer, tls.as_ref(), Purpose::Pop3)
                    .await;
                self.user = user.or_else(|| self.user.take());
                let _ = connection.machine().inner_mut().answer(ask, step);
            }
            Event::Open(ask) => {
                let answer = self.open().await;
                let _ = connection.machine().inner_mut().answer::<Open>(ask, answer);
            }
            Event::Read(ask) => {
                let message = self.message(ask.key);
                let granted = if message.is_some() { Ok(()) } else { Err(Refusal::permanent()) };
                if connection.machine().inner_mut().answer(ask, granted).is_ok()
                    && let Some(message) = message
                {
                    self.send(connection, &message).await?;
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
}

impl<S: Store, A: Accounts> Visit<'_, S, A> {
    async fn open(&mut self) -> Result<Maildrop, Refusal> {
        let user = self.user.clone().ok_or_else(Refusal::temporary)?;
        let lock = Lock::take(&self.service.open, &user).ok_or_else(Refusal::in_use)?;
        let inbox = MailboxName::inbox();
        let snapshot = self.service.store.open(&user, &inbox).await.map_err(|error| refusal(&error))?;
        let mailbox = MailboxRef::new(user, inbox, &snapshot);
        // Messages taken over from another server keep the ids their clients know.
        let stored = match self.service.store.origins() {
            Some(origins) => origins.unique_ids(&mailbox).await.map_err(|error| refusal(&error))?,
            None => Vec::new(),
        };
        let stored: HashMap<Uid, String> = stored.into_iter().collect();
        let mut maildrop = Maildrop::default();
        for message in snapshot.messages() {
            // The template `%08Xu%08Xv` of Dovecot: clients that move here do not fetch everything again.
            let made = || format!("{:08x}{:08x}", message.uid.get(), snapshot.uid_validity().get());
            let id = stored.get(&message.uid).cloned().unwrap_or_else(made);
            let id = UniqueId::new(id).map_err(|_| Refusal::permanent())?;
            maildrop
                .push(u64::from(message.uid.get()), message.size, &id)
                .map_err(|_| Refusal::permanent())?;
        }
        self.maildrop = Some(Opened { mailbox, snapshot, _lock: lock });
        Ok(maildrop)
    }

    fn message(&self, key: u64) -> Option<MessageRef> {
        let opened = self.maildrop.as_ref()?;
        Some(opened.mailbox.message(opened.snapshot.message(uid(key)?)?))
    }

    async fn send(&self, connection: &mut Session<Server>, message: &MessageRef) -> io::Result<()> {
        let mut offset = 0;
        while offset < message.size {
            let chunk = self.service.store.read(message, offset..message.size.min(offset + CHUNK)).await;
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
            connection.flush_below(self.service.config.limits.transmit).await?;
        }
        // If the connection is gone, its closing event says so next.
        let _ = connection.machine().inner_mut().end_body();
        Ok(())
    }

    async fn delete(&self, commit: &Commit) -> Result<(), Refusal> {
        let (Some(opened), Some(writer)) = (&self.maildrop, self.service.store.writer()) else {
            return Err(Refusal::permanent());
        };
        let uids: UidSet = commit.delete.iter().filter_map(|key| uid(*key)).collect();
        let count = uids.len();
        writer.expunge(&opened.mailbox, &Expunge::Exactly(uids)).await.map_err(|error| refusal(&error))?;
        tracing::info!(protocol = "pop3", user = %opened.mailbox.user(), count, "messages deleted");
        Ok(())
    }
}

fn uid(key: u64) -> Option<Uid> {
    u32::try_from(key).ok().and_then(Uid::new)
}

fn refusal(error: &StoreError) -> Refusal {
    tracing::warn!(%error, "a maildrop cannot be used");
    if error.pop3_code() == "SYS/PERM" { Refusal::permanent() } else { Refusal::temporary() }
}

/// The right to be in a maildrop alone.
struct Lock {
    open: Arc<Mutex<HashSet<User>>>,
    user: User,
}

impl Lock {
    fn take(open: &Arc<Mutex<HashSet<User>>>, user: &User) -> Option<Self> {
        let inserted = open.lock().unwrap_or_else(PoisonError::into_inner).insert(user.clone());
        inserted.then(|| Self { open: Arc::clone(open), user: user.clone() })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.user);
    }
}
