//! What the server says when it is ready, and what it is told by signals.

use std::io::{self, Write};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    certificate::Certificate,
    config::{self, Config, ListenAddress, Syntax, TlsMode},
    first_run,
};

/// Says where it listens, in lines that a program can read, and to a first-time user what to do.
pub(super) fn announce(
    config: &Config,
    bound: &[(&config::Listener, ListenAddress)],
    http: &[(ListenAddress, bool)],
    certificate: &Certificate,
    made: Option<&first_run::Accounts>,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (listener, address) in bound {
        let tls = listener.tls.name();
        let syntax = match listener.syntax {
            Syntax::Strict => "strict",
            Syntax::Lenient => "lenient",
        };
        writeln!(out, "listening {} {tls} {syntax} {address}", listener.protocol.name())?;
        tracing::info!(protocol = listener.protocol.name(), tls, %address, "listening");
    }
    for (address, tls) in http {
        let tls = if *tls { TlsMode::Implicit } else { TlsMode::None }.name();
        writeln!(out, "listening http {tls} strict {address}")?;
        tracing::info!(protocol = "http", tls, %address, "listening");
    }
    if let Some(accounts) = made {
        write!(out, "{}", first_run::recipe(config, bound, certificate, accounts))?;
    }
    writeln!(out, "ready")?;
    out.flush()
}

/// The signals that stop the server.
pub(super) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// From here on they do not end the process by themselves.
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
