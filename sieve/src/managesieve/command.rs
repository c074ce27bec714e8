//! Every command as one row of a table: when it is allowed, what it takes, and who reads its arguments.

mod authenticate;
mod capability;
mod check_script;
mod delete_script;
mod get_script;
mod have_space;
mod list_scripts;
mod logout;
mod noop;
mod put_script;
mod rename_script;
mod set_active;
mod start_tls;
mod unauthenticate;

use super::token::{Arguments, Token};

pub(super) use authenticate::{Auth, decode, encode_response};
pub use capability::Capability;
pub use check_script::CheckScript;
pub use delete_script::DeleteScript;
pub use get_script::GetScript;
pub use have_space::HaveSpace;
pub use list_scripts::{ListScripts, Listed};
pub use logout::Logout;
pub use noop::Noop;
pub use put_script::{Accepted, PutScript};
pub use rename_script::RenameScript;
pub use set_active::SetActive;
pub use start_tls::StartTls;
pub use unauthenticate::Unauthenticate;

/// The commands. Both machines obey it: the server refuses and the client does not send what a row forbids.
///
/// The columns: verb, arguments as people read them, states, whether they hold a secret, how many arguments stand
/// before a script, the parser of the arguments.
pub(super) static TABLE: [Row; 14] = [
    row("AUTHENTICATE", " mechanism [initial-response]", States::Before, SECRET, NONE, authenticate::parse),
    row("STARTTLS", "", States::Before, SHOWN, NONE, start_tls::parse),
    row("CAPABILITY", "", States::Both, SHOWN, NONE, capability::parse),
    row("NOOP", " [tag]", States::Both, SHOWN, NONE, noop::parse),
    row("LOGOUT", "", States::Both, SHOWN, NONE, logout::parse),
    row("UNAUTHENTICATE", "", States::After, SHOWN, NONE, unauthenticate::parse),
    row("HAVESPACE", " name size", States::After, SHOWN, NONE, have_space::parse),
    row("PUTSCRIPT", " name script", States::After, SHOWN, Some(1), put_script::parse),
    row("CHECKSCRIPT", " script", States::After, SHOWN, Some(0), check_script::parse),
    row("LISTSCRIPTS", "", States::After, SHOWN, NONE, list_scripts::parse),
    row("SETACTIVE", " name", States::After, SHOWN, NONE, set_active::parse),
    row("GETSCRIPT", " name", States::After, SHOWN, NONE, get_script::parse),
    row("DELETESCRIPT", " name", States::After, SHOWN, NONE, delete_script::parse),
    row("RENAMESCRIPT", " old-name new-name", States::After, SHOWN, NONE, rename_script::parse),
];

const SHOWN: bool = false;
const SECRET: bool = true;
const NONE: Option<usize> = None;

/// One command.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) verb: &'static str,
    pub(super) arguments: &'static str,
    pub(super) states: States,
    pub(super) secret: bool,
    pub(super) before_script: Option<usize>,
    parse: fn(Arguments) -> Option<Command>,
}

const fn row(
    verb: &'static str,
    arguments: &'static str,
    states: States,
    secret: bool,
    before_script: Option<usize>,
    parse: fn(Arguments) -> Option<Command>,
) -> Row {
    Row { verb, arguments, states, secret, before_script, parse }
}

/// The states of a session in which a command is allowed (RFC 5804 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum States {
    Before,
    After,
    Both,
}

impl States {
    pub(super) fn contain(self, logged_in: bool) -> bool {
        match self {
            Self::Before => !logged_in,
            Self::After => logged_in,
            Self::Both => true,
        }
    }
}

/// A command that was understood; of a script, what was quoted is here, and of a literal nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Authenticate(Auth),
    StartTls,
    Capability,
    Noop(Noop),
    Logout,
    Unauthenticate,
    HaveSpace(HaveSpace),
    PutScript(mailwright_mail_model::ScriptName, Option<bytes::Bytes>),
    CheckScript(Option<bytes::Bytes>),
    ListScripts,
    SetActive(SetActive),
    GetScript(GetScript),
    DeleteScript(DeleteScript),
    RenameScript(RenameScript),
}

/// The row of the verb that a command begins with, in any case.
pub(super) fn find(tokens: &[Token]) -> Option<&'static Row> {
    let verb = tokens.first()?;
    TABLE.iter().find(|row| verb.is(row.verb))
}

impl Row {
    /// Reads a command with this verb.
    pub(super) fn command(&self, mut tokens: Vec<Token>) -> Option<Command> {
        if tokens.is_empty() {
            return None;
        }
        tokens.remove(0);
        (self.parse)(Arguments::new(tokens))
    }
}

#[cfg(test)]
fn parse_line(line: &[u8]) -> Option<Command> {
    let mut tokens = Vec::new();
    super::token::scan(line, &mut tokens).ok()?;
    find(&tokens)?.command(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_come_in_any_case() {
        assert_eq!(parse_line(b"logOUT"), Some(Command::Logout));
        for bad in [&b""[..], b" ", b"\"LOGOUT\"", b"LOGOUTX", b"LOGOUT(", b"GET / HTTP/1.1"] {
            assert_eq!(parse_line(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn arguments_are_as_many_as_the_table_says() {
        for row in &TABLE {
            let words: Vec<_> = row.arguments.split_ascii_whitespace().collect();
            let line = |count: usize| {
                let mut line = row.verb.to_owned();
                for word in words.iter().copied().chain(["more"; 9]).take(count) {
                    line += if word == "size" { " 7" } else { " \"PLAIN\"" };
                }
                line
            };
            let needed = words.iter().filter(|word| !word.starts_with('[')).count();
            // The script may be a literal, which is not among the tokens.
            let least = row.before_script.unwrap_or(needed);
            for count in 0..words.len() + 2 {
                let fits = (least..=words.len()).contains(&count);
                assert_eq!(parse_line(line(count).as_bytes()).is_some(), fits, "{}", line(count));
            }
        }
    }
}
