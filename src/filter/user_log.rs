//! What users are told of their scripts: the last lines, where their clients find them (RFC 5464).

use std::hash::{DefaultHasher, Hash, Hasher};

use mailwright_mail_model::{Date, DateTime, MailboxName};
use mailwright_mailstore::{Annotated, EntryName, Metadata, Result, Store, User};
use tokio::sync::Mutex;

use super::{Remember, SieveFilter};

/// The annotation of INBOX that the lines are in. It is the user's own, who may take it away.
const ENTRY: &str = "/private/vendor/mailwright/sieve/log";
/// How much is kept: so many lines of so many octets, and so many octets of all of them.
const LINES: usize = 100;
const LINE: usize = 500;
const OCTETS: usize = 16 << 10;
/// What was said within so many seconds is not said again: a broken script may meet a thousand messages.
const AGAIN: i64 = 3_600;
const DAY: i64 = 24 * 3_600;

/// Who writes waits for others who write to the same user's log, and hardly ever for anybody else.
pub(super) type Turns = [Mutex<()>; 16];

/// A line of a user's log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// When that was, in seconds since 1970.
    pub at: i64,
    /// What there is to say.
    pub text: String,
}

impl<S: Store, M: Remember> SieveFilter<S, M> {
    /// What there was to tell a user of scripts lately, the oldest line first: run-time errors, scripts that cannot be used, and what
    /// scripts have to say themselves (`debug_log`). Empty where the store has no annotations.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn user_log(&self, user: &User) -> Result<Vec<LogLine>> {
        let Some(metadata) = self.store.metadata() else { return Ok(Vec::new()) };
        let all = metadata.annotations(&inbox(user), user).await?;
        let found = all.iter().find(|annotation| annotation.entry.as_str() == ENTRY);
        let text = found.map(|annotation| String::from_utf8_lossy(&annotation.value).into_owned());
        Ok(text.unwrap_or_default().lines().filter_map(LogLine::read).collect())
    }

    /// Adds lines to a user's log, but those that are there already. What cannot be written is in the server's log anyway.
    pub(super) async fn tell(
        &self,
        user: &User,
        now: DateTime,
        texts: impl IntoIterator<Item = String> + Send,
    ) {
        let mut texts = texts.into_iter().map(|text| one_line(&text)).peekable();
        let (Some(metadata), Some(_)) = (self.store.metadata(), texts.peek()) else { return };
        let mut hasher = DefaultHasher::new();
        user.hash(&mut hasher);
        let turn = usize::try_from(hasher.finish() % 16).unwrap_or(0);
        let _turn = match self.telling.get(turn) {
            Some(turn) => turn.lock().await,
            None => return,
        };
        let mut lines = match self.user_log(user).await {
            Ok(lines) => lines,
            Err(error) => {
                tracing::warn!(%user, %error, "a user cannot be told of a script");
                return;
            }
        };
        let at = now.seconds();
        let mut changed = false;
        for text in texts {
            if lines.iter().any(|line| line.text == text && at.saturating_sub(line.at) < AGAIN) {
                continue;
            }
            lines.retain(|line| line.text != text);
            lines.push(LogLine { at, text });
            changed = true;
        }
        if !changed {
            return;
        }
        let value = written(&lines).into();
        let entry = ENTRY.parse::<EntryName>();
        let Ok(entry) = entry else { return };
        if let Err(error) = metadata.annotate(&inbox(user), user, &[(entry, Some(value))]).await {
            tracing::warn!(%user, %error, "a user cannot be told of a script");
        }
    }
}

fn inbox(user: &User) -> Annotated {
    Annotated::Mailbox { owner: user.clone(), name: MailboxName::inbox() }
}

/// The last lines, as many as are kept.
fn written(lines: &[LogLine]) -> String {
    let mut octets = 0;
    let kept = lines.iter().rev().take(LINES).map(LogLine::written).take_while(|line| {
        octets += line.len();
        octets <= OCTETS
    });
    let mut kept: Vec<String> = kept.collect();
    kept.reverse();
    kept.concat()
}

/// A text without line ends and other controls, and not too long.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split(|letter: char| letter.is_control() || letter == ' ').collect();
    let mut line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if line.len() > LINE {
        let end = (0..=LINE).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        line.truncate(end);
        line.push_str("...");
    }
    line
}

impl LogLine {
    /// `2026-01-02T03:04:05Z text`, as RFC 3339 has it.
    fn written(&self) -> String {
        let date = Date::from_days(self.at.div_euclid(DAY));
        let (year, month, day) = date.map_or((1970, 1, 1), |date| (date.year(), date.month(), date.day()));
        let seconds = self.at.rem_euclid(DAY);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z {}\r\n", self.text)
    }

    /// A line that was written so; anything else is none of ours.
    fn read(line: &str) -> Option<Self> {
        let (time, text) = line.split_once(' ')?;
        let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
        let mut date = date.split('-');
        let date =
            Date::new(date.next()?.parse().ok()?, date.next()?.parse().ok()?, date.next()?.parse().ok()?)?;
        let mut clock = clock.split(':').map(|part| part.parse::<i64>().ok());
        let seconds = clock.next()?? * 3_600 + clock.next()?? * 60 + clock.next()??;
        Some(Self { at: date.days() * DAY + seconds, text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use mailwright_mailstore::{block_on, memory::Memory};

    use super::*;
    use crate::filter::Forgetful;

    #[test]
    fn a_line_is_said_once_and_the_last_ones_are_kept() {
        let filter = SieveFilter::new(Memory::new(), Forgetful, "mx.example");
        let ann = User::new("ann@a.example").unwrap();
        let tell = |at: i64, text: &str| {
            block_on(filter.tell(&ann, DateTime::new(at, 0).unwrap(), [text.to_owned()]));
            block_on(filter.user_log(&ann)).unwrap()
        };
        let noon = 20_000 * DAY + DAY / 2 + 61;
        for more in 0..1_000 {
            assert_eq!(tell(noon + more, "line 1: broken\r\n\tscript").len(), 1);
        }
        let lines = tell(noon + AGAIN, "line 1: broken script");
        assert_eq!(lines, [LogLine { at: noon + AGAIN, text: "line 1: broken script".into() }]);
        for number in 0..200 {
            assert!(tell(noon, &format!("{number}")).len() <= LINES);
        }
        assert_eq!(tell(noon, "last").last().unwrap().text, "last");
        for number in 0..100 {
            tell(noon, &format!("{number} {}", "é".repeat(2_000)));
        }
        let lines = block_on(filter.user_log(&ann)).unwrap();
        assert!(written(&lines).len() <= OCTETS && lines.len() > 25, "{}", lines.len());
        assert!(lines.last().unwrap().text.starts_with("99 é"));
    }

    #[test]
    fn what_clients_write_there_is_passed_over() {
        for line in ["", "x", "2026-13-01T00:00:00Z x", "2026-01-01 x", "2026-01-01T00:00Z x"] {
            assert_eq!(LogLine::read(line), None, "{line}");
        }
        let line = LogLine { at: 1_767_323_045, text: "a  b".into() };
        assert_eq!(line.written(), "2026-01-02T03:04:05Z a  b\r\n");
        assert_eq!(LogLine::read(line.written().trim_end()), Some(line));
    }
}
