//! ESEARCH: a search in several mailboxes, and how what was found is told (RFC 7377).

use mailwright_line_proto::{Output, Request};
use mailwright_mail_model::{MailboxName, UidSet, UidValidity};

use super::{
    Event, Find, Found, ModSeqOf, Server, State,
    answer::Reply,
    contexts::Question,
    run::Turn,
    searching::not_saved,
    slots::{Kind, Slot},
};
use crate::{
    command::{MultiSearch, SearchReturn},
    grammar::Utf8Wire,
    refusal::Answered,
    response::Status,
};

/// What was found in one mailbox: in the answer to [`MultiSearch`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundIn {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// The validity of the UIDs.
    pub uid_validity: UidValidity,
    /// Whether it is the one that is selected.
    pub selected: bool,
    /// The messages.
    pub found: Found,
}

impl FoundIn {
    /// These messages in that mailbox.
    pub fn new(mailbox: MailboxName, uid_validity: UidValidity, found: Found) -> Self {
        Self { mailbox, uid_validity, selected: false, found }
    }
}

impl MultiSearch {
    /// Of which of the messages found in a mailbox the highest mod-sequence is wanted (RFC 7162 §3.1.5, §3.1.10).
    pub fn mod_seq(&self) -> ModSeqOf {
        ModSeqOf::wanted(&self.query, self.returns.as_ref())
    }
}

impl Request for MultiSearch {
    /// The mailboxes in which something was found, each once. Those that the user may not read are passed over.
    type Answer = Answered<Vec<FoundIn>>;
}

impl Server {
    pub(super) fn search_several(&mut self, turn: Turn, mut search: MultiSearch) -> Option<Output<Event>> {
        let selected = matches!(self.state, State::Selected { .. });
        let returns = *search.returns.get_or_insert_with(SearchReturn::all);
        // RFC 7377 §2.2
        if search.names_selected() && !selected {
            return self.bad(Some(&turn.tag), &Status::bad("no mailbox is selected"));
        }
        if returns.save && !search.names_only_selected() {
            return self.bad(Some(&turn.tag), &Status::bad("SAVE is for the selected mailbox alone"));
        }
        if returns.update && !selected {
            return self.bad(Some(&turn.tag), &Status::bad("UPDATE is for the selected mailbox"));
        }
        if let Some(refused) = self.reuses_tag(&turn, Some(&returns)) {
            return refused;
        }
        if let Some(refused) = self.scores_nothing(&turn, &search.query, Some(&returns)) {
            return refused;
        }
        if let Err(refusal) = self.mod_seq_wanted(&search.query, Some(&returns)) {
            return self.no_search(&turn, Some(&returns), refusal);
        }
        let sent = std::mem::take(&mut search.sent);
        self.ask(turn, Kind::Search { returns: Some(returns), sent }, search, Event::MultiSearch)
    }
}

impl Reply for MultiSearch {
    fn reply(server: &mut Server, mut slot: Slot, request: Self, answer: Answered<Vec<FoundIn>>) {
        let Kind::Search { returns, sent } = std::mem::replace(&mut slot.kind, Kind::Plain) else {
            return server.done(&slot, answer.map(drop));
        };
        let returns = returns.unwrap_or_else(SearchReturn::all);
        slot.by_uid = true;
        let all = match answer {
            Ok(all) => all,
            Err(refusal) => return server.refuse_search(&slot, returns.save, refusal),
        };
        if all.iter().any(|one| one.selected && server.saves_too_many(returns, &one.found.uids)) {
            return server.refuse_search(&slot, true, not_saved());
        }
        // RFC 9738 §3.1: the lowest that was looked at has no mailbox beside it, so it is of the selected one.
        let limits = returns.all && request.names_only_selected();
        let mut of_selected = UidSet::new();
        for FoundIn { mailbox, uid_validity, selected, found: Found { uids, mod_seq, scores } } in all {
            let mut uids = match selected {
                true => server.named(&uids, true).unwrap_or_default(),
                false => uids,
            };
            if limits {
                slot.limited = server.keep_within_limit(&mut uids);
            }
            // RFC 7377 §2.1: of a mailbox in which nothing is found nothing is said.
            if !uids.is_empty() && !returns.only_saves() {
                let mut told = returns.tell(&slot.tag, &uids, mod_seq);
                told.relevancy = returns.scores_of(&uids, &scores);
                (told.mailbox, told.uid_validity) = (Some(mailbox), Some(uid_validity));
                match server.enabled.is_utf8() {
                    true => told.encode(&mut Utf8Wire(server.out())),
                    false => told.encode(server.out()),
                }
            }
            if selected {
                of_selected = uids;
            }
        }
        if let (true, State::Selected { saved, .. }) = (returns.save, &mut server.state) {
            *saved = returns.saved_of(&of_selected);
        }
        if returns.update && request.names_selected() {
            let find = Find::new(request.query, ModSeqOf::None);
            let told = of_selected.iter().collect::<Vec<_>>();
            server.begin_context(&slot, Question::Find(find), told.clone(), told, sent);
        }
        server.done(&slot, Ok(()));
    }
}
