//! Comments (RFC 5228 §2.3), which mean nothing but to people.

use smol_str::SmolStr;

use crate::Position;

/// A comment of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Comment {
    /// Where it begins.
    pub position: Position,
    text: SmolStr,
}

impl Comment {
    /// A comment with its marks: `#` and the rest of a line, or what stands from `/*` to `*/`, the line ends of which become CR LF.
    /// `None` if the text is not one whole comment.
    ///
    /// ```
    /// use mailwright_sieve::Comment;
    ///
    /// assert_eq!(Comment::new("# rule:[tea]").unwrap().text(), "# rule:[tea]");
    /// assert_eq!(Comment::new("# two\nkeep;"), None);
    /// assert_eq!(Comment::new("/* one */ keep;"), None);
    /// ```
    pub fn new(text: &str) -> Option<Self> {
        let end = end(text).filter(|end| *end == text.len() && !text.contains('\0'))?;
        Some(Self::cut(Position::default(), text.get(..end)?))
    }

    /// What the lexer has found.
    pub(crate) fn cut(position: Position, text: &str) -> Self {
        let lines: Vec<_> = text.split('\n').map(|line| line.trim_end_matches('\r')).collect();
        Self { position, text: lines.join("\r\n").into() }
    }

    /// The text, with its marks.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it goes to the end of its line.
    pub(crate) fn is_open(&self) -> bool {
        self.text.starts_with('#')
    }
}

/// Where the comment ends that begins a text, if it ends at all: one of the kind `#` before its line end.
pub(crate) fn end(text: &str) -> Option<usize> {
    match text.strip_prefix("/*") {
        // RFC 5228 §8.1: the star that opens a comment does not close it.
        Some(inner) => inner.find("*/").map(|length| length + 4),
        None => text.starts_with('#').then(|| text.find('\n').unwrap_or(text.len())),
    }
}
