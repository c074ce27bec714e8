//! What is decided about extensions by whoever runs the scripts.

use crate::vacation;

/// Choices that the RFCs leave to a site. The defaults are what the RFCs recommend.
///
/// ```
/// use std::sync::Arc;
/// use mailwright_sieve::{Action, Language, MemoryHost, Options};
///
/// let mut options = Options::default();
/// options.unaddable.push("x-verified".into());
/// let mut host = MemoryHost::new(*b"Subject: tea\r\n\r\nNow.\r\n");
/// host.input.options = Arc::new(options);
/// let program = Language::standard().compile(br#"require "editheader"; addheader "X-Verified" "yes";"#)?;
/// let outcome = host.run(program);
/// assert!(matches!(&outcome.actions[..], [Action::Keep(keep)] if keep.message.is_original()));
/// # Ok::<(), mailwright_sieve::CompileError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The shortest period of `vacation`, in seconds; 0, where `:days` are one at least (RFC 5230 §4.1, RFC 6131 §2).
    pub vacation_least: u64,
    /// The longest period of `vacation`, in seconds; 90 days.
    pub vacation_most: u64,
    /// The period of `vacation` if the script names none, in seconds; 7 days.
    pub vacation_default: u64,
    /// Whether `vacation` answers messages that name none of the user's addresses too, against RFC 5230 §4.5.
    pub vacation_unaddressed: bool,
    /// Whether the recipient before aliases were resolved is left out of the user's addresses.
    pub vacation_final_recipient: bool,
    /// The subject of answers to messages that have none; `Automated reply`.
    pub vacation_subject_default: String,
    /// What answers make of the subject of the message, which stands for `%{subject}`, where the script does not name one (RFC 5230 §5.4);
    /// `Auto: %{subject}`.
    pub vacation_subject_template: String,
    /// Characters of such a subject; 256.
    pub vacation_subject_most: usize,
    /// Whether the To field of answers names whom the header of the message says it is from, where the envelope has an address that was
    /// rewritten on the way. The answer goes to the envelope's anyway (RFC 5230 §4.5).
    pub vacation_to_header_sender: bool,
    /// The period of `duplicate` if the script names none, in seconds; 7 days (RFC 7352 §3).
    pub duplicate_default: u64,
    /// The longest period of `duplicate`, in seconds; 365 days.
    pub duplicate_most: u64,
    /// Octets of the value of a field that `addheader` adds; more is a run-time error; 1 MiB.
    pub added_value: usize,
    /// Fields that `addheader` does not add, without an error; never `Subject` (RFC 5293 §6).
    pub unaddable: Vec<String>,
    /// Fields that `deleteheader` leaves alone, besides `Received` and `Auto-Submitted`; never `Subject` (RFC 5293 §6).
    pub undeletable: Vec<String>,
}

const DAY: u64 = 86_400;

impl Default for Options {
    fn default() -> Self {
        Self {
            vacation_least: 0,
            vacation_most: 90 * DAY,
            vacation_default: 7 * DAY,
            vacation_unaddressed: false,
            vacation_final_recipient: false,
            vacation_subject_default: vacation::SUBJECT_DEFAULT.into(),
            vacation_subject_template: vacation::SUBJECT_TEMPLATE.into(),
            vacation_subject_most: vacation::SUBJECT_MOST,
            vacation_to_header_sender: false,
            duplicate_default: 7 * DAY,
            duplicate_most: 365 * DAY,
            added_value: 1 << 20,
            unaddable: Vec::new(),
            undeletable: Vec::new(),
        }
    }
}

impl Options {
    /// For how many seconds a sender gets no second answer.
    pub(crate) fn vacation_period(&self, seconds: Option<u64>, days: Option<u64>) -> u64 {
        let period = match (seconds, days) {
            // RFC 6131 §2: 0 is to answer each time.
            (Some(seconds), _) => seconds,
            (None, Some(days)) => days.max(1).saturating_mul(DAY),
            (None, None) => self.vacation_default,
        };
        period.min(self.vacation_most).max(self.vacation_least)
    }

    pub(crate) fn may_add(&self, name: &str) -> bool {
        may(&self.unaddable, name)
    }

    pub(crate) fn may_delete(&self, name: &str) -> bool {
        // RFC 5293 §6: what tells where a message has been, and what the script itself decides by.
        let always = ["Received", "Auto-Submitted"].iter().any(|field| field.eq_ignore_ascii_case(name));
        !always && may(&self.undeletable, name)
    }
}

fn may(forbidden: &[String], name: &str) -> bool {
    // RFC 5293 §6
    name.eq_ignore_ascii_case("Subject") || !forbidden.iter().any(|field| field.eq_ignore_ascii_case(name))
}
