//! What is believed of others, and what is signed in our name, over canned answers.

use mailwright_relay_policy::{authentication::dkim::SigningKey, dns::CannedAnswers};

use super::*;

fn signer(domain: &str) -> Arc<Signer> {
    let secret = [&[0x30, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32][..], &[7; 32]].concat();
    Arc::new(Signer::new(domain, "s", SigningKey::from_pkcs8(&secret).unwrap()))
}

fn zone() -> CannedAnswers {
    let record = signer("any.example").key.record();
    let zone = CannedAnswers::default().txt("_dmarc.victim.example", "v=DMARC1; p=reject");
    let zone = zone.txt("_dmarc.ours.example", "v=DMARC1; p=reject");
    zone.txt("s._domainkey.list.example", &record).txt("s._domainkey.forward.example", &record)
}

fn examined(message: &str) -> Examined {
    let mut examiner = Examiner::new().for_signing();
    examiner.push(message.as_bytes());
    examiner.finish()
}

fn origin() -> Origin {
    Origin::new("192.0.2.1".parse().unwrap(), "client.example", "x@client.example")
}

/// The message as that server passes it on, which says that it found this.
async fn sealed(domain: &str, results: &str, message: &str) -> String {
    let examined = examined(message);
    let found = check(&zone(), &origin(), &examined, seconds()).await.arc;
    let mut there = Authentication::new(AnyResolver::new(zone()), domain);
    there = there.with_signers(|domain| vec![signer(domain)]);
    let results = format!("Authentication-Results: mx.{domain}; {results}\r\n");
    there.sealed(domain, &examined, &results, &found) + message
}

/// What is done with it where the seals of these are believed.
async fn done(trusted: &[&str], message: &str) -> Wish {
    let mut authentication = Authentication::new(AnyResolver::new(zone()), "mx.ours.example");
    authentication.trusted_sealers = trusted.iter().map(|domain| (*domain).to_owned()).collect();
    let findings = check(&zone(), &origin(), &examined(message), seconds()).await;
    assert_eq!(findings.arc.result, ArcResult::Pass, "{}", findings.arc.reason);
    authentication.decide(&findings)
}

const MESSAGE: &str = "From: ceo@victim.example\r\nSubject: x\r\n\r\nplease pay\r\n";

// RFC 8617 §7.2.1
#[tokio::test]
async fn a_sealer_is_believed_in_what_it_says() {
    let (list, both) = (&["list.example"][..], &["list.example", "forward.example"][..]);
    for (results, expected) in [
        ("dmarc=fail header.from=victim.example", Wish::Reject),
        ("dmarc=pass header.from=other.example", Wish::Reject),
        ("dmarc=pass header.from=victim.example", Wish::None),
        ("dkim=pass header.d=mail.victim.example", Wish::None),
    ] {
        let once = sealed("list.example", results, MESSAGE).await;
        assert_eq!(done(list, &once).await, expected, "{results}");
        assert_eq!(done(&[], &once).await, Wish::Reject, "{results}: a stranger says so");
        // What it passed on to somebody who is believed as well is as good as before.
        let twice = sealed("forward.example", "dmarc=fail header.from=victim.example", &once).await;
        assert_eq!(done(both, &twice).await, expected, "{results}");
        assert_eq!(done(list, &twice).await, Wish::Reject, "{results}: behind a stranger");
    }
}

#[tokio::test]
async fn nobody_is_signed_for_as_an_author_who_is_not() {
    let ours = ["ours.example".to_owned(), "mail.ours.example".to_owned()];
    let domains = ours.clone();
    let authentication =
        Authentication::new(AnyResolver::new(zone()), "mx.ours.example").with_signers(move |domain| {
            domains.iter().filter(|ours| *ours == domain).map(|domain| signer(domain)).collect()
        });
    let signs = async |from: &str, domain: &str, speaks: bool| {
        let examined = examined(&format!("From: {from}\r\n\r\nHello\r\n"));
        let fields = authentication.vouched(vec![domain.to_owned()], &examined, speaks).await;
        fields.matches("DKIM-Signature:").count() == 1
    };
    for (from, expected) in [
        ("ann@elsewhere.example", true),
        ("root", true),
        ("ceo@ours.example", false),
        ("ceo@OURS.example.", false),
        ("ceo@hr.ours.example", false),
        ("ann@elsewhere.example, ceo@ours.example", false),
        ("ann@elsewhere.example, ceo@-bad-.example", false),
    ] {
        for domain in &ours {
            assert_eq!(signs(from, domain, false).await, expected, "{from} by {domain}");
        }
    }
    assert!(signs("ceo@ours.example", "ours.example", true).await);
    // The next one that may, if there is one.
    let forged = examined("From: ceo@ours.example\r\n\r\nHello\r\n");
    assert_eq!(authentication.vouched(ours.to_vec(), &forged, false).await, "");
}
