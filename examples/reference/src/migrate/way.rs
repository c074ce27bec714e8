//! The way to an IMAP server: it is gone again when a connection breaks.

use std::{fs, sync::Arc};

use mailwright::{
    client::{ClientError, Endpoint, ImapClient, Security},
    imap_proto::client::Config,
    line_proto::{Secret, sasl::Credentials, tls},
};

use super::MigrateError;
use crate::cli::Migrate;

/// Whom to trust if nobody is named.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A server, and who logs in there.
pub(super) struct Way {
    endpoint: Endpoint,
    config: Arc<Config>,
    pub(super) login: String,
    master: Option<String>,
    password: Secret,
}

impl Way {
    pub(super) fn new(
        implicit: bool,
        place: &str,
        options: &Migrate,
        password: Secret,
    ) -> Result<Self, MigrateError> {
        let bad = || MigrateError::Source(options.from.clone());
        let place = place.trim_start_matches("//");
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| bad())?),
            None => (place, if implicit { 993 } else { 143 }),
        };
        let security = if options.plaintext {
            Security::Plain
        } else {
            let path = options.certificate.clone().unwrap_or_else(|| SYSTEM_ROOTS.into());
            let pem = fs::read(&path)
                .map_err(|error| MigrateError::File { path: path.display().to_string(), error })?;
            let roots = tls::roots(&pem).map_err(|error| MigrateError::Tls(error.to_string()))?;
            let config = tls::client_config(roots).map_err(|error| MigrateError::Tls(error.to_string()))?;
            let config = Arc::new(config);
            if implicit { Security::Implicit(config) } else { Security::Starttls(config) }
        };
        let mut config = Config::default();
        config.allow_plaintext_auth = options.plaintext;
        Ok(Self {
            endpoint: Endpoint::new(host, port, security),
            config: Arc::new(config),
            login: options.login.as_deref().unwrap_or(&options.to).to_owned(),
            master: options.master.clone(),
            password,
        })
    }

    /// Logs in.
    pub(super) async fn go(&self) -> Result<ImapClient, ClientError> {
        let mut client = ImapClient::connect(&self.endpoint, Arc::clone(&self.config)).await?;
        let password = self.password.clone();
        match &self.master {
            // RFC 4616 §2: the master's own password, and the name to act as.
            Some(master) => {
                client.authenticate(&Credentials::new(master, password).acting_as(&self.login)).await?;
            }
            None => client.login(&self.login, &password).await?,
        }
        Ok(client)
    }
}
