//! The calls: when each may be made, and what is sent.

use mailwright_line_proto::{Authenticate, Misuse, Secret, Traced};

use super::{Client, Expected, Phase, Protocol};
use crate::{
    Atrn, Burl, Command, Data, Etrn, Expn, Hello, HelloKind, Mail, Message, Noop, Quit, Rcpt, Rset, StartTls,
    Vrfy, XClient, XForward, params,
};

/// A request that a client can call. Implemented for the commands and nothing else.
pub trait Call: Send {}

mod sealed {
    use mailwright_line_proto::{Misuse, Request};

    use super::Client;

    /// How a call is made.
    #[expect(unnameable_types, reason = "sealed")]
    pub trait Send: Request {
        /// What it is called in errors.
        const NAME: &'static str;

        /// Sends it; the result is the number of the ticket.
        fn send(self, client: &mut Client) -> Result<u32, Misuse>;
    }
}

use sealed::Send;

/// Mechanisms that do not show the password to whoever listens. All others need TLS.
const HIDING: &[&str] = &["CRAM-MD5", "DIGEST-MD5", "EXTERNAL", "ANONYMOUS", "GSSAPI", "GS2-KRB5"];

impl Client {
    /// For calls that may be made behind others that wait for their replies, if the server pipelines.
    fn pipeline(&self) -> Result<(), Misuse> {
        let behind =
            |expected: &Expected| matches!(expected, Expected::Mail | Expected::Rcpt | Expected::Rset);
        let full = self.expected.len() >= self.config.limits.in_flight;
        match self.expected.back() {
            None => Ok(()),
            // RFC 2920 §3.1: what ends a group is the last of it
            Some((_, last)) if self.capabilities.pipelining && behind(last) && !full => Ok(()),
            Some(_) => Err(Misuse::Busy),
        }
    }

    fn offered(&self, is: bool, what: &'static str) -> Result<(), Misuse> {
        if is { Ok(()) } else { Err(Misuse::NotOffered(what)) }
    }

    fn alone(&self) -> Result<(), Misuse> {
        if self.expected.is_empty() { Ok(()) } else { Err(Misuse::Busy) }
    }

    /// For all that is said after hello, and after TLS if that is required.
    pub(super) fn in_session(&self, request: &'static str) -> Result<(), Misuse> {
        if !self.greeted {
            return Err(Misuse::WrongState { request, state: "before hello" });
        }
        if self.config.require_tls && self.tls.is_none() {
            return Err(Misuse::WrongState { request, state: "before TLS" });
        }
        Ok(())
    }

    /// The recipient as this server can be told it.
    pub(super) fn fit_rcpt(&self, rcpt: &mut Rcpt) -> Result<(), Misuse> {
        rcpt.parameters =
            params::fit(params::RCPT, &rcpt.parameters, &self.capabilities).map_err(Misuse::NotOffered)?;
        Ok(())
    }

    pub(super) fn put(&mut self, command: &Command) {
        let line = command.encode();
        self.trace.line(match command {
            Command::Authenticate(_) => Traced::SentSecret("AUTH"),
            _ => Traced::Sent(line.trim_end_matches("\r\n").as_bytes()),
        });
        self.transmit.put(line.as_bytes());
    }

    pub(super) fn put_response(&mut self, response: Option<&Secret>) {
        use base64::{Engine, engine::general_purpose::STANDARD};
        self.trace.line(Traced::SentSecret("SASL response"));
        match response {
            // RFC 4954 §4: "*" cancels
            None => self.transmit.put(b"*"),
            Some(response) => self.transmit.put(STANDARD.encode(response.expose()).as_bytes()),
        }
        self.transmit.put(b"\r\n");
    }

    fn issue(&mut self, command: &Command, expected: Expected) -> u32 {
        self.put(command);
        let id = self.number();
        self.expect(id, expected);
        id
    }
}

impl Call for Hello {}
impl Send for Hello {
    const NAME: &'static str = "Hello";

    fn send(mut self, client: &mut Client) -> Result<u32, Misuse> {
        client.alone()?;
        match client.config.protocol {
            Protocol::Lmtp => self.kind = HelloKind::Lhlo,
            Protocol::Smtp if self.kind == HelloKind::Lhlo => self.kind = HelloKind::Ehlo,
            Protocol::Smtp => {}
        }
        Ok(client.issue(&Command::Hello(self.clone()), Expected::Hello(self)))
    }
}

impl Call for StartTls {}
impl Send for StartTls {
    const NAME: &'static str = "StartTls";

    fn send(self, client: &mut Client) -> Result<u32, Misuse> {
        client.alone()?;
        if client.tls.is_some() {
            return Err(Misuse::WrongState { request: Self::NAME, state: "inside TLS" });
        }
        if !client.capabilities.starttls {
            return Err(Misuse::NotOffered("STARTTLS"));
        }
        Ok(client.issue(&Command::StartTls, Expected::StartTls))
    }
}

impl Call for Authenticate {}
impl Send for Authenticate {
    const NAME: &'static str = "Authenticate";

    fn send(self, client: &mut Client) -> Result<u32, Misuse> {
        client.alone()?;
        client.in_session(Self::NAME)?;
        if client.authenticated {
            return Err(Misuse::WrongState { request: Self::NAME, state: "after login" });
        }
        if !client.capabilities.has_mechanism(&self.mechanism) {
            return Err(Misuse::NotOffered("this AUTH mechanism"));
        }
        let hides = HIDING.contains(&&self.mechanism[..]) || self.mechanism.starts_with("SCRAM-");
        if client.tls.is_none() && !client.config.allow_plaintext_auth && !hides {
            return Err(Misuse::WrongState {
                request: Self::NAME,
                state: "with a password without TLS, unless `allow_plaintext_auth` is set",
            });
        }
        let command = Command::Authenticate(self);
        if command.encode().len() > client.config.limits.sasl_line {
            return Err(Misuse::Argument("an initial response must fit in the AUTH line"));
        }
        client.challenges = 0;
        Ok(client.issue(&command, Expected::Authenticate))
    }
}

impl Call for Mail {}
impl Send for Mail {
    const NAME: &'static str = "Mail";

    fn send(self, client: &mut Client) -> Result<u32, Misuse> {
        client.pipeline()?;
        client.in_session(Self::NAME)?;
        let mail = client.fitting(&self)?;
        client.messages = client.messages.saturating_add(1);
        Ok(client.issue(&Command::Mail(mail), Expected::Mail))
    }
}

impl Call for Rcpt {}
impl Send for Rcpt {
    const NAME: &'static str = "Rcpt";

    fn send(mut self, client: &mut Client) -> Result<u32, Misuse> {
        client.pipeline()?;
        client.in_session(Self::NAME)?;
        client.fit_rcpt(&mut self)?;
        if !self.to.is_ascii() && !client.capabilities.smtputf8 {
            return Err(Misuse::NotOffered("SMTPUTF8"));
        }
        Ok(client.issue(&Command::Rcpt(self), Expected::Rcpt))
    }
}

impl Call for Data {}
impl Send for Data {
    const NAME: &'static str = "Data";

    fn send(self, client: &mut Client) -> Result<u32, Misuse> {
        // Not pipelined: whether there is a body to send depends on the recipients.
        client.alone()?;
        client.in_session(Self::NAME)?;
        if client.accepted == 0 {
            return Err(Misuse::WrongState { request: Self::NAME, state: "without an accepted recipient" });
        }
        if client.way.parts {
            // BDAT needs no leave; the answer is given at once.
            let id = client.number();
            client.phase = Phase::Granted(id);
            return Ok(id);
        }
        Ok(client.issue(&Command::Data, Expected::Data))
    }
}

impl Call for Message {}
impl Send for Message {
    const NAME: &'static str = "Message";

    fn send(self, client: &mut Client) -> Result<u32, Misuse> {
        client.alone()?;
        client.in_session(Self::NAME)?;
        client.begin_group(self)
    }
}

impl Call for Rset {}
impl Send for Rset {
    const NAME: &'static str = "Rset";

    fn send(self, client: &mut Client) -> Result<u32, Misuse> {
        client.pipeline()?;
        Ok(client.issue(&Command::Rset, Expected::Rset))
    }
}

impl Call for Noop {}
impl Send for Noop {
    const NAME: &'static str = "Noop";

    fn send(self, client: &mut Client) -> Result<u32, Misuse> {
        client.pipeline()?;
        Ok(client.issue(&Command::Noop, Expected::Noop))
    }
}

impl Call for Vrfy {}
impl Send for Vrfy {
    const NAME: &'static str = "Vrfy";

    fn send(self, client: &mut Client) -> Result<u32, Misuse> {
        client.pipeline()?;
        client.in_session(Self::NAME)?;
        if !self.user.is_ascii() {
            return Err(Misuse::Argument("VRFY takes ASCII"));
        }
        let vrfy =
            Self::new(self.user).map_err(|_| Misuse::Argument("VRFY takes a user without controls"))?;
        Ok(client.issue(&Command::Vrfy(vrfy), Expected::Vrfy))
    }
}

impl Call for Expn {}
impl Send for Expn {
    const NAME: &'static str = "Expn";

    fn send(self, client: &mut Client) -> Result<u32, Misuse> {
        client.pipeline()?;
        client.in_session(Self::NAME)?;
        let expn =
            Self::new(self.list).map_err(|_| Misuse::Argument("EXPN takes a list without controls"))?;
        Ok(client.issue(&Command::Expn(expn), Expected::Expn))
    }
}

impl Call for Etrn {}
impl Send for Etrn {
    const NAME: &'static str = "Etrn";

    fn send(self, client: &mut Client) -> Result<u32, Misuse> {
        client.pipeline()?;
        client.in_session(Self::NAME)?;
        client.offered(client.capabilities.etrn, "ETRN")?;
        Ok(client.issue(&Command::Etrn(self), Expected::Etrn))
    }
}

impl Call for Atrn {}
impl Send for Atrn {
    const NAME: &'static str = "Atrn";

    fn send(self, client: &mut Client) -> Result<u32, Misuse> {
        client.alone()?;
        client.in_session(Self::NAME)?;
        client.offered(client.capabilities.atrn, "ATRN")?;
        Ok(client.issue(&Command::Atrn(self), Expected::Atrn))
    }
}

impl Call for Burl {}
impl Send for Burl {
    const NAME: &'static str = "Burl";

    fn send(self, client: &mut Client) -> Result<u32, Misuse> {
        client.alone()?;
        client.in_session(Self::NAME)?;
        client.offered(client.capabilities.burl.is_some(), "BURL")?;
        if client.accepted == 0 {
            return Err(Misuse::WrongState { request: Self::NAME, state: "without an accepted recipient" });
        }
        Ok(client.issue(&Command::Burl(self), Expected::Burl))
    }
}

impl Call for XClient {}
impl Send for XClient {
    const NAME: &'static str = "XClient";

    fn send(self, client: &mut Client) -> Result<u32, Misuse> {
        client.alone()?;
        client.in_session(Self::NAME)?;
        client.offered(!client.capabilities.xclient.is_empty(), "XCLIENT")?;
        Ok(client.issue(&Command::XClient(Box::new(self)), Expected::XClient))
    }
}

impl Call for XForward {}
impl Send for XForward {
    const NAME: &'static str = "XForward";

    fn send(self, client: &mut Client) -> Result<u32, Misuse> {
        client.pipeline()?;
        client.in_session(Self::NAME)?;
        client.offered(!client.capabilities.xforward.is_empty(), "XFORWARD")?;
        Ok(client.issue(&Command::XForward(Box::new(self)), Expected::XForward))
    }
}

impl Call for Quit {}
impl Send for Quit {
    const NAME: &'static str = "Quit";

    fn send(self, client: &mut Client) -> Result<u32, Misuse> {
        client.pipeline()?;
        Ok(client.issue(&Command::Quit, Expected::Quit))
    }
}
