//! Fuzz targets as plain functions: octets in, a panic if a promise is broken.
//!
//! `tests/replay.rs` runs every target over its seeds in `corpus/` and over mutations of them, in the ordinary tests.
//! The package in `targets/` wraps each one for libFuzzer.
//!
//! To add a target: write the function in the module of its crate, re-export it, put it in [`TARGETS`], give it seeds
//! in `corpus/<name>/` and a file in `targets/src/bin/`. `tests/replay.rs` finds what was forgotten.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a target reports by panicking"
)]

mod auth;
mod deflate;
mod files;
mod frame;
mod imap;
mod imap_server;
mod machine;
mod managesieve;
mod model;
mod names;
mod policy;
mod pop3;
mod sieve;
mod smtp;
mod store;

pub use auth::{auth_client, auth_proxy, auth_sasl, auth_server};
pub use deflate::deflate_layer;
pub use files::{policy_files, store_passwd};
pub use frame::{frame_dot, frame_lines, frame_literal};
pub use imap::imap_client;
pub use imap_server::{imap_command, imap_server};
pub use managesieve::{managesieve_client, managesieve_server};
pub use model::{
    model_address, model_address_list, model_date, model_header, model_mime, model_parameter, model_utf7,
    model_word,
};
pub use names::{imap_url, model_encoding, model_names};
pub use policy::{
    policy_aliases, policy_authentication, policy_names, policy_records, policy_report, policy_senders,
    store_names,
};
pub use pop3::{pop3_client, pop3_server};
pub use sieve::{sieve_compare, sieve_parse, sieve_run};
pub use smtp::{smtp_client, smtp_grammar, smtp_server, smtp_seven_bit};
pub use store::{store_maildir, store_mbox};

/// A target: takes any octets, panics if a promise is broken.
pub type Target = fn(&[u8]);

/// Every target, by its name: that of its directory in `corpus/` and of its binary in `targets/`.
pub const TARGETS: &[(&str, Target)] = &[
    // line-proto
    ("auth_client", auth_client),
    ("auth_proxy", auth_proxy),
    ("auth_sasl", auth_sasl),
    ("auth_server", auth_server),
    ("deflate_layer", deflate_layer),
    ("frame_dot", frame_dot),
    ("frame_lines", frame_lines),
    ("frame_literal", frame_literal),
    // mail-model
    ("model_address", model_address),
    ("model_address_list", model_address_list),
    ("model_date", model_date),
    ("model_encoding", model_encoding),
    ("model_header", model_header),
    ("model_mime", model_mime),
    ("model_names", model_names),
    ("model_parameter", model_parameter),
    ("model_utf7", model_utf7),
    ("model_word", model_word),
    // pop3-proto
    ("pop3_client", pop3_client),
    ("pop3_server", pop3_server),
    // relay-policy and mailstore
    ("policy_aliases", policy_aliases),
    ("policy_authentication", policy_authentication),
    ("policy_files", policy_files),
    ("policy_names", policy_names),
    ("policy_records", policy_records),
    ("policy_report", policy_report),
    ("policy_senders", policy_senders),
    ("store_maildir", store_maildir),
    ("store_mbox", store_mbox),
    ("store_names", store_names),
    ("store_passwd", store_passwd),
    // sieve
    ("managesieve_client", managesieve_client),
    ("managesieve_server", managesieve_server),
    ("sieve_compare", sieve_compare),
    ("sieve_parse", sieve_parse),
    ("sieve_run", sieve_run),
    // smtp-proto
    ("smtp_client", smtp_client),
    ("smtp_grammar", smtp_grammar),
    ("smtp_server", smtp_server),
    ("smtp_seven_bit", smtp_seven_bit),
    // imap-proto
    ("imap_client", imap_client),
    ("imap_command", imap_command),
    ("imap_server", imap_server),
    ("imap_url", imap_url),
];
