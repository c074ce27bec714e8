//! Whether the store takes mail: told in the log when it changes, and by `mailwrightd status`.

use std::time::Duration;

use mailwright::mailstore::embedded::Embedded;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{Request, Response},
    command::{CommandError, print_json, request},
    config::Config,
    live::LiveRequest,
};

/// How often to look.
const EVERY: Duration = Duration::from_secs(1);

/// How the store is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Health {
    /// Why it takes no changes, if so.
    pub(crate) failure: Option<String>,
    /// What was found damaged since the start.
    pub(crate) damage: Vec<String>,
}

impl Health {
    pub(crate) fn of(store: &Embedded) -> Self {
        Self { failure: store.failure(), damage: store.damage() }
    }
}

/// Writes changes of the store's health to the log, until told to stop.
pub(crate) async fn watch(store: Embedded, stop: CancellationToken) {
    let (mut failing, mut told) = (false, 0);
    loop {
        let health = Health::of(&store);
        match (&health.failure, failing) {
            (Some(failure), false) => tracing::error!(failure, "the store takes no changes"),
            (None, true) => tracing::info!("the store takes changes again"),
            _ => {}
        }
        failing = health.failure.is_some();
        if health.damage.len() != told {
            told = health.damage.len();
            tracing::error!(damage = ?health.damage, "what is stored is damaged; mailwrightd fsck tells all");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// `status`.
pub(crate) fn status(config: &Config, json: bool) -> Result<(), CommandError> {
    let Response::Health { health } = request(config, Request::Live(LiveRequest::Health))? else {
        return Ok(());
    };
    if json {
        return print_json(&health);
    }
    match &health.failure {
        None => println!("the store takes mail"),
        Some(failure) => println!("the store takes no changes: {failure}"),
    }
    for damage in &health.damage {
        println!("damaged: {damage}");
    }
    Ok(())
}
