//! ENVELOPE: what the header of a message says, as octets of that header.

use std::borrow::Cow;

use bytes::Bytes;

use super::reader::{Reader, Result};
use crate::grammar::Wire;

/// How much of what is read the texts of an envelope share, in octets. What stands behind it is copied text by text.
const MOST_SHARED: usize = 1024;

/// The envelope of a message (RFC 9051 §7.5.2). Texts are as they stand in the header, encoded words and all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Envelope {
    /// The Date field.
    pub date: Option<Bytes>,
    /// The Subject field.
    pub subject: Option<Bytes>,
    /// Who wrote it.
    pub from: Vec<EnvelopeAddress>,
    /// Who sent it; the same as `from` if the header does not say.
    pub sender: Vec<EnvelopeAddress>,
    /// Where to answer; the same as `from` if the header does not say.
    pub reply_to: Vec<EnvelopeAddress>,
    /// To whom.
    pub to: Vec<EnvelopeAddress>,
    /// To whom as well.
    pub cc: Vec<EnvelopeAddress>,
    /// To whom in secret.
    pub bcc: Vec<EnvelopeAddress>,
    /// The In-Reply-To field.
    pub in_reply_to: Option<Bytes>,
    /// The Message-ID field.
    pub message_id: Option<Bytes>,
}

/// An address of an envelope, or the start or end of a group.
///
/// A group begins with an address that has a mailbox (its name) but no host, and ends with one that has neither.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct EnvelopeAddress {
    /// The display name.
    pub name: Option<Bytes>,
    /// The source route, obsolete.
    pub route: Option<Bytes>,
    /// The local part, or the name of a group.
    pub mailbox: Option<Bytes>,
    /// The domain.
    pub host: Option<Bytes>,
}

impl EnvelopeAddress {
    /// An address with a domain.
    pub fn new(name: Option<Bytes>, mailbox: impl Into<Bytes>, host: impl Into<Bytes>) -> Self {
        Self { name, route: None, mailbox: Some(mailbox.into()), host: Some(host.into()) }
    }

    fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"(");
        put_text(self.name.as_deref(), wire);
        for field in [&self.route, &self.mailbox, &self.host] {
            wire.put(b" ");
            put_text(field.as_deref(), wire);
        }
        wire.put(b")");
    }

    fn read(reader: &mut Reader<'_>, shared: &Shared) -> Result<Self> {
        reader.open()?;
        let name = shared.text(reader)?;
        let mut next = || {
            reader.space()?;
            shared.text(reader)
        };
        let address = Self { name, route: next()?, mailbox: next()?, host: next()? };
        reader.padding();
        reader.input.octet(b')', "the end of the address")?;
        Ok(address)
    }
}

impl Envelope {
    /// Writes the envelope in its parentheses.
    pub fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"(");
        put_text(self.date.as_deref(), wire);
        wire.put(b" ");
        put_text(self.subject.as_deref(), wire);
        for addresses in [&self.from, &self.sender, &self.reply_to, &self.to, &self.cc, &self.bcc] {
            wire.put(if addresses.is_empty() { b" NIL" } else { b" (" });
            addresses.iter().for_each(|address| address.encode(wire));
            if !addresses.is_empty() {
                wire.put(b")");
            }
        }
        for field in [&self.in_reply_to, &self.message_id] {
            wire.put(b" ");
            put_text(field.as_deref(), wire);
        }
        wire.put(b")");
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let shared = Shared::new(reader);
        reader.open()?;
        let date = shared.text(reader)?;
        reader.space()?;
        let subject = shared.text(reader)?;
        reader.space()?;
        let start = reader.input.rest();
        let from = shared.addresses(reader)?;
        let written = start.get(..start.len() - reader.input.rest().len()).unwrap_or_default();
        // RFC 9051 §7.5.2: where the header does not say, they are those of From.
        let mut same_or_next = || {
            reader.space()?;
            if !from.is_empty() && reader.input.eat_octets(written) {
                return Ok(from.clone());
            }
            shared.addresses(reader)
        };
        let (sender, reply_to) = (same_or_next()?, same_or_next()?);
        let mut next = || {
            reader.space()?;
            shared.addresses(reader)
        };
        let (to, cc, bcc) = (next()?, next()?, next()?);
        reader.space()?;
        let in_reply_to = shared.text(reader)?;
        reader.space()?;
        let message_id = shared.text(reader)?;
        reader.padding();
        reader.input.octet(b')', "the end of the envelope")?;
        Ok(Self { date, subject, from, sender, reply_to, to, cc, bcc, in_reply_to, message_id })
    }
}

/// Writes octets of a header: what no literal may hold (NUL, RFC 3501 §4.3) is left out.
pub(crate) fn put_text(text: Option<&[u8]>, wire: &mut impl Wire) {
    match text {
        Some(text) if memchr::memchr(0, text).is_some() => {
            let without: Vec<u8> = text.iter().copied().filter(|octet| *octet != 0).collect();
            wire.put_string(&without);
        }
        text => wire.put_nstring(text),
    }
}

/// The beginning of an envelope as it was read, copied once: most texts are pieces of it.
struct Shared {
    octets: Bytes,
    /// Where it began.
    start: usize,
}

impl Shared {
    fn new(reader: &Reader<'_>) -> Self {
        let rest = reader.input.rest();
        let octets = Bytes::copy_from_slice(rest.get(..MOST_SHARED).unwrap_or(rest));
        Self { octets, start: reader.input.position() }
    }

    fn text(&self, reader: &mut Reader<'_>) -> Result<Option<Bytes>> {
        if reader.nil() {
            return Ok(None);
        }
        let quoted = reader.input.peek() == Some(b'"');
        let text = reader.string()?;
        let text = match text {
            Cow::Borrowed(text) => text,
            Cow::Owned(text) => return Ok(Some(text.into())),
        };
        // Nothing was taken out of it, so it stands before the closing quote, or at the end.
        let end = reader.input.position() - self.start - usize::from(quoted);
        match end.checked_sub(text.len()) {
            Some(begin) if end <= self.octets.len() => Ok(Some(self.octets.slice(begin..end))),
            _ => Ok(Some(Bytes::copy_from_slice(text))),
        }
    }

    /// RFC 9051 §9 `env-from`: at least one address in parentheses, nothing between two of them; or `NIL`. Some servers
    /// send `()`, or spaces in between.
    fn addresses(&self, reader: &mut Reader<'_>) -> Result<Vec<EnvelopeAddress>> {
        if reader.nil() {
            return Ok(Vec::new());
        }
        reader.open()?;
        if reader.eat(b')') {
            return Ok(Vec::new());
        }
        // Most have one.
        let mut addresses = Vec::with_capacity(1);
        loop {
            addresses.push(EnvelopeAddress::read(reader, self)?);
            reader.padding();
            if reader.eat(b')') {
                return Ok(addresses);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::response::Leniency;

    pub(crate) fn texts() -> impl Strategy<Value = Option<Bytes>> {
        prop::option::of("[ -~é\r\n\"\\\\]{0,9}".prop_map(Bytes::from))
    }

    fn address_lists() -> impl Strategy<Value = Vec<EnvelopeAddress>> {
        let address = (texts(), texts(), texts(), texts())
            .prop_map(|(name, route, mailbox, host)| EnvelopeAddress { name, route, mailbox, host });
        prop::collection::vec(address, 0..3)
    }

    pub(crate) fn envelopes() -> impl Strategy<Value = Envelope> {
        let texts = (texts(), texts(), texts(), texts());
        let lists = (address_lists(), address_lists(), address_lists(), address_lists(), address_lists());
        (texts, lists).prop_map(|((date, subject, in_reply_to, message_id), (from, sender, to, cc, bcc))| {
            Envelope {
                date,
                subject,
                reply_to: from.clone(),
                from,
                sender,
                to,
                cc,
                bcc,
                in_reply_to,
                message_id,
            }
        })
    }

    fn read(text: &[u8], leniency: Leniency) -> Result<Envelope> {
        let mut reader = Reader::new(text, leniency);
        Envelope::read(&mut reader).and_then(|envelope| reader.end().map(|()| envelope))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(envelope in envelopes()) {
            let mut octets = Vec::new();
            envelope.encode(&mut octets);
            prop_assert_eq!(read(&octets, Leniency::strict()), Ok(envelope.clone()));
            prop_assert_eq!(read(&octets, Leniency::tolerant()), Ok(envelope));
        }
    }

    #[test]
    fn the_example_of_the_rfc() {
        let text = b"(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev2 WG mtg summary and minutes\" \
            ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \
            \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" \
            \"cac.washington.edu\")) ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \
            \"MIT.EDU\")) NIL NIL \"<B27397-0100000@cac.washington.edu>\")";
        let envelope = read(text, Leniency::strict()).unwrap();
        let terry = EnvelopeAddress::new(Some("Terry Gray".into()), "gray", "cac.washington.edu");
        assert_eq!(envelope.from, [terry]);
        assert_eq!(envelope.cc.len(), 2);
        assert_eq!(envelope.bcc, []);
        let mut octets = Vec::new();
        envelope.encode(&mut octets);
        assert_eq!(octets, text);
    }

    #[test]
    fn what_servers_send_instead() {
        let text =
            b"(NIL \"\xfc\" () ((NIL NIL \"a\" \"b\") (NIL NIL \"c\" \"d\")) NIL NIL NIL NIL NIL NIL )";
        assert_eq!(read(text, Leniency::tolerant()).unwrap().sender.len(), 2);
        assert!(read(text, Leniency::strict()).is_err());
        let mut octets = Vec::new();
        put_text(Some(b"a\0b"), &mut octets);
        assert_eq!(octets, b"\"ab\"");
    }
}
