//! The traits of the crate with boxed futures, so that they can be trait objects.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use mailwright_mail_model::{
    MailboxName, ModSeq, ScriptName, SpecialUse, Uid, UidSet, UidValidity, query::Query,
};

use crate::{
    AclChange, AclEntry, Annotated, Annotation, AnnotationChange, AnnotationLimits, AnnotationsStored,
    Appended, Carried, Column, Copied, Delivery, Due, EntryName, Expunge, Expunged, ExpungedMessage,
    FeedPosition, FlagChange, FlagsStored, Identifier, Identity, Mailbox, MailboxRef, MessageAnnotation,
    MessageRef, News, ObjectId, QueueEntry, QueueNews, QueueNumber, QuotaLimits, QuotaStatus, QuotaWarning,
    Result, Rights, Scheduled, ScriptEntry, ScriptLimits, Settlement, SharedMailbox, Snapshot, Status,
    Subject, Summary, Upload, User,
};

type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Declares a trait like a public one but with boxed futures, and implements it for all that implement that one.
macro_rules! erase {
    ($name:ident { $(fn $method:ident($($argument:ident: $type:ty),*) -> $output:ty;)* } $($facets:tt)*) => {
        pub(super) trait $name: Send + Sync {
            $(fn $method<'a>(&'a self, $($argument: $type),*) -> Pending<'a, $output>;)*
            $($facets)*
        }
    };
}

macro_rules! implement {
    ($name:ident { $(fn $method:ident($($argument:ident: $type:ty),*) -> $output:ty;)* }
     $(plain fn $plain:ident() -> $plain_output:ty;)*) => {
        erase!($name { $(fn $method($($argument: $type),*) -> $output;)* } $(fn $plain(&self) -> $plain_output;)*);

        impl<S: crate::$name> $name for S {
            $(fn $method<'a>(&'a self, $($argument: $type),*) -> Pending<'a, $output> {
                Box::pin(crate::$name::$method(self, $($argument),*))
            })*
            $(fn $plain(&self) -> $plain_output {
                crate::$name::$plain(self)
            })*
        }
    };
}

implement!(Write {
    fn begin(size: Option<u64>) -> Upload;
    fn store_flags(mailbox: &'a MailboxRef, uids: &'a UidSet, change: &'a FlagChange) -> FlagsStored;
    fn expunge(mailbox: &'a MailboxRef, which: &'a Expunge) -> Expunged;
    fn copy(mailbox: &'a MailboxRef, uids: &'a UidSet, target: &'a MailboxName) -> Copied;
    fn move_to(mailbox: &'a MailboxRef, uids: &'a UidSet, target: &'a MailboxName) -> Copied;
    fn claim_recent(mailbox: &'a MailboxRef) -> Option<Uid>;
}
plain fn takes_several() -> bool;
plain fn takes_rows() -> bool;
);

implement!(Folders {
    fn create(user: &'a User, name: &'a MailboxName, special_use: Option<SpecialUse>) -> Mailbox;
    fn delete(user: &'a User, name: &'a MailboxName) -> ();
    fn rename(user: &'a User, from: &'a MailboxName, to: &'a MailboxName) -> ();
    fn subscribe(user: &'a User, name: &'a MailboxName) -> ();
    fn unsubscribe(user: &'a User, name: &'a MailboxName) -> ();
    fn subscriptions(user: &'a User) -> Vec<MailboxName>;
    fn erase(user: &'a User) -> ();
});

implement!(Watch {
    fn changed(user: &'a User, name: &'a MailboxName, seen: &'a Snapshot) -> Arc<Snapshot>;
});

implement!(Changes {
    fn expunged(mailbox: &'a MailboxRef, since: ModSeq) -> Option<UidSet>;
});

implement!(Cache {
    fn load(messages: &'a [MessageRef]) -> Vec<Option<Summary>>;
    fn save(message: &'a MessageRef, summary: &'a Summary) -> ();
    fn column(messages: &'a [MessageRef], column: Column) -> Vec<Option<Bytes>>;
});

implement!(Quota {
    fn quota_of(user: &'a User) -> QuotaStatus;
    fn set_quota(user: &'a User, limits: Option<QuotaLimits>) -> ();
    fn quotas() -> Vec<QuotaStatus>;
    fn check_quota(user: &'a User, octets: u64) -> ();
    fn quota_warnings() -> Vec<QuotaWarning>;
    fn settle_warnings(warnings: &'a [QuotaWarning]) -> ();
});

implement!(Acl {
    fn access_list(owner: &'a User, name: &'a MailboxName) -> Vec<AclEntry>;
    fn change_access(owner: &'a User, name: &'a MailboxName, identifier: &'a Identifier, change: AclChange) -> ();
    fn rights_of(who: &'a Identity, owner: &'a User, name: &'a MailboxName) -> Rights;
    fn shared_with(who: &'a Identity) -> Vec<SharedMailbox>;
    fn listing(subject: &'a Subject) -> Vec<(User, MailboxName)>;
});

implement!(Scripts {
    fn all_scripts(user: &'a User) -> Vec<ScriptEntry>;
    fn script(user: &'a User, name: &'a ScriptName) -> Bytes;
    fn active_script(user: &'a User) -> Option<(ScriptName, Bytes)>;
    fn admit_script(user: &'a User, name: &'a ScriptName, size: u64, limits: ScriptLimits) -> ();
    fn put_script(user: &'a User, name: &'a ScriptName, script: Bytes, limits: ScriptLimits) -> ();
    fn activate_script(user: &'a User, name: Option<&'a ScriptName>) -> ();
    fn delete_script(user: &'a User, name: &'a ScriptName) -> ();
    fn rename_script(user: &'a User, from: &'a ScriptName, to: &'a ScriptName) -> ();
});

implement!(Metadata {
    fn annotations(place: &'a Annotated, reader: &'a User) -> Vec<Annotation>;
    fn annotate(place: &'a Annotated, writer: &'a User, changes: &'a [(EntryName, Option<Bytes>)]) -> ();
});

implement!(Annotate {
    fn message_annotations(mailbox: &'a MailboxRef, uids: &'a UidSet, reader: &'a User) -> Vec<(Uid, Vec<MessageAnnotation>)>;
    fn annotate_messages(mailbox: &'a MailboxRef, uids: &'a UidSet, writer: &'a User, change: &'a AnnotationChange) -> AnnotationsStored;
    fn copy_annotated(mailbox: &'a MailboxRef, uids: &'a UidSet, target: &'a MailboxName, carried: &'a Carried) -> Copied;
    fn move_annotated(mailbox: &'a MailboxRef, uids: &'a UidSet, target: &'a MailboxName, carried: &'a Carried) -> Copied;
}
plain fn annotation_limits() -> AnnotationLimits;
);

implement!(Origins {
    fn deliveries(messages: &'a [MessageRef]) -> Vec<Option<Arc<Delivery>>>;
    fn unique_ids(mailbox: &'a MailboxRef) -> Vec<(Uid, String)>;
});

implement!(Import {
    fn adopt(user: &'a User, name: &'a MailboxName, uid_validity: UidValidity, uid_next: Option<Uid>) -> ();
});

implement!(Feed {
    fn position(user: &'a User) -> FeedPosition;
    fn after(user: &'a User, since: FeedPosition) -> News;
});

implement!(Undelete {
    fn expunged_messages(user: &'a User) -> Vec<ExpungedMessage>;
    fn bring_back(user: &'a User, id: ObjectId, target: &'a MailboxName) -> Appended;
});

pub(super) trait Search: Send + Sync {
    fn candidates<'a>(
        &'a self,
        mailbox: &'a MailboxRef,
        snapshot: &'a Arc<Snapshot>,
        query: &'a Query,
    ) -> Pending<'a, Option<UidSet>>;
    fn behind<'a>(&'a self) -> Pin<Box<dyn Future<Output = User> + Send + 'a>>;
    fn keep_up<'a>(&'a self, user: &'a User) -> Pending<'a, ()>;
}

impl<S: crate::Search> Search for S {
    fn candidates<'a>(
        &'a self,
        mailbox: &'a MailboxRef,
        snapshot: &'a Arc<Snapshot>,
        query: &'a Query,
    ) -> Pending<'a, Option<UidSet>> {
        Box::pin(crate::Search::candidates(self, mailbox, snapshot, query))
    }

    fn behind<'a>(&'a self) -> Pin<Box<dyn Future<Output = User> + Send + 'a>> {
        Box::pin(crate::Search::behind(self))
    }

    fn keep_up<'a>(&'a self, user: &'a User) -> Pending<'a, ()> {
        Box::pin(crate::Search::keep_up(self, user))
    }
}

pub(super) trait Spool: Send + Sync {
    fn due<'a>(&'a self, until: u64, after: Option<Due>, limit: usize) -> Pending<'a, Vec<Scheduled>>;
    fn next_due<'a>(&'a self, after: u64) -> Pending<'a, Option<u64>>;
    fn entries<'a>(&'a self, after: Option<QueueNumber>, limit: usize) -> Pending<'a, Vec<QueueEntry>>;
    fn entry<'a>(&'a self, number: QueueNumber) -> Pending<'a, Option<QueueEntry>>;
    fn octets<'a>(&'a self, entry: &'a QueueEntry, range: Range<u64>) -> Pending<'a, Bytes>;
    fn settle<'a>(&'a self, settlements: &'a [Settlement]) -> Pending<'a, ()>;
    fn added<'a>(&'a self, seen: u64) -> Pin<Box<dyn Future<Output = u64> + Send + 'a>>;
    fn news(&self, mark: u64) -> (u64, QueueNews);
}

impl<S: crate::Spool> Spool for S {
    fn due<'a>(&'a self, until: u64, after: Option<Due>, limit: usize) -> Pending<'a, Vec<Scheduled>> {
        Box::pin(crate::Spool::due(self, until, after, limit))
    }

    fn next_due<'a>(&'a self, after: u64) -> Pending<'a, Option<u64>> {
        Box::pin(crate::Spool::next_due(self, after))
    }

    fn entries<'a>(&'a self, after: Option<QueueNumber>, limit: usize) -> Pending<'a, Vec<QueueEntry>> {
        Box::pin(crate::Spool::entries(self, after, limit))
    }

    fn entry<'a>(&'a self, number: QueueNumber) -> Pending<'a, Option<QueueEntry>> {
        Box::pin(crate::Spool::entry(self, number))
    }

    fn octets<'a>(&'a self, entry: &'a QueueEntry, range: Range<u64>) -> Pending<'a, Bytes> {
        Box::pin(crate::Spool::octets(self, entry, range))
    }

    fn settle<'a>(&'a self, settlements: &'a [Settlement]) -> Pending<'a, ()> {
        Box::pin(crate::Spool::settle(self, settlements))
    }

    fn added<'a>(&'a self, seen: u64) -> Pin<Box<dyn Future<Output = u64> + Send + 'a>> {
        Box::pin(crate::Spool::added(self, seen))
    }

    fn news(&self, mark: u64) -> (u64, QueueNews) {
        crate::Spool::news(self, mark)
    }
}

erase!(Erased {
    fn mailboxes(user: &'a User) -> Vec<Mailbox>;
    fn open(user: &'a User, name: &'a MailboxName) -> Arc<Snapshot>;
    fn read(message: &'a MessageRef, range: Range<u64>) -> Bytes;
    fn read_together(messages: &'a [MessageRef]) -> Vec<Option<Bytes>>;
    fn status(user: &'a User, name: &'a MailboxName) -> Status;
    fn list(user: &'a User) -> Vec<(Mailbox, Status)>;
}
fn append_limit(&self) -> Option<u64>;
fn keyword_limit(&self) -> Option<usize>;
fn keeps_object_ids(&self) -> bool;
fn writer(&self) -> Option<&dyn Write>;
fn folders(&self) -> Option<&dyn Folders>;
fn watch(&self) -> Option<&dyn Watch>;
fn changes(&self) -> Option<&dyn Changes>;
fn cache(&self) -> Option<&dyn Cache>;
fn search(&self) -> Option<&dyn Search>;
fn spool(&self) -> Option<&dyn Spool>;
fn quota(&self) -> Option<&dyn Quota>;
fn acl(&self) -> Option<&dyn Acl>;
fn scripts(&self) -> Option<&dyn Scripts>;
fn metadata(&self) -> Option<&dyn Metadata>;
fn annotator(&self) -> Option<&dyn Annotate>;
fn origins(&self) -> Option<&dyn Origins>;
fn import(&self) -> Option<&dyn Import>;
fn feed(&self) -> Option<&dyn Feed>;
fn undelete(&self) -> Option<&dyn Undelete>;
);

impl<S: crate::Store> Erased for S {
    fn mailboxes<'a>(&'a self, user: &'a User) -> Pending<'a, Vec<Mailbox>> {
        Box::pin(crate::Store::mailboxes(self, user))
    }

    fn open<'a>(&'a self, user: &'a User, name: &'a MailboxName) -> Pending<'a, Arc<Snapshot>> {
        Box::pin(crate::Store::open(self, user, name))
    }

    fn read<'a>(&'a self, message: &'a MessageRef, range: Range<u64>) -> Pending<'a, Bytes> {
        Box::pin(crate::Store::read(self, message, range))
    }

    fn read_together<'a>(&'a self, messages: &'a [MessageRef]) -> Pending<'a, Vec<Option<Bytes>>> {
        Box::pin(crate::Store::read_together(self, messages))
    }

    fn status<'a>(&'a self, user: &'a User, name: &'a MailboxName) -> Pending<'a, Status> {
        Box::pin(crate::Store::status(self, user, name))
    }

    fn list<'a>(&'a self, user: &'a User) -> Pending<'a, Vec<(Mailbox, Status)>> {
        Box::pin(crate::Store::list(self, user))
    }

    fn append_limit(&self) -> Option<u64> {
        crate::Store::append_limit(self)
    }

    fn keyword_limit(&self) -> Option<usize> {
        crate::Store::keyword_limit(self)
    }

    fn keeps_object_ids(&self) -> bool {
        crate::Store::keeps_object_ids(self)
    }

    fn writer(&self) -> Option<&dyn Write> {
        crate::Store::writer(self).map(|facet| facet as &dyn Write)
    }

    fn folders(&self) -> Option<&dyn Folders> {
        crate::Store::folders(self).map(|facet| facet as &dyn Folders)
    }

    fn watch(&self) -> Option<&dyn Watch> {
        crate::Store::watch(self).map(|facet| facet as &dyn Watch)
    }

    fn changes(&self) -> Option<&dyn Changes> {
        crate::Store::changes(self).map(|facet| facet as &dyn Changes)
    }

    fn cache(&self) -> Option<&dyn Cache> {
        crate::Store::cache(self).map(|facet| facet as &dyn Cache)
    }

    fn search(&self) -> Option<&dyn Search> {
        crate::Store::search(self).map(|facet| facet as &dyn Search)
    }

    fn spool(&self) -> Option<&dyn Spool> {
        crate::Store::spool(self).map(|facet| facet as &dyn Spool)
    }

    fn quota(&self) -> Option<&dyn Quota> {
        crate::Store::quota(self).map(|facet| facet as &dyn Quota)
    }

    fn acl(&self) -> Option<&dyn Acl> {
        crate::Store::acl(self).map(|facet| facet as &dyn Acl)
    }

    fn scripts(&self) -> Option<&dyn Scripts> {
        crate::Store::scripts(self).map(|facet| facet as &dyn Scripts)
    }

    fn metadata(&self) -> Option<&dyn Metadata> {
        crate::Store::metadata(self).map(|facet| facet as &dyn Metadata)
    }

    fn annotator(&self) -> Option<&dyn Annotate> {
        crate::Store::annotator(self).map(|facet| facet as &dyn Annotate)
    }

    fn origins(&self) -> Option<&dyn Origins> {
        crate::Store::origins(self).map(|facet| facet as &dyn Origins)
    }

    fn import(&self) -> Option<&dyn Import> {
        crate::Store::import(self).map(|facet| facet as &dyn Import)
    }

    fn feed(&self) -> Option<&dyn Feed> {
        crate::Store::feed(self).map(|facet| facet as &dyn Feed)
    }

    fn undelete(&self) -> Option<&dyn Undelete> {
        crate::Store::undelete(self).map(|facet| facet as &dyn Undelete)
    }
}
