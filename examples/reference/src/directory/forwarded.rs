//! Senders of mail that is forwarded: the forwarder answers for it (SRS), and passes reports back.

use mailwright::{
    mail_model::{Address, ForwardPath},
    relay_policy::{
        directory::{Expansion, Onward},
        srs::Srs,
    },
};

use super::Directory;
use crate::queue::unix_time;

const DAY: u64 = 86_400;

impl Directory {
    /// The sender that mail goes on with when an account or alias here forwards it; `None` leaves it as it is, as for
    /// senders of our own domains.
    pub(crate) fn forwarded_as(&self, sender: &Address, forwarder: &str) -> Option<Address> {
        let settings = self.settings();
        if !settings.rewrites {
            return None;
        }
        let current = self.current();
        if current.domain(sender.domain()).is_some() {
            return None;
        }
        let forwarder: Address = forwarder.parse().ok()?;
        match settings.srs.forward(sender, forwarder.domain(), unix_time() / DAY) {
            Ok(rewritten) => Some(rewritten),
            Err(error) => {
                tracing::warn!(%sender, %error, "the sender of a forwarded message cannot be rewritten");
                None
            }
        }
    }

    /// Where a report about forwarded mail goes, if that is what the recipient is.
    pub(super) fn passed_back(&self, recipient: &ForwardPath) -> Option<Expansion> {
        let address = self.rewritten(recipient)?;
        // Where it was switched off, what was rewritten before still comes back for some weeks.
        let to = self.settings().srs.reverse(address, unix_time() / DAY).ok()?;
        let mut expansion = Expansion::default();
        expansion.onward.push(Onward::forwarded(to, address.as_str()));
        Some(expansion)
    }

    /// The recipient, if it has the form of a rewritten sender of a domain here.
    pub(super) fn rewritten<'a>(&self, recipient: &'a ForwardPath) -> Option<&'a Address> {
        let address = recipient.address().filter(|address| Srs::is_rewritten(address))?;
        self.current().domain(address.domain()).map(|_| address)
    }
}
