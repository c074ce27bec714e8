//! Mailboxes and messages as numbers and texts, which is how tables have them.

use mailwright_mail_model::{DateTime, ModSeq, Uid, UidValidity};

use crate::{Message, Result, Snapshot, StoreError};

/// What a row of a table says of a mailbox.
///
/// ```
/// use mailwright_mailstore::backend::{MailboxRow, MessageRow};
///
/// let message = MessageRow { uid: 7, size: 900, seconds: 1_700_000_000, offset_minutes: 60, modseq: 3, flags: "\\Seen".into() };
/// let mailbox = MailboxRow { uid_validity: 1, uid_next: 8, highest_modseq: 3 };
/// let snapshot = mailbox.snapshot([message.clone()])?;
/// assert_eq!((snapshot.len(), snapshot.unseen()), (1, 0));
/// assert_eq!(MessageRow::from(snapshot.messages().next().unwrap()).flags, "(\\Seen)");
/// assert!(mailbox.snapshot([MessageRow { flags: "\\Nonsense".into(), ..message }]).is_err());
/// # Ok::<(), mailwright_mailstore::StoreError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores make it of their rows")]
pub struct MailboxRow {
    /// Its UIDVALIDITY.
    pub uid_validity: u32,
    /// Higher than any UID given out so far, up to 2³².
    pub uid_next: u64,
    /// Its highest mod-sequence.
    pub highest_modseq: u64,
}

/// What a row of a table says of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores make it of their rows")]
pub struct MessageRow {
    /// Its UID.
    pub uid: u32,
    /// Its octets.
    pub size: u64,
    /// When it arrived: seconds since 1970.
    pub seconds: i64,
    /// And how many minutes the zone of that is east of UTC.
    pub offset_minutes: i16,
    /// Its mod-sequence.
    pub modseq: u64,
    /// Its flags, as [`FlagSet`](mailwright_mail_model::FlagSet) shows them.
    pub flags: String,
}

impl MailboxRow {
    /// The mailbox with these messages.
    ///
    /// # Errors
    /// [`Corrupt`](StoreError::Corrupt) if a number or a flag cannot be.
    pub fn snapshot(self, messages: impl IntoIterator<Item = MessageRow>) -> Result<Snapshot> {
        let corrupt = || StoreError::Corrupt(format!("the row of a mailbox: {self:?}"));
        let validity = UidValidity::new(self.uid_validity).ok_or_else(corrupt)?;
        let highest = ModSeq::new(self.highest_modseq).ok_or_else(corrupt)?;
        // Beyond the highest UID there is none to come.
        let next = u32::try_from(self.uid_next).ok().and_then(Uid::new);
        let messages = messages.into_iter().map(Message::try_from).collect::<Result<Vec<_>>>()?;
        Ok(Snapshot::builder(validity).uid_next(next).highest_modseq(highest).messages(messages).build())
    }
}

impl TryFrom<MessageRow> for Message {
    type Error = StoreError;

    /// [`Corrupt`](StoreError::Corrupt) if a number or a flag cannot be.
    fn try_from(row: MessageRow) -> Result<Self> {
        let read = || {
            let date = DateTime::new(row.seconds, row.offset_minutes)?;
            let mut message = Self::new(Uid::new(row.uid)?, row.size, date);
            message.modseq = ModSeq::new(row.modseq)?;
            message.flags = row.flags.parse().ok()?;
            Some(message)
        };
        read().ok_or_else(|| StoreError::Corrupt(format!("the row of a message: {row:?}")))
    }
}

impl From<&Message> for MessageRow {
    fn from(message: &Message) -> Self {
        Self {
            uid: message.uid.get(),
            size: message.size,
            seconds: message.internal_date.seconds(),
            offset_minutes: message.internal_date.offset_minutes(),
            modseq: message.modseq.get(),
            flags: message.flags.to_string(),
        }
    }
}
