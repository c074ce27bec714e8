use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use hickory_proto::rr::rdata::TLSA;

use super::*;
use crate::{
    dns::CannedAnswers,
    route::{Lookup, NextHop},
};

const LEAF: Certificate<'static> = Certificate::new(b"the host's certificate", b"the host's key");
const AUTHORITY: Certificate<'static> = Certificate::new(b"the authority", b"the authority's key");
const OTHER: Certificate<'static> = Certificate::new(b"another certificate", b"another key");

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("canned answers never wait"),
    }
}

/// Which of usage, selector and matching say what of the certificates.
#[test]
fn every_kind_of_record() {
    let mut seen = 0;
    for usage in 0..=4 {
        for selector in 0..=2 {
            for matching in 0..=3 {
                let set = |certificate| {
                    let record = Tlsa::of(usage, selector, matching, certificate)
                        .unwrap_or_else(|| Tlsa::new(usage, selector, matching, vec![1; 32]));
                    TlsaSet::new("mx.b.example", ["b.example"], [record])
                };
                let usable = matches!(usage, 2 | 3) && selector < 2 && matching < 3;
                assert_eq!(set(&LEAF).is_some(), usable, "{usage} {selector} {matching}");
                if !usable {
                    continue;
                }
                seen += 1;
                let (own, above) = (set(&LEAF).unwrap(), set(&AUTHORITY).unwrap());
                assert_eq!(own.matches_host(&LEAF), usage == 3);
                assert_eq!(above.matches_authority(&AUTHORITY), usage == 2);
                for set in [&own, &above] {
                    assert!(!set.matches_host(&OTHER) && !set.matches_authority(&OTHER));
                }
                assert_eq!(
                    above.authorities().count(),
                    usize::from((usage, selector, matching) == (2, 0, 0))
                );
            }
        }
    }
    assert_eq!(seen, 12);
}

#[test]
fn digests_that_are_too_short_are_not_used() {
    for (matching, length) in [(1, 31), (1, 33), (1, 0), (2, 32), (2, 63), (0, 0)] {
        assert!(!Tlsa::new(3, 1, matching, vec![0; length]).is_usable(), "{matching} {length}");
    }
}

#[test]
fn the_strongest_digest_counts() {
    let weak = Tlsa::of(3, 1, 1, &LEAF).unwrap();
    let strong = Tlsa::of(3, 1, 2, &OTHER).unwrap();
    let set = TlsaSet::new("mx", [], [weak.clone(), strong.clone()]).unwrap();
    assert_eq!(set.records(), [strong]);
    // Of another selector they are another matter; and whole ones always count.
    let set = TlsaSet::new(
        "mx",
        [],
        [weak, Tlsa::of(3, 0, 2, &OTHER).unwrap(), Tlsa::of(3, 1, 0, &OTHER).unwrap()],
    );
    assert_eq!(set.unwrap().records().len(), 3);
}

/// What is in the name system, whether it is signed, and what becomes of it.
struct Case(&'static str, CannedAnswers, &'static str);

fn base() -> CannedAnswers {
    CannedAnswers::default().mx("b.example", 10, "mx.b.example").a("mx.b.example", "192.0.2.1")
}

fn tlsa(zone: CannedAnswers, at: &str, record: &Tlsa) -> CannedAnswers {
    let data =
        TLSA::new(record.usage.into(), record.selector.into(), record.matching.into(), record.data.clone());
    zone.record(at, RData::TLSA(data))
}

fn shown(dane: Result<Dane, LookupError>) -> String {
    match dane {
        Ok(Dane::Absent) => "absent".into(),
        Ok(Dane::Unusable) => "unusable".into(),
        Ok(Dane::Usable(set)) => format!("{} {}", set.base(), set.records().len()),
        Err(LookupError::Bogus(_)) => "bogus".into(),
        Err(_) => "fails".into(),
    }
}

#[test]
fn what_the_name_system_says() {
    let at = "_25._tcp.mx.b.example";
    let good = Tlsa::of(3, 1, 1, &LEAF).unwrap();
    let authority = Tlsa::of(2, 0, 1, &AUTHORITY).unwrap();
    let pkix = Tlsa::of(1, 1, 1, &LEAF).unwrap();
    let alias = || {
        CannedAnswers::default()
            .mx("b.example", 10, "mx.b.example")
            .cname("mx.b.example", "mx.host.example")
            .a("mx.host.example", "192.0.2.1")
    };
    let fails = || LookupError::Temporary("SERVFAIL".into());
    let cases = [
        Case("signed", tlsa(base(), at, &good).authentic(), "mx.b.example 1"),
        Case("two of them", tlsa(tlsa(base(), at, &good), at, &authority).authentic(), "mx.b.example 2"),
        Case("one of two unusable", tlsa(tlsa(base(), at, &good), at, &pkix).authentic(), "mx.b.example 1"),
        Case("all unusable", tlsa(base(), at, &pkix).authentic(), "unusable"),
        Case("missing", base().authentic(), "absent"),
        Case("nothing signed", tlsa(base(), at, &good), "absent"),
        Case("unsigned mail exchangers", tlsa(base(), at, &good).authentic().unsigned("b.example"), "absent"),
        Case("unsigned addresses", tlsa(base(), at, &good).authentic().unsigned("mx.b.example"), "absent"),
        Case("unsigned records", tlsa(base(), at, &good).authentic().unsigned(at), "absent"),
        Case(
            "forged",
            base().authentic().failure(at, RecordType::TLSA, LookupError::Bogus("RRSIG".into())),
            "bogus",
        ),
        Case("nobody answers", base().authentic().failure(at, RecordType::TLSA, fails()), "fails"),
        Case(
            "nobody would answer, where nothing is signed",
            base().failure(at, RecordType::TLSA, fails()),
            "absent",
        ),
        Case("other port", tlsa(base(), "_465._tcp.mx.b.example", &good).authentic(), "absent"),
        Case(
            "at the end of an alias",
            tlsa(alias(), "_25._tcp.mx.host.example", &good).authentic(),
            "mx.host.example 1",
        ),
        Case("at the alias", tlsa(alias(), at, &good).authentic(), "mx.b.example 1"),
        Case(
            "an alias to what is not signed",
            tlsa(alias(), at, &good).authentic().unsigned("mx.host.example"),
            "mx.b.example 1",
        ),
        Case(
            "records by alias",
            tlsa(base(), "_dane.b.example", &good).cname(at, "_dane.b.example").authentic(),
            "mx.b.example 1",
        ),
        Case(
            "records by alias to what is not signed",
            tlsa(base(), "_dane.b.example", &good)
                .cname(at, "_dane.b.example")
                .authentic()
                .unsigned("_dane.b.example"),
            "absent",
        ),
    ];
    for Case(what, zone, expected) in cases {
        let hop = NextHop::Exchangers { domain: "b.example".into(), port: 25 };
        let hosts = ready(Lookup::default().exchangers(&zone, &hop, 1)).unwrap();
        assert_eq!(shown(ready(look_up(&zone, &hosts[0], "b.example"))), expected, "{what}");
    }
}

#[test]
fn names_that_an_authority_may_vouch_for() {
    let zone = CannedAnswers::default()
        .mx("b.example", 10, "mx.b.example")
        .cname("mx.b.example", "mx.host.example")
        .a("mx.host.example", "192.0.2.1");
    let zone = tlsa(zone, "_25._tcp.mx.host.example", &Tlsa::of(2, 0, 1, &AUTHORITY).unwrap()).authentic();
    let hop = NextHop::Exchangers { domain: "b.example".into(), port: 25 };
    let hosts = ready(Lookup::default().exchangers(&zone, &hop, 1)).unwrap();
    let Ok(Dane::Usable(set)) = ready(look_up(&zone, &hosts[0], "b.example")) else { panic!() };
    assert_eq!(set.names().collect::<Vec<_>>(), ["mx.host.example", "mx.b.example", "b.example"]);
    // A host that is configured needs no mail exchanger that vouches for it.
    let zone = tlsa(
        CannedAnswers::default().a("h.example", "192.0.2.1"),
        "_26._tcp.h.example",
        &Tlsa::of(3, 1, 1, &LEAF).unwrap(),
    );
    let hosts =
        ready(Lookup::default().exchangers(&zone.clone().authentic(), &"[h.example]:26".parse().unwrap(), 1));
    assert_eq!(shown(ready(look_up(&zone.authentic(), &hosts.unwrap()[0], "h.example"))), "h.example 1");
}
