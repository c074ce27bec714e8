//! Who is in which groups: for access control lists, and for the folders that members share.

use std::{collections::HashSet, fmt, sync::Arc};

use mailwright::{
    imap::Groups,
    mailstore::User,
    relay_policy::directory::{Directory as Model, Entry, GroupDelivery, Target},
};

use super::Directory;

/// The groups of the directory, as they are at each question.
pub(crate) struct Members(pub(crate) Arc<Directory>);

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").finish_non_exhaustive()
    }
}

impl Groups for Members {
    fn groups_of(&self, user: &User) -> Vec<String> {
        groups_of(&self.0.current(), user.as_str())
    }

    fn is_group(&self, user: &User) -> bool {
        matches!(self.0.current().entry(user.as_str()), Some(Entry::Group(_)))
    }

    fn shared_accounts(&self, user: &User) -> Vec<User> {
        let model = self.0.current();
        let shares = |name: &String| matches!(model.entry(name), Some(Entry::Group(group)) if group.delivery == GroupDelivery::SharedFolder);
        let groups = groups_of(&model, user.as_str()).into_iter().filter(shares);
        groups.filter_map(|name| User::new(&name).ok()).collect()
    }
}

/// The groups that a name is in, itself or through aliases and other groups.
fn groups_of(model: &Model, name: &str) -> Vec<String> {
    let mut reached = HashSet::from([name.to_owned()]);
    let mut groups = Vec::new();
    let mut grows = true;
    while grows {
        grows = false;
        for (name, entry) in model.entries() {
            if reached.contains(name) {
                continue;
            }
            let leads = match entry {
                Entry::Group(group) => {
                    group.members.iter().any(|member| reached.contains(&model.canonical(member)))
                }
                Entry::Alias(alias) => alias.targets.iter().any(|target| match target {
                    Target::Address(address) => reached.contains(&model.canonical(address)),
                    _ => false,
                }),
                _ => false,
            };
            if leads {
                grows = true;
                reached.insert(name.to_owned());
                if matches!(entry, Entry::Group(_)) {
                    groups.push(name.to_owned());
                }
            }
        }
    }
    groups.sort();
    groups
}

#[cfg(test)]
mod tests {
    use mailwright::relay_policy::directory::{Alias, Group, Settings};

    use super::*;

    #[test]
    fn members_of_members_are_members() {
        let mut model = Model::new(Settings::default());
        let address = |text: &str| text.parse().unwrap();
        let group = |members: &[&str]| Entry::Group(Group::of(members.iter().map(|member| address(member))));
        for (name, entry) in [
            ("staff@example.org", group(&["ann@example.org", "office@example.org"])),
            ("office@example.org", Entry::Alias(Alias::to([Target::Address(address("bob@example.org"))]))),
            ("all@example.org", group(&["staff@example.org", "all@example.org"])),
            ("others@example.org", group(&["carol@example.org"])),
        ] {
            model.restore(name, entry);
        }
        assert_eq!(groups_of(&model, "bob@example.org"), ["all@example.org", "staff@example.org"]);
        assert_eq!(groups_of(&model, "carol@example.org"), ["others@example.org"]);
        assert!(groups_of(&model, "eve@example.org").is_empty());
    }
}
