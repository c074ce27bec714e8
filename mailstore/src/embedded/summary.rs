//! What was found out about messages: a row for each column, kept with the body.
//!
//! The rows of a column lie together, in the order in which bodies were made. Messages that came one after another into one mailbox
//! are read by one scan, which is many times faster than looking for each.

use bytes::Bytes;

use super::Core;
use super::committer::Group;
use super::database::failed;
use super::row::{self, number_of};
use super::sealed::Reader;
use crate::vault::BodyKey;
use crate::{Column, MailboxRef, MessageRef, Result, Summary, User};

/// The most octets a part of a summary may have.
const LARGEST: usize = 1 << 20;
/// Up to how many rows of others are passed over rather than looked around.
const GAP: u64 = 8;
/// How many messages are worth a scan.
const FEW: usize = 4;

pub(super) fn key(column: Column, body: u64) -> Vec<u8> {
    let number = match column {
        Column::Envelope => 1,
        Column::Structure => 2,
        Column::Header => 3,
        // 4 was a column that nobody filled.
        Column::BodyStructure => 5,
    };
    [&[number][..], &body.to_be_bytes()].concat()
}

/// Whose summaries are wanted. What a message refers to is not counted for each of them: this is done for all messages of a mailbox.
pub(super) struct Wanted {
    /// Their bodies, and how large those are.
    messages: Vec<(u64, u64)>,
    /// From which of them on whose they are.
    users: Vec<(usize, User)>,
}

impl Wanted {
    pub(super) fn of(messages: &[MessageRef]) -> Self {
        let (mut users, mut before): (Vec<(usize, User)>, Option<&MailboxRef>) = (Vec::new(), None);
        for (index, message) in messages.iter().enumerate() {
            if before.replace(&message.mailbox).is_none_or(|before| *before != message.mailbox) {
                users.push((index, message.mailbox.user().clone()));
            }
        }
        let body = |message: &MessageRef| message.object.and_then(number_of).unwrap_or(0);
        Self { messages: messages.iter().map(|message| (body(message), message.size)).collect(), users }
    }

    fn user(&self, index: usize) -> Option<&User> {
        self.users.iter().rev().find(|(from, _)| *from <= index).map(|(_, user)| user)
    }
}

impl Core {
    pub(super) fn summaries(&self, wanted: &Wanted) -> Result<Vec<Option<Summary>>> {
        let mut summaries: Vec<Option<Summary>> = vec![None; wanted.messages.len()];
        for column in Column::ALL.iter().copied() {
            let found = self.summary_column(wanted, column)?;
            for (summary, found) in summaries.iter_mut().zip(found) {
                if let Some(found) = found {
                    *summary.get_or_insert_default().column_mut(column) = found;
                }
            }
        }
        Ok(summaries)
    }

    pub(super) fn summary_column(&self, wanted: &Wanted, column: Column) -> Result<Vec<Option<Bytes>>> {
        let bodies: Vec<u64> = wanted.messages.iter().map(|(body, _)| *body).collect();
        let mut found: Vec<Option<Found>> = Vec::with_capacity(bodies.len());
        let mut rest = bodies.as_slice();
        while let Some(first) = rest.first() {
            let near = |pair: &[u64]| matches!(pair, [a, b] if b.checked_sub(*a).is_some_and(|gap| (1..=GAP).contains(&gap)));
            let length = 1 + rest.windows(2).take_while(|pair| near(pair)).count();
            let (run, later) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = later;
            if run.len() < FEW {
                for body in run {
                    found.push(self.summary_row(column, *body)?);
                }
            } else {
                self.scan(column, *first, run, &mut found)?;
            }
        }
        let open = |(index, found): (usize, Option<Found>)| match found? {
            Found::Plain(value) => Some(value),
            Found::Sealed(row_key, sealed) => {
                let (body, size) = *wanted.messages.get(index)?;
                // Whoever cannot open it finds out what is the matter when they look at the message itself.
                let key = self.body_key(body, size, Reader::User(wanted.user(index)?)).ok()?;
                key.open(&row_key, &sealed).map(Bytes::from)
            }
        };
        Ok(found.into_iter().enumerate().map(open).collect())
    }

    fn summary_row(&self, column: Column, body: u64) -> Result<Option<Found>> {
        let row_key = key(column, body);
        let sealed = self.database.summaries.get(&row_key).map_err(failed)?;
        Ok(sealed.and_then(|sealed| unseal(&row_key, sealed.into())))
    }

    /// The rows of ascending bodies that are near each other.
    fn scan(&self, column: Column, first: u64, run: &[u64], found: &mut Vec<Option<Found>>) -> Result<()> {
        let last = run.last().copied().unwrap_or(first);
        let mut wanted = run.iter().copied().peekable();
        for entry in self.database.summaries.range(key(column, first)..=key(column, last)) {
            let (row_key, sealed) = entry.into_inner().map_err(failed)?;
            let Some(body) = row_key.last_chunk::<8>().map(|body| u64::from_be_bytes(*body)) else {
                continue;
            };
            while wanted.next_if(|wanted| *wanted < body).is_some() {
                found.push(None);
            }
            if wanted.next_if_eq(&body).is_some() {
                found.push(unseal(&row_key, sealed.into()));
            }
        }
        found.extend(wanted.map(|_| None));
        Ok(())
    }
}

impl Group<'_> {
    pub(super) fn put_summary(&mut self, body: u64, summary: &Summary, seal: Option<&BodyKey>) -> Result<()> {
        for column in Column::ALL.iter().copied() {
            let value = summary.column(column);
            if !value.is_empty() && value.len() <= LARGEST {
                let row_key = key(column, body);
                let sealed = match seal {
                    Some(seal) => row::seal(&marked(&row_key), seal.seal(&row_key, value)?),
                    None => row::sealed(&row_key, &[value]),
                };
                self.put_lazily(&self.core.database.summaries, row_key, sealed);
            }
        }
        Ok(())
    }
}

/// What a row holds.
enum Found {
    Plain(Bytes),
    /// Sealed under its key.
    Sealed(Vec<u8>, Bytes),
}

/// What the checksum of a sealed value is over, before the value.
fn marked(row_key: &[u8]) -> Vec<u8> {
    [row_key, &[0xc5]].concat()
}

/// Whether a row is whole and its value sealed.
pub(super) fn is_sealed(row_key: &[u8], sealed: &[u8]) -> bool {
    row::open(&marked(row_key), sealed).is_some()
}

/// The value of a row that is not sealed.
pub(super) fn plain(row_key: &[u8], sealed: Bytes) -> Option<Bytes> {
    match unseal(row_key, sealed)? {
        Found::Plain(value) => Some(value),
        Found::Sealed(..) => None,
    }
}

/// The value of a row. A corrupt one is as good as none: it can be found out anew.
fn unseal(row_key: &[u8], mut sealed: Bytes) -> Option<Found> {
    // The value is what is in front. To cut it off counts no references, which would be dear for all messages of a mailbox.
    if let Some(length) = row::open(row_key, &sealed).map(<[u8]>::len) {
        sealed.truncate(length);
        return Some(Found::Plain(sealed));
    }
    let length = row::open(&marked(row_key), &sealed)?.len();
    sealed.truncate(length);
    Some(Found::Sealed(row_key.to_vec(), sealed))
}
