//! Scripts that run when something happens to a message in a mailbox (RFC 6785).

use std::sync::Arc;

use mailwright_mail_model::{FlagSet, MailboxName};
use mailwright_mailstore::{Annotated, Metadata, Scripts, Store, User};
use mailwright_sieve::{Action, Program};

use super::{Filtered, Mail, Remember, SieveFilter, actions, pipes};
use crate::smtp::now;

/// RFC 6785 §2.3.1
const SCRIPT: &str = "/shared/imapsieve/script";

/// What is to be done with a message that something has happened to.
#[derive(Debug, Default)]
pub(crate) struct Handled {
    /// Copies of it, and messages that are made of it.
    pub(crate) filtered: Filtered,
    /// Whether it stays as it is; if not, it is marked as deleted (RFC 6785 §2.2.4).
    pub(crate) kept: bool,
    /// The flags it is to have, if it stays.
    pub(crate) flags: Option<FlagSet>,
}

impl<S: Store, M: Remember> SieveFilter<S, M> {
    /// The script that runs when something happens in a mailbox.
    pub(crate) async fn event_script(&self, owner: &User, mailbox: &MailboxName) -> Option<Arc<Program>> {
        if !self.options.events {
            return None;
        }
        let place = Annotated::Mailbox { owner: owner.clone(), name: mailbox.clone() };
        // The one of the server is no stand-in for one that cannot be used.
        let name = match self.named_script(&place, owner).await {
            None => self.named_script(&Annotated::Server, owner).await,
            named => named,
        };
        let name = name.filter(|name| !name.is_empty())?;
        let text = self.store.scripts()?.script(owner, &name.parse().ok()?).await.ok()?;
        let program = self.compile_for(owner, &name, &text, true);
        if program.is_none() {
            let error = self.event_language.compile(&text).err().map(|error| error.to_string());
            let problem = format!("the script \"{name}\" is not right: {}", error.unwrap_or_default());
            self.tell(owner, now(), [problem]).await;
        }
        program
    }

    async fn named_script(&self, place: &Annotated, owner: &User) -> Option<String> {
        let all = self.store.metadata()?.annotations(place, owner).await.ok()?;
        let found = all.iter().find(|annotation| annotation.entry.as_str().eq_ignore_ascii_case(SCRIPT))?;
        Some(String::from_utf8_lossy(&found.value).into_owned())
    }

    /// Runs a script because of what happened to a message.
    pub(crate) async fn handle(&self, mail: &mut Mail<'_>, programs: Vec<Arc<Program>>) -> Handled {
        let kept = Handled { kept: true, ..Handled::default() };
        let Some((mut outcome, sources)) = pipes::run_claimed(self, mail, programs).await else {
            return kept;
        };
        // RFC 6785 §3.1: what keeps it leaves it where it is, unchanged but for its flags.
        let mut handled = Handled::default();
        outcome.unless_piped = None;
        let failed = outcome.error.is_some();
        outcome.retain(|action| {
            let Action::Keep(keep) = action else { return true };
            handled.kept = true;
            handled.flags =
                keep.flags.as_ref().map(|flags| flags.iter().filter_map(|flag| flag.parse().ok()).collect());
            false
        });
        let wants_inbox = outcome.actions.iter().any(|action| {
            matches!(action, Action::FileInto(file) if file.mailbox.as_deref().is_some_and(|name| name.eq_ignore_ascii_case("INBOX")))
        });
        handled.filtered = actions::carry_out(self, mail, outcome, sources).await;
        if failed {
            handled.flags = None;
        }
        if !wants_inbox {
            handled.stay_instead_of_inbox();
        }
        handled
    }
}

impl Handled {
    /// What goes into INBOX for want of something better at delivery is left where it is; whether there was such a thing.
    pub(crate) fn stay_instead_of_inbox(&mut self) -> bool {
        let before = self.filtered.filings.len();
        self.filtered.filings.retain(|filing| !filing.is_own_inbox());
        let stays = self.filtered.filings.len() < before;
        self.kept |= stays;
        stays
    }
}
