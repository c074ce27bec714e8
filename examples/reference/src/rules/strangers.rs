//! The chain of the configuration.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use mailwright::relay_policy::{
    Chain, Session,
    dns::AnyResolver,
    rules::{
        Clock, Greylist, HelloExists, RateCounts, Rates, Reputation, SenderExists, SpfRefuses, Strangers,
    },
};

use super::Known;
use crate::{
    config::{self, Config},
    directory::{self, Directory},
};

/// So many clients, accounts, senders and recipients are counted, each.
const COUNTED: usize = 50_000;

/// What limits have counted: nothing yet.
pub(crate) fn counts() -> RateCounts {
    RateCounts::new(COUNTED)
}

/// The rules in the order in which they are asked: the cheap ones first, and greylisting last, for it remembers.
pub(super) fn chain(
    config: &Config,
    names: &AnyResolver,
    directory: &Arc<Directory>,
    known: Arc<Known>,
    counts: RateCounts,
) -> Chain {
    let options = &config.rules;
    let clock: Clock = Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    let ours = Arc::clone(directory);
    let trusts: Arc<dyn Fn(&Session) -> bool + Send + Sync> = Arc::new(move |session| {
        // Whoever was asked for mail has asked that of the sender.
        let here = session.fetched
            || session.peer.remote.is_none_or(|remote| remote.ip().to_canonical().is_loopback());
        here || ours.trusts(session)
    });
    let mut rates = Rates::with_counts(Arc::clone(&clock), counts);
    rates.client = options.rate(options.messages_per_client);
    rates.user = options.rate(options.messages_per_user);
    rates.sender = options.rate(options.messages_per_sender);
    rates.recipient = options.rate(options.messages_per_recipient);
    rates.separators.clone_from(&config.separators);
    let mut chain = directory::senders(Chain::default(), directory);
    if [rates.client, rates.user, rates.sender, rates.recipient].iter().any(Option::is_some) {
        chain = chain.then(rates);
    }
    if options.hello_exists {
        chain = chain.then(Strangers::new(HelloExists::new(names.clone()), Arc::clone(&trusts)));
    }
    if options.sender_exists {
        chain = chain.then(Strangers::new(SenderExists::new(names.clone()), Arc::clone(&trusts)));
    }
    if options.spf_fail {
        let spf = SpfRefuses::new(names.clone(), config.hostname.clone());
        chain = chain.then(Strangers::new(spf, Arc::clone(&trusts)));
    }
    chain = directory::recipients(chain, directory);
    if !options.lists.is_empty() {
        let lists = Reputation::new(names.clone(), options.lists(), options.lists_limit, Arc::clone(&clock));
        chain = chain.then(Strangers::new(lists, Arc::clone(&trusts)));
    }
    if options.greylist {
        let mut greylist = Greylist::new(known, options.greylist_limits(), clock);
        greylist.exempt = config::ranges(&options.greylist_exempt);
        chain = chain.then(Strangers::new(greylist, trusts));
    }
    chain
}
