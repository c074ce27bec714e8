//! What reading does to messages, and what is looked at before: what is refused leaves everything as it was.

use mailwright_imap_proto::{
    Answered, Refusal,
    command::{BinarySection, Fetch, FetchItem},
    response::ResponseCode,
    server::Server,
};
use mailwright_line_proto::{Ask, Deflate};
use mailwright_mail_model::{AnnotationEntry, Flag, FlagSet, UidSet, mime::Structure};
use mailwright_mailstore::{
    FlagChange, FlagOperation, MailboxRef, MessageRef, Right, Store, StoreError, Write, accounts::Accounts,
};

use crate::{
    imap::{Visit, derived::Decoding, noting::has_parts},
    service::Session,
};

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// Whether what is read is marked as read by this.
    pub(super) async fn may_mark(&self, ask: &Ask<Fetch<UidSet>>) -> bool {
        let writable = self.selected.as_ref().is_some_and(|selected| !selected.read_only);
        writable
            && ask.sets_seen()
            && self.store.writer().is_some()
            && self.rights().await.is_ok_and(|rights| rights.contains(Right::Seen))
    }

    /// Sets `\Seen` of messages that do not have it.
    pub(super) async fn mark_seen(
        &mut self,
        connection: &mut Session<Deflate<Server>>,
        mailbox: &MailboxRef,
        unseen: &UidSet,
    ) -> Result<(), StoreError> {
        let Some(writer) = self.store.writer().filter(|_| !unseen.is_empty()) else { return Ok(()) };
        let change = FlagChange::new(FlagOperation::Add, FlagSet::from_iter([Flag::Seen]));
        writer.store_flags(mailbox, unseen, &change).await?;
        self.refresh_but(connection, unseen).await;
        let seen = |uid| (uid, FlagSet::from_iter([Flag::Seen]));
        self.flagged(unseen.iter().map(seen).collect()).await;
        Ok(())
    }
}

/// The parts that FETCH items want without their transfer encoding.
pub(super) fn decoded(items: &[FetchItem]) -> Vec<BinarySection> {
    let wanted = items.iter().filter_map(|item| match item {
        FetchItem::Binary(section) => Some(section.clone()),
        FetchItem::BinarySize(part) => Some(BinarySection::peek(part.clone())),
        _ => None,
    });
    wanted.collect()
}

/// Refuses what can be told of none of these messages: annotations of parts that they do not have, and parts that nobody can decode.
pub(super) fn check(
    messages: &[MessageRef],
    structures: &[Option<Structure>],
    parts: &[AnnotationEntry],
    decoded: &[BinarySection],
) -> Answered<()> {
    if parts.is_empty() && decoded.is_empty() {
        return Ok(());
    }
    for (message, structure) in messages.iter().zip(structures) {
        // Of one that was expunged meanwhile there is nothing to say.
        let Some(structure) = structure else { continue };
        has_parts(structure, parts)?;
        for section in decoded {
            Decoding::new(message, structure, section).map_err(|_| unknown_encoding())?;
        }
    }
    Ok(())
}

/// RFC 3516 §4.3
pub(super) fn unknown_encoding() -> Refusal {
    Refusal::new(ResponseCode::UnknownCte, "the transfer encoding of a part is not known")
}
