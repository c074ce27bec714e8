//! Handing a message to the server: SMTP on its socket.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use mailwright::mail_model::Address;
use thiserror::Error;

use super::{
    message::{Author, Head},
    options::Options,
};

/// How long the server may take for one reply: it writes to a disk.
const PATIENCE: Duration = Duration::from_secs(600);
/// How much of the message is written at a time.
const CHUNK: usize = 64 * 1024;

/// Why the message was not sent.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// The message or a file is.
    #[error("{0}")]
    Message(String),
    /// The server knows a recipient not.
    #[error("{0}")]
    NoUser(String),
    /// The server will not have it.
    #[error("{0}")]
    Refused(String),
    /// Trying again may help.
    #[error("{0}")]
    Later(String),
}

/// What has lines, each with CRLF, long ones in parts.
pub(super) trait Line {
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>>;
}

/// Sends it to all of its recipients, or to none.
pub(super) fn send(
    stream: UnixStream,
    author: &Author,
    head: &Head,
    options: &Options,
    body: &mut impl Line,
) -> Result<(), Failure> {
    let broken = |error: io::Error| Failure::Later(format!("the server hung up: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
    let mut talk = Talk { stream: BufReader::new(stream) };
    talk.reply("connecting")?;
    talk.say(&format!("EHLO {}", author.hostname))?;
    let sender = head.sender.as_ref().map_or("", Address::as_str);
    let mut mail = format!("MAIL FROM:<{sender}>");
    if options.eight_bit {
        mail.push_str(" BODY=8BITMIME");
    }
    if !sender.is_ascii() || head.recipients.iter().any(|recipient| !recipient.is_ascii()) {
        mail.push_str(" SMTPUTF8");
    }
    if let Some(returned) = options.returned {
        mail.push_str(&format!(" RET={returned}"));
    }
    if let Some(id) = &options.envelope_id {
        mail.push_str(&format!(" ENVID={}", xtext(id)));
    }
    talk.say(&mail)?;
    for recipient in &head.recipients {
        let notify = options.notify.as_ref().map_or_else(String::new, |notify| format!(" NOTIFY={notify}"));
        talk.say(&format!("RCPT TO:<{recipient}>{notify}"))?;
    }
    talk.say("DATA")?;
    let mut out = Vec::with_capacity(CHUNK * 2);
    out.extend_from_slice(&head.octets);
    let mut at_start = true;
    while let Some(line) =
        body.next_line().map_err(|error| Failure::Later(format!("cannot read the message: {error}")))?
    {
        // RFC 5321 §4.5.2
        if at_start && line.starts_with(b".") {
            out.push(b'.');
        }
        at_start = line.ends_with(b"\r\n");
        out.extend(line);
        if out.len() >= CHUNK {
            talk.stream.get_mut().write_all(&out).map_err(broken)?;
            out.clear();
        }
    }
    talk.stream.get_mut().write_all(&out).map_err(broken)?;
    talk.say(".")?;
    // It is the server's by now, whatever becomes of the rest.
    let _ = talk.say("QUIT");
    Ok(())
}

struct Talk {
    stream: BufReader<UnixStream>,
}

impl Talk {
    /// Says a line and hears a positive reply.
    fn say(&mut self, line: &str) -> Result<(), Failure> {
        let sent = self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes());
        sent.map_err(|error| Failure::Later(format!("the server hung up: {error}")))?;
        self.reply(line)
    }

    fn reply(&mut self, what: &str) -> Result<(), Failure> {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            let heard = self.stream.read_line(&mut line);
            heard.map_err(|error| Failure::Later(format!("the server does not answer: {error}")))?;
            if line.is_empty() {
                return Err(Failure::Later("the server hung up".into()));
            }
            let last = line.as_bytes().get(3) != Some(&b'-');
            text.push_str(line.trim_end());
            if last {
                break;
            }
            text.push(' ');
        }
        let shown = || format!("the server refuses it: {text} (to {what})\n  nothing was sent");
        match text.as_bytes().first() {
            Some(b'2' | b'3') => Ok(()),
            Some(b'5') if text.contains(" 5.1.") => Err(Failure::NoUser(shown())),
            Some(b'5') => Err(Failure::Refused(shown())),
            _ => Err(Failure::Later(shown())),
        }
    }
}

/// RFC 3461 §4.
fn xtext(text: &str) -> String {
    let mut encoded = String::new();
    for octet in text.bytes() {
        match octet {
            b'+' | b'=' | 0..=32 | 127.. => encoded.push_str(&format!("+{octet:02X}")),
            octet => encoded.push(char::from(octet)),
        }
    }
    encoded
}
