//! Sealing: what this server found out about a message that it sends on (RFC 8617 §5.1).

use super::{
    super::dkim::{SignError, Signer, add_value, sign_for_arc},
    ArcFinding, ArcResult, Examined, MESSAGE as SIGNATURE, MOST_SEALS, RESULTS, SEAL, instance as number_of,
    sets,
};
use crate::authentication::{Canonicalization, tags::Tags};

/// Why a message is not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// RFC 8617 §5.1.2: nothing is added behind a seal that says that the chain is broken.
    #[error("the chain that is there is broken, and said to be")]
    Broken,
    /// What is there could not be verified, so nothing can be said of it.
    #[error("the chain that is there cannot be verified now")]
    Unverified,
    /// RFC 8617 §4.2.1: there are 50 already.
    #[error("the chain has all the seals that it may have")]
    Full,
    /// The signature cannot be made.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// The three fields by which a server tells those behind it what it found out about a message: to be put in front of it.
///
/// `results` is what [`Findings::field`](crate::authentication::Findings::field) wrote, `found` what
/// [`verify`](super::verify) says of the chain so far. `now` is in seconds since 1970.
///
/// ```
/// use mailwright_relay_policy::{
///     authentication::{
///         Examiner,
///         arc::{self, ArcResult},
///         dkim::{Signer, SigningKey},
///     },
///     dns::CannedAnswers,
/// };
/// # let secret: Vec<u8> = [&[0x30, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32][..], &[7; 32]].concat();
///
/// let signer = Signer::new("list.example", "s1", SigningKey::from_pkcs8(&secret)?);
/// let zone = CannedAnswers::default().txt("s1._domainkey.list.example", &signer.key.record());
/// let message = "From: ann@a.example\r\nSubject: hello\r\n\r\nHello!\r\n";
/// let mut examiner = Examiner::new().for_signing();
/// examiner.push(message.as_bytes());
/// let results = "Authentication-Results: mx.list.example;\r\n\tspf=pass smtp.mailfrom=ann@a.example\r\n";
/// let found = arc::ArcFinding::default();
/// let fields = arc::seal(&signer, &examiner.finish(), results, &found, 1_800_000_000)?;
///
/// let mut examiner = Examiner::new();
/// examiner.push(format!("{fields}{message}").as_bytes());
/// # let ready = async {
/// let found = arc::verify(&zone, &examiner.finish(), 1_800_000_000).await;
/// assert_eq!((found.result, found.seals), (ArcResult::Pass, 1));
/// # };
/// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(std::pin::pin!(ready).poll(&mut context).is_ready());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the chain so far cannot be continued, or the message was not examined
/// [for signing](crate::authentication::Examiner::for_signing).
pub fn seal(
    signer: &Signer,
    examined: &Examined,
    results: &str,
    found: &ArcFinding,
    now: u64,
) -> Result<String, SealError> {
    let (chain, instance, validation) = match found.result {
        ArcResult::None => (Vec::new(), 1, "none"),
        ArcResult::Pass => {
            let chain = sets(examined).map_err(|_| SealError::Broken)?;
            let instance = chain.len() + 1;
            (chain, instance, "pass")
        }
        ArcResult::Fail if is_said_to_be_broken(examined) => return Err(SealError::Broken),
        // RFC 8617 §5.1.2: the one who finds it broken says so, by a seal over its own set alone: of the others nothing is known.
        ArcResult::Fail => (Vec::new(), highest(examined) + 1, "fail"),
        ArcResult::TempError => return Err(SealError::Unverified),
    };
    if instance > MOST_SEALS {
        return Err(SealError::Full);
    }
    let told = results.split_once(':').map_or(results, |(_, told)| told);
    let results = format!("{RESULTS}: i={instance};{}\r\n", told.trim_end());
    let signature = sign_for_arc(signer, examined, instance, now)?;
    // RFC 8617 §5.1.1: over all sets in order, and of its own seal all but the value.
    let (form, mut data) = (Canonicalization::Relaxed, Vec::new());
    let mut add = |octets: &[u8]| {
        form.field(octets, &mut data);
        data.extend_from_slice(b"\r\n");
    };
    for set in &chain {
        for field in [set.results, set.message, set.seal_field] {
            add(field.octets);
        }
    }
    add(results.as_bytes());
    add(signature.as_bytes());
    let field = format!(
        "{SEAL}: i={instance}; a={}; cv={validation}; d={}; s={};\r\n\tt={now}; b=",
        signer.key.algorithm().as_str(),
        signer.domain,
        signer.selector,
    );
    form.field(field.as_bytes(), &mut data);
    let seal = add_value(signer, field, &data)?;
    Ok(format!("{seal}{signature}{results}"))
}

/// Whether a server on the way has sealed it as broken.
fn is_said_to_be_broken(examined: &Examined) -> bool {
    examined.named(SEAL).any(|field| {
        let tags = std::str::from_utf8(field.value()).ok().and_then(Tags::parse);
        let said = tags.and_then(|tags| tags.value("cv").map(|said| said.eq_ignore_ascii_case("fail")));
        said.unwrap_or(false)
    })
}

/// The highest number that any field of the chain has, however many are missing.
fn highest(examined: &Examined) -> usize {
    let fields = [RESULTS, SIGNATURE, SEAL].into_iter().flat_map(|name| examined.named(name));
    fields.filter_map(number_of).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::{
        super::{
            super::{
                Examiner,
                dkim::{SigningKey, lookup_key, without_value},
                tests::ready,
            },
            read_seal, verify,
        },
        *,
    };
    use crate::dns::CannedAnswers;

    const MESSAGE: &str = "From: ann@a.example\r\nTo: list@b.example\r\nSubject: hello\r\n\r\nHello!\r\n";
    const TOLD: &str = "Authentication-Results: mx.example;\r\n\tspf=pass smtp.mailfrom=ann@a.example\r\n";
    const SECRET: &str = include_str!("../tests/rsa.pkcs8.base64");

    fn signer(domain: &str) -> Signer {
        Signer::new(domain, "s", SigningKey::from_pkcs8(&STANDARD.decode(SECRET.trim()).unwrap()).unwrap())
    }

    fn examined(message: &str) -> Examined {
        let mut examiner = Examiner::new().for_signing();
        examiner.push(message.as_bytes());
        examiner.finish()
    }

    fn zone() -> CannedAnswers {
        let record = signer("a").key.record();
        let domains = ["b.example", "c.example"];
        domains.iter().fold(CannedAnswers::default(), |zone, domain| {
            zone.txt(&format!("s._domainkey.{domain}"), &record)
        })
    }

    fn sealed(domain: &str, message: &str) -> Result<String, SealError> {
        let examined = examined(message);
        let found = ready(verify(&zone(), &examined, 1_700_000_000));
        seal(&signer(domain), &examined, TOLD, &found, 1_700_000_000).map(|fields| fields + message)
    }

    #[test]
    fn a_chain_of_several_holds_until_the_message_is_changed() {
        let mut message = MESSAGE.to_owned();
        for (number, domain) in ["b.example", "c.example", "b.example"].into_iter().enumerate() {
            message = sealed(domain, &message).unwrap();
            let found = ready(verify(&zone(), &examined(&message), 1_700_000_000));
            assert_eq!((found.result, found.seals), (ArcResult::Pass, number + 1), "{}", found.reason);
            assert_eq!(found.domain.as_deref(), Some(domain));
        }
        assert!(message.contains("ARC-Authentication-Results: i=3; mx.example;\r\n\tspf=pass"), "{message}");
        assert!(message.contains("ARC-Seal: i=1; a=rsa-sha256; cv=none; d=b.example; s=s;\r\n"), "{message}");
        assert!(message.contains("ARC-Seal: i=2; a=rsa-sha256; cv=pass; d=c.example; s=s;\r\n"), "{message}");
        for (from, to) in [
            ("Hello!", "Bye!"),
            ("Subject: hello", "Subject: bye"),
            ("i=2; mx.example;\r\n\tspf=pass", "i=2; mx.example;\r\n\tspf=fail"),
        ] {
            let changed = message.replacen(from, to, 1);
            let found = ready(verify(&zone(), &examined(&changed), 1_700_000_000));
            assert_eq!(found.result, ArcResult::Fail, "{to}");
            // One seal says so, and is good for itself; behind that there is no other.
            let said = sealed("c.example", &changed).unwrap();
            assert!(said.contains("ARC-Seal: i=4; a=rsa-sha256; cv=fail; d=c.example; s=s;\r\n"), "{said}");
            let own = examined(&format!("{}\r\n", &said[..said.len() - changed.len()]));
            let mut data = Vec::new();
            for name in [RESULTS, SIGNATURE] {
                Canonicalization::Relaxed.field(own.named(name).next().unwrap().octets, &mut data);
                data.extend_from_slice(b"\r\n");
            }
            let field = own.named(SEAL).next().unwrap();
            Canonicalization::Relaxed.field(&without_value(field.octets), &mut data);
            let (seal, _) = read_seal(field).unwrap();
            let key = ready(lookup_key(&zone(), &seal.selector, &seal.domain)).ok().unwrap();
            assert!(key.verifies(seal.algorithm, &data, &seal.value));
            let found = ready(verify(&zone(), &examined(&said), 1_700_000_000));
            assert_eq!((found.result, found.seals), (ArcResult::Fail, 4), "{to}");
            assert_eq!(sealed("b.example", &said), Err(SealError::Broken));
        }
        // A name server that is away says nothing of the chain.
        let found = ArcFinding { result: ArcResult::TempError, ..ArcFinding::default() };
        let told = seal(&signer("b.example"), &examined(&message), TOLD, &found, 1_700_000_000);
        assert_eq!(told, Err(SealError::Unverified));
    }

    #[test]
    fn a_chain_ends_at_fifty() {
        let mut message = MESSAGE.to_owned();
        for _ in 0..MOST_SEALS {
            message = sealed("b.example", &message).unwrap();
        }
        assert_eq!(sealed("b.example", &message), Err(SealError::Full));
    }
}
