//! What clients are shown, and which of them are asked for a certificate of their own.

use std::{fs, sync::Arc};

use mailwright::line_proto::tls::{
    self, ClientCertificates,
    rustls::{RootCertStore, ServerConfig, server::ResolvesServerCert},
};

use super::{CertificateError, Certificates};
use crate::config::{AskForCertificate, Config};

/// A configuration of TLS for each way to treat clients.
pub(crate) struct ServerConfigs {
    asking_nobody: Arc<ServerConfig>,
    /// Asking, and insisting.
    asking: Option<(Arc<ServerConfig>, Arc<ServerConfig>)>,
}

impl ServerConfigs {
    /// With these certificates of ours, and the authorities of the configuration for those of clients.
    pub(crate) fn new(config: &Config, ours: &Arc<Certificates>) -> Result<Self, CertificateError> {
        let authorities = config.tls.client_ca.as_ref().map(|path| {
            let pem = fs::read(path)
                .map_err(|source| CertificateError::ReadAuthorities { path: path.clone(), source })?;
            tls::roots(&pem).map_err(|source| CertificateError::Authorities { path: path.clone(), source })
        });
        let make = |clients| {
            let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(ours) as _;
            let made = tls::server_config_resolving(resolver, clients);
            made.map(Arc::new).map_err(CertificateError::Clients)
        };
        let pair = |roots: RootCertStore| {
            Ok::<_, CertificateError>((
                make(ClientCertificates::Optional(roots.clone()))?,
                make(ClientCertificates::Required(roots))?,
            ))
        };
        let asking = authorities.transpose()?.map(pair).transpose()?;
        Ok(Self { asking_nobody: make(ClientCertificates::Ignored)?, asking })
    }

    /// The one for a listener that asks so. That there are authorities where it asks was checked.
    pub(crate) fn of(&self, ask: AskForCertificate) -> Arc<ServerConfig> {
        Arc::clone(match (ask, &self.asking) {
            (AskForCertificate::Ask, Some((asking, _))) => asking,
            (AskForCertificate::Require, Some((_, insisting))) => insisting,
            _ => &self.asking_nobody,
        })
    }
}
