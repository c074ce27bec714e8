//! How much a client forgives a server.

/// What a client accepts although the grammar forbids it. A value, not a feature: two connections of one program may
/// differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Leniency {
    /// More spaces than one, spaces before `)` and at the end of a line.
    pub spaces: bool,
    /// A status response without text, a `+` without the space behind it.
    pub missing_text: bool,
    /// Octets above 127 in quoted strings and in text.
    pub eight_bit_quoted: bool,
    /// `NIL` where a string must stand.
    pub nil_strings: bool,
    /// An untagged response that cannot be read is reported and skipped. Otherwise the connection closes.
    pub skip_unreadable: bool,
}

impl Leniency {
    /// Everything is forgiven that keeps the stream in step.
    pub const fn tolerant() -> Self {
        Self {
            spaces: true,
            missing_text: true,
            eight_bit_quoted: true,
            nil_strings: true,
            skip_unreadable: true,
        }
    }

    /// Nothing is forgiven, as a test of a server would have it.
    pub const fn strict() -> Self {
        Self {
            spaces: false,
            missing_text: false,
            eight_bit_quoted: false,
            nil_strings: false,
            skip_unreadable: false,
        }
    }
}

impl Default for Leniency {
    fn default() -> Self {
        Self::tolerant()
    }
}
