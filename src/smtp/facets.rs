//! What an inbox may offer beyond taking messages: each a trait, and offered by the server if the inbox has it.

use std::future::Future;

use mailwright_mail_model::{Domain, ForwardPath};
use mailwright_mailstore::Store;
use mailwright_relay_policy::{
    Session as Conversation,
    directory::{Expansion, Onward, OnwardReason},
};
use mailwright_smtp_proto::{Atrn, Etrn, Expn, Rcpt, Reply, Vrfy};

use super::{Addressing, StoreInbox, TurnedServer};
use crate::filter::Filter;

/// Says whether somebody is a user here: VRFY.
pub trait Verify: Send + Sync {
    /// 250 and the address, 252 for neither yes nor no, or 550.
    fn verify(&self, session: &Conversation, vrfy: &Vrfy) -> impl Future<Output = Reply> + Send;
}

/// Says who is on a list: EXPN.
pub trait Expand: Send + Sync {
    /// 250 with a member on each line, or a refusal.
    fn expand(&self, session: &Conversation, expn: &Expn) -> impl Future<Output = Reply> + Send;
}

/// Runs a queue when a client asks for it: ETRN (RFC 1985).
pub trait StartQueue: Send + Sync {
    /// 250 to 253 if it was started or there is nothing in it, 458 or 459 if it cannot be.
    fn start(&self, session: &Conversation, etrn: &Etrn) -> impl Future<Output = Reply> + Send;
}

/// Sends clients the mail of their domains on their own connections: ATRN (RFC 2645).
pub trait SendBack: Send + Sync {
    /// Which domains a client that has logged in gets the mail of; or 450 if they are not its own, 453 if nothing waits, 451 if it cannot
    /// be now.
    fn grant(
        &self,
        session: &Conversation,
        atrn: &Atrn,
    ) -> impl Future<Output = Result<Vec<Domain>, Reply>> + Send;

    /// Sends it: the roles have turned. May be dropped at any time.
    fn send_back(&self, domains: Vec<Domain>, turned: TurnedServer) -> impl Future<Output = ()> + Send;
}

/// What is not there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Never {}

impl Verify for Never {
    async fn verify(&self, _: &Conversation, _: &Vrfy) -> Reply {
        match *self {}
    }
}

impl Expand for Never {
    async fn expand(&self, _: &Conversation, _: &Expn) -> Reply {
        match *self {}
    }
}

impl StartQueue for Never {
    async fn start(&self, _: &Conversation, _: &Etrn) -> Reply {
        match *self {}
    }
}

impl SendBack for Never {
    async fn grant(&self, _: &Conversation, _: &Atrn) -> Result<Vec<Domain>, Reply> {
        match *self {}
    }

    async fn send_back(&self, _: Vec<Domain>, _: TurnedServer) {
        match *self {}
    }
}

impl<S: Store, R: Addressing, F: Filter> Verify for StoreInbox<S, R, F> {
    async fn verify(&self, session: &Conversation, vrfy: &Vrfy) -> Reply {
        // RFC 5321 §3.5.1: a mailbox, with or without brackets
        let text = if vrfy.user.starts_with('<') { vrfy.user.clone() } else { format!("<{}>", vrfy.user) };
        let Ok(path) = ForwardPath::parse(text.as_bytes()) else {
            return Reply::permanent((1, 3), "A mailbox is user@domain");
        };
        // What RCPT would say, but for the name; of nobody's mail, so that it leaves no trace in the rules.
        let mut session = session.clone();
        session.rehearsal = true;
        match self.expanded(&session, &Rcpt::new(path.clone())).await {
            Ok(expansion) if is_verified(&expansion) => Reply::positive((1, 5), path.to_string()),
            // RFC 5321 §3.5.3: what only passes through here is for others to know.
            Ok(_) => Vrfy::DECLINED,
            Err(reply) => reply,
        }
    }
}

/// Whether an address is one of those here, wherever it leads.
fn is_verified(expansion: &Expansion) -> bool {
    let forwards = |onward: &Onward| matches!(onward.reason, OnwardReason::Forward(_));
    !expansion.deliveries.is_empty() || !expansion.handed.is_empty() || expansion.onward.iter().any(forwards)
}
