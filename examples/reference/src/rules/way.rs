//! Where a message would go that no rule refuses: the last stages of an explanation.

use mailwright::{
    mail_model::{Address, ForwardPath},
    mailstore::{AnyStore, Quota as _, Store as _, User},
    queue::Suppressions,
    relay_policy::{
        delivery::LocalKind,
        directory::{CopyReason, Onward, OnwardReason},
        route::{NextHop, RouteTable},
    },
};

use super::Stage;
use crate::{directory::Directory, queue::Suppressed};

/// Who asks.
pub(super) struct Asked<'a> {
    pub(super) from: Option<&'a Address>,
    pub(super) to: &'a ForwardPath,
    /// Whether the client is one of ours.
    pub(super) trusted: bool,
    /// Whether it has proved that it is the sender.
    pub(super) proved: bool,
}

/// Every mailbox, address, file and program that it would come to, and every copy that would be made.
pub(super) fn stages(
    directory: &Directory,
    suppressed: &Suppressed,
    routes: &RouteTable,
    asked: &Asked<'_>,
) -> Vec<Stage> {
    let mut stages = Vec::new();
    let mut say =
        |rule: &str, outcome: String| stages.push(("delivery".to_owned(), rule.to_owned(), outcome));
    let Ok(expansion) = directory.expand(asked.to, asked.trusted) else { return stages };
    for delivery in &expansion.deliveries {
        match (&delivery.detail, delivery.shared) {
            (_, true) => say("group", format!("once into the folder that {} shares", delivery.account)),
            (Some(detail), _) => say("mailbox", format!("{}, with the detail {detail:?}", delivery.account)),
            (None, _) => say("mailbox", delivery.account.clone()),
        }
    }
    for onward in &expansion.onward {
        let (rule, way) = match &onward.reason {
            OnwardReason::Forward(by) => ("forward", format!("sent on to {} for {by}", onward.to)),
            OnwardReason::Relay => ("relay", format!("sent on to {}, whose domain we relay for", onward.to)),
            _ => ("remote", format!("sent to {}", onward.to)),
        };
        let told = told(directory, asked, onward);
        let left_alone = suppressed.suppressed(&onward.to).map(|why| format!("; but it is returned: {why}"));
        say(rule, format!("{way}{told}{}", left_alone.unwrap_or_default()));
    }
    for handed in &expansion.handed {
        match &handed.target.kind {
            LocalKind::File(path) if path.ends_with('/') => {
                say("file", format!("delivered to the Maildir {path} for {}", handed.by));
            }
            LocalKind::File(path) => say("file", format!("appended to {path} for {}", handed.by)),
            LocalKind::Command(line) => say("program", format!("handed to {line} for {}", handed.by)),
            _ => {}
        }
    }
    for address in &expansion.dangling {
        say("nobody", format!("left out: nobody has {address}"));
    }
    let proved = asked.from.filter(|_| asked.proved);
    for copy in directory.current().copies(proved, asked.to.address()) {
        let rule = if copy.reason == CopyReason::Journal { "journal" } else { "always-bcc" };
        say(rule, format!("a blind copy to {}", copy.to));
    }
    stages.extend(expansion.onward.iter().map(|onward| route(routes, &onward.to)));
    stages
}

/// Where mail for an address elsewhere goes next, and what says so.
fn route(routes: &RouteTable, to: &Address) -> Stage {
    let hop = routes.next_hop(to);
    let (rule, way) = match &hop {
        NextHop::Refuse(text) => ("error", format!("is refused: {text}")),
        _ if routes.smarthost() == Some(&hop) => ("smarthost", format!("goes to {hop}")),
        NextHop::Exchangers { domain, .. } if domain == to.domain().key() => {
            ("mx", format!("goes to the mail exchangers of {domain}"))
        }
        _ => ("transport", format!("goes to {hop}")),
    };
    ("route".to_owned(), rule.to_owned(), format!("{to} {way}"))
}

/// What stands in the way behind the rules, when the recipient is named: a transport that refuses, and mailboxes that are full. In
/// `store` quotas are counted, if that is where mail goes.
pub(super) async fn impossible(
    directory: &Directory,
    routes: &RouteTable,
    store: Option<&AnyStore>,
    asked: &Asked<'_>,
) -> Option<Stage> {
    let refused = |rule: &str, reply: String| Some(("rcpt".to_owned(), rule.to_owned(), reply));
    let expansion = directory.expand(asked.to, asked.trusted).ok()?;
    let others = expansion.deliveries.len() + expansion.onward.len() + expansion.handed.len() > 1;
    let named = |onward: &&Onward| match onward.reason {
        OnwardReason::Remote => true,
        OnwardReason::Relay => !others,
        _ => false,
    };
    for onward in expansion.onward.iter().filter(named) {
        if let NextHop::Refuse(text) = routes.next_hop(&onward.to) {
            return refused("transport", format!("550 5.1.2 <{}>: {text}", onward.to));
        }
    }
    let quota = store?.quota()?;
    let mut full = None;
    for delivery in &expansion.deliveries {
        let user = User::new(&delivery.account).ok()?;
        match quota.check_quota(&user, 1).await {
            // One that is full does not keep a message from the others.
            Ok(()) => return None,
            Err(error) => full = Some((delivery, error)),
        }
    }
    let (delivery, error) = full.filter(|_| expansion.onward.is_empty() && expansion.handed.is_empty())?;
    let (code, status) = error.smtp_status();
    refused("quota", format!("{code} {status} {}: {error}", delivery.account))
}

/// Who hears of trouble, if that is not the sender.
fn told(directory: &Directory, asked: &Asked<'_>, onward: &Onward) -> String {
    let Some(sender) = asked.from else { return String::new() };
    match (&onward.owner, &onward.reason) {
        (Some(owner), OnwardReason::Forward(_)) => format!(", as {owner} (the list's owner)"),
        (None, OnwardReason::Forward(by)) => match directory.forwarded_as(sender, by) {
            Some(rewritten) => format!(", as {rewritten} (SRS)"),
            None => format!(", as {sender}"),
        },
        _ => String::new(),
    }
}
