//! Mail exchangers with addresses of IPv6, of IPv4 and of both, some of which nobody answers at.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this test needs a part of it")]
mod world;

use std::net::TcpListener;

use common::{free_port, have, wait_for};
use world::{Behaviour, Host, Names, Site};

/// A host that takes mail, and the address that makes it.
fn host(address: &str, port: u16) -> Host {
    Host::on(TcpListener::bind((address, port)).unwrap(), Behaviour::Answer("never", ""))
}

/// Whether this machine can be reached by IPv6, and names can be looked up.
fn can_be_tried() -> bool {
    TcpListener::bind("[::1]:0").is_ok() && have("dnsmasq")
}

/// Domains by the addresses that their mail exchangers have.
fn names() -> Names {
    Names::start(&[
        "mx-host=six.example,mx.six.example,10",
        "host-record=mx.six.example,::1",
        "mx-host=four.example,mx.four.example,10",
        "host-record=mx.four.example,127.0.0.1",
        "mx-host=both.example,mx.both.example,10",
        "host-record=mx.both.example,127.0.0.1,::1",
        // Without a mail exchanger, the domain is one itself (RFC 5321 §5.1).
        "host-record=bare.example,::1",
        // Two, each with one family.
        "mx-host=each.example,mx.six.example,10",
        "mx-host=each.example,mx.four.example,20",
    ])
}

fn submit(site: &Site, domain: &str) {
    let mut talk = site.talk("submission");
    assert!(talk.reply().starts_with("220"));
    talk.smtp("EHLO laptop.example");
    assert!(talk.smtp(&site.auth("ann@a.example")).starts_with("235"));
    assert!(talk.smtp("MAIL FROM:<ann@a.example>").starts_with("250"));
    let reply = talk.smtp(&format!("RCPT TO:<bob@{domain}>"));
    assert!(reply.starts_with("250"), "{domain}: {reply}");
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send(format!("From: <ann@a.example>\r\nSubject: {domain}\r\n\r\ntext\r\n"));
    assert!(talk.smtp(".").starts_with("250"));
}

/// Waits until the host has the message for a domain.
fn arrives(host: &Host, domain: &str) {
    let subject = format!("Subject: {domain}");
    wait_for(domain, || host.received().iter().any(|text| text.contains(&subject)).then_some(()));
}

fn empty(site: &Site) {
    wait_for("an empty queue", || site.queue(&["list"]).is_empty().then_some(()));
}

const BOTH: &str = "[relay]\nfamilies = \"both\"\n";

#[test]
fn mail_goes_by_ipv6_where_there_is_nothing_else_and_where_ipv4_is_dead() {
    if !can_be_tried() {
        return;
    }
    let six = host("::1", 0);
    let names = names();
    let a = Site::start("a.example", "127.0.0.2", six.port, &names, BOTH, &["ann"]);
    for domain in ["six.example", "bare.example", "both.example", "each.example"] {
        submit(&a, domain);
        arrives(&six, domain);
    }
    empty(&a);
    let log = a.log();
    assert!(log.contains(&format!("mx.six.example[::1]:{}", six.port)), "{log}");
    assert!(a.fetch("ann@a.example", 1).is_none(), "nothing came back");
    // Where nobody answers at all, it waits.
    submit(&a, "four.example");
    wait_for("the attempt", || a.queue(&["list"]).contains("tried 1 times").then_some(()));
}

#[test]
fn mail_goes_by_ipv4_where_ipv6_is_dead() {
    if !can_be_tried() {
        return;
    }
    for families in ["both", "prefer-ipv4"] {
        let four = host("127.0.0.1", 0);
        let extra = format!("[relay]\nfamilies = \"{families}\"\n");
        let names = names();
        let a = Site::start("a.example", "127.0.0.2", four.port, &names, &extra, &["ann"]);
        for domain in ["four.example", "both.example", "each.example"] {
            submit(&a, domain);
            arrives(&four, domain);
        }
        empty(&a);
        // The other address was tried before, if IPv6 comes first.
        let log = a.log();
        let tried = log.contains("no connection") && log.contains(&format!("[::1]:{}", four.port));
        assert!(tried, "{families}: {log}");
        submit(&a, "six.example");
        wait_for("the attempt", || a.queue(&["list"]).contains("tried 1 times").then_some(()));
        assert!(a.fetch("ann@a.example", 1).is_none(), "nothing came back");
    }
}

#[test]
fn of_two_that_answer_the_family_that_comes_first_gets_it() {
    if !can_be_tried() {
        return;
    }
    for (families, by_six) in [("both", true), ("prefer-ipv4", false), ("ipv6", true), ("ipv4", false)] {
        let port = free_port();
        let (six, four) = (host("::1", port), host("127.0.0.1", port));
        let extra = format!("[relay]\nfamilies = \"{families}\"\n");
        let names = names();
        let a = Site::start("a.example", "127.0.0.2", port, &names, &extra, &["ann"]);
        submit(&a, "both.example");
        arrives(if by_six { &six } else { &four }, "both.example");
        empty(&a);
        assert_eq!(
            (six.received().len(), four.received().len()),
            (usize::from(by_six), usize::from(!by_six))
        );
    }
}

#[test]
fn a_family_that_is_not_used_is_not_used() {
    if !can_be_tried() {
        return;
    }
    // Both answer, and only one may be asked; a domain that has only the other has no address.
    for (protocols, address, used, unused) in
        [("ipv4", "127.0.0.2", "127.0.0.1", "six.example"), ("ipv6", "[::1]", "", "four.example")]
    {
        let port = free_port();
        let four = host("127.0.0.1", port);
        let six = (protocols == "ipv4").then(|| host("::1", port));
        let extra = format!("inet_protocols = \"{protocols}\"\n{BOTH}");
        let names = names();
        let a = Site::start("a.example", address, port, &names, &extra, &["ann"]);
        submit(&a, unused);
        let told = wait_for("the report", || a.fetch("ann@a.example", 1));
        assert!(told.contains("5.4.4") && told.contains("has an address"), "{told}");
        if !used.is_empty() {
            submit(&a, "both.example");
            arrives(&four, "both.example");
        }
        empty(&a);
        assert_eq!(four.received().len(), usize::from(!used.is_empty()));
        assert!(six.is_none_or(|six| six.received().is_empty()));
    }
}
