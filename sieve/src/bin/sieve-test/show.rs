//! What a script would store or send.

use mailwright_sieve::{Action, Message, Outcome};

/// The messages that would be stored or sent on.
pub(crate) fn messages(outcome: &Outcome) -> Vec<&Message> {
    outcome.actions.iter().filter_map(message).collect()
}

fn message(action: &Action) -> Option<&Message> {
    match action {
        Action::Keep(delivery) | Action::FileInto(delivery) => Some(&delivery.message),
        Action::Redirect(redirect) => Some(&redirect.message),
        Action::Pipe(pipe) => Some(&pipe.message),
        _ => None,
    }
}
