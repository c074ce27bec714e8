//! Whole messages: the vectors of the RFCs, and our own signatures verified.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use super::{
    arc::ArcResult,
    dkim::{Outcome, Signer, SigningKey, sign},
    dmarc::{DmarcResult, Wish},
    *,
};
use crate::dns::CannedAnswers;

/// What is ready at once, as canned answers are.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("canned answers never wait"),
    }
}

fn examined(message: &str, piece: usize) -> Examined {
    let mut examiner = Examiner::new().for_signing();
    message.as_bytes().chunks(piece).for_each(|part| examiner.push(part));
    examiner.finish()
}

/// RFC 8463 §A
const EDWARDS: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const RSA: &str = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR\
    iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC\
    DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3\
    Ip3G+2kryOTIKT+l/K4w3QIDAQAB";
const SIGNED: &str = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n \
    d=football.example.com; i=@football.example.com;\r\n \
    q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n \
    subject : date : message-id : from : subject : date;\r\n \
    bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n \
    b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n \
    Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n\
    DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n \
    d=football.example.com; i=@football.example.com;\r\n \
    q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n \
    date : message-id : from : subject : date;\r\n \
    bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n \
    b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n \
    DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n \
    dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n";
const PLAIN: &str = "From: Joe SixPack <joe@football.example.com>\r\n\
    To: Suzie Q <suzie@shopping.example.net>\r\n\
    Subject: Is dinner ready?\r\n\
    Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
    Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\
    \r\n\
    Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n\r\n";

fn keys() -> CannedAnswers {
    CannedAnswers::default()
        .txt("brisbane._domainkey.football.example.com", EDWARDS)
        .txt("test._domainkey.football.example.com", RSA)
}

fn outcomes(zone: &CannedAnswers, message: &str) -> Vec<Outcome> {
    let found = ready(dkim::verify(zone, &examined(message, 1000), 1_600_000_000));
    found.into_iter().map(|verified| verified.outcome).collect()
}

#[test]
fn the_message_of_rfc_8463_however_it_is_cut() {
    let message = format!("{SIGNED}{PLAIN}");
    for piece in 1..message.len() {
        let found = ready(dkim::verify(&keys(), &examined(&message, piece), 1_600_000_000));
        let outcomes: Vec<_> = found.iter().map(|verified| &verified.outcome).collect();
        assert_eq!(outcomes, [&Outcome::Pass, &Outcome::Pass], "{piece}");
    }
}

#[test]
fn what_changes_a_message_breaks_its_signatures() {
    let good = format!("{SIGNED}{PLAIN}");
    let both = |outcome: fn(String) -> Outcome, why: &str| vec![outcome(why.into()), outcome(why.into())];
    for (from, to, expected) in [
        ("We lost", "We won", both(Outcome::Fail, "the body was changed")),
        ("Is dinner", "Is  dinner", vec![Outcome::Pass, Outcome::Pass]),
        ("Subject: Is", "SUBJECT:\tIs", vec![Outcome::Pass, Outcome::Pass]),
        ("Is dinner", "Is lunch", both(Outcome::Fail, "the signature does not match")),
        // RFC 6376 §8.15: over-signed fields cannot be added.
        ("Subject: Is", "Subject: x\r\nSubject: Is", both(Outcome::Fail, "the signature does not match")),
        (
            "From: Joe",
            "From: evil@a.example\r\nFrom: Joe",
            both(Outcome::Fail, "the signature does not match"),
        ),
        ("To: Suzie", "X-Added: y\r\nTo: Suzie", vec![Outcome::Pass, Outcome::Pass]),
    ] {
        assert_eq!(outcomes(&keys(), &good.replacen(from, to, 1)), expected, "{to}");
    }
    let expired = good.replacen("t=1528637909;", "t=1528637909; x=1528637910;", 2);
    assert_eq!(outcomes(&keys(), &expired), both(Outcome::Fail, "the signature has expired"));
    assert_eq!(outcomes(&CannedAnswers::default(), &good), both(Outcome::PermError, "there is no key"));
    let swapped = CannedAnswers::default()
        .txt("brisbane._domainkey.football.example.com", RSA)
        .txt("test._domainkey.football.example.com", "v=DKIM1; p=");
    let kinds = [
        Outcome::PermError("the key is of another kind".into()),
        Outcome::PermError("the key was revoked".into()),
    ];
    assert_eq!(outcomes(&swapped, &good), kinds);
    // A thousand signatures are not a thousand questions.
    let many = format!("{}{PLAIN}", SIGNED.repeat(500));
    assert_eq!(outcomes(&keys(), &many).len(), 8);
}

fn key(of: &str) -> SigningKey {
    use base64::{Engine, engine::general_purpose::STANDARD};
    SigningKey::from_pkcs8(&STANDARD.decode(of).unwrap()).unwrap()
}

/// The secret of RFC 8032 §7.1 and a key of 2048 bits made for this, in PKCS #8.
const EDWARDS_SECRET: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
const RSA_SECRET: &str = include_str!("tests/rsa.pkcs8.base64");

#[test]
fn what_we_sign_verifies() {
    for (secret, piece) in [(EDWARDS_SECRET, 7), (RSA_SECRET.trim(), 10_000)] {
        let signer = Signer::new("Example.org", "S1", key(secret));
        let zone = CannedAnswers::default().txt("s1._domainkey.example.org", &signer.key.record());
        let body = "Grüße \t\r\n.\r\n".repeat(1000) + "\r\n\r\n";
        for message in [
            format!(
                "From: a@example.org\r\nTo: b@example.net,\r\n\tc@example.net\r\nSubject: x\r\n\r\n{body}"
            ),
            "From: a@example.org\r\nReceived: x\r\nReceived: y\r\n\r\n".to_owned(),
            "From: a@example.org".to_owned(),
        ] {
            let field = sign(&signer, &examined(&message, piece), 1_500_000_000).unwrap();
            assert!(field.lines().all(|line| line.len() <= 200 && !line.trim().is_empty()), "{field}");
            let signed = format!("{field}{message}");
            assert_eq!(outcomes(&zone, &signed), [Outcome::Pass], "{signed}");
            let forged = signed.replacen("From: a@", "Reply-To: evil@a.example\r\nFrom: a@", 1);
            assert!(matches!(outcomes(&zone, &forged)[..], [Outcome::Fail(_)]));
        }
    }
    assert_eq!(key(EDWARDS_SECRET).record(), EDWARDS);
    assert!(SigningKey::from_pkcs8(b"no key").is_err());
}

#[test]
fn memory_does_not_grow_with_the_message() {
    let mut examiner = Examiner::new();
    examiner.push(b"From: a@b.example\r\nDKIM-Signature: v=1; a=rsa-sha256; d=b.example; s=s; h=from; bh=AA==; b=AA==\r\n\r\n");
    let before = examiner.clone();
    for _ in 0..1000 {
        examiner.push(&[b'x'; 65_536]);
    }
    assert_eq!(format!("{examiner:?}"), format!("{before:?}"));
    let mut examiner = Examiner::new();
    let mut fields = 0;
    while fields <= Examiner::LONGEST_HEADER {
        examiner.push(b"X: y\r\n");
        fields += 6;
    }
    assert!(examiner.finish().is_overlong());
}

fn findings(zone: &CannedAnswers, client: &str, sender: &str, message: &str) -> Findings {
    let origin = Origin::new(client.parse().unwrap(), "client.example", sender);
    ready(check(zone, &origin, &examined(message, 100), 1_600_000_000))
}

#[test]
fn dmarc_needs_a_proof_of_the_author() {
    let zone = keys()
        .txt("football.example.com", "v=spf1 ip4:192.0.2.0/24 -all")
        .txt("bounce.football.example.com", "v=spf1 ip4:192.0.2.0/24 -all")
        .txt("evil.example", "v=spf1 +all")
        .txt("_dmarc.example.com", "v=DMARC1; p=reject; sp=quarantine; rua=mailto:d@example.com")
        .txt("_dmarc.evil.example", "v=DMARC1; p=none");
    let signed = format!("{SIGNED}{PLAIN}");
    let told = |client: &str, sender: &str, message: &str| {
        let found = findings(&zone, client, sender, message).dmarc;
        (found.result, found.wish, found.author.by_spf, found.author.by_dkim)
    };
    use DmarcResult::{Fail, None as Nothing, Pass, PermError};
    let forged = PLAIN.replace("We lost", "We won");
    let others: String = (0..8).map(|number| format!("x@{number}.nothing.example, ")).collect();
    let many = format!("From: {others}y@example.com\r\n\r\n");
    let overlong = format!("{}From: y@example.com\r\n\r\n", "X: y\r\n".repeat(200_000));
    for (client, sender, message, expected) in [
        ("192.0.2.1", "joe@football.example.com", &*signed, (Pass, Wish::None, true, true)),
        ("192.0.2.1", "x@bounce.football.example.com", PLAIN, (Pass, Wish::None, true, false)),
        ("198.51.100.1", "joe@football.example.com", &signed, (Pass, Wish::None, false, true)),
        ("198.51.100.1", "joe@football.example.com", PLAIN, (Fail, Wish::Quarantine, false, false)),
        ("198.51.100.1", "x@evil.example", &forged, (Fail, Wish::Quarantine, false, false)),
        ("198.51.100.1", "x@evil.example", "From: x@example.com\r\n\r\n", (Fail, Wish::Reject, false, false)),
        // One author that is proved does not hide another that is not.
        (
            "198.51.100.1",
            "x@evil.example",
            "From: x@evil.example, y@example.com\r\n\r\n",
            (Fail, Wish::Reject, false, false),
        ),
        (
            "198.51.100.1",
            "x@evil.example",
            "From: x@evil.example\r\nFrom: y@example.com\r\n\r\n",
            (Fail, Wish::Reject, false, false),
        ),
        (
            "198.51.100.1",
            "x@evil.example",
            "From: x@nothing.example\r\n\r\n",
            (Nothing, Wish::None, false, false),
        ),
        // Nor does one that nobody can ask about, one more than is asked about, or what somebody else reads as one.
        (
            "198.51.100.1",
            "x@evil.example",
            "From: x@evil.example, y@-bad-.example\r\n\r\n",
            (PermError, Wish::Reject, false, false),
        ),
        (
            "198.51.100.1",
            "x@evil.example",
            "From: x@evil.example: y@example.com;\r\n\r\n",
            (PermError, Wish::Reject, false, false),
        ),
        (
            "198.51.100.1",
            "x@evil.example",
            "From: <y@example.com>, <x@>\r\n\r\n",
            (Fail, Wish::Reject, false, false),
        ),
        (
            "198.51.100.1",
            "x@evil.example",
            "From: y@example.com.\r\n\r\n",
            (Fail, Wish::Reject, false, false),
        ),
        ("198.51.100.1", "x@evil.example", &many, (PermError, Wish::Reject, false, false)),
        ("198.51.100.1", "x@evil.example", &overlong, (PermError, Wish::Reject, false, false)),
        ("198.51.100.1", "x@evil.example", "Subject: x\r\n\r\n", (PermError, Wish::None, false, false)),
        ("198.51.100.1", "x@evil.example", "From: nobody\r\n\r\n", (PermError, Wish::None, false, false)),
    ] {
        assert_eq!(told(client, sender, message), expected, "{client} {sender} {message}");
    }
    let field = findings(&zone, "198.51.100.1", "joe@football.example.com", &signed).field("mx.example");
    assert_eq!(
        field,
        "Authentication-Results: mx.example;\r\n\tspf=fail smtp.mailfrom=joe@football.example.com;\r\n\t\
         dkim=pass header.d=football.example.com header.s=brisbane header.b=\"/gCrinpc\";\r\n\t\
         dkim=pass header.d=football.example.com header.s=test header.b=F45dVWDf;\r\n\t\
         dmarc=pass header.from=football.example.com policy.dmarc=reject\r\n"
    );
}

/// Made with dkimpy 1.1.8: a message of RFC 8463 that two servers sealed, the second after adding a field.
const SEALED: &str = include_str!("tests/sealed.eml");

#[test]
fn chains_of_seals() {
    let sealed = SEALED.replace("\r\n", "\n").replace('\n', "\r\n");
    let zone = CannedAnswers::default().txt("test._domainkey.football.example.com", RSA);
    let told = |message: &str| {
        let found = ready(arc::verify(&zone, &examined(message, 100), 1_600_000_000));
        (found.result, found.seals, found.reason)
    };
    assert_eq!(told(&sealed), (ArcResult::Pass, 2, String::new()));
    assert_eq!(told(PLAIN).0, ArcResult::None);
    for (from, to, why) in [
        ("We lost", "We won", "the body was changed"),
        ("Is dinner", "Is lunch", "the signature does not match"),
        ("i=1; first.example;", "i=1; forged.example;", "a seal does not match"),
        ("ARC-Seal: i=2;", "X-Seal: i=2;", "the chain has holes"),
        ("ARC-Seal: i=2;", "ARC-Seal: i=51;", "a field of the chain has no number"),
        ("cv=pass", "cv=fail", "a server on the way found the chain broken"),
    ] {
        let changed = sealed.replacen(from, to, 1);
        assert_ne!(changed, sealed, "{from}");
        let (result, _, reason) = told(&changed);
        assert_eq!((result, &*reason), (ArcResult::Fail, why), "{to}");
    }
}
