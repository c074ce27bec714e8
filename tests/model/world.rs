//! One store, one service, and connections to it in memory.

use std::sync::Arc;

use bytes::BytesMut;
use mailwright::{
    Authenticator, ListenerTls, Pipe, Socket,
    imap::Imap,
    imap_proto::{
        response::{Leniency, Response},
        server::Config,
    },
    line_proto::{Peer, Secret},
    mailstore::{
        User,
        accounts::{Accounts, LoginError, LoginRequest},
        memory::Memory,
    },
};
use tokio_util::sync::CancellationToken;

use crate::mail::{Check, check};

/// Whoever comes is Ann.
pub(crate) struct Anybody;

impl Accounts for Anybody {
    async fn login(&self, request: &LoginRequest) -> Result<User, LoginError> {
        User::new(&request.user).map_err(|_| LoginError::Credentials)
    }
}

pub(crate) struct World {
    pub(crate) store: Memory,
    pub(crate) user: User,
    service: Arc<Imap<Memory, Anybody>>,
}

impl World {
    pub(crate) fn new() -> Self {
        let store = Memory::new();
        let authenticator = Arc::new(Authenticator::new(Anybody, Secret::from("salt")));
        let mut config = Config::default();
        config.allow_plaintext_auth = true;
        let service = Imap::new(Arc::new(store.clone()), authenticator, ListenerTls::None, config);
        Self { store, user: User::new("ann").unwrap(), service: Arc::new(service) }
    }

    pub(crate) fn connect(&self) -> Link {
        let (server, client) = Pipe::pair(64 * 1024);
        let service = Arc::clone(&self.service);
        tokio::spawn(async move {
            service.session(server, Peer::unknown(), CancellationToken::new()).await;
        });
        Link { pipe: client, read: BytesMut::new() }
    }
}

/// The client's end.
pub(crate) struct Link {
    pipe: Pipe,
    read: BytesMut,
}

impl Link {
    pub(crate) async fn send(&self, text: &str) -> Check {
        let mut octets = text.as_bytes();
        while !octets.is_empty() {
            self.pipe.writable().await.map_err(|error| error.to_string())?;
            let sent = self.pipe.try_write_vectored(&[std::io::IoSlice::new(octets)]);
            octets = &octets[sent.map_err(|error| error.to_string())?..];
        }
        Ok(())
    }

    /// The next response and its text; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Check<Option<(Response, String)>> {
        loop {
            if let Some(octets) = self.take() {
                let text = String::from_utf8_lossy(&octets).trim_end().to_owned();
                let response = Response::parse(&octets, Leniency::strict());
                return match response {
                    Ok(response) => Ok(Some((response, text))),
                    Err(error) => Err(format!("{text}: {error}")),
                };
            }
            self.pipe.readable().await.map_err(|error| error.to_string())?;
            if self.pipe.try_read_buf(&mut self.read, 64 * 1024).map_err(|error| error.to_string())? == 0 {
                check!(self.read.is_empty(), "the connection ended within a response");
                return Ok(None);
            }
        }
    }

    /// What has come already.
    pub(crate) fn waiting(&mut self) -> Check<Vec<(Response, String)>> {
        while self.pipe.try_read_buf(&mut self.read, 64 * 1024).is_ok_and(|count| count > 0) {}
        let mut all = Vec::new();
        while let Some(octets) = self.take() {
            let text = String::from_utf8_lossy(&octets).trim_end().to_owned();
            let response =
                Response::parse(&octets, Leniency::strict()).map_err(|error| format!("{text}: {error}"))?;
            all.push((response, text));
        }
        check!(self.read.is_empty(), "half a response: {:?}", String::from_utf8_lossy(&self.read));
        Ok(all)
    }

    /// A whole response, with its literals.
    fn take(&mut self) -> Option<BytesMut> {
        let mut from = 0;
        loop {
            let end = from + self.read[from..].windows(2).position(|pair| pair == b"\r\n")? + 2;
            let line = &self.read[from..end - 2];
            let literal = line.strip_suffix(b"}").and_then(|line| {
                let open = line.iter().rposition(|octet| *octet == b'{')?;
                std::str::from_utf8(&line[open + 1..]).ok()?.parse::<usize>().ok()
            });
            match literal {
                Some(length) if self.read.len() >= end + length => from = end + length,
                Some(_) => return None,
                None => return Some(self.read.split_to(end)),
            }
        }
    }
}
