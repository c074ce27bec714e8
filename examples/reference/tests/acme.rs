//! A certificate from an authority that speaks ACME, here one of the test's own.
#![cfg(feature = "acme")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "identity/acme.rs"]
mod acme;
#[path = "identity/authority.rs"]
mod authority;
mod common;
#[path = "identity/web.rs"]
mod web;

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex, atomic::AtomicU32},
};

use acme::{Acme, Memory, get, handshake};
use authority::Authority;
use common::{PASSWORD, Server, USER, have, imap, wait_for};
use mailwright::{
    client::{Endpoint, ImapClient, Security},
    line_proto::{Secret, tls},
};
use tempfile::TempDir;
use web::Web;

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

/// The log says what the authority found, and an account that it does not know any more is made anew.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_authority_does_not_like_is_told_and_an_account_that_is_forgotten_made_anew() {
    if !have("openssl") {
        return;
    }
    let memory = Arc::<Mutex<Memory>>::default();
    memory.lock().unwrap().is_refusing = true;
    let (authority, web, _folder) = authority(&memory);
    let mut server = asking(&web, "http = \"127.0.0.1:0\"\n");
    server.serve();
    {
        let port = challenge_port(&server, 0, "acme-http");
        let mut memory = memory.lock().unwrap();
        (memory.port, memory.is_refusing, memory.is_blind) = (Some(port), false, true);
    }
    let reason = "mail.example.org are ours: mail.example.org: nobody is at home (connection): is port 80";
    wait_for("the reason to be told", || server.log().contains(reason).then_some(()));
    {
        let mut memory = memory.lock().unwrap();
        (memory.has_forgotten, memory.is_blind) = (true, false);
    }
    becomes_trusted(&server, authority.pem(), "mail.example.org").await;
    assert_eq!(memory.lock().unwrap().accounts, 2);
    assert!(server.log().contains("does not know our account"), "{}", server.log());
}
