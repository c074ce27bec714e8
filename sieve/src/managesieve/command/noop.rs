//! NOOP: a sign of life.

use mailwright_line_proto::Request;

use super::{Arguments, Command};
use crate::managesieve::{Refusal, token::put_string};

/// Does nothing; what it carries comes back with the answer (RFC 5804 §2.13). The machines see to that themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Noop(
    /// What is to come back, at most 1024 octets.
    pub Option<String>,
);

impl Noop {
    pub(in crate::managesieve) fn encode(&self) -> Vec<u8> {
        let mut line = b"NOOP".to_vec();
        if let Some(tag) = &self.0 {
            line.push(b' ');
            put_string(&mut line, tag.as_bytes(), "+");
        }
        line
    }
}

impl Request for Noop {
    type Answer = Result<(), Refusal>;
}

pub(super) fn parse(mut arguments: Arguments) -> Option<Command> {
    let tag = if arguments.is_empty() { None } else { Some(arguments.text()?) };
    arguments.end(Command::Noop(Noop(tag)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managesieve::command::parse_line;

    #[test]
    fn survives_the_wire() {
        for tag in [None, Some(String::new()), Some("STARTTLS-SYNC-42".to_owned())] {
            let request = Noop(tag);
            assert_eq!(parse_line(&request.encode()), Some(Command::Noop(request)));
        }
    }
}
