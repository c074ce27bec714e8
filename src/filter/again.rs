//! Messages that are here already and are filtered once more (draft-bosch-imap-filter-sieve).

use std::sync::Arc;

use mailwright_imap_proto::{command::FilterScript, response::FilterResult};
use mailwright_mail_model::MailboxName;
use mailwright_mailstore::{Right, Scripts, Store, User};
use mailwright_sieve::{Action, Delivery, Outcome, Program};

use super::{Again, Handled, Mail, Remember, SieveFilter, actions, actions::is_named, pipes};

impl<S: Store, M: Remember> SieveFilter<S, M> {
    /// The scripts that a client means; what is wrong with them if they cannot be run.
    pub(crate) async fn scripts_for(
        &self,
        user: &User,
        which: &FilterScript,
    ) -> Result<Vec<Arc<Program>>, String> {
        match which {
            FilterScript::Delivery => {
                // At delivery a script that is not right keeps the message; here somebody waits to hear of it.
                let personal = self.personal(user).await;
                match &personal.problem {
                    Some(problem) => Err(problem.clone()),
                    None => Ok(self.delivery_programs(personal)),
                }
            }
            FilterScript::Personal(name) => {
                let missing = || format!("there is no script \"{name}\"");
                let scripts = self.store.scripts().ok_or_else(missing)?;
                let parsed = name.parse().map_err(|_| missing())?;
                let text = scripts.script(user, &parsed).await.map_err(|_| missing())?;
                self.compiled(&text)
            }
            FilterScript::Global(name) => {
                let program = self.server.included.get(name).cloned();
                program
                    .map(|program| vec![program])
                    .ok_or_else(|| format!("the server has no script \"{name}\""))
            }
            FilterScript::Text(text) => self.compiled(text),
            other => Err(format!("nobody knows what {other:?} is")),
        }
    }

    fn compiled(&self, text: &[u8]) -> Result<Vec<Arc<Program>>, String> {
        let program = self.refilter_language.compile(text).map_err(|error| error.to_string())?;
        Ok(vec![Arc::new(program)])
    }

    /// Runs scripts on a message that is in a mailbox; `None` if there is nothing to be told of it.
    pub(crate) async fn handle_again(
        &self,
        mail: &mut Mail<'_>,
        again: &Again,
        programs: Vec<Arc<Program>>,
    ) -> (Handled, Option<FilterResult>) {
        let kept = || Handled { kept: true, ..Handled::default() };
        mail.again = Some(again.clone());
        let Some((mut outcome, sources)) = pipes::run_claimed(self, mail, programs).await else {
            return (kept(), None);
        };
        if let Some(error) = outcome.error {
            // §3.3: as if there were nothing but a keep.
            return (kept(), Some(FilterResult::Errors(error.to_string())));
        }
        let mut handled = Handled::default();
        stay_where_it_is(&mut handled, again, &mut outcome);
        if let Some(problem) = forbidden(&handled, again, &outcome) {
            return (kept(), Some(FilterResult::Errors(problem.into())));
        }
        let made_nothing = outcome.actions.is_empty();
        let wants_inbox = names(&outcome, &MailboxName::inbox());
        handled.filtered = actions::carry_out(self, mail, outcome, sources).await;
        let mut result = (!made_nothing || !handled.kept).then_some(FilterResult::Done);
        if !wants_inbox && handled.stay_instead_of_inbox() {
            let problem = "what the script wants cannot be done, such as to file into a mailbox that does not exist: the message stays";
            result = Some(FilterResult::Warnings(problem.into()));
        }
        if handled.flags.as_ref().is_some_and(|flags| *flags != again.flags) {
            result.get_or_insert(FilterResult::Done);
        }
        (handled, result)
    }
}

/// What of all this the user may not do in the mailbox that the message is in (RFC 4314 §4).
fn forbidden(handled: &Handled, again: &Again, outcome: &Outcome) -> Option<&'static str> {
    let place = &again.place;
    let beside =
        |action: &Action| matches!(action, Action::FileInto(delivery) if is_named(delivery, &place.name));
    if outcome.actions.iter().any(beside) && !place.rights.contains(Right::Insert) {
        return Some(
            "you may not add messages to this mailbox: the changed message cannot take the place of the one that is there",
        );
    }
    if !handled.kept && !place.rights.contains(Right::DeleteMessages) {
        return Some("you may not delete messages of this mailbox: the message stays");
    }
    let flags = handled.flags.as_ref().filter(|_| handled.kept)?;
    let changed = flags.difference(&again.flags).union(&again.flags.difference(flags));
    (place.permitted(&changed) != changed)
        .then_some("you may not set these flags in this mailbox: the message stays as it is")
}

/// §4: takes out what leaves the message where it is, and what would answer whoever sent it long ago.
fn stay_where_it_is(handled: &mut Handled, again: &Again, outcome: &mut Outcome) {
    outcome.unless_piped = None;
    for action in &mut outcome.actions {
        // §4.8: a message does not change where it is; what the script made of it comes beside it, and it goes.
        if let Action::Keep(keep) = action
            && !keep.message.is_original()
        {
            let mut delivery = keep.clone();
            delivery.mailbox = Some(again.place.name.as_str().to_owned());
            let flags = || again.flags.iter().map(|flag| flag.to_string()).collect();
            delivery.flags = Some(delivery.flags.unwrap_or_else(flags));
            *action = Action::FileInto(delivery);
        }
    }
    outcome.retain(|action| match action {
        Action::Keep(delivery) => stay(handled, delivery),
        // §3.2: what is stored where it is already stays there.
        Action::FileInto(delivery)
            if is_named(delivery, &again.place.name) && delivery.message.is_original() =>
        {
            stay(handled, delivery)
        }
        // §4.10
        Action::Reject(_) => {
            handled.kept = true;
            false
        }
        Action::Vacation(_) => false,
        _ => true,
    });
}

/// The message stays, with these flags; the action is done with that.
fn stay(handled: &mut Handled, delivery: &Delivery) -> bool {
    handled.kept = true;
    if let Some(flags) = &delivery.flags {
        handled.flags = Some(flags.iter().filter_map(|flag| flag.parse().ok()).collect());
    }
    false
}

/// Whether a script says the name of a mailbox.
fn names(outcome: &Outcome, mailbox: &MailboxName) -> bool {
    outcome.actions.iter().any(|action| {
        matches!(action, Action::FileInto(delivery) if delivery.mailbox.as_ref().and_then(|name| name.parse().ok()).as_ref() == Some(mailbox))
    })
}
