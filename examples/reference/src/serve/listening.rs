//! The sockets of the configuration. They outlive what serves them: when the configuration is read again, other services take over, and
//! no connection is refused meanwhile.

use std::{io, os::unix::fs::PermissionsExt, sync::Arc};

use mailwright::{Admission, Listener, ListenerTls};
use tokio::{
    net::{TcpListener, UnixListener},
    task::AbortHandle,
};

use super::{
    ServeError,
    services::Services,
    sockets::{Accept, auth_socket, tcp_socket},
};
use crate::{
    certificate::ServerConfigs,
    config::{self, Config, ListenAddress, TlsMode},
};

/// All sockets, and who accepts there.
pub(super) struct Listening {
    /// In the order of the configuration.
    pub(super) places: Vec<Place>,
    /// Where programs of this machine hand mail over.
    programs: Place,
}

/// One of them.
#[derive(Clone)]
pub(super) struct Place {
    /// As it is configured.
    asked: ListenAddress,
    /// As it is: with a port that the system chose.
    pub(super) at: ListenAddress,
    socket: Arc<Socket>,
    /// What accepts there; the sessions are tasks of their own.
    accepting: Option<AbortHandle>,
}

enum Socket {
    Network(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Listening {
    /// Opens what is not open yet; what is stays as it is. Nobody accepts anything at the new ones yet.
    pub(super) fn open(config: &Config, before: Option<&Self>) -> Result<Self, ServeError> {
        let mut known: Vec<Place> = before.map_or_else(Vec::new, |before| before.places.clone());
        let mut places = Vec::new();
        for listener in &config.listeners {
            let name = listener.protocol.name();
            let failed =
                |source| ServeError::Listen { protocol: name, address: listener.address.to_string(), source };
            let place = match known.iter().position(|place| place.asked == listener.address) {
                Some(found) => known.remove(found),
                None => Place::open(&listener.address, listener.mode()).map_err(failed)?,
            };
            place.permit(listener.mode()).map_err(failed)?;
            places.push(Place { accepting: None, ..place });
        }
        let programs = match before {
            Some(before) => Place { accepting: None, ..before.programs.clone() },
            None => {
                let path = config.sendmail.socket(&config.data);
                let shown = path.display().to_string();
                // Who may come in is for the folder to say.
                let place = Place::open(&ListenAddress::Unix(path), Some(0o666))
                    .map_err(|source| ServeError::Sendmail { path: shown.clone(), source })?;
                tracing::info!(protocol = "sendmail", path = shown, "listening");
                place
            }
        };
        Ok(Self { places, programs })
    }

    /// Has these services accept everywhere. If that fails, nobody does.
    pub(super) fn serve(
        &mut self,
        services: &Services,
        admission: &Arc<Admission>,
        tls: &ServerConfigs,
    ) -> Result<(), ServeError> {
        let served = self.serve_all(services, admission, tls);
        if served.is_err() {
            self.rest();
        }
        served
    }

    fn serve_all(
        &mut self,
        services: &Services,
        admission: &Arc<Admission>,
        tls: &ServerConfigs,
    ) -> Result<(), ServeError> {
        for (place, listener) in self.places.iter_mut().zip(&services.config.listeners) {
            let accept = match &*place.socket {
                Socket::Network(socket) => {
                    let socket = TcpListener::from_std(socket.try_clone()?)?;
                    let (stop, tasks) = (services.stop.clone(), services.tasks.clone());
                    let accept = Listener::new(socket, Arc::clone(admission), stop, tasks);
                    Accept::Network(accept.behind_proxies(config::ranges(&services.config.proxies)))
                }
                Socket::Unix(socket) => Accept::Unix(UnixListener::from_std(socket.try_clone()?)?),
            };
            let asking = tls.of(listener.client_certificates);
            let tls = match listener.tls {
                TlsMode::None => ListenerTls::None,
                TlsMode::Starttls | TlsMode::Required => ListenerTls::Starttls(asking),
                TlsMode::Implicit => ListenerTls::Implicit(asking),
            };
            place.accepting = Some(services.start(listener, accept, admission, tls)?);
        }
        if let Socket::Unix(socket) = &*self.programs.socket {
            let socket = UnixListener::from_std(socket.try_clone()?)?;
            self.programs.accepting = Some(services.take_from_programs(socket)?);
        }
        Ok(())
    }

    /// Nobody accepts anything any more; sessions go on.
    pub(super) fn rest(&mut self) {
        for place in self.places.iter_mut().chain([&mut self.programs]) {
            if let Some(accepting) = place.accepting.take() {
                accepting.abort();
            }
        }
    }
}

impl Place {
    fn open(address: &ListenAddress, mode: Option<u32>) -> io::Result<Self> {
        let (socket, at) = match address {
            ListenAddress::Network(network) => {
                let socket = tcp_socket(*network)?.into_std()?;
                let at = ListenAddress::Network(socket.local_addr()?);
                (Socket::Network(socket), at)
            }
            ListenAddress::Unix(path) => {
                (Socket::Unix(auth_socket(path, mode)?.into_std()?), address.clone())
            }
        };
        Ok(Self { asked: address.clone(), at, socket: Arc::new(socket), accepting: None })
    }

    /// Says who may connect, where that is for the file system to say.
    fn permit(&self, mode: Option<u32>) -> io::Result<()> {
        match (&self.at, mode) {
            (ListenAddress::Unix(path), Some(mode)) => {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
            }
            _ => Ok(()),
        }
    }
}
