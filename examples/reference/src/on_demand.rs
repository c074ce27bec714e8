//! Mail that this server comes for: providers are asked for what waits there (ATRN, RFC 2645).

use std::{sync::Arc, time::Duration};

use mailwright::{
    client::{ClientError, Endpoint, Refusal, Security, SmtpClient},
    line_proto::tls::rustls::ClientConfig,
    smtp::Smtp,
    smtp_proto::{HelloName, client},
};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Provider, TlsMode, oauth::secret, on_demand::domains},
    directory::Logins,
    serve::Inbox,
};

/// What receives, and as whom.
pub(crate) struct Receiving {
    pub(crate) hello: HelloName,
    /// Whom to trust; without it there is no TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) service: Arc<Smtp<Inbox, Logins>>,
}

/// One provider.
pub(crate) struct Caller {
    pub(crate) provider: Provider,
    /// What receives at the next call.
    pub(crate) receiving: watch::Receiver<Arc<Receiving>>,
    /// Changes when the provider is to be asked at once.
    pub(crate) calls: watch::Receiver<()>,
}

/// Why nothing came.
#[derive(Debug, Error)]
enum CallError {
    #[error("{0}")]
    Password(String),
    #[error("fetch.trust names no authorities to know the host by")]
    NobodyToTrust,
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl Caller {
    /// Asks again and again, until it is stopped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let (host, port) = (self.provider.host.clone(), self.provider.port);
        loop {
            // Asked for during a call, it is done again after it.
            self.calls.mark_unchanged();
            match self.call(&stop).await {
                Ok(()) => tracing::info!(protocol = "atrn", host, port, "mail was fetched"),
                Err(CallError::Client(ClientError::Refused(Refusal::Smtp(reply)))) if reply.code() == 453 => {
                    tracing::debug!(protocol = "atrn", host, port, "nothing waits");
                }
                Err(error) => tracing::warn!(protocol = "atrn", host, port, %error, "no mail was fetched"),
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(self.provider.every_seconds)) => {}
                Ok(()) = self.calls.changed() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One call.
    async fn call(&self, stop: &CancellationToken) -> Result<(), CallError> {
        let (provider, receiving) = (&self.provider, Arc::clone(&self.receiving.borrow()));
        let password = secret("on_demand.provider.password_file", &provider.password_file)
            .map_err(CallError::Password)?;
        let trust = || receiving.tls.clone().ok_or(CallError::NobodyToTrust);
        let security = match provider.tls {
            TlsMode::None => Security::Plain,
            TlsMode::Starttls | TlsMode::Required => Security::Starttls(trust()?),
            TlsMode::Implicit => Security::Implicit(trust()?),
        };
        let mut config = client::Config::default();
        // Who writes tls = "none" knows that the password goes in the clear, if nothing better is offered.
        config.allow_plaintext_auth = provider.tls == TlsMode::None;
        let endpoint = Endpoint::new(provider.host.clone(), provider.port, security);
        let connecting = async {
            let mut client =
                SmtpClient::connect(&endpoint, receiving.hello.clone(), Arc::new(config)).await?;
            client.login(&provider.user, &password).await?;
            client.turn(domains(&provider.domains)).await
        };
        let turned = tokio::select! {
            turned = connecting => turned?,
            () = stop.cancelled() => return Ok(()),
        };
        receiving.service.turned_session(turned, stop.clone()).await;
        Ok(())
    }
}
