//! One event of a message's life.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
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
    pub(super) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// Buffers in which the line of an event is made. They are used again, for a delivery alone has five events.
#[derive(Default)]
pub(super) struct Draft {
    line: Vec<u8>,
    text: String,
    has_what: bool,
    has_field: bool,
}

impl Draft {
    /// The line of an event at this moment, in milliseconds since 1970: what a [`Record`] is read from. `None` if it tells nothing.
    pub(super) fn line(&mut self, event: &Event<'_>, at: u64) -> Option<&[u8]> {
        (self.has_what, self.has_field) = (false, false);
        self.line.clear();
        self.line.extend_from_slice(b"{\"at\":");
        put(&mut self.line, &at);
        event.record(self);
        if !self.has_what {
            self.line.extend_from_slice(b",\"what\":\"\"");
        }
        self.line.extend_from_slice(b"}\n");
        let line = self.has_field.then_some(&self.line[..]);
        // What one long event needed is not kept.
        self.text.shrink_to(LONGEST);
        line
    }

    fn set(&mut self, field: &Field, value: &str) {
        let name = match field.name() {
            "message" => "what",
            "at" | "what" => return,
            name => name,
        };
        let is_what = name == "what";
        // Both are there of a session and of its queue entry; empty ones say nothing.
        if value.is_empty() && !is_what {
            return;
        }
        self.has_what |= is_what;
        self.has_field |= !is_what;
        self.line.push(b',');
        put(&mut self.line, name);
        self.line.push(b':');
        put(&mut self.line, value);
    }
}

impl Visit for Draft {
    fn record_str(&mut self, field: &Field, value: &str) {
        if value.len() <= LONGEST {
            return self.set(field, value);
        }
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Short(std::mem::take(&mut self.text));
        text.0.clear();
        // It stops where it is long enough.
        let _full = write!(text, "{value:?}");
        self.set(field, &text.0);
        self.text = text.0;
    }
}

/// Appends a value as JSON. Texts and numbers are all that is written here, which memory always takes.
fn put<T: Serialize + ?Sized>(line: &mut Vec<u8>, value: &T) {
    let _written = serde_json::to_writer(line, value);
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::Subscriber;
    use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<(Draft, Vec<String>)>>);

    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let (draft, lines) = &mut *self.0.lock().unwrap();
            lines.extend(draft.line(event, 7).map(|line| String::from_utf8(line.to_vec()).unwrap()));
        }
    }

    #[test]
    fn a_line_is_read_as_a_record_and_what_is_long_is_cut() {
        let lines = Lines::default();
        let long = "é".repeat(LONGEST);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines.clone()), || {
            tracing::info!(id = "1D", to = %"<a\"\\\u{1}é@b>", size = 7_u64, tls = false, user = "", at = "no", "accepted");
            tracing::info!(id = "", user = %"", "says nothing");
            tracing::info!(id = long, to = %long, "long");
            tracing::info!(id = "2E");
        });
        let lines = lines.0.lock().unwrap().1.clone();
        let records: Vec<Record> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records.len(), 3, "{lines:?}");
        assert!(lines.iter().all(|line| line.ends_with("}\n") && line.matches('\n').count() == 1));
        let fields = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let expected = [("id", "1D"), ("to", "<a\"\\\u{1}é@b>"), ("size", "7"), ("tls", "false")];
        assert_eq!(records[0], Record { at: 7, what: "accepted".into(), fields: fields(&expected) });
        let cut = "é".repeat(LONGEST / 4) + "…";
        assert_eq!(records[1].fields, fields(&[("id", &cut), ("to", &cut)]));
        assert_eq!(records[2], Record { at: 7, what: String::new(), fields: fields(&[("id", "2E")]) });
    }
}
