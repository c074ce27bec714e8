//! A place that mail is handed to.

use std::{fmt, str::FromStr};

use mailwright_mail_model::Domain;

/// Where mail goes next. As text, what Postfix's transport map has: `smtp:[host]:port`, `lmtp:host:port`, `lmtp:unix:/path`,
/// `pipe:name`, `atrn:`, `error:text`; and a smarthost's `host`, `host:port` or `host:[port]`.
///
/// ```
/// use mailwright_relay_policy::route::NextHop;
///
/// for (text, destination) in [
///     ("smart.example", "smart.example"),
///     ("smart.example:587", "smart.example:587"),
///     ("smart.example:[587]", "smart.example:587"),
///     ("[smart.example]", "[smart.example]:25"),
///     ("[2001:db8::1]:26", "[2001:db8::1]:26"),
///     ("smtp:[192.0.2.1]:2525", "[192.0.2.1]:2525"),
///     ("lmtp:unix:/run/lmtp", "lmtp:unix:/run/lmtp"),
/// ] {
///     assert_eq!(text.parse::<NextHop>()?.destination(), destination);
/// }
/// # Ok::<(), mailwright_relay_policy::route::HopError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NextHop {
    /// The mail exchangers of a domain, or its own address if it has none.
    Exchangers {
        /// The domain, as it is looked up: in A-labels, lower case; or an address literal.
        domain: String,
        /// The port, 25 for strangers.
        port: u16,
    },
    /// This host, without a look for mail exchangers.
    Host {
        /// Its name or its IP address.
        host: String,
        /// The port.
        port: u16,
    },
    /// A mail store that speaks LMTP.
    Lmtp {
        /// Its name, its IP address, or behind `unix:` the path of its socket.
        host: String,
        /// The port; 0 for a socket.
        port: u16,
    },
    /// A program, by the name it has in the configuration.
    Pipe(String),
    /// Nowhere by itself: mail for this domain waits until its host comes for it (ATRN, RFC 2645).
    OnDemand(String),
    /// Nowhere: mail is refused with this text.
    Refuse(String),
}

/// Why a text is no [`NextHop`] or no key of a transport map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HopError {
    /// The host is none.
    #[error("expected a host name or an IP address, got {0:?}")]
    Host(String),
    /// The port is none.
    #[error("expected a port from 1 to 65535, got {0:?}")]
    Port(String),
    /// The transport is unknown.
    #[error("expected smtp, relay, lmtp, pipe, atrn or error before the first colon, got {0:?}")]
    Transport(String),
    /// The key is none.
    #[error("expected an address, a domain, .domain or *, got {0:?}")]
    Key(String),
}

impl NextHop {
    /// The mail exchangers of a domain.
    pub fn exchangers(domain: &Domain) -> Self {
        Self::Exchangers { domain: domain.key().to_owned(), port: 25 }
    }

    /// The name by which mail that goes one way is put together.
    pub fn destination(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchangers { domain, port: 25 } => f.write_str(domain),
            Self::Exchangers { domain, port } => write!(f, "{domain}:{port}"),
            Self::Host { host, port } => write!(f, "[{host}]:{port}"),
            Self::Lmtp { host, port: 0 } => write!(f, "lmtp:{host}"),
            Self::Lmtp { host, port } => write!(f, "lmtp:{host}:{port}"),
            Self::Pipe(name) => write!(f, "pipe:{name}"),
            Self::OnDemand(domain) => write!(f, "atrn:{domain}"),
            Self::Refuse(text) => write!(f, "error:{text}"),
        }
    }
}

impl FromStr for NextHop {
    type Err = HopError;

    fn from_str(text: &str) -> Result<Self, HopError> {
        let text = text.trim();
        match text.split_once(':') {
            Some(("smtp" | "relay", rest)) => smtp(rest),
            Some(("lmtp", rest)) if rest.starts_with("unix:/") => {
                Ok(Self::Lmtp { host: rest.to_owned(), port: 0 })
            }
            Some(("lmtp", rest)) => {
                let (host, port, _) = host_and_port(rest.strip_prefix("inet:").unwrap_or(rest), 24)?;
                Ok(Self::Lmtp { host, port })
            }
            Some(("pipe", name)) if !name.is_empty() => Ok(Self::Pipe(name.to_owned())),
            Some(("atrn", "")) => Ok(Self::OnDemand(String::new())),
            Some(("atrn", domain)) => {
                let domain: Domain = domain.parse().map_err(|_| HopError::Host(domain.to_owned()))?;
                Ok(Self::OnDemand(domain.key().to_owned()))
            }
            Some(("error", text)) => Ok(Self::Refuse(text.trim().to_owned())),
            Some((word @ ("local" | "virtual" | "discard" | "pipe"), _)) => {
                Err(HopError::Transport(word.to_owned()))
            }
            _ => smtp(text),
        }
    }
}

fn smtp(text: &str) -> Result<NextHop, HopError> {
    let (host, port, bracketed) = host_and_port(text, 25)?;
    let fixed = bracketed || host.parse::<std::net::IpAddr>().is_ok();
    Ok(if fixed { NextHop::Host { host, port } } else { NextHop::Exchangers { domain: host, port } })
}

/// A host, a port, and whether the host was in brackets.
fn host_and_port(text: &str, default: u16) -> Result<(String, u16, bool), HopError> {
    let wrong = || HopError::Host(text.to_owned());
    let (host, rest, bracketed) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, rest) = inner.split_once(']').ok_or_else(wrong)?;
            (host, rest, true)
        }
        None if text.parse::<std::net::Ipv6Addr>().is_ok() => (text, "", false),
        None => {
            let (host, rest) = text.find(':').map_or((text, ""), |at| text.split_at(at));
            (host, rest, false)
        }
    };
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => default,
        None => return Err(wrong()),
        Some(port) => {
            let digits = port.strip_prefix('[').and_then(|port| port.strip_suffix(']')).unwrap_or(port);
            let port: u16 = digits.parse().map_err(|_| HopError::Port(port.to_owned()))?;
            if port == 0 { return Err(HopError::Port(digits.to_owned())) } else { port }
        }
    };
    let host = host.strip_prefix("IPv6:").unwrap_or(host);
    if let Ok(address) = host.parse::<std::net::IpAddr>() {
        return Ok((address.to_string(), port, bracketed));
    }
    let domain: Domain = host.parse().map_err(|_| wrong())?;
    Ok((domain.key().to_owned(), port, bracketed))
}
