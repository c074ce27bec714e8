//! The texts for people in the languages that the server speaks (RFC 5255 §3).

mod phrases;
mod texts;

use mailwright_line_proto::{Language, language::Catalogue};

use crate::{
    grammar::Wire,
    response::{Namespaces, Status, Text},
};

/// What the machine says, and what that is in other languages.
static CATALOGUE: Catalogue = Catalogue { texts: texts::TEXTS, phrases: phrases::PHRASES };

/// The language of a session's texts: until the client chooses one, `i-default`, which is English in ASCII (RFC 2277 §4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wording(pub(crate) Option<Language>);

impl Wording {
    /// Writes the line with its tag, or with `*`.
    pub(crate) fn put(self, tag: Option<&str>, status: &Status, wire: &mut impl Wire) {
        let Some(language) = self.0 else { return status.encode(tag, wire) };
        let text = CATALOGUE.text(language, status.text.as_str()).into_owned();
        let status = Status { text: Text::from(text), kind: status.kind, code: status.code.clone() };
        // RFC 5255 §3.5: text is UTF-8 from then on.
        status.encode_utf8(tag, wire);
    }

    /// Says what the prefixes are called that have a name in this language (RFC 5255 §3.4). Whether one has.
    pub(crate) fn translate(self, namespaces: &mut Namespaces) -> bool {
        let Some(language) = self.0 else { return false };
        let all = [&mut namespaces.personal, &mut namespaces.other_users, &mut namespaces.shared];
        let mut any = false;
        for namespace in all.into_iter().flatten() {
            if namespace.translation.is_none() {
                let name = namespace.prefix.strip_suffix(|letter| Some(letter) == namespace.delimiter);
                let translated = name.map(|name| (name, CATALOGUE.phrase(language, name)));
                namespace.translation = match (translated, namespace.delimiter) {
                    (Some((name, translated)), Some(delimiter)) if translated != name => {
                        Some(format!("{translated}{delimiter}"))
                    }
                    _ => None,
                };
            }
            any |= namespace.translation.is_some();
        }
        any
    }
}

#[cfg(test)]
mod tests;
