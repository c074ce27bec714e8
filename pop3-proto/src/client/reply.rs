//! The server's replies.

use mailwright_line_proto::{Closed, PeerMisbehaved, Ticket, frame::DotReader};

use super::{
    Client, Event, Phase, Reading,
    call::{Expected, Kind},
    excerpt, said,
};
use crate::{
    Capability, Identified, Language, Last, Listed, Refusal, Timestamp, Totals, command, reply::Status,
};

impl Client {
    /// The first line of a reply. `alone` is whether nothing stood behind it.
    pub(super) fn status_line(&mut self, line: &[u8], alone: bool) -> Option<Event> {
        let Some(status) = Status::parse(line) else {
            self.misbehaved("+OK or -ERR", line);
            return None;
        };
        if matches!(self.phase, Phase::Greeting) {
            return self.greeting(status, line);
        }
        // A challenge is answered by us, so whatever comes before that is none of its replies.
        let expected = if self.challenged { None } else { self.queue.pop_front() };
        let Some(Expected { id, kind, muted }) = expected else {
            // A server that goes says so at any time: RFC 2449 §8 has codes for it.
            self.close(match status {
                Status::Refused(refusal) => Closed::Refused(refusal.to_string()),
                _ => Closed::Misbehaved(PeerMisbehaved::Unsolicited { received: excerpt(line) }),
            });
            return None;
        };
        let event = match status {
            Status::Ok(text) => self.granted(id, kind, muted, text, alone),
            Status::Refused(refusal) => self.refused(id, kind, refusal),
            Status::Continue(challenge) if matches!(kind, Kind::Authenticate) => {
                self.challenge(id, challenge)
            }
            Status::Continue(_) => {
                self.misbehaved("+OK or -ERR", line);
                None
            }
        };
        event.filter(|_| !muted)
    }

    fn greeting(&mut self, status: Status<'_>, line: &[u8]) -> Option<Event> {
        match status {
            Status::Ok(text) => {
                self.phase = Phase::Authorization;
                self.timestamp = Timestamp::find(text);
                return Some(Event::Greeting(said(text)));
            }
            Status::Refused(refusal) => self.close(Closed::Refused(refusal.to_string())),
            Status::Continue(_) => self.misbehaved("a greeting", line),
        }
        None
    }

    fn granted(&mut self, id: u32, kind: Kind, muted: bool, text: &[u8], alone: bool) -> Option<Event> {
        Some(match kind {
            Kind::Capa(_) => return self.go_on(id, kind, muted, Reading::Listing),
            Kind::Stls => {
                if alone {
                    self.phase = Phase::Tls(id);
                } else {
                    // CVE-2011-0411 from the other side: it would be believed as if TLS had brought it.
                    self.close(Closed::Misbehaved(PeerMisbehaved::PlaintextBehindTls));
                }
                return None;
            }
            Kind::User { password: Some(password) } => {
                self.out.secret_line(password.expose(), "PASS");
                return self.go_on(id, Kind::Pass { refused: None }, muted, Reading::Status);
            }
            Kind::User { password: None } => return None,
            // The server refused the name and then let somebody in.
            Kind::Pass { refused: Some(_) } => {
                self.misbehaved("-ERR to the password of a refused user", text);
                return None;
            }
            Kind::Pass { refused: None } => {
                self.phase = Phase::Transaction;
                Event::Login(Ticket::new(id), Ok(()))
            }
            Kind::Apop => {
                self.phase = Phase::Transaction;
                Event::Apop(Ticket::new(id), Ok(()))
            }
            Kind::Authenticate => {
                self.phase = Phase::Transaction;
                Event::Authenticate(Ticket::new(id), Ok(()))
            }
            Kind::Utf8 => Event::Utf8(Ticket::new(id), Ok(())),
            Kind::Lang { one: false, .. } => return self.go_on(id, kind, muted, Reading::Listing),
            // RFC 6856 §3.2: the tag, and a text in that language.
            Kind::Lang { .. } => match Language::decode(text) {
                Some(chosen) => Event::Lang(Ticket::new(id), Ok(vec![chosen])),
                None => {
                    self.misbehaved("a language tag", text);
                    return None;
                }
            },
            Kind::Last => match Last::decode(text) {
                Some(last) => Event::Last(Ticket::new(id), Ok(last)),
                None => {
                    self.misbehaved("a message number", text);
                    return None;
                }
            },
            Kind::Stat => match Totals::decode(text) {
                Some(totals) => Event::Stat(Ticket::new(id), Ok(totals)),
                None => {
                    self.misbehaved("a number of messages and of octets", text);
                    return None;
                }
            },
            Kind::List { one: false, .. } | Kind::Uidl { one: false, .. } => {
                return self.go_on(id, kind, muted, Reading::Listing);
            }
            Kind::List { one: true, .. } | Kind::Uidl { one: true, .. } => {
                return self.only_entry(id, kind, muted, text);
            }
            Kind::Retr => {
                self.go_on(id, kind, muted, Reading::Body(DotReader::default()));
                Event::Retr(Ticket::new(id), Ok(()))
            }
            Kind::Top => {
                self.go_on(id, kind, muted, Reading::Body(DotReader::default()));
                Event::Top(Ticket::new(id), Ok(()))
            }
            Kind::Dele => Event::Dele(Ticket::new(id), Ok(())),
            Kind::Noop => Event::Noop(Ticket::new(id), Ok(())),
            Kind::Rset => Event::Rset(Ticket::new(id), Ok(())),
            Kind::Quit => {
                self.close(Closed::Farewell);
                Event::Quit(Ticket::new(id), Ok(()))
            }
        })
    }

    /// The reply has more to it: what was taken from the front of the queue goes back.
    fn go_on(&mut self, id: u32, kind: Kind, muted: bool, reading: Reading) -> Option<Event> {
        self.queue.push_front(Expected { id, kind, muted });
        self.reading = reading;
        None
    }

    fn refused(&mut self, id: u32, kind: Kind, refusal: Refusal) -> Option<Event> {
        Some(match kind {
            Kind::Capa(_) => Event::Capa(Ticket::new(id), Err(refusal)),
            Kind::Stls => Event::Stls(Ticket::new(id), Err(refusal)),
            Kind::User { password: None } => {
                // The password was sent behind it and will be refused too.
                if let Some(Expected { kind: Kind::Pass { refused }, .. }) = self.queue.front_mut() {
                    *refused = Some(refusal);
                }
                return None;
            }
            Kind::Pass { refused: Some(first) } => Event::Login(Ticket::new(id), Err(first)),
            Kind::User { .. } | Kind::Pass { refused: None } => Event::Login(Ticket::new(id), Err(refusal)),
            Kind::Apop => Event::Apop(Ticket::new(id), Err(refusal)),
            Kind::Authenticate => Event::Authenticate(Ticket::new(id), Err(refusal)),
            Kind::Utf8 => Event::Utf8(Ticket::new(id), Err(refusal)),
            Kind::Lang { .. } => Event::Lang(Ticket::new(id), Err(refusal)),
            Kind::Last => Event::Last(Ticket::new(id), Err(refusal)),
            Kind::Stat => Event::Stat(Ticket::new(id), Err(refusal)),
            Kind::List { .. } => Event::List(Ticket::new(id), Err(refusal)),
            Kind::Uidl { .. } => Event::Uidl(Ticket::new(id), Err(refusal)),
            Kind::Retr => Event::Retr(Ticket::new(id), Err(refusal)),
            Kind::Top => Event::Top(Ticket::new(id), Err(refusal)),
            Kind::Dele => Event::Dele(Ticket::new(id), Err(refusal)),
            Kind::Noop => Event::Noop(Ticket::new(id), Err(refusal)),
            Kind::Rset => Event::Rset(Ticket::new(id), Err(refusal)),
            Kind::Quit => {
                // RFC 1939 §6: the server closes, whatever came of the deletions.
                self.close(Closed::Farewell);
                Event::Quit(Ticket::new(id), Err(refusal))
            }
        })
    }

    fn challenge(&mut self, id: u32, challenge: &[u8]) -> Option<Event> {
        match command::decode(challenge) {
            Ok(octets) => {
                self.go_on(id, Kind::Authenticate, false, Reading::Status);
                self.challenged = true;
                Some(Event::Challenge(Ticket::new(id), octets))
            }
            Err(_) => {
                self.misbehaved("a challenge in Base64", challenge);
                None
            }
        }
    }

    /// LIST or UIDL of one message: the entry is in the status line. The answer to it comes next.
    fn only_entry(&mut self, id: u32, kind: Kind, muted: bool, text: &[u8]) -> Option<Event> {
        self.go_on(id, kind, muted, Reading::Only);
        self.entry(text)
    }

    /// A line of a listing, or the dot behind it.
    pub(super) fn listing_line(&mut self, line: &[u8]) -> Option<Event> {
        if line == b"." {
            return self.end_of_listing();
        }
        // RFC 1939 §3: stuffed as any multi-line response.
        let line = line.strip_prefix(b".").unwrap_or(line);
        let muted = self.queue.front().is_some_and(|expected| expected.muted);
        self.entry(line).filter(|_| !muted)
    }

    fn entry(&mut self, line: &[u8]) -> Option<Event> {
        let (most, most_capabilities) = (self.config.listing, self.config.capabilities);
        let Expected { id, kind, .. } = self.queue.front_mut()?;
        let id = *id;
        let (event, count) = match kind {
            Kind::Capa(capabilities) => {
                if let Some(capability) =
                    Capability::decode(line).filter(|_| capabilities.len() < most_capabilities)
                {
                    capabilities.push(capability);
                }
                return None;
            }
            Kind::Lang { found, .. } => {
                if let Some(language) = Language::decode(line).filter(|_| found.len() < most_capabilities) {
                    found.push(language);
                }
                return None;
            }
            Kind::List { count, .. } => {
                (Listed::decode(line).map(|entry| Event::Listed(Ticket::new(id), entry)), count)
            }
            Kind::Uidl { count, .. } => {
                (Identified::decode(line).map(|entry| Event::Identified(Ticket::new(id), entry)), count)
            }
            _ => return None,
        };
        *count += 1;
        if *count > most {
            self.close(Closed::Misbehaved(PeerMisbehaved::Endless { limit: most.into() }));
            return None;
        }
        if event.is_none() {
            self.misbehaved("a message number and its size or id", line);
        }
        event
    }

    /// The answer to the call whose listing has come.
    pub(super) fn end_of_listing(&mut self) -> Option<Event> {
        self.reading = Reading::Status;
        let Expected { id, kind, muted } = self.queue.pop_front()?;
        let event = match kind {
            Kind::Capa(capabilities) => {
                self.capabilities = Some(capabilities.clone());
                Event::Capa(Ticket::new(id), Ok(capabilities))
            }
            Kind::Lang { found, .. } => Event::Lang(Ticket::new(id), Ok(found)),
            Kind::List { count, .. } => Event::List(Ticket::new(id), Ok(count)),
            Kind::Uidl { count, .. } => Event::Uidl(Ticket::new(id), Ok(count)),
            _ => return None,
        };
        (!muted).then_some(event)
    }

    /// A line over the limit was skipped.
    pub(super) fn too_long(&mut self) {
        let harmless = matches!(self.reading, Reading::Listing)
            && matches!(self.queue.front(), Some(Expected { kind: Kind::Capa(_), .. }));
        // What cannot be read cannot be acted on, but a capability that cannot be read is one that is not used.
        if !harmless {
            self.misbehaved("a line within the limit", b"a longer one");
        }
    }
}
