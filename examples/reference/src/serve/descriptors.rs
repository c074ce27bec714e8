//! File descriptors: as many as the system lets the server have, and never the last of them for a connection.
//!
//! A store that cannot open its next file keeps nothing from then on, and programs, lookups and logs need files, too. So those who
//! connect are counted against what is left over, however many connections the configuration allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Config, StoreKind};

/// The most files that the database keeps open.
const DATABASE: u64 = 900;
/// Listeners, administrators by HTTP and at the control socket, log files, programs that take mail, tables that are being written.
const OTHERS: u64 = 192;
/// A connection of ours to another server, and a lookup of its name.
const OUTBOUND: u64 = 2;

/// What descriptors there are, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// How many files the process may have open; `None` if there is no limit.
    limit: Option<u64>,
    /// How many files the database may keep open.
    pub(crate) database: usize,
    /// How many clients there may be at once; 0 if there is no limit.
    pub(crate) connections: u32,
}

impl Descriptors {
    /// Has the system allow what this configuration asks for, as far as it does.
    pub(crate) fn claim(config: &Config) -> Self {
        let now = getrlimit(Resource::Nofile);
        let claimed = Claim::new(config).of(now.maximum);
        let enough = now.current.is_none_or(|current| claimed.limit.is_some_and(|limit| limit <= current));
        if enough {
            return Self { limit: now.current, ..claimed };
        }
        match setrlimit(Resource::Nofile, Rlimit { current: claimed.limit, maximum: now.maximum }) {
            Ok(()) => claimed,
            // Then it stays as it is.
            Err(_) => Claim::new(config).of(now.current),
        }
    }

    /// Tells who runs the server if there can be fewer connections than they allow.
    pub(crate) fn warn(&self, config: &Config) {
        let asked = config.limits.connections;
        if let (Some(limit), true) = (self.limit, asked != 0 && self.connections < asked) {
            let wanted = Claim::new(config).wanted();
            tracing::warn!(
                limit,
                connections = self.connections,
                "fewer connections than limits.connections: the system lets this process open too few files; allow {wanted} (LimitNOFILE= of systemd, ulimit -n)"
            );
        }
    }
}

/// What a configuration needs.
struct Claim {
    /// Clients; `None` is as many as there can be.
    connections: Option<u64>,
    /// Files a client has open at once.
    each: u64,
    /// For everything but clients and the database.
    others: u64,
}

impl Claim {
    fn new(config: &Config) -> Self {
        let outbound = (config.queue.connections + config.fetch.connections) as u64;
        Self {
            connections: Some(u64::from(config.limits.connections)).filter(|connections| *connections != 0),
            each: match config.store.kind {
                StoreKind::Embedded => 1,
                // A message that comes or goes is a file.
                _ => 2,
            },
            others: OTHERS + OUTBOUND * outbound,
        }
    }

    /// How many files that are together.
    fn wanted(&self) -> u64 {
        let connections = self.connections.unwrap_or(1 << 20);
        connections.saturating_mul(self.each).saturating_add(self.others + DATABASE)
    }

    /// What there can be of it where the system gives at most so many.
    fn of(&self, most: Option<u64>) -> Descriptors {
        let limit = most.map_or_else(|| self.wanted(), |most| most.min(self.wanted()));
        let database = DATABASE.min(limit / 4);
        // Where everything is short, a quarter is for clients: what the others may need they seldom need at once.
        let left = limit.saturating_sub(database + self.others).max(limit / 4) / self.each;
        let connections = self.connections.map_or(left, |wanted| wanted.min(left)).max(1);
        Descriptors {
            limit: Some(limit),
            database: usize::try_from(database).unwrap_or(usize::MAX),
            connections: u32::try_from(connections).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ORDINARY: Claim = Claim { connections: Some(20_000), each: 1, others: OTHERS + 232 };

    #[test]
    fn everything_is_there_where_the_system_gives_it() {
        let all = ORDINARY.of(Some(1 << 20));
        assert_eq!((all.limit, all.database, all.connections), (Some(21_324), 900, 20_000));
        assert_eq!(ORDINARY.of(None), all);
    }

    #[test]
    fn clients_never_have_the_last_descriptor() {
        for most in [16_u64, 64, 256, 1_024, 4_096, 20_000] {
            let short = ORDINARY.of(Some(most));
            let (database, clients) = (short.database as u64, u64::from(short.connections));
            assert!(
                clients >= 1 && database + clients <= most / 2 + most.saturating_sub(ORDINARY.others),
                "{short:?}"
            );
            assert!(clients < 20_000);
        }
        assert_eq!(ORDINARY.of(Some(1_024)).connections, 344);
        let twice = Claim { each: 2, ..ORDINARY };
        assert_eq!(twice.of(Some(1_024)).connections, 172);
    }

    #[test]
    fn no_limit_is_what_the_system_gives() {
        let all = Claim { connections: None, ..ORDINARY };
        assert_eq!(all.of(Some(4_096)).connections, 4_096 - 900 - 424);
    }
}
