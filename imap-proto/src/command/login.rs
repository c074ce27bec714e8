//! LOGIN (RFC 3501 §6.2.3).

use mailwright_line_proto::{Login, Secret};

use crate::grammar::{GrammarError, Input, Wire};

/// Takes the arguments.
pub(super) fn parse(input: &mut Input<'_>) -> Result<Login, GrammarError> {
    input.space()?;
    let user = input.text()?;
    input.space()?;
    let password = input.astring()?;
    Ok(Login::new(user, Secret::from(&password[..])))
}

/// Writes the command.
pub(super) fn encode(login: &Login, wire: &mut impl Wire) {
    wire.put(b"LOGIN ");
    wire.put_astring(login.user.as_bytes());
    wire.put(b" ");
    // Never as an atom: servers have taken passwords with odd characters for something else.
    wire.put_string(login.password.expose());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_was_written() {
        for (user, password) in [("SMITH", "SESAME"), ("J\u{f6}rg", "p\u{e4}ss \"\\"), ("a b", "")] {
            let login = Login::new(user, Secret::from(password));
            let mut wire = Vec::new();
            encode(&login, &mut wire);
            assert_eq!(parse(&mut Input::new(wire.strip_prefix(b"LOGIN").unwrap())), Ok(login));
        }
    }
}
