//! What a script wants done.

use bytes::Bytes;

use crate::Message;

/// One thing to do with the message, or because of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Put it into the default mailbox: by `keep`, or because nothing in the script kept it from that.
    Keep(Delivery),
    /// Put it into a mailbox.
    FileInto(Delivery),
    /// Send it on.
    Redirect(Redirect),
    /// Refuse it.
    Reject(Reject),
    /// Answer that the user is away. Whether to is decided already, but for whether the sender had an answer lately.
    Vacation(Box<crate::vacation::Reply>),
    /// Tell somebody.
    Notify(Box<Notify>),
    /// Give it to a program (`vnd.dovecot.pipe`).
    Pipe(Pipe),
    /// Report it as abuse (`vnd.dovecot.report`).
    Report(Report),
    /// Put it away and bring it back later.
    Snooze(Box<Snooze>),
    /// An action of an extension of the host's.
    Custom {
        /// Its name.
        name: String,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

/// How a message goes into a mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The mailbox as the script names it; `None` for the default one.
    pub mailbox: Option<String>,
    /// The mailbox by its identifier (RFC 9042); it goes before the name if there is such a mailbox.
    pub mailbox_id: Option<String>,
    /// The special use of the mailbox, such as `\Junk` (RFC 8579); it goes before the name if there is such a mailbox.
    pub special_use: Option<String>,
    /// Whether the mailbox is to be made if it is not there (RFC 5490 §3.2).
    pub create: bool,
    /// Flags to set (RFC 5232); `None` if the script says nothing of flags.
    pub flags: Option<Vec<String>>,
    /// Whether the script said `:copy` (RFC 3894).
    pub copy: bool,
    /// The message, as it was when the script said this.
    pub message: Message,
}

/// Sending a message on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redirect {
    /// To whom: an address, or with [`list`](Self::list) the name of a list of addresses.
    pub address: String,
    /// Whether the address is the name of a list (RFC 6134 §2.5).
    pub list: bool,
    /// Whether the script said `:copy`.
    pub copy: bool,
    /// What notifications are wanted: the values of NOTIFY of RFC 3461 (RFC 6009).
    pub notify: Option<Vec<String>>,
    /// `FULL` or `HDRS` (RFC 6009).
    pub ret: Option<String>,
    /// By when it is to be delivered (RFC 2852, RFC 6009).
    pub by: Option<DeliverBy>,
    /// The message, as it was when the script said this.
    pub message: Message,
}

/// A time for delivery (RFC 2852).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliverBy {
    /// Seconds from now, negative if the time is past.
    pub seconds: i64,
    /// `notify` or `return`.
    pub mode: String,
    /// Whether each hop is to say so.
    pub trace: bool,
}

/// Refusing a message (RFC 5429).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reject {
    /// Why, for the sender.
    pub reason: String,
    /// `ereject`: within the SMTP transaction if there is any way to.
    pub at_protocol_level: bool,
}

/// Telling somebody (RFC 5435).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notify {
    /// The URI of the method, such as `mailto:…`.
    pub method: String,
    /// On whose behalf.
    pub from: Option<String>,
    /// 1 (high), 2 (normal) or 3 (low).
    pub importance: u8,
    /// `name=value`.
    pub options: Vec<String>,
    /// What to say; if there is nothing, the method knows.
    pub message: Option<String>,
    /// Where the notification is filed too (RFC 8580).
    pub fcc: Option<Delivery>,
    /// The fields From and Subject that the message has for the script by then (RFC 5293 §4), as they are written.
    pub about: (String, String),
    /// What the script calls it, to take it back: of the extension `notify` from before RFC 5435.
    pub id: Option<String>,
}

/// Giving a message to a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pipe {
    /// The name of the program, without any `/`.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Whether the script goes on as if nothing were if the program fails.
    pub ignore_failure: bool,
    /// Whether the script said `:copy`.
    pub copy: bool,
    /// The message, as it was when the script said this.
    pub message: Message,
}

/// A report of abuse in the form of RFC 5965.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// `abuse`, `fraud`, …: a token.
    pub feedback_type: String,
    /// For people.
    pub text: String,
    /// To whom.
    pub recipient: String,
    /// Whether only the header is shown.
    pub headers_only: bool,
    /// Whose report it is, if that is known: an address.
    pub user: Option<String>,
}

/// Putting a message away until a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snooze {
    /// Where it awakens; `None` for the default mailbox.
    pub awaken: Delivery,
    /// Flags to add when it awakens.
    pub add_flags: Vec<String>,
    /// Flags to take away when it awakens.
    pub remove_flags: Vec<String>,
    /// The days it may awaken on, Sunday is 0; empty for every day.
    pub weekdays: Vec<u8>,
    /// The times of day it may awaken at, in seconds after midnight, in order.
    pub times: Vec<u32>,
    /// The name of the time zone; `None` for the user's own.
    pub zone: Option<String>,
}

/// What a program is given on its standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgramInput {
    /// Nothing.
    Nothing,
    /// A text.
    Text(String),
    /// A message.
    Message(Message),
}

/// What a program has to say for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgramOutput {
    /// It succeeded, and wrote this.
    Success(Bytes),
    /// It ran to its end and said no: with an exit code other than 0.
    Failure,
    /// It could not be started, was killed, took too long or wrote too much. The script ends with an error.
    Aborted,
    /// There is no such program.
    Unknown,
}
