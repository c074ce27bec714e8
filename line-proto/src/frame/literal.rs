//! The mark at the end of a line that says that a literal follows.

/// `{12}`, `{12+}` or `~{12}` at the end of a line (RFC 9051 §4.3, RFC 7888, RFC 3516).
///
/// ```
/// use mailwright_line_proto::frame::LiteralMark;
///
/// let mark = LiteralMark::find(b"a1 LOGIN {5+}").unwrap().unwrap();
/// assert_eq!((mark.length, mark.synchronizing, mark.start), (5, false, 9));
/// assert_eq!(LiteralMark::find(b"a1 NOOP"), Ok(None));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiteralMark {
    /// The length of the literal in octets.
    pub length: u64,
    /// Whether the sender waits to be told to go on.
    pub synchronizing: bool,
    /// Whether it is a `literal8`, which may hold NUL (RFC 3516 §4.2).
    pub binary: bool,
    /// Where in the line the mark begins.
    pub start: usize,
}

/// The mark of a literal with a length no number can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a literal length of 64 bits at most was expected")]
pub struct LengthOverflow;

impl LiteralMark {
    /// Finds the mark at the end of `line`, which has no line end any more.
    ///
    /// # Errors
    /// [`LengthOverflow`] if there is one whose length does not fit into 64 bits.
    pub fn find(line: &[u8]) -> Result<Option<Self>, LengthOverflow> {
        let Some(inside) = line.strip_suffix(b"}") else { return Ok(None) };
        let (digits, synchronizing) = match inside.strip_suffix(b"+") {
            Some(digits) => (digits, false),
            None => (inside, true),
        };
        let count = digits.iter().rev().take_while(|octet| octet.is_ascii_digit()).count();
        let brace = digits.len() - count;
        let (Some((before, digits)), true) = (digits.split_at_checked(brace), count > 0) else {
            return Ok(None);
        };
        let Some(before) = before.strip_suffix(b"{") else { return Ok(None) };
        let binary = before.ends_with(b"~");
        let mut length = 0_u64;
        for digit in digits {
            length = length
                .checked_mul(10)
                .and_then(|length| length.checked_add(u64::from(digit - b'0')))
                .ok_or(LengthOverflow)?;
        }
        Ok(Some(Self { length, synchronizing, binary, start: before.len() - usize::from(binary) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_marks_and_nothing_else() {
        for (line, expected) in [
            ("x {0}", Some((0, true, false, 2))),
            ("x ~{7+}", Some((7, false, true, 2))),
            ("x {18446744073709551615}", Some((u64::MAX, true, false, 2))),
            ("x {}", None),
            ("x {+}", None),
            ("x 5}", None),
            ("x {5-}", None),
            ("x {5} ", None),
            ("}", None),
            ("", None),
        ] {
            let found = LiteralMark::find(line.as_bytes()).unwrap();
            assert_eq!(
                found.map(|mark| (mark.length, mark.synchronizing, mark.binary, mark.start)),
                expected,
                "{line}"
            );
        }
        assert_eq!(LiteralMark::find(b"x {18446744073709551616}"), Err(LengthOverflow));
    }
}
