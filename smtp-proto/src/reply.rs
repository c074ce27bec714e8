//! Replies: a code, an enhanced status code and text that cannot smuggle anything onto the wire.

mod read;

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use thiserror::Error;

pub(crate) use read::{MOST_LINES, ReplyReader, Step};

/// The longest reply line that is sent, CRLF included (RFC 5321 §4.5.3.1.5).
pub const LINE_LIMIT: usize = 512;

/// An SMTP reply (RFC 5321 §4.2) with its enhanced status code (RFC 3463).
///
/// Every text in it is printable ASCII, so a reply that exists can be sent. What a client receives is brought into
/// that form: other octets become `?`, and of a line longer than [`LINE_LIMIT`] only the start is sent on.
///
/// ```
/// use mailwright_smtp_proto::Reply;
///
/// let reply = Reply::new(550, (5, 1, 1), "<x@example.com>: User unknown")?;
/// assert_eq!(reply.to_string(), "550 5.1.1 <x@example.com>: User unknown\r\n");
/// assert!(reply.is_permanent());
/// assert!(Reply::new(250, None, "Ok\r\n250 Ok").is_err());
/// # Ok::<(), mailwright_smtp_proto::ReplyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<(u8, u16, u16)>,
    /// The lines, LF between them.
    text: Cow<'static, str>,
}

/// What a reply says about the command, by its first digit (RFC 5321 §4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// 2yz: done.
    Positive,
    /// 3yz: go on.
    Intermediate,
    /// 4yz: refused now; the same may be accepted later.
    Transient,
    /// 5yz: refused; the same will be refused again.
    Permanent,
}

/// Why a reply cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The code is none.
    #[error("a reply code is 200 to 559 with a second digit of 0 to 5, not {0}")]
    Code(u16),
    /// The enhanced code does not say the same as the code.
    #[error("an enhanced code goes with 2yz, 4yz and 5yz and begins with that digit; {0} begins a {1} reply")]
    Enhanced(u8, u16),
    /// The text cannot be sent.
    #[error("the text of a reply is printable ASCII, not {0:?}")]
    Text(char),
    /// The line is too long.
    #[error("a reply line has at most {LINE_LIMIT} octets, not {0}")]
    Length(usize),
}

impl Reply {
    /// `250 2.0.0 Ok`.
    pub const OK: Self = Self::fixed(250, (2, 0, 0), "Ok");
    /// `250 2.1.0 Ok`: the sender is accepted.
    pub const SENDER_OK: Self = Self::fixed(250, (2, 1, 0), "Ok");
    /// `250 2.1.5 Ok`: the recipient is accepted.
    pub const RECIPIENT_OK: Self = Self::fixed(250, (2, 1, 5), "Ok");
    /// `221 2.0.0 Bye`.
    pub const BYE: Self = Self::fixed(221, (2, 0, 0), "Bye");
    /// `451 4.3.0`: we failed, not the peer.
    pub const INTERNAL: Self = Self::fixed(451, (4, 3, 0), "Internal error; try again later");
    /// `550 5.1.1`: there is no such mailbox.
    pub const NO_SUCH_USER: Self = Self::fixed(550, (5, 1, 1), "No such user here");
    /// `550 5.7.1`: not to be delivered here or by this sender.
    pub const DENIED: Self = Self::fixed(550, (5, 7, 1), "Access denied");
    /// `554 5.7.1`: we do not carry mail to there for this peer.
    pub const RELAY_DENIED: Self = Self::fixed(554, (5, 7, 1), "Relay access denied");

    /// A reply of one line.
    ///
    /// # Errors
    /// [`ReplyError`] if the code is none, the enhanced code contradicts it, or the text has octets other than
    /// printable ASCII or is too long for [`LINE_LIMIT`].
    pub fn new(
        code: u16,
        enhanced: impl Into<Option<(u8, u16, u16)>>,
        text: impl Into<Cow<'static, str>>,
    ) -> Result<Self, ReplyError> {
        let (enhanced, text) = (enhanced.into(), text.into());
        // RFC 5321 §4.2: Reply-code = %x32-35 %x30-35 %x30-39
        if !(2..=5).contains(&(code / 100)) || code / 10 % 10 > 5 {
            return Err(ReplyError::Code(code));
        }
        if let Some((class, subject, detail)) = enhanced
            && (u16::from(class) != code / 100 || class == 3 || subject > 999 || detail > 999)
        {
            return Err(ReplyError::Enhanced(class, code));
        }
        let reply = Self { code, enhanced, text };
        if let Some(bad) = reply.text.chars().find(|letter| !is_text(*letter)) {
            return Err(ReplyError::Text(bad));
        }
        match reply.prefix_length() + reply.text.len() {
            length if length > LINE_LIMIT => Err(ReplyError::Length(length)),
            _ => Ok(reply),
        }
    }

    /// A positive reply, `250 2.X.Y`, of any text: what cannot be sent becomes `?`, what is too long is cut.
    pub fn positive(status: (u16, u16), text: impl Into<Cow<'static, str>>) -> Self {
        Self::lossy(250, (2, status.0, status.1), text)
    }

    /// A refusal for now, `450 4.X.Y`, of any text, as [`positive`](Self::positive).
    pub fn transient(status: (u16, u16), text: impl Into<Cow<'static, str>>) -> Self {
        Self::lossy(450, (4, status.0, status.1), text)
    }

    /// A refusal for good, `550 5.X.Y`, of any text, as [`positive`](Self::positive).
    ///
    /// ```
    /// use mailwright_smtp_proto::Reply;
    ///
    /// let reply = Reply::permanent((1, 1), "<x\r\n@example.com>: Recipient address rejected");
    /// assert_eq!(reply.to_string(), "550 5.1.1 <x??@example.com>: Recipient address rejected\r\n");
    /// ```
    pub fn permanent(status: (u16, u16), text: impl Into<Cow<'static, str>>) -> Self {
        Self::lossy(550, (5, status.0, status.1), text)
    }

    /// `250 2.0.0 Ok: queued as ID`: the message is ours from here on.
    pub fn queued(id: &str) -> Self {
        Self::lossy(250, (2, 0, 0), format!("Ok: queued as {id}"))
    }

    /// The reply with one more line behind those it has.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_line(mut self, line: &str) -> Result<Self, ReplyError> {
        let checked = Self::new(self.code, self.enhanced, line.to_owned())?;
        let text = self.text.to_mut();
        text.push('\n');
        text.push_str(&checked.text);
        Ok(self)
    }

    /// The code: 250.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status code, if there is one: `(2, 1, 5)`.
    pub fn enhanced(&self) -> Option<(u8, u16, u16)> {
        self.enhanced
    }

    /// The text of each line, without the codes. There is at least one line.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split('\n')
    }

    /// All of it on one line, as it is quoted: `554 5.7.1 No service for you`. It can be [parsed](Self::parse) with CRLF behind it.
    pub fn in_one_line(&self) -> String {
        let mut text = self.code.to_string();
        if let Some((class, subject, detail)) = self.enhanced {
            text.push_str(&format!(" {class}.{subject}.{detail}"));
        }
        for line in self.lines().map(str::trim).filter(|line| !line.is_empty()) {
            text.push(' ');
            text.push_str(line);
        }
        text
    }

    /// What the reply says about the command.
    pub fn severity(&self) -> Severity {
        match self.code / 100 {
            2 => Severity::Positive,
            3 => Severity::Intermediate,
            4 => Severity::Transient,
            _ => Severity::Permanent,
        }
    }

    /// Whether it is a 2yz reply.
    pub fn is_positive(&self) -> bool {
        self.severity() == Severity::Positive
    }

    /// Whether it is a 4yz reply.
    pub fn is_transient(&self) -> bool {
        self.severity() == Severity::Transient
    }

    /// Whether it is a 5yz reply.
    pub fn is_permanent(&self) -> bool {
        self.severity() == Severity::Permanent
    }

    /// The octets that go to the peer, every line ended.
    pub fn encode(&self) -> Bytes {
        let lines = self.lines().count();
        let mut text = String::with_capacity(self.text.len() + lines * self.prefix_length());
        // A String takes all of it.
        let _written = self.put(&mut text);
        Bytes::from(text)
    }

    /// Writes it, every line ended. There is one for every command, so this is done without the machinery of formatting.
    fn put(&self, out: &mut impl fmt::Write) -> fmt::Result {
        // Only a received line can be longer than one that may be sent. All of it is ASCII.
        let room = LINE_LIMIT.saturating_sub(self.prefix_length());
        let mut lines = self.lines().peekable();
        while let Some(line) = lines.next() {
            put_number(self.code, out)?;
            out.write_char(if lines.peek().is_some() { '-' } else { ' ' })?;
            if let Some((class, subject, detail)) = self.enhanced {
                // RFC 2034 §4: the same code on every line
                put_number(class.into(), out)?;
                out.write_char('.')?;
                put_number(subject, out)?;
                out.write_char('.')?;
                put_number(detail, out)?;
                out.write_char(' ')?;
            }
            out.write_str(line.get(..room).unwrap_or(line))?;
            out.write_str("\r\n")?;
        }
        Ok(())
    }

    /// Reads one whole reply, all its lines.
    ///
    /// # Errors
    /// What was expected, if `octets` are not exactly one reply.
    ///
    /// ```
    /// use mailwright_smtp_proto::Reply;
    ///
    /// let reply = Reply::parse(b"550-5.1.1 No such\r\n550 5.1.1 user\r\n").unwrap();
    /// assert_eq!(reply.enhanced(), Some((5, 1, 1)));
    /// assert_eq!(reply.lines().collect::<Vec<_>>(), ["No such", "user"]);
    /// assert!(Reply::parse(b"2500 Ok\r\n").is_err());
    /// ```
    pub fn parse(octets: &[u8]) -> Result<Self, &'static str> {
        let mut reader = ReplyReader::default();
        let mut rest = octets;
        loop {
            let at = memchr::memmem::find(rest, b"\r\n").ok_or("a line that ends with CRLF")?;
            let (line, after) = rest.split_at_checked(at).ok_or("a line")?;
            rest = after.get(2..).unwrap_or_default();
            match reader.line(line)? {
                Step::More => {}
                Step::Done(reply) if rest.is_empty() => return Ok(reply),
                Step::Done(_) => return Err("nothing behind the last line"),
            }
        }
    }

    /// For the replies of this crate, whose parts are known to be right.
    pub(crate) const fn fixed(code: u16, enhanced: (u8, u16, u16), text: &'static str) -> Self {
        Self { code, enhanced: Some(enhanced), text: Cow::Borrowed(text) }
    }

    /// As [`fixed`](Self::fixed), of codes that have no enhanced ones (RFC 2034 §4: 3yz, and the replies to
    /// greeting and EHLO).
    pub(crate) fn plain(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, enhanced: None, text: text.into() }.mended()
    }

    pub(crate) fn lossy(code: u16, enhanced: (u8, u16, u16), text: impl Into<Cow<'static, str>>) -> Self {
        let enhanced = (enhanced.0, enhanced.1.min(999), enhanced.2.min(999));
        Self { code, enhanced: Some(enhanced), text: text.into() }.mended()
    }

    /// Of several lines, each of them within the limit.
    pub(crate) fn of_lines(code: u16, lines: &[String]) -> Self {
        let mut reply = Self { code, enhanced: None, text: Cow::Borrowed("") };
        let mended = lines.iter().map(|line| Self::plain(code, line.clone()).text.into_owned());
        reply.text = Cow::Owned(mended.collect::<Vec<_>>().join("\n"));
        reply
    }

    /// Of one line: replaces what cannot be sent, cuts what is too long.
    fn mended(mut self) -> Self {
        if !self.text.chars().all(is_text) {
            self.text = Cow::Owned(self.text.chars().map(|l| if is_text(l) { l } else { '?' }).collect());
        }
        let room = LINE_LIMIT.saturating_sub(self.prefix_length());
        if self.text.len() > room {
            // Every letter is one octet by now.
            self.text.to_mut().truncate(room);
        }
        self
    }

    /// How many octets a line has beside its text.
    fn prefix_length(&self) -> usize {
        let enhanced = match self.enhanced {
            Some((_, subject, detail)) => 4 + digits(subject) + digits(detail),
            None => 0,
        };
        "250 \r\n".len() + enhanced
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.put(formatter)
    }
}

/// Writes a number in decimal digits.
fn put_number(number: u16, out: &mut impl fmt::Write) -> fmt::Result {
    let mut unit = 10_000;
    while unit > 1 && number < unit {
        unit /= 10;
    }
    while unit > 0 {
        let digit = u8::try_from(number / unit % 10).unwrap_or(0);
        out.write_char(char::from(b'0' + digit))?;
        unit /= 10;
    }
    Ok(())
}

fn is_text(letter: char) -> bool {
    // RFC 5321 §4.2: textstring = 1*(%d09 / %d32-126)
    matches!(letter, '\t' | ' '..='~')
}

fn digits(number: u16) -> usize {
    match number {
        0..=9 => 1,
        10..=99 => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_be_sent_cannot_be_made() {
        for text in ["a\rb", "a\nb", "a\0b", "\u{7f}", "\u{85}", "é"] {
            assert!(matches!(Reply::new(250, None, text), Err(ReplyError::Text(_))), "{text:?}");
            assert!(Reply::permanent((0, 0), text).to_string().contains('?'));
        }
        for code in [0, 199, 600, 260, 65535] {
            assert_eq!(Reply::new(code, None, ""), Err(ReplyError::Code(code)));
        }
        assert!(Reply::new(250, (5, 0, 0), "").is_err());
        assert!(Reply::new(354, (3, 0, 0), "").is_err());
        assert!(Reply::new(250, None, "a").unwrap().with_line("b\n").is_err());
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for (subject, detail) in [(0, 0), (7, 10), (10, 7), (100, 99), (999, 900)] {
            let reply = Reply::permanent((subject, detail), "x").with_line("y").unwrap();
            let expected = format!("550-5.{subject}.{detail} x\r\n550 5.{subject}.{detail} y\r\n");
            assert_eq!((reply.to_string(), &reply.encode()[..]), (expected.clone(), expected.as_bytes()));
        }
        let mut text = String::new();
        put_number(u16::MAX, &mut text).unwrap();
        assert_eq!(text, "65535");
    }

    #[test]
    fn a_line_has_at_most_512_octets() {
        for (length, fits) in [(499, true), (500, true), (501, false)] {
            let made = Reply::new(550, (5, 1, 1), "x".repeat(length));
            assert_eq!(made.is_ok(), fits, "{length}");
            assert!(Reply::permanent((1, 1), "é".repeat(length)).encode().len() <= LINE_LIMIT);
        }
        assert_eq!(Reply::new(550, (5, 1, 1), "x".repeat(500)).unwrap().encode().len(), LINE_LIMIT);
    }

    #[test]
    fn a_long_line_that_was_received_is_not_sent_on() {
        let received = Reply::parse(format!("550-{0}\r\n550 {0}\r\n", "x".repeat(2000)).as_bytes()).unwrap();
        assert!(received.lines().all(|line| line.len() == 2000));
        assert!(received.to_string().split_inclusive('\n').all(|line| line.len() == LINE_LIMIT));
    }

    proptest! {
        #[test]
        fn parse_reads_what_encode_wrote(
            code in (2_u16..=5, 0_u16..=5, 0_u16..=9),
            enhanced in prop::option::of((0_u16..1000, 0_u16..1000)),
            lines in prop::collection::vec("[a-zA-Z<>@:][ -~]{0,60}|", 1..6),
        ) {
            let code = code.0 * 100 + code.1 * 10 + code.2;
            let class = (code / 100) as u8;
            let enhanced = enhanced.filter(|_| class != 3).map(|(subject, detail)| (class, subject, detail));
            let mut reply = Reply::new(code, enhanced, lines[0].clone()).unwrap();
            for line in &lines[1..] {
                reply = reply.with_line(line).unwrap();
            }
            prop_assert_eq!(Reply::parse(&reply.encode()), Ok(reply));
        }
    }
}
