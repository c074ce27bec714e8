//! Reading the configuration again: all of it is in use then, but for what [`crate::live`] says needs a restart, or nothing is.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use mailwright::Admission;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{lasting::Lasting, listening::Listening};
use crate::{
    certificate::{Certificates, ServerConfigs},
    config::Config,
    live::{self, Current},
    on_demand::Receiving,
    passwd_file::PasswdFiles,
};

/// Where the configuration is: its file, if there is one, and the data directory of the command line.
pub(crate) struct Source {
    pub(crate) file: Option<PathBuf>,
    pub(crate) data: Option<PathBuf>,
}

/// What reads it again.
pub(super) struct Reloader {
    pub(super) source: Source,
    pub(super) lasting: Lasting,
    pub(super) certificates: Arc<Certificates>,
    pub(super) admission: Arc<Admission>,
    pub(super) administration: Arc<Current>,
    /// What takes mail of providers that are called.
    pub(super) receiving: watch::Sender<Arc<Receiving>>,
    pub(super) passwd: Arc<PasswdFiles>,
    pub(super) state: Mutex<State>,
}

/// What is in use.
pub(super) struct State {
    pub(super) config: Arc<Config>,
    pub(super) listening: Listening,
}

impl Reloader {
    /// Goes by the configuration as it is now; says what of it needs a restart. Blocks.
    ///
    /// # Errors
    /// What is wrong; nothing has changed then.
    pub(super) fn reload(&self) -> Result<Vec<&'static str>, String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, data) = (self.source.file.as_deref(), self.source.data.as_deref());
        let new = Config::load(file, data).map_err(|error| error.to_string())?;
        let (config, restart) = live::merge(&state.config, &new)?;
        // What is new may be right by itself and not beside what stays.
        let config = Arc::new(config.checked().map_err(|error| error.to_string())?);

        // All that can fail comes first.
        let lasting = &self.lasting;
        let certificates = Certificates::read(&config).map_err(|error| error.to_string())?;
        let tls = ServerConfigs::new(&config, &self.certificates).map_err(|error| error.to_string())?;
        let directory = lasting.directory.prepare(&config).map_err(|error| error.to_string())?;
        let logins = lasting.logins.renewed(&config)?;
        let routes = Arc::new(config.routes()?);
        let rules = Arc::new(lasting.rules(&config));
        let (signing, parts) = (Arc::clone(&rules.authentication), lasting.parts.clone());
        let queue = parts.configure(&config, Arc::clone(&routes), signing)?;
        let services = lasting.services(&config, &rules, routes).map_err(|error| error.to_string())?;
        let administration = lasting.administration(&config, &rules).map_err(|error| error.to_string())?;
        let receiving = services.receiving().map_err(|error| error.to_string())?;
        let mut listening =
            Listening::open(&config, Some(&state.listening)).map_err(|error| error.to_string())?;
        listening.serve(&services, &self.admission, &tls).map_err(|error| error.to_string())?;
        if let Err(error) = lasting.directory.reconfigure(directory) {
            listening.rest();
            return Err(error.to_string());
        }

        lasting.logins.renew(logins);
        lasting.queue.reconfigure(queue);
        lasting.queue.release_to(&services.inbox);
        lasting.fetch.reconfigure(Arc::clone(&services.inbox), services.fetch_options());
        self.receiving.send_replace(Arc::new(receiving));
        self.certificates.replace(certificates);
        self.administration.replace(administration);
        let mut before = std::mem::replace(&mut *state, State { config, listening });
        before.listening.rest();
        // Behind the domains, which their accounts may be in; what is wrong with them is logged.
        self.passwd.follow();
        tracing::info!(restart = restart.join(", "), "the configuration was read again");
        Ok(restart)
    }
}

/// Reads it again whenever SIGHUP comes.
pub(super) fn reload_on_signal(reloader: Arc<Reloader>) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let reloader = Arc::clone(&reloader);
            let reloading = tokio::task::spawn_blocking(move || match reloader.reload() {
                Ok(restart) if restart.is_empty() => {}
                Ok(restart) => tracing::warn!("needs a restart: {}", restart.join(", ")),
                Err(problem) => tracing::error!(problem, "the configuration in use stays"),
            });
            // If it panics, everything stays as it is.
            let _ended = reloading.await;
        }
    });
    Ok(())
}
