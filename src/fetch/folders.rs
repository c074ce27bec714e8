//! The mailboxes of an IMAP account, and which of them stands for which here.

use mailwright_imap_proto::response::{ListAttribute, Listed, ListedName, Namespaces};
use mailwright_mail_model::{MailboxName, SpecialUse, UidValidity};

use super::FetchAccount;

/// A mailbox there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    /// Its name there.
    pub(super) there: MailboxName,
    /// The mailbox here that its messages come into; `None` if they go the way of all mail.
    pub(super) here: Option<MailboxName>,
    /// Of its UIDs, since it was looked into.
    pub(super) validity: Option<UidValidity>,
    /// Whether nothing can be changed in it, since it was looked into.
    pub(super) read_only: bool,
}

impl Folder {
    fn new(there: MailboxName, here: Option<MailboxName>) -> Self {
        Self { there, here, validity: None, read_only: false }
    }

    /// The one that an account names.
    pub(super) fn only(account: &FetchAccount) -> Vec<Self> {
        vec![Self::new(account.folder.clone(), None)]
    }

    /// Those that a server lists but for the mailboxes of others (RFC 2342): what is in these is not the user's to take away. INBOX is the
    /// last, for that is where its news are waited for.
    pub(super) fn all(listed: Vec<Listed>, namespaces: &Namespaces) -> Vec<Self> {
        let mut folders: Vec<Self> = listed.into_iter().filter_map(Self::of).collect();
        folders.retain(|folder| !folder.there.is_inbox() && namespaces.is_personal(folder.there.as_str()));
        folders.sort_by(|one, other| one.there.cmp(&other.there));
        folders.dedup_by(|one, other| one.there == other.there);
        folders.push(Self::new(MailboxName::inbox(), None));
        folders
    }

    fn of(listed: Listed) -> Option<Self> {
        let ListedName::Name(there) = listed.name else { return None };
        // RFC 6154 §2: what is in these is in other mailboxes too.
        let passed_over = [
            ListAttribute::NoSelect,
            ListAttribute::NonExistent,
            ListAttribute::Special(SpecialUse::All),
            ListAttribute::Special(SpecialUse::Flagged),
        ];
        if passed_over.iter().any(|attribute| listed.attributes.contains(attribute)) {
            return None;
        }
        let name = there.as_str();
        let here = match listed.delimiter {
            // What separates levels here is a letter there.
            Some(delimiter) if delimiter != '/' => name.replace('/', "_").replace(delimiter, "/"),
            Some(_) => name.to_owned(),
            None => name.replace('/', "_"),
        };
        // Some servers have all mailboxes below INBOX; that is no level of their own.
        let here = here.strip_prefix("INBOX/").unwrap_or(&here);
        let here = MailboxName::new(here).ok()?;
        Some(Self::new(there, Some(here)))
    }
}

#[cfg(test)]
mod tests {
    use mailwright_imap_proto::response::{Leniency, Namespace, Response};

    use super::*;

    #[test]
    fn mailboxes_have_a_name_here() {
        let lines = [
            "* LIST () \"/\" INBOX",
            "* LIST (\\Noselect) \"/\" Lists",
            "* LIST () \"/\" Lists/Tea",
            "* LIST (\\Sent) \".\" INBOX.Sent",
            "* LIST () \".\" INBOX.a/b.c",
            "* LIST (\\All) \"/\" \"All Mail\"",
            "* LIST () NIL flat/name",
            "* LIST () \"/\" \"Other Users/ann/tea\"",
        ];
        let listed = lines.map(|line| match Response::parse(line.as_bytes(), Leniency::tolerant()) {
            Ok(Response::List(listed)) => listed,
            other => panic!("{line}: {other:?}"),
        });
        let mut namespaces = Namespaces::personal('/');
        namespaces.other_users.push(Namespace::new("Other Users/", Some('/')));
        let folders = Folder::all(listed.to_vec(), &namespaces);
        let names: Vec<(&str, Option<&str>)> = folders
            .iter()
            .map(|folder| (folder.there.as_str(), folder.here.as_ref().map(|name| name.as_str())))
            .collect();
        assert_eq!(
            names,
            [
                ("INBOX.Sent", Some("Sent")),
                ("INBOX.a/b.c", Some("a_b/c")),
                ("Lists/Tea", Some("Lists/Tea")),
                ("flat/name", Some("flat_name")),
                ("INBOX", None),
            ]
        );
    }
}
