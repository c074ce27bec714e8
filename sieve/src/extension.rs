//! The extensions, a file each. [`Language::standard`](crate::Language::standard) has most of them; here are those that a host adds if
//! it has what they need.
//!
//! ```
//! use mailwright_sieve::{Language, extension};
//!
//! let mut language = Language::standard().with(extension::snooze());
//! for program in extension::programs() {
//!     language = language.with(program);
//! }
//! assert!(language.compile(br#"require "vnd.dovecot.pipe"; pipe "printer" ["A4"];"#).is_ok());
//! ```

mod address;
mod base;
mod body;
mod calendar;
mod date;
mod delivery;
mod dovecot;
mod duplicate;
mod editheader;
mod enotify;
mod envelope;
mod environment;
mod fcc;
mod header;
mod ihave;
mod imap4flags;
mod include;
mod matches;
mod metadata;
mod notify;
mod parts;
mod reject;
mod snooze;
mod spamtest;
mod vacation;
mod variables;

use crate::Extension;

/// `convert` (RFC 6558): the host answers [`Request::Convert`](crate::Request::Convert).
pub fn convert() -> Extension {
    parts::convert_extension()
}

/// `processcalendar` (RFC 9671): the host answers [`Request::Calendar`](crate::Request::Calendar).
pub fn process_calendar() -> Extension {
    calendar::extension()
}

/// `snooze`: the host carries out [`Action::Snooze`](crate::Action::Snooze).
pub fn snooze() -> Extension {
    snooze::extension()
}

/// `vnd.dovecot.pipe`, `vnd.dovecot.filter` and `vnd.dovecot.execute`: the host runs programs, and no others than it means to.
pub fn programs() -> Vec<Extension> {
    dovecot::programs()
}

/// RFC 5228 without its optional parts.
pub(crate) fn base() -> Extension {
    base::extension()
}

/// Those that every host can have.
pub(crate) fn standard() -> Vec<Extension> {
    STANDARD.iter().flat_map(|group| group()).collect()
}

/// What gives the extensions of a file.
type Group = fn() -> Vec<Extension>;

const STANDARD: &[Group] = &[
    base::optional,
    body::extensions,
    date::extensions,
    delivery::extensions,
    dovecot::extensions,
    duplicate::extensions,
    editheader::extensions,
    enotify::extensions,
    envelope::extensions,
    environment::extensions,
    fcc::extensions,
    ihave::extensions,
    imap4flags::extensions,
    include::extensions,
    matches::extensions,
    metadata::extensions,
    notify::extensions,
    parts::extensions,
    reject::extensions,
    spamtest::extensions,
    vacation::extensions,
    variables::extensions,
];
