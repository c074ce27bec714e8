//! A certificate from an authority that speaks ACME, here one of the test's own.
#![cfg(feature = "acme")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "identity/authority.rs"]
mod authority;
mod common;
#[path = "identity/web.rs"]
mod web;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use authority::Authority;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use common::{PASSWORD, Server, USER, have, imap, succeed, wait_for};
use mailwright::{
    client::{Endpoint, ImapClient, Security},
    line_proto::{
        Secret,
        tls::{
            self,
            rustls::{
                ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
                client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
                pki_types::{CertificateDer, ServerName, UnixTime},
            },
        },
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;
use web::Web;

/// What the authority remembers.
#[derive(Default)]
struct Memory {
    /// Where it sees challenges, once the server says so.
    port: Option<u16>,
    names: Vec<Value>,
    is_proved: bool,
    is_refusing: bool,
    certificate: Option<String>,
    accounts: u32,
    orders: u32,
    /// What is in the header of the last request: the key or the account.
    keys: Vec<String>,
}

/// One order at a time, for any account; signatures are the library's own matter.
struct Acme {
    base: String,
    folder: PathBuf,
    nonce: AtomicU32,
    memory: Arc<Mutex<Memory>>,
}

impl Acme {
    fn answer(&self, request: &str) -> (u16, String, String) {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let path = head.split(' ').nth(1).unwrap();
        let number = self.nonce.fetch_add(1, Ordering::Relaxed);
        let mut lines = format!("Replay-Nonce: nonce-{number}\r\n");
        let base = &self.base;
        if path == "/directory" {
            let answer = json!({"newNonce": format!("{base}/nonce"), "newAccount": format!("{base}/account"), "newOrder": format!("{base}/order")});
            return (200, lines, answer.to_string());
        }
        if path == "/nonce" {
            return (200, lines, String::new());
        }
        let body: Value = serde_json::from_str(body).unwrap();
        let part = |name: &str| {
            let octets = BASE64_URL_SAFE_NO_PAD.decode(body[name].as_str().unwrap()).unwrap();
            if octets.is_empty() { Value::Null } else { serde_json::from_slice(&octets).unwrap() }
        };
        let (header, payload) = (part("protected"), part("payload"));
        assert!(
            header["nonce"].as_str().unwrap().starts_with("nonce-") && header["alg"] == "ES256",
            "{header}"
        );
        let mut memory = self.memory.lock().unwrap();
        match path {
            "/account" => {
                assert_eq!(payload["contact"], json!(["mailto:root@example.org"]));
                assert_eq!(payload["termsOfServiceAgreed"], true);
                memory.accounts += 1;
                memory.keys.push(thumbprint(&header["jwk"]));
                lines += &format!("Location: {base}/account/1\r\n");
                (201, lines, json!({"status": "valid"}).to_string())
            }
            "/order" => {
                assert_eq!(header["kid"], format!("{base}/account/1"));
                if memory.is_refusing {
                    let problem = json!({"type": "urn:ietf:params:acme:error:rateLimited", "detail": "come back later", "status": 429});
                    return (429, lines, problem.to_string());
                }
                memory.orders += 1;
                memory.names = payload["identifiers"].as_array().unwrap().clone();
                (memory.is_proved, memory.certificate) = (false, None);
                lines += &format!("Location: {base}/order/1\r\n");
                (201, lines, self.order(&memory))
            }
            "/order/1" => (200, lines, self.order(&memory)),
            "/authorization/1" => {
                let status = if memory.is_proved { "valid" } else { "pending" };
                let challenges = json!([
                    {"type": "dns-01", "url": format!("{base}/challenge/2"), "token": "to-ken", "status": status},
                    {"type": "tls-alpn-01", "url": format!("{base}/challenge/3"), "token": "to-ken", "status": status},
                    {"type": "http-01", "url": format!("{base}/challenge/1"), "token": "to-ken", "status": status}
                ]);
                (
                    200,
                    lines,
                    json!({"identifier": memory.names[0], "status": status, "challenges": challenges})
                        .to_string(),
                )
            }
            "/challenge/1" => {
                let port = memory.port.unwrap();
                let shown = get(port, "/.well-known/acme-challenge/to-ken");
                let expected = format!("to-ken.{}", memory.keys.last().unwrap());
                assert!(
                    shown.starts_with("HTTP/1.1 200 ") && shown.ends_with(&format!("\r\n\r\n{expected}")),
                    "{shown}"
                );
                assert!(get(port, "/.well-known/acme-challenge/other").starts_with("HTTP/1.1 404 "));
                memory.is_proved = true;
                let answer = json!({"type": "http-01", "url": format!("{base}/challenge/1"), "token": "to-ken", "status": "processing"});
                (200, lines, answer.to_string())
            }
            "/challenge/3" => {
                let port = memory.port.unwrap();
                let name = memory.names[0]["value"].as_str().unwrap().to_owned();
                let expected = format!("to-ken.{}", memory.keys.last().unwrap());
                let digest = ring::digest::digest(&ring::digest::SHA256, expected.as_bytes());
                // RFC 8737 §3: id-pe-acmeIdentifier, critical, 32 octets.
                let extension = [
                    &b"\x06\x08\x2b\x06\x01\x05\x05\x07\x01\x1f\x01\x01\xff\x04\x22\x04\x20"[..],
                    digest.as_ref(),
                ]
                .concat();
                let shown = handshake(port, &name, &["acme-tls/1"]).expect("a certificate");
                let has = |part: &[u8]| shown.windows(part.len()).any(|found| found == part);
                assert!(has(&extension) && has(name.as_bytes()), "{}", shown.escape_ascii());
                // For nobody else, and for no other name.
                assert_eq!(handshake(port, "other.example.org", &["acme-tls/1"]), None);
                for others in [&["acme-tls/1", "h2"][..], &["h2"], &[]] {
                    assert_eq!(handshake(port, &name, others), None, "{others:?}");
                }
                memory.is_proved = true;
                let answer = json!({"type": "tls-alpn-01", "url": format!("{base}/challenge/3"), "token": "to-ken", "status": "processing"});
                (200, lines, answer.to_string())
            }
            "/finalize/1" => {
                let request = BASE64_URL_SAFE_NO_PAD.decode(payload["csr"].as_str().unwrap()).unwrap();
                memory.certificate = Some(sign(&self.folder, &request));
                (200, lines, self.order(&memory))
            }
            "/certificate/1" => (200, lines, memory.certificate.clone().unwrap()),
            other => panic!("{other}"),
        }
    }

    fn order(&self, memory: &Memory) -> String {
        let base = &self.base;
        let status = match (&memory.certificate, memory.is_proved) {
            (Some(_), _) => "valid",
            (None, true) => "ready",
            (None, false) => "pending",
        };
        let mut order = json!({"status": status, "identifiers": memory.names,
            "authorizations": [format!("{base}/authorization/1")], "finalize": format!("{base}/finalize/1")});
        if memory.certificate.is_some() {
            order["certificate"] = format!("{base}/certificate/1").into();
        }
        order.to_string()
    }
}

/// RFC 7638.
fn thumbprint(key: &Value) -> String {
    let text = format!(r#"{{"crv":{},"kty":{},"x":{},"y":{}}}"#, key["crv"], key["kty"], key["x"], key["y"]);
    BASE64_URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()))
}

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: mail.example.org\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// An authority that looks at what it is shown, and knows the extension in it.
#[derive(Debug)]
struct Looking;

impl ServerCertVerifier for Looking {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// The certificate that is shown to a client that offers these protocols, if the handshake succeeds.
fn handshake(port: u16, name: &str, protocols: &[&str]) -> Option<Vec<u8>> {
    let mut config = tls::client_config_unverified().unwrap();
    config.dangerous().set_certificate_verifier(Arc::new(Looking));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    connection.complete_io(&mut socket).ok()?;
    if connection.is_handshaking() {
        return None;
    }
    assert_eq!(connection.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    Some(connection.peer_certificates()?.first()?.to_vec())
}

fn sign(folder: &Path, request: &[u8]) -> String {
    fs::write(folder.join("request"), request).unwrap();
    succeed(
        Command::new("openssl")
            .current_dir(folder)
            .args(["x509", "-req", "-inform", "DER", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key"])
            .args(["-days", "90", "-copy_extensions", "copy", "-out", "issued"]),
    );
    fs::read_to_string(folder.join("issued")).unwrap() + &fs::read_to_string(folder.join("ca.pem")).unwrap()
}

/// Whether a client that trusts this authority alone can log in, by this name.
async fn is_trusted(server: &Server, roots: &str, name: &str) -> bool {
    let config = tls::client_config(tls::roots(roots.as_bytes()).unwrap()).unwrap();
    let port = server.port("imap", "implicit");
    let endpoint =
        Endpoint::new(name, port, Security::Implicit(Arc::new(config))).at(([127, 0, 0, 1], port).into());
    match ImapClient::connect(&endpoint, Arc::default()).await {
        Ok(mut client) => client.login(USER, &Secret::from(PASSWORD)).await.is_ok(),
        Err(_) => false,
    }
}

async fn becomes_trusted(server: &Server, roots: &str, name: &str) {
    for _ in 0..600 {
        if is_trusted(server, roots, name).await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{name} has no certificate: {}", server.log());
}

/// Where the server shows challenges, as it says in its log.
fn challenge_port(server: &Server, before: usize, protocol: &str) -> u16 {
    wait_for("the challenges to be shown", || {
        let log = server.log();
        let line = log.lines().skip(before).find(|line| line.contains(protocol))?;
        line.rsplit(':').next()?.trim().parse().ok()
    })
}

/// An authority that remembers this, its web server, and the folder it works in.
fn authority(memory: &Arc<Mutex<Memory>>) -> (Authority, Web, TempDir) {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    fs::write(folder.path().join("ca.key"), authority.key()).unwrap();
    // Its own address is known only when it listens.
    let place = Arc::new(Mutex::new(None::<Acme>));
    let inner = Arc::clone(&place);
    let web = Web::start(move |request| inner.lock().unwrap().as_ref().unwrap().answer(request));
    *place.lock().unwrap() = Some(Acme {
        base: format!("https://localhost:{}", web.port),
        folder: folder.path().into(),
        nonce: AtomicU32::new(0),
        memory: Arc::clone(memory),
    });
    (authority, web, folder)
}

/// A server with an account that will ask this authority, and has more in its configuration.
fn asking(web: &Web, more: &str) -> Server {
    let server = Server::prepare("allow_plaintext_auth = true");
    let path = server.folder.path().join("mailwright.toml");
    let section = format!(
        "[acme]\ndirectory = \"https://localhost:{}/directory\"\nagree_terms = true\ncontact = \"root@example.org\"\n\
         retry_seconds = 1\ntrust = \"web.pem\"\n{more}",
        web.port
    );
    fs::write(&path, fs::read_to_string(&path).unwrap() + &section).unwrap();
    fs::write(server.folder.path().join("web.pem"), &web.certificate).unwrap();
    server.add_user(USER, PASSWORD);
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_proved_in_a_handshake_that_is_for_the_authority_alone() {
    if !have("openssl") {
        return;
    }
    let memory = Arc::<Mutex<Memory>>::default();
    memory.lock().unwrap().is_refusing = true;
    let (authority, web, _folder) = authority(&memory);
    let mut server = asking(&web, "challenge = \"tls-alpn-01\"\ntls = \"127.0.0.1:0\"\n");
    server.serve();
    let port = challenge_port(&server, 0, "acme-tls");
    // Nothing is shown before it is asked for.
    assert_eq!(handshake(port, "mail.example.org", &["acme-tls/1"]), None);
    {
        let mut memory = memory.lock().unwrap();
        (memory.port, memory.is_refusing) = (Some(port), false);
    }
    becomes_trusted(&server, authority.pem(), "mail.example.org").await;
    assert_eq!(handshake(port, "mail.example.org", &["acme-tls/1"]), None, "it is over");
    // Who says nothing keeps nobody out.
    let silent: Vec<_> = (0..8).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    assert_eq!(handshake(port, "mail.example.org", &["acme-tls/1"]), None);
    drop(silent);
    assert!(!server.log().contains("panicked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_ordered_proved_and_used_and_what_is_in_use_stays_when_that_fails() {
    if !have("openssl") {
        return;
    }
    let memory = Arc::<Mutex<Memory>>::default();
    memory.lock().unwrap().is_refusing = true;
    let (authority, web, _folder) = authority(&memory);
    let base = format!("https://localhost:{}", web.port);

    let mut server = Server::prepare("allow_plaintext_auth = true");
    let path = server.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap();
    let section = format!(
        "[acme]\ndirectory = \"{base}/directory\"\nagree_terms = true\ncontact = \"root@example.org\"\n\
         http = \"127.0.0.1:0\"\nretry_seconds = 1\ntrust = \"web.pem\"\n"
    );
    fs::write(&path, format!("{config}{section}")).unwrap();
    fs::write(server.folder.path().join("web.pem"), &web.certificate).unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    memory.lock().unwrap().port = Some(challenge_port(&server, 0, "acme-http"));

    // Refused: the self-signed certificate stays, and the log says so.
    wait_for("the refusal to be told", || server.log().contains("come back later").then_some(()));
    let own = fs::read_to_string(server.certificate()).unwrap();
    assert!(is_trusted(&server, &own, "localhost").await);
    let mut open = imap(&server);
    memory.lock().unwrap().is_refusing = false;
    becomes_trusted(&server, authority.pem(), "mail.example.org").await;
    assert!(!is_trusted(&server, &own, "localhost").await);
    // Who was there is there still.
    assert!(open.imap("noop", "NOOP").last().unwrap().starts_with("noop OK"));
    for file in ["acme.pem", "acme-account.json"] {
        let metadata = fs::metadata(server.folder.path().join("data/tls").join(file)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{file}");
    }
    // One after the other: a guard lives to the end of its statement.
    let port = memory.lock().unwrap().port.unwrap();
    let (accounts, orders) = {
        let memory = memory.lock().unwrap();
        (memory.accounts, memory.orders)
    };
    assert_eq!((accounts, orders), (1, 1));
    assert!(get(port, "/.well-known/acme-challenge/to-ken").starts_with("HTTP/1.1 404"));

    // Started again it has its certificate and asks for none; with another name it asks, as the same account.
    server.stop();
    server.serve();
    assert!(is_trusted(&server, authority.pem(), "mail.example.org").await);
    server.stop();
    assert_eq!(memory.lock().unwrap().orders, 1);
    fs::write(&path, format!("{config}{section}names = [\"imap.example.org\"]\n")).unwrap();
    let before = server.log().lines().count();
    memory.lock().unwrap().is_refusing = true;
    server.serve();
    memory.lock().unwrap().port = Some(challenge_port(&server, before, "acme-http"));
    memory.lock().unwrap().is_refusing = false;
    becomes_trusted(&server, authority.pem(), "imap.example.org").await;
    let memory = memory.lock().unwrap();
    assert_eq!((memory.accounts, memory.orders), (1, 2));
}

/// Another certificate that is half changed, its chain new and its key not yet, keeps ours waiting and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_at_once_is_used_later() {
    if !have("openssl") {
        return;
    }
    let memory = Arc::<Mutex<Memory>>::default();
    memory.lock().unwrap().is_refusing = true;
    let (authority, web, _folder) = authority(&memory);
    let mut server = asking(
        &web,
        "http = \"127.0.0.1:0\"\n\
         [[certificate]]\nnames = [\"other.example.org\"]\ncertificate = \"other.pem\"\nkey = \"other.key\"\n",
    );
    let folder = server.folder.path().to_owned();
    let [one, other] =
        [(); 2].map(|()| rcgen::generate_simple_self_signed(vec!["other.example.org".into()]).unwrap());
    let put = |name: &str, text: String| {
        fs::write(folder.join(name), text).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    put("other.pem", one.cert.pem());
    put("other.key", one.signing_key.serialize_pem());
    server.serve();
    put("other.pem", other.cert.pem());
    {
        let port = challenge_port(&server, 0, "acme-http");
        let mut memory = memory.lock().unwrap();
        (memory.port, memory.is_refusing) = (Some(port), false);
    }
    wait_for("the certificate to wait", || server.log().contains("those in use stay: ").then_some(()));
    assert!(!server.log().contains("a new certificate is in use"), "{}", server.log());
    assert!(!is_trusted(&server, authority.pem(), "mail.example.org").await);
    put("other.key", other.signing_key.serialize_pem());
    becomes_trusted(&server, authority.pem(), "mail.example.org").await;
    wait_for("that to be told", || server.log().contains("a new certificate is in use").then_some(()));
    assert_eq!(memory.lock().unwrap().orders, 1);
}
