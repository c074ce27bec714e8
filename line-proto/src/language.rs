//! The languages of the texts for people, and the catalogues of what these are in each.
//!
//! A machine makes its texts in English. What it sends to a peer that chose another language (RFC 5255 §3, RFC 6856 §3) is looked
//! up by the English text on its way out, so that codes and numbers are made in one place and stay what they are. A text that
//! is in no catalogue was made by the application, which knows best, and goes as it is.

use std::borrow::Cow;

/// A language that the machines of this family speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Language {
    /// English, which all texts are made in.
    #[default]
    English,
    /// German.
    German,
    /// French.
    French,
    /// Spanish.
    Spanish,
    /// Italian.
    Italian,
}

impl Language {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::English, Self::German, Self::French, Self::Spanish, Self::Italian];

    /// Its tag (RFC 5646).
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
            Self::Spanish => "es",
            Self::Italian => "it",
        }
    }

    /// What it is called, in itself.
    pub const fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::German => "Deutsch",
            Self::French => "fran\u{e7}ais",
            Self::Spanish => "espa\u{f1}ol",
            Self::Italian => "italiano",
        }
    }

    /// The language of this tag, in any case of its letters.
    pub fn from_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.tag().eq_ignore_ascii_case(tag))
    }

    /// The language that is meant by a range: itself, or what is left of it when it is made shorter (RFC 4647 §3.4).
    pub fn lookup(range: &str) -> Option<Self> {
        let mut ranges =
            std::iter::successors(Some(range), |range| range.rsplit_once('-').map(|(shorter, _)| shorter));
        ranges.find_map(Self::from_tag)
    }

    /// The column of a catalogue that it has; English has none.
    const fn column(self) -> Option<usize> {
        match self {
            Self::English => None,
            Self::German => Some(0),
            Self::French => Some(1),
            Self::Spanish => Some(2),
            Self::Italian => Some(3),
        }
    }
}

/// A text in English, and in the other languages in the order of [`Language::ALL`].
///
/// `{}` stands for what is put in as it is, `{+}` for one of the [phrases](Catalogue::phrases); they stand in the same order in
/// all languages.
pub type Row = (&'static str, [&'static str; 4]);

/// Texts and what they are in all languages.
#[derive(Debug, Clone, Copy)]
pub struct Catalogue {
    /// Whole texts.
    pub texts: &'static [Row],
    /// What is part of others.
    pub phrases: &'static [Row],
}

impl Catalogue {
    /// A text in this language; as it is, if it is in English or not known.
    pub fn text<'a>(&self, language: Language, text: &'a str) -> Cow<'a, str> {
        let Some(column) = language.column() else { return Cow::Borrowed(text) };
        let found = self.find(self.texts, column, text).or_else(|| self.find(LOGINS, column, text));
        found.map_or(Cow::Borrowed(text), Cow::Owned)
    }

    /// A phrase in this language, in the same way.
    pub fn phrase<'a>(&self, language: Language, phrase: &'a str) -> Cow<'a, str> {
        let found = language.column().and_then(|column| self.find(self.phrases, column, phrase));
        found.map_or(Cow::Borrowed(phrase), Cow::Owned)
    }

    fn find(&self, rows: &[Row], column: usize, text: &str) -> Option<String> {
        let exact = rows.iter().find(|(english, _)| *english == text);
        if let Some((_, others)) = exact {
            return others.get(column).map(|&other| other.to_owned());
        }
        rows.iter().filter(|(english, _)| english.contains('{')).find_map(|(english, others)| {
            let held = captures(english, text)?;
            Some(self.fill(others.get(column)?, &held, column))
        })
    }

    /// Puts what was captured in the place of the marks.
    fn fill(&self, form: &str, held: &[&str], column: usize) -> String {
        let mut filled = String::new();
        let mut held = held.iter();
        let mut rest = form;
        while let Some((before, mark, behind)) = next_mark(rest) {
            filled.push_str(before);
            let piece = held.next().copied().unwrap_or_default();
            match mark {
                Mark::AsIs => filled.push_str(piece),
                Mark::Phrase => match self.find(self.phrases, column, piece) {
                    Some(phrase) => filled.push_str(&phrase),
                    None => filled.push_str(piece),
                },
            }
            rest = behind;
        }
        filled + rest
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    AsIs,
    Phrase,
}

/// What stands before the first mark, which it is, and what stands behind.
fn next_mark(form: &str) -> Option<(&str, Mark, &str)> {
    let (before, rest) = form.split_once('{')?;
    if let Some(behind) = rest.strip_prefix('}') {
        return Some((before, Mark::AsIs, behind));
    }
    rest.strip_prefix("+}").map(|behind| (before, Mark::Phrase, behind))
}

/// What stands in a text where a form has its marks; `None` if it is not of this form.
fn captures<'a>(form: &str, text: &'a str) -> Option<Vec<&'a str>> {
    let (before, _, mut behind) = next_mark(form)?;
    let mut rest = text.strip_prefix(before)?;
    let mut held = Vec::new();
    loop {
        let (literal, more) = match next_mark(behind) {
            Some((literal, _, more)) => (literal, Some(more)),
            None => (behind, None),
        };
        let Some(more) = more else {
            let last = rest.strip_suffix(literal)?;
            held.push(last);
            return (!last.is_empty()).then_some(held);
        };
        let (piece, after) = rest.split_once(literal)?;
        if piece.is_empty() {
            return None;
        }
        held.push(piece);
        (rest, behind) = (after, more);
    }
}

/// What [`AuthRefusal`](crate::AuthRefusal) says.
#[rustfmt::skip]
static LOGINS: &[Row] = &[
    ("authentication failed", ["Anmeldung fehlgeschlagen", "échec de l'authentification", "error de autenticación", "autenticazione non riuscita"]),
    ("malformed authentication response", ["fehlerhafte Antwort bei der Anmeldung", "réponse d'authentification mal formée", "respuesta de autenticación mal formada", "risposta di autenticazione non valida"]),
    ("authentication mechanism not supported", ["dieses Anmeldeverfahren wird nicht unterstützt", "mécanisme d'authentification non pris en charge", "mecanismo de autenticación no admitido", "meccanismo di autenticazione non supportato"]),
    ("TLS is required before authentication", ["vor der Anmeldung ist TLS erforderlich", "TLS est requis avant l'authentification", "se requiere TLS antes de la autenticación", "TLS è richiesto prima dell'autenticazione"]),
    ("not authorized", ["nicht berechtigt", "non autorisé", "no autorizado", "non autorizzato"]),
    ("credentials expired", ["die Zugangsdaten sind abgelaufen", "les identifiants ont expiré", "las credenciales han caducado", "le credenziali sono scadute"]),
    ("too many sessions; try again later", ["zu viele Sitzungen; bitte später erneut versuchen", "trop de sessions ; réessayez plus tard", "demasiadas sesiones; inténtelo más tarde", "troppe sessioni; riprovare più tardi"]),
    ("temporary authentication failure; try again later", ["die Anmeldung ist vorübergehend nicht möglich; bitte später erneut versuchen", "échec temporaire de l'authentification ; réessayez plus tard", "error temporal de autenticación; inténtelo más tarde", "errore temporaneo di autenticazione; riprovare più tardi"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AuthRefusal;

    static CATALOGUE: Catalogue = Catalogue {
        texts: &[
            ("{} completed", ["{} ausgeführt", "{} terminé", "{} completado", "{} completato"]),
            ("expected {+} at octet {}", ["erwartet: {+}, an Oktett {}", "F {+} {}", "S {+} {}", "I {+} {}"]),
        ],
        phrases: &[("a tag", ["ein Tag", "f", "s", "i"]), ("{} or {}", ["{} oder {}", "f", "s", "i"])],
    };

    #[test]
    fn ranges_become_shorter_until_they_are_known() {
        for (range, language) in [
            ("EN", Some("en")),
            ("en-CA-x-y", Some("en")),
            ("de-CH", Some("de")),
            ("De", Some("de")),
            ("it-*", Some("it")),
            ("mul", None),
            ("enx", None),
            ("x-en", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(Language::lookup(range).map(Language::tag), language, "{range}");
        }
    }

    #[test]
    fn texts_are_found_with_what_is_put_in() {
        for (english, german) in [
            ("UID FETCH completed", "UID FETCH ausgeführt"),
            ("expected a tag at octet 0", "erwartet: ein Tag, an Oktett 0"),
            ("expected TEXT or URL at octet 12", "erwartet: TEXT oder URL, an Oktett 12"),
            ("expected DONE at octet 1", "erwartet: DONE, an Oktett 1"),
            ("authentication failed", "Anmeldung fehlgeschlagen"),
            ("expected  at octet 1", "expected  at octet 1"),
            ("completed", "completed"),
            (" completed", " completed"),
            ("what the store says", "what the store says"),
            ("a tag", "a tag"),
        ] {
            assert_eq!(CATALOGUE.text(Language::German, english), german);
            assert_eq!(CATALOGUE.text(Language::English, english), english);
        }
        assert_eq!(CATALOGUE.phrase(Language::German, "a tag"), "ein Tag");
        assert_eq!(CATALOGUE.phrase(Language::German, "a bag"), "a bag");
    }

    #[test]
    fn every_refusal_of_a_login_is_there() {
        for refusal in [
            AuthRefusal::Credentials,
            AuthRefusal::Malformed,
            AuthRefusal::Mechanism,
            AuthRefusal::NeedsTls,
            AuthRefusal::NotAuthorized,
            AuthRefusal::Expired,
            AuthRefusal::Busy,
            AuthRefusal::Unavailable,
        ] {
            let english = refusal.to_string();
            for language in Language::ALL.into_iter().filter(|language| *language != Language::English) {
                assert_ne!(CATALOGUE.text(language, &english), english, "{language:?}");
            }
        }
    }
}
