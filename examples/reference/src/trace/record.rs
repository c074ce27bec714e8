//! One event of a message's life.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tracing::{
    Event,
    field::{Field, Visit},
};

/// How much of a field is kept, in octets: a message may have thousands of recipients.
const LONGEST: usize = 4_096;

/// When, what, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// In milliseconds since 1970.
    pub(crate) at: u64,
    /// In few words.
    pub(crate) what: String,
    /// By name; `id` is the message's, if it has one already.
    #[serde(flatten)]
    pub(crate) fields: BTreeMap<String, String>,
}

impl Record {
    /// What an event tells, now.
    pub(super) fn of(event: &Event<'_>) -> Option<Self> {
        let mut collected = Collected::default();
        event.record(&mut collected);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let Collected { what, mut fields } = collected;
        // Both are there of a session and of its queue entry; empty ones say nothing.
        fields.retain(|_, value| !value.is_empty());
        (!fields.is_empty()).then_some(Self { at, what, fields })
    }

    pub(super) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

#[derive(Default)]
struct Collected {
    what: String,
    fields: BTreeMap<String, String>,
}

impl Collected {
    fn set(&mut self, field: &Field, value: &dyn fmt::Display) {
        let mut text = Short(String::new());
        // It stops where it is long enough.
        let _full = write!(text, "{value}");
        match field.name() {
            "message" => self.what = text.0,
            "at" | "what" => {}
            name => drop(self.fields.insert(name.to_owned(), text.0)),
        }
    }
}

impl Visit for Collected {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, &format_args!("{value:?}"));
    }
}

/// A text that does not become long.
struct Short(String);

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LONGEST.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.extend(text.chars().take(room / 4));
        self.0.push('…');
        Err(fmt::Error)
    }
}
