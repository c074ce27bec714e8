//! Kerberos tickets, over what the host has to check them.

use std::{fmt, sync::Arc};

use mailwright_line_proto::{
    AuthRefusal, Secret,
    sasl::{GssContext, GssError, Server, ServerStep},
};
use mailwright_mailstore::accounts::Service;

/// Makes the contexts that take tickets.
#[derive(Clone)]
pub(super) struct Acceptors(Arc<Acceptor>);

/// Makes one for a service.
type Acceptor = dyn Fn(Service) -> Result<Box<dyn GssContext>, GssError> + Send + Sync;

impl Acceptors {
    pub(super) fn new(
        acceptor: impl Fn(Service) -> Result<Box<dyn GssContext>, GssError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(acceptor))
    }

    /// Begins an exchange. A key table may have to be read for it.
    pub(super) async fn begin(&self, service: Service) -> Result<Server, AuthRefusal> {
        let acceptors = self.clone();
        let made = tokio::task::spawn_blocking(move || (acceptors.0)(service)).await;
        match made {
            Ok(Ok(context)) => Ok(Server::gssapi(context)),
            Ok(Err(error)) => {
                tracing::error!(protocol = %service, %error, "cannot accept Kerberos tickets");
                Err(AuthRefusal::Unavailable)
            }
            Err(_) => Err(AuthRefusal::Unavailable),
        }
    }
}

impl fmt::Debug for Acceptors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Acceptors")
    }
}

/// The next step of an exchange. A ticket is checked with a key table and a cache of those seen before: that waits for files,
/// and nobody else must wait for it.
pub(super) async fn step(
    mut server: Server,
    response: Option<Secret>,
) -> Result<(Server, ServerStep), AuthRefusal> {
    let work = move || {
        let step = server.step(response.as_ref().map(Secret::expose));
        (server, step)
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| AuthRefusal::Unavailable)
}
