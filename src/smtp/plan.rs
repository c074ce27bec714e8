//! What is to be done with a message: which mailboxes get it, and what goes on.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use mailwright_mail_model::{Address, DateTime, ForwardPath, ReversePath};
use mailwright_mailstore::{Batch, Delivery, QueueEntry, QueueRecipient, Target, User};
use mailwright_relay_policy::directory::{Expansion, OnwardReason};
use mailwright_smtp_proto::{Message, Reply};

use crate::filter::{Filing, Filtered};

/// A message's way, put together from what each of its recipients stands for. A mailbox gets one copy and an address
/// elsewhere is sent one, however many recipients lead there.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The accounts, in the order in which they were named.
    accounts: Vec<User>,
    /// The recipient by which each account was named first.
    named: Vec<String>,
    /// Addresses elsewhere, each with the sender that it is told, by domain and sender.
    onward: BTreeMap<(String, String), (ReversePath, Vec<Address>)>,
    seen: HashSet<Address>,
    /// Which accounts each recipient leads to.
    by_recipient: Vec<Vec<usize>>,
    /// The recipients that lead elsewhere, too.
    sent_on: HashSet<usize>,
    places: HashMap<User, usize>,
}

/// What the recipients of a message stand for.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// In the order in which they were named; a refusal in place of what they stand for.
    pub(super) recipients: Vec<(ForwardPath, Result<Expansion, Reply>)>,
    /// Blind copies.
    pub(super) copies: Vec<(ForwardPath, Expansion)>,
}

/// What of the message the queue must know.
pub(super) struct Origin<'a> {
    pub(super) message: &'a Message,
    /// Who submitted it.
    pub(super) user: Option<&'a str>,
    pub(super) id: &'a str,
    pub(super) date: DateTime,
    /// The octets at its beginning that are for mailboxes only.
    pub(super) skip: u64,
}

impl Plan {
    /// For the recipients that are not refused, and the copies.
    pub(super) fn new(sender: &ReversePath, way: &Way) -> Result<Self, Reply> {
        let mut plan = Self::default();
        for (recipient, expansion) in &way.recipients {
            plan.add(sender, recipient, expansion.as_ref().ok())?;
        }
        for (recipient, expansion) in &way.copies {
            plan.add(sender, recipient, Some(expansion))?;
        }
        Ok(plan)
    }

    /// Adds what a recipient stands for; without it, the recipient has been refused.
    fn add(
        &mut self,
        sender: &ReversePath,
        recipient: &ForwardPath,
        expansion: Option<&Expansion>,
    ) -> Result<(), Reply> {
        let mut places = Vec::new();
        for delivery in expansion.into_iter().flat_map(|expansion| &expansion.deliveries) {
            let user = User::new(&delivery.account).map_err(|_| Reply::INTERNAL)?;
            let next = self.accounts.len();
            let place = *self.places.entry(user.clone()).or_insert(next);
            if place == next {
                self.accounts.push(user);
                self.named.push(recipient.address().map_or("postmaster", Address::as_str).to_owned());
            }
            places.push(place);
        }
        for onward in expansion.into_iter().flat_map(|expansion| &expansion.onward) {
            if !self.seen.insert(onward.to.clone()) {
                continue;
            }
            // A list's owner hears of its trouble; everything else comes back to whoever wrote it.
            let sender = match (&onward.owner, &onward.reason) {
                (Some(owner), OnwardReason::Forward(_)) if sender.address().is_some() => {
                    ReversePath::Address(owner.clone())
                }
                _ => sender.clone(),
            };
            let key = (onward.to.domain().key().to_owned(), sender.to_string());
            let (_, addresses) = self.onward.entry(key).or_insert_with(|| (sender, Vec::new()));
            addresses.push(onward.to.clone());
        }
        if expansion.is_some_and(|expansion| !expansion.onward.is_empty()) {
            self.sent_on.insert(self.by_recipient.len());
        }
        self.by_recipient.push(places);
        Ok(())
    }

    /// The accounts that get it, each once.
    pub(super) fn accounts(&self) -> impl Iterator<Item = (&User, &str)> {
        self.accounts.iter().zip(self.named.iter().map(String::as_str))
    }

    /// Everything as one commit, and for each of its targets which account it is for. What filters say goes before INBOX.
    pub(super) fn batch(
        &self,
        origin: &Origin<'_>,
        filtered: &HashMap<User, Filtered>,
    ) -> (Batch, Vec<usize>) {
        let (mut targets, mut places) = (Vec::new(), Vec::new());
        let inbox = [Filing::inbox()];
        for (place, (user, named)) in self.accounts().enumerate() {
            let sender = origin.message.mail.from.address().map_or("", Address::as_str);
            let delivery = Arc::new(Delivery::new(sender, named));
            let filings = filtered.get(user).map_or(&inbox[..], |filtered| &filtered.filings[..]);
            for filing in filings {
                let target = Target::new(user.clone(), filing.mailbox.clone(), origin.date);
                targets.push(target.with_flags(filing.flags.clone()).with_delivery(Arc::clone(&delivery)));
                places.push(place);
            }
        }
        (Batch::to(targets).with_queue(self.entries(origin)), places)
    }

    fn entries(&self, origin: &Origin<'_>) -> Vec<QueueEntry> {
        let arrival = u64::try_from(origin.date.seconds()).unwrap_or(0);
        let parameters = &origin.message.mail.parameters;
        self.onward
            .iter()
            .map(|((domain, _), (sender, addresses))| {
                let mut entry = QueueEntry::new(origin.id, sender.clone(), domain.clone(), arrival);
                entry.user = origin.user.map(str::to_owned);
                entry.recipients = addresses.iter().cloned().map(QueueRecipient::new).collect();
                entry.smtputf8 = parameters.smtputf8;
                entry.skip = origin.skip;
                entry
            })
            .collect()
    }

    /// Whether there is one account and nothing else to be done.
    pub(super) fn is_for_one(&self) -> bool {
        self.accounts.len() == 1 && self.onward.is_empty()
    }

    /// Whether a recipient leads to one account and nowhere else.
    pub(super) fn leads_to_one(&self, recipient: usize) -> bool {
        self.by_recipient.get(recipient).is_some_and(|places| places.len() == 1)
            && !self.sent_on.contains(&recipient)
    }

    /// Whether a recipient leads to the account at this place.
    pub(super) fn concerns(&self, recipient: usize, place: usize) -> bool {
        self.by_recipient.get(recipient).is_some_and(|places| places.contains(&place))
    }
}
