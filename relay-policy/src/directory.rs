//! Who is who: domains, accounts, aliases, groups, and where mail for each of their addresses goes.
//!
//! A [`Directory`] is a value without I/O: whoever keeps it somewhere tells it what there is, and asks it to
//! [`expand`](Directory::expand) a recipient. Addresses are compared without regard to case or quotes.

mod copies;
mod entry;
mod expand;
mod expansion;
mod refusal;
mod senders;
mod target;
mod walk;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use mailwright_mail_model::{Address, Domain};

use crate::{alias_file::AliasLine, delivery::Verp, networks::Networks};

pub use copies::{BlindCopy, CopyReason};
pub use entry::{
    Account, Alias, DomainEntry, DomainMode, Entry, Group, GroupDelivery, JournalReports, RelayRecipients,
};
pub use expansion::{Context, Delivery, Expansion, Handed, Onward, OnwardReason};
pub use refusal::Refusal;
pub use target::{Forwarding, Includes, NoIncludes, Target, TargetError};

/// All that a server knows of its domains and addresses.
///
/// ```
/// use mailwright_mail_model::{Address, ForwardPath};
/// use mailwright_relay_policy::directory::{
///     Account, Alias, Context, Directory, DomainEntry, Entry, NoIncludes, Target,
/// };
///
/// let mut directory = Directory::default();
/// directory.set_domain(&"example.org".parse()?, DomainEntry::default());
/// let alice: Address = "alice@example.org".parse()?;
/// directory.set(&alice, Entry::Account(Account::with_mailbox()))?;
/// let sales = Entry::Alias(Alias::to([Target::Address(alice.clone()), Target::Address("eve@example.net".parse()?)]));
/// directory.set(&"sales@example.org".parse()?, sales)?;
///
/// let recipient = ForwardPath::Address("Sales@Example.ORG".parse()?);
/// let expansion = directory.expand(&recipient, &Context::default(), &NoIncludes)?;
/// assert_eq!(expansion.deliveries[0].account, "alice@example.org");
/// assert_eq!(expansion.onward[0].to.as_str(), "eve@example.net");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Directory {
    settings: Settings,
    domains: BTreeMap<String, DomainEntry>,
    /// The domain that another one is a second name of.
    domain_aliases: BTreeMap<String, String>,
    entries: HashMap<String, Entry>,
    /// The canonical names of entries that whoever keeps them cannot read.
    unreadable: HashSet<String>,
    /// Local parts that are there in every domain.
    pseudonyms: BTreeMap<String, Alias>,
    /// Whom a postmaster without an account of that name is.
    postmaster: Option<Address>,
    /// Who gets a copy of every message.
    bcc: Option<Address>,
    /// The aliases of a file, by canonical name.
    file: Arc<HashMap<String, Alias>>,
    networks: Networks,
}

/// What holds for the whole server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The characters that separate a detail from an account's name (RFC 5233): `+` makes `alice+lists` alice's.
    /// Empty: there are no details.
    pub separators: String,
    /// How many accounts and addresses one recipient may turn into.
    pub most_targets: usize,
    /// How many aliases and forwards may follow one another: as many as hops before a loop is assumed.
    pub most_steps: usize,
    /// How the sender of a list with an owner tells which recipient failed; without it, the owner is the sender as it is.
    pub verp: Option<Verp>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { separators: "+".into(), most_targets: 200_000, most_steps: 50, verp: None }
    }
}

/// What cannot be entered, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Its domain is none of ours.
    #[error("{0} is not one of the domains here")]
    NotOurs(String),
    /// The name is taken by an entry of another kind.
    #[error("{name} is {kind} already")]
    Taken {
        /// The address.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// A domain cannot be a second name of itself, of an alias, or be both.
    #[error("{alias} cannot be an alias of {domain}: {why}")]
    DomainAlias {
        /// The second name.
        alias: String,
        /// The domain that was meant.
        domain: String,
        /// What is in the way.
        why: &'static str,
    },
}

impl Directory {
    /// An empty one with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// What holds for the whole server.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Says who is `<Postmaster>`, and the postmaster of each domain that names no other (RFC 5321 §4.5.1).
    pub fn set_postmaster(&mut self, address: Option<Address>) {
        self.postmaster = address;
    }

    /// Says who gets a copy of every message that comes in or goes out.
    pub fn set_bcc(&mut self, address: Option<Address>) {
        self.bcc = address;
    }

    /// Takes the aliases of a file (see [`alias_file`](crate::alias_file)) in place of those it had. A name without a domain is
    /// one in each of `domains`. They go before everything else of the same name: `alice: \\alice, bob` keeps a copy in
    /// the mailbox of the account that there is.
    pub fn set_alias_file(&mut self, lines: &[AliasLine], domains: &[Domain]) {
        let mut aliases = HashMap::new();
        for line in lines {
            let alias = Alias::to(line.targets.iter().cloned());
            if let Ok(address) = line.name.parse::<Address>() {
                aliases.insert(self.canonical(&address), alias);
                continue;
            }
            for domain in domains {
                let main = self.main_name(domain.key());
                aliases.insert(format!("{}@{main}", line.name.to_lowercase()), alias.clone());
            }
        }
        self.file = Arc::new(aliases);
    }

    /// The aliases of the file, in no particular order: canonical name and alias.
    pub fn file_aliases(&self) -> impl Iterator<Item = (&str, &Alias)> {
        self.file.iter().map(|(name, alias)| (name.as_str(), alias))
    }

    /// The alias of the file at a canonical name.
    pub fn file_alias(&self, canonical: &str) -> Option<&Alias> {
        self.file.get(canonical)
    }

    /// The clients that have rights by where they are.
    pub const fn networks(&self) -> &Networks {
        &self.networks
    }

    /// The clients that have rights by where they are, to be changed.
    pub const fn networks_mut(&mut self) -> &mut Networks {
        &mut self.networks
    }

    /// Adds a domain, or changes it.
    pub fn set_domain(&mut self, domain: &Domain, entry: DomainEntry) {
        self.domain_aliases.remove(domain.key());
        self.domains.insert(domain.key().to_owned(), entry);
    }

    /// Takes a domain away, and its aliases: no mail is accepted for it any more. What was entered at it stays, and
    /// is there again when the domain is. Whether it was there.
    pub fn remove_domain(&mut self, domain: &Domain) -> bool {
        self.domain_aliases.retain(|_, main| main != domain.key());
        self.domains.remove(domain.key()).is_some()
    }

    /// Makes a domain a second name of another one: every address at it is the address at that one.
    ///
    /// # Errors
    /// [`NotOurs`](DirectoryError::NotOurs) if `domain` is not there; [`DomainAlias`](DirectoryError::DomainAlias) if
    /// `alias` is a domain of its own.
    pub fn set_domain_alias(&mut self, alias: &Domain, domain: &Domain) -> Result<(), DirectoryError> {
        let why = if alias == domain {
            Some("it is the same domain")
        } else if self.domains.contains_key(alias.key()) {
            Some("it is a domain of its own here")
        } else if self.domain_aliases.contains_key(domain.key()) {
            Some("that is an alias itself")
        } else {
            None
        };
        if let Some(why) = why {
            let (alias, domain) = (alias.as_str().to_owned(), domain.as_str().to_owned());
            return Err(DirectoryError::DomainAlias { alias, domain, why });
        }
        if !self.domains.contains_key(domain.key()) {
            return Err(DirectoryError::NotOurs(domain.as_str().to_owned()));
        }
        self.domain_aliases.insert(alias.key().to_owned(), domain.key().to_owned());
        Ok(())
    }

    /// Takes a second name away; whether it was one.
    pub fn remove_domain_alias(&mut self, alias: &Domain) -> bool {
        self.domain_aliases.remove(alias.key()).is_some()
    }

    /// The domains, sorted, each as it is compared.
    pub fn domains(&self) -> impl Iterator<Item = (&str, &DomainEntry)> {
        self.domains.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// The second names of domains, sorted: alias and domain.
    pub fn domain_aliases(&self) -> impl Iterator<Item = (&str, &str)> {
        self.domain_aliases.iter().map(|(alias, domain)| (alias.as_str(), domain.as_str()))
    }

    /// What is known of a domain, by any of its names.
    pub fn domain(&self, domain: &Domain) -> Option<&DomainEntry> {
        self.domains.get(self.main_name(domain.key()))
    }

    /// Enters an address, or changes it.
    ///
    /// # Errors
    /// [`NotOurs`](DirectoryError::NotOurs) if its domain is not here; [`Taken`](DirectoryError::Taken) if the address is
    /// entered as something else: remove that first.
    pub fn set(&mut self, address: &Address, entry: Entry) -> Result<(), DirectoryError> {
        if self.domain(address.domain()).is_none() {
            return Err(DirectoryError::NotOurs(address.domain().as_str().to_owned()));
        }
        let name = self.canonical(address);
        if let Some(found) = self.entries.get(&name)
            && found.kind() != entry.kind()
        {
            return Err(DirectoryError::Taken { name, kind: found.kind() });
        }
        self.restore(name, entry);
        Ok(())
    }

    /// Enters what there is at a canonical name, though its domain may not be here now: for reading back what was
    /// written when it was.
    pub fn restore(&mut self, canonical: impl Into<String>, entry: Entry) {
        let canonical = canonical.into();
        self.unreadable.remove(&canonical);
        self.entries.insert(canonical, entry);
    }

    /// Says that there is something at a canonical name, and nobody knows what: mail for it is to be
    /// [tried again](Refusal::Unreadable) until it is entered.
    pub fn set_unreadable(&mut self, canonical: impl Into<String>) {
        self.unreadable.insert(canonical.into());
    }

    /// Whether nobody knows what is at a canonical name.
    pub fn is_unreadable(&self, canonical: &str) -> bool {
        self.unreadable.contains(canonical)
    }

    /// What an address is entered as, by its exact name.
    pub fn find(&self, address: &Address) -> Option<&Entry> {
        self.entries.get(&self.canonical(address))
    }

    /// What is entered under a canonical name.
    pub fn entry(&self, canonical: &str) -> Option<&Entry> {
        self.entries.get(canonical)
    }

    /// Takes an address away; what it was.
    pub fn remove(&mut self, address: &Address) -> Option<Entry> {
        let name = self.canonical(address);
        self.entries.remove(&name)
    }

    /// Takes away what is entered under a canonical name; what it was.
    pub fn take(&mut self, canonical: &str) -> Option<Entry> {
        self.unreadable.remove(canonical);
        self.entries.remove(canonical)
    }

    /// Everything entered, in no particular order: canonical name and entry.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// Makes a local part known in all domains, those to come among them; an address entered with a domain goes first.
    pub fn set_pseudonym(&mut self, local: &str, alias: Alias) {
        self.pseudonyms.insert(local.to_lowercase(), alias);
    }

    /// Takes such a local part away; whether it was there.
    pub fn remove_pseudonym(&mut self, local: &str) -> bool {
        self.pseudonyms.remove(&local.to_lowercase()).is_some()
    }

    /// The local parts known in all domains, sorted.
    pub fn pseudonyms(&self) -> impl Iterator<Item = (&str, &Alias)> {
        self.pseudonyms.iter().map(|(local, alias)| (local.as_str(), alias))
    }

    /// The one way to write an address: lower case, no quotes, the domain by its main name as it is compared. It
    /// serves as a key; an address that needs its quotes cannot be read back from it.
    pub fn canonical(&self, address: &Address) -> String {
        let (local, domain) = (address.local().unquoted(), self.main_name(address.domain().key()));
        let mut name = String::with_capacity(local.len() + 1 + domain.len());
        match local.is_ascii() {
            true => name.extend(local.chars().map(|letter| letter.to_ascii_lowercase())),
            false => name.push_str(&local.to_lowercase()),
        }
        name.push('@');
        name.push_str(domain);
        name
    }

    /// An address of this local part in every domain: what a new account may be offered.
    pub fn proposed<'a>(&'a self, local: &'a str) -> impl Iterator<Item = Address> + 'a {
        self.domains().filter_map(move |(domain, _)| format!("{local}@{domain}").parse().ok())
    }

    fn main_name<'a>(&'a self, key: &'a str) -> &'a str {
        self.domain_aliases.get(key).map_or(key, String::as_str)
    }
}

#[cfg(test)]
mod tests;
