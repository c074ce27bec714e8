//! SETACTIVE: which script filters mail.

use mailwright_line_proto::Request;
use mailwright_mail_model::ScriptName;

use super::{Arguments, Command};
use crate::managesieve::{Refusal, token::put_string};

/// Makes a script the active one, or none (RFC 5804 §2.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetActive(
    /// The script, or nothing so that none is active.
    pub Option<ScriptName>,
);

impl SetActive {
    pub(in crate::managesieve) fn encode(&self) -> Vec<u8> {
        let mut line = b"SETACTIVE ".to_vec();
        put_string(&mut line, self.0.as_ref().map_or("", ScriptName::as_str).as_bytes(), "+");
        line
    }
}

impl Request for SetActive {
    type Answer = Result<(), Refusal>;
}

pub(super) fn parse(mut arguments: Arguments) -> Option<Command> {
    let text = arguments.text()?;
    let name = if text.is_empty() { None } else { Some(ScriptName::new(&text).ok()?) };
    arguments.end(Command::SetActive(SetActive(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managesieve::command::parse_line;

    #[test]
    fn survives_the_wire() {
        for name in [None, Some("vacation script".parse().unwrap())] {
            let request = SetActive(name);
            assert_eq!(parse_line(&request.encode()), Some(Command::SetActive(request)));
        }
        for bad in ["SETACTIVE \"a\tb\"", "SETACTIVE none"] {
            assert_eq!(parse_line(bad.as_bytes()), None, "{bad}");
        }
    }
}
