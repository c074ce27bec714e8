//! What is published of it.

use std::net::IpAddr;

use mailwright::{
    queue::FetchPolicy,
    relay_policy::{
        dns::{Answer, LookupError, RData, RecordType, Resolve, key, name},
        sts::StsPolicy,
    },
    resolve::Resolver,
};

use super::records::{Plan, Record};
use crate::{
    command::CommandError,
    config::Config,
    queue::{self, WebPolicies},
};

/// What was found where a record should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// The record.
    Right,
    /// Another one that may be as good.
    Other(String),
    /// Another one.
    Wrong(String),
    /// Nothing.
    Missing,
    /// Nobody can tell.
    Unknown(String),
}

impl State {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Right => "ok",
            Self::Other(_) => "other",
            Self::Wrong(_) => "wrong",
            Self::Missing => "missing",
            Self::Unknown(_) => "unknown",
        }
    }

    pub(super) fn found(&self) -> Option<&str> {
        match self {
            Self::Other(found) | Self::Wrong(found) | Self::Unknown(found) => Some(found),
            Self::Right | Self::Missing => None,
        }
    }

    pub(super) fn note(&self) -> String {
        self.found().map_or_else(String::new, |found| format!(": {found}"))
    }

    pub(super) fn is_wrong(&self) -> bool {
        !matches!(self, Self::Right | Self::Other(_))
    }
}

/// Something that is no record of the domain, and must be right all the same.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) value: String,
    pub(super) purpose: &'static str,
    pub(super) state: State,
}

/// Looks all of them up, and what is beside them: the names of our addresses, and the policy that is served.
pub(super) fn look_up(config: &Config, plan: &Plan) -> Result<(Vec<State>, Vec<Beside>), CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CommandError::Refused(error.to_string()))?;
    runtime.block_on(async {
        let resolver = queue::resolver(config).map_err(CommandError::Refused)?;
        let mut states = Vec::new();
        for record in &plan.records {
            states.push(state(&resolver, record).await);
        }
        let addresses = addresses(&resolver, &plan.hostname).await;
        if addresses.is_empty() {
            return Err(CommandError::Refused(format!(
                "{} has no address in the name system: it needs A or AAAA records",
                plan.hostname
            )));
        }
        let mut beside = Vec::new();
        // RFC 6761 §6.3: this machine's own network has the same name everywhere.
        for address in addresses.into_iter().filter(|address| !address.is_loopback()) {
            beside.push(Beside {
                name: reverse_name(address),
                kind: "PTR",
                value: format!("{}.", plan.hostname),
                purpose: "the name of our address, which many servers look up before they take mail",
                state: pointer(&resolver, address, &plan.hostname).await,
            });
        }
        beside.push(Beside {
            name: plan.policy_url.clone(),
            kind: "HTTPS",
            value: plan.policy.lines().collect::<Vec<_>>().join(" "),
            purpose: "the MTA-STS policy",
            state: policy(config, &resolver, plan).await,
        });
        Ok((states, beside))
    })
}

async fn addresses(resolver: &impl Resolve, host: &str) -> Vec<IpAddr> {
    let Ok(host) = name(host) else { return Vec::new() };
    let mut addresses = Vec::new();
    for kind in [RecordType::A, RecordType::AAAA] {
        if let Ok(answer) = resolver.lookup(&host, kind).await {
            addresses.extend(answer.addresses());
        }
    }
    addresses
}

/// Where the name of an address is (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let digits =
                address.octets().into_iter().rev().map(|octet| format!("{:x}.{:x}.", octet & 15, octet >> 4));
            format!("{}ip6.arpa", digits.collect::<String>())
        }
    }
}

/// Whether an address has the name that it is the address of.
async fn pointer(resolver: &impl Resolve, address: IpAddr, host: &str) -> State {
    let found = match name(&reverse_name(address)) {
        Ok(at) => resolver.lookup(&at, RecordType::PTR).await,
        Err(error) => Err(error),
    };
    let names: Vec<String> = match found {
        Ok(answer) => {
            let pointers = answer.records.iter().filter_map(|record| match &record.data {
                RData::PTR(pointer) => Some(key(&pointer.0)),
                _ => None,
            });
            pointers.collect()
        }
        Err(LookupError::NoName) => Vec::new(),
        Err(error) => return State::Unknown(error.to_string()),
    };
    if names.iter().any(|found| found.eq_ignore_ascii_case(host)) {
        State::Right
    } else if names.is_empty() {
        State::Missing
    } else {
        State::Wrong(names.join(", "))
    }
}

/// Whether the policy is served as others fetch it (RFC 8461 §3.3).
async fn policy(config: &Config, resolver: &Resolver, plan: &Plan) -> State {
    let Some(https) = queue::web(config, resolver) else {
        return State::Unknown("relay.trust names no authorities to know the web server by".into());
    };
    let web = WebPolicies { https, port: config.relay.mta_sts_port };
    match web.fetch(&plan.domain).await {
        Ok(text) => match StsPolicy::parse(&text) {
            Ok(found) if StsPolicy::parse(plan.policy.text().as_bytes()).is_ok_and(|ours| ours == found) => {
                State::Right
            }
            // A longer life, or other hosts: the administrator knows.
            Ok(found) if found.allows(&plan.hostname) => State::Other(on_one_line(&found.to_string())),
            Ok(found) => State::Wrong(on_one_line(&found.to_string())),
            Err(error) => State::Wrong(error.to_string()),
        },
        Err(error) => State::Unknown(error.to_string()),
    }
}

fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn state(resolver: &impl Resolve, record: &Record) -> State {
    let kind = match record.kind {
        "MX" => RecordType::MX,
        "TLSA" => RecordType::TLSA,
        "SRV" => RecordType::SRV,
        _ => RecordType::TXT,
    };
    let found = match name(&record.name) {
        Ok(at) => resolver.lookup(&at, kind).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(answer) => compare(record, &answer),
        Err(LookupError::NoName) => compare(record, &Answer::default()),
        Err(error) => State::Unknown(error.to_string()),
    }
}

fn compare(record: &Record, answer: &Answer) -> State {
    // Of texts at one name only those of the same purpose are compared.
    let purpose = |text: &str| text.split([';', ' ']).next().unwrap_or_default().to_owned();
    let mut values: Vec<String> = answer.records.iter().filter_map(shown).collect();
    if record.kind == "TXT" {
        values.retain(|value| purpose(value) == purpose(&record.value));
    }
    let dense = |text: &str| text.split_whitespace().collect::<String>().to_ascii_lowercase();
    let same = |value: &String| match record.kind {
        // White space is the publisher's affair, and keys have letters of both cases.
        "TXT" => value.split_whitespace().eq(record.value.split_whitespace()),
        _ => dense(value) == dense(&record.value),
    };
    if values.iter().any(same) {
        return State::Right;
    }
    // A service that is not there need not be denied.
    if values.is_empty() {
        return if record.value == "0 0 0 ." { State::Right } else { State::Missing };
    }
    let found = values.join(", ");
    if record.choice { State::Other(found) } else { State::Wrong(found) }
}

/// A record as the plan has it.
fn shown(record: &mailwright::relay_policy::dns::Record) -> Option<String> {
    match &record.data {
        RData::MX(mx) => Some(format!("{} {}.", mx.preference, key(&mx.exchange))),
        RData::SRV(srv) => {
            Some(format!("{} {} {} {}.", srv.priority, srv.weight, srv.port, key(&srv.target)))
        }
        RData::TLSA(tlsa) => {
            let (usage, selector) = (u8::from(tlsa.cert_usage), u8::from(tlsa.selector));
            let data: String = tlsa.cert_data.iter().map(|octet| format!("{octet:02x}")).collect();
            Some(format!("{usage} {selector} {} {data}", u8::from(tlsa.matching)))
        }
        RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mailwright::relay_policy::dns::CannedAnswers;

    use super::*;

    fn record(name: &str, kind: &'static str, value: &str, choice: bool) -> Record {
        Record { name: name.into(), kind, value: value.into(), purpose: "", choice }
    }

    #[test]
    fn addresses_have_names() {
        let at = |text: &str| reverse_name(text.parse().unwrap());
        assert_eq!(at("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        let six = format!("1.{}8.b.d.0.1.0.0.2.ip6.arpa", "0.".repeat(23));
        assert_eq!(at("2001:db8::1"), six);
    }

    #[test]
    fn right_other_wrong_and_missing() {
        let zone = CannedAnswers::default()
            .mx("a.example", 10, "mx.a.example")
            .mx("b.example", 20, "elsewhere.example")
            .txt("a.example", "v=spf1  mx -all")
            .txt("a.example", "something-else=1")
            .txt("b.example", "v=spf1 include:c.example -all")
            .txt("c.example", "something-else=1")
            .txt("k._domainkey.a.example", "v=DKIM1; k=rsa; p=AAAA")
            .txt("k._domainkey.b.example", "v=DKIM1; k=rsa; p=BBBB")
            .failure("d.example", RecordType::MX, LookupError::Temporary("SERVFAIL".into()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (name, kind, value, choice, expected) in [
            ("a.example", "MX", "10 mx.A.example.", false, "ok"),
            ("b.example", "MX", "10 mx.b.example.", false, "wrong"),
            ("c.example", "MX", "10 mx.c.example.", false, "missing"),
            ("d.example", "MX", "10 mx.d.example.", false, "unknown"),
            ("e.example", "MX", "10 mx.e.example.", false, "missing"),
            ("a.example", "TXT", "v=spf1 mx -all", true, "ok"),
            ("b.example", "TXT", "v=spf1 mx -all", true, "other"),
            ("c.example", "TXT", "v=spf1 mx -all", true, "missing"),
            ("k._domainkey.a.example", "TXT", "v=DKIM1; k=rsa; p=AAAA", false, "ok"),
            ("k._domainkey.b.example", "TXT", "v=DKIM1; k=rsa; p=AAAA", false, "wrong"),
            ("_pop3._tcp.a.example", "SRV", "0 0 0 .", false, "ok"),
            ("_imap._tcp.a.example", "SRV", "0 1 143 mx.a.example.", false, "missing"),
        ] {
            let found = runtime.block_on(state(&zone, &record(name, kind, value, choice)));
            assert_eq!(found.word(), expected, "{name} {kind}: {found:?}");
        }
    }
}
