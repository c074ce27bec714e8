//! What stands behind the keywords.

use std::collections::HashSet;

use mailwright_mail_model::{DateTime, ForwardPath};

use crate::{Capabilities, Rcpt, timestamp};

/// The largest message a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SizeLimit {
    /// It does not say, or says that there is no fixed limit (RFC 1870 §4: zero).
    Unknown,
    /// So many octets.
    AtMost(u64),
}

/// How far ahead a server holds messages (RFC 4865).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FutureRelease {
    /// The longest HOLDFOR, in seconds.
    pub most_seconds: u32,
    /// The latest HOLDUNTIL.
    pub latest: DateTime,
}

impl FutureRelease {
    /// At most so many seconds, and not beyond this moment.
    pub fn new(most_seconds: u32, latest: DateTime) -> Self {
        Self { most_seconds, latest }
    }

    pub(super) fn parse(value: &str) -> Option<Self> {
        let (seconds, latest) = value.split_once(' ')?;
        Some(Self { most_seconds: seconds.parse().ok()?, latest: timestamp::parse(latest.trim())? })
    }

    pub(super) fn encode(self) -> String {
        format!("{} {}", self.most_seconds, timestamp::encode(self.latest))
    }
}

/// What a server takes at most (RFC 9422).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SessionLimits {
    /// MAILMAX: messages on one connection.
    pub messages: Option<u32>,
    /// RCPTMAX: recipients of one message.
    pub recipients: Option<u32>,
    /// RCPTDOMAINMAX: domains among the recipients of one message.
    pub recipient_domains: Option<u32>,
    /// Limits not named above, as they were sent.
    pub other: Vec<String>,
}

impl SessionLimits {
    pub(super) fn parse(value: &str) -> Self {
        let mut limits = Self::default();
        for word in value.split_ascii_whitespace() {
            let (name, number) = word.split_once('=').unwrap_or((word, ""));
            // RFC 9422 §3: one to six digits, not beginning with 0; what is not one says nothing
            let plain = number.len() <= 6 && number.bytes().all(|octet| octet.is_ascii_digit());
            let number = number.parse().ok().filter(|number| plain && *number > 0);
            match name.to_ascii_uppercase().as_str() {
                "MAILMAX" => limits.messages = number,
                "RCPTMAX" => limits.recipients = number,
                "RCPTDOMAINMAX" => limits.recipient_domains = number,
                _ => limits.other.push(word.to_owned()),
            }
        }
        limits
    }

    pub(super) fn encode(&self) -> Option<String> {
        let named = [
            ("MAILMAX", self.messages),
            ("RCPTMAX", self.recipients),
            ("RCPTDOMAINMAX", self.recipient_domains),
        ];
        let named = named.iter().filter_map(|(name, number)| Some(format!("{name}={}", (*number)?)));
        let words: Vec<_> = named.chain(self.other.iter().cloned()).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}

impl Capabilities {
    /// How many of the recipients, from the front, one message to this server may have.
    pub(crate) fn room_for(&self, recipients: &[Rcpt]) -> usize {
        let Some(limits) = &self.limits else { return recipients.len() };
        let count =
            |limit: Option<u32>| limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let most_domains = count(limits.recipient_domains);
        let mut domains = HashSet::new();
        let most = recipients.len().min(count(limits.recipients));
        for (index, rcpt) in recipients.iter().take(most).enumerate() {
            domains.insert(match &rcpt.to {
                ForwardPath::Address(address) => address.domain().key(),
                _ => "",
            });
            if domains.len() > most_domains {
                return index;
            }
        }
        most
    }
}
