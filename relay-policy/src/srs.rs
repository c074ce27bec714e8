//! Senders of forwarded mail, rewritten so that the forwarder answers for them (SRS), and back.
//!
//! `SRS0=hash=day=domain=local@ours` says who sent it, to whoever knows the secret. A second forwarder does not wrap that again but
//! writes `SRS1=hash=first==rest@theirs`, where `first` is the first forwarder: reports go straight to it.

use base64::{Engine, engine::general_purpose::STANDARD};
use mailwright_mail_model::{Address, Domain};
use ring::hmac;

/// How many days a rewritten sender is good for: longer than mail waits anywhere.
const DAYS: u16 = 21;
/// The letters of a day.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// How many letters of the hash are kept: 24 bits, which a forger would have to guess for each address and day.
const HASH: usize = 4;

/// Rewrites senders, under a secret.
///
/// ```
/// use mailwright_relay_policy::srs::Srs;
///
/// let srs = Srs::new(b"secret");
/// let day = 20_000;
/// let sender = "ann@a.example".parse()?;
/// let rewritten = srs.forward(&sender, &"fwd.example".parse()?, day)?;
/// assert!(rewritten.as_str().starts_with("SRS0=") && rewritten.as_str().ends_with("=a.example=ann@fwd.example"));
/// assert_eq!(srs.reverse(&rewritten, day + 5)?, sender);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Srs {
    key: hmac::Key,
}

/// Why an address is not one that we rewrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SrsError {
    /// It does not look like one.
    #[error("expected an address that begins with SRS0= or SRS1=")]
    NotSrs,
    /// Somebody else made it up.
    #[error("the hash is not ours")]
    Forged,
    /// It is older than three weeks, or from the future.
    #[error("the address is too old")]
    Expired,
    /// What comes out is no address, or one that is too long.
    #[error("what was rewritten is no address")]
    Address,
}

impl Srs {
    /// With a secret that only this site knows.
    pub fn new(secret: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// Whether the address is of this kind, whoever made it.
    pub fn is_rewritten(address: &Address) -> bool {
        kind(address.local().unquoted()).is_some()
    }

    /// The sender for a message that is forwarded. `ours` is a domain whose mail comes here; `day` counts from 1970.
    ///
    /// # Errors
    /// [`SrsError::Address`] if it would be too long.
    pub fn forward(&self, sender: &Address, ours: &Domain, day: u64) -> Result<Address, SrsError> {
        let local = sender.local().unquoted();
        let local = match kind(local) {
            // The first forwarder stays responsible; we only vouch that it was asked.
            Some((Kind::Zero, rest)) => {
                let tail = format!("{}=={rest}", sender.domain().key());
                format!("SRS1={}={tail}", self.hash(&tail))
            }
            Some((Kind::One, rest)) => {
                let (_, tail) = rest.split_once('=').ok_or(SrsError::NotSrs)?;
                format!("SRS1={}={tail}", self.hash(tail))
            }
            None => {
                let tail = format!("{}={}={local}", encode_day(day), sender.domain().key());
                format!("SRS0={}={tail}", self.hash(&tail))
            }
        };
        address(&local, ours.as_str())
    }

    /// Who the sender was, or for SRS1 the address at the first forwarder.
    ///
    /// # Errors
    /// [`SrsError`]: reports to such an address are refused.
    pub fn reverse(&self, rewritten: &Address, day: u64) -> Result<Address, SrsError> {
        let local = rewritten.local().unquoted();
        let (kind, rest) = kind(local).ok_or(SrsError::NotSrs)?;
        let (hash, tail) = rest.split_once('=').ok_or(SrsError::NotSrs)?;
        // Some hosts fold the case of local parts.
        if !hash.eq_ignore_ascii_case(&self.hash(tail)) {
            return Err(SrsError::Forged);
        }
        match kind {
            Kind::One => {
                let (first, rest) = tail.split_once('=').ok_or(SrsError::NotSrs)?;
                address(&format!("SRS0{rest}"), first)
            }
            Kind::Zero => {
                let mut fields = tail.splitn(3, '=');
                let (Some(then), Some(domain), Some(local)) = (fields.next(), fields.next(), fields.next())
                else {
                    return Err(SrsError::NotSrs);
                };
                let then = decode_day(then).ok_or(SrsError::NotSrs)?;
                let age = (low_days(day) + 1024 - then) % 1024;
                if age > DAYS { Err(SrsError::Expired) } else { address(local, domain) }
            }
        }
    }

    fn hash(&self, text: &str) -> String {
        let tag = hmac::sign(&self.key, text.to_ascii_lowercase().as_bytes());
        // What is no letter or digit would have to be quoted, or is the separator.
        let letters = STANDARD.encode(tag.as_ref());
        letters.chars().filter(char::is_ascii_alphanumeric).take(HASH).collect()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Zero,
    One,
}

/// The kind, and what stands behind its separator.
fn kind(local: &str) -> Option<(Kind, &str)> {
    let (tag, rest) = local.split_at_checked(4)?;
    let kind = match tag.split_at_checked(3)? {
        (tag, "0") if tag.eq_ignore_ascii_case("SRS") => Kind::Zero,
        (tag, "1") if tag.eq_ignore_ascii_case("SRS") => Kind::One,
        _ => return None,
    };
    let rest = rest.strip_prefix(['=', '+', '-'])?;
    // What only begins like the second kind, without the domain of the first forwarder, is a name as others are.
    let whole =
        matches!(kind, Kind::Zero) || rest.split_once('=').is_some_and(|(_, tail)| tail.contains('='));
    whole.then_some((kind, rest))
}

fn address(local: &str, domain: &str) -> Result<Address, SrsError> {
    if let Ok(address) = format!("{local}@{domain}").parse() {
        return Ok(address);
    }
    let quoted: String = local
        .chars()
        .flat_map(|letter| match letter {
            '"' | '\\' => vec!['\\', letter],
            _ => vec![letter],
        })
        .collect();
    format!("\"{quoted}\"@{domain}").parse().map_err(|_| SrsError::Address)
}

/// The last ten bits of the number of a day.
fn low_days(day: u64) -> u16 {
    u16::try_from(day % 1024).unwrap_or(0)
}

fn encode_day(day: u64) -> String {
    let day = usize::from(low_days(day));
    [day / 32, day % 32]
        .iter()
        .filter_map(|index| BASE32.get(*index))
        .map(|letter| char::from(*letter))
        .collect()
}

fn decode_day(text: &str) -> Option<u16> {
    let mut digits = text.bytes().map(|letter| {
        let place = BASE32.iter().position(|other| *other == letter.to_ascii_uppercase())?;
        u16::try_from(place).ok()
    });
    let (high, low) = (digits.next()??, digits.next()??);
    digits.next().is_none().then_some(high * 32 + low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn there_and_back_again() {
        let srs = Srs::new(b"k");
        for sender in [
            "ann@a.example",
            "a=b@a.example",
            "\"a b\"@a.example",
            "x+y@sub.a.example",
            "\"q\\\"\"@a.example",
        ] {
            for day in [0, 1_023, 1_024, 20_000] {
                let there = srs.forward(&parse(sender), &"f.example".parse().unwrap(), day).unwrap();
                assert!(Srs::is_rewritten(&there));
                assert_eq!(srs.reverse(&there, day).unwrap(), parse(sender), "{there}");
                assert_eq!(srs.reverse(&there, day + 21).unwrap(), parse(sender));
                assert_eq!(srs.reverse(&there, day + 22), Err(SrsError::Expired));
                // Case does not survive everywhere; the address it stands for then has lost it too.
                let folded = parse(&there.as_str().to_lowercase());
                assert_eq!(
                    srs.reverse(&folded, day).unwrap().as_str(),
                    parse(sender).as_str().to_lowercase()
                );
            }
        }
    }

    #[test]
    fn the_third_forwarder_goes_back_to_the_first() {
        let (first, second, third) = (Srs::new(b"1"), Srs::new(b"2"), Srs::new(b"3"));
        let one = first.forward(&parse("ann@a.example"), &"one.example".parse().unwrap(), 5).unwrap();
        let two = second.forward(&one, &"two.example".parse().unwrap(), 5).unwrap();
        let three = third.forward(&two, &"three.example".parse().unwrap(), 5).unwrap();
        assert!(three.as_str().starts_with("SRS1=") && three.as_str().contains("=one.example=="), "{three}");
        let back = third.reverse(&three, 6).unwrap();
        assert_eq!(back, one);
        assert_eq!(first.reverse(&back, 6).unwrap(), parse("ann@a.example"));
        assert_eq!(second.reverse(&two, 6).unwrap(), one);
    }

    #[test]
    fn what_only_begins_like_one_comes_back_too() {
        let srs = Srs::new(b"secret");
        for text in ["SRS1=x@a.example", "SRS1=x=y@a.example", "SRS0=x@a.example", "SRS1@a.example"] {
            let (sender, ours) = (text.parse().unwrap(), "fwd.example".parse().unwrap());
            let rewritten = srs.forward(&sender, &ours, 20_000).unwrap();
            assert_eq!(srs.reverse(&rewritten, 20_001), Ok(sender), "{rewritten}");
        }
    }

    #[test]
    fn what_others_make_up_is_refused() {
        let srs = Srs::new(b"k");
        let good = srs.forward(&parse("ann@a.example"), &"f.example".parse().unwrap(), 7).unwrap();
        let forged = parse(&good.as_str().replace("ann", "eve"));
        assert_eq!(srs.reverse(&forged, 7), Err(SrsError::Forged));
        assert_eq!(Srs::new(b"other").reverse(&good, 7), Err(SrsError::Forged));
        for text in
            ["ann@f.example", "SRS0@f.example", "SRS0=x@f.example", "SRS2=a=b=c=d@f.example", "srs@f.example"]
        {
            assert_eq!(srs.reverse(&parse(text), 7), Err(SrsError::NotSrs), "{text}");
        }
    }
}
