//! The whole life of each message, kept for some days: a file a day in the data directory, a line an event.
//!
//! Whoever delivers says what it does as it always did, by events of `tracing`. Those that are about a message come here too, and a
//! thread of its own writes them: a delivery waits for no flush more than it did.

mod files;
mod record;
mod show;
mod write;

use std::{
    cell::RefCell,
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::{
    Layer,
    filter::{FilterFn, filter_fn},
    layer::Context,
};

pub(crate) use record::Record;
pub(crate) use show::{TraceError, life_of, run};
pub(crate) use write::{Pen, begin};

use record::Draft;

/// The folder in the data directory.
const FOLDER: &str = "trace";
/// The target of events that are for the journal alone.
const JOURNAL: &str = "mailwright::journal";

thread_local! {
    static DRAFT: RefCell<Draft> = RefCell::default();
}

/// Passes on what is about a message.
pub(crate) struct Journal(pub(crate) Pen);

/// What the journal wants to see: everything of ours that the log would have at `info`, and what is for it alone.
pub(crate) fn wanted() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    let wants: fn(&Metadata<'_>) -> bool = |metadata| {
        let ours = metadata.target().starts_with("mailwright");
        !metadata.is_span() && ours && (*metadata.level() <= Level::INFO || metadata.target() == JOURNAL)
    };
    // Without a level, whatever the database says to itself would be asked about.
    filter_fn(wants).with_max_level_hint(Level::DEBUG)
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // An event about no message has neither an id nor a recipient; most have not even a field of that name.
        if !event.metadata().fields().iter().any(|field| matches!(field.name(), "id" | "rcpt" | "name")) {
            return;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let write = |draft: &mut Draft| {
            if let Some(line) = draft.line(event, at) {
                self.0.write(at, line);
            }
        };
        let in_turn = DRAFT.try_with(|draft| draft.try_borrow_mut().map(|mut draft| write(&mut draft)));
        // What is shown of a value may have events of its own, and so may the end of a thread.
        if !matches!(in_turn, Ok(Ok(()))) {
            write(&mut Draft::default());
        }
    }
}
