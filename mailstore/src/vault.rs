//! Keys of users whose mail is encrypted at rest: a pair for each, whose secret half is sealed by what only a login knows.
//!
//! Everything here is octets in, octets out; where they are kept is the affair of the embedded store. The design and its limits are
//! in `docs/decisions/0004-encryption-at-rest.md`.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use argon2::{Algorithm, Argon2, Params, Version};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::signal::lock;
use crate::{Result, StoreError};

type Secret = <X25519HkdfSha256 as Kem>::PrivateKey;

/// The octets of a key, whichever.
const KEY: usize = 32;
const SALT: usize = 16;
/// What HPKE adds to what it seals: the encapsulated key (RFC 9180 §7.1) and a tag.
const ENCAPSULATED: usize = 32;
/// How many keys of bodies a login remembers, so that each is opened once.
const REMEMBERED: usize = 16_384;
const PURPOSE: &[u8] = b"mailwright: key of a body";

/// What a login has opened: with it the mail of the user can be read. Cheap to clone; forgotten with the last clone.
#[derive(Clone)]
pub(crate) struct MailKey(Arc<Opened>);

struct Opened {
    id: KeyId,
    secret: Secret,
    bodies: Mutex<HashMap<u64, BodyKey>>,
}

/// Which pair of keys: the first octets of its public half.
pub(crate) type KeyId = [u8; 8];

impl MailKey {
    fn new(public: &[u8; KEY], secret: Secret) -> Self {
        Self(Arc::new(Opened { id: key_id(public), secret, bodies: Mutex::default() }))
    }

    pub(crate) fn id(&self) -> KeyId {
        self.0.id
    }

    /// The key of a body of this size, if it was sealed to this pair.
    pub(crate) fn open(&self, body: u64, size: u64, sealed: &[u8]) -> Option<BodyKey> {
        if let Some(known) = lock(&self.0.bodies).get(&body) {
            return Some(known.clone());
        }
        let (encapsulated, sealed) = sealed.split_at_checked(ENCAPSULATED)?;
        let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated).ok()?;
        let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.0.secret,
            &encapsulated,
            PURPOSE,
            sealed,
            &place(body, size),
        );
        let key = BodyKey(Zeroizing::new(Zeroizing::new(opened.ok()?).as_slice().try_into().ok()?));
        let mut bodies = lock(&self.0.bodies);
        if bodies.len() >= REMEMBERED {
            bodies.clear();
        }
        bodies.insert(body, key.clone());
        Some(key)
    }
}

impl fmt::Debug for MailKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailKey(..)")
    }
}

/// What opens the mail of a user whose password is lost. Shown once, when encryption is switched on; nobody keeps it here.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryKey(Zeroizing<String>);

impl RecoveryKey {
    /// 160 random bits.
    fn random() -> Result<Self> {
        const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
        let mut text = Zeroizing::new(String::with_capacity(40));
        for (index, octet) in random::<32>()?.iter().enumerate() {
            if index > 0 && index % 4 == 0 {
                text.push('-');
            }
            text.push(char::from(*LETTERS.get(usize::from(octet % 32)).unwrap_or(&b'A')));
        }
        Ok(Self(text))
    }

    /// As it is to be written down: eight groups of four letters and digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(..)")
    }
}

/// A user's pair of keys as it rests: the public half, and the secret one in as many seals as there are ways to open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lock {
    public: [u8; KEY],
    /// Whether mail that comes is sealed.
    sealing: bool,
    slots: Vec<Slot>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    kind: SlotKind,
    /// Memory in KiB and passes of Argon2id.
    memory: u32,
    passes: u32,
    salt: [u8; SALT],
    sealed: Vec<u8>,
}

/// What opens a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotKind {
    Password = 1,
    Recovery = 2,
}

impl Lock {
    /// A new pair, opened by a password and a recovery key.
    pub(crate) fn new(password: &[u8]) -> Result<(Self, RecoveryKey)> {
        let (secret, public) = X25519HkdfSha256::derive_keypair(&*random::<KEY>()?);
        let public = public.to_bytes().into();
        let (mut made, key) =
            (Self { public, sealing: true, slots: Vec::new() }, MailKey::new(&public, secret));
        made.add(&key, SlotKind::Password, password)?;
        let recovery = made.renew_recovery(&key)?;
        Ok((made, recovery))
    }

    pub(crate) fn id(&self) -> KeyId {
        key_id(&self.public)
    }

    pub(crate) const fn is_sealing(&self) -> bool {
        self.sealing
    }

    pub(crate) const fn set_sealing(&mut self, sealing: bool) {
        self.sealing = sealing;
    }

    /// What a password or recovery key opens. Slow on purpose.
    pub(crate) fn open(&self, secret: &[u8]) -> Option<MailKey> {
        self.slots.iter().find_map(|slot| {
            let opened = slot.open(&self.public, secret)?;
            Some(MailKey::new(&self.public, Secret::from_bytes(&opened).ok()?))
        })
    }

    /// One more way to open it. Slow on purpose.
    pub(crate) fn add(&mut self, key: &MailKey, kind: SlotKind, secret: &[u8]) -> Result<()> {
        let opened: Zeroizing<[u8; KEY]> = Zeroizing::new(key.0.secret.to_bytes().into());
        self.slots.push(Slot::seal(kind, &self.public, secret, &*opened)?);
        Ok(())
    }

    /// Another recovery key in place of the one there was. Slow on purpose.
    pub(crate) fn renew_recovery(&mut self, key: &MailKey) -> Result<RecoveryKey> {
        let recovery = RecoveryKey::random()?;
        self.slots.retain(|slot| slot.kind != SlotKind::Recovery);
        self.add(key, SlotKind::Recovery, recovery.as_str().as_bytes())?;
        Ok(recovery)
    }

    /// The password is another one from now on: whatever another one opened is no way any more.
    pub(crate) fn keep_last_password(&mut self) {
        let last = self.slots.iter().rposition(|slot| slot.kind == SlotKind::Password);
        let mut index = 0;
        self.slots.retain(|slot| {
            index += 1;
            slot.kind != SlotKind::Password || Some(index - 1) == last
        });
    }

    /// The key of a body, for this user alone.
    pub(crate) fn seal(&self, body: u64, size: u64, key: &BodyKey) -> Result<Vec<u8>> {
        let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&self.public).map_err(failed)?;
        let (encapsulated, sealed) =
            hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
                &OpModeS::Base,
                &public,
                PURPOSE,
                &*key.0,
                &place(body, size),
            )
            .map_err(failed)?;
        Ok([&encapsulated.to_bytes()[..], &sealed].concat())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = vec![1, u8::from(self.sealing)];
        row.extend_from_slice(&self.public);
        for slot in &self.slots {
            row.push(slot.kind as u8);
            row.extend_from_slice(&slot.memory.to_be_bytes());
            row.extend_from_slice(&slot.passes.to_be_bytes());
            row.extend_from_slice(&slot.salt);
            row.push(u8::try_from(slot.sealed.len()).unwrap_or(0));
            row.extend_from_slice(&slot.sealed);
        }
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let ([1, sealing], rest) = row.split_first_chunk()? else { return None };
        let (public, mut rest) = rest.split_first_chunk::<KEY>()?;
        let mut slots = Vec::new();
        while let Some((kind, fields)) = rest.split_first() {
            let (memory, fields) = fields.split_first_chunk()?;
            let (passes, fields) = fields.split_first_chunk()?;
            let (salt, fields) = fields.split_first_chunk()?;
            let (length, fields) = fields.split_first()?;
            let (sealed, behind) = fields.split_at_checked(usize::from(*length))?;
            let kind =
                if *kind == SlotKind::Password as u8 { SlotKind::Password } else { SlotKind::Recovery };
            let (memory, passes) = (u32::from_be_bytes(*memory), u32::from_be_bytes(*passes));
            slots.push(Slot { kind, memory, passes, salt: *salt, sealed: sealed.to_vec() });
            rest = behind;
        }
        Some(Self { public: *public, sealing: *sealing == 1, slots })
    }
}

impl Slot {
    fn seal(kind: SlotKind, public: &[u8], secret: &[u8], opened: &[u8]) -> Result<Self> {
        let slot = Self {
            kind,
            // OWASP's first choice: Argon2id, 19 MiB, two passes, one lane.
            memory: 19 << 10,
            passes: 2,
            salt: *random::<SALT>()?,
            sealed: Vec::new(),
        };
        let sealed =
            slot.key(secret).ok_or_else(|| failed("the password cannot be hashed"))?.seal(public, opened)?;
        Ok(Self { sealed, ..slot })
    }

    fn open(&self, public: &[u8], secret: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.key(secret)?.open(public, &self.sealed).map(Zeroizing::new)
    }

    fn key(&self, secret: &[u8]) -> Option<BodyKey> {
        let params = Params::new(self.memory, self.passes, 1, Some(KEY)).ok()?;
        let mut key = Zeroizing::new([0; KEY]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(secret, &self.salt, &mut *key).ok()?;
        Some(BodyKey(key))
    }
}

/// What the octets of one message are sealed with, and what was found out about it.
#[derive(Clone)]
pub(crate) struct BodyKey(Zeroizing<[u8; KEY]>);

impl BodyKey {
    pub(crate) fn random() -> Result<Self> {
        random().map(Self)
    }

    /// One that rests beside what it seals, where nobody has a key of their own.
    pub(crate) fn from_octets(octets: &[u8]) -> Option<Self> {
        octets.try_into().ok().map(|octets| Self(Zeroizing::new(octets)))
    }

    pub(crate) fn octets(&self) -> &[u8] {
        &*self.0
    }

    /// Octets that cannot be read, nor be put in another place unnoticed, without the key. The nonce is random, so that what is
    /// sealed twice is sealed safely.
    pub(crate) fn seal(&self, place: &[u8], octets: &[u8]) -> Result<Vec<u8>> {
        let nonce = random::<NONCE_LEN>()?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + octets.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&*nonce);
        sealed.extend_from_slice(octets);
        let key = self.cipher().ok_or_else(|| failed("the cipher"))?;
        let rest = sealed.get_mut(NONCE_LEN..).unwrap_or_default();
        let tag =
            key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(*nonce), Aad::from(place), rest);
        sealed.extend_from_slice(tag.map_err(failed)?.as_ref());
        Ok(sealed)
    }

    pub(crate) fn open(&self, place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut octets = sealed.to_vec();
        let opened =
            self.cipher()?.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place), &mut octets);
        let length = opened.ok()?.len();
        octets.truncate(length);
        Some(octets)
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, &*self.0).ok().map(LessSafeKey::new)
    }
}

impl fmt::Debug for BodyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyKey(..)")
    }
}

fn key_id(public: &[u8; KEY]) -> KeyId {
    public.first_chunk().copied().unwrap_or_default()
}

/// What the key of a body is bound to.
fn place(body: u64, size: u64) -> [u8; 16] {
    (u128::from(body) << 64 | u128::from(size)).to_be_bytes()
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>> {
    let mut octets = Zeroizing::new([0; N]);
    SystemRandom::new().fill(&mut *octets).map_err(|_| failed("the system has no randomness"))?;
    Ok(octets)
}

fn failed(error: impl fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("encryption failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_and_a_recovery_key_open_what_was_sealed_and_nothing_else_does() {
        let (made, recovery) = Lock::new(b"swordfish").unwrap();
        let read = Lock::decode(&made.encode()).unwrap();
        assert_eq!(read, made);
        let body = BodyKey::random().unwrap();
        let sealed = read.seal(7, 100, &body).unwrap();
        assert_eq!(sealed.len(), ENCAPSULATED + KEY + 16);
        for secret in [&b"swordfish"[..], recovery.as_str().as_bytes()] {
            let key = read.open(secret).unwrap();
            assert!(key.open(8, 100, &sealed).is_none(), "of another body");
            assert!(key.open(7, 101, &sealed).is_none(), "of another size");
            assert_eq!(key.open(7, 100, &sealed).unwrap().octets(), body.octets());
        }
        assert!(read.open(b"swordfisH").is_none());
        let (other, _) = Lock::new(b"swordfish").unwrap();
        assert!(other.open(b"swordfish").unwrap().open(7, 100, &sealed).is_none());
        for end in 0..made.encode().len() {
            if let Some(part) = Lock::decode(&made.encode()[..end]) {
                assert!(part.slots.len() < 2, "{end}");
            }
        }
    }

    #[test]
    fn a_new_password_takes_the_place_of_the_old_one() {
        let (mut made, recovery) = Lock::new(b"old").unwrap();
        let key = made.open(b"old").unwrap();
        made.add(&key, SlotKind::Password, b"new").unwrap();
        // In between both open it: the password itself changes somewhere else.
        assert!(made.open(b"old").is_some() && made.open(b"new").is_some());
        made.keep_last_password();
        assert!(made.open(b"old").is_none() && made.open(b"new").is_some());
        assert!(made.open(recovery.as_str().as_bytes()).is_some());
    }

    #[test]
    fn sealed_octets_come_back_in_their_place_alone() {
        let key = BodyKey::random().unwrap();
        let sealed = key.seal(b"here", b"text").unwrap();
        assert_eq!(key.open(b"here", &sealed).as_deref(), Some(&b"text"[..]));
        assert_ne!(key.seal(b"here", b"text").unwrap(), sealed, "two nonces");
        assert_eq!(key.open(b"there", &sealed), None);
        assert_eq!(BodyKey::random().unwrap().open(b"here", &sealed), None);
        for place in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[place] ^= 1;
            assert_eq!(key.open(b"here", &damaged), None, "{place}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let (made, recovery) = Lock::new(b"swordfish").unwrap();
        let key = made.open(b"swordfish").unwrap();
        assert_eq!(format!("{key:?} {recovery:?}"), "MailKey(..) RecoveryKey(..)");
        assert!(!format!("{made:?}").contains("swordfish"));
        assert_eq!(recovery.as_str().len(), 39);
    }
}
