//! Who may write to whom, by the directory as it is at that moment.

use std::{net::SocketAddr, sync::Arc};

use mailwright::{
    mail_model::ReversePath,
    relay_policy::{Chain, Policy, Session, Verdict, directory::OnwardReason},
    smtp_proto::{Hello, Mail, Rcpt, Reply},
};

use super::Directory;

/// What the directory says of names and senders.
pub(crate) fn senders(chain: Chain, directory: &Arc<Directory>) -> Chain {
    chain.then(OurName(Arc::clone(directory))).then(SenderLogin(Arc::clone(directory)))
}

/// What it says of recipients.
pub(crate) fn recipients(chain: Chain, directory: &Arc<Directory>) -> Chain {
    chain.then(Recipients(Arc::clone(directory)))
}

impl Directory {
    /// Whether a client is one of ours: it has logged in, or it is where those are who need not.
    pub(crate) fn trusts(&self, session: &Session) -> bool {
        let network = |remote: SocketAddr| {
            let address = remote.ip().to_canonical();
            self.networks.contains(address) || self.current().networks().relay(address).is_some()
        };
        session.user.is_some() || session.local.is_some() || session.peer.remote.is_some_and(network)
    }
}

/// A stranger that says it is us is lying, and nothing good follows.
struct OurName(Arc<Directory>);

impl Policy for OurName {
    fn name(&self) -> &str {
        "our-own-name"
    }

    async fn hello(&self, session: &Session, hello: &Hello) -> Verdict {
        let name = hello.name.as_str().trim_end_matches('.').to_lowercase();
        let ours = name == self.0.hostname
            || name.parse().is_ok_and(|domain| self.0.current().domain(&domain).is_some());
        // Programs on this machine may well use its name.
        let here = session.peer.remote.is_none_or(|remote| remote.ip().to_canonical().is_loopback());
        if !ours || here || self.0.trusts(session) {
            return Verdict::Pass;
        }
        Verdict::Reject(Reply::permanent((7, 1), "That is the name of this server; say your own"))
    }
}

/// Who is logged in writes as nobody else: not in the envelope.
struct SenderLogin(Arc<Directory>);

impl Policy for SenderLogin {
    fn name(&self) -> &str {
        "sender-login"
    }

    async fn mail(&self, session: &Session, mail: &Mail) -> Verdict {
        // The null sender is nobody's name: RFC 3834 §3.3 wants it for automatic replies.
        let (Some(user), ReversePath::Address(address)) = (&session.user, &mail.from) else {
            return Verdict::Pass;
        };
        if self.0.current().may_send_as(user, address) {
            return Verdict::Pass;
        }
        let text = format!("<{address}>: Sender address rejected: not owned by user {user}");
        Verdict::Reject(Reply::new(553, (5, 7, 1), text).unwrap_or(Reply::DENIED))
    }
}

/// Mail goes to those here who take it, and elsewhere for nobody.
struct Recipients(Arc<Directory>);

impl Policy for Recipients {
    fn name(&self) -> &str {
        "recipients"
    }

    async fn rcpt(&self, session: &Session, rcpt: &Rcpt) -> Verdict {
        let trusted = self.0.trusts(session);
        let is_report = session.mail.as_ref().is_none_or(|mail| mail.from.address().is_none());
        if self.0.rewritten(&rcpt.to).is_some() && !is_report {
            // Whoever saw such an address could have us send anything to whom it stands for.
            return Verdict::Reject(Reply::permanent((7, 1), "This address takes reports about mail only"));
        }
        let expansion = match self.0.expand(&rcpt.to, trusted) {
            Ok(expansion) => expansion,
            Err(refusal) => {
                // RFC 5321 §4.5.1: postmaster without a domain is ours too.
                let address = rcpt.to.address().map_or("postmaster", |address| address.as_str());
                return Verdict::Reject(refusal.reply(address));
            }
        };
        if trusted || expansion.onward.iter().all(|onward| onward.reason != OnwardReason::Remote) {
            return Verdict::Pass;
        }
        Verdict::Reject(Reply::RELAY_DENIED)
    }
}
