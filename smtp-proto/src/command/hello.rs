//! HELO, EHLO (RFC 5321 §4.1.1.1) and LHLO (RFC 2033 §4.1).

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use mailwright_line_proto::Request;
use smol_str::SmolStr;

use super::{Command, Syntax, SyntaxError};
use crate::{
    Reply,
    words::{COLON, HOST, all_in, short, skip_spaces, text},
};

/// The longest name, as of a domain (RFC 5321 §4.5.3.1.2).
const LONGEST: usize = 255;
/// The longest of its labels (RFC 1035 §2.3.4).
const LONGEST_LABEL: usize = 63;

/// A client says who it is.
///
/// A server is asked whether that will do; what it offers in return, the machine knows. A client finds what is
/// offered in its [`capabilities`](crate::client::Client::capabilities).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hello {
    /// By which command.
    pub kind: HelloKind,
    /// The name it gives itself. Nothing is known of its truth.
    pub name: HelloName,
}

/// Which command a client says hello with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HelloKind {
    /// HELO: no extensions.
    Helo,
    /// EHLO: with extensions.
    Ehlo,
    /// LHLO: this is LMTP.
    Lhlo,
}

/// The name a client gives itself: a domain, an address literal, or what passes for one.
///
/// Letters, digits and `.-_`, or those and `:` in brackets: freer than a domain, because clients name themselves
/// after machines, but nothing in it can break a header field or a log line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HelloName(SmolStr);

impl Hello {
    /// Says hello with the best command of the client's protocol.
    pub fn new(name: HelloName) -> Self {
        Self { kind: HelloKind::Ehlo, name }
    }

    /// Says hello with this command.
    pub fn with_kind(kind: HelloKind, name: HelloName) -> Self {
        Self { kind, name }
    }
}

impl Request for Hello {
    type Answer = Result<(), Reply>;
}

impl fmt::Display for Hello {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind.verb(), self.name)
    }
}

impl HelloKind {
    /// The command: `EHLO`.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Helo => "HELO",
            Self::Ehlo => "EHLO",
            Self::Lhlo => "LHLO",
        }
    }
}

impl HelloName {
    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HelloName {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        if is_name(text) { Ok(Self(text.into())) } else { Err(SyntaxError::Arguments("a name or [address]")) }
    }
}

fn is_name(text: &str) -> bool {
    let (inner, classes) = match text.strip_prefix('[') {
        Some(rest) => (rest.strip_suffix(']').unwrap_or_default(), HOST | COLON),
        None => (text, HOST),
    };
    !inner.is_empty() && text.len() <= LONGEST && all_in(inner, classes)
}

impl fmt::Display for HelloName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

pub(super) fn parse_helo(arguments: &[u8], syntax: Syntax) -> Result<Command, SyntaxError> {
    parse(arguments, syntax, HelloKind::Helo, "HELO name")
}

pub(super) fn parse_ehlo(arguments: &[u8], syntax: Syntax) -> Result<Command, SyntaxError> {
    parse(arguments, syntax, HelloKind::Ehlo, "EHLO name")
}

pub(super) fn parse_lhlo(arguments: &[u8], syntax: Syntax) -> Result<Command, SyntaxError> {
    parse(arguments, syntax, HelloKind::Lhlo, "LHLO name")
}

/// Whether it is a domain or an address literal (RFC 5321 §4.1.2, §4.1.3). An underscore counts as a letter, for many machines have
/// one in their names and use these here, and a dot may stand at the end.
fn is_exact(name: &str) -> bool {
    if name.starts_with('[') { is_literal(name) } else { name.len() <= LONGEST && is_domain(name) }
}

fn is_literal(name: &str) -> bool {
    let Some(inner) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else { return false };
    let v6 = inner.split_at_checked(5).filter(|(tag, _)| tag.eq_ignore_ascii_case("IPv6:"));
    match v6 {
        Some((_, address)) => address.parse::<Ipv6Addr>().is_ok(),
        None => inner.parse::<Ipv4Addr>().is_ok(),
    }
}

fn is_domain(name: &str) -> bool {
    // As behind a dot. There is no way out before the end, for nearly all names are right.
    let (mut last, mut wrong) = (DOT, 0);
    for octet in name.bytes().map(usize::from) {
        wrong |= last & NOT_BEHIND.get(octet).copied().unwrap_or(u8::MAX);
        last = IS.get(octet).copied().unwrap_or_default();
    }
    let fit = || name.split('.').all(|label| label.len() <= LONGEST_LABEL);
    wrong == 0 && !name.is_empty() && last & HYPHEN == 0 && (name.len() <= LONGEST_LABEL || fit())
}

/// What an octet of a domain is.
const LETTER: u8 = 1;
const HYPHEN: u8 = 2;
const DOT: u8 = 4;
const OTHER: u8 = 8;

/// What each octet is.
static IS: [u8; 256] = table(LETTER, HYPHEN, DOT, OTHER);
/// What each octet must not stand behind.
static NOT_BEHIND: [u8; 256] = table(OTHER, OTHER | DOT, OTHER | DOT | HYPHEN, u8::MAX);

/// What is so of letters, hyphens and dots, and of all else.
const fn table(letter: u8, hyphen: u8, dot: u8, other: u8) -> [u8; 256] {
    let mut all = [other; 256];
    let (mut rest, mut octet): (&mut [u8], u8) = (&mut all, 0);
    while let [entry, after @ ..] = rest {
        *entry = match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => letter,
            b'-' => hyphen,
            b'.' => dot,
            _ => other,
        };
        octet = octet.wrapping_add(1);
        rest = after;
    }
    all
}

fn parse(
    arguments: &[u8],
    syntax: Syntax,
    kind: HelloKind,
    usage: &'static str,
) -> Result<Command, SyntaxError> {
    let name = text(skip_spaces(arguments))?;
    let is_right = match syntax {
        Syntax::Strict => is_exact(name),
        Syntax::Lenient => is_name(name),
    };
    if !is_right {
        return Err(SyntaxError::Arguments(usage));
    }
    Ok(Command::Hello(Hello { kind, name: HelloName(short(name)) }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_cannot_break_anything() {
        for bad in ["", "a b", "a(b)", "<a>", "[1.2.3.4", "[]", "a:b", "é.example", "a@b", &"x".repeat(256)]
        {
            assert!(bad.parse::<HelloName>().is_err(), "{bad:?}");
        }
        for good in ["localhost", "my_pc", "a.example", "[192.0.2.1]", "[IPv6:2001:db8::1]", &"x".repeat(255)]
        {
            assert_eq!(good.parse::<HelloName>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn strict_is_the_grammar_and_an_underscore() {
        let taken = |name: &str, syntax| Command::parse(format!("EHLO {name}").as_bytes(), syntax).is_ok();
        let longest = "x".repeat(63);
        for good in [
            "localhost",
            "my_pc",
            "_x_.local",
            "a.example.",
            "a-b--c.xn--d.example",
            "192.0.2.1",
            "[192.0.2.1]",
            "[ipv6:::1]",
            &longest,
            &format!("mail.{longest}.{longest}."),
        ] {
            assert!(taken(good, Syntax::Strict), "{good}");
        }
        let long = "x".repeat(64);
        for bad in [
            ".",
            "...",
            "a..b",
            ".a",
            "-x-",
            "a.-b",
            "a-.b",
            "[nonsense]",
            "[192.0.2]",
            "[::1]",
            "[IPv6:x]",
            &long,
            &format!("{long}.example"),
            &format!("mail.{long}"),
            "mail.example-",
            "-mail.example",
            "mail.example..",
        ] {
            assert!(!taken(bad, Syntax::Strict) && taken(bad, Syntax::Lenient), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn comes_round(name in "[a-zA-Z0-9._-]{1,60}|\\[[0-9a-zA-Z:.]{1,40}\\]", kind in 0_usize..3) {
            let kind = [HelloKind::Helo, HelloKind::Ehlo, HelloKind::Lhlo][kind];
            let command = Command::Hello(Hello::with_kind(kind, name.parse().unwrap()));
            prop_assert_eq!(Command::parse(command.encode().trim_end().as_bytes(), Syntax::Lenient), Ok(command));
        }

        #[test]
        fn a_domain_is_its_labels(name in "[a-cA_9.-]{0,8}|[a.-]{0,6}[ @é:\0~][a.-]{0,3}|(a{60,66}\\.?){1,4}") {
            let is_label = |label: &str| {
                let ends = [label.chars().next(), label.chars().last()];
                (1..=63).contains(&label.len())
                    && label.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-'))
                    && !ends.contains(&Some('-'))
            };
            let labels = name.strip_suffix('.').unwrap_or(&name);
            prop_assert_eq!(is_domain(&name), labels.split('.').all(is_label));
        }

        #[test]
        fn exact_names_come_round(
            name in "([a-z0-9_]([a-zA-Z0-9_-]{0,20}[a-z0-9_])?\\.){0,4}[a-z0-9_]\\.?|\\[([0-9]{1,2}\\.){3}[0-9]\\]|\\[IPv6:([0-9a-f]{1,4}:){7}[0-9a-f]\\]"
        ) {
            prop_assume!(!name.contains("[0") && !name.contains(".0"));
            let command = Command::Hello(Hello::new(name.parse().unwrap()));
            prop_assert_eq!(Command::parse(command.encode().trim_end().as_bytes(), Syntax::Strict), Ok(command));
        }
    }
}
