//! What is agreed on along the way: TLS that the sender requires, reports of TLS, queues that are run when asked, records that are
//! planned and checked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this test needs a part of it")]
mod world;

use common::{Talk, free_port, have, wait_for};
use world::{Behaviour, Host, Names, Site};

/// A client's session at the submission port, logged in.
fn submission(site: &Site, user: &str) -> Talk {
    let mut talk = site.talk("submission");
    assert!(talk.reply().starts_with("220"));
    talk.smtp("EHLO laptop.example");
    assert!(talk.smtp(&site.auth(user)).starts_with("235"));
    talk
}

fn submit(site: &Site, user: &str, to: &str, header: &str) {
    let mut talk = submission(site, user);
    assert!(talk.smtp(&format!("MAIL FROM:<{user}>")).starts_with("250"));
    assert!(talk.smtp(&format!("RCPT TO:<{to}>")).starts_with("250"));
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send(format!("From: <{user}>\r\n{header}\r\nHello.\r\n"));
    assert!(talk.smtp(".").starts_with("250"));
}

#[test]
fn a_host_asks_for_what_waits_for_it() {
    let port = free_port();
    let extra = format!(
        "[smtp]\netrn = [\"127.0.0.9\", \"127.0.0.1\"]\n[relay.transport]\n\"b.example\" = \"smtp:[127.0.0.1]:{port}\"\n"
    );
    let a = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["ann"]);
    submit(&a, "ann@a.example", "bob@b.example", "Subject: waits\r\n");
    wait_for("the first attempt", || {
        a.queue(&["list", "--json"]).contains("\"last_error\":\"").then_some(())
    });
    let mut talk = a.talk("smtp");
    talk.reply();
    assert!(talk.smtp("EHLO b.example").contains("250-ETRN"), "it is announced");
    assert_eq!(talk.smtp("ETRN c.example"), "251 2.0.0 Nothing waits");
    assert!(talk.smtp("ETRN #named").starts_with("459 "));
    let host = Host::at(port, Behaviour::Answer("never", ""));
    assert_eq!(talk.smtp("ETRN b.example"), "253 2.0.0 1 messages are being sent");
    let got = wait_for("the message", || host.received().first().cloned());
    assert!(got.contains("Subject: waits"), "{got}");
    // Nobody else may.
    let a = Site::start(
        "a.example",
        "127.0.0.1",
        free_port(),
        &Names::none(),
        "[smtp]\netrn = [\"192.0.2.1\"]\n",
        &[],
    );
    let mut talk = a.talk("smtp");
    talk.reply();
    talk.smtp("EHLO b.example");
    assert_eq!(talk.smtp("ETRN b.example"), "459 4.7.1 Not for this client");
}

#[test]
fn reports_of_tls_are_collected_sent_and_read() {
    if !have("dnsmasq") {
        return;
    }
    let port = free_port();
    let names = Names::start(&[
        "mx-host=b.example,mx.b.example,10",
        "address=/mx.b.example/127.0.0.3",
        "txt-record=_smtp._tls.b.example,v=TLSRPTv1; rua=mailto:bob@b.example",
    ]);
    let a = Site::start("a.example", "127.0.0.2", port, &names, "[relay]\ntls_reports = true\n", &["ann"]);
    let b = Site::start("b.example", "127.0.0.3", port, &names, "", &["bob"]);
    a.run(&["dkim", "key", "add", "a.example", "--selector", "s1", "--ed25519"]);
    submit(&a, "ann@a.example", "bob@b.example", "Subject: first\r\n");
    wait_for("the message", || b.fetch("bob@b.example", 1));
    assert_eq!(a.run(&["tlsrpt", "send"]), "1 sent\n");
    let text = wait_for("the report", || b.fetch("bob@b.example", 2));
    for expected in [
        "TLS-Report-Domain: b.example",
        "TLS-Report-Submitter: a.example",
        "DKIM-Signature: v=1; a=ed25519-sha256",
        "report-type=\"tlsrpt\"",
        "Content-Type: application/tlsrpt+gzip",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    // The attachment, as somebody saves it, read by the command.
    let packed = text.split("json.gz\"").nth(1).unwrap().split("--=_").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json.gz");
    std::fs::write(&file, world::unbase64(packed.trim())).unwrap();
    let shown = b.run(&["tlsrpt", "report", file.to_str().unwrap()]);
    assert!(shown.contains("b.example (no-policy-found) at a.example"), "{shown}");
    assert!(shown.contains(": 1 sessions were secured, 0 were not"), "{shown}");
    let json = b.run(&["tlsrpt", "report", "--json", file.to_str().unwrap()]);
    let line: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(line["policy"]["policy-domain"], "b.example");
    assert_eq!(line["summary"]["total-successful-session-count"], 1);
}

#[test]
fn the_records_are_planned_and_checked() {
    if !have("dnsmasq") {
        return;
    }
    let plan = Site::start("a.example", "127.0.0.2", free_port(), &Names::none(), "", &[]);
    plan.run(&["dkim", "key", "add", "a.example", "--selector", "s1", "--ed25519"]);
    let lines = plan.run(&["dns", "plan", "a.example", "--json"]);
    let records: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text = |record: &serde_json::Value, key: &str| record[key].as_str().unwrap().to_owned();
    let mut published = vec!["address=/mx.a.example/127.0.0.2".to_owned()];
    for record in &records {
        let (name, value) = (text(record, "name"), text(record, "value"));
        match &*text(record, "kind") {
            "MX" => published.push(format!("mx-host={name},mx.a.example,10")),
            "TXT" => published.push(format!("txt-record={name},{value}")),
            "SRV" => {
                let words: Vec<&str> = value.split(' ').collect();
                if words[3] != "." {
                    published
                        .push(format!("srv-host={name},mx.a.example,{},{},{}", words[2], words[0], words[1]));
                }
            }
            "TLSA" => {
                let (numbers, data) = value.rsplit_once(' ').unwrap();
                let numbers: String = numbers.split(' ').map(|number| format!("0{number}")).collect();
                published.push(format!("dns-rr={name},52,{numbers}{data}"));
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(records.len(), 7 + 1 + 7, "{lines}");
    // What is published is asked for where the configuration says; the plan's own data are used again.
    let lines: Vec<&str> = published.iter().map(String::as_str).collect();
    let names = Names::start(&lines);
    plan.asks(&names);
    let checked = plan.run(&["dns", "plan", "a.example", "--check"]);
    assert!(checked.lines().all(|line| line.starts_with("ok ")), "{checked}");
    let names = Names::start(&["address=/mx.a.example/127.0.0.2", "mx-host=a.example,elsewhere.example,10"]);
    plan.asks(&names);
    let output = plan.fails(&["dns", "plan", "a.example", "--check"]);
    assert!(output.contains("not all is published"), "{output}");
}
