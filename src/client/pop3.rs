//! Fetching mail by POP3.

use std::{num::NonZeroU32, sync::Arc};

use bytes::Bytes;
use mailwright_line_proto::{
    Authenticate, Login, Misuse, Secret,
    sasl::{self, Credentials},
};
use mailwright_pop3_proto::{
    Apop, Capa, Capability, Dele, Identified, Lang, Language, Last, List, Listed, Noop, Quit, Retr, Rset,
    Stat, Stls, Top, Totals, Uidl, Utf8,
    client::{Client, Config, Event},
};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{ClientError, Endpoint, Refusal, link::Link, login::NoLogin};

/// A connection to a maildrop.
///
/// Messages are named by the numbers they have in this session, from 1. A message that is not read to its end is passed
/// over before the next call. If a future of this type is dropped in the middle, drop the client too.
#[derive(Debug)]
pub struct Pop3Client {
    link: Link<Client>,
    config: Arc<Config>,
    /// A message was begun and not read to its end.
    reading: bool,
}

impl Pop3Client {
    /// Connects, waits for the greeting, starts TLS as the endpoint has it, and asks what the server can do.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Refused`] if there is no STLS.
    pub async fn connect(endpoint: &Endpoint, config: Arc<Config>) -> Result<Self, ClientError> {
        let machine = Client::new(Arc::clone(&config));
        let link = Link::open(endpoint, machine, &config.limits, &config.timeouts).await?;
        let mut client = Self { link, config, reading: false };
        while !matches!(client.link.next().await?, Event::Greeting(_)) {}
        if endpoint.is_starttls() {
            answer!(client.link, Stls, Stls)?;
        }
        // Servers without CAPA can still be used; it is why its refusal is none of ours.
        let _ = answer!(client.link, Capa, Capa);
        Ok(client)
    }

    /// What the server can do; nothing if it does not say.
    pub fn capabilities(&mut self) -> impl Iterator<Item = &Capability> {
        self.link.machine().capabilities().into_iter().flat_map(|capabilities| capabilities.iter())
    }

    /// Logs in with the strongest mechanism that both sides know, or [another](super) if the server refuses it; with USER
    /// and PASS if none is left. Without TLS, neither is done unless the configuration allows it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the server does not want us; [`ClientError::Auth`] if the server did not prove that
    /// it knows the password.
    pub async fn login(&mut self, user: &str, password: &Secret) -> Result<(), ClientError> {
        match self.exchange(&Credentials::new(user, password.clone())).await {
            Err(failure) if failure.is_open => self
                .login_without_sasl(Login::new(user, password.clone()))
                .await
                .map_err(|error| failure.and_then(error)),
            done => done.map_err(|failure| failure.error),
        }
    }

    async fn login_without_sasl(&mut self, login: Login) -> Result<(), ClientError> {
        Ok(answer!(self.link, Login, login)?)
    }

    /// Logs in by SASL, perhaps to act as somebody else.
    ///
    /// # Errors
    /// As for [`login`](Self::login); [`AuthError::NoMechanism`](super::AuthError::NoMechanism) if there is no mechanism
    /// that may be used.
    pub async fn authenticate(&mut self, credentials: &Credentials) -> Result<(), ClientError> {
        self.exchange(credentials).await.map_err(|failure| failure.error)
    }

    async fn exchange(&mut self, credentials: &Credentials) -> Result<(), NoLogin> {
        let capabilities = self.link.machine().capabilities();
        let offered = capabilities.into_iter().flat_map(|all| all.mechanisms()).map(str::to_owned).collect();
        let mut attempts = self.link.attempts(offered, credentials, self.config.allow_plaintext_auth);
        let (login, ()) = exchange!(self.link, attempts, drop);
        Ok(self.link.end_login(login, None).map_err(ClientError::from)?)
    }

    /// Logs in with a digest of the password, for servers that can do nothing better: MD5 is broken, and a server that says
    /// who it is wrongly learns enough to guess the password. Without TLS, that is not done unless the configuration allows it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the server does not want us; [`ClientError::Misuse`] if it does not offer APOP.
    pub async fn login_by_digest(&mut self, user: &str, password: &Secret) -> Result<(), ClientError> {
        let timestamp = self.link.machine().timestamp().ok_or(Misuse::NotOffered("APOP"))?;
        let digest = sasl::apop_digest(timestamp.as_str(), password);
        Ok(answer!(self.link, Apop, Apop::new(user, digest))?)
    }

    /// Says, before login, that header fields may hold UTF-8: a server that knows of it sends messages as they are.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it does not.
    pub async fn utf8(&mut self) -> Result<(), ClientError> {
        Ok(answer!(self.link, Utf8, Utf8)?)
    }

    /// The languages that the server speaks to people.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn languages(&mut self) -> Result<Vec<Language>, ClientError> {
        Ok(answer!(self.settled().await?, Lang, Lang(None))?)
    }

    /// Chooses a language by a range, such as `de`, or `*` for the server's favourite; gives the tag of what it chose.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn speak(&mut self, range: &str) -> Result<Option<Language>, ClientError> {
        Ok(answer!(self.settled().await?, Lang, Lang(Some(range.to_owned())))?.into_iter().next())
    }

    /// The highest message that was retrieved, 0 if none was. Few servers know this.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn last(&mut self) -> Result<u32, ClientError> {
        Ok(answer!(self.settled().await?, Last, Last)?)
    }

    /// How many messages there are, and their octets together.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stat(&mut self) -> Result<Totals, ClientError> {
        Ok(answer!(self.settled().await?, Stat, Stat)?)
    }

    /// The size of every message. How many there may be is in [`Config::listing`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list(&mut self) -> Result<Vec<Listed>, ClientError> {
        let ticket = self.settled().await?.machine().call(List(None))?;
        let mut entries = Vec::new();
        loop {
            match self.link.next().await? {
                Event::Listed(listed, entry) if listed == ticket => entries.push(entry),
                Event::List(answered, answer) if answered == ticket => {
                    answer?;
                    return Ok(entries);
                }
                _ => {}
            }
        }
    }

    /// The unique id of every message. How many there may be is in [`Config::listing`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn uidl(&mut self) -> Result<Vec<Identified>, ClientError> {
        let ticket = self.settled().await?.machine().call(Uidl(None))?;
        let mut entries = Vec::new();
        loop {
            match self.link.next().await? {
                Event::Identified(identified, entry) if identified == ticket => entries.push(entry),
                Event::Uidl(answered, answer) if answered == ticket => {
                    answer?;
                    return Ok(entries);
                }
                _ => {}
            }
        }
    }

    /// Writes a message into a sink as it comes; the result is its octets.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Body`] if the sink failed.
    pub async fn retr<W: AsyncWrite + Unpin>(
        &mut self,
        number: NonZeroU32,
        sink: &mut W,
    ) -> Result<u64, ClientError> {
        self.open(number).await?.copy(sink).await
    }

    /// Opens a message, to read it in parts.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn open(&mut self, number: NonZeroU32) -> Result<Download<'_>, ClientError> {
        answer!(self.settled().await?, Retr, Retr(number))?;
        self.reading = true;
        Ok(Download { client: self })
    }

    /// Opens the header of a message and the first lines of its body.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn top(&mut self, number: NonZeroU32, lines: u32) -> Result<Download<'_>, ClientError> {
        answer!(self.settled().await?, Top, Top { number, lines })?;
        self.reading = true;
        Ok(Download { client: self })
    }

    /// Marks a message deleted. It goes when [`quit`](Self::quit) is answered.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn dele(&mut self, number: NonZeroU32) -> Result<(), ClientError> {
        Ok(answer!(self.settled().await?, Dele, Dele(number))?)
    }

    /// Takes all marks back.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reset(&mut self) -> Result<(), ClientError> {
        Ok(answer!(self.settled().await?, Rset, Rset)?)
    }

    /// A sign of life.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn noop(&mut self) -> Result<(), ClientError> {
        Ok(answer!(self.settled().await?, Noop, Noop)?)
    }

    /// The connection, with nothing left in it of a message that was not read to its end.
    async fn settled(&mut self) -> Result<&mut Link<Client>, ClientError> {
        while self.part().await?.is_some() {}
        Ok(&mut self.link)
    }

    /// The next part of the message that is being read.
    pub(crate) async fn part(&mut self) -> Result<Option<Bytes>, ClientError> {
        while self.reading {
            match self.link.next().await? {
                Event::Body(chunk) => return Ok(Some(chunk)),
                Event::BodyEnd => self.reading = false,
                _ => {}
            }
        }
        Ok(None)
    }

    /// Takes leave: what was marked is deleted now.
    ///
    /// # Errors
    /// [`ClientError`]; some of what was marked may be there still.
    pub async fn quit(mut self) -> Result<(), ClientError> {
        let answer = answer!(self.settled().await?, Quit, Quit);
        self.link.finish().await;
        Ok(answer?)
    }
}

/// A message on its way: what is not pulled is not read from the network.
#[derive(Debug)]
pub struct Download<'a> {
    client: &'a mut Pop3Client,
}

impl Download<'_> {
    /// The next part, cut anywhere; `None` at the end.
    ///
    /// # Errors
    /// [`ClientError`]: the message is not complete then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.client.part().await
    }

    async fn copy<W: AsyncWrite + Unpin>(mut self, sink: &mut W) -> Result<u64, ClientError> {
        let mut octets = 0;
        while let Some(chunk) = self.next().await? {
            octets += chunk.len() as u64;
            sink.write_all(&chunk).await.map_err(ClientError::Body)?;
        }
        sink.flush().await.map_err(ClientError::Body)?;
        Ok(octets)
    }
}
