//! What the commands about quotas, expiry and undeleting print.

use std::collections::HashMap;

use mailwright::mail_model::DateTime;

use super::{LifeRequest, LifeResponse, Limits, Periods, UsageEntry, Wanted};
use crate::{
    admin::{Request, Response},
    cli::{ExpiryOptions, QuotaOptions, UndeleteOptions},
    command::{CommandError, print_json, request},
    config::{Config, Size},
};

/// `user quota`.
pub(crate) fn user_quota(config: &Config, options: QuotaOptions) -> Result<(), CommandError> {
    let size = |size: Option<Size>| size.map(|Size(octets)| octets);
    let limits = Limits {
        storage: size(options.storage),
        messages: size(options.messages),
        mailboxes: size(options.mailboxes),
        annotations: size(options.annotations),
    };
    let change = (limits != Limits::default() || options.default).then_some(limits);
    for entry in ask_usage(config, LifeRequest::Quota { user: options.name, change })? {
        if options.json {
            print_json(&entry)?;
            continue;
        }
        println!("{}{}", entry.name, if entry.own_limits { ", with limits of its own" } else { "" });
        for (what, used, limit) in [
            ("storage", octets(entry.storage), entry.storage_limit.map(octets)),
            ("messages", entry.messages.to_string(), entry.messages_limit.map(|limit| limit.to_string())),
            ("mailboxes", entry.mailboxes.to_string(), entry.mailboxes_limit.map(|limit| limit.to_string())),
            ("annotations", octets(entry.annotations), entry.annotations_limit.map(octets)),
        ] {
            println!("  {what:<12} {used:>12} of {}", limit.unwrap_or_else(|| "any number".into()));
        }
    }
    Ok(())
}

/// `usage`.
pub(crate) fn usage(config: &Config, json: bool) -> Result<(), CommandError> {
    let users = ask_usage(config, LifeRequest::Usage)?;
    table(&users, json)
}

/// `user list --usage`: the accounts alone, also those without mail.
pub(crate) fn users_with_usage(config: &Config, json: bool) -> Result<(), CommandError> {
    let Response::Users { users } = request(config, Request::UserList)? else { return Ok(()) };
    let all = ask_usage(config, LifeRequest::Usage)?;
    let mut known: HashMap<String, UsageEntry> =
        all.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
    let limits = config.quota.limits();
    let nothing = |name: String| UsageEntry {
        name,
        account: true,
        storage: 0,
        messages: 0,
        mailboxes: 0,
        annotations: 0,
        storage_limit: limits.storage,
        messages_limit: limits.messages,
        mailboxes_limit: limits.mailboxes,
        annotations_limit: limits.annotations,
        own_limits: false,
    };
    let listed: Vec<_> = users
        .into_iter()
        .map(|user| known.remove(&user.name).unwrap_or_else(|| nothing(user.name)))
        .collect();
    table(&listed, json)
}

fn ask_usage(config: &Config, question: LifeRequest) -> Result<Vec<UsageEntry>, CommandError> {
    match request(config, Request::Life(question))? {
        Response::Life(LifeResponse::Usage { users }) => Ok(users),
        _ => Ok(Vec::new()),
    }
}

fn table(users: &[UsageEntry], json: bool) -> Result<(), CommandError> {
    if json {
        return users.iter().try_for_each(print_json);
    }
    let width = users.iter().map(|entry| entry.name.len()).max().unwrap_or(0).max(4);
    println!(
        "{:<width$} {:>10} {:>10} {:>12} {:>12} {:>6}",
        "user", "messages", "limit", "storage", "limit", "used"
    );
    for entry in users {
        let limit = entry.storage_limit.map_or_else(|| "-".into(), octets);
        let most = entry.messages_limit.map_or_else(|| "-".into(), |limit| limit.to_string());
        // Of both the one that is nearer to its end.
        let part = |used: u64, limit: Option<u64>| Some(u128::from(used) * 100 / u128::from(limit?.max(1)));
        let part = part(entry.storage, entry.storage_limit).max(part(entry.messages, entry.messages_limit));
        let part = part.map_or_else(|| "-".into(), |part| format!("{part} %"));
        let (name, messages, storage) = (&entry.name, entry.messages, octets(entry.storage));
        let gone = if entry.account { "" } else { "  (no account)" };
        println!("{name:<width$} {messages:>10} {most:>10} {storage:>12} {limit:>12} {part:>6}{gone}");
    }
    let messages: u64 = users.iter().map(|entry| entry.messages).sum();
    let storage = octets(users.iter().map(|entry| entry.storage).sum());
    println!("{:<width$} {messages:>10} {:>10} {storage:>12}", "total", "");
    Ok(())
}

/// `user expiry`.
pub(crate) fn expiry(config: &Config, options: ExpiryOptions) -> Result<(), CommandError> {
    let periods = Periods { trash: options.trash, junk: options.junk };
    let change = (periods != Periods::default() || options.default).then_some(periods);
    let question = LifeRequest::Expiry { user: options.name.clone(), change };
    if let Response::Life(LifeResponse::Periods { trash, junk, own }) =
        request(config, Request::Life(question))?
    {
        let own = if own { ", periods of its own" } else { "" };
        println!("{}: trash {trash}, junk {junk}{own}", options.name);
    }
    Ok(())
}

/// `undelete`.
pub(crate) fn show_undelete(config: &Config, options: UndeleteOptions) -> Result<(), CommandError> {
    let wanted = Wanted {
        mailbox: options.mailbox,
        since: options.since.map(crate::config::Period::seconds),
        ids: options.ids,
    };
    let question =
        LifeRequest::Undelete { user: options.name, wanted, into: options.into, list: options.list };
    match request(config, Request::Life(question))? {
        Response::Life(LifeResponse::Expunged { messages }) => {
            for message in messages {
                if options.json {
                    print_json(&message)?;
                } else {
                    let (expunged, arrived) = (date(message.expunged), date(message.arrived));
                    let (id, mailbox, size) = (message.id, message.mailbox, octets(message.size));
                    println!("{id}  {mailbox}  {size}, arrived {arrived}, expunged {expunged}");
                }
            }
            Ok(())
        }
        Response::Life(LifeResponse::Undeleted { count, problem }) => {
            println!("{count} messages are back");
            problem.map_or(Ok(()), |problem| Err(CommandError::Refused(problem)))
        }
        _ => Ok(()),
    }
}

pub(super) fn date(seconds: u64) -> String {
    let date = i64::try_from(seconds).ok().and_then(|seconds| DateTime::new(seconds, 0));
    date.map_or_else(|| seconds.to_string(), |date| date.to_imap().trim().to_owned())
}

fn octets(octets: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if octets >> shift > 0 {
            let tenths = (u128::from(octets) * 10) >> shift;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{octets} B")
}
