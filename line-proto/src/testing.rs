//! Testing machines without sockets: transcripts, the laws of the contract, and two machines back to back.
//!
//! Offered to users too (feature `testing`): an application's own handling of events can be tested the same way.

#[cfg(feature = "sasl")]
mod gss;
mod laws;
mod pair;
mod run;
mod transcript;

#[cfg(feature = "sasl")]
pub use gss::MockRealm;
pub use laws::check_laws;
pub use pair::{End, Pair};
pub use run::{Pace, Run, Seen, Subject, run, run_input};
pub use transcript::{Side, Step, Transcript};

/// What TLS agrees on where it is only played: nothing in particular, but a channel that can be bound.
pub fn simulated_tls() -> crate::TlsInfo {
    crate::TlsInfo { exporter: Some([0; 32]), ..crate::TlsInfo::default() }
}
