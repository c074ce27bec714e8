//! Responses that cannot be read, and which call they may have answered.

use bytes::Bytes;
use mailwright_line_proto::{Closed, PeerMisbehaved, Ticket};
use mailwright_mail_model::Uid;

use super::{Client, Event, excerpt};

/// What is known of a response that was passed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// The message that it told of, if it was a FETCH response and as much could be read.
    pub uid: Option<Uid>,
    call: Option<u32>,
}

impl Skipped {
    /// Whether it was a response that this call asks for: there is more to the answer than it will have.
    pub fn is_of<R>(&self, ticket: Ticket<R>) -> bool {
        self.call == Some(ticket.id())
    }
}

/// Which responses make the answer to a command. Those that are told whenever something changes are not among them, unless the command is
/// about them.
const ASKED_FOR: [(&str, &[&str]); 22] = [
    ("CAPABILITY", &["CAPABILITY"]),
    ("ENABLE", &["ENABLED"]),
    ("EXAMINE", &["EXISTS", "FETCH", "VANISHED"]),
    ("FETCH", &["FETCH", "VANISHED"]),
    ("GETACL", &["ACL"]),
    ("GETMETADATA", &["METADATA"]),
    ("GETQUOTA", &["QUOTA"]),
    ("GETQUOTAROOT", &["QUOTA", "QUOTAROOT"]),
    ("ID", &["ID"]),
    ("LIST", &["LIST"]),
    ("LISTRIGHTS", &["LISTRIGHTS"]),
    ("LSUB", &["LSUB"]),
    ("MYRIGHTS", &["MYRIGHTS"]),
    ("NAMESPACE", &["NAMESPACE"]),
    ("RLIST", &["LIST"]),
    ("RLSUB", &["LSUB"]),
    ("SEARCH", &["SEARCH", "ESEARCH"]),
    ("SELECT", &["EXISTS", "FETCH", "VANISHED"]),
    ("SETQUOTA", &["QUOTA"]),
    ("SORT", &["SORT", "ESEARCH"]),
    ("STATUS", &["STATUS"]),
    ("THREAD", &["THREAD"]),
];

/// The responses that this command asks for.
pub(super) fn asked_for(command: &str) -> &'static [&'static str] {
    ASKED_FOR.iter().find(|(name, _)| *name == command).map_or(&[], |(_, responses)| responses)
}

impl Client {
    /// What is known of the response that the last [`Event::Skipped`] told of.
    ///
    /// A call that it is [of](Skipped::is_of) ends with less than there is, whatever the server says of it:
    ///
    /// ```
    /// # use std::{sync::Arc, time::Instant};
    /// # use bytes::BytesMut;
    /// # use mailwright_imap_proto::{client::{Client, Config, Event}, command::List};
    /// # use mailwright_line_proto::{Machine, Output, TlsInfo};
    /// # let mut client = Client::new(Arc::new(Config::default()), [0; 32]);
    /// # client.handle_tls(TlsInfo::default());
    /// # let mut rx = BytesMut::from("* PREAUTH ready\r\n");
    /// # assert!(matches!(client.poll(Instant::now(), &mut rx), Output::Event(_)));
    /// let list = client.call(List::new("", "*"))?;
    /// # rx.extend_from_slice(b"* LIST nonsense\r\n");
    /// if let Output::Event(Event::Skipped(_)) = client.poll(Instant::now(), &mut rx) {
    ///     assert!(client.skipped().is_of(list));
    /// }
    /// # Ok::<(), mailwright_line_proto::Misuse>(())
    /// ```
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// A response that cannot be read, perhaps of this message: passed over, or the end.
    pub(super) fn skip(&mut self, start: Bytes, uid: Option<Uid>) -> Option<Event> {
        if !self.config.leniency.skip_unreadable {
            let received = excerpt(&start);
            let expected = "a response within grammar and limits";
            self.close(Closed::Misbehaved(PeerMisbehaved::BadReply { expected, received }));
            return None;
        }
        let (number, name) = name_of(&start);
        let asked = self.pending.iter().find(|call| call.asks_for(name));
        let uid = uid.or_else(|| self.messages.uid(number?));
        self.skipped = Skipped { uid, call: asked.map(|call| call.id) };
        if [&b"EXPUNGE"[..], b"VANISHED"].iter().any(|one| one.eq_ignore_ascii_case(name)) {
            // Which message has which number is not known any more.
            self.messages.clear();
        }
        Some(Event::Skipped(start))
    }
}

/// The number and the name that a response begins with.
fn name_of(start: &[u8]) -> (Option<u32>, &[u8]) {
    let separates = |octet: &u8| matches!(octet, b' ' | b'\r' | b'(');
    let mut words =
        start.strip_prefix(b"*").unwrap_or_default().split(separates).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    match str::from_utf8(first)
        .ok()
        .filter(|word| word.bytes().all(|octet| octet.is_ascii_digit() || octet == b'-'))
    {
        Some(number) => (number.parse().ok(), words.next().unwrap_or_default()),
        None => (None, first),
    }
}
