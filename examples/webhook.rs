//! Streams each message into a command as it comes. The command's exit decides what the sender is told, so nothing is
//! lost: 0 is "taken", anything else "try again later".
//!
//! ```text
//! cargo run -p mailwright --example webhook -- 127.0.0.1:2525 curl --fail --data-binary @- https://example.org/hook
//! ```

use std::{
    env,
    error::Error,
    io::{self, Write},
    process::{Command, Stdio},
    sync::Arc,
};

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
use tokio::{net::TcpListener, task::block_in_place};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

struct Hook {
    command: Vec<String>,
}

impl Hook {
    /// What is not taken by the command is not read from the network: the pipe is the back-pressure.
    async fn run(&self, message: &Message, body: &mut Body<'_>) -> io::Result<bool> {
        let (program, arguments) = self.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program)
            .args(arguments)
            .env("MAIL_FROM", message.mail.from.to_string())
            .stdin(Stdio::piped())
            .spawn()?;
        let mut pipe = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        loop {
            match body.next().await {
                Ok(Some(chunk)) => block_in_place(|| pipe.write_all(&chunk))?,
                Ok(None) => break,
                Err(error) => {
                    // Half a message is none: the command must not take its end for the message's.
                    child.kill()?;
                    child.wait()?;
                    return Err(io::Error::other(error));
                }
            }
        }
        drop(pipe);
        Ok(block_in_place(|| child.wait())?.success())
    }
}

impl Inbox for Hook {
    async fn recipient(&self, _: &Session, _: &Rcpt) -> Reply {
        Reply::RECIPIENT_OK
    }

    async fn deliver(&self, _: &Session, message: &Message, body: &mut Body<'_>) -> Outcome {
        match self.run(message, body).await {
            Ok(true) => Reply::queued("handed over").into(),
            Ok(false) | Err(_) => Reply::INTERNAL.into(),
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
    let mut arguments = env::args().skip(1);
    let address = arguments.next().ok_or("usage: webhook ADDRESS COMMAND [ARGUMENT...]")?;
    let hook = Hook { command: arguments.collect() };
    let config = Config::smtp("hook.localhost")?;
    let service = Smtp::<_, Nobody>::new(Arc::new(hook), None, ListenerTls::None, config);
    let (socket, stop) = (TcpListener::bind(&address).await?, CancellationToken::new());
    let admission = Admission::new(ConnectionLimits::default());
    let listener = Listener::new(socket, admission, stop.clone(), TaskTracker::new());
    Arc::new(service).serve(listener, stop).await;
    Ok(())
}
