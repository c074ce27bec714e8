//! XCLIENT and XFORWARD (Postfix): a trusted proxy or filter says who the client in front of it is.

use std::{fmt, net::IpAddr};

use mailwright_line_proto::Request;

use super::{Command, Syntax, SyntaxError};
use crate::{Reply, words, xtext};

/// What is told of the client in front. Each of them is absent if nothing was said.
///
/// ```
/// use mailwright_smtp_proto::{Attribute, ClientAttributes, Command, Syntax};
///
/// let Command::XClient(client) = Command::parse(b"XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.1", Syntax::Strict)?
/// else {
///     unreachable!()
/// };
/// assert_eq!(client.0.name, Some(Attribute::Unavailable));
/// assert_eq!(client.0.address, Some(Attribute::Known("192.0.2.1".parse()?)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ClientAttributes {
    /// NAME: its host name.
    pub name: Option<Attribute<String>>,
    /// ADDR: its address.
    pub address: Option<Attribute<IpAddr>>,
    /// PORT: its port.
    pub port: Option<Attribute<u16>>,
    /// PROTO: `SMTP` or `ESMTP`.
    pub protocol: Option<Attribute<String>>,
    /// HELO: the name it gave itself.
    pub hello: Option<Attribute<String>>,
    /// LOGIN, of XCLIENT: as whom it has logged in.
    pub login: Option<Attribute<String>>,
    /// DESTADDR, of XCLIENT: which of the proxy's addresses it called.
    pub destination_address: Option<Attribute<IpAddr>>,
    /// DESTPORT, of XCLIENT.
    pub destination_port: Option<Attribute<u16>>,
    /// IDENT, of XFORWARD: what the message is called on that side.
    pub ident: Option<Attribute<String>>,
    /// SOURCE, of XFORWARD: `LOCAL` or `REMOTE`.
    pub source: Option<Attribute<String>>,
}

/// A value, or that there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attribute<T> {
    /// It is this.
    Known(T),
    /// There is none.
    Unavailable,
    /// It could not be found out now.
    TemporarilyUnavailable,
}

/// XCLIENT: from here on, this connection is the other client's, as if it began anew.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct XClient(pub ClientAttributes);

/// XFORWARD: whose message the next one is, for the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct XForward(pub ClientAttributes);

impl Request for XClient {
    type Answer = Result<(), Reply>;
}

impl Request for XForward {
    type Answer = Reply;
}

impl<T> Attribute<T> {
    /// The value, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            _ => None,
        }
    }
}

struct Row {
    name: &'static str,
    xclient: bool,
    xforward: bool,
    parse: fn(&mut ClientAttributes, &str) -> Option<()>,
    encode: fn(&ClientAttributes) -> Option<String>,
}

macro_rules! row {
    ($name:literal, $xclient:literal, $xforward:literal, $field:ident, $read:expr, $write:expr) => {
        Row {
            name: $name,
            xclient: $xclient,
            xforward: $xforward,
            parse: |attributes, text| {
                attributes.$field = Some(parse_value(text, $read)?);
                Some(())
            },
            encode: |attributes| attributes.$field.as_ref().map(|value| encode_value(value, $write)),
        }
    };
}

const TABLE: &[Row] = &[
    row!("NAME", true, true, name, text, String::clone),
    row!("ADDR", true, true, address, address, encode_address),
    row!("PORT", true, true, port, port, u16::to_string),
    row!("PROTO", true, true, protocol, text, String::clone),
    row!("HELO", true, true, hello, text, String::clone),
    row!("LOGIN", true, false, login, text, String::clone),
    row!("DESTADDR", true, false, destination_address, address, encode_address),
    row!("DESTPORT", true, false, destination_port, port, u16::to_string),
    row!("IDENT", false, true, ident, text, String::clone),
    row!("SOURCE", false, true, source, text, String::clone),
];

impl XClient {
    /// The names of its attributes.
    pub(crate) fn names() -> Vec<String> {
        TABLE.iter().filter(|row| row.xclient).map(|row| row.name.to_owned()).collect()
    }
}

impl XForward {
    /// The names of its attributes.
    pub(crate) fn names() -> Vec<String> {
        TABLE.iter().filter(|row| row.xforward).map(|row| row.name.to_owned()).collect()
    }
}

impl fmt::Display for XClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("XCLIENT")?;
        encode(&self.0, |row| row.xclient, formatter)
    }
}

impl fmt::Display for XForward {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("XFORWARD")?;
        encode(&self.0, |row| row.xforward, formatter)
    }
}

pub(super) fn parse_xclient(arguments: &[u8], _: Syntax) -> Result<Command, SyntaxError> {
    let found = parse(words::text(arguments)?, |row| row.xclient);
    found
        .map(|found| Command::XClient(Box::new(XClient(found))))
        .ok_or(SyntaxError::Arguments("XCLIENT name=value ..."))
}

pub(super) fn parse_xforward(arguments: &[u8], _: Syntax) -> Result<Command, SyntaxError> {
    let found = parse(words::text(arguments)?, |row| row.xforward);
    found
        .map(|found| Command::XForward(Box::new(XForward(found))))
        .ok_or(SyntaxError::Arguments("XFORWARD name=value ..."))
}

fn parse(arguments: &str, belongs: fn(&Row) -> bool) -> Option<ClientAttributes> {
    let mut attributes = ClientAttributes::default();
    let mut words = arguments.split(' ').filter(|word| !word.is_empty()).peekable();
    words.peek()?;
    for word in words {
        let (name, value) = word.split_once('=')?;
        let row = TABLE.iter().find(|row| belongs(row) && row.name.eq_ignore_ascii_case(name))?;
        (row.parse)(&mut attributes, value)?;
    }
    Some(attributes)
}

fn encode(
    attributes: &ClientAttributes,
    belongs: fn(&Row) -> bool,
    formatter: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let rows = TABLE.iter().filter(|row| belongs(row));
    let set = rows.filter_map(|row| Some((row.name, (row.encode)(attributes)?)));
    set.into_iter().try_for_each(|(name, value)| write!(formatter, " {name}={value}"))
}

fn parse_value<T>(value: &str, read: fn(&str) -> Option<T>) -> Option<Attribute<T>> {
    match value.to_ascii_uppercase().as_str() {
        "[UNAVAILABLE]" => Some(Attribute::Unavailable),
        "[TEMPUNAVAIL]" => Some(Attribute::TemporarilyUnavailable),
        _ => xtext::decode(value).and_then(|text| read(&text)).map(Attribute::Known),
    }
}

fn encode_value<T>(value: &Attribute<T>, write: fn(&T) -> String) -> String {
    match value {
        Attribute::Known(value) => {
            let encoded = xtext::encode(&write(value));
            // What looks like one of the two words is none.
            if encoded.starts_with('[') { encoded.replacen('[', "+5B", 1) } else { encoded }
        }
        Attribute::Unavailable => "[UNAVAILABLE]".to_owned(),
        Attribute::TemporarilyUnavailable => "[TEMPUNAVAIL]".to_owned(),
    }
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty() && text.len() <= 255).then(|| text.to_owned())
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|octet| octet.is_ascii_digit()))
}

/// An IPv6 address has `IPV6:` in front of it, as in an address literal.
fn address(text: &str) -> Option<IpAddr> {
    match text.get(..5).filter(|start| start.eq_ignore_ascii_case("IPV6:")) {
        Some(_) => text.get(5..)?.parse().ok().map(IpAddr::V6),
        None => text.parse().ok().map(IpAddr::V4),
    }
}

fn encode_address(address: &IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("IPV6:{address}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_tells_nothing() {
        for line in [
            "XCLIENT",
            "XCLIENT NAME",
            "XCLIENT FOO=bar",
            "XCLIENT ADDR=localhost",
            "XCLIENT ADDR=::1",
            "XCLIENT PORT=65536",
            "XCLIENT PORT=+1",
            "XCLIENT NAME=",
            "XCLIENT IDENT=x",
            "XFORWARD LOGIN=x",
            "XFORWARD",
            "XFORWARD NAME=a+0D+0Ab",
        ] {
            let found = Command::parse(line.as_bytes(), Syntax::Lenient);
            assert!(matches!(found, Err(SyntaxError::Arguments(_))), "{line}: {found:?}");
        }
    }

    fn attribute<T: fmt::Debug + Clone>(
        values: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Option<Attribute<T>>> {
        prop::option::of(prop_oneof![
            values.prop_map(Attribute::Known),
            Just(Attribute::Unavailable),
            Just(Attribute::TemporarilyUnavailable),
        ])
    }

    proptest! {
        #[test]
        fn comes_round(
            texts in [attribute("[ -~é]{1,20}"), attribute("\\[[A-Z]{1,4}\\]"), attribute("[ -~]{1,20}"), attribute("[a-z]{1,20}")],
            address in attribute(any::<IpAddr>()),
            port in attribute(any::<u16>()),
            destination_port in attribute(any::<u16>()),
            destination in attribute(any::<IpAddr>()),
        ) {
            let [name, protocol, hello, login] = texts;
            let mut all = ClientAttributes { name, address, port, protocol, hello, ..ClientAttributes::default() };
            prop_assume!(all != ClientAttributes::default());
            let forward = Command::XForward(Box::new(XForward(ClientAttributes { ident: login.clone(), ..all.clone() })));
            all.login = login;
            all.destination_address = destination;
            all.destination_port = destination_port;
            for command in [forward, Command::XClient(Box::new(XClient(all)))] {
                let line = command.encode();
                prop_assert_eq!(Command::parse(line.trim_end().as_bytes(), Syntax::Strict), Ok(command));
            }
        }
    }
}
