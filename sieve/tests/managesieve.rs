//! ManageSieve, both machines: sessions written down, the laws of the contract, limits and deadlines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "managesieve/limits.rs"]
mod limits;
#[path = "managesieve/machines.rs"]
mod machines;
#[path = "managesieve/pair.rs"]
mod pair;
#[path = "managesieve/subjects.rs"]
mod subjects;
#[path = "managesieve/transcripts.rs"]
mod transcripts;
