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

/// What subjects are made of where neither the script nor the site says (RFC 5230 §5.4), and how many characters they have at most.
pub(crate) const SUBJECT_DEFAULT: &str = "Automated reply";
pub(crate) const SUBJECT_TEMPLATE: &str = "Auto: %{subject}";
pub(crate) const SUBJECT_MOST: usize = 256;

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
    /// The subject of an answer to a message that has none; empty for `Automated reply`.
    pub subject_default: String,
    /// What is made of the subject of the message, which stands for `%{subject}` and for `%$`; empty for `Auto: %{subject}`.
    pub subject_template: String,
    /// Characters of a subject that is made, with the ellipsis for what is left out; 0 for 256.
    pub subject_most: usize,
    /// Whether the To field of the answer names whom the header says the message is from, whatever the envelope says.
    pub to_header_sender: bool,
}

/// An answer to send, unless the sender had one in the period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// To whom: the sender of the envelope (RFC 5230 §4.5). The answer's own sender is the null one.
    pub recipient: String,
    /// The From field; `None` for the user's main address. It is one of [`Vacation::addresses`] where the message names that.
    pub from: Option<String>,
    /// The To field, encoded: the recipient, with a name if the header of the message has one; `None` for the recipient alone.
    pub to: Option<String>,
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
    let delivered = envelope.to.iter().chain(original);
    let own: Vec<&String> = own.iter().chain(delivered).chain(&vacation.addresses).collect();
    let is_own = |address: &str| own.iter().any(|own| own.eq_ignore_ascii_case(address));
    if is_own(sender) {
        return Err(Silence::FromUser);
    }
    if let Some(field) = automatic(header) {
        return Err(Silence::Automatic(field));
    }
    let addressed = recipients(header).find(|recipient| is_own(recipient));
    if !vacation.unaddressed && addressed.is_none() {
        return Err(Silence::NotAddressed);
    }
    // RFC 5230 §5.1: from the user, by the address that whoever wrote knows.
    let alias = |address: &String| vacation.addresses.iter().any(|own| own.eq_ignore_ascii_case(address));
    let text =
        |name: &str| header::find(header, name).map(|field| word::decode(field.value()).trim().to_owned());
    let subject = match (&vacation.subject, text("Subject")) {
        // Scripts have subjects that are encoded already, too.
        (Some(subject), _) => word::decode(subject.as_bytes()),
        // RFC 5230 §5.4 asks for `Auto: ` and the subject of the message.
        (None, Some(subject)) => {
            let template = filled(&vacation.subject_template, SUBJECT_TEMPLATE);
            limited(
                template.replace("%$", "%{subject}").replace("%{subject}", &subject),
                vacation.subject_most,
            )
        }
        (None, None) => {
            limited(filled(&vacation.subject_default, SUBJECT_DEFAULT).into(), vacation.subject_most)
        }
    };
    let id = text("Message-ID").filter(|id| id.len() <= 998 && id.starts_with('<'));
    // RFC 5322 §3.6.4
    let references = match (text("References").or_else(|| text("In-Reply-To")), &id) {
        (Some(before), Some(id)) if before.len() < 4000 => Some(format!("{before} {id}")),
        (_, id) => id.clone(),
    };
    Ok(Reply {
        recipient: sender.to_owned(),
        from: vacation.from.clone().or_else(|| addressed.filter(alias)),
        to: named_sender(header, sender, vacation.to_header_sender),
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

fn filled<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

/// A subject of so many characters at most, 0 for as many as is usual.
fn limited(subject: String, most: usize) -> String {
    let most = if most == 0 { SUBJECT_MOST } else { most };
    match subject.char_indices().nth(most) {
        None => subject,
        Some(_) => subject.chars().take(most.saturating_sub(1)).chain(['\u{2026}']).collect(),
    }
}

/// The mailbox of the sender, with the name that the header has for it; with `any` the first one of these fields, whose ever it is.
fn named_sender(header: &[u8], sender: &str, any: bool) -> Option<String> {
    ["Sender", "Resent-From", "From", "Reply-To"].iter().find_map(|name| {
        let field = header::find(header, name)?;
        let mut mailboxes = address_list::parse(&field.text()).into_iter().filter_map(|entry| match entry {
            Entry::Mailbox(mailbox) => Some((mailbox.address()?, mailbox.name.unwrap_or_default())),
            _ => None,
        });
        let (address, name) =
            mailboxes.find(|(address, _)| any || address.as_str().eq_ignore_ascii_case(sender))?;
        // What is too long for a line is nobody's name (RFC 5322 §2.1.1).
        let name = Some(word::decode(&name)).filter(|name| name.len() <= 256).unwrap_or_default();
        Some(compose::mailbox(name.trim(), address.as_str()))
    })
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
        fields.mailbox("From", from);
        fields.raw("To", &self.to.clone().unwrap_or_else(|| format!("<{}>", self.recipient)));
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
    fn what_answers_say_of_the_message() {
        let envelope = Envelope::new("ann@a.example", "bob@example.com");
        let of = |vacation: &Vacation, header: &str| {
            reply(vacation, format!("{header}To: bob@example.com\r\n").as_bytes(), &envelope, &[]).unwrap()
        };
        let plain = Vacation::default();
        let long = of(&plain, &format!("Subject: {}\r\n", "é".repeat(300))).subject;
        assert_eq!((long.chars().count(), long.ends_with("éé\u{2026}")), (256, true));
        let made = Vacation {
            subject_default: "Nothing".into(),
            subject_template: "<%$> %{subject}".into(),
            subject_most: 12,
            ..Vacation::default()
        };
        assert_eq!(of(&made, "").subject, "Nothing");
        assert_eq!(of(&made, "Subject: tea\r\n").subject, "<tea> tea");
        assert_eq!(of(&made, "Subject: teapot\r\n").subject, "<teapot> te\u{2026}");

        assert_eq!(
            of(&plain, "From: Ann <ANN@a.example>\r\n").to.as_deref(),
            Some("\"Ann\" <ANN@a.example>")
        );
        assert_eq!(of(&plain, "From: Eve <eve@a.example>\r\n").to, None);
        let encoded = "From: =?utf-8?q?Z=C3=B6?= <ann@a.example>\r\n";
        assert_eq!(of(&plain, encoded).to.as_deref(), Some("=?UTF-8?B?WsO2?= <ann@a.example>"));
        let any = Vacation { to_header_sender: true, ..Vacation::default() };
        assert_eq!(of(&any, "From: Eve <eve@a.example>\r\n").to.as_deref(), Some("\"Eve\" <eve@a.example>"));

        let alias = Vacation { addresses: vec!["bob@alias.example".into()], ..Vacation::default() };
        assert_eq!(of(&alias, "").from, None);
        let first =
            reply(&alias, b"To: bob@example.com\r\nCc: bob@alias.example\r\n", &envelope, &[]).unwrap();
        assert_eq!(first.from, None, "the first counts");
        let header = b"Cc: Bob@Alias.example\r\n";
        let found = reply(&alias, header, &envelope, &[]).unwrap();
        assert_eq!(found.from.as_deref(), Some("Bob@Alias.example"));
        let built =
            found.message(&compose::Stamp::new(mailwright_mail_model::DateTime::EPOCH, "<1@b>", "<b@b>"));
        let text = String::from_utf8(crate::MemoryHost::new(*b"").octets(&built)).unwrap();
        assert!(text.contains("From: Bob@Alias.example\r\nTo: <ann@a.example>\r\n"), "{text}");
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
