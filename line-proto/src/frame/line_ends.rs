//! Line ends that are none: a CR without LF, an LF without CR.

/// Whether there is a CR among these octets before anything but LF, or an LF behind anything but CR. What stands before the first and
/// behind the last of them is not known here: an LF that comes first, or a CR that comes last, counts as neither.
///
/// Without a way out of the loop, so that it is done for many octets at once.
///
/// ```
/// use mailwright_line_proto::frame::has_bare_line_end;
///
/// assert!(!has_bare_line_end(b"\none\r\ntwo\r"));
/// assert!(has_bare_line_end(b"one\ntwo") && has_bare_line_end(b"one\rtwo") && has_bare_line_end(b"\r\r\n"));
/// ```
pub fn has_bare_line_end(octets: &[u8]) -> bool {
    let pairs = octets.iter().zip(octets.iter().skip(1));
    pairs.fold(false, |found, (one, next)| found | ((*one == b'\r') != (*next == b'\n')))
}

/// Looks for such line ends in a stream that may be cut anywhere.
///
/// ```
/// use mailwright_line_proto::frame::LineEndWatch;
///
/// let mut watch = LineEndWatch::default();
/// watch.see(b"one\r");
/// assert!(watch.has_bare_line_end(), "if nothing follows");
/// watch.see(b"\ntwo\r\n");
/// assert!(!watch.has_bare_line_end());
/// ```
#[derive(Debug, Clone, Default)]
pub struct LineEndWatch {
    /// The last octet was a CR.
    cr: bool,
    bare: bool,
}

impl LineEndWatch {
    /// The next octets.
    pub fn see(&mut self, octets: &[u8]) {
        if let (Some(first), Some(last)) = (octets.first(), octets.last()) {
            self.bare = self.bare || self.cr != (*first == b'\n') || has_bare_line_end(octets);
            self.cr = *last == b'\r';
        }
    }

    /// Whether there was one in all that was seen, a CR at the end of it included.
    pub fn has_bare_line_end(&self) -> bool {
        self.bare || self.cr
    }
}
