//! The application's answers.

use mailwright_line_proto::{Ask, AuthRefusal, AuthStep, Authenticate, Gone, Request, Secret};

use super::{Event, Server, Source, State, Upload};
use crate::managesieve::{
    Accepted, CheckScript, DeleteScript, GetScript, HaveSpace, ListScripts, PutScript, Refusal, RenameScript,
    ResponseCode, SetActive, Unauthenticate,
    command::encode_response,
    reply::{Reply, Status},
};

pub(super) use self::sealed::Question;

/// What a [`Server`] asks its application. Not for others to implement.
pub trait Serve: sealed::Apply {}

impl<R: sealed::Apply> Serve for R {}

impl Server {
    /// Answers a question.
    ///
    /// # Errors
    /// [`Gone`] if it was refused in the application's place, because its deadline had passed, or if the connection
    /// is. The answer then has no effect: what was stored for it stays stored, though the peer was told otherwise.
    pub fn answer<R: Serve>(&mut self, ask: Ask<R>, answer: R::Answer) -> Result<(), Gone> {
        let (id, request) = ask.into_parts();
        match self.state {
            State::Asking { id: open, question, .. } if (open, question) == (id, R::QUESTION) => {
                self.state = State::Command;
            }
            State::Uploading { id: open, .. } if (open, R::QUESTION) == (id, Question::Upload) => {}
            _ => return Err(Gone),
        }
        self.idle_since = None;
        request.apply(answer, self);
        Ok(())
    }

    /// Refuses whatever is asked, as a failure that may pass: the last arm of a `match` over events.
    pub fn decline(&mut self, event: Event) {
        let later = Refusal::temporary;
        // A question that is gone was refused already: that is no error here.
        let _ = match event {
            Event::Authenticate(ask) => self.answer(ask, AuthStep::Refuse(AuthRefusal::Unavailable)),
            Event::Unauthenticate(ask) => self.answer(ask, Err(later())),
            Event::HaveSpace(ask) => self.answer(ask, Err(later())),
            Event::Upload(ask) => self.answer(ask, Err(later())),
            Event::PutScript(ask) => self.answer(ask, Err(later())),
            Event::CheckScript(ask) => self.answer(ask, Err(later())),
            Event::ListScripts(ask) => self.answer(ask, Err(later())),
            Event::SetActive(ask) => self.answer(ask, Err(later())),
            Event::GetScript(ask) => self.answer(ask, Err(later())),
            Event::DeleteScript(ask) => self.answer(ask, Err(later())),
            Event::RenameScript(ask) => self.answer(ask, Err(later())),
            Event::Body(_) | Event::Closed(_) => Ok(()),
        };
    }

    /// Refuses in the application's place.
    pub(super) fn answer_is_late(&mut self) {
        self.idle_since = None;
        if matches!(self.state, State::Uploading { .. }) {
            return self.upload_refused(Refusal::temporary());
        }
        self.state = State::Command;
        self.no(Refusal::temporary());
    }

    fn upload_refused(&mut self, refusal: Refusal) {
        let State::Uploading { upload, .. } = std::mem::replace(&mut self.state, State::Command) else {
            return;
        };
        match upload.source {
            // Its octets come all the same (RFC 5804 §4: no waiting for a go-ahead).
            Source::Literal(counted) => {
                self.gather.discard();
                self.gather.skip(counted.remaining());
                self.doom = Some((refusal, false));
            }
            Source::Quoted(_) => self.no(refusal),
        }
    }

    fn done(&mut self, answer: Result<(), Refusal>) {
        match answer {
            Ok(()) => self.ok(""),
            Err(refusal) => self.no(refusal),
        }
    }

    fn judged(&mut self, answer: Result<Accepted, Refusal>) {
        match answer {
            Ok(Accepted { warnings: None }) => self.ok(""),
            Ok(Accepted { warnings: Some(text) }) => {
                self.reply(&Reply::new(Status::Ok, Some(ResponseCode::Warnings), text));
            }
            Err(refusal) => self.no(refusal),
        }
    }

    fn login_refused(&mut self, refusal: AuthRefusal) {
        match refusal {
            // Not the peer's failure.
            AuthRefusal::Unavailable => self.no(refusal.into()),
            _ => self.fail_login(refusal.into()),
        }
    }
}

mod sealed {
    #![expect(unnameable_types, reason = "sealed: nobody else is to implement it")]

    use super::{Request, Server};

    /// Which question is open.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Question {
        Authenticate,
        Unauthenticate,
        HaveSpace,
        Upload,
        PutScript,
        CheckScript,
        ListScripts,
        SetActive,
        GetScript,
        DeleteScript,
        RenameScript,
    }

    pub trait Apply: Request {
        /// The question that this is an answer to.
        const QUESTION: Question;

        /// Sends the reply and goes on.
        fn apply(self, answer: Self::Answer, server: &mut Server);
    }
}

/// Requests whose answer is OK or NO, or whose reply one method writes.
macro_rules! simple {
    ($($request:ident $method:ident;)*) => {$(
        impl sealed::Apply for $request {
            const QUESTION: Question = Question::$request;

            fn apply(self, answer: Self::Answer, server: &mut Server) {
                server.$method(answer);
            }
        }
    )*};
}

simple! {
    HaveSpace done;
    SetActive done;
    DeleteScript done;
    RenameScript done;
    PutScript judged;
    CheckScript judged;
}

impl sealed::Apply for Authenticate {
    const QUESTION: Question = Question::Authenticate;

    fn apply(self, answer: Self::Answer, server: &mut Server) {
        match answer {
            AuthStep::Challenge(challenge) => {
                let line = Secret::from(&encode_response(&challenge, "")[..]);
                server.out.secret_line(line.expose(), "SASL challenge");
                server.state = State::Challenged { mechanism: self.mechanism };
            }
            AuthStep::Accept => {
                server.logged_in = true;
                server.ok("");
            }
            AuthStep::Refuse(refusal) => server.login_refused(refusal),
            _ => server.login_refused(AuthRefusal::Unavailable),
        }
    }
}

impl sealed::Apply for Unauthenticate {
    const QUESTION: Question = Question::Unauthenticate;

    fn apply(self, answer: Self::Answer, server: &mut Server) {
        if answer.is_ok() {
            server.logged_in = false;
            server.owner = None;
            // The time for a login begins anew.
            server.started = None;
        }
        server.done(answer);
    }
}

impl sealed::Apply for Upload {
    const QUESTION: Question = Question::Upload;

    fn apply(self, answer: Self::Answer, server: &mut Server) {
        if let Err(refusal) = answer {
            return server.upload_refused(refusal);
        }
        if let State::Uploading { upload, .. } = std::mem::replace(&mut server.state, State::Command) {
            server.state = State::Receiving(upload);
        }
    }
}

impl sealed::Apply for ListScripts {
    const QUESTION: Question = Question::ListScripts;

    fn apply(self, answer: Self::Answer, server: &mut Server) {
        let scripts = match answer {
            Ok(scripts) => scripts,
            Err(refusal) => return server.no(refusal),
        };
        for script in scripts {
            server.out.line(&script.encode());
        }
        server.ok("");
    }
}

impl sealed::Apply for GetScript {
    const QUESTION: Question = Question::GetScript;

    fn apply(self, answer: Self::Answer, server: &mut Server) {
        match answer {
            Ok(size) => {
                server.out.line(format!("{{{size}}}").as_bytes());
                server.state = State::Body { remaining: size, announced: size, since: None };
            }
            Err(refusal) => server.no(refusal),
        }
    }
}
