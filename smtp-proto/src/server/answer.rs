//! The application's answers: what each of them changes, and what is sent.

use base64::{Engine, engine::general_purpose::STANDARD};
use mailwright_line_proto::{Ask, AuthRefusal, AuthStep, Authenticate, Closed, Gone, Shutdown, Traced};

use super::{Asked, Event, Phase, Receiver, Server, session::Transaction};
use crate::{
    Atrn, BodyKind, Burl, Commit, Connect, Etrn, Expn, Hello, Mail, Message, Outcome, Rcpt, Reply,
    SyntaxError, Vrfy, XClient, XForward,
};

/// A request that a server is asked. Implemented for all of [`Event`]'s questions and nothing else.
pub trait Serve: Settle {}

mod sealed {
    use mailwright_line_proto::Request;

    use super::Server;

    /// How an answer is carried out. The question is known to be open.
    #[expect(unnameable_types, reason = "sealed")]
    pub trait Settle: Request {
        /// Changes the state and sends the reply.
        fn settle(self, server: &mut Server, id: u32, answer: Self::Answer);
    }
}

use sealed::Settle;

impl Server {
    /// Answers a question.
    ///
    /// A reply that does not fit the question, such as 354 to RCPT, is replaced by 451. An answer of 421 closes the
    /// connection behind it.
    ///
    /// # Errors
    /// [`Gone`] if the question timed out or the connection is over: the client was not told this answer.
    pub fn answer<R: Serve>(&mut self, ask: Ask<R>, answer: R::Answer) -> Result<(), Gone> {
        let (id, request) = ask.into_parts();
        if !self.pipeline.is_open(id) {
            return Err(Gone);
        }
        self.since = None;
        request.settle(self, id, answer);
        Ok(())
    }

    /// Answers what the application does not care for: any client is welcome under any name; whatever else is asked
    /// is not implemented. Events that are no questions are dropped.
    pub fn decline(&mut self, event: Event) {
        let refusal = SyntaxError::NotImplemented.reply();
        // A question that is gone needs no answer.
        let _ = match event {
            Event::Connect(ask) => self.answer(ask, Ok(())),
            Event::Hello(ask) => self.answer(ask, Ok(())),
            Event::Authenticate(ask) => self.answer(ask, AuthStep::Refuse(AuthRefusal::Mechanism)),
            Event::Mail(ask) => self.answer(ask, refusal),
            Event::Rcpt(ask) => self.answer(ask, refusal),
            Event::Message(ask) => self.answer(ask, Err(refusal)),
            Event::BodyEnd(ask) => self.answer(ask, Outcome::All(Reply::INTERNAL)),
            Event::Vrfy(ask) => self.answer(ask, Vrfy::DECLINED),
            Event::Expn(ask) => self.answer(ask, refusal),
            Event::Etrn(ask) => self.answer(ask, refusal),
            Event::Atrn(ask) => self.answer(ask, Err(refusal)),
            Event::Burl(ask) => self.answer(ask, refusal),
            Event::XClient(ask) => self.answer(ask, Err(refusal)),
            Event::XForward(ask) => self.answer(ask, refusal),
            Event::Body(_) | Event::BodyAborted(_) | Event::Reset | Event::Closed(_) => Ok(()),
        };
    }

    /// Refuses, in the application's place, a question it has not answered in time.
    pub(super) fn expire(&mut self, id: u32) {
        match self.phase {
            Phase::Asked(Asked::Connect) => self.settle_connect(id, Err(Self::internal_421())),
            Phase::Asked(Asked::Hello) => self.fill(id, &Reply::INTERNAL),
            Phase::Asked(Asked::Authenticate) => {
                self.settle_auth(id, String::new(), AuthStep::Refuse(AuthRefusal::Unavailable));
            }
            Phase::Asked(Asked::Message) => self.settle_message(id, Err(Reply::INTERNAL), false, 0),
            // How many recipients there were went with the question; one reply must do.
            Phase::Asked(Asked::Parts) => self.settle_message(id, Err(Reply::INTERNAL), false, 0),
            Phase::Asked(Asked::Burl) => self.settle_burl(id, Reply::INTERNAL, false),
            Phase::Asked(Asked::Commit { recipients }) => {
                self.settle_commit(id, Reply::INTERNAL.into(), recipients)
            }
            _ => self.fill(id, &Reply::INTERNAL),
        }
        if let Phase::Asked(_) = self.phase {
            self.phase = Phase::Command;
        }
        self.since = None;
    }

    fn internal_421() -> Reply {
        Reply::fixed(421, (4, 3, 0), "Internal error; try again later")
    }

    fn settle_connect(&mut self, id: u32, answer: Result<(), Reply>) {
        match answer.map_err(refusal) {
            Ok(()) => {
                // The greeting itself is the reply, so the question's own slot is left empty.
                let _ = self.pipeline.fill(id, bytes::Bytes::new(), &mut self.transmit);
                self.greet();
            }
            Err(reply) => {
                self.refused = true;
                self.phase = Phase::Command;
                self.fill(id, &reply);
            }
        }
    }

    fn settle_auth(&mut self, id: u32, mechanism: String, step: AuthStep) {
        self.phase = Phase::Command;
        let reply = match step {
            AuthStep::Challenge(challenge) => {
                // RFC 4954 §4: 334 and Base64, on one line however long
                let line = format!("334 {}\r\n", STANDARD.encode(challenge));
                self.trace.line(Traced::SentSecret("SASL challenge"));
                let _ = self.pipeline.fill(id, line.into(), &mut self.transmit);
                self.phase = Phase::Challenged(mechanism);
                return;
            }
            AuthStep::Accept => {
                self.session.authenticated = true;
                Reply::fixed(235, (2, 7, 0), "Authentication successful")
            }
            AuthStep::Refuse(why) => {
                use AuthRefusal::{Credentials, Expired, Malformed, NotAuthorized};
                if matches!(why, Credentials | Expired | Malformed | NotAuthorized) {
                    self.failed_logins = self.failed_logins.saturating_add(1);
                }
                refused_login(why)
            }
            _ => Reply::INTERNAL,
        };
        self.fill(id, &reply);
    }

    fn settle_message(&mut self, id: u32, answer: Result<(), Reply>, binary: bool, recipients: usize) {
        let in_parts = matches!(self.phase, Phase::Asked(Asked::Parts));
        self.phase = Phase::Command;
        let answer = answer.map_err(refusal);
        if in_parts {
            // The reply is the one about the part, which is to come yet.
            let _ = self.pipeline.fill(id, bytes::Bytes::new(), &mut self.transmit);
            return self.settle_parts(answer, binary, recipients);
        }
        let reply = match answer {
            Ok(()) => {
                let (limit, bare) = (self.config.max_message_size, self.config.bare_line_ends);
                self.phase = Phase::Body(Receiver::new(limit, bare, recipients));
                Reply::plain(354, "End data with <CR><LF>.<CR><LF>")
            }
            Err(reply) => {
                self.data_refused = true;
                reply
            }
        };
        self.fill(id, &reply);
    }

    fn settle_commit(&mut self, id: u32, outcome: Outcome, recipients: usize) {
        self.phase = Phase::Command;
        let replies: Vec<Reply> = match self.config.protocol {
            super::Protocol::Smtp if std::mem::take(&mut self.each_recipient) => {
                // draft-hall-prdr: 353, one for each, and one for all, which is a refusal if each of them was: for good only if all were
                // refused for good, since senders take that for the end of the message for everybody, those included who were put off.
                let each = outcome.each(recipients).into_iter().map(verdict).collect::<Vec<_>>();
                let first = |kind: fn(&Reply) -> bool| each.iter().find(|reply| kind(reply));
                let all = first(Reply::is_positive).or_else(|| first(Reply::is_transient));
                let all = all.or_else(|| each.first()).cloned();
                let opening = Reply::plain(353, "A reply for each recipient follows");
                [opening].into_iter().chain(each).chain(all).collect()
            }
            super::Protocol::Smtp => vec![verdict(outcome.one())],
            super::Protocol::Lmtp => outcome.each(recipients).into_iter().map(verdict).collect(),
        };
        if replies.iter().any(Reply::is_positive) {
            // A connection may bring mail for days: what was once wrong is forgotten behind a message that is taken, as in Postfix. Other
            // commands that go well cost a client nothing that only looks for addresses or passwords.
            self.errors = 0;
        }
        let mut replies = replies.into_iter();
        if let Some(first) = replies.next() {
            self.fill(id, &first);
        }
        for reply in replies {
            self.reply(&reply);
            self.close_behind(&reply);
        }
    }

    /// Sends the reply in its turn; 421 ends the connection.
    pub(super) fn fill(&mut self, id: u32, reply: &Reply) {
        let encoded = self.traced(reply);
        // Only open questions are settled.
        let _ = self.pipeline.fill(id, encoded, &mut self.transmit);
        self.close_behind(reply);
    }

    fn close_behind(&mut self, reply: &Reply) {
        if reply.code() == 421 && !matches!(self.phase, Phase::Closing(_) | Phase::Closed) {
            self.close(Closed::Shutdown(Shutdown::Kicked));
        }
    }
}

impl Serve for Connect {}
impl Settle for Connect {
    fn settle(self, server: &mut Server, id: u32, answer: Result<(), Reply>) {
        server.settle_connect(id, answer);
    }
}

impl Serve for Hello {}
impl Settle for Hello {
    fn settle(self, server: &mut Server, id: u32, answer: Result<(), Reply>) {
        server.phase = Phase::Command;
        let reply = match answer.map_err(refusal) {
            Ok(()) => {
                // RFC 5321 §4.1.4: an EHLO that is accepted does what RSET does
                server.forget_transaction();
                let reply = server.reply_to_hello(&self);
                server.session.hello = Some(self);
                reply
            }
            Err(reply) => reply,
        };
        server.fill(id, &reply);
    }
}

impl Serve for Authenticate {}
impl Settle for Authenticate {
    fn settle(self, server: &mut Server, id: u32, answer: AuthStep) {
        server.settle_auth(id, self.mechanism, answer);
    }
}

impl Serve for Mail {}
impl Settle for Mail {
    fn settle(self, server: &mut Server, id: u32, answer: Reply) {
        server.phase = Phase::Command;
        let answer = verdict(answer);
        if answer.is_positive() {
            server.messages = server.messages.saturating_add(1);
            server.transaction = Some(Transaction::new(self));
        }
        server.fill(id, &answer);
    }
}

impl Serve for Rcpt {}
impl Settle for Rcpt {
    fn settle(self, server: &mut Server, id: u32, answer: Reply) {
        let answer = verdict(answer);
        if answer.is_positive()
            && let Some(transaction) = &mut server.transaction
        {
            transaction.accept(id, self);
        }
        server.fill(id, &answer);
    }
}

impl Serve for Message {}
impl Settle for Message {
    fn settle(self, server: &mut Server, id: u32, answer: Result<(), Reply>) {
        let binary = self.mail.parameters.body == Some(BodyKind::BinaryMime);
        server.settle_message(id, answer, binary, self.recipients.len());
    }
}

impl Serve for Commit {}
impl Settle for Commit {
    fn settle(self, server: &mut Server, id: u32, answer: Outcome) {
        server.settle_commit(id, answer, self.recipients);
    }
}

/// Questions that are answered with a reply and change nothing.
macro_rules! replied {
    ($($request:ident),*) => {$(
        impl Serve for $request {}
        impl Settle for $request {
            fn settle(self, server: &mut Server, id: u32, answer: Reply) {
                server.phase = Phase::Command;
                server.fill(id, &verdict(answer));
            }
        }
    )*};
}

replied!(Vrfy, Expn, Etrn, XForward);

impl Serve for Atrn {}
impl Settle for Atrn {
    fn settle(self, server: &mut Server, id: u32, answer: Result<(), Reply>) {
        server.settle_atrn(id, answer.map_err(refusal));
    }
}

impl Serve for Burl {}
impl Settle for Burl {
    fn settle(self, server: &mut Server, id: u32, answer: Reply) {
        server.settle_burl(id, verdict(answer), self.last);
    }
}

impl Serve for XClient {}
impl Settle for XClient {
    fn settle(self, server: &mut Server, id: u32, answer: Result<(), Reply>) {
        server.settle_xclient(id, &self.0, answer.map_err(refusal));
    }
}

/// A reply that decides: 354 and its like decide nothing.
fn verdict(reply: Reply) -> Reply {
    if reply.code() / 100 == 3 { Reply::INTERNAL } else { reply }
}

/// A reply that refuses.
fn refusal(reply: Reply) -> Reply {
    if reply.code() < 400 { Reply::INTERNAL } else { reply }
}

fn refused_login(why: AuthRefusal) -> Reply {
    let text = why.to_string();
    match why {
        // One reply for all that a stranger must not tell apart (RFC 4954 §6).
        AuthRefusal::Credentials | AuthRefusal::NotAuthorized | AuthRefusal::Expired => {
            Reply::fixed(535, (5, 7, 8), "Authentication credentials invalid")
        }
        AuthRefusal::Malformed => Reply::lossy(501, (5, 5, 2), text),
        AuthRefusal::Mechanism => Reply::lossy(504, (5, 5, 4), text),
        AuthRefusal::NeedsTls => Server::needs_tls(),
        _ => Reply::lossy(454, (4, 7, 0), text),
    }
}
