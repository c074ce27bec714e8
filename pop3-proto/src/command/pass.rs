//! PASS: the second half of a login with a password.

use mailwright_line_proto::Secret;

use super::Command;

/// The line with the password, or nothing if the password cannot stand on a line.
pub(crate) fn encode(password: &Secret) -> Option<Secret> {
    let password = password.expose();
    is_password(password).then(|| Secret::from([b"PASS ", password].concat().as_slice()))
}

pub(super) fn parse(arguments: Option<&[u8]>) -> Option<Command> {
    // RFC 1939 §7: there is only one argument, so spaces may be part of it, wherever they stand.
    let password = arguments?;
    is_password(password).then(|| Command::Pass(Secret::from(password)))
}

fn is_password(password: &[u8]) -> bool {
    !password.is_empty() && !password.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::parse_line;

    #[test]
    fn spaces_belong_to_the_password() {
        assert_eq!(parse_line(b"PASS  a b "), Some(Command::Pass(Secret::from(" a b "))));
        for bad in [&b"PASS"[..], b"PASS ", b"PASS a\rb", b"PASS a\0"] {
            assert_eq!(parse_line(bad), None, "{bad:?}");
        }
        assert_eq!(encode(&Secret::from("a\r\nDELE 1")), None);
    }

    proptest! {
        #[test]
        fn survives_the_wire(password in prop::collection::vec(1_u8.., 1..40)) {
            prop_assume!(!password.contains(&b'\r') && !password.contains(&b'\n'));
            let secret = Secret::from(password.as_slice());
            let line = encode(&secret).unwrap();
            prop_assert_eq!(parse_line(line.expose()), Some(Command::Pass(secret)));
        }
    }
}
