//! Accounts of somebody else.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use mailwright_line_proto::{
    Secret,
    dovecot_auth::{AuthRequest, Client, ClientEvent, Outcome},
};
use mailwright_mailstore::{
    User,
    accounts::{Accounts, Credentials, LoginError, LoginRequest, Service},
};
use tokio::{
    net::{TcpStream, UnixStream},
    sync::Semaphore,
    time,
};

use crate::{Connection, Socket};

/// How many logins are asked about at once; the others wait.
const AT_ONCE: usize = 32;
/// How long it may take to connect.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a Dovecot authentication server is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DovecotAddress {
    /// The socket of `service auth`: `/run/dovecot/auth-client`, or one made for others in its configuration.
    Unix(PathBuf),
    /// An `inet_listener` of it.
    Tcp(SocketAddr),
}

/// The accounts of a Dovecot: passwords are checked there, each over a connection of its own.
///
/// Whose account it is, Dovecot says: what it makes of the name is the name here. Only passwords can be asked about, so a
/// login that was proven otherwise, and one to act as somebody else, is refused.
#[derive(Debug)]
pub struct DovecotAccounts {
    address: DovecotAddress,
    asking: Semaphore,
}

impl DovecotAccounts {
    /// The accounts behind this server, which is not asked yet.
    pub fn new(address: DovecotAddress) -> Self {
        Self { address, asking: Semaphore::new(AT_ONCE) }
    }

    async fn ask(&self, request: AuthRequest) -> io::Result<Outcome> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        match &self.address {
            DovecotAddress::Unix(path) => {
                exchange(time::timeout(PATIENCE, UnixStream::connect(path)).await.map_err(late)??, request)
                    .await
            }
            DovecotAddress::Tcp(address) => {
                exchange(time::timeout(PATIENCE, TcpStream::connect(address)).await.map_err(late)??, request)
                    .await
            }
        }
    }
}

async fn exchange<S: Socket>(socket: S, request: AuthRequest) -> io::Result<Outcome> {
    let mut connection = Connection::new(Client::new(std::process::id()), socket);
    loop {
        match connection.next().await? {
            Some(ClientEvent::Ready(_)) => {
                connection.machine().authenticate(&request).map_err(io::Error::other)?;
            }
            Some(ClientEvent::Done(_, outcome)) => return Ok(outcome),
            Some(ClientEvent::Closed(why)) => return Err(io::Error::other(format!("{why:?}"))),
            Some(_) => return Err(io::Error::other("a challenge where PLAIN has none")),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Accounts for DovecotAccounts {
    async fn login(&self, request: &LoginRequest) -> Result<User, LoginError> {
        let Credentials::Password(password) = &request.credentials else {
            return Err(LoginError::NotAuthorized);
        };
        if request.authorization.is_some() {
            return Err(LoginError::NotAuthorized);
        }
        // RFC 4616 §2: a NUL would begin another field.
        if request.user.contains('\0') || password.contains(&0) {
            return Err(LoginError::Credentials);
        }
        let message = [b"", request.user.as_bytes(), password].join(&0);
        let service = match request.service {
            Service::Imap => "imap",
            Service::Pop3 => "pop3",
            Service::ManageSieve => "sieve",
            _ => "smtp",
        };
        let mut ask = AuthRequest::new("PLAIN", service);
        ask.remote = request.peer;
        ask.secured = request.tls;
        ask.initial = Some(Secret::from(&message[..]));
        let _asking = self.asking.acquire().await.map_err(|_| LoginError::Unavailable)?;
        match self.ask(ask).await {
            Ok(Outcome::Accepted { user, .. }) => User::new(&user).map_err(|_| LoginError::Unavailable),
            Ok(Outcome::Refused { expired: true, .. }) => Err(LoginError::Expired),
            // It counts as no guess: whoever has the right password gets no other answer.
            Ok(Outcome::Refused { denied: true, .. }) => Err(LoginError::NotAuthorized),
            Ok(Outcome::Refused { temporary: false, .. }) => Err(LoginError::Credentials),
            Ok(_) => Err(LoginError::Unavailable),
            Err(error) => {
                tracing::error!(%error, address = ?self.address, "the authentication server cannot be asked");
                Err(LoginError::Unavailable)
            }
        }
    }
}
