//! The domains whose mail is ours.

use std::{collections::HashSet, sync::Arc};

use mailwright_mail_model::{Address, AddressError, Domain, ForwardPath};
use mailwright_smtp_proto::{Rcpt, Reply};

use crate::{Policy, Session, Verdict};

/// The domains whose mail is delivered here. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LocalDomains(Arc<HashSet<String>>);

impl LocalDomains {
    /// These domains.
    ///
    /// # Errors
    /// If one of them is not a domain.
    pub fn new<'a>(domains: impl IntoIterator<Item = &'a str>) -> Result<Self, AddressError> {
        let keys = domains.into_iter().map(|domain| Ok(domain.parse::<Domain>()?.key().to_owned()));
        Ok(Self(Arc::new(keys.collect::<Result<_, AddressError>>()?)))
    }

    /// Whether mail for this address is delivered here. Upper case and the two forms of an internationalized domain
    /// make no difference.
    pub fn contains(&self, address: &Address) -> bool {
        self.0.contains(address.domain().key())
    }
}

/// No relaying: whoever asks, mail goes to the domains here and to `<postmaster>`, and nowhere else.
#[derive(Debug, Clone)]
pub struct OnlyLocalRecipients {
    domains: LocalDomains,
}

impl OnlyLocalRecipients {
    /// Refuses everything outside these domains.
    pub fn new(domains: LocalDomains) -> Self {
        Self { domains }
    }
}

impl Policy for OnlyLocalRecipients {
    fn name(&self) -> &str {
        "only-local-recipients"
    }

    async fn rcpt(&self, session: &Session, rcpt: &Rcpt) -> Verdict {
        match &rcpt.to {
            ForwardPath::Address(address) if !self.domains.contains(address) => {
                Verdict::Reject(match session.user {
                    None => Reply::RELAY_DENIED,
                    // Not a stranger, who learns nothing: one of ours, who can be told the reason.
                    Some(_) => Reply::permanent((7, 1), "This server delivers to its own domains only"),
                })
            }
            // RFC 5321 §4.5.1: postmaster without a domain is ours too.
            _ => Verdict::Pass,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;
    use crate::Chain;

    fn ready<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => done,
            Poll::Pending => panic!("a pure policy never waits"),
        }
    }

    /// Whether a stranger's recipient is refused, by the grammar or by the rule.
    fn refused(path: &str) -> bool {
        let rule = OnlyLocalRecipients::new(LocalDomains::new(["example.org", "bücher.example"]).unwrap());
        let Ok(to) = ForwardPath::parse(path.as_bytes()) else { return true };
        ready(rule.rcpt(&Session::default(), &Rcpt::new(to))) != Verdict::Pass
    }

    #[test]
    fn local_recipients_pass() {
        for path in [
            "<a@example.org>",
            "<A@EXAMPLE.Org>",
            "<\"a b\"@example.org>",
            "<postmaster>",
            "<POSTMASTER>",
            "<a@xn--bcher-kva.example>",
            "<a@BÜCHER.example>",
        ] {
            assert!(!refused(path), "{path}");
        }
    }

    #[test]
    fn no_trick_relays() {
        for path in [
            "<v@external.example>",
            "<v@example.org.external.example>",
            "<v@sub.example.org>",
            "<v@notexample.org>",
            "<\"v@external.example\">",
            "<v@external.example@example.org>",
            "<v@[127.0.0.1]>",
            "<v@[IPv6:::1]>",
            "<@example.org:v@external.example>",
            "<@a.example,@example.org:v@external.example>",
            "<v@external.example:example.org>",
            "<example.org!v@external.example>",
            "<v@>",
            "<v>",
            "<@example.org>",
            "<>",
        ] {
            assert!(refused(path), "{path}");
        }
    }

    #[test]
    fn the_first_opinion_counts() {
        struct Everybody;
        impl Policy for Everybody {
            fn name(&self) -> &str {
                "everybody"
            }

            async fn rcpt(&self, session: &Session, _: &Rcpt) -> Verdict {
                if session.user.is_some() { Verdict::Accept } else { Verdict::Pass }
            }
        }
        let chain = Chain::default().then(Everybody).then(OnlyLocalRecipients::new(LocalDomains::default()));
        let rcpt = Rcpt::new(ForwardPath::parse(b"<a@b.example>").unwrap());
        let mut session = Session::default();
        assert_eq!(ready(chain.decide_rcpt(&session, &rcpt)).rule, "only-local-recipients");
        session.user = Some("alice".into());
        assert_eq!(ready(chain.decide_rcpt(&session, &rcpt)).verdict, Verdict::Accept);
        assert_eq!(ready(chain.decide_connect(&session)).rule, "");
        assert_eq!(format!("{chain:?}"), r#"["everybody", "only-local-recipients"]"#);
    }
}
