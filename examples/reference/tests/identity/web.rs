//! A small web server over TLS that says what a function says.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use mailwright::line_proto::tls::{
    self,
    rustls::{ServerConnection, StreamOwned},
};

pub(crate) struct Web {
    pub(crate) port: u16,
    pub(crate) certificate: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Web {
    /// Serves as `localhost`; the function gets each whole request and gives the status of its answer, more lines for its
    /// head, and its body.
    pub(crate) fn start(answer: impl Fn(&str) -> (u16, String, String) + Send + Sync + 'static) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let config = Arc::new(tls::server_config(certificate.as_bytes(), key.as_bytes()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&heard);
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(connection, socket.unwrap());
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                thread::spawn(move || {
                    let Some(request) = read(&mut stream) else { return };
                    let (status, lines, body) = answer(&request);
                    noted.lock().unwrap().push(request);
                    let head = format!(
                        "HTTP/1.1 {status} So\r\nContent-Type: application/json\r\n{lines}Content-Length: {}\r\n\r\n",
                        body.len()
                    );
                    let _ = stream.write_all(format!("{head}{body}").as_bytes());
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                });
            }
        });
        Self { port, certificate, heard }
    }

    /// How many requests held this text.
    #[allow(dead_code, reason = "each test program uses a part of this")]
    pub(crate) fn count(&self, text: &str) -> usize {
        self.heard.lock().unwrap().iter().filter(|request| request.contains(text)).count()
    }
}

/// A request with its body, if it comes whole.
fn read(stream: &mut impl Read) -> Option<String> {
    let mut octets = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
        octets.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&octets);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if length.is_none_or(|length| body.len() >= length.parse().unwrap()) {
            return Some(text.into_owned());
        }
    }
}
