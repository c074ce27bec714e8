//! ARC (RFC 8617): what servers on the way found out about a message, each of them signed.

mod seal;
mod told;

pub use seal::{SealError, seal};
pub use told::ArcSet;
pub(super) use told::prove;

use super::{
    canonical::Canonicalization,
    dkim::{Algorithm, Outcome, Signature, data_to_verify, lookup_key, without_value},
    message::{Examined, Field, Wanted},
    tags::Tags,
};
use crate::dns::Resolve;

/// What ARC says of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ArcFinding {
    /// What it says.
    pub result: ArcResult,
    /// The domain of the last seal, if there is one.
    pub domain: Option<String>,
    /// How many seals there are.
    pub seals: usize,
    /// Why it is not good.
    pub reason: String,
    /// What each server says if the chain is good, the last one first.
    pub sets: Vec<ArcSet>,
}

/// The result of a chain (RFC 8617 §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ArcResult {
    /// There is no chain.
    #[default]
    None,
    /// Every seal is good, and the message is as the last server sent it.
    Pass,
    /// It is not.
    Fail,
    /// Nobody can tell now.
    TempError,
}

impl ArcResult {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
        }
    }
}

/// RFC 8617 §4.2.1
const MOST_SEALS: usize = 50;

const RESULTS: &str = "ARC-Authentication-Results";
const MESSAGE: &str = "ARC-Message-Signature";
const SEAL: &str = "ARC-Seal";

/// Verifies the chain of a message (RFC 8617 §5.2). `now` is in seconds since 1970.
pub async fn verify<R: Resolve>(resolve: &R, examined: &Examined, now: u64) -> ArcFinding {
    let sets = match sets(examined) {
        Ok(sets) => sets,
        Err(reason) => return failed(ArcResult::Fail, None, 0, reason),
    };
    let Some(last) = sets.last() else { return ArcFinding::default() };
    let (domain, seals) = (Some(last.seal.domain.clone()), sets.len());
    let fail = |reason: &str| failed(ArcResult::Fail, domain.clone(), seals, reason);
    for (index, set) in sets.iter().enumerate() {
        // RFC 8617 §5.2, step 3
        let expected = if index == 0 { "none" } else { "pass" };
        if !set.validation.eq_ignore_ascii_case(expected) {
            return fail("a server on the way found the chain broken");
        }
    }
    let signature = &last.signature;
    if signature.ends.is_some_and(|ends| ends < now) {
        return fail("the signature has expired");
    }
    match examined.hash(signature.body()) {
        Some((hash, _)) if hash[..] == signature.body_hash[..] => {}
        _ => return fail("the body was changed"),
    }
    let key = match lookup_key(resolve, &signature.selector, &signature.domain).await {
        Ok(key) => key,
        Err(Outcome::TempError(why)) => return failed(ArcResult::TempError, domain, seals, &why),
        Err(outcome) => return fail(outcome.words().1),
    };
    let data = data_to_verify(examined, last.message, signature.header_form, &signature.headers);
    if !key.verifies(signature.algorithm, &data, &signature.value) {
        return fail("the signature does not match");
    }
    // RFC 8617 §5.1.1: each seal is over all sets up to its own, itself without its value.
    let form = Canonicalization::Relaxed;
    let mut data = Vec::new();
    for set in &sets {
        for field in [set.results, set.message] {
            form.field(field.octets, &mut data);
            data.extend_from_slice(b"\r\n");
        }
        let before = data.len();
        form.field(&without_value(set.seal_field.octets), &mut data);
        let good = match lookup_key(resolve, &set.seal.selector, &set.seal.domain).await {
            Ok(key) => key.verifies(set.seal.algorithm, &data, &set.seal.value),
            Err(Outcome::TempError(why)) => return failed(ArcResult::TempError, domain, seals, &why),
            Err(_) => false,
        };
        if !good {
            return fail("a seal does not match");
        }
        data.truncate(before);
        form.field(set.seal_field.octets, &mut data);
        data.extend_from_slice(b"\r\n");
    }
    let told = sets.iter().rev().map(|set| ArcSet {
        domain: set.seal.domain.clone(),
        results: String::from_utf8_lossy(set.results.value()).into_owned(),
        proved: false,
    });
    ArcFinding { result: ArcResult::Pass, domain, seals, reason: String::new(), sets: told.collect() }
}

/// The hash of the body that the last signature needs.
pub(super) fn wanted(examined: &Examined) -> Option<Wanted> {
    sets(examined).ok()?.last().map(|set| set.signature.body())
}

/// What one server added.
struct Set<'a> {
    results: Field<'a>,
    message: Field<'a>,
    signature: Signature,
    seal_field: Field<'a>,
    seal: Seal,
    /// What it found of the chain before it.
    validation: String,
}

struct Seal {
    algorithm: Algorithm,
    domain: String,
    selector: String,
    value: Vec<u8>,
}

/// All sets in order, or what is wrong with them (RFC 8617 §5.2, steps 1 and 2).
fn sets(examined: &Examined) -> Result<Vec<Set<'_>>, &'static str> {
    let results = numbered(examined, RESULTS)?;
    let messages = numbered(examined, MESSAGE)?;
    let seals = numbered(examined, SEAL)?;
    if results.len() != messages.len() || messages.len() != seals.len() {
        return Err("the chain has holes");
    }
    let mut sets = Vec::new();
    for ((results, message), seal_field) in results.into_iter().zip(messages).zip(seals) {
        let (Some(signature), Some((seal, validation))) = (message_signature(message), read_seal(seal_field))
        else {
            return Err("a field of the chain cannot be understood");
        };
        sets.push(Set { results, message, signature, seal_field, seal, validation });
    }
    Ok(sets)
}

/// The fields of a name, by their number, of which none may be missing or twice.
fn numbered<'a>(examined: &'a Examined, name: &'a str) -> Result<Vec<Field<'a>>, &'static str> {
    let mut fields = Vec::new();
    for field in examined.named(name) {
        if fields.len() == MOST_SEALS {
            return Err("the chain is too long");
        }
        let number = instance(field).ok_or("a field of the chain has no number")?;
        fields.push((number, field));
    }
    fields.sort_by_key(|(number, _)| *number);
    let in_order = fields.iter().enumerate().all(|(index, (number, _))| *number == index + 1);
    if in_order {
        Ok(fields.into_iter().map(|(_, field)| field).collect())
    } else {
        Err("the chain has holes")
    }
}

/// RFC 8617 §4.2.1: `i=` is in the first place of the results, anywhere in the others.
fn instance(field: Field<'_>) -> Option<usize> {
    let value = std::str::from_utf8(field.value()).ok()?;
    let number = if field.is(RESULTS) {
        let (name, number) = value.split(';').next()?.split_once('=')?;
        if name.trim() != "i" {
            return None;
        }
        number.trim().to_owned()
    } else {
        Tags::parse(value)?.value("i")?.to_owned()
    };
    number.parse().ok().filter(|number| (1..=MOST_SEALS).contains(number))
}

fn message_signature(field: Field<'_>) -> Option<Signature> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let tags = Tags::parse(std::str::from_utf8(field.value()).ok()?)?;
    let mut signature = Signature::common(&tags).ok()?;
    signature.body_hash = STANDARD.decode(tags.dense("bh")?).ok()?;
    // RFC 8617 §4.1.2: the seals are signed by other means.
    let seals = signature.headers.iter().any(|name| name.eq_ignore_ascii_case(SEAL));
    (!seals && !signature.headers.is_empty()).then_some(signature)
}

fn read_seal(field: Field<'_>) -> Option<(Seal, String)> {
    let tags = Tags::parse(std::str::from_utf8(field.value()).ok()?)?;
    // RFC 8617 §4.1.3
    if tags.value("h").is_some() {
        return None;
    }
    let signature = Signature::common(&tags).ok()?;
    let Signature { algorithm, domain, selector, value, .. } = signature;
    Some((Seal { algorithm, domain, selector, value }, tags.value("cv")?.to_owned()))
}

fn failed(result: ArcResult, domain: Option<String>, seals: usize, reason: &str) -> ArcFinding {
    ArcFinding { result, domain, seals, reason: reason.to_owned(), sets: Vec::new() }
}
