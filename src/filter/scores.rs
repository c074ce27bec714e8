//! What spam filters and virus scanners wrote into the header, as scripts are told it (RFC 5235).

use mailwright_mail_model::header;
use mailwright_sieve::Score;

/// A field with the score of a spam filter: a number, or as many stars. Whatever is in front of this server must take out
/// what senders put there themselves.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SpamField {
    /// The field's name, such as `X-Spam-Score`.
    pub name: String,
    /// The score from which on a message is certainly spam.
    pub worst: f64,
}

impl SpamField {
    /// A field; `worst` ought to be greater than 0.
    pub fn new(name: impl Into<String>, worst: f64) -> Self {
        Self { name: name.into(), worst }
    }

    /// How much of the worst, from 0 to 1; `None` if the field is not there or has no number.
    fn part(&self, header: &[u8]) -> Option<f64> {
        let field = header::find(header, &self.name)?;
        let text = String::from_utf8_lossy(&field.text()).trim().to_owned();
        let stars = text.bytes().take_while(|octet| *octet == b'*').count();
        let is_number = |letter: &char| letter.is_ascii_digit() || matches!(letter, '.' | '-' | '+');
        let number: String =
            text.chars().skip_while(|letter| !is_number(letter)).take_while(is_number).collect();
        let score =
            if stars > 0 { u32::try_from(stars).map_or(f64::MAX, f64::from) } else { number.parse().ok()? };
        Some((score / self.worst).clamp(0.0, 1.0)).filter(|part| !part.is_nan())
    }
}

/// A field with the result of a virus scanner.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VirusField {
    /// The field's name, such as `X-Virus-Status`.
    pub name: String,
    /// What its text begins with if nothing was found, case apart.
    pub clean: String,
}

impl VirusField {
    /// A field.
    pub fn new(name: impl Into<String>, clean: impl Into<String>) -> Self {
        Self { name: name.into(), clean: clean.into() }
    }
}

/// The score as RFC 5235 has it; `None` if nobody looked.
pub(super) fn score(
    spam: Option<&SpamField>,
    virus: Option<&VirusField>,
    score: Score,
    header: &[u8],
) -> Option<String> {
    match score {
        // RFC 5235 §2.1.1: 1 to 10; RFC 5235 §2.1.2: 0 to 100.
        Score::Spam => spam?.part(header).map(|part| format!("{:.0}", 1.0 + part * 9.0)),
        Score::SpamPercent => spam?.part(header).map(|part| format!("{:.0}", part * 100.0)),
        Score::Virus => {
            let virus = virus?;
            let field = header::find(header, &virus.name)?;
            let text = String::from_utf8_lossy(&field.text()).trim().to_ascii_lowercase();
            // RFC 5235 §2.2: 1 for nothing found, 5 for a message that is not to be trusted.
            let clean = text.starts_with(&virus.clean.to_ascii_lowercase());
            Some(if clean { "1" } else { "5" }.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_rfc() {
        let spam = SpamField::new("X-Spam-Score", 10.0);
        let of = |header: &str, wanted| score(Some(&spam), None, wanted, header.as_bytes());
        for (value, scaled, percent) in [
            ("-2.5", "1", "0"),
            ("0", "1", "0"),
            ("5.0 / 15", "6", "50"),
            ("10", "10", "100"),
            ("99", "10", "100"),
            ("***", "4", "30"),
            ("score=7.5 required=5", "8", "75"),
        ] {
            let header = format!("Subject: x\r\nX-Spam-Score: {value}\r\n\r\n");
            assert_eq!(of(&header, Score::Spam).as_deref(), Some(scaled), "{value}");
            assert_eq!(of(&header, Score::SpamPercent).as_deref(), Some(percent), "{value}");
        }
        assert_eq!(of("X-Spam-Score: none\r\n\r\n", Score::Spam), None);
        assert_eq!(of("Subject: 7\r\n\r\n", Score::Spam), None);
    }

    #[test]
    fn a_virus_is_found_or_not() {
        let virus = VirusField::new("X-Virus", "clean");
        let of = |header: &str| score(None, Some(&virus), Score::Virus, header.as_bytes());
        assert_eq!(of("X-Virus: Clean (all)\r\n\r\n").as_deref(), Some("1"));
        assert_eq!(of("X-Virus: Eicar\r\n\r\n").as_deref(), Some("5"));
        assert_eq!(of("Subject: x\r\n\r\n"), None);
    }
}
