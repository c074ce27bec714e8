//! The mailboxes of an IMAP account, and which of them stands for which here.

use mailwright_imap_proto::response::{ListAttribute, Listed, ListedName, Namespaces};
use mailwright_mail_model::{MailboxName, SpecialUse, UidValidity};

use super::{FetchAccount, local_names};

/// So many mailboxes that show the messages of others are named.
const VIEWS: usize = 20;

/// A mailbox there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    /// Its name there.
    pub(super) there: ListedName,
    /// The mailbox here that its messages come into; `None` if they go the way of all mail.
    pub(super) here: Option<MailboxName>,
    /// Of its UIDs, since it was looked into.
    pub(super) validity: Option<UidValidity>,
    /// Whether nothing can be changed in it, since it was looked into.
    pub(super) read_only: bool,
}

impl Folder {
    fn new(there: ListedName, here: Option<MailboxName>) -> Self {
        Self { there, here, validity: None, read_only: false }
    }

    /// The one that an account names.
    pub(super) fn only(account: &FetchAccount) -> Vec<Self> {
        vec![Self::new(account.folder.clone().into(), None)]
    }

    /// What the names of its messages begin with. Of two mailboxes that look alike one may have a name that is none here.
    pub(super) fn key(&self) -> [&[u8]; 2] {
        match &self.there {
            ListedName::Name(name) => [b"imap", name.as_str().as_bytes()],
            ListedName::Other(octets) => [b"imap as listed", octets],
            _ => [b"", b""],
        }
    }

    /// The names of those that show all messages, which are left out. What is in no other mailbox is not fetched, as somebody may want to know.
    pub(super) fn views(listed: &[Listed], namespaces: &Namespaces) -> Vec<String> {
        let is_view = |listed: &&Listed| {
            let is = |attribute| listed.attributes.contains(&attribute);
            is(ListAttribute::Special(SpecialUse::All))
                && !is(ListAttribute::NoSelect)
                && !is(ListAttribute::NonExistent)
                && namespaces.is_personal(&listed.name.text())
        };
        let views = listed.iter().filter(is_view).take(VIEWS);
        views.map(|listed| listed.name.text().into_owned()).collect()
    }

    /// Those that a server lists but for the mailboxes of others (RFC 2342): what is in these is not the user's to take away. INBOX is the
    /// last, for that is where its news are waited for.
    pub(super) fn all(mut listed: Vec<Listed>, namespaces: &Namespaces) -> Vec<Self> {
        listed.retain(|listed| {
            let text = listed.name.text();
            let inbox = listed.name.name().is_some_and(MailboxName::is_inbox);
            !inbox && !text.is_empty() && namespaces.is_personal(&text) && !is_passed_over(listed)
        });
        // Of two that look alike the one whose name is one keeps it.
        listed.sort_by_key(|listed| (listed.name.text().into_owned(), listed.name.name().is_none()));
        listed.dedup_by(|one, other| one.name == other.name);
        let names: Vec<_> =
            listed.iter().map(|listed| (listed.name.text().into_owned(), listed.delimiter)).collect();
        // Some servers have all mailboxes below INBOX; that is no level of their own.
        let here = local_names(&names, true);
        let mut folders: Vec<Self> =
            listed.into_iter().zip(here).map(|(listed, here)| Self::new(listed.name, here)).collect();
        folders.push(Self::new(MailboxName::inbox().into(), None));
        folders
    }
}

/// Whether there is nothing in a mailbox, or nothing that is not in others too: RFC 6154 §2, RFC 8457 §3.
fn is_passed_over(listed: &Listed) -> bool {
    let passed_over = [
        ListAttribute::NoSelect,
        ListAttribute::NonExistent,
        ListAttribute::Special(SpecialUse::All),
        ListAttribute::Special(SpecialUse::Flagged),
        ListAttribute::Special(SpecialUse::Important),
    ];
    passed_over.iter().any(|attribute| listed.attributes.contains(attribute))
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
            "* LIST (\\Important) \"/\" Important",
            "* LIST (\\Flagged) \"/\" Starred",
            "* LIST () \"/\" A&B",
            "* LIST () \"/\" A&-B",
            "* LIST () \"/\" Foo//Bar",
        ];
        let listed = lines.map(|line| match Response::parse(line.as_bytes(), Leniency::tolerant()) {
            Ok(Response::List(listed)) => listed,
            other => panic!("{line}: {other:?}"),
        });
        let mut namespaces = Namespaces::personal('/');
        namespaces.other_users.push(Namespace::new("Other Users/", Some('/')));
        assert_eq!(Folder::views(&listed, &namespaces), ["All Mail"]);
        let folders = Folder::all(listed.to_vec(), &namespaces);
        let names: Vec<(String, Option<&str>)> = folders
            .iter()
            .map(|folder| (folder.there.text().into_owned(), folder.here.as_ref().map(|name| name.as_str())))
            .collect();
        let names: Vec<_> = names.iter().map(|(there, here)| (&**there, *here)).collect();
        assert_eq!(
            names,
            [
                ("A&B", Some("A&B")),
                ("A&B", Some("A&B (2)")),
                ("Foo//Bar", Some("Foo/_/Bar")),
                ("INBOX.Sent", Some("Sent")),
                ("INBOX.a/b.c", Some("a_b/c")),
                ("Lists/Tea", Some("Lists/Tea")),
                ("flat/name", Some("flat_name")),
                ("INBOX", None),
            ]
        );
        assert_ne!(folders[0].key(), folders[1].key());
    }
}
