//! Who a message really comes from: SPF, DKIM, ARC and DMARC, verified over what the domain name system says, and DKIM
//! signatures made.
//!
//! A message is looked at while it streams by: an [`Examiner`] keeps its header and hashes its body in the ways that its
//! signatures ask for. What that gives, [`Examined`], is small whatever the size of the message, and is then judged by
//! [`check`], or signed by [`dkim::sign`].
//!
//! ```
//! use mailwright_relay_policy::{
//!     authentication::{Examiner, Origin, check},
//!     dns::CannedAnswers,
//! };
//!
//! let zone = CannedAnswers::default()
//!     .txt("a.example", "v=spf1 ip4:192.0.2.0/28 -all")
//!     .txt("_dmarc.a.example", "v=DMARC1; p=reject");
//! let mut examiner = Examiner::new();
//! examiner.push(b"From: Ann <ann@a.example>\r\nSubject: hello\r\n\r\nHello!\r\n");
//! let examined = examiner.finish();
//! let origin = Origin::new("192.0.2.7".parse()?, "mx.a.example", "ann@a.example");
//! # let ready = async {
//! let findings = check(&zone, &origin, &examined, 1_800_000_000).await;
//! let field = findings.field("mx.b.example");
//! assert!(field.starts_with("Authentication-Results: mx.b.example;\r\n\tspf=pass smtp.mailfrom=ann@a.example"));
//! assert!(field.contains("dmarc=pass header.from=a.example"));
//! # };
//! # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
//! # assert!(std::pin::pin!(ready).poll(&mut context).is_ready());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod arc;
pub mod dkim;
pub mod dmarc;
pub mod spf;

mod canonical;
mod message;
mod results;
mod tags;
#[cfg(test)]
pub(crate) mod tests;

use std::net::IpAddr;

use mailwright_mail_model::Address;

pub use canonical::Canonicalization;
pub use message::{Authors, Examined, Examiner};
pub use results::Findings;

use crate::{Session, dns::Resolve};

/// Where a message came from, as its session told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The client.
    pub client: IpAddr,
    /// The name it said hello by; empty if it said none.
    pub helo: String,
    /// The envelope's sender; empty for the null sender.
    pub sender: String,
    /// The name of the server that receives, for the macros of SPF.
    pub receiver: String,
}

impl Origin {
    /// From this client, with this name and sender.
    pub fn new(client: IpAddr, helo: &str, sender: &str) -> Self {
        let client = client.to_canonical();
        Self { client, helo: helo.to_owned(), sender: sender.to_owned(), receiver: "unknown".into() }
    }

    /// Of the message that is under way in a session; `None` if nobody knows where the client is.
    pub fn of(session: &Session) -> Option<Self> {
        let client = session.peer.remote?.ip();
        let helo = session.hello.as_ref().map_or("", |hello| hello.name.as_str());
        let sender = session.mail.as_ref().and_then(|mail| mail.from.address());
        Some(Self::new(client, helo, sender.map_or("", Address::as_str)))
    }

    /// The same, received by the server of this name.
    #[must_use]
    pub fn received_by(mut self, name: &str) -> Self {
        name.clone_into(&mut self.receiver);
        self
    }
}

/// Verifies everything there is to verify. `now` is in seconds since 1970.
pub async fn check<R: Resolve>(resolve: &R, origin: &Origin, examined: &Examined, now: u64) -> Findings {
    check_apart([resolve; 4], origin, examined, now).await
}

/// The same, asking one resolver for each of SPF, DKIM, ARC and DMARC, in this order.
///
/// For resolvers whose patience ends: a sender whose own names are slow to be looked up is to use up no time but that for itself, and
/// not that for the record of the domain that it pretends to be.
pub async fn check_apart<R: Resolve>(
    resolvers: [&R; 4],
    origin: &Origin,
    examined: &Examined,
    now: u64,
) -> Findings {
    let [for_spf, for_dkim, for_arc, for_dmarc] = resolvers;
    let spf = spf::check(for_spf, origin).await;
    let dkim = dkim::verify(for_dkim, examined, now).await;
    let mut arc = arc::verify(for_arc, examined, now).await;
    let dmarc = dmarc::evaluate(for_dmarc, examined, &spf, &dkim).await;
    if dmarc.result != dmarc::DmarcResult::Pass {
        arc::prove(for_arc, &mut arc.sets, examined, &dmarc).await;
    }
    Findings { spf, dkim, arc, dmarc }
}
