//! `dkim`.

use mailwright::{
    mail_model::DateTime,
    relay_policy::dns::{LookupError, RecordType, Resolve, name},
};

use super::{DkimRequest, KeyEntry};
use crate::{
    admin::{Request, Response},
    cli::{DkimCommand, KeyCommand},
    command::{CommandError, print_json, request},
    config::Config,
    queue,
};

/// Does it.
pub(crate) fn run(config: &Config, command: DkimCommand) -> Result<(), CommandError> {
    match command {
        DkimCommand::Key(KeyCommand::Add { domain, selector, ed25519 }) => {
            let selector = selector.unwrap_or_else(|| of_this_month(ed25519));
            let made = ask(config, DkimRequest::Add { domain, selector, ed25519 })?;
            for key in made {
                println!(
                    "; mail from {} is signed with this key from now on; publish this record:",
                    key.domain
                );
                println!("{}", zone_line(&key));
            }
        }
        DkimCommand::Key(KeyCommand::Remove { domain, selector }) => {
            ask(config, DkimRequest::Remove { domain: domain.clone(), selector: selector.clone() })?;
            println!(
                "removed the key {selector} of {domain}; keep its record for a week, mail on its way needs it"
            );
        }
        DkimCommand::List { json } => {
            for key in ask(config, DkimRequest::List)? {
                if json {
                    print_json(&key)?;
                } else {
                    println!("{}", zone_line(&key));
                }
            }
        }
        DkimCommand::Check { domain } => check(config, domain.as_deref())?,
    }
    Ok(())
}

fn ask(config: &Config, asked: DkimRequest) -> Result<Vec<KeyEntry>, CommandError> {
    match request(config, Request::Dkim(asked))? {
        Response::Keys { keys } => Ok(keys),
        _ => Ok(Vec::new()),
    }
}

/// Compares what is published with what is here.
fn check(config: &Config, domain: Option<&str>) -> Result<(), CommandError> {
    let failed = |problem: String| CommandError::Refused(problem);
    let keys = ask(config, DkimRequest::List)?;
    let wanted = domain.map(str::to_lowercase);
    let keys: Vec<KeyEntry> =
        keys.into_iter().filter(|key| wanted.as_ref().is_none_or(|domain| *domain == key.domain)).collect();
    if keys.is_empty() {
        return Err(failed("there is no key; `mailwrightd dkim key add DOMAIN` makes one".into()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let mut wrong = 0;
    runtime.block_on(async {
        let resolver = queue::resolver(config).map_err(failed)?;
        for key in &keys {
            let place = format!("{}._domainkey.{}", key.selector, key.domain);
            let found = match name(&place) {
                Ok(at) => resolver.lookup(&at, RecordType::TXT).await,
                Err(error) => Err(error),
            };
            let problem = match found {
                Ok(answer) if answer.texts().any(|text| same(&text, &key.record)) => None,
                Ok(answer) if answer.texts().next().is_some() => {
                    Some("another record is published".to_owned())
                }
                Ok(_) | Err(LookupError::NoName) => Some("no record is published".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            wrong += usize::from(problem.is_some());
            println!("{place}: {}", problem.unwrap_or_else(|| "ok".into()));
        }
        Ok::<(), CommandError>(())
    })?;
    match wrong {
        0 => Ok(()),
        _ => Err(failed(
            "others cannot verify all signatures; `mailwrightd dkim list` prints the records".into(),
        )),
    }
}

/// Whether two records have the same key: spaces are the publisher's affair.
fn same(one: &str, other: &str) -> bool {
    let part = |text: &str| -> Option<String> {
        let dense: String = text.split_whitespace().collect();
        dense.split(';').find_map(|tag| tag.strip_prefix("p=").map(str::to_owned))
    };
    part(one).is_some() && part(one) == part(other)
}

/// The record as a line of a zone file, in strings of at most 255 octets (RFC 1035 §3.3.14).
fn zone_line(key: &KeyEntry) -> String {
    let mut strings = Vec::new();
    let mut rest = &*key.record;
    while let Some((part, behind)) = rest.split_at_checked(255) {
        strings.push(format!("\"{part}\""));
        rest = behind;
    }
    strings.push(format!("\"{rest}\""));
    format!("{}._domainkey.{}. IN TXT ( {} )", key.selector, key.domain, strings.join(" "))
}

/// Keys are replaced now and then, so their names tell their age.
fn of_this_month(ed25519: bool) -> String {
    let kind = if ed25519 { "ed" } else { "rsa" };
    let seconds = i64::try_from(queue::unix_time()).unwrap_or(0);
    let date = DateTime::new(seconds, 0).unwrap_or(DateTime::EPOCH).date();
    format!("{kind}{}{:02}", date.year(), date.month())
}
