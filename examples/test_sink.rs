//! A mail server for tests: takes every message for everybody and prints it.
//!
//! ```text
//! cargo run -p mailwright --example test_sink -- 127.0.0.1:2525
//! ```

use std::{env, error::Error, sync::Arc};

use mailwright::{
    CancellationToken, Listener, ListenerTls,
    relay_policy::Session,
    smtp::{Body, Inbox, Smtp},
    smtp_proto::{Message, Outcome, Rcpt, Reply, server::Config},
};

/// Where the mail goes: two methods make a mail receiver.
struct Print;

impl Inbox for Print {
    async fn recipient(&self, _: &Session, _: &Rcpt) -> Reply {
        Reply::RECIPIENT_OK
    }

    async fn deliver(&self, _: &Session, message: &Message, body: &mut Body<'_>) -> Outcome {
        println!("--- from {}", message.mail.from);
        for rcpt in &message.recipients {
            println!("--- to {}", rcpt.to);
        }
        loop {
            match body.next().await {
                Ok(Some(chunk)) => print!("{}", String::from_utf8_lossy(&chunk)),
                Ok(None) => return Reply::queued("printed").into(),
                // Not complete: what is returned is not sent.
                Err(_) => return Reply::INTERNAL.into(),
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2525".into());
    let config = Config::smtp("sink.localhost")?;
    let service = Smtp::without_logins(Arc::new(Print), ListenerTls::None, config);
    let stop = CancellationToken::new();
    let listener = Listener::bind(&address, stop.clone()).await?;
    println!("listening on {}", listener.local_addr()?);
    Arc::new(service).serve(listener, stop).await;
    Ok(())
}
