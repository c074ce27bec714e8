//! What can go wrong in a store, and the code each protocol has for it.

/// What a store's methods return.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a store did not do what it was asked. Nothing was changed then.
///
/// Each kind has one code a protocol, given by [`imap_code`](Self::imap_code), [`smtp_status`](Self::smtp_status)
/// and [`pop3_code`](Self::pop3_code):
///
/// | kind | IMAP (RFC 9051 §7.1) | SMTP (RFC 5321, RFC 3463) | POP3 (RFC 2449, RFC 3206) |
/// |---|---|---|---|
/// | `NotFound` | `NONEXISTENT` (the target of APPEND, COPY, MOVE: `TRYCREATE`) | 550 5.2.0 | `SYS/PERM` |
/// | `Exists` | `ALREADYEXISTS` | 554 5.3.0 | `SYS/PERM` |
/// | `OverQuota` | `OVERQUOTA` | 552 5.2.2 | `SYS/PERM` |
/// | `ReadOnly` | `NOPERM` | 450 4.2.1 | `SYS/TEMP` |
/// | `Denied` | `NOPERM` | 550 5.7.1 | `SYS/PERM` |
/// | `Unavailable` | `UNAVAILABLE` | 451 4.3.0 | `SYS/TEMP` |
/// | `Corrupt` | `CORRUPTION` | 451 4.3.0 | `SYS/PERM` |
/// | `TooLarge` | `TOOBIG` (RFC 4469 §4.2) | 552 5.3.4 | `SYS/PERM` |
/// | `Invalid` | `CANNOT` | 554 5.5.4 | `SYS/PERM` |
/// | `Locked` | `NOPERM` | 451 4.7.0 | `SYS/PERM` |
/// | `Full` | `OVERQUOTA` (RFC 5530 §3) | 452 4.3.1 | `SYS/TEMP` |
/// | `TooMany` | `LIMIT` (RFC 5530 §3) | 452 4.5.3 | `SYS/PERM` |
/// | `Conflict` | `UNAVAILABLE` | 451 4.3.0 | `SYS/TEMP` |
///
/// ```
/// use mailwright_mailstore::StoreError;
///
/// assert_eq!(StoreError::OverQuota.imap_code(), "OVERQUOTA");
/// assert_eq!(StoreError::OverQuota.smtp_status(), (552, "5.2.2"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No such mailbox, or not with that UIDVALIDITY any more, or no such message.
    #[error("expected an existing mailbox and message, found none")]
    NotFound,
    /// A mailbox of that name exists.
    #[error("expected a new name, got one that exists")]
    Exists,
    /// The user's quota leaves no room.
    #[error("over quota")]
    OverQuota,
    /// The store takes no changes now, such as after a failed write to disk; the text says why.
    #[error("store is read-only: {0}")]
    ReadOnly(String),
    /// The user may not do this.
    #[error("not permitted")]
    Denied,
    /// Not now, perhaps later; the text says what failed.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// What is stored is not what was written; the text names the message or the row.
    #[error("stored data is corrupt: {0}")]
    Corrupt(String),
    /// More octets than the store takes.
    #[error("expected at most {limit} octets")]
    TooLarge {
        /// The most that would have been taken, in octets.
        limit: u64,
    },
    /// The disk is full, or nearly so; there may be room later. The text says how much there is.
    #[error("no room on disk: {0}")]
    Full(String),
    /// The mail is encrypted, and whoever wants to read it has not logged in with the password that opens it.
    #[error(
        "the mail of {0} is encrypted: expected a login with the password (PLAIN or LOGIN), which opens it"
    )]
    Locked(String),
    /// More things than the store takes in one place.
    #[error("expected at most {limit}")]
    TooMany {
        /// The most there may be.
        limit: u64,
    },
    /// Somebody else was faster: what was to be changed is not as it was expected any more ([`Row::unless_above`](crate::Row)), or what was to be
    /// replaced is gone ([`Upload::replace`](crate::Upload::replace)).
    #[error("expected what was there before, found it changed meanwhile")]
    Conflict,
    /// What was asked makes no sense; the text says what was expected.
    #[error("{0}")]
    Invalid(String),
}

impl StoreError {
    /// The IMAP response code, without brackets.
    pub const fn imap_code(&self) -> &'static str {
        self.codes().0
    }

    /// The SMTP reply code and enhanced status code for a delivery that failed so.
    pub const fn smtp_status(&self) -> (u16, &'static str) {
        self.codes().1
    }

    /// The POP3 extended response code, without brackets.
    pub const fn pop3_code(&self) -> &'static str {
        self.codes().2
    }

    const fn codes(&self) -> (&'static str, (u16, &'static str), &'static str) {
        match self {
            Self::NotFound => ("NONEXISTENT", (550, "5.2.0"), "SYS/PERM"),
            Self::Exists => ("ALREADYEXISTS", (554, "5.3.0"), "SYS/PERM"),
            Self::OverQuota => ("OVERQUOTA", (552, "5.2.2"), "SYS/PERM"),
            Self::ReadOnly(_) => ("NOPERM", (450, "4.2.1"), "SYS/TEMP"),
            Self::Denied => ("NOPERM", (550, "5.7.1"), "SYS/PERM"),
            Self::Unavailable(_) => ("UNAVAILABLE", (451, "4.3.0"), "SYS/TEMP"),
            Self::Corrupt(_) => ("CORRUPTION", (451, "4.3.0"), "SYS/PERM"),
            Self::TooLarge { .. } => ("TOOBIG", (552, "5.3.4"), "SYS/PERM"),
            Self::Locked(_) => ("NOPERM", (451, "4.7.0"), "SYS/PERM"),
            Self::Full(_) => ("OVERQUOTA", (452, "4.3.1"), "SYS/TEMP"),
            Self::TooMany { .. } => ("LIMIT", (452, "4.5.3"), "SYS/PERM"),
            Self::Conflict => ("UNAVAILABLE", (451, "4.3.0"), "SYS/TEMP"),
            Self::Invalid(_) => ("CANNOT", (554, "5.5.4"), "SYS/PERM"),
        }
    }
}
