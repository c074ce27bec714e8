//! Putting commands together: lines and literals, each octet looked at once.

use bytes::{Bytes, BytesMut};
use mailwright_line_proto::{
    Limits,
    frame::{Counted, Line, LineEnds, Lines, LiteralMark},
};

use crate::{
    command::{Place, Replace, Spec, Steps},
    grammar::{GrammarError, Input, LiteralMode},
};

/// How many literals may stand before the octets of a message: the name of its mailbox, values of annotations, URLs of parts of it.
const LITERALS_BEFORE_MESSAGE: usize = 32;

/// The command that is being put together.
#[derive(Debug)]
pub(super) struct Intake {
    lines: Lines,
    /// Lines and literals so far, line ends between them.
    command: BytesMut,
    literals: usize,
    literal_octets: u64,
    /// The literal that is being taken.
    literal: Option<Counted>,
    /// Over a limit: what comes is thrown away to the end of the command.
    refused: bool,
    /// Whether a line of it was.
    too_long: bool,
    /// Of a line over the limit, which is thrown away: its beginning, with the tag, and its end, which may announce a literal.
    start: BytesMut,
    end: BytesMut,
    /// What is put together goes on behind the octets of a message, with this.
    behind: Option<Place>,
    /// Whether names of mailboxes may end with the separator: set before anything is taken.
    pub(super) extra_separator: bool,
}

/// What [`Intake::next`] took.
#[derive(Debug)]
pub(super) enum Taken {
    /// More input is needed.
    Partial,
    /// A whole command, without its last line end.
    Command(Bytes),
    /// The client waits for `+` before it sends a literal.
    Consent,
    /// A command, or what goes on behind a message, to the end of the mark of a message; its octets are next, after `+` if it
    /// synchronizes.
    Message { head: Bytes },
    /// A literal over a limit, or a line. The stream is behind the command.
    TooBig { start: Bytes, too_long: bool },
    /// A line that does not end, or is over the limit where nobody is known yet.
    Endless { limit: u64 },
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            lines: Lines::new(LineEnds::Strict),
            command: BytesMut::new(),
            literals: 0,
            literal_octets: 0,
            literal: None,
            refused: false,
            too_long: false,
            start: BytesMut::new(),
            end: BytesMut::new(),
            behind: None,
            extra_separator: false,
        }
    }
}

/// How much is kept of the start of a line that is thrown away: a tag, and the name of the command.
const START: usize = 256;
/// How much is kept of its end: the longest mark of a literal, and the line end.
const END: usize = 32;

impl Intake {
    /// A line that is no command: a SASL response, or what ends IDLE.
    pub(super) fn line(&mut self, rx: &mut BytesMut, limit: usize, skip: u64) -> Taken {
        match self.lines.next(rx, limit, skip) {
            Line::Whole(line) => Taken::Command(line.freeze()),
            Line::Partial if !self.lines.is_skipping() => Taken::Partial,
            _ => Taken::Endless { limit: limit as u64 },
        }
    }

    /// As [`next`](Self::next), for what goes on behind the octets of a message.
    pub(super) fn behind(
        &mut self,
        place: Place,
        rx: &mut BytesMut,
        limits: &Limits,
        mode: LiteralMode,
    ) -> Taken {
        self.behind = Some(place);
        self.next(rx, limits, mode, true)
    }

    /// Takes the next piece of a command from the front of `rx`.
    pub(super) fn next(
        &mut self,
        rx: &mut BytesMut,
        limits: &Limits,
        mode: LiteralMode,
        logged_in: bool,
    ) -> Taken {
        loop {
            if let Some(literal) = &mut self.literal {
                while let Some(octets) = literal.next(rx) {
                    if !self.refused {
                        self.command.extend_from_slice(&octets);
                    }
                }
                if !literal.is_done() {
                    return Taken::Partial;
                }
                self.literal = None;
            }
            let limit = if logged_in { limits.line } else { limits.line_before_login };
            if self.lines.is_skipping() || rx.len() >= limit {
                self.keep_ends(rx, limit);
            }
            let taken = match self.lines.next(rx, limit, limits.skip) {
                Line::Whole(line) => self.whole_line(line, limits, mode, logged_in),
                Line::Partial if logged_in || !self.lines.is_skipping() => Some(Taken::Partial),
                Line::TooLong if logged_in => {
                    let start = std::mem::take(&mut self.start);
                    if self.command.is_empty() {
                        self.command = start;
                    }
                    (self.refused, self.too_long) = (true, true);
                    let end = std::mem::take(&mut self.end);
                    // Of a number of more digits than any has nobody knows whether it announces a literal.
                    match end.strip_suffix(b"}").map(|end| end.strip_suffix(b"+").unwrap_or(end)) {
                        Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
                            Some(Taken::Endless { limit: limits.literal })
                        }
                        _ => self.whole_line(end, limits, mode, logged_in),
                    }
                }
                _ => Some(Taken::Endless { limit: limit as u64 }),
            };
            if let Some(taken) = taken {
                return taken;
            }
        }
    }

    /// Keeps the beginning and the end of what is thrown away next, if that is of a line over the limit.
    fn keep_ends(&mut self, rx: &[u8], limit: usize) {
        let is_first = !self.lines.is_skipping();
        let before = if is_first { None } else { self.end.last() };
        let ends = |at: &usize| at.checked_sub(1).map_or(before, |at| rx.get(at)) == Some(&b'\r');
        let line = memchr::memchr_iter(b'\n', rx).find(ends);
        let piece = line.and_then(|end| rx.get(..end)).unwrap_or(rx);
        // As long as a line that is whole may be, with its end.
        if is_first && line.is_some() && piece.len() < limit {
            return;
        }
        if is_first {
            // What is there of it at least, however it is split: not a tag that may go on.
            self.start = piece.iter().take(START.min(limit)).copied().collect();
            if !self.start.contains(&b' ') {
                self.start.clear();
            }
            self.end.clear();
        }
        let last = piece.len().saturating_sub(END);
        self.end.extend_from_slice(piece.get(last..).unwrap_or_default());
        let surplus = self.end.len().saturating_sub(END);
        let _ = self.end.split_to(surplus);
        if line.is_some() && self.end.last() == Some(&b'\r') {
            self.end.truncate(self.end.len() - 1);
        }
    }

    /// `None` if the octets of a literal are next.
    fn whole_line(
        &mut self,
        line: BytesMut,
        limits: &Limits,
        mode: LiteralMode,
        logged_in: bool,
    ) -> Option<Taken> {
        let mark = LiteralMark::find(&line);
        if !self.refused {
            if self.command.is_empty() {
                self.command = line;
            } else {
                self.command.extend_from_slice(&line);
            }
        }
        let mark = match mark {
            Ok(None) if self.refused => return Some(self.too_big()),
            Ok(None) => return Some(Taken::Command(self.reset())),
            Ok(Some(mark)) => mark,
            // Longer than can be counted: it cannot be skipped either.
            Err(_) => return Some(Taken::Endless { limit: limits.literal }),
        };
        let may_be_message = logged_in && !self.refused && self.literals <= LITERALS_BEFORE_MESSAGE;
        if may_be_message && is_message(&self.command, self.behind, self.extra_separator) {
            return Some(Taken::Message { head: self.reset() });
        }
        if self.is_too_big(&mark, limits, mode, logged_in) {
            if mark.synchronizing {
                // RFC 3501 §7.5: without consent the client sends no more of this command.
                return Some(self.too_big());
            }
            if !logged_in {
                return Some(Taken::Endless { limit: limits.line_before_login as u64 });
            }
            self.refused = true;
        }
        self.literals += 1;
        self.literal_octets = self.literal_octets.saturating_add(mark.length);
        self.literal = Some(Counted::new(mark.length));
        if !self.refused {
            self.command.extend_from_slice(b"\r\n");
        }
        mark.synchronizing.then_some(Taken::Consent)
    }

    fn is_too_big(&self, mark: &LiteralMark, limits: &Limits, mode: LiteralMode, logged_in: bool) -> bool {
        let one = if logged_in { limits.literal } else { limits.line_before_login as u64 };
        // A client may not send what was never offered (RFC 7888 §4, §5).
        let unasked = !mark.synchronizing && mode.synchronizes(mark.length);
        let together = self.literal_octets.saturating_add(mark.length);
        let all = (self.command.len() as u64).saturating_add(mark.length);
        self.refused
            || unasked
            || mark.length > one
            || together > limits.command
            || all > limits.command.saturating_add(limits.line as u64)
    }

    fn too_big(&mut self) -> Taken {
        let too_long = self.too_long;
        Taken::TooBig { start: self.reset(), too_long }
    }

    /// What was put together, ready for the next command.
    fn reset(&mut self) -> Bytes {
        let command = std::mem::take(&mut self.command);
        let lines = std::mem::take(&mut self.lines);
        *self = Self { lines, extra_separator: self.extra_separator, ..Self::default() };
        command.freeze()
    }
}

/// Whether this is an APPEND or REPLACE, or what goes on behind a message, complete but for the octets of a message.
fn is_message(command: &[u8], behind: Option<Place>, extra_separator: bool) -> bool {
    let mut input = Input::new(command).with_utf8(true).with_extra_separator(extra_separator);
    let place = match behind {
        Some(place) => Ok(place),
        None => begins_message(&mut input),
    };
    place.and_then(|place| Steps::parse(&mut input, place)).is_ok_and(|steps| steps.place.is_some())
}

fn begins_message(input: &mut Input<'_>) -> Result<Place, GrammarError> {
    input.tag()?;
    input.space()?;
    let spec = Spec::find(input)?;
    match spec.name {
        "APPEND" => {}
        "REPLACE" => drop(Replace::parse_message(input, false)?),
        "UID REPLACE" => drop(Replace::parse_message(input, true)?),
        _ => return Err(input.expected("a command with a message")),
    }
    input.space()?;
    input.mailbox()?;
    Ok(Place::Message)
}
