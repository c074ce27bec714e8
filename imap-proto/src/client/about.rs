//! Which mailboxes a call asks about: what is told of others answers something else, or nothing.

use mailwright_mail_model::MailboxName;

use crate::{
    command::{Command, List},
    response::{Listed, ListedName, Response},
};

/// The mailboxes that a call asks about.
#[derive(Debug)]
pub(super) enum About {
    /// It is no question about mailboxes, or the server alone knows which are meant.
    Anything,
    /// The one of this name, in lower case.
    One(String),
    /// Those that match one of these patterns, in lower case.
    Matching(Vec<String>),
}

impl About {
    pub(super) fn of(command: &Command) -> Self {
        match command {
            Command::Status(status) => Self::one(&status.mailbox),
            Command::GetAcl(asked) => Self::one(&asked.mailbox),
            Command::ListRights(asked) => Self::one(&asked.mailbox),
            Command::MyRights(asked) => Self::one(&asked.mailbox),
            Command::List(list) => Self::listed(list),
            Command::Rlist(asked) => Self::listed(&asked.list),
            _ => Self::Anything,
        }
    }

    fn one(mailbox: &MailboxName) -> Self {
        Self::One(spelling(mailbox.as_str()))
    }

    fn listed(list: &List) -> Self {
        let patterns: Vec<_> = list.patterns().map(spelling).collect();
        // RFC 9051 §6.3.9: how reference and pattern are combined is up to the server. An empty pattern asks for the delimiter.
        match list.reference.is_empty() && patterns.iter().all(|pattern| !matches!(&**pattern, "" | "*")) {
            true => Self::Matching(patterns),
            false => Self::Anything,
        }
    }

    /// Whether the response may be part of the answer.
    pub(super) fn takes(&self, response: &Response) -> bool {
        let told = match response {
            Response::MailboxStatus(status) => Some(&status.name),
            Response::Acl(acl) => Some(&acl.mailbox),
            Response::RightsOf(rights) => Some(&rights.mailbox),
            Response::OwnRights(rights) => Some(&rights.mailbox),
            _ => None,
        };
        match (self, response) {
            (Self::One(name), _) => told.is_none_or(|told| spelling(&told.text()) == *name),
            (Self::Matching(patterns), Response::List(listed)) => patterns
                .iter()
                .any(|pattern| names(listed).any(|name| may_match(pattern, name, listed.delimiter))),
            _ => true,
        }
    }
}

/// The name, and the one that was asked for if the server knows it by another (RFC 9051 §6.3.9.7).
fn names(listed: &Listed) -> impl Iterator<Item = &ListedName> {
    std::iter::once(&listed.name).chain(&listed.old_name)
}

/// INBOX is the same in any case, and to some servers every name is.
fn spelling(name: &str) -> String {
    name.to_lowercase()
}

/// Whether a name may be one that the pattern means: only a server knows for sure.
fn may_match(pattern: &str, name: &ListedName, delimiter: Option<char>) -> bool {
    let name = spelling(&name.text());
    if name.contains(char::REPLACEMENT_CHARACTER) {
        return true;
    }
    if !matches(pattern.as_bytes(), name.as_bytes()) {
        return false;
    }
    // `%` is anything but the delimiter, which may stand at the end of what has children.
    let Some(delimiter) = delimiter.filter(|_| !pattern.contains('*')) else { return true };
    let levels = |text: &str| text.trim_end_matches(delimiter).matches(delimiter).count();
    levels(&name) == levels(pattern)
}

/// Whether a text matches a pattern in which `*` and `%` stand for anything. Goes back to the last of them only, for those before it have
/// matched as little as they can.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut wildcard = None;
    loop {
        match (pattern.get(at), text.get(from)) {
            (Some(b'*' | b'%'), _) => {
                at += 1;
                wildcard = Some((at, from));
            }
            (None, None) => return true,
            (Some(wanted), Some(octet)) if wanted == octet => (at, from) = (at + 1, from + 1),
            (_, next) => match &mut wildcard {
                Some((behind, until)) if next.is_some() => {
                    *until += 1;
                    (at, from) = (*behind, *until);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{grammar::Input, response::Leniency};

    /// Whether the answer to this command takes this response.
    fn takes(command: &str, response: &str) -> bool {
        let command = Command::parse(&mut Input::new(command.as_bytes()), Default::default()).unwrap();
        About::of(&command).takes(&Response::parse(response.as_bytes(), Leniency::tolerant()).unwrap())
    }

    #[test]
    fn a_status_is_of_the_mailbox_that_was_asked_about() {
        for (asked, told, expected) in [
            ("inbox", "INBOX", true),
            ("INBOX", "\"Inbox\"", true),
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("INBOX", "Other", false),
            ("Entw&APw-rfe", "Entw&APw-rfe", true),
            ("Entw&APw-rfe", "\"Entw\u{fc}rfe\"", true),
            ("Entw&APw-rfe", "Entw&APY-rfe", false),
            ("x", "{1}\r\nx", true),
            ("x", "\"\"", false),
        ] {
            let command = format!("STATUS {asked} (MESSAGES)");
            assert_eq!(takes(&command, &format!("* STATUS {told} (MESSAGES 1)")), expected, "{asked} {told}");
        }
    }

    #[test]
    fn a_list_is_of_what_matches() {
        for (asked, told, expected) in [
            ("\"\" *", "() \"/\" any/thing", true),
            ("\"\" \"\"", "(\\Noselect) \"/\" \"\"", true),
            ("ref/ x", "() \"/\" y", true),
            ("\"\" INBOX", "() \"/\" Inbox", true),
            ("\"\" inbox/%", "() \"/\" INBOX/a", true),
            ("\"\" INBOX", "(\\NonExistent) \"/\" Zwei", false),
            ("\"\" %", "() \"/\" a", true),
            ("\"\" %", "(\\Noselect) \"/\" a/", true),
            ("\"\" %", "(\\NonExistent) \"/\" a (\"CHILDINFO\" (\"SUBSCRIBED\"))", true),
            ("\"\" %", "() \"/\" a/b", false),
            ("\"\" %", "() \".\" a/b", true),
            ("\"\" %", "() NIL a/b", true),
            ("\"\" %/%", "() \"/\" a/b", true),
            ("\"\" a*b*c", "() \"/\" a/xbxbx/c", true),
            ("\"\" a*b*c", "() \"/\" acb", false),
            ("\"\" a%", "() \"/\" b", false),
            ("\"\" (x y/%)", "() \"/\" y/z", true),
            ("\"\" (x y/%)", "() \"/\" z", false),
            ("\"\" Entw&APw-rfe", "() \"/\" \"Entw\u{fc}rfe\"", true),
            ("\"\" old", "() \"/\" new (\"OLDNAME\" (\"old\"))", true),
            ("\"\" old", "() \"/\" new (\"CHILDINFO\" (\"SUBSCRIBED\") \"OLDNAME\" (old))", true),
            ("\"\" old", "() \"/\" new (\"OLDNAME\" (other))", false),
        ] {
            assert_eq!(
                takes(&format!("LIST {asked}"), &format!("* LIST {told}")),
                expected,
                "{asked} {told}"
            );
        }
        // Names of which nobody knows what they are.
        let list = List::new("", "caf\u{e9}");
        let response = Response::parse(b"* LIST () \"/\" \"caf\xe9\"", Leniency::tolerant()).unwrap();
        assert!(About::listed(&list).takes(&response));
    }
}
