//! Asking a web server: one request, one answer of a bounded size, in a bounded time.
//!
//! For what mail needs of the web: policies (RFC 8461), reports (RFC 8460), tokens (RFC 7662), certificates (RFC 8555).
//! Each request has a connection of its own. Redirects are not followed, for none of these may be redirected: they are
//! answers like others.

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, Uri, Version,
    body::Incoming,
    client::conn::http1,
    header::{self, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use mailwright_relay_policy::dns::{self, AnyResolver, RecordType, Resolve as _};
use rustls::{ClientConfig, pki_types::ServerName};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time,
};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

/// How the program names itself.
const USER_AGENT: &str = concat!("mailwright/", env!("CARGO_PKG_VERSION"));

/// How long one address may take to answer a connection, if there are others.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How many addresses of a host are tried.
const MOST_ADDRESSES: usize = 8;

/// Asks web servers. Cheap to clone.
///
/// ```no_run
/// use mailwright::https::{Https, HttpsLimits};
/// use mailwright::line_proto::tls;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let roots = tls::roots(&std::fs::read("/etc/ssl/certs/ca-certificates.crt")?)?;
/// let https = Https::new(tls::client_config(roots)?);
/// let answer = https.get("https://mta-sts.example.org/.well-known/mta-sts.txt", &HttpsLimits::default()).await?;
/// println!("{} {:?} {} octets", answer.status(), answer.content_type(), answer.body().len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Https {
    tls: TlsConnector,
    resolver: Option<AnyResolver>,
    addresses: HashMap<String, SocketAddr>,
    cleartext: bool,
}

impl Https {
    /// With this trust: the server's certificate is verified as the configuration says. Names are looked up as the
    /// system does it.
    pub fn new(mut tls: ClientConfig) -> Self {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = TlsConnector::from(Arc::new(tls));
        Self { tls, resolver: None, addresses: HashMap::new(), cleartext: false }
    }

    /// Looks names up with this resolver.
    #[must_use]
    pub fn with_resolver(self, resolver: AnyResolver) -> Self {
        Self { resolver: Some(resolver), ..self }
    }

    /// Reaches a host at this address, whatever the URL's port and the name system say; its certificate must bear the
    /// host's name as before.
    #[must_use]
    pub fn with_address(mut self, host: impl Into<String>, address: SocketAddr) -> Self {
        self.addresses.insert(host.into().to_ascii_lowercase(), address);
        self
    }

    /// Allows `http:` URLs too: for services on the same machine.
    #[must_use]
    pub fn with_cleartext(self, cleartext: bool) -> Self {
        Self { cleartext, ..self }
    }

    /// Asks for what is at this URL.
    ///
    /// # Errors
    /// [`HttpsError`] if there is no whole answer within the limits. An answer such as 404 is none.
    pub async fn get(&self, url: &str, limits: &HttpsLimits) -> Result<HttpsAnswer, HttpsError> {
        self.send(HttpsRequest::get(url), limits).await
    }

    /// Sends a body of this media type to this URL.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn post(
        &self,
        url: &str,
        content_type: &str,
        body: impl Into<Bytes>,
        limits: &HttpsLimits,
    ) -> Result<HttpsAnswer, HttpsError> {
        self.send(HttpsRequest::post(url, content_type, body), limits).await
    }

    /// Sends a request.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn send(&self, request: HttpsRequest, limits: &HttpsLimits) -> Result<HttpsAnswer, HttpsError> {
        match time::timeout(limits.timeout, self.exchange(request, limits)).await {
            Ok(done) => done,
            Err(_) => Err(HttpsError::Timeout(limits.timeout)),
        }
    }

    async fn exchange(&self, request: HttpsRequest, limits: &HttpsLimits) -> Result<HttpsAnswer, HttpsError> {
        let target = Target::new(&request.url, self.cleartext)?;
        let request = request.into_http(&target)?;
        let socket = self.connect(&target).await?;
        let answer = if target.secure {
            let name = ServerName::try_from(target.host.clone()).map_err(|_| target.wrong("no host name"))?;
            let stream = self.tls.connect(name, socket).await.map_err(|source| target.failed(source))?;
            converse(stream, request).await?
        } else {
            converse(socket, request).await?
        };
        // The connection lives until the body is here.
        let (response, _connection) = answer;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, limits.answer).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                HttpsError::TooLarge { limit: limits.answer }
            } else {
                HttpsError::Protocol(error.to_string())
            }
        })?;
        Ok(HttpsAnswer { status: parts.status.as_u16(), headers: parts.headers, body: body.to_bytes() })
    }

    async fn connect(&self, target: &Target) -> Result<TcpStream, HttpsError> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in self.addresses(target).await?.into_iter().take(MOST_ADDRESSES) {
            match time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err(error)) => failure = error,
                Err(elapsed) => failure = elapsed.into(),
            }
        }
        Err(target.failed(failure))
    }

    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, HttpsError> {
        let (host, port) = (&*target.host, target.port);
        if let Some(address) = self.addresses.get(host) {
            return Ok(vec![*address]);
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![(address, port).into()]);
        }
        let Some(resolver) = &self.resolver else {
            let found = lookup_host((host, port)).await.map_err(|source| target.failed(source))?;
            return Ok(found.collect());
        };
        let unknown = |error: dns::LookupError| target.failed(io::Error::other(error));
        let name = dns::name(host).map_err(unknown)?;
        let (six, four) =
            tokio::join!(resolver.lookup(&name, RecordType::AAAA), resolver.lookup(&name, RecordType::A));
        if let (Err(_), Err(error)) = (&six, &four) {
            return Err(unknown(error.clone()));
        }
        let answers = [six.unwrap_or_default(), four.unwrap_or_default()];
        Ok(answers
            .iter()
            .flat_map(|answer| answer.addresses())
            .map(|address| (address, port).into())
            .collect())
    }
}

impl fmt::Debug for Https {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Https")
            .field("addresses", &self.addresses)
            .field("cleartext", &self.cleartext)
            .finish_non_exhaustive()
    }
}

/// What is asked of a web server.
#[derive(Debug, Clone)]
pub struct HttpsRequest {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl HttpsRequest {
    /// A request of this method, such as `HEAD`, without a body.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self { method: method.into(), url: url.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// A request for what is at this URL.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A request that brings a body of this media type.
    pub fn post(url: impl Into<String>, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::new("POST", url).with_header("content-type", content_type) }
    }

    /// Adds a header field. Never shown: that of the name `authorization`.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    fn into_http(self, target: &Target) -> Result<Request<Full<Bytes>>, HttpsError> {
        let method = Method::from_bytes(self.method.as_bytes()).map_err(|_| HttpsError::Request("method"))?;
        let mut headers = HeaderMap::new();
        let fixed = |value: &str| HeaderValue::from_str(value).map_err(|_| HttpsError::Request("header"));
        headers.insert(header::HOST, fixed(&target.authority)?);
        headers.insert(header::USER_AGENT, fixed(USER_AGENT)?);
        headers.insert(header::CONNECTION, fixed("close")?);
        for (name, value) in &self.headers {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| HttpsError::Request("header name"))?;
            let mut value = fixed(value)?;
            value.set_sensitive(name == header::AUTHORIZATION);
            if name == header::USER_AGENT {
                headers.insert(name, value);
            } else {
                headers.append(name, value);
            }
        }
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = method;
        *request.uri_mut() = target.path.clone();
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// How much may come, and how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpsLimits {
    /// The octets of an answer's body.
    pub answer: usize,
    /// The time for the whole exchange, looking up the name included.
    pub timeout: Duration,
}

impl Default for HttpsLimits {
    /// 64 KiB, which is what RFC 8461 §3.3 suggests for policies, within 60 seconds.
    fn default() -> Self {
        Self { answer: 64 * 1024, timeout: Duration::from_secs(60) }
    }
}

impl HttpsLimits {
    /// The same with another size, in octets.
    #[must_use]
    pub fn with_answer(self, answer: usize) -> Self {
        Self { answer, ..self }
    }

    /// The same with another time.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }
}

/// What a web server answered.
#[derive(Debug, Clone)]
pub struct HttpsAnswer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl HttpsAnswer {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the request was understood and done: a code of 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The media type in lower case, without its parameters.
    pub fn content_type(&self) -> Option<String> {
        let value = self.header("content-type")?;
        value.split(';').next().map(|kind| kind.trim().to_ascii_lowercase())
    }

    /// A header field's value, if it is there and is text: the first.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All header fields, names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// Why there is no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HttpsError {
    /// The URL cannot be asked.
    #[error("{url:?}: an https URL was expected: {what}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// This part of the request is none.
    #[error("the request's {0} contains what HTTP does not allow")]
    Request(&'static str),
    /// The server cannot be found or reached, or it is not who it should be.
    #[error("{host}: {source}")]
    Connect {
        /// Whom the URL named.
        host: String,
        /// Why not.
        source: io::Error,
    },
    /// The answer is longer than allowed.
    #[error("the answer is longer than {limit} octets")]
    TooLarge {
        /// The limit, in octets.
        limit: usize,
    },
    /// The exchange was not over in time.
    #[error("no whole answer within {0:?}")]
    Timeout(Duration),
    /// What came is not HTTP, or ended too early.
    #[error("the server does not speak HTTP as expected: {0}")]
    Protocol(String),
}

/// Where a URL leads.
struct Target {
    url: String,
    secure: bool,
    /// Without brackets, in lower case.
    host: String,
    port: u16,
    authority: String,
    path: Uri,
}

impl Target {
    fn new(url: &str, cleartext: bool) -> Result<Self, HttpsError> {
        let wrong = |what| HttpsError::Url { url: url.to_owned(), what };
        let uri: Uri = url.parse().map_err(|_| wrong("it cannot be parsed"))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if cleartext => false,
            Some("http") => return Err(wrong("http is not secure and not allowed here")),
            _ => return Err(wrong("it has another scheme or none")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("it contains a user name"));
        }
        let host = authority.host().trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = path.parse().map_err(|_| wrong("its path cannot be parsed"))?;
        let authority = authority.as_str().to_owned();
        Ok(Self { url: url.to_owned(), secure, host, port, authority, path })
    }

    fn wrong(&self, what: &'static str) -> HttpsError {
        HttpsError::Url { url: self.url.clone(), what }
    }

    fn failed(&self, source: io::Error) -> HttpsError {
        HttpsError::Connect { host: self.host.clone(), source }
    }
}

/// Sends the request; the answer's body comes for as long as the handle is kept.
async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<(Response<Incoming>, AbortOnDropHandle<()>), HttpsError> {
    let told = |error: hyper::Error| HttpsError::Protocol(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        // What goes wrong is told by the request or the body as well.
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await.map_err(told)?;
    Ok((response, connection))
}

#[cfg(test)]
mod tests;
