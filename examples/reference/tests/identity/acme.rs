//! An authority that speaks ACME (RFC 8555) and looks at what it is shown, as far as one client needs it.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use mailwright::line_proto::tls::{
    self,
    rustls::{
        ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};
use serde_json::{Value, json};

use crate::common::succeed;

/// What the authority remembers.
#[derive(Default)]
pub(crate) struct Memory {
    /// Where it sees challenges, once the server says so.
    pub(crate) port: Option<u16>,
    names: Vec<Value>,
    pub(crate) is_proved: bool,
    /// Whether it was asked to look.
    is_asked: bool,
    pub(crate) is_refusing: bool,
    /// Whether it finds nothing where it looks.
    pub(crate) is_blind: bool,
    /// Whether it knows no account any more, until one is made.
    pub(crate) has_forgotten: bool,
    certificate: Option<String>,
    pub(crate) accounts: u32,
    pub(crate) orders: u32,
    /// What is in the header of the last request: the key or the account.
    keys: Vec<String>,
}

/// One order at a time, for any account; signatures are the library's own matter.
pub(crate) struct Acme {
    pub(crate) base: String,
    pub(crate) folder: PathBuf,
    pub(crate) nonce: AtomicU32,
    pub(crate) memory: Arc<Mutex<Memory>>,
}

impl Acme {
    pub(crate) fn answer(&self, request: &str) -> (u16, String, String) {
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
                memory.has_forgotten = false;
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
                if memory.has_forgotten {
                    let problem = json!({"type": "urn:ietf:params:acme:error:accountDoesNotExist", "detail": "who is that?", "status": 400});
                    return (400, lines, problem.to_string());
                }
                memory.orders += 1;
                memory.names = payload["identifiers"].as_array().unwrap().clone();
                (memory.is_proved, memory.is_asked, memory.certificate) = (false, false, None);
                lines += &format!("Location: {base}/order/1\r\n");
                (201, lines, self.order(&memory))
            }
            "/order/1" => (200, lines, self.order(&memory)),
            "/authorization/1" => {
                let is_blind = memory.is_blind && memory.is_asked;
                let status = match (memory.is_proved, is_blind) {
                    (true, _) => "valid",
                    (false, true) => "invalid",
                    (false, false) => "pending",
                };
                let error = is_blind.then(|| json!({"type": "urn:ietf:params:acme:error:connection", "detail": "nobody\nis at home"}));
                let challenges = json!([
                    {"type": "dns-01", "url": format!("{base}/challenge/2"), "token": "to-ken", "status": status},
                    {"type": "tls-alpn-01", "url": format!("{base}/challenge/3"), "token": "to-ken", "status": status},
                    {"type": "http-01", "url": format!("{base}/challenge/1"), "token": "to-ken", "status": status, "error": error}
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
                memory.is_asked = true;
                memory.is_proved = !memory.is_blind;
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
            (None, false) if memory.is_asked && memory.is_blind => "invalid",
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

pub(crate) fn get(port: u16, path: &str) -> String {
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
pub(crate) fn handshake(port: u16, name: &str, protocols: &[&str]) -> Option<Vec<u8>> {
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
