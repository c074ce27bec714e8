//! Who somebody is, said by others than our own table: a certificate, an OAuth server, a program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "identity/authority.rs"]
mod authority;
mod common;
#[path = "identity/web.rs"]
mod web;

use std::{fs, os::unix::fs::PermissionsExt, process::Command, sync::Arc};

use authority::Authority;
use common::{PASSWORD, Server, Talk, USER, have, run, wait_for, write_private};
use mailwright::{
    client::{ClientError, Endpoint, ImapClient, ManageSieveClient, Pop3Client, Security, SmtpClient},
    line_proto::{
        Secret,
        sasl::Credentials,
        tls::{self, rustls::ClientConfig},
    },
};
use web::Web;

/// Puts keys in front of the sections, sections behind them, and something into each listener that logs people in.
fn prepare(front: &str, sections: &str, listener: &str) -> Server {
    let server = Server::prepare(front);
    let path = server.folder.path().join("mailwright.toml");
    let mut config = fs::read_to_string(&path).unwrap();
    for protocol in ["submission", "imap", "pop3", "managesieve"] {
        let line = format!("protocol = \"{protocol}\"\n");
        config = config.replace(&line, &format!("{line}{listener}"));
    }
    fs::write(&path, config + sections).unwrap();
    server.add_user(USER, PASSWORD);
    server.add_user("bob@example.org", "another-8");
    server
}

/// A server that asks clients for certificates of this authority.
fn asking(authority: &Authority, how: &str, more: &str) -> Server {
    let tls = format!("[tls]\nclient_ca = \"ca.pem\"\n{more}");
    let mut server = prepare("", &tls, &format!("client_certificates = \"{how}\"\n"));
    fs::write(server.folder.path().join("ca.pem"), authority.pem()).unwrap();
    server.serve();
    server
}

fn endpoint(server: &Server, protocol: &str, kind: &str, config: &Arc<ClientConfig>) -> Endpoint {
    let port = server.port(protocol, kind);
    let config = Arc::clone(config);
    let security = if kind == "implicit" { Security::Implicit(config) } else { Security::Starttls(config) };
    Endpoint::new("localhost", port, security).at(([127, 0, 0, 1], port).into())
}

async fn imap(server: &Server, config: &Arc<ClientConfig>, with: &Credentials) -> Result<(), ClientError> {
    let mut client =
        ImapClient::connect(&endpoint(server, "imap", "implicit", config), Arc::default()).await?;
    client.authenticate(with).await
}

async fn pop3(server: &Server, config: &Arc<ClientConfig>, with: &Credentials) -> Result<(), ClientError> {
    let mut client =
        Pop3Client::connect(&endpoint(server, "pop3", "starttls", config), Arc::default()).await?;
    client.authenticate(with).await
}

async fn sieve(server: &Server, config: &Arc<ClientConfig>, with: &Credentials) -> Result<(), ClientError> {
    let endpoint = endpoint(server, "managesieve", "starttls", config);
    ManageSieveClient::connect(&endpoint, Arc::default()).await?.authenticate(with).await
}

async fn submission(
    server: &Server,
    config: &Arc<ClientConfig>,
    with: &Credentials,
) -> Result<(), ClientError> {
    let endpoint = endpoint(server, "submission", "starttls", config);
    let name = "client.example.org".parse().unwrap();
    SmtpClient::connect(&endpoint, name, Arc::default()).await?.authenticate(with).await
}

/// All four, each of which must go as said.
async fn everywhere(server: &Server, config: &Arc<ClientConfig>, with: &Credentials, right: bool) {
    let outcomes = [
        ("imap", imap(server, config, with).await),
        ("pop3", pop3(server, config, with).await),
        ("managesieve", sieve(server, config, with).await),
        ("submission", submission(server, config, with).await),
    ];
    for (protocol, outcome) in outcomes {
        assert_eq!(outcome.is_ok(), right, "{protocol}, {with:?}: {outcome:?}");
    }
}

fn trusting(server: &Server) -> tls::rustls::RootCertStore {
    tls::roots(&fs::read(server.certificate()).unwrap()).unwrap()
}

fn showing(server: &Server, shown: &(String, String)) -> Arc<ClientConfig> {
    let (chain, key) = shown;
    Arc::new(tls::client_config_showing(trusting(server), chain.as_bytes(), key.as_bytes()).unwrap())
}

fn log_has(server: &Server, text: &str) {
    wait_for(text, || server.log().contains(text).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_logs_in_by_every_protocol() {
    let authority = Authority::new();
    let server = asking(&authority, "ask", "");
    let external = Credentials::certificate();
    let alice = showing(&server, &authority.issue(&[USER], "Alice"));
    everywhere(&server, &alice, &external, true).await;
    // As oneself, however it is written; as nobody else.
    everywhere(&server, &alice, &external.clone().acting_as("\"Alice\"@example.org"), true).await;
    everywhere(&server, &alice, &external.clone().acting_as("bob@example.org"), false).await;
    log_has(&server, "mechanism=\"EXTERNAL\"");
    // Of several names the one that is an account's; what is none's is refused, and a common name is none here.
    let several = authority.issue(&["x@example.net", "ALICE@example.org"], "X");
    imap(&server, &showing(&server, &several), &external).await.unwrap();
    let stranger = showing(&server, &authority.issue(&["nobody@example.org"], USER));
    everywhere(&server, &stranger, &external, false).await;
    // Who shows no certificate is offered a password, and EXTERNAL is not there.
    let bare = Arc::new(tls::client_config(trusting(&server)).unwrap());
    everywhere(&server, &bare, &external, false).await;
    everywhere(&server, &bare, &Credentials::new(USER, Secret::from(PASSWORD)), true).await;
    // A certificate of somebody else's making does not even get through the handshake.
    let forged = showing(&server, &Authority::new().issue(&[USER], "Alice"));
    everywhere(&server, &forged, &Credentials::new(USER, Secret::from(PASSWORD)), false).await;
    everywhere(&server, &forged, &external, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_may_insist_and_a_common_name_may_be_an_account() {
    let authority = Authority::new();
    let server = asking(&authority, "require", "client_common_name = true\n");
    let bob = showing(&server, &authority.issue(&[], "bob@example.org"));
    everywhere(&server, &bob, &Credentials::certificate(), true).await;
    // With a certificate passwords are taken too, of any account.
    everywhere(&server, &bob, &Credentials::new(USER, Secret::from(PASSWORD)), true).await;
    let bare = Arc::new(tls::client_config(trusting(&server)).unwrap());
    everywhere(&server, &bare, &Credentials::new(USER, Secret::from(PASSWORD)), false).await;
}

#[test]
fn curl_shows_a_certificate() {
    if !have("curl") {
        return;
    }
    let authority = Authority::new();
    let server = asking(&authority, "ask", "");
    let (chain, key) = authority.issue(&[USER], "Alice");
    let file = |name: &str, text: &str| {
        write_private(&server.folder.path().join(name), text);
        server.folder.path().join(name).display().to_string()
    };
    let (chain, key) = (file("alice.pem", &chain), file("alice.key", &key));
    let curl = |arguments: &[&str]| {
        run(Command::new("curl")
            .args(["--silent", "--show-error", "--verbose", "--ssl-reqd", "--cacert"])
            .arg(server.certificate())
            .args(["--login-options", "AUTH=EXTERNAL", "--user", &format!("{USER}:")])
            .args(arguments))
    };
    let message = file("message", "Subject: shown\r\n\r\nbody\r\n");
    for (protocol, kind, scheme, path) in [
        ("imap", "implicit", "imaps", "INBOX"),
        ("imap", "starttls", "imap", "INBOX"),
        ("pop3", "implicit", "pop3s", ""),
        ("submission", "starttls", "smtp", "client.example"),
    ] {
        let url = format!("{scheme}://localhost:{}/{path}", server.port(protocol, kind));
        let send = ["--mail-from", USER, "--mail-rcpt", USER, "--upload-file", &message];
        let arguments = if protocol == "submission" { &send[..] } else { &[] };
        let with = curl(&[arguments, &["--cert", &chain, "--key", &key, &url]].concat());
        let without = curl(&[arguments, &[&url]].concat());
        assert!(with.status.success(), "{url}: {}", String::from_utf8_lossy(&with.stderr));
        assert!(!without.status.success(), "{url}: {}", String::from_utf8_lossy(&without.stderr));
    }
    log_has(&server, "mechanism=\"EXTERNAL\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oauth_server_says_whose_a_token_is() {
    let web = Web::start(|request| {
        let body = request.split_once("\r\n\r\n").unwrap().1;
        let token = body.strip_prefix("token=").unwrap().split('&').next().unwrap();
        // name "mail server", secret "s/cret", both escaped
        assert!(request.contains("authorization: Basic bWFpbCUyMHNlcnZlcjpzJTJGY3JldA==\r\n"), "{request}");
        let (status, answer) = match token {
            "alices" => (200, format!("{{\"active\":true,\"email\":\"{USER}\",\"scope\":\"a mail\"}}")),
            "strangers" => (200, "{\"active\":true,\"email\":\"x@example.net\",\"scope\":\"mail\"}".into()),
            "elsewhere" => (200, format!("{{\"active\":true,\"email\":\"{USER}\",\"scope\":\"a\"}}")),
            "old" => (200, format!("{{\"active\":true,\"email\":\"{USER}\",\"scope\":\"mail\",\"exp\":1}}")),
            "broken" => (500, String::new()),
            _ => (200, "{\"active\":false}".into()),
        };
        (status, String::new(), answer)
    });
    let section = format!(
        "[auth]\npenalty_milliseconds = 0\n[auth.oauth]\nurl = \"https://localhost:{}/introspect\"\ntrust = \"web.pem\"\nclient = \"mail server\"\nsecret_file = \"secret\"\naccount_field = \"email\"\nscopes = [\"mail\"]\n",
        web.port
    );
    let mut server = prepare("", &section, "");
    write_private(&server.folder.path().join("secret"), "s/cret\n");
    fs::write(server.folder.path().join("web.pem"), &web.certificate).unwrap();
    server.serve();
    let config = Arc::new(tls::client_config(trusting(&server)).unwrap());
    let bearer = |user: &str, token: &str| Credentials::bearer(user, Secret::from(token));
    everywhere(&server, &config, &bearer(USER, "alices"), true).await;
    // Four logins, one question.
    assert_eq!(web.count("token=alices&"), 1);
    for (user, token) in [
        ("bob@example.org", "alices"),
        (USER, "strangers"),
        (USER, "elsewhere"),
        (USER, "old"),
        (USER, "unknown"),
        (USER, "broken"),
    ] {
        everywhere(&server, &config, &bearer(user, token), false).await;
    }
    // Passwords go on as they were.
    everywhere(&server, &config, &Credentials::new(USER, Secret::from(PASSWORD)), true).await;
    // What the token is not good for is told in the way of RFC 7628 §3.2.2, and nothing of it is in the log.
    assert!(server.log().contains("the status is 500"), "{}", server.log());
    assert!(!server.log().contains("alices") && !server.log().contains("s/cret"), "{}", server.log());
}

/// The checkpassword interface, with NUL shown as `|`.
const SCRIPT: &str = r#"#!/bin/sh
said=$(tr '\0' '|' <&3)
case "$said" in
    "alice@example.org|from the program|"1*"|") exec "$@";;
    "bob@example.org|"*) exit 111;;
esac
exit 1
"#;

#[test]
fn a_program_checks_the_passwords() {
    let mut server = prepare("allow_plaintext_auth = true", "", "");
    let script = server.folder.path().join("check");
    fs::write(&script, SCRIPT).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let path = server.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap();
    let section = format!(
        "[auth]\npenalty_milliseconds = 0\nprogram = [\"/bin/sh\", {script:?}, \"/bin/true\"]\nprogram_seconds = 60\n"
    );
    fs::write(&path, config + &section).unwrap();
    server.serve();
    for (user, password, expected) in [
        (USER, "from the program", "+OK"),
        ("Alice@EXAMPLE.org", "from the program", "+OK"),
        (USER, PASSWORD, "-ERR [AUTH]"),
        ("nobody@example.org", "from the program", "-ERR [AUTH]"),
        ("bob@example.org", "another-8", "-ERR [SYS/TEMP]"),
    ] {
        let mut talk = Talk::connect(server.port("pop3", "starttls"));
        talk.line();
        talk.send(format!("USER {user}\r\nPASS {password}\r\n"));
        talk.line();
        let answer = talk.line();
        assert!(answer.starts_with(expected), "{user} {password}: {answer}");
    }
    // Only what the program is needed for is offered.
    let mut talk = Talk::connect(server.port("pop3", "starttls"));
    talk.line();
    talk.send("CAPA\r\n");
    let offered = talk.until(".").join("\n");
    assert!(offered.contains("SASL PLAIN") && !offered.contains("SCRAM"), "{offered}");
    log_has(&server, "the program that checks passwords failed");
}

/// A service of PAM with rules of the test's own, as long as this is there.
struct PamService {
    name: String,
    file: std::path::PathBuf,
}

impl PamService {
    /// `None` where we may not make one, or PAM is not there.
    fn new(check: &std::path::Path) -> Option<Self> {
        let name = format!("mailwright-test-{}", std::process::id());
        let file = std::path::Path::new("/etc/pam.d").join(&name);
        // A program of ours says who is right; it gets the password on its standard input.
        let rules = format!(
            "auth [success=1 default=ignore] pam_exec.so expose_authtok quiet /bin/sh {}\n\
             auth requisite pam_deny.so\nauth required pam_permit.so\naccount required pam_permit.so\n",
            check.display()
        );
        match fs::write(&file, rules) {
            Ok(()) => Some(Self { name, file }),
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "{}: {error}", file.display());
                eprintln!("skipped: {}: {error}", file.display());
                None
            }
        }
    }
}

impl Drop for PamService {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

#[test]
fn pam_checks_the_passwords() {
    if !have("python3") {
        return;
    }
    let mut server = prepare("allow_plaintext_auth = true", "", "");
    let check = server.folder.path().join("check");
    // The password ends with a NUL.
    fs::write(&check, "[ \"$PAM_USER\" = alice ] && [ \"$(tr -d '\\0')\" = 'from PAM' ] && [ \"$PAM_RHOST\" = 127.0.0.1 ]\n")
        .unwrap();
    let Some(service) = PamService::new(&check) else { return };
    let helper = concat!(env!("CARGO_MANIFEST_DIR"), "/../checkpassword-pam/checkpassword-pam");
    let path = server.folder.path().join("mailwright.toml");
    let config = fs::read_to_string(&path).unwrap();
    let section = format!(
        "[auth]\npenalty_milliseconds = 0\nprogram = [{helper:?}, \"-n\", \"-s\", {:?}, \"--\", \"/bin/true\"]\nprogram_seconds = 60\n",
        service.name
    );
    fs::write(&path, config + &section).unwrap();
    server.serve();
    for (user, password, expected) in [
        (USER, "from PAM", "+OK"),
        (USER, PASSWORD, "-ERR [AUTH]"),
        ("bob@example.org", "from PAM", "-ERR [AUTH]"),
        ("nobody@example.org", "from PAM", "-ERR [AUTH]"),
    ] {
        let mut talk = Talk::connect(server.port("pop3", "starttls"));
        talk.line();
        talk.send(format!("USER {user}\r\nPASS {password}\r\n"));
        talk.line();
        let answer = talk.line();
        assert!(answer.starts_with(expected), "{user} {password}: {answer}");
    }
}
