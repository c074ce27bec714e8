//! What the server says, and which call it is for.

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use mailwright_line_proto::{Closed, PeerMisbehaved, Ticket};
use mailwright_mail_model::{Uid, UidSet};

use super::{
    Appended, Client, Event, Phase, Refused, Session,
    calls::{Kind, Pending},
    event::Outcome,
    excerpt, shown,
};
use crate::{
    command::CopyUid,
    response::{Annotations, Capabilities, Continuation, Response, ResponseCode, Status, StatusKind},
};

/// Challenges with their padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Client {
    /// A complete response, but for FETCH. `alone` is whether nothing stands behind it.
    pub(super) fn response(&mut self, octets: &Bytes, alone: bool) -> Option<Event> {
        let response = match Response::parse(octets, self.config.leniency) {
            Ok(response) => response,
            Err(_) if octets.starts_with(b"*") && !matches!(self.phase, Phase::Greeting) => {
                return self.skipped(shown(octets));
            }
            Err(_) => return self.misbehaved("a response of IMAP", octets),
        };
        if matches!(self.phase, Phase::Greeting) {
            return self.greeting(response, octets);
        }
        match response {
            Response::Tagged { tag, status } => self.tagged(&tag, status, octets, alone),
            Response::Continue(continuation) => self.continuation(continuation, octets),
            Response::Status(status) => self.status(status, octets),
            Response::Capability(capabilities) => {
                self.capabilities = Some(capabilities.clone());
                match self.collector(|call| matches!(call.kind, Kind::Capability(_)), octets) {
                    Some(Kind::Capability(slot)) => *slot = Some(capabilities),
                    _ => return Some(Event::Capabilities(capabilities)),
                }
                None
            }
            Response::Exists(messages) => {
                self.messages.grow(messages, self.config.messages);
                match self.opening() {
                    Some(opened) => opened.messages = messages,
                    None => return Some(Event::Exists(messages)),
                }
                None
            }
            Response::Recent(recent) => {
                match self.opening() {
                    Some(opened) => opened.recent = recent,
                    None => return Some(Event::Recent(recent)),
                }
                None
            }
            Response::Flags(flags) => {
                match self.opening() {
                    Some(opened) => opened.flags = flags,
                    None => return Some(Event::Flags(flags)),
                }
                None
            }
            Response::Expunge(sequence) => {
                let uid = self.messages.remove(sequence.get());
                Some(Event::Expunged { sequence, uid })
            }
            Response::Vanished { earlier, uids } => {
                if !earlier {
                    self.messages.vanish(&uids, self.config.messages);
                }
                Some(Event::Unasked(Response::Vanished { earlier, uids }))
            }
            response => self.data(response, octets),
        }
    }

    /// Untagged data that answers a call.
    fn data(&mut self, response: Response, octets: &[u8]) -> Option<Event> {
        // RFC 4466 §2.6.2: of several searches, the tag says which; one that is kept up to date has another.
        let answered = match &response {
            Response::Esearch(found) => found.tag.as_deref().map(|tag| self.id_of(tag)),
            _ => None,
        };
        let wanted = |call: &Pending| {
            answered.is_none_or(|id| id == Some(call.id))
                && matches!(
                    (&call.kind, &response),
                    (Kind::List(_) | Kind::Rlist(_), Response::List(_))
                        | (Kind::Lsub(_) | Kind::Rlsub(_), Response::Lsub(_))
                        | (Kind::Search(_), Response::Search(_))
                        | (Kind::Sort(_), Response::Sort(_))
                        | (Kind::Thread(_), Response::Thread(_))
                        | (Kind::Status(None), Response::MailboxStatus(_))
                        | (Kind::Enable(_), Response::Enabled(_))
                        | (Kind::Namespace(_), Response::Namespace(_))
                        | (Kind::Id(_), Response::Id(_))
                        | (Kind::Find(_), Response::Esearch(_) | Response::Search(_))
                        | (Kind::Search(_), Response::Esearch(_))
                        | (Kind::Quota(_) | Kind::SetQuota(_) | Kind::QuotaRoots(_), Response::Quota(_))
                        | (Kind::QuotaRoots(_), Response::QuotaRoots(_))
                        | (Kind::Acl(_), Response::Acl(_))
                        | (Kind::RightsOf(_), Response::RightsOf(_))
                        | (Kind::OwnRights(_), Response::OwnRights(_))
                        | (
                            Kind::Annotations(_),
                            Response::Annotations(Annotations { names_only: false, .. })
                        )
                )
        };
        let Some(kind) = self.collector(wanted, octets) else {
            return matches!(self.phase, Phase::Open).then_some(Event::Unasked(response));
        };
        match (kind, response) {
            (
                Kind::List(all) | Kind::Lsub(all) | Kind::Rlist(all) | Kind::Rlsub(all),
                Response::List(one) | Response::Lsub(one),
            ) => all.push(one),
            (Kind::Search(numbers), Response::Search(more)) => numbers.extend(more.numbers),
            (Kind::Sort(numbers), Response::Sort(more)) => numbers.extend(more.numbers),
            (Kind::Thread(threads), Response::Thread(found)) => *threads = found.threads,
            (Kind::Status(slot), Response::MailboxStatus(status)) => *slot = Some(status),
            (Kind::Enable(slot), Response::Enabled(enabled)) => *slot = enabled,
            (Kind::Namespace(slot), Response::Namespace(namespaces)) => *slot = Some(namespaces),
            (Kind::Id(slot), Response::Id(id)) => *slot = Some(id),
            // RFC 9051 §6.4.4: there is no other answer to SEARCH; RFC 4731 §3.1: the numbers may be in any form.
            (Kind::Search(numbers), Response::Esearch(found)) => {
                numbers.extend(found.all.iter().flat_map(UidSet::iter).map(u32::from));
            }
            (Kind::Find(slot), Response::Esearch(found)) => **slot = found,
            (Kind::Find(slot), Response::Search(found)) => {
                let all: UidSet = found.numbers.iter().copied().filter_map(Uid::new).collect();
                slot.min = all.first().map(u32::from);
                slot.max = all.last().map(u32::from);
                slot.count = u32::try_from(all.len()).ok();
                slot.all = Some(all).filter(|all| !all.is_empty());
            }
            (Kind::Quota(slot) | Kind::SetQuota(slot), Response::Quota(root)) => *slot = Some(root),
            (Kind::QuotaRoots(roots), Response::Quota(root)) => roots.push(root),
            (Kind::Acl(slot), Response::Acl(acl)) => *slot = Some(acl),
            (Kind::RightsOf(slot), Response::RightsOf(rights)) => *slot = Some(rights),
            (Kind::OwnRights(slot), Response::OwnRights(rights)) => *slot = Some(rights),
            (Kind::Annotations(all), Response::Annotations(told)) => all.extend(told.entries),
            _ => {}
        }
        None
    }

    /// The first call that `wanted` is true of; what it collects is bounded.
    fn collector(&mut self, wanted: impl Fn(&Pending) -> bool, octets: &[u8]) -> Option<&mut Kind> {
        let at = self.pending.iter().position(wanted)?;
        let pending = self.pending.get_mut(at)?;
        pending.collected += octets.len() as u64;
        if pending.collected > self.config.answer {
            let limit = self.config.answer;
            self.close(Closed::Misbehaved(PeerMisbehaved::Endless { limit }));
            return None;
        }
        self.pending.get_mut(at).map(|pending| &mut pending.kind)
    }

    /// The mailbox that is being opened.
    fn opening(&mut self) -> Option<&mut super::Opened> {
        match &mut self.pending.front_mut()?.kind {
            Kind::Select(opened) => Some(opened),
            _ => None,
        }
    }

    fn greeting(&mut self, response: Response, octets: &[u8]) -> Option<Event> {
        let Response::Status(status) = response else { return self.misbehaved("a greeting", octets) };
        let preauthenticated = match status.kind {
            StatusKind::Ok => false,
            // CVE-2020-12398: a forged PREAUTH makes a client go on without TLS.
            StatusKind::Preauth if !self.tls && !self.config.allow_plaintext_auth => {
                return self.misbehaved("a greeting that leaves room for TLS", octets);
            }
            StatusKind::Preauth => true,
            StatusKind::Bye => {
                self.close(Closed::Refused(status.text.to_string()));
                return None;
            }
            _ => return self.misbehaved("a greeting", octets),
        };
        self.phase = Phase::Open;
        self.session = if preauthenticated { Session::Authenticated } else { Session::NotAuthenticated };
        self.learn_capabilities(&status);
        Some(Event::Greeting { status, preauthenticated })
    }

    /// An untagged status response.
    fn status(&mut self, status: Status, octets: &[u8]) -> Option<Event> {
        match status.kind {
            StatusKind::Preauth => return self.misbehaved("no second greeting", octets),
            StatusKind::Bye if self.pending.iter().any(|pending| matches!(pending.kind, Kind::Logout)) => {
                return None;
            }
            // Whatever server it refers to is not for us to follow (RFC 2221): the text goes to the application.
            StatusKind::Bye => {
                self.close(Closed::Refused(status.text.to_string()));
                return None;
            }
            _ => {}
        }
        self.learn_capabilities(&status);
        if let Some(opened) = self.opening() {
            let noted = match &status.code {
                Some(ResponseCode::UidValidity(validity)) => opened.uid_validity.replace(*validity).is_none(),
                Some(ResponseCode::UidNext(uid)) => opened.uid_next.replace(*uid).is_none(),
                Some(ResponseCode::Unseen(sequence)) => opened.unseen.replace(*sequence).is_none(),
                Some(ResponseCode::PermanentFlags(flags)) => {
                    opened.permanent_flags.replace(flags.clone()).is_none()
                }
                Some(ResponseCode::Annotations(support)) => opened.annotations.replace(*support).is_none(),
                Some(ResponseCode::HighestModSeq(modseq)) => {
                    opened.highest_mod_seq.replace(*modseq).is_none()
                }
                Some(ResponseCode::UidNotSticky) => !std::mem::replace(&mut opened.uid_not_sticky, true),
                Some(ResponseCode::NoModSeq | ResponseCode::Closed) => true,
                _ => false,
            };
            if noted {
                return None;
            }
        }
        // RFC 6851 §4.3: the UIDs of what was moved come before the EXPUNGE responses.
        if let Some(copied) = copied(&status) {
            let slot = self.pending.iter_mut().find_map(|pending| match &mut pending.kind {
                Kind::Move(slot) => Some(slot),
                _ => None,
            });
            if let Some(slot) = slot {
                *slot = Some(copied);
                return None;
            }
        }
        if let (Some(ResponseCode::Capability(capabilities)), StatusKind::Ok) = (&status.code, status.kind) {
            return Some(Event::Capabilities(capabilities.clone()));
        }
        Some(Event::Notice(status))
    }

    fn continuation(&mut self, continuation: Continuation, octets: &[u8]) -> Option<Event> {
        if self.is_amid_command() {
            self.send_part();
            return None;
        }
        let most = self.config.challenges;
        let Some(Pending { id, kind, .. }) = self.pending.front_mut() else {
            return self.unsolicited(octets);
        };
        let id = *id;
        match kind {
            Kind::Idle { idling, done } if !*idling => {
                *idling = true;
                if *done {
                    self.out.put(b"DONE\r\n");
                }
                Some(Event::Idling(Ticket::new(id)))
            }
            Kind::Authenticate { initial, rounds } if !self.challenged => {
                *rounds += 1;
                let (initial, rounds) = (initial.take(), *rounds);
                if rounds > most {
                    self.close(Closed::Misbehaved(PeerMisbehaved::Endless { limit: most.into() }));
                    return None;
                }
                if let Some(initial) = initial {
                    self.send_response(&initial);
                    return None;
                }
                let Ok(challenge) = BASE64.decode(&continuation.text) else {
                    return self.misbehaved("a challenge in Base64", octets);
                };
                self.challenged = true;
                Some(Event::Challenge(Ticket::new(id), challenge.into()))
            }
            _ => self.unsolicited(octets),
        }
    }

    /// The number of the call that has this tag.
    fn id_of(&self, tag: &str) -> Option<u32> {
        let id = tag.strip_prefix(&*self.prefix).filter(|id| !id.starts_with('0'));
        id.and_then(|id| id.parse::<u32>().ok())
    }

    fn tagged(&mut self, tag: &str, status: Status, octets: &[u8], alone: bool) -> Option<Event> {
        let at = self.id_of(tag).and_then(|id| self.pending.iter().position(|pending| pending.id == id));
        let is_last = at.is_some_and(|at| at + 1 == self.pending.len());
        let Some(Pending { id, kind, muted, .. }) = at.and_then(|at| self.pending.remove(at)) else {
            return self.unsolicited(octets);
        };
        if is_last && self.is_amid_command() {
            if status.is_ok() {
                return self.misbehaved("+, NO or BAD", octets);
            }
            // What it refused is not sent.
            self.parts.clear();
        }
        if matches!(kind, Kind::Authenticate { .. }) {
            self.challenged = false;
        }
        let event = self.complete(id, kind, status, alone, octets).filter(|_| !muted);
        self.flush();
        event
    }

    fn complete(&mut self, id: u32, kind: Kind, status: Status, alone: bool, octets: &[u8]) -> Option<Event> {
        let ok = status.is_ok();
        if ok && matches!(kind, Kind::Login | Kind::Authenticate { .. }) {
            self.session = Session::Authenticated;
            // RFC 9051 §6.2.2 and §6.2.3: others may hold now.
            self.capabilities = None;
            self.referral = match &status.code {
                Some(ResponseCode::Referral(places)) => places.first().cloned(),
                _ => None,
            };
        }
        if ok {
            self.learn_capabilities(&status);
        }
        let code = status.code.clone();
        let copied = copied(&status);
        let outcome = if ok { Ok(()) } else { Err(Refused(status)) };
        Some(match kind {
            Kind::Plain(event) => event(id, outcome),
            Kind::Leave(event) => {
                if ok {
                    self.deselect();
                }
                event(id, outcome)
            }
            Kind::Capability(slot) => {
                Event::Capability(Ticket::new(id), outcome.map(|()| slot.unwrap_or_default()))
            }
            Kind::Id(slot) => Event::Id(Ticket::new(id), outcome.map(|()| slot.unwrap_or_default())),
            Kind::Enable(slot) => Event::Enable(Ticket::new(id), outcome.map(|()| slot)),
            Kind::Namespace(slot) => {
                Event::Namespace(Ticket::new(id), outcome.map(|()| slot.unwrap_or_default()))
            }
            Kind::Select(mut opened) => {
                match code {
                    Some(ResponseCode::ReadOnly) => opened.read_only = true,
                    Some(ResponseCode::ReadWrite) => opened.read_only = false,
                    _ => {}
                }
                // RFC 9051 §6.3.2: after a refusal no mailbox is selected.
                self.deselect();
                if ok {
                    self.session = Session::Selected;
                    self.messages.grow(opened.messages, self.config.messages);
                }
                Event::Select(Ticket::new(id), outcome.map(|()| opened))
            }
            Kind::List(all) => Event::List(Ticket::new(id), outcome.map(|()| all)),
            Kind::Lsub(all) => Event::Lsub(Ticket::new(id), outcome.map(|()| all)),
            Kind::Rlist(all) => Event::Rlist(Ticket::new(id), outcome.map(|()| all)),
            Kind::Rlsub(all) => Event::Rlsub(Ticket::new(id), outcome.map(|()| all)),
            Kind::Status(slot) => Event::Status(Ticket::new(id), outcome.map(|()| slot)),
            Kind::Search(numbers) => Event::Search(Ticket::new(id), outcome.map(|()| numbers)),
            Kind::Sort(numbers) => Event::Sort(Ticket::new(id), outcome.map(|()| numbers)),
            Kind::Thread(threads) => Event::Thread(Ticket::new(id), outcome.map(|()| threads)),
            Kind::Find(found) => Event::Find(Ticket::new(id), outcome.map(|()| found)),
            Kind::Quota(slot) => Event::GetQuota(Ticket::new(id), outcome.map(|()| slot)),
            Kind::SetQuota(slot) => Event::SetQuota(Ticket::new(id), outcome.map(|()| slot)),
            Kind::QuotaRoots(roots) => Event::GetQuotaRoot(Ticket::new(id), outcome.map(|()| roots)),
            Kind::Acl(slot) => Event::GetAcl(
                Ticket::new(id),
                outcome.map(|()| slot.map_or_else(Vec::new, |acl| acl.entries)),
            ),
            Kind::RightsOf(slot) => {
                let rights = |()| slot.map(|of| of.rights).unwrap_or_default();
                Event::ListRights(Ticket::new(id), outcome.map(rights))
            }
            Kind::OwnRights(slot) => {
                let rights = |()| slot.map(|own| own.rights).unwrap_or_default();
                Event::MyRights(Ticket::new(id), outcome.map(rights))
            }
            Kind::Annotations(all) => Event::GetMetadata(Ticket::new(id), outcome.map(|()| all)),
            Kind::Append { .. } => Event::Append(Ticket::new(id), outcome.map(|()| appended(code))),
            Kind::Copy(slot) => Event::Copy(Ticket::new(id), outcome.map(|()| copied.or(slot))),
            Kind::Move(slot) => Event::Move(Ticket::new(id), outcome.map(|()| copied.or(slot))),
            Kind::Idle { .. } => Event::Idle(Ticket::new(id), outcome),
            Kind::StartTls => return self.starts_tls(id, outcome, alone),
            Kind::Compress if ok => {
                // RFC 4978 §3: whatever comes behind this line is compressed.
                self.compressed = true;
                self.frames.reset();
                self.phase = Phase::Deflate(id);
                return None;
            }
            Kind::Compress => Event::Compress(Ticket::new(id), outcome),
            Kind::Login => Event::Login(Ticket::new(id), outcome),
            Kind::Authenticate { initial: Some(_), .. } if ok => {
                return self.misbehaved("a challenge before OK", octets);
            }
            Kind::Authenticate { .. } => Event::Authenticate(Ticket::new(id), outcome),
            Kind::Logout => {
                self.close(Closed::Farewell);
                Event::Logout(Ticket::new(id), outcome)
            }
        })
    }

    fn starts_tls(&mut self, id: u32, outcome: Outcome<()>, alone: bool) -> Option<Event> {
        if outcome.is_err() {
            return Some(Event::StartTls(Ticket::new(id), outcome));
        }
        if alone {
            self.phase = Phase::Tls(id);
        } else {
            // CVE-2011-0411 from the other side: it would be believed as if TLS had brought it.
            self.close(Closed::Misbehaved(PeerMisbehaved::PlaintextBehindTls));
        }
        None
    }

    fn deselect(&mut self) {
        if matches!(self.session, Session::Selected) {
            self.session = Session::Authenticated;
        }
        self.messages.clear();
    }

    fn learn_capabilities(&mut self, status: &Status) {
        if let Some(ResponseCode::Capability(capabilities)) = &status.code {
            self.capabilities = Some(Capabilities::clone(capabilities));
        }
    }

    fn unsolicited(&mut self, octets: &[u8]) -> Option<Event> {
        self.close(Closed::Misbehaved(PeerMisbehaved::Unsolicited { received: excerpt(octets) }));
        None
    }

    fn misbehaved(&mut self, expected: &'static str, octets: &[u8]) -> Option<Event> {
        self.close(Closed::Misbehaved(PeerMisbehaved::BadReply { expected, received: excerpt(octets) }));
        None
    }
}

fn copied(status: &Status) -> Option<CopyUid> {
    match &status.code {
        Some(ResponseCode::CopyUid { validity, source, target }) => {
            Some(CopyUid::new(*validity, source.clone(), target.clone()))
        }
        _ => None,
    }
}

fn appended(code: Option<ResponseCode>) -> Option<Appended> {
    match code {
        Some(ResponseCode::AppendUid { validity, uids }) => Some(Appended::new(validity, uids.first()?)),
        _ => None,
    }
}
