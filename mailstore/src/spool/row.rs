//! How an entry is written: fields one after another.

use bytes::BufMut;
use mailwright_mail_model::{Address, ReversePath};

use super::{
    Deadline, Notify, QueueEntry, QueueNumber, QueueRecipient, RecipientState, ReturnContent, ValidSince,
};
use crate::ObjectId;

/// What the first octet says: how the rest is to be read. From two on, the wishes of the sender as to time stand behind the other fields,
/// with three, classes of advertising behind them,
/// with four, what was set by hand, and with five, XVERP.
const FORMAT: u8 = 1;
const FORMAT_WITH_TIMES: u8 = 2;
const FORMAT_WITH_CLASSES: u8 = 3;
const FORMAT_WITH_ORDERS: u8 = 4;
const FORMAT_WITH_VERP: u8 = 5;
/// The bit of a recipient that says that a [`ValidSince`] follows.
const WITH_VALID_SINCE: u8 = 1 << 6;

/// All of an entry but its number, which is in the key.
pub(crate) fn encode(entry: &QueueEntry) -> Vec<u8> {
    let mut row = Vec::with_capacity(256);
    let timed = entry.priority != 0 || entry.deadline.is_some() || entry.release.is_some();
    let ordered = entry.expires.is_some() || entry.route.is_some();
    let format = match (&entry.solicitation, timed) {
        _ if entry.verp.is_some() => FORMAT_WITH_VERP,
        _ if ordered => FORMAT_WITH_ORDERS,
        (Some(_), _) => FORMAT_WITH_CLASSES,
        (None, true) => FORMAT_WITH_TIMES,
        (None, false) => FORMAT,
    };
    row.push(format);
    let flags = [entry.warned, entry.held, entry.smtputf8, entry.eight_bit, entry.require_tls];
    row.push(flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
    row.push(match entry.return_content {
        None => 0,
        Some(ReturnContent::Full) => 1,
        Some(ReturnContent::Headers) => 2,
    });
    for number in [
        entry.arrival,
        entry.due,
        u64::from(entry.attempts),
        entry.attempted.unwrap_or(u64::MAX),
        entry.skip,
        entry.size,
    ] {
        row.put_u64(number);
    }
    row.put_u128(entry.object.map_or(0, u128::from));
    text(&mut row, Some(&entry.id));
    text(&mut row, entry.sender.address().map(Address::as_str));
    text(&mut row, entry.user.as_deref());
    text(&mut row, entry.message_id.as_deref());
    text(&mut row, Some(&entry.destination));
    text(&mut row, entry.last_error.as_deref());
    text(&mut row, entry.envelope_id.as_deref());
    if format >= FORMAT_WITH_TIMES {
        times(&mut row, entry);
    }
    if format >= FORMAT_WITH_CLASSES {
        text(&mut row, entry.solicitation.as_deref());
    }
    if format >= FORMAT_WITH_ORDERS {
        row.put_u64(entry.expires.unwrap_or(u64::MAX));
        text(&mut row, entry.route.as_deref());
    }
    if format >= FORMAT_WITH_VERP {
        text(&mut row, entry.verp.as_deref());
    }
    for recipient in &entry.recipients {
        text(&mut row, Some(recipient.address.as_str()));
        text(&mut row, recipient.original.as_deref());
        text(&mut row, recipient.last_error.as_deref());
        let Notify { success, failure, delay, asked } = recipient.notify;
        let bits =
            [success, failure, delay, asked].iter().rev().fold(0, |bits, on| bits << 1 | u8::from(*on));
        let valid_since = if recipient.valid_since.is_some() { WITH_VALID_SINCE } else { 0 };
        row.push(valid_since | bits << 2 | recipient.state as u8);
        if let Some(ValidSince { moment, continues }) = recipient.valid_since {
            row.put_i64(moment);
            row.push(u8::from(continues));
        }
    }
    row
}

/// The wishes of the sender as to time.
fn times(row: &mut Vec<u8>, entry: &QueueEntry) {
    row.put_i8(entry.priority);
    row.put_u64(entry.release.unwrap_or(u64::MAX));
    row.put_u64(entry.deadline.map_or(u64::MAX, |deadline| deadline.at));
    let Deadline { gives_up, traced, told, .. } = entry.deadline.unwrap_or(Deadline::new(0, false, false));
    row.push([gives_up, traced, told].iter().rev().fold(0, |bits, on| bits << 1 | u8::from(*on)));
}

fn read_times(fields: &mut Fields<'_>, entry: &mut QueueEntry) -> Option<()> {
    entry.priority = i8::from_be_bytes(fields.take()?);
    entry.release = Some(u64::from_be_bytes(fields.take()?)).filter(|release| *release != u64::MAX);
    let at = u64::from_be_bytes(fields.take()?);
    let [bits] = fields.take()?;
    let on = |bit: u8| bits >> bit & 1 == 1;
    let deadline = Deadline { at, gives_up: on(0), traced: on(1), told: on(2) };
    entry.deadline = (at != u64::MAX).then_some(deadline);
    Some(())
}

/// The entry of a row; `None` if it is none.
pub(crate) fn decode(number: QueueNumber, row: &[u8]) -> Option<QueueEntry> {
    let mut fields = Fields(row);
    let [format @ FORMAT..=FORMAT_WITH_VERP] = fields.take()? else { return None };
    let [flags, content] = fields.take()?;
    let mut numbers = [0; 6];
    for number in &mut numbers {
        *number = u64::from_be_bytes(fields.take()?);
    }
    let [arrival, due, attempts, attempted, skip, size] = numbers;
    let object = Some(u128::from_be_bytes(fields.take()?)).filter(|object| *object != 0);
    let id = fields.text()??;
    let sender = match fields.text()? {
        Some(address) => ReversePath::Address(address.parse().ok()?),
        None => ReversePath::Null,
    };
    let (user, message_id) = (fields.text()?, fields.text()?);
    let mut entry = QueueEntry::new(id, sender, fields.text()??, arrival);
    entry.number = number;
    (entry.user, entry.message_id) = (user, message_id);
    (entry.due, entry.skip, entry.size) = (due, skip, size);
    entry.attempts = u32::try_from(attempts).ok()?;
    entry.attempted = (attempted != u64::MAX).then_some(attempted);
    entry.object = object.map(ObjectId::from);
    entry.return_content = match content {
        0 => None,
        1 => Some(ReturnContent::Full),
        2 => Some(ReturnContent::Headers),
        _ => return None,
    };
    let flag = |bit: u8| flags >> bit & 1 == 1;
    (entry.warned, entry.held, entry.smtputf8) = (flag(0), flag(1), flag(2));
    (entry.eight_bit, entry.require_tls) = (flag(3), flag(4));
    (entry.last_error, entry.envelope_id) = (fields.text()?, fields.text()?);
    if format >= FORMAT_WITH_TIMES {
        read_times(&mut fields, &mut entry)?;
    }
    if format >= FORMAT_WITH_CLASSES {
        entry.solicitation = fields.text()?;
    }
    if format >= FORMAT_WITH_ORDERS {
        entry.expires = Some(u64::from_be_bytes(fields.take()?)).filter(|expires| *expires != u64::MAX);
        entry.route = fields.text()?;
    }
    if format >= FORMAT_WITH_VERP {
        entry.verp = fields.text()?;
    }
    while !fields.0.is_empty() {
        let mut recipient = QueueRecipient::new(fields.text()??.parse().ok()?);
        (recipient.original, recipient.last_error) = (fields.text()?, fields.text()?);
        let [bits] = fields.take()?;
        recipient.state = match bits & 3 {
            0 => RecipientState::Waiting,
            1 => RecipientState::Delivered,
            2 => RecipientState::Failed,
            _ => return None,
        };
        let on = |bit: u8| bits >> bit & 1 == 1;
        recipient.notify = Notify { success: on(2), failure: on(3), delay: on(4), asked: on(5) };
        if bits & WITH_VALID_SINCE != 0 {
            let moment = i64::from_be_bytes(fields.take()?);
            recipient.valid_since = Some(ValidSince { moment, continues: fields.take()? == [1] });
        }
        entry.recipients.push(recipient);
    }
    Some(entry)
}

/// A length and so many octets; the highest length stands for no text.
fn text(row: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => {
            // Nothing in an entry is longer than a few lines.
            let octets = text.as_bytes().get(..usize::from(u16::MAX - 1)).unwrap_or(text.as_bytes());
            row.put_u16(u16::try_from(octets.len()).unwrap_or(0));
            row.extend_from_slice(octets);
        }
        None => row.put_u16(u16::MAX),
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn text(&mut self) -> Option<Option<String>> {
        let length = u16::from_be_bytes(self.take()?);
        if length == u16::MAX {
            return Some(None);
        }
        let (field, rest) = self.0.split_at_checked(usize::from(length))?;
        self.0 = rest;
        Some(Some(String::from_utf8_lossy(field).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_and_half_of_one_is_none() {
        let mut entry =
            QueueEntry::new("9C4D", ReversePath::parse(b"<\"a b\"@a.example>").unwrap(), "b.example", 77);
        let plain = entry.clone();
        (entry.due, entry.attempts, entry.attempted, entry.skip, entry.size) = (99, 3, Some(88), 20, 1 << 40);
        (entry.user, entry.message_id) = (Some("a@a.example".into()), Some("<x@y>".into()));
        (entry.last_error, entry.envelope_id) = (Some("451 no".into()), Some("QQ".into()));
        (entry.warned, entry.smtputf8, entry.require_tls) = (true, true, true);
        entry.return_content = Some(ReturnContent::Headers);
        entry.object = Some(ObjectId::from(7));
        (entry.priority, entry.release) = (-4, Some(90));
        entry.deadline = Some(Deadline { told: true, ..Deadline::new(500, true, false) });
        let mut recipient = QueueRecipient::new("zoë@b.example".parse().unwrap());
        recipient.valid_since = Some(ValidSince::new(-5, true));
        (recipient.notify, recipient.state) = (Notify::asked(true, false, true), RecipientState::Failed);
        entry.recipients = vec![recipient, QueueRecipient::new("c@b.example".parse().unwrap())];
        let advertising = QueueEntry { solicitation: Some("net.example:ADV".into()), ..plain.clone() };
        let both = QueueEntry { solicitation: Some("a:b,c".into()), ..entry.clone() };
        let expires = QueueEntry { expires: Some(7), ..plain.clone() };
        let rerouted = QueueEntry { route: Some("[mx.example]:25".into()), ..both.clone() };
        let variable = QueueEntry { verp: Some("+=".into()), ..plain.clone() };
        for entry in [entry, plain, advertising, both, expires, rerouted, variable] {
            let row = encode(&entry);
            assert_eq!(decode(entry.number, &row), Some(entry.clone()));
            let fixed = encode(&QueueEntry { recipients: Vec::new(), ..entry.clone() }).len();
            for end in 0..fixed {
                assert_eq!(decode(entry.number, &row[..end]), None, "{end}");
            }
        }
    }
}
