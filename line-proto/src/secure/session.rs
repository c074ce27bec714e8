//! One TLS connection: every call of rustls on a connection is here.

use std::io::{BufRead, IoSlice, Write};

use bytes::{Buf, BytesMut};
use rustls::{
    ClientConnection, Connection, Error, ProtocolVersion, ServerConnection, SupportedCipherSuite,
    pki_types::ServerName,
};

use super::TlsSide;
use crate::{TlsInfo, Transmit};

/// How many chunks are joined into one write, so that small ones share a record.
const SLICES: usize = 32;

#[derive(Debug)]
pub(super) struct Session {
    connection: Connection,
    /// The name that we asked for, as a client.
    asked: Option<String>,
    /// Whether every TLS 1.2 handshake has an extended master secret.
    extended: bool,
}

impl Session {
    pub(super) fn new(side: &TlsSide) -> Result<Self, Error> {
        Ok(match side {
            TlsSide::Server(config) => Self {
                extended: config.require_ems,
                asked: None,
                connection: Connection::Server(ServerConnection::new(config.clone())?),
            },
            TlsSide::Client(config, name) => Self {
                extended: config.require_ems,
                asked: match name {
                    ServerName::DnsName(name) if config.enable_sni => Some(name.as_ref().to_owned()),
                    _ => None,
                },
                connection: Connection::Client(ClientConnection::new(config.clone(), name.clone())?),
            },
        })
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Takes records from the front of `rx` until all is taken or `most` octets and the rest of a read were
    /// decrypted into `plain`. Says whether the peer has sent `close_notify`; what comes behind that is dropped.
    pub(super) fn receive(
        &mut self,
        rx: &mut BytesMut,
        plain: &mut BytesMut,
        most: usize,
    ) -> Result<bool, Error> {
        let end = plain.len() + most;
        while !rx.is_empty() && plain.len() < end {
            let mut unread: &[u8] = rx;
            let taken =
                self.connection.read_tls(&mut unread).map_err(|error| Error::General(error.to_string()))?;
            rx.advance(taken);
            let state = self.connection.process_new_packets();
            // What stands before a bad record was authentic.
            self.take_plaintext(plain);
            if state?.peer_has_closed() || taken == 0 {
                rx.clear();
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn take_plaintext(&mut self, plain: &mut BytesMut) {
        let mut reader = self.connection.reader();
        while let Ok(chunk @ [_, ..]) = reader.fill_buf() {
            let length = chunk.len();
            plain.extend_from_slice(chunk);
            reader.consume(length);
        }
    }

    /// Encrypts what waits in `from` until `to` holds `ahead` octets.
    pub(super) fn seal(&mut self, from: &mut Transmit, to: &mut Transmit, ahead: usize) -> Result<(), Error> {
        while from.has_remaining() && to.len() < ahead {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = from.chunks_vectored(&mut slices);
            let written = self
                .connection
                .writer()
                .write_vectored(slices.get(..filled).unwrap_or_default())
                .map_err(|error| Error::General(error.to_string()))?;
            if written == 0 {
                return Err(Error::EncryptError);
            }
            from.advance(written);
            self.flush(to);
        }
        self.flush(to);
        Ok(())
    }

    /// Moves finished records into `to`.
    pub(super) fn flush(&mut self, to: &mut Transmit) {
        let mut records = Vec::new();
        while self.connection.wants_write() {
            // Writing into a vector cannot fail.
            if self.connection.write_tls(&mut records).is_err() {
                break;
            }
        }
        to.put_bytes(records.into());
    }

    pub(super) fn close(&mut self, to: &mut Transmit) {
        self.connection.send_close_notify();
        self.flush(to);
    }

    pub(super) fn info(&self) -> TlsInfo {
        let version = self.connection.protocol_version();
        TlsInfo {
            version: match version {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2".to_owned(),
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3".to_owned(),
                other => format!("{other:?}"),
            },
            cipher: self.connection.negotiated_cipher_suite().map(cipher_name).unwrap_or_default(),
            server_name: match &self.connection {
                Connection::Server(server) => server.server_name().map(str::to_owned),
                Connection::Client(_) => self.asked.clone(),
            },
            application_protocol: self.connection.alpn_protocol().map(<[u8]>::to_vec),
            exporter: self.exporter(version),
            peer_certificates: self
                .connection
                .peer_certificates()
                .unwrap_or_default()
                .iter()
                .map(|certificate| certificate.to_vec())
                .collect(),
        }
    }

    fn exporter(&self, version: Option<ProtocolVersion>) -> Option<[u8; 32]> {
        // RFC 9266 §4.2: only where the keys are bound to the handshake. rustls does not tell whether a TLS 1.2
        // handshake had an extended master secret, so it must have been demanded.
        if version != Some(ProtocolVersion::TLSv1_3) && !self.extended {
            return None;
        }
        // RFC 9266 §2: this label, 32 octets, and an empty context, which is not the same as none in TLS 1.2.
        self.connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok()
    }
}

/// The IANA name. rustls marks those of TLS 1.3 with the version.
fn cipher_name(suite: SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or("unknown");
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name.to_owned(),
    }
}
