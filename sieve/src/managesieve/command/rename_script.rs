//! RENAMESCRIPT: another name for a script.

use mailwright_line_proto::Request;
use mailwright_mail_model::ScriptName;

use super::{Arguments, Command};
use crate::managesieve::{Refusal, token::put_string};

/// Renames a script; the active one stays active (RFC 5804 §2.11).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "RFC 5804 has these arguments and always will")]
pub struct RenameScript {
    /// Its name so far.
    pub from: ScriptName,
    /// Its new name, which no script may have yet.
    pub to: ScriptName,
}

impl RenameScript {
    pub(in crate::managesieve) fn encode(&self) -> Vec<u8> {
        let mut line = b"RENAMESCRIPT ".to_vec();
        put_string(&mut line, self.from.as_str().as_bytes(), "+");
        line.push(b' ');
        put_string(&mut line, self.to.as_str().as_bytes(), "+");
        line
    }
}

impl Request for RenameScript {
    type Answer = Result<(), Refusal>;
}

pub(super) fn parse(mut arguments: Arguments) -> Option<Command> {
    let (from, to) = (arguments.name()?, arguments.name()?);
    arguments.end(Command::RenameScript(RenameScript { from, to }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managesieve::command::parse_line;

    #[test]
    fn survives_the_wire() {
        for name in ["a", "ein \"Näheres\" \\"] {
            let request = RenameScript { from: name.parse().unwrap(), to: "b".parse().unwrap() };
            assert_eq!(parse_line(&request.encode()), Some(Command::RenameScript(request)));
        }
        for bad in ["RENAMESCRIPT \"a\"", "RENAMESCRIPT \"a\" \"\""] {
            assert_eq!(parse_line(bad.as_bytes()), None, "{bad}");
        }
    }
}
