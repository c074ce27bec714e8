//! Messages given to programs (spec-bosch-sieve-extprograms §5).

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use mailwright_mail_model::DateTime;
use mailwright_mailstore::{Store, Upload, User};
use mailwright_sieve::{Action, Outcome, Program};
use tokio::time::timeout;

use super::{
    Given, Mail, Remember, SieveFilter, Sources,
    programs::{Call, Input, Output, Ran},
};

/// So long a message waits for others of its kind. Longer than their programs take, and no longer than their clients wait; then two may
/// be waiting for one another, each for what the other has for another of its recipients.
const WAIT: Duration = Duration::from_secs(120);

/// So often scripts are run again before programs are given a message, because something was remembered meanwhile.
const TRIES: u32 = 8;

/// Runs scripts on a message, and once more if others were faster with what these found not remembered; then programs may be given it,
/// wherever it comes from. `None` if there is nothing to run.
pub(super) async fn run_claimed<S: Store, M: Remember>(
    filter: &SieveFilter<S, M>,
    mail: &mut Mail<'_>,
    programs: Vec<Arc<Program>>,
) -> Option<(Outcome, Vec<Mutex<Upload>>)> {
    let mut tries = 1..TRIES;
    loop {
        let (outcome, sources) = filter.run_all(mail, programs.clone(), false).await?;
        let first = claim(filter, mail.account, mail.now, &mail.given, &outcome).await;
        if first || tries.next().is_none() {
            return Some((outcome, sources));
        }
        tracing::debug!(id = mail.id, "filtered again: others were faster");
    }
}

/// Waits until no program is being given another message of which the same is to be remembered: of copies that come at once one is the
/// first, and what a program was given cannot be taken back. They wait until this one is committed. False if something was remembered since
/// the scripts asked for it (`duplicate`): they are to be run again.
async fn claim<S: Store, M: Remember>(
    filter: &SieveFilter<S, M>,
    user: &User,
    now: DateTime,
    given: &Given,
    outcome: &Outcome,
) -> bool {
    if !outcome.actions.iter().any(|action| matches!(action, Action::Pipe(_))) {
        return true;
    }
    let answers = outcome.actions.iter().filter_map(|action| match action {
        Action::Vacation(reply) => Some(&reply.key),
        _ => None,
    });
    let keys = outcome.seen.iter().map(|seen| &seen.key).chain(answers);
    let keys: BTreeSet<_> = keys.map(|key| (user.clone(), key.clone())).collect();
    let keys = given.unclaimed(keys);
    if !keys.is_empty() {
        given.hold(timeout(WAIT, filter.giving.take(keys)).await.unwrap_or_default());
    }
    let now = u64::try_from(now.seconds()).unwrap_or(0);
    let mut first = outcome.seen.iter().filter(|seen| !seen.known);
    let known = |key: &str| filter.memory.remembers(user, key, now).unwrap_or(false);
    !first.any(|seen| known(&seen.key))
}

/// Gives the message to the programs that are to have it, before anything else is done. What only these kept from being kept is
/// kept if none of them takes it. If one fails that must not, what its script wants is undone, and so is what comes behind.
pub(super) async fn give<S: Store, M: Remember>(
    filter: &SieveFilter<S, M>,
    mail: &mut Mail<'_>,
    outcome: &mut Outcome,
    others: &mut [Mutex<Upload>],
) {
    let (mut taken, environment) = (false, filter.environment(mail));
    let (mut failed, mut problems) = (None, Vec::new());
    for (place, action) in outcome.actions.iter().enumerate() {
        let Action::Pipe(pipe) = action else { continue };
        let call = Call {
            program: &pipe.program,
            arguments: &pipe.arguments,
            environment: &environment,
            id: mail.id,
        };
        let ran = match &filter.options.programs {
            _ if mail.given.had(mail.account, pipe) => Ran::Succeeded,
            Some(programs) => {
                // It is never closed.
                let _turn = filter.turns.acquire().await;
                let mut sources = Sources { own: &mut *mail.upload, others: &mut *others };
                programs.run(call, Input::Message(&pipe.message), &mut sources, &mut Output::Nothing).await
            }
            None => Ran::Unknown,
        };
        match ran {
            Ran::Succeeded => {
                mail.given.took(mail.account, pipe);
                taken |= !pipe.copy;
            }
            _ if pipe.ignore_failure => problems.push(ran.problem(&pipe.program)),
            _ => {
                problems.push(format!("{}; the message is kept", ran.problem(&pipe.program)));
                tracing::warn!(id = mail.id, user = %mail.account, program = pipe.program, ?ran, "the message is kept: a program did not take it");
                failed = Some(place);
                break;
            }
        }
    }
    filter.tell(mail.account, mail.now, problems).await;
    if let Some(place) = failed {
        outcome.undo(place, mail.structure.octets());
    } else if !taken && let Some(kept) = outcome.unless_piped.take() {
        outcome.actions.push(Action::Keep(kept));
    }
}
