//! Policies in order.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use mailwright_smtp_proto::{Hello, Mail, Message, Rcpt};

use crate::{Decision, Policy, Session, Verdict, authentication::Examined};

/// Policies that are asked in order, up to the first that has an opinion. A policy itself.
#[derive(Clone, Default)]
pub struct Chain {
    policies: Vec<Arc<dyn Erased>>,
}

impl Chain {
    /// The chain with one more policy at its end.
    #[must_use]
    pub fn then(mut self, policy: impl Policy + 'static) -> Self {
        self.policies.push(Arc::new(policy));
        self
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The names of its policies, in order.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        self.policies.iter().map(|policy| policy.name())
    }

    /// Decides about a connection.
    pub async fn decide_connect(&self, session: &Session) -> Decision {
        self.first(|policy| policy.connect(session)).await
    }

    /// Decides about a greeting.
    pub async fn decide_hello(&self, session: &Session, hello: &Hello) -> Decision {
        self.first(|policy| policy.hello(session, hello)).await
    }

    /// Decides about a sender.
    pub async fn decide_mail(&self, session: &Session, mail: &Mail) -> Decision {
        self.first(|policy| policy.mail(session, mail)).await
    }

    /// Decides about a recipient.
    pub async fn decide_rcpt(&self, session: &Session, rcpt: &Rcpt) -> Decision {
        self.first(|policy| policy.rcpt(session, rcpt)).await
    }

    /// Decides about a message that has come, before it is delivered.
    pub async fn decide_message(&self, session: &Session, message: &Message, header: &Examined) -> Decision {
        self.first(|policy| policy.message(session, message, header)).await
    }

    async fn first<'a>(&'a self, ask: impl Fn(&'a dyn Erased) -> Pending<'a>) -> Decision {
        for policy in &self.policies {
            match ask(&**policy).await {
                Verdict::Pass => {}
                verdict => return Decision::new(verdict, policy.name()),
            }
        }
        Decision::new(Verdict::Pass, "")
    }
}

impl Policy for Chain {
    fn name(&self) -> &str {
        "chain"
    }

    async fn connect(&self, session: &Session) -> Verdict {
        self.decide_connect(session).await.verdict
    }

    async fn hello(&self, session: &Session, hello: &Hello) -> Verdict {
        self.decide_hello(session, hello).await.verdict
    }

    async fn mail(&self, session: &Session, mail: &Mail) -> Verdict {
        self.decide_mail(session, mail).await.verdict
    }

    async fn rcpt(&self, session: &Session, rcpt: &Rcpt) -> Verdict {
        self.decide_rcpt(session, rcpt).await.verdict
    }

    async fn message(&self, session: &Session, message: &Message, header: &Examined) -> Verdict {
        self.decide_message(session, message, header).await.verdict
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.rules()).finish()
    }
}

type Pending<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// A policy whose type was forgotten, so that many kinds fit into one chain.
trait Erased: Send + Sync {
    fn name(&self) -> &str;
    fn connect<'a>(&'a self, session: &'a Session) -> Pending<'a>;
    fn hello<'a>(&'a self, session: &'a Session, hello: &'a Hello) -> Pending<'a>;
    fn mail<'a>(&'a self, session: &'a Session, mail: &'a Mail) -> Pending<'a>;
    fn rcpt<'a>(&'a self, session: &'a Session, rcpt: &'a Rcpt) -> Pending<'a>;
    fn message<'a>(&'a self, session: &'a Session, message: &'a Message, header: &'a Examined)
    -> Pending<'a>;
}

impl<P: Policy> Erased for P {
    fn name(&self) -> &str {
        Policy::name(self)
    }

    fn connect<'a>(&'a self, session: &'a Session) -> Pending<'a> {
        Box::pin(Policy::connect(self, session))
    }

    fn hello<'a>(&'a self, session: &'a Session, hello: &'a Hello) -> Pending<'a> {
        Box::pin(Policy::hello(self, session, hello))
    }

    fn mail<'a>(&'a self, session: &'a Session, mail: &'a Mail) -> Pending<'a> {
        Box::pin(Policy::mail(self, session, mail))
    }

    fn rcpt<'a>(&'a self, session: &'a Session, rcpt: &'a Rcpt) -> Pending<'a> {
        Box::pin(Policy::rcpt(self, session, rcpt))
    }

    fn message<'a>(
        &'a self,
        session: &'a Session,
        message: &'a Message,
        header: &'a Examined,
    ) -> Pending<'a> {
        Box::pin(Policy::message(self, session, message, header))
    }
}
