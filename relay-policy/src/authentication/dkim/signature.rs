//! A DKIM-Signature field (RFC 6376 §3.5).

use base64::{Engine, engine::general_purpose::STANDARD};
use mailwright_mail_model::Domain;

use super::super::{
    canonical::Canonicalization,
    message::Wanted,
    tags::{Tags, is_space},
};

/// What a signature says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signature {
    /// How it was made.
    pub algorithm: Algorithm,
    /// The domain that takes responsibility, lower case.
    pub domain: String,
    /// Which of its keys.
    pub selector: String,
    /// On whose behalf, if it says so: an address or a domain at or below the signing one.
    pub identity: Option<String>,
    /// The fields signed, as they are named.
    pub headers: Vec<String>,
    /// The canonical form of the header.
    pub header_form: Canonicalization,
    /// The canonical form of the body.
    pub body_form: Canonicalization,
    /// How many octets of the body are signed; all without it.
    pub length: Option<u64>,
    /// When it was made, in seconds since 1970.
    pub made: Option<u64>,
    /// When it ends, in seconds since 1970.
    pub ends: Option<u64>,
    /// The hash of the body.
    pub body_hash: Vec<u8>,
    /// The signature itself.
    pub value: Vec<u8>,
}

/// How a signature is made. RFC 8301 §3.1: rsa-sha1 is no signature any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// RSA over SHA-256.
    RsaSha256,
    /// Ed25519 over SHA-256 (RFC 8463).
    Ed25519Sha256,
}

impl Algorithm {
    /// The name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }

    pub(in super::super) fn parse(text: &str) -> Result<Self, SignatureError> {
        match &*text.to_ascii_lowercase() {
            "rsa-sha256" => Ok(Self::RsaSha256),
            "ed25519-sha256" => Ok(Self::Ed25519Sha256),
            "rsa-sha1" => Err(SignatureError::Sha1),
            _ => Err(SignatureError::Tag("a")),
        }
    }
}

/// Why a field is no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// It is no list of tags.
    #[error("expected a list of tags")]
    List,
    /// A tag is missing, or holds what it must not.
    #[error("the tag {0}= is missing or wrong")]
    Tag(&'static str),
    /// RFC 8301 §3.1
    #[error("made with SHA-1")]
    Sha1,
    /// RFC 6376 §6.1.1
    #[error("does not sign From")]
    FromNotSigned,
    /// RFC 6376 §3.5: i= is at or below d=.
    #[error("i= is not in d=")]
    Identity,
}

impl Signature {
    /// Reads the value of the field, folds and all.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn parse(value: &[u8]) -> Result<Self, SignatureError> {
        let tags = std::str::from_utf8(value).ok().and_then(Tags::parse).ok_or(SignatureError::List)?;
        if tags.value("v") != Some("1") {
            return Err(SignatureError::Tag("v"));
        }
        let queries = tags.list("q").unwrap_or_else(|| vec!["dns/txt".into()]);
        if !queries.iter().any(|query| query.eq_ignore_ascii_case("dns/txt")) {
            return Err(SignatureError::Tag("q"));
        }
        let body_hash = binary(&tags, "bh")?;
        let signature = Self::common(&tags)?;
        if !signature.headers.iter().any(|name| name.eq_ignore_ascii_case("from")) {
            return Err(SignatureError::FromNotSigned);
        }
        let identity = tags.value("i").map(str::to_owned);
        if let Some(identity) = &identity {
            let domain =
                identity.rsplit_once('@').map_or(&**identity, |(_, domain)| domain).to_ascii_lowercase();
            let above = domain.strip_suffix(&signature.domain);
            if !above.is_some_and(|above| above.is_empty() || above.ends_with('.')) {
                return Err(SignatureError::Identity);
            }
        }
        let length = number(&tags, "l")?;
        Ok(Self { body_hash, identity, length, ..signature })
    }

    /// What an ARC-Message-Signature has too (RFC 8617 §4.1.2), without the hash of the body.
    pub(in super::super) fn common(tags: &Tags) -> Result<Self, SignatureError> {
        let algorithm = Algorithm::parse(tags.value("a").ok_or(SignatureError::Tag("a"))?)?;
        let domain = name(tags, "d")?;
        let selector = name(tags, "s")?;
        let headers = tags.list("h").unwrap_or_default();
        let forms = tags.dense("c").unwrap_or_else(|| "simple/simple".into());
        let (header_form, body_form) = forms.split_once('/').unwrap_or((&*forms, "simple"));
        let form = |word: &str| Canonicalization::parse(word).ok_or(SignatureError::Tag("c"));
        let (header_form, body_form) = (form(header_form)?, form(body_form)?);
        let (made, ends) = (number(tags, "t")?, number(tags, "x")?);
        if made.zip(ends).is_some_and(|(made, ends)| ends < made) {
            return Err(SignatureError::Tag("x"));
        }
        let value = binary(tags, "b")?;
        let (identity, length, body_hash) = (None, None, Vec::new());
        Ok(Self {
            algorithm,
            domain,
            selector,
            identity,
            headers,
            header_form,
            body_form,
            length,
            made,
            ends,
            body_hash,
            value,
        })
    }

    /// The hash of the body that it needs.
    pub(in super::super) fn body(&self) -> Wanted {
        (self.body_form, self.length)
    }
}

/// The field with nothing in `b=`: as it was when it was signed (RFC 6376 §3.7).
pub(in super::super) fn without_value(field: &[u8]) -> Vec<u8> {
    let colon = field.iter().position(|octet| *octet == b':').map_or(0, |at| at + 1);
    let (name, value) = field.split_at_checked(colon).unwrap_or((field, b""));
    let mut output = name.to_vec();
    for part in value.split_inclusive(|octet| *octet == b';') {
        let equals = part.iter().position(|octet| *octet == b'=').unwrap_or(part.len());
        let (tag, content) = part.split_at_checked(equals).unwrap_or((part, b""));
        if tag.trim_ascii() != b"b" {
            output.extend_from_slice(part);
            continue;
        }
        output.extend_from_slice(tag);
        output.push(b'=');
        match content.last() {
            Some(b';') => output.push(b';'),
            _ if content.ends_with(b"\r\n") => output.extend_from_slice(b"\r\n"),
            _ => {}
        }
    }
    output
}

fn name(tags: &Tags, tag: &'static str) -> Result<String, SignatureError> {
    let text = tags.value(tag).ok_or(SignatureError::Tag(tag))?;
    // Selectors are several labels at times, and may have underscores.
    let fits = |text: &str| {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
        !text.is_empty() && text.len() <= 253 && text.chars().all(plain)
    };
    if fits(text) {
        return Ok(text.trim_end_matches('.').to_ascii_lowercase());
    }
    // RFC 8616 §4: internationalized names, here in the form that is looked up.
    let domain = text.parse::<Domain>().map(|domain| domain.key().to_owned());
    domain.ok().filter(|domain| fits(domain)).ok_or(SignatureError::Tag(tag))
}

fn number(tags: &Tags, tag: &'static str) -> Result<Option<u64>, SignatureError> {
    let Some(text) = tags.value(tag) else { return Ok(None) };
    // RFC 6376 §3.5: up to 76 digits; what is larger than ours is as good as the largest of ours.
    if text.is_empty() || text.len() > 76 || !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(SignatureError::Tag(tag));
    }
    Ok(Some(text.parse().unwrap_or(u64::MAX)))
}

fn binary(tags: &Tags, tag: &'static str) -> Result<Vec<u8>, SignatureError> {
    let text = tags.dense(tag).filter(|text| !text.is_empty()).ok_or(SignatureError::Tag(tag))?;
    debug_assert!(!text.contains(is_space));
    STANDARD.decode(text).map_err(|_| SignatureError::Tag(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = " v=1; a=rsa-sha256; d=Example.net; s=brisbane;\r\n c=simple; q=dns/txt; \
        i=@eng.example.net;\r\n t=1117574938; x=1118006938;\r\n h=from:to:subject:date;\r\n \
        bh=MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=;\r\n b=dzdVyOfAKCdLXdJOc9G2q8LoXSlEniSbav+yuU4zGeeruD00lszZVoG4ZHRNiYzR";

    #[test]
    fn the_example_of_the_rfc() {
        let found = Signature::parse(GOOD.as_bytes()).unwrap();
        assert_eq!((&*found.domain, &*found.selector), ("example.net", "brisbane"));
        assert_eq!(found.headers, ["from", "to", "subject", "date"]);
        assert_eq!((found.made, found.ends, found.length), (Some(1_117_574_938), Some(1_118_006_938), None));
        assert_eq!(
            (found.header_form, found.body_form),
            (Canonicalization::Simple, Canonicalization::Simple)
        );
        assert_eq!(found.body_hash, b"12345678901234567890123456789012");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, expected) in [
            ("v=1", "v=2", SignatureError::Tag("v")),
            ("rsa-sha256", "rsa-sha1", SignatureError::Sha1),
            ("rsa-sha256", "md5", SignatureError::Tag("a")),
            ("d=Example.net", "d=", SignatureError::Tag("d")),
            ("d=Example.net", "d=a b", SignatureError::Tag("d")),
            ("d=Example.net", "d=ng.example.net", SignatureError::Identity),
            ("c=simple", "c=strict", SignatureError::Tag("c")),
            ("h=from:", "h=", SignatureError::FromNotSigned),
            ("x=1118006938", "x=1", SignatureError::Tag("x")),
            ("x=1118006938", "l=-1", SignatureError::Tag("l")),
            ("b=dzd", "b=!", SignatureError::Tag("b")),
            ("q=dns/txt", "q=http", SignatureError::Tag("q")),
            ("v=1;", "v=1; v=1;", SignatureError::List),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_eq!(Signature::parse(text.as_bytes()), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_signature_does_not_sign_its_value() {
        for (field, expected) in [
            ("DKIM-Signature: a=b; b=abc\r\n d=; bh=x\r\n", "DKIM-Signature: a=b; b=; bh=x\r\n"),
            ("DKIM-Signature: bh=x; b = abc\r\n d=\r\n", "DKIM-Signature: bh=x; b =\r\n"),
            ("DKIM-Signature: bh=x; b=abc", "DKIM-Signature: bh=x; b="),
        ] {
            assert_eq!(String::from_utf8(without_value(field.as_bytes())).unwrap(), expected);
        }
    }
}
