//! What senders wish as to when a message is delivered, and to whom still: DELIVERBY (RFC 2852), MT-PRIORITY (RFC 6710) and RRVS (RFC 7293)
//! on the way to the next host.

use mailwright_mail_model::DateTime;
use mailwright_mailstore::{QueueEntry, QueueRecipient};
use mailwright_relay_policy::delivery::Diagnosis;
use mailwright_smtp_proto::{
    ByMode, Capabilities, Changed, DeliverBy, MailParameters, Priority, Reply, ValidSince,
};

/// Whether the time of a message that is to come back if it is late is over.
pub(super) fn is_over(entry: &QueueEntry, now: u64) -> bool {
    entry.deadline.is_some_and(|deadline| deadline.gives_up && now >= deadline.at)
}

/// What is said of such a message: by whom it was refused last, if it was.
pub(super) fn over(last: Option<&Diagnosis>) -> Diagnosis {
    let text = "It could not be delivered by the time that the sender set";
    let text = match last {
        Some(last) => format!("{text}: {last}"),
        None => text.to_owned(),
    };
    // RFC 3463 §3.5: delivery time expired
    Diagnosis::found(Reply::permanent((4, 7), text))
}

/// What MAIL says of time.
pub(super) fn set(parameters: &mut MailParameters, entry: &QueueEntry, now: u64) {
    parameters.priority = Some(entry.priority).filter(|level| *level != 0).and_then(Priority::new);
    parameters.deliver_by = entry.deadline.and_then(|deadline| {
        // RFC 2852 §4.1.4.2: what is left of it; it may be less than nothing if the sender is only to be told.
        let left = i128::from(deadline.at) - i128::from(now);
        let most = i128::from(DeliverBy::MOST_SECONDS);
        let seconds = i32::try_from(left.clamp(-most, most)).ok()?;
        let mode = if deadline.gives_up { ByMode::Return } else { ByMode::Notify };
        DeliverBy::new(seconds, mode, deadline.traced)
    });
}

/// Why a host cannot have a message with a deadline.
pub(super) fn unfit(entry: &QueueEntry, host: &Capabilities, now: u64) -> Option<Reply> {
    let deadline = entry.deadline.filter(|deadline| deadline.gives_up)?;
    let Some(least) = host.deliver_by else {
        // RFC 2852 §4.1.4.2: nobody there would send it back.
        let text = "The sender wants it returned if it is late, and the host does not offer DELIVERBY";
        return Some(Reply::permanent((3, 3), text));
    };
    let left = deadline.at.saturating_sub(now);
    let text = "The host needs more time for it than the sender leaves";
    (left == 0 || least.is_some_and(|least| left < u64::from(least))).then(|| Reply::permanent((4, 7), text))
}

/// What RCPT says of who the recipient has to be, for a host that can look or not.
pub(super) fn valid_since(recipient: &QueueRecipient, offered: bool) -> Option<ValidSince> {
    let wanted = recipient.valid_since.filter(|_| offered)?;
    let changed = if wanted.continues { Changed::Continue } else { Changed::Reject };
    Some(ValidSince::new(DateTime::new(wanted.moment, 0)?, changed))
}

/// Why a host cannot have a message for a recipient.
pub(super) fn stranger(recipient: &QueueRecipient, host: &Capabilities) -> Option<Reply> {
    let wanted = recipient.valid_since.filter(|wanted| !wanted.continues && !host.valid_since);
    // RFC 7293 §5.1
    let text = "Whose the mailbox is matters to the sender, and the host cannot look (RRVS)";
    wanted.map(|_| Reply::permanent((7, 19), text))
}

/// The header field that stands for RRVS at a host that does not know it, if there is one recipient, so that none hears of another
/// (RFC 7293 §5.2).
pub(super) fn field(entry: &QueueEntry, places: &[usize], host: &Capabilities) -> Option<String> {
    let ([place], false) = (places, host.valid_since) else { return None };
    let recipient = entry.recipients.get(*place)?;
    let wanted = recipient.valid_since.filter(|wanted| wanted.continues)?;
    let date = DateTime::new(wanted.moment, 0)?;
    Some(format!("Require-Recipient-Valid-Since: {}; {}\r\n", recipient.address, date.to_rfc5322()))
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::ReversePath;
    use mailwright_mailstore::{Deadline, ValidSince as Since};

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn entry(deadline: Option<Deadline>) -> QueueEntry {
        let mut entry =
            QueueEntry::new("1D", ReversePath::parse(b"<ann@a.example>").unwrap(), "b.example", NOW);
        entry.deadline = deadline;
        entry.recipients.push(QueueRecipient::new("bob@b.example".parse().unwrap()));
        entry
    }

    fn by(deadline: Deadline, now: u64) -> Option<String> {
        let mut parameters = MailParameters::default();
        set(&mut parameters, &entry(Some(deadline)), now);
        parameters.deliver_by.map(|by| by.to_string())
    }

    #[test]
    fn what_is_left_of_the_time_goes_on() {
        let told = Deadline::new(NOW + 100, false, true);
        assert_eq!(by(told, NOW).as_deref(), Some("100;NT"));
        assert_eq!(by(told, NOW + 130).as_deref(), Some("-30;NT"));
        let returned = Deadline::new(NOW + 100, true, false);
        assert_eq!(by(returned, NOW + 40).as_deref(), Some("60;R"));
        assert!(!is_over(&entry(Some(returned)), NOW + 99) && is_over(&entry(Some(returned)), NOW + 100));
        assert!(!is_over(&entry(Some(told)), NOW + 500));
        assert_eq!(by(Deadline::new(u64::MAX, true, false), NOW).as_deref(), Some("999999999;R"));
    }

    #[test]
    fn what_is_to_come_back_goes_to_nobody_who_keeps_it() {
        let (mut host, code) =
            (Capabilities::default(), |reply: Option<Reply>| reply.map(|reply| reply.code()));
        let returned = entry(Some(Deadline::new(NOW + 100, true, false)));
        assert_eq!(code(unfit(&returned, &host, NOW)), Some(550));
        host.deliver_by = Some(Some(60));
        assert_eq!(code(unfit(&returned, &host, NOW + 40)), None);
        assert_eq!(code(unfit(&returned, &host, NOW + 41)), Some(550));
        host.deliver_by = None;
        assert_eq!(code(unfit(&entry(Some(Deadline::new(NOW + 100, false, false))), &host, NOW)), None);
        assert_eq!(code(unfit(&entry(None), &host, NOW)), None);
    }

    #[test]
    fn whose_a_mailbox_is_matters_to_hosts_that_can_look() {
        let (mut host, mut entry) = (Capabilities::default(), entry(None));
        let recipient = |continues| {
            let mut recipient = QueueRecipient::new("bob@b.example".parse().unwrap());
            recipient.valid_since = Some(Since::new(0, continues));
            recipient
        };
        assert!(stranger(&recipient(false), &host).is_some() && stranger(&recipient(true), &host).is_none());
        entry.recipients = vec![recipient(true), recipient(false)];
        assert_eq!(
            field(&entry, &[0], &host).as_deref(),
            Some("Require-Recipient-Valid-Since: bob@b.example; Thu, 1 Jan 1970 00:00:00 +0000\r\n")
        );
        assert_eq!(field(&entry, &[0, 1], &host), None, "nobody hears of another");
        host.valid_since = true;
        assert!(stranger(&recipient(false), &host).is_none() && field(&entry, &[0], &host).is_none());
        assert_eq!(valid_since(&recipient(true), true).unwrap().moment.seconds(), 0);
        assert_eq!(valid_since(&recipient(true), false), None);
    }
}
