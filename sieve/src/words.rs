//! What is to be done, in words.

use crate::{Action, Delivery, Message, Outcome, Snooze};

impl Outcome {
    /// A line for each action, for people: close to what the script says. A message that is discarded is one line too.
    ///
    /// ```
    /// use mailwright_sieve::Outcome;
    ///
    /// assert_eq!(Outcome::default().in_words(), ["discard"]);
    /// ```
    pub fn in_words(&self) -> Vec<String> {
        let mut lines: Vec<_> = self
            .actions
            .iter()
            .map(|action| match action {
                Action::Keep(delivery) if self.implicit_keep => format!("implicit keep{}", details(delivery)),
                action => line(action),
            })
            .collect();
        if lines.is_empty() {
            lines.push("discard".into());
        }
        lines
    }
}

fn line(action: &Action) -> String {
    match action {
        Action::Keep(delivery) => format!("keep{}", details(delivery)),
        Action::FileInto(delivery) => {
            format!("fileinto \"{}\"{}", delivery.mailbox.as_deref().unwrap_or("INBOX"), details(delivery))
        }
        Action::Redirect(redirect) => {
            let list = if redirect.list { " :list" } else { "" };
            format!("redirect{list} \"{}\"{}", redirect.address, changed(&redirect.message))
        }
        Action::Reject(reject) => {
            let name = if reject.at_protocol_level { "ereject" } else { "reject" };
            format!("{name}: {}", reject.reason.trim_end())
        }
        Action::Vacation(reply) => {
            format!("vacation to {}, once in {} s: {}", reply.recipient, reply.seconds, reply.subject)
        }
        Action::Notify(notify) => format!("notify {}", notify.method),
        Action::Pipe(pipe) => format!("pipe \"{}\" {:?}", pipe.program, pipe.arguments),
        Action::Report(report) => format!("report \"{}\" to {}", report.feedback_type, report.recipient),
        Action::Snooze(snooze) => later(snooze),
        other => format!("{other:?}"),
    }
}

fn later(snooze: &Snooze) -> String {
    let clock = |time: &u32| format!("{:02}:{:02}:{:02}", time / 3_600, time / 60 % 60, time % 60);
    let times: Vec<String> = snooze.times.iter().map(clock).collect();
    let mut text = format!("snooze until {}", times.join(" or "));
    if !snooze.weekdays.is_empty() {
        let days: Vec<String> = snooze.weekdays.iter().map(ToString::to_string).collect();
        text.push_str(&format!(" on days {}", days.join(", ")));
    }
    if let Some(zone) = &snooze.zone {
        text.push_str(&format!(" in {zone}"));
    }
    let mailbox = snooze.awaken.mailbox.as_deref().unwrap_or("INBOX");
    text.push_str(&format!(", then into \"{mailbox}\"{}", details(&snooze.awaken)));
    for (what, flags) in [("add", &snooze.add_flags), ("remove", &snooze.remove_flags)] {
        if !flags.is_empty() {
            text.push_str(&format!(", {what} ({})", flags.join(" ")));
        }
    }
    text
}

fn details(delivery: &Delivery) -> String {
    let mut text = String::new();
    if let Some(flags) = &delivery.flags {
        text.push_str(&format!(" flags ({})", flags.join(" ")));
    }
    if let Some(id) = &delivery.mailbox_id {
        text.push_str(&format!(" mailboxid \"{id}\""));
    }
    if let Some(special_use) = &delivery.special_use {
        text.push_str(&format!(" specialuse \"{special_use}\""));
    }
    if delivery.create {
        text.push_str(" create");
    }
    text + changed(&delivery.message)
}

fn changed(message: &Message) -> &'static str {
    if message.is_original() { "" } else { " (changed)" }
}
