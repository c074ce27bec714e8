//! CREATE (RFC 3501 §6.3.3).

use mailwright_line_proto::Request;
use mailwright_mail_model::{MailboxName, MailboxNameError, SpecialUse};

use crate::grammar::{GrammarError, Input, Wire};
use crate::refusal::Answered;

/// Makes a mailbox, and those above it if they are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Create {
    /// The name. Never INBOX: the machine refuses that by itself.
    pub mailbox: MailboxName,
    /// What it shall be used for (RFC 6154 §3).
    pub special_use: Vec<SpecialUse>,
    /// Whether there was one among them that is not known.
    pub(crate) unknown: bool,
}

impl Create {
    /// Makes a mailbox of this name.
    pub fn new(mailbox: MailboxName) -> Self {
        Self { mailbox, special_use: Vec::new(), unknown: false }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        let mailbox = new_name(input)?;
        let mut create = Self::new(mailbox);
        if input.eat(b' ') {
            input.octet(b'(', "USE in parentheses")?;
            if !input.keyword("USE") {
                return Err(input.expected("USE"));
            }
            input.space()?;
            input.list("special uses", 16, |input| {
                let here = input.clone();
                let name = input.take("a special use", crate::grammar::flag_name)?;
                match name.parse() {
                    Ok(known) if create.special_use.contains(&known) => {}
                    Ok(known) => create.special_use.push(known),
                    // RFC 6154 §6: use-attr-ext; others may come to be.
                    Err(_) if name.starts_with('\\') => create.unknown = true,
                    Err(_) => return Err(here.expected("a special use")),
                }
                Ok(())
            })?;
            input.octet(b')', "a closing parenthesis")?;
        }
        Ok(create)
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"CREATE ");
        wire.put_mailbox(&self.mailbox);
        if !self.special_use.is_empty() {
            wire.put(b" (USE ");
            wire.put_list(&self.special_use, |wire, special| wire.put(special.as_str().as_bytes()));
            wire.put(b")");
        }
    }
}

impl Request for Create {
    type Answer = Answered<()>;
}

/// Takes a name for a new mailbox: no wildcards in it, and in NFC (RFC 9051 §5.1).
pub(super) fn new_name(input: &mut Input<'_>) -> Result<MailboxName, GrammarError> {
    let name = input.astring()?;
    // RFC 3501 §6.3.3: a separator at the end only says that mailboxes will be made below this one.
    let name = name.strip_suffix(b"/").unwrap_or(&name);
    let name = if input.is_utf8() {
        MailboxName::new(str::from_utf8(name).map_err(|_| input.expected("UTF-8"))?)?
    } else {
        MailboxName::new(MailboxName::from_utf7(name)?.as_str())?
    };
    if name.is_normalized() { Ok(name) } else { Err(MailboxNameError::Denormalized.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_the_same_are_made_once() {
        let parse = |text: &str, utf8| Create::parse(&mut Input::new(text.as_bytes()).with_utf8(utf8));
        let composed = MailboxName::new("caf\u{e9}/x").unwrap();
        assert_eq!(parse(" \"caf\u{e9}/x\"", true).unwrap().mailbox, composed);
        assert_eq!(parse(" caf&AOk-/x", false).unwrap().mailbox, composed);
        let denormalized = Err(GrammarError::Mailbox(MailboxNameError::Denormalized));
        assert_eq!(parse(" \"cafe\u{301}/x\"", true), denormalized);
        assert_eq!(parse(" cafe&AwE-/x", false), denormalized);
        // What is there already can still be named.
        assert!(Input::new(b"cafe&AwE-/x").mailbox().is_ok());
    }

    /// RFC 6154 §6
    #[test]
    fn uses_of_new_mailboxes() {
        let parse = |text: &str| Create::parse(&mut Input::new(text.as_bytes()));
        let uses = |text: &str| parse(text).map(|create| (create.special_use, create.unknown));
        assert_eq!(uses(" a (USE ())"), Ok((Vec::new(), false)));
        assert_eq!(uses(" a (USE (\\Sent \\sent))"), Ok((vec![SpecialUse::Sent], false)));
        assert_eq!(
            uses(" a (USE (\\Drafts \\X-Moon \\Sent))"),
            Ok((vec![SpecialUse::Drafts, SpecialUse::Sent], true))
        );
        for bad in [" a (USE (Sent))", " a (USE \\Sent)", " a (USE)", " a (\\Sent)", " a (USE (\\Sent)"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_for_new_mailboxes() {
        let name = |text: &[u8]| new_name(&mut Input::new(text)).map(|name| name.to_string());
        assert_eq!(name(b"owatagusiam/"), Ok("owatagusiam".into()));
        assert_eq!(name(b"a/b"), Ok("a/b".into()));
        for bad in [
            "\"\"",
            "/",
            "a//",
            "\"a*b%c\"",
            "a/../../../escape",
            "..",
            ".",
            "&AC8-etc",
            "&AAA-x",
            "&AC4ALg-/x",
            "/x",
            "{5}\r\ncaf\u{e9}",
            "{2}\r\n\r\n",
        ] {
            assert!(matches!(name(bad.as_bytes()), Err(GrammarError::Mailbox(_))), "{bad}");
        }
    }
}
