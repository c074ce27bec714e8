//! Who may write to whom, by the directory as it is at that moment.

use std::sync::Arc;

use mailwright::{
    mail_model::ForwardPath,
    relay_policy::{Policy, Session, Verdict},
    smtp_proto::{Rcpt, Reply},
};

use super::Directory;

/// No relaying: mail goes to the domains of the directory and to `<postmaster>`, and nowhere else; and there to those who
/// take it.
pub(crate) struct OnlyOurDomains(pub(crate) Arc<Directory>);

impl Policy for OnlyOurDomains {
    fn name(&self) -> &str {
        "only-our-domains"
    }

    async fn rcpt(&self, session: &Session, rcpt: &Rcpt) -> Verdict {
        let directory = self.0.current();
        let address = match &rcpt.to {
            ForwardPath::Address(address) if directory.domain(address.domain()).is_none() => {
                return Verdict::Reject(match session.user {
                    None => Reply::RELAY_DENIED,
                    // Not a stranger, who learns nothing: one of ours, who can be told the reason.
                    Some(_) => Reply::permanent((7, 1), "This server delivers to its own domains only"),
                });
            }
            ForwardPath::Address(address) => address.as_str(),
            // RFC 5321 §4.5.1: postmaster without a domain is ours too.
            _ => "postmaster",
        };
        match self.0.expand(&rcpt.to, session.user.is_some()) {
            Ok(_) => Verdict::Pass,
            Err(refusal) => Verdict::Reject(refusal.reply(address)),
        }
    }
}
