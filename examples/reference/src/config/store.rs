//! Where mail is kept.

use std::path::Path;

use mailwright::mailstore::{AnnotationLimits, User, embedded::FreeSpace, maildir::Template};
use serde::{Deserialize, Serialize};

use super::Period;

/// Where mail is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Store {
    pub(crate) kind: StoreKind,
    /// Where each user's Maildir is, with variables.
    pub(crate) path: String,
    /// Where each user's file of messages is, if mail is delivered there instead.
    pub(crate) mbox: String,
    /// How many octets of the disk to keep free.
    pub(crate) reserve: u64,
    /// How long expunged messages can be had back.
    pub(crate) undelete: Period,
    /// The level of Zstandard by which bodies are compressed; 0 not at all.
    pub(crate) compression: u8,
    /// Whether texts are indexed for searches.
    pub(crate) fulltext: bool,
    /// The most octets of an annotation of a message.
    pub(crate) annotation_size: u32,
    /// The most annotations of a message that are shared, and that are private to one user.
    pub(crate) annotations_per_message: u16,
}

impl Store {
    /// Whether so many octets fit on the disk of the data directory beside the reserve; `None` if nobody looks.
    pub(crate) fn room(&self, data: &Path) -> Option<impl Fn(u64) -> bool + Send + Sync + use<>> {
        let (free, reserve) = (FreeSpace::of(data), self.reserve);
        (reserve != 0).then_some(move |octets: u64| {
            let wanted = reserve.saturating_add(octets);
            free.octets(wanted) >= wanted
        })
    }

    /// Where mail is that is not in the database of the data directory, as it is configured.
    pub(crate) fn elsewhere(&self) -> Vec<String> {
        let maildirs = Some(&self.path).filter(|_| self.kind == StoreKind::Maildir);
        maildirs.into_iter().chain(Some(&self.mbox).filter(|path| !path.is_empty())).cloned().collect()
    }

    /// Why an account of this name could have no mail: it would have no file or directory of its own.
    pub(crate) fn place_problem(&self, name: &str) -> Option<String> {
        let user = User::new(name).ok()?;
        let place = |path: &String| Template::new(path).ok()?.path(&user).err();
        self.elsewhere().iter().find_map(place).map(|error| format!("no mail can come to {name}: {error}"))
    }

    /// How much may be noted about a message.
    pub(crate) fn annotation_limits(&self) -> AnnotationLimits {
        AnnotationLimits::new(self.annotation_size, self.annotations_per_message)
    }

    /// What is wrong with the limits of annotations: RFC 5257 §4.1 has some that every client may rely on.
    pub(super) fn annotation_problem(&self) -> Option<String> {
        let least = AnnotationLimits::LEAST;
        // A row holds all of a message, and is held in memory.
        let most = 64 << 20;
        let all = u64::from(self.annotation_size) * u64::from(self.annotations_per_message);
        if self.annotation_size < least.octets || self.annotations_per_message < least.entries {
            return Some(format!(
                "[store] annotation_size must be {} or more, annotations_per_message {} or more (RFC 5257)",
                least.octets, least.entries
            ));
        }
        (all > most).then(|| {
            format!("[store] annotation_size times annotations_per_message must not be more than {most}")
        })
    }

    /// What is wrong with it, as far as the index of texts goes.
    pub(super) fn fulltext_problem(&self) -> Option<String> {
        let problem = match self.kind {
            _ if !self.fulltext => return None,
            StoreKind::Maildir => "needs kind = \"embedded\"",
            StoreKind::Embedded if cfg!(feature = "fulltext") => return None,
            StoreKind::Embedded => {
                "is set, but this program was built without it: build it with --features fulltext"
            }
        };
        Some(format!("[store] fulltext {problem}"))
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            kind: StoreKind::default(),
            path: String::new(),
            mbox: String::new(),
            reserve: 128 << 20,
            undelete: Period::default(),
            compression: 0,
            fulltext: false,
            annotation_size: AnnotationLimits::default().octets,
            annotations_per_message: AnnotationLimits::default().entries,
        }
    }
}

/// How mail is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    /// In the database of the data directory.
    #[default]
    Embedded,
    /// In Maildir++ trees.
    Maildir,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_annotations_are_within_reason() {
        let problem = |text: &str| toml::from_str::<Store>(text).unwrap().annotation_problem();
        assert_eq!(problem(""), None);
        assert_eq!(problem("annotation_size = 1024\nannotations_per_message = 10"), None);
        assert!(problem("annotation_size = 1023").unwrap().contains("1024 or more"));
        assert!(problem("annotations_per_message = 9").unwrap().contains("10 or more"));
        assert!(problem("annotation_size = 10000000").unwrap().contains("not be more"));
    }

    #[test]
    fn the_index_of_texts_needs_the_store_and_the_feature() {
        let problem = |text: &str| toml::from_str::<Store>(text).unwrap().fulltext_problem();
        assert_eq!(problem(""), None);
        assert_eq!(problem("fulltext = true").is_none(), cfg!(feature = "fulltext"));
        assert!(
            problem("fulltext = true\nkind = \"maildir\"").unwrap().ends_with("needs kind = \"embedded\"")
        );
    }
}
