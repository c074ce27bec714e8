//! Stores that do one thing wrong, as back ends in the wild do: the suite finds each of them.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use mailwright_mail_model::{Flag, FlagSet, MailboxName, ModSeq, SpecialUse, Uid, UidSet};
use mailwright_mailstore::memory::Memory;
use mailwright_mailstore::{
    Annotated, Annotation, Changes, Copied, EntryName, Expunge, Expunged, Feed, FeedEvent, FeedPosition,
    FlagChange, FlagOperation, FlagsStored, Folders, Mailbox, MailboxRef, MessageRef, Metadata, News, Quota,
    Result, Rights, Snapshot, Store, Upload, User, Watch, Write, block_on, conformance,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    FlagsRace,
    RightsIgnored,
    CopyInSteps,
    MoveRace,
    MoveLosesFlags,
    MoveHistoryMissing,
    FirstMessages,
    FirstMailboxes,
    AsciiOnly,
    AnyCase,
    RenameLike,
    RenameLosesUse,
    RenameMovesSubscriptions,
    DeleteUnsubscribes,
    EraseKeepsPrivate,
    LostWakeUp,
    RenameUntold,
    FlagsUntold,
}

struct Mutant {
    memory: Memory,
    fault: Fault,
    /// UIDs that were moved, and mailboxes that were renamed.
    moved: Mutex<UidSet>,
    renamed: Mutex<BTreeSet<MailboxName>>,
}

/// Lets others go on.
async fn step() {
    let mut polled = false;
    poll_fn(|context| {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

impl Mutant {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    async fn named(&self, user: &User, name: &MailboxName) -> MailboxName {
        let all = self.memory.mailboxes(user).await.unwrap_or_default();
        let same = |other: &MailboxName| other.as_str().eq_ignore_ascii_case(name.as_str());
        let found =
            all.into_iter().map(|mailbox| mailbox.name).find(|other| self.is(Fault::AnyCase) && same(other));
        found.unwrap_or_else(|| name.clone())
    }
}

impl Store for Mutant {
    async fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> {
        let mut all = self.memory.mailboxes(user).await?;
        match self.fault {
            Fault::FirstMailboxes => all.truncate(20),
            Fault::AsciiOnly => all.retain(|mailbox| mailbox.name.as_str().is_ascii()),
            Fault::RenameLosesUse => {
                let renamed = self.renamed.lock().unwrap();
                all.iter_mut().filter(|mailbox| renamed.contains(&mailbox.name)).for_each(|mailbox| {
                    mailbox.special_use = None;
                });
            }
            _ => {}
        }
        Ok(all)
    }

    async fn open(&self, user: &User, name: &MailboxName) -> Result<Arc<Snapshot>> {
        step().await;
        let found = self.memory.open(user, &self.named(user, name).await).await?;
        if !self.is(Fault::FirstMessages) {
            return Ok(found);
        }
        let first = Snapshot::builder(found.uid_validity()).uid_next(found.uid_next());
        let first =
            first.highest_modseq(found.highest_modseq()).messages(found.messages().take(100).cloned());
        Ok(Arc::new(first.build()))
    }

    async fn read(&self, message: &MessageRef, range: Range<u64>) -> Result<Bytes> {
        self.memory.read(message, range).await
    }

    fn writer(&self) -> Option<&impl Write> {
        Some(self)
    }

    fn folders(&self) -> Option<&impl Folders> {
        Some(self)
    }

    fn watch(&self) -> Option<&impl Watch> {
        Some(self)
    }

    fn changes(&self) -> Option<&impl Changes> {
        Some(self)
    }

    fn quota(&self) -> Option<&impl Quota> {
        self.memory.quota()
    }

    fn metadata(&self) -> Option<&impl Metadata> {
        Some(self)
    }

    fn feed(&self) -> Option<&impl Feed> {
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
        let mut change = change.clone();
        if self.is(Fault::RightsIgnored) {
            change.rights = Rights::ALL;
        }
        if self.is(Fault::FlagsRace) && uids.len() == 1 {
            // What was read before others wrote is written back.
            let before = self.memory.open(mailbox.user(), mailbox.name()).await?;
            step().await;
            if let Some(message) = before.message(uids.first().unwrap()) {
                change.flags = change.apply(&message.flags);
                change.operation = FlagOperation::Replace;
            }
        }
        self.memory.store_flags(mailbox, uids, &change).await
    }

    async fn expunge(&self, mailbox: &MailboxRef, which: &Expunge) -> Result<Expunged> {
        self.memory.expunge(mailbox, which).await
    }

    async fn copy(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        let there = self.memory.open(mailbox.user(), mailbox.name()).await?.uids();
        let uids: UidSet = uids.iter().take(1_000).filter(|uid| there.contains(*uid)).collect();
        let mut all = self.memory.copy(mailbox, &UidSet::new(), target).await?;
        if !self.is(Fault::CopyInSteps) {
            return self.memory.copy(mailbox, &uids, target).await;
        }
        for uid in uids.iter() {
            let copied = self.memory.copy(mailbox, &uid.into(), target).await?;
            (all.source, all.target) = (all.source.union(&copied.source), all.target.union(&copied.target));
            all.highest_modseq = copied.highest_modseq;
            step().await;
        }
        Ok(all)
    }

    async fn move_to(&self, mailbox: &MailboxRef, uids: &UidSet, target: &MailboxName) -> Result<Copied> {
        if self.is(Fault::MoveRace) && uids.len() == 1 {
            let mut copied = self.memory.copy(mailbox, uids, target).await?;
            step().await;
            let gone = self.memory.expunge(mailbox, &Expunge::Exactly(uids.clone())).await?;
            copied.highest_modseq = gone.highest_modseq;
            return Ok(copied);
        }
        let moved = self.memory.move_to(mailbox, uids, target).await?;
        if self.is(Fault::MoveLosesFlags) {
            let now = self.memory.open(mailbox.user(), target).await?;
            let there = MailboxRef::new(mailbox.user().clone(), target.clone(), &now);
            let none = FlagChange::new(FlagOperation::Replace, FlagSet::from_iter([Flag::Seen]));
            self.memory.store_flags(&there, &moved.target, &none).await?;
        }
        let mut all = self.moved.lock().unwrap();
        *all = all.union(&moved.source);
        Ok(moved)
    }

    async fn claim_recent(&self, mailbox: &MailboxRef) -> Result<Option<Uid>> {
        self.memory.claim_recent(mailbox).await
    }
}

impl Changes for Mutant {
    async fn expunged(&self, mailbox: &MailboxRef, since: ModSeq) -> Result<Option<UidSet>> {
        let known = self.memory.expunged(mailbox, since).await?;
        let moved = self.moved.lock().unwrap();
        Ok(known
            .map(|known| if self.is(Fault::MoveHistoryMissing) { known.difference(&moved) } else { known }))
    }
}

impl Folders for Mutant {
    async fn create(&self, user: &User, name: &MailboxName, used: Option<SpecialUse>) -> Result<Mailbox> {
        self.memory.create(user, &self.named(user, name).await, used).await
    }

    async fn delete(&self, user: &User, name: &MailboxName) -> Result<()> {
        self.memory.delete(user, name).await?;
        if self.is(Fault::DeleteUnsubscribes) {
            self.memory.unsubscribe(user, name).await?;
        }
        Ok(())
    }

    async fn rename(&self, user: &User, from: &MailboxName, to: &MailboxName) -> Result<()> {
        self.memory.rename(user, from, to).await?;
        self.renamed.lock().unwrap().insert(to.clone());
        if self.is(Fault::RenameMovesSubscriptions) && self.memory.subscriptions(user).await?.contains(from) {
            self.memory.unsubscribe(user, from).await?;
            self.memory.subscribe(user, to).await?;
        }
        // LIKE 'a_b/%'
        if self.is(Fault::RenameLike) && from.as_str() == "a_b" {
            let [like, moved] = ["axb/c", "new/d"].map(|name| MailboxName::new(name).unwrap());
            self.memory.rename(user, &like, &moved).await?;
        }
        Ok(())
    }

    async fn subscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        self.memory.subscribe(user, name).await
    }

    async fn unsubscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        self.memory.unsubscribe(user, name).await
    }

    async fn subscriptions(&self, user: &User) -> Result<Vec<MailboxName>> {
        self.memory.subscriptions(user).await
    }

    async fn erase(&self, user: &User) -> Result<()> {
        let private = self.memory.annotations(&Annotated::Server, user).await?;
        self.memory.erase(user).await?;
        if self.is(Fault::EraseKeepsPrivate) {
            let kept: Vec<_> = private.into_iter().map(|kept| (kept.entry, Some(kept.value))).collect();
            self.memory.annotate(&Annotated::Server, user, &kept).await?;
        }
        Ok(())
    }
}

impl Watch for Mutant {
    async fn changed(&self, user: &User, name: &MailboxName, seen: &Snapshot) -> Result<Arc<Snapshot>> {
        if self.is(Fault::LostWakeUp) && user.as_str().starts_with("conformance-awake") {
            let now = self.open(user, name).await?;
            if now.highest_modseq() != seen.highest_modseq() {
                return Ok(now);
            }
            // What comes in between is slept through.
            step().await;
            let now = self.memory.open(user, name).await?;
            return self.memory.changed(user, name, &now).await;
        }
        let told = self.memory.changed(user, name, seen).await;
        if self.is(Fault::RenameUntold) && told.is_err() && name.as_str() == "Leaves" {
            std::future::pending::<()>().await;
        }
        told
    }
}

impl Metadata for Mutant {
    async fn annotations(&self, place: &Annotated, reader: &User) -> Result<Vec<Annotation>> {
        self.memory.annotations(place, reader).await
    }

    async fn annotate(
        &self,
        place: &Annotated,
        writer: &User,
        changes: &[(EntryName, Option<Bytes>)],
    ) -> Result<()> {
        self.memory.annotate(place, writer, changes).await
    }
}

impl Feed for Mutant {
    async fn position(&self, user: &User) -> Result<FeedPosition> {
        self.memory.position(user).await
    }

    async fn after(&self, user: &User, since: FeedPosition) -> Result<News> {
        let mut news = self.memory.after(user, since).await?;
        if self.is(Fault::FlagsUntold) && user.as_str().starts_with("conformance-follows") {
            news.events.retain(|event| !matches!(event, FeedEvent::Messages(_)));
        }
        Ok(news)
    }
}

#[test]
fn each_mutant_is_found() {
    // Longer than any check takes, and shorter than the suite waits for a notice.
    let limit = Duration::from_secs(8);
    let checked = |fault| {
        let (moved, renamed) = (Mutex::default(), Mutex::default());
        let store = Mutant { memory: Memory::new(), fault, moved, renamed };
        block_on(conformance::check_within(&store, limit))
    };
    checked(Fault::None).unwrap();
    for (fault, check) in [
        (Fault::FlagsRace, "at_once::flags_that_change_at_once_all_count"),
        (Fault::RightsIgnored, "change::flags_beyond_the_rights_stay"),
        (Fault::CopyInSteps, "at_once::what_is_dropped_half_way_is_done_or_not"),
        (Fault::MoveRace, "at_once::a_message_moved_twice_at_once_is_there_once"),
        (Fault::MoveLosesFlags, "transfer::what_is_moved_stays_as_it_was"),
        (Fault::MoveHistoryMissing, "transfer::what_is_moved_stays_as_it_was"),
        (Fault::FirstMessages, "uploads::many_messages_are_all_there"),
        (Fault::FirstMailboxes, "names::many_mailboxes_are_all_listed"),
        (Fault::AsciiOnly, "names::names_of_all_letters"),
        (Fault::AnyCase, "names::names_that_differ_in_case"),
        (Fault::RenameLike, "names::names_are_no_patterns"),
        (Fault::RenameLosesUse, "rename::a_new_name_keeps_what_the_mailbox_is"),
        (Fault::RenameMovesSubscriptions, "rename::subscriptions_stay_with_the_name"),
        (Fault::DeleteUnsubscribes, "rename::subscriptions_stay_with_the_name"),
        (Fault::EraseKeepsPrivate, "erase::nothing_private_is_left_with_others"),
        (Fault::LostWakeUp, "told::no_change_is_slept_through"),
        (Fault::RenameUntold, "told::whoever_waits_at_a_mailbox_is_told"),
        (Fault::FlagsUntold, "told::whoever_follows_all_is_told"),
    ] {
        let failure = checked(fault).unwrap_err();
        assert_eq!(failure.check, check, "{fault:?}: {failure}");
    }
}
