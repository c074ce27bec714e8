//! GETSCRIPT: a script, to read.

use mailwright_line_proto::Request;
use mailwright_mail_model::ScriptName;

use super::{Arguments, Command};
use crate::managesieve::{Refusal, token::put_string};

/// Asks for a script (RFC 5804 §2.9). The answer is its size in octets; they follow as a body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "RFC 5804 has these arguments and always will")]
pub struct GetScript {
    /// Which script.
    pub name: ScriptName,
}

impl GetScript {
    pub(in crate::managesieve) fn encode(&self) -> Vec<u8> {
        let mut line = b"GETSCRIPT ".to_vec();
        put_string(&mut line, self.name.as_str().as_bytes(), "+");
        line
    }
}

impl Request for GetScript {
    type Answer = Result<u32, Refusal>;
}

pub(super) fn parse(mut arguments: Arguments) -> Option<Command> {
    let name = arguments.name()?;
    arguments.end(Command::GetScript(GetScript { name }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managesieve::command::parse_line;

    #[test]
    fn survives_the_wire() {
        for name in ["a", "ein \"Näheres\" \\"] {
            let request = GetScript { name: name.parse().unwrap() };
            assert_eq!(parse_line(&request.encode()), Some(Command::GetScript(request)));
        }
        for bad in ["GETSCRIPT \"\"", "GETSCRIPT a", "GETSCRIPT \"a\" \"b\"", "GETSCRIPT (\"a\")"] {
            assert_eq!(parse_line(bad.as_bytes()), None, "{bad}");
        }
    }
}
