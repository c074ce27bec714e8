//! Durable messages a second by LMTP.

use std::{sync::Arc, thread, time::Instant};

use mailwright_benches::{Result, Server, USER};

const MESSAGES: usize = 2000;

fn main() -> Result<()> {
    for sessions in [1, 20] {
        let server = Arc::new(Server::start()?);
        let begun = Instant::now();
        let threads: Vec<_> = (0..sessions)
            .map(|_| {
                let server = Arc::clone(&server);
                thread::spawn(move || session(&server, MESSAGES / sessions))
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| "a session panicked")??;
        }
        let rate = MESSAGES as f64 / begun.elapsed().as_secs_f64();
        println!("{sessions:3} sessions  {rate:8.0} messages/s");
    }
    Ok(())
}

fn session(server: &Server, messages: usize) -> Result<()> {
    let body =
        format!("Subject: x\r\n\r\n{}.\r\n", "The quick brown fox jumps over the lazy dog.\r\n".repeat(90));
    let mut lmtp = server.connect("lmtp", false)?;
    lmtp.until("220 ")?;
    lmtp.ask("LHLO client.example", "250 ")?;
    for _ in 0..messages {
        lmtp.ask("MAIL FROM:<a@example.net>", "250 ")?;
        lmtp.ask(&format!("RCPT TO:<{USER}>"), "250 ")?;
        lmtp.ask("DATA", "354 ")?;
        lmtp.send(body.as_bytes())?;
        lmtp.until("250 ")?;
    }
    Ok(())
}
