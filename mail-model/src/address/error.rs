//! What can be wrong with an address.

/// Why octets are not an address, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// No octet at all, or `<>` where an address is needed.
    #[error("expected an address, got nothing")]
    Empty,
    /// Not UTF-8, cut off characters included.
    #[error("expected an address in UTF-8, got other octets")]
    NotUtf8,
    /// No `@` after the local part.
    #[error("expected `@` and a domain after the local part")]
    NoDomain,
    /// Longer than [`Address::MAX_OCTETS`](crate::Address::MAX_OCTETS), or a path longer than that and its brackets.
    #[error("expected an address of at most 254 octets, got {0}")]
    TooLong(usize),
    /// A local part of no octets, or of a pair of quotes with nothing between.
    #[error("expected a local part, got an empty one")]
    EmptyLocalPart,
    /// Longer than [`LocalPart::MAX_OCTETS`](crate::LocalPart::MAX_OCTETS).
    #[error("expected a local part of at most 64 octets, got {0}")]
    LocalPartTooLong(usize),
    /// A dot at either end of a local part without quotes, or two in a row.
    #[error("expected a local part without empty atoms between its dots")]
    EmptyAtom,
    /// A character a local part may not hold, at least not here and unquoted.
    #[error("expected a local part, got {0:?} in it")]
    LocalPartCharacter(char),
    /// A quote without its other half.
    #[error("expected a closing quote after the local part")]
    OpenQuote,
    /// A name longer than [`Domain::MAX_OCTETS`](crate::Domain::MAX_OCTETS).
    #[error("expected a domain of at most 255 octets, got {0}")]
    DomainTooLong(usize),
    /// Labels that are empty, too long, begin or end with a hyphen, or hold other characters.
    #[error("expected labels of letters, digits and inner hyphens between dots in a domain")]
    Domain,
    /// Brackets around anything but an address literal.
    #[error("expected an IPv4 address, IPv6: and an IPv6 address, or another tagged literal in brackets")]
    Literal,
    /// A path without `<` before it and `>` after it.
    #[error("expected a path in angle brackets")]
    Brackets,
    /// Domains before the address that are not a source route.
    #[error("expected a source route like @a.example,@b.example: before the address")]
    SourceRoute,
    /// Text after the closing bracket of a path.
    #[error("expected the end after a path, got more")]
    AfterPath,
}
