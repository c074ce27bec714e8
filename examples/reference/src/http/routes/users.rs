//! Accounts, and what they may have.

use serde::Deserialize;

use crate::{
    admin::{Hidden, Request},
    directory::Edit,
    http::{given::Given, problem::Problem},
    life::{LifeRequest, Limits, Periods},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    name: String,
    password: Hidden,
    mailbox: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Password {
    password: Hidden,
    old: Option<Hidden>,
}

pub(super) fn add(given: &Given) -> Result<Request, Problem> {
    let NewUser { name, password, mailbox } = given.body()?;
    Ok(Request::UserAdd { name, password, mailbox })
}

pub(super) fn change(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Edit(Edit::Account { name: given.path("name"), change: given.body()? }))
}

pub(super) fn password(given: &Given) -> Result<Request, Problem> {
    let Password { password, old } = given.body()?;
    Ok(Request::UserPassword { name: given.path("name"), password, old })
}

pub(super) fn quota(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Life(LifeRequest::Quota { user: given.path("name"), change: None }))
}

pub(super) fn change_quota(given: &Given) -> Result<Request, Problem> {
    let change: Limits = given.body()?;
    if change == Limits::default() {
        return Err(Problem::bad("no limit is given; DELETE brings back those of the configuration"));
    }
    Ok(Request::Life(LifeRequest::Quota { user: given.path("name"), change: Some(change) }))
}

pub(super) fn no_quota(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Life(LifeRequest::Quota { user: given.path("name"), change: Some(Limits::default()) }))
}

pub(super) fn expiry(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Life(LifeRequest::Expiry { user: given.path("name"), change: None }))
}

pub(super) fn change_expiry(given: &Given) -> Result<Request, Problem> {
    let change: Periods = given.body()?;
    if change == Periods::default() {
        return Err(Problem::bad("no period is given; DELETE brings back those of the configuration"));
    }
    Ok(Request::Life(LifeRequest::Expiry { user: given.path("name"), change: Some(change) }))
}

pub(super) fn no_expiry(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Life(LifeRequest::Expiry { user: given.path("name"), change: Some(Periods::default()) }))
}

pub(super) fn restore(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Life(LifeRequest::Restore { name: given.path("name") }))
}

pub(super) fn erase(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Life(LifeRequest::Erase { name: given.path("name") }))
}
