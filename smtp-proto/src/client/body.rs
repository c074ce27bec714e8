//! Sending a message: how it goes, and a refusal that comes while it does.

use bytes::Bytes;
use mailwright_line_proto::{Closed, Misuse, Output, PeerMisbehaved, Ticket};

use super::{Chunking, Client, EightBit, Event, Expected, Phase, Protocol};
use crate::{BodyKind, Command, Commit, Mail, Outcome, Reply, SevenBit, body::Sender, params};

type Step = Option<Output<Event>>;

/// How the message that was begun goes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Way {
    /// By BDAT.
    pub(super) parts: bool,
    /// As it is, lone CR and LF too.
    pub(super) binary: bool,
    convert: Convert,
    /// The server will reply for each recipient (PRDR).
    pub(super) each_recipient: bool,
}

#[derive(Debug, Clone, Copy, Default)]
enum Convert {
    #[default]
    Nothing,
    Binary,
    EightBit,
}

impl Client {
    /// Sends a part of the body. Its line ends are watched ([`Config::line_ends`](super::Config::line_ends)), its dots
    /// stuffed where a dot ends it, and content that the server does not take is
    /// [encoded](super::Config::eight_bit).
    ///
    /// # Errors
    /// [`Misuse::NoBody`] if the server has not asked for one, or has refused it in the middle:
    /// [`Event::BodyEnd`] says so. [`Misuse::Argument`] for a lone CR or LF, if they are refused, and for content that
    /// cannot be encoded: then [`shutdown`](Self::shutdown) is all that is left.
    pub fn send_body(&mut self, chunk: Bytes) -> Result<(), Misuse> {
        let sender = self.sender.as_mut().ok_or(Misuse::NoBody)?;
        sender.put(chunk, &mut self.transmit)?;
        for _ in 0..sender.take_sent() {
            self.expected.push_back((self.body, Expected::Part));
        }
        Ok(())
    }

    /// Ends the body; what became of it comes with [`Event::BodyEnd`].
    ///
    /// # Errors
    /// As for [`send_body`](Self::send_body).
    pub fn end_body(&mut self) -> Result<Ticket<Commit>, Misuse> {
        let mut sender = self.sender.take().ok_or(Misuse::NoBody)?;
        if let Err(misuse) = sender.end(&mut self.transmit) {
            // Not ended, so not delivered.
            self.sender = Some(sender);
            return Err(misuse);
        }
        for _ in 0..sender.take_sent() {
            self.expected.push_back((self.body, Expected::Part));
        }
        self.phase = Phase::Open;
        let replies = if self.config.protocol == Protocol::Lmtp { self.accepted } else { 1 };
        self.outcome = Vec::new();
        self.expect(self.body, Expected::Commit(replies));
        Ok(Ticket::new(self.body))
    }

    /// Whether all messages were begun that the server takes over one connection: RFC 9422 §4.1.
    pub(super) fn is_spent(&self) -> bool {
        let most = self.capabilities.limits.as_ref().and_then(|limits| limits.messages);
        most.is_some_and(|most| self.messages >= most)
    }

    /// The mail as this server can be told it, and how its message goes.
    pub(super) fn fitting(&mut self, mail: &Mail) -> Result<Mail, Misuse> {
        if !mail.from.is_ascii() && !mail.parameters.smtputf8 {
            return Err(Misuse::Argument("a sender with other letters than ASCII needs SMTPUTF8"));
        }
        if self.is_spent() {
            return Err(Misuse::WrongState {
                request: "Mail",
                state: "after all messages that the server takes",
            });
        }
        let mut parameters = mail.parameters.clone();
        let capabilities = &self.capabilities;
        let binary_goes = capabilities.binary_mime && capabilities.chunking && capabilities.pipelining;
        let converts = self.config.eight_bit == EightBit::Convert;
        let mut way = Way::default();
        match parameters.body {
            Some(BodyKind::BinaryMime) if binary_goes => way.binary = true,
            Some(BodyKind::BinaryMime) if !converts => return Err(Misuse::NotOffered("BINARYMIME")),
            Some(BodyKind::BinaryMime) if capabilities.eight_bit_mime => {
                parameters.body = Some(BodyKind::EightBitMime);
                way.convert = Convert::Binary;
            }
            Some(BodyKind::BinaryMime | BodyKind::EightBitMime)
                if converts && !capabilities.eight_bit_mime =>
            {
                parameters.body = None;
                way.convert = Convert::EightBit;
            }
            _ => {}
        }
        if !matches!(way.convert, Convert::Nothing) {
            // What it was before says nothing of what it will be.
            parameters.size = None;
        }
        // Without PIPELINING a part could not follow another at once. LMTP servers differ in what they say to parts.
        let offered =
            capabilities.chunking && capabilities.pipelining && self.config.protocol == Protocol::Smtp;
        way.parts = way.binary || (offered && self.config.chunking == Chunking::WhenOffered);
        let parameters = params::fit(params::MAIL, &parameters, capabilities).map_err(Misuse::NotOffered)?;
        way.each_recipient = parameters.each_recipient && self.config.protocol == Protocol::Smtp;
        self.way = way;
        Ok(Mail::new(mail.from.clone()).with_parameters(parameters))
    }

    pub(super) fn open_body(&mut self) {
        let sender = match self.way.parts {
            true => Sender::parts(self.config.line_ends, self.way.binary),
            false => Sender::new(self.config.line_ends),
        };
        self.sender = Some(sender.converted(match self.way.convert {
            Convert::Nothing => None,
            Convert::Binary => Some(SevenBit::eight_bit()),
            Convert::EightBit => Some(SevenBit::new()),
        }));
        self.refused = None;
        self.body_begun = true;
        self.body = self.number();
        self.phase = Phase::Body;
    }

    /// A reply while a body is being sent behind DATA: nothing was asked, but servers that want no more of it say so.
    pub(super) fn take_early(&mut self, reply: Reply) -> Step {
        let refuses = reply.is_transient() || reply.is_permanent();
        if !refuses {
            return self.bad_reply("nothing before the end of the message", &reply);
        }
        // The body cannot be left off without being taken for whole, and its reply has come: the end.
        let text = reply.in_one_line();
        let ticket = Ticket::new(self.body);
        self.close(Closed::Refused(text));
        Some(Output::Event(Event::BodyEnd(ticket, Outcome::All(reply))))
    }

    /// The reply to a part that is not the last.
    pub(super) fn take_part(&mut self, reply: Reply) -> Step {
        if !(reply.is_positive() || reply.is_transient() || reply.is_permanent()) {
            return self.bad_reply("a reply that accepts or refuses", &reply);
        }
        if !reply.is_positive() && self.refused.is_none() {
            self.refused = Some(reply);
            if self.sender.take().is_some() {
                // No more parts; the replies to those that are on their way say nothing new.
                self.phase = Phase::Open;
            }
        }
        let more = self
            .expected
            .iter()
            .any(|(_, expected)| matches!(expected, Expected::Part | Expected::Commit(_)));
        if self.refused.is_some() && !more {
            return self.reset_parts();
        }
        None
    }

    /// RFC 3030 §2: after a refused part there is nothing but RSET.
    pub(super) fn reset_parts(&mut self) -> Step {
        self.put(&Command::Rset);
        self.expect(self.body, Expected::PartsRset);
        None
    }

    pub(super) fn take_parts_rset(&mut self) -> Step {
        let reply = self.refused.take().unwrap_or(Reply::INTERNAL);
        self.accepted = 0;
        Some(Output::Event(Event::BodyEnd(Ticket::new(self.body), Outcome::All(reply))))
    }

    pub(super) fn take_outcome(&mut self, id: u32, left: usize, reply: Reply) -> Step {
        if self.way.each_recipient && reply.code() == 353 {
            // draft-hall-prdr: one for each accepted recipient, and one for all
            self.expected.push_front((id, Expected::Each(self.accepted)));
            return None;
        }
        if reply.code() / 100 == 3 {
            return self.bad_reply("a reply that accepts or refuses", &reply);
        }
        if self.config.protocol == Protocol::Smtp {
            if self.refused.is_some() {
                return self.reset_parts();
            }
            self.accepted = 0;
            return Some(Output::Event(Event::BodyEnd(Ticket::new(id), Outcome::All(reply))));
        }
        // RFC 2033 §4.2: one for each accepted recipient
        self.outcome.push(reply);
        if left > 1 {
            self.expected.push_front((id, Expected::Commit(left - 1)));
            return None;
        }
        self.accepted = 0;
        let outcome = std::mem::take(&mut self.outcome).into();
        Some(Output::Event(Event::BodyEnd(Ticket::new(id), outcome)))
    }

    /// One of the replies of PRDR; the last of them is for all.
    pub(super) fn take_each(&mut self, id: u32, left: usize, reply: Reply) -> Step {
        if reply.code() / 100 == 3 {
            return self.bad_reply("a reply that accepts or refuses", &reply);
        }
        if left > 0 {
            self.outcome.push(reply);
            self.expected.push_front((id, Expected::Each(left - 1)));
            return None;
        }
        self.accepted = 0;
        let each = std::mem::take(&mut self.outcome);
        // A message that is refused as a whole was taken for nobody. For now, that is: who was refused before stays so, for good too.
        let outcome = match reply {
            reply if reply.is_positive() => Outcome::Each(each),
            reply if reply.is_transient() => {
                let last = |each: Reply| if each.is_positive() { reply.clone() } else { each };
                Outcome::Each(each.into_iter().map(last).collect())
            }
            reply => Outcome::All(reply),
        };
        Some(Output::Event(Event::BodyEnd(Ticket::new(id), outcome)))
    }

    pub(super) fn unsolicited(&mut self, reply: &Reply) -> Step {
        self.close(Closed::Misbehaved(PeerMisbehaved::Unsolicited { received: super::replies::shown(reply) }))
    }
}
