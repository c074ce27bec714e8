//! Finding out where messages come from, and signing those that come from here.

use std::{collections::HashSet, fmt, net::IpAddr, sync::Arc, time::Duration};

use mailwright_mail_model::Address;
use mailwright_relay_policy::{
    Session as Conversation,
    authentication::{
        Examined, Examiner, Findings, Origin,
        arc::{ArcResult, ArcSet},
        check, check_apart,
        dkim::Signer,
        dmarc::{DmarcResult, Wish},
    },
    dns::AnyResolver,
    rules::is_for_trouble,
};
use mailwright_smtp_proto::{HelloKind, Message, Reply};

use super::{patient::Patient, trace_fields::now};
use crate::service::shown;

mod signing;
#[cfg(test)]
mod tests;

/// Verifies SPF, DKIM, ARC and DMARC of what comes from outside, tells of it in the field Authentication-Results (RFC 8601), does
/// what the author's domain wants done, signs what comes from here, and seals what is sent on.
#[derive(Clone)]
#[non_exhaustive]
pub struct Authentication {
    resolver: AnyResolver,
    hostname: String,
    /// Whether anything is verified.
    pub verify: bool,
    /// What is done at most where DMARC fails and the domain wishes it.
    pub at_most: Wish,
    /// Domains of authors for whom nothing is done, in lower case.
    pub exceptions: HashSet<String>,
    /// Domains whose seals are believed: what they passed on is not refused if they say that its author was proved to them (RFC 8617
    /// §7.2.1). In lower case.
    pub trusted_sealers: HashSet<String>,
    /// Whether what comes from outside and goes on is sealed (RFC 8617), if the domain that sends it on has a key.
    pub seal: bool,
    /// How long the questions of each of SPF, DKIM, ARC and DMARC may take. RFC 7208 §4.6.4: 20 seconds at least.
    pub patience: Duration,
    trusts: Arc<dyn Fn(&Conversation) -> bool + Send + Sync>,
    signers: Arc<Signers>,
    /// Whom users may write as.
    speaks_for: Arc<SpeaksFor>,
    observer: Arc<dyn Fn(&Observation<'_>) + Send + Sync>,
}

/// The keys of a domain.
type Signers = dyn Fn(&str) -> Vec<Arc<Signer>> + Send + Sync;

/// Whether a session's user may write as an address.
type SpeaksFor = dyn Fn(&Conversation, &Address) -> bool + Send + Sync;

/// A message that was judged, for those who keep count.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Observation<'a> {
    /// The client.
    pub client: IpAddr,
    /// The envelope's sender.
    pub sender: Option<&'a Address>,
    /// What was found out.
    pub findings: &'a Findings,
    /// What was done.
    pub done: Wish,
    /// Whether it was let by for the word of a server that passed it on.
    pub vouched: bool,
}

impl<'a> Observation<'a> {
    /// Of a message from this client and sender.
    pub const fn new(
        client: IpAddr,
        sender: Option<&'a Address>,
        findings: &'a Findings,
        done: Wish,
    ) -> Self {
        Self { client, sender, findings, done, vouched: false }
    }
}

/// What follows for a message.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Fields to be put in front of it.
    pub(super) fields: String,
    /// Whether it is suspicious.
    pub(super) quarantine: bool,
}

impl Authentication {
    /// Verifies over what `resolver` says and writes in the name of `hostname`. Nobody is trusted, and nothing signed.
    pub fn new(resolver: AnyResolver, hostname: impl Into<String>) -> Self {
        Self {
            resolver,
            hostname: hostname.into(),
            verify: true,
            at_most: Wish::Reject,
            exceptions: HashSet::new(),
            trusted_sealers: HashSet::new(),
            seal: true,
            patience: Duration::from_secs(20),
            trusts: Arc::new(|session| session.user.is_some()),
            signers: Arc::new(|_| Vec::new()),
            speaks_for: Arc::new(|session, address| {
                let itself = session.user.as_ref().and_then(|user| user.parse::<Address>().ok());
                let sender = session.mail.as_ref().and_then(|mail| mail.from.address());
                itself.as_ref() == Some(address) || sender == Some(address)
            }),
            observer: Arc::new(|_| {}),
        }
    }

    /// The same, where these clients are ours: what they send is not verified, but signed.
    #[must_use]
    pub fn trusting(mut self, trusts: impl Fn(&Conversation) -> bool + Send + Sync + 'static) -> Self {
        self.trusts = Arc::new(trusts);
        self
    }

    /// The same, with the keys of a domain of ours.
    #[must_use]
    pub fn with_signers(
        mut self,
        signers: impl Fn(&str) -> Vec<Arc<Signer>> + Send + Sync + 'static,
    ) -> Self {
        self.signers = Arc::new(signers);
        self
    }

    /// The same, where users who have logged in may write as these: nobody else's domain signs what they send. By default that is the
    /// account's own name and the sender of the envelope, which a [`Policy`](mailwright_relay_policy::Policy) is to look at.
    #[must_use]
    pub fn with_writers(
        mut self,
        speaks_for: impl Fn(&Conversation, &Address) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.speaks_for = Arc::new(speaks_for);
        self
    }

    /// The same, telling of each message that was judged.
    #[must_use]
    pub fn observed(mut self, observer: impl Fn(&Observation<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// What looks at a message of this session while it comes in; `None` if nothing is to be found out about it. It is sent on by
    /// the domain `forwarder`, if one does that.
    pub(super) fn examiner(
        &self,
        session: &Conversation,
        message: &Message,
        forwarder: Option<&str>,
    ) -> Option<Examiner> {
        let lmtp = session.hello.as_ref().is_some_and(|hello| hello.kind == HelloKind::Lhlo);
        if lmtp {
            // LMTP is for servers of ours, which have judged and signed already.
            return None;
        }
        let ours = (self.trusts)(session);
        let known = if ours { self.senders(session, message) } else { Vec::new() };
        let known: Vec<String> = known.into_iter().chain(forwarder.map(str::to_owned)).collect();
        let signers = Arc::clone(&self.signers);
        let examiner = Examiner::new().for_signing_if(move |examined| {
            let signs = |domain: &String| !signers(domain).is_empty();
            // Whether that one may be written as is looked at when it comes to signing.
            let author = || examined.author_domains().and_then(|domains| domains.into_iter().next());
            known.iter().any(signs) || (ours && author().is_some_and(|author| signs(&author)))
        });
        let judged = !ours && self.judges(session).is_some();
        Some(if judged { examiner } else { examiner.without_verifying() })
    }

    /// The domain of the author, if the client may write as whoever it says it is from: a signature is the domain's word for it (RFC
    /// 6376 §1.1), and a user has no right to that of others. Who is trusted without a login is trusted with all of them.
    fn author(&self, session: &Conversation, examined: &Examined) -> Option<String> {
        let may = self.speaks_for_authors(session, examined);
        examined.author_domains()?.into_iter().next().filter(|_| may)
    }

    /// Whether the client may write as whoever the message says it is from.
    fn speaks_for_authors(&self, session: &Conversation, examined: &Examined) -> bool {
        let speaks_for = |writer: &Address| (self.speaks_for)(session, writer);
        let writers = || examined.writers();
        session.user.is_none() || writers().is_some_and(|writers| writers.iter().all(speaks_for))
    }

    /// The domains of the envelope's sender, if the client may write as that, and of the user who has logged in.
    fn senders(&self, session: &Conversation, message: &Message) -> Vec<String> {
        let may = |sender: &&Address| session.user.is_none() || (self.speaks_for)(session, sender);
        let domain = |address: &Address| address.domain().key().to_owned();
        let user = || session.user.as_ref().and_then(|user| user.parse::<Address>().ok());
        let sender = message.mail.from.address().filter(may).map(domain);
        sender.into_iter().chain(user().as_ref().map(domain)).collect()
    }

    /// The client, if what it sends is verified. What runs on this machine has no address that says anything, and a host that was asked
    /// for mail has not that of who sent it.
    fn judges(&self, session: &Conversation) -> Option<IpAddr> {
        let remote = session.peer.remote.map(|remote| remote.ip().to_canonical());
        remote.filter(|client| self.verify && !session.fetched && !client.is_loopback())
    }

    /// Judges a message, and signs it as it is `kept` if it is ours, or if it is sent on for `forwarder`, a domain of ours.
    ///
    /// # Errors
    /// What the client is told, if the message is refused.
    pub(super) async fn judge(
        &self,
        session: &Conversation,
        message: &Message,
        examined: &Examined,
        kept: &Examined,
        forwarder: Option<&str>,
    ) -> Result<Judged, Reply> {
        let sender = message.mail.from.address();
        if (self.trusts)(session) {
            let author = self.author(session, examined);
            let senders = self.senders(session, message);
            let domains = author.into_iter().chain(senders).chain(forwarder.map(str::to_owned)).collect();
            let speaks = self.speaks_for_authors(session, examined);
            let fields = self.vouched(domains, kept, speaks).await;
            return Ok(Judged { fields, quarantine: false });
        }
        let mut judged = Judged::default();
        if let Some(client) = self.judges(session) {
            let helo = session.hello.as_ref().map_or("", |hello| hello.name.as_str());
            let from = sender.map_or("", Address::as_str);
            let origin = Origin::new(client, helo, from).received_by(&self.hostname);
            let patient = || Patient::new(&self.resolver, self.patience);
            let (spf, dkim, seals, dmarc) = (patient(), patient(), patient(), patient());
            let findings = check_apart([&spf, &dkim, &seals, &dmarc], &origin, examined, seconds()).await;
            judged.fields = findings.field(&self.hostname);
            // Who wants to tell of trouble with just this must get through.
            let spared = message.recipients.iter().all(is_for_trouble);
            let done = self.decide(&findings).min(if spared { Wish::Quarantine } else { Wish::Reject });
            let excepted = self.exceptions.contains(&findings.dmarc.author.domain);
            let vouched = !excepted && self.is_vouched_for(&findings);
            (self.observer)(&Observation { client, sender, findings: &findings, done, vouched });
            judged.quarantine = done == Wish::Quarantine;
            if done != Wish::None {
                let (peer, domain) = (shown(&session.peer), &findings.dmarc.author.domain);
                tracing::info!(peer, domain, from, rule = "dmarc", done = done.as_str(), "not proved");
            }
            if done == Wish::Reject {
                return Err(refusal(&findings));
            }
            if !spared && self.puts_off(&findings) {
                let (peer, domain) = (shown(&session.peer), &findings.dmarc.author.domain);
                tracing::info!(peer, domain, from, rule = "dmarc", "cannot be proved now");
                return Err(Reply::transient(
                    (7, 1),
                    format!("Whether this is from {domain} cannot be told now: try again later"),
                ));
            }
            if let Some(forwarder) = forwarder {
                let seal = self.sealed(forwarder, kept, &judged.fields, &findings.arc);
                judged.fields.insert_str(0, &seal);
            }
        }
        // A genuine message of an author of ours is signed by us already.
        let domains = forwarder.map(str::to_owned).into_iter().collect();
        judged.fields.insert_str(0, &self.vouched(domains, kept, false).await);
        Ok(judged)
    }

    /// What would be found out about a message of this session without any signature, whose author is the sender, and what would
    /// be done; `None` if nothing is verified.
    pub async fn rehearse(&self, session: &Conversation) -> Option<(Findings, Wish)> {
        let client = session.peer.remote.map(|remote| remote.ip().to_canonical())?;
        if (self.trusts)(session) || !self.verify || client.is_loopback() {
            return None;
        }
        let origin = Origin::of(session)?.received_by(&self.hostname);
        let mut examiner = Examiner::new();
        examiner.push(format!("From: {}\r\n\r\n", origin.sender).as_bytes());
        let findings = check(&self.resolver, &origin, &examiner.finish(), seconds()).await;
        let done = self.decide(&findings);
        Some((findings, done))
    }

    /// What is done with a message of which this was found out.
    pub fn decide(&self, findings: &Findings) -> Wish {
        let dmarc = &findings.dmarc;
        let counts = matches!(dmarc.result, DmarcResult::Fail | DmarcResult::PermError);
        if !counts || self.excepts(findings) { Wish::None } else { dmarc.wish.min(self.at_most) }
    }

    /// Whether nobody can tell now if it is to be refused, and the client is told to come again: who would be let in then is whoever has
    /// broken names.
    pub fn puts_off(&self, findings: &Findings) -> bool {
        let dmarc = &findings.dmarc;
        let wished = dmarc.wish.min(self.at_most) == Wish::Reject;
        dmarc.result == DmarcResult::TempError && wished && !self.excepts(findings)
    }

    /// Whether the author's domain is excepted, or somebody passed it on whose word counts.
    fn excepts(&self, findings: &Findings) -> bool {
        self.exceptions.contains(&findings.dmarc.author.domain) || self.is_vouched_for(findings)
    }

    /// Whether a server that is believed says that the author was proved to it. What one behind it found is what it passed on, so that all
    /// of these are to be believed (RFC 8617 §7.2.1).
    fn is_vouched_for(&self, findings: &Findings) -> bool {
        let believed = |set: &&ArcSet| self.trusted_sealers.contains(&set.domain);
        let good = findings.arc.result == ArcResult::Pass;
        good && findings.arc.sets.iter().take_while(believed).any(|set| set.proved)
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authentication").field("hostname", &self.hostname).finish_non_exhaustive()
    }
}

/// RFC 7489 §10.3: 5.7.1, and why.
fn refusal(findings: &Findings) -> Reply {
    let domain = &findings.dmarc.author.domain;
    let why = if domain.is_empty() {
        "The From field cannot be read: it must name its authors by addresses and nothing else".to_owned()
    } else {
        format!("Refused by the DMARC policy of {domain}: neither SPF nor DKIM proves its author")
    };
    Reply::permanent((7, 1), why)
}

fn seconds() -> u64 {
    u64::try_from(now().seconds()).unwrap_or(0)
}
