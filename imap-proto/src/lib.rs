#![doc = include_str!("../README.md")]

pub mod grammar;

mod sequence;

pub use sequence::{MAX_RANGES, MessageSet, SequenceSet};
