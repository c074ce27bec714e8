//! Which addresses an account may write as.

use std::collections::HashSet;

use mailwright_mail_model::Address;

use super::{Directory, Entry, Target, expand::Found};

impl Directory {
    /// Whether an account, by its canonical name, may send as an address: its own, with or without a detail, by any
    /// name of its domain, or an alias that leads to it. A group is not its members' to speak for.
    pub fn may_send_as(&self, account: &str, address: &Address) -> bool {
        let mut seen = HashSet::new();
        let mut names = vec![self.canonical(address)];
        while let Some(name) = names.pop() {
            if name == account {
                return true;
            }
            // A circle of aliases ends here; so does one that is larger than anybody's.
            if seen.len() > self.settings.most_targets || !seen.insert(name.clone()) {
                continue;
            }
            let Some((local, domain)) = name.rsplit_once('@') else { continue };
            let alias = match (self.file.get(&name), self.entries.get(&name)) {
                (Some(alias), _) | (_, Some(Entry::Alias(alias))) => Some(alias),
                (_, Some(_)) => None,
                _ => self.pseudonyms.get(local).filter(|_| self.domains.contains_key(domain)),
            };
            if let Some(alias) = alias {
                names.extend(alias.targets.iter().filter_map(|target| match target {
                    Target::Address(address) | Target::Mailbox(address) => Some(self.canonical(address)),
                    _ => None,
                }));
            } else if !self.entries.contains_key(&name)
                && let Some(at) = local.find(|letter| self.settings.separators.contains(letter))
                && let Some(base) = local.get(..at).filter(|base| !base.is_empty())
            {
                names.push(format!("{base}@{domain}"));
            }
        }
        false
    }

    /// Whether an account, by its canonical name, is meant by an address: it may send as that, or it is a member of the group of
    /// that name or of a group in it.
    pub fn is_meant_by(&self, account: &str, address: &Address) -> bool {
        let mut seen = HashSet::new();
        let mut addresses = vec![address.clone()];
        while let Some(address) = addresses.pop() {
            if self.may_send_as(account, &address) {
                return true;
            }
            let name = self.canonical(&address);
            if let Some(Entry::Group(group)) = self.entries.get(&name)
                && seen.len() <= self.settings.most_targets
                && seen.insert(name)
            {
                addresses.extend(group.members.iter().cloned());
            }
        }
        false
    }

    /// Whether an address is an account's own, by the account's canonical name: its name in any of its forms, with or without a detail, or
    /// an alias that leads to it and to nobody else. What an alias with several targets, a group, a postmaster or a catch-all takes
    /// in is not addressed to one of those who get it. RFC 5230 §4.5 wants to know.
    pub fn is_own(&self, account: &str, address: &Address) -> bool {
        let mut address = address;
        for _ in 0..=self.settings.most_steps {
            let alias = match self.look_up(address) {
                Found::Entry { name, entry: Entry::Account(_), .. } => return name == account,
                // Wherever an alias of its name leads, the name is the account's.
                Found::Alias { name, .. }
                    if name == account && matches!(self.entries.get(account), Some(Entry::Account(_))) =>
                {
                    return true;
                }
                Found::Entry { entry: Entry::Alias(alias), .. } | Found::Alias { alias, .. } => alias,
                _ => return false,
            };
            address = match &alias.targets[..] {
                [Target::Address(target) | Target::Mailbox(target)] => target,
                _ => return false,
            };
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use crate::directory::{Account, Alias, Directory, DomainEntry, Entry, Group};

    #[test]
    fn one_writes_as_oneself_and_ones_aliases() {
        let mut directory = Directory::default();
        directory.set_domain(&"d.example".parse().unwrap(), DomainEntry::default());
        directory
            .set_domain_alias(&"second.example".parse().unwrap(), &"d.example".parse().unwrap())
            .unwrap();
        for name in ["alice@d.example", "bob@d.example"] {
            directory.set(&name.parse().unwrap(), Entry::Account(Account::with_mailbox())).unwrap();
        }
        let alias = |to: &str| Alias::to([to.parse().unwrap()]);
        directory.set(&"sales@d.example".parse().unwrap(), Entry::Alias(alias("alice@d.example"))).unwrap();
        directory.set(&"shop@d.example".parse().unwrap(), Entry::Alias(alias("sales@d.example"))).unwrap();
        directory.set(&"x@d.example".parse().unwrap(), Entry::Alias(alias("y@d.example"))).unwrap();
        directory.set(&"y@d.example".parse().unwrap(), Entry::Alias(alias("x@d.example"))).unwrap();
        directory.set_pseudonym("info", alias("alice@d.example"));
        let team = Group::of(["alice@d.example".parse().unwrap()]);
        directory.set(&"team@d.example".parse().unwrap(), Entry::Group(team)).unwrap();
        for (address, allowed) in [
            ("alice@d.example", true),
            ("\"ALICE\"@D.example", true),
            ("alice+lists@d.example", true),
            ("alice@second.example", true),
            ("sales@d.example", true),
            ("shop@second.example", true),
            ("info@d.example", true),
            ("info@elsewhere.example", false),
            ("bob@d.example", false),
            ("team@d.example", false),
            ("x@d.example", false),
            ("nobody@d.example", false),
            ("+alice@d.example", false),
            ("alice@elsewhere.example", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(directory.may_send_as("alice@d.example", &address), allowed, "{address}");
            assert_eq!(directory.is_own("alice@d.example", &address), allowed, "{address}");
        }
        // A group means its members, and those of the groups in it, however they go round.
        let group = |member: &str| Group::of([member.parse().unwrap()]);
        directory.set(&"all@d.example".parse().unwrap(), Entry::Group(group("team@d.example"))).unwrap();
        directory.set(&"round@d.example".parse().unwrap(), Entry::Group(group("round@d.example"))).unwrap();
        for (address, meant) in [
            ("alice@second.example", true),
            ("team@d.example", true),
            ("all@second.example", true),
            ("round@d.example", false),
            ("bob@d.example", false),
        ] {
            assert_eq!(
                directory.is_meant_by("alice@d.example", &address.parse().unwrap()),
                meant,
                "{address}"
            );
        }
        // What others get too is not one's own.
        let both = ["alice@d.example", "bob@d.example"].map(|target| target.parse().unwrap());
        directory.set(&"both@d.example".parse().unwrap(), Entry::Alias(Alias::to(both))).unwrap();
        let unknown =
            DomainEntry { unknown: Some("alice@d.example".parse().unwrap()), ..DomainEntry::default() };
        directory.set_domain(&"d.example".parse().unwrap(), unknown);
        for address in ["both@d.example", "nobody@d.example", "postmaster@d.example"] {
            assert!(!directory.is_own("alice@d.example", &address.parse().unwrap()), "{address}");
        }
        assert!(directory.is_own("alice@d.example", &"shop@d.example".parse().unwrap()));
        // Also where a file of aliases has more to say of the name.
        let origin = "d.example".parse().unwrap();
        let lines =
            crate::alias_file::aliases("alice: \\alice, bob\nboss: alice\n", &origin).unwrap().aliases;
        directory.set_alias_file(&lines, &[origin]);
        for address in ["alice@d.example", "alice+x@d.example", "boss@d.example"] {
            assert!(directory.is_own("alice@d.example", &address.parse().unwrap()), "{address}");
        }
        assert!(!directory.is_own("bob@d.example", &"alice@d.example".parse().unwrap()));
    }
}
