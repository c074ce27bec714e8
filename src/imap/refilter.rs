//! FILTER: scripts that are run on messages that are here already (draft-bosch-imap-filter-sieve).

use std::{fmt, io, pin::Pin, sync::Arc};

use mailwright_imap_proto::{
    Answered, Refusal,
    command::{ApplyFilter, FilterScript},
    response::FilterResult,
    server::Server,
};
use mailwright_line_proto::{Ask, Deflate};
use mailwright_mail_model::{FlagSet, MailboxName, Uid};
use mailwright_mailstore::{Result, Rights, Store, User, accounts::Accounts};
use mailwright_sieve::Program;

use super::{Visit, access::permitted, refusal};
use crate::service::Session;

/// Runs scripts on messages that are here already, if it is a [`StoreInbox`](crate::smtp::StoreInbox) with a
/// [`SieveFilter`](crate::filter::SieveFilter).
pub trait Refilter: Send + Sync {
    /// The scripts that are meant, in order; what is wrong with them if they cannot be run, for people.
    fn scripts<'a>(
        &'a self,
        user: &'a User,
        which: &'a FilterScript,
    ) -> Later<'a, std::result::Result<Vec<Arc<Program>>, String>>;

    /// Runs them on a message; `None` if nothing was done to it.
    ///
    /// # Errors
    /// If the message cannot be read, or what they want cannot be done.
    fn refilter<'a>(
        &'a self,
        place: &'a Filtering,
        uid: Uid,
        scripts: &'a [Arc<Program>],
    ) -> Later<'a, Result<Option<FilterResult>>>;
}

/// A mailbox whose messages somebody has scripts run on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Filtering {
    /// Whose scripts these are: what they file and send, they file and send for this user.
    pub user: User,
    /// Whose the mailbox is.
    pub owner: User,
    /// What its owner calls it.
    pub mailbox: MailboxName,
    /// What the user calls it.
    pub name: MailboxName,
    /// What the user may do there.
    pub rights: Rights,
}

impl Filtering {
    /// The same mailbox, as scripts of its owner see it.
    pub(crate) fn is_foreign(&self) -> bool {
        self.user != self.owner
    }

    /// Those of these flags that the user may change there.
    pub(crate) fn permitted(&self, flags: &FlagSet) -> FlagSet {
        permitted(self.rights, flags)
    }
}

/// What will have been done.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who runs them.
#[derive(Clone)]
pub(super) struct Filters(pub(super) Arc<dyn Refilter>);

impl fmt::Debug for Filters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Filters").finish_non_exhaustive()
    }
}

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    pub(super) async fn apply_filter(
        &mut self,
        connection: &mut Session<Deflate<Server>>,
        ask: Ask<ApplyFilter>,
    ) -> io::Result<()> {
        self.refresh(connection).await;
        let answer = self.filter_each(connection, &ask).await?;
        // The client hears what became of the messages before it hears that all is done.
        self.refresh(connection).await;
        let _ = connection.machine().inner_mut().inner_mut().answer(ask, answer);
        Ok(())
    }

    async fn filter_each(
        &self,
        connection: &mut Session<Deflate<Server>>,
        ask: &Ask<ApplyFilter>,
    ) -> io::Result<Answered<()>> {
        let (Some(selected), Some(user), Some(Filters(filters))) =
            (&self.selected, &self.user, &self.service.filters)
        else {
            return Ok(Err(Refusal::cannot()));
        };
        if selected.read_only {
            return Ok(Err(Refusal::no_permission()));
        }
        // Scripts are somebody's own, and so is what they do, wherever the messages are.
        let place = match self.rights().await {
            Ok(rights) => Filtering {
                user: user.clone(),
                owner: selected.mailbox.user().clone(),
                mailbox: selected.mailbox.name().clone(),
                name: selected.name.clone(),
                rights,
            },
            Err(refusal) => return Ok(Err(refusal)),
        };
        let scripts = match filters.scripts(user, &ask.script).await {
            Ok(scripts) => scripts,
            Err(problem) => {
                let problem = FilterResult::Errors(problem);
                connection.machine().inner_mut().inner_mut().filter_problem(ask, problem);
                return Ok(Err(Refusal::plain("the Sieve script cannot be run")));
            }
        };
        let found = match self.telling(connection, ask, self.matching(selected, &ask.query, None)).await {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if scripts.is_empty() {
            return Ok(Ok(()));
        }
        for uid in found.iter() {
            let work = filters.refilter(&place, uid, &scripts);
            let result = match self.telling(connection, ask, work).await {
                Ok(result) => result,
                Err(error) => Some(FilterResult::Errors(refusal(&error).text.to_string())),
            };
            connection.machine().inner_mut().inner_mut().filtered(ask, uid, result);
            if connection.machine().inner().inner().transmit_room() == 0 {
                connection.flush_below(self.service.config.limits.transmit / 2).await?;
            }
        }
        Ok(Ok(()))
    }
}
