//! The configuration of Sieve.

mod extensions;

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration};

use mailwright::filter::{
    Converter, FilterOptions, List, Lists, Programs, Snoozing, SpamField, VirusField, Zone,
};
use serde::{Deserialize, Serialize};

use super::{Config, Listener, Protocol, StoreKind};

/// The table of the messages that come back later.
pub(crate) const SNOOZED: &str = "sieve-snoozed";

/// The server's own Sieve scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sieve {
    /// Run before each user's own, in order.
    pub(crate) before: Vec<PathBuf>,
    /// Run after, as long as the message is still to be kept.
    pub(crate) after: Vec<PathBuf>,
    /// Run for users without an active script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<PathBuf>,
    /// The scripts of this directory can be included by their names, without `.sieve`, as `:global`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) included: Option<PathBuf>,
    /// The programs of this directory can be started by scripts, in so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) programs: Option<PathBuf>,
    pub(crate) program_seconds: u64,
    /// By which scripts.
    pub(crate) program_scripts: ProgramScripts,
    /// The program of that directory that converts parts of messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) converter: Option<String>,
    /// Lists that scripts may look into.
    pub(crate) lists: Vec<NamedList>,
    /// The directory of the users' address books.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address_books: Option<PathBuf>,
    /// The server that has the scripts of a user, or of all users of a domain: a URL.
    pub(crate) referrals: BTreeMap<String, String>,
    /// The field with the score of a spam filter, and the score from which on a message is certainly spam.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spam_field: Option<String>,
    pub(crate) spam_worst: u32,
    /// The field with the result of a virus scanner, and what it begins with if nothing was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) virus_field: Option<String>,
    pub(crate) virus_clean: String,
    /// Whether scripts run when messages in mailboxes change.
    pub(crate) imap: bool,
    /// Whether clients may run scripts on messages that are here.
    pub(crate) filter_command: bool,
    /// Whether scripts may have messages come back later.
    pub(crate) snooze: bool,
    /// The users' time zone; that of this machine if empty.
    pub(crate) time_zone: String,
    /// What scripts may know of the configuration (`vnd.dovecot.environment`).
    pub(crate) environment: BTreeMap<String, String>,
    /// Extensions that users' scripts may not use.
    pub(crate) disabled: Vec<String>,
    /// What the scripts of one message may do together, to how many each may redirect and report it, and for how long they may run.
    pub(crate) actions: usize,
    pub(crate) redirects: usize,
    pub(crate) run_seconds: u64,
    /// How often `vacation` answers, where a script does not say, and within which bounds it may say.
    pub(crate) vacation_days: u64,
    pub(crate) vacation_least_seconds: u64,
    pub(crate) vacation_most_days: u64,
    /// Whether it answers what is not addressed to the user, too.
    pub(crate) vacation_unaddressed: bool,
    /// What its answers make of a subject, where a script does not name one, and of none.
    pub(crate) vacation_subject: String,
    pub(crate) vacation_subject_default: String,
    /// For how long `duplicate` remembers a message, where a script does not say, and at most.
    pub(crate) duplicate_days: u64,
    pub(crate) duplicate_most_days: u64,
    /// Header fields that `addheader` does not add, and such as `deleteheader` leaves alone.
    pub(crate) unaddable_fields: Vec<String>,
    pub(crate) undeletable_fields: Vec<String>,
    /// The longest value that `addheader` adds, in octets.
    pub(crate) added_field_octets: usize,
}

/// A file of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedList {
    /// A URI.
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    /// For the users of these domains; for all if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) domains: Vec<String>,
}

/// Whose scripts may start programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProgramScripts {
    All,
    Server,
}

impl Default for Sieve {
    fn default() -> Self {
        Self {
            before: Vec::new(),
            after: Vec::new(),
            default: None,
            included: None,
            programs: None,
            program_seconds: 10,
            program_scripts: ProgramScripts::All,
            converter: None,
            lists: Vec::new(),
            address_books: None,
            referrals: BTreeMap::new(),
            spam_field: None,
            spam_worst: 10,
            virus_field: None,
            virus_clean: "clean".into(),
            imap: true,
            filter_command: true,
            snooze: true,
            time_zone: String::new(),
            environment: BTreeMap::new(),
            disabled: Vec::new(),
            actions: 32,
            redirects: 4,
            run_seconds: 5,
            vacation_days: 7,
            vacation_least_seconds: 0,
            vacation_most_days: 90,
            vacation_unaddressed: false,
            vacation_subject: "Auto: %{subject}".into(),
            vacation_subject_default: "Automated reply".into(),
            duplicate_days: 7,
            duplicate_most_days: 365,
            unaddable_fields: Vec::new(),
            undeletable_fields: Vec::new(),
            added_field_octets: 1 << 20,
        }
    }
}

impl Sieve {
    /// What the filter has.
    fn options(&self) -> FilterOptions {
        let mut options = FilterOptions::default();
        let worst = f64::from(self.spam_worst.max(1));
        options.spam = self.spam_field.as_ref().map(|name| SpamField::new(name, worst));
        options.programs = self.programs.as_ref().map(|folder| {
            let mut programs = Programs::new(folder);
            programs.time = Duration::from_secs(self.program_seconds);
            programs.server_only = self.program_scripts == ProgramScripts::Server;
            programs
        });
        options.converter = self
            .converter
            .as_ref()
            .zip(options.programs.clone())
            .map(|(program, programs)| Converter::new(programs, program));
        options.lists = (self.address_books.is_some() || !self.lists.is_empty()).then(|| {
            let mut lists = Lists::default();
            lists.address_books.clone_from(&self.address_books);
            lists.named = self.lists.iter().map(NamedList::list).collect();
            lists
        });
        options.environment.clone_from(&self.environment);
        options.extensions = Arc::new(self.extensions());
        options.disabled.clone_from(&self.disabled);
        (options.limits.actions, options.limits.redirects) = (self.actions, self.redirects);
        options.time = Some(Duration::from_secs(self.run_seconds));
        options.virus = self.virus_field.as_ref().map(|name| VirusField::new(name, &self.virus_clean));
        options.zone = match self.time_zone.as_str() {
            "" => Zone::system(),
            // It was checked.
            name => Zone::new(name).unwrap_or_default(),
        };
        options
    }
}

impl NamedList {
    fn list(&self) -> List {
        let mut list = List::new(&self.name, &self.file);
        list.domains.clone_from(&self.domains);
        list
    }

    fn problem(&self) -> Option<String> {
        let Self { name, file, .. } = self;
        if !name.contains(':') || name.contains(char::is_whitespace) {
            return Some(format!(
                "[sieve] lists: name = \"{name}\" is no URI; call it something like \"tag:example.org,2026:partners\""
            ));
        }
        let error = std::fs::File::open(file).err()?;
        let file = file.display();
        Some(format!(
            "[sieve] lists: file = \"{file}\" cannot be read: {error}; make it, with an address in each line"
        ))
    }
}

impl Sieve {
    /// What is wrong, each with what to do.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.program_seconds == 0 {
            problems.push("[sieve] program_seconds must be at least 1".into());
        }
        if !self.time_zone.is_empty()
            && let Err(error) = Zone::new(&self.time_zone)
        {
            problems.push(format!(
                "[sieve] time_zone: {error}; names are those below /usr/share/zoneinfo, or empty for the zone of this machine"
            ));
        }
        let odd = |name: &&String| {
            name.is_empty()
                || !name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
        };
        problems.extend(self.environment.keys().filter(odd).map(|name| {
            format!("[sieve.environment] {name:?}: names are of letters, digits, \"-\", \"_\" and \".\"")
        }));
        problems.extend(self.extension_problems());
        problems.extend(self.lists.iter().filter_map(NamedList::problem));
        problems.extend(self.referrals.iter().filter(|(_, url)| !url.starts_with("sieve://")).map(|(who, url)| {
            format!("[sieve] referrals: \"{url}\" of \"{who}\" is no URL of ManageSieve; expected something like \"sieve://sieve.example.net\"")
        }));
        if let Some(folder) = self.address_books.as_ref().filter(|folder| !folder.is_dir()) {
            let folder = folder.display();
            problems.push(format!(
                "[sieve] address_books = \"{folder}\" is no directory; make it, or take the line out"
            ));
        }
        if let Some(converter) = &self.converter {
            let options = self.options();
            if options.programs.is_none() {
                problems.push("[sieve] converter needs programs, the directory that it is in".into());
            } else if !options.converter.is_some_and(|converter| converter.is_there()) {
                problems.push(format!("[sieve] converter = \"{converter}\" is no executable file of the directory that programs names"));
            }
        }
        let Some(folder) = &self.programs else { return problems };
        let shown = folder.display();
        match folder.metadata() {
            Err(error) => problems.push(format!("[sieve] programs = \"{shown}\" cannot be read: {error}; make the directory, or take the line out")),
            Ok(found) if !found.is_dir() => {
                problems.push(format!("[sieve] programs = \"{shown}\" is no directory"));
            }
            Ok(found) if found.permissions().mode() & 0o002 != 0 => problems.push(format!(
                "[sieve] programs = \"{shown}\" can be written to by everybody, who could then do what the server can: chmod o-w it"
            )),
            Ok(_) => {}
        }
        problems
    }
}

impl Config {
    /// What filters have.
    pub(crate) fn filter_options(&self) -> FilterOptions {
        let mut options = self.sieve.options();
        options.events = self.sieve_url().is_some();
        // It takes notes about messages in the commits that store them.
        let notes = self.store.kind == StoreKind::Embedded && self.store.mbox.is_empty();
        options.snooze = (self.sieve.snooze && notes).then(|| Snoozing::new(SNOOZED));
        options
    }

    /// Where scripts that run when messages change are managed; none if there are none. RFC 6785 §2.1 asks for ManageSieve.
    pub(crate) fn sieve_url(&self) -> Option<String> {
        let listeners =
            || self.listeners.iter().filter(|listener| listener.protocol == Protocol::ManageSieve);
        let port = |listener: &Listener| Some(listener.address.network()?.port());
        let usual = listeners().filter_map(port).find(|port| *port == 4190);
        let port = usual.or_else(|| listeners().find_map(port))?;
        self.sieve.imap.then(|| {
            // RFC 5804 §3
            match port {
                // 0 is for tests, and whatever the system gives.
                0 | 4190 => format!("sieve://{}", self.hostname),
                port => format!("sieve://{}:{port}", self.hostname),
            }
        })
    }
}
