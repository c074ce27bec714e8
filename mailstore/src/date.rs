//! The internal date of a message.

/// A moment and the zone it is told in: the internal date of a message (RFC 9051 §2.3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime {
    seconds: i64,
    offset: i16,
}

impl DateTime {
    /// The moment `seconds` after 1970-01-01T00:00:00Z, told in the zone `offset` minutes east of UTC.
    pub const fn from_unix(seconds: i64, offset: i16) -> Self {
        Self { seconds, offset }
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub const fn unix_seconds(self) -> i64 {
        self.seconds
    }

    /// Minutes east of UTC.
    pub const fn offset_minutes(self) -> i16 {
        self.offset
    }
}
