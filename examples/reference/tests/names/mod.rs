//! A name server that knows what a test tells it, and that nothing else exists.
#![allow(unreachable_pub, reason = "a module of a test program")]
#![allow(dead_code, reason = "each test program uses a part of this")]

mod client;

use std::{
    collections::HashMap,
    net::UdpSocket,
    sync::{Arc, Mutex},
    thread,
};

pub use client::{client, start};

type Records = Arc<Mutex<HashMap<(String, u16), Vec<Vec<u8>>>>>;

const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;
/// What stands for a failure here.
const ANY: u16 = 255;

/// The name server; it lives as long as the test program.
pub struct Names {
    pub port: u16,
    records: Records,
}

impl Names {
    /// Starts one with these texts.
    pub fn start(texts: &[(&str, &str)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let names = Self { port, records: Records::default() };
        texts.iter().for_each(|(name, text)| names.add(name, text));
        let records = Arc::clone(&names.records);
        thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                if let Some(answer) = answer(&query[..length], &records) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        names
    }

    /// A text, in place of those that were there.
    pub fn add(&self, name: &str, text: &str) {
        let strings = text.as_bytes().chunks(255).flat_map(|part| {
            let mut string = vec![u8::try_from(part.len()).unwrap()];
            string.extend_from_slice(part);
            string
        });
        self.put(name, TXT, strings.collect());
    }

    /// Nobody can tell what there is at a name.
    pub fn fail(&self, name: &str) {
        self.records.lock().unwrap().insert((name.to_lowercase(), ANY), Vec::new());
    }

    /// An address.
    pub fn add_address(&self, name: &str, address: [u8; 4]) {
        self.put(name, A, address.to_vec());
    }

    /// The name of an address.
    pub fn add_pointer(&self, address: [u8; 4], name: &str) {
        let [a, b, c, d] = address;
        self.put(&format!("{d}.{c}.{b}.{a}.in-addr.arpa"), PTR, wire(name));
    }

    fn put(&self, name: &str, kind: u16, data: Vec<u8>) {
        self.records.lock().unwrap().insert((name.to_lowercase(), kind), vec![data]);
    }
}

fn wire(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name.split('.') {
        octets.push(u8::try_from(label.len()).unwrap());
        octets.extend_from_slice(label.as_bytes());
    }
    octets.push(0);
    octets
}

/// RFC 1035 §4: one question, as resolvers ask.
fn answer(query: &[u8], records: &Records) -> Option<Vec<u8>> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let (name, kind) = (labels.join("."), u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]));
    let records = records.lock().unwrap();
    let found = records.get(&(name.clone(), kind)).cloned().unwrap_or_default();
    let below = format!(".{name}");
    let known = records.keys().any(|(other, _)| *other == name || other.ends_with(&below));
    let fails = records.contains_key(&(name, ANY));
    let code: u8 = if fails {
        2
    } else if known {
        0
    } else {
        3
    };
    let mut answer = query[..2].to_vec();
    answer.extend([
        0x85,
        0x80 | code,
        0,
        1,
        0,
        u8::try_from(found.len()).unwrap(),
        0,
        u8::from(found.is_empty()),
        0,
        0,
    ]);
    answer.extend_from_slice(query.get(12..at + 4)?);
    for data in &found {
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 1]);
        answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.extend_from_slice(data);
    }
    if found.is_empty() {
        // RFC 2308 §3: for how long there is nothing.
        answer.extend([0, 0, 6, 0, 1, 0, 0, 0, 1, 0, 22, 0, 0]);
        answer.extend([0; 20]);
    }
    Some(answer)
}
