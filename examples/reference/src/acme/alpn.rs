//! A certificate that shows the authority, in a handshake for it alone, that a name is ours: tls-alpn-01 (RFC 8737).

use std::{
    collections::HashMap,
    io,
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mailwright::line_proto::tls::{
    self, ClientCertificates,
    rustls::{
        ServerConfig, ServerConnection,
        crypto::ring::sign::any_supported_type,
        pki_types::PrivateKeyDer,
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
};
use tokio::{net::TcpListener, task, time};
use tokio_util::sync::CancellationToken;

use super::{AcmeError, room::Room};

/// RFC 8737 §6.2
const PROTOCOL: &[u8] = b"acme-tls/1";
/// How many handshakes there are at once, and how long each read or write of one may take.
const AT_ONCE: usize = 32;
const PATIENCE: Duration = Duration::from_secs(5);
/// How many pieces a handshake may come in.
const PIECES: usize = 64;

/// What is shown now: certificates by the names that they prove.
type Table = Arc<Mutex<HashMap<String, Arc<CertifiedKey>>>>;

/// A server of TLS that shows certificates for names that are being proved, and nothing else.
pub(super) struct Certificates(Table);

/// Something that is shown until this is dropped.
pub(super) struct Shown {
    table: Table,
    name: String,
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl Certificates {
    /// Serves at this address until told to stop.
    pub(super) async fn listen(address: SocketAddr, stop: CancellationToken) -> Result<Self, AcmeError> {
        let failed = |source| AcmeError::Listen { key: "tls", address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        tracing::info!(protocol = "acme-tls", address = %bound, "listening");
        let table = Table::default();
        let mut config = tls::server_config_resolving(
            Arc::new(Resolver(Arc::clone(&table))),
            ClientCertificates::Ignored,
        )?;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        tokio::spawn(serve(listener, Arc::new(config), stop));
        Ok(Self(table))
    }

    /// Shows that a name is ours, by the digest of a key authorization.
    pub(super) fn show(&self, name: &str, digest: &[u8]) -> Result<Shown, AcmeError> {
        let certificate = Arc::new(certificate(name, digest)?);
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.insert(name.to_owned(), certificate);
        Ok(Shown { table: Arc::clone(&self.0), name: name.to_owned() })
    }
}

/// RFC 8737 §3: for this name alone, with the digest in an extension that must be understood.
fn certificate(name: &str, digest: &[u8]) -> Result<CertifiedKey, AcmeError> {
    let made = |error: rcgen::Error| AcmeError::Made(error.to_string());
    if digest.len() != 32 {
        return Err(AcmeError::Made(format!("expected a digest of 32 octets, got {}", digest.len())));
    }
    let mut parameters = rcgen::CertificateParams::new([name.to_owned()]).map_err(made)?;
    parameters.custom_extensions.push(rcgen::CustomExtension::new_acme_identifier(digest));
    let key = rcgen::KeyPair::generate().map_err(made)?;
    let signed = parameters.self_signed(&key).map_err(made)?;
    // What checks other certificates does not know the extension, and must not let it pass.
    let secret = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let secret = any_supported_type(&secret).map_err(|error| AcmeError::Made(error.to_string()))?;
    Ok(CertifiedKey::new(vec![signed.der().clone()], secret))
}

#[derive(Debug)]
struct Resolver(Table);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // RFC 8737 §3: who offers anything else is no authority that looks.
        let alone = hello.alpn()?.eq([PROTOCOL]);
        let name = hello.server_name()?.to_ascii_lowercase();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&name).filter(|_| alone).cloned()
    }
}

async fn serve(listener: TcpListener, config: Arc<ServerConfig>, stop: CancellationToken) {
    let room = Room::new(AT_ONCE);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, from)) = accepted else {
            // No descriptors, most likely: others give theirs back.
            time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (Ok(socket), config) = (socket.into_std(), Arc::clone(&config)) else { continue };
        let Ok(end) = socket.try_clone() else { continue };
        let place = room.enter(from.ip(), move || drop(end.shutdown(Shutdown::Both)));
        task::spawn_blocking(move || {
            let _ = shake_hands(socket, config);
            drop(place);
        });
    }
}

/// RFC 8737 §3: there is nothing more to be said behind the handshake.
fn shake_hands(mut socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
    for _ in 0..PIECES {
        while connection.wants_write() {
            connection.write_tls(&mut socket)?;
        }
        if !connection.is_handshaking() {
            break;
        }
        if connection.read_tls(&mut socket)? == 0 {
            return Ok(());
        }
        if let Err(error) = connection.process_new_packets() {
            // The alert says why.
            while connection.wants_write() {
                connection.write_tls(&mut socket)?;
            }
            return Err(io::Error::other(error));
        }
    }
    connection.send_close_notify();
    while connection.wants_write() {
        connection.write_tls(&mut socket)?;
    }
    Ok(())
}
