//! The server's replies.

use bytes::Bytes;
use mailwright_line_proto::{Closed, PeerMisbehaved, Ticket, frame::Counted};

use super::{
    Client, Event, Phase, Source,
    call::{Expected, Kind, Progress},
};
use crate::managesieve::{
    Accepted, Listed, Refusal, ResponseCode,
    command::decode,
    reply::{Reply, Status},
    token::Token,
};

impl Client {
    /// Whether the line that comes next belongs to a SASL exchange.
    pub(super) fn is_exchange(&self) -> bool {
        matches!(self.queue.front(), Some(Expected { kind: Kind::Authenticate, .. }))
    }

    /// Whether the application wants to hear of the call that is being answered.
    pub(super) fn is_heard(&self) -> bool {
        self.queue.front().is_some_and(|expected| !expected.muted)
    }

    /// A literal comes next: a script, or something that is held.
    pub(super) fn literal(&mut self, length: u64) -> Option<Event> {
        let waits = self.gather.tokens().is_empty() && matches!(self.phase, Phase::Open);
        if let Some(Expected { kind: Kind::GetScript(Progress::Awaited), .. }) = self.queue.front()
            && waits
        {
            return self.begin_script(length, Source::Literal(Counted::new(length)));
        }
        let limits = &self.config.limits;
        let together = self.gather.held().saturating_add(length);
        if length > limits.literal || together > limits.command {
            self.close(Closed::Misbehaved(PeerMisbehaved::Endless { limit: limits.literal }));
            return None;
        }
        self.gather.hold(length);
        None
    }

    fn begin_script(&mut self, length: u64, source: Source) -> Option<Event> {
        let limit = self.config.script;
        let Some(size) = u32::try_from(length).ok().filter(|_| length <= limit) else {
            self.close(Closed::Misbehaved(PeerMisbehaved::Endless { limit }));
            return None;
        };
        self.reading = Some(source);
        let expected = self.queue.front()?;
        (!expected.muted).then(|| Event::GetScript(Ticket::new(expected.id), Ok(size)))
    }

    /// The script came to its end.
    pub(super) fn await_status(&mut self, line_end: bool) {
        self.reading = None;
        if let Some(Expected { kind: Kind::GetScript(progress), .. }) = self.queue.front_mut() {
            *progress = if line_end { Progress::AtLineEnd } else { Progress::Complete };
        }
    }

    /// A whole line. `alone` is whether nothing stood behind it.
    pub(super) fn line(&mut self, tokens: Vec<Token>, alone: bool) -> Option<Event> {
        if let Some(Expected { kind: Kind::GetScript(progress @ Progress::AtLineEnd), .. }) =
            self.queue.front_mut()
            && tokens.is_empty()
        {
            *progress = Progress::Complete;
            return None;
        }
        match Reply::decode(&tokens) {
            Some(reply) => self.reply(reply, alone),
            None => self.entry(&tokens),
        }
    }

    /// A line before the last of an answer.
    fn entry(&mut self, tokens: &[Token]) -> Option<Event> {
        let listing = match (&self.phase, self.queue.front_mut()) {
            (Phase::Greeting | Phase::Secured(_), _) => true,
            (_, Some(Expected { kind: Kind::Capability, .. })) => true,
            (_, Some(Expected { kind: Kind::ListScripts(found), .. })) => {
                match Listed::decode(tokens) {
                    Some(_) if found.len() >= self.config.listing => {
                        let limit = self.config.listing as u64;
                        self.close(Closed::Misbehaved(PeerMisbehaved::Endless { limit }));
                    }
                    Some(listed) => found.push(listed),
                    None => self.misbehaved("the name of a script", &shown(tokens)),
                }
                return None;
            }
            (_, Some(Expected { kind: Kind::GetScript(Progress::Awaited), .. })) => {
                if let [Token::String(script)] = tokens {
                    let source = Source::Quoted(Some(script.clone()));
                    return self.begin_script(script.len() as u64, source);
                }
                false
            }
            (_, Some(Expected { kind: Kind::Authenticate, id, .. })) if !self.challenged => {
                let id = *id;
                if let [Token::String(challenge)] = tokens
                    && let Ok(challenge) = decode(challenge)
                {
                    self.challenged = true;
                    return Some(Event::Challenge(Ticket::new(id), challenge));
                }
                false
            }
            _ => false,
        };
        if !listing {
            self.misbehaved("OK, NO or BYE", &shown(tokens));
        } else if self.listing.len() < self.config.capabilities && self.listing.decode(tokens).is_none() {
            self.misbehaved("a capability", &shown(tokens));
        }
        None
    }

    fn reply(&mut self, reply: Reply, alone: bool) -> Option<Event> {
        if reply.status == Status::Bye
            && !matches!(self.queue.front(), Some(Expected { kind: Kind::Logout, .. }))
        {
            return self.bye(reply);
        }
        match (&self.phase, reply.status) {
            (Phase::Greeting, Status::Ok) => {
                self.phase = Phase::Open;
                self.capabilities = std::mem::take(&mut self.listing);
                return Some(Event::Greeting);
            }
            (Phase::Secured(id), Status::Ok) => {
                let ticket = Ticket::new(*id);
                self.phase = Phase::Open;
                self.capabilities = std::mem::take(&mut self.listing);
                return Some(Event::StartTls(ticket, Ok(())));
            }
            (Phase::Greeting | Phase::Secured(_), _) => {
                self.close(Closed::Refused(reply.refusal().to_string()));
                return None;
            }
            _ => {}
        }
        // A challenge is answered by us, and a script sent, so whatever comes before that is none of its replies.
        let expected = if self.challenged { None } else { self.queue.pop_front() };
        let Some(Expected { id, kind, muted }) = expected else {
            let received = reply.refusal().to_string();
            self.close(Closed::Misbehaved(PeerMisbehaved::Unsolicited { received }));
            return None;
        };
        if matches!((self.sending, reply.status), (Some((0, _)), Status::No)) && self.queue.is_empty() {
            // Only the line end was still to come.
            self.sending = None;
            self.out.body(|transmit| transmit.put(b"\r\n"));
        }
        if self.sending.is_some() && self.queue.is_empty() {
            // It was refused before its end; what is still sent would be taken for commands.
            let event =
                if reply.status == Status::Ok { None } else { self.refused(id, kind, reply.refusal()) };
            self.close(Closed::Refused("the script was refused before its end".to_owned()));
            return event;
        }
        let event = match reply.status {
            Status::Ok => self.granted(id, kind, reply, alone),
            _ => self.refused(id, kind, reply.refusal()),
        };
        event.filter(|_| !muted)
    }

    /// The server goes, perhaps in the place of an answer (RFC 5804 §1.2).
    fn bye(&mut self, reply: Reply) -> Option<Event> {
        let refusal = reply.refusal();
        let event = match self.queue.pop_front() {
            Some(Expected { id, kind, .. }) => self.refused(id, kind, refusal.clone()),
            None => None,
        };
        self.close(Closed::Refused(refusal.to_string()));
        event
    }

    fn granted(&mut self, id: u32, kind: Kind, reply: Reply, alone: bool) -> Option<Event> {
        Some(match kind {
            Kind::Capability => {
                self.capabilities = std::mem::take(&mut self.listing);
                Event::Capability(Ticket::new(id), Ok(self.capabilities.clone()))
            }
            Kind::StartTls => {
                if alone {
                    self.phase = Phase::Tls(id);
                } else {
                    // CVE-2011-0411 from the other side: it would be believed as if TLS had brought it.
                    self.close(Closed::Misbehaved(PeerMisbehaved::PlaintextBehindTls));
                }
                return None;
            }
            Kind::Authenticate => {
                self.logged_in = true;
                let data: Option<Bytes> = match reply.code {
                    Some(ResponseCode::Sasl(data)) => Some(data),
                    _ => None,
                };
                Event::Authenticate(Ticket::new(id), Ok(data))
            }
            Kind::Unauthenticate => {
                self.logged_in = false;
                Event::Unauthenticate(Ticket::new(id), Ok(()))
            }
            Kind::HaveSpace => Event::HaveSpace(Ticket::new(id), Ok(())),
            Kind::PutScript => Event::PutScript(Ticket::new(id), Ok(accepted(reply))),
            Kind::CheckScript => Event::CheckScript(Ticket::new(id), Ok(accepted(reply))),
            Kind::ListScripts(found) => Event::ListScripts(Ticket::new(id), Ok(found)),
            Kind::SetActive => Event::SetActive(Ticket::new(id), Ok(())),
            Kind::GetScript(Progress::Complete) => Event::BodyEnd,
            Kind::GetScript(_) => {
                self.misbehaved("a script", "OK");
                return None;
            }
            Kind::DeleteScript => Event::DeleteScript(Ticket::new(id), Ok(())),
            Kind::RenameScript => Event::RenameScript(Ticket::new(id), Ok(())),
            Kind::Noop => Event::Noop(Ticket::new(id), Ok(())),
            Kind::Logout => {
                self.close(Closed::Farewell);
                Event::Logout(Ticket::new(id), Ok(()))
            }
        })
    }

    fn refused(&mut self, id: u32, kind: Kind, refusal: Refusal) -> Option<Event> {
        self.challenged = false;
        Some(match kind {
            Kind::Capability => {
                self.listing = crate::managesieve::Capabilities::default();
                Event::Capability(Ticket::new(id), Err(refusal))
            }
            Kind::StartTls => Event::StartTls(Ticket::new(id), Err(refusal)),
            Kind::Authenticate => Event::Authenticate(Ticket::new(id), Err(refusal)),
            Kind::Unauthenticate => Event::Unauthenticate(Ticket::new(id), Err(refusal)),
            Kind::HaveSpace => Event::HaveSpace(Ticket::new(id), Err(refusal)),
            Kind::PutScript => Event::PutScript(Ticket::new(id), Err(refusal)),
            Kind::CheckScript => Event::CheckScript(Ticket::new(id), Err(refusal)),
            Kind::ListScripts(_) => Event::ListScripts(Ticket::new(id), Err(refusal)),
            Kind::SetActive => Event::SetActive(Ticket::new(id), Err(refusal)),
            Kind::GetScript(Progress::Awaited) => Event::GetScript(Ticket::new(id), Err(refusal)),
            Kind::GetScript(_) => {
                // The application has the octets already: it must not take them for the whole.
                self.close(Closed::Refused(refusal.to_string()));
                return None;
            }
            Kind::DeleteScript => Event::DeleteScript(Ticket::new(id), Err(refusal)),
            Kind::RenameScript => Event::RenameScript(Ticket::new(id), Err(refusal)),
            Kind::Noop => Event::Noop(Ticket::new(id), Err(refusal)),
            Kind::Logout => {
                self.close(Closed::Farewell);
                Event::Logout(Ticket::new(id), Err(refusal))
            }
        })
    }
}

fn accepted(reply: Reply) -> Accepted {
    match reply.code {
        Some(ResponseCode::Warnings) => Accepted::with_warnings(reply.text),
        _ => Accepted::default(),
    }
}

/// The start of a line, fit to be shown.
fn shown(tokens: &[Token]) -> String {
    let mut text = String::new();
    for token in tokens.iter().take(8) {
        match token {
            Token::Atom(atom) => text.extend(atom.chars().take(64)),
            Token::String(octets) => {
                text += &format!("\"{}\"", String::from_utf8_lossy(octets.get(..64).unwrap_or(octets)))
            }
            Token::Open => text.push('('),
            Token::Close => text.push(')'),
        }
        text.push(' ');
    }
    text
}
