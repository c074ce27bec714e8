#![doc = include_str!("../README.md")]

pub mod command;
pub mod grammar;
pub mod response;

mod refusal;
mod sequence;

pub use refusal::{Answered, Refusal};
pub use sequence::{MAX_RANGES, MessageSet, SequenceSet};
