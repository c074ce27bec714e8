//! Memory of idle IMAP connections.

use mailwright_benches::{PASSWORD, Result, Server, USER};

const CONNECTIONS: usize = 3000;

fn main() -> Result<()> {
    println!("growth of resident memory per IMAP connection, {CONNECTIONS} connections");
    for tls in [false, true] {
        for idle in [false, true] {
            let server = Server::start()?;
            let mut held = Vec::new();
            // The first connections pay for what all of them share.
            for _ in 0..100 {
                held.push(open(&server, tls, idle)?);
            }
            let (before, _) = server.memory()?;
            for _ in 0..CONNECTIONS {
                held.push(open(&server, tls, idle)?);
            }
            let (after, _) = server.memory()?;
            let each = (after.saturating_sub(before)) as f64 / CONNECTIONS as f64;
            println!(
                "{:5}  {:25}  {each:6.2} KiB",
                if tls { "TLS" } else { "plain" },
                if idle { "logged in, INBOX, IDLE" } else { "greeted" },
            );
        }
    }
    Ok(())
}

fn open(server: &Server, tls: bool, idle: bool) -> Result<mailwright_benches::Stream> {
    let mut stream = server.connect("imap", tls)?;
    stream.until("* OK")?;
    if idle {
        stream.ask(&format!("a LOGIN {USER} {PASSWORD}"), "a OK")?;
        stream.ask("b SELECT INBOX", "b OK")?;
        stream.ask("c IDLE", "+")?;
    }
    Ok(stream)
}
