//! What a run is told at its start.

use std::sync::Arc;

use mailwright_mail_model::{DateTime, mime::Structure};

use crate::Options;

/// The message a script is run on, and all that is known of its delivery.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Input {
    /// The parts of the message and where they stand: what [`Scanner`](mailwright_mail_model::mime::Scanner) found while the message
    /// came in.
    pub structure: Arc<Structure>,
    /// The moment, in the user's time zone.
    pub now: DateTime,
    /// The SMTP envelope.
    pub envelope: Envelope,
    /// The user's own addresses, as far as they are known; the recipient of the envelope need not be among them. For `vacation`
    /// (RFC 5230 §4.5), and for `report`, which is never sent to them.
    pub addresses: Vec<String>,
    /// Whether the recipient of the envelope is an address that others have too, such as that of a group or a catch-all: it is not the user's
    /// own then, and `vacation` does not answer what is addressed to it (RFC 5230 §4.5).
    pub shared_recipient: bool,
    /// What separates the user from the detail in a local part (RFC 5233); `+`. Of several characters the first one that is there
    /// separates, as with Postfix; none for no details.
    pub separator: String,
    /// What the site has decided about extensions.
    pub options: Arc<Options>,
    /// Flags the message has already (RFC 6785 §4.5); none at delivery. Where there are some, what is kept and filed always has flags, if it is
    /// none that are left.
    pub flags: Vec<String>,
    /// Whether this is no delivery, but something that happened to a message in a mailbox (RFC 6785): there is no envelope then, and
    /// nobody to be answered. [`Action::Keep`](crate::Action::Keep) always has the flags that the message is to have.
    pub event: bool,
    /// Whether steps are written down in [`Outcome::trace`](crate::Outcome::trace).
    pub trace: bool,
}

impl Input {
    /// A message that came without an envelope, at this moment.
    pub fn new(structure: Arc<Structure>, now: DateTime) -> Self {
        Self {
            structure,
            now,
            envelope: Envelope::default(),
            addresses: Vec::new(),
            shared_recipient: false,
            separator: "+".into(),
            options: Arc::default(),
            flags: Vec::new(),
            event: false,
            trace: false,
        }
    }

    /// Whether it must be told when no flags are left.
    pub(crate) const fn tells_flags(&self) -> bool {
        self.event || !self.flags.is_empty()
    }
}

/// The SMTP envelope of a message, for one recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// The sender: empty for the null sender, `None` if it is not known.
    pub from: Option<String>,
    /// The recipient.
    pub to: Option<String>,
    /// The recipient before aliases were resolved.
    pub original_to: Option<String>,
    /// Who was logged in as the message was submitted (`auth`, RFC 4954 §5).
    pub auth: Option<String>,
    /// NOTIFY of the recipient (RFC 3461 §4.1), a value each.
    pub notify: Vec<String>,
    /// ORCPT of the recipient (RFC 3461 §4.2), with its `type;`.
    pub original_recipient: Option<String>,
    /// RET (RFC 3461 §4.3).
    pub ret: Option<String>,
    /// ENVID (RFC 3461 §4.4).
    pub id: Option<String>,
    /// BY (RFC 2852): by when the message is to be delivered.
    pub by: Option<By>,
}

impl Envelope {
    /// From this sender, empty for the null sender, to this recipient.
    pub fn new(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { from: Some(from.into()), to: Some(to.into()), ..Self::default() }
    }
}

/// The BY parameter of a message that came (RFC 2852 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct By {
    /// The moment.
    pub at: DateTime,
    /// `R` or `N`.
    pub mode: char,
    /// Whether `T` was asked for.
    pub trace: bool,
}

impl By {
    /// Delivery by a moment, in a mode (`R` or `N`).
    pub const fn new(at: DateTime, mode: char, trace: bool) -> Self {
        Self { at, mode, trace }
    }
}
