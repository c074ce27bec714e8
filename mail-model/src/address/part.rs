//! What local parts and domains are made of.

use std::ops::Range;

use smol_str::SmolStr;

/// A part of an address, as it was written, and what it means.
///
/// Both are somewhere in one text, which the parts of an address share: it is the address, and behind it what its
/// parts mean where that is not what stands in it. Nearly all addresses need no other memory.
#[derive(Clone)]
pub(super) struct Part {
    text: SmolStr,
    written: Span,
    meant: Span,
}

/// No text is longer than an address and what its parts mean.
#[derive(Clone, Copy)]
pub(super) struct Span {
    start: u16,
    end: u16,
}

impl Part {
    /// A part by itself, and what it means if that is not what is written.
    pub(super) fn alone(written: &str, meant: Option<&str>) -> Self {
        match meant {
            None => Self::of(written.into(), 0..written.len(), 0..written.len()),
            Some(meant) => {
                let text: SmolStr = [written, meant].into_iter().collect();
                let end = text.len();
                Self::of(text, 0..written.len(), written.len()..end)
            }
        }
    }

    /// A part of that text.
    #[inline]
    pub(super) fn of(text: SmolStr, written: Range<usize>, meant: Range<usize>) -> Self {
        Self { text, written: written.into(), meant: meant.into() }
    }

    /// The text up to the end of this part.
    pub(super) fn up_to_end(&self) -> &str {
        self.text.get(..usize::from(self.written.end)).unwrap_or_default()
    }

    /// As it was written.
    pub(super) fn written(&self) -> &str {
        self.slice(self.written)
    }

    /// What it means.
    pub(super) fn meant(&self) -> &str {
        self.slice(self.meant)
    }

    /// What stands at another place of the text.
    pub(super) fn slice(&self, span: Span) -> &str {
        self.text.get(usize::from(span.start)..usize::from(span.end)).unwrap_or_default()
    }
}

impl From<Range<usize>> for Span {
    #[inline]
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start as u16, end: range.end as u16 }
    }
}
