//! The applications that play the other half of every test.
#![allow(dead_code, unreachable_pub, reason = "shared by several test binaries, none of which uses all")]

pub mod bare;

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use mailwright_line_proto::{
    AuthRefusal, AuthStep, Authenticate, Closed, Peer, Secret,
    testing::{Seen, Side, Subject, Transcript},
};
use mailwright_mail_model::{ForwardPath, ReversePath};
use mailwright_smtp_proto::{
    Atrn, BodyKind, Burl, Command, Data, Etrn, Expn, FutureRelease, Hello, Mail, MailParameters, Message,
    Noop, Outcome, Quit, Rcpt, Reply, Rset, StartTls, Syntax, Vrfy, client, server,
};

/// The words of all lines that begin with this mark, one entry a line.
pub fn marked<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.strip_prefix(mark)).map(str::trim)
}

/// All transcripts of a directory: name, text, transcript.
pub fn transcripts(directory: &str) -> Vec<(String, String, Transcript)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(directory);
    let mut found: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let transcript =
                Transcript::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.file_name().unwrap().to_string_lossy().into_owned(), text, transcript)
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(!found.is_empty());
    found
}

/// The server's configuration that the lines `# config: words` of a transcript describe.
pub fn server_config(text: &str) -> server::Config {
    let words: Vec<&str> = marked(text, "# config:").flat_map(str::split_whitespace).collect();
    let has = |word: &str| words.contains(&word);
    let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let name = value("name").unwrap_or("mail.example.com");
    let mut config =
        if has("lmtp") { server::Config::lmtp(name) } else { server::Config::smtp(name) }.unwrap();
    if has("lenient") {
        config.syntax = Syntax::Lenient;
    }
    config.ask_connect = has("connect");
    config.starttls = has("starttls");
    config.require_tls = has("require-tls");
    config.require_auth = has("require-auth");
    if has("auth") {
        config.auth_mechanisms = vec!["PLAIN".to_owned(), "LOGIN".to_owned()];
    }
    config.allow_plaintext_auth = has("plaintext");
    if has("vrfy") {
        config.vrfy = server::VrfyPolicy::Ask;
    }
    if has("no-vrfy") {
        config.vrfy = server::VrfyPolicy::Off;
    }
    if has("accept-bare") {
        config.bare_line_ends = server::BareLineEnds::Accept;
    }
    config.smtputf8 = !has("no-smtputf8");
    if has("expn") {
        config.expn = server::VrfyPolicy::Ask;
    }
    config.legacy_auth = has("legacy-auth");
    config.xclient = has("xclient");
    config.xforward = has("xforward");
    config.max_messages = value("messages").map(|count| count.parse().unwrap());
    let abilities = &mut config.abilities;
    abilities.binary = has("binary");
    abilities.dsn = has("dsn");
    abilities.deliver_by = value("by").map(|least| least.parse().ok());
    abilities.future_release = has("hold")
        .then(|| FutureRelease::new(1000, mailwright_mail_model::DateTime::new(2_000_000_000, 0).unwrap()));
    abilities.priority = has("priority").then(|| "MIXER".to_owned());
    abilities.require_tls = has("requiretls");
    abilities.valid_since = has("rrvs");
    abilities.no_soliciting = has("no-soliciting").then(|| "net.example:ADV".parse().ok());
    abilities.each_recipient = has("prdr");
    abilities.burl = has("burl").then(|| vec!["imap".to_owned()]);
    abilities.start_queue = has("etrn");
    abilities.turn = has("atrn");
    if has("extension") {
        abilities.extensions.push(server::Extension::new("XEXAMPLE 1", &["XMAIL"], &["XRCPT"]));
    }
    if let Some(size) = value("size") {
        config.max_message_size = Some(size.parse().unwrap());
    }
    if let Some(count) = value("recipients") {
        config.max_recipients = count.parse().unwrap();
    }
    if let Some(count) = value("errors") {
        config.limits.errors = count.parse().unwrap();
    }
    if let Some(count) = value("logins") {
        config.limits.logins = count.parse().unwrap();
    }
    if let Some(count) = value("in-flight") {
        config.limits.in_flight = count.parse().unwrap();
    }
    config
}

/// A server and an application that decides by the names it is told.
pub struct Receiving(pub Arc<server::Config>);

impl Subject for Receiving {
    type Machine = server::Server;

    fn build(&self) -> server::Server {
        server::Server::new(Arc::clone(&self.0), Peer::unknown())
    }

    fn side(&self) -> Side {
        Side::Server
    }

    fn react(&mut self, server: &mut server::Server, event: server::Event) -> Seen {
        receive(server, event)
    }
}

/// What a name in an address makes the application say.
fn verdict(local: &str, accepted: Reply) -> Reply {
    match local {
        "unknown" => Reply::permanent(
            (1, 1),
            "<unknown@example.com>: Recipient address rejected: User unknown in local recipient table",
        ),
        "later" => Reply::transient((2, 0), "Try again later"),
        "hangup" => Reply::new(421, (4, 7, 0), "mail.example.com Go away").unwrap(),
        "odd" => Reply::new(354, None, "Odd").unwrap(),
        _ => accepted,
    }
}

pub fn receive(server: &mut server::Server, event: server::Event) -> Seen {
    use server::Event;
    let seen = Seen::Event(format!("{event:?}"));
    let answered = match event {
        Event::Connect(ask) => {
            server.answer(ask, Err(Reply::new(554, (5, 7, 1), "No service for you").unwrap()))
        }
        Event::Hello(ask) => {
            let refused = ask.name.as_str() == "evil.example";
            server.answer(ask, if refused { Err(Reply::DENIED) } else { Ok(()) })
        }
        Event::Authenticate(ask) => {
            let step = log_in(&ask);
            server.answer(ask, step)
        }
        Event::Mail(ask) => {
            let local = ask.from.address().map_or("", |address| address.local().as_str()).to_owned();
            server.answer(ask, verdict(&local, Reply::SENDER_OK))
        }
        Event::Rcpt(ask) => {
            let local = ask.to.address().map_or("", |address| address.local().as_str()).to_owned();
            server.answer(ask, verdict(&local, Reply::RECIPIENT_OK))
        }
        Event::Message(ask) => {
            let refused = ask.mail.from.to_string().contains("nodata");
            server
                .answer(ask, if refused { Err(Reply::transient((3, 1), "Mail system full")) } else { Ok(()) })
        }
        Event::Body(chunk) => return Seen::Body(chunk),
        Event::BodyEnd(ask) => {
            let outcome =
                match server.config().protocol {
                    _ if ask.recipients == 3 => {
                        Outcome::Each(vec![Reply::OK, Reply::transient((2, 2), "Mailbox full"), Reply::OK])
                    }
                    _ if matches!(ask.recipients, 4 | 5) => {
                        let refused = |at: usize| match (at, ask.recipients) {
                            (1, 4) => Reply::transient((2, 2), "Mailbox full"),
                            _ => Reply::permanent((7, 1), "Not wanted"),
                        };
                        Outcome::Each((0..ask.recipients).map(refused).collect())
                    }
                    server::Protocol::Lmtp => Outcome::Each(
                        (0..ask.recipients)
                            .map(|index| {
                                if index == 1 { Reply::transient((2, 2), "Mailbox full") } else { Reply::OK }
                            })
                            .collect(),
                    ),
                    _ => Outcome::All(Reply::queued("B059D3C2B")),
                };
            server.answer(ask, outcome)
        }
        Event::Vrfy(ask) => {
            let reply = match &ask.user[..] {
                "Jones" => Reply::positive((1, 5), "Fred Jones <Jones@example.com>"),
                _ => Reply::NO_SUCH_USER,
            };
            server.answer(ask, reply)
        }
        Event::Expn(ask) => {
            let first = Reply::positive((1, 5), "Jon Postel <Postel@example.com>");
            let reply = match &ask.list[..] {
                "Example-People" => first.with_line("Sam Q. Smith <SQSmith@example.com>").unwrap(),
                _ => Reply::permanent((1, 1), "No such list"),
            };
            server.answer(ask, reply)
        }
        Event::Etrn(ask) => {
            let reply = match ask.request() {
                Etrn::Domain(_) => Reply::new(253, (2, 0, 0), "14 pending messages for node started"),
                Etrn::Subdomains(_) => Reply::new(251, (2, 0, 0), "Ok, no messages waiting"),
                _ => Reply::new(459, (4, 3, 0), "Node not allowed"),
            };
            server.answer(ask, reply.unwrap())
        }
        Event::Atrn(ask) => {
            let nothing = ask.domains.iter().any(|domain| domain.as_str() == "empty.example");
            let refusal = Reply::new(453, (4, 0, 0), "You have no mail").unwrap();
            server.answer(ask, if nothing { Err(refusal) } else { Ok(()) })
        }
        Event::Burl(ask) => {
            let found = ask.url.starts_with("imap://");
            let octets = ask.url.split_once(";octets=").map_or(0, |(_, octets)| octets.parse().unwrap_or(0));
            let counted = server.count_fetched(octets);
            let refusal = Reply::new(554, (5, 6, 6), "IMAP URL resolution failed").unwrap();
            let fetched = || counted.err().unwrap_or_else(|| Reply::positive((6, 0), "Ok: fetched"));
            server.answer(ask, if found { fetched() } else { refusal })
        }
        Event::XClient(ask) => server.answer(ask, Ok(())),
        Event::XForward(ask) => server.answer(ask, Reply::OK),
        Event::Closed(why) => return Seen::Closed(shown(&why)),
        other => {
            server.decline(other);
            Ok(())
        }
    };
    answered.unwrap();
    seen
}

fn log_in(authenticate: &Authenticate) -> AuthStep {
    let response = authenticate.response.as_ref().map(Secret::expose);
    match (&authenticate.mechanism[..], response) {
        ("PLAIN", None) => AuthStep::Challenge(Bytes::new()),
        ("PLAIN", Some(b"\0user\0pass")) => AuthStep::Accept,
        ("PLAIN", Some(b"busy")) => AuthStep::Refuse(AuthRefusal::Unavailable),
        ("PLAIN", Some(response)) if response.iter().filter(|octet| **octet == 0).count() != 2 => {
            AuthStep::Refuse(AuthRefusal::Malformed)
        }
        ("LOGIN", None) => AuthStep::Challenge("Username:".into()),
        ("LOGIN", Some(b"user")) => AuthStep::Challenge("Password:".into()),
        ("LOGIN", Some(b"pass")) => AuthStep::Accept,
        _ => AuthStep::Refuse(AuthRefusal::Credentials),
    }
}

/// A client and an application that makes the calls in the lines `# call: ...` one after the other.
pub struct Sending {
    pub config: Arc<client::Config>,
    pub calls: Vec<String>,
    next: usize,
    refused: Vec<String>,
}

impl Sending {
    pub fn new(text: &str) -> Self {
        let words: Vec<&str> = marked(text, "# config:").flat_map(str::split_whitespace).collect();
        let has = |word: &str| words.contains(&word);
        let mut config = if has("lmtp") { client::Config::lmtp() } else { client::Config::default() };
        config.require_tls = has("require-tls");
        config.allow_plaintext_auth = has("plaintext");
        config.fall_back_to_helo = !has("no-helo");
        if has("bdat") {
            config.chunking = client::Chunking::WhenOffered;
        }
        if has("refuse-8bit") {
            config.eight_bit = client::EightBit::Refuse;
        }
        if has("refuse-bare") {
            config.line_ends = client::LineEnds::Refuse;
        }
        let calls = marked(text, "# call:").map(str::to_owned).collect();
        Self { config: Arc::new(config), calls, next: 0, refused: Vec::new() }
    }

    /// Makes the next call, and all after it that need no answer before them (`+`).
    fn go_on(&mut self, client: &mut client::Client) {
        while let Some(call) = self.calls.get(self.next).cloned() {
            self.next += 1;
            let (call, more) = match call.strip_suffix(" +") {
                Some(call) => (call.to_owned(), true),
                None => (call, false),
            };
            match make_call(client, &call) {
                Ok(()) if !more => return,
                Ok(()) => {}
                Err(error) => self.refused.push(format!("{call}: {error}")),
            }
        }
    }
}

/// An envelope.
pub fn message(from: &str, to: &[&str]) -> Message {
    let rcpt = |text: &&str| Rcpt::new(ForwardPath::parse(text.as_bytes()).unwrap());
    Message::new(Mail::new(ReversePath::parse(from.as_bytes()).unwrap()), to.iter().map(rcpt).collect())
}

fn parameters(flags: &[&str]) -> MailParameters {
    let mut parameters = MailParameters::default();
    for flag in flags {
        match flag.trim_start_matches('+') {
            "8bit" => parameters.body = Some(BodyKind::EightBitMime),
            "binary" => parameters.body = Some(BodyKind::BinaryMime),
            "size" => parameters.size = Some(100),
            "prdr" => parameters.each_recipient = true,
            "utf8" => parameters.smtputf8 = true,
            "requiretls" => parameters.require_tls = true,
            other => panic!("no such parameter: {other}"),
        }
    }
    parameters
}

fn make_call(client: &mut client::Client, call: &str) -> Result<(), mailwright_line_proto::Misuse> {
    let words: Vec<&str> = call.split(' ').collect();
    let unescaped = |text: &str| text.replace("\\0", "\0").replace("\\r", "\r").replace("\\n", "\n");
    let (mail, rcpt) = (
        |text: &str| Mail::new(ReversePath::parse(text.as_bytes()).unwrap()),
        |text: &&str| Rcpt::new(ForwardPath::parse(text.as_bytes()).unwrap()),
    );
    match words[0] {
        "hello" => client.call(Hello::new(words[1].parse().unwrap())).map(drop),
        "starttls" => client.call(StartTls).map(drop),
        "auth" => {
            let response = words.get(2).map(|text| Secret::from(&unescaped(text)[..]));
            client.call(Authenticate::new(words[1].to_owned(), response)).map(drop)
        }
        "mail" => client.call(mail(words[1]).with_parameters(parameters(&words[2..]))).map(drop),
        "rcpt" => client.call(rcpt(&words[1])).map(drop),
        "data" => client.call(Data).map(drop),
        "message" => {
            let (flags, words): (Vec<&str>, Vec<&str>) =
                words[1..].iter().partition(|word| word.starts_with('+'));
            let mut message = message(words[0], &words[1..]);
            message.mail.parameters = parameters(&flags);
            client.call(message).map(drop)
        }
        "part" => client.send_body(unescaped(words[1]).into()),
        "expn" => client.call(Expn::new(words[1]).unwrap()).map(drop),
        "etrn" => client.call(Etrn::Domain(words[1].parse().unwrap())).map(drop),
        "atrn" => client.call(Atrn::new(vec![words[1].parse().unwrap()])).map(drop),
        "burl" => client.call(Burl::new(words[1], true).unwrap()).map(drop),
        "xclient" | "xforward" => match Command::parse(call.as_bytes(), Syntax::Strict).unwrap() {
            Command::XClient(request) => client.call(*request).map(drop),
            Command::XForward(request) => client.call(*request).map(drop),
            other => panic!("{other:?}"),
        },
        "body" => {
            for piece in words[1..].iter() {
                client.send_body(unescaped(piece).into())?;
            }
            client.end_body().map(drop)
        }
        "rset" => client.call(Rset).map(drop),
        "noop" => client.call(Noop).map(drop),
        "vrfy" => client.call(Vrfy::new(words[1]).unwrap()).map(drop),
        "quit" => client.call(Quit).map(drop),
        other => panic!("no such call: {other}"),
    }
}

impl Subject for Sending {
    type Machine = client::Client;

    fn build(&self) -> client::Client {
        client::Client::new(Arc::clone(&self.config))
    }

    fn side(&self) -> Side {
        Side::Client
    }

    fn react(&mut self, client: &mut client::Client, event: client::Event) -> Seen {
        use client::Event;
        let text = format!("{event:?}");
        match event {
            Event::Closed(why) => {
                let refused =
                    if self.refused.is_empty() { String::new() } else { format!(" {:?}", self.refused) };
                return Seen::Closed(shown(&why) + &refused);
            }
            Event::Challenge(ticket, challenge) => {
                let response = match challenge.expose() {
                    b"Username:" => Some(Secret::from("user")),
                    b"Password:" => Some(Secret::from("pass")),
                    b"" => Some(Secret::from("\0user\0pass")),
                    _ => None,
                };
                client.respond(ticket, response.as_ref()).unwrap();
            }
            // The calls that follow count on a message that is not there.
            Event::Message(_, addressed) if !addressed.is_ready() => {
                while self.calls.get(self.next).is_some_and(|call| call.starts_with("body")) {
                    self.next += 1;
                }
                self.go_on(client);
            }
            _ => self.go_on(client),
        }
        Seen::Event(text)
    }
}

fn shown(why: &Closed) -> String {
    format!("{why:?}")
}
