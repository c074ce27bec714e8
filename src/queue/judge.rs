//! What follows from an attempt: a decision without I/O.

use mailwright_mailstore::{Notify, QueueEntry, RecipientState, clock::Reading};
use mailwright_relay_policy::{
    delivery::{Action, Diagnosis},
    retry::{Next, RetrySchedule},
};

use super::wishes;

/// What became of one recipient in an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The next host has it, and reports success itself if that is asked for and it can.
    Taken {
        /// What it said.
        diagnosis: Diagnosis,
        /// Whether it was told what the sender wants to hear of.
        reports: bool,
        /// Whether it is delivered and not only passed on.
        delivered: bool,
        /// Whether it was told by when the sender wants it delivered.
        timed: bool,
    },
    /// It became several addresses elsewhere, and goes on to them without news of success.
    Expanded(Diagnosis),
    /// Refused, for now or for good, as the reply says.
    Refused(Diagnosis),
}

/// What is to be done after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judgement {
    /// The entry as it is from now on.
    pub(super) entry: QueueEntry,
    /// Whether it stays in the queue.
    pub(super) stays: bool,
    /// What the sender is to be told, of which recipients.
    pub(super) reports: Vec<(Action, Vec<(usize, Diagnosis)>)>,
    /// Which recipients refused for good.
    pub(super) refused: Vec<usize>,
    /// Which recipients were tried.
    pub(super) tried: Vec<usize>,
    /// When the entry was due as the attempt began.
    pub(super) began: u64,
}

impl Judgement {
    /// The entry as it is if the sender cannot be told now that some were not reached: they wait, to be tried again at `later`. `None`
    /// if there is other news, of what cannot be done again.
    pub(super) fn put_off(&self, later: u64) -> Option<QueueEntry> {
        let mut entry = self.entry.clone();
        for (action, recipients) in &self.reports {
            match action {
                Action::Failed => {
                    for (place, _) in recipients {
                        entry.recipients.get_mut(*place)?.state = RecipientState::Waiting;
                    }
                }
                // It is late still by then.
                Action::Delayed => {
                    entry.warned = false;
                    entry.deadline.iter_mut().for_each(|deadline| deadline.told = false);
                }
                _ => return None,
            }
        }
        entry.due = later;
        Some(entry)
    }
}

/// Judges an attempt that ended at that time with these outcomes, by the places of the recipients.
pub(super) fn judge(
    mut entry: QueueEntry,
    outcomes: Vec<(usize, Outcome)>,
    schedule: &RetrySchedule,
    clock: Reading,
    random: u64,
) -> Judgement {
    let began = entry.due;
    entry.attempts = entry.attempts.saturating_add(1);
    // By a clock that was ahead it came at a time that is yet to come, and would be tried until long after that. Seen once, the clock may be
    // behind for a moment, by which nothing gets old.
    if let Some(before) = entry.attempted.filter(|before| (*before).max(clock.shown()) < entry.arrival)
        && !clock.is_in_doubt()
    {
        entry.arrival = before;
    }
    entry.attempted = Some(clock.expected());
    // Nothing is given up by a clock that may be wrong. When it is to be tried again goes by that clock all the same.
    let now = clock.to_judge_age();
    let astray = clock.shown() - now;
    let is_report = entry.sender.address().is_none();
    let next = match (entry.expires, is_report) {
        (Some(end), _) => schedule.next_until(end, entry.attempts, now, random),
        (None, true) => schedule.next_of_report(entry.began(), entry.attempts, now, random),
        (None, false) => schedule.next(entry.began(), entry.attempts, now, random),
    };
    let warn = !entry.warned && schedule.warns(entry.began(), now);
    let (deadline, over) = (entry.deadline, wishes::is_over(&entry, now));
    // RFC 2852 §4.1.4.2: told once, and the trying goes on.
    let late = deadline.is_some_and(|deadline| !deadline.gives_up && !deadline.told && now >= deadline.at);
    let (mut failed, mut delayed, mut delivered, mut relayed) = (vec![], vec![], vec![], vec![]);
    let mut expanded = Vec::new();
    let mut refused = Vec::new();
    let tried = outcomes.iter().map(|(place, _)| *place).collect();
    for (place, outcome) in outcomes {
        let Some(recipient) = entry.recipients.get_mut(place) else { continue };
        match outcome {
            Outcome::Taken { diagnosis, reports, delivered: here, timed } => {
                recipient.state = RecipientState::Delivered;
                recipient.last_error = Some(diagnosis.to_string());
                // RFC 2852 §4.1.4.2: each host on the way is told of if the sender wants that, and the last one that knows the time.
                let traced = deadline.is_some_and(|deadline| deadline.traced || !timed);
                let traced = traced && !here && recipient.notify != Notify::NEVER;
                if (recipient.notify.success && !reports) || traced {
                    // RFC 3461 §5.2.2: whoever passes it on to a host that cannot report says so itself.
                    if here { &mut delivered } else { &mut relayed }.push((place, diagnosis));
                }
            }
            Outcome::Expanded(diagnosis) => {
                recipient.state = RecipientState::Delivered;
                if recipient.notify.success {
                    expanded.push((place, diagnosis));
                }
            }
            Outcome::Refused(diagnosis) => {
                recipient.last_error = Some(diagnosis.to_string());
                entry.last_error = Some(diagnosis.to_string());
                if diagnosis.is_permanent() {
                    refused.push(place);
                }
                let for_good = diagnosis.is_permanent();
                if for_good || over || next == Next::GiveUp {
                    recipient.state = RecipientState::Failed;
                    if recipient.notify.failure {
                        let diagnosis = if for_good { diagnosis } else { given_up(diagnosis, over) };
                        failed.push((place, diagnosis));
                    }
                } else if (warn && recipient.notify.delay) || (late && recipient.notify != Notify::NEVER) {
                    delayed.push((place, diagnosis));
                }
            }
        }
    }
    let stays = entry.waiting().next().is_some();
    entry.due = match next {
        Next::Retry { at } => at.saturating_add(astray),
        Next::GiveUp => clock.shown(),
    };
    entry.warned |= warn && stays;
    if let Some(deadline) = &mut entry.deadline {
        deadline.told |= late && stays;
        // What there is to tell or to give up then is not left until the next attempt.
        if !deadline.told && deadline.at > now {
            entry.due = entry.due.min(deadline.at.saturating_add(astray));
        }
    }
    let mut reports = vec![
        (Action::Failed, failed),
        (Action::Delayed, delayed),
        (Action::Delivered, delivered),
        (Action::Relayed, relayed),
        (Action::Expanded, expanded),
    ];
    // RFC 5321 §6.1: never a report about a report.
    reports.retain(|(_, recipients)| !is_report && !recipients.is_empty());
    Judgement { entry, stays, reports, refused, tried, began }
}

/// What is told of a recipient that is given up though it was refused for now only.
fn given_up(diagnosis: Diagnosis, over: bool) -> Diagnosis {
    if over { wishes::over(Some(&diagnosis)) } else { diagnosis }
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::ReversePath;
    use mailwright_mailstore::{Deadline, QueueRecipient};
    use mailwright_smtp_proto::Reply;

    use super::*;

    const ARRIVAL: u64 = 1_700_000_000;

    fn entry(sender: &str, recipients: usize) -> QueueEntry {
        let sender = ReversePath::parse(sender.as_bytes()).unwrap();
        let mut entry = QueueEntry::new("1D", sender, "b.example", ARRIVAL);
        for number in 0..recipients {
            entry.recipients.push(QueueRecipient::new(format!("r{number}@b.example").parse().unwrap()));
        }
        entry
    }

    fn said(text: &str) -> Diagnosis {
        Diagnosis::said("mx.b.example[192.0.2.1]", &Reply::parse(text.as_bytes()).unwrap())
    }

    fn later() -> Outcome {
        Outcome::Refused(said("451 4.7.1 later\r\n"))
    }

    fn taken() -> Outcome {
        let diagnosis = said("250 2.0.0 Ok\r\n");
        Outcome::Taken { diagnosis, reports: false, delivered: false, timed: true }
    }

    /// The life of a message that nobody takes: when it was tried, and what was reported when, in seconds.
    fn life(mut entry: QueueEntry) -> (Vec<u64>, Vec<(u64, Action)>) {
        let (schedule, mut tried, mut told) = (RetrySchedule::default(), vec![], vec![]);
        loop {
            let now = entry.due;
            tried.push(now - ARRIVAL);
            let wait = schedule.wait(entry.attempts + 1).as_secs();
            let judgement = judge(entry, vec![(0, later())], &schedule, Reading::sure(now), wait / 10);
            told.extend(judgement.reports.iter().map(|(action, _)| (now - ARRIVAL, *action)));
            entry = judgement.entry;
            if !judgement.stays {
                assert_eq!(entry.recipients[0].state, RecipientState::Failed);
                return (tried, told);
            }
        }
    }

    #[test]
    fn four_days_end_with_a_report() {
        let (tried, told) = life(entry("<ann@a.example>", 1));
        assert_eq!(tried[..9], [0, 60, 180, 420, 900, 1_860, 3_780, 7_620, 11_620]);
        assert_eq!((tried.len(), tried.last()), (93, Some(&345_600)));
        // The first attempt after four hours, and the end.
        assert_eq!(told, [(15_620, Action::Delayed), (345_600, Action::Failed)]);
    }

    #[test]
    fn what_came_by_a_clock_that_was_ahead_came_now() {
        let mut entry = entry("<ann@a.example>", 1);
        entry.arrival = ARRIVAL + 400 * 86_400;
        let (tried, _) = life(entry);
        assert_eq!((tried[0], tried.last()), (0, Some(&345_600)));
    }

    #[test]
    fn what_is_tried_by_a_clock_that_is_behind_for_a_moment_gets_no_older() {
        let (schedule, mut entry) = (RetrySchedule::default(), entry("<ann@a.example>", 1));
        for now in [ARRIVAL, ARRIVAL - 15 * 86_400, ARRIVAL + 300] {
            let judgement = judge(entry, vec![(0, later())], &schedule, Reading::sure(now), 0);
            assert!(judgement.stays && judgement.reports.is_empty(), "{now}");
            entry = judgement.entry;
        }
        assert_eq!(entry.arrival, ARRIVAL);
    }

    #[test]
    fn nothing_is_given_up_by_a_clock_in_doubt() {
        let (schedule, mut entry) = (RetrySchedule::default(), entry("<ann@a.example>", 1));
        entry.deadline = Some(Deadline::new(ARRIVAL + 3_600, true, false));
        let days = 86_400;
        // Ten days ahead and back again, and twice fifteen days behind.
        let shown = [ARRIVAL + 10 * days, ARRIVAL, ARRIVAL - 15 * days, ARRIVAL - 15 * days, ARRIVAL];
        for (at, shown) in shown.into_iter().enumerate() {
            let clock = Reading::new(shown, ARRIVAL + 60 * at as u64);
            let judgement = judge(entry, vec![(0, later())], &schedule, clock, 0);
            assert!(judgement.stays && judgement.reports.is_empty(), "{clock:?}");
            entry = judgement.entry;
            // When it is tried again goes by what the clock shows.
            assert!((shown..shown + 3_600).contains(&entry.due), "{} at {clock:?}", entry.due);
        }
        assert_eq!(entry.arrival, ARRIVAL);
        // What came while it was ahead came then.
        entry.arrival = ARRIVAL + 10 * days;
        entry = judge(entry, vec![(0, later())], &schedule, Reading::sure(ARRIVAL + 300), 0).entry;
        assert_eq!(entry.arrival, ARRIVAL + 240);
    }

    #[test]
    fn nobody_hears_of_a_report_that_fails() {
        let (tried, told) = life(entry("<>", 1));
        assert_eq!((tried.last(), told), (Some(&345_600), vec![]));
    }

    #[test]
    fn the_sender_hears_of_what_it_asked_for() {
        for (notify, expected) in [
            (Notify::NEVER, vec![]),
            (Notify::asked(true, false, false), vec![]),
            (Notify::asked(false, true, false), vec![Action::Failed]),
            (Notify::asked(false, false, true), vec![Action::Delayed]),
        ] {
            let mut entry = entry("<ann@a.example>", 1);
            entry.recipients[0].notify = notify;
            let told: Vec<_> = life(entry).1.into_iter().map(|(_, action)| action).collect();
            assert_eq!(told, expected, "{notify:?}");
        }
    }

    #[test]
    fn every_recipient_has_its_own_fate() {
        let mut entry = entry("<ann@a.example>", 5);
        entry.recipients[1].notify = Notify::asked(true, true, false);
        entry.recipients[2].notify = Notify::asked(true, true, false);
        let gone = said("550 5.1.1 no such user\r\n");
        let diagnosis = said("250 Ok\r\n");
        let reporting = Outcome::Taken { diagnosis, reports: true, delivered: false, timed: true };
        let outcomes =
            vec![(0, taken()), (1, taken()), (2, reporting), (3, Outcome::Refused(gone)), (4, later())];
        let judgement = judge(entry, outcomes, &RetrySchedule::default(), Reading::sure(ARRIVAL + 1), 0);
        assert!(judgement.stays);
        assert_eq!(judgement.refused, [3]);
        let told: Vec<_> = judgement
            .reports
            .iter()
            .map(|(action, recipients)| (*action, recipients.iter().map(|(place, _)| *place).collect()))
            .collect();
        assert_eq!(told, [(Action::Failed, vec![3]), (Action::Relayed, vec![1])]);
        let states: Vec<_> = judgement.entry.recipients.iter().map(|recipient| recipient.state).collect();
        use RecipientState::{Delivered, Failed, Waiting};
        assert_eq!(states, [Delivered, Delivered, Delivered, Failed, Waiting]);
        assert!(judgement.entry.due > ARRIVAL + 1 && judgement.entry.attempts == 1);
    }

    #[test]
    fn what_is_late_comes_back_or_is_told_of_once() {
        let timed = |gives_up, notify| {
            let mut entry = entry("<ann@a.example>", 1);
            entry.deadline = Some(Deadline::new(ARRIVAL + 200, gives_up, false));
            entry.recipients[0].notify = notify;
            life(entry)
        };
        let (tried, told) = timed(true, Notify::DEFAULT);
        assert_eq!((tried, told), (vec![0, 60, 180, 200], vec![(200, Action::Failed)]));
        let (tried, told) = timed(false, Notify::DEFAULT);
        assert_eq!(tried[..6], [0, 60, 180, 200, 680, 1_640]);
        let expected = [(200, Action::Delayed), (15_400, Action::Delayed), (345_600, Action::Failed)];
        assert_eq!(told, expected);
        // Who wants to hear nothing hears nothing.
        assert_eq!(timed(true, Notify::NEVER).1, []);
        assert_eq!(timed(false, Notify::NEVER).1, []);
    }

    #[test]
    fn a_host_that_does_not_know_the_time_is_told_of() {
        let told = |timed, traced| {
            let mut entry = entry("<ann@a.example>", 1);
            entry.deadline = Some(Deadline::new(ARRIVAL + 200, false, traced));
            let diagnosis = said("250 Ok\r\n");
            let taken = Outcome::Taken { diagnosis, reports: true, delivered: false, timed };
            let judgement =
                judge(entry, vec![(0, taken)], &RetrySchedule::default(), Reading::sure(ARRIVAL), 0);
            judgement.reports.iter().map(|(action, _)| *action).collect::<Vec<_>>()
        };
        assert_eq!(told(true, false), []);
        assert_eq!(told(false, false), [Action::Relayed]);
        assert_eq!(told(true, true), [Action::Relayed]);
    }

    #[test]
    fn what_was_held_back_has_all_its_time_after_that() {
        let mut held = entry("<ann@a.example>", 1);
        (held.release, held.due) = (Some(ARRIVAL + 400_000), ARRIVAL + 400_000);
        let (tried, told) = life(held);
        assert_eq!((tried[0], tried[1]), (400_000, 400_060));
        assert_eq!(told, [(415_620, Action::Delayed), (745_600, Action::Failed)]);
    }

    #[test]
    fn what_cannot_be_told_now_is_tried_again() {
        let schedule = RetrySchedule::default();
        let refused = || Outcome::Refused(said("550 5.1.1 nobody\r\n"));
        let judged =
            |outcomes| judge(entry("<ann@a.example>", 2), outcomes, &schedule, Reading::sure(ARRIVAL), 0);
        let again = judged(vec![(0, taken()), (1, refused())]).put_off(ARRIVAL + 60).unwrap();
        let states: Vec<_> = again.recipients.iter().map(|recipient| recipient.state).collect();
        assert_eq!(states, [RecipientState::Delivered, RecipientState::Waiting]);
        assert_eq!(again.due, ARRIVAL + 60);
        // What was delivered is not delivered again for a report of that.
        let mut wanted = entry("<ann@a.example>", 1);
        wanted.recipients[0].notify = Notify::asked(true, true, false);
        let judgement = judge(wanted, vec![(0, taken())], &schedule, Reading::sure(ARRIVAL), 0);
        assert_eq!(judgement.put_off(ARRIVAL + 60), None);
    }
}
