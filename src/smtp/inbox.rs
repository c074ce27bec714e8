//! What a mail receiver is.

use std::{future::Future, time::Duration};

use mailwright_relay_policy::Session as Conversation;
use mailwright_smtp_proto::{Hello, Mail, Message, Outcome, Rcpt, Reply, server::Abilities};

use super::{Body, Expand, SendBack, StartQueue, Verify, facets::Never};

/// Where mail goes that comes in: two methods make a mail receiver.
pub trait Inbox: Send + Sync {
    /// What it honours beyond taking messages. What is announced follows from this and from the facets below.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    /// How long it holds back messages of users who log in (FUTURERELEASE, RFC 4865); not at all by default.
    fn longest_hold(&self) -> Option<Duration> {
        None
    }

    /// VRFY: asked only where the configuration has [`VrfyPolicy::Ask`](mailwright_smtp_proto::server::VrfyPolicy::Ask).
    fn verify(&self) -> Option<&impl Verify> {
        None::<&Never>
    }

    /// EXPN: asked only where the configuration has [`VrfyPolicy::Ask`](mailwright_smtp_proto::server::VrfyPolicy::Ask).
    fn expand(&self) -> Option<&impl Expand> {
        None::<&Never>
    }

    /// ETRN.
    fn queues(&self) -> Option<&impl StartQueue> {
        None::<&Never>
    }

    /// ATRN: asked only where [`Smtp::with_turning`](super::Smtp::with_turning) has it.
    fn turns(&self) -> Option<&impl SendBack> {
        None::<&Never>
    }

    /// Decides about a client that has connected, before it is greeted: 554 turns it away, 421 for now. By default anybody will do.
    fn connection(&self, _session: &Conversation) -> impl Future<Output = Result<(), Reply>> + Send {
        async { Ok(()) }
    }

    /// Decides about a client that says who it is, at EHLO. By default anybody will do.
    fn hello(
        &self,
        _session: &Conversation,
        _hello: &Hello,
    ) -> impl Future<Output = Result<(), Reply>> + Send {
        async { Ok(()) }
    }

    /// Decides about a sender, at MAIL. By default anybody will do: [`Reply::SENDER_OK`].
    fn sender(&self, _session: &Conversation, _mail: &Mail) -> impl Future<Output = Reply> + Send {
        async { Reply::SENDER_OK }
    }

    /// Decides about a recipient, at RCPT. [`Reply::RECIPIENT_OK`] takes it; any 4yz or 5yz refuses it.
    fn recipient(&self, session: &Conversation, rcpt: &Rcpt) -> impl Future<Output = Reply> + Send;

    /// Takes a message. A positive outcome is a promise: the message must be safe by then.
    ///
    /// If [`Body::next`] fails, the message is not complete; nothing of it may be kept, and the outcome is not sent.
    fn deliver(
        &self,
        session: &Conversation,
        message: &Message,
        body: &mut Body<'_>,
    ) -> impl Future<Output = Outcome> + Send;
}
