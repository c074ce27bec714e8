//! What each reply means for the command it answers.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use mailwright_line_proto::{Closed, Output, PeerMisbehaved, Secret, Ticket};

use super::{Client, Event, Expected, MOST_CHALLENGES, Phase, Protocol};
use crate::{Capabilities, Command, Hello, HelloKind, Outcome, Reply, reply::MOST_LINES};

type Step = Option<Output<Event>>;

impl Client {
    /// Takes a whole reply.
    pub(super) fn take(&mut self, reply: Reply, rx: &BytesMut) -> Step {
        if let Some(left) = std::mem::take(&mut self.torn)
            && !self.asks_for_names()
            && Capabilities::are_in(&reply)
        {
            return self.take_rest(left, &reply);
        }
        let farewell = reply.code() == 421;
        let Some((id, expected)) = self.expected.pop_front() else {
            return match () {
                () if self.sender.is_some() => self.take_early(reply),
                () if farewell => self.close(Closed::Refused(reply.in_one_line())),
                () => self.unsolicited(&reply),
            };
        };
        if !farewell {
            return self.answer(id, expected, reply, rx);
        }
        // RFC 5321 §3.8: 421 may answer anything, and the connection ends.
        let why = Closed::Refused(reply.in_one_line());
        let told = match expected {
            Expected::Greeting
            | Expected::GroupMail
            | Expected::GroupRcpt
            | Expected::GroupData
            | Expected::GroupEmpty
            | Expected::GroupRset => None,
            Expected::Part | Expected::PartsRset | Expected::Each(_) => {
                let outcome = Outcome::All(self.refused.take().unwrap_or(reply));
                Some(Output::Event(Event::BodyEnd(Ticket::new(id), outcome)))
            }
            Expected::Commit(left) if self.config.protocol == Protocol::Lmtp => {
                let mut replies = std::mem::take(&mut self.outcome);
                replies.extend(std::iter::repeat_n(reply, left));
                Some(Output::Event(Event::BodyEnd(Ticket::new(id), replies.into())))
            }
            expected => self.answer(id, expected, reply, rx),
        };
        self.close(why);
        told
    }

    fn answer(&mut self, id: u32, expected: Expected, reply: Reply, rx: &BytesMut) -> Step {
        let event = match expected {
            Expected::Greeting => return self.take_greeting(reply),
            Expected::Hello(hello) => return self.take_hello(id, hello, reply),
            Expected::StartTls if reply.code() == 220 => {
                if !rx.is_empty() {
                    // Law 8
                    return self.close(Closed::Misbehaved(PeerMisbehaved::PlaintextBehindTls));
                }
                self.phase = Phase::Tls { id, reply, started: false };
                return None;
            }
            Expected::Authenticate if reply.code() == 334 => return self.take_challenge(id, &reply),
            Expected::Data if reply.code() == 354 => {
                self.open_body();
                Event::Data(Ticket::new(id), Ok(()))
            }
            Expected::Commit(left) => return self.take_outcome(id, left, reply),
            Expected::Each(left) => return self.take_each(id, left, reply),
            Expected::Part => return self.take_part(reply),
            Expected::PartsRset => return self.take_parts_rset(),
            Expected::GroupMail | Expected::GroupRcpt | Expected::GroupData if reply.code() / 100 == 3 => {
                match expected {
                    Expected::GroupData => return self.take_group(&expected, reply),
                    _ => return self.bad_reply("a reply that accepts or refuses", &reply),
                }
            }
            Expected::GroupMail
            | Expected::GroupRcpt
            | Expected::GroupData
            | Expected::GroupEmpty
            | Expected::GroupRset => return self.take_group(&expected, reply),
            _ if reply.code() / 100 == 3 => return self.bad_reply("a reply that accepts or refuses", &reply),
            // RFC 3207 §4: 220 and nothing else is a consent. What passes for one would have mail go in the clear that
            // must not.
            Expected::StartTls if reply.is_positive() => return self.bad_reply("220 or a refusal", &reply),
            Expected::StartTls => Event::StartTls(Ticket::new(id), reply),
            Expected::Authenticate => {
                self.authenticated = reply.is_positive();
                Event::Authenticate(Ticket::new(id), reply)
            }
            Expected::Mail => {
                self.forget_accepted(&reply);
                Event::Mail(Ticket::new(id), reply)
            }
            Expected::Rcpt => {
                self.accepted += usize::from(reply.is_positive());
                Event::Rcpt(Ticket::new(id), reply)
            }
            Expected::Data if reply.is_positive() => return self.bad_reply("354 or a refusal", &reply),
            Expected::Data => Event::Data(Ticket::new(id), Err(reply)),
            Expected::Rset => {
                self.forget_accepted(&reply);
                Event::Rset(Ticket::new(id), reply)
            }
            Expected::Noop => Event::Noop(Ticket::new(id), reply),
            Expected::Vrfy => Event::Vrfy(Ticket::new(id), reply),
            Expected::Expn => Event::Expn(Ticket::new(id), reply),
            Expected::Etrn => Event::Etrn(Ticket::new(id), reply),
            Expected::Burl => Event::Burl(Ticket::new(id), reply),
            Expected::XForward => Event::XForward(Ticket::new(id), reply),
            Expected::Atrn if reply.is_positive() => {
                self.phase = Phase::Turned;
                Event::Atrn(Ticket::new(id), Ok(()))
            }
            Expected::Atrn => Event::Atrn(Ticket::new(id), Err(reply)),
            Expected::XClient => {
                if reply.is_positive() {
                    // The server has begun anew.
                    self.greeted = false;
                    self.authenticated = false;
                    self.accepted = 0;
                }
                Event::XClient(Ticket::new(id), reply)
            }
            Expected::Quit => {
                self.close(Closed::Farewell);
                Event::Quit(Ticket::new(id), reply)
            }
        };
        Some(Output::Event(event))
    }

    /// Whether what the oldest command asks for may look like what is announced: `250 Help Desk <help@example.org>`.
    fn asks_for_names(&self) -> bool {
        matches!(self.expected.front(), Some((_, Expected::Vrfy | Expected::Expn)))
    }

    /// A space in the middle of an EHLO reply ended it too early; this is the rest of it, or a part of that.
    fn take_rest(&mut self, left: usize, reply: &Reply) -> Step {
        // All of it together is bounded as one reply is.
        let Some(left) = left.checked_sub(reply.lines().count()) else {
            return self.bad_reply("an end of what is announced", reply);
        };
        reply.lines().for_each(|line| self.capabilities.add(line));
        self.torn = Some(left);
        None
    }

    fn take_greeting(&mut self, reply: Reply) -> Step {
        if reply.is_positive() {
            return Some(Output::Event(Event::Greeting(reply)));
        }
        // RFC 5321 §3.1: the server waits for the QUIT
        self.put(&Command::Quit);
        self.close(Closed::Refused(reply.in_one_line()))
    }

    fn take_hello(&mut self, id: u32, hello: Hello, reply: Reply) -> Step {
        if reply.code() / 100 == 3 {
            return self.bad_reply("a reply that accepts or refuses", &reply);
        }
        let answer = if reply.is_positive() {
            self.greeted = true;
            // RFC 5321 §4.1.4: as RSET does
            self.accepted = 0;
            let announces = hello.kind != HelloKind::Helo;
            self.torn = announces.then_some(MOST_LINES);
            self.capabilities = if announces { Capabilities::parse(&reply) } else { Capabilities::default() };
            Ok(())
        } else if hello.kind == HelloKind::Ehlo && self.config.fall_back_to_helo && reply.is_permanent() {
            // RFC 5321 §3.2
            let hello = Hello::with_kind(HelloKind::Helo, hello.name);
            self.put(&Command::Hello(hello.clone()));
            self.expect(id, Expected::Hello(hello));
            return None;
        } else {
            Err(reply)
        };
        Some(Output::Event(Event::Hello(Ticket::new(id), answer)))
    }

    fn take_challenge(&mut self, id: u32, reply: &Reply) -> Step {
        self.challenges += 1;
        if self.challenges > MOST_CHALLENGES {
            return self.bad_reply("an end of the login", reply);
        }
        let text = reply.lines().next().unwrap_or_default().trim_matches(' ');
        match STANDARD.decode(text) {
            Ok(challenge) => {
                self.phase = Phase::Challenged(id);
                Some(Output::Event(Event::Challenge(Ticket::new(id), Secret::from(&challenge[..]))))
            }
            Err(_) => {
                // Nothing to answer; the server's refusal of the "*" ends the call.
                self.put_response(None);
                self.expect(id, Expected::Authenticate);
                None
            }
        }
    }

    /// A transaction began, or was forgotten: of the recipients accepted before, none is left. Not before its reply comes,
    /// behind which those of earlier recipients cannot.
    fn forget_accepted(&mut self, reply: &Reply) {
        if reply.is_positive() {
            self.accepted = 0;
        }
    }

    pub(super) fn bad_reply(&mut self, expected: &'static str, reply: &Reply) -> Step {
        self.close(Closed::Misbehaved(PeerMisbehaved::BadReply { expected, received: shown(reply) }))
    }
}

pub(super) fn shown(reply: &Reply) -> String {
    reply.to_string().trim_end().chars().take(128).collect()
}
