//! The application's answers.

use mailwright_line_proto::{Ask, AuthRefusal, AuthStep, Authenticate, Closed, Gone, Login, Request};

use super::{Body, Commit, Event, Open, Read, Server, Session, State};
use crate::{Apop, Refusal, command};

pub(super) use self::sealed::Question;

/// What a [`Server`] asks its application. Not for others to implement.
pub trait Serve: sealed::Apply {}

impl<R: sealed::Apply> Serve for R {}

impl Server {
    /// Answers a question.
    ///
    /// # Errors
    /// [`Gone`] if it was refused in the application's place, because its deadline had passed, or if the connection
    /// is. The answer then has no effect: what was deleted for a `Commit` that is gone stays deleted, though the
    /// peer was told otherwise.
    pub fn answer<R: Serve>(&mut self, ask: Ask<R>, answer: R::Answer) -> Result<(), Gone> {
        let (id, request) = ask.into_parts();
        match self.state {
            State::Asking { id: open, question, .. } if (open, question) == (id, R::QUESTION) => {}
            _ => return Err(Gone),
        }
        self.state = State::Command;
        self.idle_since = None;
        request.apply(answer, self);
        Ok(())
    }

    /// Refuses whatever is asked, as a failure that may pass: the last arm of a `match` over events.
    pub fn decline(&mut self, event: Event) {
        // A question that is gone was refused already: that is no error here.
        let _ = match event {
            Event::Login(ask) => self.answer(ask, Err(AuthRefusal::Unavailable)),
            Event::Apop(ask) => self.answer(ask, Err(AuthRefusal::Unavailable)),
            Event::Authenticate(ask) => self.answer(ask, AuthStep::Refuse(AuthRefusal::Unavailable)),
            Event::Open(ask) => self.answer(ask, Err(Refusal::temporary())),
            Event::Read(ask) => self.answer(ask, Err(Refusal::temporary())),
            Event::Commit(ask) => self.answer(ask, Err(Refusal::temporary())),
            Event::Closed(_) => Ok(()),
        };
    }

    /// Refuses in the application's place.
    pub(super) fn answer_is_late(&mut self) {
        let State::Asking { question, .. } = self.state else { return };
        self.state = State::Command;
        self.idle_since = None;
        self.refuse(&Refusal::temporary());
        if question == Question::Commit {
            self.close(Closed::Farewell);
        }
    }

    fn login_answered(&mut self, answer: Result<(), AuthRefusal>) {
        match answer {
            Ok(()) => self.state = State::Opening,
            Err(refusal) => self.login_refused(refusal),
        }
    }

    fn login_refused(&mut self, refusal: AuthRefusal) {
        match refusal {
            // Not the peer's failure.
            AuthRefusal::Unavailable => self.refuse(&refusal.into()),
            _ => self.fail_login(&refusal.into()),
        }
    }
}

mod sealed {
    #![expect(unnameable_types, reason = "sealed: nobody else is to implement it")]

    use super::{Request, Server};

    /// Which question is open.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Question {
        Login,
        Apop,
        Open,
        Read,
        Commit,
    }

    pub trait Apply: Request {
        /// The question that this is an answer to.
        const QUESTION: Question;

        /// Sends the reply and goes on.
        fn apply(self, answer: Self::Answer, server: &mut Server);
    }
}

impl sealed::Apply for Login {
    const QUESTION: Question = Question::Login;

    fn apply(self, answer: Self::Answer, server: &mut Server) {
        server.login_answered(answer);
    }
}

impl sealed::Apply for Apop {
    const QUESTION: Question = Question::Apop;

    fn apply(self, answer: Self::Answer, server: &mut Server) {
        server.login_answered(answer);
    }
}

impl sealed::Apply for Authenticate {
    const QUESTION: Question = Question::Login;

    fn apply(self, answer: Self::Answer, server: &mut Server) {
        match answer {
            AuthStep::Challenge(challenge) => {
                // RFC 5034 §4: the plus sign, one space, Base64. A challenge of no octets keeps the space.
                let line = format!("+ {}", command::encode_response(&challenge));
                server.out.secret_line(line.as_bytes(), "SASL challenge");
                server.state = State::Challenged { mechanism: self.mechanism };
            }
            AuthStep::Accept => server.state = State::Opening,
            AuthStep::Refuse(refusal) => server.login_refused(refusal),
            _ => server.login_refused(AuthRefusal::Unavailable),
        }
    }
}

impl sealed::Apply for Open {
    const QUESTION: Question = Question::Open;

    fn apply(self, answer: Self::Answer, server: &mut Server) {
        match answer {
            Ok(maildrop) => {
                let session = Session::new(maildrop);
                server.ok(&format!("maildrop has {}", session.totals().describe()));
                server.session = Some(session);
            }
            Err(refusal) => server.refuse(&refusal),
        }
    }
}

impl sealed::Apply for Read {
    const QUESTION: Question = Question::Read;

    fn apply(self, answer: Self::Answer, server: &mut Server) {
        match answer {
            Ok(()) => {
                match self.lines {
                    Some(_) => server.ok("top of message follows"),
                    None => server.ok(&format!("{} octets", self.octets)),
                }
                server.state = State::Body(Body::new(
                    self.number,
                    self.lines,
                    server.workarounds,
                    server.utf8 || !server.config.surrogates,
                ));
            }
            Err(refusal) => server.refuse(&refusal),
        }
    }
}

impl sealed::Apply for Commit {
    const QUESTION: Question = Question::Commit;

    fn apply(self, answer: Self::Answer, server: &mut Server) {
        // RFC 1939 §6: whatever came of the deletions, the connection is closed.
        match answer {
            Ok(()) => server.sign_off(),
            Err(refusal) => {
                server.refuse(&refusal);
                server.close(Closed::Farewell);
            }
        }
    }
}
