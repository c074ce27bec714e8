//! `dns plan`: the records that a domain should have when its mail is here, and what is published of them.

mod check;
mod records;

use records::{Plan, Publisher};
use serde::Serialize;

use crate::{
    admin::{Request, Response},
    certificate::Certificate,
    cli::DnsCommand,
    command::{CommandError, print_json, request},
    config::Config,
    dkim::DkimRequest,
};

/// What a line of JSON has.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    kind: &'a str,
    value: &'a str,
    purpose: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<&'a str>,
}

/// Does it.
pub(crate) fn run(config: &Config, command: DnsCommand) -> Result<(), CommandError> {
    let DnsCommand::Plan { domain, check, json } = command;
    let plan = plan(config, &domain)?;
    let (states, beside) = match check {
        true => {
            let (states, beside) = check::look_up(config, &plan)?;
            (Some(states), beside)
        }
        false => (None, Vec::new()),
    };
    for (number, record) in plan.records.iter().enumerate() {
        let state = states.as_ref().and_then(|states| states.get(number));
        if json {
            print_json(&Line {
                name: &record.name,
                kind: record.kind,
                value: &record.value,
                purpose: record.purpose,
                state: state.map(|state| state.word()),
                found: state.and_then(|state| state.found()),
            })?;
            continue;
        }
        match state {
            None => println!("; {}\n{}", record.purpose, record.zone_line()),
            Some(state) => println!("{:8} {} {}{}", state.word(), record.name, record.kind, state.note()),
        }
    }
    for one in &beside {
        let (name, kind) = (&*one.name, one.kind);
        if json {
            let (state, found) = (Some(one.state.word()), one.state.found());
            print_json(&Line { name, kind, value: &one.value, purpose: one.purpose, state, found })?;
        } else {
            println!("{:8} {name} {kind}{}", one.state.word(), one.state.note());
        }
    }
    if !json && !check {
        println!("; MTA-STS (RFC 8461): serve this at {}, as text/plain", plan.policy_url);
        for line in plan.policy.lines() {
            println!(";   {line}");
        }
        for note in &plan.notes {
            println!("; {note}");
        }
    }
    match states {
        Some(states)
            if states.iter().chain(beside.iter().map(|one| &one.state)).any(check::State::is_wrong) =>
        {
            Err(CommandError::Refused(format!(
                "not all is published as it should be; `mailwrightd dns plan {domain}` prints the records"
            )))
        }
        _ => Ok(()),
    }
}

/// What there is to publish.
fn plan(config: &Config, domain: &str) -> Result<Plan, CommandError> {
    let parsed: Result<mailwright::mail_model::Domain, _> = domain.parse();
    let domain = parsed.map_err(|_| CommandError::Refused(format!("{domain:?} is not a domain name")))?;
    let keys = match request(config, Request::Dkim(DkimRequest::List))? {
        Response::Keys { keys } => keys,
        _ => Vec::new(),
    };
    let keys = keys.into_iter().filter(|key| key.domain == domain.key()).collect();
    let certificate = Certificate::load(config).map_err(|error| CommandError::Refused(error.to_string()))?;
    let publisher = Publisher { config, keys, certificate: &certificate };
    let mut plan = publisher.plan(domain.key());
    if let Response::Directory { file } = request(config, Request::DirectoryExport { secrets: false })? {
        let ours = |name: &str| name.eq_ignore_ascii_case(domain.key());
        if !file.domain.keys().chain(file.domain_alias.keys()).any(|name| ours(name)) {
            plan.notes.push(format!(
                "{domain} is not a domain of this server, which takes no mail for it: `mailwrightd domain add {domain}`"
            ));
        }
    }
    Ok(plan)
}
