//! Showing and changing what waits.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use mailwright::{
    mailstore::{
        AnyStore, QueueEntry, QueueNumber, QueueRecipient, RecipientState, Settlement, Spool, StoreError,
        block_on,
    },
    queue::OwnListings,
    relay_policy::{delivery::LocalTarget, route::NextHop},
};
use serde::{Deserialize, Serialize};

use super::{Suppressed, SuppressedEntry};
use crate::{config::Period, serve::Waiting};

/// How many entries are read together.
const PAGE: usize = 1_000;

/// What there is to show and change: what waits, and the queue that sends it if one runs.
#[derive(Clone)]
pub(crate) struct Access {
    /// The mailboxes that mail is for.
    pub(crate) store: AnyStore,
    pub(crate) waiting: Waiting,
    pub(crate) flush: Option<Arc<dyn Fn() + Send + Sync>>,
    /// What nothing is sent to.
    pub(crate) suppressed: Suppressed,
    /// What the queue knows of lists that have our address.
    pub(crate) own_listings: Option<Arc<dyn OwnListings>>,
}

/// What can be asked about the queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "queue", rename_all = "kebab-case")]
pub(crate) enum QueueRequest {
    List {
        selection: Selection,
    },
    /// The entries of an id, and the message itself.
    Show {
        id: String,
    },
    Change {
        selection: Selection,
        change: Change,
        /// Nothing is changed; it is told what would be.
        #[serde(default)]
        dry_run: bool,
        /// Whether the entries are told of, or only how many they are.
        #[serde(default)]
        told: bool,
    },
    /// Which addresses nothing is sent to.
    Suppressed,
    /// Addresses that are sent to again.
    Unsuppress {
        addresses: Vec<String>,
    },
}

/// Which entries are meant: all conditions hold together.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Selection {
    /// Any of these, or all if there is none.
    pub(crate) ids: Vec<String>,
    /// The sender: an address, `@domain` or `<>`.
    pub(crate) from: Option<String>,
    /// One of the recipients: an address or `@domain`.
    pub(crate) to: Option<String>,
}

/// What is to happen to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Change {
    Retry,
    Delete,
    Hold,
    Release,
    /// Given up at this time, in seconds since 1970, or as the configuration says.
    Expire(Option<u64>),
    /// Sent by this next hop, or by where routes lead.
    Reroute(Option<String>),
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "queue-response", rename_all = "kebab-case")]
pub(crate) enum QueueResponse {
    Entries {
        entries: Vec<Entry>,
    },
    Message {
        entries: Vec<Entry>,
        #[serde(rename = "message")]
        text: String,
        /// Which lists have our address, if the fallback gets the mail for that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        own_listing: Option<String>,
    },
    Changed {
        count: usize,
        entries: Vec<Entry>,
        /// How many more were meant that are held back until their time, and are not tried before.
        #[serde(default, skip_serializing_if = "is_none")]
        held_back: usize,
        /// How many more were meant that somebody has held, and are tried when they are released.
        #[serde(default, skip_serializing_if = "is_none")]
        held: usize,
    },
    Suppressed {
        addresses: Vec<SuppressedEntry>,
    },
}

/// An entry, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) number: u64,
    pub(crate) size: u64,
    /// Seconds since 1970, as all times here.
    pub(crate) arrival: u64,
    /// Empty for the null sender.
    pub(crate) sender: String,
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) destination: String,
    pub(crate) attempts: u32,
    pub(crate) next_try: u64,
    pub(crate) last_error: Option<String>,
    pub(crate) held: bool,
    /// Until when the sender wants it held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) release: Option<u64>,
    /// By when the sender wants it delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deliver_by: Option<u64>,
    /// When it is given up, and where it goes, if somebody has set that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<String>,
    #[serde(default)]
    pub(crate) priority: i8,
    pub(crate) message_id: Option<String>,
}

/// One of its recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recipient {
    pub(crate) address: String,
    /// waiting, delivered or failed
    pub(crate) state: String,
    pub(crate) last_error: Option<String>,
}

impl Change {
    /// Given up after this time from now; never is as the configuration says.
    pub(crate) fn expire_after(after: Period) -> Self {
        Self::Expire((!after.is_never()).then(|| unix_time().saturating_add(after.seconds())))
    }

    /// Sent by this next hop, in the words of the transport map, or by `none` in particular.
    pub(crate) fn reroute_via(via: &str) -> Result<Self, String> {
        if via == "none" {
            return Ok(Self::Reroute(None));
        }
        let hop: NextHop = via.parse().map_err(|error| format!("via {via}: {error}"))?;
        if matches!(hop, NextHop::OnDemand(_)) {
            // Whoever comes gets what the configuration has wait for it.
            return Err(format!(
                "via {via}: for whose host mail waits is for [on_demand] and [relay.transport] to say"
            ));
        }
        Ok(Self::Reroute(Some(hop.destination())))
    }
}

impl From<&QueueEntry> for Entry {
    fn from(entry: &QueueEntry) -> Self {
        let recipient = |recipient: &QueueRecipient| Recipient {
            address: recipient.address.to_string(),
            state: match recipient.state {
                RecipientState::Waiting => "waiting",
                RecipientState::Delivered => "delivered",
                RecipientState::Failed => "failed",
            }
            .into(),
            last_error: recipient.last_error.clone(),
        };
        Self {
            id: entry.id.clone(),
            number: entry.number.get(),
            size: entry.size.saturating_sub(entry.skip),
            arrival: entry.arrival,
            sender: entry.sender.address().map_or_else(String::new, ToString::to_string),
            recipients: entry.recipients.iter().map(recipient).collect(),
            destination: entry.destination.clone(),
            attempts: entry.attempts,
            next_try: entry.due,
            last_error: entry.last_error.clone(),
            held: entry.held,
            release: entry.release,
            deliver_by: entry.deadline.map(|deadline| deadline.at),
            expires: entry.expires,
            route: entry.route.clone(),
            priority: entry.priority,
            message_id: entry.message_id.clone(),
        }
    }
}

impl Selection {
    /// Whether every entry is meant.
    pub(crate) fn is_everything(&self) -> bool {
        self.ids.is_empty() && self.from.is_none() && self.to.is_none()
    }

    /// The recipients of an entry that a change is about: only what is deleted for somebody is not deleted for others.
    fn meant(&self, entry: &QueueEntry, change: &Change) -> Vec<QueueRecipient> {
        match &self.to {
            Some(wanted) if *change == Change::Delete => {
                let named = entry.waiting().filter(|recipient| names(wanted, recipient.address.as_str()));
                named.cloned().collect()
            }
            _ => entry.recipients.clone(),
        }
    }

    fn includes(&self, entry: &QueueEntry) -> bool {
        let id = self.ids.is_empty()
            || self
                .ids
                .iter()
                .any(|id| id.eq_ignore_ascii_case(&entry.id) || *id == entry.number.to_string());
        let from = self.from.as_ref().is_none_or(|wanted| match entry.sender.address() {
            Some(address) => names(wanted, address.as_str()),
            None => matches!(wanted.as_str(), "<>" | "" | "MAILER-DAEMON"),
        });
        let to = self
            .to
            .as_ref()
            .is_none_or(|wanted| entry.waiting().any(|recipient| names(wanted, recipient.address.as_str())));
        id && from && to
    }
}

/// Whether a pattern is this address, or its domain behind an `@`.
fn names(wanted: &str, address: &str) -> bool {
    let (wanted, address) = (wanted.trim_matches(['<', '>']).to_lowercase(), address.to_lowercase());
    wanted == address || (wanted.starts_with('@') && address.ends_with(&wanted))
}

/// Now, in seconds since 1970.
pub(crate) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Does it. Blocks.
pub(crate) fn answer(access: &Access, request: QueueRequest) -> Result<QueueResponse, StoreError> {
    match request {
        QueueRequest::List { selection } => {
            let mut entries = Vec::new();
            for_each(access, &selection, |entry| entries.push(Entry::from(entry)))?;
            Ok(QueueResponse::Entries { entries })
        }
        QueueRequest::Show { id } => {
            let selection = Selection { ids: vec![id], ..Selection::default() };
            let mut found = Vec::new();
            for_each(access, &selection, |entry| found.push(entry.clone()))?;
            // All entries of an id are of one message.
            let entry = found.first().ok_or(StoreError::NotFound)?;
            let (mut octets, mut offset) = (Vec::new(), entry.skip);
            while offset < entry.size {
                let chunk = block_on(access.waiting.octets(entry, offset..entry.size))?;
                offset += chunk.len() as u64;
                octets.extend_from_slice(&chunk);
            }
            let text = String::from_utf8_lossy(&octets).into_owned();
            let own_listing = access.own_listings.as_ref().and_then(|lists| lists.known());
            let own_listing = own_listing.map(|listing| listing.to_string());
            let entries = found.iter().map(Entry::from).collect();
            Ok(QueueResponse::Message { entries, text, own_listing })
        }
        QueueRequest::Change { selection, change, dry_run, told } => {
            let now = unix_time();
            let (mut settle, mut entries) = (Vec::new(), Vec::new());
            let (mut count, mut held_back, mut held) = (0, 0, 0);
            for_each(access, &selection, |entry| {
                // What is for this machine, or to be told of, goes by no other way.
                if matches!(change, Change::Reroute(_)) && !goes_on(entry) {
                    return;
                }
                // The sender has said when it goes; what is released goes before.
                if change == Change::Retry && entry.release.is_some_and(|release| release > now) {
                    held_back += 1;
                    return;
                }
                let stays = change == Change::Retry && entry.held;
                held += usize::from(stays);
                count += usize::from(!stays);
                let meant = selection.meant(entry, &change);
                if told && !stays {
                    let mut about = entry.clone();
                    about.recipients.clone_from(&meant);
                    entries.push(Entry::from(&about));
                }
                settle.extend(settlements(entry, &meant, &change, now));
            })?;
            if dry_run {
                return Ok(QueueResponse::Changed { count, entries, held_back, held });
            }
            // Destinations that are left alone are tried again before anything is due for them: it would be put off.
            if let (Some(flush), true) = (&access.flush, makes_due(&change)) {
                flush();
            }
            for some in settle.chunks(PAGE) {
                block_on(access.waiting.settle(some))?;
            }
            if let (Some(flush), true) = (&access.flush, makes_due(&change)) {
                flush();
            }
            Ok(QueueResponse::Changed { count, entries, held_back, held })
        }
        QueueRequest::Suppressed => Ok(QueueResponse::Suppressed { addresses: access.suppressed.list() }),
        QueueRequest::Unsuppress { addresses } => {
            let mut count = 0;
            for address in addresses {
                count += usize::from(access.suppressed.remove(&address)?);
            }
            Ok(QueueResponse::Changed { count, entries: Vec::new(), held_back: 0, held: 0 })
        }
    }
}

/// What is done to an entry, and to these of its recipients.
fn settlements(entry: &QueueEntry, meant: &[QueueRecipient], change: &Change, now: u64) -> Vec<Settlement> {
    let number = entry.number;
    match change {
        Change::Retry => vec![Settlement::Due(number, now)],
        Change::Delete if meant.len() == entry.recipients.len() => vec![Settlement::Remove(number)],
        Change::Delete => {
            let gone = meant.iter().map(|recipient| recipient.address.clone()).collect();
            vec![Settlement::RemoveRecipients(number, gone)]
        }
        Change::Hold => vec![Settlement::Hold(number, true)],
        // Whoever releases it has it go now, whatever the sender said.
        Change::Release if entry.release.is_some_and(|release| release > now) => {
            let mut free = entry.clone();
            (free.release, free.due) = (None, now);
            vec![Settlement::Hold(number, false), Settlement::Update(Box::new(free))]
        }
        Change::Release => vec![Settlement::Hold(number, false)],
        // It is tried once more then, whatever it would have waited for.
        Change::Expire(Some(at)) if entry.due > *at => {
            vec![Settlement::Expire(number, Some(*at)), Settlement::Due(number, (*at).max(now))]
        }
        Change::Expire(at) => vec![Settlement::Expire(number, *at)],
        Change::Reroute(route) => {
            vec![Settlement::Reroute(number, route.clone()), Settlement::Due(number, now)]
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde has it so")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

/// Whether something is to be sent at once.
fn makes_due(change: &Change) -> bool {
    matches!(change, Change::Retry | Change::Release | Change::Expire(Some(_)) | Change::Reroute(_))
}

/// Whether it is sent to other hosts.
fn goes_on(entry: &QueueEntry) -> bool {
    let here = entry.destination.parse::<LocalTarget>().is_ok();
    !here && !entry.destination.starts_with("report:") && !entry.destination.starts_with("release:")
}

fn for_each(
    access: &Access,
    selection: &Selection,
    mut visit: impl FnMut(&QueueEntry),
) -> Result<(), StoreError> {
    let mut after: Option<QueueNumber> = None;
    loop {
        let page = block_on(access.waiting.entries(after, PAGE))?;
        page.iter().filter(|entry| selection.includes(entry)).for_each(&mut visit);
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.number),
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand_mail_goes_to_a_host_and_waits_for_none() {
        for (via, expected) in [
            ("none", Some(None)),
            ("smtp:[192.0.2.1]:25", Some(Some("[192.0.2.1]:25"))),
            ("pipe:archive", Some(Some("pipe:archive"))),
            ("atrn:", None),
            ("atrn:b.example", None),
            ("smtp:", None),
        ] {
            let change = Change::reroute_via(via);
            let expected = expected.map(|route| Change::Reroute(route.map(str::to_owned)));
            assert_eq!(change.clone().ok(), expected, "{via}");
            assert!(change.err().is_none_or(|why| why.starts_with(&format!("via {via}: "))), "{via}");
        }
    }
}
