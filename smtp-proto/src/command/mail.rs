//! MAIL (RFC 5321 §4.1.1.2).

use std::fmt;

use mailwright_line_proto::Request;
use mailwright_mail_model::ReversePath;

use super::{Command, Syntax, SyntaxError, after_keyword};
use crate::{
    Reply,
    params::{self, MailParameters},
    words::{Key, text},
};

/// The start of a transaction: who sends the message.
///
/// Any 2yz answer accepts; the usual one is [`Reply::SENDER_OK`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mail {
    /// Where failure is reported.
    pub from: ReversePath,
    /// What else is said of the message.
    pub parameters: MailParameters,
}

impl Mail {
    /// A message from there, without parameters.
    pub fn new(from: ReversePath) -> Self {
        Self { from, parameters: MailParameters::default() }
    }

    /// The same with these parameters.
    pub fn with_parameters(mut self, parameters: MailParameters) -> Self {
        self.parameters = parameters;
        self
    }
}

impl Request for Mail {
    type Answer = Reply;
}

impl fmt::Display for Mail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MAIL FROM:{}", self.from)?;
        params::encode(params::MAIL, &self.parameters, formatter)
    }
}

const FROM: Key = Key::of("FROM:");

pub(super) fn parse(arguments: &[u8], syntax: Syntax) -> Result<Command, SyntaxError> {
    let path = after_keyword::<5>(text(arguments)?, FROM, syntax)
        .ok_or(SyntaxError::Arguments("MAIL FROM:<address> [parameters]"))?;
    // What was just written takes long to be moved: nearly all paths are made where the command is.
    match ReversePath::parse_plain_prefix(path) {
        Some((from, "")) => Ok(Command::Mail(Mail::new(from))),
        Some((from, rest)) => with_parameters(from, rest),
        None => {
            let (from, rest) = match syntax {
                Syntax::Strict => ReversePath::parse_prefix(path),
                Syntax::Lenient => ReversePath::parse_prefix_lenient(path),
            }
            .map_err(SyntaxError::Sender)?;
            with_parameters(from, rest)
        }
    }
}

fn with_parameters(from: ReversePath, rest: &str) -> Result<Command, SyntaxError> {
    let mut mail = Mail::new(from);
    params::parse(params::MAIL, rest, &mut mail.parameters)?;
    Ok(Command::Mail(mail))
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::AddressError;

    use super::*;

    fn mail(line: &str, syntax: Syntax) -> Result<Mail, SyntaxError> {
        match Command::parse(line.as_bytes(), syntax)? {
            Command::Mail(mail) => Ok(mail),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_null_path() {
        let mail = mail("MAIL FROM:<>", Syntax::Strict).unwrap();
        assert_eq!(mail.from, ReversePath::Null);
        assert_eq!(mail.to_string(), "MAIL FROM:<>");
    }

    #[test]
    fn what_only_lenient_listeners_take() {
        for line in ["mail from:root@localhost", "MAIL FROM: <a@b.example>", "MAIL FROM: a@b.example SIZE=1"]
        {
            let strict = mail(line, Syntax::Strict).unwrap_err();
            assert_eq!(strict, SyntaxError::Sender(AddressError::Brackets), "{line}");
            assert!(strict.reply().to_string().starts_with("501 5.5.4 "));
            assert!(mail(line, Syntax::Lenient).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_nobody_takes() {
        for line in [
            "MAIL",
            "MAIL FROM",
            "MAIL FROM:",
            "MAIL FROM <a@b.example>",
            "MAIL TO:<a@b.example>",
            "MAIL FROM:<a@b.example",
            "MAIL FROM:<a@b.example>x",
            "MAIL FROM:<a@b.example>SIZE=1",
            "MAIL FROM:<\"\"@b.example>",
            "MAIL FROM:<@:a@b.example>",
            "MAIL FROM:<a@b.example>> SIZE=1",
        ] {
            for syntax in [Syntax::Strict, Syntax::Lenient] {
                let reply = mail(line, syntax).unwrap_err().reply();
                assert_eq!(reply.code(), 501, "{line}");
            }
        }
    }
}
