//! Names that must exist: the one of the greeting, and the sender's domain.
//!
//! All of these refuse recipients rather than the sender, so that mail about trouble comes through: RFC 5321 §4.5.1 exempts postmaster, and
//! whoever is refused by mistake must have somebody to tell.

use std::fmt;

use mailwright_smtp_proto::{Mail, Rcpt, Reply};

use super::{client, is_for_trouble, sender};
use crate::{
    Policy, Session, Verdict,
    authentication::{
        Origin,
        spf::{self, SpfResult},
    },
    dns::{LookupError, RecordType, Resolve, key, name},
};

/// Whether there is a host or a mail domain of a name.
enum Existence {
    Yes,
    No,
    /// RFC 7505: it takes no mail, and so sends none.
    Silent,
    Unknown,
}

async fn existence<R: Resolve>(resolver: &R, domain: &str) -> Existence {
    let Ok(at) = name(domain) else { return Existence::No };
    let mut unknown = false;
    for kind in [RecordType::MX, RecordType::A, RecordType::AAAA] {
        match resolver.lookup(&at, kind).await {
            Ok(answer) if kind == RecordType::MX => match answer.exchangers().next() {
                Some((_, host)) if key(host).is_empty() => return Existence::Silent,
                Some(_) => return Existence::Yes,
                None => {}
            },
            Ok(answer) if answer.addresses().next().is_some() => return Existence::Yes,
            Ok(_) => {}
            Err(LookupError::NoName | LookupError::NotAName(_)) => return Existence::No,
            Err(_) => unknown = true,
        }
    }
    if unknown { Existence::Unknown } else { Existence::No }
}

/// Refuses clients that say hello by a name that nobody has. An address literal passes: RFC 5321 §4.1.4.
pub struct HelloExists<R>(R);

impl<R: Resolve> HelloExists<R> {
    /// Over this resolver.
    pub fn new(resolver: R) -> Self {
        Self(resolver)
    }
}

impl<R: Resolve> Policy for HelloExists<R> {
    fn name(&self) -> &str {
        "hello-exists"
    }

    // Not at EHLO: clients that will log in call themselves anything.
    async fn rcpt(&self, session: &Session, rcpt: &Rcpt) -> Verdict {
        let Some(hello) = session.hello.as_ref().filter(|_| judged(session, rcpt).is_some()) else {
            return Verdict::Pass;
        };
        let hello = hello.name.as_str();
        if hello.starts_with('[') {
            return Verdict::Pass;
        }
        match existence(&self.0, hello).await {
            Existence::Yes | Existence::Silent => Verdict::Pass,
            Existence::No => Verdict::Reject(Reply::permanent(
                (7, 1),
                format!("There is no host {}; say your own name", shown(hello)),
            )),
            Existence::Unknown => Verdict::Reject(Reply::transient(
                (7, 1),
                format!("The name {} cannot be looked up now", shown(hello)),
            )),
        }
    }
}

/// Refuses senders in domains that could not be answered.
pub struct SenderExists<R>(R);

impl<R: Resolve> SenderExists<R> {
    /// Over this resolver.
    pub fn new(resolver: R) -> Self {
        Self(resolver)
    }
}

impl<R: Resolve> Policy for SenderExists<R> {
    fn name(&self) -> &str {
        "sender-exists"
    }

    async fn rcpt(&self, session: &Session, rcpt: &Rcpt) -> Verdict {
        let Some(address) = judged(session, rcpt).and_then(|mail| mail.from.address()) else {
            return Verdict::Pass;
        };
        let domain = address.domain().key();
        if domain.starts_with('[') {
            return Verdict::Pass;
        }
        match existence(&self.0, domain).await {
            Existence::Yes => Verdict::Pass,
            // RFC 7372 §3.3 and RFC 7505 §4.2
            Existence::Silent => Verdict::Reject(Reply::permanent(
                (7, 27),
                format!("The sender's domain {domain} takes no mail"),
            )),
            Existence::No => Verdict::Reject(Reply::permanent(
                (1, 8),
                format!("The sender's domain {domain} does not exist"),
            )),
            Existence::Unknown => Verdict::Reject(Reply::transient(
                (1, 8),
                format!("The sender's domain {domain} cannot be looked up now"),
            )),
        }
    }
}

/// Refuses clients that the sender's domain does not let send for it, whatever DMARC would say.
pub struct SpfRefuses<R> {
    resolver: R,
    receiver: String,
}

impl<R: Resolve> SpfRefuses<R> {
    /// Over this resolver, for the server of this name.
    pub fn new(resolver: R, receiver: impl Into<String>) -> Self {
        Self { resolver, receiver: receiver.into() }
    }
}

impl<R: Resolve> Policy for SpfRefuses<R> {
    fn name(&self) -> &str {
        "spf"
    }

    async fn rcpt(&self, session: &Session, rcpt: &Rcpt) -> Verdict {
        let Some(address) = client(session).filter(|address| !address.is_loopback()) else {
            return Verdict::Pass;
        };
        if judged(session, rcpt).is_none() {
            return Verdict::Pass;
        }
        let hello = session.hello.as_ref().map_or("", |hello| hello.name.as_str());
        let origin = Origin::new(address, hello, &sender(session)).received_by(&self.receiver);
        let found = spf::check(&self.resolver, &origin).await;
        match found.result {
            SpfResult::Fail => {
                let why = found.explanation.map(|words| format!(": {words}")).unwrap_or_default();
                let text = format!("{} does not let {address} send for it{why}", shown(&found.domain));
                // RFC 7372 §3.2
                Verdict::Reject(Reply::permanent((7, 23), text))
            }
            _ => Verdict::Pass,
        }
    }
}

/// The message that is under way, unless it has no sender or this recipient can always be written to. RFC 5321 §4.5.5: reports about mail
/// come without a sender, and whoever refuses them does not hear of what became of their own.
fn judged<'a>(session: &'a Session, rcpt: &Rcpt) -> Option<&'a Mail> {
    session.mail.as_ref().filter(|mail| mail.from.address().is_some() && !is_for_trouble(rcpt))
}

/// A peer's words, as they can stand in a reply.
fn shown(text: &str) -> String {
    text.chars().filter(|letter| letter.is_ascii_graphic()).take(100).collect()
}

impl<R> fmt::Debug for HelloExists<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HelloExists")
    }
}

impl<R> fmt::Debug for SenderExists<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SenderExists")
    }
}

impl<R> fmt::Debug for SpfRefuses<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SpfRefuses")
    }
}
