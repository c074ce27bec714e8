//! Answers of people who are away: whether there is one, to whom and what it says (RFC 5230, RFC 3834).
//!
//! All pure functions: the host remembers when it answered whom.

use std::fmt;

use mailwright_mail_model::{
    address_list::{self, Entry},
    header::{self, Fields},
    word,
};

use crate::{Delivery, Envelope, Message, compose};

/// What the script says the answer is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Vacation {
    /// What to say; with [`mime`](Self::mime) a whole MIME part.
    pub reason: String,
    /// The subject; `None` for one made of that of the message.
    pub subject: Option<String>,
    /// From whom; `None` for the user's address.
    pub from: Option<String>,
    /// More addresses of the user.
    pub addresses: Vec<String>,
    /// Whether the reason begins with MIME fields.
    pub mime: bool,
    /// What answers are counted as the same; `None` for what the answer says.
    pub handle: Option<String>,
    /// For how many seconds a sender gets no second answer; 0 to answer each time.
    pub seconds: u64,
    /// Whether messages are answered too that name none of the user's addresses, against RFC 5230 §4.5.
    pub unaddressed: bool,
    /// Whether [`Envelope::original_to`] is not one of the user's addresses.
    pub final_recipient: bool,
    /// Where the answer is filed too (RFC 8580).
    pub fcc: Option<Delivery>,
}

/// An answer to send, unless the sender had one in the period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// To whom: the sender of the envelope (RFC 5230 §4.5). The answer's own sender is the null one.
    pub recipient: String,
    /// The From field; `None` for the user's main address.
    pub from: Option<String>,
    /// The Subject field, not encoded.
    pub subject: String,
    /// In-Reply-To: the identifier of the message, with its brackets.
    pub in_reply_to: Option<String>,
    /// The References field.
    pub references: Option<String>,
    /// What to say.
    pub reason: String,
    /// Whether the reason begins with MIME fields.
    pub mime: bool,
    /// What to remember: this answer to this sender.
    pub key: String,
    /// For how many seconds.
    pub seconds: u64,
    /// Where the answer is filed too.
    pub fcc: Option<Delivery>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Silence {
    /// Nobody to answer: a bounce, or the sender is not known (RFC 3834 §2).
    NoSender,
    /// The sender's address is that of a program or list (RFC 3834 §2).
    Machine(String),
    /// The message is from the user.
    FromUser,
    /// A field of the header says that a program or a list sent it (RFC 3834 §2, RFC 5230 §4.6).
    Automatic(String),
    /// None of the user's addresses is among the recipients (RFC 5230 §4.5).
    NotAddressed,
}

impl fmt::Display for Silence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSender => formatter.write_str("the message has no sender to answer"),
            Self::Machine(address) => write!(formatter, "`{address}` is the address of a program or list"),
            Self::FromUser => formatter.write_str("the sender is the user"),
            Self::Automatic(field) => {
                write!(formatter, "a program or list sent the message: it has `{field}`")
            }
            Self::NotAddressed => formatter.write_str("the message is not addressed to the user"),
        }
    }
}

/// Fields that only lists write (RFC 2369, RFC 2919).
const LIST_FIELDS: [&str; 8] = [
    "List-Id",
    "List-Help",
    "List-Subscribe",
    "List-Unsubscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
    "Mailing-List",
];

/// Fields that name recipients (RFC 5230 §4.5).
const RECIPIENT_FIELDS: [&str; 6] = ["To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc"];

/// The answer to a message with this header and envelope, or why there is none. `own` are the user's addresses.
///
/// ```
/// use mailwright_sieve::{Envelope, vacation::{Silence, Vacation, reply}};
///
/// let mut envelope = Envelope::default();
/// envelope.from = Some("ann@example.org".into());
/// envelope.to = Some("bob@example.com".into());
/// let vacation = Vacation::default();
/// let header = b"To: Bob <bob@example.com>\r\nSubject: Tea\r\n\r\n";
/// assert_eq!(reply(&vacation, header, &envelope, &[]).map(|reply| reply.subject), Ok("Auto: Tea".into()));
///
/// let list = b"To: bob@example.com\r\nList-Id: <tea.example.org>\r\n\r\n";
/// assert_eq!(reply(&vacation, list, &envelope, &[]), Err(Silence::Automatic("List-Id".into())));
/// ```
///
/// # Errors
/// Why there is no answer.
pub fn reply(
    vacation: &Vacation,
    header: &[u8],
    envelope: &Envelope,
    own: &[String],
) -> Result<Reply, Silence> {
    let sender = envelope.from.as_deref().filter(|sender| !sender.is_empty()).ok_or(Silence::NoSender)?;
    if is_machine(sender) {
        return Err(Silence::Machine(sender.to_owned()));
    }
    let original = envelope.original_to.as_ref().filter(|_| !vacation.final_recipient);
    let recipients = envelope.to.iter().chain(original);
    let own: Vec<&String> = own.iter().chain(recipients).chain(&vacation.addresses).collect();
    let is_own = |address: &str| own.iter().any(|own| own.eq_ignore_ascii_case(address));
    if is_own(sender) {
        return Err(Silence::FromUser);
    }
    if let Some(field) = automatic(header) {
        return Err(Silence::Automatic(field));
    }
    if !vacation.unaddressed && !addressed(header, is_own) {
        return Err(Silence::NotAddressed);
    }
    let text =
        |name: &str| header::find(header, name).map(|field| word::decode(field.value()).trim().to_owned());
    let subject = match (&vacation.subject, text("Subject")) {
        (Some(subject), _) => subject.clone(),
        // RFC 5230 §5.4 asks for `Auto: ` and the subject of the message.
        (None, Some(subject)) => format!("Auto: {subject}"),
        (None, None) => "Automated reply".into(),
    };
    let id = text("Message-ID").filter(|id| id.len() <= 998 && id.starts_with('<'));
    // RFC 5322 §3.6.4
    let references = match (text("References").or_else(|| text("In-Reply-To")), &id) {
        (Some(before), Some(id)) if before.len() < 4000 => Some(format!("{before} {id}")),
        (_, id) => id.clone(),
    };
    Ok(Reply {
        recipient: sender.to_owned(),
        from: vacation.from.clone(),
        subject,
        in_reply_to: id,
        references,
        reason: vacation.reason.clone(),
        mime: vacation.mime,
        key: key(vacation, sender),
        seconds: vacation.seconds,
        fcc: vacation.fcc.clone(),
    })
}

/// What is remembered of an answer to a sender (RFC 5230 §4.2): its handle, or a hash of all that makes answers different.
fn key(vacation: &Vacation, sender: &str) -> String {
    let sender = sender.to_ascii_lowercase();
    match &vacation.handle {
        Some(handle) => format!("vacation:handle:{handle}:{sender}"),
        None => {
            let subject = vacation.subject.as_deref().unwrap_or_default();
            let from = vacation.from.as_deref().unwrap_or_default();
            let mime = if vacation.mime { "mime" } else { "text" };
            let hash = compose::hash(&[vacation.reason.as_str(), subject, from, mime]);
            format!("vacation:hash:{hash:032x}:{sender}")
        }
    }
}

/// RFC 3834 §2: addresses that no person reads.
fn is_machine(address: &str) -> bool {
    let local = address.rsplit_once('@').map_or(address, |(local, _)| local).to_ascii_lowercase();
    let bare = ["mailer-daemon", "listserv", "majordomo", "postmaster-noreply", "noreply", "no-reply"];
    local.starts_with("owner-")
        || ["-request", "-owner", "-bounces", "-relay", "-noreply"].iter().any(|end| local.ends_with(end))
        || local.contains("-bounces+")
        || bare.contains(&local.as_str())
}

/// The field that says that no person sent the message.
fn automatic(header: &[u8]) -> Option<String> {
    for field in Fields::new(header) {
        let value = String::from_utf8_lossy(&field.text()).to_ascii_lowercase();
        let first = value.split([';', '(', ' ', '\t']).next().unwrap_or_default();
        let found = if field.is("Auto-Submitted") {
            // RFC 3834 §5: anything but `no`.
            !matches!(first, "no" | "")
        } else if field.is("Precedence") {
            matches!(first, "bulk" | "list" | "junk")
        } else if field.is("Return-Path") {
            value == "<>"
        } else if field.is("X-Auto-Response-Suppress") {
            value.split(',').any(|word| matches!(word.trim(), "all" | "oof" | "autoreply"))
        } else {
            LIST_FIELDS.iter().any(|name| field.is(name))
        };
        if found {
            return Some(field.name().to_owned());
        }
    }
    None
}

fn addressed(header: &[u8], is_own: impl Fn(&str) -> bool) -> bool {
    recipients(header).any(|recipient| is_own(&recipient))
}

/// The addresses in the fields of a header that name recipients (RFC 5230 §4.5), in their order: those among which the user's own are
/// looked for.
pub fn recipients(header: &[u8]) -> impl Iterator<Item = String> {
    Fields::new(header)
        .filter(|field| RECIPIENT_FIELDS.iter().any(|name| field.is(name)))
        .flat_map(|field| address_list::parse(field.value()))
        .filter_map(|entry| match entry {
            Entry::Mailbox(mailbox) => {
                let [local, domain] =
                    [&mailbox.local, &mailbox.domain].map(|part| String::from_utf8_lossy(part));
                Some(format!("{local}@{domain}"))
            }
            _ => None,
        })
}

impl Reply {
    /// The message to send, from the null sender to [`recipient`](Self::recipient) (RFC 5230 §5).
    pub fn message(&self, stamp: &compose::Stamp) -> Message {
        let from = self.from.as_deref().unwrap_or(&stamp.from);
        let mut fields = compose::Fields::new(stamp);
        fields.raw("From", from);
        fields.raw("To", &format!("<{}>", self.recipient));
        fields.text("Subject", &self.subject);
        if let Some(id) = &self.in_reply_to {
            fields.raw("In-Reply-To", id);
        }
        if let Some(references) = &self.references {
            fields.raw("References", references);
        }
        // RFC 5230 §5.8, RFC 3834 §3.1.7
        fields.raw("Auto-Submitted", "auto-replied (vacation)");
        fields.raw("Precedence", "bulk");
        if self.mime { fields.with_mime(&self.reason) } else { fields.with_text(&self.reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(from: &str, header: &str) -> Result<Reply, Silence> {
        let envelope =
            Envelope { from: Some(from.into()), to: Some("bob@example.com".into()), ..Envelope::default() };
        let vacation = Vacation { addresses: vec!["robert@example.com".into()], ..Vacation::default() };
        reply(&vacation, header.as_bytes(), &envelope, &["b@example.com".into()])
    }

    #[test]
    fn who_gets_none() {
        let to = "To: bob@example.com\r\n";
        for (from, header, expected) in [
            ("", to, Silence::NoSender),
            ("MAILER-DAEMON@a.example", to, Silence::Machine("MAILER-DAEMON@a.example".into())),
            ("owner-tea@a.example", to, Silence::Machine("owner-tea@a.example".into())),
            ("tea-request@a.example", to, Silence::Machine("tea-request@a.example".into())),
            ("B@example.com", to, Silence::FromUser),
            ("a@a.example", "To: other@example.com\r\n", Silence::NotAddressed),
            (
                "a@a.example",
                "Auto-Submitted: auto-generated; x\r\n",
                Silence::Automatic("Auto-Submitted".into()),
            ),
            ("a@a.example", "PRECEDENCE: Bulk\r\n", Silence::Automatic("PRECEDENCE".into())),
            ("a@a.example", "List-Unsubscribe: x\r\n", Silence::Automatic("List-Unsubscribe".into())),
            (
                "a@a.example",
                "X-Auto-Response-Suppress: DR, OOF\r\n",
                Silence::Automatic("X-Auto-Response-Suppress".into()),
            ),
        ] {
            assert_eq!(silence(from, header), Err(expected), "{from} {header}");
        }
        for header in [
            to,
            "Cc: x, Robert <ROBERT@example.com>\r\n",
            "Resent-To: b@example.com\r\nAuto-Submitted: no\r\n",
        ] {
            assert!(silence("a@a.example", header).is_ok(), "{header}");
        }
    }

    #[test]
    fn keys_tell_answers_and_senders_apart() {
        let of = |vacation: &Vacation, sender: &str| key(vacation, sender);
        let plain = Vacation { reason: "away".into(), ..Vacation::default() };
        let other = Vacation { subject: Some("away".into()), ..plain.clone() };
        let handle = Vacation { handle: Some("h".into()), ..plain.clone() };
        assert_eq!(of(&plain, "A@b"), of(&plain, "a@b"));
        assert_ne!(of(&plain, "a@b"), of(&plain, "c@b"));
        assert_ne!(of(&plain, "a@b"), of(&other, "a@b"));
        assert_eq!(of(&handle, "a@b"), "vacation:handle:h:a@b");
    }
}
