//! The commands `domain`, `alias`, `group`, `network`, `address`, `explain` and `directory`.

use std::{fs, path::Path};

use mailwright::{mail_model::Domain, relay_policy::alias_file};

use crate::{
    admin::{AddressMeaning, Request, Response},
    cli::{AliasCommand, DirectoryCommand, DomainCommand, DomainSettings, GroupCommand, NetworkCommand},
    command::{CommandError, print_json, request},
    config::Config,
    directory::{
        AliasRow, DirectoryFile, DomainChange, Edit, GroupRow, NetworkRow, RelayRecipients, Reports,
    },
    rules::Question,
};

/// `domain`.
pub(crate) fn domain(config: &Config, command: DomainCommand) -> Result<(), CommandError> {
    match command {
        DomainCommand::Add { name, settings } => {
            let named = settings.addresses();
            edit(config, Edit::Domain { name: name.clone(), change: settings.into(), new: true })?;
            println!("added the domain {name}");
            tell_missing(config, &named);
        }
        DomainCommand::Set { name, settings } => {
            let named = settings.addresses();
            edit(config, Edit::DomainChange { name: name.clone(), change: settings.into() })?;
            println!("changed the domain {name}");
            tell_missing(config, &named);
        }
        DomainCommand::Alias { alias, domain } => {
            edit(config, Edit::DomainAlias { alias: alias.clone(), domain: domain.clone() })?;
            println!("{alias} is another name of {domain} now");
        }
        DomainCommand::Remove { name } => {
            edit(config, Edit::DomainRemove { name: name.clone() })?;
            println!("removed the domain {name}; mail received for it stays");
        }
        DomainCommand::List { json } => {
            let all = everything(config)?;
            if json {
                let shown = DirectoryFile {
                    domain: all.domain,
                    domain_alias: all.domain_alias,
                    ..Default::default()
                };
                return print_json(&shown);
            }
            for (name, row) in &all.domain {
                let mut line = name.clone();
                if row.relay {
                    line += "  relay";
                }
                line += match row.recipients {
                    RelayRecipients::Any => "",
                    RelayRecipients::Listed => " of listed recipients",
                    RelayRecipients::Verified => " of verified recipients",
                };
                for (what, who) in [
                    ("unknown", &row.unknown),
                    ("postmaster", &row.postmaster),
                    ("journal", &row.journal),
                    ("bcc", &row.bcc),
                ] {
                    if let Some(who) = who {
                        line += &format!("  {what} {who}");
                    }
                }
                if row.journal_reports == Reports::Postmaster {
                    line += "  journal's reports to the postmaster";
                }
                println!("{line}");
            }
            for (alias, domain) in &all.domain_alias {
                println!("{alias}  = {domain}");
            }
        }
    }
    Ok(())
}

impl DomainSettings {
    /// The addresses that are named.
    fn addresses(&self) -> Vec<String> {
        let named = [&self.unknown, &self.postmaster, &self.journal, &self.bcc].into_iter().flatten();
        named.filter(|address| *address != "none").cloned().collect()
    }
}

/// Tells of addresses here that nobody has, and of aliases that lead to nobody but each other: mail that leads to them alone is refused.
pub(crate) fn tell_missing(config: &Config, addresses: &[String]) {
    for address in addresses {
        let asked = request(config, Request::Address { address: address.clone() });
        let Ok(Response::Address(meaning)) = asked else { continue };
        if meaning.refusal.starts_with("550 5.1.1 ") {
            println!("  nobody has {address} yet");
        } else if meaning.refusal.starts_with("550 5.4.6 ") {
            println!("  {address} leads back to itself: mail for it is refused");
        }
    }
}

impl From<DomainSettings> for DomainChange {
    fn from(settings: DomainSettings) -> Self {
        let DomainSettings { relay, recipients, unknown, postmaster, journal, journal_reports, bcc } =
            settings;
        Self { relay, recipients, unknown, postmaster, journal, journal_reports, bcc }
    }
}

/// `alias`.
pub(crate) fn alias(config: &Config, command: AliasCommand) -> Result<(), CommandError> {
    match command {
        AliasCommand::Add { address, targets, all_domains, local_only, replace } => {
            let row = AliasRow { targets: targets.clone(), local_only };
            let change = if all_domains {
                Edit::Pseudonym { local: address.clone(), row }
            } else {
                Edit::Alias { address: address.clone(), row, new: !replace }
            };
            edit(config, change)?;
            println!("added the alias {address}");
            tell_missing(config, &targets);
        }
        AliasCommand::Remove { address, all_domains } => {
            let change = if all_domains {
                Edit::PseudonymRemove { local: address.clone() }
            } else {
                Edit::AliasRemove { address: address.clone() }
            };
            edit(config, change)?;
            println!("removed the alias {address}");
        }
        AliasCommand::List { json } => {
            let all = everything(config)?;
            if json {
                let shown =
                    DirectoryFile { alias: all.alias, pseudonym: all.pseudonym, ..Default::default() };
                return print_json(&shown);
            }
            let pseudonyms = all.pseudonym.iter().map(|(local, row)| (format!("{local}@*"), row));
            for (name, row) in all.alias.iter().map(|(name, row)| (name.clone(), row)).chain(pseudonyms) {
                println!("{name}  {}{}", row.targets.join(", "), local_only(row.local_only));
            }
        }
        AliasCommand::Import { file, domain } => {
            let bad = |problem: String| CommandError::Content { file: file.display().to_string(), problem };
            let origin: Domain =
                domain.parse().map_err(|_| bad(format!("--domain {domain:?} is not a domain name")))?;
            let aliases =
                alias_file::aliases(&read(&file)?, &origin).map_err(|error| bad(error.to_string()))?;
            let mut wanted = DirectoryFile::default();
            for repeated in &aliases.repeated {
                eprintln!("mailwrightd: warning: {}, {repeated}", file.display());
            }
            for alias in aliases.aliases {
                let name =
                    if alias.name.contains('@') { alias.name } else { format!("{}@{domain}", alias.name) };
                let targets = alias.targets.iter().map(ToString::to_string).collect();
                wanted.alias.insert(name, AliasRow { targets, local_only: false });
            }
            written(request(config, Request::DirectoryImport { file: wanted, only: false })?);
        }
    }
    Ok(())
}

/// `group`.
pub(crate) fn group(config: &Config, command: GroupCommand) -> Result<(), CommandError> {
    match command {
        GroupCommand::Add { address, members, shared_folder, forward, keep, local_only, replace } => {
            let named: Vec<String> = members.iter().chain(&forward).cloned().collect();
            let row = GroupRow { members, shared_folder, forward, keep, local_only };
            edit(config, Edit::Group { address: address.clone(), row, new: !replace })?;
            println!("added the group {address}");
            tell_missing(config, &named);
        }
        GroupCommand::Join { address, members } => {
            let add = members.clone();
            edit(config, Edit::GroupMembers { address: address.clone(), add, remove: Vec::new() })?;
            println!("changed the group {address}");
            tell_missing(config, &members);
        }
        GroupCommand::Leave { address, members } => {
            edit(config, Edit::GroupMembers { address: address.clone(), add: Vec::new(), remove: members })?;
            println!("changed the group {address}");
        }
        GroupCommand::Remove { address } => {
            edit(config, Edit::GroupRemove { address: address.clone() })?;
            println!("removed the group {address}");
        }
        GroupCommand::List { json } => {
            let all = everything(config)?;
            if json {
                return print_json(&DirectoryFile { group: all.group, ..Default::default() });
            }
            for (name, row) in &all.group {
                let how = if row.shared_folder { "  (shared folder)" } else { "" };
                println!("{name}  {}{how}{}", row.members.join(", "), local_only(row.local_only));
            }
        }
    }
    Ok(())
}

/// `network`.
pub(crate) fn network(config: &Config, command: NetworkCommand) -> Result<(), CommandError> {
    let change = match command {
        NetworkCommand::Add { name, members, relay, replace } => {
            Edit::Network { name, row: NetworkRow { members, relay }, new: !replace }
        }
        NetworkCommand::Join { name, members } => {
            Edit::NetworkMembers { name, add: members, remove: Vec::new() }
        }
        NetworkCommand::Leave { name, members } => {
            Edit::NetworkMembers { name, add: Vec::new(), remove: members }
        }
        NetworkCommand::Remove { name } => Edit::NetworkRemove { name },
        NetworkCommand::List { json } => {
            let all = everything(config)?;
            if json {
                return print_json(&DirectoryFile { network: all.network, ..Default::default() });
            }
            for (name, row) in &all.network {
                println!(
                    "{name}  {}{}",
                    row.members.join(", "),
                    if row.relay { "  (may relay)" } else { "" }
                );
            }
            return Ok(());
        }
    };
    edit(config, change)?;
    println!("done; it holds from now on");
    Ok(())
}

/// `explain`.
pub(crate) fn explain(config: &Config, question: Question, json: bool) -> Result<(), CommandError> {
    let response = request(config, Request::Explain(question))?;
    let Response::Explained { stages } = response else { return Ok(()) };
    for (stage, rule, outcome) in stages {
        if json {
            print_json(&serde_json::json!({ "stage": stage, "rule": rule, "outcome": outcome }))?;
        } else {
            println!("{stage:8} {rule:14} {outcome}");
        }
    }
    Ok(())
}

/// `address`.
pub(crate) fn address(config: &Config, address: &str, json: bool) -> Result<(), CommandError> {
    let response = request(config, Request::Address { address: address.to_owned() })?;
    let Response::Address(meaning) = response else { return Ok(()) };
    if json {
        return print_json(&meaning);
    }
    let AddressMeaning { mailboxes, shared, onward, files, programs, dangling, refusal, problem } = meaning;
    for (what, names) in [
        ("delivered to", mailboxes),
        ("delivered to the shared folder of", shared),
        ("sent on to", onward),
        ("appended to", files),
        ("handed to the program", programs),
        ("left out, for nobody has it:", dangling),
    ] {
        names.iter().for_each(|name| println!("{what} {name}"));
    }
    if !problem.is_empty() {
        println!("cannot be told: {problem}");
    }
    if !refusal.is_empty() {
        println!("strangers are told: {refusal}");
    }
    Ok(())
}

/// `newaliases`.
pub(crate) fn new_aliases(config: &Config) -> Result<(), CommandError> {
    let file = &config.aliases.file;
    if file.as_os_str().is_empty() {
        let text = "no alias file is configured: name one as file in [aliases], such as \"/etc/aliases\"";
        return Err(CommandError::Refused(text.into()));
    }
    if let Response::AliasesRead { entries, problems } = request(config, Request::ReadAliases)? {
        println!("{}: {entries} aliases", file.display());
        problems.iter().for_each(|problem| println!("  {problem}"));
    }
    Ok(())
}

/// `directory`.
pub(crate) fn directory(config: &Config, command: DirectoryCommand) -> Result<(), CommandError> {
    match command {
        DirectoryCommand::Export { json: true, secrets } => print_json(&exported(config, secrets)?),
        DirectoryCommand::Export { json: false, secrets } => {
            let text = toml::to_string_pretty(&exported(config, secrets)?);
            print!("{}", text.map_err(|error| CommandError::Print(error.to_string()))?);
            Ok(())
        }
        DirectoryCommand::Import { file, only } => {
            let bad = |problem: String| CommandError::Content { file: file.display().to_string(), problem };
            let wanted: DirectoryFile =
                toml::from_str(&read(&file)?).map_err(|error| bad(error.to_string()))?;
            written(request(config, Request::DirectoryImport { file: wanted, only })?);
            Ok(())
        }
    }
}

fn edit(config: &Config, edit: Edit) -> Result<(), CommandError> {
    request(config, Request::Edit(edit)).map(drop)
}

/// Everything but secrets.
fn everything(config: &Config) -> Result<DirectoryFile, CommandError> {
    exported(config, false)
}

fn exported(config: &Config, secrets: bool) -> Result<DirectoryFile, CommandError> {
    match request(config, Request::DirectoryExport { secrets })? {
        Response::Directory { file } => Ok(file),
        _ => Ok(DirectoryFile::default()),
    }
}

fn written(response: Response) {
    if let Response::Written { entries } = response {
        println!("{entries} entries written");
    }
}

fn read(file: &Path) -> Result<String, CommandError> {
    fs::read_to_string(file).map_err(|source| CommandError::File { file: file.display().to_string(), source })
}

const fn local_only(yes: bool) -> &'static str {
    if yes { "  (local senders only)" } else { "" }
}
