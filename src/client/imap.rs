//! Reading mail by IMAP: what is called is answered, and what the server says by itself is kept until it is asked for.
//!
//! | for | there is |
//! |---|---|
//! | a copy of a mailbox, kept from one session to the next | [`sync`](ImapClient::sync) |
//! | which mailboxes there are, and how many messages are in one | [`list`](ImapClient::list), [`status`](ImapClient::status) |
//! | which messages there are, or fit a query | [`search`](ImapClient::search); only how many or the last: [`call`](ImapClient::call) of [`Find`](mailwright_imap_proto::client::Find) |
//! | one message, or a part of it | [`message`](ImapClient::message), [`section`](ImapClient::section); piece by piece: [`body`](ImapClient::body) |
//! | flags, sizes, envelopes, structures | [`items`](ImapClient::items); of so many that they are not to be held at once: [`fetch`](ImapClient::fetch) |
//! | changes while nothing is asked | [`idle`](ImapClient::idle), [`news`](ImapClient::news) |
//! | everything else | [`call`](ImapClient::call) |
//!
//! What most programs need, one after the other. Log in, and see which mailboxes there are:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use mailwright::{
//!     client::{ClientError, Endpoint, ImapClient, Security},
//!     imap_proto::client::Config,
//!     line_proto::{Secret, tls::rustls::ClientConfig},
//! };
//!
//! # async fn example(tls: Arc<ClientConfig>) -> Result<(), ClientError> {
//! let endpoint = Endpoint::new("imap.example.org", 993, Security::Implicit(tls));
//! let mut client = ImapClient::connect(&endpoint, Arc::new(Config::default())).await?;
//! client.login("ann@example.org", &Secret::from("correct horse")).await?;
//! client.compress().await?;
//! for mailbox in client.list("*").await? {
//!     println!("{:?} {:?}", mailbox.name, mailbox.attributes);
//! }
//! # Ok(()) }
//! ```
//!
//! Keep a copy of a mailbox, here in files: what is known of it is a text, and only what has changed since is told.
//!
//! ```no_run
//! # use mailwright::{client::{ImapClient, Replica}, mail_model::MailboxName};
//! # async fn example(client: &mut ImapClient) -> Result<(), Box<dyn std::error::Error>> {
//! let state = std::fs::read_to_string("INBOX.state").unwrap_or_default();
//! let mut replica = state.parse().unwrap_or_else(|_| Replica::default());
//! let synced = client.sync(MailboxName::inbox(), true, &mut replica).await?;
//! for uid in synced.removed.iter() {
//!     let _gone_before = std::fs::remove_file(format!("{uid}.eml"));
//! }
//! for uid in synced.added.iter() {
//!     let name = format!("{uid}.eml");
//!     let mut file = tokio::fs::File::create(&name).await?;
//!     if client.message(uid, &mut file).await?.is_none() {
//!         // Somebody has removed it meanwhile: the next time it is among what is.
//!         std::fs::remove_file(name)?;
//!     }
//! }
//! std::fs::write("INBOX.state", replica.to_string())?;
//! # Ok(()) }
//! ```
//!
//! Store a message that is a file, whose lines end with CRLF; its size goes before it:
//!
//! ```no_run
//! # use mailwright::{client::ImapClient, imap_proto::command::Append, mail_model::MailboxName};
//! # async fn example(client: &mut ImapClient) -> Result<(), Box<dyn std::error::Error>> {
//! let mut file = tokio::fs::File::open("message.eml").await?;
//! let size = file.metadata().await?.len();
//! let mut append = Append::new(MailboxName::new("Sent")?, size);
//! append.flags = "\\Seen".parse()?;
//! if let Some(appended) = client.append(append, &mut file).await? {
//!     println!("it has the UID {}", appended.uid);
//! }
//! # Ok(()) }
//! ```
//!
//! Search, and move what was found:
//!
//! ```no_run
//! # use mailwright::{client::ImapClient, mail_model::{MailboxName, UidSet, query::Key}};
//! # async fn example(client: &mut ImapClient) -> Result<(), Box<dyn std::error::Error>> {
//! client.select(MailboxName::inbox()).await?;
//! let found: UidSet = client.search(Key::header("From", "list@example.net").into()).await?.into_iter().collect();
//! if !found.is_empty() {
//!     let moved = client.move_to(found, MailboxName::new("Lists")?).await?;
//!     println!("they are {:?} there", moved.map(|moved| moved.destination));
//! }
//! # Ok(()) }
//! ```
//!
//! Wait for news, for as long as the server and the network let; what happened while nobody listened is found when the mailbox is
//! brought up to date again:
//!
//! ```no_run
//! # use mailwright::{client::{ClientError, ImapClient, Replica}, mail_model::MailboxName};
//! # async fn connect() -> Result<ImapClient, ClientError> { std::future::pending().await }
//! # async fn example(mut replica: Replica) -> Result<(), ClientError> {
//! async fn follow(replica: &mut Replica) -> Result<(), ClientError> {
//!     let mut client = connect().await?;
//!     loop {
//!         let synced = client.sync(MailboxName::inbox(), true, replica).await?;
//!         println!("{} are new", synced.added.len());
//!         client.idle(std::future::pending()).await?;
//!     }
//! }
//! while let Err(error) = follow(&mut replica).await {
//!     if !error.is_temporary() {
//!         return Err(error);
//!     }
//!     tokio::time::sleep(std::time::Duration::from_secs(30)).await;
//! }
//! # Ok(()) }
//! ```

mod append;
mod body;
mod fetch;
mod idle;
mod many;
mod news;
mod replica;
mod request;
mod sync;
mod told;
mod unread;

use std::{collections::VecDeque, ops::ControlFlow, sync::Arc};

use mailwright_imap_proto::{
    client::{Capability, Client, Compress, Config, Event, Idle, Logout, Noop, Opened, StartTls},
    command::{Create, Delete, Fetch, List, Namespace, Rename, Search, Select, Status, StatusItem},
    response::{Capabilities, Listed, MailboxStatus, Namespaces},
};
use mailwright_line_proto::{Authenticate, Login, Secret, Ticket, sasl::Credentials};
use mailwright_mail_model::{MailboxName, Uid, query::Query};

use self::{news::News, told::Count, unread::unread};
use super::{ClientError, Endpoint, Refusal, link::Link, login::NoLogin};
use crate::service::entropy;

pub use body::FetchingBody;
pub(crate) use body::Wanted;
pub use fetch::Fetching;
pub use replica::{Replica, ReplicaError};
pub use request::Request;
pub use sync::{SyncMethod, Synced};

/// A connection to a user's mailboxes.
///
/// The named methods are for what is done every day. [`call`](Self::call) takes any request of
/// [`imap_proto`](mailwright_imap_proto), among them those that name messages by their numbers.
///
/// What the server says by itself is kept for [`news`](Self::news), the last 4,096 events of it or 16 MiB, and
/// [`idle`](Self::idle) waits for it. A FETCH that is not read to its end, and an IDLE that was dropped, are ended
/// before the next call. If any other future of this type is dropped in the middle, drop the client too.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use mailwright::{client::{ClientError, Endpoint, ImapClient}, imap_proto::client::Config, line_proto::Secret};
/// # use mailwright::mail_model::{MailboxName, query::Query};
/// # async fn example(endpoint: Endpoint) -> Result<(), ClientError> {
/// let mut client = ImapClient::connect(&endpoint, Arc::new(Config::default())).await?;
/// client.login("ann", &Secret::from("correct horse")).await?;
/// client.examine(MailboxName::inbox()).await?;
/// for uid in client.search(Query::all()).await? {
///     let mut message = Vec::new();
///     client.message(uid, &mut message).await?;
/// }
/// client.logout().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ImapClient {
    link: Link<Client>,
    config: Arc<Config>,
    news: News,
    preauthenticated: bool,
    /// A FETCH that was not read to its end, and an IDLE that was not ended.
    fetching: Option<Ticket<Fetch>>,
    /// What is left of it, where it is sent as several.
    to_fetch: VecDeque<Fetch>,
    idling: Option<Ticket<Idle>>,
    /// Whether QRESYNC is enabled; `None` before it was asked for.
    resync: Option<bool>,
    /// How many messages there are, since a copy was last brought up to date.
    count: Count,
}

impl ImapClient {
    /// Connects, waits for the greeting, starts TLS as the endpoint has it, and learns what the server can do.
    ///
    /// # Errors
    /// [`ClientError`]; what is in it if there is no STARTTLS is [`Misuse::NotOffered`](mailwright_line_proto::Misuse) or the server's refusal.
    pub async fn connect(endpoint: &Endpoint, config: Arc<Config>) -> Result<Self, ClientError> {
        let machine = Client::new(Arc::clone(&config), entropy()?);
        let link = Link::open(endpoint, machine, &config.limits, &config.timeouts).await?;
        let mut client = Self {
            link,
            config,
            news: News::default(),
            preauthenticated: false,
            fetching: None,
            to_fetch: VecDeque::new(),
            idling: None,
            resync: None,
            count: Count::default(),
        };
        loop {
            if let Event::Greeting { preauthenticated, .. } = client.link.next().await? {
                client.preauthenticated = preauthenticated;
                break;
            }
        }
        if endpoint.is_starttls() {
            client.call(StartTls).await?;
            // RFC 9051 §6.2.1: anybody on the way may have said what came before.
            client.news.clear();
        }
        client.learn().await?;
        Ok(client)
    }

    /// Whether there is nothing to log in for.
    pub fn is_preauthenticated(&self) -> bool {
        self.preauthenticated
    }

    /// What the server can do.
    pub fn capabilities(&mut self) -> Option<&Capabilities> {
        self.link.machine().capabilities()
    }

    /// Logs in with the strongest mechanism that both sides know, or [another](super) if the server refuses it; with
    /// LOGIN if none is left. Without TLS, neither is done unless the configuration allows it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the server does not want us; [`ClientError::Auth`] if the server did not prove that
    /// it knows the password; [`ClientError::Misuse`] if there is no login that may be used.
    pub async fn login(&mut self, user: &str, password: &Secret) -> Result<(), ClientError> {
        match self.exchange(&Credentials::new(user, password.clone())).await {
            Err(failure) if failure.is_open => {
                let login = self.call(Login::new(user, password.clone())).await;
                login.map_err(|error| failure.and_then(error))?;
            }
            done => done.map_err(|failure| failure.error)?,
        }
        self.learn().await
    }

    /// Logs in by SASL, perhaps to act as somebody else.
    ///
    /// # Errors
    /// As for [`login`](Self::login); [`AuthError::NoMechanism`](super::AuthError::NoMechanism) if there is no mechanism
    /// that may be used.
    pub async fn authenticate(&mut self, credentials: &Credentials) -> Result<(), ClientError> {
        self.exchange(credentials).await.map_err(|failure| failure.error)?;
        self.learn().await
    }

    async fn exchange(&mut self, credentials: &Credentials) -> Result<(), NoLogin> {
        let capabilities = self.link.machine().capabilities();
        let offered = capabilities.into_iter().flat_map(|all| all.mechanisms()).map(str::to_owned).collect();
        let mut attempts = self.link.attempts(offered, credentials, self.config.allow_plaintext_auth);
        let (login, ()) = exchange!(self.link, attempts, |other| self.note(other));
        Ok(self.link.end_login(login, None).map_err(ClientError::from)?)
    }

    /// Asks what the server can do, if it has not said so since TLS and login.
    async fn learn(&mut self) -> Result<(), ClientError> {
        if self.link.machine().capabilities().is_none() {
            self.call(Capability).await?;
        }
        Ok(())
    }

    /// Compresses everything from now on, if the server can; says whether it does. Best done after the login.
    ///
    /// # Errors
    /// [`ClientError`]. A server that refuses is no error.
    pub async fn compress(&mut self) -> Result<bool, ClientError> {
        if !self.capabilities().is_some_and(|offered| offered.has("COMPRESS=DEFLATE")) {
            return Ok(false);
        }
        match self.call(Compress).await {
            Ok(()) => Ok(true),
            Err(ClientError::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Calls anything, and waits for its answer. It is sent as it is: of many UIDs, the named methods make as many commands as it takes, and
    /// [`MessageSet::split`](mailwright_imap_proto::MessageSet::split) helps others to.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Unreadable`] if not all of the answer could be read, so that no answer is taken for a whole one that
    /// is none. This holds for the named methods too.
    pub async fn call<R: Request>(&mut self, request: R) -> Result<R::Answer, ClientError> {
        self.settle().await?;
        let ticket = self.link.machine().call(request)?;
        let mut unreadable = None;
        loop {
            match R::answered(ticket, self.link.next().await?) {
                ControlFlow::Break(outcome) => {
                    let answer = outcome?;
                    return unreadable.map_or(Ok(answer), Err);
                }
                ControlFlow::Continue(Event::Skipped(start)) if self.lacks(ticket) => {
                    unreadable.get_or_insert_with(|| unread(&start));
                }
                ControlFlow::Continue(other) => {
                    if matches!(other, Event::MailboxClosed) {
                        // It was about the mailbox that was open before.
                        unreadable = None;
                    }
                    self.note(other);
                }
            }
        }
    }

    /// Ends what an earlier caller left in the middle.
    async fn settle(&mut self) -> Result<(), ClientError> {
        self.to_fetch.clear();
        if let Some(ticket) = self.idling {
            self.link.machine().cancel(ticket);
        }
        while self.fetching.is_some() || self.idling.is_some() {
            match self.link.next().await? {
                Event::Fetch(ticket, _) if Some(ticket) == self.fetching => self.fetching = None,
                Event::Idle(ticket, _) if Some(ticket) == self.idling => self.idling = None,
                Event::Idling(_) => {}
                // Nobody wants what was asked for any more.
                Event::Fetched { .. } if self.fetching.is_some() => {}
                other => self.note(other),
            }
        }
        Ok(())
    }

    /// Opens a mailbox to read and change it.
    ///
    /// # Errors
    /// [`ClientError`]; no mailbox is open then.
    pub async fn select(&mut self, mailbox: MailboxName) -> Result<Box<Opened>, ClientError> {
        self.call(Select::new(mailbox, false)).await
    }

    /// Opens a mailbox to read it only.
    ///
    /// # Errors
    /// As for [`select`](Self::select).
    pub async fn examine(&mut self, mailbox: MailboxName) -> Result<Box<Opened>, ClientError> {
        self.call(Select::new(mailbox, true)).await
    }

    /// The UIDs of the messages that a query finds, as the server orders them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn search(&mut self, query: Query) -> Result<Vec<Uid>, ClientError> {
        let mut search = Search::new(query);
        search.by_uid = true;
        Ok(self.call(search).await?.into_iter().filter_map(Uid::new).collect())
    }

    /// The mailboxes that match a pattern: `*` stands for anything, `%` for anything but the delimiter.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list(&mut self, pattern: &str) -> Result<Vec<Listed>, ClientError> {
        self.call(List::new("", pattern)).await
    }

    /// Which names stand for mailboxes of the user's own, of other users and of nobody (RFC 2342); none if the server does not say.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn namespaces(&mut self) -> Result<Namespaces, ClientError> {
        let told = self.capabilities().is_some_and(|all| all.has("NAMESPACE") || all.has("IMAP4rev2"));
        match told {
            true => self.call(Namespace).await,
            false => Ok(Namespaces::default()),
        }
    }

    /// The numbers of a mailbox that is not open.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(
        &mut self,
        mailbox: MailboxName,
        items: impl IntoIterator<Item = StatusItem>,
    ) -> Result<Option<MailboxStatus>, ClientError> {
        self.call(Status::new(mailbox, items)).await
    }

    /// Makes a mailbox.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn create(&mut self, mailbox: MailboxName) -> Result<(), ClientError> {
        self.call(Create::new(mailbox)).await
    }

    /// Deletes a mailbox.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete(&mut self, mailbox: MailboxName) -> Result<(), ClientError> {
        self.call(Delete::new(mailbox)).await
    }

    /// Renames a mailbox.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn rename(&mut self, from: MailboxName, to: MailboxName) -> Result<(), ClientError> {
        self.call(Rename::new(from, to)).await
    }

    /// A sign of life, and a chance for the server to tell its news.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn noop(&mut self) -> Result<(), ClientError> {
        self.call(Noop).await
    }

    /// Takes leave.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn logout(mut self) -> Result<(), ClientError> {
        self.call(Logout).await?;
        self.link.finish().await;
        Ok(())
    }
}
