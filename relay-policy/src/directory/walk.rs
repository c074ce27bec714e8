//! The walk from a recipient through aliases, groups and forwards to all it stands for.

use std::collections::{HashSet, VecDeque};

use mailwright_mail_model::Address;

use super::{
    Account, Delivery, Directory, DomainMode, Entry, Expansion, Group, GroupDelivery, Handed, Includes,
    Onward, OnwardReason, Refusal, Target, expand::Found,
};
use crate::delivery::{Identity, LocalKind, LocalTarget};

/// A walk from a recipient to all it stands for, breadth first.
pub(super) struct Walk<'a> {
    directory: &'a Directory,
    /// The entries that were followed, each with the one it was reached through.
    steps: Vec<Step>,
    /// What was reached already.
    seen: HashSet<Mark>,
    found: Expansion,
    /// Whether a way led back to an alias that it came through.
    in_circle: bool,
}

/// Something that is done once, however many ways lead to it.
#[derive(PartialEq, Eq, Hash)]
enum Mark {
    Entry(String),
    Mailbox(String),
    Target(Target),
    Local(LocalTarget),
}

struct Step {
    name: String,
    through: Option<usize>,
    depth: usize,
    owner: Option<Address>,
    /// Whose forward file it is that names what follows.
    identity: Option<Identity>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(directory: &'a Directory) -> Self {
        Self {
            directory,
            steps: Vec::new(),
            seen: HashSet::new(),
            found: Expansion::default(),
            in_circle: false,
        }
    }

    /// Walks to the end of every way; also gives whether one led round in a circle.
    pub(super) fn run(
        mut self,
        recipient: &Address,
        includes: &dyn Includes,
    ) -> Result<(Expansion, bool), Refusal> {
        let mut waiting = VecDeque::from([(Target::Address(recipient.clone()), None)]);
        while let Some((target, through)) = waiting.pop_front() {
            let followed = match &target {
                Target::Address(address) => self.follow(address, through, includes)?,
                Target::Mailbox(address) => {
                    self.keep(&self.directory.canonical(address), None, through);
                    continue;
                }
                Target::File(path) => {
                    self.hand(LocalKind::File(path.clone()), through);
                    continue;
                }
                Target::Command(line) => {
                    self.hand(LocalKind::Command(line.clone()), through);
                    continue;
                }
                Target::Include(path) => {
                    if !self.seen.insert(Mark::Target(target.clone())) {
                        continue;
                    }
                    let identity = self.step(through).and_then(|step| step.identity);
                    let targets = includes.include(path, identity).map_err(Refusal::Unreadable)?;
                    targets.into_iter().map(|target| (target, through)).collect()
                }
            };
            waiting.extend(followed);
            if waiting.len() + self.seen.len() > self.directory.settings.most_targets {
                return Err(Refusal::TooMany);
            }
        }
        Ok((self.found, self.in_circle))
    }

    /// Follows an address one step; gives what is to be followed next.
    fn follow(
        &mut self,
        address: &Address,
        through: Option<usize>,
        includes: &dyn Includes,
    ) -> Result<Vec<(Target, Option<usize>)>, Refusal> {
        let directory = self.directory;
        let mut identity = None;
        let (name, targets): (String, Vec<Target>) = match directory.look_up(address) {
            Found::Remote => {
                let reason = match self.step(through) {
                    Some(step) => OnwardReason::Forward(step.name.clone()),
                    None => OnwardReason::Remote,
                };
                self.send(address, reason, through);
                return Ok(Vec::new());
            }
            Found::Relay => {
                self.send(address, OnwardReason::Relay, through);
                return Ok(Vec::new());
            }
            Found::Unreadable(name) => return Err(Refusal::Unreadable(name)),
            Found::Nobody => {
                self.found.dangling.push(address.clone());
                return Ok(Vec::new());
            }
            Found::Entry { name, entry, detail } => {
                if self.passed(&name, through) {
                    // The way leads back to where it came through. An account keeps what it would send round again.
                    match entry {
                        Entry::Account(_) => self.keep(&name, detail, through),
                        // One of a domain that we relay for that names itself is one that we relay for.
                        Entry::Alias(_) if self.is_relayed(address) => {
                            self.send(address, OnwardReason::Relay, through);
                        }
                        Entry::Alias(_) => self.in_circle = true,
                        Entry::Group(_) => {}
                    }
                    return Ok(Vec::new());
                }
                match entry {
                    Entry::Account(account) => {
                        let own = includes.forward(&name).map_err(Refusal::Unreadable)?;
                        identity = own.as_ref().map(|own| own.identity);
                        let own = own.map(|own| own.targets).unwrap_or_default();
                        let targets = self.account(account, own, &name, detail, through);
                        (name, targets)
                    }
                    Entry::Alias(alias) => (name, alias.targets.clone()),
                    Entry::Group(group) => {
                        let targets = self.group(group, &name, through);
                        (name, targets)
                    }
                }
            }
            Found::Alias { name, alias } => {
                if self.passed(&name, through) {
                    // An alias that names itself means the account of that name.
                    self.in_circle = true;
                    self.keep(&name, None, through);
                    return Ok(Vec::new());
                }
                (name, alias.targets.clone())
            }
            Found::Postmaster { name, postmaster } => (name, vec![Target::Address(postmaster.clone())]),
            Found::CatchAll { name, target } => (name, vec![target.clone()]),
        };
        // Reached by two ways, it is followed once.
        if targets.is_empty() || !self.seen.insert(Mark::Entry(name.clone())) {
            return Ok(Vec::new());
        }
        let depth = self.step(through).map_or(0, |step| step.depth + 1);
        if depth > directory.settings.most_steps {
            return Err(Refusal::TooDeep);
        }
        let owner = self.owner(&name).or_else(|| self.inherited(through));
        self.steps.push(Step { name, through, depth, owner, identity });
        let index = self.steps.len() - 1;
        Ok(targets.into_iter().map(|target| (target, Some(index))).collect())
    }

    fn is_relayed(&self, address: &Address) -> bool {
        self.directory.domain(address.domain()).is_some_and(|domain| domain.mode == DomainMode::Relay)
    }

    /// Delivers to an account as it wants it, with what its `own` forward file says; gives where else.
    fn account(
        &mut self,
        account: &Account,
        own: Vec<Target>,
        name: &str,
        detail: Option<String>,
        through: Option<usize>,
    ) -> Vec<Target> {
        if account.mailbox && (account.keep || (account.forward.is_empty() && own.is_empty())) {
            self.keep(name, detail, through);
        }
        let mut targets = account.forward.clone();
        targets.extend(own);
        targets
    }

    fn group(&mut self, group: &Group, name: &str, through: Option<usize>) -> Vec<Target> {
        let mut targets = group.forward.clone();
        if group.keep || group.forward.is_empty() {
            match group.delivery {
                GroupDelivery::Copies => targets.extend(group.members.iter().cloned().map(Target::Address)),
                GroupDelivery::SharedFolder => {
                    let owner = self.owner(name).or_else(|| self.inherited(through));
                    self.deliver(Delivery {
                        account: name.to_owned(),
                        detail: None,
                        shared: true,
                        owner,
                        since: None,
                    });
                }
            }
        }
        targets
    }

    /// Delivers to the mailbox of an account, if it has one.
    fn keep(&mut self, name: &str, detail: Option<String>, through: Option<usize>) {
        match self.directory.entries.get(name) {
            Some(Entry::Account(account)) if account.mailbox => {
                let owner = self.inherited(through);
                self.deliver(Delivery {
                    account: name.to_owned(),
                    detail,
                    shared: false,
                    owner,
                    since: None,
                });
            }
            _ => {}
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        if self.seen.insert(Mark::Mailbox(delivery.account.clone())) {
            self.found.deliveries.push(delivery);
        }
    }

    fn send(&mut self, to: &Address, reason: OnwardReason, through: Option<usize>) {
        if self.seen.insert(Mark::Target(Target::Address(to.clone()))) {
            let verp = self.directory.settings.verp;
            // One that does not fit into an address is left as it is.
            let own = |owner: Address| verp.and_then(|verp| verp.encode(&owner, to).ok()).unwrap_or(owner);
            let owner = self.inherited(through).map(own);
            self.found.onward.push(Onward { to: to.clone(), reason, owner, sender: None });
        }
    }

    fn hand(&mut self, kind: LocalKind, through: Option<usize>) {
        let Some(step) = self.step(through) else { return };
        let target = LocalTarget::new(kind, step.identity);
        let handed = Handed { by: step.name.clone(), owner: step.owner.clone(), target: target.clone() };
        if self.seen.insert(Mark::Local(target)) {
            self.found.handed.push(handed);
        }
    }

    fn step(&self, through: Option<usize>) -> Option<&Step> {
        through.and_then(|index| self.steps.get(index))
    }

    /// Whether the way here led through an entry. Ways are short: `most_steps` ends longer ones.
    fn passed(&self, name: &str, through: Option<usize>) -> bool {
        let mut at = self.step(through);
        while let Some(step) = at {
            if step.name == name {
                return true;
            }
            at = self.step(step.through);
        }
        false
    }

    fn inherited(&self, through: Option<usize>) -> Option<Address> {
        self.step(through).and_then(|step| step.owner.clone())
    }

    /// `owner-list` is who hears of trouble with `list`, if there is one.
    fn owner(&self, name: &str) -> Option<Address> {
        let (local, domain) = name.rsplit_once('@')?;
        let owner = format!("owner-{local}@{domain}");
        let there = self.directory.entries.contains_key(&owner) || self.directory.file.contains_key(&owner);
        there.then(|| owner.parse().ok()).flatten()
    }
}
