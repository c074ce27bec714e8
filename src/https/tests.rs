use std::sync::Mutex;

use mailwright_line_proto::tls;
use mailwright_relay_policy::dns::CannedAnswers;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// A server on loopback that answers each connection with these octets, after reading to the end of the request.
struct Server {
    address: SocketAddr,
    certificate: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(name: &str, answer: &'static str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let config = tls::server_config(certificate.as_bytes(), key.as_bytes()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&heard);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(socket).await else { return };
                    let mut request = Vec::new();
                    while !is_whole(&request) {
                        let mut chunk = [0; 4096];
                        let count = stream.read(&mut chunk).await.unwrap();
                        assert_ne!(count, 0);
                        request.extend_from_slice(&chunk[..count]);
                    }
                    noted.lock().unwrap().push(String::from_utf8(request).unwrap());
                    let _ = stream.write_all(answer.as_bytes()).await;
                    if answer.is_empty() {
                        std::future::pending::<()>().await;
                    }
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { address, certificate, heard }
    }

    fn client(&self) -> Https {
        Https::new(tls::client_config(tls::roots(self.certificate.as_bytes()).unwrap()).unwrap())
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() >= length.parse::<usize>().unwrap())
}

const HELLO: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: Text/Plain; charset=utf-8\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKED: &str =
    "HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";

#[tokio::test]
async fn gets_and_posts() {
    let server = Server::start("web.example", HELLO).await;
    let https = server.client().with_address("Web.example", server.address);
    let limits = HttpsLimits::default();
    let answer = https.get("https://web.example/a/b?c=d", &limits).await.unwrap();
    assert_eq!((answer.status(), answer.is_success()), (200, true));
    assert_eq!(answer.content_type().as_deref(), Some("text/plain"));
    assert_eq!(answer.body(), "hello");
    let request = HttpsRequest::post("https://WEB.example", "text/x", "the body")
        .with_header("Authorization", "Basic eA==");
    assert!(https.send(request, &limits).await.is_ok());
    let heard = server.heard.lock().unwrap();
    assert!(heard[0].starts_with("GET /a/b?c=d HTTP/1.1\r\nhost: web.example\r\n"), "{}", heard[0]);
    assert!(heard[1].starts_with("POST / HTTP/1.1\r\n"), "{}", heard[1]);
    for part in ["content-type: text/x\r\n", "authorization: Basic eA==\r\n", "\r\n\r\nthe body"] {
        assert!(heard[1].contains(part), "{part} in {}", heard[1]);
    }
}

#[tokio::test]
async fn names_are_looked_up_where_one_says() {
    let server = Server::start("web.example", CHUNKED).await;
    let resolver = CannedAnswers::default().a("web.example", "127.0.0.1");
    let https = server.client().with_resolver(AnyResolver::new(resolver));
    let limits = HttpsLimits::default();
    let url = format!("https://web.example:{}/", server.address.port());
    let answer = https.get(&url, &limits).await.unwrap();
    assert_eq!((answer.status(), &answer.body()[..]), (201, &b"hello world"[..]));
    let error = https.get("https://other.example/", &limits).await.unwrap_err();
    assert!(error.to_string().starts_with("other.example: there is no such name"), "{error}");
}

#[tokio::test]
async fn only_the_right_server_is_believed() {
    let server = Server::start("web.example", HELLO).await;
    let limits = HttpsLimits::default();
    let other = server.client().with_address("other.example", server.address);
    let error = other.get("https://other.example/", &limits).await.unwrap_err();
    assert!(matches!(error, HttpsError::Connect { .. }), "{error}");
    let stranger = rcgen::generate_simple_self_signed(["web.example".to_owned()]).unwrap();
    let roots = tls::roots(stranger.cert.pem().as_bytes()).unwrap();
    let https = Https::new(tls::client_config(roots).unwrap()).with_address("web.example", server.address);
    assert!(https.get("https://web.example/", &limits).await.is_err());
    assert!(server.heard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_too_long_or_too_slow_is_left() {
    let limits = HttpsLimits::default();
    let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n";
    for (answer, limit) in [(HELLO, 4), (CHUNKED, 10), (endless, 10)] {
        let server = Server::start("web.example", answer).await;
        let https = server.client().with_address("web.example", server.address);
        let error = https.get("https://web.example/", &limits.with_answer(limit)).await.unwrap_err();
        assert!(matches!(error, HttpsError::TooLarge { .. }), "{answer:?}: {error}");
    }
    for answer in [endless, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "220 mail\r\n", "\0"] {
        let server = Server::start("web.example", answer).await;
        let https = server.client().with_address("web.example", server.address);
        let error = https.get("https://web.example/", &limits).await.unwrap_err();
        assert!(matches!(error, HttpsError::Protocol(_)), "{answer:?}: {error}");
    }
    let server = Server::start("web.example", "").await;
    let https = server.client().with_address("web.example", server.address);
    let short = limits.with_timeout(Duration::from_millis(300));
    let error = https.get("https://web.example/", &short).await.unwrap_err();
    assert!(matches!(error, HttpsError::Timeout(_)), "{error}");
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let answer = "HTTP/1.1 301 Moved\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n";
    let server = Server::start("web.example", answer).await;
    let https = server.client().with_address("web.example", server.address);
    let answer = https.get("https://web.example/", &HttpsLimits::default()).await.unwrap();
    assert_eq!((answer.status(), answer.header("location")), (301, Some("https://evil.example/")));
    assert!(!answer.is_success() && answer.headers().count() == 2);
}

#[tokio::test]
async fn wrong_urls_are_told() {
    let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    let https = Https::new(tls::client_config(tls::roots(made.cert.pem().as_bytes()).unwrap()).unwrap());
    for (url, text) in [
        ("http://a.example/", "http is not secure"),
        ("ftp://a.example/", "another scheme"),
        ("/a", "another scheme or none"),
        ("https://u:p@a.example/", "user name"),
        ("https://a b/", "cannot be parsed"),
    ] {
        let error = https.get(url, &HttpsLimits::default()).await.unwrap_err().to_string();
        assert!(error.contains(text), "{url}: {error}");
    }
    let request = HttpsRequest::get("https://a.example/").with_header("x", "a\r\nb: c");
    let error = https.send(request, &HttpsLimits::default()).await.unwrap_err();
    assert!(matches!(error, HttpsError::Request("header")), "{error}");
}
