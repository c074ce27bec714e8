//! MTA-STS (RFC 8461): a domain says by HTTPS which hosts take its mail, and that they have certificates that hold.

mod cache;
mod policy;

pub use cache::{KeptPolicy, Step};
pub use policy::{PolicyError, PolicyId, StsMode, StsPolicy};
