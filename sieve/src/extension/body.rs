//! `body` (RFC 5173).

use std::{collections::VecDeque, ops::Range};

use mailwright_mail_model::{
    charset,
    encoding::{Decoder, TransferEncoding},
    markup,
    mime::{Part, Shape},
};

use crate::{Call, Comparator, Context, Definition, Extension, Matcher, Parameter, Stop, Tag, run::PIECE};

pub(super) fn extensions() -> Vec<Extension> {
    let test = Definition::test("body", body)
        .tag(Tag::new("raw").group("body transform"))
        .tag(Tag::new("content").value(Parameter::Strings).group("body transform"))
        .tag(Tag::new("text").group("body transform"))
        .parameter(Parameter::Strings)
        .matching();
    vec![Extension::new("body").test(test)]
}

/// A text that a test looks at: some octets of the message, and how they spell it.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) range: Range<u64>,
    pub(super) encoding: TransferEncoding,
    /// `None` to take the octets as they are.
    pub(super) charset: Option<String>,
    /// Whether what is looked for is the text without its markup.
    pub(super) markup: bool,
    /// What else of it is not looked at.
    without: Without,
}

/// A line of a boundary in what stands around the parts of a multipart, with the line end before it (RFC 2046 §5.1.1), or the line behind a
/// header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Without {
    #[default]
    Nothing,
    LastLine,
    FirstLine,
    /// The empty line that ends a header.
    EmptyLine,
}

impl Without {
    /// Takes it off.
    fn take_off(self, text: &mut String) {
        match self {
            Self::Nothing => {}
            Self::EmptyLine => {
                let ended = ["\n\r\n", "\n\n"].iter().find_map(|end| text.strip_suffix(end));
                if let Some(before) = ended.map(str::len) {
                    text.truncate(before + 1);
                }
            }
            Self::LastLine => {
                let line = text.trim_end_matches(['\r', '\n']).rfind('\n').unwrap_or(0);
                text.truncate(line);
                text.truncate(text.strip_suffix('\r').map_or(text.len(), str::len));
            }
            Self::FirstLine => {
                // The range begins with the end of the line before.
                let line = text.strip_prefix("\r\n").or_else(|| text.strip_prefix('\n')).unwrap_or(text);
                let rest = line.split_once('\n').map_or(0, |(_, rest)| rest.len());
                drop(text.drain(..text.len() - rest));
            }
        }
    }
}

/// How far a test has come: between questions to the host only this is held.
#[derive(Debug)]
struct Progress {
    sources: VecDeque<Source>,
    reading: Option<Reading>,
}

fn body(context: &mut Context, call: &Call) -> Result<bool, Stop> {
    let mut matcher = context.matcher(call)?;
    let mut progress = match context.progress::<Progress>() {
        Some(progress) => progress,
        None => Progress { sources: sources(context, call)?, reading: None },
    };
    loop {
        if progress.reading.is_none() {
            let Some(source) = progress.sources.pop_front() else { break };
            if matcher.counts() {
                matcher.counted();
                continue;
            }
            // Tags are told from text only as a whole, and lines at an end from others.
            let searching = matcher.searches() && !source.markup && source.without == Without::Nothing;
            progress.reading = Some(Reading::new(context, source, searching));
        }
        let Some(reading) = &mut progress.reading else { break };
        match reading.advance(context, Some(&matcher)) {
            Ok(Some(true)) => return Ok(true),
            Ok(Some(false)) => {}
            Ok(None) => {
                let (mut text, searched) = (std::mem::take(&mut reading.text), reading.searching);
                reading.without.take_off(&mut text);
                if reading.markup {
                    context.charge(text.len().saturating_mul(8))?;
                    text = words(&text);
                }
                progress.reading = None;
                // RFC 5173 §6: the match variables of this test are not set.
                if !searched && without_captures(context, |context| matcher.value(context, &text))? {
                    return Ok(true);
                }
            }
            Err(stop) => {
                context.save(progress);
                return Err(stop);
            }
        }
    }
    without_captures(context, |context| matcher.finish(context))
}

/// RFC 5173 §6: "the body test does not set match variables".
fn without_captures(
    context: &mut Context,
    test: impl FnOnce(&mut Context) -> Result<bool, Stop>,
) -> Result<bool, Stop> {
    let wanted = context.captures_wanted();
    context.captures_on(false);
    let result = test(context);
    context.captures_on(wanted);
    result
}

fn sources(context: &mut Context, call: &Call) -> Result<VecDeque<Source>, Stop> {
    // RFC 5173 §5: of a header alone, without the empty line behind it, no test is true.
    if !has_body(context)? {
        return Ok(VecDeque::new());
    }
    let structure = &context.current.structure;
    if call.has("raw") {
        // RFC 5173 §5.1: as it stands, MIME or not.
        let range = structure.part(0).map_or(0..0, Part::body);
        return Ok([Source {
            range,
            encoding: TransferEncoding::Binary,
            charset: None,
            markup: false,
            without: Without::Nothing,
        }]
        .into());
    }
    let (wanted, as_text) = match context.tag_texts(call, "content")? {
        Some(types) => (types.iter().map(|kind| kind.to_ascii_lowercase()).collect(), false),
        // RFC 5173 §5.3: the text of the message; here that of all its text parts, without the markup of HTML.
        None => (vec!["text".to_owned(), "application/xhtml+xml".to_owned()], true),
    };
    let structure = std::sync::Arc::clone(&context.current.structure);
    let mut sources = VecDeque::new();
    for (index, part) in structure.parts().enumerate() {
        if wanted.iter().any(|wanted| is_of(part, wanted)) {
            let markup = as_text && is_markup(part);
            // RFC 2045 §6.4: what is encoded in a way that nobody knows is no text.
            if as_text && part.content().encoding() == TransferEncoding::Unknown {
                continue;
            }
            sources.extend(
                of_part(&structure, index, part).into_iter().map(|source| Source { markup, ..source }),
            );
        }
    }
    Ok(sources)
}

/// Whether a text is HTML.
fn is_markup(part: &Part) -> bool {
    let media = part.content().media_type();
    media.is("text", "html") || media.is("application", "xhtml+xml")
}

/// Whether there is an empty line behind the header.
fn has_body(context: &mut Context) -> Result<bool, Stop> {
    let Some(body) = context.current.structure.part(0).map(Part::body) else { return Ok(false) };
    if body.start < body.end {
        return Ok(true);
    }
    let header = context.header(0)?;
    Ok(header.ends_with(b"\n\r\n") || header.ends_with(b"\n\n") || matches!(&*header, b"\r\n" | b"\n"))
}

/// RFC 5173 §5.2: `type/subtype`, `type`, or anything if it is empty; what is malformed is like nothing.
fn is_of(part: &Part, wanted: &str) -> bool {
    let media = part.content().media_type();
    match wanted.split_once('/') {
        None => wanted.is_empty() || media.is(wanted, "*"),
        Some((kind, subtype)) => !kind.is_empty() && !subtype.is_empty() && media.is(kind, subtype),
    }
}

/// What of a part is looked at: the decoded body; of a multipart what stands before, after and between its parts; of a message its
/// header (RFC 5173 §5.2).
fn of_part(structure: &mailwright_mail_model::mime::Structure, index: usize, part: &Part) -> Vec<Source> {
    let without = |range, without| Source {
        range,
        encoding: TransferEncoding::Binary,
        charset: None,
        markup: false,
        without,
    };
    let children: Vec<_> = structure.children(index).filter_map(|child| structure.part(child)).collect();
    match part.shape() {
        Shape::Multipart => {
            let whole = part.body();
            let first = children.first().map_or(whole.start, |child| child.header().start);
            let last = children.last().map_or(whole.end, |child| child.body().end);
            vec![without(whole.start..first, Without::LastLine), without(last..whole.end, Without::FirstLine)]
        }
        Shape::Message => {
            children.first().map(|child| without(child.header(), Without::EmptyLine)).into_iter().collect()
        }
        _ => vec![decoded(part)],
    }
}

/// The body of a part as it is to be read.
pub(super) fn decoded(part: &Part) -> Source {
    let content = part.content();
    let text = content.media_type().is("text", "*");
    let charset = content.media_type().charset().map(|name| name.into_owned());
    Source {
        range: part.body(),
        encoding: content.encoding(),
        charset: text.then(|| charset.unwrap_or_else(|| "us-ascii".into())),
        markup: false,
        without: Without::Nothing,
    }
}

/// What people see of HTML, one blank between words.
fn words(html: &str) -> String {
    let mut words = String::with_capacity(html.len() / 2);
    for character in markup::Text::new(html) {
        match character {
            // Seen by nobody, and where tags within words are.
            '\u{ad}' | '\u{200b}' => {}
            character if character.is_whitespace() => {
                if !words.is_empty() && !words.ends_with(' ') {
                    words.push(' ');
                }
            }
            character => words.push(character),
        }
    }
    words.truncate(words.trim_end().len());
    words
}

/// A text as it is read, piece by piece.
pub(super) struct Reading {
    at: u64,
    end: u64,
    decoder: Option<Decoder>,
    charset: Option<charset::Decoder>,
    /// What has been read; when searching only the end of it, in which a key may begin.
    text: String,
    /// Octets that are not yet a character.
    octets: Vec<u8>,
    searching: bool,
    markup: bool,
    without: Without,
    most: usize,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Reading")
            .field("at", &self.at)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl Reading {
    /// `searching` looks for keys and holds no more than it must; otherwise up to [`Limits::body`](crate::Limits::body) are held.
    pub(super) fn new(context: &Context, source: Source, searching: bool) -> Self {
        let charset = source.charset.as_deref();
        Self {
            at: source.range.start,
            end: source.range.end,
            decoder: source.encoding.decoder(),
            charset: charset.and_then(charset::Decoder::new),
            text: String::new(),
            octets: Vec::new(),
            searching,
            markup: source.markup,
            without: source.without,
            most: context.limits().body,
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Reads one piece: `None` at the end, else whether a key was found in it.
    pub(super) fn advance(
        &mut self,
        context: &mut Context,
        matcher: Option<&Matcher<'_>>,
    ) -> Result<Option<bool>, Stop> {
        let full = !self.searching && self.text.len() >= self.most;
        if self.at >= self.end || full {
            // RFC 5228 §2.7.1: the empty key is in every text, and an empty text is never read.
            let everywhere =
                matcher.is_some_and(|matcher| matcher.needles().1.iter().any(|key| key.is_empty()));
            return Ok((self.searching && everywhere).then_some(true));
        }
        let piece = context.octets(self.at..self.end.min(self.at + PIECE))?;
        context.forget();
        context.charge(piece.len())?;
        self.at = if piece.is_empty() { self.end } else { self.at + piece.len() as u64 };
        let last = self.at >= self.end;
        self.decode(&piece, last);
        if !self.searching {
            if self.text.len() > self.most {
                let end = (0..=self.most).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0);
                self.text.truncate(end);
            }
            return Ok(Some(false));
        }
        let Some(matcher) = matcher else { return Ok(Some(false)) };
        let (comparator, needles) = matcher.needles();
        let found = contains(context, comparator, &self.text, needles)?;
        // The start of a key may be at the end of this piece; twice its length holds what folding makes longer.
        let longest = needles.iter().map(|needle| needle.len()).max().unwrap_or(0).saturating_mul(2).max(16);
        let keep = self.text.len().saturating_sub(longest);
        let keep = (0..=keep).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0);
        self.text.drain(..keep);
        Ok(Some(found))
    }

    fn decode(&mut self, piece: &[u8], last: bool) {
        let mut decoded = Vec::new();
        let octets = match &mut self.decoder {
            Some(decoder) => {
                decoder.push(piece, &mut decoded);
                if last {
                    decoder.finish(&mut decoded);
                }
                &decoded
            }
            None => piece,
        };
        match &mut self.charset {
            Some(charset) => {
                charset.push(octets, &mut self.text);
                if last {
                    charset.finish(&mut self.text);
                }
            }
            None => {
                self.octets.extend_from_slice(octets);
                let whole = match std::str::from_utf8(&self.octets) {
                    Err(error) if error.error_len().is_none() && !last => error.valid_up_to(),
                    _ => self.octets.len(),
                };
                let rest = self.octets.split_off(whole);
                self.text.push_str(&String::from_utf8_lossy(&self.octets));
                self.octets = rest;
            }
        }
    }
}

fn contains(
    context: &mut Context,
    comparator: Comparator,
    text: &str,
    needles: &[std::borrow::Cow<'_, str>],
) -> Result<bool, Stop> {
    context.charge(text.len().saturating_mul(needles.len()))?;
    let text = comparator.folded(text);
    Ok(needles.iter().any(|needle| memchr::memmem::find(text.as_bytes(), needle.as_bytes()).is_some()))
}
