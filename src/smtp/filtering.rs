//! Filters at delivery: asked once for each account, before anything is committed.

use std::{collections::HashMap, pin::Pin, sync::Arc};

use mailwright_mail_model::{Address, DateTime, ForwardPath, ReversePath, mime::Structure};
use mailwright_mailstore::{
    Batch, QueueEntry, QueueRecipient, Result, Store, StoreError, Target, Upload, User, Write, clock,
};
use mailwright_relay_policy::{Session as Conversation, authentication::Examiner};
use mailwright_sieve::{By, Envelope, Message as Content};
use mailwright_smtp_proto::{ByMode, Notify, Reply, ReturnContent};

use super::{
    Addressing,
    deliver::StoreInbox,
    journal,
    parts::{Part, Parts},
    plan::{Origin, Plan, Way},
};
use crate::{
    filter::{Filing, Filter, Filtered, Given, Made, Mail, Octets, Refused, Seen, Sources},
    imap::Describer,
};

/// How often a message that a filter made may be filtered again on its way through accounts here.
const DEEPEST: u32 = 8;

/// Who hears of a refusal by the reply to the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Each recipient has a reply.
    Each,
    /// There is one reply for all.
    One,
    /// Nobody waits for one.
    Nobody,
}

impl<S: Store, R: Addressing, F: Filter> StoreInbox<S, R, F> {
    /// Asks the filter of each account that the message is for. What filters make waits for the commit of the message, and what they
    /// refuse is noted in `way`, if the client can be told.
    pub(super) async fn filter_all(
        &self,
        upload: &mut Upload,
        structure: &Arc<Structure>,
        origin: &Origin<'_>,
        way: &mut Way,
        told: Told,
        given: &Given,
    ) -> Decided {
        let mut all = Decided::default();
        let Ok(plan) = Plan::new(&origin.message.mail.from, way) else { return all };
        let told = match told {
            Told::Each => true,
            Told::One => plan.is_for_one(),
            Told::Nobody => false,
        };
        // In one order for all messages, whatever that of their recipients is: those that wait for others do not wait in a circle.
        let mut accounts: Vec<_> = plan.accounts().enumerate().collect();
        accounts.sort_by_key(|(_, (user, _))| *user);
        for (place, (user, named)) in accounts {
            let envelope = envelope(origin, named);
            let about = (origin.date, origin.skip);
            let owns = |address: &Address| self.addressing.owns(user.as_str(), address);
            let mail = Mail::new(user, upload, Arc::clone(structure), envelope, origin.id, about);
            let mut mail = mail.knowing(&owns).with_given(given);
            let mut filtered = self.filter.filter(&mut mail).await;
            journal::filtered(origin.id, user, &filtered);
            if let Some(refused) = filtered.refusal.take() {
                let mut concerned =
                    (0..way.recipients.len()).filter(|index| plan.concerns(*index, place)).peekable();
                let only = told
                    && refused.fits_reply()
                    && concerned.peek().is_some()
                    && concerned.all(|index| plan.leads_to_one(index));
                if only {
                    for (index, (_, expansion)) in way.recipients.iter_mut().enumerate() {
                        if plan.concerns(index, place) {
                            *expansion = Err(refusal(&refused.reason));
                        }
                    }
                    all.refused.push(user.clone());
                } else {
                    filtered.made.extend(refused.notice.map(|notice| *notice));
                }
            }
            let (id, date, require_tls) =
                (origin.id, origin.date, origin.message.mail.parameters.require_tls);
            let (depth, within) = (0, None);
            let work = Work { inbox: self, id, date, depth, account: user, within, require_tls, given };
            work.make(user, upload, &mut filtered, &mut all.parts).await;
            all.filtered.insert(user.clone(), filtered);
        }
        all.plan = Some(plan).filter(|_| all.refused.is_empty());
        all
    }
}

/// What the filters of all accounts have decided.
#[derive(Debug, Default)]
pub(super) struct Decided {
    pub(super) filtered: HashMap<User, Filtered>,
    /// What is to be done by the way as it is, if that is known.
    pub(super) plan: Option<Plan>,
    /// What they made of the message.
    pub(super) parts: Parts,
    /// Accounts that refuse the message, of which the client is told. What their filters made is sent all the same.
    pub(super) refused: Vec<User>,
}

impl Decided {
    /// What is remembered of the message for these accounts.
    pub(super) fn seen<'a>(&self, accounts: impl Iterator<Item = &'a User>) -> Vec<Seen> {
        let seen = accounts.filter_map(|user| self.filtered.get(user)).flat_map(|filtered| &filtered.seen);
        seen.cloned().collect()
    }
}

/// RFC 5429 §2.1: the reason as the text of the reply.
fn refusal(reason: &str) -> Reply {
    let words: Vec<&str> = reason.split_whitespace().collect();
    let text: String = words
        .join(" ")
        .chars()
        .map(|letter| if letter.is_ascii() && !letter.is_ascii_control() { letter } else { '?' })
        .take(Refused::REPLY)
        .collect();
    Reply::permanent((7, 1), text)
}

fn envelope(origin: &Origin<'_>, named: &str) -> Envelope {
    let mut envelope = Envelope::default();
    envelope.from = Some(origin.message.mail.from.address().map_or(String::new(), ToString::to_string));
    envelope.to = Some(named.to_owned());
    envelope.auth = origin.user.map(str::to_owned);
    let parameters = &origin.message.mail.parameters;
    envelope.ret = parameters.return_content.map(|content| {
        match content {
            ReturnContent::Headers => "HDRS",
            _ => "FULL",
        }
        .to_owned()
    });
    envelope.by = parameters.deliver_by.and_then(|by| {
        let at = DateTime::new(origin.date.seconds().checked_add(by.seconds().into())?, 0)?;
        Some(By::new(at, if by.mode() == ByMode::Return { 'R' } else { 'N' }, by.is_traced()))
    });
    envelope.id = parameters.envelope_id.as_ref().map(|id| id.as_str().to_owned());
    let rcpt = origin
        .message
        .recipients
        .iter()
        .find(|rcpt| rcpt.to.address().is_some_and(|address| address.as_str() == named));
    if let Some(rcpt) = rcpt {
        envelope.notify = rcpt.parameters.notify.map_or_else(Vec::new, notify);
        envelope.original_recipient = rcpt.parameters.original.as_ref().map(ToString::to_string);
    }
    envelope
}

/// The values of NOTIFY, a word each.
fn notify(notify: Notify) -> Vec<String> {
    let words = match notify {
        Notify::On { success, failure, delay } => {
            [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")]
        }
        _ => [(true, "NEVER"), (false, ""), (false, "")],
    };
    words.into_iter().filter(|(set, _)| *set).map(|(_, word)| word.to_owned()).collect()
}

/// Carrying out what filters made.
pub(super) struct Work<'w, I> {
    pub(super) inbox: &'w I,
    pub(super) id: &'w str,
    pub(super) date: DateTime,
    pub(super) depth: u32,
    /// To whom the message itself is being delivered.
    pub(super) account: &'w User,
    /// The part that is being delivered, if it is not the message itself.
    pub(super) within: Option<usize>,
    /// Whether what is made of the message, or because of it, goes on by TLS alone, as it came (RFC 8689 §6).
    pub(super) require_tls: bool,
    /// What programs were given of it.
    pub(super) given: &'w Given,
}

impl<S: Store, R: Addressing, F: Filter> Work<'_, StoreInbox<S, R, F>> {
    /// Makes ready what a filter made of the message in `source`. What fails is told in the log, and the message itself is then kept.
    pub(super) fn make<'a>(
        &'a self,
        user: &'a User,
        source: &'a mut Upload,
        filtered: &'a mut Filtered,
        parts: &'a mut Parts,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        // In a box, for what is made may be filtered in its turn.
        Box::pin(async move {
            let mut sources = Sources { own: source, others: &mut filtered.sources };
            for made in std::mem::take(&mut filtered.made) {
                let (number, automatic) = (parts.next(), made.automatic);
                if let Err(error) = self.one(user, &mut sources, made, (number, automatic), parts).await {
                    parts.leave_out_within(number);
                    tracing::error!(id = self.id, %user, %error, "what the filter made cannot be sent");
                    // An answer that is not sent is no loss; a message that is not sent on would be (RFC 5228 §2.10.6), a report of a
                    // failed delivery too.
                    if !automatic && filtered.filings.is_empty() {
                        filtered.filings.push(Filing::inbox());
                    }
                }
            }
        })
    }

    async fn one(
        &self,
        user: &User,
        source: &mut Sources<'_>,
        made: Made,
        (number, automatic): (usize, bool),
        parts: &mut Parts,
    ) -> Result<()> {
        let writer = self
            .inbox
            .store
            .writer()
            .ok_or_else(|| StoreError::ReadOnly("the store takes no mail".into()))?;
        let mut upload = writer.begin(Some(made.message.octets())).await?;
        // RFC 5321 §4.4: for the mailboxes here; it is not sent on.
        let front = made.send.as_ref().map_or(String::new(), |(sender, _)| {
            format!("Return-Path: <{}>\r\n", sender.address().map_or("", Address::as_str))
        });
        let skip = front.len() as u64;
        let fields = match &made.send {
            Some(_) => self.signatures(user, source, &made).await?,
            None => String::new(),
        };
        let (describer, eight_bit) = copy(source, &mut upload, front + &fields, &made.message).await?;
        let structure = Arc::new(describer.finish_into(&mut upload));
        let target = |user: &User, filing: &Filing| {
            let owner = filing.owner.as_ref().unwrap_or(user).clone();
            Target::new(owner, filing.mailbox.clone(), self.date).with_flags(filing.flags.clone())
        };
        let mut targets: Vec<Target> = made.filings.iter().map(|filing| target(user, filing)).collect();
        let rows_of = |filings: &[Filing], first: usize| -> Vec<_> {
            (first..).zip(filings).filter_map(|(target, filing)| filing.row(target)).collect()
        };
        let mut rows = rows_of(&made.filings, 0);
        let mut queue = Vec::new();
        let mut seen = Vec::from_iter(made.seen);
        if let Some((sender, to)) = made.send {
            // It goes where mail from this user would go.
            let mut session = Conversation::default();
            session.user = Some(user.as_str().to_owned());
            let path = ForwardPath::Address(to);
            let expansion = self.inbox.addressing.expand(&session, &path).await;
            let expansion = expansion
                .and_then(|expansion| self.inbox.possible(expansion))
                .map_err(|reply| StoreError::Invalid(reply.to_string().trim_end().to_owned()))?;
            for delivery in &expansion.deliveries {
                let Ok(account) = User::new(&delivery.account) else { continue };
                let filtered = if self.depth < DEEPEST {
                    let mut envelope = Envelope::default();
                    envelope.from = Some(sender.address().map_or(String::new(), ToString::to_string));
                    envelope.to = path.address().map(ToString::to_string);
                    let about = (self.date, skip);
                    let owns = |address: &Address| self.inbox.addressing.owns(account.as_str(), address);
                    let mail =
                        Mail::new(&account, &mut upload, Arc::clone(&structure), envelope, self.id, about);
                    let mut mail = mail.knowing(&owns).with_given(self.given);
                    let mut filtered = self.inbox.filter.filter(&mut mail).await;
                    if let Some(refused) = filtered.refusal.take() {
                        filtered.made.extend(refused.notice.map(|notice| *notice));
                    }
                    let deeper = Work { depth: self.depth + 1, within: Some(number), ..*self };
                    deeper.make(&account, &mut upload, &mut filtered, parts).await;
                    seen.append(&mut filtered.seen);
                    filtered
                } else {
                    Filtered::keep()
                };
                rows.extend(rows_of(&filtered.filings, targets.len()));
                targets.extend(filtered.filings.iter().map(|filing| target(&account, filing)));
            }
            let due = u64::try_from(self.date.seconds()).unwrap_or(0);
            let arrival = clock::read().to_date_with();
            for handed in &expansion.handed {
                let Some(to) = path.address() else { continue };
                let mut entry = QueueEntry::new(self.id, sender.clone(), handed.target.to_string(), due);
                entry.arrival = arrival;
                entry.skip = skip;
                entry.user = Some(user.as_str().to_owned());
                entry.require_tls = self.require_tls;
                entry.recipients = vec![QueueRecipient::new(to.clone())];
                queue.push(entry);
            }
            queue.extend(expansion.onward.iter().map(|onward| {
                let domain = onward.to.domain().key();
                let answered = sender
                    .address()
                    .and_then(|sender| self.inbox.addressing.forwarded_as(sender, user.as_str()));
                let sender = answered.map_or_else(|| sender.clone(), ReversePath::Address);
                let mut entry = QueueEntry::new(self.id, sender.clone(), domain, due);
                entry.arrival = arrival;
                entry.skip = skip;
                entry.eight_bit = eight_bit;
                entry.user = Some(user.as_str().to_owned());
                entry.require_tls = self.require_tls;
                let mut recipient = QueueRecipient::new(onward.to.clone());
                recipient.notify = made.notify.unwrap_or(recipient.notify);
                entry.recipients = vec![recipient];
                entry.return_content = made.return_content;
                entry.deadline = made.deadline;
                entry.smtputf8 = !onward.to.is_ascii()
                    || sender.address().is_some_and(|sender: &Address| !sender.is_ascii());
                entry
            }));
        }
        let mut batch = Batch::to(targets).with_queue(queue).with_rows(rows);
        let seen = self.inbox.remembered(&seen, &mut batch);
        let octets = skip + fields.len() as u64 + made.message.octets();
        let (account, owner) = (self.account.clone(), user.clone());
        let within = self.within;
        let part = Part { number, within, account, owner, automatic, upload, batch, seen, done: false };
        parts.add(part, octets).await
    }
}

impl<S: Store, R: Addressing, F: Filter> Work<'_, StoreInbox<S, R, F>> {
    /// What is sent for a user is signed by the user's domain, if it has a key, and sealed if it came from elsewhere.
    async fn signatures(&self, user: &User, source: &mut Sources<'_>, made: &Made) -> Result<String> {
        let domain = user.as_str().rsplit_once('@').map(|(_, domain)| domain.to_lowercase());
        let Some((authentication, domain)) = self.inbox.authentication.as_ref().zip(domain) else {
            return Ok(String::new());
        };
        if !authentication.signs(&domain) {
            return Ok(String::new());
        }
        let mut examiner = Examiner::new().for_signing();
        let mut octets = Octets::of(&made.message);
        while let Some(some) = octets.next(source).await? {
            examiner.push(&some);
        }
        Ok(authentication.sent_for(user.as_str(), &domain, &examiner.finish(), made.forwarded).await)
    }
}

/// Writes a message that was made of another one; finds out its parts on the way, and whether any octet is above 127.
async fn copy(
    source: &mut Sources<'_>,
    upload: &mut Upload,
    front: String,
    message: &Content,
) -> Result<(Describer, bool)> {
    let (mut describer, mut eight_bit) = (Describer::default(), false);
    describer.push(front.as_bytes());
    upload.write(front.into()).await?;
    let mut octets = Octets::of(message);
    while let Some(some) = octets.next(source).await? {
        describer.push(&some);
        eight_bit |= !some.is_ascii();
        upload.write(some).await?;
    }
    Ok((describer, eight_bit))
}
