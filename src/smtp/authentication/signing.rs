//! Signing what comes from here, and sealing and signing what goes on.

use mailwright_relay_policy::{
    Session as Conversation,
    authentication::{
        Examined,
        arc::{self, ArcFinding},
        dkim::{Algorithm, sign},
        dmarc::same_organization,
    },
};

use super::{Authentication, seconds};
use crate::smtp::patient::Patient;

impl Authentication {
    /// Whether a domain has keys.
    pub(crate) fn signs(&self, domain: &str) -> bool {
        !(self.signers)(domain).is_empty()
    }

    /// Signatures by the first of these domains that has keys. Whoever does not speak for the authors has none by a domain that would prove
    /// one of them: what our own users have written is signed when it is submitted, and what goes on is so already.
    pub(super) async fn vouched(&self, domains: Vec<String>, examined: &Examined, speaks: bool) -> String {
        for domain in domains.into_iter().filter(|domain| self.signs(domain)) {
            if speaks || !self.proves_an_author(&domain, examined).await {
                return self.signatures(std::iter::once(domain), examined);
            }
            tracing::info!(domain, "not signed: that would say that it comes from its author there");
        }
        String::new()
    }

    /// Whether a signature of a domain would prove an author to others, or nobody can tell now.
    async fn proves_an_author(&self, domain: &str, examined: &Examined) -> bool {
        let authors = examined.authors();
        if authors.doubtful {
            return true;
        }
        let patient = Patient::new(&self.resolver, self.patience);
        for author in &authors.domains {
            if same_organization(&patient, domain, author).await.unwrap_or(true) {
                return true;
            }
        }
        false
    }

    /// The seal of a message that goes on in the name of a domain, if it is sealed. `results` is our field
    /// Authentication-Results, `found` what there is to say of the seals before.
    pub(super) fn sealed(
        &self,
        domain: &str,
        examined: &Examined,
        results: &str,
        found: &ArcFinding,
    ) -> String {
        let signers = (self.signers)(domain);
        // Not everybody knows Ed25519.
        let rsa = signers.iter().find(|signer| signer.key.algorithm() == Algorithm::RsaSha256);
        let Some(signer) = rsa.or_else(|| signers.first()).filter(|_| self.seal) else {
            return String::new();
        };
        arc::seal(signer, examined, results, found, seconds()).unwrap_or_else(|reason| {
            tracing::info!(domain, %reason, "not sealed");
            String::new()
        })
    }

    /// What goes in front of a message that is sent for an account here: a seal, if it was judged when it came in, and signatures.
    /// `forwarded` is what somebody else has written: who may write as its author was asked when it came.
    pub(crate) async fn sent_for(
        &self,
        user: &str,
        domain: &str,
        examined: &Examined,
        forwarded: bool,
    ) -> String {
        let mut session = Conversation::default();
        session.user = Some(user.to_owned());
        let speaks = !forwarded && self.speaks_for_authors(&session, examined);
        let mut fields = self.vouched(vec![domain.to_owned()], examined, speaks).await;
        // A field in our name is ours: those of others were taken out at the border.
        if let Some(results) = examined.results_of(&self.hostname).filter(|_| self.seal) {
            let verifying = arc::verify(&self.resolver, examined, seconds());
            match tokio::time::timeout(self.patience, verifying).await {
                Ok(found) => fields.push_str(&self.sealed(domain, examined, &results, &found)),
                Err(_) => tracing::warn!(domain, "not sealed: name servers take too long"),
            }
        }
        fields
    }

    /// Signatures by the first of these domains that has keys.
    pub(crate) fn signatures(&self, domains: impl Iterator<Item = String>, examined: &Examined) -> String {
        let mut fields = String::new();
        for domain in domains {
            for signer in (self.signers)(&domain) {
                match sign(&signer, examined, seconds()) {
                    Ok(field) => fields.push_str(&field),
                    Err(error) => tracing::error!(domain, selector = signer.selector, %error, "not signed"),
                }
            }
            if !fields.is_empty() {
                break;
            }
        }
        fields
    }
}
