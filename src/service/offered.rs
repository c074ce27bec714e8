//! What a service offers, as the accounts are now.

use std::sync::{Arc, Mutex, PoisonError};

/// A configuration that says which SASL mechanisms there are.
pub(crate) trait Offers: Clone {
    fn mechanisms(&self) -> &[String];

    fn offer(&mut self, mechanisms: Vec<String>);
}

macro_rules! offers {
    ($($config:path, $field:ident;)*) => {$(
        impl Offers for $config {
            fn mechanisms(&self) -> &[String] {
                &self.$field
            }

            fn offer(&mut self, mechanisms: Vec<String>) {
                self.$field = mechanisms;
            }
        }
    )*};
}

offers! {
    mailwright_imap_proto::server::Config, auth_mechanisms;
    mailwright_pop3_proto::server::Config, mechanisms;
    mailwright_sieve::managesieve::server::Config, mechanisms;
    mailwright_smtp_proto::server::Config, auth_mechanisms;
}

/// A configuration, as it was when accounts last got, or lost, what a mechanism needs. Connections share it.
#[derive(Debug)]
pub(crate) struct Latest<C>(Mutex<Option<Arc<C>>>);

impl<C> Default for Latest<C> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<C: Offers> Latest<C> {
    /// The configuration for a connection that begins now, which differs from `first` in these mechanisms at most.
    pub(crate) fn offering(&self, first: &Arc<C>, mechanisms: Vec<String>) -> Arc<C> {
        if first.mechanisms() == mechanisms {
            return Arc::clone(first);
        }
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = latest.as_ref().filter(|found| found.mechanisms() == mechanisms) {
            return Arc::clone(found);
        }
        let mut config = C::clone(first);
        config.offer(mechanisms);
        Arc::clone(latest.insert(Arc::new(config)))
    }
}

#[cfg(test)]
mod tests {
    use mailwright_pop3_proto::server::Config;

    use super::*;

    #[test]
    fn connections_that_are_offered_the_same_share_a_configuration() {
        let mut first = Config::default();
        first.mechanisms = vec!["PLAIN".into()];
        let (first, latest) = (Arc::new(first), Latest::default());
        let offering = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            latest.offering(&first, names)
        };
        assert!(Arc::ptr_eq(&offering(&["PLAIN"]), &first));
        let more = offering(&["SCRAM-SHA-256", "PLAIN"]);
        assert_eq!(more.mechanisms, ["SCRAM-SHA-256", "PLAIN"]);
        assert!(Arc::ptr_eq(&offering(&["SCRAM-SHA-256", "PLAIN"]), &more));
        assert!(Arc::ptr_eq(&offering(&["PLAIN"]), &first));
        assert_eq!(offering(&[]).mechanisms, [""; 0]);
    }
}
