//! What is known of the client, and the transaction it has begun.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mailwright_line_proto::{Peer, TlsInfo};

use crate::{Attribute, ClientAttributes, Hello, Mail, Rcpt, XClient};

/// What is known of the client of one connection.
#[derive(Debug)]
pub struct Session {
    pub(super) peer: Peer,
    pub(super) tls: Option<TlsInfo>,
    pub(super) hello: Option<Hello>,
    pub(super) authenticated: bool,
}

impl Session {
    pub(super) fn new(peer: Peer) -> Self {
        Self { peer, tls: None, hello: None, authenticated: false }
    }

    /// From here on this is the client that XCLIENT tells of.
    pub(super) fn take_over(&mut self, client: &ClientAttributes) {
        self.hello = None;
        self.authenticated = XClient::has_login(client);
        self.peer.remote = moved(self.peer.remote, client.address.as_ref(), client.port.as_ref());
        self.peer.local =
            moved(self.peer.local, client.destination_address.as_ref(), client.destination_port.as_ref());
    }

    /// Its address: behind a proxy that says XCLIENT, the client's.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What TLS agreed on, if there is TLS.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_ref()
    }

    /// How it said hello last, on this side of STARTTLS.
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// Whether it has logged in. As whom, the application knows.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated
    }
}

/// The address with what was said of it changed. Of an address that is not known, no port is.
fn moved(
    from: Option<SocketAddr>,
    address: Option<&Attribute<IpAddr>>,
    port: Option<&Attribute<u16>>,
) -> Option<SocketAddr> {
    let port = port.and_then(Attribute::known).copied();
    match address {
        None => from.map(|from| SocketAddr::new(from.ip(), port.unwrap_or_else(|| from.port()))),
        Some(Attribute::Known(address)) => Some(SocketAddr::new(*address, port.unwrap_or(0))),
        Some(_) => None,
    }
    .filter(|address| address.ip() != IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// A message being addressed.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) mail: Mail,
    /// The accepted recipients, each with the number of its question.
    recipients: Vec<(u32, Rcpt)>,
    /// The number of the first question about a recipient.
    first: Option<u32>,
}

impl Transaction {
    pub(super) fn new(mail: Mail) -> Self {
        Self { mail, recipients: Vec::new(), first: None }
    }

    /// How many recipients were accepted.
    pub(super) fn accepted(&self) -> usize {
        self.recipients.len()
    }

    /// Notes that a recipient was asked about.
    pub(super) fn asked(&mut self, id: u32) {
        self.first.get_or_insert(id);
    }

    /// Notes an accepted recipient, at its place in the order of the commands.
    pub(super) fn accept(&mut self, id: u32, rcpt: Rcpt) {
        let first = self.first.unwrap_or(id);
        let before = |other: u32| other.wrapping_sub(first) < id.wrapping_sub(first);
        // Answers are late by no more than the questions in flight, so the place is near the end.
        let at = self.recipients.iter().rposition(|(other, _)| before(*other)).map_or(0, |at| at + 1);
        self.recipients.insert(at, (id, rcpt));
    }

    /// The envelope.
    pub(super) fn into_parts(self) -> (Mail, Vec<Rcpt>) {
        (self.mail, self.recipients.into_iter().map(|(_, rcpt)| rcpt).collect())
    }
}
