//! What only a running server has: bans, and a configuration that can be read again.

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use mailwright::{Throttle, mailstore::embedded::Embedded};
use serde::{Deserialize, Serialize};
use toml::Value;

use crate::{
    admin::{Administration, Reason, Request, Response},
    cli::BanCommand,
    command::{CommandError, print_json, request},
    config::Config,
    dmarc::{self, Reports},
    health::Health,
};

/// What a server takes from the configuration when it starts and not again, by the names that the file has for it. Everything else is
/// live: what begins behind a reload goes by it.
const AT_START: &[&str] = &[
    "data",
    "hostname",
    "store",
    "acme",
    "tls.client_ca",
    "tls.client_common_name",
    "auth.anonymous",
    "auth.master_users",
    "auth.master_separator",
    "auth.legacy_mechanisms",
    "auth.scram",
    "auth.penalty_milliseconds",
    "auth.failures_per_address",
    "auth.failures_per_user",
    "auth.ban_seconds",
    "auth.exempt",
    "auth.listen",
    "auth.socket_mode",
    "auth.passwd_files",
    "auth.dovecot",
    "auth.program",
    "auth.program_seconds",
    "auth.oauth",
    "auth.ldap",
    "sendmail",
    "relay.trust",
    "relay.mta_sts",
    "relay.own_address",
    "relay.own_address_lists",
    "relay.mta_sts_port",
    "relay.tls_reports",
    // Files are put by for them at the start.
    "queue.connections",
    "queue.suppress_after",
    "queue.suppress_days",
    "dns",
    "authentication.reports",
    "limits.connections",
    "limits.connections_per_address",
    "limits.new_connections_per_minute",
    "limits.stress_percent",
    "limits.stress_seconds",
    "limits.stress_errors",
    "limits.stop_seconds",
    "quota",
    "expiry",
    "sieve.snooze",
    "sieve.time_zone",
    "fetch.connections",
    "on_demand.provider",
    "http",
    "trace",
    "log",
];

/// The configuration that a server can go by that runs by `old` and is to go by `new`, and what of `new` needs a restart.
pub(crate) fn merge(old: &Config, new: &Config) -> Result<(Config, Vec<&'static str>), String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let old = Value::try_from(old).map_err(|error| failed(&error))?;
    let new = Value::try_from(new).map_err(|error| failed(&error))?;
    let (mut merged, mut restart) = (new.clone(), Vec::new());
    for &key in AT_START {
        let before = find(&old, key).cloned();
        if find(&merged, key) == before.as_ref() {
            continue;
        }
        restart.push(key);
        let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
        let table = match table {
            "" => Some(&mut merged),
            table => merged.get_mut(table),
        };
        if let Some(table) = table.and_then(Value::as_table_mut) {
            match before {
                Some(before) => table.insert(name.to_owned(), before),
                None => table.remove(name),
            };
        }
    }
    let merged: Config = merged.try_into().map_err(|error| failed(&error))?;
    // Everywhere else they are live.
    if !merged.http.listen.is_empty() && find(&old, "proxies") != find(&new, "proxies") {
        restart.push("proxies, for [http]");
    }
    Ok((merged, restart))
}

fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(value, |value, name| value.get(name))
}

/// What answers administrators. It is replaced as a whole, and whoever began with the one before ends with it.
pub(crate) struct Current(RwLock<Arc<Administration>>);

impl Current {
    pub(crate) fn new(administration: Administration) -> Self {
        Self(RwLock::new(Arc::new(administration)))
    }

    /// Has another one answer from here on.
    pub(crate) fn replace(&self, administration: Administration) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(administration);
    }

    /// What answers now.
    pub(crate) fn get(&self) -> Arc<Administration> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The parts of the running server that commands reach.
pub(crate) struct Live {
    pub(crate) throttle: Arc<Throttle>,
    /// Reads the configuration again, with certificates, scripts and the alias file; gives what of it needs a restart.
    pub(crate) reload: Arc<dyn Fn() -> Result<Vec<&'static str>, String> + Send + Sync>,
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
    /// Whether one user alone is kept out there, who is known there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) familiar: bool,
    /// The last names that failed, five at most.
    #[serde(default)]
    pub(crate) users: Vec<String>,
}

/// A request to the running server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "live", rename_all = "kebab-case")]
pub(crate) enum LiveRequest {
    Bans,
    Lift {
        address: IpAddr,
    },
    LiftUser {
        user: String,
    },
    Reload,
    Health,
    /// Sends reports of DMARC.
    Reports {
        today: bool,
    },
    SendTlsReports,
}

impl LiveRequest {
    /// Forgets what failed from an address, or else for a user.
    pub(crate) fn lift(who: &str) -> Self {
        // As it is listed, too.
        match who.strip_suffix("/64").unwrap_or(who).parse() {
            Ok(address) => Self::Lift { address },
            Err(_) => Self::LiftUser { user: who.to_owned() },
        }
    }
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
                familiar: ban.familiar,
                users: ban.users,
            };
            Response::Bans { bans: live.throttle.bans(Instant::now()).into_iter().map(entry).collect() }
        }
        LiveRequest::Lift { address } if live.throttle.lift(*address) => Response::Done,
        LiveRequest::Lift { address } => Response::Failed {
            message: format!("nothing failed from {address} lately"),
            reason: Reason::Missing,
        },
        LiveRequest::LiftUser { user } if live.throttle.lift_user(user) => Response::Done,
        LiveRequest::LiftUser { user } => {
            Response::Failed { message: format!("nothing failed for {user} lately"), reason: Reason::Missing }
        }
        LiveRequest::Reports { today } => dmarc::send(live.reports.as_ref(), *today),
        LiveRequest::Health => Response::Health { health: Health::of(&live.store) },
        LiveRequest::Reload => match (live.reload)() {
            Ok(restart) => Response::Reloaded { restart: restart.into_iter().map(str::to_owned).collect() },
            Err(problem) => Response::refused(format!("nothing was changed: {problem}")),
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
                        let whom = if ban.familiar { ", of a user who is known there" } else { "" };
                        let tried = match ban.users.join(", ") {
                            names if names.is_empty() => names,
                            names => format!(", with {names}"),
                        };
                        println!(
                            "{} for {} seconds more, {} failures{whom}{tried}",
                            ban.network, ban.seconds_left, ban.failures
                        );
                    }
                }
            }
        }
        BanCommand::Lift { who } => {
            request(config, Request::Live(LiveRequest::lift(&who)))?;
            println!("{who} may log in again");
        }
    }
    Ok(())
}

/// `reload`.
pub(crate) fn reload(config: &Config) -> Result<(), CommandError> {
    if let Response::Reloaded { restart } = request(config, Request::Live(LiveRequest::Reload))? {
        println!("the configuration and the certificates were read again");
        restart.iter().for_each(|key| println!("needs a restart: {key}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_restart_is_named_and_stays() {
        let read = |text: &str| toml::from_str::<Config>(text).unwrap();
        let old = read("data = \"a\"\n[tls]\nclient_ca = \"ca.pem\"\n");
        let new = read(
            "data = \"b\"\nalways_bcc = \"x@example.org\"\n[auth]\nexempt = []\n[auth.senders]\n\"a@b.example\" = [\"*\"]\n\
             [limits]\nmessage_size = 70000\nconnections = 7\n[log]\nlevel = \"debug\"\n",
        );
        let (merged, restart) = merge(&old, &new).unwrap();
        assert_eq!(restart, ["data", "tls.client_ca", "auth.exempt", "limits.connections", "log"]);
        assert_eq!((&merged.data, &merged.tls), (&old.data, &old.tls));
        assert_eq!((&merged.auth.exempt, &merged.auth.senders), (&old.auth.exempt, &new.auth.senders));
        assert_eq!((merged.limits.message_size, merged.limits.connections), (70_000, old.limits.connections));
        assert_eq!((&merged.always_bcc, &merged.log), (&new.always_bcc, &old.log));
        assert_eq!(merge(&old, &old).unwrap(), (old.clone(), Vec::new()));
        assert_eq!(merge(&new, &old).unwrap().0.tls, new.tls);
    }

    #[test]
    fn every_key_that_is_named_is_one() {
        let mut all = Config::default();
        let path = std::path::PathBuf::from("x");
        all.tls.client_ca = Some(path);
        let all = Value::try_from(all).unwrap();
        let optional = ["acme", "auth.oauth", "auth.ldap", "on_demand.provider"];
        for key in AT_START.iter().filter(|key| !optional.contains(key)) {
            assert!(find(&all, key).is_some(), "{key}");
        }
    }
}
