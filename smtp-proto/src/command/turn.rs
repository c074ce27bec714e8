//! ETRN (RFC 1985) and ATRN (RFC 2645): a client comes for the mail that waits for it.

use std::fmt;

use mailwright_line_proto::Request;
use mailwright_mail_model::Domain;

use super::{Command, Syntax, SyntaxError};
use crate::{Reply, words::text};

/// A client asks that a queue be run now. The mail goes to where it always goes, so there is no need to know who asks.
///
/// The usual answers are 250, 251 (nothing waits), 252 and 253 (something waits), 458 and 459 (it cannot be).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Etrn {
    /// The mail for this host or domain.
    Domain(Domain),
    /// The mail for this domain and all below it: `@example.org`.
    Subdomains(Domain),
    /// The queue of this name: `#uucp`.
    Queue(String),
}

/// A client that has logged in asks for the mail of its domains, on this connection: the roles turn.
///
/// Accepted, the client is the server from here on and sends the next greeting
/// ([`Server::is_turned`](crate::server::Server::is_turned)). The usual refusals are 450 (not for you), 451 (not now)
/// and 453 (nothing waits).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Atrn {
    /// Which domains; none for all of the client's.
    pub domains: Vec<Domain>,
}

impl Atrn {
    /// The mail for these domains; of none, for all that are the client's.
    pub fn new(domains: Vec<Domain>) -> Self {
        Self { domains }
    }
}

impl Request for Etrn {
    type Answer = Reply;
}

impl Request for Atrn {
    type Answer = Result<(), Reply>;
}

impl fmt::Display for Etrn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => write!(formatter, "ETRN {domain}"),
            Self::Subdomains(domain) => write!(formatter, "ETRN @{domain}"),
            Self::Queue(name) => write!(formatter, "ETRN #{name}"),
        }
    }
}

impl fmt::Display for Atrn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ATRN")?;
        let domains: Vec<_> = self.domains.iter().map(ToString::to_string).collect();
        if domains.is_empty() { Ok(()) } else { write!(formatter, " {}", domains.join(",")) }
    }
}

pub(super) fn parse_etrn(arguments: &[u8], _: Syntax) -> Result<Command, SyntaxError> {
    let wrong = SyntaxError::Arguments("ETRN domain, @domain or #queue");
    let domain = |name: &str| name.parse().map_err(|_| wrong.clone());
    let node = text(arguments)?.trim_matches(' ');
    Ok(Command::Etrn(match node.split_at_checked(1) {
        Some(("@", name)) => Etrn::Subdomains(domain(name)?),
        Some(("#", name)) if is_queue(name) => Etrn::Queue(name.to_owned()),
        Some(("#", _)) => return Err(wrong),
        _ => Etrn::Domain(domain(node)?),
    }))
}

pub(super) fn parse_atrn(arguments: &[u8], _: Syntax) -> Result<Command, SyntaxError> {
    let names = text(arguments)?.trim_matches(' ');
    if names.is_empty() {
        return Ok(Command::Atrn(Atrn::default()));
    }
    let domains: Result<Vec<Domain>, _> = names.split(',').map(str::parse).collect();
    let domains = domains.map_err(|_| SyntaxError::Arguments("ATRN [domain[,domain]]"))?;
    Ok(Command::Atrn(Atrn { domains }))
}

fn is_queue(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_names_no_queue() {
        for line in
            ["ETRN", "ETRN @", "ETRN #", "ETRN #a b", "ETRN a b", "ETRN a@b", "ATRN a,", "ATRN a b", "ATRN ,"]
        {
            let found = Command::parse(line.as_bytes(), Syntax::Lenient);
            assert!(matches!(found, Err(SyntaxError::Arguments(_))), "{line}: {found:?}");
        }
    }

    proptest! {
        #[test]
        fn comes_round(names in prop::collection::vec("[a-z][a-z0-9]{0,9}(\\.[a-z]{1,9}){0,2}", 0..4), kind in 0_u8..4) {
            let domains: Vec<Domain> = names.iter().map(|name| name.parse().unwrap()).collect();
            let command = match (kind, domains.first()) {
                (0, Some(domain)) => Command::Etrn(Etrn::Domain(domain.clone())),
                (1, Some(domain)) => Command::Etrn(Etrn::Subdomains(domain.clone())),
                (2, Some(domain)) => Command::Etrn(Etrn::Queue(domain.to_string())),
                _ => Command::Atrn(Atrn::new(domains)),
            };
            prop_assert_eq!(Command::parse(command.encode().trim_end().as_bytes(), Syntax::Strict), Ok(command));
        }
    }
}
