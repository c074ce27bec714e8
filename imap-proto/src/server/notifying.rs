//! NOTIFY: what is told without being asked, of the open mailbox and of others (RFC 5465).

use mailwright_line_proto::Output;
use mailwright_mail_model::MailboxName;

use super::{
    Event, ListEntry, Server, State,
    answer::Reply,
    run::Turn,
    sharing::put_changed_annotations,
    slots::{Kind, Slot},
};
use crate::{
    command::{Notify, NotifyEvents, notify_events},
    grammar::Utf8Wire,
    refusal::{Answered, Refusal},
    response::{ListAttribute, MailboxStatus, ResponseCode, Status},
};

/// What the client was promised, and what it is still owed.
#[derive(Debug)]
pub(super) struct Notifying {
    /// What it is told of the open mailbox.
    pub(super) selected: NotifyEvents,
    /// Whether messages may be announced as expunged at any time.
    pub(super) at_once: bool,
}

impl Server {
    /// Whether somebody has logged in. No more behind UNAUTHENTICATE (RFC 8437), which asks to [close](super::Event::Close) what is open.
    pub const fn is_authenticated(&self) -> bool {
        !matches!(self.state, State::NotAuthenticated)
    }

    /// Whether the client wants to be told at any time what happens in the open mailbox: then
    /// [`notify`](Self::notify) when it happens.
    pub fn notifies_selected(&self) -> bool {
        self.notifying.as_ref().is_some_and(|notifying| notifying.selected.new.is_some())
    }

    /// Tells of the state of a mailbox, where the client asked for that with NOTIFY: those of its numbers that are set.
    pub fn notify_status(&mut self, status: &MailboxStatus) {
        if self.notifying.is_none() {
            return;
        }
        match self.enabled.is_utf8() {
            true => status.encode(&mut Utf8Wire(self.out())),
            false => status.encode(self.out()),
        }
    }

    /// Tells that a mailbox was made, is gone (its `exists` says so), has another name than before, or is subscribed or not any
    /// more, where the client asked for that with NOTIFY.
    pub fn notify_mailbox(&mut self, entry: &ListEntry, before: Option<&MailboxName>) {
        if self.notifying.is_none() {
            return;
        }
        let mut listed = entry.listed();
        if !entry.exists {
            // RFC 5258 §3: \NonExistent says \Noselect too.
            listed.attributes.retain(|attribute| *attribute != ListAttribute::NoSelect);
            listed.attributes.insert(0, ListAttribute::NonExistent);
        }
        if entry.subscribed {
            listed.attributes.push(ListAttribute::Subscribed);
        }
        match self.enabled.is_utf8() {
            true => listed.encode_renamed(before, &mut Utf8Wire(self.out())),
            false => listed.encode_renamed(before, self.out()),
        }
    }

    /// Tells that nothing will be told of a mailbox that the user may list and not read: before the answer to NOTIFY, where the command
    /// is about that mailbox (RFC 5465 §3.1).
    pub fn notify_no_access(&mut self, entry: &ListEntry) {
        let mut listed = entry.listed();
        listed.attributes.insert(0, ListAttribute::NoAccess);
        match self.enabled.is_utf8() {
            true => listed.encode_extended(&[], &mut Utf8Wire(self.out())),
            false => listed.encode_extended(&[], self.out()),
        }
    }

    /// Tells that these annotations of a mailbox changed or are gone, of the server if it is none, where the client asked for that with
    /// NOTIFY.
    pub fn notify_annotations(&mut self, mailbox: Option<&MailboxName>, entries: &[String]) {
        if self.notifying.is_none() || entries.is_empty() {
            return;
        }
        match self.enabled.is_utf8() {
            true => put_changed_annotations(mailbox, entries, &mut Utf8Wire(self.out())),
            false => put_changed_annotations(mailbox, entries, self.out()),
        }
    }

    /// Tells that there is too much to tell, and that nothing is told any more: as after `NOTIFY NONE` (RFC 5465 §5.8).
    pub fn notify_overflow(&mut self) {
        if self.notifying.take().is_some() {
            let code = ResponseCode::Other { name: "NOTIFICATIONOVERFLOW".into(), text: None };
            self.say(None, &Status::ok("too much happens; nothing more is told").with(code));
        }
    }

    pub(super) fn ask_to_notify(&mut self, turn: Turn, notify: Notify) -> Option<Output<Event>> {
        let (annotations, annotates) = (self.config.abilities.annotations, self.config.abilities.annotates);
        let beyond =
            notify.names_annotations() && !annotations || notify.names_message_annotations() && !annotates;
        if notify.unknown || beyond {
            // RFC 5465 §3.1: no command is half done.
            let events = notify_events(annotations, annotates);
            let code = ResponseCode::Other { name: "BADEVENT".into(), text: Some(events) };
            return self.no(&turn, Refusal::new(code, "there are events of other kinds only"));
        }
        self.ask(turn, Kind::Plain, notify, Event::Notify)
    }
}

impl Reply for Notify {
    fn reply(server: &mut Server, slot: Slot, request: Self, answer: Answered<Vec<MailboxStatus>>) {
        let statuses = match answer {
            Ok(statuses) => statuses,
            Err(refusal) => return server.refuse(&slot, refusal),
        };
        let (selected, at_once) =
            request.selected().map_or_else(Default::default, |(events, delayed)| (events.clone(), !delayed));
        // RFC 5465 §3.1: what happened so far is told as NOOP would.
        server.notifying = None;
        server.announce(true, true);
        server.notifying = Some(Notifying { selected, at_once });
        for status in &statuses {
            server.notify_status(status);
        }
        server.succeed(&slot, None);
    }
}
