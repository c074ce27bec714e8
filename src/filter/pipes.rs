//! Messages given to programs (spec-bosch-sieve-extprograms §5).

use std::sync::Mutex;

use mailwright_mailstore::{Store, Upload};
use mailwright_sieve::{Action, Outcome};

use super::{
    Mail, Remember, SieveFilter, Sources,
    programs::{Call, Input, Output, Ran},
};

/// Gives the message to the programs that are to have it, before anything else is done. What only these kept from being kept is
/// kept if none of them takes it. False if one failed that must not.
pub(super) async fn give<S: Store, M: Remember>(
    filter: &SieveFilter<S, M>,
    mail: &mut Mail<'_>,
    outcome: &mut Outcome,
    others: &mut [Mutex<Upload>],
) -> bool {
    let (mut taken, environment) = (false, filter.environment(mail));
    for action in &outcome.actions {
        let Action::Pipe(pipe) = action else { continue };
        let call = Call {
            program: &pipe.program,
            arguments: &pipe.arguments,
            environment: &environment,
            id: mail.id,
        };
        let ran = match &filter.options.programs {
            Some(programs) => {
                // It is never closed.
                let _turn = filter.turns.acquire().await;
                let mut sources = Sources { own: &mut *mail.upload, others: &mut *others };
                programs.run(call, Input::Message(&pipe.message), &mut sources, &mut Output::Nothing).await
            }
            None => Ran::Unknown,
        };
        match ran {
            Ran::Succeeded => taken |= !pipe.copy,
            _ if pipe.ignore_failure => {}
            _ => {
                tracing::warn!(id = mail.id, user = %mail.account, program = pipe.program, ?ran, "the message is kept: a program did not take it");
                return false;
            }
        }
    }
    if !taken && let Some(kept) = outcome.unless_piped.take() {
        outcome.actions.push(Action::Keep(kept));
    }
    true
}
