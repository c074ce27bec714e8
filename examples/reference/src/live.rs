//! What only a running server has: bans, and certificates in use.

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use mailwright::{Throttle, mailstore::embedded::Embedded};
use serde::{Deserialize, Serialize};

use crate::{
    admin::{Administration, Reason, Request, Response},
    certificate::Certificates,
    cli::BanCommand,
    command::{CommandError, print_json, request},
    config::Config,
    dmarc::{self, Reports},
    health::Health,
};

/// What answers administrators. It is replaced as a whole, and whoever began with the one before ends with it.
pub(crate) struct Current(RwLock<Arc<Administration>>);

impl Current {
    pub(crate) fn new(administration: Administration) -> Self {
        Self(RwLock::new(Arc::new(administration)))
    }

    /// What answers now.
    pub(crate) fn get(&self) -> Arc<Administration> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The parts of the running server that commands reach.
pub(crate) struct Live {
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) store: Embedded,
    /// What reports of DMARC are made by, if any are.
    pub(crate) reports: Option<Arc<Reports>>,
    /// Sends what was seen of TLS; says how many reports went out.
    pub(crate) report_tls: Arc<dyn Fn() -> usize + Send + Sync>,
}

/// A ban, as it is listed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BanEntry {
    pub(crate) network: String,
    pub(crate) seconds_left: u64,
    pub(crate) failures: u32,
}

/// A request to the running server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "live", rename_all = "kebab-case")]
pub(crate) enum LiveRequest {
    Bans,
    Lift {
        address: IpAddr,
    },
    Reload,
    Health,
    /// Sends reports of DMARC.
    Reports {
        today: bool,
    },
    SendTlsReports,
}

/// Does it; `live` is what runs, if anything does.
pub(crate) fn execute(live: Option<&Live>, request: &LiveRequest) -> Response {
    let Some(live) = live else {
        return Response::refused("no server runs on this data directory");
    };
    match request {
        LiveRequest::SendTlsReports => Response::Written { entries: (live.report_tls)() },
        LiveRequest::Bans => {
            let entry = |ban: mailwright::Ban| BanEntry {
                network: match ban.network {
                    IpAddr::V4(address) => address.to_string(),
                    IpAddr::V6(address) => format!("{address}/64"),
                },
                seconds_left: ban.left.as_secs(),
                failures: ban.failures,
            };
            Response::Bans { bans: live.throttle.bans(Instant::now()).into_iter().map(entry).collect() }
        }
        LiveRequest::Lift { address } if live.throttle.lift(*address) => Response::Done,
        LiveRequest::Lift { address } => Response::Failed {
            message: format!("nothing failed from {address} lately"),
            reason: Reason::Missing,
        },
        LiveRequest::Reports { today } => dmarc::send(live.reports.as_ref(), *today),
        LiveRequest::Health => Response::Health { health: Health::of(&live.store) },
        LiveRequest::Reload => match live.certificates.reload() {
            Ok(()) => Response::Done,
            Err(error) => Response::refused(format!("the certificates in use stay: {error}")),
        },
    }
}

/// `ban`.
pub(crate) fn ban(config: &Config, command: BanCommand) -> Result<(), CommandError> {
    match command {
        BanCommand::List { json } => {
            if let Response::Bans { bans } = request(config, Request::Live(LiveRequest::Bans))? {
                for ban in bans {
                    if json {
                        print_json(&ban)?;
                    } else {
                        println!(
                            "{} for {} seconds more, {} failures",
                            ban.network, ban.seconds_left, ban.failures
                        );
                    }
                }
            }
        }
        BanCommand::Lift { address } => {
            request(config, Request::Live(LiveRequest::Lift { address }))?;
            println!("{address} may log in again");
        }
    }
    Ok(())
}

/// `reload`.
pub(crate) fn reload(config: &Config) -> Result<(), CommandError> {
    request(config, Request::Live(LiveRequest::Reload))?;
    println!("the certificates were read again");
    Ok(())
}
