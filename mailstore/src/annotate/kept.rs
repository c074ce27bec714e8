//! The annotations of one message that are shared, or private to one user, as this crate's back ends keep them.

use std::collections::BTreeMap;

use bytes::Bytes;
use mailwright_mail_model::{AnnotationEntry, AnnotationScope, ModSeq};

use super::{AnnotationLimits, MessageAnnotation, Noted};
use crate::{Result, StoreError};

/// By name: since when it is so, and the value. What was removed stays without a value, so that sessions can be told which entry it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept(BTreeMap<AnnotationEntry, (ModSeq, Option<Bytes>)>);

impl Kept {
    /// Sets those of `values` that are of this scope, as the change of this mod-sequence; whether that changed anything.
    pub(crate) fn change(
        &mut self,
        values: &[Noted],
        scope: AnnotationScope,
        modseq: ModSeq,
        limits: &AnnotationLimits,
    ) -> Result<bool> {
        let mut changed = false;
        for (entry, _, value) in values.iter().filter(|(_, of, _)| *of == scope) {
            if value.as_ref().is_some_and(|value| value.len() > limits.octets as usize) {
                return Err(StoreError::TooLarge { limit: limits.octets.into() });
            }
            let before = self.0.get(entry).and_then(|(_, value)| value.as_ref());
            if before != value.as_ref() {
                self.0.insert(entry.clone(), (modseq, value.clone()));
                changed = true;
            }
        }
        let most = usize::from(limits.entries);
        if changed && self.0.values().filter(|(_, value)| value.is_some()).count() > most {
            return Err(StoreError::TooMany { limit: limits.entries.into() });
        }
        // What was removed longest ago is forgotten first.
        while self.0.len() > most {
            let gone = self.0.iter().filter(|(_, (_, value))| value.is_none());
            let Some(oldest) = gone.min_by_key(|(_, (modseq, _))| *modseq).map(|(entry, _)| entry.clone())
            else {
                break;
            };
            self.0.remove(&oldest);
        }
        Ok(changed)
    }

    /// Names and values together.
    pub(crate) fn octets(&self) -> u64 {
        let values = self.0.iter().filter_map(|(entry, (_, value))| Some((entry, value.as_ref()?)));
        values.map(|(entry, value)| (entry.as_str().len() + value.len()) as u64).sum()
    }

    /// All of them, as they are told.
    pub(crate) fn told(&self, scope: AnnotationScope) -> impl Iterator<Item = MessageAnnotation> + '_ {
        self.0.iter().map(move |(entry, (modseq, value))| {
            MessageAnnotation::new(entry.clone(), scope, value.clone(), *modseq)
        })
    }

    /// Each: the length of the name, the name, the mod-sequence, the length of the value (all ones if it was removed), the value.
    #[cfg(feature = "embedded")]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::new();
        for (entry, (modseq, value)) in &self.0 {
            row.extend_from_slice(&u16::try_from(entry.as_str().len()).unwrap_or(0).to_be_bytes());
            row.extend_from_slice(entry.as_str().as_bytes());
            row.extend_from_slice(&modseq.get().to_be_bytes());
            let length = value.as_ref().map(|value| u32::try_from(value.len()).unwrap_or(REMOVED));
            row.extend_from_slice(&length.unwrap_or(REMOVED).to_be_bytes());
            row.extend_from_slice(value.as_deref().unwrap_or_default());
        }
        row
    }

    /// What was [encoded](Self::encode); `None` if that is something else.
    #[cfg(feature = "embedded")]
    pub(crate) fn decode(mut row: &[u8]) -> Option<Self> {
        fn field<'a>(row: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
            let (field, rest) = row.split_at_checked(length)?;
            *row = rest;
            Some(field)
        }
        let mut kept = BTreeMap::new();
        while !row.is_empty() {
            let length = u16::from_be_bytes(field(&mut row, 2)?.try_into().ok()?);
            let entry = str::from_utf8(field(&mut row, length.into())?).ok()?.parse().ok()?;
            let modseq = ModSeq::new(u64::from_be_bytes(field(&mut row, 8)?.try_into().ok()?))?;
            let value = match u32::from_be_bytes(field(&mut row, 4)?.try_into().ok()?) {
                REMOVED => None,
                length => Some(Bytes::copy_from_slice(field(&mut row, usize::try_from(length).ok()?)?)),
            };
            kept.insert(entry, (modseq, value));
        }
        Some(Self(kept))
    }
}

#[cfg(feature = "embedded")]
const REMOVED: u32 = u32::MAX;

/// What both scopes say of one message, sorted by entry, what is private first.
pub(crate) fn told(private: Option<&Kept>, shared: Option<&Kept>) -> Vec<MessageAnnotation> {
    let private = private.into_iter().flat_map(|kept| kept.told(AnnotationScope::Private));
    let shared = shared.into_iter().flat_map(|kept| kept.told(AnnotationScope::Shared));
    let mut all: Vec<_> = private.chain(shared).collect();
    all.sort_by(|a, b| (&a.entry, a.scope).cmp(&(&b.entry, b.scope)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(entry: &str, value: Option<&'static str>) -> Noted {
        (
            entry.parse().unwrap(),
            AnnotationScope::Shared,
            value.map(|value| Bytes::from_static(value.as_bytes())),
        )
    }

    fn change(kept: &mut Kept, values: &[Noted], modseq: u64) -> Result<bool> {
        let limits = AnnotationLimits::new(0, 0);
        kept.change(values, AnnotationScope::Shared, ModSeq::new(modseq).unwrap(), &limits)
    }

    #[test]
    fn values_come_back_and_what_is_removed_is_remembered() {
        let mut kept = Kept::default();
        assert_eq!(
            change(&mut kept, &[noted("/comment", Some("a")), noted("/altsubject", Some(""))], 5),
            Ok(true)
        );
        assert_eq!(
            change(&mut kept, &[noted("/comment", Some("a")), noted("/vendor/x", None)], 6),
            Ok(false)
        );
        assert_eq!(kept.octets(), 9 + 11);
        assert_eq!(change(&mut kept, &[noted("/comment", None)], 7), Ok(true));
        assert_eq!(kept.octets(), 11);
        let told: Vec<_> =
            kept.told(AnnotationScope::Shared).map(|told| (told.modseq.get(), told.value)).collect();
        assert_eq!(told, [(5, Some(Bytes::new())), (7, None)]);
        #[cfg(feature = "embedded")]
        {
            assert_eq!(Kept::decode(&kept.encode()), Some(kept.clone()));
            assert_eq!(Kept::decode(&kept.encode()[1..]), None);
        }
    }

    #[test]
    fn there_are_limits() {
        let mut kept = Kept::default();
        let large = Bytes::from(vec![b'x'; 1_025]);
        let too_large = ("/comment".parse().unwrap(), AnnotationScope::Shared, Some(large));
        assert_eq!(change(&mut kept, &[too_large], 1), Err(StoreError::TooLarge { limit: 1_024 }));
        let many: Vec<_> = (0..10).map(|number| noted(&format!("/vendor/{number}"), Some("x"))).collect();
        assert_eq!(change(&mut kept, &many, 2), Ok(true));
        let before = kept.clone();
        assert_eq!(
            change(&mut kept, &[noted("/comment", Some("x"))], 3),
            Err(StoreError::TooMany { limit: 10 })
        );
        // A caller drops what it could not change.
        kept = before;
        assert_eq!(change(&mut kept, &[noted("/vendor/3", None), noted("/comment", Some("x"))], 4), Ok(true));
        assert_eq!(kept.told(AnnotationScope::Shared).count(), 10, "what is removed makes room");
    }
}
