//! The mailbox that a session has open, and what happens in it.

use std::{collections::HashMap, sync::Arc};

use mailwright_imap_proto::{
    Answered, Refusal,
    command::{CopyUid, Resync, Store as StoreRequest},
    server::{Change, Open, Opened, Server},
};
use mailwright_line_proto::{Ask, Deflate, Shutdown};
use mailwright_mail_model::{FlagSet, MailboxName, ModSeq, Uid, UidSet};
use mailwright_mailstore::{
    Annotate, Changes, Expunge, MailboxRef, Right, Rights, Snapshot, Store, StoreError, Write,
    accounts::Accounts,
};

use super::{
    Visit,
    access::{may_change, permitted},
    events::Cause,
    flags::Allowed,
    gone,
    noting::Renoted,
    refusal, target_refusal,
};
use crate::service::Session;

/// The messages whose annotations a client has changed by its last command, and the mod-sequences they had then.
pub(super) type Own = HashMap<Uid, ModSeq>;

/// An open mailbox.
pub(super) struct Selected {
    pub(super) mailbox: MailboxRef,
    /// As the client names it.
    pub(super) name: MailboxName,
    /// The state that the session was told of last.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) read_only: bool,
    /// Whether the next that is asked for is what the client has missed since it was here last (RFC 7162 §3.2.5): that is
    /// told of the snapshot it was counted from, or the client would not know the UIDs of all that it is told are there.
    pub(super) opening: bool,
    /// Whether the store has last said that something had changed, and nothing had.
    pub(super) is_still: bool,
    /// Whether the client was told of messages as recent that the store does not know to be so no more.
    pub(super) claims: bool,
}

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    pub(super) async fn open(&mut self, open: &Open) -> Answered<Opened> {
        self.leave().await;
        self.stale = None;
        self.stays_here(&open.mailbox)?;
        let at = self.locate_for(&open.mailbox, Right::Read).await.map_err(|error| refusal(&error))?;
        let snapshot = self.store.open(&at.owner, &at.name).await.map_err(|error| refusal(&error))?;
        // RFC 4314 §4
        let read_only = open.read_only || self.store.writer().is_none() || !may_change(at.rights);
        let mailbox = MailboxRef::new(at.owner, at.name, &snapshot);
        let mut opened = Opened::new(snapshot.uids(), snapshot.uid_validity());
        opened.uid_next = snapshot.uid_next();
        opened.read_only = read_only;
        opened.annotations = self.annotation_support();
        opened.mailbox_id = snapshot.id().map(|id| id.to_string());
        if open.listed {
            opened.listed = self.listed(&open.mailbox).await?;
        }
        if let Some(changes) = self.store.changes() {
            opened.highest_mod_seq = Some(snapshot.highest_modseq());
            if let Some(resync) =
                open.resync.as_ref().filter(|resync| resync.uid_validity == snapshot.uid_validity())
            {
                (opened.vanished, opened.changed) = since(changes, &mailbox, &snapshot, resync).await?;
            }
        }
        opened.recent = self.recent(&mailbox, &snapshot, !read_only).await;
        opened.first_unseen = snapshot.first_unseen().map(|message| message.uid);
        opened.flags = opened.flags.union(&snapshot.keywords());
        if read_only {
            opened.permanent_flags = FlagSet::new();
            opened.new_keywords = false;
        } else {
            opened.permanent_flags = permitted(at.rights, &opened.flags);
            // RFC 9051 §7.1: only as long as there can be new ones.
            let full =
                self.store.keyword_limit().is_some_and(|most| snapshot.keywords().keywords().len() >= most);
            opened.new_keywords = at.rights.contains(Right::Write) && !full;
        }
        let opening = !opened.changed.is_empty();
        let name = open.mailbox.clone();
        self.selected =
            Some(Selected { mailbox, name, snapshot, read_only, opening, is_still: false, claims: false });
        Ok(opened)
    }

    pub(super) async fn close(&mut self, expunge: bool) -> Answered<()> {
        // RFC 4314 §4: without the right to it nothing is expunged, and that is no error.
        let expunge = expunge && self.require(&[Right::Expunge]).await.is_ok();
        // RFC 3501 §6.4.2: nothing is removed from a mailbox that was opened with EXAMINE.
        let done =
            if expunge && self.writable().is_ok() { self.expunge(None).await.map(drop) } else { Ok(()) };
        // Whatever became of that, the mailbox is left.
        self.leave().await;
        done
    }

    /// Brings the session up to the present state of its mailbox.
    pub(super) async fn refresh(&mut self, connection: &mut Session<Deflate<Server>>) {
        self.refresh_but(connection, &UidSet::new()).await;
    }

    /// The same, saying nothing of the flags of messages that the client is told of in another way.
    pub(super) async fn refresh_but(&mut self, connection: &mut Session<Deflate<Server>>, told: &UidSet) {
        self.refresh_beside(connection, told, &Own::new()).await;
    }

    /// The same, and nothing of annotations that the client has set itself.
    pub(super) async fn refresh_beside(
        &mut self,
        connection: &mut Session<Deflate<Server>>,
        told: &UidSet,
        own: &Own,
    ) {
        if !self.may_go_on(connection).await {
            return;
        }
        let Some(selected) = &self.selected else { return };
        let now = self.store.open(selected.mailbox.user(), selected.mailbox.name()).await;
        let tells = connection.machine().inner().inner().tells_annotations();
        let renoted = self.renoted(tells, &now, own).await;
        self.catch_up_but(connection, now, told, own, renoted);
        self.search_again(connection).await;
    }

    /// Whether the user may still read the open mailbox; if not, that is the end of the session. RFC 4314 §5.1.1 leaves it to a server
    /// when new rights hold for who has it open, but mail that comes later is not to be told of (RFC 5465 §5.9), and without telling of
    /// it the session would have another mailbox than there is.
    async fn may_go_on(&mut self, connection: &mut Session<Deflate<Server>>) -> bool {
        // Where they cannot be told now, the look at the mailbox says why.
        let may = self.selected.is_none()
            || self.rights().await.map_or(true, |rights| rights.contains(Right::Read));
        if !may {
            self.leave().await;
            connection.machine().inner_mut().inner_mut().shutdown(Shutdown::Forbidden);
        }
        may
    }

    pub(super) async fn catch_up(
        &mut self,
        connection: &mut Session<Deflate<Server>>,
        now: Result<Arc<Snapshot>, StoreError>,
    ) {
        if !self.may_go_on(connection).await {
            return;
        }
        let own = Own::new();
        let tells = connection.machine().inner().inner().tells_annotations();
        let renoted = self.renoted(tells, &now, &own).await;
        self.catch_up_but(connection, now, &UidSet::new(), &own, renoted);
    }

    fn catch_up_but(
        &mut self,
        connection: &mut Session<Deflate<Server>>,
        now: Result<Arc<Snapshot>, StoreError>,
        told: &UidSet,
        own: &Own,
        mut renoted: Renoted,
    ) {
        let Some(selected) = &mut self.selected else { return };
        let server = connection.machine().inner_mut().inner_mut();
        let later = match now {
            Ok(later) if Arc::ptr_eq(&later, &selected.snapshot) => return,
            Ok(later) => later,
            Err(StoreError::NotFound) => {
                // RFC 9051 §6.3.5: the mailbox was deleted under this session.
                return server.shutdown(Shutdown::Gone);
            }
            // Not now: the next look will tell.
            Err(error) => return tracing::warn!(%error, "cannot look at a mailbox"),
        };
        let Some(difference) = selected.snapshot.difference(&later) else {
            // Made anew under the same name: nothing this client knows of it holds any more.
            return server.shutdown(Shutdown::Gone);
        };
        selected.is_still &= difference.is_empty();
        if server.watched().next().is_some() {
            let stale = self.stale.get_or_insert_default();
            for some in [&difference.added, &difference.changed, &difference.removed] {
                **stale = stale.union(some);
            }
        }
        if !difference.added.is_empty() {
            let recent = self.service.recent.of(&selected.mailbox, &later, !selected.read_only);
            let recent = recent.unwrap_or_else(|| difference.added.clone());
            selected.claims |= !selected.read_only && !recent.is_empty();
            server.notify(Change::Added { uids: difference.added, recent });
        }
        let knows = self.store.changes().is_some();
        for message in later.among(&difference.changed) {
            let before = selected.snapshot.message(message.uid);
            // Where only annotations are others, that is told and no flags.
            let same_flags = before.is_some_and(|before| before.flags == message.flags);
            let noted = renoted.remove(&message.uid);
            let passed = noted.is_some() || own.get(&message.uid) == Some(&message.modseq);
            if let Some(entries) = noted {
                let mod_seq = knows.then_some(message.modseq);
                server.notify(Change::Annotations { uid: message.uid, entries, mod_seq });
            }
            if told.contains(message.uid) || same_flags && passed {
                continue;
            }
            if before.is_none_or(|before| {
                before.flags != message.flags || knows && before.modseq != message.modseq
            }) {
                server.notify(Change::Flags {
                    uid: message.uid,
                    flags: message.flags.clone(),
                    mod_seq: Some(message.modseq),
                });
            }
        }
        if !difference.removed.is_empty() {
            server.notify(Change::Removed(difference.removed));
        }
        if self.store.changes().is_some() {
            server.notify(Change::UpTo(later.highest_modseq()));
        }
        selected.snapshot = later;
    }

    pub(super) async fn store_flags(
        &mut self,
        connection: &mut Session<Deflate<Server>>,
        ask: Ask<StoreRequest<UidSet>>,
    ) -> std::io::Result<()> {
        let rights = self.rights().await.unwrap_or(Rights::NONE);
        let stored = match (self.selected.as_ref(), self.store.writer()) {
            (Some(selected), Some(writer)) if !selected.read_only => {
                let before = Arc::clone(&selected.snapshot);
                match Allowed::of(&ask, rights) {
                    None => Err(Refusal::no_permission()),
                    // No mod-sequence is below the lowest, so the number 0 means that nothing is to change (RFC 7162 §3.1.3).
                    Some(_) if ask.unchanged_since == Some(None) => {
                        let all: UidSet = before.among(&ask.messages).map(|message| message.uid).collect();
                        let _ = connection.machine().inner_mut().inner_mut().answer(ask, Ok(all));
                        return Ok(());
                    }
                    Some(change) => {
                        let stored = change.store(writer, &selected.mailbox, &ask).await;
                        if let Ok(stored) = &stored {
                            self.throw_away(&before, &stored.messages).await;
                        }
                        stored.map(|stored| (stored, before, change))
                    }
                }
            }
            _ => Err(Refusal::no_permission()),
        };
        let answer = match stored {
            Ok((stored, before, change)) => {
                // RFC 3501 §6.4.6: a client that wants to hear nothing works the flags out from those it knows, so it is
                // told if another session has changed them meanwhile.
                let as_thought = |uid: Uid, flags: &FlagSet| {
                    before.message(uid).is_some_and(|message| change.apply(&message.flags) == *flags)
                };
                let told =
                    stored.messages.iter().filter(|(uid, flags, _)| !ask.silent || as_thought(*uid, flags));
                let told: UidSet = told.map(|(uid, _, _)| *uid).collect();
                let changed = self.changed_flags(&stored.messages);
                self.refresh_but(connection, &told).await;
                self.flagged(changed).await;
                for (uid, flags, mod_seq) in &stored.messages {
                    // What the client does not know of any more is passed over by the machine.
                    let _ = connection.machine().inner_mut().inner_mut().fetch_flags(
                        &ask,
                        *uid,
                        flags,
                        Some(*mod_seq),
                    );
                    if connection.machine().inner().inner().transmit_room() == 0 {
                        connection.flush_below(self.service.config.limits.transmit / 2).await?;
                    }
                }
                Ok(stored.modified)
            }
            Err(refusal) => Err(refusal),
        };
        let _ = connection.machine().inner_mut().inner_mut().answer(ask, answer);
        Ok(())
    }

    /// The flags of each message that are not as this session has seen them.
    fn changed_flags(&self, messages: &[(Uid, FlagSet, ModSeq)]) -> Vec<(Uid, FlagSet)> {
        let Some(selected) = self.selected.as_ref().filter(|_| self.service.events.is_some()) else {
            return Vec::new();
        };
        let changed = messages.iter().filter_map(|(uid, flags, _)| {
            let before = &selected.snapshot.message(*uid)?.flags;
            let changed = before.difference(flags).union(&flags.difference(before));
            (changed != FlagSet::new()).then_some((*uid, changed))
        });
        changed.collect()
    }

    pub(super) async fn expunge(&self, among: Option<&UidSet>) -> Answered<UidSet> {
        self.require(&[Right::Expunge]).await?;
        let (mailbox, writer) = self.writable()?;
        let moved = self.bring_to_trash(among).await?;
        let which = among.map_or(Expunge::Deleted, |uids| Expunge::DeletedAmong(uids.clone()));
        let expunged = writer.expunge(mailbox, &which).await.map_err(|error| refusal(&error))?;
        Ok(expunged.uids.union(&moved))
    }

    pub(super) async fn copy(&self, uids: &UidSet, to: &MailboxName) -> Answered<Option<CopyUid>> {
        let (Some(selected), Some(writer)) = (&self.selected, self.store.writer()) else {
            return Err(Refusal::no_permission());
        };
        self.stays_here(to)?;
        let to = self.locate_for(to, Right::Insert).await.map_err(|error| target_refusal(&error))?;
        if to.owner != *selected.mailbox.user() || to.rights != self.known_rights(Rights::ALL) {
            let copied = self.transfer(uids, &to, false).await?;
            if let Some(copied) = &copied {
                self.added(Cause::Copy, &to.owner, &to.name, &copied.destination).await;
            }
            return Ok(copied);
        }
        let copied = match self.store.annotator() {
            Some(annotator) => {
                let carried = self.carried(&to);
                annotator.copy_annotated(&selected.mailbox, uids, &to.name, &carried).await
            }
            None => writer.copy(&selected.mailbox, uids, &to.name).await,
        };
        let copied = copied.map_err(|error| target_refusal(&error))?;
        if copied.source.is_empty() {
            return Ok(None);
        }
        self.added(Cause::Copy, &to.owner, &to.name, &copied.target).await;
        Ok(Some(CopyUid::new(copied.uid_validity, copied.source, copied.target)))
    }

    pub(super) async fn relocate(&self, uids: &UidSet, to: &MailboxName) -> Answered<CopyUid> {
        // RFC 6851 §3: what COPY, STORE and EXPUNGE need.
        self.require(&[Right::DeleteMessages, Right::Expunge]).await?;
        let (mailbox, writer) = self.writable()?;
        self.stays_here(to)?;
        let to = self.locate_for(to, Right::Insert).await.map_err(|error| target_refusal(&error))?;
        if to.owner != *mailbox.user() || to.rights != self.known_rights(Rights::ALL) {
            let moved = self.transfer(uids, &to, true).await?;
            let moved = moved.ok_or_else(gone)?;
            self.added(Cause::Copy, &to.owner, &to.name, &moved.destination).await;
            return Ok(moved);
        }
        let moved = match self.store.annotator() {
            Some(annotator) => annotator.move_annotated(mailbox, uids, &to.name, &self.carried(&to)).await,
            None => writer.move_to(mailbox, uids, &to.name).await,
        };
        let moved = moved.map_err(|error| target_refusal(&error))?;
        self.added(Cause::Copy, &to.owner, &to.name, &moved.target).await;
        Ok(CopyUid::new(moved.uid_validity, moved.source, moved.target))
    }

    pub(super) fn writable(&self) -> Result<(&MailboxRef, &(impl Write + use<'_, S, A>)), Refusal> {
        match (&self.selected, self.store.writer()) {
            (Some(selected), Some(writer)) if !selected.read_only => Ok((&selected.mailbox, writer)),
            _ => Err(Refusal::no_permission()),
        }
    }
}

/// What is gone and what has changed since a client saw a mailbox last, of the messages it knows (RFC 7162 §3.2.5).
async fn since(
    changes: &impl Changes,
    mailbox: &MailboxRef,
    snapshot: &Snapshot,
    resync: &Resync,
) -> Answered<(UidSet, UidSet)> {
    let before = snapshot.uid_next().map_or(Some(Uid::MAX), Uid::previous);
    let known = match (&resync.known, before) {
        (Some(known), _) => known.clone(),
        (None, Some(last)) => UidSet::from(Uid::MIN..=last),
        (None, None) => UidSet::new(),
    };
    let vanished = expunged(changes, mailbox, snapshot, resync.mod_seq, &known).await?;
    let changed = snapshot.changed_since(resync.mod_seq).map(|message| message.uid).collect::<UidSet>();
    // New messages are told of too, though the client cannot have named them.
    let new =
        known.last().and_then(Uid::next).map_or(UidSet::new(), |first| changed.within(first..=Uid::MAX));
    Ok((vanished, changed.intersection(&known).union(&new)))
}

/// Those messages of a set that were expunged since; more of them if the store has forgotten which.
pub(super) async fn expunged(
    changes: &impl Changes,
    mailbox: &MailboxRef,
    snapshot: &Snapshot,
    mod_seq: ModSeq,
    named: &UidSet,
) -> Answered<UidSet> {
    let expunged = changes.expunged(mailbox, mod_seq).await.map_err(|error| refusal(&error))?;
    Ok(match expunged {
        // Asked for later than the snapshot was taken, it may tell of what is there still for this client: of that the client hears
        // when the session has caught up.
        Some(expunged) => expunged.intersection(named).difference(&snapshot.uids()),
        // RFC 7162 §3.2.6: whatever is not there.
        None => {
            let last = snapshot.uid_next().map_or(Some(Uid::MAX), Uid::previous);
            let once = last.map_or(UidSet::new(), |last| named.within(Uid::MIN..=last));
            once.difference(&snapshot.uids())
        }
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mailwright_mail_model::DateTime;
    use mailwright_mailstore::{Batch, Target, User, memory::Memory};

    use super::*;

    #[tokio::test]
    async fn what_goes_after_the_snapshot_was_taken_is_still_there() {
        let (store, user) = (Memory::new(), User::new("ann@a.example").unwrap());
        let inbox = MailboxName::inbox();
        for _ in 0..3 {
            let mut upload = store.begin(None).await.unwrap();
            upload.write(Bytes::from_static(b"x")).await.unwrap();
            let target = Target::new(user.clone(), inbox.clone(), DateTime::new(7, 0).unwrap());
            upload.commit_batch(&Batch::to([target])).await.unwrap();
        }
        let uids = |text: &str| text.parse::<UidSet>().unwrap();
        let before = store.open(&user, &inbox).await.unwrap();
        let mailbox = MailboxRef::new(user.clone(), inbox.clone(), &before);
        store.expunge(&mailbox, &Expunge::Exactly(uids("1"))).await.unwrap();
        let snapshot = store.open(&user, &inbox).await.unwrap();
        store.expunge(&mailbox, &Expunge::Exactly(uids("2"))).await.unwrap();
        let gone = expunged(&store, &mailbox, &snapshot, before.highest_modseq(), &uids("1:3")).await;
        assert_eq!(gone.unwrap(), uids("1"), "the client is told that there are two");
    }
}
