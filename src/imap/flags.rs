//! STORE: what the user may change of what is asked for (RFC 4314 §4).

use mailwright_imap_proto::{
    Answered, Refusal,
    command::{Store as StoreRequest, StoreOperation},
    response::ResponseCode,
};
use mailwright_mail_model::{Flag, FlagSet, UidSet};
use mailwright_mailstore::{
    FlagChange, FlagOperation, FlagsStored, MailboxRef, Right, Rights, Snapshot, StoreError, Write,
};

use super::{access::permitted, refusal};

/// A change of flags as far as it is allowed: what is taken away first, and what is set then.
#[derive(Debug)]
pub(super) struct Allowed {
    first: Option<FlagChange>,
    then: Option<FlagChange>,
}

impl Allowed {
    /// What may be done of a STORE; `None` if nothing of it.
    pub(super) fn of(request: &StoreRequest<UidSet>, rights: Rights, snapshot: &Snapshot) -> Option<Self> {
        let named = permitted(rights, &request.flags);
        if named.is_empty() && !request.flags.is_empty() {
            return None;
        }
        let one = |operation| Self { first: None, then: Some(FlagChange::new(operation, named.clone())) };
        let operation = match request.operation {
            StoreOperation::Add => FlagOperation::Add,
            StoreOperation::Remove => FlagOperation::Remove,
            StoreOperation::Replace => FlagOperation::Replace,
        };
        let all = [Right::Seen, Right::Write, Right::DeleteMessages];
        if operation != FlagOperation::Replace || all.iter().all(|right| rights.contains(*right)) {
            return Some(one(operation));
        }
        // Those that the user may not change stay as they are, whatever each message has of them.
        let system = [Flag::Seen, Flag::Answered, Flag::Flagged, Flag::Deleted, Flag::Draft];
        let may = permitted(rights, &snapshot.keywords().union(&FlagSet::from_iter(system)));
        if may.is_empty() {
            return None;
        }
        let first = may.difference(&named);
        Some(Self {
            first: (!first.is_empty()).then(|| FlagChange::new(FlagOperation::Remove, first)),
            then: (!named.is_empty()).then(|| FlagChange::new(FlagOperation::Add, named)),
        })
    }

    /// What becomes of a message's flags.
    pub(super) fn apply(&self, flags: &FlagSet) -> FlagSet {
        [&self.first, &self.then]
            .into_iter()
            .flatten()
            .fold(flags.clone(), |flags, change| change.apply(&flags))
    }

    /// Does it, for messages that have not changed since if that is wanted (RFC 7162 §3.1.3).
    pub(super) async fn store(
        &self,
        writer: &impl Write,
        mailbox: &MailboxRef,
        request: &StoreRequest<UidSet>,
    ) -> Answered<FlagsStored> {
        let mut stored: Option<FlagsStored> = None;
        for change in [&self.first, &self.then].into_iter().flatten() {
            let done: UidSet;
            let (uids, change) = match (&stored, request.unchanged_since.flatten()) {
                (Some(before), _) => {
                    done = before.messages.iter().map(|(uid, ..)| *uid).collect::<UidSet>();
                    (&done, change.clone())
                }
                (None, Some(mod_seq)) => (&request.messages, change.clone().unchanged_since(mod_seq)),
                (None, None) => (&request.messages, change.clone()),
            };
            let mut now =
                writer.store_flags(mailbox, uids, &change).await.map_err(|error| flag_refusal(&error))?;
            if let Some(before) = stored {
                now.modified = before.modified;
            }
            stored = Some(now);
        }
        stored.ok_or_else(Refusal::no_permission)
    }
}

/// What a client is told whose change of flags is refused.
fn flag_refusal(error: &StoreError) -> Refusal {
    match error {
        // RFC 5530 §3
        StoreError::TooMany { limit } => Refusal::new(
            ResponseCode::Limit,
            format!("a mailbox here has at most {limit} different keywords, and its messages have as many"),
        ),
        error => refusal(error),
    }
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::{Uid, UidValidity};

    use super::*;

    fn allowed(rights: &str, operation: StoreOperation, flags: &str, before: &str) -> Option<String> {
        let snapshot = Snapshot::builder(UidValidity::new(1).unwrap()).build();
        let request = StoreRequest::new(UidSet::from(Uid::MIN), operation, flags.parse().unwrap());
        let allowed = Allowed::of(&request, rights.parse().unwrap(), &snapshot)?;
        Some(allowed.apply(&before.parse().unwrap()).to_string())
    }

    #[test]
    fn what_may_be_changed_is() {
        use StoreOperation::{Add, Remove, Replace};
        let before = "(\\Flagged \\Deleted)";
        for (rights, operation, flags, after) in [
            ("lrs", Add, "(\\Seen \\Draft)", Some("(\\Seen \\Flagged \\Deleted)")),
            ("lrw", Add, "(\\Seen)", None),
            ("lrw", Remove, "(\\Flagged \\Deleted)", Some("(\\Deleted)")),
            ("lr", Replace, "()", None),
            ("lr", Replace, "(\\Seen)", None),
            ("lrs", Replace, "(\\Draft)", None),
            ("lrs", Replace, "(\\Seen \\Draft)", Some("(\\Seen \\Flagged \\Deleted)")),
            ("lrw", Replace, "(\\Seen \\Draft)", Some("(\\Draft \\Deleted)")),
            ("lrt", Replace, "()", Some("(\\Flagged)")),
            ("lrswt", Replace, "(\\Seen)", Some("(\\Seen)")),
        ] {
            let found = allowed(rights, operation, flags, before);
            let after = after.map(|after| after.parse::<FlagSet>().unwrap().to_string());
            assert_eq!(found, after, "{rights} {flags}");
        }
    }
}
