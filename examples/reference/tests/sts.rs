//! MTA-STS (RFC 8461), with a web server that has policies: what gets through is what they allow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "relay/web.rs"]
mod web;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this test needs a part of it")]
mod world;

use std::{net::TcpListener, sync::atomic::Ordering};

use common::{Server, free_port, have, wait_for};
use web::{Web, certificates};
use world::{Behaviour, Host, Names, Site};

fn submit(site: &Site, to: &str) {
    submit_as(site, "ann@a.example", to);
}

fn submit_as(site: &Site, from: &str, to: &str) {
    let mut talk = site.talk("submission");
    assert!(talk.reply().starts_with("220"));
    talk.smtp("EHLO laptop.example");
    assert!(talk.smtp(&site.auth(from)).starts_with("235"));
    assert!(talk.smtp(&format!("MAIL FROM:<{from}>")).starts_with("250"));
    assert!(talk.smtp(&format!("RCPT TO:<{to}>")).starts_with("250"));
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send(format!("From: <{from}>\r\nSubject: sts\r\n\r\nHello.\r\n"));
    assert!(talk.smtp(".").starts_with("250"));
}

/// What the log says of the last attempt to send to an address, after so many.
fn fate(site: &Site, to: &str, attempts: usize) -> String {
    wait_for(&format!("mail to {to}"), || {
        let (log, to) = (site.log(), format!("to={to} "));
        let mut lines = log.lines().filter(|line| line.contains(&to) && line.contains("status="));
        lines.nth(attempts - 1).map(str::to_owned)
    })
}

#[test]
fn policies_decide_what_gets_through() {
    if !have("dnsmasq") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Name, policy (none: it is announced, and not there), and what becomes of mail.
    let cases = [
        ("good", Some(("enforce", "mx.good.example")), "sent"),
        ("wildcard", Some(("enforce", "*.wildcard.example")), "sent"),
        ("unnamed", Some(("enforce", "mx.elsewhere.example")), "deferred"),
        ("wrong", Some(("enforce", "mx.wrong.example")), "deferred"),
        ("testing", Some(("testing", "mx.testing.example")), "sent"),
        ("nothing", None, "sent"),
        ("silent", None, "sent"),
    ];
    let web: Vec<String> = cases.iter().map(|(name, ..)| format!("mta-sts.{name}.example")).collect();
    let web: Vec<&str> = web.iter().map(String::as_str).collect();
    let hosts = ["mx.good.example", "mx.wildcard.example", "mx.unnamed.example"];
    certificates(folder.path(), &[("web", &web), ("hosts", &hosts)]);
    let published = cases.iter().filter_map(|(name, policy, _)| {
        let (mode, host) = (*policy)?;
        let text = format!("version: STSv1\r\nmode: {mode}\r\nmx: {host}\r\nmax_age: 604800\r\n");
        Some((format!("{name}.example"), text))
    });
    let served = Web::start(folder.path(), published.collect());
    let web_port = served.port;

    let at = |name: &str| folder.path().join(name).display().to_string();
    let mut receiver = Server::prepare(&format!(
        "allow_plaintext_auth = true\ntls = {{ certificate = {:?}, key = {:?} }}",
        at("hosts.pem"),
        at("hosts.key")
    ));
    receiver.add_user(common::USER, common::PASSWORD);
    for (name, ..) in &cases {
        common::succeed(&mut receiver.command(&["domain", "add", &format!("{name}.example")]));
        let bob = format!("bob@{name}.example");
        common::succeed(&mut receiver.command(&["alias", "add", &bob, common::USER]));
    }
    receiver.serve();
    let port = receiver.port("smtp", "starttls");
    let mut lines = Vec::new();
    for (name, ..) in &cases {
        lines.push(format!("mx-host={name}.example,mx.{name}.example,10"));
        lines.push(format!("address=/mx.{name}.example/127.0.0.1"));
        lines.push(format!("address=/mta-sts.{name}.example/127.0.0.1"));
        if *name != "silent" {
            lines.push(format!("txt-record=_mta-sts.{name}.example,v=STSv1; id=1;"));
        }
    }
    // A list of unwanted senders that has the address of another server.
    lines.push("host-record=2.0.0.127.bl.example,127.0.0.2".into());
    lines.push("host-record=1.2.0.192.bl.example,127.0.0.2".into());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let names = Names::start(&lines);
    let extra = format!("[relay]\nmta_sts_port = {web_port}\ntrust = {:?}\n", at("authority.pem"));
    let a = Site::start("a.example", "127.0.0.2", port, &names, &extra, &["ann"]);
    for (name, ..) in &cases {
        submit(&a, &format!("bob@{name}.example"));
    }
    for (name, _, expected) in &cases {
        let line = fate(&a, &format!("bob@{name}.example"), 1);
        assert!(line.contains(&format!("status=\"{expected}\"")), "{name}: {line}");
    }
    assert_eq!(common::count(&receiver), 5);
    // Where that other server is on a list, its fallback gets what is for domains without a policy to enforce, and nothing else.
    let fallback = Host::start(Behaviour::Answer("never", ""));
    let listed = format!(
        "{extra}fallback = \"[127.0.0.1]:{}\"\nown_address_lists = [\"bl.example\"]\nown_address = \"192.0.2.1\"\n",
        fallback.port
    );
    let c = Site::start("c.example", "127.0.0.3", port, &names, &listed, &["ann"]);
    for (name, expected, by_fallback) in [
        ("good", "sent", false),
        ("unnamed", "deferred", false),
        ("wrong", "deferred", false),
        ("testing", "sent", true),
        ("nothing", "sent", true),
    ] {
        let before = fallback.received().len();
        submit_as(&c, "ann@c.example", &format!("bob@{name}.example"));
        let line = fate(&c, &format!("bob@{name}.example"), 1);
        assert!(line.contains(&format!("status=\"{expected}\"")), "{name}: {line}");
        assert_eq!(fallback.received().len() - before, usize::from(by_fallback), "{name}");
    }
    assert_eq!(common::count(&receiver), 6);
    // Policies outlive the server, and a web server that is gone.
    served.open.store(false, Ordering::Relaxed);
    let a = a.again();
    submit(&a, "bob@unnamed.example");
    let line = fate(&a, "bob@unnamed.example", 2);
    assert!(line.contains("status=\"deferred\"") && line.contains("MTA-STS policy"), "{line}");
    submit(&a, "bob@good.example");
    assert!(fate(&a, "bob@good.example", 2).contains("status=\"sent\""));
}

#[test]
fn what_a_policy_would_stop_is_told_while_it_is_tested() {
    if !have("dnsmasq") {
        return;
    }
    // Name, policy, what the host says to STARTTLS (nothing: TLS works), what becomes of mail, and what the domain is told.
    let cases = [
        ("unlisted", "testing", "mx.elsewhere.example", None, "sent", "validation-failure"),
        ("ended", "testing", "mx.ended.example", Some("220 2.0.0 go"), "sent", "validation-failure"),
        ("refused", "testing", "mx.refused.example", Some("454 4.7.0 no"), "sent", "starttls-not-supported"),
        ("broken", "enforce", "mx.broken.example", Some("220 2.0.0 go"), "deferred", "validation-failure"),
        (
            "denied",
            "enforce",
            "mx.denied.example",
            Some("454 4.7.0 no"),
            "deferred",
            "starttls-not-supported",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut web: Vec<String> = cases.iter().map(|(name, ..)| format!("mta-sts.{name}.example")).collect();
    web.push("reports.example".into());
    certificates(folder.path(), &[("web", &web.iter().map(String::as_str).collect::<Vec<_>>())]);
    let published = cases.iter().map(|(name, mode, host, ..)| {
        let text = format!("version: STSv1\r\nmode: {mode}\r\nmx: {host}\r\nmax_age: 604800\r\n");
        (format!("{name}.example"), text)
    });
    let web = Web::start(folder.path(), published.collect());
    let (mut lines, port) = (vec!["address=/reports.example/127.0.0.1".to_owned()], free_port());
    for (number, (name, ..)) in cases.iter().enumerate() {
        lines.push(format!("mx-host={name}.example,mx.{name}.example,10"));
        lines.push(format!("address=/mx.{name}.example/127.0.0.{}", number + 3));
        lines.push(format!("address=/mta-sts.{name}.example/127.0.0.1"));
        lines.push(format!("txt-record=_mta-sts.{name}.example,v=STSv1; id=1;"));
        let place = format!("https://reports.example:{}/{name}", web.port);
        lines.push(format!("txt-record=_smtp._tls.{name}.example,v=TLSRPTv1; rua={place}"));
    }
    let names = Names::start(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let trust = folder.path().join("authority.pem");
    let extra = format!("[relay]\ntls_reports = true\nmta_sts_port = {}\ntrust = {trust:?}\n", web.port);
    let a = Site::start("a.example", "127.0.0.2", port, &names, &extra, &["ann"]);
    let b = Site::start("unlisted.example", "127.0.0.3", port, &names, "", &["bob"]);
    let hosts: Vec<Option<Host>> = cases
        .iter()
        .enumerate()
        .map(|(number, (_, _, _, says, ..))| {
            let address = format!("127.0.0.{}", number + 3);
            says.map(|says| Host::on(TcpListener::bind((address, port)).unwrap(), Behaviour::StartTls(says)))
        })
        .collect();
    for ((name, _, _, _, expected, _), host) in cases.iter().zip(&hosts) {
        submit(&a, &format!("bob@{name}.example"));
        let line = fate(&a, &format!("bob@{name}.example"), 1);
        assert!(line.contains(&format!("status=\"{expected}\"")), "{name}: {line}");
        // Nothing is said in the clear of what must not go so.
        let said = host.as_ref().is_some_and(|host| !host.commands("MAIL").is_empty());
        assert_eq!(said, host.is_some() && *expected == "sent", "{name}");
    }
    assert!(b.fetch("bob@unlisted.example", 1).unwrap().contains("with ESMTPS"));
    assert_eq!(a.run(&["tlsrpt", "send"]), "5 sent\n");
    let posted = web.posted();
    for (name, _, _, _, _, told) in &cases {
        let (_, _, content) = posted.iter().find(|(path, ..)| *path == format!("/{name}")).unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        let shown = a.run(&["tlsrpt", "report", "--json", file.to_str().unwrap()]);
        let line: serde_json::Value = serde_json::from_str(shown.trim()).unwrap();
        assert_eq!(line["policy"]["policy-type"], "sts", "{shown}");
        assert_eq!(line["summary"]["total-successful-session-count"], 0, "{shown}");
        assert_eq!(line["summary"]["total-failure-session-count"], 1, "{shown}");
        assert_eq!(line["failure-details"][0]["result-type"], *told, "{shown}");
    }
}
