//! SPF, DKIM, DMARC and ARC against the running server: what comes from outside is judged by a name server of the test's own,
//! and what goes out is signed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
mod names;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this uses a part of it")]
mod world;

use std::{fs, future::Future, pin::pin, process::Stdio, task};

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{PASSWORD, Server, Talk, USER, count, inbox, succeed, wait_for};
use mailwright::relay_policy::{
    authentication::{
        Examiner,
        arc::{self, ArcResult},
        dkim::{self, Outcome, Signer, SigningKey},
    },
    dns::CannedAnswers,
};
use names::{Names, client, start};
use world::{Behaviour, Host};

const RSA_KEY: &str = include_str!("../../../relay-policy/src/authentication/tests/rsa.pkcs8.base64");

/// Sends a message from there; what the server says of it.
fn send(server: &Server, address: &str, from: &str, message: &str) -> String {
    let mut talk = client(server, address, "client.example");
    assert_eq!(talk.smtp(&format!("MAIL FROM:<{from}>")), "250 2.1.0 Ok");
    assert_eq!(talk.smtp(&format!("RCPT TO:<{USER}>")), "250 2.1.5 Ok");
    assert!(talk.smtp("DATA").starts_with("354 "));
    talk.send(message);
    talk.smtp(".")
}

/// A session of our user.
fn submission(server: &Server) -> Talk {
    let mut talk = server.talk(server.port("submission", "starttls"));
    assert!(talk.reply().starts_with("220 "));
    assert!(talk.smtp("EHLO client.example").starts_with("250"));
    let login = STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
    assert!(talk.smtp(&format!("AUTH PLAIN {login}")).starts_with("235 "));
    talk
}

fn run(server: &Server, arguments: &[&str]) -> String {
    String::from_utf8(succeed(&mut server.command(arguments))).unwrap()
}

fn header(server: &Server, number: usize) -> String {
    inbox(server).imap("fetch", &format!("FETCH {number} BODY.PEEK[HEADER]")).join("\r\n")
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut task::Context::from_waker(task::Waker::noop())) {
        task::Poll::Ready(done) => done,
        task::Poll::Pending => panic!("canned answers never wait"),
    }
}

fn signed(signer: &Signer, message: &str) -> String {
    let mut examiner = Examiner::new().for_signing();
    examiner.push(message.as_bytes());
    dkim::sign(signer, &examiner.finish(), 1_700_000_000).unwrap() + message
}

fn signer(domain: &str) -> Signer {
    Signer::new(domain, "s1", SigningKey::from_pkcs8(&STANDARD.decode(RSA_KEY.trim()).unwrap()).unwrap())
}

/// A world in which good.example signs and says who may send, and strict.example wants the rest refused.
fn world() -> (Names, Signer) {
    let signer = signer("good.example");
    let names = Names::start(&[
        ("good.example", "v=spf1 ip4:192.0.2.0/24 -all"),
        ("s1._domainkey.good.example", &signer.key.record()),
        ("_dmarc.good.example", "v=DMARC1; p=reject"),
        ("strict.example", "v=spf1 -all"),
        ("_dmarc.strict.example", "v=DMARC1; p=reject"),
        ("_dmarc.careful.example", "v=DMARC1; p=quarantine"),
        ("excepted.example", "v=spf1 -all"),
        ("_dmarc.excepted.example", "v=DMARC1; p=reject"),
    ]);
    (names, signer)
}

#[test]
fn results_are_written_in_front_of_what_comes_from_outside() {
    let (names, signer) = world();
    let server = start(&names, "");
    let message = "From: Ann <ann@good.example>\r\nSubject: hello\r\n\r\nHello\r\n";
    let whole = signed(&signer, message);
    let forged = format!(
        "Authentication-Results: mail.example.org;\r\n\tdmarc=pass header.from=bank.example\r\n{whole}"
    );
    assert!(send(&server, "192.0.2.7", "ann@good.example", &forged).starts_with("250 "));
    let first = header(&server, 1);
    assert!(!first.contains("bank.example"), "{first}");
    let expected = "Authentication-Results: mail.example.org;\r\n\tspf=pass smtp.mailfrom=ann@good.example;\r\n\t\
                    dkim=pass header.d=good.example header.s=s1 header.b=";
    assert!(first.contains(expected) && first.contains("dmarc=pass header.from=good.example"), "{first}");
    // The trace of this server is in order: Return-Path, results, Received.
    let places: Vec<_> = ["Return-Path:", "Authentication-Results:", "Received:", "DKIM-Signature:"]
        .map(|name| first.find(name))
        .into();
    assert!(places.is_sorted() && places[0].is_some(), "{first}");
    // Through a forwarder SPF breaks and DKIM holds.
    assert!(send(&server, "198.51.100.7", "ann@good.example", &whole).starts_with("250 "));
    let second = header(&server, 2);
    assert!(second.contains("spf=fail") && second.contains("dmarc=pass"), "{second}");
    // What this server lets in from its own machine has no results.
    common::deliver(&server, USER, message);
    assert!(!header(&server, 3).contains("Authentication-Results"));
}

#[test]
fn dmarc_is_done_as_far_as_the_configuration_says() {
    let (names, _) = world();
    let forged = |domain: &str| format!("From: x@{domain}\r\nSubject: forged\r\n\r\nx\r\n");
    let server = start(
        &names,
        "authentication.dmarc = \"reject\"\nauthentication.dmarc_exceptions = [\"excepted.example\"]\n",
    );
    let told = send(&server, "198.51.100.7", "x@strict.example", &forged("strict.example"));
    assert!(told.starts_with("550 5.7.1 Refused by the DMARC policy of strict.example"), "{told}");
    // Another author does not help.
    let two = "From: x@unknown.example, y@strict.example\r\n\r\nx\r\n";
    assert!(send(&server, "198.51.100.7", "x@unknown.example", two).starts_with("550 5.7.1"));
    let two = "From: x@unknown.example\r\nFrom: y@strict.example\r\n\r\nx\r\n";
    assert!(send(&server, "198.51.100.7", "x@unknown.example", two).starts_with("550 5.7.1"));
    for doubtful in ["x@unknown.example: y@strict.example;", "x@unknown.example, y@-bad-.example"] {
        let told =
            send(&server, "198.51.100.7", "x@unknown.example", &format!("From: {doubtful}\r\n\r\nx\r\n"));
        assert!(told.starts_with("550 5.7.1 The From field cannot be read"), "{doubtful}: {told}");
    }
    assert!(
        send(&server, "198.51.100.7", "x@excepted.example", &forged("excepted.example")).starts_with("250 ")
    );
    assert_eq!(count(&server), 1);
    assert!(
        send(&server, "198.51.100.7", "x@careful.example", &forged("careful.example")).starts_with("250 ")
    );
    assert_eq!(count(&server), 1);
    let mut talk = inbox(&server);
    let junk = talk.imap("status", "STATUS Junk (MESSAGES)").join(" ");
    assert!(junk.contains("(MESSAGES 1)"), "{junk}");
    // What explain says of the same.
    let explained =
        run(&server, &["explain", "--client", "198.51.100.7", "--from", "x@strict.example", "--to", USER]);
    assert!(explained.contains("spf") && explained.contains("fail"), "{explained}");
    assert!(explained.contains("dmarc") && explained.contains("reject"), "{explained}");

    let quiet = start(&names, "authentication.dmarc = \"none\"\n");
    assert!(send(&quiet, "198.51.100.7", "x@strict.example", &forged("strict.example")).starts_with("250 "));
    assert!(header(&quiet, 1).contains("dmarc=fail header.from=strict.example policy.dmarc=reject"));
}

#[test]
fn what_our_users_send_is_signed_without_a_restart() {
    let names = Names::start(&[]);
    let server = start(&names, "");
    let submit = |subject: &str| {
        let mut talk = submission(&server);
        assert_eq!(talk.smtp(&format!("MAIL FROM:<{USER}>")), "250 2.1.0 Ok");
        assert_eq!(talk.smtp(&format!("RCPT TO:<{USER}>")), "250 2.1.5 Ok");
        assert!(talk.smtp("DATA").starts_with("354 "));
        talk.send(format!("From: Alice <{USER}>\r\nSubject: {subject}\r\n\r\nHello\r\n"));
        assert!(talk.smtp(".").starts_with("250 "));
    };
    submit("before");
    let rsa = run(&server, &["dkim", "key", "add", "example.org", "--selector", "s1"]);
    assert!(rsa.contains("s1._domainkey.example.org. IN TXT ( \"v=DKIM1; k=rsa; p="), "{rsa}");
    run(&server, &["dkim", "key", "add", "example.org", "--ed25519", "--selector", "s2"]);
    submit("after");
    assert!(!header(&server, 1).contains("DKIM-Signature"));
    let listed = run(&server, &["dkim", "list", "--json"]);
    let keys: Vec<serde_json::Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(keys.len(), 2);
    assert!(!listed.contains("PRIVATE"));
    let mut zone = CannedAnswers::default();
    for key in &keys {
        let (place, record) =
            (format!("{}._domainkey.example.org", key["selector"].as_str().unwrap()), &key["record"]);
        zone = zone.txt(&place, record.as_str().unwrap());
        names.add(&place, record.as_str().unwrap());
    }
    let text = inbox(&server).imap("fetch", "FETCH 2 BODY.PEEK[]");
    let text = text[1..text.len() - 1].join("\r\n");
    let text = text.strip_suffix(')').unwrap_or(&text);
    let mut examiner = Examiner::new();
    examiner.push(text.as_bytes());
    let found = ready(dkim::verify(&zone, &examiner.finish(), 1_700_000_000));
    let outcomes: Vec<_> = found.iter().map(|verified| verified.outcome.clone()).collect();
    assert_eq!(outcomes, [Outcome::Pass, Outcome::Pass], "{text}");
    let checked = run(&server, &["dkim", "check"]);
    assert_eq!(checked, "s1._domainkey.example.org: ok\ns2._domainkey.example.org: ok\n");
    names.add("s2._domainkey.example.org", "v=DKIM1; p=");
    run(&server, &["dkim", "key", "remove", "example.org", "s1"]);
    let output = server.command(&["dkim", "check"]).stderr(Stdio::piped()).output().unwrap();
    assert!(!output.status.success());
    submit("with one key");
    assert_eq!(header(&server, 3).matches("DKIM-Signature").count(), 1);
    // They are there again after a restart.
    let mut server = server;
    server.stop();
    server.serve();
    assert_eq!(run(&server, &["dkim", "list"]).lines().count(), 1);
}

#[test]
fn a_large_message_is_judged_in_little_memory() {
    let (names, signer) = world();
    let mut server = start(&names, "");
    server.hold_nothing_free();
    let header_lines = "From: ann@good.example\r\nSubject: large\r\n\r\n";
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n";
    let (pieces, piece) = (100, line.repeat(16_384));
    let mut examiner = Examiner::new().for_signing();
    examiner.push(header_lines.as_bytes());
    (0..pieces).for_each(|_| examiner.push(piece.as_bytes()));
    let field = dkim::sign(&signer, &examiner.finish(), 1_700_000_000).unwrap();
    let (_, before) = server.memory();
    let mut talk = client(&server, "192.0.2.7", "client.example");
    assert_eq!(talk.smtp("MAIL FROM:<ann@good.example>"), "250 2.1.0 Ok");
    assert_eq!(talk.smtp(&format!("RCPT TO:<{USER}>")), "250 2.1.5 Ok");
    assert!(talk.smtp("DATA").starts_with("354 "));
    talk.send(format!("{field}{header_lines}"));
    (0..pieces).for_each(|_| talk.send(&*piece));
    let told = talk.smtp(".");
    assert!(told.starts_with("250 "), "{told}");
    let grown = (server.memory().1 - before) / 1024;
    let text = header(&server, 1);
    assert!(
        text.contains("dkim=pass")
            && text.contains("Return-Path: <ann@good.example>\r\nAuthentication-Results"),
        "{text}"
    );
    // The database keeps what it has not written out yet, up to four tables of at most 16 MiB, but never a message of 104 megabytes.
    println!("{} MB of mail, {grown} MB of memory", pieces);
    assert!(grown < 80, "{grown} MB");
}

/// What others find of the keys that the server has.
fn zone(server: &Server) -> CannedAnswers {
    let listed = run(server, &["dkim", "list", "--json"]);
    let keys = listed.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    keys.fold(CannedAnswers::default(), |zone, key| {
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        zone.txt(&format!("{}._domainkey.{}", text("selector"), text("domain")), &text("record"))
    })
}

fn examined(message: &str) -> mailwright::relay_policy::authentication::Examined {
    let mut examiner = Examiner::new();
    examiner.push(message.as_bytes());
    examiner.finish()
}

/// What the signatures of a message are worth.
fn signatures(zone: &CannedAnswers, message: &str) -> Vec<Outcome> {
    let found = ready(dkim::verify(zone, &examined(message), 1_700_000_000));
    found.into_iter().map(|verified| verified.outcome).collect()
}

/// A server that sends mail for b.example to a host, and what of the configuration else.
fn beside(names: &Names, host: &Host, extra: &str) -> Server {
    let transport = format!("relay.transport.\"b.example\" = \"smtp:[127.0.0.1]:{}\"\n", host.port);
    let server = start(names, &format!("{transport}{extra}"));
    run(&server, &["dkim", "key", "add", "example.org", "--selector", "s1"]);
    run(&server, &["dkim", "key", "add", "example.org", "--ed25519", "--selector", "s2"]);
    server
}

#[test]
fn signatures_hold_where_only_seven_bits_are_taken_and_reports_have_them() {
    let (names, host) = (Names::start(&[]), Host::start(Behaviour::Answer("VRFY", "")));
    let server = beside(&names, &host, "");
    let mut talk = submission(&server);
    assert!(talk.smtp(&format!("MAIL FROM:<{USER}> BODY=8BITMIME")).starts_with("250"));
    assert!(talk.smtp("RCPT TO:<bob@b.example>").starts_with("250"));
    assert!(talk.smtp("DATA").starts_with("354 "));
    talk.send(format!(
        "From: Alice <{USER}>\r\nSubject: eight\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\nHellö\r\n"
    ));
    assert!(talk.smtp(".").starts_with("250 "));
    let message = wait_for("the message", || host.received().first().cloned());
    assert!(message.contains("quoted-printable") && message.contains("Hell=C3=B6"), "{message}");
    let zone = zone(&server);
    assert_eq!(signatures(&zone, &message), [Outcome::Pass, Outcome::Pass], "{message}");

    // RFC 3030 §3: binary octets are taken, and go on and are kept as base64, an end of a message among them.
    let header = format!(
        "From: Alice <{USER}>\r\nSubject: binary\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n\
         Content-Transfer-Encoding: binary\r\n\r\n"
    );
    let octets = [header.as_bytes(), b"\0\n\r\r\n.\r\nRSET\r\n\xff"].concat();
    assert!(talk.smtp(&format!("MAIL FROM:<{USER}> BODY=BINARYMIME")).starts_with("250"));
    assert!(talk.smtp("RCPT TO:<bob@b.example>").starts_with("250"));
    assert!(talk.smtp(&format!("RCPT TO:<{USER}>")).starts_with("250"));
    talk.send([format!("BDAT {} LAST\r\n", octets.len()).as_bytes(), &octets].concat());
    assert!(talk.reply().starts_with("250 "));
    let message = wait_for("the binary message", || host.received().get(1).cloned());
    assert!(message.contains("base64") && message.contains("AAoNDQouDQpSU0VUDQr/"), "{message}");
    assert_eq!(signatures(&zone, &message), [Outcome::Pass, Outcome::Pass], "{message}");
    let fetched = inbox(&server).imap("binary", "FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1])").join("\n");
    assert!(fetched.contains("BINARY.SIZE[1] 15") && fetched.contains("RSET"), "{fetched}");
    // What does not say so is no message.
    assert!(talk.smtp(&format!("MAIL FROM:<{USER}> BODY=BINARYMIME")).starts_with("250"));
    assert!(talk.smtp(&format!("RCPT TO:<{USER}>")).starts_with("250"));
    talk.send("BDAT 19 LAST\r\nSubject: x\r\n\r\n\n.\n\r\n");
    assert!(talk.reply().starts_with("550 5.6.3"));
    assert_eq!(count(&server), 1);

    // Reports are from a name below the domain that has keys.
    let refuses = Host::start(Behaviour::Answer("RCPT", "550 5.1.1 nobody"));
    let server = beside(&names, &refuses, "");
    let mut talk = submission(&server);
    assert!(talk.smtp(&format!("MAIL FROM:<{USER}>")).starts_with("250"));
    assert!(talk.smtp("RCPT TO:<bob@b.example>").starts_with("250"));
    assert!(talk.smtp("DATA").starts_with("354 "));
    talk.send(format!("From: <{USER}>\r\nSubject: returned\r\n\r\nHello\r\n"));
    assert!(talk.smtp(".").starts_with("250 "));
    wait_for("the report", || (count(&server) == 1).then_some(()));
    let text = inbox(&server).imap("fetch", "FETCH 1 BODY.PEEK[]");
    let text = text[1..text.len() - 1].join("\r\n");
    let text = text.strip_suffix(')').unwrap_or(&text);
    assert!(text.contains("Action: failed") && text.contains("d=example.org"), "{text}");
    let outcomes = signatures(&self::zone(&server), text);
    assert_eq!(outcomes, [Outcome::Pass, Outcome::Pass], "{text}");
}

#[test]
fn what_is_sent_on_is_sealed() {
    let (names, signer) = world();
    let host = Host::start(Behaviour::Answer("VRFY", ""));
    let server = beside(&names, &host, "");
    for name in ["fwd@example.org", "on@example.org", "third@example.org", "fourth@example.org"] {
        run(&server, &["alias", "add", name, "bob@b.example"]);
    }
    let send = |to: &str, message: &str| {
        let before = host.received().len();
        let mut talk = client(&server, "192.0.2.7", "client.example");
        assert!(talk.smtp("MAIL FROM:<ann@good.example>").starts_with("250"));
        assert!(talk.smtp(&format!("RCPT TO:<{to}>")).starts_with("250"));
        assert!(talk.smtp("DATA").starts_with("354 "));
        talk.send(message);
        let told = talk.smtp(".");
        assert!(told.starts_with("250 "), "{told}");
        wait_for("the message", || host.received().get(before).cloned())
    };
    let message = signed(&signer, "From: Ann <ann@good.example>\r\nSubject: hello\r\n\r\nHello\r\n");
    let first = send("fwd@example.org", &message);
    let zone = zone(&server);
    let found = ready(arc::verify(&zone, &examined(&first), 1_700_000_000));
    assert_eq!((found.result, found.seals), (ArcResult::Pass, 1), "{}: {first}", found.reason);
    assert!(first.contains("ARC-Authentication-Results: i=1; mail.example.org;"), "{first}");
    assert!(first.contains("cv=none") && first.contains("dkim=pass header.d=good.example"), "{first}");
    // A chain goes on, as far as this server can look up its keys.
    for selector in ["s1", "s2"] {
        let listed = run(&server, &["dkim", "list", "--json"]);
        let key = listed.lines().find(|line| line.contains(&format!("\"selector\":\"{selector}\""))).unwrap();
        let key: serde_json::Value = serde_json::from_str(key).unwrap();
        names.add(&format!("{selector}._domainkey.example.org"), key["record"].as_str().unwrap());
    }
    // By another address: it has been sent on for the first one.
    let second = send("on@example.org", &first);
    let found = ready(arc::verify(&zone, &examined(&second), 1_700_000_000));
    assert_eq!((found.result, found.seals), (ArcResult::Pass, 2), "{}: {second}", found.reason);
    // What was changed on the way is not sealed as if it were whole (RFC 8617 §5.1.2), and once only.
    let changed = send("third@example.org", &second.replace("\r\nHello\r\n", "\r\nGoodbye\r\n"));
    assert!(changed.contains("ARC-Seal: i=3; a=rsa-sha256; cv=fail;"), "{changed}");
    assert_eq!(ready(arc::verify(&zone, &examined(&changed), 1_700_000_000)).result, ArcResult::Fail);
    let again = send("fourth@example.org", &changed);
    assert!(!again.contains("ARC-Seal: i=4"), "{again}");
}

#[test]
fn what_a_script_sends_on_is_sealed_signed_and_encoded() {
    let (names, signer) = world();
    let (host, folder) = (Host::start(Behaviour::Answer("VRFY", "")), tempfile::tempdir().unwrap());
    let script = folder.path().join("redirect.sieve");
    fs::write(&script, "redirect \"bob@b.example\";\r\n").unwrap();
    let server = beside(&names, &host, &format!("sieve.before = [{script:?}]\n"));
    let message = |body: &str| {
        let text = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit";
        let header =
            format!("From: Ann <ann@good.example>\r\nSubject: hello\r\nMIME-Version: 1.0\r\n{text}\r\n");
        signed(&signer, &format!("{header}\r\n{body}\r\n"))
    };
    for (number, body, seals) in [(0, "Hello", ArcResult::Pass), (1, "Hellö", ArcResult::Fail)] {
        assert!(send(&server, "192.0.2.7", "ann@good.example", &message(body)).starts_with("250 "));
        let sent = wait_for("the message", || host.received().get(number).cloned());
        let zone = zone(&server);
        // Nobody but us can sign again what the host takes in seven bits only.
        assert_eq!(signatures(&zone, &sent)[..2], [Outcome::Pass, Outcome::Pass], "{sent}");
        let found = ready(arc::verify(&zone, &examined(&sent), 1_700_000_000));
        assert_eq!((found.result, found.seals), (seals, 1), "{}: {sent}", found.reason);
        assert!(sent.is_ascii() && sent.contains("dkim=pass header.d=good.example"), "{sent}");
    }
}

#[test]
fn what_is_sent_on_is_not_signed_as_if_its_author_were_ours() {
    let (names, _) = world();
    let (host, folder) = (Host::start(Behaviour::Answer("VRFY", "")), tempfile::tempdir().unwrap());
    let script = folder.path().join("redirect.sieve");
    fs::write(&script, "redirect \"bob@b.example\";\r\n").unwrap();
    let extra = format!("sieve.before = [{script:?}]\nauth.sender_login = \"envelope\"\n");
    let server = beside(&names, &host, &extra);
    run(&server, &["alias", "add", "fwd@example.org", "bob@b.example"]);
    let mut number = 0;
    let mut sent = |mut talk: Talk, sender: &str, to: &str, author: &str| {
        assert!(talk.smtp(&format!("MAIL FROM:<{sender}>")).starts_with("250"));
        assert!(talk.smtp(&format!("RCPT TO:<{to}>")).starts_with("250"));
        assert!(talk.smtp("DATA").starts_with("354 "));
        talk.send(format!("From: The Boss <{author}>\r\nSubject: wire\r\n\r\nplease pay\r\n"));
        let told = talk.smtp(".");
        assert!(told.starts_with("250 "), "{told}");
        number += 1;
        wait_for("the message", || host.received().get(number - 1).cloned())
    };
    let outside = || client(&server, "192.0.2.7", "client.example");
    for to in ["fwd@example.org", USER] {
        for author in ["ceo@example.org", USER, "ceo@hr.example.org"] {
            let forged = sent(outside(), "x@good.example", to, author);
            assert!(!forged.contains("DKIM-Signature:"), "{to}: {forged}");
            // What was found out of it is sealed all the same.
            let found = ready(arc::verify(&zone(&server), &examined(&forged), 1_700_000_000));
            assert_eq!((found.result, found.seals), (ArcResult::Pass, 1), "{to}: {forged}");
        }
        let other = sent(outside(), "x@good.example", to, "x@good.example");
        assert_eq!(signatures(&zone(&server), &other), [Outcome::Pass, Outcome::Pass], "{to}: {other}");
    }
    // A user may sign as the user, and as no colleague, wherever it goes.
    for (author, expected) in [(USER, &[Outcome::Pass, Outcome::Pass][..]), ("ceo@example.org", &[])] {
        let own = sent(submission(&server), USER, "fwd@example.org", author);
        assert_eq!(signatures(&zone(&server), &own), expected, "{own}");
    }
}

#[test]
fn owners_of_domains_get_reports() {
    let host = Host::start(Behaviour::Answer("VRFY", ""));
    let names = Names::start(&[
        ("strict.example", "v=spf1 ip4:192.0.2.0/24 -all"),
        ("_dmarc.strict.example", "v=DMARC1; p=reject; rua=mailto:dmarc@b.example,mailto:x@victim.example"),
        ("strict.example._report._dmarc.b.example", "v=DMARC1"),
        ("silent.example", "v=spf1 ip4:192.0.2.0/24 -all"),
        ("_dmarc.silent.example", "v=DMARC1; p=reject"),
    ]);
    let mut server =
        beside(&names, &host, "authentication.dmarc = \"reject\"\nauthentication.reports = true\n");
    let from = |domain: &str| format!("From: <x@{domain}>\r\nSubject: hello\r\n\r\nx\r\n");
    for (address, code) in [("192.0.2.7", "250 "), ("192.0.2.7", "250 "), ("198.51.100.7", "550 ")] {
        for domain in ["strict.example", "silent.example"] {
            let told = send(&server, address, &format!("x@{domain}"), &from(domain));
            assert!(told.starts_with(code), "{told}");
        }
    }
    // The day is not over.
    assert_eq!(run(&server, &["dmarc", "send"]), "0 reports are on their way\n");
    // It is all there after a restart.
    server.stop();
    server.serve();
    let told = send(&server, "192.0.2.7", "x@strict.example", &from("strict.example"));
    assert!(told.starts_with("250 "), "{told}");
    assert_eq!(run(&server, &["dmarc", "send", "--today"]), "1 reports are on their way\n");
    let message = wait_for("the report", || host.received().first().cloned());
    assert_eq!(host.commands("RCPT"), ["RCPT TO:<dmarc@b.example>"]);
    assert!(host.commands("MAIL")[0].starts_with("MAIL FROM:<>"), "nothing comes back");
    assert!(message.contains("Report Domain: strict.example\r\n Submitter: mail.example.org"), "{message}");
    assert!(message.contains("filename=\"mail.example.org!strict.example!"), "{message}");
    assert_eq!(signatures(&zone(&server), &message), [Outcome::Pass, Outcome::Pass], "{message}");
    let attached = message.split("Content-Disposition").nth(1).unwrap();
    let (_, attached) = attached.split_once("\r\n\r\n").unwrap();
    let attached: String = attached.split("\r\n\r\n").next().unwrap().split_whitespace().collect();
    let file = server.folder.path().join("report.xml.gz");
    fs::write(&file, STANDARD.decode(attached).unwrap()).unwrap();
    let report = run(&server, &["dmarc", "report", file.to_str().unwrap()]);
    assert!(report.starts_with("strict.example (p=reject) at mail.example.org, "), "{report}");
    assert!(report.contains("4 messages, 3 passed, 1 failed"), "{report}");
    assert!(report.contains("1 from strict.example: dkim=fail spf=fail, reject"), "{report}");
    // Told once.
    assert_eq!(run(&server, &["dmarc", "send", "--today"]), "0 reports are on their way\n");
}
