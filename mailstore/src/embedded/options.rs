//! How the store behaves.

use std::time::Duration;

use crate::{AnnotationLimits, Describer, QuotaLimits};

/// Calls what it is given once, on the thread that it is called on itself, having seen to it that whatever else that thread would do
/// is done elsewhere while it waits for the disk; or does not call it, where that cannot be.
pub type InPlace = fn(&mut dyn FnMut());

/// How an [`Embedded`](super::Embedded) store behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How many octets of blocks read from disk to keep in memory.
    pub cache: u64,
    /// How many of its files the database keeps open. When it cannot open one more, it keeps nothing until the store is opened anew;
    /// so whatever else opens files, such as a server for its clients, must leave it these and about as many as 50.
    pub files: usize,
    /// How many octets written the database keeps in memory before it sorts them into tables. A few
    /// times this much may be in use.
    pub memtable: u64,
    /// How many octets of snapshots to keep in memory for mailboxes nobody has open.
    pub snapshots: usize,
    /// The messages of mailboxes with as many as this are packed when they leave memory, and if they are not in it, when
    /// no message has come for a moment, so that they open faster: see [`Embedded::wind_down`](super::Embedded::wind_down).
    pub pack_from: u32,
    /// How long an expunged message can be read by sessions that still show it.
    pub grace: Duration,
    /// How many octets of the disk to keep free. With less, messages are refused with [`Full`](crate::StoreError::Full) until there is
    /// room again; with less than a quarter, so is everything. 0 looks at nothing.
    pub reserve: u64,
    /// What a user may have who has no limits of their own.
    pub quota: QuotaLimits,
    /// How much may be noted about a message (RFC 5257 §4.1).
    pub annotations: AnnotationLimits,
    /// At which parts of a limit, in percent, to warn.
    pub quota_warnings: Vec<u8>,
    /// How long an expunged message can be had back; with zero, not at all.
    pub undelete: Duration,
    /// The level of Zstandard, 1 to 19, by which bodies that come are compressed; `None` writes them as they are. Both are read, and
    /// each chunk of 256 KiB by itself, so that a range costs no more than that. Once this was `Some`, programs without the
    /// feature `zstd` refuse to open the store.
    #[cfg(feature = "zstd")]
    pub zstd: Option<i32>,
    /// How a change that nobody else has one beside is written on the thread that asks for it, which saves two threads a wakeup; `None`
    /// leaves all changes to a thread of the store.
    pub in_place: Option<InPlace>,
    /// The most octets of a message that is appended, as servers announce it; `None` is no limit.
    pub append_limit: Option<u64>,
    /// Who finds out what is kept of messages, so that a check ([`Embedded::check`](super::Embedded::check)) sees where something else is
    /// kept than is found now; `None` looks at none of that.
    pub describer: Option<Describer>,
    /// Whether the texts of mail are indexed for searches, in the directory `fulltext` of the store's: a few kilobytes a message, made
    /// of the mail and made anew if it is missing or damaged, so in no backup. It has to be kept up with the mail, see
    /// [`Search`](crate::Search). The mail of users who have keys to encrypted mail is not in it. A store that is opened without
    /// this removes it.
    #[cfg(feature = "fulltext")]
    pub fulltext: bool,
}

impl Default for Options {
    /// 16 MiB, 256 files, 8 MiB, 64 MiB, 1,024 messages, five minutes, 128 MiB of the disk; no quota, warnings at 80 and 95 percent; no undelete window, no
    /// limit to messages.
    fn default() -> Self {
        Self {
            cache: 16 << 20,
            files: 256,
            memtable: 8 << 20,
            snapshots: 64 << 20,
            pack_from: super::packed::PACK_FROM,
            grace: Duration::from_secs(300),
            reserve: 128 << 20,
            quota: QuotaLimits::NONE,
            annotations: AnnotationLimits::default(),
            quota_warnings: vec![80, 95],
            undelete: Duration::ZERO,
            #[cfg(feature = "zstd")]
            zstd: None,
            in_place: None,
            append_limit: None,
            describer: None,
            #[cfg(feature = "fulltext")]
            fulltext: false,
        }
    }
}
