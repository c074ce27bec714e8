#![doc = include_str!("../README.md")]

pub mod grammar;
pub mod response;

mod sequence;

pub use sequence::{MAX_RANGES, MessageSet, SequenceSet};
