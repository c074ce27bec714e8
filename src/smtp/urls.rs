//! Parts of messages that the server fetches for who sends them: BURL (RFC 4468).

use std::{fmt, io, pin::Pin};

use bytes::Bytes;
use mailwright_smtp_proto::Reply;

/// What [`UrlSource::open`] gives: the octets of a source, or the reply that refuses them.
pub type OpenUrl<'source, 'request> =
    Pin<Box<dyn Future<Output = Result<Box<dyn UrlOctets + 'source>, Reply>> + Send + 'request>>;

/// What [`UrlOctets::next`] gives: the next octets, `None` at their end.
pub type NextOctets<'a> = Pin<Box<dyn Future<Output = io::Result<Option<Bytes>>> + Send + 'a>>;

/// Where parts of messages are fetched from that a user names by URL.
pub trait UrlSource: fmt::Debug + Send + Sync {
    /// Opens what a URL names, for what this user sends.
    fn open<'source: 'request, 'request>(
        &'source self,
        user: &'request str,
        url: &'request str,
    ) -> OpenUrl<'source, 'request>;
}

/// Octets on their way.
pub trait UrlOctets: Send + Sync {
    /// How many there are.
    fn length(&self) -> u64;

    /// The next of them.
    fn next(&mut self) -> NextOctets<'_>;
}

/// What a message may not have: an end of a line that is not CRLF would be taken for one by some and not by others, and with NUL
/// nobody can do anything (RFC 5321 §2.3.8, RFC 5322 §2.3).
#[derive(Debug, Default)]
pub(super) struct LineEnds {
    after_return: bool,
}

impl LineEnds {
    /// Whether these octets are fit, behind those before.
    pub(super) fn push(&mut self, octets: &[u8]) -> bool {
        for octet in octets {
            let fits = match octet {
                b'\n' => self.after_return,
                0 => false,
                _ => !self.after_return,
            };
            if !fits {
                return false;
            }
            self.after_return = *octet == b'\r';
        }
        true
    }

    /// Whether they may end here.
    pub(super) fn finish(&self) -> bool {
        !self.after_return
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_both_octets_wherever_they_are_cut() {
        let fits = |octets: &[u8], split: usize| {
            let mut ends = LineEnds::default();
            octets.chunks(split).all(|chunk| ends.push(chunk)) && ends.finish()
        };
        for split in 1..5 {
            assert!(fits(b"a\r\n\r\nb", split) && fits(b"", split));
            for bad in [&b"a\nb"[..], b"\n", b"a\rb", b"a\r", b"a\r\r\n", b"a\0"] {
                assert!(!fits(bad, split), "{bad:?}");
            }
        }
    }
}
