//! The four messages of SCRAM (RFC 5802 §7), taken apart.

use base64::{Engine, engine::general_purpose::STANDARD};

/// What the client says about channel binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag<'a> {
    /// It cannot.
    No,
    /// It could, and believes that the server cannot.
    NotOffered,
    /// It does, with this type.
    Bound(&'a str),
}

/// `gs2-header [m=…,] n=user,r=nonce[,extensions]`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFirst<'a> {
    pub(super) flag: Flag<'a>,
    pub(super) authzid: Option<String>,
    /// With both commas.
    pub(super) header: &'a str,
    pub(super) bare: &'a str,
    pub(super) username: String,
    pub(super) nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(message).ok()?;
        let mut parts = text.splitn(3, ',');
        let (flag, authzid, bare) = (parts.next()?, parts.next()?, parts.next()?);
        let header = text.strip_suffix(bare)?;
        let flag = match flag {
            "n" => Flag::No,
            "y" => Flag::NotOffered,
            bound => Flag::Bound(bound.strip_prefix("p=")?),
        };
        let authzid = match authzid {
            "" => None,
            some => Some(decode_name(some.strip_prefix("a=")?)?),
        };
        let mut attributes = bare.split(',');
        // RFC 5802 §5.1: `m=` comes first, and whoever does not know the extension refuses. We know none.
        let username = decode_name(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=").filter(|nonce| is_nonce(nonce))?;
        attributes.all(is_extension).then_some(Self { flag, authzid, header, bare, username, nonce })
    }
}

/// `r=nonce,s=salt,i=iterations[,extensions]`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServerFirst<'a> {
    pub(super) nonce: &'a str,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u64,
}

impl<'a> ServerFirst<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut attributes = text.split(',');
        let nonce = attributes.next()?.strip_prefix("r=").filter(|nonce| is_nonce(nonce))?;
        let salt = STANDARD.decode(attributes.next()?.strip_prefix("s=")?).ok()?;
        let digits = attributes.next()?.strip_prefix("i=")?;
        if !digits.bytes().all(|octet| octet.is_ascii_digit()) || salt.is_empty() {
            return None;
        }
        let iterations = digits.parse().ok()?;
        attributes.all(is_extension).then_some(Self { nonce, salt, iterations })
    }
}

/// `c=binding,r=nonce[,extensions],p=proof`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFinal<'a> {
    pub(super) binding: Vec<u8>,
    pub(super) nonce: &'a str,
    pub(super) without_proof: &'a str,
    pub(super) proof: Vec<u8>,
}

impl<'a> ClientFinal<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let (without_proof, proof) = std::str::from_utf8(message).ok()?.rsplit_once(",p=")?;
        let proof = STANDARD.decode(proof).ok()?;
        let mut attributes = without_proof.split(',');
        let binding = STANDARD.decode(attributes.next()?.strip_prefix("c=")?).ok()?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        attributes.all(is_extension).then_some(Self { binding, nonce, without_proof, proof })
    }
}

/// `v=signature[,extensions]` or `e=reason[,extensions]`
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ServerFinal<'a> {
    Signature(Vec<u8>),
    Error(&'a str),
}

impl<'a> ServerFinal<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let mut attributes = std::str::from_utf8(message).ok()?.split(',');
        let first = attributes.next()?;
        let found = match first.strip_prefix("e=") {
            Some(error) => Self::Error(error),
            None => Self::Signature(STANDARD.decode(first.strip_prefix("v=")?).ok()?),
        };
        attributes.all(is_extension).then_some(found)
    }
}

/// RFC 5802 §5.1: commas and equals signs in a name are `=2C` and `=3D`.
pub(in super::super) fn encode_name(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

pub(in super::super) fn decode_name(text: &str) -> Option<String> {
    let mut pieces = text.split('=');
    let mut name = pieces.next()?.to_owned();
    for piece in pieces {
        // A lone `=` is an error (RFC 5802 §5.1).
        match (piece.strip_prefix("2C"), piece.strip_prefix("3D")) {
            (Some(rest), _) => name.extend([",", rest]),
            (None, Some(rest)) => name.extend(["=", rest]),
            (None, None) => return None,
        }
    }
    (!name.is_empty() && !name.contains('\0')).then_some(name)
}

fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b',')
}

/// A letter, `=` and something. Those that are not mandatory are ignored (RFC 5802 §5.1).
fn is_extension(text: &str) -> bool {
    let mut letters = text.chars();
    let letter = letters.next().filter(|letter| letter.is_ascii_alphabetic() && *letter != 'm');
    letter.is_some() && letters.next() == Some('=') && letters.next().is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_the_first_message_apart() {
        let found = ClientFirst::parse(b"p=tls-exporter,a=so=2Cme=3D,n=us=2Cer,r=abc,x=1").unwrap();
        assert_eq!(found.flag, Flag::Bound("tls-exporter"));
        assert_eq!(found.authzid.as_deref(), Some("so,me="));
        assert_eq!((found.username.as_str(), found.nonce), ("us,er", "abc"));
        assert_eq!(found.header, "p=tls-exporter,a=so=2Cme=3D,");
        assert_eq!(found.bare, "n=us=2Cer,r=abc,x=1");
    }

    #[test]
    fn refuses_what_is_no_first_message() {
        for message in [
            &b""[..],
            b",",
            b",,",
            b"n,,",
            b"n,,n=,r=abc",
            b"n,,n=user",
            b"n,,n=user,r=",
            b"n,,n=user,r=a b",
            b"n,,n=us=er,r=abc",
            b"n,,n=us=2cer,r=abc",
            b"n,,r=abc,n=user",
            b"n,,m=required,n=user,r=abc",
            b"n,,n=user,r=abc,m=required",
            b"n,,n=user,r=abc,",
            b"n,,n=user,r=abc,x",
            b"n,a=,n=user,r=abc",
            b"n,user,n=user,r=abc",
            b"z,,n=user,r=abc",
            b"p,,n=user,r=abc",
            b"n,,n=us\xffer,r=abc",
        ] {
            assert_eq!(ClientFirst::parse(message), None, "{:?}", String::from_utf8_lossy(message));
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_names_survive(octets in prop::collection::vec(any::<u8>(), 0..60), name in "[^\0]{1,20}") {
            let _ = ClientFirst::parse(&octets);
            let _ = ClientFinal::parse(&octets);
            let _ = ServerFinal::parse(&octets);
            let _ = ServerFirst::parse(&String::from_utf8_lossy(&octets));
            prop_assert_eq!(decode_name(&encode_name(&name)), Some(name));
        }
    }
}
