//! Mail that waits.

use serde::Deserialize;

use crate::{
    admin::Request,
    config::Period,
    http::{given::Given, problem::Problem},
    queue::{Change, QueueRequest, Selection},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expire {
    after: Period,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reroute {
    via: String,
}

pub(super) fn list(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Queue(QueueRequest::List { selection: selection(given)? }))
}

pub(super) fn show(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Queue(QueueRequest::Show { id: given.path("id") }))
}

pub(super) fn expire(given: &Given) -> Result<Request, Problem> {
    let Expire { after } = given.body()?;
    change(given, Change::expire_after(after))
}

pub(super) fn reroute(given: &Given) -> Result<Request, Problem> {
    let Reroute { via } = given.body()?;
    change(given, Change::reroute_via(&via).map_err(Problem::bad)?)
}

/// Everything is changed only if somebody says so.
pub(super) fn change(given: &Given, change: Change) -> Result<Request, Problem> {
    let selection = selection(given)?;
    let (all, dry_run) = (given.flag("all")?, given.flag("dry_run")?);
    if all && !selection.ids.is_empty() {
        return Err(Problem::bad("all is not for entries that are named by their ids"));
    }
    if !all && selection.is_everything() {
        return Err(Problem::bad("which ones? name their id, from or to, or say all=true"));
    }
    Ok(Request::Queue(QueueRequest::Change { selection, change, dry_run, told: true }))
}

pub(super) fn unsuppress(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Queue(QueueRequest::Unsuppress { addresses: vec![given.path("address")] }))
}

fn selection(given: &Given) -> Result<Selection, Problem> {
    let mut ids = given.queries("id");
    ids.extend(Some(given.path("id")).filter(|id| !id.is_empty()));
    Ok(Selection { ids, from: given.query("from")?, to: given.query("to")? })
}
