//! Annotations of messages.

use std::collections::BTreeMap;

use mailwright_mail_model::{AnnotationScope, MailboxName, ModSeq, Uid, UidSet};
use std::sync::Arc;

use super::write::{copy_messages, messages_of, move_messages};
use super::{Folder, Memory, State};
use crate::annotate::{Kept, told};
use crate::{
    Annotate, AnnotationChange, AnnotationLimits, AnnotationsStored, Carried, Copied, MailboxRef,
    MessageAnnotation, Noted, QuotaUsage, Result, User,
};

/// The annotations of one message, by the user whose they are; of everybody under none.
pub(super) type Notes = BTreeMap<Option<User>, Kept>;

/// Names and values together.
pub(super) fn octets(notes: &Notes) -> u64 {
    notes.values().map(Kept::octets).sum()
}

pub(super) fn usage(octets: u64) -> QuotaUsage {
    QuotaUsage { annotations: octets, ..QuotaUsage::NOTHING }
}

/// What becomes of the annotations of a message; whether that is something else.
pub(super) fn changed(
    notes: &mut Notes,
    writer: &User,
    values: &[Noted],
    modseq: ModSeq,
    limits: &AnnotationLimits,
) -> Result<bool> {
    let mut any = false;
    for scope in AnnotationScope::ALL {
        let reader = (scope == AnnotationScope::Private).then(|| writer.clone());
        let mut kept = notes.get(&reader).cloned().unwrap_or_default();
        if kept.change(values, scope, modseq, limits)? {
            notes.insert(reader, kept);
            any = true;
        }
    }
    Ok(any)
}

impl Folder {
    /// What goes along with a copy of a message.
    pub(super) fn carried(&self, uid: Uid, carried: &Carried) -> Option<Notes> {
        let notes = self.notes.get(&uid)?.iter().filter(|(reader, _)| carried.takes(reader.as_ref()));
        let notes: Notes = notes.map(|(reader, kept)| (reader.clone(), kept.clone())).collect();
        (!notes.is_empty()).then_some(notes)
    }
}

impl State {
    /// The octets of what goes along with copies.
    pub(super) fn carried_octets(
        &mut self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        carried: &Carried,
    ) -> Result<u64> {
        let folder = self.selected(mailbox)?;
        let there = folder.notes.keys().filter(|uid| uids.contains(**uid));
        Ok(there.filter_map(|uid| folder.carried(*uid, carried)).map(|notes| octets(&notes)).sum())
    }
}

impl Annotate for Memory {
    fn annotation_limits(&self) -> AnnotationLimits {
        self.state().annotation_limits
    }

    async fn message_annotations(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        reader: &User,
    ) -> Result<Vec<(Uid, Vec<MessageAnnotation>)>> {
        let mut state = self.state();
        let notes = state.selected(mailbox)?.notes.iter().filter(|(uid, _)| uids.contains(**uid));
        let seen = notes.map(|(uid, notes)| (*uid, told(notes.get(&Some(reader.clone())), notes.get(&None))));
        Ok(seen.filter(|(_, seen)| !seen.is_empty()).collect())
    }

    async fn annotate_messages(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        writer: &User,
        change: &AnnotationChange,
    ) -> Result<AnnotationsStored> {
        self.change(&[messages_of(mailbox)], |state| {
            let limits = state.annotation_limits;
            let folder = state.selected(mailbox)?;
            let modseq = folder.next_modseq()?;
            let (mut stored, mut after) = (AnnotationsStored::default(), Vec::new());
            let (mut less, mut more) = (0, 0);
            for message in folder.snapshot.among(uids) {
                if change.unchanged_since.is_some_and(|limit| message.modseq > limit) {
                    stored.modified.insert(message.uid);
                    continue;
                }
                let before = folder.notes.get(&message.uid).cloned().unwrap_or_default();
                let mut notes = before.clone();
                let is_other = changed(&mut notes, writer, &change.values, modseq, &limits)?;
                stored.messages.push((message.uid, if is_other { modseq } else { message.modseq }));
                if is_other {
                    (less, more) = (less + octets(&before), more + octets(&notes));
                    after.push((message.uid, message.flags.clone(), notes));
                }
            }
            state.admit(mailbox.user(), &usage(more), &usage(less))?;
            let folder = state.selected(mailbox)?;
            for (uid, flags, notes) in after {
                Arc::make_mut(&mut folder.snapshot).set_flags(uid, flags, modseq);
                folder.notes.insert(uid, notes);
            }
            Ok(stored)
        })
    }

    async fn copy_annotated(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        target: &MailboxName,
        carried: &Carried,
    ) -> Result<Copied> {
        copy_messages(self, mailbox, uids, target, carried)
    }

    async fn move_annotated(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        target: &MailboxName,
        carried: &Carried,
    ) -> Result<Copied> {
        move_messages(self, mailbox, uids, target, carried)
    }
}
