//! From a recipient to mailboxes and addresses elsewhere.

use std::collections::HashSet;

use mailwright_mail_model::{Address, ForwardPath};

use super::{
    Alias, Context, Delivery, Directory, DomainEntry, DomainMode, Entry, Expansion, Group, Includes, Refusal,
    RelayRecipients, Target, walk::Walk,
};

impl Directory {
    /// Finds out what a recipient stands for.
    ///
    /// A forward that leads back to an account it came through is delivered there: A, who forwards to B, who forwards
    /// to A, gets it.
    ///
    /// # Errors
    /// Why mail for it is not taken.
    pub fn expand(
        &self,
        recipient: &ForwardPath,
        context: &Context,
        includes: &dyn Includes,
    ) -> Result<Expansion, Refusal> {
        // RFC 5321 §4.5.1: <Postmaster> without a domain.
        let address = match (recipient, &self.postmaster) {
            (ForwardPath::Address(address), _) => address,
            (_, Some(postmaster)) => postmaster,
            (_, None) => return Err(Refusal::Unknown),
        };
        let answer = self.look_up(address);
        let itself = match &answer {
            Found::Entry { name, entry: Entry::Account(account), .. } => Some((name.clone(), account.since)),
            _ => None,
        };
        match answer {
            Found::Entry { entry, .. } if entry.local_only() && !context.trusted => {
                return Err(Refusal::LocalOnly);
            }
            Found::Alias { alias, .. } if alias.local_only && !context.trusted => {
                return Err(Refusal::LocalOnly);
            }
            Found::Entry { entry: Entry::Group(group), .. } if !self.has_mailbox(group) => {
                return Err(Refusal::Unknown);
            }
            Found::Nobody => return Err(Refusal::Unknown),
            _ => {}
        }
        if let Found::Entry { name, entry: Entry::Account(account), detail } = &answer
            && account.mailbox
            && account.forward.is_empty()
            && includes.forward(name).map_err(Refusal::Unreadable)?.is_none_or(|own| own.targets.is_empty())
        {
            // Most recipients are this and nothing else, which needs no walk.
            let (account, detail, since) = (name.clone(), detail.clone(), account.since);
            let mut found = Expansion::default();
            found.deliveries.push(Delivery { account, detail, shared: false, owner: None, since });
            return Ok(found);
        }
        let (mut found, in_circle) = Walk::new(self).run(address, includes)?;
        if let Some((name, since)) = itself {
            let own = found.deliveries.iter_mut().filter(|delivery| delivery.account == name);
            own.for_each(|delivery| delivery.since = since);
        }
        match (found.is_empty(), found.dangling.is_empty()) {
            (false, _) => Ok(found),
            (true, true) if in_circle => Err(Refusal::Circle),
            (true, true) => Err(Refusal::NoMailbox),
            (true, false) => Err(Refusal::Unknown),
        }
    }

    /// What answers to an address: by its exact name, then in all domains, then without the detail, then as postmaster,
    /// then the domain's catch-all.
    pub(super) fn look_up<'a>(&'a self, address: &Address) -> Found<'a> {
        let Some(domain) = self.domain(address.domain()) else { return Found::Remote };
        let name = self.canonical(address);
        let name = match self.by_name(name, None) {
            Ok(found) => return self.passed_on(domain, found),
            Err(name) => name,
        };
        let (local, main) = name.rsplit_once('@').unwrap_or((&name, ""));
        if let Some(at) = local.find(|letter| self.settings.separators.contains(letter))
            && let Some((base, rest)) = local.split_at_checked(at)
        {
            // The detail keeps the case it was written in: it may be the name of a folder.
            let written = address.local().unquoted();
            let detail = written.find(|letter| self.settings.separators.contains(letter));
            let detail = detail.and_then(|at| written.get(at..)).unwrap_or(rest);
            let detail: String = detail.chars().skip(1).collect();
            if let Ok(found) = self.by_name(format!("{base}@{main}"), Some(detail)) {
                return self.passed_on(domain, found);
            }
        }
        if local == "postmaster"
            && let Some(postmaster) = domain.postmaster.as_ref().or(self.postmaster.as_ref())
            && self.canonical(postmaster) != name
        {
            return Found::Postmaster { name, postmaster };
        }
        match domain {
            DomainEntry { mode: DomainMode::Relay, recipients: RelayRecipients::Listed, .. } => Found::Nobody,
            DomainEntry { mode: DomainMode::Relay, .. } => Found::Relay,
            DomainEntry { unknown: Some(target), .. } => Found::CatchAll { name, target },
            _ => Found::Nobody,
        }
    }

    /// An alias of a domain that we relay for which is its own name and nothing else says that the address is there: mail goes on as it
    /// was addressed.
    fn passed_on<'a>(&self, domain: &DomainEntry, found: Found<'a>) -> Found<'a> {
        match found {
            Found::Entry { ref name, entry: Entry::Alias(alias), .. }
                if domain.mode == DomainMode::Relay
                    && !alias.local_only
                    && matches!(&alias.targets[..], [Target::Address(only)] if self.canonical(only) == *name) =>
            {
                Found::Relay
            }
            found => found,
        }
    }

    /// What there is of this name, or the name again.
    fn by_name(&self, name: String, detail: Option<String>) -> Result<Found<'_>, String> {
        if let Some(alias) = self.file.get(&name) {
            return Ok(Found::Alias { name, alias });
        }
        if let Some(entry) = self.entries.get(&name) {
            return Ok(Found::Entry { name, entry, detail });
        }
        if self.unreadable.contains(&name) {
            return Ok(Found::Unreadable(name));
        }
        match name.rsplit_once('@').and_then(|(local, _)| self.pseudonyms.get(local)) {
            Some(alias) => Ok(Found::Alias { name, alias }),
            None => Err(name),
        }
    }

    /// Whether a member of the group, or of a group in it, has a mailbox here.
    fn has_mailbox(&self, group: &Group) -> bool {
        let mut seen = HashSet::new();
        let mut members: Vec<&Address> = group.members.iter().collect();
        while let Some(member) = members.pop() {
            if seen.len() > self.settings.most_targets || !seen.insert(self.canonical(member)) {
                continue;
            }
            match self.look_up(member) {
                Found::Entry { entry: Entry::Account(account), .. } if account.mailbox => return true,
                Found::Entry { entry: Entry::Group(group), .. } => members.extend(&group.members),
                Found::Entry { entry: Entry::Alias(alias), .. } | Found::Alias { alias, .. } => {
                    members.extend(alias.targets.iter().filter_map(|target| match target {
                        Target::Address(address) | Target::Mailbox(address) => Some(address),
                        _ => None,
                    }));
                }
                _ => {}
            }
        }
        false
    }
}

/// What answers to an address.
pub(super) enum Found<'a> {
    /// Its domain is not ours.
    Remote,
    /// Its domain is one that we relay for.
    Relay,
    Entry {
        name: String,
        entry: &'a Entry,
        detail: Option<String>,
    },
    /// A name known in all domains.
    Alias {
        name: String,
        alias: &'a Alias,
    },
    Postmaster {
        name: String,
        postmaster: &'a Address,
    },
    CatchAll {
        name: String,
        target: &'a Target,
    },
    Nobody,
    /// There is something here, and it is not known what.
    Unreadable(String),
}
