//! The terminals of IMAP, both directions (RFC 3501 §9, RFC 9051 §9).
//!
//! [`Input`] reads a complete command or response line, its literals in place as they came over the wire; it is
//! never shown a part of one. [`Wire`] writes: it chooses between atom, quoted string and literal.

mod input;
mod terminal;
mod wire;

pub(crate) use input::{FEW_ITEMS, upper_case};
pub use input::{GrammarError, Input};
pub(crate) use terminal::{flag as flag_name, quoted_leniently};
pub use terminal::{is_astring_char, is_atom_char, is_list_char, is_tag_char, is_text_char};
pub use wire::{CommandWriter, LiteralMode, Utf8Wire, Wire};
