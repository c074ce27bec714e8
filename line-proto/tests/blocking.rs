//! The driver over `std::io`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
};

use mailwright_line_proto::{Blocking, Closed};
use support::{Toy, ToyEvent};

/// Gives what it was told to, takes three octets at a time.
#[derive(Default)]
struct Script {
    reads: VecDeque<io::Result<&'static [u8]>>,
    written: Vec<u8>,
    flushed: usize,
}

impl Script {
    fn new(reads: impl IntoIterator<Item = io::Result<&'static [u8]>>) -> Self {
        Self { reads: reads.into_iter().collect(), ..Self::default() }
    }
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.reads.pop_front() {
            Some(Ok(octets)) => {
                buffer[..octets.len()].copy_from_slice(octets);
                Ok(octets.len())
            }
            Some(Err(error)) => Err(error),
            None => Ok(0),
        }
    }
}

impl Write for Script {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let count = octets.len().min(3);
        self.written.extend_from_slice(&octets[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushed = self.written.len();
        Ok(())
    }
}

#[test]
fn drives_a_session() {
    let interrupted = Err(io::ErrorKind::Interrupted.into());
    let script =
        Script::new([Ok(&b"ECHO a\r\nGIV"[..]), interrupted, Ok(b"E 2\r\nTAKE 3\r\nxyzQU"), Ok(b"IT\r\n")]);
    let mut connection = Blocking::new(Toy::new(), script);
    let mut taken = Vec::new();
    while let Some(event) = connection.next().unwrap() {
        match event {
            ToyEvent::Give(ask) => connection.machine().give(vec![b'g'; *ask].into()),
            ToyEvent::Body(chunk) => taken.extend_from_slice(&chunk),
            ToyEvent::Taken => {}
            ToyEvent::Closed(why) => assert_eq!(why, Closed::Farewell),
        }
    }
    assert_eq!(taken, b"xyz");
    let script = connection.stream();
    assert_eq!(script.written, b"220 toy\r\n250 a\r\ngg250 taken\r\n221 bye\r\n");
    assert_eq!(script.flushed, script.written.len());
    assert_eq!(connection.next().unwrap(), None);
}

#[test]
fn the_end_of_the_stream_closes() {
    let mut connection = Blocking::new(Toy::new(), Script::new([Ok(&b"ECHO"[..])]));
    assert_eq!(connection.next().unwrap(), Some(ToyEvent::Closed(Closed::Eof)));
    assert_eq!(connection.next().unwrap(), None);
}

#[test]
fn an_answer_that_nobody_gives_is_an_error_and_not_a_hang() {
    let mut connection = Blocking::new(Toy::new(), Script::new([Ok(&b"GIVE 1\r\n"[..])]));
    assert!(matches!(connection.next().unwrap(), Some(ToyEvent::Give(_))));
    assert_eq!(connection.next().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    connection.machine().give("g".into());
    assert_eq!(connection.next().unwrap(), Some(ToyEvent::Closed(Closed::Eof)));
}

#[test]
fn errors_of_the_stream_are_passed_on() {
    let reset = Script::new([Err(io::ErrorKind::ConnectionReset.into())]);
    let error = Blocking::new(Toy::new(), reset).next().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[cfg(feature = "tls")]
#[test]
fn deadlines_pass_where_reads_can_end() {
    use std::time::{Duration, Instant};

    use mailwright_line_proto::{Deadline, Limits, Secure, Timeouts, TlsSide, tls};

    let made = rcgen::generate_simple_self_signed(["mail.test".to_owned()]).unwrap();
    let config =
        tls::server_config(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes()).unwrap();
    let mut timeouts = Timeouts::pop3();
    timeouts.tls = Duration::from_millis(30);
    let machine =
        Secure::implicit(Toy::new(), TlsSide::Server(config.into())).with_limits(&Limits::pop3(), &timeouts);

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let _silent = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let stream = listener.accept().unwrap().0;
    let start = Instant::now();
    let mut connection =
        Blocking::new(machine, stream).on_wait(|stream, timeout| stream.set_read_timeout(timeout));
    let event = connection.next().unwrap();
    assert_eq!(event, Some(ToyEvent::Closed(Closed::TimedOut(Deadline::Tls))));
    assert!(start.elapsed() >= timeouts.tls);
    assert_eq!(connection.next().unwrap(), None);
}
