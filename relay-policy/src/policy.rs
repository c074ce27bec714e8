//! One rule about who may send what where.

use std::future::Future;

use mailwright_line_proto::Peer;
use mailwright_smtp_proto::{Hello, Mail, Message, Rcpt, Reply};

use crate::authentication::Examined;

/// What is known of an SMTP session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Session {
    /// Who is at the other end.
    pub peer: Peer,
    /// How it said hello: the command and the name it gave itself.
    pub hello: Option<Hello>,
    /// The account it logged in to.
    pub user: Option<String>,
    /// The user of this machine whose program hands mail over, if it comes so. Such a user has no account, but is one of ours.
    pub local: Option<String>,
    /// Whether it could still log in here: whoever does is a user of ours, whatever it calls itself before.
    pub may_log_in: bool,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Who sends the message that is under way.
    pub mail: Option<Mail>,
    /// Whether it is a host of ours that was asked for this mail: it looked at it when it came, and who sent it then is not who sends
    /// it now. It may not send elsewhere for all that.
    pub fetched: bool,
    /// Whether nothing of it happens: somebody only wants to know what would be decided. Rules remember nothing of it.
    pub rehearsal: bool,
}

impl Default for Session {
    /// A stranger that has said nothing yet.
    fn default() -> Self {
        Self {
            peer: Peer::unknown(),
            hello: None,
            user: None,
            local: None,
            may_log_in: false,
            tls: false,
            mail: None,
            fetched: false,
            rehearsal: false,
        }
    }
}

/// What a policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// No opinion: the next one decides.
    Pass,
    /// Yes, and nobody else is asked.
    Accept,
    /// No, with this reply: a 5yz for good, a 4yz for now.
    Reject(Reply),
}

/// A verdict and the rule that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// What was decided; `Pass` if nobody had an opinion.
    pub verdict: Verdict,
    /// The [name](Policy::name) of the policy that decided; empty if nobody had an opinion.
    pub rule: String,
}

impl Decision {
    /// `verdict` by `rule`.
    pub fn new(verdict: Verdict, rule: &str) -> Self {
        Self { verdict, rule: rule.to_owned() }
    }
}

/// A rule. Every stage has no opinion unless the rule gives it one.
pub trait Policy: Send + Sync {
    /// What the rule is called in explanations and logs.
    fn name(&self) -> &str;

    /// A client has connected.
    fn connect(&self, _session: &Session) -> impl Future<Output = Verdict> + Send {
        async { Verdict::Pass }
    }

    /// It says who it is.
    fn hello(&self, _session: &Session, _hello: &Hello) -> impl Future<Output = Verdict> + Send {
        async { Verdict::Pass }
    }

    /// It begins a message.
    fn mail(&self, _session: &Session, _mail: &Mail) -> impl Future<Output = Verdict> + Send {
        async { Verdict::Pass }
    }

    /// It names a recipient.
    fn rcpt(&self, _session: &Session, _rcpt: &Rcpt) -> impl Future<Output = Verdict> + Send {
        async { Verdict::Pass }
    }

    /// It has sent the message, of which `header` tells what is in front; nothing is delivered yet.
    fn message(
        &self,
        _session: &Session,
        _message: &Message,
        _header: &Examined,
    ) -> impl Future<Output = Verdict> + Send {
        async { Verdict::Pass }
    }
}
