//! Actions, and which of them go together (RFC 5228 §2.10, RFC 9122).

use super::{Context, Stop};
use crate::{Action, Delivery};

impl Context {
    /// Adds an action. One that is there already is not done twice.
    ///
    /// # Errors
    /// If it does not go together with one of the same script, or there are too many.
    pub fn act(&mut self, action: Action) -> Result<(), Stop> {
        for (index, other) in self.actions.iter().enumerate() {
            if index < self.committed {
                // What scripts before this one want is done whatever this one wants: it is in nobody's way.
                match is_done(&action, other) {
                    true => return Ok(()),
                    false => continue,
                }
            }
            if let Some(message) = conflict(&action, other) {
                return Err(Stop::error(message));
            }
            if same(&action, other) {
                if let (Some(new), Some(old)) =
                    (delivery_of(action), self.actions.get_mut(index).and_then(delivery))
                {
                    // The last flags count, and what one of them wants to be made is made.
                    old.flags = new.flags;
                    old.create |= new.create;
                }
                return Ok(());
            }
        }
        self.hold()?;
        let limits = self.limits();
        if self.actions.len() >= limits.actions {
            return Err(Stop::error(format!("the script wants more than {} actions", limits.actions)));
        }
        if is_sent_on(&action) {
            // RFC 5804 §1.7: what MAXREDIRECTS says is of the user's script alone.
            let own = self.actions.iter().skip(self.committed);
            let most = limits.redirects;
            if own.filter(|action| is_sent_on(action)).count() >= most {
                let does =
                    if matches!(action, Action::Report(_)) { "redirects and reports" } else { "redirects" };
                return Err(Stop::error(format!("the script {does} to more than {most} addresses")));
            }
        }
        self.actions.push(action);
        Ok(())
    }

    /// Whether a script before this one has the sender answered.
    pub(crate) fn is_answered(&self) -> bool {
        self.actions.iter().take(self.committed).any(|action| matches!(action, Action::Vacation(_)))
    }

    /// Nothing but an explicit `keep` keeps the message from now on.
    pub fn cancel_keep(&mut self) {
        self.implicit_keep = false;
        self.only_piped = false;
    }

    /// As [`cancel_keep`](Self::cancel_keep), as long as the program takes the message (spec-bosch-sieve-extprograms §5).
    pub(crate) fn cancel_keep_by_pipe(&mut self) {
        self.only_piped = self.implicit_keep || self.only_piped;
        self.implicit_keep = false;
    }

    /// Whether the message is to be kept as things are.
    pub(super) const fn kept(&self) -> bool {
        self.implicit_keep || self.explicit_keep
    }

    /// The flags that the message is kept with if this script says nothing of them.
    pub(crate) fn implicit_flags(&self) -> Option<Vec<String>> {
        // RFC 5232 §4: the implicit keep uses the internal variable too.
        match &self.kept_with {
            Some((kept, before)) => {
                let added = self.flags.iter().filter(|flag| !before.contains(flag) && !kept.contains(flag));
                Some(kept.iter().chain(added).cloned().collect())
            }
            None => (self.input().tells_flags() || !self.flags.is_empty()).then(|| self.flags.clone()),
        }
    }

    /// What would be done if the script ended here, and whether that is the implicit keep too; the script goes on.
    pub(crate) fn so_far(&mut self) -> (Vec<Action>, bool) {
        let (actions, implicit_keep) = (self.actions.clone(), self.implicit_keep);
        self.keep_implicitly();
        let found = std::mem::replace(&mut self.actions, actions);
        (found, std::mem::replace(&mut self.implicit_keep, implicit_keep))
    }

    /// As if the script had done nothing yet.
    pub(crate) fn forget_actions(&mut self) {
        self.actions.clear();
        self.seen.clear();
        self.committed = 0;
        (self.implicit_keep, self.explicit_keep, self.only_piped) = (true, false, false);
    }

    pub(super) fn keep_implicitly(&mut self) {
        let flags = self.implicit_flags();
        let message = self.current.message();
        let committed = self.committed;
        let stored = self.actions.iter_mut().enumerate().find(|(index, action)| match action {
            Action::Keep(_) => true,
            Action::FileInto(file) => is_inbox(file) && (*index >= committed || file.message == message),
            _ => false,
        });
        match stored.map(|(_, action)| action) {
            None if self.only_piped => {
                self.unless_piped = Some(Delivery { flags, message, ..Delivery::default() });
            }
            _ if !self.implicit_keep => {}
            // What `keep` has said stays.
            Some(Action::Keep(_)) => self.implicit_keep = false,
            Some(stored) => {
                // The message is where it would be kept; the last flags count, and those of an explicit keep are set already.
                if let (Some(stored), Some(flags), false) = (delivery(stored), flags, self.explicit_keep) {
                    stored.flags = Some(flags);
                }
                self.implicit_keep = false;
            }
            None => {
                self.actions.push(Action::Keep(Delivery { flags, message, ..Delivery::default() }));
            }
        }
    }
}

/// Whether this puts the message where `keep` does.
fn is_inbox(file: &Delivery) -> bool {
    file.mailbox.as_deref() == Some("INBOX") && file.mailbox_id.is_none() && file.special_use.is_none()
}

/// Whether this sends the message to somebody whom the script names. RFC 5228 §10: of these there must not be many.
const fn is_sent_on(action: &Action) -> bool {
    matches!(action, Action::Redirect(_) | Action::Report(_))
}

/// Whether what a script before this one wants is enough: nobody gets a message twice (RFC 5228 §2.10.3), or two answers to one.
fn is_done(new: &Action, earlier: &Action) -> bool {
    match new {
        Action::Redirect(_) | Action::Report(_) | Action::Notify(_) => same(new, earlier),
        Action::Vacation(_) => matches!(earlier, Action::Vacation(_)),
        Action::Reject(_) => matches!(earlier, Action::Reject(_)),
        _ => false,
    }
}

fn delivery(action: &mut Action) -> Option<&mut Delivery> {
    match action {
        Action::Keep(delivery) | Action::FileInto(delivery) => Some(delivery),
        _ => None,
    }
}

fn delivery_of(action: Action) -> Option<Delivery> {
    match action {
        Action::Keep(delivery) | Action::FileInto(delivery) => Some(delivery),
        _ => None,
    }
}

/// Why two actions cannot both be done.
fn conflict(new: &Action, old: &Action) -> Option<String> {
    match (new, old) {
        // RFC 5230 §4.7
        (Action::Vacation(_), Action::Vacation(_)) => Some("there can be only one `vacation`".into()),
        // RFC 5429 §2.1.1, §2.2: a message that is refused is not accepted in any other way, and not refused twice.
        (Action::Reject(_), other) | (other, Action::Reject(_)) => {
            let other = match other {
                Action::Keep(_) => "keep",
                Action::FileInto(_) => "fileinto",
                Action::Redirect(_) => "redirect",
                Action::Vacation(_) => "vacation",
                Action::Pipe(_) => "pipe",
                Action::Snooze(_) => "snooze",
                Action::Reject(_) => "another reject",
                _ => return None,
            };
            Some(format!("a message cannot be refused and have `{other}` as well"))
        }
        (Action::Pipe(new), Action::Pipe(old)) if new.program == old.program => {
            Some(format!("the message is given to `{}` twice", new.program))
        }
        _ => None,
    }
}

/// Whether doing both would be doing one of them twice (RFC 5228 §2.10.3).
fn same(new: &Action, old: &Action) -> bool {
    match (new, old) {
        (Action::Keep(_), Action::Keep(_)) => true,
        (Action::Keep(_), Action::FileInto(file)) | (Action::FileInto(file), Action::Keep(_)) => {
            is_inbox(file)
        }
        (Action::FileInto(new), Action::FileInto(old)) => {
            new.mailbox == old.mailbox
                && new.mailbox_id == old.mailbox_id
                && new.special_use == old.special_use
        }
        (Action::Redirect(new), Action::Redirect(old)) => {
            new.list == old.list && new.address.eq_ignore_ascii_case(&old.address)
        }
        (Action::Report(new), Action::Report(old)) => {
            new.feedback_type == old.feedback_type && new.recipient.eq_ignore_ascii_case(&old.recipient)
        }
        (Action::Notify(new), Action::Notify(old)) => new == old,
        _ => false,
    }
}
