//! The scores of filters as Pigeonhole finds them in the header (`sieve_spamtest_*`, `sieve_virustest_*`).

use std::collections::BTreeMap;

use mailwright_mail_model::header;
use regex_automata::meta::Regex;

use crate::Score;

const PREFIXES: [&str; 2] = ["sieve_spamtest_", "sieve_virustest_"];

pub(super) fn is_known(name: &str) -> bool {
    let rest = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
    rest.is_some_and(|rest| {
        let text = rest.strip_prefix("text_value").and_then(|number| number.parse::<u8>().ok());
        matches!(rest, "status_type" | "status_header" | "max_header" | "max_value")
            || text.is_some_and(|text| text <= 10)
    })
}

/// Whether the value of one of these settings can be understood.
pub(super) fn is_valid(name: &str, value: &str) -> bool {
    match PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or_default() {
        "status_type" => matches!(value, "score" | "strlen" | "text"),
        "max_value" => number(value).is_some(),
        "status_header" | "max_header" => {
            let (name, expression) = value.split_once(':').unwrap_or((value, ""));
            !name.trim().is_empty() && Regex::new(expression.trim()).is_ok()
        }
        _ => true,
    }
}

/// Whether the settings say where a score is.
pub(super) fn are_set(config: &BTreeMap<String, String>, score: Score) -> bool {
    config.contains_key(&format!("{}status_header", prefix(score)))
}

/// The score of a message: what RFC 5235 §2 has `spamtest` and `virustest` compare; `None` if there is none.
pub(super) fn score(config: &BTreeMap<String, String>, message: &[u8], score: Score) -> Option<String> {
    let setting = |name: &str| config.get(&format!("{}{name}", prefix(score))).map(|value| value.trim());
    let status = found(message, setting("status_header")?)?;
    let (best, worst) = match score {
        Score::SpamPercent => (0.0, 100.0),
        Score::Virus => (1.0, 5.0),
        Score::Spam => (1.0, 10.0),
    };
    let part = match setting("status_type").unwrap_or("score") {
        "text" => {
            let most = if score == Score::Virus { 5 } else { 10 };
            let number =
                (0..=most).find(|number| setting(&format!("text_value{number}")) == Some(&*status))?;
            if number == 0 {
                return None;
            }
            f64::from(number - 1) / f64::from(most - 1)
        }
        kind => {
            let value = if kind == "strlen" { status.len() as f64 } else { number(&status)? };
            let most = match setting("max_header") {
                Some(place) => number(&found(message, place)?)?,
                None => number(setting("max_value")?)?,
            };
            if most > 0.0 { (value / most).clamp(0.0, 1.0) } else { return None }
        }
    };
    // What does not divide evenly is rounded down, but not what is a hair below a whole number.
    let score = (part * (worst - best) + best + 0.001).floor();
    Some(format!("{score}"))
}

const fn prefix(score: Score) -> &'static str {
    match score {
        Score::Spam | Score::SpamPercent => "sieve_spamtest_",
        Score::Virus => "sieve_virustest_",
    }
}

/// What `field`, or `field: expression` with one group, finds in a header.
fn found(message: &[u8], place: &str) -> Option<String> {
    let (name, expression) = place.split_once(':').unwrap_or((place, ""));
    let value = String::from_utf8_lossy(&header::find(message, name.trim())?.text()).trim().to_owned();
    if expression.trim().is_empty() {
        return Some(value);
    }
    let regex = Regex::new(expression.trim()).ok()?;
    let mut captures = regex.create_captures();
    regex.captures(&value, &mut captures);
    captures.get_group(1).and_then(|span| value.get(span.range())).map(str::to_owned)
}

/// A number with perhaps a sign and a fraction.
fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}
