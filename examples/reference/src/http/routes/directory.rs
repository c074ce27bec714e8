//! Domains, aliases, groups and networks.

use serde::Deserialize;

use crate::{
    admin::Request,
    directory::{Edit, GroupRow, NetworkRow},
    http::{given::Given, problem::Problem},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DomainAlias {
    domain: String,
}

/// Who comes, and who goes.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Members {
    add: Vec<String>,
    remove: Vec<String>,
}

pub(super) fn export(_: &Given) -> Result<Request, Problem> {
    Ok(Request::DirectoryExport { secrets: false })
}

pub(super) fn import(given: &Given) -> Result<Request, Problem> {
    Ok(Request::DirectoryImport { file: given.body()?, only: given.flag("only")? })
}

pub(super) fn add_domain(given: &Given) -> Result<Request, Problem> {
    let (name, change) = given.named("name")?;
    Ok(Request::Edit(Edit::Domain { name, change, new: true }))
}

pub(super) fn change_domain(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Edit(Edit::DomainChange { name: given.path("name"), change: given.body()? }))
}

pub(super) fn remove_domain(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Edit(Edit::DomainRemove { name: given.path("name") }))
}

pub(super) fn put_domain_alias(given: &Given) -> Result<Request, Problem> {
    let DomainAlias { domain } = given.body()?;
    Ok(Request::Edit(Edit::DomainAlias { alias: given.path("name"), domain }))
}

pub(super) fn remove_domain_alias(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Edit(Edit::DomainAliasRemove { alias: given.path("name") }))
}

pub(super) fn add_alias(given: &Given) -> Result<Request, Problem> {
    let (address, row) = given.named("address")?;
    Ok(Request::Edit(Edit::Alias { address, row, new: true }))
}

pub(super) fn put_alias(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Edit(Edit::Alias { address: given.path("name"), row: given.body()?, new: false }))
}

pub(super) fn remove_alias(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Edit(Edit::AliasRemove { address: given.path("name") }))
}

pub(super) fn put_pseudonym(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Edit(Edit::Pseudonym { local: given.path("name"), row: given.body()? }))
}

pub(super) fn remove_pseudonym(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Edit(Edit::PseudonymRemove { local: given.path("name") }))
}

pub(super) fn add_group(given: &Given) -> Result<Request, Problem> {
    let (address, row) = given.named::<GroupRow>("address")?;
    Ok(Request::Edit(Edit::Group { address, row, new: true }))
}

pub(super) fn put_group(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Edit(Edit::Group { address: given.path("name"), row: given.body()?, new: false }))
}

pub(super) fn change_group(given: &Given) -> Result<Request, Problem> {
    let Members { add, remove } = given.body()?;
    Ok(Request::Edit(Edit::GroupMembers { address: given.path("name"), add, remove }))
}

pub(super) fn remove_group(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Edit(Edit::GroupRemove { address: given.path("name") }))
}

pub(super) fn add_network(given: &Given) -> Result<Request, Problem> {
    let (name, row) = given.named::<NetworkRow>("name")?;
    Ok(Request::Edit(Edit::Network { name, row, new: true }))
}

pub(super) fn put_network(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Edit(Edit::Network { name: given.path("name"), row: given.body()?, new: false }))
}

pub(super) fn change_network(given: &Given) -> Result<Request, Problem> {
    let Members { add, remove } = given.body()?;
    Ok(Request::Edit(Edit::NetworkMembers { name: given.path("name"), add, remove }))
}

pub(super) fn remove_network(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Edit(Edit::NetworkRemove { name: given.path("name") }))
}
