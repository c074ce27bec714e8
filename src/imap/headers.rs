//! The header fields that the store keeps of each message beside it, so that listing, sorting and searching a mailbox
//! needs none of its messages.

use bytes::{Buf as _, Bytes};
use mailwright_mail_model::{header, header::Fields, mime::Sink};
use mailwright_mailstore::{Cache, Column, MessageRef, Result, Store};

use super::described::{CHUNK, describe};
use crate::service::octets_of;

/// The most octets of fields that are kept. Headers above are none that people write.
const MOST: usize = 16 * 1024;
/// The most octets and fields of a header of which all that is not left out can be kept.
const SEEN: usize = 128 * 1024;
const COUNTED: usize = 5_000;

/// As many as are kept of most messages.
const USUAL: usize = 1_024;

/// What stands before the fields that are kept, and in place of fields that are not.
const KEPT: u8 = 1;
const NOT_KEPT: u8 = 0;

/// Fields that are not kept: long, and of interest to servers alone. A name that ends in a hyphen is the beginning of names.
const LEFT_OUT: [&str; 13] = [
    "Received",
    "X-Received",
    "DKIM-Signature",
    "DomainKey-Signature",
    "ARC-",
    "Authentication-Results",
    "X-Authentication-Results",
    "X-MS-",
    "X-Microsoft-",
    "X-Forefront-",
    "X-Google-",
    "X-Gm-",
    "X-Spam-Report",
];

/// Whether a field of this name would be among those that are kept.
pub(super) fn is_kept(name: &str) -> bool {
    // All of them begin with one of these, and most fields with none.
    if !matches!(name.as_bytes().first(), Some(b'r' | b'R' | b'x' | b'X' | b'd' | b'D' | b'a' | b'A')) {
        return true;
    }
    let begins = |start: &str| name.get(..start.len()).is_some_and(|begun| begun.eq_ignore_ascii_case(start));
    !LEFT_OUT.iter().any(|left_out| match left_out.ends_with('-') {
        true => begins(left_out),
        false => name.eq_ignore_ascii_case(left_out),
    })
}

/// Collects the fields to be kept, while a message is scanned.
#[derive(Debug)]
pub(crate) struct HeaderKeeper {
    kept: Vec<u8>,
    seen: usize,
    fields: usize,
    ended: bool,
}

impl Default for HeaderKeeper {
    fn default() -> Self {
        let mut kept = Vec::with_capacity(USUAL);
        kept.push(KEPT);
        Self { kept, seen: 0, fields: 0, ended: false }
    }
}

impl HeaderKeeper {
    /// What is to be kept.
    pub(crate) fn finish(self) -> Bytes {
        self.kept.into()
    }
}

/// The fields among what is kept of a message, as [`HeaderKeeper::finish`] gave it; none if they were too many.
pub(super) fn kept_fields(kept: &[u8]) -> &[u8] {
    match kept.split_first() {
        Some((&KEPT, fields)) => fields,
        _ => &[],
    }
}

impl Sink for HeaderKeeper {
    fn wants_fields(&self) -> bool {
        !self.ended
    }

    fn field(&mut self, part: usize, field: &[u8]) {
        if part > 0 || self.ended {
            return;
        }
        self.seen += field.len();
        self.fields += 1;
        let name = Fields::new(field).next();
        if name.is_some_and(|field| is_kept(field.name())) {
            self.kept.extend_from_slice(field);
        }
        if self.kept.len() > MOST || self.seen > SEEN || self.fields > COUNTED {
            self.kept = vec![NOT_KEPT];
            self.ended = true;
        }
    }

    fn header_end(&mut self, _: usize, _: &mailwright_mail_model::mime::Part) {
        self.ended = true;
    }
}

/// The fields of messages that [are kept](is_kept), in their order; nothing of one that cannot be read any more.
pub(super) async fn headers(store: &impl Store, messages: &[MessageRef]) -> Result<Vec<Option<Bytes>>> {
    let kept = match store.cache() {
        Some(cache) => cache.column(messages, Column::Header).await?,
        None => Vec::new(),
    };
    let mut kept = kept.into_iter();
    let mut headers = Vec::with_capacity(messages.len());
    for message in messages {
        headers.push(match kept.next().flatten().map(|octets| (octets.first().copied(), octets)) {
            Some((Some(KEPT), mut octets)) => {
                octets.advance(1);
                Some(octets)
            }
            Some((Some(_), _)) => whole(store, message).await,
            // A store that was filled by an earlier version has none yet.
            _ if store.cache().is_some() => {
                describe(store, message).await;
                whole(store, message).await
            }
            _ => whole(store, message).await,
        });
    }
    Ok(headers)
}

/// The whole header of a message.
pub(super) async fn whole(store: &impl Store, message: &MessageRef) -> Option<Bytes> {
    let mut octets = Vec::new();
    let mut length = MOST as u64;
    loop {
        let offset = octets.len() as u64;
        let chunk = octets_of(store, message, offset..message.size.min(offset + length)).await.ok()?;
        if chunk.is_empty() {
            return (offset >= message.size).then(|| octets.into());
        }
        // Only what came last can end it, but for a line end that was torn.
        octets.extend_from_slice(&chunk);
        if let Some(end) = header::body_offset(&octets) {
            octets.truncate(end);
            return Some(octets.into());
        }
        length = CHUNK;
    }
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::mime::Scanner;

    use super::*;

    fn kept(message: &str) -> String {
        let (mut scanner, mut keeper) = (Scanner::new(), HeaderKeeper::default());
        for piece in message.as_bytes().chunks(7) {
            scanner.push_to(piece, &mut keeper);
        }
        scanner.finish_to(&mut keeper);
        String::from_utf8(keeper.finish().to_vec()).unwrap()
    }

    #[test]
    fn fields_are_kept_as_they_are() {
        let message = "Received: x\r\n y\r\nSubject: tea\r\n time\r\nnonsense\r\nARC-Seal: z\r\nX-Google-A: b\r\nTo : a@b\r\n\r\n\
                       Subject: body\r\n";
        assert_eq!(kept(message), "\u{1}Subject: tea\r\n time\r\nTo : a@b\r\n");
        assert_eq!(kept("Subject: no end"), "\u{1}Subject: no end");
        assert_eq!(
            kept("Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\n"),
            "\u{1}Content-Type: message/rfc822\r\n"
        );
        assert_eq!(kept(""), "\u{1}");
    }

    #[test]
    fn headers_out_of_all_measure_are_not() {
        assert_eq!(kept(&format!("Subject: {}\r\n\r\n", "x".repeat(20_000))), "\0");
        assert_eq!(kept(&"a:\r\n".repeat(6_000)), "\0");
        let trace = format!("Received: {}\r\n", "x".repeat(900));
        assert_eq!(kept(&format!("{}Subject: tea\r\n\r\n", trace.repeat(20))), "\u{1}Subject: tea\r\n");
        assert_eq!(kept(&format!("{}Subject: tea\r\n\r\n", trace.repeat(200))), "\0");
    }

    #[test]
    fn names_tell_what_is_left_out() {
        for name in ["subject", "X-Mailer", "ARC", "X", "List-Id", ""] {
            assert!(is_kept(name), "{name}");
        }
        assert!(LEFT_OUT.iter().all(|name| !is_kept(name) && !is_kept(&name.to_lowercase())));
        for name in ["received", "ARC-SEAL", "x-ms-exchange-organization", "Authentication-Results"] {
            assert!(!is_kept(name), "{name}");
        }
    }
}
