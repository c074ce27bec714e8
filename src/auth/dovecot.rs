//! Dovecot's authentication protocol over our accounts, and accounts that are behind it.

mod accounts;
mod service;

pub use self::{
    accounts::{DovecotAccounts, DovecotAddress},
    service::DovecotAuth,
};

#[cfg(test)]
mod tests;
