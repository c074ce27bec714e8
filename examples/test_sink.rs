//! A mail server for tests: takes every message for everybody and prints it.
//!
//! ```text
//! cargo run -p mailwright --example test_sink -- 127.0.0.1:2525
//! ```

use std::{env, error::Error, sync::Arc};

use mailwright::{
    Admission, ConnectionLimits, Listener, ListenerTls,
    mailstore::{
        User,
        accounts::{Accounts, LoginError, LoginRequest},
    },
    relay_policy::Session,
    smtp::{Body, Inbox, Smtp},
    smtp_proto::{Message, Outcome, Rcpt, Reply, server::Config},
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

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

/// Nobody has an account, so nobody is asked to log in.
struct Nobody;

impl Accounts for Nobody {
    async fn login(&self, _: &LoginRequest) -> Result<User, LoginError> {
        Err(LoginError::Credentials)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2525".into());
    let config = Config::smtp("sink.localhost")?;
    let service = Smtp::<_, Nobody>::new(Arc::new(Print), None, ListenerTls::None, config);
    let stop = CancellationToken::new();
    let (socket, admission) =
        (TcpListener::bind(&address).await?, Admission::new(ConnectionLimits::default()));
    let listener = Listener::new(socket, admission, stop.clone(), TaskTracker::new());
    println!("listening on {}", listener.local_addr()?);
    Arc::new(service).serve(listener, stop).await;
    Ok(())
}
