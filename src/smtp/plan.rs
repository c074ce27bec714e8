//! What is to be done with a message: which mailboxes get it, and what goes on.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use mailwright_mail_model::{Address, DateTime, ForwardPath, ReversePath};
use mailwright_mailstore::{Batch, Delivery, QueueEntry, Target, User, clock};
use mailwright_relay_policy::{
    delivery::LocalKind,
    directory::{Expansion, OnwardReason},
    route::RouteTable,
};
use mailwright_smtp_proto::{BodyKind, Message, Reply};

use super::timing::Times;
use crate::filter::{Filing, Filtered};

mod left_out;
mod wishes;

use left_out::LeftOut;
use wishes::{Bound, Claim, Fate, Passes};

/// A message's way, put together from what each of its recipients stands for. A mailbox gets one copy and an address
/// elsewhere is sent one, however many recipients lead there.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The accounts, in the order in which they were named.
    accounts: Vec<User>,
    /// The recipient by which each account was named first.
    named: Vec<String>,
    /// Addresses elsewhere, each with the sender that it is told, by domain and sender.
    onward: BTreeMap<(String, String), (ReversePath, Vec<Bound>)>,
    /// How each of them came to be there, and which key it is under.
    seen: HashMap<Address, (Claim, (String, String))>,
    /// Files and programs, each with the sender that it is told.
    /// To files once, whoever leads there; to programs once for each recipient, whom they are told (`local(8)`).
    handed: BTreeMap<(String, Option<String>), (ReversePath, Bound, Claim)>,
    /// Which accounts each recipient leads to.
    by_recipient: Vec<Vec<usize>>,
    /// The recipients that lead elsewhere, too.
    sent_on: HashSet<usize>,
    /// What there is to tell of recipients that are reached here.
    fates: Vec<Fate>,
    /// Who else of these is not.
    left_out: Vec<LeftOut>,
    places: BTreeMap<User, usize>,
}

/// What the recipients of a message stand for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Way {
    /// In the order in which they were named; a refusal in place of what they stand for.
    pub(crate) recipients: Vec<(ForwardPath, Result<Expansion, Reply>)>,
    /// Blind copies.
    pub(crate) copies: Vec<(ForwardPath, Expansion)>,
    /// Accounts that were left out, while others that the same recipient leads to get the message.
    left_out: Vec<LeftOut>,
}

/// What of the message the queue must know.
pub(crate) struct Origin<'a> {
    pub(crate) message: &'a Message,
    /// Who submitted it.
    pub(crate) user: Option<&'a str>,
    pub(crate) id: &'a str,
    pub(crate) date: DateTime,
    /// The octets at its beginning that are for mailboxes only.
    pub(crate) skip: u64,
    /// Whether any octet is above 127.
    pub(crate) eight_bit: bool,
    pub(crate) message_id: Option<String>,
    /// When it is to go.
    pub(crate) times: Times,
}

/// So many recipients go into one entry of the queue, and one transaction. RFC 5321 §4.5.3.1.8: every server takes 100.
const MOST_RECIPIENTS: usize = 100;

impl Origin<'_> {
    /// An entry of the queue for the message, without recipients yet.
    fn entry(&self, sender: ReversePath, destination: String) -> QueueEntry {
        let arrival = u64::try_from(self.date.seconds()).unwrap_or(0);
        let parameters = &self.message.mail.parameters;
        let mut entry = QueueEntry::new(self.id, sender, destination, arrival);
        entry.arrival = clock::read().to_date_with();
        entry.user = self.user.map(str::to_owned);
        entry.message_id.clone_from(&self.message_id);
        // RFC 6531 §3.6: it is about what the message has, not about what its sender could have put there.
        let text = parameters.smtputf8 && self.eight_bit;
        entry.smtputf8 = text || !entry.sender.is_ascii();
        entry.eight_bit = self.eight_bit || parameters.body == Some(BodyKind::EightBitMime);
        entry.skip = self.skip;
        entry.require_tls = parameters.require_tls;
        // RFC 3461 §5.2.1
        entry.envelope_id = parameters.envelope_id.as_ref().map(|id| id.as_str().to_owned());
        entry.return_content = parameters.return_content.map(wishes::returned);
        self.times.set(&mut entry);
        entry.solicitation = self.message.mail.parameters.solicitation.as_ref().map(ToString::to_string);
        entry
    }
}

impl Way {
    /// One entry of the queue for the whole message and all its recipients, as they were named.
    pub(crate) fn held(&self, origin: &Origin<'_>, destination: &str) -> QueueEntry {
        let mut entry = origin.entry(origin.message.mail.from.clone(), destination.to_owned());
        let recipients = self.recipients.iter().enumerate().filter_map(|(index, (path, expansion))| {
            // The bare postmaster is somebody.
            let account = || expansion.as_ref().ok()?.deliveries.first()?.account.parse().ok();
            let to = path.address().cloned().or_else(account)?;
            let bound = Bound { to, recipient: index, passes: Passes::All, renamed: false };
            Some(bound.queued(origin.message))
        });
        entry.recipients = recipients.collect();
        entry.smtputf8 |= entry.recipients.iter().any(|recipient| !recipient.address.is_ascii());
        // Whoever gets it then gets it from a sender of their own, if that was asked for.
        entry.verp = origin.message.mail.parameters.verp.map(|delimiters| delimiters.to_string());
        entry
    }
}

impl Plan {
    /// For the recipients that are not refused, and the copies.
    pub(crate) fn new(sender: &ReversePath, way: &Way) -> Result<Self, Reply> {
        let mut plan = Self::default();
        for (recipient, expansion) in &way.recipients {
            plan.add(sender, recipient, expansion.as_ref().ok(), false)?;
        }
        for (recipient, expansion) in &way.copies {
            plan.add(sender, recipient, Some(expansion), true)?;
        }
        plan.left_out.clone_from(&way.left_out);
        Ok(plan)
    }

    /// Adds what a recipient stands for; without it, the recipient has been refused.
    fn add(
        &mut self,
        sender: &ReversePath,
        recipient: &ForwardPath,
        expansion: Option<&Expansion>,
        is_copy: bool,
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
        let index = self.by_recipient.len();
        for onward in expansion.into_iter().flat_map(|expansion| &expansion.onward) {
            let passes = expansion.map_or(Passes::Nothing, |expansion| Passes::of(expansion, onward));
            let renamed = matches!(onward.reason, OnwardReason::Forward(_));
            let claim = Claim::of(passes, renamed, is_copy);
            if self.seen.get(&onward.to).is_some_and(|(other, _)| *other <= claim) {
                continue;
            }
            // A list's owner hears of its trouble, and a forwarder that answers for the sender (SRS) passes it back;
            // everything else comes back to whoever wrote it.
            let told = onward.owner.as_ref().or(onward.sender.as_ref());
            let sender = match told {
                Some(told) if sender.address().is_some() => ReversePath::Address(told.clone()),
                _ => sender.clone(),
            };
            let key = (onward.to.domain().key().to_owned(), sender.to_string());
            if let Some((_, before)) = self.seen.insert(onward.to.clone(), (claim, key.clone()))
                && let Some((_, bound)) = self.onward.get_mut(&before)
            {
                bound.retain(|bound| bound.to != onward.to);
                if bound.is_empty() {
                    self.onward.remove(&before);
                }
            }
            let (_, bound) = self.onward.entry(key).or_insert_with(|| (sender, Vec::new()));
            bound.push(Bound { to: onward.to.clone(), recipient: index, passes, renamed });
        }
        for handed in expansion.into_iter().flat_map(|expansion| &expansion.handed) {
            // Whom it is for: the recipient as it was named, or the alias behind it.
            let to =
                recipient.address().cloned().or_else(|| handed.by.parse().ok()).ok_or(Reply::INTERNAL)?;
            let told = handed.owner.as_ref().filter(|_| sender.address().is_some());
            let sender = told.map_or_else(|| sender.clone(), |told| ReversePath::Address(told.clone()));
            let passes = expansion.map_or(Passes::Nothing, |expansion| Passes::to_hand(expansion, handed));
            let bound = Bound { to, recipient: index, passes, renamed: true };
            let program = matches!(handed.target.kind, LocalKind::Command(_));
            let key = (handed.target.to_string(), program.then(|| bound.to.as_str().to_lowercase()));
            // Two recipients may share a file, and one of them a list with an owner: who asked for news is told.
            let claim = Claim::of(passes, true, is_copy);
            if self.handed.get(&key).is_none_or(|(_, _, other)| claim < *other) {
                self.handed.insert(key, (sender, bound, claim));
            }
        }
        if let Some(expansion) = expansion {
            self.fates.extend(Fate::of(index, recipient, expansion));
        }
        if expansion.is_some_and(|expansion| !expansion.onward.is_empty() || !expansion.handed.is_empty()) {
            self.sent_on.insert(self.by_recipient.len());
        }
        self.by_recipient.push(places);
        Ok(())
    }

    /// The accounts that get it, each once.
    pub(super) fn accounts(&self) -> impl Iterator<Item = (&User, &str)> {
        self.accounts.iter().zip(self.named.iter().map(String::as_str))
    }

    /// Everything as one commit, and for each of its targets which account it is for. What filters say goes before INBOX,
    /// and what `routes` say of addresses elsewhere decides which of them share an entry of the queue.
    pub(crate) fn batch(
        &self,
        origin: &Origin<'_>,
        filtered: &HashMap<User, Filtered>,
        routes: &RouteTable,
    ) -> (Batch, Vec<usize>) {
        let (mut targets, mut places, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        let inbox = [Filing::inbox()];
        let originals: BTreeMap<&str, String> = origin
            .message
            .recipients
            .iter()
            .filter_map(|rcpt| {
                Some((rcpt.to.address()?.as_str(), rcpt.parameters.original.as_ref()?.to_string()))
            })
            .collect();
        for (place, (user, named)) in self.accounts().enumerate() {
            let sender = origin.message.mail.from.address().map_or("", Address::as_str);
            let mut delivery = Delivery::new(sender, named);
            delivery.original_recipient = originals.get(named).cloned();
            let delivery = Arc::new(delivery);
            let filings = filtered.get(user).map_or(&inbox[..], |filtered| &filtered.filings[..]);
            for filing in filings {
                rows.extend(filing.row(targets.len()));
                let owner = filing.owner.as_ref().unwrap_or(user).clone();
                let target = Target::new(owner, filing.mailbox.clone(), origin.date);
                targets.push(target.with_flags(filing.flags.clone()).with_delivery(Arc::clone(&delivery)));
                places.push(place);
            }
        }
        (Batch::to(targets).with_queue(self.entries(origin, routes)).with_rows(rows), places)
    }

    /// One entry for each way and sender, for each file and program, and for each kind of good news.
    fn entries(&self, origin: &Origin<'_>, routes: &RouteTable) -> Vec<QueueEntry> {
        // An address beyond ASCII needs a host that takes such: the others are not to wait or fail with it.
        let mut ways: BTreeMap<(String, &String, bool), (&ReversePath, Vec<&Bound>)> = BTreeMap::new();
        for ((_, key), (sender, all)) in &self.onward {
            for bound in all {
                let way = (routes.next_hop(&bound.to).destination(), key, bound.to.is_ascii());
                ways.entry(way).or_insert_with(|| (sender, Vec::new())).1.push(bound);
            }
        }
        let mut entries = Vec::new();
        for ((destination, _, ascii), (sender, bound)) in ways {
            for some in bound.chunks(MOST_RECIPIENTS) {
                let mut entry = origin.entry(sender.clone(), destination.clone());
                entry.smtputf8 |= !ascii;
                entry.recipients = some.iter().map(|bound| bound.queued(origin.message)).collect();
                // RFC 3461 §5.2.7.3: a list sends a message of its own.
                if some.iter().all(|bound| bound.passes == Passes::Nothing) {
                    (entry.envelope_id, entry.return_content) = (None, None);
                }
                entries.push(entry);
            }
        }
        for ((destination, _), (sender, bound, _)) in &self.handed {
            let mut entry = origin.entry(sender.clone(), destination.clone());
            entry.recipients.push(bound.queued(origin.message));
            if bound.passes == Passes::Nothing {
                (entry.envelope_id, entry.return_content) = (None, None);
            }
            entries.push(entry);
        }
        entries.extend(wishes::news(&self.fates, origin));
        entries.extend(left_out::news(&self.left_out, origin));
        entries
    }

    /// Whether there is one account and nothing else to be done.
    pub(super) fn is_for_one(&self) -> bool {
        self.accounts.len() == 1 && self.onward.is_empty() && self.handed.is_empty()
    }

    /// Whether a recipient leads to one account and nowhere else.
    pub(super) fn leads_to_one(&self, recipient: usize) -> bool {
        self.by_recipient.get(recipient).is_some_and(|places| places.len() == 1)
            && !self.sent_on.contains(&recipient)
    }

    /// The account at this place.
    pub(crate) fn account(&self, place: usize) -> Option<&User> {
        self.accounts.get(place)
    }

    /// Whether a recipient leads to the account at this place.
    pub(super) fn concerns(&self, recipient: usize, place: usize) -> bool {
        self.by_recipient.get(recipient).is_some_and(|places| places.contains(&place))
    }
}

#[cfg(test)]
mod tests {
    use mailwright_relay_policy::{
        delivery::LocalTarget,
        directory::{Context, Directory, Handed, NoIncludes},
    };
    use mailwright_smtp_proto::{Mail, OriginalRecipient, Rcpt};

    use super::*;

    #[test]
    fn a_delivery_remembers_who_the_recipient_was_at_first() {
        let mut rcpt = Rcpt::new("bob@b.example".parse::<Address>().unwrap().into());
        rcpt.parameters.original = OriginalRecipient::new("rfc822", "list@a.example").ok();
        let mut way = Way::default();
        let mut expansion = Expansion::default();
        expansion.deliveries.push(mailwright_relay_policy::directory::Delivery::new("bob@b.example"));
        way.recipients.push((rcpt.to.clone(), Ok(expansion)));
        let sender = ReversePath::parse(b"<ann@a.example>").unwrap();
        let message = Message::new(Mail::new(sender.clone()), vec![rcpt]);
        let date = DateTime::new(7, 0).unwrap();
        let (user, id, skip, eight_bit, message_id) = (None, "1D", 0, false, None);
        let times = Times::default();
        let origin = Origin { message: &message, user, id, date, skip, eight_bit, message_id, times };
        let plan = Plan::new(&sender, &way).unwrap();
        let batch = plan.batch(&origin, &HashMap::new(), &RouteTable::default()).0;
        let delivery = batch.targets[0].delivery.as_ref().unwrap();
        assert_eq!((&*delivery.sender, &*delivery.recipient), ("ann@a.example", "bob@b.example"));
        assert_eq!(delivery.original_recipient.as_deref(), Some("rfc822;list@a.example"));
    }

    #[test]
    fn recipients_that_go_one_way_go_together() {
        let mut addresses = vec!["bob@b.example".to_owned(), "eve@c.example".into(), "joe@B.example".into()];
        addresses.push("bob@b.example".into());
        addresses.extend((0..250).map(|number| format!("r{number}@many.example")));
        let mut way = Way::default();
        for address in &addresses {
            let to = ForwardPath::Address(address.parse().unwrap());
            let expansion = Directory::default().expand(&to, &Context::default(), &NoIncludes).unwrap();
            way.recipients.push((to, Ok(expansion)));
        }
        let sender = ReversePath::parse(b"<ann@a.example>").unwrap();
        let rcpt = Rcpt::new("bob@b.example".parse::<Address>().unwrap().into());
        let message = Message::new(Mail::new(sender.clone()), vec![rcpt]);
        let origin = Origin {
            message: &message,
            user: Some("ann@a.example"),
            id: "1D",
            date: DateTime::new(7, 0).unwrap(),
            skip: 30,
            eight_bit: true,
            message_id: None,
            times: Times::default(),
        };
        let plan = Plan::new(&sender, &way).unwrap();
        let made = plan.batch(&origin, &HashMap::new(), &RouteTable::default()).0.queue;
        let counts: Vec<_> = made.iter().map(|entry| (&*entry.destination, entry.recipients.len())).collect();
        let many = "many.example";
        assert_eq!(counts, [("b.example", 2), ("c.example", 1), (many, 100), (many, 100), (many, 50)]);
        assert!(made.iter().all(|entry| entry.skip == 30 && entry.eight_bit && entry.due == 7));
        // With a smarthost all go one way.
        let routes = RouteTable::default().with_smarthost("[smart.example]".parse().unwrap());
        let made = plan.batch(&origin, &HashMap::new(), &routes).0.queue;
        assert_eq!(made.iter().map(|entry| entry.recipients.len()).collect::<Vec<_>>(), [100, 100, 53]);
        assert!(made.iter().all(|entry| entry.destination == "[smart.example]:25"));
    }

    #[test]
    fn a_program_runs_for_each_recipient_and_a_file_gets_one_copy() {
        let mut way = Way::default();
        for name in ["p1@a.example", "p2@a.example", "P1@a.example"] {
            let mut expansion = Expansion::default();
            for kind in [LocalKind::Command("note".into()), LocalKind::File("/copy".into())] {
                expansion.handed.push(Handed::new(LocalTarget::new(kind, None), name.to_lowercase()));
            }
            way.recipients.push((ForwardPath::Address(name.parse().unwrap()), Ok(expansion)));
        }
        let made = entries(&way, false, false);
        let told: Vec<_> =
            made.iter().map(|entry| (&*entry.destination, entry.recipients[0].address.as_str())).collect();
        assert_eq!(
            told,
            [
                ("command::note", "p1@a.example"),
                ("command::note", "p2@a.example"),
                ("file::/copy", "p1@a.example")
            ]
        );
    }

    #[test]
    fn only_who_needs_it_waits_for_a_host_that_takes_addresses_beyond_ascii() {
        let mut way = Way::default();
        for name in ["x@b.example", "jürg@b.example"] {
            let to = ForwardPath::Address(name.parse().unwrap());
            let expansion = Directory::default().expand(&to, &Context::default(), &NoIncludes).unwrap();
            way.recipients.push((to, Ok(expansion)));
        }
        for (smtputf8, eight_bit, expected) in [
            (false, false, [true, false]),
            (false, true, [true, false]),
            (true, true, [true, true]),
            // What says so and is ASCII goes everywhere.
            (true, false, [true, false]),
        ] {
            let made = entries(&way, smtputf8, eight_bit);
            let told: Vec<_> = made.iter().map(|entry| (entry.recipients.len(), entry.smtputf8)).collect();
            assert_eq!(told, expected.map(|utf8| (1, utf8)), "{smtputf8} {eight_bit}");
        }
    }

    fn entries(way: &Way, smtputf8: bool, eight_bit: bool) -> Vec<QueueEntry> {
        let sender = ReversePath::parse(b"<ann@a.example>").unwrap();
        let mut mail = Mail::new(sender.clone());
        mail.parameters.smtputf8 = smtputf8;
        let recipients = way.recipients.iter().map(|(to, _)| Rcpt::new(to.clone())).collect();
        let message = Message::new(mail, recipients);
        let (user, id, skip, message_id) = (None, "1D", 0, None);
        let (date, times) = (DateTime::new(7, 0).unwrap(), Times::default());
        let origin = Origin { message: &message, user, id, date, skip, eight_bit, message_id, times };
        let plan = Plan::new(&sender, way).unwrap();
        plan.batch(&origin, &HashMap::new(), &RouteTable::default()).0.queue
    }
}
