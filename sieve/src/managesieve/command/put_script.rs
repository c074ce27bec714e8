//! PUTSCRIPT: a new script, or new content for one.

use bytes::Bytes;
use mailwright_line_proto::Request;
use mailwright_mail_model::ScriptName;

use super::{Arguments, Command};
use crate::managesieve::{Refusal, token::put_string};

/// Stores a script, in the place of one of that name if there is one (RFC 5804 §2.6).
///
/// A client sends its octets as a body behind the call. A server is asked when they have all come: the script must be
/// checked, and stored durably only if it is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "RFC 5804 has these arguments and always will")]
pub struct PutScript {
    /// Its name.
    pub name: ScriptName,
    /// Its size in octets.
    pub size: u32,
}

impl PutScript {
    /// Up to the octets of the script.
    pub(in crate::managesieve) fn encode(&self) -> Vec<u8> {
        let mut line = b"PUTSCRIPT ".to_vec();
        put_string(&mut line, self.name.as_str().as_bytes(), "+");
        line.extend_from_slice(format!(" {{{}+}}", self.size).as_bytes());
        line
    }
}

impl Request for PutScript {
    type Answer = Result<Accepted, Refusal>;
}

/// A script is valid.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Accepted {
    /// What it might do that was not meant, a line each; nothing if there is nothing to say (RFC 5804 §1.3,
    /// `WARNINGS`).
    pub warnings: Option<String>,
}

impl Accepted {
    /// A valid script with something to say about it.
    pub fn with_warnings(warnings: impl Into<String>) -> Self {
        Self { warnings: Some(warnings.into()) }
    }
}

pub(super) fn parse(mut arguments: Arguments) -> Option<Command> {
    let name = arguments.name()?;
    let script: Option<Bytes> = if arguments.is_empty() { None } else { Some(arguments.string()?) };
    arguments.end(Command::PutScript(name, script))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managesieve::command::parse_line;

    #[test]
    fn survives_the_wire() {
        let request = PutScript { name: "a b".parse().unwrap(), size: 31 };
        let line = request.encode();
        let before = line.strip_suffix(b" {31+}").unwrap();
        assert_eq!(parse_line(before), Some(Command::PutScript(request.name, None)));
        let quoted = parse_line(b"PUTSCRIPT \"a\" \"keep;\"");
        assert_eq!(quoted, Some(Command::PutScript("a".parse().unwrap(), Some("keep;".into()))));
    }
}
