//! Finding out what the recipients of a message stand for.

use std::future::Future;

use mailwright_mail_model::{Address, ForwardPath};
use mailwright_mailstore::accounts::Recipients;
use mailwright_relay_policy::{
    Session as Conversation,
    directory::{BlindCopy, Delivery, Expansion, Onward, Refusal},
};
use mailwright_smtp_proto::Reply;

/// Whose mail an address takes in, and where else it leads: for delivery.
///
/// Whoever knows accounts and nothing else implements [`Recipients`], which is one method, and has this by it.
pub trait Addressing: Send + Sync {
    /// What a recipient stands for, at RCPT and again when the message is there.
    ///
    /// # Errors
    /// What the client is told.
    fn expand(
        &self,
        session: &Conversation,
        recipient: &ForwardPath,
    ) -> impl Future<Output = Result<Expansion, Reply>> + Send;

    /// Whether it is known of all accounts here since when they are whose they are
    /// ([`Delivery::since`](mailwright_relay_policy::directory::Delivery::since)), so that RRVS (RFC 7293) can be offered. By default not.
    fn knows_owners(&self) -> bool {
        false
    }

    /// Whether an address is an account's own: its name, with or without a detail, or an alias that leads to it alone; not that of a group,
    /// a list or a catch-all, nor any that is not known here. `None` if nobody can tell, which is the default: the recipient by which a
    /// message came is then taken for one. Vacation answers only what is sent to an address of one's own (RFC 5230 §4.5).
    fn owns(&self, _account: &str, _address: &Address) -> Option<bool> {
        None
    }

    /// Whether a client is one of ours by where it is, though it has not logged in: then whoever it says wrote a message counts as who did.
    /// By default not.
    fn trusts(&self, _session: &Conversation) -> bool {
        false
    }

    /// The blind copies that are to be made of a message to these recipients, by default none. `sender` is who wrote it,
    /// if it is somebody who proved it.
    fn copies(&self, _sender: Option<&Address>, _recipients: &[Address]) -> Vec<BlindCopy> {
        Vec::new()
    }

    /// Whether mail for an address is delivered here and does not go on to another host, as far as its domain tells. Mail that waits in the
    /// queue is asked about before each attempt: if its domain is one of ours by now, it is taken in as if it came now, and whoever nobody
    /// knows is refused. By default not; then it goes to where routes lead.
    fn delivers(&self, _address: &Address) -> bool {
        false
    }

    /// The sender that mail from `sender` goes on with when `forwarder` forwards it, an account or an alias here; `None`
    /// leaves it as it is, which is the default. See [`Srs`](mailwright_relay_policy::srs::Srs).
    fn forwarded_as(&self, _sender: &Address, _forwarder: &str) -> Option<Address> {
        None
    }
}

impl<R: Recipients> Addressing for R {
    async fn expand(&self, _: &Conversation, recipient: &ForwardPath) -> Result<Expansion, Reply> {
        // RFC 5321 §4.5.1
        let address = recipient.address().map_or("postmaster", |address| address.as_str());
        match self.lookup(address).await {
            Ok(Some(user)) => Ok(Expansion::to(Delivery::new(user.as_str()))),
            Ok(None) => Err(Refusal::Unknown.reply(address)),
            Err(error) => Err(super::commit::refusal(&error)),
        }
    }
}

/// Where nobody is here: every address leads elsewhere. For queues of programs that send mail and receive none; with an inbox it would be
/// an open relay, unless a policy says who may send.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Elsewhere;

impl Addressing for Elsewhere {
    async fn expand(&self, _: &Conversation, recipient: &ForwardPath) -> Result<Expansion, Reply> {
        match recipient.address() {
            Some(address) => Ok(Expansion::elsewhere(Onward::remote(address.clone()))),
            // RFC 5321 §4.5.1: the bare postmaster is that of the host which is asked.
            None => Err(Refusal::Unknown.reply("postmaster")),
        }
    }
}
