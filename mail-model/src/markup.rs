//! The text of a piece of HTML, without what browsers do not show as text. Not a parser of HTML: enough to tell how a message begins.

/// Elements whose content is no text of the message.
const HIDDEN: [&str; 6] = ["head", "noframes", "script", "style", "template", "title"];

/// Elements within words: nothing stands where their tags are.
const INLINE: [&str; 24] = [
    "a", "abbr", "b", "bdi", "bdo", "big", "code", "em", "font", "i", "ins", "kbd", "label", "mark", "q",
    "s", "small", "span", "strong", "sub", "sup", "tt", "u", "wbr",
];

/// The names of U+00A0 to U+00FF, in their order (HTML 4.01 §24.2).
#[rustfmt::skip]
const LATIN: [&str; 96] = [
    "nbsp", "iexcl", "cent", "pound", "curren", "yen", "brvbar", "sect", "uml", "copy", "ordf", "laquo", "not", "shy", "reg", "macr",
    "deg", "plusmn", "sup2", "sup3", "acute", "micro", "para", "middot", "cedil", "sup1", "ordm", "raquo", "frac14", "frac12", "frac34", "iquest",
    "Agrave", "Aacute", "Acirc", "Atilde", "Auml", "Aring", "AElig", "Ccedil", "Egrave", "Eacute", "Ecirc", "Euml", "Igrave", "Iacute", "Icirc", "Iuml",
    "ETH", "Ntilde", "Ograve", "Oacute", "Ocirc", "Otilde", "Ouml", "times", "Oslash", "Ugrave", "Uacute", "Ucirc", "Uuml", "Yacute", "THORN", "szlig",
    "agrave", "aacute", "acirc", "atilde", "auml", "aring", "aelig", "ccedil", "egrave", "eacute", "ecirc", "euml", "igrave", "iacute", "icirc", "iuml",
    "eth", "ntilde", "ograve", "oacute", "ocirc", "otilde", "ouml", "divide", "oslash", "ugrave", "uacute", "ucirc", "uuml", "yacute", "thorn", "yuml",
];

/// Other names that messages have.
const NAMES: [(&str, char); 32] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("ensp", '\u{2002}'),
    ("emsp", '\u{2003}'),
    ("thinsp", '\u{2009}'),
    ("zwnj", '\u{200c}'),
    ("zwj", '\u{200d}'),
    ("lrm", '\u{200e}'),
    ("rlm", '\u{200f}'),
    ("ndash", '\u{2013}'),
    ("mdash", '\u{2014}'),
    ("lsquo", '\u{2018}'),
    ("rsquo", '\u{2019}'),
    ("sbquo", '\u{201a}'),
    ("ldquo", '\u{201c}'),
    ("rdquo", '\u{201d}'),
    ("bdquo", '\u{201e}'),
    ("dagger", '\u{2020}'),
    ("bull", '\u{2022}'),
    ("hellip", '\u{2026}'),
    ("lsaquo", '\u{2039}'),
    ("rsaquo", '\u{203a}'),
    ("euro", '\u{20ac}'),
    ("trade", '\u{2122}'),
    ("larr", '\u{2190}'),
    ("rarr", '\u{2192}'),
    ("minus", '\u{2212}'),
    ("OElig", '\u{152}'),
    ("oelig", '\u{153}'),
];

/// The longest name, or digits, of a reference.
const LONGEST: usize = 10;

/// The characters of the text: a space where a tag stands between words, and U+200B where one stands within a word. References are the
/// characters they mean.
///
/// ```
/// use mailwright_mail_model::markup::Text;
///
/// let text: String = Text::new("<p>T<b>e</b>a&nbsp;at<br>five</p>").collect();
/// assert_eq!(text.replace('\u{200b}', "").split_whitespace().collect::<Vec<_>>(), ["Tea", "at", "five"]);
/// ```
#[derive(Debug)]
pub struct Text<'a> {
    rest: &'a str,
    /// Whether there is no end of a head in the rest.
    headless: bool,
}

impl<'a> Text<'a> {
    /// The text of this piece, which need not be whole.
    pub fn new(markup: &'a str) -> Self {
        Self { rest: markup, headless: false }
    }

    /// Passes over the tag or the comment that is next, and what it hides; `None` if there is none here.
    fn tag(&mut self) -> Option<char> {
        let after = self.rest.strip_prefix('<')?;
        if let Some(comment) = after.strip_prefix("!--") {
            self.rest = comment.split_once("-->").map_or("", |(_, rest)| rest);
            return Some(' ');
        }
        let named = after.strip_prefix('/').unwrap_or(after);
        if !named.starts_with(|first: char| first.is_ascii_alphabetic() || "!?".contains(first)) {
            return None;
        }
        let end = named.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(named.len());
        let name = named.get(..end).unwrap_or_default().to_ascii_lowercase();
        self.rest = past_tag(named);
        if named.len() == after.len() && HIDDEN.contains(&name.as_str()) {
            self.hide(&name);
        }
        // Nothing that is seen, or what parts words.
        Some(if INLINE.contains(&name.as_str()) { '\u{200b}' } else { ' ' })
    }

    /// Passes over the content of an element. Without an end it is all that is left, but for a head, whose end is the beginning of
    /// the rest, whatever that is: then it is looked for once only.
    fn hide(&mut self, name: &str) {
        if name == "head" && self.headless {
            return;
        }
        match past_element(self.rest, name) {
            Some(rest) => self.rest = rest,
            None if name == "head" => self.headless = true,
            None => self.rest = "",
        }
    }

    /// The character that a reference here means.
    fn reference(&mut self) -> Option<char> {
        let after = self.rest.strip_prefix('&')?;
        let end = after.bytes().take(LONGEST).position(|octet| octet == b';')?;
        let name = after.get(..end)?;
        let character = match name.strip_prefix('#') {
            Some(number) => numbered(number)?,
            None => named(name)?,
        };
        self.rest = after.get(end + 1..)?;
        Some(character)
    }
}

impl Iterator for Text<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let meant = match self.rest.chars().next()? {
            '<' => self.tag(),
            '&' => self.reference(),
            _ => None,
        };
        meant.or_else(|| {
            let mut characters = self.rest.chars();
            let character = characters.next();
            self.rest = characters.as_str();
            character
        })
    }
}

/// What is behind the end of a tag; a `>` in a quoted value is none.
fn past_tag(tag: &str) -> &str {
    let mut quote = None;
    for (at, character) in tag.char_indices() {
        match (character, quote) {
            ('>', None) => return tag.get(at + 1..).unwrap_or_default(),
            ('"' | '\'', None) => quote = Some(character),
            (end, Some(begun)) if end == begun => quote = None,
            _ => {}
        }
    }
    ""
}

/// What is behind the end of an element that is hidden; `None` if it has no end.
fn past_element<'a>(content: &'a str, name: &str) -> Option<&'a str> {
    let end = format!("</{name}");
    content.match_indices('<').find_map(|(at, _)| {
        let here = content.get(at..)?;
        if begins(here, &end) {
            return here.get(1..).map(past_tag);
        }
        // The end of a head may be left out.
        (name == "head" && begins(here, "<body")).then_some(here)
    })
}

/// Whether a tag stands here, in any case.
fn begins(here: &str, tag: &str) -> bool {
    let named = here.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag));
    named
        && !here
            .get(tag.len()..)
            .is_some_and(|rest| rest.starts_with(|next: char| next.is_ascii_alphanumeric()))
}

fn named(name: &str) -> Option<char> {
    let common = NAMES.iter().find(|(known, _)| *known == name).map(|(_, character)| *character);
    let latin = || {
        let place = LATIN.iter().position(|known| *known == name)?;
        char::from_u32(0xa0 + u32::try_from(place).ok()?)
    };
    common.or_else(latin)
}

fn numbered(number: &str) -> Option<char> {
    let code = match number.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => number.parse().ok()?,
    };
    // As browsers do: what ISO 8859-1 has no characters for is what Windows has there.
    if let 0x80..=0x9f = code {
        let octet = [u8::try_from(code).ok()?];
        return crate::charset::decode("windows-1252", &octet)?.chars().next();
    }
    char::from_u32(code).filter(|character| *character != '\0')
}
