//! Delivery of mail that was fetched from elsewhere: as if it had come by LMTP, but that nobody waits for a reply.

use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::{Address, ForwardPath, MailboxName};
use mailwright_mailstore::{Folders, Store, User, Write};
use mailwright_relay_policy::{
    Session as Conversation,
    directory::{Delivery, Expansion, Refusal},
};
use mailwright_smtp_proto::{Mail, Message, Rcpt, Reply};

use super::{
    Addressing, StoreInbox,
    border::BorderFilter,
    commit::About,
    deliver,
    filtering::{Decided, Told},
    intake::{Intake, Source},
    plan::{Origin, Way},
    timing::Times,
    trace_fields::{fetched, now},
};
use crate::{
    fetch::{Arrival, Pieces, Receive, Received},
    filter::{Filing, Filter, Filtered},
    imap::{ForeignNames, Groups},
};

impl<S: Store, R: Addressing, F: Filter> StoreInbox<S, R, F> {
    /// Knows that there are groups, whose mailboxes have names that fetched mail does not go by. Give it what the
    /// [`Imap`](crate::imap::Imap::with_groups) has.
    #[must_use]
    pub fn with_groups(mut self, groups: Arc<dyn Groups>) -> Self {
        self.names = ForeignNames::with_groups(groups);
        self
    }
}

impl<S: Store, R: Addressing, F: Filter> Receive for StoreInbox<S, R, F> {
    async fn takes_for(&self, user: &User) -> Result<(), Reply> {
        // A user whose name is no address has a mailbox, and nobody to ask.
        let Ok(address) = user.as_str().parse::<Address>() else { return Ok(()) };
        let owns = self.addressing.owns(user.as_str(), &address);
        let mut session = Conversation::default();
        session.user = Some(user.as_str().to_owned());
        let expansion = self.addressing.expand(&session, &ForwardPath::Address(address.clone())).await;
        match (owns, expansion) {
            (_, Err(reply)) => Err(reply),
            // Somebody else has mail to that address now, such as who has all that is for nobody.
            (Some(false), Ok(_)) => Err(Refusal::Unknown.reply(address.as_str())),
            (_, Ok(_)) => Ok(()),
        }
    }

    async fn receive<P: Pieces>(&self, arrival: &Arrival<'_>, pieces: &mut P) -> Result<Received, Reply> {
        // What goes past the way of all mail asks there nevertheless.
        self.takes_for(arrival.user).await?;
        let id = deliver::queue_id().map_err(|_| Reply::INTERNAL)?;
        let date = now();
        let trace = fetched(arrival, &self.hostname, &id, date);
        let border = BorderFilter::new(&self.hostname);
        let mut source = Fetched { pieces, border, state: State::Open };
        let intake = Intake {
            store: &self.store,
            policy: &self.policy,
            authentication: None,
            hostname: &self.hostname,
            forwarder: None,
            delivered_to: "",
        };
        let received = intake.fetch(arrival.size, &trace, &mut source).await;
        if source.state == State::Broken {
            return Ok(Received::Dropped);
        }
        let deliver::Received { mut upload, structure, size, skip, eight_bit, message_id, .. } = received?;
        let Some(end) = pieces.end() else { return Ok(Received::Dropped) };

        // It goes where mail for this user goes, whoever may write to it: it is the user's own.
        let mut session = Conversation::default();
        session.user = Some(arrival.user.as_str().to_owned());
        let (to, mut way) = match arrival.user.as_str().parse() {
            Ok(address) if arrival.mailbox.is_none() => (ForwardPath::Address(address), None),
            // A user whose name is no address has no other way than its mailbox, nor has what is in a mailbox already.
            _ => {
                let alone = Expansion::to(Delivery::new(arrival.user.as_str()));
                let mut way = Way::default();
                way.recipients.push((ForwardPath::Postmaster, Ok(alone)));
                (ForwardPath::Postmaster, Some(way))
            }
        };
        let message = Message::new(Mail::new(end.sender), vec![Rcpt::new(to)]);
        let way = match way.take() {
            Some(way) => way,
            // The sender proved nothing to us.
            None => self.way(&session, &message, None).await,
        };
        let (user, times) = (None, Times::default());
        let origin = Origin { message: &message, user, id: &id, date, skip, eight_bit, message_id, times };
        let with_rows = self.store.writer().is_some_and(Write::takes_rows);
        let rows = if with_rows { &end.rows[..] } else { &[] };
        let (routes, date, settled, quarantine) = (&*self.routes, end.date, None, false);
        let about = About { origin: &origin, routes, date, rows, settled, quarantine };
        let replies = if let Some(mailbox) = arrival.mailbox {
            let inbox = MailboxName::inbox();
            // What is called so elsewhere is the user's own mail: it is not for others, and nobody could open it here.
            let mailbox = if self.names.is_foreign(&self.store, mailbox) { &inbox } else { mailbox };
            if let Some(folders) = self.store.folders() {
                // It may be there; where it cannot be made, the delivery says so.
                let _ = folders.create(arrival.user, mailbox, None).await;
            }
            let mut filed = Filtered::default();
            filed.filings.push(Filing::new(mailbox.clone(), end.flags.clone()));
            let mut decided = Decided::default();
            decided.filtered.insert(arrival.user.clone(), filed);
            let conflict = vec![Reply::INTERNAL; way.recipients.len()];
            // Nothing is remembered of it, so that nobody can be faster.
            self.commit(&mut upload, way, decided, &about, true).await.unwrap_or(conflict)
        } else {
            self.filter_and_commit(&mut upload, &structure, way, &about, Told::Nobody, true).await
        };
        let reply = replies.into_iter().next().unwrap_or(Reply::INTERNAL);
        tracing::info!(
            id,
            host = arrival.host,
            user = %arrival.user,
            size,
            reply = %reply.to_string().trim_end(),
            "fetched"
        );
        match (reply.is_positive(), with_rows) {
            (true, true) => Ok(Received::WithRows),
            (true, false) => Ok(Received::WithoutRows),
            (false, _) => Err(reply),
        }
    }
}

/// What comes from outside, without what only we may say.
struct Fetched<'a, P> {
    pieces: &'a mut P,
    border: BorderFilter,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Broken,
}

impl<P: Pieces> Source for Fetched<'_, P> {
    async fn chunk(&mut self) -> Result<Option<Bytes>, Reply> {
        if self.state != State::Open {
            return Ok(None);
        }
        match self.pieces.next().await {
            Ok(Some(chunk)) => Ok(Some(self.border.push(chunk))),
            Ok(None) => {
                self.state = State::Ended;
                Ok(Some(self.border.finish()).filter(|rest| !rest.is_empty()))
            }
            Err(_) => {
                self.state = State::Broken;
                Err(Reply::INTERNAL)
            }
        }
    }
}
