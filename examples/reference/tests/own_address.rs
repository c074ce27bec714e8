//! Lists of unwanted senders that have this server's own address: the fallback gets its mail before anybody has refused it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this test needs a part of it")]
mod world;

use common::{have, wait_for};
use world::{Behaviour, Host, Names, Site};

/// A list that lives (RFC 5782 §5), and has our address if it is `listed`.
fn names(listed: bool) -> Names {
    let mut lines = vec![
        "mx-host=b.example,mx.b.example,10",
        "mx-host=verified.example,mx.b.example,10",
        "host-record=mx.b.example,127.0.0.1",
        // The name that we say hello by.
        "host-record=mx.a.example,192.0.2.1",
        "host-record=2.0.0.127.bl.example,127.0.0.2",
    ];
    if listed {
        lines.push("host-record=1.2.0.192.bl.example,127.0.0.4");
    }
    Names::start(&lines)
}

fn lists(fallback: u16, more: &str) -> String {
    format!(
        "[relay]\nfallback = \"[127.0.0.1]:{fallback}\"\nown_address_lists = [\"bl.example\", \"gone.example\"]\n{more}"
    )
}

fn submit(site: &Site, to: &str, parameters: &str) {
    let mut talk = site.talk("submission");
    assert!(talk.reply().starts_with("220"));
    talk.smtp("EHLO laptop.example");
    assert!(talk.smtp(&site.auth("ann@a.example")).starts_with("235"));
    let reply = talk.smtp(&format!("MAIL FROM:<ann@a.example>{parameters}"));
    assert!(reply.starts_with("250"), "{reply}");
    assert!(talk.smtp(&format!("RCPT TO:<{to}>")).starts_with("250"));
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send(format!("From: <ann@a.example>\r\nSubject: for {to}\r\n\r\ntext\r\n"));
    assert!(talk.smtp(".").starts_with("250"));
}

fn arrives(host: &Host, count: usize) {
    wait_for("the message", || (host.received().len() == count).then_some(()));
}

fn good() -> Host {
    Host::start(Behaviour::Answer("never", ""))
}

#[test]
fn as_long_as_a_list_has_our_address_the_fallback_gets_the_mail() {
    if !have("dnsmasq") {
        return;
    }
    // By the address that is configured, and by that of our name.
    for own in ["own_address = \"192.0.2.1\"\n", ""] {
        let (direct, fallback) = (good(), good());
        let names = names(true);
        let a =
            Site::start("a.example", "127.0.0.2", direct.port, &names, &lists(fallback.port, own), &["ann"]);
        submit(&a, "bob@b.example", "");
        arrives(&fallback, 1);
        submit(&a, "eve@b.example", "");
        arrives(&fallback, 2);
        wait_for("an empty queue", || a.queue(&["list"]).is_empty().then_some(()));
        assert!(direct.received().is_empty() && direct.commands("EHLO").is_empty());
        let log = a.log();
        // Once for all that follows, and with each message.
        assert_eq!(log.matches("our address is on a list of unwanted senders").count(), 1, "{log}");
        let with_each = log.matches("listing=192.0.2.1 is on bl.example").count();
        assert!(with_each >= 3 && log.matches("sending by the fallback").count() == 2, "{log}");
        let traced = a.run(&["trace", "bob@b.example"]);
        assert!(traced.contains("192.0.2.1 is on bl.example"), "{traced}");
        // And who looks for it is told.
        let said = a.prints(&["doctor", "relay"]);
        let told = said.lines().find(|line| line.contains("our address")).unwrap_or_default();
        assert!(told.starts_with("BAD") && told.contains("192.0.2.1 is on bl.example"), "{said}");
        assert!(told.contains(&format!("[127.0.0.1]:{}", fallback.port)), "{said}");
    }
}

#[test]
fn a_list_without_our_address_changes_nothing() {
    if !have("dnsmasq") {
        return;
    }
    let (direct, fallback) = (good(), good());
    let names = names(false);
    let a = Site::start("a.example", "127.0.0.2", direct.port, &names, &lists(fallback.port, ""), &["ann"]);
    submit(&a, "bob@b.example", "");
    arrives(&direct, 1);
    assert!(fallback.received().is_empty());
    assert!(!a.log().contains("on a list"), "{}", a.log());
    assert!(a.run(&["doctor", "relay"]).lines().any(|line| line.starts_with("ok   our address 192.0.2.1")));
    // Lists that nobody answers for.
    let nobody = Names::start(&["mx-host=b.example,mx.b.example,10", "host-record=mx.b.example,127.0.0.1"]);
    let own = "own_address = \"192.0.2.1\"\n";
    let a = Site::start("a.example", "127.0.0.3", direct.port, &nobody, &lists(fallback.port, own), &["ann"]);
    submit(&a, "bob@b.example", "");
    arrives(&direct, 2);
    assert!(fallback.received().is_empty());
}

#[test]
fn the_fallback_gets_nothing_that_others_must_prove_themselves_for() {
    if !have("dnsmasq") {
        return;
    }
    // It offers no TLS and is on no list of ours that would be asked: what needs either waits or comes back.
    let (direct, fallback) = (good(), good());
    let port = direct.port;
    let more = format!("tls_for = {{ \"verified.example:{port}\" = \"verify\" }}\n");
    let names = names(true);
    let a = Site::start("a.example", "127.0.0.2", port, &names, &lists(fallback.port, &more), &["ann"]);
    submit(&a, "bob@verified.example", "");
    let listed = wait_for("the attempt", || {
        Some(a.queue(&["list"])).filter(|listed| listed.contains("tried 1 times"))
    });
    assert!(listed.contains("bob@verified.example"), "{listed}");
    // What a listing does to others is told with what waits.
    submit(&a, "bob@b.example", "");
    arrives(&fallback, 1);
    let id = listed.split_whitespace().next().unwrap();
    let shown = a.queue(&["show", id]);
    assert!(shown.starts_with("192.0.2.1 is on bl.example: relay.fallback gets"), "{shown}");
    assert_eq!(fallback.received().len(), 1);
    assert!(direct.received().is_empty());
}

#[test]
fn mail_goes_the_direct_way_where_the_fallback_is_gone() {
    if !have("dnsmasq") {
        return;
    }
    let (direct, gone) = (good(), common::free_port());
    let names = names(true);
    let a = Site::start("a.example", "127.0.0.2", direct.port, &names, &lists(gone, ""), &["ann"]);
    submit(&a, "bob@b.example", "");
    arrives(&direct, 1);
    assert!(a.log().contains("the fallback cannot be reached"), "{}", a.log());
}
