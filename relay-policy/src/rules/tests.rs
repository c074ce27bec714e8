//! The rules over canned answers, with a clock that is turned by hand.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use mailwright_line_proto::Peer;
use mailwright_mail_model::{ForwardPath, ReversePath};
use mailwright_smtp_proto::Reply;

use super::*;
use crate::{
    Chain,
    authentication::tests::ready,
    dns::{CannedAnswers, LookupError, RecordType},
};

fn session(address: &str, hello: &str, from: &str) -> Session {
    Session {
        peer: Peer::new(Some((address.parse::<IpAddr>().unwrap(), 25).into()), None),
        hello: Some(Hello::new(hello.parse().unwrap())),
        mail: Some(mail(from)),
        ..Session::default()
    }
}

fn mail(from: &str) -> Mail {
    Mail::new(ReversePath::parse(format!("<{from}>").as_bytes()).unwrap())
}

fn rcpt(to: &str) -> Rcpt {
    Rcpt::new(ForwardPath::parse(format!("<{to}>").as_bytes()).unwrap())
}

fn code(verdict: &Verdict) -> u16 {
    match verdict {
        Verdict::Reject(reply) => reply.code(),
        Verdict::Pass => 0,
        other => panic!("{other:?}"),
    }
}

fn still() -> Clock {
    Arc::new(|| Duration::from_secs(1_000))
}

#[test]
fn lists_are_weighed_and_dead_ones_are_not_believed() {
    let zone = CannedAnswers::default()
        .a("2.0.0.127.bl.example", "127.0.0.2")
        .a("7.2.0.192.bl.example", "127.0.0.4")
        .a("2.0.0.127.wl.example", "127.0.0.2")
        .a("8.2.0.192.wl.example", "127.0.0.2")
        .a("8.2.0.192.bl.example", "127.0.0.2")
        .a("9.2.0.192.bl.example", "127.255.255.254")
        .a("10.2.0.192.bl.example", "203.0.113.1")
        // It lists the world.
        .a("1.0.0.127.dead.example", "127.0.0.2")
        .a("2.0.0.127.dead.example", "127.0.0.2")
        .a("11.2.0.192.dead.example", "127.0.0.2")
        .a("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example", "127.0.0.2");
    let lists =
        ["bl.example*2", "wl.example*-1", "dead.example*5", "gone.example"].map(|list| list.parse().unwrap());
    let rule = Reputation::new(zone, lists.into(), 2, still());
    for (address, expected) in [
        ("192.0.2.7", 554),
        ("192.0.2.8", 0),
        ("192.0.2.9", 0),
        ("192.0.2.10", 0),
        ("192.0.2.11", 0),
        ("192.0.2.1", 0),
        ("2001:db8::1", 554),
    ] {
        let verdict = ready(rule.rcpt(&session(address, "a.example", "x@a.example"), &rcpt("b@c.example")));
        let found = if code(&verdict) >= 500 { 554 } else { 0 };
        assert_eq!(found, expected, "{address} {verdict:?}");
    }
    let trouble = ready(rule.rcpt(&session("192.0.2.7", "a.example", ""), &rcpt("Postmaster@c.example")));
    assert_eq!(trouble, Verdict::Pass);
    assert_eq!(ready(rule.score("192.0.2.8".parse().unwrap())), (1, vec!["bl.example", "wl.example"]));
    for wrong in ["", "example", "bl.example*0", "bl.example*x", "bl.example=none", "a b.example*"] {
        assert!(wrong.parse::<List>().is_err(), "{wrong}");
    }
}

// RFC 5782 §5
#[test]
fn a_list_of_ipv6_is_believed_by_its_own_test_points() {
    let reversed = |address: &str| {
        let digits = format!("{:032x}", address.parse::<std::net::Ipv6Addr>().unwrap().to_bits());
        digits.chars().rev().map(String::from).collect::<Vec<_>>().join(".")
    };
    let mut zone = CannedAnswers::default();
    for list in ["bl6.example", "dead6.example"] {
        for address in ["2001:db8::9", "::ffff:127.0.0.2"] {
            zone = zone.a(&format!("{}.{list}", reversed(address)), "127.0.0.2");
        }
    }
    zone = zone.a(&format!("{}.dead6.example", reversed("::ffff:127.0.0.1")), "127.0.0.2");
    for (list, expected) in [("bl6.example", 550), ("dead6.example", 0)] {
        let rule = Reputation::new(zone.clone(), vec![list.parse().unwrap()], 1, still());
        let verdict =
            ready(rule.rcpt(&session("2001:db8::9", "a.example", "x@a.example"), &rcpt("b@c.example")));
        assert_eq!(code(&verdict), expected, "{list}");
    }
}

/// Answers by what the zone says when it is asked.
struct Turned(Mutex<CannedAnswers>);

impl crate::dns::Resolve for Arc<Turned> {
    async fn lookup(
        &self,
        name: &crate::dns::Name,
        kind: RecordType,
    ) -> Result<crate::dns::Answer, LookupError> {
        let zone = self.0.lock().unwrap().clone();
        zone.lookup(name, kind).await
    }
}

#[test]
fn a_list_that_cannot_be_asked_is_asked_again_and_a_white_one_is_waited_for() {
    let whole = CannedAnswers::default()
        .a("2.0.0.127.bl.example", "127.0.0.2")
        .a("7.2.0.192.bl.example", "127.0.0.2")
        .a("2.0.0.127.wl.example", "127.0.0.2")
        .a("7.2.0.192.wl.example", "127.0.0.2");
    let failing =
        |name: &str| whole.clone().failure(name, RecordType::A, LookupError::Temporary("late".into()));
    let turned = Arc::new(Turned(Mutex::new(whole.clone())));
    let time = Arc::new(AtomicU64::new(1_000));
    let rule = |lists: &[&str]| {
        let clock = Arc::clone(&time);
        let clock: Clock = Arc::new(move || Duration::from_secs(clock.load(Ordering::Relaxed)));
        let lists = lists.iter().map(|list| list.parse().unwrap()).collect();
        Reputation::new(Arc::clone(&turned), lists, 1, clock)
    };
    let said = |rule: &Reputation<Arc<Turned>>, zone: CannedAnswers| {
        *turned.0.lock().unwrap() = zone;
        code(&ready(rule.rcpt(&session("192.0.2.7", "a.example", "x@a.example"), &rcpt("b@c.example"))))
    };
    for name in ["2.0.0.127.wl.example", "1.0.0.127.wl.example", "7.2.0.192.wl.example"] {
        let both = rule(&["bl.example", "wl.example*-1"]);
        assert_eq!(said(&both, failing(name)), 450, "{name}");
        assert_eq!(said(&both, whole.clone()), 0, "{name}: it is asked again");
        // It would change nothing.
        assert_eq!(said(&rule(&["bl.example*3", "wl.example*-1"]), failing(name)), 550, "{name}");
    }
    for name in ["2.0.0.127.bl.example", "7.2.0.192.bl.example"] {
        let black = rule(&["bl.example"]);
        assert_eq!(said(&black, failing(name)), 0, "{name}");
        assert_eq!(said(&black, whole.clone()), 550, "{name}: it is asked again");
    }
    // What a clock found that was ahead is no longer so.
    time.store(900_000, Ordering::Relaxed);
    let black = rule(&["bl.example"]);
    let dead = whole.clone().a("1.0.0.127.bl.example", "127.0.0.2");
    assert_eq!(said(&black, dead), 0);
    time.store(1_000, Ordering::Relaxed);
    assert_eq!(said(&black, whole), 550);
}

#[derive(Default)]
struct Notes(Mutex<HashMap<[u8; 16], Seen>>);

impl GreylistMemory for Notes {
    async fn find(&self, key: &[u8; 16]) -> Option<Seen> {
        self.0.lock().unwrap().get(key).copied()
    }

    async fn keep(&self, key: [u8; 16], seen: Seen) {
        self.0.lock().unwrap().insert(key, seen);
    }
}

#[test]
fn strangers_come_again_in_time() {
    let time = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&time);
    let notes = Arc::new(Notes::default());
    let limits = GreylistLimits {
        delay: Duration::from_secs(300),
        window: Duration::from_secs(1_000),
        known: Duration::from_secs(5_000),
    };
    let rule = Greylist::new(
        Arc::clone(&notes),
        limits,
        Arc::new(move || Duration::from_secs(clock.load(Ordering::Relaxed))),
    );
    let at = |now: u64, address: &str, from: &str, to: &str| {
        time.store(now, Ordering::Relaxed);
        code(&ready(rule.rcpt(&session(address, "h.example", from), &rcpt(to))))
    };
    let (from, to) = ("ann@a.example", "bob@b.example");
    assert_eq!(at(0, "192.0.2.1", from, to), 450);
    assert_eq!(at(299, "192.0.2.1", from, to), 450);
    // Exactly in time, and by a neighbour, however the names are written.
    assert_eq!(at(300, "192.0.2.200", "ANN@a.example", "Bob@B.example"), 0);
    assert_eq!(at(5_300, "192.0.2.1", from, to), 0);
    assert_eq!(at(10_301, "192.0.2.1", from, to), 450, "known no longer");
    // Too late is a first attempt.
    assert_eq!(at(20_000, "198.51.100.1", from, to), 450);
    assert_eq!(at(21_000, "198.51.100.1", from, to), 0, "the last moment of the window");
    assert_eq!(at(30_000, "203.0.113.1", from, to), 450);
    assert_eq!(at(31_001, "203.0.113.1", from, to), 450);
    assert_eq!(at(31_301, "203.0.113.1", from, to), 0);
    assert_eq!(at(40_000, "203.0.113.1", from, "postmaster@b.example"), 0);
    // By a clock that was ahead: it is a first attempt of now.
    assert_eq!(at(900_000, "192.0.2.9", from, to), 450);
    assert_eq!(at(50_000, "192.0.2.9", from, to), 450);
    assert_eq!(at(50_299, "192.0.2.9", from, to), 450);
    assert_eq!(at(50_300, "192.0.2.9", from, to), 0);
    // Whoever only wants to know leaves nothing behind.
    let before = notes.0.lock().unwrap().len();
    let mut rehearsal = session("192.0.2.77", "h.example", "new@a.example");
    rehearsal.rehearsal = true;
    assert_eq!(code(&ready(rule.rcpt(&rehearsal, &rcpt(to)))), 450);
    assert_eq!(notes.0.lock().unwrap().len(), before);
}

#[test]
fn names_must_exist() {
    let zone = CannedAnswers::default()
        .a("host.example", "192.0.2.1")
        .mx("mail.example", 10, "host.example")
        .mx("silent.example", 0, ".")
        .txt("text.example", "only")
        .failure("late.example", RecordType::MX, LookupError::Temporary("late".into()))
        .txt("late.example", "there is such a name");
    let said = |hello: &str| {
        let rule = HelloExists::new(zone.clone());
        let said = |from: &str, to| code(&ready(rule.rcpt(&session("192.0.2.1", hello, from), &rcpt(to))));
        assert_eq!(said("", "b@c.example"), 0, "{hello}: reports are never refused");
        assert_eq!(said("x@host.example", "abuse@c.example"), 0, "{hello}: nor is who tells of trouble");
        said("x@host.example", "b@c.example")
    };
    for (hello, expected) in [
        ("host.example", 0),
        ("mail.example", 0),
        ("[192.0.2.1]", 0),
        ("nobody.example", 550),
        ("late.example", 450),
    ] {
        assert_eq!(said(hello), expected, "{hello}");
    }
    let sent_to = |from: &str, to: &str| {
        let rule = SenderExists::new(zone.clone());
        code(&ready(rule.rcpt(&session("192.0.2.1", "host.example", from), &rcpt(to))))
    };
    let sent = |from: &str| sent_to(from, "b@c.example");
    assert_eq!(sent_to("x@nobody.example", "postmaster@c.example"), 0);
    for (from, expected) in [
        ("", 0),
        ("x@host.example", 0),
        ("x@mail.example", 0),
        ("x@silent.example", 550),
        ("x@text.example", 550),
        ("x@nobody.example", 550),
    ] {
        assert_eq!(sent(from), expected, "{from}");
    }
}

#[test]
fn nobody_sends_for_a_domain_that_forbids_it_but_reports_come() {
    let zone =
        CannedAnswers::default().txt("strict.example", "v=spf1 -all").txt("host.example", "v=spf1 -all");
    let rule = SpfRefuses::new(zone, "mx.example");
    let said_to = |from: &str, to: &str| {
        code(&ready(rule.rcpt(&session("192.0.2.1", "host.example", from), &rcpt(to))))
    };
    let said = |from: &str| said_to(from, "b@c.example");
    assert_eq!((said("x@strict.example"), said("x@other.example"), said("")), (550, 0, 0));
    assert_eq!(said_to("x@strict.example", "postmaster@c.example"), 0);
}

#[test]
fn who_is_over_a_limit_takes_nothing_from_others_behind_the_same_address() {
    let mut rates = Rates::new(still(), 100);
    (rates.client, rates.user) =
        (Rate::new(3, Duration::from_secs(60)), Rate::new(1, Duration::from_secs(60)));
    let said = |user: &str| {
        let mut of = session("192.0.2.1", "a.example", "");
        of.user = Some(user.to_owned());
        code(&ready(rates.mail(&of, &mail(&format!("{user}@a.example")))))
    };
    assert_eq!([(); 5].map(|()| said("ann")), [0, 450, 450, 450, 450]);
    assert_eq!((said("bob"), said("carl"), said("dora")), (0, 0, 450));
}

#[test]
fn recipients_count_by_messages_that_came() {
    let mut rates = Rates::new(still(), 100);
    rates.recipient = Rate::new(2, Duration::from_secs(60));
    let of = session("192.0.2.1", "a.example", "x@a.example");
    let said = |to: &str| code(&ready(rates.rcpt(&of, &rcpt(to))));
    let came = |to: &[&str]| {
        let message = Message::new(mail("x@a.example"), to.iter().map(|to| rcpt(to)).collect());
        code(&ready(rates.message(&of, &message, &Examined::default())))
    };
    for _ in 0..5 {
        assert_eq!(said("b@c.example"), 0);
    }
    // Named twice it gets one.
    assert_eq!(came(&["b@c.example", "B@C.example", "d@c.example"]), 0);
    assert_eq!((said("b@c.example"), came(&["b@c.example"])), (0, 0));
    assert_eq!((said("b@c.example"), said("d@c.example")), (450, 0));
    // What was refused for one of them was not for the others either.
    assert_eq!(came(&["d@c.example", "b@c.example"]), 450);
    assert_eq!((came(&["d@c.example"]), said("d@c.example")), (0, 450));
    // About trouble there is no limit.
    for _ in 0..5 {
        assert_eq!((said("abuse@c.example"), came(&["abuse@c.example"])), (0, 0));
    }
    // Details make nobody another one.
    assert_eq!(said("b+lists@c.example"), 0);
    rates.separators = "+".to_owned();
    let said = |to: &str| code(&ready(rates.rcpt(&of, &rcpt(to))));
    assert_eq!((said("B+lists@c.example"), said("+b@c.example")), (450, 0));
}

#[test]
fn only_strangers_are_asked() {
    struct No;
    impl Policy for No {
        fn name(&self) -> &str {
            "no"
        }

        async fn mail(&self, _: &Session, _: &Mail) -> Verdict {
            Verdict::Reject(Reply::DENIED)
        }
    }
    let trusts = Arc::new(|session: &Session| session.user.is_some());
    let chain = Chain::default().then(Strangers::new(No, trusts));
    let mut stranger = session("192.0.2.1", "a.example", "");
    assert_eq!(ready(chain.decide_mail(&stranger, &mail(""))).rule, "no");
    stranger.user = Some("ann".into());
    assert_eq!(ready(chain.decide_mail(&stranger, &mail(""))).verdict, Verdict::Pass);
}
