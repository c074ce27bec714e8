//! Verifying the signatures of a message (RFC 6376 §6).

use super::{
    super::{Examined, canonical::Canonicalization, message::Field},
    KeyError, PublicKey, Signature, SignatureError,
    signature::without_value,
};
use crate::dns::{LookupError, RecordType, Resolve, name};

/// A signature, and whether it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// What it says of itself, if that could be read.
    pub signature: Option<Signature>,
    /// What came of it.
    pub outcome: Outcome,
    /// Whether the domain says that it only tries things out.
    pub testing: bool,
}

/// What came of a signature, in the words of RFC 8601 §2.7.1.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is good.
    Pass,
    /// It is not; the text says why.
    Fail(String),
    /// It might be good, but is not such as we take; the text says why.
    Policy(String),
    /// It cannot be understood; the text says why.
    Neutral(String),
    /// Nobody can tell now; the text says why.
    TempError(String),
    /// It will never be good; the text says why.
    PermError(String),
}

impl Outcome {
    /// The word for it, and why it is so.
    pub fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Pass => ("pass", ""),
            Self::Fail(why) => ("fail", why),
            Self::Policy(why) => ("policy", why),
            Self::Neutral(why) => ("neutral", why),
            Self::TempError(why) => ("temperror", why),
            Self::PermError(why) => ("permerror", why),
        }
    }
}

impl From<SignatureError> for Outcome {
    fn from(error: SignatureError) -> Self {
        match error {
            // RFC 8301 §3.1
            SignatureError::Sha1 => Self::PermError(error.to_string()),
            _ => Self::Neutral(error.to_string()),
        }
    }
}

impl From<KeyError> for Outcome {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Short => Self::Policy(error.to_string()),
            _ => Self::PermError(error.to_string()),
        }
    }
}

/// Verifies the signatures of a message, those at the top first. Of a great many the first eight count. `now` is in
/// seconds since 1970.
pub async fn verify<R: Resolve>(resolve: &R, examined: &Examined, now: u64) -> Vec<Verified> {
    let mut all = Vec::new();
    for field in examined.named("DKIM-Signature").take(Examined::MOST_SIGNATURES) {
        let signature = match Signature::parse(field.value()) {
            Ok(signature) => signature,
            Err(error) => {
                all.push(Verified { signature: None, outcome: error.into(), testing: false });
                continue;
            }
        };
        let (outcome, testing) = match one(resolve, examined, field, &signature, now).await {
            Ok(testing) => (Outcome::Pass, testing),
            Err((outcome, testing)) => (outcome, testing),
        };
        all.push(Verified { signature: Some(signature), outcome, testing });
    }
    all
}

/// Whether the domain only tries things out, with the outcome if the signature is not good.
async fn one<R: Resolve>(
    resolve: &R,
    examined: &Examined,
    field: Field<'_>,
    signature: &Signature,
    now: u64,
) -> Result<bool, (Outcome, bool)> {
    if signature.ends.is_some_and(|ends| ends < now) {
        return Err((Outcome::Fail("the signature has expired".into()), false));
    }
    let body = examined.hash(signature.body());
    let Some((hash, octets)) = body else {
        return Err((Outcome::Neutral("the message was not hashed".into()), false));
    };
    // The cheap test first; without a good body nobody need be asked for a key.
    if hash[..] != signature.body_hash[..] {
        return Err((Outcome::Fail("the body was changed".into()), false));
    }
    let key =
        lookup_key(resolve, &signature.selector, &signature.domain).await.map_err(|error| (error, false))?;
    let testing = key.is_testing();
    let identity = signature.identity.as_ref().and_then(|identity| identity.rsplit_once('@'));
    if key.is_strict() && identity.is_some_and(|(_, domain)| !domain.eq_ignore_ascii_case(&signature.domain))
    {
        return Err((Outcome::PermError("the key is for the domain itself only".into()), testing));
    }
    if key.algorithm() != signature.algorithm {
        return Err((Outcome::PermError("the key is of another kind".into()), testing));
    }
    let data = data_to_verify(examined, field, signature.header_form, &signature.headers);
    if !key.verifies(signature.algorithm, &data, &signature.value) {
        return Err((Outcome::Fail("the signature does not match".into()), testing));
    }
    // RFC 6376 §8.2: what is behind the signed part could be anybody's, and is what a reader sees.
    if signature.length.is_some_and(|length| length < octets) {
        return Err((Outcome::Policy("a part of the body is not signed".into()), testing));
    }
    Ok(testing)
}

/// What a signature of fields and of its own field is over (RFC 6376 §3.7).
pub(in super::super) fn data_to_verify(
    examined: &Examined,
    field: Field<'_>,
    form: Canonicalization,
    headers: &[String],
) -> Vec<u8> {
    let mut data = examined.signed(headers, form);
    form.field(&without_value(field.octets), &mut data);
    data
}

/// The key of a selector.
pub(in super::super) async fn lookup_key<R: Resolve>(
    resolve: &R,
    selector: &str,
    domain: &str,
) -> Result<PublicKey, Outcome> {
    let place = format!("{selector}._domainkey.{domain}");
    let none = || Outcome::PermError("there is no key".into());
    let at = name(&place).map_err(|_| none())?;
    let answer = match resolve.lookup(&at, RecordType::TXT).await {
        Ok(answer) => answer,
        Err(LookupError::NoName | LookupError::NotAName(_)) => return Err(none()),
        Err(_) => return Err(Outcome::TempError("the key cannot be looked up now".into())),
    };
    // RFC 6376 §3.6.2.2: with several records, what happens is undefined; the first that is a key is one.
    let mut error = none();
    for text in answer.texts() {
        match PublicKey::parse(&text) {
            Ok(key) => return Ok(key),
            Err(problem) => error = problem.into(),
        }
    }
    Err(error)
}
