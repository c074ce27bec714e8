//! NOTIFY (RFC 5465).

use mailwright_line_proto::Request;
use mailwright_mail_model::MailboxName;

use super::FetchItem;
use crate::{
    grammar::{GrammarError, Input, Wire},
    refusal::Answered,
    response::MailboxStatus,
};

/// The most groups of one command, and mailboxes of one group.
const MOST_GROUPS: usize = 100;
const MOST_MAILBOXES: usize = 1_000;
const MOST_EVENTS: usize = 32;
const MOST_ITEMS: usize = 64;

/// From now on the client wants to be told of these events, whenever they happen, and of no others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Notify {
    /// Whether the state of the mailboxes is to be told first.
    pub status: bool,
    /// Where, and what; none for `NONE`.
    pub groups: Vec<NotifyGroup>,
    /// Whether there was an event of a kind that is not known.
    pub(crate) unknown: bool,
}

/// Some mailboxes, and what is to be told of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotifyGroup {
    /// Which mailboxes.
    pub mailboxes: NotifyMailboxes,
    /// What.
    pub events: NotifyEvents,
}

/// The mailboxes that a [`NotifyGroup`] is about (RFC 5465 §6), or a [`MultiSearch`](super::MultiSearch) (RFC 7377 §2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifyMailboxes {
    /// The one that is selected, and no other group is about that.
    Selected {
        /// Expunged messages are told of only where other commands would.
        delayed: bool,
    },
    /// Those that mail is delivered to.
    Inboxes,
    /// Those of the user.
    Personal,
    /// Those that are subscribed.
    Subscribed,
    /// These, and all below them.
    Subtree(Vec<MailboxName>),
    /// These, and those right below them; for searches only.
    SubtreeOne(Vec<MailboxName>),
    /// These.
    Mailboxes(Vec<MailboxName>),
}

/// What is to be told (RFC 5465 §5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NotifyEvents {
    /// `MessageNew`, and what is to be sent of each message of the selected mailbox.
    pub new: Option<Vec<FetchItem>>,
    /// `MessageExpunge`.
    pub expunge: bool,
    /// `FlagChange`.
    pub flags: bool,
    /// `AnnotationChange`: annotations of messages (RFC 5465 §5.1).
    pub message_annotations: bool,
    /// `MailboxName`.
    pub names: bool,
    /// `SubscriptionChange`.
    pub subscriptions: bool,
    /// `MailboxMetadataChange`.
    pub annotations: bool,
    /// `ServerMetadataChange`.
    pub server_annotations: bool,
}

/// The events that a server can tell of: those of annotations of mailboxes (RFC 5465 §5.6, §5.7) and of messages (§5.1) if it keeps these.
pub(crate) fn notify_events(mailboxes: bool, messages: bool) -> String {
    let messages = if messages { " AnnotationChange" } else { "" };
    let mailboxes = if mailboxes { " MailboxMetadataChange ServerMetadataChange" } else { "" };
    format!("(MessageNew MessageExpunge FlagChange{messages} MailboxName SubscriptionChange{mailboxes})")
}

impl Notify {
    /// Nothing is told at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// These groups.
    pub fn new(groups: Vec<NotifyGroup>) -> Self {
        Self { groups, ..Self::default() }
    }

    /// Whether changes of annotations are among what is to be told.
    pub(crate) fn names_annotations(&self) -> bool {
        self.groups.iter().any(|group| group.events.annotations || group.events.server_annotations)
    }

    /// Whether changes of annotations of messages are among what is to be told.
    pub(crate) fn names_message_annotations(&self) -> bool {
        self.groups.iter().any(|group| group.events.message_annotations)
    }

    /// What is told of the selected mailbox, and whether of expunged messages only where other commands would.
    pub fn selected(&self) -> Option<(&NotifyEvents, bool)> {
        self.groups.iter().find_map(|group| match group.mailboxes {
            NotifyMailboxes::Selected { delayed } => Some((&group.events, delayed)),
            _ => None,
        })
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        input.space()?;
        if input.keyword("NONE") {
            return Ok(Self::none());
        }
        if !input.keyword("SET") {
            return Err(input.expected("SET or NONE"));
        }
        let mut notify = Self::default();
        input.space()?;
        if input.keyword("STATUS") {
            notify.status = true;
            input.space()?;
        }
        loop {
            if notify.groups.len() == MOST_GROUPS {
                return Err(GrammarError::TooMany { what: "groups of events", limit: MOST_GROUPS });
            }
            let here = input.clone();
            let group = NotifyGroup::parse(input, &mut notify.unknown)?;
            // RFC 5465 §6.1
            if matches!(group.mailboxes, NotifyMailboxes::Selected { .. }) && notify.selected().is_some() {
                return Err(here.expected("the selected mailbox only once"));
            }
            notify.groups.push(group);
            if !input.eat(b' ') {
                return Ok(notify);
            }
        }
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        if self.groups.is_empty() {
            return wire.put(b"NOTIFY NONE");
        }
        wire.put(if self.status { b"NOTIFY SET STATUS" } else { b"NOTIFY SET" });
        for group in &self.groups {
            wire.put(b" (");
            group.mailboxes.encode(wire);
            wire.put(b" ");
            group.events.encode(wire);
            wire.put(b")");
        }
    }
}

impl Request for Notify {
    /// The state of the mailboxes, if [`status`](Self::status) is wanted.
    type Answer = Answered<Vec<MailboxStatus>>;
}

impl NotifyGroup {
    /// These events of these mailboxes.
    pub fn new(mailboxes: NotifyMailboxes, events: NotifyEvents) -> Self {
        Self { mailboxes, events }
    }

    fn parse(input: &mut Input<'_>, unknown: &mut bool) -> Result<Self, GrammarError> {
        input.octet(b'(', "an opening parenthesis")?;
        let mailboxes = NotifyMailboxes::parse(input, false)?;
        input.space()?;
        let here = input.clone();
        let events = NotifyEvents::parse(input, unknown)?;
        input.octet(b')', "a closing parenthesis")?;
        let is_selected = matches!(mailboxes, NotifyMailboxes::Selected { .. });
        // RFC 5465 §5, §6.1, §8
        if events.new.is_some() != events.expunge {
            return Err(here.expected("both of MessageNew and MessageExpunge, or neither"));
        }
        if (events.flags || events.message_annotations) && !events.expunge {
            return Err(here.expected("MessageNew and MessageExpunge with FlagChange and AnnotationChange"));
        }
        let of_mailboxes =
            events.names || events.subscriptions || events.annotations || events.server_annotations;
        if is_selected && of_mailboxes {
            return Err(here.expected("events of messages for the selected mailbox"));
        }
        if !is_selected && events.new.as_ref().is_some_and(|items| !items.is_empty()) {
            return Err(here.expected("items to fetch for the selected mailbox only"));
        }
        Ok(Self { mailboxes, events })
    }
}

impl NotifyMailboxes {
    pub(super) fn parse(input: &mut Input<'_>, search: bool) -> Result<Self, GrammarError> {
        for (word, meant) in [
            ("SELECTED-DELAYED", Self::Selected { delayed: true }),
            ("SELECTED", Self::Selected { delayed: false }),
            ("INBOXES", Self::Inboxes),
            ("PERSONAL", Self::Personal),
            ("SUBSCRIBED", Self::Subscribed),
        ] {
            let known = !(search && meant == Self::Selected { delayed: true });
            if known && input.keyword(word) {
                return Ok(meant);
            }
        }
        if search && input.keyword("SUBTREE-ONE") {
            return mailboxes(input).map(Self::SubtreeOne);
        }
        if input.keyword("SUBTREE") {
            return mailboxes(input).map(Self::Subtree);
        }
        if input.keyword("MAILBOXES") {
            return mailboxes(input).map(Self::Mailboxes);
        }
        Err(input.expected("which mailboxes are meant"))
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        let (word, names): (&[u8], &[MailboxName]) = match self {
            Self::Selected { delayed: true } => (b"SELECTED-DELAYED", &[]),
            Self::Selected { delayed: false } => (b"SELECTED", &[]),
            Self::Inboxes => (b"INBOXES", &[]),
            Self::Personal => (b"PERSONAL", &[]),
            Self::Subscribed => (b"SUBSCRIBED", &[]),
            Self::Subtree(names) => (b"SUBTREE ", names),
            Self::SubtreeOne(names) => (b"SUBTREE-ONE ", names),
            Self::Mailboxes(names) => (b"MAILBOXES ", names),
        };
        wire.put(word);
        if word.ends_with(b" ") {
            wire.put_list(names, |wire, name| wire.put_mailbox(name));
        }
    }
}

/// One mailbox, or several in parentheses.
fn mailboxes(input: &mut Input<'_>) -> Result<Vec<MailboxName>, GrammarError> {
    input.space()?;
    if input.peek() != Some(b'(') {
        return input.mailbox().map(|name| vec![name]);
    }
    let here = input.clone();
    let names = input.list("mailboxes", MOST_MAILBOXES, Input::mailbox)?;
    if names.is_empty() { Err(here.expected("at least one mailbox")) } else { Ok(names) }
}

impl NotifyEvents {
    /// Whether it is told, of mailboxes that are not selected, that messages have changed: which of flags and annotations did is not said
    /// (RFC 5465 §5.1).
    pub fn tells_flags(&self) -> bool {
        self.flags || self.message_annotations
    }

    fn parse(input: &mut Input<'_>, unknown: &mut bool) -> Result<Self, GrammarError> {
        let mut events = Self::default();
        if input.keyword("NONE") {
            return Ok(events);
        }
        let here = input.clone();
        let mut count = 0;
        input.octet(b'(', "an opening parenthesis")?;
        loop {
            count += 1;
            if count > MOST_EVENTS {
                return Err(GrammarError::TooMany { what: "events", limit: MOST_EVENTS });
            }
            events.parse_one(input, unknown)?;
            if input.eat(b')') {
                return Ok(events);
            }
            if !input.eat(b' ') {
                return Err(here.expected("events in parentheses"));
            }
        }
    }

    fn parse_one(&mut self, input: &mut Input<'_>, unknown: &mut bool) -> Result<(), GrammarError> {
        let name = input.atom()?;
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("MessageNew") {
            let mut rest = input.clone();
            let items = match rest.eat(b' ') && rest.peek() == Some(b'(') {
                true => {
                    *input = rest;
                    input.list("FETCH items", MOST_ITEMS, FetchItem::parse)?
                }
                false => Vec::new(),
            };
            self.new = Some(items);
            return Ok(());
        }
        let known = [
            ("MessageExpunge", &mut self.expunge),
            ("FlagChange", &mut self.flags),
            ("AnnotationChange", &mut self.message_annotations),
            ("MailboxName", &mut self.names),
            ("SubscriptionChange", &mut self.subscriptions),
            ("MailboxMetadataChange", &mut self.annotations),
            ("ServerMetadataChange", &mut self.server_annotations),
        ];
        match known.into_iter().find(|(known, _)| is(known)) {
            Some((_, wanted)) => *wanted = true,
            None => *unknown = true,
        }
        Ok(())
    }

    fn encode(&self, wire: &mut impl Wire) {
        if *self == Self::default() {
            return wire.put(b"NONE");
        }
        let mut before: &[u8] = b"(";
        if let Some(items) = &self.new {
            wire.put(std::mem::replace(&mut before, b" "));
            wire.put(b"MessageNew");
            if !items.is_empty() {
                wire.put(b" ");
                wire.put_list(items, |wire, item| item.encode(wire));
            }
        }
        for (wanted, word) in [
            (self.expunge, "MessageExpunge"),
            (self.flags, "FlagChange"),
            (self.message_annotations, "AnnotationChange"),
            (self.names, "MailboxName"),
            (self.subscriptions, "SubscriptionChange"),
            (self.annotations, "MailboxMetadataChange"),
            (self.server_annotations, "ServerMetadataChange"),
        ] {
            if wanted {
                wire.put(std::mem::replace(&mut before, b" "));
                wire.put(word.as_bytes());
            }
        }
        wire.put(b")");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Notify, GrammarError> {
        let mut input = Input::new(text.as_bytes());
        let notify = Notify::parse(&mut input)?;
        input.end()?;
        Ok(notify)
    }

    #[test]
    fn commands_are_read_as_they_were_written() {
        for text in [
            "NOTIFY NONE",
            "NOTIFY SET STATUS (SELECTED (MessageNew (UID BODY.PEEK[HEADER.FIELDS (FROM)]) MessageExpunge)) (SUBTREE (Lists) (MessageNew MessageExpunge))",
            "NOTIFY SET (SELECTED-DELAYED NONE) (PERSONAL (MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange))",
            "NOTIFY SET (INBOXES (MessageNew MessageExpunge FlagChange)) (SUBSCRIBED NONE) (MAILBOXES (a INBOX) (MailboxName))",
        ] {
            let mut wire = Vec::new();
            parse(text.strip_prefix("NOTIFY").unwrap()).unwrap().encode(&mut wire);
            assert_eq!(String::from_utf8(wire).unwrap(), text);
        }
        assert!(parse(" set (selected (messagenew messageexpunge messageread))").unwrap().unknown);
        let notify = parse(" set (selected (messagenew messageexpunge annotationchange))").unwrap();
        assert!(!notify.unknown && notify.names_message_annotations());
        for bad in [
            "",
            " SET",
            " SET ()",
            " SET (SELECTED)",
            " SET (SELECTED ())",
            " SET (SELECTED (MessageNew))",
            " SET (SELECTED (MessageExpunge))",
            " SET (SELECTED (FlagChange))",
            " SET (SELECTED (AnnotationChange))",
            " SET (SELECTED (MailboxName))",
            " SET (SELECTED (MailboxMetadataChange))",
            " SET (PERSONAL (MessageNew (UID) MessageExpunge))",
            " SET (SELECTED NONE) (SELECTED-DELAYED NONE)",
            " SET (SUBTREE () NONE)",
            " SET (PERSONAL (MailboxName)",
            " NONE x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
