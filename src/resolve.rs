//! Asking the domain name system.

use std::{net::SocketAddr, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{dnssec::Proof, op::ResponseCode},
};
use mailwright_relay_policy::dns::{Answer, LookupError, Name, RecordType, Resolve};
use thiserror::Error;

/// A resolver with a cache, which checks signatures if it is asked to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Resolver {
    inner: TokioResolver,
    validates: bool,
}

/// How names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResolverOptions {
    /// The servers to ask; those of the system if there are none.
    pub servers: Vec<SocketAddr>,
    /// Whether signatures are checked (DNSSEC). The servers must pass them on.
    pub dnssec: bool,
    /// How long one question to one server may take.
    pub timeout: Duration,
}

impl Default for ResolverOptions {
    /// The system's servers, signatures checked, five seconds.
    fn default() -> Self {
        Self { servers: Vec::new(), dnssec: true, timeout: Duration::from_secs(5) }
    }
}

/// Why there is no resolver.
#[derive(Debug, Error)]
#[error("names cannot be looked up: {0}")]
pub struct ResolverError(NetError);

impl Resolver {
    /// A resolver with these options.
    ///
    /// # Errors
    /// If the system's configuration cannot be read.
    pub fn new(options: &ResolverOptions) -> Result<Self, ResolverError> {
        let mut builder = if options.servers.is_empty() {
            TokioResolver::builder_tokio().map_err(ResolverError)?
        } else {
            let server = |address: &SocketAddr| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = address.port();
                    connection
                });
                NameServerConfig::new(address.ip(), true, connections.into())
            };
            let servers = options.servers.iter().map(server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let inner = builder.options_mut();
        inner.validate = options.dnssec;
        inner.timeout = options.timeout;
        inner.cache_size = 4_096;
        // Names of mail hosts are absolute, and a line in a file says nothing of mail exchangers.
        (inner.ndots, inner.use_hosts_file) = (0, ResolveHosts::Never);
        // One answer that came by luck must not be kept for weeks, nor a mishap for hours.
        inner.positive_max_ttl = Some(Duration::from_secs(86_400));
        inner.negative_max_ttl = Some(Duration::from_secs(900));
        Ok(Self { inner: builder.build().map_err(ResolverError)?, validates: options.dnssec })
    }
}

impl Resolve for Resolver {
    async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Answer, LookupError> {
        match self.inner.lookup(name.clone(), kind).await {
            Ok(found) => {
                let records = found.answers().to_vec();
                let bogus = records.iter().any(|record| record.proof == Proof::Bogus);
                if self.validates && bogus {
                    return Err(LookupError::Bogus(format!("{name} {kind}")));
                }
                let secure = records.iter().all(|record| record.proof == Proof::Secure);
                Ok(Answer::new(records, self.validates && secure))
            }
            Err(error) => nothing(error),
        }
    }
}

fn nothing(error: NetError) -> Result<Answer, LookupError> {
    match &error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Err(LookupError::NoName),
            ResponseCode::NoError => Ok(Answer::default()),
            code => Err(LookupError::Temporary(format!("{code}"))),
        },
        NetError::Dns(DnsError::ResponseCode(ResponseCode::NXDomain)) => Err(LookupError::NoName),
        NetError::Dns(DnsError::DnssecBogus) => Err(LookupError::Bogus(error.to_string())),
        NetError::Dns(DnsError::Nsec { response, proof, .. }) => match proof {
            Proof::Bogus => Err(LookupError::Bogus(error.to_string())),
            _ if response.metadata.response_code == ResponseCode::NXDomain => Err(LookupError::NoName),
            _ => Ok(Answer::default()),
        },
        _ => Err(LookupError::Temporary(error.to_string())),
    }
}
