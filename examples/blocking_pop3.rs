//! A POP3 server on threads of the standard library: the machines need no runtime. One message for everybody.
//!
//! ```text
//! cargo run -p mailwright --example blocking_pop3 -- 127.0.0.1:1110   # any user, password "sesame"
//! ```

use std::{
    env,
    error::Error,
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use bytes::Bytes;
use mailwright::{
    line_proto::{AuthRefusal, Blocking, Peer},
    pop3_proto::{
        Maildrop, Server, UniqueId,
        server::{Config, Event},
    },
};

const MESSAGE: &[u8] = b"From: postmaster@localhost\r\nSubject: hello\r\n\r\nHello.\r\n";

fn serve(stream: TcpStream, config: Arc<Config>) -> Result<(), Box<dyn Error>> {
    let peer = Peer::new(stream.peer_addr().ok(), stream.local_addr().ok());
    let mut connection = Blocking::new(Server::new(config, peer), stream)
        // This is how deadlines reach a socket that blocks.
        .on_wait(|stream, longest| stream.set_read_timeout(longest));
    while let Some(event) = connection.next()? {
        let machine = connection.machine();
        match event {
            Event::Login(ask) => {
                let right = ask.password.expose() == b"sesame";
                machine.answer(ask, if right { Ok(()) } else { Err(AuthRefusal::Credentials) })?;
            }
            Event::Open(ask) => {
                let mut maildrop = Maildrop::default();
                maildrop.push(1, MESSAGE.len() as u64, &UniqueId::new("hello")?)?;
                machine.answer(ask, Ok(maildrop))?;
            }
            Event::Read(ask) => {
                machine.answer(ask, Ok(()))?;
                // A large message is sent in parts, with `connection.write()` between them.
                let _ = machine.send_body(Bytes::from_static(MESSAGE))?;
                machine.end_body()?;
            }
            Event::Closed(why) => println!("{why:?}"),
            // Deletions, too: this maildrop can only be read.
            other => machine.decline(other),
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1110".into());
    let mut config = Config::default();
    config.allow_plaintext_auth = true; // There is no TLS: bind it to this machine only.
    let config = Arc::new(config);
    for stream in TcpListener::bind(address)?.incoming() {
        let (stream, config) = (stream?, Arc::clone(&config));
        thread::spawn(move || {
            if let Err(error) = serve(stream, config) {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}
