//! Finding out where messages come from, as it is configured.

use std::sync::Arc;

use mailwright::{relay_policy::dns::AnyResolver, smtp::Authentication};

use crate::{
    config::{Config, authentication::domain_keys},
    directory::Directory,
    dmarc::{Collector, seconds},
};

/// What judges and signs.
pub(crate) fn make(
    config: &Config,
    names: AnyResolver,
    directory: &Arc<Directory>,
    collector: Option<Arc<Collector>>,
) -> Authentication {
    let options = &config.authentication;
    let mut made = Authentication::new(names, config.hostname.clone());
    made.verify = options.verify;
    made.at_most = options.at_most();
    made.exceptions = domain_keys(&options.dmarc_exceptions).collect();
    made.seal = options.seal;
    made.trusted_sealers = domain_keys(&options.trusted_sealers).collect();
    let ours = Arc::clone(directory);
    let made = made.trusting(move |session| ours.trusts(session));
    let ours = Arc::clone(directory);
    let made = made.with_writers(move |session, writer| {
        session.user.as_ref().is_some_and(|user| ours.may_write_as(user, writer))
    });
    let made = match collector {
        Some(collector) => made.observed(move |observation| collector.observe(observation, seconds())),
        None => made,
    };
    if !options.sign {
        return made;
    }
    let directory = Arc::clone(directory);
    made.with_signers(move |domain| directory.keys.of(domain))
}
