//! Tests that the server makes on itself: whether it sends mail elsewhere for strangers.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use mailwright::{
    client::{ClientError, Endpoint, Security, SmtpClient},
    line_proto::tls,
    mail_model::{Address, ForwardPath, ReversePath},
    queue::OwnListings,
    smtp_proto::{HelloName, Mail, Message, Rcpt, Reply, client, server::Protocol as Speaks},
};
use tokio::io::{AsyncRead, ReadBuf};

use crate::{
    admin::{Request, Response},
    command::{CommandError, print_json, request},
    config::{Config, ListenAddress, Listener, Protocol, TlsMode},
    queue,
    rules::Question,
};

/// Where nobody is: RFC 2606 §2 keeps the domain free, RFC 5737 and RFC 3849 the addresses.
const ELSEWHERE: [&str; 3] =
    ["relay-test@relay-test.invalid", "relay-test@[192.0.2.1]", "\"a@b.invalid\"@relay-test.invalid"];
const STRANGERS: [&str; 4] = ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1"];

/// One test.
struct Finding {
    /// What was tried.
    tried: String,
    /// What came of it.
    outcome: String,
    good: bool,
}

/// `doctor relay`: tries to send mail elsewhere as a stranger, by the rules and through each listener; whether nothing would go. None is
/// sent: where a message would be taken, the test ends in the middle of it.
pub(crate) fn relay(config: &Config, json: bool) -> Result<bool, CommandError> {
    let ours = config.domains.first().map_or("localhost", String::as_str);
    let senders = [String::new(), format!("postmaster@{ours}")];
    let mut findings = Vec::new();
    for client in STRANGERS {
        findings.push(by_rules(config, client, &senders)?);
    }
    // To the server we are no strangers if this machine may send anywhere.
    let here = by_rules(config, "127.0.0.1", &senders)?.good && by_rules(config, "::1", &senders)?.good;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CommandError::Refused(error.to_string()))?;
    for listener in &config.listeners {
        let speaks_smtp = matches!(
            listener.protocol,
            Protocol::Smtp | Protocol::Submission | Protocol::Odmr | Protocol::Lmtp
        );
        if speaks_smtp {
            findings.push(match here {
                true => runtime.block_on(through(listener, &senders)),
                false => Finding {
                    tried: shown(listener),
                    outcome: "not tried: this machine may send anywhere, by a network that it is in".into(),
                    good: true,
                },
            });
        }
    }
    findings.extend(runtime.block_on(own_address(config))?);
    for Finding { tried, outcome, good } in &findings {
        if json {
            print_json(&serde_json::json!({ "tried": tried, "outcome": outcome, "good": good }))?;
        } else {
            println!("{:4} {tried}: {outcome}", if *good { "ok" } else { "BAD" });
        }
    }
    Ok(findings.iter().all(|finding| finding.good))
}

/// What lists of unwanted senders say of our own address, if some are to be asked.
async fn own_address(config: &Config) -> Result<Option<Finding>, CommandError> {
    let resolver = queue::resolver(config).map_err(CommandError::Refused)?;
    let Some(lists) = queue::own_lists(config, &resolver) else { return Ok(None) };
    let addresses: Vec<String> = lists.addresses().await.iter().map(ToString::to_string).collect();
    let tried =
        format!("our address {} on {}", addresses.join(" "), config.relay.own_address_lists.join(", "));
    let (outcome, good) = match lists.listing().await {
        Some(listing) => {
            (format!("{listing}: {} gets what would go to mail exchangers", config.relay.fallback), false)
        }
        None if addresses.is_empty() => (
            "the name that we say hello by leads to no address that others see: set relay.own_address".into(),
            false,
        ),
        None => ("on none that could be asked".into(), true),
    };
    Ok(Some(Finding { tried, outcome, good }))
}

/// What the rules say of a client at this address.
fn by_rules(config: &Config, client: &str, senders: &[String]) -> Result<Finding, CommandError> {
    let address = client.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let mut refusal = String::new();
    for (from, to) in senders.iter().flat_map(|from| ELSEWHERE.iter().map(move |to| (from, to))) {
        let question = Question {
            client: address,
            helo: "relay-test.invalid".into(),
            from: from.clone(),
            to: (*to).to_owned(),
            user: None,
        };
        let Response::Explained { stages } = request(config, Request::Explain(question))? else { continue };
        let refused = stages.iter().find(|(.., outcome)| outcome.starts_with(['4', '5']));
        match refused {
            Some((_, rule, outcome)) => refusal = format!("{rule}: {outcome}"),
            None => {
                let outcome = format!("mail from <{from}> to <{to}> would be sent");
                return Ok(Finding { tried: format!("a client at {client}"), outcome, good: false });
            }
        }
    }
    Ok(Finding { tried: format!("a client at {client}"), outcome: refusal, good: true })
}

fn shown(listener: &Listener) -> String {
    format!("the {} listener {}", listener.protocol.name(), listener.address)
}

/// What a listener says to whom it does not know.
async fn through(listener: &Listener, senders: &[String]) -> Finding {
    let tried = shown(listener);
    let ListenAddress::Network(address) = &listener.address else {
        let outcome = "not tried: who reaches the socket is for its permissions to say".into();
        return Finding { tried, outcome, good: true };
    };
    let address = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())),
        _ => *address,
    };
    if address.port() == 0 {
        return Finding { tried, outcome: "not tried: its port is another at each start".into(), good: true };
    }
    let mut told = String::new();
    for sender in senders {
        match attempt(listener, address, sender).await {
            Ok(replies) => {
                let taken = replies.iter().zip(ELSEWHERE).find(|(reply, _)| reply.is_positive());
                if let Some((_, to)) = taken {
                    let outcome = format!("mail from <{sender}> to <{to}> is taken");
                    return Finding { tried, outcome, good: false };
                }
                told = replies.first().map(ToString::to_string).unwrap_or_default();
            }
            Err(ClientError::Body(_)) => {
                let outcome = format!("mail from <{sender}> elsewhere is taken");
                return Finding { tried, outcome, good: false };
            }
            Err(error) => {
                return Finding { tried, outcome: format!("cannot be tried: {error}"), good: false };
            }
        }
    }
    Finding { tried, outcome: told.trim_end().to_owned(), good: true }
}

async fn attempt(listener: &Listener, address: SocketAddr, sender: &str) -> Result<Vec<Reply>, ClientError> {
    // It is this machine, whatever its certificate says.
    let config = || tls::client_config_unverified().map(Arc::new).map_err(io::Error::other);
    let security = match listener.tls {
        TlsMode::None => Security::Plain,
        TlsMode::Starttls | TlsMode::Required => Security::Starttls(config()?),
        TlsMode::Implicit => Security::Implicit(config()?),
    };
    let endpoint = Endpoint::new("localhost", address.port(), security).at(address);
    let wrong = |what: &str| io::Error::other(format!("{what} is not right"));
    let name: HelloName = "relay-test.invalid".parse().map_err(|_| wrong("the name"))?;
    let mut options = client::Config::default();
    options.protocol = if listener.protocol == Protocol::Lmtp { Speaks::Lmtp } else { Speaks::Smtp };
    let mut client = SmtpClient::connect(&endpoint, name, Arc::new(options)).await?;
    let from = ReversePath::parse(format!("<{sender}>").as_bytes()).map_err(|_| wrong("the sender"))?;
    let to = ELSEWHERE.iter().filter_map(|to| to.parse::<Address>().ok()).map(ForwardPath::Address);
    let message = Message::new(Mail::new(from), to.map(Rcpt::new).collect());
    client.send_from(message, &mut Broken).await
}

/// A message that cannot be read: where one would be taken, it is not sent.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::other("this is a test")))
    }
}
