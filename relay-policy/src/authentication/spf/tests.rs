//! Canned answers, after the zones of RFC 7208, appendix A, and the limits of §4.6.4.

use super::*;
use crate::{
    authentication::tests::ready,
    dns::{CannedAnswers, LookupError, RData, RecordType, name},
};
use hickory_proto::rr::rdata::PTR;

/// RFC 7208 §A
fn zone() -> CannedAnswers {
    let pointer = |name_of: &str| RData::PTR(PTR(name(name_of).unwrap()));
    CannedAnswers::default()
        .mx("example.com", 10, "mail-a.example.com")
        .mx("example.com", 20, "mail-b.example.com")
        .a("example.com", "192.0.2.10")
        .a("example.com", "192.0.2.11")
        .a("amy.example.com", "192.0.2.65")
        .a("bob.example.com", "192.0.2.66")
        .a("mail-a.example.com", "192.0.2.129")
        .a("mail-b.example.com", "192.0.2.130")
        .mx("example.org", 10, "mail-c.example.org")
        .a("mail-c.example.org", "192.0.2.140")
        .record("10.2.0.192.in-addr.arpa", pointer("example.com"))
        .record("65.2.0.192.in-addr.arpa", pointer("amy.example.com"))
        .record("66.2.0.192.in-addr.arpa", pointer("bob.example.com"))
        .record("140.2.0.192.in-addr.arpa", pointer("mail-c.example.org"))
        .record("4.0.0.10.in-addr.arpa", pointer("bob.example.com"))
}

fn result(zone: &CannedAnswers, client: &str, sender: &str) -> SpfResult {
    let origin = Origin::new(client.parse().unwrap(), "helo.example.com", sender);
    ready(check(zone, &origin)).result
}

fn judged(record: &str, client: &str) -> SpfResult {
    let zone = zone().txt("example.com", "other text").txt("example.com", record);
    result(&zone, client, "ann@example.com")
}

#[test]
fn the_examples_of_the_rfc() {
    use SpfResult::{Fail, Neutral, Pass, PermError, SoftFail};
    for (record, client, expected) in [
        ("v=spf1 +all", "192.0.2.129", Pass),
        ("v=spf1 a -all", "192.0.2.10", Pass),
        ("v=spf1 a -all", "192.0.2.11", Pass),
        ("v=spf1 a -all", "192.0.2.12", Fail),
        ("v=spf1 a:example.org -all", "192.0.2.10", Fail),
        ("v=spf1 mx -all", "192.0.2.129", Pass),
        ("v=spf1 mx:example.org -all", "192.0.2.140", Pass),
        ("v=spf1 mx mx:example.org -all", "192.0.2.140", Pass),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.131", Pass),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.144", Fail),
        ("v=spf1 ptr -all", "192.0.2.65", Pass),
        ("v=spf1 ptr -all", "192.0.2.140", Fail),
        ("v=spf1 ptr -all", "10.0.0.4", Fail),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.65", Fail),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.129", Pass),
        // and beyond them
        ("v=spf1", "192.0.2.1", Neutral),
        ("V=SPF1 ~ALL", "192.0.2.1", SoftFail),
        ("v=spf1 ?all", "192.0.2.1", Neutral),
        ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8::1", Pass),
        ("v=spf1 ip6:2001:db8::/32 -all", "192.0.2.1", Fail),
        ("v=spf1 ip4:192.0.2.1 -all", "::ffff:192.0.2.1", Pass),
        ("v=spf1 exists:%{l}.%{o} -all", "192.0.2.1", Fail),
        ("v=spf1 exists:%{d} -all", "192.0.2.1", Pass),
        ("v=spf1 a:%{p} -all", "192.0.2.65", Pass),
        ("v=spf1 moo -all", "192.0.2.1", PermError),
        ("v=spf1 a:", "192.0.2.1", PermError),
        ("v=spf1 -all redirect=a.example redirect=b.example", "192.0.2.1", PermError),
        ("v=spf1 -all unknown=%{d}", "192.0.2.1", Fail),
        ("v=spf1 -all:x", "192.0.2.1", PermError),
        ("v=spf1 ip4:192.0.2.0/024", "192.0.2.1", PermError),
        ("v=spf1 a/33", "192.0.2.1", PermError),
        ("v=spf1 a:example.com/24//129", "192.0.2.1", PermError),
        ("v=spf1 a//0 -all", "192.0.2.1", Fail),
        ("v=spf1 ip6:192.0.2.1", "192.0.2.1", PermError),
        ("v=spf1 include:nothing.example -all", "192.0.2.1", PermError),
        ("v=spf1 redirect=nothing.example", "192.0.2.1", PermError),
        ("v=spf1 a:123", "192.0.2.1", PermError),
    ] {
        assert_eq!(judged(record, client), expected, "{record} {client}");
    }
    assert_eq!(judged("no record", "192.0.2.1"), SpfResult::None);
    assert_eq!(
        result(&zone().txt("a.b", "v=spf1 +all").txt("a.b", "v=spf1 -all"), "::1", "x@a.b"),
        PermError
    );
}

#[test]
fn records_lead_to_others_but_not_for_ever() {
    let loops = zone()
        .txt("example.com", "v=spf1 include:a.example -all")
        .txt("a.example", "v=spf1 include:example.com ~all");
    assert_eq!(result(&loops, "192.0.2.1", "ann@example.com"), SpfResult::PermError);
    let mut chain = zone();
    for number in 0..11 {
        chain = chain.txt(&format!("c{number}.example"), &format!("v=spf1 redirect=c{}.example", number + 1));
    }
    let chain = chain.txt("c11.example", "v=spf1 +all");
    assert_eq!(result(&chain, "192.0.2.1", "ann@c0.example"), SpfResult::PermError);
    assert_eq!(result(&chain, "192.0.2.1", "ann@c1.example"), SpfResult::Pass);
    let included = zone()
        .txt("example.com", "v=spf1 include:b.example ~all")
        .txt("b.example", "v=spf1 ip4:192.0.2.1 -all");
    assert_eq!(result(&included, "192.0.2.1", "ann@example.com"), SpfResult::Pass);
    assert_eq!(result(&included, "192.0.2.2", "ann@example.com"), SpfResult::SoftFail);
    // RFC 7208 §4.6.4: three names that do not exist.
    let void = zone().txt("example.com", "v=spf1 a:v1.example a:v2.example a:v3.example +all");
    assert_eq!(result(&void, "192.0.2.1", "ann@example.com"), SpfResult::PermError);
    let mut many = zone().txt("example.com", "v=spf1 mx:many.example +all");
    for number in 0..11 {
        many = many.mx("many.example", 10, &format!("m{number}.example"));
    }
    assert_eq!(result(&many, "192.0.2.1", "ann@example.com"), SpfResult::PermError);
    let late = zone().failure("example.com", RecordType::TXT, LookupError::Temporary("late".into()));
    assert_eq!(result(&late, "192.0.2.1", "ann@example.com"), SpfResult::TempError);
}

#[test]
fn without_a_sender_the_greeting_is_judged() {
    let zone = zone()
        .txt("helo.example.com", "v=spf1 -all exp=why.example.com")
        .txt("why.example.com", "%{i} is not one of %{d}'s; see %{S}");
    let origin = Origin::new("192.0.2.1".parse().unwrap(), "helo.example.com", "");
    let found = ready(check(&zone, &origin));
    assert_eq!((found.result, found.of_sender, &*found.domain), (SpfResult::Fail, false, "helo.example.com"));
    assert_eq!(
        found.explanation.as_deref(),
        Some("192.0.2.1 is not one of helo.example.com's; see postmaster%40helo.example.com")
    );
    for helo in ["", "[192.0.2.1]", "localhost"] {
        let origin = Origin::new("192.0.2.1".parse().unwrap(), helo, "");
        assert_eq!(ready(check(&zone, &origin)).result, SpfResult::None, "{helo}");
    }
}
