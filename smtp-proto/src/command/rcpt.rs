//! RCPT (RFC 5321 §4.1.1.3).

use std::fmt;

use mailwright_line_proto::Request;
use mailwright_mail_model::ForwardPath;

use super::{Command, Syntax, SyntaxError, after_keyword};
use crate::{
    Reply,
    params::{self, RcptParameters},
    words::{Key, text},
};

/// One recipient of the message.
///
/// Any 2yz answer accepts; the usual one is [`Reply::RECIPIENT_OK`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rcpt {
    /// Where the message goes.
    pub to: ForwardPath,
    /// What else is said of this recipient.
    pub parameters: RcptParameters,
}

impl Rcpt {
    /// A recipient without parameters.
    pub fn new(to: ForwardPath) -> Self {
        Self { to, parameters: RcptParameters::default() }
    }

    /// The same with these parameters.
    pub fn with_parameters(mut self, parameters: RcptParameters) -> Self {
        self.parameters = parameters;
        self
    }
}

impl Request for Rcpt {
    type Answer = Reply;
}

impl fmt::Display for Rcpt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RCPT TO:{}", self.to)?;
        params::encode(params::RCPT, &self.parameters, formatter)
    }
}

const TO: Key = Key::of("TO:");

pub(super) fn parse(arguments: &[u8], syntax: Syntax) -> Result<Command, SyntaxError> {
    let path = after_keyword::<3>(text(arguments)?, TO, syntax)
        .ok_or(SyntaxError::Arguments("RCPT TO:<address> [parameters]"))?;
    // What was just written takes long to be moved: nearly all paths are made where the command is.
    match ForwardPath::parse_plain_prefix(path) {
        Some((to, "")) => Ok(Command::Rcpt(Rcpt::new(to))),
        Some((to, rest)) => with_parameters(to, rest),
        None => {
            let (to, rest) = match syntax {
                Syntax::Strict => ForwardPath::parse_prefix(path),
                Syntax::Lenient => ForwardPath::parse_prefix_lenient(path),
            }
            .map_err(SyntaxError::Recipient)?;
            with_parameters(to, rest)
        }
    }
}

fn with_parameters(to: ForwardPath, rest: &str) -> Result<Command, SyntaxError> {
    let mut rcpt = Rcpt::new(to);
    params::parse(params::RCPT, rest, &mut rcpt.parameters)?;
    Ok(Command::Rcpt(rcpt))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rcpt(line: &[u8], syntax: Syntax) -> Result<Rcpt, SyntaxError> {
        match Command::parse(line, syntax)? {
            Command::Rcpt(rcpt) => Ok(rcpt),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_postmaster_needs_no_domain() {
        assert_eq!(rcpt(b"RCPT TO:<PostMaster>", Syntax::Strict).unwrap().to, ForwardPath::Postmaster);
        assert!(rcpt(b"RCPT TO:<someone>", Syntax::Strict).is_err());
    }

    #[test]
    fn what_nobody_takes() {
        for line in [
            &b"RCPT TO:<>"[..],
            b"RCPT TO:<\"\"@b.example>",
            b"RCPT TO:<a\r@b.example>",
            b"RCPT TO:<a@b.example\0>",
            b"RCPT TO:<a@b.example>\0",
            b"RCPT TO:<a@b.example> and more!",
            b"RCPT TO:<a@b.example>x",
            b"RCPT TO:<a@@b.example>",
            b"RCPT TO:<a@b@c.example>",
            b"RCPT TO:<\xc3@b.example>",
            b"RCPT TO:<\"a\r\nDATA\"@b.example>",
            b"RCPT TO:<a@b.example> NOTIFY=SELDOM",
        ] {
            for syntax in [Syntax::Strict, Syntax::Lenient] {
                let reply = rcpt(line, syntax).unwrap_err().reply();
                assert!(reply.is_permanent(), "{}", String::from_utf8_lossy(line));
            }
        }
    }

    proptest! {
        #[test]
        fn comes_round(local in "[a-z0-9+=-]{1,30}|\"[ -!#-\\[\\]-~]{1,20}\"", domain in "[a-z][a-z0-9]{0,20}(\\.[a-z]{1,9}){0,3}") {
            let to = ForwardPath::parse(format!("<{local}@{domain}>").as_bytes()).unwrap();
            let command = Command::Rcpt(Rcpt::new(to));
            for syntax in [Syntax::Strict, Syntax::Lenient] {
                let line = command.encode();
                prop_assert_eq!(Command::parse(line.trim_end_matches("\r\n").as_bytes(), syntax), Ok(command.clone()));
            }
        }
    }
}
