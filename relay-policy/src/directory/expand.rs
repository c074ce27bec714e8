//! From a recipient to mailboxes and addresses elsewhere.

use std::collections::{HashSet, VecDeque};

use mailwright_mail_model::{Address, ForwardPath};

use crate::delivery::{Identity, LocalKind, LocalTarget};

use super::{
    Account, Alias, Directory, DomainEntry, DomainMode, Entry, Group, GroupDelivery, Includes, Refusal,
    Target,
};

/// Who asks.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Context {
    /// Whether the client is one of our users or in a network of ours: it may write to local-only addresses.
    pub trusted: bool,
}

impl Context {
    /// One of ours, or a stranger.
    pub const fn new(trusted: bool) -> Self {
        Self { trusted }
    }
}

/// What a recipient stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expansion {
    /// Mailboxes here, each once.
    pub deliveries: Vec<Delivery>,
    /// Addresses elsewhere, each once.
    pub onward: Vec<Onward>,
    /// Files and programs of this machine, each once.
    pub handed: Vec<Handed>,
    /// Targets of aliases that nobody has: not the sender's fault, so they are left out, and somebody should be told.
    pub dangling: Vec<Address>,
}

impl Expansion {
    /// One mailbox and nothing else.
    pub fn to(delivery: Delivery) -> Self {
        Self { deliveries: vec![delivery], ..Self::default() }
    }

    /// Whether nothing would be done.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.onward.is_empty() && self.handed.is_empty()
    }
}

/// One mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The canonical name of the account, or of the group for its shared folder.
    pub account: String,
    /// What stood behind the separator in the address (RFC 5233).
    pub detail: Option<String>,
    /// Whether it is the folder that a group shares.
    pub shared: bool,
    /// Who the sender is from here on, if a list on the way has an owner.
    pub owner: Option<Address>,
    /// [`Account::since`], if the recipient is this account itself and no other name of it.
    pub since: Option<i64>,
}

impl Delivery {
    /// Into the mailbox of an account.
    pub fn new(account: impl Into<String>) -> Self {
        Self { account: account.into(), detail: None, shared: false, owner: None, since: None }
    }
}

/// One file or program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handed {
    /// Which.
    pub target: LocalTarget,
    /// The canonical name of the entry that leads there.
    pub by: String,
    /// Who the sender is from here on, if a list on the way has an owner.
    pub owner: Option<Address>,
}

/// One address elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Onward {
    /// Where to.
    pub to: Address,
    /// Why.
    pub reason: OnwardReason,
    /// Who the sender is from here on, if a list on the way has an owner.
    pub owner: Option<Address>,
    /// Who the sender is from here on, if we answer for mail that we forward (see [`Srs`](crate::srs::Srs)).
    pub sender: Option<Address>,
}

impl Onward {
    /// A recipient here, by its canonical name, that leads to an address elsewhere.
    pub fn forwarded(to: Address, by: impl Into<String>) -> Self {
        Self { to, reason: OnwardReason::Forward(by.into()), owner: None, sender: None }
    }
}

/// Why a message goes elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnwardReason {
    /// The recipient itself is not here. Whether the client may send there is for a policy to say.
    Remote,
    /// The recipient is in a domain that we relay for.
    Relay,
    /// An entry here leads there: its canonical name.
    Forward(String),
}

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
        let found = self.look_up(address);
        let itself = match &found {
            Found::Entry { name, entry: Entry::Account(account), .. } => Some((name.clone(), account.since)),
            _ => None,
        };
        match found {
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
        let mut walk =
            Walk { directory: self, steps: Vec::new(), seen: HashSet::new(), found: Expansion::default() };
        walk.run(address, includes)?;
        if let Some((name, since)) = itself {
            let own = walk.found.deliveries.iter_mut().filter(|delivery| delivery.account == name);
            own.for_each(|delivery| delivery.since = since);
        }
        match (walk.found.is_empty(), walk.found.dangling.is_empty()) {
            (false, _) => Ok(walk.found),
            (true, true) => Err(Refusal::NoMailbox),
            (true, false) => Err(Refusal::Unknown),
        }
    }

    /// What answers to an address: by its exact name, then in all domains, then without the detail, then as postmaster,
    /// then the domain's catch-all.
    fn look_up<'a>(&'a self, address: &Address) -> Found<'a> {
        let Some(domain) = self.domain(address.domain()) else { return Found::Remote };
        let name = self.canonical(address);
        if let Some(found) = self.by_name(name.clone(), None) {
            return found;
        }
        let (local, main) = name.rsplit_once('@').unwrap_or((&name, ""));
        if let Some(at) = local.find(|letter| self.settings.separators.contains(letter))
            && let Some((base, rest)) = local.split_at_checked(at)
        {
            // The detail keeps the case it was written in: it may be the name of a folder.
            let written = address.local().unquoted();
            let detail = written.find(|letter| self.settings.separators.contains(letter));
            let detail = detail.and_then(|at| written.get(at..)).unwrap_or(rest);
            let detail: String = detail.chars().skip(1).collect();
            if let Some(found) = self.by_name(format!("{base}@{main}"), Some(detail)) {
                return found;
            }
        }
        if local == "postmaster"
            && let Some(postmaster) = domain.postmaster.as_ref().or(self.postmaster.as_ref())
            && self.canonical(postmaster) != name
        {
            return Found::Postmaster { name, postmaster };
        }
        match domain {
            DomainEntry { mode: DomainMode::Relay, .. } => Found::Relay,
            DomainEntry { unknown: Some(target), .. } => Found::CatchAll { name, target },
            _ => Found::Nobody,
        }
    }

    fn by_name(&self, name: String, detail: Option<String>) -> Option<Found<'_>> {
        if let Some(alias) = self.file.get(&name) {
            return Some(Found::Alias { name, alias });
        }
        if let Some(entry) = self.entries.get(&name) {
            return Some(Found::Entry { name, entry, detail });
        }
        let (local, _) = name.rsplit_once('@')?;
        let alias = self.pseudonyms.get(local)?;
        Some(Found::Alias { name, alias })
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
enum Found<'a> {
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
}

/// A walk from a recipient to all it stands for, breadth first.
struct Walk<'a> {
    directory: &'a Directory,
    /// The entries that were followed, each with the one it was reached through.
    steps: Vec<Step>,
    /// What was reached already.
    seen: HashSet<Mark>,
    found: Expansion,
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

impl Walk<'_> {
    fn run(&mut self, recipient: &Address, includes: &dyn Includes) -> Result<(), Refusal> {
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
        Ok(())
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
            Found::Nobody => {
                self.found.dangling.push(address.clone());
                return Ok(Vec::new());
            }
            Found::Entry { name, entry, detail } => {
                if self.passed(&name, through) {
                    // The way leads back to where it came through. An account keeps what it would send round again.
                    if matches!(entry, Entry::Account(_)) {
                        self.keep(&name, detail, through);
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
