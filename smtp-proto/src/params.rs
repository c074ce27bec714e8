//! Parameters of MAIL and RCPT (RFC 5321 §4.1.1.11): one table row each.

use std::fmt;

use nom::{
    IResult, Parser,
    bytes::complete::{tag, take_while, take_while1},
    combinator::{opt, verify},
    sequence::preceded,
};

use crate::{Capabilities, SyntaxError, xtext};

/// What MAIL says beside the sender.
///
/// ```
/// use mailwright_smtp_proto::{BodyKind, Command, Syntax};
///
/// let line = b"MAIL FROM:<ann@example.org> SIZE=1000 BODY=8BITMIME SMTPUTF8";
/// let Command::Mail(mail) = Command::parse(line, Syntax::Strict)? else { unreachable!() };
/// assert_eq!(mail.parameters.size, Some(1000));
/// assert_eq!(mail.parameters.body, Some(BodyKind::EightBitMime));
/// assert!(mail.parameters.smtputf8);
/// # Ok::<(), mailwright_smtp_proto::SyntaxError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MailParameters {
    /// SIZE: how many octets the client thinks the message has (RFC 1870).
    pub size: Option<u64>,
    /// BODY: what kind of content it is (RFC 6152).
    pub body: Option<BodyKind>,
    /// SMTPUTF8: addresses and header fields may be UTF-8 (RFC 6531).
    pub smtputf8: bool,
    /// AUTH: who submitted the message first, as the client has it (RFC 4954 §5). To be believed only of trusted
    /// clients.
    pub auth: Option<Submitter>,
}

/// What RCPT says beside the recipient.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RcptParameters {}

/// The kind of content that BODY announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyKind {
    /// Nothing but ASCII.
    SevenBit,
    /// Any octets, in lines.
    EightBitMime,
}

/// Who the AUTH parameter names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Submitter {
    /// `<>`: not known, or not trusted.
    Unknown,
    /// This mailbox, decoded.
    Mailbox(String),
}

/// One parameter.
pub(crate) struct Row<P> {
    keyword: &'static str,
    parse: Parse<P>,
    /// The parameter as it is written, with the value behind `=` if it has one.
    encode: fn(&P) -> Option<String>,
    /// Whether a server that announced this takes it.
    announced: fn(&Capabilities) -> bool,
    /// Whether a client may leave it out for a server that does not take it.
    optional: bool,
}

/// Takes the value, if there is one; `None` if it is none for this parameter.
type Parse<P> = fn(&mut P, Option<&str>) -> Option<Result<(), SyntaxError>>;

/// The parameters of MAIL.
pub(crate) const MAIL: &[Row<MailParameters>] = &[
    Row {
        keyword: "SIZE",
        parse: |parameters, value| Some(parse_size(value?).map(|size| parameters.size = Some(size))),
        encode: |parameters| parameters.size.map(|size| format!("SIZE={size}")),
        announced: |capabilities| capabilities.size.is_some(),
        optional: true,
    },
    Row {
        keyword: "BODY",
        parse: |parameters, value| {
            let value = value?;
            let kind = KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(value))?.1;
            parameters.body = Some(kind);
            Some(Ok(()))
        },
        encode: |parameters| {
            let kind = parameters.body?;
            KINDS.iter().find(|(_, named)| *named == kind).map(|(name, _)| format!("BODY={name}"))
        },
        announced: |capabilities| capabilities.eight_bit_mime,
        optional: false,
    },
    Row {
        keyword: "SMTPUTF8",
        // RFC 6531 §3.4: the parameter has no value
        parse: |parameters, value| {
            parameters.smtputf8 = true;
            value.is_none().then_some(Ok(()))
        },
        encode: |parameters| parameters.smtputf8.then(|| "SMTPUTF8".to_owned()),
        announced: |capabilities| capabilities.smtputf8,
        optional: false,
    },
    Row {
        keyword: "AUTH",
        parse: |parameters, value| {
            parameters.auth = Some(match value? {
                "<>" => Submitter::Unknown,
                text => Submitter::Mailbox(xtext::decode(text).filter(|mailbox| !mailbox.is_empty())?),
            });
            Some(Ok(()))
        },
        encode: |parameters| match parameters.auth.as_ref()? {
            Submitter::Unknown => Some("AUTH=<>".to_owned()),
            Submitter::Mailbox(mailbox) => Some(format!("AUTH={}", xtext::encode(mailbox))),
        },
        announced: |capabilities| !capabilities.auth.is_empty(),
        optional: true,
    },
];

/// The parameters of RCPT.
pub(crate) const RCPT: &[Row<RcptParameters>] = &[];

const KINDS: &[(&str, BodyKind)] = &[("7BIT", BodyKind::SevenBit), ("8BITMIME", BodyKind::EightBitMime)];

/// Reads what follows the path: nothing, or parameters with a space before each.
pub(crate) fn parse<P: Default>(table: &[Row<P>], rest: &[u8]) -> Result<P, SyntaxError> {
    let wrong = SyntaxError::Arguments("<address> [KEYWORD[=value] ...]");
    let Ok(rest) = std::str::from_utf8(rest) else { return Err(wrong) };
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(wrong);
    }
    let (mut parameters, mut seen) = (P::default(), 0_u64);
    for word in rest.split(' ').filter(|word| !word.is_empty()) {
        let Ok(("", (keyword, value))) = parameter(word) else { return Err(wrong) };
        let row = table.iter().enumerate().find(|(_, row)| row.keyword.eq_ignore_ascii_case(keyword));
        let Some((index, row)) = row else {
            return Err(SyntaxError::UnknownParameter(keyword.to_ascii_uppercase()));
        };
        if seen & (1 << index) != 0 {
            return Err(SyntaxError::Twice(row.keyword));
        }
        seen |= 1 << index;
        (row.parse)(&mut parameters, value).unwrap_or(Err(SyntaxError::Value(row.keyword)))?;
    }
    Ok(parameters)
}

/// Writes the parameters that are set, a space before each.
pub(crate) fn encode<P>(table: &[Row<P>], parameters: &P, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    table.iter().filter_map(|row| (row.encode)(parameters)).try_for_each(|text| write!(formatter, " {text}"))
}

/// The parameters that may be sent to a server of these capabilities: what is not announced and not needed is left
/// out; what is needed is the error.
pub(crate) fn fit<P: Default>(
    table: &[Row<P>],
    parameters: &P,
    capabilities: &Capabilities,
) -> Result<P, &'static str> {
    let mut fitting = P::default();
    for row in table {
        let Some(text) = (row.encode)(parameters) else { continue };
        if (row.announced)(capabilities) {
            let value = text.split_once('=').map(|(_, value)| value);
            // What was encoded can be parsed.
            let _ = (row.parse)(&mut fitting, value);
        } else if !row.optional {
            return Err(row.keyword);
        }
    }
    Ok(fitting)
}

/// RFC 5321 §4.1.2: esmtp-param = esmtp-keyword ["=" esmtp-value]; RFC 6531 §3.3 adds UTF-8 to the value.
fn parameter(word: &str) -> IResult<&str, (&str, Option<&str>)> {
    let keyword =
        verify(take_while1(|letter: char| letter.is_ascii_alphanumeric() || letter == '-'), |text: &str| {
            !text.starts_with('-')
        });
    let value = take_while(|letter| !matches!(letter, '\0'..=' ' | '=' | '\x7f'));
    (keyword, opt(preceded(tag("="), value))).parse(word)
}

/// RFC 1870 §4: 1 to 20 digits. A number beyond every limit is not wrapped but refused as too large.
fn parse_size(value: &str) -> Result<u64, SyntaxError> {
    if value.is_empty() || value.len() > 20 || !value.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(SyntaxError::Value("SIZE"));
    }
    value.parse().map_err(|_| SyntaxError::Size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Command, Mail, Syntax};

    fn mail(parameters: &str) -> Result<MailParameters, u16> {
        let line = format!("MAIL FROM:<a@b.example>{parameters}");
        match Command::parse(line.as_bytes(), Syntax::Strict) {
            Ok(Command::Mail(mail)) => Ok(mail.parameters),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.reply().code()),
        }
    }

    #[test]
    fn wrong_parameters() {
        // S208 to S218, S227
        for (parameters, code) in [
            (" SIZE=-1", 501),
            (" SIZE=", 501),
            (" SIZE", 501),
            (" SIZE=1x", 501),
            (" SIZE=18446744073709551615", 0),
            (" SIZE=18446744073709551616", 552),
            (" SIZE=18446744073709551617", 552),
            (" SIZE=184467440737095516170", 501),
            (" SIZE=1 SIZE=1", 501),
            (" size=1 Size=2", 501),
            (" BODY=BOGUS", 501),
            (" BODY", 501),
            (" BODY=7BIT BODY=8BITMIME", 501),
            (" SMTPUTF8=1", 501),
            (" AUTH", 501),
            (" AUTH=", 501),
            (" AUTH=a+4", 501),
            (" AUTH=a+zz", 501),
            (" AUTH=<> AUTH=<>", 501),
            (" FOO", 555),
            (" FOO=bar", 555),
            (" RET=NOPE", 555),
            (" MT-PRIORITY=99", 555),
            (" -SIZE=1", 501),
            (" =1", 501),
            (" SIZE=1=2", 501),
            (" and more!", 555),
            (" more!", 501),
            ("SIZE=1", 501),
            ("", 0),
            ("   SIZE=1   BODY=8bitmime  ", 0),
        ] {
            assert_eq!(mail(parameters).err().unwrap_or(0), code, "{parameters}");
        }
        assert_eq!(mail(&format!(" ENVID={}", "x".repeat(500))), Err(555));
    }

    #[test]
    fn values() {
        let found = mail(" SIZE=5 BODY=7BIT SMTPUTF8 AUTH=e+3Dmc2@example.com").unwrap();
        assert_eq!(found.size, Some(5));
        assert_eq!(found.body, Some(BodyKind::SevenBit));
        assert!(found.smtputf8);
        assert_eq!(found.auth, Some(Submitter::Mailbox("e=mc2@example.com".to_owned())));
    }

    #[test]
    fn only_what_is_announced_is_sent() {
        let mut parameters = mail(" SIZE=5 AUTH=<>").unwrap();
        let none = Capabilities::default();
        assert_eq!(fit(MAIL, &parameters, &none), Ok(MailParameters::default()));
        parameters.smtputf8 = true;
        assert_eq!(fit(MAIL, &parameters, &none), Err("SMTPUTF8"));
        let all = Capabilities {
            size: Some(crate::SizeLimit::Unknown),
            smtputf8: true,
            auth: vec!["PLAIN".to_owned()],
            ..none
        };
        assert_eq!(fit(MAIL, &parameters, &all), Ok(parameters));
    }

    proptest! {
        #[test]
        fn comes_round(
            size in prop::option::of(any::<u64>()),
            body in 0_usize..3,
            smtputf8: bool,
            auth in prop::option::of("[ -~é]{0,20}"),
        ) {
            let body = [None, Some(BodyKind::SevenBit), Some(BodyKind::EightBitMime)][body];
            let auth = auth.map(|text| if text.is_empty() { Submitter::Unknown } else { Submitter::Mailbox(text) });
            let parameters = MailParameters { size, body, smtputf8, auth };
            let command = Command::Mail(
                Mail::new(mailwright_mail_model::ReversePath::Null).with_parameters(parameters),
            );
            prop_assert_eq!(Command::parse(command.encode().trim_end().as_bytes(), Syntax::Strict), Ok(command));
        }
    }
}
