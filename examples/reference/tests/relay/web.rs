//! A web server that has policies of MTA-STS and takes what is posted, and the certificates for it.
#![allow(unreachable_pub, dead_code, reason = "a module of test programs, of which each needs a part")]

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use mailwright::line_proto::tls::{self, rustls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::common::write_private;

/// An authority, with a certificate for each list of names.
pub fn certificates(folder: &Path, wanted: &[(&str, &[&str])]) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    write_private(&folder.join("authority.pem"), &authority.pem());
    let issuer = Issuer::new(params, key);
    for (file, names) in wanted {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        write_private(&folder.join(format!("{file}.pem")), &certificate.pem());
        write_private(&folder.join(format!("{file}.key")), &key.serialize_pem());
    }
}

/// What was posted: the path, the type, and the content.
pub type Posted = (String, String, Vec<u8>);

/// A web server with the certificate `web`.
pub struct Web {
    pub port: u16,
    /// Whether it answers.
    pub open: Arc<AtomicBool>,
    policies: Arc<Mutex<Vec<(String, String)>>>,
    posted: Arc<Mutex<Vec<Posted>>>,
}

impl Web {
    /// One that has the policies of these domains.
    pub fn start(folder: &Path, policies: Vec<(String, String)>) -> Self {
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        let config = Arc::new(tls::server_config(&read("web.pem"), &read("web.key")).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(AtomicBool::new(true));
        let posted = Arc::new(Mutex::new(Vec::new()));
        let (policies, answers, taken) =
            (Arc::new(Mutex::new(policies)), Arc::clone(&open), Arc::clone(&posted));
        let published = Arc::clone(&policies);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if !answers.load(Ordering::Relaxed) {
                    continue;
                }
                let (config, policies, taken) =
                    (Arc::clone(&config), Arc::clone(&policies), Arc::clone(&taken));
                thread::spawn(move || {
                    let tls = rustls::ServerConnection::new(config).unwrap();
                    let mut reader = BufReader::new(rustls::StreamOwned::new(tls, socket));
                    let policies = policies.lock().unwrap().clone();
                    let Some(answer) = answer(&mut reader, &policies, &taken) else { return };
                    let stream = reader.get_mut();
                    let _ = stream.write_all(answer.as_bytes());
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                });
            }
        });
        Self { port, open, policies: published, posted }
    }

    /// From now on a domain has this policy.
    pub fn publish(&self, domain: &str, policy: String) {
        let mut policies = self.policies.lock().unwrap();
        policies.retain(|(other, _)| other != domain);
        policies.push((domain.to_owned(), policy));
    }

    pub fn posted(&self) -> Vec<Posted> {
        self.posted.lock().unwrap().clone()
    }
}

/// Reads a request; gives the answer to it.
fn answer(
    reader: &mut impl BufRead,
    policies: &[(String, String)],
    posted: &Mutex<Vec<Posted>>,
) -> Option<String> {
    let (mut method, mut path) = (String::new(), String::new());
    let (mut host, mut kind, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        match line.split_once(' ') {
            _ if line.is_empty() => break,
            Some((word @ ("get" | "post"), rest)) => {
                (method, path) = (word.to_owned(), rest.split(' ').next().unwrap().to_owned());
            }
            Some(("host:", name)) => host = name.split(':').next().unwrap().to_owned(),
            Some(("content-type:", name)) => kind = name.to_owned(),
            Some(("content-length:", number)) => length = number.parse().unwrap(),
            _ => {}
        }
    }
    let policy = policies.iter().find(|(domain, _)| host == format!("mta-sts.{domain}"));
    let (status, text) = match policy {
        _ if method == "post" => {
            let mut content = vec![0; length];
            reader.read_exact(&mut content).ok()?;
            posted.lock().unwrap().push((path, kind, content));
            ("201 Created", "")
        }
        Some((_, text)) if path == "/.well-known/mta-sts.txt" => ("200 OK", &**text),
        _ => ("404 Not Found", ""),
    };
    Some(format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    ))
}
