//! Streams each message into a command as it comes. The command's exit decides what the sender is told, so nothing is
//! lost: 0 is "taken", anything else "try again later". It need not read the message to its end.
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
    CancellationToken, Listener, ListenerTls,
    relay_policy::Session,
    smtp::{Body, Inbox, Smtp},
    smtp_proto::{Message, Outcome, Rcpt, Reply, server::Config},
};
use tokio::task::block_in_place;

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
        let mut pipe = child.stdin.take();
        loop {
            match body.next().await {
                Ok(Some(chunk)) => {
                    // A command may have seen enough and close its end; its exit decides all the same.
                    if let Some(open) = &mut pipe
                        && block_in_place(|| open.write_all(&chunk)).is_err()
                    {
                        pipe = None;
                    }
                }
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

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().ok_or("usage: webhook ADDRESS COMMAND [ARGUMENT...]")?;
    let hook = Hook { command: arguments.collect() };
    let config = Config::smtp("hook.localhost")?;
    let service = Smtp::without_logins(Arc::new(hook), ListenerTls::None, config);
    let stop = CancellationToken::new();
    let listener = Listener::bind(&address, stop.clone()).await?;
    Arc::new(service).serve(listener, stop).await;
    Ok(())
}
