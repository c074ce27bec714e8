//! A list as its file has it, and what it lets somebody do.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::NAME;
use crate::acl::changed_list;
use crate::maildir::failed;
use crate::{AclChange, AclEntry, Identifier, Identity, Result, Right, Rights, Subject, User};

/// Comment of the lists that got their second kind of entry here. Dovecot writes no comments, so what it has changed is read as it reads it.
const ADDS_UP: &str = "# mailwright: the rights of all lines for somebody add up";
const ANYONE: &str = "anyone";
const AUTHENTICATED: &str = "authenticated";
const OVERRIDES: &str = "group-override=";

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

/// A list, and the lines that are no entries of it.
#[derive(Debug)]
pub(super) struct List {
    /// Sorted. Those without rights take what more general ones give, unless the rights add up.
    entries: Vec<AclEntry>,
    /// What goes before everything else, for groups.
    overrides: Vec<AclEntry>,
    others: Vec<String>,
    /// Whether the rights of all entries for somebody add up, or the more specific ones replace the others.
    adds_up: bool,
    /// How the file calls everybody.
    anyone: &'static str,
}

impl List {
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        match fs::read(&path) {
            Ok(octets) => Ok(Self::parse(&String::from_utf8_lossy(&octets))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::empty(true)),
            Err(error) => Err(failed(&path, &error)),
        }
    }

    const fn empty(adds_up: bool) -> Self {
        Self { entries: Vec::new(), overrides: Vec::new(), others: Vec::new(), adds_up, anyone: ANYONE }
    }

    fn parse(text: &str) -> Self {
        let mut list = Self::empty(text.lines().any(|line| line == ADDS_UP));
        let of = |line: &str, who: &str| parse_line(line).is_some_and(|(found, _)| found == who);
        // Nobody is anonymous: what all who are authenticated have replaces what anyone has.
        if text.lines().any(|line| of(line, AUTHENTICATED)) {
            list.anyone = AUTHENTICATED;
        }
        for line in text.lines().filter(|line| !line.is_empty() && *line != ADDS_UP) {
            let parsed = parse_line(line).filter(|(who, _)| who != ANYONE || list.anyone == ANYONE);
            let group = parsed.as_ref().filter(|(who, _)| who.trim_start_matches('-').starts_with(OVERRIDES));
            if let Some((who, rights)) = group {
                let group = identifier(&who.replacen(OVERRIDES, "group=", 1));
                list.overrides.extend(group.map(|group| AclEntry::new(group, *rights)));
                list.others.push(line.to_owned());
                continue;
            }
            match parsed.and_then(|(who, rights)| Some(AclEntry::new(identifier(&who)?, rights))) {
                Some(entry) => list.add(entry),
                None => list.others.push(line.to_owned()),
            }
        }
        list.adds_up |= list.is_plain();
        list
    }

    /// Whether it means the same by both rules.
    fn is_plain(&self) -> bool {
        let level = self.entries.first().map(level_of);
        let plain = |entry: &AclEntry| Some(level_of(entry)) == level && !entry.rights.is_empty();
        self.overrides.is_empty() && self.entries.iter().all(plain)
    }

    /// Of two lines for the same, both count.
    fn add(&mut self, entry: AclEntry) {
        match self.entries.binary_search_by(|known| known.identifier.cmp(&entry.identifier)) {
            Ok(place) => {
                if let Some(known) = self.entries.get_mut(place) {
                    known.rights = known.rights.union(entry.rights);
                }
            }
            Err(place) => self.entries.insert(place, entry),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.others.is_empty()
    }

    /// Whether there is an entry for a subject.
    pub(super) fn names(&self, subject: &Subject) -> bool {
        self.entries.iter().any(|entry| entry.identifier.subject() == subject)
    }

    pub(super) fn change(&mut self, owner: &User, identifier: &Identifier, change: AclChange) -> Result<()> {
        let was = self.entries.iter().any(|entry| entry.identifier == *identifier);
        self.entries = changed_list(owner, std::mem::take(&mut self.entries), identifier, change)?;
        let is = self.entries.iter().any(|entry| entry.identifier == *identifier);
        // Whoever loses the last right of their own must not have those of anyone instead.
        if was && !is && !self.adds_up && matches!(change, AclChange::Remove(_)) {
            self.add(AclEntry::new(identifier.clone(), Rights::NONE));
        }
        // An entry without rights is shown as one that takes, and goes as that.
        if identifier.is_negative() && change == AclChange::Replace(Rights::NONE) {
            let gives = identifier.clone().negated();
            self.entries.retain(|entry| entry.identifier != gives || !entry.rights.is_empty());
        }
        Ok(())
    }

    /// What somebody may do.
    pub(super) fn rights(&self, who: &Identity, owner: &User) -> Rights {
        if self.adds_up || who.user() == owner {
            return who.rights(owner, &self.entries);
        }
        let (mut given, mut taken) = (Rights::NONE, Rights::NONE);
        // As Dovecot: what is more specific replaces what is given and what is taken, each by itself; groups add up.
        for level in 0..=OVERRIDE {
            let entries = if level == OVERRIDE { &self.overrides } else { &self.entries };
            for (negative, side) in [(false, &mut given), (true, &mut taken)] {
                let found = entries
                    .iter()
                    .filter(|entry| entry.identifier.is_negative() == negative)
                    .filter(|entry| level == OVERRIDE || level_of(entry) == level)
                    .filter(|entry| who.is(entry.identifier.subject()))
                    .map(|entry| entry.rights)
                    .reduce(Rights::union);
                *side = found.unwrap_or(*side);
            }
        }
        given.difference(taken)
    }

    /// The entries by the rule that rights add up: what a more specific one takes from those it replaces is in a negative one. Where
    /// that cannot be said, less is given rather than more.
    pub(super) fn shown(mut self) -> Vec<AclEntry> {
        if !self.adds_up {
            let positive = |entry: &&AclEntry| !entry.identifier.is_negative();
            let given = |below: u8| {
                let replaced = self.entries.iter().filter(positive).filter(|entry| level_of(entry) < below);
                replaced.map(|entry| entry.rights).fold(Rights::NONE, Rights::union)
            };
            let specific = self.entries.iter().map(|entry| (entry, level_of(entry)));
            let taken: Vec<_> = specific
                .chain(self.overrides.iter().map(|entry| (entry, OVERRIDE)))
                .filter(|(entry, _)| positive(entry))
                .map(|(entry, level)| {
                    let lost = given(level).difference(entry.rights);
                    AclEntry::new(entry.identifier.clone().negated(), lost)
                })
                .collect();
            taken.into_iter().for_each(|entry| self.add(entry));
        }
        self.entries.retain(|entry| !entry.rights.is_empty());
        self.entries
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        if self.adds_up && !self.is_plain() {
            text.extend([ADDS_UP, "\n"]);
        }
        for entry in &self.entries {
            let sign = if entry.identifier.is_negative() { "-" } else { "" };
            let subject = match entry.identifier.subject() {
                Subject::Anyone => self.anyone.into(),
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

/// The level of what goes before the entry for a user.
const OVERRIDE: u8 = 3;

/// How specific an entry is.
const fn level_of(entry: &AclEntry) -> u8 {
    match entry.identifier.subject() {
        Subject::Anyone => 0,
        Subject::Group(_) => 1,
        Subject::User(_) => 2,
    }
}

/// Whom a line is for, as it names them, and what it gives.
fn parse_line(line: &str) -> Option<(String, Rights)> {
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
    Some((who, rights))
}

fn identifier(who: &str) -> Option<Identifier> {
    let (sign, who) = who.strip_prefix('-').map_or(("", who), |who| ("-", who));
    let name = match who.split_once('=') {
        None if who == ANYONE || who == AUTHENTICATED => String::from("anyone"),
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

    fn entry_of(line: &str) -> Option<AclEntry> {
        let (who, rights) = parse_line(line)?;
        Some(AclEntry::new(identifier(&who)?, rights))
    }

    #[test]
    fn lists_of_dovecot_are_read_and_kept() {
        let text = "# by hand\nuser=Bob@Example.org lrws\ngroup=staff l:read post\n-anyone t\nowner lr\n\
                    authenticated l\nanyone r\n\"user=two \\\"words\\\"\" lr\ngroup-override=x k\nuser= l\nuser=none \n";
        let list = List::parse(text);
        let shown: Vec<_> =
            list.entries.iter().map(|entry| format!("{} {}", entry.identifier, entry.rights)).collect();
        assert_eq!(
            shown,
            ["anyone l", "-anyone t", "$staff lrp", "bob@example.org lrsw", "none ", "two \"words\" lr"]
        );
        assert_eq!(list.others, ["# by hand", "owner lr", "anyone r", "group-override=x k", "user= l"]);
        let written = list.to_text();
        assert!(written.contains("-authenticated t\n") && written.contains("user=none \n"), "{written}");
        assert!(written.contains("\"user=two \\\"words\\\"\" lr\n"), "{written}");
        let again = List::parse(&written);
        assert_eq!((again.entries, again.others), (list.entries, list.others));
    }

    #[test]
    fn what_could_be_mistaken_is_left_alone() {
        for line in ["user=anyone lr", "user=$staff lr", "user=-bob lr", "\"user=open lr", "group= l"] {
            let kept = entry_of(line).is_none_or(|entry| {
                let mut list = List::empty(true);
                list.entries.push(entry.clone());
                List::parse(&list.to_text()).entries == [entry]
            });
            assert!(kept, "{line}");
        }
        for line in ["user=anyone lr", "user=$staff lr", "user=-bob lr"] {
            assert!(entry_of(line).is_none(), "{line}");
        }
    }

    #[test]
    fn what_is_more_specific_replaces_the_rest_as_in_dovecot() {
        let alice = User::new("alice@example.org").unwrap();
        let bob = Identity::new(User::new("bob@example.org").unwrap());
        let member = bob.clone().group("staff").unwrap();
        for (text, of_bob, of_member) in [
            ("anyone lr\nuser=bob@example.org \n", "", ""),
            ("anyone lr\nuser=bob@example.org\n", "", ""),
            ("anyone lrs\nuser=bob@example.org l\n", "l", "l"),
            ("anyone lrs\ngroup=staff lw\n", "lrs", "lw"),
            ("anyone lr\ngroup=staff w\nuser=bob@example.org lrsw\n", "lrsw", "lrsw"),
            ("anyone lrs\nauthenticated l\n", "l", "l"),
            ("anyone lrs\n-anyone s\nuser=bob@example.org lrsw\n", "lrw", "lrw"),
            ("anyone lrs\n-anyone s\nuser=bob@example.org lrsw\n-user=bob@example.org w\n", "lrs", "lrs"),
            ("user=bob@example.org lrsw\ngroup-override=staff l\n", "lrsw", "l"),
            (
                "# mailwright: the rights of all lines for somebody add up\nanyone lr\nuser=bob@example.org s\n",
                "lrs",
                "lrs",
            ),
        ] {
            let rights = |list: &List| [&bob, &member].map(|who| list.rights(who, &alice).to_string());
            let list = List::parse(text);
            assert_eq!(rights(&list), [of_bob, of_member], "{text}");
            assert_eq!(rights(&List::parse(&list.to_text())), [of_bob, of_member], "{text} written");
            // Where rights add up, nobody gets more than here.
            for who in [&bob, &member] {
                let exact = list.rights(who, &alice);
                let shown = List::parse(text).shown();
                assert!(who.rights(&alice, &shown).difference(exact).is_empty(), "{text}: {shown:?}");
            }
        }
    }

    #[test]
    fn who_is_changed_last_has_what_was_meant() {
        let alice = User::new("alice@example.org").unwrap();
        let bob = Identity::new(User::new("bob@example.org").unwrap());
        let named: Identifier = "bob@example.org".parse().unwrap();
        let mut list = List::parse("anyone lr\nuser=bob@example.org l\n");
        assert!(List::parse("anyone lr\nuser=bob@example.org l\n").shown().iter().any(|entry| {
            (entry.identifier.to_string(), entry.rights.to_string())
                == ("-bob@example.org".into(), "r".into())
        }));
        list.change(&alice, &named, AclChange::Remove("l".parse().unwrap())).unwrap();
        assert_eq!(list.to_text(), "anyone lr\nuser=bob@example.org \n");
        assert_eq!(list.rights(&bob, &alice), Rights::NONE);
        list.change(&alice, &named, AclChange::Replace(Rights::NONE)).unwrap();
        assert_eq!(list.to_text(), "anyone lr\n");
        assert_eq!(list.rights(&bob, &alice).to_string(), "lr");
    }
}
