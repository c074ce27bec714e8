//! The envelope of a message that goes on.

use mailwright_mailstore::{Notify, QueueEntry, QueueRecipient, ReturnContent};
use mailwright_smtp_proto::{
    BodyKind, Capabilities, EnvelopeId, Mail, MailParameters, Message, Notify as Wanted, OriginalRecipient,
    Rcpt, RcptParameters, ReturnContent as Asked,
};

use super::wishes;

/// The envelope for some of the recipients, for this host. What the host does not know and need not is left out when it is sent.
pub(super) fn message(entry: &QueueEntry, places: &[usize], size: u64, host: &Host<'_>) -> Message {
    let mut parameters = MailParameters::default();
    parameters.size = Some(size);
    parameters.body = entry.eight_bit.then_some(BodyKind::EightBitMime);
    parameters.smtputf8 = entry.smtputf8;
    // RFC 8689 §5: a report is not held back where a host does not know it; others do not get this far.
    parameters.require_tls = entry.require_tls && host.capabilities.require_tls;
    parameters.solicitation = entry.solicitation.as_ref().and_then(|classes| classes.parse().ok());
    if !host.is_last {
        wishes::set(&mut parameters, entry, host.now);
    }
    // RFC 3461 §5.2.1: as they came.
    parameters.return_content = entry.return_content.map(|content| match content {
        ReturnContent::Full => Asked::Full,
        ReturnContent::Headers => Asked::Headers,
    });
    parameters.envelope_id = entry.envelope_id.as_ref().and_then(|id| EnvelopeId::new(id).ok());
    let recipients = places.iter().filter_map(|place| entry.recipients.get(*place));
    let recipients = recipients.map(|queued| recipient(queued, host)).collect();
    Message::new(Mail::new(entry.sender.clone()).with_parameters(parameters), recipients)
}

/// Whom it is for.
#[derive(Debug)]
pub(super) struct Host<'a> {
    pub(super) capabilities: &'a Capabilities,
    /// Whether it delivers what it gets: a host next door, by LMTP.
    pub(super) is_last: bool,
    /// In seconds since 1970.
    pub(super) now: u64,
}

fn recipient(queued: &QueueRecipient, host: &Host<'_>) -> Rcpt {
    let mut rcpt = Rcpt::new(queued.address.clone().into());
    rcpt.parameters = RcptParameters::default();
    rcpt.parameters.notify = queued.notify.asked.then(|| wanted(queued.notify));
    rcpt.parameters.valid_since = wishes::valid_since(queued, host.capabilities.valid_since);
    rcpt.parameters.original = queued.original.as_ref().and_then(|original| {
        let (kind, address) = original.split_once(';')?;
        OriginalRecipient::new(kind, address).ok()
    });
    rcpt
}

const fn wanted(notify: Notify) -> Wanted {
    let Notify { success, failure, delay, .. } = notify;
    if success || failure || delay { Wanted::On { success, failure, delay } } else { Wanted::Never }
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::ReversePath;

    use super::*;

    #[test]
    fn what_was_asked_for_goes_on() {
        let mut entry =
            QueueEntry::new("1D", ReversePath::parse(b"<ann@a.example>").unwrap(), "b.example", 1);
        entry.envelope_id = Some("Q 1".into());
        entry.return_content = Some(ReturnContent::Headers);
        for (name, notify) in [
            ("one", Notify::asked(true, false, true)),
            ("two", Notify::NEVER),
            ("three", Notify::DEFAULT),
            ("four", Notify::asked(false, false, false)),
        ] {
            let mut queued = QueueRecipient::new(format!("{name}@b.example").parse().unwrap());
            queued.original = Some(format!("rfc822;old+{name}@b.example"));
            queued.notify = notify;
            entry.recipients.push(queued);
        }
        entry.priority = -2;
        entry.solicitation = Some("net.example:ADV".into());
        let host = Host { capabilities: &Capabilities::default(), is_last: false, now: 1 };
        let message = message(&entry, &[0, 1, 2, 3], 100, &host);
        assert_eq!(message.mail.parameters.priority.unwrap().level(), -2);
        assert_eq!(message.mail.parameters.solicitation.as_ref().unwrap().to_string(), "net.example:ADV");
        assert_eq!(message.mail.parameters.envelope_id.as_ref().unwrap().as_str(), "Q 1");
        assert_eq!(message.mail.parameters.return_content, Some(Asked::Headers));
        let wanted: Vec<_> = message.recipients.iter().map(|rcpt| rcpt.parameters.notify).collect();
        let first = Wanted::On { success: true, failure: false, delay: true };
        assert_eq!(wanted, [Some(first), Some(Wanted::Never), None, Some(Wanted::Never)]);
        let original = message.recipients[0].parameters.original.as_ref().unwrap();
        assert_eq!((original.kind(), original.address()), ("rfc822", "old+one@b.example"));
    }
}
