use std::{
    collections::HashSet,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use super::*;
use crate::dns::{CannedAnswers, LookupError, RecordType};

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("canned answers never wait"),
    }
}

/// All that the name system says in these tests.
fn zone() -> CannedAnswers {
    let temporary = || LookupError::Temporary("SERVFAIL".into());
    CannedAnswers::default()
        .mx("one.example", 10, "mx.one.example")
        .a("mx.one.example", "192.0.2.1")
        .mx("two.example", 20, "b.two.example")
        .mx("two.example", 10, "a.two.example")
        .a("a.two.example", "192.0.2.10")
        .aaaa("a.two.example", "2001:db8::10")
        .a("b.two.example", "192.0.2.20")
        .a("implicit.example", "192.0.2.2")
        .aaaa("implicit6.example", "2001:db8::2")
        .txt("nothing.example", "there is a name, and no way to it")
        .mx("null.example", 0, ".")
        .mx("nulland.example", 0, ".")
        .mx("nulland.example", 10, "mx.one.example")
        .cname("alias.example", "one.example")
        .cname("deep.example", "alias.example")
        .cname("round.example", "round.example")
        .cname("aliasa.example", "implicit.example")
        .cname("dangling.example", "nowhere.example")
        .mx("tocname.example", 10, "www.tocname.example")
        .cname("www.tocname.example", "mx.one.example")
        .mx("dead.example", 10, "gone.example")
        .mx("halfdead.example", 10, "gone.example")
        .mx("halfdead.example", 20, "mx.one.example")
        .mx("noaddress.example", 10, "nothing.example")
        .mx("v6only.example", 10, "six.example")
        .aaaa("six.example", "2001:db8::6")
        .mx("ip.example", 10, "192.0.2.77")
        .mx("UPPER.example", 10, "MX.ONE.example")
        .failure("servfail.example", RecordType::MX, temporary())
        .failure("bogus.example", RecordType::MX, LookupError::Bogus("RRSIG".into()))
        .mx("mxfails.example", 10, "fails.example")
        .failure("fails.example", RecordType::A, temporary())
        .failure("fails.example", RecordType::AAAA, temporary())
        .mx("mxhalffails.example", 10, "fails.example")
        .mx("mxhalffails.example", 20, "mx.one.example")
        .mx("onefamily.example", 10, "onefamily.example")
        .a("onefamily.example", "192.0.2.33")
        .failure("onefamily.example", RecordType::AAAA, temporary())
        .mx("own.example", 10, "ours.example")
        .a("ours.example", "192.0.2.200")
        .mx("backup.example", 10, "mx.one.example")
        .mx("backup.example", 20, "ours.example")
        .mx("backup.example", 30, "b.two.example")
        .mx("backupfails.example", 10, "fails.example")
        .mx("backupfails.example", 20, "ours.example")
        .mx("lessfails.example", 10, "ours.example")
        .mx("lessfails.example", 20, "fails.example")
        .mx("samefails.example", 10, "ours.example")
        .mx("samefails.example", 10, "fails.example")
        .mx("backupdead.example", 10, "gone.example")
        .mx("backupdead.example", 20, "ours.example")
        .mx("same.example", 10, "ours.example")
        .mx("same.example", 10, "mx.one.example")
        .mx("byaddress.example", 10, "hidden.example")
        .a("hidden.example", "192.0.2.200")
        .a("self.example", "192.0.2.200")
        .mx("xn--bcher-kva.example", 10, "mx.one.example")
        .mx("smart.example", 10, "mx.one.example")
        .a("relay.example", "192.0.2.50")
}

const TWO: &str = "a.two.example[2001:db8::10,192.0.2.10] b.two.example[192.0.2.20]";
const ONE: &str = "mx.one.example[192.0.2.1]";

/// What is looked up, and what comes of it: the hosts, or the code of the refusal.
const CASES: &[(&str, &str)] = &[
    ("one.example", ONE),
    ("two.example", TWO),
    ("implicit.example", "implicit.example[192.0.2.2]"),
    ("implicit6.example", "implicit6.example[2001:db8::2]"),
    ("nothing.example", "550 5.4.4"),
    ("unknown.example", "550 5.1.2"),
    ("null.example", "550 5.1.10"),
    ("nulland.example", ONE),
    ("alias.example", ONE),
    ("deep.example", ONE),
    ("round.example", "450 4.4.3"),
    ("aliasa.example", "aliasa.example[192.0.2.2]"),
    ("dangling.example", "550 5.1.2"),
    ("tocname.example", "www.tocname.example[192.0.2.1]"),
    ("dead.example", "550 5.4.4"),
    ("halfdead.example", ONE),
    ("noaddress.example", "550 5.4.4"),
    ("v6only.example", "six.example[2001:db8::6]"),
    ("ip.example", "192.0.2.77[192.0.2.77]"),
    ("upper.EXAMPLE", ONE),
    ("servfail.example", "450 4.4.3"),
    ("bogus.example", "450 4.7.0"),
    ("mxfails.example", "450 4.4.3"),
    ("mxhalffails.example", ONE),
    ("onefamily.example", "onefamily.example[192.0.2.33]"),
    ("own.example", "550 5.4.6"),
    ("backup.example", ONE),
    // Whoever is preferred to us may be there again later; whoever is not is no way onward.
    ("backupfails.example", "450 4.4.3"),
    ("lessfails.example", "550 5.4.6"),
    ("samefails.example", "550 5.4.6"),
    ("backupdead.example", "550 5.4.6"),
    ("same.example", "550 5.4.6"),
    ("byaddress.example", "550 5.4.6"),
    ("self.example", "550 5.4.6"),
    ("bücher.example", ONE),
    ("[192.0.2.9]", "192.0.2.9[192.0.2.9]"),
    ("[IPv6:2001:db8::9]", "2001:db8::9[2001:db8::9]"),
    ("[192.0.2.200]", "550 5.4.6"),
];

fn shown(found: Result<Vec<Exchanger>, RouteError>) -> String {
    match found {
        Ok(hosts) => {
            let host = |host: &Exchanger| {
                let addresses: Vec<_> = host.addresses.iter().map(ToString::to_string).collect();
                format!("{}[{}]", host.name, addresses.join(","))
            };
            hosts.iter().map(host).collect::<Vec<_>>().join(" ")
        }
        Err(error) => {
            let reply = error.reply().to_string();
            reply.split(' ').take(2).collect::<Vec<_>>().join(" ")
        }
    }
}

fn lookup() -> Lookup {
    Lookup { own: vec!["ours.example".into(), "192.0.2.200".into()], ..Lookup::default() }
}

#[test]
fn every_case_of_the_table() {
    let (zone, lookup) = (zone(), lookup());
    assert!(CASES.len() >= 30);
    for (domain, expected) in CASES {
        let address: Address = format!("ann@{domain}").parse().unwrap();
        let hop = RouteTable::default().next_hop(&address);
        for random in [0, 7, u64::MAX] {
            assert_eq!(shown(ready(lookup.exchangers(&zone, &hop, random))), *expected, "{domain}");
        }
    }
}

#[test]
fn families_that_are_not_there_are_not_tried() {
    for (families, domain, expected) in [
        (
            Families::BothV4First,
            "two.example",
            "a.two.example[192.0.2.10,2001:db8::10] b.two.example[192.0.2.20]",
        ),
        (Families::V4, "two.example", "a.two.example[192.0.2.10] b.two.example[192.0.2.20]"),
        (Families::V6, "two.example", "a.two.example[2001:db8::10]"),
        (Families::V4, "v6only.example", "550 5.4.4"),
        (Families::V4, "[IPv6:2001:db8::9]", "550 5.4.4"),
        (Families::V6, "[192.0.2.9]", "550 5.4.4"),
    ] {
        let lookup = Lookup { families, ..lookup() };
        let hop = NextHop::Exchangers { domain: domain.into(), port: 25 };
        assert_eq!(shown(ready(lookup.exchangers(&zone(), &hop, 1))), expected, "{domain}");
    }
}

#[test]
fn hosts_of_one_preference_share_the_load() {
    let mut zone = CannedAnswers::default();
    for host in ["a.example", "b.example", "c.example", "d.example"] {
        zone = zone.mx("many.example", 10, host).a(host, "192.0.2.1");
    }
    zone = zone.mx("many.example", 5, "first.example").a("first.example", "192.0.2.2");
    zone = zone.mx("many.example", 20, "last.example").a("last.example", "192.0.2.3");
    let hop = NextHop::Exchangers { domain: "many.example".into(), port: 25 };
    let mut seconds = HashSet::new();
    for random in 0..200_u64 {
        let random = random.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let hosts = ready(Lookup::default().exchangers(&zone, &hop, random)).unwrap();
        assert_eq!(hosts.len(), 6);
        assert_eq!((&*hosts[0].name, &*hosts[5].name), ("first.example", "last.example"));
        seconds.insert(hosts[1].name.clone());
    }
    assert_eq!(seconds.len(), 4);
    // However many there are, not all are tried.
    let lookup = Lookup { most_hosts: 3, most_addresses: 2, ..Lookup::default() };
    assert_eq!(ready(lookup.exchangers(&zone, &hop, 3)).unwrap().len(), 2);
}

#[test]
fn many_addresses_hide_no_family_and_no_host() {
    let mut zone = CannedAnswers::default()
        .mx("many.example", 10, "first.example")
        .mx("many.example", 20, "second.example")
        .a("first.example", "192.0.2.1")
        .a("first.example", "192.0.2.2")
        .a("second.example", "192.0.2.3");
    for number in 1..=12 {
        zone = zone.aaaa("first.example", &format!("2001:db8::{number:x}"));
        zone = zone.aaaa("second.example", &format!("2001:db8::f{number:x}"));
    }
    let hop = NextHop::Exchangers { domain: "many.example".into(), port: 25 };
    let found = |families, most_addresses| {
        let lookup = Lookup { families, most_addresses, ..lookup() };
        let hosts = ready(lookup.exchangers(&zone, &hop, 1)).unwrap();
        let count = |host: &Exchanger| {
            let six = host.addresses.iter().filter(|address| address.is_ipv6()).count();
            (six, host.addresses.len() - six)
        };
        (hosts.iter().map(count).collect::<Vec<_>>(), hosts[0].addresses[0].is_ipv6())
    };
    for (families, most, expected) in [
        (Families::Both, 10, vec![(7, 1), (1, 1)]),
        (Families::BothV4First, 10, vec![(6, 2), (1, 1)]),
        (Families::V6, 10, vec![(9, 0), (1, 0)]),
        (Families::V4, 10, vec![(0, 2), (0, 1)]),
        (Families::Both, 4, vec![(1, 1), (1, 1)]),
        (Families::Both, 3, vec![(1, 1), (1, 0)]),
        (Families::Both, 1, vec![(1, 0)]),
        (Families::Both, 100, vec![(12, 2), (12, 1)]),
    ] {
        let six = matches!(families, Families::Both | Families::V6);
        assert_eq!(found(families, most), (expected, six), "{families:?} {most}");
    }
}

#[test]
fn what_is_configured_and_not_there_is_waited_for() {
    for (hop, expected) in [
        ("smtp:[gone.example]", "450 4.3.5"),
        ("lmtp:[gone.example]:24", "450 4.3.5"),
        ("smtp:[nothing.example]", "450 4.3.5"),
        ("smtp:[fails.example]", "450 4.4.3"),
        ("smtp:[relay.example]", "relay.example[192.0.2.50]"),
    ] {
        let hop = hop.parse().unwrap();
        assert_eq!(shown(ready(lookup().exchangers(&zone(), &hop, 1))), expected, "{hop}");
    }
    // Whether its mail exchangers are asked for since somebody configured that, only the caller knows.
    for (domain, expected) in [
        ("unknown.example", "450 4.3.5"),
        ("nothing.example", "450 4.3.5"),
        ("null.example", "450 4.3.5"),
        ("own.example", "450 4.3.5"),
        ("servfail.example", "450 4.4.3"),
        ("bogus.example", "450 4.7.0"),
    ] {
        let hop = NextHop::Exchangers { domain: domain.into(), port: 25 };
        let error = ready(lookup().exchangers(&zone(), &hop, 1)).unwrap_err();
        let error = error.of_configured("next hop", &hop).of_configured("smarthost", &hop);
        if expected == "450 4.3.5" {
            let text = error.to_string();
            assert!(text.starts_with(&format!("the smarthost {domain} leads nowhere: ")), "{text}");
        }
        assert_eq!(shown(Err(error)), expected, "{domain}");
    }
}

#[test]
fn a_signed_way_is_signed_all_along() {
    let hop = NextHop::Exchangers { domain: "one.example".into(), port: 25 };
    assert!(ready(Lookup::default().exchangers(&zone().authentic(), &hop, 1)).unwrap()[0].authentic);
    assert!(!ready(Lookup::default().exchangers(&zone(), &hop, 1)).unwrap()[0].authentic);
}

#[test]
fn the_nearest_row_of_the_map_counts() {
    let hop = |text: &str| text.parse::<NextHop>().unwrap();
    let mut table = RouteTable::default().with_smarthost(hop("smart.example"));
    for (key, to) in [
        ("a.example", "smtp:[a]"),
        (".a.example", "lmtp:[below]:24"),
        ("Ann@a.example", "pipe:ann"),
        (".example", "relay:[all]:26"),
        ("gone.example", "error:this domain has closed"),
    ] {
        table = table.with_transport(key, hop(to)).unwrap();
    }
    for (address, expected) in [
        ("bob@a.example", "[a]:25"),
        ("ann@A.example", "pipe:ann"),
        ("bob@x.y.a.example", "lmtp:below:24"),
        ("bob@b.example", "[all]:26"),
        ("bob@gone.example", "error:this domain has closed"),
        ("bob@elsewhere.test", "smart.example"),
        ("bob@[192.0.2.1]", "smart.example"),
    ] {
        assert_eq!(table.next_hop(&address.parse().unwrap()).destination(), expected, "{address}");
    }
    let all = table.with_transport("*", hop("[star]")).unwrap();
    assert_eq!(all.next_hop(&"bob@elsewhere.test".parse().unwrap()).destination(), "[star]:25");
    assert!(RouteTable::default().with_transport("a b", hop("x")).is_err());
}

#[test]
fn next_hops_that_are_none() {
    for text in [
        "",
        "a b",
        "host:0",
        "host:99999",
        "host:x",
        "[host",
        "[host]x",
        "local:",
        "pipe:",
        "host:[25",
        "-x",
        "atrn:a b",
    ] {
        assert!(text.parse::<NextHop>().is_err(), "{text:?}");
    }
    for text in [
        "b.example",
        "b.example:26",
        "[h]:25",
        "lmtp:h:24",
        "lmtp:unix:/x",
        "pipe:p",
        "atrn:",
        "atrn:b.example",
        "error:no",
    ] {
        let hop: NextHop = text.parse().unwrap();
        assert_eq!(hop.destination().parse::<NextHop>(), Ok(hop), "{text}");
    }
    let hop = "smtp:[relay.example]:2525".parse().unwrap();
    let hosts = ready(lookup().exchangers(&zone(), &hop, 1)).unwrap();
    assert_eq!((hosts[0].port, &*hosts[0].name), (2_525, "relay.example"));
}

#[test]
fn each_domain_waits_for_its_own_host() {
    let table = RouteTable::default().with_transport(".example", "atrn:".parse().unwrap()).unwrap();
    let hop = |address: &str| table.next_hop(&address.parse().unwrap());
    assert_eq!(hop("a@One.example"), NextHop::OnDemand("one.example".into()));
    assert_eq!(hop("a@two.example").destination(), "atrn:two.example");
}

#[test]
fn where_we_listen_is_no_way_onward() {
    let dns = CannedAnswers::default()
        .mx("one.example", 10, "mx.one.example")
        .a("mx.one.example", "192.0.2.1")
        .mx("two.example", 10, "mx.two.example")
        .a("mx.two.example", "192.0.2.2")
        .mx("six.example", 10, "mx.six.example")
        .aaaa("mx.six.example", "2001:db8::1");
    let ours = |address: std::net::IpAddr| address.to_string() == "192.0.2.2" || address.is_ipv6();
    for (listening, domain, own) in [
        ("192.0.2.1:25", "one.example", true),
        ("192.0.2.1:2525", "one.example", false),
        ("192.0.2.1:25", "two.example", false),
        ("[::ffff:192.0.2.1]:25", "one.example", true),
        ("0.0.0.0:25", "one.example", false),
        ("0.0.0.0:25", "two.example", true),
        ("0.0.0.0:26", "two.example", false),
        ("0.0.0.0:25", "six.example", false),
        ("[::]:25", "six.example", true),
        ("[::]:25", "two.example", true),
        ("0.0.0.0:25", "[192.0.2.2]", true),
        ("0.0.0.0:25", "[192.0.2.1]", false),
    ] {
        let mut lookup = Lookup::default();
        (lookup.listening, lookup.is_local) = (vec![listening.parse().unwrap()], ours);
        let hop = NextHop::Exchangers { domain: domain.into(), port: 25 };
        let found = ready(lookup.exchangers(&dns, &hop, 7));
        assert_eq!(found.is_ok(), !own, "{listening} {domain}: {found:?}");
        if own {
            assert_eq!(found, Err(RouteError::Loop(domain.into())), "{listening} {domain}");
        }
    }
}
