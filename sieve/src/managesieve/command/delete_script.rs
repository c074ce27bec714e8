//! DELETESCRIPT: a script that is no longer wanted.

use mailwright_line_proto::Request;
use mailwright_mail_model::ScriptName;

use super::{Arguments, Command};
use crate::managesieve::{Refusal, token::put_string};

/// Deletes a script, which must not be the active one (RFC 5804 §2.10).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "RFC 5804 has these arguments and always will")]
pub struct DeleteScript {
    /// Which script.
    pub name: ScriptName,
}

impl DeleteScript {
    pub(in crate::managesieve) fn encode(&self) -> Vec<u8> {
        let mut line = b"DELETESCRIPT ".to_vec();
        put_string(&mut line, self.name.as_str().as_bytes(), "+");
        line
    }
}

impl Request for DeleteScript {
    type Answer = Result<(), Refusal>;
}

pub(super) fn parse(mut arguments: Arguments) -> Option<Command> {
    let name = arguments.name()?;
    arguments.end(Command::DeleteScript(DeleteScript { name }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managesieve::command::parse_line;

    #[test]
    fn survives_the_wire() {
        for name in ["a", "ein \"Näheres\" \\"] {
            let request = DeleteScript { name: name.parse().unwrap() };
            assert_eq!(parse_line(&request.encode()), Some(Command::DeleteScript(request)));
        }
        for bad in ["DELETESCRIPT \"\"", "DELETESCRIPT a", "DELETESCRIPT \"a\" \"b\"", "DELETESCRIPT (\"a\")"]
        {
            assert_eq!(parse_line(bad.as_bytes()), None, "{bad}");
        }
    }
}
