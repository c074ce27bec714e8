//! Rules for strangers: reputation, greylisting, rates, and names that must exist.
//!
//! Each is a [`Policy`] for a [`Chain`](crate::Chain). None of them asks a clock: it is given one. What is only a
//! [rehearsal](crate::Session::rehearsal) leaves no trace in any of them.

mod greylist;
mod memory;
mod names;
mod rates;
mod reputation;
#[cfg(test)]
mod tests;

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use mailwright_smtp_proto::{Hello, Mail, Message, Rcpt};

use crate::{Policy, Session, Verdict, authentication::Examined};

pub use greylist::{Greylist, GreylistLimits, GreylistMemory, Seen};
pub use names::{HelloExists, SenderExists, SpfRefuses};
pub use rates::{Rate, RateCounts, Rates};
pub use reputation::{List, ListError, Reputation};

/// Says what time it is, since the beginning of 1970.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A rule that is asked about strangers only.
pub struct Strangers<P> {
    rule: P,
    trusts: Arc<dyn Fn(&Session) -> bool + Send + Sync>,
}

impl<P: Policy> Strangers<P> {
    /// This rule, for clients that are not trusted.
    pub fn new(rule: P, trusts: Arc<dyn Fn(&Session) -> bool + Send + Sync>) -> Self {
        Self { rule, trusts }
    }
}

impl<P: fmt::Debug> fmt::Debug for Strangers<P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Strangers").field(&self.rule).finish()
    }
}

impl<P: Policy> Policy for Strangers<P> {
    fn name(&self) -> &str {
        self.rule.name()
    }

    async fn connect(&self, session: &Session) -> Verdict {
        if (self.trusts)(session) { Verdict::Pass } else { self.rule.connect(session).await }
    }

    async fn hello(&self, session: &Session, hello: &Hello) -> Verdict {
        if (self.trusts)(session) { Verdict::Pass } else { self.rule.hello(session, hello).await }
    }

    async fn mail(&self, session: &Session, mail: &Mail) -> Verdict {
        if (self.trusts)(session) { Verdict::Pass } else { self.rule.mail(session, mail).await }
    }

    async fn rcpt(&self, session: &Session, rcpt: &Rcpt) -> Verdict {
        if (self.trusts)(session) { Verdict::Pass } else { self.rule.rcpt(session, rcpt).await }
    }

    async fn message(&self, session: &Session, message: &Message, header: &Examined) -> Verdict {
        if (self.trusts)(session) { Verdict::Pass } else { self.rule.message(session, message, header).await }
    }
}

/// The client's address, if it has one.
fn client(session: &Session) -> Option<IpAddr> {
    session.peer.remote.map(|remote| remote.ip().to_canonical())
}

/// The sender's address in lower case; empty for the null sender.
fn sender(session: &Session) -> String {
    let sender = session.mail.as_ref().and_then(|mail| mail.from.address());
    sender.map_or_else(String::new, |address| address.to_string().to_lowercase())
}

/// RFC 5321 §4.5.1 and RFC 2142 §2: who can always be written to about trouble, postmaster and abuse.
///
/// ```
/// use mailwright_relay_policy::rules::is_for_trouble;
/// use mailwright_smtp_proto::Rcpt;
///
/// let rcpt = |text: &str| text.parse().map(|address: mailwright_mail_model::Address| Rcpt::new(address.into()));
/// assert!(is_for_trouble(&rcpt("Abuse@a.example")?));
/// assert!(!is_for_trouble(&rcpt("ann@a.example")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn is_for_trouble(rcpt: &Rcpt) -> bool {
    match rcpt.to.address() {
        Some(address) => {
            let local = address.local().unquoted();
            local.eq_ignore_ascii_case("postmaster") || local.eq_ignore_ascii_case("abuse")
        }
        None => true,
    }
}
