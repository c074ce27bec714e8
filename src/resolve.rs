//! Asking the domain name system.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        dnssec::{Proof, TrustAnchors},
        op::ResponseCode,
    },
};
use mailwright_relay_policy::dns::{Answer, LookupError, Name, Record, RecordType, Resolve};
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
    /// A file of DNSKEY records of the root that are believed, in place of the world's: for networks with a root of their own.
    pub trust_anchors: Option<PathBuf>,
    /// How long one question to one server may take.
    pub timeout: Duration,
}

impl Default for ResolverOptions {
    /// The system's servers, signatures checked, five seconds.
    fn default() -> Self {
        Self { servers: Vec::new(), dnssec: true, trust_anchors: None, timeout: Duration::from_secs(5) }
    }
}

/// Why there is no resolver.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResolverError {
    /// The system's configuration cannot be read.
    #[error("names cannot be looked up: {0}")]
    System(String),
    /// The keys that are to be believed cannot be read.
    #[error("the keys of the root in {0} cannot be read: {1}")]
    TrustAnchors(PathBuf, String),
}

impl From<NetError> for ResolverError {
    fn from(error: NetError) -> Self {
        Self::System(error.to_string())
    }
}

impl Resolver {
    /// A resolver with these options.
    ///
    /// # Errors
    /// If the system's configuration or the keys of the root cannot be read.
    pub fn new(options: &ResolverOptions) -> Result<Self, ResolverError> {
        let mut builder = if options.servers.is_empty() {
            TokioResolver::builder_tokio()?
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
        if let Some(file) = options.trust_anchors.as_ref().filter(|_| options.dnssec) {
            let read = TrustAnchors::from_file(file);
            let anchors =
                read.map_err(|error| ResolverError::TrustAnchors(file.clone(), error.to_string()))?;
            builder = builder.with_trust_anchor(Arc::new(anchors));
        }
        let inner = builder.options_mut();
        inner.validate = options.dnssec;
        inner.timeout = options.timeout;
        inner.cache_size = 4_096;
        // Names of mail hosts are absolute, and a line in a file says nothing of mail exchangers.
        (inner.ndots, inner.use_hosts_file) = (0, ResolveHosts::Never);
        // One answer that came by luck must not be kept for weeks, nor a mishap for hours.
        inner.positive_max_ttl = Some(Duration::from_secs(86_400));
        inner.negative_max_ttl = Some(Duration::from_secs(900));
        Ok(Self { inner: builder.build()?, validates: options.dnssec })
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
                Ok(Answer::new(records, self.validates && secure(found.answers())))
            }
            Err(error) => nothing(error, self.validates),
        }
    }
}

/// Whether all that there is was signed.
fn secure<'a>(records: impl IntoIterator<Item = &'a Record>) -> bool {
    let mut records = records.into_iter().peekable();
    records.peek().is_some() && records.all(|record| record.proof == Proof::Secure)
}

fn nothing(error: NetError, validates: bool) -> Result<Answer, LookupError> {
    match &error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Err(LookupError::NoName),
            // Signed records may say that there is nothing: then the domain is its own mail exchanger, for sure.
            ResponseCode::NoError => {
                let signed = none.authorities.as_deref().is_some_and(secure);
                Ok(Answer::new(Vec::new(), validates && signed))
            }
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
