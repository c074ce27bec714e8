//! Who is trusted, and who may write to whom, by the directory as it is at that moment.

use std::{net::SocketAddr, sync::Arc};

use mailwright::{
    relay_policy::{
        Chain, Policy, Session, Verdict,
        directory::{Expansion, Onward, OnwardReason, RelayRecipients},
    },
    smtp_proto::{Rcpt, Reply},
};

use super::{Directory, DirectoryError, Model};

/// What the directory says of recipients.
pub(crate) fn recipients(chain: Chain, directory: &Arc<Directory>) -> Chain {
    chain.then(Recipients(Arc::clone(directory)))
}

impl Directory {
    /// Whether a client is one of ours: it has logged in, or it is where those are who need not.
    pub(crate) fn trusts(&self, session: &Session) -> bool {
        let network = |remote: SocketAddr| {
            let address = remote.ip().to_canonical();
            self.settings().networks.contains(address) || self.current().networks().relay(address).is_some()
        };
        session.user.is_some() || session.local.is_some() || session.peer.remote.is_some_and(network)
    }

    /// Whether all networks together, those of the configuration among them, would make an open relay that is none yet.
    pub(super) fn check_networks(&self, changed: &Model) -> Result<(), DirectoryError> {
        let settings = self.settings();
        let configured = &settings.networks.members;
        if self.current().networks().check(configured).is_err() {
            return Ok(());
        }
        changed.networks().check(configured).map_err(|error| DirectoryError::Target(error.to_string()))
    }
}

/// Mail goes to those here who take it, and elsewhere for nobody.
struct Recipients(Arc<Directory>);

impl Recipients {
    /// What the next host of a domain that is relayed for says of an address that it has not, if it is to be asked. What an alias leads to
    /// among others is not asked about.
    async fn refused_elsewhere(&self, session: &Session, expansion: &Expansion) -> Option<Reply> {
        let [Onward { to, reason: OnwardReason::Relay, .. }] = &expansion.onward[..] else { return None };
        let others = !expansion.deliveries.is_empty() || !expansion.handed.is_empty();
        let verified = self.0.current().domain(to.domain())?.recipients == RelayRecipients::Verified;
        // Nobody is called for an explanation.
        let ask = self.0.asks.get().filter(|_| verified && !others && !session.rehearsal)?;
        let said = ask(to.clone()).await?;
        let said = said.lines().collect::<Vec<_>>().join(" ");
        Some(Reply::permanent((1, 1), format!("<{to}>: Recipient address rejected: its host says: {said}")))
    }
}

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
        if let Some(refusal) = self.refused_elsewhere(session, &expansion).await {
            return Verdict::Reject(refusal);
        }
        if trusted || expansion.onward.iter().all(|onward| onward.reason != OnwardReason::Remote) {
            return Verdict::Pass;
        }
        Verdict::Reject(Reply::RELAY_DENIED)
    }
}
