//! Access control lists, in the files `dovecot-acl` that Dovecot's plugin keeps.
//!
//! ```text
//! user=bob@example.org lrws
//! group=staff lr
//! -anyone t
//! "user=two words" l :read
//! owner lrwstipekxa
//! ```
//!
//! A line has whom it is for, letters of RFC 4314, and perhaps `:` and names of rights. Lines that mean nothing here are kept:
//! `owner` (the owner has every right always), `group-override=`, and what cannot be understood. `authenticated` is the same as
//! `anyone`, since nobody is anonymous.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mailwright_mail_model::MailboxName;

use super::dot_lock::DotLock;
use super::folder::sync_directory;
use super::{Maildir, Shared, failed};
use crate::acl::changed_list;
use crate::signal::lock;
use crate::{
    Acl, AclChange, AclEntry, Identifier, Identity, Offload, Result, Right, Rights, SharedMailbox,
    StoreError, Subject, User,
};

pub(super) const NAME: &str = "dovecot-acl";
/// Where Dovecot remembers which mailboxes have lists; made anew when it is missing.
const DOVECOT_INDEX: &str = "dovecot-acl-list";
/// How long lists that other programs changed may go unnoticed in the list of what is shared.
const TRUST: Duration = Duration::from_secs(15);

/// The names of rights, which Dovecot takes too.
const RIGHT_NAMES: [(&str, Right); 11] = [
    ("lookup", Right::Lookup),
    ("read", Right::Read),
    ("write", Right::Write),
    ("write-seen", Right::Seen),
    ("write-deleted", Right::DeleteMessages),
    ("insert", Right::Insert),
    ("post", Right::Post),
    ("expunge", Right::Expunge),
    ("create", Right::CreateBelow),
    ("delete", Right::DeleteMailbox),
    ("admin", Right::Administer),
];

/// Every mailbox that has a list, as it was a moment ago.
#[derive(Debug, Default)]
pub(super) struct Lists(Mutex<Option<(Instant, Arc<Vec<Listed>>)>>);

#[derive(Debug)]
struct Listed {
    owner: User,
    name: MailboxName,
    entries: Vec<AclEntry>,
}

impl Lists {
    /// Has them looked at anew.
    pub(super) fn forget(&self) {
        *lock(&self.0) = None;
    }
}

impl<O: Offload + Clone> Acl for Maildir<O> {
    async fn access_list(&self, owner: &User, name: &MailboxName) -> Result<Vec<AclEntry>> {
        let (owner, name) = (owner.clone(), name.clone());
        self.run(move |shared| Ok(List::read(&shared.existing(&owner, &name)?.path)?.entries)).await
    }

    async fn change_access(
        &self,
        owner: &User,
        name: &MailboxName,
        identifier: &Identifier,
        change: AclChange,
    ) -> Result<()> {
        let (owner, name, identifier) = (owner.clone(), name.clone(), identifier.clone());
        self.run(move |shared| shared.change_access(&owner, &name, &identifier, change)).await
    }

    async fn shared_with(&self, who: &Identity) -> Result<Vec<SharedMailbox>> {
        let who = who.clone();
        self.run(move |shared| shared.shared_with(&who)).await
    }

    async fn listing(&self, subject: &Subject) -> Result<Vec<(User, MailboxName)>> {
        let subject = subject.clone();
        let names = |listed: &Listed| {
            let named = listed.entries.iter().any(|entry| *entry.identifier.subject() == subject);
            named.then(|| (listed.owner.clone(), listed.name.clone()))
        };
        let lists = self.run(|shared| shared.access_lists()).await?;
        Ok(lists.iter().filter_map(names).collect())
    }
}

impl Shared {
    fn change_access(
        &self,
        owner: &User,
        name: &MailboxName,
        identifier: &Identifier,
        change: AclChange,
    ) -> Result<()> {
        let folder = self.existing(owner, name)?;
        let path = folder.path.join(NAME);
        let locked =
            DotLock::acquire(path.with_extension("lock"), &self.setting.host, self.options.patience)?;
        let mut list = List::read(&folder.path)?;
        list.entries = changed_list(owner, list.entries, identifier, change)?;
        locked.replace(&path, list.to_text().as_bytes(), None)?;
        sync_directory(&folder.path)?;
        let _removed = fs::remove_file(folder.root.join(DOVECOT_INDEX));
        self.lists.forget();
        self.tell(owner);
        Ok(())
    }

    fn shared_with(&self, who: &Identity) -> Result<Vec<SharedMailbox>> {
        let mut shared = Vec::new();
        for listed in self.access_lists()?.iter().filter(|listed| listed.owner != *who.user()) {
            let rights = who.rights(&listed.owner, &listed.entries);
            if rights.is_empty() {
                continue;
            }
            match self.describe(&listed.owner, &listed.name) {
                Ok(mailbox) => shared.push(SharedMailbox::new(listed.owner.clone(), mailbox, rights)),
                // Another program has just deleted it.
                Err(StoreError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(shared)
    }

    /// The lists of all mailboxes of all users, by owner and name.
    fn access_lists(&self) -> Result<Arc<Vec<Listed>>> {
        // Held while they are read, so that many sessions that ask at a time look once.
        let mut known = lock(&self.lists.0);
        if let Some((when, lists)) = &*known
            && when.elapsed() < TRUST
        {
            return Ok(Arc::clone(lists));
        }
        let began = Instant::now();
        let mut lists = Vec::new();
        for owner in self.template.users()? {
            let root = self.template.path(&owner)?;
            let mut names = vec![MailboxName::inbox()];
            names.extend(self.names(&root)?);
            for name in names {
                let entries = List::read(&super::place::folder(&root, &name)?)?.entries;
                if !entries.is_empty() {
                    lists.push(Listed { owner: owner.clone(), name, entries });
                }
            }
        }
        lists.sort_by(|one, other| (&one.owner, &one.name).cmp(&(&other.owner, &other.name)));
        let lists = Arc::new(lists);
        *known = Some((began, Arc::clone(&lists)));
        Ok(lists)
    }
}

/// Gives a new mailbox the list of the one above it.
pub(super) fn inherit(above: &Path, draft: &Path) -> Result<()> {
    let list = List::read(above)?;
    if list.entries.is_empty() && list.others.is_empty() {
        return Ok(());
    }
    super::folder::write_private(&draft.join(NAME), list.to_text().as_bytes())
}

/// A list, and the lines that are no entries of it.
#[derive(Debug, Default)]
struct List {
    /// Sorted.
    entries: Vec<AclEntry>,
    others: Vec<String>,
}

impl List {
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        match fs::read(&path) {
            Ok(octets) => Ok(Self::parse(&String::from_utf8_lossy(&octets))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(failed(&path, &error)),
        }
    }

    fn parse(text: &str) -> Self {
        let mut list = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            match parse_line(line) {
                Some(entry) if !entry.rights.is_empty() => {
                    match list.entries.binary_search_by(|known| known.identifier.cmp(&entry.identifier)) {
                        // Of two lines, or of `anyone` and `authenticated`, both count.
                        Ok(place) => {
                            if let Some(known) = list.entries.get_mut(place) {
                                known.rights = known.rights.union(entry.rights);
                            }
                        }
                        Err(place) => list.entries.insert(place, entry),
                    }
                }
                Some(_) => {}
                None => list.others.push(line.to_owned()),
            }
        }
        list
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        for entry in &self.entries {
            let sign = if entry.identifier.is_negative() { "-" } else { "" };
            let subject = match entry.identifier.subject() {
                Subject::Anyone => "anyone".into(),
                Subject::Group(name) => format!("group={}", name.as_str()),
                Subject::User(name) => format!("user={}", name.as_str()),
            };
            let who = format!("{sign}{subject}");
            let who = if who.contains(' ') || who.starts_with('"') { quote(&who) } else { who };
            text += &format!("{who} {}\n", entry.rights);
        }
        self.others.iter().for_each(|line| text.extend([line, "\n"]));
        text
    }
}

fn parse_line(line: &str) -> Option<AclEntry> {
    let (who, rights) = match line.strip_prefix('"') {
        Some(rest) => unquote(rest)?,
        None => {
            let (who, rights) = line.split_once(' ').unwrap_or((line, ""));
            (who.to_owned(), rights)
        }
    };
    let (letters, names) = rights.split_once(':').unwrap_or((rights, ""));
    // Blanks between letters, and letters of rights that are no longer any, are passed over as Dovecot does.
    let letters = letters.chars().filter_map(|letter| letter.to_string().parse::<Rights>().ok());
    let names = names.split(' ').filter_map(|name| {
        let found = RIGHT_NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, right)| Rights::of(*right))
    });
    let rights = letters.chain(names).fold(Rights::NONE, Rights::union);
    Some(AclEntry::new(identifier(&who)?, rights))
}

fn identifier(who: &str) -> Option<Identifier> {
    let (sign, who) = who.strip_prefix('-').map_or(("", who), |who| ("-", who));
    let name = match who.split_once('=') {
        None if who == "anyone" || who == "authenticated" => String::from("anyone"),
        Some(("user", name)) => name.to_owned(),
        Some(("group", name)) => format!("${name}"),
        _ => return None,
    };
    let identifier: Identifier = format!("{sign}{name}").parse().ok()?;
    // A user of such a name would be somebody else when the list is written.
    let same = match identifier.subject() {
        Subject::Anyone => !who.contains('='),
        Subject::Group(_) => who.starts_with("group="),
        Subject::User(_) => who.starts_with("user="),
    };
    (same && identifier.is_negative() != sign.is_empty()).then_some(identifier)
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\'', "\\'"))
}

/// A quoted text without its first quote, and what follows it and a blank.
fn unquote(text: &str) -> Option<(String, &str)> {
    let (mut found, mut escaped) = (String::new(), false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => {
                found.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => {
                let rest = text.get(at + 1..)?;
                return Some((found, rest.strip_prefix(' ').unwrap_or(rest)));
            }
            _ => found.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_dovecot_are_read_and_kept() {
        let text = "# by hand\nuser=Bob@Example.org lrws\ngroup=staff l:read post\n-anyone t\nowner lr\n\
                    authenticated l\nanyone r\n\"user=two \\\"words\\\"\" lr\ngroup-override=x k\nuser= l\nuser=none \n";
        let list = List::parse(text);
        let shown: Vec<_> =
            list.entries.iter().map(|entry| format!("{} {}", entry.identifier, entry.rights)).collect();
        assert_eq!(
            shown,
            ["anyone lr", "-anyone t", "$staff lrp", "bob@example.org lrsw", "two \"words\" lr"]
        );
        assert_eq!(list.others, ["# by hand", "owner lr", "group-override=x k", "user= l"]);
        let written = list.to_text();
        assert!(
            written.contains("user=bob@example.org lrsw\n-") || written.contains("-anyone t\n"),
            "{written}"
        );
        assert!(written.contains("\"user=two \\\"words\\\"\" lr\n"), "{written}");
        let again = List::parse(&written);
        assert_eq!((again.entries, again.others), (list.entries, list.others));
    }

    #[test]
    fn what_could_be_mistaken_is_left_alone() {
        for line in ["user=anyone lr", "user=$staff lr", "user=-bob lr", "\"user=open lr", "group= l"] {
            let parsed = parse_line(line);
            let kept = parsed.is_none_or(|entry| {
                let mut list = List::default();
                list.entries.push(entry.clone());
                List::parse(&list.to_text()).entries == [entry]
            });
            assert!(kept, "{line}");
        }
        for line in ["user=anyone lr", "user=$staff lr", "user=-bob lr"] {
            assert!(parse_line(line).is_none(), "{line}");
        }
    }
}
