//! The rules for strangers against the running server: reputation, greylisting, rates, names that must exist, and the tarpit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
mod names;

use std::{
    thread,
    time::{Duration, Instant},
};

use common::{Server, USER, succeed};
use names::{Names, client, start};

/// What the server says to MAIL and to RCPT; the latter empty if MAIL was refused.
fn said(server: &Server, address: &str, name: &str, from: &str) -> (String, String) {
    let mut talk = client(server, address, name);
    let mail = talk.smtp(&format!("MAIL FROM:<{from}>"));
    let rcpt = if mail.starts_with("250") { talk.smtp(&format!("RCPT TO:<{USER}>")) } else { String::new() };
    (mail, rcpt)
}

fn explained(server: &Server, address: &str, name: &str, from: &str) -> String {
    let arguments = ["explain", "--client", address, "--helo", name, "--from", from, "--to", USER];
    String::from_utf8(succeed(&mut server.command(&arguments))).unwrap()
}

#[test]
fn lists_names_and_spf_refuse_strangers_and_explain_says_which() {
    let names =
        Names::start(&[("forged.example", "v=spf1 -all exp=why.example"), ("why.example", "ask %{d}")]);
    for host in ["good.example", "forged.example", "2.0.0.127.bl.example", "66.2.0.192.bl.example"] {
        names.add_address(host, [127, 0, 0, 2]);
    }
    // This one lists everybody.
    for host in ["2.0.0.127.dead.example", "1.0.0.127.dead.example", "7.2.0.192.dead.example"] {
        names.add_address(host, [127, 0, 0, 2]);
    }
    let server = start(
        &names,
        "rules.lists = [\"bl.example*2\", \"dead.example*9\"]\nrules.lists_limit = 2\nrules.hello_exists = true\n\
         rules.sender_exists = true\nrules.spf_fail = true\n",
    );
    let ok = "250 2.1.5 Ok";
    for (address, name, from, expected, rule) in [
        ("192.0.2.7", "good.example", "x@good.example", ok, "no objection"),
        (
            "192.0.2.66",
            "good.example",
            "x@good.example",
            "550 5.7.1 192.0.2.66 is listed by bl.example",
            "reputation",
        ),
        (
            "192.0.2.7",
            "nobody.example",
            "x@good.example",
            "550 5.7.1 There is no host nobody.example",
            "hello-exists",
        ),
        ("192.0.2.7", "[192.0.2.7]", "x@good.example", ok, "no objection"),
        ("192.0.2.7", "good.example", "x@nobody.example", "550 5.1.8 The sender's domain", "sender-exists"),
        (
            "192.0.2.7",
            "good.example",
            "x@forged.example",
            "550 5.7.23 forged.example does not let 192.0.2.7",
            "spf",
        ),
        ("192.0.2.7", "good.example", "", ok, "no objection"),
    ] {
        let (mail, rcpt) = said(&server, address, name, from);
        let last = if rcpt.is_empty() { mail } else { rcpt };
        assert!(last.starts_with(expected), "{address} {name} {from}: {last}");
        let told = explained(&server, address, name, from);
        assert!(told.contains(rule), "{address} {name} {from}: {told}");
        assert!(
            told.starts_with("rules") && told.contains("our-own-name, sender-login, hello-exists"),
            "{told}"
        );
    }
    // Who is refused can still say that it is refused by mistake.
    for (address, name, from) in [
        ("192.0.2.66", "good.example", "x@good.example"),
        ("192.0.2.7", "nobody.example", "x@nobody.example"),
        ("192.0.2.7", "good.example", "x@forged.example"),
    ] {
        let mut talk = client(&server, address, name);
        assert_eq!(talk.smtp(&format!("MAIL FROM:<{from}>")), "250 2.1.0 Ok");
        assert_eq!(talk.smtp("RCPT TO:<postmaster@example.org>"), ok, "{from}");
        // And only that.
        assert!(talk.smtp(&format!("RCPT TO:<{USER}>")).starts_with("550 5."), "{from}");
    }
}

#[test]
fn what_dmarc_refuses_gets_through_about_trouble_and_explain_says_what_is_put_off() {
    let names = Names::start(&[
        ("strict.example", "v=spf1 -all"),
        ("_dmarc.strict.example", "v=DMARC1; p=reject"),
        ("_dmarc.late.example", "v=DMARC1; p=reject"),
    ]);
    names.fail("late.example");
    let server = start(&names, "authentication.dmarc = \"reject\"\n");
    succeed(&mut server.command(&["alias", "add", "abuse@example.org", USER]));
    let sent = |domain: &str, to: &[&str]| {
        let mut talk = client(&server, "192.0.2.7", "a.example");
        talk.smtp(&format!("MAIL FROM:<x@{domain}>"));
        for to in to {
            assert!(talk.smtp(&format!("RCPT TO:<{to}>")).starts_with("250 "), "{to}");
        }
        assert!(talk.smtp("DATA").starts_with("354 "));
        talk.smtp(&format!("From: x@{domain}\r\nSubject: trouble\r\n\r\nx\r\n."))
    };
    for (domain, code, explanation) in [
        ("strict.example", "550 5.7.1 ", "fail, reject"),
        ("late.example", "450 4.7.1 ", "temperror, 450 for now"),
    ] {
        assert!(sent(domain, &[USER]).starts_with(code), "{domain}");
        assert!(sent(domain, &["abuse@example.org", USER]).starts_with(code), "{domain}");
        assert!(sent(domain, &["abuse@example.org", "postmaster"]).starts_with("250 "), "{domain}");
        let told = explained(&server, "192.0.2.7", "a.example", &format!("x@{domain}"));
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(&format!("dmarc {explanation}")), "{told}");
    }
}

#[test]
fn strangers_come_again_even_over_a_restart() {
    let names = Names::start(&[]);
    let mut server = start(&names, "rules.greylist = true\nrules.greylist_delay_seconds = 3\n");
    let ask = |server: &Server| said(server, "192.0.2.7", "a.example", "x@a.example").1;
    // Who only wants to know is no attempt.
    assert!(explained(&server, "192.0.2.7", "a.example", "x@a.example").contains("greylist"));
    thread::sleep(Duration::from_secs(3));
    assert_eq!(ask(&server), "450 4.7.1 Greylisted: try again in 3 seconds");
    assert!(ask(&server).starts_with("450 4.7.1 Greylisted"));
    server.stop();
    server.serve();
    thread::sleep(Duration::from_secs(3));
    assert_eq!(ask(&server), "250 2.1.5 Ok");
    assert!(said(&server, "192.0.2.7", "a.example", "other@a.example").1.starts_with("450"));
    // Our own machine is no stranger.
    common::deliver(&server, USER, "Subject: x\r\n\r\n");
}

#[test]
fn rates_and_the_tarpit_slow_down_whoever_sends_too_much() {
    let names = Names::start(&[]);
    let server = start(
        &names,
        "rules.messages_per_client = 3\nrules.messages_per_recipient = 5\nrules.tarpit_after = 2\nrules.tarpit_seconds = 1\n\
         smtp.vrfy = \"ask\"\n",
    );
    let ask = |address: &str| said(&server, address, "a.example", "x@a.example");
    let send = |address: &str| {
        let mut talk = client(&server, address, "a.example");
        talk.smtp("MAIL FROM:<x@a.example>");
        talk.smtp(&format!("RCPT TO:<{USER}>"));
        talk.smtp("DATA");
        assert!(talk.smtp("Subject: x\r\n\r\nx\r\n.").starts_with("250 "), "{address}");
    };
    // Naming somebody is no message, nor is asking for them.
    let mut talk = client(&server, "192.0.2.10", "a.example");
    assert_eq!(talk.smtp("MAIL FROM:<x@a.example>"), "250 2.1.0 Ok");
    for _ in 0..6 {
        assert_eq!(talk.smtp(&format!("RCPT TO:<{USER}>")), "250 2.1.5 Ok");
        assert!(talk.smtp(&format!("VRFY {USER}")).starts_with("250 "));
    }
    for _ in 0..3 {
        send("192.0.2.7");
    }
    assert_eq!(ask("192.0.2.7").0, "450 4.7.1 Too many messages from your address; try again later");
    assert!(explained(&server, "192.0.2.7", "a.example", "x@a.example").contains("rates"));
    for _ in 0..2 {
        send("192.0.2.8");
    }
    assert_eq!(ask("192.0.2.8").1, "450 4.7.1 Too many messages to this recipient; try again later");
    let mut talk = client(&server, "192.0.2.9", "a.example");
    assert_eq!(talk.smtp("MAIL FROM:<x@a.example>"), "250 2.1.0 Ok");
    let times: Vec<Duration> = (0..4)
        .map(|number| {
            let begun = Instant::now();
            assert!(talk.smtp(&format!("RCPT TO:<nobody{number}@example.org>")).starts_with("550"));
            begun.elapsed()
        })
        .collect();
    let second = Duration::from_millis(990);
    assert!(
        times[..2].iter().all(|time| *time < second) && times[2..].iter().all(|time| *time >= second),
        "{times:?}"
    );
}

#[test]
fn what_stands_behind_the_rules_is_explained_too() {
    let server = Server::start(
        "allow_plaintext_auth = true\nrelay.transport.\"closed.example\" = \"error: moved away\"\n",
    );
    let explained = |to: &str| {
        let arguments = ["explain", "--client", "192.0.2.7", "--from", USER, "--auth", USER, "--to", to];
        let told = String::from_utf8(succeed(&mut server.command(&arguments))).unwrap();
        let line = told.lines().last().unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let told = explained("x@closed.example");
    assert!(told.starts_with("rcpt transport 550 5.1.2 <x@closed.example>: moved away"), "{told}");
    assert_eq!(explained(USER), format!("delivery mailbox {USER}"));
    succeed(&mut server.command(&["user", "quota", USER, "--messages", "1"]));
    common::deliver(&server, USER, "Subject: the last\r\n\r\n");
    let told = explained(USER);
    assert!(told.starts_with(&format!("rcpt quota 552 5.2.2 {USER}")), "{told}");
    // As it is when somebody asks in earnest.
    let mut talk = server.talk(server.port("smtp", "starttls"));
    talk.reply();
    talk.smtp("EHLO client.example");
    talk.smtp("MAIL FROM:<x@a.example>");
    assert!(talk.smtp(&format!("RCPT TO:<{USER}>")).starts_with("552 5.2.2 "));
}
