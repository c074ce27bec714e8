//! Commands that ask the application something and leave the message alone: VRFY, EXPN, ETRN, ATRN, XCLIENT,
//! XFORWARD.

use std::time::Instant;

use mailwright_line_proto::{Ask, Output, Request};

use super::{Asked, Event, Phase, Server, VrfyPolicy, event};
use crate::{Atrn, Attribute, ClientAttributes, Command, Expn, Reply, Vrfy, XClient};

type Step = Option<Output<Event>>;

impl Server {
    /// Runs one of them.
    pub(super) fn run_question(&mut self, now: Instant, command: Command) -> Step {
        match command {
            Command::Vrfy(_) if self.config.vrfy == VrfyPolicy::Decline => self.say(&Vrfy::DECLINED),
            Command::Expn(_) if self.config.expn == VrfyPolicy::Decline => self.say(&Expn::DECLINED),
            Command::Vrfy(vrfy) => self.question(now, Event::Vrfy, vrfy),
            Command::Expn(expn) => self.question(now, Event::Expn, expn),
            Command::Etrn(etrn) => self.question(now, Event::Etrn, etrn),
            Command::Atrn(atrn) => self.run_atrn(now, atrn),
            Command::XClient(_) | Command::XForward(_) if self.transaction.is_some() => {
                // What is known of the client must not change under a message.
                self.refuse(&Reply::fixed(503, (5, 5, 1), "Not permitted during a mail transaction"))
            }
            Command::XClient(client) => self.question(now, Event::XClient, *client),
            Command::XForward(client) => self.question(now, Event::XForward, *client),
            _ => None,
        }
    }

    fn run_atrn(&mut self, now: Instant, atrn: Atrn) -> Step {
        if !self.session.authenticated {
            // RFC 2645 §5.2.1
            return self.refuse(&Reply::fixed(530, (5, 7, 0), "Authentication required"));
        }
        if self.transaction.is_some() {
            return self.refuse(&Reply::fixed(503, (5, 5, 1), "Not permitted during a mail transaction"));
        }
        self.question(now, Event::Atrn, atrn)
    }

    fn question<R: Request>(&mut self, now: Instant, make: impl FnOnce(Ask<R>) -> Event, request: R) -> Step {
        let id = self.ask(now, Asked::Other);
        event(make, id, request)
    }

    /// The roles turn, or not.
    pub(super) fn settle_atrn(&mut self, id: u32, answer: Result<(), Reply>) {
        match answer {
            Ok(()) => {
                self.fill(id, &Reply::fixed(250, (2, 0, 0), "Ok: turning round"));
                self.phase = Phase::Turned;
            }
            Err(reply) => {
                self.phase = Phase::Command;
                self.fill(id, &reply);
            }
        }
    }

    /// As if the other client had connected: greeted again, with nothing known but what was told.
    pub(super) fn settle_xclient(&mut self, id: u32, client: &ClientAttributes, answer: Result<(), Reply>) {
        self.phase = Phase::Command;
        if let Err(reply) = answer {
            return self.fill(id, &reply);
        }
        self.session.take_over(client);
        self.transaction = None;
        self.data_refused = false;
        // The greeting is the reply.
        let _ = self.pipeline.fill(id, bytes::Bytes::new(), &mut self.transmit);
        self.greet();
    }
}

impl XClient {
    /// Whether it says as whom the client has logged in.
    pub(crate) fn has_login(client: &ClientAttributes) -> bool {
        matches!(client.login, Some(Attribute::Known(_)))
    }
}
