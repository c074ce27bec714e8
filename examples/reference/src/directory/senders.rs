//! Who may say that they are whom, by the directory as it is at that moment.

use std::sync::Arc;

use mailwright::{
    mail_model::{Address, Domain, ReversePath},
    relay_policy::{Chain, Policy, Session, Verdict, authentication::Examined},
    smtp_proto::{Hello, HelloName, Mail, Message, Reply},
};

use super::Directory;
use crate::config::auth::{Auth, SenderLogin as Looks};

/// What the directory says of names and senders.
pub(crate) fn senders(chain: Chain, directory: &Arc<Directory>) -> Chain {
    chain.then(OurName(Arc::clone(directory))).then(SenderLogin(Arc::clone(directory)))
}

/// Whom the configuration lets users write as, beside themselves and their aliases.
#[derive(Debug, Default)]
pub(super) struct Senders {
    looks: Looks,
    /// For an account, an alias of it or a group that it is in.
    further: Vec<(Address, Vec<Further>)>,
}

/// Whom somebody may write as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Further {
    Anybody,
    /// Everybody at a domain.
    Domain(Domain),
    Address(Address),
}

impl Further {
    /// Reads it; `None` if it is none of these.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "*" => Some(Self::Anybody),
            _ if text.contains('@') => text.parse().ok().map(Self::Address),
            _ => text.parse().ok().map(Self::Domain),
        }
    }
}

impl Senders {
    /// What is wrong in them was told already.
    pub(super) fn new(options: &Auth) -> Self {
        let read = |texts: &Vec<String>| texts.iter().filter_map(|text| Further::parse(text)).collect();
        let further =
            options.senders.iter().filter_map(|(name, texts)| Some((name.parse().ok()?, read(texts))));
        Self { looks: options.sender_login, further: further.collect() }
    }
}

impl Directory {
    /// Whether an account, by its canonical name, may write as an address.
    pub(crate) fn may_write_as(&self, account: &str, address: &Address) -> bool {
        let model = self.current();
        let same = |other: &Address| model.canonical(other) == model.canonical(address);
        let fits = |further: &Further| match further {
            Further::Anybody => true,
            Further::Domain(domain) => domain == address.domain(),
            Further::Address(other) => same(other),
        };
        let further = || {
            let settings = self.settings();
            let mut all = settings.senders.further.iter();
            all.any(|(who, further)| further.iter().any(fits) && model.is_meant_by(account, who))
        };
        model.may_send_as(account, address) || further()
    }
}

/// A stranger that says it is us is lying, and nothing good follows.
struct OurName(Arc<Directory>);

impl OurName {
    fn decide(&self, session: &Session, hello: &HelloName) -> Verdict {
        let name = hello.as_str().trim_end_matches('.').to_lowercase();
        let ours = name == self.0.settings().hostname
            || name.parse().is_ok_and(|domain| self.0.current().domain(&domain).is_some());
        // Programs on this machine may well use its name.
        let here = session.peer.remote.is_none_or(|remote| remote.ip().to_canonical().is_loopback());
        if !ours || here || self.0.trusts(session) {
            return Verdict::Pass;
        }
        Verdict::Reject(Reply::permanent((7, 1), "That is the name of this server; say your own"))
    }
}

impl Policy for OurName {
    fn name(&self) -> &str {
        "our-own-name"
    }

    async fn hello(&self, session: &Session, hello: &Hello) -> Verdict {
        // Clients that will log in call themselves anything, the domain of their user for one.
        if session.may_log_in { Verdict::Pass } else { self.decide(session, &hello.name) }
    }

    async fn mail(&self, session: &Session, _: &Mail) -> Verdict {
        session.hello.as_ref().map_or(Verdict::Pass, |hello| self.decide(session, &hello.name))
    }
}

/// Who is logged in writes as nobody else (RFC 6409 §6.1): not in the envelope, and not in the message, unless it is said that the
/// envelope will do.
struct SenderLogin(Arc<Directory>);

impl SenderLogin {
    /// A user who may not write as this. `whose` says where it stands.
    fn refuse(user: &str, address: &Address, whose: &str) -> Verdict {
        let text = format!("<{address}>: {whose} rejected: not owned by user {user}");
        Verdict::Reject(Reply::new(553, (5, 7, 1), text).unwrap_or(Reply::DENIED))
    }
}

impl Policy for SenderLogin {
    fn name(&self) -> &str {
        "sender-login"
    }

    async fn mail(&self, session: &Session, mail: &Mail) -> Verdict {
        // The null sender is nobody's name: RFC 3834 §3.3 wants it for automatic replies.
        let (Some(user), ReversePath::Address(address)) = (&session.user, &mail.from) else {
            return Verdict::Pass;
        };
        if self.0.may_write_as(user, address) {
            return Verdict::Pass;
        }
        Self::refuse(user, address, "Sender address")
    }

    async fn message(&self, session: &Session, _: &Message, header: &Examined) -> Verdict {
        let Some(user) = session.user.as_ref().filter(|_| self.0.settings().senders.looks == Looks::Header)
        else {
            return Verdict::Pass;
        };
        // What we cannot read, somebody else may read as anybody's.
        let Some(writers) = header.writers() else {
            let text = "The From or Sender of the message cannot be read: it must name addresses of yours";
            return Verdict::Reject(Reply::new(553, (5, 7, 1), text).unwrap_or(Reply::DENIED));
        };
        match writers.iter().find(|writer| !self.0.may_write_as(user, writer)) {
            Some(writer) => Self::refuse(user, writer, "From or Sender of the message"),
            None => Verdict::Pass,
        }
    }
}
