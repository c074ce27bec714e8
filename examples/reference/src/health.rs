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

/// After so many looks it is believed that there is room: what is free goes up and down around the reserve.
const ROOMY: u32 = 10;

/// How the store is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Health {
    /// Why it takes no changes, if so.
    pub(crate) failure: Option<String>,
    /// Why it takes no mail, if there is less room than is kept in reserve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shortage: Option<String>,
    /// What was found damaged since the start, and what was set aside at one before.
    pub(crate) damage: Vec<String>,
}

impl Health {
    pub(crate) fn of(store: &Embedded) -> Self {
        Self { failure: store.failure(), shortage: store.shortage(), damage: store.damage() }
    }
}

/// Writes changes of the store's health to the log, until told to stop.
pub(crate) async fn watch(store: Embedded, stop: CancellationToken) {
    let (mut failing, mut told) = (false, 0);
    // For how many looks there has been room; none while it is said that there is none.
    let mut room = ROOMY;
    if store.is_described_by_another() {
        tracing::warn!(
            "what is kept of the structures of mail may be as another version found it; mailwrightd fsck --repair finds it out again"
        );
    }
    loop {
        let health = Health::of(&store);
        match (&health.failure, failing) {
            (Some(failure), false) => tracing::error!(failure, "the store takes no changes"),
            (None, true) => tracing::info!("the store takes changes again"),
            _ => {}
        }
        failing = health.failure.is_some();
        match &health.shortage {
            Some(shortage) if room >= ROOMY => {
                tracing::error!(shortage, "mail is refused until there is room");
                room = 0;
            }
            Some(_) => room = 0,
            None if room < ROOMY => {
                room += 1;
                if room == ROOMY {
                    tracing::info!("there is room for mail again");
                }
            }
            None => {}
        }
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
    match (&health.failure, &health.shortage) {
        (Some(failure), _) => println!("the store takes no changes: {failure}"),
        (None, Some(shortage)) => println!("the store refuses mail for the time being: {shortage}"),
        (None, None) => println!("the store takes mail"),
    }
    for damage in &health.damage {
        println!("damaged: {damage}");
    }
    if !health.damage.is_empty() {
        println!(
            "mailwrightd fsck names the messages concerned, fsck --repair brings back what can be, and with --forget gives up the rest"
        );
    }
    Ok(())
}
