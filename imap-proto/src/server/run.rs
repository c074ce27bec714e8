//! Starting commands: when their turn has come, and what the machine does by itself.

use bytes::Bytes;
use mailwright_line_proto::{Ask, Closed, Output, PeerMisbehaved};
use mailwright_mail_model::{Uid, UidSet};

use super::{
    Close, Enabled, Event, Idle, Mailboxes, Phase, Ready, Refresh, Server, State,
    filtering::undefined_filter,
    slots::{Kind, ListForm, Slot},
};
use crate::{
    Refusal,
    capability::{may_log_in, offered},
    command::{
        Command, Copy, Expunge, Fetch, FetchItem, List, Move, SearchContext, SearchReturn, Spec, StatusItem,
        Store, When,
    },
    grammar::{GrammarError, Input},
    language::Wording,
    response::{Listed, ResponseCode, Status, StatusKind},
};

/// A command whose turn has come.
pub(super) struct Turn {
    pub(super) tag: Box<str>,
    pub(super) spec: &'static Spec,
    /// The lowest of the messages it is carried out for, if these are not all it names (RFC 9738).
    pub(super) limited: Option<Uid>,
}

impl Server {
    /// Starts what is ready, or puts it back if it has to wait.
    pub(super) fn start(&mut self, ready: Ready, nothing_behind: bool) -> Option<Output<Event>> {
        match ready {
            Ready::Command(octets) => {
                let ready = self.understand(&octets);
                match ready {
                    Some(ready) => {
                        if !matches!(ready, Ready::Filter { .. }) {
                            self.filters.clear();
                        }
                        self.start(ready, nothing_behind)
                    }
                    None => {
                        self.ready = Some(Ready::Command(octets));
                        None
                    }
                }
            }
            waiting if !self.slots.is_empty() && !self.may_run_beside(&waiting) => {
                self.ready = Some(waiting);
                None
            }
            Ready::Bad { tag, status } => self.bad(tag.as_deref(), &status),
            Ready::Unsaved { tag, status } => {
                self.forget_saved();
                self.bad(Some(&tag), &status)
            }
            Ready::Message { head } => self.start_message(&head),
            Ready::Filter { tag, spec, name, octets, saves } => {
                self.ask_for_filter(tag, spec, name, (octets, saves))
            }
            Ready::Parsed { tag, spec, command } => {
                self.run(Turn { tag, spec, limited: None }, *command, nothing_behind)
            }
        }
    }

    fn may_run_beside(&self, ready: &Ready) -> bool {
        let Ready::Parsed { spec, command, .. } = ready else { return false };
        let reads = spec.reads && !matches!(&**command, Command::Fetch(fetch) if self.changes_flags(fetch));
        self.slots.len() < self.config.limits.in_flight && self.slots.admit(reads, spec.uses_seqs)
    }

    /// Reads a command; `None` if what it means is not known before others are done.
    fn understand(&self, octets: &Bytes) -> Option<Ready> {
        let mut input = Input::new(octets)
            .with_utf8(self.enabled.is_utf8())
            .with_extra_separator(self.workarounds.extra_separator);
        let Ok(tag) = input.tag().map(Box::<str>::from) else {
            let status = Box::new(Status::bad("expected a tag"));
            return Some(Ready::Bad { tag: None, status });
        };
        let bad = |status: Status| Ready::Bad { tag: Some(tag.clone()), status: status.into() };
        let spec = match input.space().and_then(|()| Spec::find(&mut input)) {
            Ok(spec) => spec,
            Err(error) => return Some(bad(Status::bad(error.to_string()))),
        };
        let allowed = match spec.when {
            When::Always => true,
            When::NotAuthenticated => !self.is_logged_in(),
            When::Authenticated => self.is_logged_in(),
            When::Selected => matches!(self.state, State::Selected { .. }),
        };
        if allowed && spec.names_seqs() && self.enabled.uid_only {
            // RFC 9586 §3.1
            return Some(bad(Status::bad("sequence numbers are not used").with(ResponseCode::UidRequired)));
        }
        // Whether it is allowed, and which messages it means, may be decided by what still runs.
        let beside = allowed && self.slots.admit(spec.reads, spec.uses_seqs);
        if !self.slots.is_empty() && !beside {
            return None;
        }
        if !allowed {
            let now = match spec.when {
                When::NotAuthenticated => "not after login",
                When::Selected if self.is_logged_in() => "not without a selected mailbox",
                _ => "not before login",
            };
            return Some(bad(Status::bad(now)));
        }
        if matches!(spec.name, "APPEND" | "REPLACE" | "UID REPLACE") {
            // Pieced together from parts of messages alone: no octets follow.
            return Some(Ready::Message { head: octets.clone() });
        }
        let context = match &self.state {
            State::Selected { view, saved, .. } => {
                SearchContext::new(view.known(), view.recent()).with_saved(saved)
            }
            _ => SearchContext::default(),
        };
        let context = context
            .with_filters(&self.filters)
            .by_uid_only(self.enabled.uid_only)
            .in_utf8_only(self.enabled.utf8);
        let mut arguments = input.clone();
        Some(match spec.parse(&mut input, context) {
            Ok(command) => Ready::Parsed { tag, spec, command: command.into() },
            Err(GrammarError::Filter(name)) if self.config.abilities.filters => {
                let saves = SearchReturn::saves(&mut arguments);
                Ready::Filter { tag, spec, name, octets: octets.clone(), saves }
            }
            // RFC 5182 §2.1: after a NO there is nothing saved.
            Err(error) => {
                let status = not_understood(spec, error);
                match status.kind == StatusKind::No && SearchReturn::saves(&mut arguments) {
                    true => Ready::Unsaved { tag, status: status.into() },
                    false => bad(status),
                }
            }
        })
    }

    fn run(&mut self, mut turn: Turn, command: Command, nothing_behind: bool) -> Option<Output<Event>> {
        if self.config.abilities.mod_sequences && knows_mod_sequences(&command) {
            self.tell_mod_sequences();
        }
        if let Some(item) = self.status_item_beyond(&command) {
            let text = format!("{} is not possible on this server", item.as_str());
            return self.no(&turn, Refusal::new(ResponseCode::Cannot, text));
        }
        if self.is_beyond_abilities(&command) {
            return self.no(&turn, Refusal::cannot());
        }
        match command {
            Command::Capability => {
                let capabilities = self.capabilities();
                capabilities.encode(&mut self.transmit);
                self.ok(&turn)
            }
            Command::Noop | Command::Check if matches!(self.state, State::Selected { .. }) => {
                self.ask(turn, Kind::Plain, Refresh, Event::Refresh)
            }
            Command::Noop | Command::Check => self.ok(&turn),
            Command::Logout => {
                self.say(None, &Status::bye("logging out"));
                self.say(Some(&turn.tag), &Status::ok("LOGOUT completed"));
                self.close(Closed::Farewell)
            }
            Command::StartTls => self.start_tls(&turn, nothing_behind),
            Command::Login(login) => {
                if !may_log_in(&self.config, self.tls.as_ref()) {
                    let refusal =
                        Refusal::new(ResponseCode::PrivacyRequired, "TLS is required before authentication");
                    return self.no(&turn, refusal);
                }
                self.ask_login(turn.tag, "LOGIN", login, Event::Login)
            }
            Command::Authenticate(authenticate) => {
                if !offered(&self.config, self.tls.as_ref()).any(|name| name == authenticate.mechanism) {
                    return self.no(&turn, Refusal::plain("this mechanism is not offered"));
                }
                self.ask_login(turn.tag, "AUTHENTICATE", authenticate, Event::Authenticate)
            }
            Command::Language(language) => self.language(turn, &language),
            Command::GenUrlAuth(request) => self.ask(turn, Kind::Plain, request, Event::GenUrlAuth),
            Command::ResetKey(request) => self.ask(turn, Kind::Plain, request, Event::ResetKey),
            Command::UrlFetch(request) => self.ask(turn, Kind::Plain, request, Event::UrlFetch),
            Command::Comparator(comparator) => self.comparator(&turn, &comparator),
            Command::GetJmapAccess => self.jmap_access(&turn),
            Command::UidBatches(batches) => self.uid_batches(&turn, &batches),
            Command::Id(id) => self.ask(turn, Kind::Plain, id, Event::Id),
            Command::Enable(enable) => {
                self.enable(&enable);
                self.ok(&turn)
            }
            Command::Unauthenticate => {
                // RFC 8437 §3: as if it had just been greeted, but for TLS.
                self.state = State::NotAuthenticated;
                self.enabled = Enabled::default();
                self.wording = Wording::default();
                self.notifying = None;
                self.sets_quota = true;
                self.started = None;
                self.errors = 0;
                self.ask(turn, Kind::Leaving, Close { expunge: false }, Event::Close)
            }
            Command::Compress => self.compress(&turn),
            Command::Select(select) => self.select(turn, select),
            Command::Create(create) if create.mailbox.is_inbox() => self.no(&turn, Refusal::already_exists()),
            // RFC 6154 §3: nothing is made then.
            Command::Create(create) if create.unknown => self.no(&turn, Refusal::special_use()),
            Command::Create(create) => self.ask(turn, Kind::Plain, create, Event::Create),
            Command::Delete(delete) if delete.mailbox.is_inbox() => self.no(&turn, Refusal::cannot()),
            Command::Delete(delete) => self.ask(turn, Kind::Plain, delete, Event::Delete),
            Command::Rename(rename) if rename.to == rename.from || rename.to.is_inbox() => {
                self.no(&turn, Refusal::already_exists())
            }
            // A tree cannot be hung into itself. INBOX stays where it is (RFC 3501 §6.3.5).
            Command::Rename(rename)
                if rename.to.starts_with_level(&rename.from) && !rename.from.is_inbox() =>
            {
                self.no(&turn, Refusal::cannot())
            }
            Command::Rename(rename) => self.ask(turn, Kind::Plain, rename, Event::Rename),
            Command::Subscribe(subscribe) => self.ask(turn, Kind::Plain, subscribe, Event::Subscribe),
            Command::Unsubscribe(unsubscribe) => self.ask(turn, Kind::Plain, unsubscribe, Event::Unsubscribe),
            // RFC 3501 §6.3.8: an empty pattern asks for the delimiter.
            Command::List(list) if list.pattern.is_empty() && !list.is_extended() => {
                Listed::root().encode(self.out());
                self.ok(&turn)
            }
            Command::List(list) => self.list(turn, list, ListForm::List),
            Command::Lsub(lsub) => self.list(turn, lsub.list, ListForm::Lsub),
            Command::Xlist(xlist) => self.list(turn, xlist.list, ListForm::Xlist),
            Command::Rlist(rlist) => self.list(turn, rlist.list, ListForm::Rlist),
            Command::Rlsub(rlsub) => self.list(turn, rlsub.list, ListForm::Rlsub),
            Command::Namespace => self.ask(turn, Kind::Plain, crate::command::Namespace, Event::Namespace),
            Command::Status(status) => self.ask(turn, Kind::Plain, status, Event::Status),
            // These are taken apart where their messages are.
            Command::Append(_) | Command::Replace(_) => {
                self.bad(Some(&turn.tag), &Status::bad("expected the message as a literal"))
            }
            Command::Notify(notify) => self.ask_to_notify(turn, notify),
            Command::GetQuota(request) => self.ask(turn, Kind::Plain, request, Event::GetQuota),
            Command::GetQuotaRoot(request) => self.ask(turn, Kind::Plain, request, Event::GetQuotaRoot),
            Command::SetQuota(request) => self.ask(turn, Kind::Plain, request, Event::SetQuota),
            Command::SetAcl(request) => self.ask(turn, Kind::Plain, request, Event::SetAcl),
            Command::DeleteAcl(request) => self.ask(turn, Kind::Plain, request, Event::DeleteAcl),
            Command::GetAcl(request) => self.ask(turn, Kind::Plain, request, Event::GetAcl),
            Command::ListRights(request) => self.ask(turn, Kind::Plain, request, Event::ListRights),
            Command::MyRights(request) => self.ask(turn, Kind::Plain, request, Event::MyRights),
            Command::GetMetadata(request) => self.ask(turn, Kind::Plain, request, Event::GetMetadata),
            Command::SetMetadata(request) => self.ask(turn, Kind::Plain, request, Event::SetMetadata),
            Command::Idle => self.ask(turn, Kind::Plain, Idle, Event::Idle),
            Command::Close => self.leave(turn, true),
            Command::Unselect => self.leave(turn, false),
            Command::Search(search) => self.search(turn, search),
            Command::ApplyFilter(filter) => self.ask(turn, Kind::Plain, filter, Event::ApplyFilter),
            Command::MultiSearch(search) => self.search_several(turn, search),
            Command::Sort(sort) => self.sort(turn, sort),
            Command::Thread(thread) => self.thread(turn, thread),
            Command::CancelUpdate(cancel) => self.cancel_update(&turn, &cancel),
            Command::Expunge(expunge) => {
                let messages = match expunge.messages.map(|set| self.resolve(&set)) {
                    None => None,
                    Some(Ok(uids)) if uids.is_empty() => return self.ok(&turn),
                    Some(Ok(mut uids)) => {
                        turn.limited = self.keep_within_limit(&mut uids);
                        Some(uids)
                    }
                    Some(Err(error)) => return self.not_resolved(&turn, error),
                };
                self.ask(turn, Kind::Plain, Expunge::new(messages), Event::Expunge)
            }
            Command::Fetch(fetch) => match self.resolve(&fetch.messages) {
                Ok(uids) if uids.is_empty() && fetch.vanished.is_none() => self.ok(&turn),
                Ok(uids) => self.fetch_messages(turn, fetch, uids),
                Err(error) => self.not_resolved(&turn, error),
            },
            Command::Store(store) => match self.resolve(&store.messages) {
                Ok(uids) if uids.is_empty() => self.ok(&turn),
                Ok(mut messages) => {
                    turn.limited = self.keep_within_limit(&mut messages);
                    let Store { operation, flags, silent, unchanged_since, .. } = store;
                    let store = Store { messages, operation, flags, silent, unchanged_since };
                    self.ask(turn, Kind::Plain, store, Event::Store)
                }
                Err(error) => self.not_resolved(&turn, error),
            },
            Command::Annotate(annotate) => match self.resolve(&annotate.messages) {
                Ok(uids) if uids.is_empty() => self.ok(&turn),
                Ok(messages) => self.annotate(turn, annotate, messages),
                Err(error) => self.not_resolved(&turn, error),
            },
            Command::Copy(copy) => match self.resolve(&copy.messages) {
                Ok(uids) if uids.is_empty() => self.ok(&turn),
                Ok(mut uids) => {
                    turn.limited = self.keep_within_limit(&mut uids);
                    self.ask(turn, Kind::Plain, Copy::new(uids, copy.to), Event::Copy)
                }
                Err(error) => self.not_resolved(&turn, error),
            },
            Command::Move(relocate) => match self.resolve(&relocate.messages) {
                Ok(uids) if uids.is_empty() => self.ok(&turn),
                Ok(mut uids) => {
                    turn.limited = self.keep_within_limit(&mut uids);
                    self.ask(turn, Kind::Plain, Move::new(uids, relocate.to), Event::Move)
                }
                Err(error) => self.not_resolved(&turn, error),
            },
        }
    }

    pub(super) fn ask<R>(
        &mut self,
        turn: Turn,
        kind: Kind,
        request: R,
        event: fn(Ask<R>) -> Event,
    ) -> Option<Output<Event>> {
        let mut slot = Slot::new(turn.tag, turn.spec.name, kind);
        slot.says_uid = turn.spec.name.starts_with("UID ");
        slot.by_uid = slot.says_uid;
        slot.uses_seqs = turn.spec.uses_seqs;
        slot.limited = turn.limited;
        // What comes next may mean what a SEARCH saves (RFC 5182 §2.3).
        slot.reads = turn.spec.reads
            && !matches!(&slot.kind, Kind::Search { returns: Some(returns), .. } if returns.save);
        let id = self.slots.open(slot);
        Some(Output::Event(event(Ask::new(id, request))))
    }

    pub(super) fn ask_login<R>(
        &mut self,
        tag: Box<str>,
        name: &'static str,
        request: R,
        event: fn(Ask<R>) -> Event,
    ) -> Option<Output<Event>> {
        let id = self.slots.open(Slot::new(tag, name, Kind::Login));
        Some(Output::Event(event(Ask::new(id, request))))
    }

    fn list(&mut self, turn: Turn, list: List, form: ListForm) -> Option<Output<Event>> {
        let remote = matches!(form, ListForm::Rlist | ListForm::Rlsub);
        let mailboxes = Mailboxes::new(&list, remote);
        self.ask(turn, Kind::List { list: list.into(), form }, mailboxes, Event::Mailboxes)
    }

    fn leave(&mut self, turn: Turn, expunge: bool) -> Option<Output<Event>> {
        let State::Selected { read_only, .. } = &self.state else { return None };
        let read_only = *read_only;
        self.state = State::Authenticated;
        self.ask(turn, Kind::Close, Close { expunge: expunge && !read_only }, Event::Close)
    }

    fn start_tls(&mut self, turn: &Turn, nothing_behind: bool) -> Option<Output<Event>> {
        if !self.config.starttls || self.tls.is_some() {
            return self.bad(Some(&turn.tag), &Status::bad("STARTTLS is not possible now"));
        }
        if !nothing_behind {
            // CVE-2011-0411: they would be taken for what was sent under TLS.
            self.say(Some(&turn.tag), &Status::bad("octets behind STARTTLS"));
            return self.misbehaved(PeerMisbehaved::PlaintextBehindTls, "octets behind STARTTLS");
        }
        self.say(Some(&turn.tag), &Status::ok("begin TLS negotiation now"));
        self.phase = Phase::Tls { started: false };
        None
    }

    pub(super) fn resolve(&self, messages: &crate::MessageSet) -> Result<UidSet, GrammarError> {
        match &self.state {
            State::Selected { view, saved, .. } => messages.resolve(view.known(), saved),
            _ => Ok(UidSet::new()),
        }
    }

    /// Leaves no more of these messages than are dealt with at a time, the newest of them; says which is the lowest then
    /// (RFC 9738).
    pub(super) fn keep_within_limit(&self, uids: &mut UidSet) -> Option<Uid> {
        let limit = u64::from(self.config.message_limit?.get());
        let all = uids.len();
        if all <= limit {
            return None;
        }
        *uids = uids.at(all - limit..all);
        uids.first()
    }

    fn not_resolved(&mut self, turn: &Turn, error: GrammarError) -> Option<Output<Event>> {
        self.bad(Some(&turn.tag), &not_understood(turn.spec, error))
    }

    /// Whether a FETCH may set `\Seen`.
    pub(super) fn changes_flags(&self, fetch: &Fetch) -> bool {
        matches!(self.state, State::Selected { read_only: false, .. }) && fetch.sets_seen()
    }

    pub(super) fn ok(&mut self, turn: &Turn) -> Option<Output<Event>> {
        self.finish(&turn.tag, &Status::ok(completed(turn.spec.name)), !turn.spec.uses_seqs);
        None
    }

    pub(super) fn no(&mut self, turn: &Turn, refusal: Refusal) -> Option<Output<Event>> {
        self.finish(&turn.tag, &refusal.into(), !turn.spec.uses_seqs);
        None
    }
}

/// Whether a client that says this knows mod-sequences, whatever comes of it (RFC 7162 §3.1).
fn knows_mod_sequences(command: &Command) -> bool {
    match command {
        Command::Fetch(fetch) => fetch.changed_since.is_some() || fetch.items.contains(&FetchItem::ModSeq),
        Command::Store(store) => store.unchanged_since.is_some(),
        Command::Annotate(annotate) => annotate.unchanged_since.is_some(),
        Command::Status(status) => status.items.contains(&StatusItem::HighestModSeq),
        _ => false,
    }
}

/// The text of a success.
pub(super) fn completed(name: &str) -> String {
    format!("{name} completed")
}

/// BAD for what no server would understand, NO for what is well-formed but means nothing here.
pub(super) fn not_understood(spec: &Spec, error: GrammarError) -> Status {
    match error {
        GrammarError::Mailbox(error) => {
            let code = if spec.name == "CREATE" { ResponseCode::Cannot } else { ResponseCode::NonExistent };
            Status::no(error.to_string()).with(code)
        }
        GrammarError::Charset => Status::no("unknown charset")
            .with(ResponseCode::BadCharset(vec!["UTF-8".into(), "US-ASCII".into()])),
        GrammarError::TooMany { .. } => Status::bad(error.to_string()).with(ResponseCode::TooBig),
        // RFC 9586 §3.1
        GrammarError::UidRequired => Status::bad(error.to_string()).with(ResponseCode::UidRequired),
        GrammarError::Filter(name) | GrammarError::FilterLoop(name) => undefined_filter(&name).into(),
        GrammarError::FilterCharset => Status::bad(error.to_string())
            .with(ResponseCode::BadCharset(vec!["UTF-8".into(), "US-ASCII".into()])),
        error => Status::bad(error.to_string()),
    }
}
