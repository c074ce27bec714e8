//! The `user` commands: by the control socket if a server runs, else on the data themselves.

use std::{
    fs,
    io::{self, BufRead, IsTerminal, Read},
    path::Path,
};

use mailwright::mailstore::accounts::{PasswdEntry, PasswdError};

use crate::{
    address_book::tell_missing,
    admin::{Hidden, ImportEntry, Request, Response},
    cli::UserCommand,
    command::{CommandError, request},
    config::Config,
    directory::{Access, AccountChange, Edit, Origin},
    first_run, life,
};

/// Does it, and prints what came of it.
pub(crate) fn run(config: &Config, command: UserCommand) -> Result<(), CommandError> {
    match command {
        UserCommand::Add { name, password_stdin, mailbox, no_mailbox } => {
            let mailbox = !no_mailbox && (mailbox || config.users.mailbox);
            let (password, made) = password(password_stdin)?;
            let hidden = Hidden(password.clone());
            request(
                config,
                Request::UserAdd { name: name.clone(), password: hidden, mailbox: Some(mailbox) },
            )?;
            let without = if mailbox { "" } else { ", without a mailbox" };
            println!("added {name}{without}{}", shown(made, &password));
            tell_unread(made);
            propose(config, &name)?;
        }
        UserCommand::Set { name, mailbox, forward, keep, local_only } => {
            let forward = match &forward[..] {
                [] => None,
                [none] if none == "none" => Some(Vec::new()),
                _ => Some(forward),
            };
            let named = forward.clone().unwrap_or_default();
            let change = AccountChange { mailbox, forward, keep, local_only };
            request(config, Request::Edit(Edit::Account { name: name.clone(), change }))?;
            println!("changed {name}");
            tell_missing(config, &named);
        }
        UserCommand::Propose { local } => {
            if let Response::Proposed { addresses } = request(config, Request::Proposed { local })? {
                addresses.iter().for_each(|address| println!("{address}"));
            }
        }
        UserCommand::Password { name, password_stdin, old_stdin } => {
            let (password, made) = password(password_stdin)?;
            let old = old_stdin.then(line).transpose()?.map(Hidden);
            let hidden = Hidden(password.clone());
            request(config, Request::UserPassword { name: name.clone(), password: hidden, old })?;
            println!("changed the password of {name}{}", shown(made, &password));
            tell_unread(made);
        }
        UserCommand::Encrypt { name, off, .. } => {
            let password = if off { None } else { Some(Hidden(line()?)) };
            let answer = request(config, Request::UserEncrypt { name: name.clone(), password })?;
            match answer {
                Response::RecoveryKey { key, again } => {
                    println!("mail that comes for {name} is encrypted from now on\nrecovery key: {}", key.0);
                    if again {
                        println!(
                            "it takes the place of the recovery key of before, which opens nothing any more: destroy that"
                        );
                    }
                    println!("keep it in a safe place: without it or the password nobody can read the mail");
                }
                _ => println!(
                    "mail that comes for {name} is not encrypted any more; what is encrypted stays so"
                ),
            }
        }
        UserCommand::Remove { name } => {
            request(config, Request::UserRemove { name: name.clone() })?;
            match config.expiry.removed_users {
                keep if keep.is_never() => println!("removed {name}; its mail is kept"),
                keep => {
                    println!("removed {name}; its mail is kept for {keep}, `user restore` brings both back")
                }
            }
        }
        UserCommand::Removed { json } => life::list_removed(config, json)?,
        UserCommand::Restore { name } => life::restore(config, &name)?,
        UserCommand::Erase { name } => life::erase(config, &name)?,
        UserCommand::Quota(options) => life::user_quota(config, options)?,
        UserCommand::Expiry(options) => life::expiry(config, options)?,
        UserCommand::List { usage: true, json } => life::users_with_usage(config, json)?,
        UserCommand::List { json, .. } => {
            if let Response::Users { users } = request(config, Request::UserList)? {
                for user in users {
                    if json {
                        println!("{}", serde_json::to_string(&user).unwrap_or_default());
                    } else {
                        println!("{}", user.name);
                    }
                }
            }
        }
        UserCommand::Import { file, replace } => {
            let entries = read_passwd(&file)?;
            let answer = request(config, Request::UserImport { entries, replace })?;
            if let Response::Imported { added, replaced, skipped } = answer {
                println!(
                    "{added} added, {replaced} replaced, {skipped} skipped because they exist (--replace replaces them)"
                );
            }
        }
    }
    Ok(())
}

/// Refuses passwd-files that the server could not use: such a one keeps all accounts of the files as they are.
pub(crate) fn check_passwd_files(config: &Config) -> Result<(), CommandError> {
    for file in &config.auth.passwd_files {
        for entry in read_passwd(file)? {
            if let Some(problem) = config.store.place_problem(&entry.name) {
                return Err(CommandError::Refused(format!(
                    "auth.passwd_files: {}: {problem}",
                    file.display()
                )));
            }
        }
    }
    Ok(())
}

/// Refuses a configuration in which guests are to read what nobody has.
pub(crate) fn check_guest(config: &Config) -> Result<(), CommandError> {
    let name = &config.auth.anonymous;
    // Who comes from LDAP is known to a server that runs, which warns.
    if name.is_empty() || config.auth.ldap.as_ref().is_some_and(|ldap| !ldap.accounts.is_empty()) {
        return Ok(());
    }
    let is_guest = |found: &str| found.eq_ignore_ascii_case(name);
    for file in &config.auth.passwd_files {
        if read_passwd(file)?.iter().any(|entry| is_guest(&entry.name)) {
            return Ok(());
        }
    }
    // Where nothing is yet, nothing is made: it would be ours, and perhaps not the server's.
    if config.data.exists() {
        let Response::Users { users } = request(config, Request::UserList)? else { return Ok(()) };
        // Whose line is gone has an account only until a server looks.
        let stays = |origin| origin != Origin::PasswdFile;
        if users.iter().any(|user| is_guest(&user.name) && stays(user.origin)) {
            return Ok(());
        }
    }
    let advice = match config.auth.passwd_files.is_empty() {
        true => format!("`mailwrightd user add {name}` makes it"),
        false => {
            format!(
                "none of auth.passwd_files has a line for it, and `mailwrightd user add {name}` makes one beside them"
            )
        }
    };
    Err(CommandError::Refused(format!("auth.anonymous = {name:?}: there is no such account; {advice}")))
}

/// The password to set, and whether it was made up here.
fn password(from_stdin: bool) -> Result<(String, bool), CommandError> {
    if !from_stdin {
        return Ok((first_run::random_password()?, true));
    }
    Ok((line()?, false))
}

/// Says that a password on standard input was not read, if one may be there: nobody waits for one that may not come.
fn tell_unread(made: bool) {
    let input = io::stdin();
    if made && !input.is_terminal() && rustix::io::ioctl_fionread(&input).is_ok_and(|octets| octets > 0) {
        eprintln!("mailwrightd: standard input was not read: --password-stdin takes the password from there");
    }
}

/// The next line of standard input.
fn line() -> Result<String, CommandError> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(CommandError::Password)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The name at the other domains: what an alias could be.
fn propose(config: &Config, name: &str) -> Result<(), CommandError> {
    let local = name.rsplit_once('@').map_or(name, |(local, _)| local).to_owned();
    let Response::Proposed { addresses } = request(config, Request::Proposed { local })? else {
        return Ok(());
    };
    for address in addresses.iter().filter(|address| !address.eq_ignore_ascii_case(name)) {
        println!("  also at another domain: mailwrightd alias add {address} {name}");
    }
    Ok(())
}

fn shown(made: bool, password: &str) -> String {
    if made { format!(" with the password {password}") } else { String::new() }
}

/// Reads lines of `user@domain:{SCHEME}hash`, with whatever fields a passwd-file has behind; of these `nologin`, `proxy` and `allow_nets`
/// count.
pub(crate) fn read_passwd(file: &Path) -> Result<Vec<ImportEntry>, CommandError> {
    let shown = file.display().to_string();
    let failed = |source| CommandError::File { file: shown.clone(), source };
    let mut text = String::new();
    if file == Path::new("-") {
        io::stdin().lock().read_to_string(&mut text).map_err(failed)?;
    } else {
        text = fs::read_to_string(file).map_err(failed)?;
    }
    let entries = PasswdEntry::read(&text)
        .map_err(|PasswdError { line, .. }| CommandError::Line { file: shown.clone(), line })?;
    let import = |entry: &PasswdEntry| {
        let bad =
            |problem| CommandError::Content { file: format!("{shown}, line {}", entry.line()), problem };
        let login = Access::of(entry).map_err(bad)?;
        Ok(ImportEntry { name: entry.name().to_owned(), password: entry.password().to_owned(), login })
    };
    entries.iter().map(import).collect()
}
