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
/// How a server says that there are too many recipients: RFC 5321 §4.5.3.1.10, with the code of RFC 3463 §3.6.
const TOO_MANY: &str = ": 452 4.5.3 ";
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

impl Failure {
    /// The same with something more to say.
    fn with(self, more: &str) -> Self {
        let whole = |text: String| format!("{text}\n  {more}");
        match self {
            Self::Usage(text) => Self::Usage(whole(text)),
            Self::Message(text) => Self::Message(whole(text)),
            Self::NoUser(text) => Self::NoUser(whole(text)),
            Self::Refused(text) => Self::Refused(whole(text)),
            Self::Later(text) => Self::Later(whole(text)),
        }
    }
}

/// Sends it to all of its recipients, or to none. Those beyond what the server takes in one message get another one, over a connection
/// of its own that is opened by `connect`: the message is read once, and is not sent before each recipient was taken.
pub(super) fn send(
    mut connect: impl FnMut() -> Result<UnixStream, Failure>,
    author: &Author,
    head: &Head,
    options: &Options,
    body: &mut impl Line,
) -> Result<(), Failure> {
    let nothing = |failure: Failure| failure.with("nothing was sent");
    let mut talks = Vec::new();
    let mut rest = &head.recipients[..];
    while !rest.is_empty() {
        let stream = connect()?;
        let (talk, left) = begin(stream, author, head, options, rest).map_err(nothing)?;
        talks.push(talk);
        rest = left;
    }
    for talk in &mut talks {
        talk.say("DATA").map_err(nothing)?;
    }
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
            talks.iter_mut().try_for_each(|talk| talk.write(&out)).map_err(nothing)?;
            out.clear();
        }
    }
    talks.iter_mut().try_for_each(|talk| talk.write(&out)).map_err(nothing)?;
    finish(talks)
}

/// Greets the server and names recipients; gives those that it did not take for being too many.
fn begin<'a>(
    stream: UnixStream,
    author: &Author,
    head: &Head,
    options: &Options,
    recipients: &'a [Address],
) -> Result<(Talk<'a>, &'a [Address]), Failure> {
    stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
    let mut talk = Talk { stream: BufReader::new(stream), recipients };
    talk.reply("connecting")?;
    talk.say(&format!("EHLO {}", author.hostname))?;
    talk.say(&mail(head, options))?;
    let notify = options.notify.as_ref().map_or_else(String::new, |notify| format!(" NOTIFY={notify}"));
    for (number, recipient) in recipients.iter().enumerate() {
        match talk.say(&format!("RCPT TO:<{recipient}>{notify}")) {
            // RFC 5321 §4.5.3.1.10: the rest goes into another transaction.
            Err(Failure::Later(text)) if number > 0 && text.contains(TOO_MANY) => {
                let (taken, rest) = recipients.split_at_checked(number).unwrap_or((recipients, &[]));
                talk.recipients = taken;
                return Ok((talk, rest));
            }
            said => said?,
        }
    }
    Ok((talk, &[]))
}

/// The command that begins the message.
fn mail(head: &Head, options: &Options) -> String {
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
    mail
}

/// Ends the message everywhere. If the server takes it here and not there, it is said who does not get it.
fn finish(talks: Vec<Talk<'_>>) -> Result<(), Failure> {
    let (mut sent, mut unsent, mut failure) = (0, Vec::new(), None);
    for mut talk in talks {
        match talk.say(".") {
            Ok(()) => {
                sent += talk.recipients.len();
                // It is the server's by now, whatever becomes of the rest.
                let _ = talk.say("QUIT");
            }
            Err(error) => {
                unsent.extend(talk.recipients.iter().map(Address::to_string));
                failure = failure.or(Some(error));
            }
        }
    }
    let Some(failure) = failure else { return Ok(()) };
    Err(failure.with(&match sent {
        0 => "nothing was sent".to_owned(),
        _ => format!("it was sent to {sent} recipients, and not to {}", unsent.join(", ")),
    }))
}

fn broken(error: io::Error) -> Failure {
    Failure::Later(format!("the server hung up: {error}"))
}

struct Talk<'a> {
    stream: BufReader<UnixStream>,
    /// Whom it is for.
    recipients: &'a [Address],
}

impl Talk<'_> {
    fn write(&mut self, octets: &[u8]) -> Result<(), Failure> {
        self.stream.get_mut().write_all(octets).map_err(broken)
    }

    /// Says a line and hears a positive reply.
    fn say(&mut self, line: &str) -> Result<(), Failure> {
        self.write(format!("{line}\r\n").as_bytes())?;
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
        let shown = || format!("the server refuses it: {text} (to {what})");
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
