//! Which SASL mechanisms the running server offers, as its accounts change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{fs, io::Write, process::Stdio, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{PASSWORD, Server, USER, succeed, wait_for};
use mailwright::{
    client::{ClientError, Endpoint, ImapClient, Security},
    line_proto::{
        Secret,
        sasl::{Client, Context, Credentials, Mechanism},
        tls,
    },
};

const BOB: &str = "bob@example.org";

/// What each protocol offers to a connection that begins now, by the names of the protocols.
fn offered(server: &Server) -> [(&'static str, String); 5] {
    let imap = server.talk(server.port("imap", "starttls")).line();
    let mut talk = server.talk(server.port("pop3", "starttls"));
    talk.line();
    talk.send("CAPA\r\n");
    let pop3 = talk.until(".").join("\n");
    let mut talk = server.talk(server.port("submission", "starttls"));
    talk.reply();
    let submission = talk.smtp("EHLO client.example");
    let managesieve = server.talk(server.port("managesieve", "starttls")).until("OK").join("\n");
    let mut talk = server.talk(server.port("smtp", "starttls"));
    talk.reply();
    let smtp = talk.smtp("EHLO client.example");
    [("imap", imap), ("pop3", pop3), ("submission", submission), ("managesieve", managesieve), ("smtp", smtp)]
}

fn assert_offered(server: &Server, scram: bool) {
    for (protocol, said) in offered(server) {
        let logs_in = protocol != "smtp";
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            assert_eq!(said.contains(mechanism), scram && logs_in, "{protocol}: {said}");
        }
        assert!(!said.contains("SCRAM-SHA-1"), "{protocol}: {said}");
        assert_eq!(said.contains("PLAIN"), logs_in, "{protocol}: {said}");
    }
}

fn encrypt(server: &Server, user: &str) {
    let mut command = server.command(&["user", "encrypt", user, "--password-stdin"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// A login by IMAP over TLS with the best mechanism that is offered.
async fn login(server: &Server, user: &str) -> Result<(), ClientError> {
    let roots = tls::roots(&fs::read(server.certificate()).unwrap()).unwrap();
    let port = server.port("imap", "implicit");
    let security = Security::Implicit(Arc::new(tls::client_config(roots).unwrap()));
    let endpoint = Endpoint::new("localhost", port, security).at(([127, 0, 0, 1], port).into());
    let mut client = ImapClient::connect(&endpoint, Arc::default()).await?;
    client.authenticate(&Credentials::new(user, Secret::from(PASSWORD))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_offered_is_what_the_accounts_have_now() {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    server.add_user(USER, PASSWORD);
    server.add_user(BOB, PASSWORD);
    server.serve();
    assert_offered(&server, true);
    login(&server, USER).await.unwrap();
    wait_for("the login in the log", || {
        server.log().contains("mechanism=\"SCRAM-SHA-512-PLUS\"").then_some(())
    });
    // The key to its mail is its password, which SCRAM does not show: from now on everybody chooses what all can use.
    encrypt(&server, USER);
    assert_offered(&server, false);
    login(&server, USER).await.unwrap();
    login(&server, BOB).await.unwrap();
    // An account that came with a hash has no keys either.
    succeed(&mut server.command(&["user", "remove", USER]));
    assert_offered(&server, true);
    let file = server.folder.path().join("hashes");
    fs::write(&file, "carol@example.org:{SSHA}AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n").unwrap();
    succeed(server.command(&["user", "import"]).arg(&file));
    assert_offered(&server, false);
    succeed(&mut server.command(&["user", "remove", "carol@example.org"]));
    assert_offered(&server, true);
    login(&server, BOB).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_offered_for_those_who_have_keys_or_to_nobody() {
    for (scram, before, after) in [("some", true, true), ("off", false, false)] {
        let mut server =
            Server::prepare(&format!("allow_plaintext_auth = true\nauth = {{ scram = \"{scram}\" }}"));
        server.add_user(USER, PASSWORD);
        server.add_user(BOB, PASSWORD);
        server.serve();
        assert_offered(&server, before);
        encrypt(&server, USER);
        assert_offered(&server, after);
        login(&server, BOB).await.unwrap();
        // This is why it is not so unless it is chosen: a client takes the best that is offered, which cannot succeed. Not every
        // client shows its password then, as ours does.
        login(&server, USER).await.unwrap();
        let told = |text: &str| server.log().matches(text).count();
        wait_for("both logins in the log", || (told(": login protocol=imap") == 2).then_some(()));
        assert_eq!(told("login refused"), usize::from(after), "{}", server.log());
    }
}

#[test]
fn passwords_in_clear_log_in_by_every_proof() {
    let mut server = Server::prepare(
        "allow_plaintext_auth = true\nauth = { legacy_mechanisms = true, passwd_files = [\"users\"] }",
    );
    fs::write(server.folder.path().join("users"), format!("{USER}:{{PLAIN}}{PASSWORD}\n")).unwrap();
    server.serve();
    let mechanisms = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5"];
    for (name, password) in mechanisms.iter().flat_map(|name| [(name, PASSWORD), (name, "guess")]) {
        let mut talk = server.talk(server.port("submission", "starttls"));
        talk.reply();
        let offered = talk.smtp("EHLO client.example");
        assert!(offered.contains(&format!(" {name}")), "{offered}");
        let proof = Credentials::new(USER, Secret::from(password));
        let context = Context::plaintext().allow_legacy();
        let mut client = Client::new(Mechanism::find(name).unwrap(), &proof, &context, [3; 32]).unwrap();
        let initial = client.initial().map(|initial| format!(" {}", STANDARD.encode(initial)));
        let mut told = talk.smtp(&format!("AUTH {name}{}", initial.unwrap_or_default()));
        while let Some(challenge) = told.strip_prefix("334 ") {
            let response = client.respond(&STANDARD.decode(challenge).unwrap()).unwrap();
            told = talk.smtp(&STANDARD.encode(response));
        }
        let expected = if password == PASSWORD { "235 " } else { "535 " };
        assert!(told.starts_with(expected), "{name}: {told}");
    }
}
