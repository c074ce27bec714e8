//! What a run asks of its host, and what the host answers.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use mailwright_mail_model::mime::Structure;

use crate::{Message, Program, ProgramInput, ProgramOutput};

/// A question to the host. Each variant says which [`Answer`] it wants; any other ends the script with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// These octets of the message: [`Answer::Octets`], at least one of them, or none if the message is shorter than its structure says.
    Octets {
        /// 0 is the message itself; others are what [`Request::Filter`] was answered with.
        source: u32,
        /// Which; at most 1 MiB.
        range: Range<u64>,
    },
    /// Can mail be put into this mailbox (RFC 5490 §3.1)? [`Answer::Truth`].
    Mailbox(String),
    /// Is there a mailbox with this identifier (RFC 9042)? [`Answer::Truth`].
    MailboxById(String),
    /// Is there a mailbox for this special use (RFC 8579 §3)? [`Answer::Truth`].
    SpecialUse {
        /// Only this mailbox, if it is named.
        mailbox: Option<String>,
        /// Such as `\Junk`.
        attribute: String,
    },
    /// An annotation (RFC 5490): [`Answer::Text`], `None` if it is not set.
    Metadata {
        /// The mailbox; `None` for those of the server.
        mailbox: Option<String>,
        /// The name of the annotation, such as `/private/comment`.
        annotation: String,
    },
    /// Has this key been seen in the period (RFC 7352)? [`Answer::Truth`]. The host remembers it once the script has ended well:
    /// [`Outcome::seen`](crate::Outcome::seen).
    Duplicate {
        /// What identifies the message.
        key: String,
        /// How long it is remembered, in seconds.
        seconds: u64,
        /// Whether the period begins anew each time it is seen.
        last: bool,
    },
    /// Is this value in an external list (RFC 6134)? [`Answer::Truth`].
    ListMember {
        /// The name of the list.
        list: String,
        /// The value.
        value: String,
    },
    /// Is this the name of an external list (RFC 6134 §2.6)? [`Answer::Truth`].
    List(String),
    /// An item of the environment (RFC 5183): [`Answer::Text`], `None` if it is not known.
    Environment(String),
    /// A script to include (RFC 6609): [`Answer::Script`], `None` if there is none or it does not compile.
    Script {
        /// Whether it is one of the server's rather than of the user's.
        global: bool,
        /// Its name.
        name: String,
    },
    /// Can this method notify (RFC 5435 §4)? [`Answer::Truth`].
    NotifyMethod(String),
    /// What a method can do (RFC 5435 §5), such as `online`: [`Answer::Text`], `None` if that is not known.
    NotifyCapability {
        /// The URI of the method.
        uri: String,
        /// The name of the capability.
        capability: String,
    },
    /// The score of a spam or virus filter: [`Answer::Text`] with a number, `None` if the message was not looked at.
    Score(Score),
    /// Runs a program (`vnd.dovecot.execute`): [`Answer::Program`].
    Execute {
        /// Its name, without any `/`.
        program: String,
        /// Its arguments.
        arguments: Vec<String>,
        /// What it reads.
        input: ProgramInput,
    },
    /// Runs the message through a program (`vnd.dovecot.filter`): [`Answer::Message`], or [`Answer::Program`] if there is no new
    /// message.
    Filter {
        /// Its name, without any `/`.
        program: String,
        /// Its arguments.
        arguments: Vec<String>,
        /// The message as it is now.
        message: Message,
    },
    /// Converts a part (RFC 6558): [`Answer::Converted`].
    Convert {
        /// The media type it has, in lower case.
        from: String,
        /// The media type it is to have.
        to: String,
        /// `name=value`.
        parameters: Vec<String>,
        /// Its body, decoded.
        body: Bytes,
    },
    /// Puts a part of type `text/calendar` into the user's calendar (RFC 9671): [`Answer::Calendar`].
    Calendar(Box<CalendarRequest>),
    /// A question of an extension of the host's.
    Custom {
        /// What it is about.
        name: String,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

impl Request {
    /// A question of an extension of the host's.
    pub fn custom(name: impl Into<String>, arguments: impl IntoIterator<Item = String>) -> Self {
        Self::Custom { name: name.into(), arguments: arguments.into_iter().collect() }
    }

    /// What a host answers that has nothing of the kind: there is no such mailbox, list, script, program or score, and the item is not known.
    /// For the last arm of a host's `match`. Octets are what every host has, and questions of extensions only whoever added them can answer:
    /// to these it is [`Answer::Failed`].
    ///
    /// ```
    /// use mailwright_sieve::{Answer, Request};
    ///
    /// assert!(matches!(Request::Mailbox("Tea".into()).unanswered(), Answer::Truth(false)));
    /// assert!(matches!(Request::Environment("host".into()).unanswered(), Answer::Text(None)));
    /// ```
    pub fn unanswered(&self) -> Answer {
        match self {
            Self::Mailbox(_)
            | Self::MailboxById(_)
            | Self::SpecialUse { .. }
            | Self::Duplicate { .. }
            | Self::ListMember { .. }
            | Self::List(_)
            | Self::NotifyMethod(_) => Answer::Truth(false),
            Self::Metadata { .. } | Self::Environment(_) | Self::NotifyCapability { .. } | Self::Score(_) => {
                Answer::Text(None)
            }
            Self::Script { .. } => Answer::Script(None),
            Self::Execute { .. } | Self::Filter { .. } => Answer::Program(ProgramOutput::Unknown),
            Self::Convert { .. } => Answer::Converted(None),
            Self::Calendar(_) => {
                Answer::Calendar { outcome: CalendarOutcome::NoAction, reason: String::new() }
            }
            Self::Octets { .. } => Answer::Failed("this host has no octets to give".into()),
            Self::Custom { name, .. } => Answer::Failed(format!("this host knows nothing of `{name}`")),
        }
    }
}

/// Which filter's score (RFC 5235).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Score {
    /// 0 if not tested, 1 clean, to 10 spam.
    Spam,
    /// 0 clean to 100 spam.
    SpamPercent,
    /// 0 if not tested, 1 clean, to 5 a virus.
    Virus,
}

/// What to do with a calendar object (RFC 9671 §4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CalendarRequest {
    /// The calendar objects of the message: each a decoded `text/calendar` part.
    pub objects: Vec<Bytes>,
    /// Objects that do not name one of these as attendee are left alone; empty for the user's own addresses.
    pub addresses: Vec<String>,
    /// Only updates of what is there already.
    pub updates_only: bool,
    /// Only objects organized by somebody on this external list.
    pub organizers: Option<String>,
    /// Into this calendar, by its identifier; `None` for the default one.
    pub calendar_id: Option<String>,
    /// Cancelled events are deleted, not marked.
    pub delete_cancelled: bool,
    /// Objects without a METHOD are taken too.
    pub allow_public: bool,
}

/// What became of a calendar object (RFC 9671 §4.6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CalendarOutcome {
    /// There was nothing to do.
    #[default]
    NoAction,
    /// It was put into the calendar.
    Added,
    /// It changed what was there.
    Updated,
    /// It took away what was there.
    Cancelled,
    /// It could not be processed.
    Error,
}

impl CalendarOutcome {
    /// The string that the script sees.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoAction => "no_action",
            Self::Added => "added",
            Self::Updated => "updated",
            Self::Cancelled => "cancelled",
            Self::Error => "error",
        }
    }
}

/// What the host answers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Answer {
    /// Octets of a message.
    Octets(Bytes),
    /// Yes or no.
    Truth(bool),
    /// A text, if there is one.
    Text(Option<String>),
    /// A script, if there is one.
    Script(Option<Arc<Program>>),
    /// What a program did.
    Program(ProgramOutput),
    /// A new message.
    Message {
        /// What [`Request::Octets`] calls it; not 0, and new for each message.
        source: u32,
        /// Its parts.
        structure: Arc<Structure>,
    },
    /// A body in another media type; `None` if it could not be converted.
    Converted(Option<Bytes>),
    /// What became of a calendar object, and why if there is anything to say.
    Calendar {
        /// What became of it.
        outcome: CalendarOutcome,
        /// For the user.
        reason: String,
    },
    /// The host cannot say, and the script must end: there is a fault that is not the script's. Mail is kept.
    Failed(String),
}
