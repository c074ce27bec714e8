//! HAVESPACE: whether there is room.

use mailwright_line_proto::Request;
use mailwright_mail_model::ScriptName;

use super::{Arguments, Command};
use crate::managesieve::{Refusal, token::put_string};

/// Asks whether a script of this name and size could be stored (RFC 5804 §2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "RFC 5804 has these arguments and always will")]
pub struct HaveSpace {
    /// The name it would have.
    pub name: ScriptName,
    /// Its size in octets.
    pub size: u32,
}

impl HaveSpace {
    pub(in crate::managesieve) fn encode(&self) -> Vec<u8> {
        let mut line = b"HAVESPACE ".to_vec();
        put_string(&mut line, self.name.as_str().as_bytes(), "+");
        line.extend_from_slice(format!(" {}", self.size).as_bytes());
        line
    }
}

impl Request for HaveSpace {
    type Answer = Result<(), Refusal>;
}

pub(super) fn parse(mut arguments: Arguments) -> Option<Command> {
    let (name, size) = (arguments.name()?, arguments.number()?);
    arguments.end(Command::HaveSpace(HaveSpace { name, size }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managesieve::command::parse_line;

    #[test]
    fn survives_the_wire() {
        for name in ["a", "ein \"Näheres\" \\"] {
            let request = HaveSpace { name: name.parse().unwrap(), size: u32::MAX };
            assert_eq!(parse_line(&request.encode()), Some(Command::HaveSpace(request)));
        }
        for bad in [
            "HAVESPACE \"a\" -1",
            "HAVESPACE \"a\" \"7\"",
            "HAVESPACE \"a\" 4294967296",
            "HAVESPACE \"a\" 07",
        ] {
            assert_eq!(parse_line(bad.as_bytes()), None, "{bad}");
        }
    }
}
