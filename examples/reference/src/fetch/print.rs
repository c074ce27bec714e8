//! `fetch`, and what it prints.

use std::{
    io::{self, BufRead},
    path::Path,
};

use super::{FetchEntry, FetchRequest, FetchResponse, Policy, Row, Token};
use crate::{
    admin::{Hidden, Request, Response},
    cli::{FetchAdd, FetchCommand},
    command::{CommandError, print_json, request},
    config::Config,
    queue::unix_time,
};

/// Does it, and prints what came of it.
pub(crate) fn run(config: &Config, command: FetchCommand) -> Result<(), CommandError> {
    match command {
        FetchCommand::Add(options) => add(config, *options),
        FetchCommand::List { user, json } => each(config, user, |entry| match json {
            true => print_json(entry),
            false => {
                println!("{}", line(entry));
                Ok(())
            }
        }),
        FetchCommand::Status { user, json } => each(config, user, |entry| match json {
            true => print_json(entry),
            false => {
                println!("{}", line(entry));
                report(entry, unix_time()).iter().for_each(|line| println!("    {line}"));
                Ok(())
            }
        }),
        FetchCommand::Remove { id } => {
            let response = request(config, Request::Fetch(FetchRequest::Remove { id }))?;
            if let Response::Fetch(FetchResponse::Removed { account }) = response {
                println!("nothing is fetched any more from {} for {}", place(&account), account.user);
            }
            Ok(())
        }
        FetchCommand::Now { id } => {
            let response = request(config, Request::Fetch(FetchRequest::Now { id }))?;
            if let Response::Fetch(FetchResponse::Woken { count }) = response {
                println!("{count} looked at now; `mailwrightd fetch status` tells how that went");
            }
            Ok(())
        }
    }
}

fn add(config: &Config, options: FetchAdd) -> Result<(), CommandError> {
    let row = row(&options).map_err(CommandError::Refused)?;
    let mut password = String::new();
    if row.token.is_none() {
        io::stdin().lock().read_line(&mut password).map_err(CommandError::Password)?;
    }
    let password = Hidden(password.trim_end_matches(['\r', '\n']).to_owned());
    let (place, user) = (place(&row), row.user.clone());
    let response = request(config, Request::Fetch(FetchRequest::Add { account: Box::new(row), password }))?;
    if let Response::Fetch(FetchResponse::Added { id, replaced }) = response {
        let done = if replaced { "changed" } else { "added" };
        println!("{done} {id}: mail of {place} goes to {user}");
    }
    Ok(())
}

/// What the options say, or what is wrong with them.
fn row(options: &FetchAdd) -> Result<Row, String> {
    let bad = || {
        format!(
            "expected PROTOCOL://LOGIN@HOST[:PORT] with pop3, pop3s, imap or imaps, got {:?}",
            options.source
        )
    };
    let (protocol, rest) = options.source.split_once("://").ok_or_else(bad)?;
    let protocol: mailwright::fetch::FetchProtocol = protocol.parse().map_err(|_| bad())?;
    // Logins are often addresses: the last @ is the one.
    let (login, place) = rest.trim_end_matches('/').rsplit_once('@').ok_or_else(bad)?;
    let (host, port) = match place.rsplit_once(':').filter(|(host, _)| !host.ends_with(':')) {
        Some((host, port)) => (host, port.parse().map_err(|_| bad())?),
        None => (place, protocol.default_port()),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let login = login.replace("%40", "@");
    if host.is_empty() || login.is_empty() || login.contains(':') {
        return Err(bad());
    }
    if protocol.is_pop3() && (options.folder != "INBOX" || options.all_folders) {
        return Err("POP3 has no folders: --folder and --all-folders are for imap and imaps".into());
    }
    if options.in_clear && protocol.is_implicit() {
        return Err(format!("{protocol} is never in the clear"));
    }
    let policy = match (options.delete, options.delete_after) {
        (false, None) => Policy::Keep,
        (true, _) => Policy::Delete,
        (false, Some(period)) => Policy::DeleteAfter(period.seconds()),
    };
    let token = token(options)?;
    Ok(Row {
        user: options.user.clone(),
        protocol: protocol.name().into(),
        host: host.into(),
        port,
        login,
        policy,
        folder: options.folder.clone(),
        all_folders: options.all_folders,
        every: options.every.seconds(),
        push: !options.no_push,
        in_clear: options.in_clear,
        token,
    })
}

/// Where the access token is. The server looks for it, which is elsewhere in the file system than whoever says this.
fn token(options: &FetchAdd) -> Result<Option<Token>, String> {
    let token = match (&options.token_file, &options.token_program) {
        (Some(path), _) => Token::File(path.clone()),
        (None, Some(words)) => Token::Program(words.split_ascii_whitespace().map(str::to_owned).collect()),
        (None, None) => return Ok(None),
    };
    let path = match &token {
        Token::File(path) => path.as_path(),
        Token::Program(words) => Path::new(words.first().map_or("", String::as_str)),
    };
    match path.is_absolute() {
        true => Ok(Some(token)),
        false => Err(format!("expected a path that begins with /, got {:?}", path.display().to_string())),
    }
}

fn each(
    config: &Config,
    user: Option<String>,
    mut print: impl FnMut(&FetchEntry) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    if let Response::Fetch(FetchResponse::Accounts { accounts }) =
        request(config, Request::Fetch(FetchRequest::List { user }))?
    {
        accounts.iter().try_for_each(&mut print)?;
    }
    Ok(())
}

fn place(row: &Row) -> String {
    let folder = match (row.all_folders, row.folder.as_str()) {
        (true, _) => "/*".to_owned(),
        (false, "INBOX") => String::new(),
        (false, folder) => format!("/{folder}"),
    };
    format!("{}://{}@{}:{}{folder}", row.protocol, row.login, row.host, row.port)
}

fn line(entry: &FetchEntry) -> String {
    let row = &entry.row;
    let policy = match row.policy {
        Policy::Keep => "keep".to_owned(),
        Policy::Delete => "delete".to_owned(),
        Policy::DeleteAfter(seconds) => format!("delete after {}", span(seconds)),
    };
    let push = if row.push && row.protocol.starts_with("imap") { " and at news" } else { "" };
    let clear = if row.in_clear { ", in the clear" } else { "" };
    let token = if row.token.is_some() { ", by a token" } else { "" };
    format!(
        "{} {} <- {} ({policy}, every {}{push}{clear}{token}): {}",
        entry.id,
        row.user,
        place(row),
        span(row.every),
        entry.phase
    )
}

/// How an account does, in words.
fn report(entry: &FetchEntry, now: u64) -> Vec<String> {
    let ago = |then: u64| format!("{} ago", span(now.saturating_sub(then)));
    let mut lines = Vec::new();
    if let Some(error) = &entry.error {
        let times = if entry.failures > 1 { format!(", {} times", entry.failures) } else { String::new() };
        lines.push(format!("failed{times}: {error}"));
    }
    lines.extend(entry.notes.iter().cloned());
    let left_out = |view: &String| {
        format!(
            "{view:?} is left out, for it shows messages of the other mailboxes: what is in no other does not come"
        )
    };
    lines.extend(entry.views.iter().map(left_out));
    match (entry.succeeded, entry.tried) {
        (Some(then), _) => lines.push(format!("all was well {}", ago(then))),
        (None, Some(then)) => lines.push(format!("tried {}, and never all was well", ago(then))),
        (None, None) => {}
    }
    if let Some(next) = entry.next.filter(|_| entry.phase != "fetching") {
        lines.push(format!("looks again in {} at the latest", span(next.saturating_sub(now))));
    }
    lines.push(format!("{} messages there are here, {} came since the start", entry.here, entry.delivered));
    if entry.refused > 0 {
        lines.push(format!("{} messages stay there:", entry.refused));
        lines.extend(entry.reasons.iter().map(|reason| format!("  {reason}")));
    }
    lines
}

fn span(seconds: u64) -> String {
    const UNITS: [(u64, char); 3] = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    let unit = UNITS
        .into_iter()
        .find(|(unit, _)| seconds >= *unit && (seconds.is_multiple_of(*unit) || seconds > 2 * unit));
    unit.map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(arguments: &[&str]) -> Result<Row, String> {
        let all = ["mailwrightd", "fetch", "add", "ann@a.test"].into_iter().chain(arguments.iter().copied());
        match Cli::try_parse_from(all).map_err(|error| error.to_string())?.command {
            Some(Command::Fetch(FetchCommand::Add(options))) => row(&options),
            _ => Err("another command".into()),
        }
    }

    #[test]
    fn the_five_fields_are_read_from_the_source() {
        let row = parse(&["imaps://ann@old.test@mail.old.test"]).unwrap();
        assert_eq!((&*row.login, &*row.host, row.port), ("ann@old.test", "mail.old.test", 993));
        assert_eq!((row.policy, row.every, row.push), (Policy::Keep, 300, true));
        let row = parse(&["pop3://ann%40old.test@[::1]:1110", "--delete-after", "14d"]).unwrap();
        assert_eq!((&*row.login, &*row.host, row.port), ("ann@old.test", "::1", 1110));
        assert_eq!(row.policy, Policy::DeleteAfter(14 * 86_400));
        assert_eq!(parse(&["pop3s://ann@old.test:1", "--delete"]).unwrap().policy, Policy::Delete);
        let row = parse(&["imaps://ann@old.test", "--token-program", "/bin/token ann"]).unwrap();
        assert_eq!(row.token, Some(Token::Program(vec!["/bin/token".into(), "ann".into()])));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            &["smtp://ann@old.test"][..],
            &["imaps://old.test"],
            &["imaps://ann@old.test:x"],
            &["imaps://ann:secret@old.test"],
            &["pop3://ann@old.test", "--folder", "Junk"],
            &["pop3s://ann@old.test", "--all-folders"],
            &["imaps://ann@old.test", "--folder", "Junk", "--all-folders"],
            &["imaps://ann@old.test", "--in-clear"],
            &["imaps://ann@old.test", "--delete", "--delete-after", "1d"],
            &["imaps://ann@old.test", "--token-file", "token"],
            &["imaps://ann@old.test", "--token-program", ""],
            &["imaps://ann@old.test", "--token-file", "/t", "--token-program", "/p"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn spans_are_short() {
        for (seconds, text) in [(0, "0s"), (90, "90s"), (300, "5m"), (86_400, "1d"), (200_000, "2d")] {
            assert_eq!(span(seconds), text);
        }
    }
}
