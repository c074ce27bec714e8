//! The mailbox that a session has open, and what happens in it.

use std::sync::Arc;

use mailwright_imap_proto::{
    Answered, Refusal,
    command::{CopyUid, Store as StoreRequest, StoreOperation},
    server::{Change, Open, Opened, Server},
};
use mailwright_line_proto::{Ask, Shutdown};
use mailwright_mail_model::{Flag, FlagSet, MailboxName, UidSet};
use mailwright_mailstore::{
    Expunge, FlagChange, FlagOperation, MailboxRef, Snapshot, Store, StoreError, Write, accounts::Accounts,
};

use super::{Visit, refusal, target_refusal};
use crate::service::Session;

/// An open mailbox.
pub(super) struct Selected {
    pub(super) mailbox: MailboxRef,
    /// The state that the session was told of last.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) read_only: bool,
}

impl<S: Store, A: Accounts> Visit<'_, S, A> {
    pub(super) async fn open(&mut self, open: &Open) -> Answered<Opened> {
        self.selected = None;
        let user = self.user()?.clone();
        let snapshot = self.store.open(&user, &open.mailbox).await.map_err(|error| refusal(&error))?;
        let read_only = open.read_only || self.store.writer().is_none();
        let mailbox = MailboxRef::new(user, open.mailbox.clone(), &snapshot);
        let mut opened = Opened::new(snapshot.uids(), snapshot.uid_validity());
        opened.uid_next = snapshot.uid_next();
        opened.read_only = read_only;
        opened.recent = self.service.recent.of(&mailbox, &snapshot, !read_only);
        if snapshot.unseen() > 0 {
            let unseen = |message: &&mailwright_mailstore::Message| !message.flags.contains(&Flag::Seen);
            opened.first_unseen = snapshot.messages().find(unseen).map(|message| message.uid);
        }
        let keywords = snapshot.messages().fold(FlagSet::new(), |all, message| {
            if !message.flags.keywords().is_empty() { all.union(&message.flags) } else { all }
        });
        opened.flags = opened.flags.union(&keywords);
        if read_only {
            opened.permanent_flags = FlagSet::new();
            opened.new_keywords = false;
        } else {
            opened.permanent_flags = opened.flags.clone();
        }
        self.selected = Some(Selected { mailbox, snapshot, read_only });
        Ok(opened)
    }

    pub(super) async fn close(&mut self, expunge: bool) -> Answered<()> {
        let Some(selected) = self.selected.take() else { return Ok(()) };
        // RFC 3501 §6.4.2: nothing is removed from a mailbox that was opened with EXAMINE.
        if expunge
            && !selected.read_only
            && let Some(writer) = self.store.writer()
        {
            writer.expunge(&selected.mailbox, &Expunge::Deleted).await.map_err(|error| refusal(&error))?;
        }
        Ok(())
    }

    /// Brings the session up to the present state of its mailbox.
    pub(super) async fn refresh(&mut self, connection: &mut Session<Server>) {
        self.refresh_but(connection, &UidSet::new()).await;
    }

    /// The same, saying nothing of the flags of messages that the client is told of in another way.
    pub(super) async fn refresh_but(&mut self, connection: &mut Session<Server>, told: &UidSet) {
        let Some(selected) = &self.selected else { return };
        let now = self.store.open(selected.mailbox.user(), selected.mailbox.name()).await;
        self.catch_up_but(connection, now, told);
    }

    pub(super) fn catch_up(
        &mut self,
        connection: &mut Session<Server>,
        now: Result<Arc<Snapshot>, StoreError>,
    ) {
        self.catch_up_but(connection, now, &UidSet::new());
    }

    fn catch_up_but(
        &mut self,
        connection: &mut Session<Server>,
        now: Result<Arc<Snapshot>, StoreError>,
        told: &UidSet,
    ) {
        let Some(selected) = &mut self.selected else { return };
        let server = connection.machine().inner_mut();
        let later = match now {
            Ok(later) if Arc::ptr_eq(&later, &selected.snapshot) => return,
            Ok(later) => later,
            Err(StoreError::NotFound) => {
                // RFC 9051 §6.3.5: the mailbox was deleted under this session.
                return server.shutdown(Shutdown::Kicked);
            }
            // Not now: the next look will tell.
            Err(error) => return tracing::warn!(%error, "cannot look at a mailbox"),
        };
        let Some(difference) = selected.snapshot.difference(&later) else {
            // Made anew under the same name: nothing this client knows of it holds any more.
            return server.shutdown(Shutdown::Kicked);
        };
        if !difference.added.is_empty() {
            let recent = self.service.recent.of(&selected.mailbox, &later, !selected.read_only);
            server.notify(Change::Added { uids: difference.added, recent });
        }
        for message in later.among(&difference.changed.difference(told)) {
            let before = selected.snapshot.message(message.uid);
            if before.is_none_or(|before| before.flags != message.flags) {
                server.notify(Change::Flags { uid: message.uid, flags: message.flags.clone() });
            }
        }
        if !difference.removed.is_empty() {
            server.notify(Change::Removed(difference.removed));
        }
        selected.snapshot = later;
    }

    pub(super) async fn store_flags(
        &mut self,
        connection: &mut Session<Server>,
        ask: Ask<StoreRequest<UidSet>>,
    ) -> std::io::Result<()> {
        let operation = match ask.operation {
            StoreOperation::Add => FlagOperation::Add,
            StoreOperation::Remove => FlagOperation::Remove,
            StoreOperation::Replace => FlagOperation::Replace,
        };
        let stored = match (self.selected.as_ref(), self.store.writer()) {
            (Some(selected), Some(writer)) if !selected.read_only => {
                let change = FlagChange::new(operation, ask.flags.clone());
                writer
                    .store_flags(&selected.mailbox, &ask.messages, &change)
                    .await
                    .map_err(|error| refusal(&error))
            }
            _ => Err(Refusal::no_permission()),
        };
        let answer = match stored {
            Ok(stored) => {
                let told: UidSet = stored.messages.iter().map(|(uid, _, _)| *uid).collect();
                self.refresh_but(connection, &told).await;
                for (uid, flags, _) in &stored.messages {
                    // What the client does not know of any more is passed over by the machine.
                    let _ = connection.machine().inner_mut().fetch_flags(&ask, *uid, flags);
                    if connection.machine().inner().transmit_room() == 0 {
                        connection.flush_below(self.service.config.limits.transmit / 2).await?;
                    }
                }
                Ok(())
            }
            Err(refusal) => Err(refusal),
        };
        let _ = connection.machine().inner_mut().answer(ask, answer);
        Ok(())
    }

    pub(super) async fn expunge(&self, among: Option<&UidSet>) -> Answered<UidSet> {
        let (mailbox, writer) = self.writable()?;
        let which = among.map_or(Expunge::Deleted, |uids| Expunge::DeletedAmong(uids.clone()));
        let expunged = writer.expunge(mailbox, &which).await.map_err(|error| refusal(&error))?;
        Ok(expunged.uids)
    }

    pub(super) async fn copy(&self, uids: &UidSet, to: &MailboxName) -> Answered<Option<CopyUid>> {
        let (Some(selected), Some(writer)) = (&self.selected, self.store.writer()) else {
            return Err(Refusal::no_permission());
        };
        let copied =
            writer.copy(&selected.mailbox, uids, to).await.map_err(|error| target_refusal(&error))?;
        if copied.source.is_empty() {
            return Ok(None);
        }
        Ok(Some(CopyUid::new(copied.uid_validity, copied.source, copied.target)))
    }

    pub(super) async fn relocate(&self, uids: &UidSet, to: &MailboxName) -> Answered<CopyUid> {
        let (mailbox, writer) = self.writable()?;
        let moved = writer.move_to(mailbox, uids, to).await.map_err(|error| target_refusal(&error))?;
        Ok(CopyUid::new(moved.uid_validity, moved.source, moved.target))
    }

    fn writable(&self) -> Result<(&MailboxRef, &(impl Write + use<'_, S, A>)), Refusal> {
        match (&self.selected, self.store.writer()) {
            (Some(selected), Some(writer)) if !selected.read_only => Ok((&selected.mailbox, writer)),
            _ => Err(Refusal::no_permission()),
        }
    }
}
