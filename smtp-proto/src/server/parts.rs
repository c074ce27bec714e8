//! Messages that come in parts: BDAT and BURL.
//!
//! The octets behind a BDAT line are never run as commands: whatever is wrong with the command, they are taken and
//! thrown away. If it cannot be known how many they are, the connection closes.

use std::time::Instant;

use bytes::BytesMut;
use mailwright_line_proto::{Closed, Deadline, Output, PeerMisbehaved, frame::Counted};

use super::{Asked, Event, Phase, Server, event, session::Transaction, wait};
use crate::{
    Bdat, Burl, Command, Message, Reply,
    body::Receiver,
    command::{self, Row, TABLE},
};

/// A message of which not all parts have come.
#[derive(Debug)]
pub(super) enum Parts {
    /// The application takes it.
    Open(Receiver),
    /// It is refused, for this reason if that was not said yet.
    Failed { why: Option<Reply>, recipients: usize },
}

/// A refused part on its way.
#[derive(Debug)]
pub(super) struct Skipped {
    left: Counted,
    reply: Reply,
    /// How many replies it has.
    times: usize,
    /// Whether it was an error of the client's.
    error: bool,
}

type Step = Option<Output<Event>>;

impl Server {
    /// Counts the octets of the part that an [`Event::Burl`] asks for: to be called before it is answered, so that no message becomes larger
    /// than it may be by parts of two kinds.
    ///
    /// # Errors
    /// The refusal that the question is to be answered with, if they are too many (RFC 1870 §6.3). They do not count then.
    pub fn count_fetched(&mut self, octets: u64) -> Result<(), Reply> {
        let fits = match &mut self.parts {
            Some(Parts::Open(receiver)) => receiver.count(octets),
            _ => true,
        };
        if fits { Ok(()) } else { Err(Self::too_large()) }
    }

    /// A BDAT line whose command is refused whatever the state of the message is.
    pub(super) fn refuse_bdat(&mut self, arguments: &[u8], refusal: Reply) -> Step {
        let row = TABLE.iter().find(|row| row.verb == "BDAT")?;
        match (row.parse)(arguments, self.config.syntax) {
            Ok(Command::Bdat(bdat)) => self.skip(bdat, refusal, 1, true),
            Ok(_) => None,
            Err(error) => self.refuse_unbounded(&error.reply()),
        }
    }

    /// What follows is content, and nobody knows how much of it.
    pub(super) fn refuse_unbounded(&mut self, reply: &Reply) -> Step {
        self.reply(reply);
        self.close(Closed::Misbehaved(PeerMisbehaved::BadReply {
            expected: "a length behind BDAT",
            received: "none that can be read".to_owned(),
        }))
    }

    pub(super) fn run_bdat(&mut self, now: Instant, row: &'static Row, bdat: Bdat) -> Step {
        match self.parts.take() {
            Some(Parts::Open(mut receiver)) => {
                receiver.begin(bdat);
                self.phase = Phase::Body(receiver);
                None
            }
            Some(Parts::Failed { why, recipients }) => {
                let (reply, times) = self.word_about(why, recipients, bdat.last);
                if !bdat.last {
                    self.parts = Some(Parts::Failed { why: None, recipients });
                }
                self.skip(bdat, reply, times, false)
            }
            None => match self.begin_parts(now) {
                Ok(asked) => {
                    self.held = Some((row, Command::Bdat(bdat)));
                    asked
                }
                Err(refusal) => self.skip(bdat, refusal, 1, true),
            },
        }
    }

    pub(super) fn run_burl(&mut self, now: Instant, row: &'static Row, burl: Burl) -> Step {
        match self.parts.take() {
            Some(Parts::Open(receiver)) => {
                self.parts = Some(Parts::Open(receiver));
                let id = self.ask(now, Asked::Burl);
                event(Event::Burl, id, burl)
            }
            Some(Parts::Failed { why, recipients }) => {
                let (reply, times) = self.word_about(why, recipients, burl.last);
                if !burl.last {
                    self.parts = Some(Parts::Failed { why: None, recipients });
                }
                self.reply_each(vec![reply; times]);
                None
            }
            None => match self.begin_parts(now) {
                Ok(asked) => {
                    self.held = Some((row, Command::Burl(burl)));
                    asked
                }
                Err(refusal) => self.refuse(&refusal),
            },
        }
    }

    /// Takes the rest of a refused part.
    pub(super) fn skip_on(&mut self, now: Instant, since: Instant, rx: &mut BytesMut) -> Step {
        let Phase::Skip(skipped) = &mut self.phase else { return None };
        if skipped.left.next(rx).is_some() {
            self.since = Some(now);
            return None;
        }
        if !skipped.left.is_done() {
            let until = since + self.config.timeouts.body;
            let sooner = self.pipeline.deadline().map_or(until, |deadline| deadline.min(until));
            return match () {
                () if self.ended => self.close(Closed::Eof),
                () if until <= now => self.time_out(Deadline::Body),
                () => wait(true, Some(sooner)),
            };
        }
        let Phase::Skip(skipped) = std::mem::replace(&mut self.phase, Phase::Command) else { return None };
        self.since = Some(now);
        if skipped.error {
            return self.refuse(&skipped.reply);
        }
        self.reply_each(vec![skipped.reply; skipped.times]);
        None
    }

    /// A part that is not the last has come.
    pub(super) fn end_of_part(&mut self, now: Instant) -> Step {
        let Phase::Body(receiver) = std::mem::replace(&mut self.phase, Phase::Command) else { return None };
        self.since = Some(now);
        if receiver.is_over() {
            self.parts = Some(Parts::Failed { why: None, recipients: receiver.recipients() });
            // RFC 1870 §6.3
            self.reply(&Self::too_large());
        } else {
            self.parts = Some(Parts::Open(receiver));
            self.reply(&Reply::fixed(250, (2, 0, 0), "Ok: part received"));
        }
        None
    }

    /// What the application says to the first part of a message.
    pub(super) fn settle_parts(&mut self, answer: Result<(), Reply>, binary: bool, recipients: usize) {
        let (limit, bare) = (self.config.max_message_size, self.config.bare_line_ends);
        self.parts = Some(match answer {
            Ok(()) => Parts::Open(Receiver::parts(limit, bare, recipients, binary)),
            Err(reply) => Parts::Failed { why: Some(reply), recipients },
        });
    }

    /// What the application says to a part it was to fetch. It may be the last.
    pub(super) fn settle_burl(&mut self, id: u32, answer: Reply, last: bool) {
        self.phase = Phase::Command;
        match self.parts.take() {
            Some(Parts::Open(mut receiver)) if answer.is_positive() && last => {
                // The reply is the one about the whole message.
                let _ = self.pipeline.fill(id, bytes::Bytes::new(), &mut self.transmit);
                receiver.begin(Bdat::new(0, true));
                self.phase = Phase::Body(receiver);
            }
            Some(Parts::Open(receiver)) if answer.is_positive() => {
                self.parts = Some(Parts::Open(receiver));
                self.fill(id, &answer);
            }
            Some(Parts::Open(receiver)) => {
                let recipients = receiver.recipients();
                self.abandoned = true;
                let times = if last { self.replies_to(recipients) } else { 1 };
                if !last {
                    self.parts = Some(Parts::Failed { why: None, recipients });
                }
                self.fill(id, &answer);
                self.reply_each(vec![answer; times.saturating_sub(1)]);
            }
            _ => self.fill(id, &Reply::INTERNAL),
        }
    }

    /// Asks about the message whose first part has come.
    fn begin_parts(&mut self, now: Instant) -> Result<Step, Reply> {
        match self.transaction.as_ref().map(Transaction::accepted) {
            _ if self.data_refused => Err(Self::wants_rset()),
            None => Err(Reply::fixed(503, (5, 5, 1), "Need MAIL command")),
            Some(0) => Err(Reply::fixed(554, (5, 5, 1), "No valid recipients")),
            Some(_) => {
                let Some((mail, recipients)) = self.transaction.take().map(Transaction::into_parts) else {
                    return Err(Reply::INTERNAL);
                };
                self.each_recipient = mail.parameters.each_recipient;
                let id = self.ask(now, Asked::Parts);
                Ok(event(Event::Message, id, Message::new(mail, recipients)))
            }
        }
    }

    /// What is said about a part of a message that was refused, and how often.
    fn word_about(&self, why: Option<Reply>, recipients: usize, last: bool) -> (Reply, usize) {
        let reply = why.unwrap_or_else(|| Reply::fixed(503, (5, 5, 1), "The message was refused; send RSET"));
        // RFC 2033 §4.2: behind BDAT LAST as behind the dot
        (reply, if last { self.replies_to(recipients).max(1) } else { 1 })
    }

    fn skip(&mut self, bdat: Bdat, reply: Reply, times: usize, error: bool) -> Step {
        self.phase = Phase::Skip(Skipped { left: Counted::new(bdat.size), reply, times, error });
        None
    }
}

/// Whether the line is a BDAT command, whatever follows the word.
pub(super) fn is_bdat(line: &[u8]) -> bool {
    let verb = line.split(|octet| !octet.is_ascii_alphanumeric()).next().unwrap_or_default();
    verb.eq_ignore_ascii_case(b"BDAT") && command::find(line).is_err()
}
