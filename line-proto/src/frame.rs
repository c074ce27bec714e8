//! Finding where things end: lines, literals, counted chunks and dot-terminated bodies.
//!
//! Every framer resumes where it stopped, so a stream costs the same work in one piece and octet by octet.
//! Nothing here parses: complete lines go to the grammars of the protocol crates.

mod counted;
mod dot;
mod line_ends;
mod lines;
mod literal;

pub use counted::Counted;
pub use dot::{BodyPart, DotReader, DotWriter};
pub use line_ends::{LineEndWatch, has_bare_line_end};
pub use lines::{Line, LineEnds, Lines};
pub use literal::{LengthOverflow, LiteralMark};
