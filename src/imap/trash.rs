//! Messages that are deleted are moved to the trash, where that is wanted.

use mailwright_imap_proto::{Answered, Refusal};
use mailwright_mail_model::{Flag, FlagSet, MailboxName, ModSeq, SpecialUse, Uid, UidSet};
use mailwright_mailstore::{
    FlagChange, FlagOperation, Folders, MailboxRef, Snapshot, Store, StoreError, Write, accounts::Accounts,
};

use super::{ToTrash, Visit, refusal};

/// What is deleted is brought here, where nothing has the special use.
const TRASH: &str = "Trash";

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    fn to_trash(&self) -> ToTrash {
        let user = self.user.as_ref().map_or("", |user| user.as_str());
        self.service.options.to_trash(user, self.client.as_deref())
    }

    /// Moves what has just been marked as deleted, if that is all that this client does to delete.
    pub(super) async fn throw_away(&self, before: &Snapshot, stored: &[(Uid, FlagSet, ModSeq)]) {
        if self.to_trash() != ToTrash::Deleted {
            return;
        }
        let was_marked =
            |uid: Uid| before.message(uid).is_some_and(|message| message.flags.contains(&Flag::Deleted));
        let marked =
            stored.iter().filter(|(uid, flags, _)| flags.contains(&Flag::Deleted) && !was_marked(*uid));
        let marked: UidSet = marked.map(|(uid, ..)| *uid).collect();
        if marked.is_empty() {
            return;
        }
        if let Err(refused) = self.bring_to_trash(Some(&marked)).await {
            // They are marked, which is what was asked for.
            tracing::debug!(%refused, "cannot bring messages to the trash");
        }
    }

    /// Moves what is to be expunged to the mailbox for that, if there is to be one; says what was moved.
    pub(super) async fn bring_to_trash(&self, among: Option<&UidSet>) -> Answered<UidSet> {
        let (mailbox, writer) = self.writable()?;
        let wanted = self.to_trash() != ToTrash::Nothing && Some(mailbox.user()) == self.user.as_ref();
        let Some(folders) = self.store.folders().filter(|_| wanted) else { return Ok(UidSet::new()) };
        let user = mailbox.user();
        let all = self.store.mailboxes(user).await.map_err(|error| refusal(&error))?;
        let special = all.iter().find(|one| one.special_use == Some(SpecialUse::Trash));
        let usual = || all.iter().find(|one| one.name.as_str() == TRASH);
        let trash = match special.or_else(usual) {
            Some(found) => found.name.clone(),
            None => {
                let name = MailboxName::new(TRASH).map_err(|_| Refusal::cannot())?;
                match folders.create(user, &name, Some(SpecialUse::Trash)).await {
                    Ok(made) => made.name,
                    // Where the limit of mailboxes leaves no room for one, nothing could ever be expunged, and that is what the client
                    // asks for: it goes as it would without a trash, and `undelete` has it where that is on.
                    Err(StoreError::OverQuota) => {
                        tracing::info!(%user, "no room for a mailbox for the trash: messages are expunged");
                        return Ok(UidSet::new());
                    }
                    Err(error) => return Err(refusal(&error)),
                }
            }
        };
        // What is expunged there is gone, and what lies below it has been brought there too.
        if mailbox.name().starts_with_level(&trash) || *mailbox.name() == trash {
            return Ok(UidSet::new());
        }
        let now = self.store.open(user, mailbox.name()).await.map_err(|error| refusal(&error))?;
        let deleted = FlagSet::from_iter([Flag::Deleted]);
        let marked: UidSet = now
            .messages()
            .filter(|message| message.flags.contains(&Flag::Deleted))
            .map(|message| message.uid)
            .collect();
        let marked = among.map_or_else(|| marked.clone(), |among| marked.intersection(among));
        if marked.is_empty() {
            return Ok(marked);
        }
        let moved = writer.move_to(mailbox, &marked, &trash).await.map_err(|error| refusal(&error))?;
        // There they are to be seen, until they are deleted there.
        let snapshot = self.store.open(user, &trash).await.map_err(|error| refusal(&error))?;
        let there = MailboxRef::new(user.clone(), trash, &snapshot);
        let clear = FlagChange::new(FlagOperation::Remove, deleted);
        writer.store_flags(&there, &moved.target, &clear).await.map_err(|error| refusal(&error))?;
        Ok(moved.source)
    }
}
