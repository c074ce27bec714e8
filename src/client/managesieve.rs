//! Managing Sieve scripts.

use std::sync::Arc;

use bytes::Bytes;
use mailwright_line_proto::{Authenticate, Misuse, Secret, sasl::Credentials};
use mailwright_sieve::managesieve::{
    Accepted, Capabilities, Capability, CheckScript, Client, DeleteScript, GetScript, HaveSpace, ListScripts,
    Listed, Logout, Noop, PutScript, RenameScript, ScriptName, SetActive, StartTls, Unauthenticate,
    client::{Config, Event},
};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{ClientError, Endpoint, Refusal, link::Link, login::NoLogin};

/// A ManageSieve connection.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use mailwright::{
///     client::{Endpoint, ManageSieveClient, Security},
///     line_proto::{Secret, tls},
///     sieve::managesieve::client::Config,
/// };
///
/// # async fn example(roots: tls::rustls::RootCertStore) -> Result<(), Box<dyn std::error::Error>> {
/// let security = Security::Starttls(Arc::new(tls::client_config(roots)?));
/// let endpoint = Endpoint::new("mail.example.org", 4190, security);
/// let mut client = ManageSieveClient::connect(&endpoint, Arc::new(Config::default())).await?;
/// client.login("ann", &Secret::from("correct horse")).await?;
/// let accepted = client.put("holidays", b"require \"vacation\"; vacation \"back in June\";").await?;
/// println!("{}", accepted.warnings.unwrap_or_default());
/// client.activate(Some("holidays")).await?;
/// client.logout().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ManageSieveClient {
    link: Link<Client>,
    config: Arc<Config>,
}

impl ManageSieveClient {
    /// Connects, and starts TLS if the endpoint says so.
    ///
    /// # Errors
    /// [`ClientError`]; a server that does not offer STARTTLS where it is asked for is one.
    pub async fn connect(endpoint: &Endpoint, config: Arc<Config>) -> Result<Self, ClientError> {
        let machine = Client::new(Arc::clone(&config));
        let mut link = Link::open(endpoint, machine, &config.limits, &config.timeouts).await?;
        while !matches!(link.next().await?, Event::Greeting) {}
        if endpoint.is_starttls() {
            answer!(link, StartTls, StartTls)?;
        }
        Ok(Self { link, config })
    }

    /// What the server can do, as it last said.
    pub fn capabilities(&mut self) -> &Capabilities {
        self.link.machine().capabilities()
    }

    /// Logs in with the strongest mechanism that both sides know, or [another](super) if the server refuses it. Without
    /// TLS, that is not done unless the configuration allows it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the server does not want us; [`ClientError::Auth`] if there is no mechanism that may
    /// be used, or the server did not prove that it knows the password.
    pub async fn login(&mut self, user: &str, password: &Secret) -> Result<(), ClientError> {
        self.authenticate(&Credentials::new(user, password.clone())).await
    }

    /// Logs in, perhaps to act as somebody else, and asks what the server can do then.
    ///
    /// # Errors
    /// As for [`login`](Self::login).
    pub async fn authenticate(&mut self, credentials: &Credentials) -> Result<(), ClientError> {
        self.exchange(credentials).await.map_err(|failure| failure.error)?;
        answer!(self.link, Capability, Capability)?;
        Ok(())
    }

    async fn exchange(&mut self, credentials: &Credentials) -> Result<(), NoLogin> {
        let offered = self.link.machine().capabilities().mechanisms().map(str::to_owned).collect();
        let mut attempts = self.link.attempts(offered, credentials, self.config.allow_plaintext_auth);
        let (login, last) = exchange!(self.link, attempts, drop);
        Ok(self.link.end_login(login, last.as_deref()).map_err(ClientError::from)?)
    }

    /// Lets somebody else log in.
    ///
    /// # Errors
    /// [`ClientError`]; not every server can.
    pub async fn unauthenticate(&mut self) -> Result<(), ClientError> {
        Ok(answer!(self.link, Unauthenticate, Unauthenticate)?)
    }

    /// Whether a script of this name and size could be stored.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it could not.
    pub async fn have_space(&mut self, name: &str, size: u32) -> Result<(), ClientError> {
        Ok(answer!(self.link, HaveSpace, HaveSpace { name: script_name(name)?, size })?)
    }

    /// Stores a script. The answer may hold warnings.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with what is wrong with the script, or with storing it.
    pub async fn put(&mut self, name: &str, script: &[u8]) -> Result<Accepted, ClientError> {
        let size = size_of(script)?;
        let ticket = self.link.machine().call(PutScript { name: script_name(name)?, size })?;
        let mut early = self.send(script).await?;
        loop {
            let event = match early.take() {
                Some(event) => event,
                None => self.link.next().await?,
            };
            if let Event::PutScript(answered, answer) = event
                && answered == ticket
            {
                return Ok(answer?);
            }
        }
    }

    /// Has a script checked, without storing it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with what is wrong with it.
    pub async fn check(&mut self, script: &[u8]) -> Result<Accepted, ClientError> {
        let ticket = self.link.machine().call(CheckScript { size: size_of(script)? })?;
        let mut early = self.send(script).await?;
        loop {
            let event = match early.take() {
                Some(event) => event,
                None => self.link.next().await?,
            };
            if let Event::CheckScript(answered, answer) = event
                && answered == ticket
            {
                return Ok(answer?);
            }
        }
    }

    /// Sends a script, to its end or to an answer that did not wait for that.
    async fn send(&mut self, mut script: &[u8]) -> Result<Option<Event>, ClientError> {
        loop {
            match self.link.send_body(&mut script, Client::send_body).await? {
                None => break,
                early @ Some(Event::PutScript(..) | Event::CheckScript(..)) => return Ok(early),
                Some(_) => {}
            }
        }
        self.link.machine().end_body()?;
        Ok(None)
    }

    /// The scripts there are.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list(&mut self) -> Result<Vec<Listed>, ClientError> {
        Ok(answer!(self.link, ListScripts, ListScripts)?)
    }

    /// Makes a script the one that filters mail, or none.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn activate(&mut self, name: Option<&str>) -> Result<(), ClientError> {
        let name = name.map(script_name).transpose()?;
        Ok(answer!(self.link, SetActive, SetActive(name))?)
    }

    /// Writes a script into a sink as it comes; the result is its octets.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Body`] if the sink failed, whatever of the script is still to come.
    pub async fn get<W: AsyncWrite + Unpin>(&mut self, name: &str, sink: &mut W) -> Result<u64, ClientError> {
        answer!(self.link, GetScript, GetScript { name: script_name(name)? })?;
        let (mut octets, mut failed) = (0, None);
        loop {
            match self.link.next().await? {
                Event::Body(chunk) if failed.is_none() => {
                    octets += chunk.len() as u64;
                    failed = write(sink, chunk).await.err();
                }
                Event::BodyEnd => break,
                _ => {}
            }
        }
        match failed {
            Some(error) => Err(ClientError::Body(error)),
            None => Ok(octets),
        }
    }

    /// Deletes a script, which must not be the active one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete(&mut self, name: &str) -> Result<(), ClientError> {
        Ok(answer!(self.link, DeleteScript, DeleteScript { name: script_name(name)? })?)
    }

    /// Gives a script another name.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn rename(&mut self, from: &str, to: &str) -> Result<(), ClientError> {
        let request = RenameScript { from: script_name(from)?, to: script_name(to)? };
        Ok(answer!(self.link, RenameScript, request)?)
    }

    /// A sign of life.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn noop(&mut self) -> Result<(), ClientError> {
        Ok(answer!(self.link, Noop, Noop(None))?)
    }

    /// Takes leave.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn logout(mut self) -> Result<(), ClientError> {
        let answer = answer!(self.link, Logout, Logout);
        self.link.finish().await;
        Ok(answer?)
    }
}

async fn write<W: AsyncWrite + Unpin>(sink: &mut W, chunk: Bytes) -> std::io::Result<()> {
    sink.write_all(&chunk).await?;
    sink.flush().await
}

fn script_name(name: &str) -> Result<ScriptName, Misuse> {
    ScriptName::new(name).map_err(|_| Misuse::Argument("this is no name of a script"))
}

fn size_of(script: &[u8]) -> Result<u32, Misuse> {
    u32::try_from(script.len()).map_err(|_| Misuse::Argument("a script has less than 4 GiB"))
}
