//! relay-policy: what strangers write into messages and name servers, and what administrators write into files.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use mailwright_mail_model::{Address, DateTime, mime};
use mailwright_mailstore::{EntryName, Identifier, Rights};
use mailwright_relay_policy::{
    alias_file,
    authentication::{
        Examined, Examiner, Origin, arc, check,
        dkim::{self, PublicKey},
        dmarc, spf,
    },
    delivery::{Action, Diagnosis, Report, ReportedRecipient, Verp},
    directory::Target,
    dns::CannedAnswers,
    networks::AddressRange,
    route::NextHop,
    srs::{Srs, SrsError},
};

/// What is ready at once, as canned answers are.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("canned answers never wait"),
    }
}

fn examined(message: &[u8], split: usize) -> Examined {
    let mut examiner = Examiner::new().for_signing();
    message.chunks(split).for_each(|part| examiner.push(part));
    examiner.finish()
}

/// A message and the records of the domains in it: `name text` a line up to an empty line, then the message. Any split gives the
/// same, nothing takes long, and what is found ends no field.
pub fn policy_authentication(data: &[u8]) {
    let Some((split, data)) = data.split_first() else { return };
    let end = data.windows(2).position(|two| two == b"\n\n").map_or(0, |at| at + 2);
    let (records, message) = data.split_at(end);
    let records = String::from_utf8_lossy(records);
    let lines = records.lines().filter_map(|line| line.split_once(' '));
    let zone =
        lines.take(20).fold(CannedAnswers::default(), |zone, (name, text)| match text.split_once(' ') {
            Some(("A", address)) => zone.a(name, address),
            Some(("MX", host)) => zone.mx(name, 10, host),
            _ => zone.txt(name, text),
        });
    let whole = examined(message, usize::MAX);
    assert_eq!(whole, examined(message, 1 + usize::from(*split)), "the split of the input matters");
    let sender = whole.author_domains().and_then(|domains| domains.into_iter().next());
    let sender = sender.map_or(String::new(), |domain| format!("a@{domain}"));
    let origin = Origin::new("192.0.2.7".parse().unwrap(), "mx.a.example", &sender);
    let findings = ready(check(&zone, &origin, &whole, 1_700_000_000));
    let field = findings.field("mx.example");
    let body = field.strip_suffix("\r\n").expect("a field ends with CRLF").replace("\r\n\t", " ");
    assert!(!body.contains(['\r', '\n', '\0']), "{field:?}");
    assert!(findings.dkim.len() <= 8 && findings.arc.seals <= 50);
    // What is taken for ours is, and what stands in front of a message stays within it.
    let (domains, octets) = whole.topmost_signatures(|domain| domain.ends_with(".example"));
    assert!(octets <= message.len() && domains.iter().all(|domain| domain.ends_with(".example")));
    let sealed = arc::verify(&zone, &whole, 1_700_000_000);
    assert_eq!(ready(sealed), findings.arc);
}

/// Records: they are read or not, in whatever way they are written.
pub fn policy_records(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = spf::Record::parse(&text);
    let _ = PublicKey::parse(&text);
    let _ = dkim::Signature::parse(data);
    if let Ok(record) = dmarc::Record::parse(&text) {
        assert!(record.reports.iter().all(|address| address.parse::<Address>().is_ok()));
    }
}

/// What names hosts, networks and targets: what is read is written so that the same is read again.
pub fn policy_names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(hop) = text.parse::<NextHop>() {
        assert_eq!(hop.to_string().parse(), Ok(hop));
    }
    if let Ok(range) = text.parse::<AddressRange>() {
        assert_eq!(range.to_string().parse(), Ok(range));
    }
    if let Ok(target) = text.parse::<Target>() {
        assert_eq!(target.to_string().parse(), Ok(target));
    }
}

/// What lists of rights and annotations are made of (RFC 4314, RFC 5464).
pub fn store_names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(rights) = text.parse::<Rights>() {
        assert_eq!(rights.to_string().parse::<Rights>().ok(), Some(rights));
    }
    if let Ok(identifier) = text.parse::<Identifier>() {
        assert_eq!(identifier.to_string().parse::<Identifier>().ok(), Some(identifier));
    }
    if let Ok(name) = text.parse::<EntryName>() {
        assert_eq!(name.to_string().parse::<EntryName>().ok(), Some(name));
    }
}

/// Files of aliases and forwards.
pub fn policy_aliases(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let domain = "a.example".parse().unwrap();
    if let Ok(file) = alias_file::aliases(&text, &domain) {
        for line in file.aliases {
            assert!(!line.name.is_empty() && !line.targets.is_empty());
        }
        assert!(file.repeated.iter().all(|repeated| repeated.first < repeated.line));
    }
    if let Ok(targets) = alias_file::forwards(&text, &domain) {
        assert!(targets.len() <= text.len());
    }
}

/// Senders that forwarders rewrite, and those that name a recipient: nothing forged comes back, and what was rewritten does.
pub fn policy_senders(data: &[u8]) {
    let Ok(address) = Address::parse(data) else { return };
    let srs = Srs::new(b"secret");
    let ours = "fwd.example".parse().unwrap();
    match srs.reverse(&address, 20_000) {
        Err(SrsError::NotSrs | SrsError::Forged) => {}
        other => panic!("nobody knows the secret: {other:?}"),
    }
    if let Ok(rewritten) = srs.forward(&address, &ours, 20_000) {
        assert!(Srs::is_rewritten(&rewritten) && rewritten.domain().key() == "fwd.example");
        let back = srs.reverse(&rewritten, 20_001);
        assert!(!matches!(back, Err(SrsError::Forged | SrsError::NotSrs | SrsError::Expired)), "{back:?}");
    }
    let verp = Verp::default();
    let _ = verp.decode(&address);
    let list: Address = "list@a.example".parse().unwrap();
    if let Ok(sender) = verp.encode(&list, &address) {
        assert!(verp.decode(&sender).is_some_and(|(from, _)| from == list));
    }
}

/// Reports about whatever was said: three parts, of which a MIME parser finds all.
pub fn policy_report(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let said = format!("550 5.1.1 {}\r\n", text.split(['\r', '\n']).next().unwrap_or_default());
    let Ok(reply) = mailwright_smtp_proto::Reply::parse(said.as_bytes()) else { return };
    let (to, now) = ("ann@a.example".parse().unwrap(), DateTime::new(1_700_000_000, 0).unwrap());
    let mut report = Report::new(Action::Failed, "mx.a.example".into(), to, now, now);
    report.unique = "unique".into();
    report.envelope_id = Some(text.clone().into_owned());
    let mut recipient =
        ReportedRecipient::new("bob@b.example".parse().unwrap(), Diagnosis::said("mx.b.example", &reply));
    recipient.original = Some(format!("rfc822;{text}"));
    report.recipients = vec![recipient];
    let message = format!("{}Subject: x\r\n{}", report.head(), report.tail());
    let structure = mime::Structure::of(message.as_bytes());
    assert_eq!(structure.children(0).count(), 3, "{message:?}");
    for line in message.split("\r\n") {
        assert!(!line.contains(['\r', '\n']), "{line:?}");
    }
}
