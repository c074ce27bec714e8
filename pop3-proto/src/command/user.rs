//! USER: the first half of a login with a password.

use super::Command;

/// The line that names the user, or nothing if the name cannot stand on a line.
pub(crate) fn encode(name: &str) -> Option<String> {
    is_name(name).then(|| format!("USER {name}"))
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    let name = std::str::from_utf8(arguments?).ok()?;
    is_name(name).then(|| Command::User(name.to_owned()))
}

/// Names of accounts hold spaces at times, but do not begin or end with one.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::parse_line;

    #[test]
    fn refuses_what_is_no_name() {
        for bad in [&b"USER"[..], b"USER ", b"USER  a", b"USER a ", b"USER \xff", b"USER a\0", b"USER a\rb"] {
            assert_eq!(parse_line(bad), None, "{bad:?}");
        }
        assert_eq!(encode("a\r\nDELE 1"), None);
    }

    proptest! {
        #[test]
        fn survives_the_wire(name in "[!-~é]([ -~]{0,30}[!-~])?") {
            prop_assert_eq!(parse_line(encode(&name).unwrap().as_bytes()), Some(Command::User(name)));
        }
    }
}
