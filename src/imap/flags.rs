//! STORE: what the user may change of what is asked for (RFC 4314 §4).

use mailwright_imap_proto::{
    Answered, Refusal,
    command::{Store as StoreRequest, StoreOperation},
    response::ResponseCode,
};
use mailwright_mail_model::{FlagSet, UidSet};
use mailwright_mailstore::{
    FlagChange, FlagOperation, FlagsStored, MailboxRef, Right, Rights, StoreError, Write,
};

use super::{access::permitted, refusal};

/// A change of flags as far as it is allowed: those that the user may not change stay as each message has them.
#[derive(Debug)]
pub(super) struct Allowed(FlagChange);

impl Allowed {
    /// What may be done of a STORE; `None` if nothing of it.
    pub(super) fn of(request: &StoreRequest<UidSet>, rights: Rights) -> Option<Self> {
        if permitted(rights, &request.flags).is_empty() && !request.flags.is_empty() {
            return None;
        }
        let operation = match request.operation {
            StoreOperation::Add => FlagOperation::Add,
            StoreOperation::Remove => FlagOperation::Remove,
            StoreOperation::Replace => FlagOperation::Replace,
        };
        let any = [Right::Seen, Right::Write, Right::DeleteMessages];
        if operation == FlagOperation::Replace && !any.iter().any(|right| rights.contains(*right)) {
            return None;
        }
        Some(Self(FlagChange::new(operation, request.flags.clone()).within(rights)))
    }

    /// What becomes of a message's flags.
    pub(super) fn apply(&self, flags: &FlagSet) -> FlagSet {
        self.0.apply(flags)
    }

    /// Does it, for messages that have not changed since if that is wanted (RFC 7162 §3.1.3).
    pub(super) async fn store(
        &self,
        writer: &impl Write,
        mailbox: &MailboxRef,
        request: &StoreRequest<UidSet>,
    ) -> Answered<FlagsStored> {
        let mut change = self.0.clone();
        change.unchanged_since = request.unchanged_since.flatten();
        let stored = writer.store_flags(mailbox, &request.messages, &change).await;
        stored.map_err(|error| flag_refusal(&error))
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
    use mailwright_mail_model::Uid;

    use super::*;

    fn allowed(rights: &str, operation: StoreOperation, flags: &str, before: &str) -> Option<String> {
        let request = StoreRequest::new(UidSet::from(Uid::MIN), operation, flags.parse().unwrap());
        let allowed = Allowed::of(&request, rights.parse().unwrap())?;
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
        // Keywords that nobody has named are flags as others are.
        for (rights, after) in [("lrw", "(\\Draft \\Deleted)"), ("lrs", "(\\Flagged \\Deleted $new)")] {
            let found = allowed(
                rights,
                Replace,
                if rights == "lrw" { "(\\Draft)" } else { "()" },
                "(\\Flagged \\Deleted $new)",
            );
            assert_eq!(found.unwrap().parse::<FlagSet>(), after.parse::<FlagSet>(), "{rights}");
        }
    }
}
