//! Whether what is kept of messages is what is found in them: earlier versions may have found something else.

use bytes::Bytes;
use fjall::Readable;

use super::{Check, CheckProgress};
use crate::embedded::chunk::{self, Unpacked};
use crate::embedded::committer::Group;
use crate::embedded::database::{DESCRIBED, failed};
use crate::embedded::sealed::Reader;
use crate::embedded::{Core, Embedded, body, summary};
use crate::{Column, Describe, Describer, Offload, Result, Summary};

/// How many octets of summaries, and of how many messages, are written at a time.
const OCTETS: usize = 4 << 20;
const LOT: usize = 1_024;

/// What was found of bodies, each in 8 octets.
#[derive(Default)]
pub(super) struct Described {
    /// The body that is being looked at, how many of its octets were, and what finds out about it.
    current: Option<(u64, u64, Box<dyn Describe>)>,
    /// Those of which something else is kept.
    pub(super) wrong: Vec<u64>,
    /// Those that cannot be read without their owners.
    pub(super) sealed: Vec<u64>,
}

impl Check<'_> {
    /// Looks at a chunk of a body that something refers to. Chunks come in order.
    pub(super) fn describe(&mut self, number: u64, size: u64, first: u64, key: &[u8], octets: Unpacked) {
        let Some(describer) = self.core.options.describer else { return };
        if first == 0 {
            self.described.current = Some((number, 0, describer.begin()));
        }
        let current = self.described.current.take();
        let Some((_, seen, mut message)) =
            current.filter(|(body, seen, _)| *body == number && *seen == first)
        else {
            return;
        };
        let seal = || self.core.body_key(number, size, Reader::Queue);
        match octets.open(key, seal) {
            Ok(Some(octets)) => {
                message.push(&octets);
                let seen = seen + octets.len() as u64;
                if seen < size {
                    self.described.current = Some((number, seen, message));
                } else if seen == size && self.is_wrong(number, &message.finish()) {
                    self.described.wrong.push(number);
                }
            }
            Ok(None) => {}
            Err(_) => self.described.sealed.push(number),
        }
    }

    /// Whether something else is kept of a body. What is not kept is found out when it is asked for.
    fn is_wrong(&self, body: u64, found: &Summary) -> bool {
        Column::ALL.iter().any(|column| {
            let key = summary::key(*column, body);
            let kept = self.moment.get(&self.core.database.summaries, &key).ok().flatten();
            let kept = kept.and_then(|kept| summary::plain(&key, Bytes::from(kept)));
            kept.is_some_and(|kept| kept != *found.column(*column))
        })
    }

    /// Tells of how many messages something else is kept than is found.
    pub(super) fn tell_described(&mut self) {
        let wrong = self.described.wrong.len();
        if wrong > 0 {
            let what = format!(
                "what is kept of {wrong} messages (envelope, structure, header) is not what is found in them"
            );
            self.report.findings.push(super::Finding { what, repaired: true });
        }
    }
}

impl<O: Offload + Clone> Embedded<O> {
    /// Finds out again about bodies of which something wrong is kept, and forgets what is kept of those that cannot be read now and were
    /// described by an earlier version: how many of these there were. Who reads them finds out. If it is cut short, the next check goes on.
    pub(super) async fn describe_again(
        &self,
        described: &Described,
        progress: &mut (dyn FnMut(CheckProgress) + Send),
    ) -> Result<usize> {
        let Some(describer) = self.shared.lasting.options.describer else { return Ok(0) };
        let is_old = self.is_described_by_another();
        let (mut lot, mut octets, mut rows) = (Vec::new(), 0, 0);
        for number in &described.wrong {
            let summary = self.shared.core()?.describe(*number, describer)?;
            octets += summary.as_ref().map_or(0, Summary::len);
            lot.push((*number, summary));
            if octets > OCTETS || lot.len() >= LOT {
                rows += lot.len() as u64;
                self.keep_again(std::mem::take(&mut lot)).await?;
                octets = 0;
                progress(CheckProgress { step: "structures", rows });
            }
        }
        self.keep_again(lot).await?;
        let sealed = if is_old { described.sealed.as_slice() } else { &[] };
        for lot in sealed.chunks(LOT) {
            self.keep_again(lot.iter().map(|number| (*number, None)).collect()).await?;
        }
        if is_old {
            let version = describer.version();
            let note = move |group: &mut Group<'_>| {
                let (key, value) = (DESCRIBED, u64::from(version).to_be_bytes());
                let value = super::row::seal(key.as_bytes(), value.to_vec());
                group.put(&group.core.database.meta, key.as_bytes().to_vec(), value);
                Ok(())
            };
            self.shared.committer.submit(note).await?;
        }
        Ok(sealed.len())
    }

    /// Keeps what was found of bodies in place of what is kept.
    async fn keep_again(&self, lot: Vec<(u64, Option<Summary>)>) -> Result<()> {
        let keep = move |group: &mut Group<'_>| {
            let core = group.core;
            for (number, summary) in lot {
                for column in Column::ALL.iter().copied() {
                    group.delete_lazily(&core.database.summaries, summary::key(column, number));
                }
                // It may have gone meanwhile.
                let is_there = || core.database.bodies.contains_key(body::key(number, 0)).map_err(failed);
                if let Some(summary) = summary
                    && is_there()?
                {
                    group.put_summary(number, &summary, None)?;
                }
            }
            Ok(())
        };
        self.shared.committer.submit(keep).await
    }
}

impl Core {
    /// What is found in a body that everybody may read; nothing of one that cannot be read.
    fn describe(&self, number: u64, describer: Describer) -> Result<Option<Summary>> {
        let mut message = describer.begin();
        for entry in self.database.bodies.prefix(number.to_be_bytes()) {
            let (key, chunk) = entry.into_inner().map_err(failed)?;
            let Some(unpacked) = chunk::unpack(&key, &Bytes::from(chunk)) else { return Ok(None) };
            let seal = || self.body_key(number, 0, Reader::Queue);
            let Ok(Some(octets)) = unpacked.open(&key, seal) else { return Ok(None) };
            message.push(&octets);
        }
        Ok(Some(message.finish()))
    }
}
