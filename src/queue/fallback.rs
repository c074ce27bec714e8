//! The host that stands in where a destination cannot be reached from here, or does not want us.

use std::{net::IpAddr, sync::Arc};

use mailwright_mailstore::{QueueEntry, Store};
use mailwright_relay_policy::{dane::Dane, delivery::Diagnosis, dns::Resolve, route::NextHop, sts::StsMode};
use mailwright_smtp_proto::Reply;

use super::{Outcome, Queue, TlsLevel, attempt::Unreached, open::requires};
use crate::smtp::Addressing;

/// By which words a refusal tells of a list.
const WORDS: &[&str] = &[
    "dnsbl",
    "rbl",
    "blacklist",
    "black list",
    "blocklist",
    "block list",
    "blocked using",
    "blocked by",
    "listed",
    "spamhaus",
    "spamcop",
    "barracuda",
    "reputation",
];
/// And by which it tells of something else that is on one: the sender's address, names, links.
const OTHERS: &[&str] =
    &["sender address", "sender domain", "helo", "dbl.", "rhsbl", "uribl", "surbl", "url"];

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// The outcome of sending by the fallback in place of the mail exchangers, since lists have our address; `None` where those are to be
    /// tried: they have not said no yet.
    pub(super) async fn as_listed(
        &self,
        hop: &NextHop,
        entry: &Arc<QueueEntry>,
        places: &[usize],
    ) -> Option<Vec<Outcome>> {
        let lists = self.config.own_listings.as_ref()?;
        let direct = matches!(hop, NextHop::Exchangers { .. }) && !requires(entry);
        let fallback = self.config.fallback.as_ref().filter(|fallback| direct && *fallback != hop)?;
        if !self.may_stand_in(hop) {
            return None;
        }
        let listing = lists.listing().await?;
        if self.must_prove_itself(hop, entry).await {
            return None;
        }
        tracing::info!(id = entry.id, %fallback, %listing, "our address is on a list; sending by the fallback");
        match self.deliver_over(fallback, entry, places).await {
            Ok(outcomes) => Some(outcomes),
            Err(unreached) => {
                let reason = &unreached.diagnosis;
                tracing::info!(id = entry.id, %fallback, %reason, "the fallback cannot be reached");
                None
            }
        }
    }

    /// Whether a domain has published how its hosts are known (DANE, MTA-STS): then they are asked before another is. So they are if
    /// nobody can tell.
    async fn must_prove_itself(&self, hop: &NextHop, entry: &Arc<QueueEntry>) -> bool {
        let found = self.config.lookup.exchangers(&*self.resolver, hop, 0).await;
        let Ok(exchangers) = found else { return true };
        let destination = hop.destination();
        let terms = self.terms(hop, &destination, entry, &exchangers).await;
        if terms.sts.as_ref().is_some_and(|policy| policy.mode == StsMode::Enforce) && !terms.relaxed {
            return true;
        }
        for exchanger in &exchangers {
            let (dane, unfit) = self.dane(&terms, exchanger).await;
            if unfit.is_some() || !matches!(dane, Dane::Absent) {
                return true;
            }
        }
        false
    }

    /// The outcome of sending by a way; by way of the fallback, for those that the way itself did not work for through no fault of
    /// the message.
    pub(super) async fn or_fall_back(
        &self,
        hop: &NextHop,
        entry: &Arc<QueueEntry>,
        places: &[usize],
        outcome: Result<Vec<Outcome>, Unreached>,
    ) -> Result<Vec<Outcome>, Unreached> {
        let fallback = self.config.fallback.as_ref();
        let Some(fallback) = fallback.filter(|fallback| *fallback != hop && self.may_stand_in(hop)) else {
            return outcome;
        };
        let mut outcomes = match outcome {
            Ok(outcomes) => outcomes,
            Err(unreached) if stands_in(&unreached) => {
                tracing::info!(id = entry.id, %fallback, reason = %unreached.diagnosis, "falling back");
                return match self.deliver_over(fallback, entry, places).await {
                    // What the way itself failed by is what the sender can make something of, unless the fallback has said something.
                    Err(again) if !again.diagnosis.quoted => {
                        tracing::info!(id = entry.id, %fallback, reason = %again.diagnosis, "the fallback cannot be reached");
                        Err(unreached)
                    }
                    delivered => delivered,
                };
            }
            Err(unreached) => return Err(unreached),
        };
        let listed: Vec<usize> =
            (0..outcomes.len()).filter(|at| outcomes.get(*at).is_some_and(is_listing)).collect();
        if listed.is_empty() {
            return Ok(outcomes);
        }
        tracing::info!(id = entry.id, %fallback, recipients = listed.len(), "our address is on a list; falling back");
        let theirs: Vec<usize> = listed.iter().filter_map(|at| places.get(*at).copied()).collect();
        let again = match self.deliver_over(fallback, entry, &theirs).await {
            Ok(again) => again,
            // It waits for either: lists forget.
            Err(unreached) => vec![Outcome::Refused(unreached.diagnosis); theirs.len()],
        };
        for (at, outcome) in listed.into_iter().zip(again) {
            if let Some(slot) = outcomes.get_mut(at) {
                *slot = outcome;
            }
        }
        Ok(outcomes)
    }

    /// Whether something may stand in for a destination: not where somebody configured this host and no other, or how it must prove itself.
    fn may_stand_in(&self, hop: &NextHop) -> bool {
        let open = matches!(hop, NextHop::Exchangers { .. }) || self.config.routes.smarthost() == Some(hop);
        let level = self.config.tls.levels.get(&hop.destination());
        open && !matches!(level, Some(TlsLevel::Verify | TlsLevel::Dane | TlsLevel::Sts))
    }
}

/// Whether it was the way that failed, and not the trust in who is at its end.
fn stands_in(unreached: &Unreached) -> bool {
    unreached.all && !unreached.untrusted && !unreached.diagnosis.is_permanent()
}

pub(super) fn is_listing(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(diagnosis @ Diagnosis { quoted: true, .. }) if tells_of_our_address(&diagnosis.reply))
}

/// Whether a refusal is one of our address. There is no code for that: it counts as one if it is of policy (RFC 3463 §3.8, X.7.Z), has an
/// IP address in its text, and a word that lists are told of by. The address makes the difference to refusals of
/// senders, names and links that are on lists.
fn tells_of_our_address(reply: &Reply) -> bool {
    let policy = match reply.enhanced() {
        Some((_, subject, _)) => subject == 7,
        None => matches!(reply.code(), 421 | 450 | 451 | 521 | 550 | 553 | 554),
    };
    let refused = reply.is_permanent() || reply.is_transient();
    let text = reply.lines().collect::<Vec<_>>().join(" ").to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    policy && refused && has(WORDS) && !has(OTHERS) && names_an_address(&text)
}

fn names_an_address(text: &str) -> bool {
    let ends = |letter: char| !(letter.is_ascii_hexdigit() || matches!(letter, '.' | ':'));
    text.split(ends).any(|word| {
        let word = word.trim_matches('.').trim_end_matches(':');
        word.len() > 4 && word.parse::<IpAddr>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_of_our_address_on_a_list() {
        for (line, expected) in [
            (
                "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/192.0.2.1",
                true,
            ),
            (
                "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3140).",
                true,
            ),
            ("550 192.0.2.1 is in a black list at bl.spamcop.net", true),
            ("550 5.7.1 Mail from 2001:db8::1 rejected: listed by dnsbl.example", true),
            ("450 4.7.1 Client host [192.0.2.1] blocked using rbl.example", true),
            // Others than we are on a list, or nobody is.
            ("554 5.7.1 Sender address <a@b.example> blocked using dbl.spamhaus.org", false),
            ("550 5.7.1 <a@b.example>: Sender domain listed in rhsbl.example, see 192.0.2.1", false),
            ("550 5.7.1 The message has a link that is listed", false),
            ("550 5.1.1 <listed@b.example> is unknown at 192.0.2.1", false),
            ("550 5.7.1 Relaying denied for 192.0.2.1", false),
            ("550 5.7.1 This address is unlisted", false),
            ("450 4.7.1 Client host [192.0.2.1] greylisted for 12:30:00", true),
            ("250 2.7.1 192.0.2.1 listed", false),
        ] {
            let reply = Reply::parse(format!("{line}\r\n").as_bytes()).unwrap();
            assert_eq!(tells_of_our_address(&reply), expected, "{line}");
        }
    }

    #[test]
    fn addresses_in_texts() {
        for (text, expected) in [
            ("at 192.0.2.1.", true),
            ("[ipv6:2001:db8::1]", true),
            ("at 12:30:00", false),
            ("version 1.2.3", false),
            ("ab::", false),
        ] {
            assert_eq!(names_an_address(text), expected, "{text}");
        }
    }
}
