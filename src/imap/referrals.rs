//! Mail that is on other servers: who lives elsewhere (RFC 2221), and which mailboxes do (RFC 2193).

use std::{collections::BTreeMap, fmt};

use mailwright_imap_proto::{
    Refusal,
    server::{ListEntry, Server},
};
use mailwright_line_proto::AuthRefusal;
use mailwright_mail_model::MailboxName;
use mailwright_mailstore::{Store, User, accounts::Accounts};

pub use mailwright_imap_proto::Referral;

use super::Visit;

/// Knows whose mail is on which other server. Clients that follow referrals go there.
///
/// It is asked in the course of sessions, and so must not wait for anything.
pub trait Referrals: fmt::Debug + Send + Sync {
    /// Where the mail of a user is who has just logged in, if it is not here, or not all of it.
    fn home_of(&self, user: &User) -> Option<Home> {
        let _ = user;
        None
    }

    /// The mailboxes of others, or of nobody, that the user sees here and finds elsewhere. What is below one of them is there too.
    fn mailboxes_of(&self, user: &User) -> Vec<RemoteMailbox> {
        let _ = user;
        Vec::new()
    }
}

/// Where the mail of a user is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Home {
    /// There, and nothing is here: the login is refused.
    Elsewhere(Referral),
    /// There, and what others share can be read here.
    AlsoElsewhere(Referral),
}

/// A mailbox on another server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteMailbox {
    /// What it is called here.
    pub name: MailboxName,
    /// Where it is: one place or several that are as good, at least one.
    pub places: Vec<Referral>,
}

impl RemoteMailbox {
    /// A mailbox that is called so here, in these places.
    pub fn new(name: MailboxName, places: Vec<Referral>) -> Self {
        Self { name, places }
    }

    /// Where a mailbox of this name is, if it is this one or below it.
    fn places_of(&self, name: &MailboxName) -> Option<Vec<Referral>> {
        let below = name.as_str().strip_prefix(self.name.as_str())?;
        if !below.is_empty() && !below.starts_with('/') {
            return None;
        }
        let there = |place: &Referral| {
            let above = place.mailbox.as_ref().unwrap_or(&self.name);
            MailboxName::lookup(&format!("{above}{below}")).ok().map(|name| place.clone().of_mailbox(name))
        };
        Some(self.places.iter().filter_map(there).collect::<Vec<_>>()).filter(|places| !places.is_empty())
    }
}

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// What the client is to be told of where this user's mail is; and that the user is to go there, if nothing is here.
    pub(super) fn refer(&self, server: &mut Server, user: Option<&User>) -> Result<(), AuthRefusal> {
        let home = user.zip(self.service.referrals.as_ref()).and_then(|(user, known)| known.home_of(user));
        match home {
            None => server.refer(None),
            Some(Home::AlsoElsewhere(referral)) => server.refer(Some(referral)),
            Some(Home::Elsewhere(referral)) => {
                server.refer(Some(referral));
                return Err(AuthRefusal::NotAuthorized);
            }
        }
        Ok(())
    }

    fn remote(&self) -> Vec<RemoteMailbox> {
        let both = self.user.as_ref().zip(self.service.referrals.as_ref());
        both.map(|(user, known)| known.mailboxes_of(user)).unwrap_or_default()
    }

    fn places_of(&self, name: &MailboxName) -> Option<Vec<Referral>> {
        self.remote().iter().find_map(|mailbox| mailbox.places_of(name))
    }

    /// Refuses what is to be done with a mailbox that is elsewhere (RFC 2193 §4.1).
    pub(super) fn stays_here(&self, name: &MailboxName) -> Result<(), Refusal> {
        self.places_of(name).map_or(Ok(()), |places| Err(Refusal::referred(places)))
    }

    /// The same for two names of which one takes the place of the other: pairs of where each is, or would be (RFC 2193 §4.3).
    pub(super) fn both_stay_here(&self, from: &MailboxName, to: &MailboxName) -> Result<(), Refusal> {
        match (self.places_of(from), self.places_of(to)) {
            (None, None) => Ok(()),
            (Some(from), Some(to)) => {
                Err(Refusal::referred(from.into_iter().zip(to).flat_map(|(from, to)| [from, to]).collect()))
            }
            // The other one is here, where the client is: there is no URL to send it to.
            _ => Err(Refusal::cannot()),
        }
    }

    /// The mailboxes that are elsewhere, for those who ask for them too.
    pub(super) fn list_remote(&self, entries: &mut BTreeMap<String, ListEntry>) {
        for mailbox in self.remote() {
            let mut entry = ListEntry::new(mailbox.name.clone());
            entry.remote = true;
            entry.can_have_children = true;
            entries.insert(mailbox.name.as_str().to_owned(), entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_is_there_too() {
        let name = |name: &str| MailboxName::new(name).unwrap();
        let place = Referral::new("ann", "two.example");
        let here =
            RemoteMailbox::new(name("Shared Folders/a"), vec![place.clone(), place.of_mailbox(name("b"))]);
        let urls = |of: &str| {
            let places = here.places_of(&name(of))?;
            Some(places.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(
            urls("Shared Folders/a/c").unwrap(),
            ["imap://ann;AUTH=*@two.example/Shared%20Folders/a/c", "imap://ann;AUTH=*@two.example/b/c"]
        );
        assert_eq!(urls("Shared Folders/a").unwrap().len(), 2);
        assert_eq!(urls("Shared Folders/ab"), None);
        assert_eq!(urls("Shared Folders"), None);
    }
}
