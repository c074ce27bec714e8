//! The function `check_host` (RFC 7208 §4).

use std::{future::Future, net::IpAddr, pin::Pin};

use super::{
    super::Origin,
    Record, SpfResult,
    expand::{MacroText, Meaning, reverse_name},
    record::Mechanism,
};
use crate::{
    dns::{Answer, LookupError, RData, RecordType, Resolve, name},
    networks::AddressRange,
};

/// What ends an evaluation without a word of the domain.
enum Trouble {
    Temporary,
    Permanent,
}

/// RFC 7208 §4.6.4: so many terms may ask the domain name system, and so many of them in vain.
const MOST_LOOKUPS: u32 = 10;
const MOST_VOID: u32 = 2;
/// RFC 7208 §4.6.4: and so many hosts may be asked about for one of them.
const MOST_HOSTS: usize = 10;

pub(super) async fn check_host<R: Resolve>(
    resolve: &R,
    origin: &Origin,
    sender: &str,
    domain: &str,
) -> (SpfResult, Option<String>) {
    // RFC 7208 §4.3: a name of one label, an address literal.
    if name(domain).is_err() || !domain.contains('.') || domain.starts_with('[') {
        return (SpfResult::None, None);
    }
    let mut evaluation = Evaluation { resolve, origin, sender, lookups: 0, void: 0 };
    match evaluation.domain(domain, true).await {
        Ok(found) => found,
        Err(Trouble::Temporary) => (SpfResult::TempError, None),
        Err(Trouble::Permanent) => (SpfResult::PermError, None),
    }
}

struct Evaluation<'a, R> {
    resolve: &'a R,
    origin: &'a Origin,
    sender: &'a str,
    lookups: u32,
    void: u32,
}

type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Trouble>> + Send + 'a>>;

impl<R: Resolve> Evaluation<'_, R> {
    /// What a domain's record says. In a box, for a record leads to others, ten of them at most.
    fn domain<'s>(&'s mut self, domain: &'s str, explains: bool) -> Pending<'s, (SpfResult, Option<String>)> {
        Box::pin(async move {
            let Some(record) = self.record(domain).await? else { return Ok((SpfResult::None, None)) };
            for directive in &record.directives {
                if !self.matches(&directive.mechanism, domain).await? {
                    continue;
                }
                let asked =
                    record.explanation.as_ref().filter(|_| explains && directive.result == SpfResult::Fail);
                let explanation = match asked {
                    Some(place) => self.explain(place, domain).await,
                    None => None,
                };
                return Ok((directive.result, explanation));
            }
            let Some(redirect) = &record.redirect else { return Ok((SpfResult::Neutral, None)) };
            self.count()?;
            let target = self.expand(redirect, domain).await?;
            match self.domain(&target, explains).await? {
                // RFC 7208 §6.1
                (SpfResult::None, _) => Err(Trouble::Permanent),
                found => Ok(found),
            }
        })
    }

    /// The record of a domain, `None` if it has none.
    async fn record(&self, domain: &str) -> Result<Option<Record>, Trouble> {
        let Ok(at) = name(domain) else { return Ok(None) };
        let answer = match self.resolve.lookup(&at, RecordType::TXT).await {
            Ok(answer) => answer,
            Err(LookupError::NoName | LookupError::NotAName(_)) => return Ok(None),
            Err(_) => return Err(Trouble::Temporary),
        };
        let mut records = answer.texts().filter(|text| Record::is_meant(text));
        match (records.next(), records.next()) {
            (None, _) => Ok(None),
            (Some(text), None) => Record::parse(&text).map(Some).map_err(|_| Trouble::Permanent),
            // RFC 7208 §4.5
            _ => Err(Trouble::Permanent),
        }
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Trouble> {
        if !matches!(mechanism, Mechanism::All | Mechanism::Network(_)) {
            self.count()?;
        }
        let client = self.origin.client;
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Network(range) => Ok(range.contains(client)),
            Mechanism::Include(target) => {
                let target = self.expand(target, domain).await?;
                match self.domain(&target, false).await?.0 {
                    SpfResult::Pass => Ok(true),
                    // RFC 7208 §5.2
                    SpfResult::None => Err(Trouble::Permanent),
                    _ => Ok(false),
                }
            }
            Mechanism::Addresses { domain: target, v4, v6 } => {
                let target = self.target(target.as_ref(), domain).await?;
                let answer = self.ask(&target, self.family()).await?;
                Ok(answer.addresses().any(|address| covers(address, *v4, *v6, client)))
            }
            Mechanism::Exchangers { domain: target, v4, v6 } => {
                let target = self.target(target.as_ref(), domain).await?;
                let answer = self.ask(&target, RecordType::MX).await?;
                let hosts: Vec<String> = answer.exchangers().map(|(_, host)| host.to_ascii()).collect();
                // RFC 7208 §4.6.4
                if hosts.len() > MOST_HOSTS {
                    return Err(Trouble::Permanent);
                }
                for host in hosts {
                    let answer = self.quietly(&host, self.family()).await?;
                    if answer.addresses().any(|address| covers(address, *v4, *v6, client)) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Mechanism::Pointers(target) => {
                let target = self.target(target.as_ref(), domain).await?;
                Ok(self.names().await.iter().any(|name| is_within(name, &target)))
            }
            Mechanism::Exists(target) => {
                let target = self.expand(target, domain).await?;
                Ok(self.ask(&target, RecordType::A).await?.addresses().next().is_some())
            }
        }
    }

    /// The names of the client that lead back to it (RFC 7208 §5.5). Whatever goes wrong, there are fewer of them.
    async fn names(&self) -> Vec<String> {
        let Ok(at) = name(&reverse_name(self.origin.client)) else { return Vec::new() };
        let Ok(answer) = self.resolve.lookup(&at, RecordType::PTR).await else { return Vec::new() };
        let pointers = answer.records.iter().filter_map(|record| match &record.data {
            RData::PTR(pointer) => Some(pointer.0.to_lowercase().to_ascii().trim_end_matches('.').to_owned()),
            _ => None,
        });
        let pointers: Vec<String> = pointers.take(MOST_HOSTS).collect();
        let mut names = Vec::new();
        for pointer in pointers {
            let Ok(at) = name(&pointer) else { continue };
            let Ok(answer) = self.resolve.lookup(&at, self.family()).await else { continue };
            if answer.addresses().any(|address| address == self.origin.client) {
                names.push(pointer);
            }
        }
        names
    }

    async fn target(&self, text: Option<&MacroText>, domain: &str) -> Result<String, Trouble> {
        match text {
            Some(text) => self.expand(text, domain).await,
            None => Ok(domain.to_owned()),
        }
    }

    async fn expand(&self, text: &MacroText, domain: &str) -> Result<String, Trouble> {
        let name = self.verified_name(text, domain).await;
        Ok(text.domain(&self.meaning(domain, &name)))
    }

    /// What `%{p}` stands for (RFC 7208 §7.3).
    async fn verified_name(&self, text: &MacroText, domain: &str) -> String {
        if !text.needs_name() {
            return String::new();
        }
        let names = self.names().await;
        let best = names
            .iter()
            .find(|name| *name == domain)
            .or_else(|| names.iter().find(|name| is_within(name, domain)))
            .or_else(|| names.first());
        best.cloned().unwrap_or_else(|| "unknown".into())
    }

    fn meaning<'m>(&'m self, domain: &'m str, name: &'m str) -> Meaning<'m> {
        Meaning {
            sender: self.sender,
            domain,
            client: self.origin.client,
            helo: &self.origin.helo,
            receiver: &self.origin.receiver,
            name,
            now: 0,
        }
    }

    /// What the domain has to say (RFC 7208 §6.2). If anything is wrong with it, nothing.
    async fn explain(&self, place: &MacroText, domain: &str) -> Option<String> {
        let target = self.expand(place, domain).await.ok()?;
        let at = name(&target).ok()?;
        let answer = self.resolve.lookup(&at, RecordType::TXT).await.ok()?;
        let mut texts = answer.texts();
        let (text, None) = (texts.next()?, texts.next()) else { return None };
        let parsed = MacroText::parse(&text)?;
        let name = self.verified_name(&parsed, domain).await;
        let words = parsed.text(&self.meaning(domain, &name));
        Some(words.chars().filter(|letter| *letter == ' ' || letter.is_ascii_graphic()).take(300).collect())
    }

    /// Addresses of the client's family are all that could match.
    fn family(&self) -> RecordType {
        if self.origin.client.is_ipv4() { RecordType::A } else { RecordType::AAAA }
    }

    /// One more term that asks.
    fn count(&mut self) -> Result<(), Trouble> {
        self.lookups += 1;
        if self.lookups > MOST_LOOKUPS { Err(Trouble::Permanent) } else { Ok(()) }
    }

    /// An answer, empty ones counted.
    async fn ask(&mut self, at: &str, kind: RecordType) -> Result<Answer, Trouble> {
        let answer = self.quietly(at, kind).await?;
        if !answer.records.iter().any(|record| record.record_type() == kind) {
            self.void += 1;
            if self.void > MOST_VOID {
                return Err(Trouble::Permanent);
            }
        }
        Ok(answer)
    }

    async fn quietly(&self, at: &str, kind: RecordType) -> Result<Answer, Trouble> {
        // RFC 7208 §4.8: a name that cannot be asked about does not exist.
        let Ok(at) = name(at) else { return Ok(Answer::default()) };
        match self.resolve.lookup(&at, kind).await {
            Ok(answer) => Ok(answer),
            Err(LookupError::NoName | LookupError::NotAName(_)) => Ok(Answer::default()),
            Err(_) => Err(Trouble::Temporary),
        }
    }
}

fn covers(address: IpAddr, v4: u32, v6: u32, client: IpAddr) -> bool {
    let length = if address.is_ipv4() { v4 } else { v6 };
    AddressRange::network(address, length).contains(client)
}

/// Whether a name is a domain or below it.
fn is_within(name: &str, domain: &str) -> bool {
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    name.strip_suffix(&*domain).is_some_and(|above| above.is_empty() || above.ends_with('.'))
}
