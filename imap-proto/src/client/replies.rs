//! What the server says, and which call it is for.

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use mailwright_line_proto::{Closed, PeerMisbehaved, Ticket};

use super::{
    Appended, Client, Event, Phase, Refused, Session,
    calls::{Kind, Pending},
    event::Outcome,
    excerpt, shown,
};
use crate::{
    command::CopyUid,
    response::{Capabilities, Continuation, Response, ResponseCode, Status, StatusKind},
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
            // An empty line is none of anybody's answer.
            Err(_)
                if (octets.starts_with(b"*") || octets.is_empty())
                    && !matches!(self.phase, Phase::Greeting) =>
            {
                return self.skip(shown(octets), None);
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
                match self.collector(|call| matches!(call.kind, Kind::Capability(_)), octets, 0) {
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
                self.comes_of_messages();
                Some(Event::Expunged { sequence, uid })
            }
            Response::Vanished { earlier, uids } => {
                if !earlier {
                    self.messages.vanish(&uids, self.config.messages);
                }
                self.comes_of_messages();
                Some(Event::Unasked(Response::Vanished { earlier, uids }))
            }
            response => {
                if matches!(response, Response::Filtered(_)) {
                    self.comes_of_messages();
                }
                self.data(response, octets)
            }
        }
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
                self.close(Closed::Refused(farewell(&status)));
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
                self.close(Closed::Refused(farewell(&status)));
                return None;
            }
            _ => {}
        }
        self.learn_capabilities(&status);
        if let (Some(ResponseCode::Closed), Some(opened)) = (&status.code, self.opening()) {
            // RFC 9051 §7.1, RFC 7162 §3.2.11: what came before is about the mailbox that was open.
            *opened = super::Opened { read_only: opened.read_only, ..super::Opened::default() };
            self.messages.clear();
            return Some(Event::MailboxClosed);
        }
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
                Some(ResponseCode::MailboxId(id)) => opened.mailbox_id.replace(id.clone()).is_none(),
                Some(ResponseCode::UidNotSticky) => !std::mem::replace(&mut opened.uid_not_sticky, true),
                Some(ResponseCode::NoModSeq) => true,
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
        self.since = None;
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
                    let (what, limit) = ("challenges", most.into());
                    self.close(Closed::Misbehaved(PeerMisbehaved::TooLongAnswer { what, limit }));
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
    pub(super) fn id_of(&self, tag: &str) -> Option<u32> {
        let id = tag.strip_prefix(&*self.prefix).filter(|id| !id.starts_with('0'));
        id.and_then(|id| id.parse::<u32>().ok())
    }

    fn tagged(&mut self, tag: &str, status: Status, octets: &[u8], alone: bool) -> Option<Event> {
        let at = self.id_of(tag).and_then(|id| self.pending.iter().position(|pending| pending.id == id));
        let is_last = at.is_some_and(|at| at + 1 == self.pending.len());
        let Some(Pending { id, kind, muted, .. }) = at.and_then(|at| self.pending.remove(at)) else {
            return self.unsolicited(octets);
        };
        self.since = None;
        if is_last && (self.is_amid_command() || self.body.is_some()) {
            if status.is_ok() {
                return self.misbehaved("+, NO or BAD", octets);
            }
            // What it refused is not sent.
            self.parts.clear();
        }
        let spoiled = is_last && !self.body_refused();
        if matches!(kind, Kind::Authenticate { .. }) {
            self.challenged = false;
        }
        let event = self.complete(id, kind, status, alone, octets).filter(|_| !muted);
        if spoiled {
            // The rest of the message would be taken for commands.
            self.close(Closed::Refused("the message was refused before its end".to_owned()));
        }
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
            // RFC 2177 §3: it ends after it has begun, or is refused. Whoever took this for an end would begin anew at once.
            Kind::Idle { idling: false, .. } if ok => return self.misbehaved("+, NO or BAD", octets),
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

/// What a server says as it hangs up, with its code.
fn farewell(status: &Status) -> String {
    let Some(code) = &status.code else { return status.text.to_string() };
    let mut written = Vec::new();
    code.encode(&mut written);
    format!("{} {}", String::from_utf8_lossy(&written), status.text)
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
