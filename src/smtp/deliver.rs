//! Delivery into a store, within the transaction.

use std::{sync::Arc, time::Duration};

use mailwright_mail_model::{Address, ForwardPath, ReversePath, mime};
use mailwright_mailstore::{Store, Upload};
use mailwright_relay_policy::{
    Chain, Session as Conversation, Verdict,
    delivery::Verp,
    directory::{Expansion, Onward, OnwardReason},
    networks::AddressRange,
    route::{NextHop, RouteTable},
};
use mailwright_smtp_proto::{
    Hello, HelloKind, Mail, Message, Outcome, Rcpt, Reply, Solicitation, server::Abilities,
};

use super::{
    Addressing, Body, Inbox, OnDemand, QueueStarter, SendBack, StartQueue, Verify,
    authentication::Authentication,
    commit::About,
    filtering::Told,
    intake::Intake,
    journal,
    plan::{Origin, Way},
    recipient::same_owner,
    room::Room,
    solicited,
    timing::{self, Times},
    trace_fields::{delivered_to, now},
};
use crate::{
    filter::Filter,
    imap::ForeignNames,
    service::{entropy, shown},
};

/// An inbox that delivers into the `INBOX` of each recipient's account: one commit for all of them, and the positive
/// reply only after it.
#[derive(Debug)]
pub struct StoreInbox<S, R, F = ()> {
    pub(super) store: S,
    pub(super) addressing: R,
    pub(super) filter: F,
    pub(super) policy: Chain,
    pub(super) hostname: String,
    pub(super) routes: Arc<RouteTable>,
    pub(super) authentication: Option<Arc<Authentication>>,
    pub(super) starter: Option<QueueStarter>,
    pub(super) on_demand: Option<OnDemand>,
    longest_hold: Option<Duration>,
    urgent: Vec<AddressRange>,
    pub(super) unwanted: Option<Solicitation>,
    room: Option<Room>,
    pub(super) names: ForeignNames,
}

impl<S: Store, R: Addressing> StoreInbox<S, R> {
    /// Delivers into `store`, and queues there what goes on, to whom `addressing` knows and `policy` does not refuse. `hostname` goes into the
    /// trace fields.
    pub fn new(store: S, addressing: R, policy: Chain, hostname: impl Into<String>) -> Self {
        Self {
            store,
            addressing,
            filter: (),
            policy,
            hostname: hostname.into(),
            routes: Arc::default(),
            authentication: None,
            starter: None,
            on_demand: None,
            longest_hold: None,
            urgent: Vec::new(),
            unwanted: None,
            room: None,
            names: ForeignNames::default(),
        }
    }
}

impl<S: Store, R: Addressing, F: Filter> StoreInbox<S, R, F> {
    /// The same, with a filter that says into which mailboxes of an account a message goes.
    pub fn with_filter<G: Filter>(self, filter: G) -> StoreInbox<S, R, G> {
        StoreInbox {
            store: self.store,
            addressing: self.addressing,
            filter,
            policy: self.policy,
            hostname: self.hostname,
            routes: self.routes,
            authentication: self.authentication,
            starter: self.starter,
            on_demand: self.on_demand,
            longest_hold: self.longest_hold,
            urgent: self.urgent,
            unwanted: self.unwanted,
            room: self.room,
            names: self.names,
        }
    }

    /// Holds back messages of users who log in until the time that they ask for, but no longer than this (FUTURERELEASE, RFC 4865). For a
    /// store with a queue; the [`Queue`](crate::queue::Queue) is to be told
    /// [whom it gives them to](crate::queue::Queue::release_to).
    #[must_use]
    pub fn with_longest_hold(mut self, longest: Duration) -> Self {
        self.longest_hold = Some(longest).filter(|longest| !longest.is_zero());
        self
    }

    /// Believes clients in these networks that a message is urgent (MT-PRIORITY, RFC 6710), besides users who have logged in. What others say
    /// is urgent goes with the rest.
    #[must_use]
    pub fn with_urgent_clients(mut self, clients: Vec<AddressRange>) -> Self {
        self.urgent = clients;
        self
    }

    /// Refuses advertising of these classes for all that it leads to here, as SOLICIT or the message's own header tells of it, and announces
    /// that (NO-SOLICITING, RFC 3865).
    #[must_use]
    pub fn with_unwanted(mut self, classes: Option<Solicitation>) -> Self {
        self.unwanted = classes;
        self
    }

    /// With routes for what goes on: those of the [`Queue`](crate::queue::Queue). Recipients that go the same way share an
    /// entry of the queue.
    #[must_use]
    pub fn with_routes(mut self, routes: Arc<RouteTable>) -> Self {
        self.routes = routes;
        self
    }

    /// Refuses messages at MAIL (452 4.3.1) for which this says that there is no room: it is asked about as many octets as MAIL
    /// announced, or 0, and is not to wait for anything. Stores refuse by themselves what does not fit, but only when it comes.
    #[must_use]
    pub fn with_room(mut self, fits: impl Fn(u64) -> bool + Send + Sync + 'static) -> Self {
        self.room = Some(Room::new(fits));
        self
    }

    /// Lets clients have the queue run (ETRN).
    #[must_use]
    pub fn with_queue_starter(mut self, starter: QueueStarter) -> Self {
        self.starter = Some(starter);
        self
    }

    /// Lets clients come for the mail of their domains (ATRN).
    #[must_use]
    pub fn with_on_demand(mut self, on_demand: OnDemand) -> Self {
        self.on_demand = Some(on_demand);
        self
    }

    /// With what finds out where messages come from, and signs those that come from here.
    #[must_use]
    pub fn with_authentication(mut self, authentication: Arc<Authentication>) -> Self {
        self.authentication = Some(authentication);
        self
    }

    /// What each recipient stands for, and the copies that are to be made. A copy that cannot be made does not stop the
    /// message.
    pub(super) async fn way(
        &self,
        session: &Conversation,
        message: &Message,
        proved: Option<&Address>,
    ) -> Way {
        let mut way = Way::default();
        for rcpt in &message.recipients {
            let expansion = self.addressing.expand(session, &rcpt.to).await;
            let expansion = expansion.and_then(|expansion| self.possible(expansion));
            let expansion = expansion.and_then(|expansion| same_owner(rcpt, expansion));
            let own = variable_sender(&message.mail, &rcpt.to);
            let sender = own.as_ref().or_else(|| message.mail.from.address());
            let answered = expansion.map(|expansion| self.answer_for(sender, own.as_ref(), expansion));
            way.recipients.push((rcpt.to.clone(), answered));
        }
        let taken = way.recipients.iter().filter(|(_, expansion)| expansion.is_ok());
        let recipients: Vec<Address> = taken.filter_map(|(to, _)| to.address().cloned()).collect();
        for copy in self.addressing.copies(proved, &recipients) {
            let to = ForwardPath::Address(copy.to);
            let expansion = self.addressing.expand(session, &to).await;
            match expansion.and_then(|expansion| self.possible(expansion)) {
                Ok(mut expansion) => {
                    expansion.report_to(copy.sender.as_ref());
                    way.copies.push((to, expansion));
                }
                Err(reply) => {
                    tracing::error!(%to, %reply, reason = ?copy.reason, "a blind copy cannot be made");
                }
            }
        }
        way
    }

    /// The same, with the senders that what is forwarded goes on with, and what has a sender of its own.
    fn answer_for(
        &self,
        sender: Option<&Address>,
        own: Option<&Address>,
        mut expansion: Expansion,
    ) -> Expansion {
        let Some(sender) = sender else { return expansion };
        for onward in expansion.onward.iter_mut().filter(|onward| onward.owner.is_none()) {
            onward.sender = match &onward.reason {
                OnwardReason::Forward(name) => self.addressing.forwarded_as(sender, name),
                _ => None,
            };
            onward.sender = onward.sender.take().or_else(|| own.cloned());
        }
        expansion
    }

    /// The same, if this server can do it.
    pub(super) fn possible(&self, expansion: Expansion) -> Result<Expansion, Reply> {
        if !expansion.handed.is_empty() && self.store.spool().is_none() {
            tracing::error!(
                "an alias leads to a file or a program, which a store without a queue cannot deliver to"
            );
            return Err(Reply::INTERNAL);
        }
        if !expansion.onward.is_empty() && self.store.spool().is_none() {
            return Err(Reply::permanent((7, 1), "This server delivers to its own domains only"));
        }
        // Here rather than by a report to a sender who may be forged, for domains that we relay for as well.
        for onward in expansion.onward.iter().filter(|onward| is_meant(&expansion, onward)) {
            if let NextHop::Refuse(text) = self.routes.next_hop(&onward.to) {
                return Err(Reply::permanent((1, 2), format!("<{}>: {text}", onward.to)));
            }
        }
        for address in &expansion.dangling {
            tracing::warn!(%address, "an alias leads to an address that nobody has");
        }
        Ok(expansion)
    }
}

/// A message that is here whole, and nowhere yet.
pub(super) struct Received {
    pub(super) upload: Upload,
    pub(super) structure: Arc<mime::Structure>,
    pub(super) size: u64,
    /// The octets at its beginning that are for mailboxes only.
    pub(super) skip: u64,
    /// Whether any octet is above 127.
    pub(super) eight_bit: bool,
    pub(super) message_id: Option<String>,
    /// Whether it is suspicious.
    pub(super) quarantine: bool,
    /// For whom it was sent on before, in lower case.
    pub(super) delivered_to: Vec<String>,
}

impl<S: Store, R: Addressing, F: Filter> Inbox for StoreInbox<S, R, F> {
    /// Reports need a queue: it makes them, and it passes on by TLS what must be. Each recipient can have a reply of its own.
    fn abilities(&self) -> Abilities {
        let mut abilities = Abilities::default();
        abilities.binary = true;
        abilities.dsn = self.store.spool().is_some();
        abilities.require_tls = self.store.spool().is_some();
        abilities.each_recipient = true;
        if self.store.spool().is_some() {
            // Any time will do: what cannot be kept to is told.
            abilities.deliver_by = Some(None);
            // RFC 6710 §8: no profile has to be named.
            abilities.priority = Some(String::new());
        }
        abilities.valid_since = self.addressing.knows_owners();
        abilities.no_soliciting = self.unwanted.clone().map(Some);
        abilities
    }

    fn longest_hold(&self) -> Option<Duration> {
        self.longest_hold.filter(|_| self.store.spool().is_some())
    }

    fn verify(&self) -> Option<&impl Verify> {
        Some(self)
    }

    fn queues(&self) -> Option<&impl StartQueue> {
        self.starter.is_some().then_some(self)
    }

    fn turns(&self) -> Option<&impl SendBack> {
        (self.on_demand.is_some() && self.store.spool().is_some()).then_some(self)
    }

    async fn connection(&self, session: &Conversation) -> Result<(), Reply> {
        match self.policy.decide_connect(session).await.verdict {
            Verdict::Reject(reply) => Err(at_greeting(&reply)),
            _ => Ok(()),
        }
    }

    async fn hello(&self, session: &Conversation, hello: &Hello) -> Result<(), Reply> {
        match self.policy.decide_hello(session, hello).await.verdict {
            Verdict::Reject(reply) => Err(reply),
            _ => Ok(()),
        }
    }

    async fn sender(&self, session: &Conversation, mail: &Mail) -> Reply {
        match self.policy.decide_mail(session, mail).await.verdict {
            Verdict::Reject(reply) => reply,
            _ => match self.room.as_ref().and_then(|room| room.refusal(mail)) {
                Some(reply) => reply,
                None => timing::reply(session, mail, &self.urgent),
            },
        }
    }

    async fn recipient(&self, session: &Conversation, rcpt: &Rcpt) -> Reply {
        match self.expanded(session, rcpt).await {
            Ok(_) => Reply::RECIPIENT_OK,
            Err(reply) => reply,
        }
    }

    async fn deliver(&self, session: &Conversation, message: &Message, body: &mut Body<'_>) -> Outcome {
        let Ok(id) = queue_id() else { return Reply::INTERNAL.into() };
        let proved = session.user.is_some() || session.local.is_some() || self.addressing.trusts(session);
        let proved = message.mail.from.address().filter(|_| proved);
        let mut way = self.way(session, message, proved).await;
        let sent_on = way.recipients.iter().find_map(|(to, expansion)| {
            let expansion = expansion.as_ref().ok()?;
            to.address().filter(|_| !expansion.onward.is_empty())
        });
        let delivered_to = way.sent_on_for().map(delivered_to).unwrap_or_default();
        let intake = Intake {
            store: &self.store,
            policy: &self.policy,
            authentication: self.authentication.as_deref(),
            hostname: &self.hostname,
            forwarder: sent_on.map(|address| address.domain().key()),
            delivered_to: &delivered_to,
        };
        let Received { mut upload, structure, size, skip, eight_bit, message_id, quarantine, delivered_to } =
            match intake.take(session, message, body, &id).await {
                Ok(received) => received,
                Err(reply) => {
                    journal::refused(&id, session, message, &reply);
                    return self.refuse(session, message, reply);
                }
            };
        if let Some(unwanted) = &self.unwanted {
            solicited::look(unwanted, &mut upload, &structure, &mut way).await;
        }
        // LMTP has a reply for each recipient (RFC 2033 §4.2), and so has PRDR; else SMTP has one, so it is all or none.
        let each = session.hello.as_ref().is_some_and(|hello| hello.kind == HelloKind::Lhlo)
            || message.mail.parameters.each_recipient;
        way.end_loops(&delivered_to, each);
        let date = now();
        let priority = timing::priority(session, &message.mail, &self.urgent);
        let origin = Origin {
            message,
            user: session.user.as_deref(),
            id: &id,
            date,
            skip,
            eight_bit,
            message_id,
            times: Times::of(&message.mail.parameters, priority, date),
        };
        journal::accepted(session, &origin, size, &way);
        if origin.times.release.is_some() {
            let replies = self.hold_back(&mut upload, &origin, &way).await;
            return told(session, &origin, size, replies, each);
        }
        let hears = if each { Told::Each } else { Told::One };
        let (routes, date, rows, settled) = (&*self.routes, None, &[][..], None);
        let about = About { origin: &origin, routes, date, rows, settled, quarantine };
        let replies = self.filter_and_commit(&mut upload, &structure, way, &about, hears, each).await;
        told(session, &origin, size, replies, each)
    }
}

impl<S: Store, R: Addressing, F: Filter> StoreInbox<S, R, F> {
    /// The outcome for a message that was refused whole.
    fn refuse(&self, session: &Conversation, message: &Message, reply: Reply) -> Outcome {
        let from = message.mail.from.to_string();
        tracing::info!(peer = shown(&session.peer), from, reply = %reply.to_string().trim_end(), "message refused");
        if session.hello.as_ref().is_some_and(|hello| hello.kind == HelloKind::Lhlo) {
            return vec![reply; message.recipients.len()].into();
        }
        reply.into()
    }
}

/// Whether an address elsewhere is all that a recipient stands for: what is refused there is refused here. One of several that an alias leads
/// to does not keep the message from the others.
fn is_meant(expansion: &Expansion, onward: &Onward) -> bool {
    let others = expansion.deliveries.len() + expansion.onward.len() + expansion.handed.len() > 1;
    match onward.reason {
        OnwardReason::Remote => true,
        OnwardReason::Relay => !others,
        _ => false,
    }
}

/// What the client is told of a message, and the log for each recipient. Without `each` there is one reply, and it holds for all of them: a
/// refusal of one is one of the message.
fn told(session: &Conversation, origin: &Origin<'_>, size: u64, replies: Vec<Reply>, each: bool) -> Outcome {
    let count = replies.len();
    let replies = if each { replies } else { vec![first_refusal(replies); count] };
    let sender = match &origin.message.mail.from {
        ReversePath::Address(address) => address.as_str(),
        _ => "<>",
    };
    let peer = shown(&session.peer);
    for (rcpt, reply) in origin.message.recipients.iter().zip(&replies) {
        let reply = reply.encode();
        tracing::info!(
            id = origin.id,
            peer,
            from = sender,
            to = %rcpt.to,
            size,
            reply = %str::from_utf8(&reply).unwrap_or_default().trim_end(),
            "message"
        );
    }
    if each { replies.into() } else { first_refusal(replies).into() }
}

/// A refusal in place of a greeting: RFC 5321 §3.1 has 554 for that, and §3.8 the 421 of a server that closes.
fn at_greeting(reply: &Reply) -> Reply {
    let code = if reply.is_transient() { 421 } else { 554 };
    let text = reply.lines().next().unwrap_or_default().to_owned();
    Reply::new(code, reply.enhanced(), text).unwrap_or(Reply::RELAY_DENIED)
}

/// The sender of a message to this recipient alone, if that was asked for (XVERP) and can be written.
fn variable_sender(mail: &Mail, to: &ForwardPath) -> Option<Address> {
    let delimiters = mail.parameters.verp?;
    let mut verp = Verp::default();
    (verp.before, verp.at) = (delimiters.before(), delimiters.at());
    verp.encode(mail.from.address()?, to.address()?).ok()
}

fn first_refusal(replies: Vec<Reply>) -> Reply {
    let refused = replies.iter().position(|reply| !reply.is_positive()).unwrap_or(0);
    replies.into_iter().nth(refused).unwrap_or(Reply::INTERNAL)
}

/// What the message is called in replies, trace fields and the log.
pub(crate) fn queue_id() -> std::io::Result<String> {
    let octets = entropy()?;
    let digit = |digit: u8| char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase();
    let mut id = String::with_capacity(16);
    octets.iter().take(8).for_each(|octet| id.extend([digit(octet >> 4), digit(octet & 15)]));
    Ok(id)
}
