//! The envelope of a message: the fields of its header that IMAP reports as ENVELOPE (RFC 9051 §7.5.2).

use std::ops::Range;

use crate::address_list::{self, Entry};
use crate::header::Fields;
use crate::mime::{Reader, StructureError, Writer};

/// What the header of a message says of where it comes from, where it goes and what it is about.
///
/// Values are unfolded and otherwise as they came: encoded words are left as they are, and octets may be any.
///
/// ```
/// use mailwright_mail_model::Envelope;
///
/// let envelope = Envelope::of(b"From: Ann <ann@example.org>\r\nSubject: tea\r\n\r\n");
/// assert_eq!(envelope.subject(), Some(&b"tea"[..]));
/// assert_eq!(envelope.sender(), envelope.from());
/// assert_eq!(envelope.to(), []);
/// assert_eq!(envelope.date(), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    date: Option<Box<[u8]>>,
    subject: Option<Box<[u8]>>,
    in_reply_to: Option<Box<[u8]>>,
    message_id: Option<Box<[u8]>>,
    /// The entries of every list, one list after the other.
    entries: Vec<Entry>,
    /// Where each list of [`LISTS`] ends in `entries`.
    ends: [usize; LISTS.len()],
}

/// The fields that hold addresses, in the order of RFC 9051 §7.5.2.
const LISTS: [&str; 6] = ["From", "Sender", "Reply-To", "To", "Cc", "Bcc"];

/// The other fields.
const TEXTS: [&str; 4] = ["Date", "Subject", "In-Reply-To", "Message-ID"];

impl Envelope {
    /// The most entries kept of the fields of one name; a defence against CVE-2024-23184.
    pub const MAX_ENTRIES: usize = address_list::MAX_ENTRIES;
    /// The most entries kept of all fields.
    pub const MAX_ALL_ENTRIES: usize = 50_000;

    /// The envelope of the message whose header `header` is; what follows the empty line is not read.
    ///
    /// Of fields that hold text the first counts. Several fields of addresses are one list, as far as
    /// [`Envelope::MAX_ENTRIES`].
    pub fn of(header: &[u8]) -> Self {
        Self::within(header, Self::MAX_ALL_ENTRIES)
    }

    /// As [`of`](Self::of), with at most `room` entries.
    pub(crate) fn within(header: &[u8], room: usize) -> Self {
        let mut envelope = Self::default();
        let mut lists: [Vec<Entry>; LISTS.len()] = Default::default();
        let mut room = room.min(Self::MAX_ALL_ENTRIES);
        for field in Fields::new(header) {
            if let Some(list) = LISTS.iter().zip(&mut lists).find(|(name, _)| field.is(name)) {
                let limit = room.min(Self::MAX_ENTRIES - list.1.len());
                if limit == 0 {
                    continue;
                }
                let before = list.1.len();
                append(list.1, address_list::parse(field.value()), limit);
                room -= list.1.len() - before;
            } else if let Some(index) = TEXTS.iter().position(|name| field.is(name)) {
                let slot = match index {
                    0 => &mut envelope.date,
                    1 => &mut envelope.subject,
                    2 => &mut envelope.in_reply_to,
                    _ => &mut envelope.message_id,
                };
                slot.get_or_insert_with(|| field.text().as_ref().into());
            }
        }
        for (list, end) in lists.into_iter().zip(&mut envelope.ends) {
            envelope.entries.extend(list);
            *end = envelope.entries.len();
        }
        envelope
    }

    /// Whether fields of this name make a difference to an envelope.
    pub(crate) fn wants(name: &[u8]) -> bool {
        LISTS.iter().chain(&TEXTS).any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }

    /// How many entries all lists have together.
    pub(crate) const fn entries(&self) -> usize {
        self.entries.len()
    }

    /// The Date field.
    pub fn date(&self) -> Option<&[u8]> {
        self.date.as_deref()
    }

    /// The Subject field.
    pub fn subject(&self) -> Option<&[u8]> {
        self.subject.as_deref()
    }

    /// The authors.
    pub fn from(&self) -> &[Entry] {
        self.list(0)
    }

    /// Who sent it; the authors if that is not said (RFC 9051 §7.5.2).
    pub fn sender(&self) -> &[Entry] {
        Some(self.list(1)).filter(|list| !list.is_empty()).unwrap_or_else(|| self.from())
    }

    /// Where answers go; the authors if that is not said (RFC 9051 §7.5.2).
    pub fn reply_to(&self) -> &[Entry] {
        Some(self.list(2)).filter(|list| !list.is_empty()).unwrap_or_else(|| self.from())
    }

    /// The recipients.
    pub fn to(&self) -> &[Entry] {
        self.list(3)
    }

    /// Those who get a copy.
    pub fn cc(&self) -> &[Entry] {
        self.list(4)
    }

    /// Those who get a copy without the others knowing.
    pub fn bcc(&self) -> &[Entry] {
        self.list(5)
    }

    /// The In-Reply-To field.
    pub fn in_reply_to(&self) -> Option<&[u8]> {
        self.in_reply_to.as_deref()
    }

    /// The Message-ID field.
    pub fn message_id(&self) -> Option<&[u8]> {
        self.message_id.as_deref()
    }

    /// The envelope in a compact form for storage; [`from_bytes`](Self::from_bytes) reads it.
    ///
    /// ```
    /// use mailwright_mail_model::Envelope;
    ///
    /// let envelope = Envelope::of(b"To: ann@example.org\r\n");
    /// assert_eq!(Envelope::from_bytes(&envelope.to_bytes()), Ok(envelope));
    /// ```
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.finish()
    }

    /// The envelope that [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// If the octets are of another version or were damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StructureError> {
        let mut reader = Reader::new(bytes)?;
        let envelope = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(envelope)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        for text in [&self.date, &self.subject, &self.in_reply_to, &self.message_id] {
            writer.optional(text.as_deref());
        }
        for list in 0..LISTS.len() {
            let entries = self.list(list);
            writer.number(entries.len() as u64);
            for entry in entries {
                match entry {
                    Entry::GroupStart(name) => {
                        writer.number(1);
                        writer.octets(name);
                    }
                    Entry::GroupEnd => writer.number(2),
                    Entry::Mailbox(mailbox) => {
                        writer.number(0);
                        writer.optional(mailbox.name.as_deref());
                        writer.optional(mailbox.route.as_deref());
                        writer.octets(&mailbox.local);
                        writer.octets(&mailbox.domain);
                    }
                }
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, StructureError> {
        let mut envelope = Self {
            date: reader.optional()?.map(Box::from),
            subject: reader.optional()?.map(Box::from),
            in_reply_to: reader.optional()?.map(Box::from),
            message_id: reader.optional()?.map(Box::from),
            ..Self::default()
        };
        for end in &mut envelope.ends {
            let mut in_group = false;
            for _ in 0..reader.number()? {
                let entry = match reader.number()? {
                    0 => Entry::Mailbox(mailbox(reader)?),
                    1 if !in_group => Entry::GroupStart(reader.octets()?.to_vec()),
                    2 if in_group => Entry::GroupEnd,
                    _ => return Err(StructureError::Damaged),
                };
                in_group = match entry {
                    Entry::GroupStart(_) => true,
                    Entry::GroupEnd => false,
                    Entry::Mailbox(_) => in_group,
                };
                envelope.entries.push(entry);
            }
            if in_group {
                return Err(StructureError::Damaged);
            }
            *end = envelope.entries.len();
        }
        Ok(envelope)
    }

    fn list(&self, index: usize) -> &[Entry] {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let range: Range<usize> = start..self.ends.get(index).copied().unwrap_or(start);
        self.entries.get(range).unwrap_or_default()
    }
}

/// Adds at most `limit` entries of a field to a list, a group whole or cut short but closed.
fn append(list: &mut Vec<Entry>, entries: Vec<Entry>, limit: usize) {
    if list.is_empty() && entries.len() <= limit {
        *list = entries;
        return;
    }
    let cut = entries.len() > limit;
    let mut in_group = false;
    // Room for the end of a group that is cut.
    for entry in entries.into_iter().take(if cut { limit - 1 } else { limit }) {
        match entry {
            Entry::GroupStart(_) => in_group = true,
            Entry::GroupEnd => in_group = false,
            Entry::Mailbox(_) => {}
        }
        list.push(entry);
    }
    if in_group {
        list.push(Entry::GroupEnd);
    }
}

fn mailbox(reader: &mut Reader<'_>) -> Result<address_list::Mailbox, StructureError> {
    Ok(address_list::Mailbox {
        name: reader.optional()?.map(<[u8]>::to_vec),
        route: reader.optional()?.map(<[u8]>::to_vec),
        local: reader.octets()?.to_vec(),
        domain: reader.octets()?.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_field_and_its_default() {
        let header = concat!(
            "date: Fri,\r\n 21 Nov 1997\r\nSubject: =?utf-8?q?a?=\r\nsubject: second\r\n",
            "From: a@x\r\nTo: b@x\r\nTO: c@x\r\nCc: g: d@x;\r\nBcc: e@x\r\nSender:\r\nReply-To: f@x\r\n",
            "In-Reply-To: <1>\r\nMessage-ID: <2>\r\n\r\nFrom: body@x\r\n",
        );
        let envelope = Envelope::of(header.as_bytes());
        assert_eq!(envelope.date(), Some(&b"Fri, 21 Nov 1997"[..]));
        assert_eq!(envelope.subject(), Some(&b"=?utf-8?q?a?="[..]));
        assert_eq!(envelope.in_reply_to(), Some(&b"<1>"[..]));
        assert_eq!(envelope.message_id(), Some(&b"<2>"[..]));
        let locals = |list: &[Entry]| -> String {
            list.iter()
                .map(|entry| match entry {
                    Entry::Mailbox(mailbox) => String::from_utf8(mailbox.local.clone()).unwrap(),
                    Entry::GroupStart(_) => "(".to_owned(),
                    _ => ")".to_owned(),
                })
                .collect()
        };
        let lists = [
            envelope.from(),
            envelope.sender(),
            envelope.reply_to(),
            envelope.to(),
            envelope.cc(),
            envelope.bcc(),
        ];
        assert_eq!(lists.map(locals), ["a", "a", "f", "bc", "(d)", "e"]);
    }

    /// A hundred thousand addresses, fields or groups are cut at ten thousand entries.
    #[test]
    fn floods_of_addresses_are_cut() {
        let long = format!("To: {}", "a@x,".repeat(100_000));
        let many = "To: a@x\r\n".repeat(100_000);
        let groups = format!("To: {}", "g:a@x;".repeat(100_000));
        let group = format!("To: g:{}", "a@x,".repeat(100_000));
        for header in [long, many, groups, group] {
            let envelope = Envelope::of(header.as_bytes());
            assert!(
                (9_990..=Envelope::MAX_ENTRIES).contains(&envelope.to().len()),
                "{}",
                envelope.to().len()
            );
            let starts = envelope.to().iter().filter(|entry| matches!(entry, Entry::GroupStart(_))).count();
            let ends = envelope.to().iter().filter(|entry| matches!(entry, Entry::GroupEnd)).count();
            assert_eq!(starts, ends);
            assert_eq!(Envelope::from_bytes(&envelope.to_bytes()), Ok(envelope));
        }
    }

    #[test]
    fn all_lists_together_are_cut() {
        let header: String =
            LISTS.iter().map(|name| format!("{name}: {}\r\n", "a@x,".repeat(20_000))).collect();
        assert_eq!(Envelope::of(header.as_bytes()).entries.len(), Envelope::MAX_ALL_ENTRIES);
    }

    #[test]
    fn odd_fields_do_no_harm() {
        for header in [
            &b"To:\r\nCc: ,,,\r\nFrom: <>\r\nBcc: ;"[..],
            b"From: a@b (comment \\",
            b"Subject: a\rb\0c\r\nFrom: \0\r <a\0@b>",
        ] {
            let envelope = Envelope::of(header);
            assert_eq!(Envelope::from_bytes(&envelope.to_bytes()), Ok(envelope));
        }
        let long = format!("Message-ID: <{}>", "m".repeat(2 << 20));
        assert_eq!(Envelope::of(long.as_bytes()).message_id().unwrap().len(), (2 << 20) + 2);
    }

    proptest! {
        #[test]
        fn storage_round_trips(header in "((From|To|Cc|Date|X): [ag@:;,<>\"()x é\\\\]{0,20}\r\n){0,6}") {
            let envelope = Envelope::of(header.as_bytes());
            prop_assert_eq!(Envelope::from_bytes(&envelope.to_bytes()), Ok(envelope));
        }

        #[test]
        fn damage_is_told_not_met_with_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            at in 0_usize..60,
            value in any::<u8>(),
        ) {
            let _ = Envelope::from_bytes(&bytes);
            let mut bytes = Envelope::of(b"Subject: tea\r\nTo: g: a <a@b>, c;\r\nFrom: x@y\r\n").to_bytes();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            if let Ok(envelope) = Envelope::from_bytes(&bytes) {
                prop_assert_eq!(Envelope::from_bytes(&envelope.to_bytes()), Ok(envelope));
            }
        }
    }
}
