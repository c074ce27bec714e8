//! Connections of HTTP: where they come in, and how long they may take.

use std::{net::IpAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::{Request, body::Incoming, server::conn::http1, service::Service as _};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use mailwright::{
    Admission, ConnectionLimits, Listener, Stress, Throttle, line_proto::tls::rustls::ServerConfig,
    relay_policy::networks::AddressRange,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::answer::{Origin, router};
use crate::{
    config::{self, Config, ListenAddress},
    live::Current,
    serve::{ServeError, auth_socket, tcp_socket},
};

/// How many connections there may be at once, in all and from one address; and new ones a minute from one.
const LIMITS: ConnectionLimits = ConnectionLimits {
    total: 64,
    per_address: 16,
    new_per_minute: 600,
    // Requests have to come soon at any time.
    stress: Stress { percent: 0, patience: Duration::ZERO, errors: 0 },
};
/// How long the fields of a request may take to come, also those of the next one on the same connection.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// The fields of a request, in octets and in number.
const HEADER_OCTETS: usize = 32 << 10;
const HEADER_FIELDS: usize = 64;
/// How long a handshake of TLS may take.
const TLS_PATIENCE: Duration = Duration::from_secs(10);
/// After so long a connection takes no more requests, and so much later it is closed, whatever is still on its way.
const CONNECTION_LIFE: Duration = Duration::from_secs(600);
const LAST_WORDS: Duration = Duration::from_secs(30);

/// Something that is listened at.
pub(crate) struct Bound {
    socket: Socket,
    pub(crate) address: ListenAddress,
    /// Whether connections begin with TLS.
    pub(crate) tls: bool,
}

enum Socket {
    Network(TcpListener),
    Unix(UnixListener),
}

/// What a server that runs answers by.
pub(crate) struct Serving {
    pub(crate) administration: Arc<Current>,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) tls: Arc<ServerConfig>,
    /// Who begins a connection with a header of the PROXY protocol, and is believed.
    pub(crate) proxies: Vec<AddressRange>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

/// Opens the sockets of the configuration.
pub(crate) fn bind(config: &Config) -> Result<Vec<Bound>, ServeError> {
    let bound = config.http.listen.iter().map(|address| {
        let failed = |source| ServeError::Listen { protocol: "http", address: address.to_string(), source };
        let (socket, address, tls) = match address {
            ListenAddress::Network(at) => {
                let socket = tcp_socket(*at).map_err(failed)?;
                let local = socket.local_addr().map_err(failed)?;
                (Socket::Network(socket), ListenAddress::Network(local), config::Http::needs_tls(*at))
            }
            ListenAddress::Unix(path) => {
                let socket = auth_socket(path, config.http.mode()).map_err(failed)?;
                (Socket::Unix(socket), address.clone(), false)
            }
        };
        Ok(Bound { socket, address, tls })
    });
    bound.collect()
}

/// Serves all of them until told to stop.
pub(crate) fn serve(bound: Vec<Bound>, serving: Serving) {
    let Serving { administration, throttle, tls, proxies, stop, tasks } = serving;
    let router = router(administration, throttle);
    // RFC 7301 §3.2: clients that offer HTTP/2 too are told what there is.
    let mut alpn = (*tls).clone();
    alpn.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(alpn));
    let admission = Admission::new(LIMITS);
    for Bound { socket, tls, .. } in bound {
        let (router, stop) = (router.clone(), stop.clone());
        let acceptor = tls.then(|| acceptor.clone());
        match socket {
            Socket::Network(socket) => {
                let listener = Listener::new(socket, Arc::clone(&admission), stop.clone(), tasks.clone());
                let listener = listener.behind_proxies(proxies.clone());
                tasks.spawn(listener.run(move |accepted| {
                    let (router, acceptor, stop) = (router.clone(), acceptor.clone(), stop.clone());
                    let (stream, from) = (accepted.socket, accepted.peer.remote.map(|remote| remote.ip()));
                    async move {
                        let Some(acceptor) = acceptor else {
                            return converse(stream, router, from, stop).await;
                        };
                        match tokio::time::timeout(TLS_PATIENCE, acceptor.accept(stream)).await {
                            Ok(Ok(stream)) => converse(stream, router, from, stop).await,
                            Ok(Err(error)) => tracing::debug!(?from, %error, "no TLS for HTTP"),
                            Err(_) => tracing::debug!(?from, "TLS for HTTP takes too long"),
                        }
                    }
                }));
            }
            Socket::Unix(socket) => drop(tasks.spawn(serve_unix(socket, router, stop, tasks.clone()))),
        }
    }
}

async fn serve_unix(socket: UnixListener, router: Router, stop: CancellationToken, tasks: TaskTracker) {
    let places = Arc::new(Semaphore::new(LIMITS.total as usize));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (router, stop) = (router.clone(), stop.clone());
        tasks.spawn(async move {
            converse(stream, router, None, stop).await;
            drop(place);
        });
    }
}

/// One connection, to its end.
async fn converse<S>(stream: S, router: Router, from: Option<IpAddr>, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let inner = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Origin(from));
        inner.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .max_buf_size(HEADER_OCTETS)
        .max_headers(HEADER_FIELDS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stop.cancelled() => None,
        () = tokio::time::sleep(CONNECTION_LIFE) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(LAST_WORDS, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(?from, %error, "a connection of HTTP ended");
    }
}
