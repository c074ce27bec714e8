//! When senders wish their messages to go: DELIVERBY (RFC 2852), FUTURERELEASE (RFC 4865) and MT-PRIORITY (RFC 6710).

use std::time::Duration;

use mailwright_mail_model::DateTime;
use mailwright_mailstore::{Deadline, QueueEntry};
use mailwright_relay_policy::{Session as Conversation, networks::AddressRange};
use mailwright_smtp_proto::{ByMode, FutureRelease, Hold, Mail, MailParameters, Reply};

/// What a sender wishes, as moments in seconds since 1970.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    priority: i8,
    deadline: Option<Deadline>,
    /// Until when the message is held back.
    pub(super) release: Option<u64>,
    /// When it came, if that was not now.
    arrival: Option<u64>,
}

impl Times {
    /// What a message of this priority wants that came now.
    pub(crate) fn of(parameters: &MailParameters, priority: i8, now: DateTime) -> Self {
        let now = u64::try_from(now.seconds()).unwrap_or(0);
        let until = match parameters.hold {
            Some(Hold::For(seconds)) => now.saturating_add(seconds.get().into()),
            Some(Hold::Until(moment)) => u64::try_from(moment.seconds()).unwrap_or(0),
            _ => 0,
        };
        let release = Some(until).filter(|until| *until > now);
        // Whoever asks for both wants it there so long after it was released.
        let began = i64::try_from(release.unwrap_or(now)).unwrap_or(i64::MAX);
        let deadline = parameters.deliver_by.map(|by| {
            let at = began.saturating_add(by.seconds().into());
            let gives_up = by.mode() == ByMode::Return;
            Deadline::new(u64::try_from(at).unwrap_or(0), gives_up, by.is_traced())
        });
        Self { priority, deadline, release, arrival: None }
    }

    /// What is wished for a message that waited in the queue until it was released.
    pub(super) fn of_released(entry: &QueueEntry) -> Self {
        let (priority, deadline, release) = (entry.priority, entry.deadline, entry.release);
        Self { priority, deadline, release, arrival: Some(entry.arrival) }
    }

    /// Writes it into an entry of the queue.
    pub(super) fn set(&self, entry: &mut QueueEntry) {
        (entry.priority, entry.deadline, entry.release) = (self.priority, self.deadline, self.release);
        entry.due = entry.due.max(self.release.unwrap_or(0));
        entry.arrival = self.arrival.unwrap_or(entry.arrival);
    }
}

/// For how long from now on messages are held back at most, as it is announced.
pub(super) fn longest(hold: Duration) -> Option<FutureRelease> {
    // RFC 4865 §4: nine digits
    let seconds = u32::try_from(hold.as_secs()).unwrap_or(u32::MAX).min(999_999_999);
    let latest = DateTime::new(super::now().seconds().checked_add(seconds.into())?, 0)?;
    Some(FutureRelease::new(seconds, latest))
}

/// The priority that a message has here: one above that of most is for users, for programs of this machine and for clients in these
/// networks. RFC 6710 §4.1 leaves it to the server whose word counts.
pub(super) fn priority(session: &Conversation, mail: &Mail, believed: &[AddressRange]) -> i8 {
    let wanted = mail.parameters.priority.map_or(0, |priority| priority.level());
    let address = session.peer.remote.map(|remote| remote.ip().to_canonical());
    let known = session.user.is_some()
        || session.local.is_some()
        || address.is_some_and(|address| believed.iter().any(|range| range.contains(address)));
    if known { wanted } else { wanted.min(0) }
}

/// The reply to MAIL of a sender that is taken.
pub(super) fn reply(session: &Conversation, mail: &Mail, believed: &[AddressRange]) -> Reply {
    if mail.parameters.hold.is_some() && session.user.is_none() {
        // RFC 4865 §3: it is an extension of submission.
        return Reply::new(530, (5, 7, 0), "Log in first: only mail of users is held back")
            .unwrap_or(Reply::INTERNAL);
    }
    let given = priority(session, mail, believed);
    if mail.parameters.priority.is_some_and(|wanted| wanted.level() != given) {
        // RFC 6710 §5.1: the first word is the priority it has.
        let text = format!("{given} is its priority: who asks for more must log in");
        return Reply::new(250, (2, 3, 6), text).unwrap_or(Reply::INTERNAL);
    }
    Reply::SENDER_OK
}

#[cfg(test)]
mod tests {
    use mailwright_smtp_proto::{Command, Syntax};

    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn mail(parameters: &str) -> Mail {
        let line = format!("MAIL FROM:<ann@a.example> {parameters}");
        let Ok(Command::Mail(mail)) = Command::parse(line.trim().as_bytes(), Syntax::Strict) else {
            panic!()
        };
        mail
    }

    fn entry(parameters: &str) -> QueueEntry {
        let mail = mail(parameters);
        let now = u64::try_from(NOW).unwrap();
        let mut entry = QueueEntry::new("1D", mail.from, "b.example", now);
        Times::of(&mail.parameters, 2, DateTime::new(NOW, 0).unwrap()).set(&mut entry);
        entry
    }

    #[test]
    fn what_is_held_back_begins_when_it_is_released() {
        let now = u64::try_from(NOW).unwrap();
        let held = entry("HOLDFOR=100 BY=60;RT");
        assert_eq!((held.due, held.arrival, held.began()), (now + 100, now, now + 100));
        assert_eq!(held.deadline, Some(Deadline::new(now + 160, true, true)));
        let held = entry("HOLDUNTIL=2023-11-14T22:13:30Z BY=-5;N");
        assert_eq!((held.due, held.priority), (now + 10, 2));
        assert_eq!(held.deadline, Some(Deadline::new(now + 5, false, false)));
        // A moment that is over is now.
        let past = entry("HOLDUNTIL=2023-11-14T22:13:20Z");
        assert_eq!((past.release, past.due, past.deadline), (None, now, None));
    }

    #[test]
    fn the_urgent_is_for_those_whom_we_know() {
        let (mut session, networks) = (Conversation::default(), ["192.0.2.0/24".parse().unwrap()]);
        let given = |session: &Conversation, level: &str| {
            let mail = mail(&format!("MT-PRIORITY={level}"));
            (priority(session, &mail, &networks), reply(session, &mail, &networks).to_string())
        };
        let lowered = "250 2.3.6 0 is its priority: who asks for more must log in\r\n";
        assert_eq!(given(&session, "4"), (0, lowered.into()));
        assert_eq!(given(&session, "-4").0, -4);
        assert_eq!(given(&session, "0").1, Reply::SENDER_OK.to_string());
        session.user = Some("ann@a.example".into());
        assert_eq!(given(&session, "4"), (4, Reply::SENDER_OK.to_string()));
        session.user = None;
        session.peer.remote = Some("192.0.2.7:999".parse().unwrap());
        assert_eq!(given(&session, "9").0, 9);
    }

    #[test]
    fn only_the_mail_of_users_is_held_back() {
        let mut session = Conversation::default();
        assert_eq!(reply(&session, &mail("HOLDFOR=5"), &[]).code(), 530);
        session.user = Some("ann@a.example".into());
        assert_eq!(reply(&session, &mail("HOLDFOR=5"), &[]), Reply::SENDER_OK);
    }
}
