//! What senders hear of their mail (RFC 3461, RFC 3464), and for whom forwarders answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this uses a part of it")]
mod world;

use common::{Talk, free_port, wait_for};
use world::{Behaviour, Host, Names, Site};

const TEXT: &str = "From: <ann@a.example>\r\nSubject: reported\r\n\r\nHello\r\n.";

/// A site that sends mail for these domains to these ports.
fn site(domain: &str, address: &str, port: u16, map: &[(&str, &str, u16)], user: &str) -> Site {
    let map: String = map
        .iter()
        .map(|(domain, address, port)| format!("\"{domain}\" = \"smtp:[{address}]:{port}\"\n"))
        .collect();
    let extra =
        format!("[queue]\nfirst_retry_seconds = 1\nlongest_retry_seconds = 1\n[relay.transport]\n{map}");
    Site::start(domain, address, port, &Names::none(), &extra, &[user])
}

fn session(site: &Site) -> Talk {
    let mut talk = site.talk("submission");
    assert!(talk.reply().starts_with("220"));
    let hello = talk.smtp("EHLO client.example");
    assert!(hello.contains("DSN"), "{hello}");
    assert!(talk.smtp(&site.auth("ann@a.example")).starts_with("235"));
    talk
}

fn send(talk: &mut Talk, mail: &str, rcpts: &[&str]) {
    for (command, code) in [(mail, "250")]
        .into_iter()
        .chain(rcpts.iter().map(|rcpt| (*rcpt, "250")))
        .chain([("DATA", "354"), (TEXT, "250")])
    {
        let reply = talk.smtp(command);
        assert!(reply.starts_with(code), "{command}: {reply}");
    }
}

/// Whether all of these are in a report.
fn has(report: &str, lines: &[&str]) {
    for line in lines {
        assert!(report.contains(line), "{line} is missing in {report}");
    }
}

#[test]
fn success_is_reported_by_who_delivers() {
    let (a_port, b_port) = (free_port(), free_port());
    let a = site("a.example", "127.0.0.2", a_port, &[("b.example", "127.0.0.3", b_port)], "ann");
    let _b = site("b.example", "127.0.0.3", b_port, &[("a.example", "127.0.0.2", a_port)], "bob");
    let rcpt = "RCPT TO:<bob@b.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Old+2BBob@b.example";
    send(&mut session(&a), "MAIL FROM:<ann@a.example> RET=HDRS ENVID=QQ+3D1", &[rcpt]);
    let report = wait_for("the report", || a.fetch("ann@a.example", 1));
    has(
        &report,
        &[
            "Return-Path: <>",
            "Reporting-MTA: dns; mx.b.example",
            "Original-Envelope-Id: QQ=1",
            "Original-Recipient: rfc822; Old+Bob@b.example",
            "Final-Recipient: rfc822; bob@b.example",
            "Action: delivered",
            "Status: 2.1.5",
            "Subject: reported",
        ],
    );
    assert!(!report.contains("\r\nHello\r\n"), "the header only: {report}");
    // Here, too, and once: where one says nothing of success, nothing is told.
    let rcpts = ["RCPT TO:<ann@a.example> NOTIFY=SUCCESS", "RCPT TO:<bob@b.example>"];
    send(&mut session(&a), "MAIL FROM:<ann@a.example>", &rcpts);
    let report = wait_for("the report", || a.fetch("ann@a.example", 3));
    has(
        &report,
        &["Reporting-MTA: dns; mx.a.example", "Final-Recipient: rfc822; ann@a.example", "Action: delivered"],
    );
    wait_for("an empty queue", || a.queue(&["list"]).is_empty().then_some(()));
    assert_eq!(a.fetch("ann@a.example", 4), None);
}

#[test]
fn whoever_passes_it_to_a_host_without_reports_says_so() {
    let (plain, refuses) =
        (Host::start(Behaviour::Greylist), Host::start(Behaviour::Answer("RCPT", "550 5.1.1 no")));
    let map = [("b.example", "127.0.0.1", plain.port), ("c.example", "127.0.0.1", refuses.port)];
    let a = site("a.example", "127.0.0.2", free_port(), &map, "ann");
    let mut talk = session(&a);
    send(&mut talk, "MAIL FROM:<ann@a.example>", &["RCPT TO:<bob@b.example> NOTIFY=SUCCESS"]);
    let report = wait_for("the report", || a.fetch("ann@a.example", 1));
    has(&report, &["Action: relayed", "Final-Recipient: rfc822; bob@b.example", "Status: 2.0.0"]);
    assert_eq!(plain.commands("RCPT").last().unwrap(), "RCPT TO:<bob@b.example>", "what it does not know");
    // Several at once: an alias of two elsewhere.
    a.run(&["alias", "add", "both@a.example", "x@b.example", "y@b.example"]);
    send(&mut talk, "MAIL FROM:<ann@a.example>", &["RCPT TO:<both@a.example> NOTIFY=SUCCESS"]);
    let report = wait_for("the report", || a.fetch("ann@a.example", 2));
    has(&report, &["Action: expanded", "Final-Recipient: rfc822; both@a.example"]);
    // Who wants to hear nothing hears nothing, and who wants to hear of success alone not of failure.
    let rcpts = ["RCPT TO:<never@c.example> NOTIFY=NEVER", "RCPT TO:<success@c.example> NOTIFY=SUCCESS"];
    send(&mut talk, "MAIL FROM:<ann@a.example>", &rcpts);
    wait_for("an empty queue", || a.queue(&["list"]).is_empty().then_some(()));
    assert_eq!(a.fetch("ann@a.example", 3), None);
}

#[test]
fn a_forwarder_answers_for_the_sender_and_passes_reports_back() {
    let (there, author) =
        (Host::start(Behaviour::Answer("VRFY", "")), Host::start(Behaviour::Answer("VRFY", "")));
    let map = [("b.example", "127.0.0.1", there.port), ("c.example", "127.0.0.1", author.port)];
    let a = site("a.example", "127.0.0.2", free_port(), &map, "ann");
    a.run(&["alias", "add", "fwd@a.example", "bob@b.example"]);
    let stranger = || {
        let mut talk = a.talk("smtp");
        talk.reply();
        talk.smtp("EHLO stranger.example");
        talk
    };
    send(&mut stranger(), "MAIL FROM:<carol@c.example>", &["RCPT TO:<fwd@a.example>"]);
    wait_for("the forwarded message", || there.received().first().cloned());
    let mail = there.commands("MAIL").remove(0);
    let sender = mail.split(['<', '>']).nth(1).unwrap().to_owned();
    assert!(sender.starts_with("SRS0=") && sender.ends_with("=c.example=carol@a.example"), "{mail}");
    // Senders of our own stay who they are.
    send(&mut session(&a), "MAIL FROM:<ann@a.example>", &["RCPT TO:<fwd@a.example>"]);
    wait_for("the second", || there.received().get(1).cloned());
    assert!(there.commands("MAIL")[1].starts_with("MAIL FROM:<ann@a.example>"));
    // A report goes back; nothing else does, and nothing that somebody made up.
    let mut talk = stranger();
    talk.smtp("MAIL FROM:<spam@d.example>");
    assert!(talk.smtp(&format!("RCPT TO:<{sender}>")).starts_with("550 5.7.1"));
    talk.smtp("RSET");
    talk.smtp("MAIL FROM:<>");
    assert!(talk.smtp(&format!("RCPT TO:<{}>", sender.replace("carol", "eve"))).starts_with("550"));
    talk.smtp("RSET");
    send(&mut talk, "MAIL FROM:<>", &[&format!("RCPT TO:<{sender}>")]);
    wait_for("the report", || author.received().first().cloned());
    assert_eq!(author.commands("RCPT"), ["RCPT TO:<carol@c.example>"]);
    assert!(author.commands("MAIL")[0].starts_with("MAIL FROM:<>"));
}

#[test]
fn a_reply_for_each_recipient_behind_the_message() {
    let a = site("a.example", "127.0.0.2", free_port(), &[], "ann");
    let mut talk = session(&a);
    assert!(talk.smtp("MAIL FROM:<ann@a.example> PRDR").starts_with("250"));
    talk.smtp("RCPT TO:<ann@a.example>");
    talk.smtp("RCPT TO:<postmaster@a.example>");
    assert!(talk.smtp("DATA").starts_with("354"));
    let first = talk.smtp(TEXT);
    assert!(first.starts_with("353"), "{first}");
    for _ in 0..3 {
        assert!(talk.reply().starts_with("250"));
    }
}

#[test]
fn an_address_that_refused_twice_is_left_alone() {
    let host = Host::start(Behaviour::Answer("RCPT", "550 5.1.1 nobody"));
    let map = [("b.example", "127.0.0.1", host.port)];
    let a = site("a.example", "127.0.0.2", free_port(), &map, "ann");
    let mut talk = session(&a);
    for number in 1..=3 {
        send(&mut talk, "MAIL FROM:<ann@a.example>", &["RCPT TO:<Gone@b.example>"]);
        let report = wait_for("the report", || a.fetch("ann@a.example", number));
        has(&report, &["Action: failed", "Status: 5.1.1"]);
        assert_eq!(report.contains("Nothing was sent"), number == 3, "{report}");
    }
    assert_eq!(host.commands("RCPT").len(), 2);
    // It is remembered, and shown.
    let a = a.again();
    let listed = a.queue(&["suppress", "list"]);
    assert!(listed.starts_with("gone@b.example  suppressed, refused 2 times"), "{listed}");
    assert_eq!(a.queue(&["suppress", "remove", "gone@b.example"]), "1 sent to again\n");
    assert_eq!(a.queue(&["suppress", "list"]), "");
    send(&mut session(&a), "MAIL FROM:<ann@a.example>", &["RCPT TO:<gone@b.example>"]);
    wait_for("the third attempt", || (host.commands("RCPT").len() == 3).then_some(()));
}

/// RFC 6533 §4
#[test]
fn internationalized_mail_comes_back_as_what_it_is() {
    let host = Host::start(Behaviour::Answer("QUIT", "221 bye"));
    let a = site("a.example", "127.0.0.2", free_port(), &[("b.example", "127.0.0.1", host.port)], "ann");
    let kinds = [
        ("", "message/global\r\nContent-Transfer-Encoding: 8bit"),
        (" RET=HDRS", "message/global-headers\r\nContent-Transfer-Encoding: 8bit"),
    ];
    for ((ret, kind), number) in kinds.into_iter().zip(1..) {
        let mut talk = session(&a);
        let mail = format!("MAIL FROM:<ann@a.example> BODY=8BITMIME SMTPUTF8{ret}");
        for command in [&*mail, "RCPT TO:<b\u{f6}b@b.example>"] {
            let reply = talk.smtp(command);
            assert!(reply.starts_with("250"), "{command}: {reply}");
        }
        assert!(talk.smtp("DATA").starts_with("354"));
        let text = "From: <ann@a.example>\r\nSubject: \u{fc}ber\r\n\r\nHello\r\n.";
        assert!(talk.smtp(text).starts_with("250"));
        let report = wait_for("the report", || a.fetch("ann@a.example", number));
        let lines = ["Final-Recipient: utf-8; b\u{f6}b@b.example", "Subject: \u{fc}ber"];
        has(&report, &[&*format!("Content-Type: {kind}"), lines[0], lines[1]]);
        assert_eq!(report.contains("\r\nHello\r\n"), ret.is_empty(), "{report}");
    }
}

#[test]
fn what_is_not_about_an_address_does_not_count_against_it() {
    let hosts = [
        Host::start(Behaviour::Answer("MAIL", "550 Your network is on our block list")),
        Host::start(Behaviour::Answer(".", "550 rejected as spam")),
        Host::start(Behaviour::Answer("RCPT", "550 192.0.2.1 is in a black list at bl.example")),
    ];
    let names = ["one.example", "two.example", "three.example"];
    let map: Vec<_> = names.iter().zip(&hosts).map(|(name, host)| (*name, "127.0.0.1", host.port)).collect();
    let a = site("a.example", "127.0.0.2", free_port(), &map, "ann");
    let mut talk = session(&a);
    for number in 1..=2 {
        for (at, name) in names.iter().enumerate() {
            send(&mut talk, "MAIL FROM:<ann@a.example>", &[&format!("RCPT TO:<bob@{name}>")]);
            let report =
                wait_for("the report", || a.fetch("ann@a.example", (number - 1) * 3 + at as u32 + 1));
            has(&report, &["Action: failed", name]);
        }
    }
    assert_eq!(a.queue(&["suppress", "list"]), "");
}
