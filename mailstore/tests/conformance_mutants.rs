//! Stores that do one thing wrong with what is no mailbox any more: the suite finds each of them.
#![allow(clippy::unwrap_used, missing_docs)]

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::{MailboxName, ModSeq, Uid, UidSet};
use mailwright_mailstore::memory::Memory;
use mailwright_mailstore::{
    Annotate, AnnotationChange, AnnotationLimits, AnnotationsStored, Carried, Changes, Copied, Expunge,
    Expunged, FlagChange, FlagsStored, Folders, Mailbox, MailboxRef, MessageAnnotation, MessageRef, Result,
    Snapshot, Store, StoreError, Upload, User, Write, block_on, conformance,
};

/// What is done for whatever mailbox has the name now, or done and refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Read,
    Store,
    Expunge,
    UidExpunge,
    ExpungeSet,
    Copy,
    Move,
    MoveLoses,
    MoveAnyway,
    Recent,
    Expunged,
    Annotations,
    Annotate,
    CopyAnnotated,
    MoveAnnotated,
    MoveAnnotatedLoses,
}

struct Mutant {
    memory: Memory,
    fault: Fault,
}

impl Mutant {
    /// The reference, or with this fault one to whatever has its name.
    async fn meant(&self, fault: Fault, mailbox: &MailboxRef) -> Result<MailboxRef> {
        if self.fault != fault {
            return Ok(mailbox.clone());
        }
        let now = self.memory.open(mailbox.user(), mailbox.name()).await?;
        Ok(MailboxRef::new(mailbox.user().clone(), mailbox.name().clone(), &now))
    }
}

impl Store for Mutant {
    async fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> {
        self.memory.mailboxes(user).await
    }

    async fn open(&self, user: &User, name: &MailboxName) -> Result<Arc<Snapshot>> {
        self.memory.open(user, name).await
    }

    async fn read(&self, message: &MessageRef, range: Range<u64>) -> Result<Bytes> {
        let mut message = message.clone();
        message.mailbox = self.meant(Fault::Read, &message.mailbox).await?;
        self.memory.read(&message, range).await
    }

    async fn status(&self, user: &User, name: &MailboxName) -> Result<mailwright_mailstore::Status> {
        self.memory.status(user, name).await
    }

    fn writer(&self) -> Option<&impl Write> {
        Some(self)
    }

    fn folders(&self) -> Option<&impl Folders> {
        self.memory.folders()
    }

    fn changes(&self) -> Option<&impl Changes> {
        Some(self)
    }

    fn annotator(&self) -> Option<&impl Annotate> {
        Some(self)
    }
}

impl Write for Mutant {
    async fn begin(&self, size: Option<u64>) -> Result<Upload> {
        self.memory.begin(size).await
    }

    async fn store_flags(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        change: &FlagChange,
    ) -> Result<FlagsStored> {
        let mailbox = self.meant(Fault::Store, mailbox).await?;
        self.memory.store_flags(&mailbox, uids, change).await
    }

    async fn expunge(&self, mailbox: &MailboxRef, which: &Expunge) -> Result<Expunged> {
        let fault = match which {
            Expunge::Deleted => Fault::Expunge,
            Expunge::DeletedAmong(_) => Fault::UidExpunge,
            Expunge::Exactly(_) => Fault::ExpungeSet,
            _ => Fault::None,
        };
        self.memory.expunge(&self.meant(fault, mailbox).await?, which).await
    }

    async fn copy(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        self.memory.copy(&self.meant(Fault::Copy, mailbox).await?, uids, target).await
    }

    async fn move_to(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        let moved = self.memory.move_to(&self.meant(Fault::Move, mailbox).await?, uids, target).await;
        if moved == Err(StoreError::NotFound) && self.fault == Fault::MoveLoses {
            let _ = self.memory.expunge(mailbox, &Expunge::Exactly(uids.clone())).await;
        }
        if moved == Err(StoreError::NotFound) && self.fault == Fault::MoveAnyway {
            let mailbox = self.meant(Fault::MoveAnyway, mailbox).await?;
            let _ = self.memory.move_to(&mailbox, uids, target).await;
        }
        moved
    }

    fn takes_several(&self) -> bool {
        self.memory.takes_several()
    }

    async fn claim_recent(&self, mailbox: &MailboxRef) -> Result<Option<Uid>> {
        self.memory.claim_recent(&self.meant(Fault::Recent, mailbox).await?).await
    }
}

impl Changes for Mutant {
    async fn expunged(&self, mailbox: &MailboxRef, since: ModSeq) -> Result<Option<UidSet>> {
        self.memory.expunged(&self.meant(Fault::Expunged, mailbox).await?, since).await
    }
}

impl Annotate for Mutant {
    fn annotation_limits(&self) -> AnnotationLimits {
        self.memory.annotation_limits()
    }

    async fn message_annotations(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        reader: &User,
    ) -> Result<Vec<(Uid, Vec<MessageAnnotation>)>> {
        let mailbox = self.meant(Fault::Annotations, mailbox).await?;
        self.memory.message_annotations(&mailbox, uids, reader).await
    }

    async fn annotate_messages(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        writer: &User,
        change: &AnnotationChange,
    ) -> Result<AnnotationsStored> {
        let mailbox = self.meant(Fault::Annotate, mailbox).await?;
        self.memory.annotate_messages(&mailbox, uids, writer, change).await
    }

    async fn copy_annotated(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        target: &MailboxName,
        carried: &Carried,
    ) -> Result<Copied> {
        let mailbox = self.meant(Fault::CopyAnnotated, mailbox).await?;
        self.memory.copy_annotated(&mailbox, uids, target, carried).await
    }

    async fn move_annotated(
        &self,
        mailbox: &MailboxRef,
        uids: &UidSet,
        target: &MailboxName,
        carried: &Carried,
    ) -> Result<Copied> {
        let place = self.meant(Fault::MoveAnnotated, mailbox).await?;
        let moved = self.memory.move_annotated(&place, uids, target, carried).await;
        if moved == Err(StoreError::NotFound) && self.fault == Fault::MoveAnnotatedLoses {
            let _ = self.memory.expunge(mailbox, &Expunge::Exactly(uids.clone())).await;
        }
        moved
    }
}

#[test]
fn each_mutant_is_found() {
    let checked = |fault| block_on(conformance::check(&Mutant { memory: Memory::new(), fault }));
    checked(Fault::None).unwrap();
    for (fault, check, what) in [
        (Fault::Read, "stale::a_mailbox_made_again_keeps_what_it_has", "octets of another message"),
        (Fault::Store, "stale::references_of_another_mailbox_find_nothing", "STORE: "),
        (Fault::Expunge, "stale::references_of_another_mailbox_find_nothing", "EXPUNGE: "),
        (Fault::UidExpunge, "stale::references_of_another_mailbox_find_nothing", "UID EXPUNGE: "),
        (Fault::ExpungeSet, "stale::references_of_another_mailbox_find_nothing", "an expunge of a set: "),
        (Fault::Copy, "stale::references_of_another_mailbox_find_nothing", "COPY: "),
        (Fault::Move, "stale::references_of_another_mailbox_find_nothing", "MOVE: "),
        (Fault::MoveAnyway, "stale::references_of_another_mailbox_find_nothing", "MOVE: "),
        (Fault::MoveLoses, "stale::nothing_goes_where_there_is_no_mailbox", "MOVE: "),
        (Fault::Recent, "stale::references_of_another_mailbox_find_nothing", "\\Recent: "),
        (Fault::Expunged, "stale::references_of_another_mailbox_find_nothing", "what was expunged: "),
        (Fault::Annotations, "stale::references_of_another_mailbox_find_nothing", "annotations: "),
        (Fault::Annotate, "stale::references_of_another_mailbox_find_nothing", "STORE ANNOTATION: "),
        (
            Fault::CopyAnnotated,
            "stale::references_of_another_mailbox_find_nothing",
            "COPY with annotations: ",
        ),
        (
            Fault::MoveAnnotated,
            "stale::references_of_another_mailbox_find_nothing",
            "MOVE with annotations: ",
        ),
        (
            Fault::MoveAnnotatedLoses,
            "stale::nothing_goes_where_there_is_no_mailbox",
            "MOVE with annotations: ",
        ),
    ] {
        let failure = checked(fault).unwrap_err();
        assert_eq!((failure.check, failure.what.contains(what)), (check, true), "{fault:?}: {failure}");
        // A check calls a store many times: the failure says where the suite expected otherwise.
        let line = failure
            .what
            .rsplit_once("(conformance/stale.rs, line ")
            .and_then(|(_, rest)| rest.strip_suffix(')'));
        assert!(line.is_some_and(|line| line.parse::<u32>().is_ok_and(|line| line > 1)), "{failure}");
    }
}
