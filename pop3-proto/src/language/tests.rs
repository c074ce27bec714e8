use std::{fs, path::Path};

use mailwright_line_proto::Language;

use super::*;
use crate::{Refusal, command::TABLE};

/// What is not sent by itself, or before a language is chosen, or not for people: kinds of secrets in the trace, faults of the application, reasons of lints.
const NOT_SENT: [&str; 13] = [
    "POP3 server ready",
    "after login",
    "before login",
    "SASL response",
    "SASL challenge",
    "over-long SASL response",
    "over-long line",
    "a maildrop's unique ids have at most 4 GiB together",
    "a unique id has 1 to 70 characters from ! to ~, not {0:?}",
    "{} is not allowed {when}",
    "expected {}{}",
    "maildrop has {totals}",
    "maildrop has {}",
];

/// The literals that have a word in lower case and a space, but for tests, comments and reasons.
fn texts(file: &Path) -> Vec<String> {
    let source = fs::read_to_string(file).unwrap();
    let code = source.split("#[cfg(test)]").next().unwrap().to_owned();
    let lines =
        code.lines().filter(|line| !line.trim_start().starts_with("//") && !line.contains("reason = \""));
    let mut found = Vec::new();
    for line in lines {
        for text in line.split('"').skip(1).step_by(2) {
            let is_word = |word: &str| word.len() > 1 && word.bytes().all(|octet| octet.is_ascii_lowercase());
            if text.split([' ', ',']).any(is_word) && text.contains(' ') && !text.starts_with(['+', '-', ' '])
            {
                found.push(text.to_owned());
            }
        }
    }
    found
}

fn is_translated(text: &str) -> bool {
    let sample =
        text.replace("{row.verb}", "7").replace("{range}", "7").replace("{plural}", "s").replace("{}", "7");
    CATALOGUE.text(Language::German, &sample) != sample
        && CATALOGUE.text(Language::Spanish, &sample) != sample
}

#[test]
fn no_text_is_without_a_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![root.join("server.rs"), root.join("reply.rs"), root.join("command/stat.rs")];
    files.extend(fs::read_dir(root.join("server")).unwrap().map(|entry| entry.unwrap().path()));
    let all: Vec<String> = files.iter().flat_map(|file| texts(file)).collect();
    assert!(all.len() > 30, "{}", all.len());
    let missing: Vec<_> =
        all.iter().filter(|text| !is_translated(text) && !NOT_SENT.contains(&text.as_str())).collect();
    assert!(missing.is_empty(), "not in pop3-proto/src/language.rs: {missing:#?}");
}

#[test]
fn every_command_can_be_expected() {
    for row in TABLE.iter().filter(|row| !row.arguments.is_empty()) {
        let phrase = format!("{}{}", row.verb, row.arguments);
        assert_ne!(CATALOGUE.phrase(Language::German, &phrase), phrase);
    }
    for refusal in [Refusal::in_use(), Refusal::temporary(), Refusal::permanent(), Refusal::login_delay()] {
        assert!(is_translated(refusal.text().as_str()), "{refusal}");
    }
}

#[test]
fn rows_are_whole() {
    let holes = |text: &str| (text.matches("{}").count(), text.matches("{+}").count());
    for (english, others) in TEXTS.iter().chain(PHRASES) {
        for other in others {
            assert_eq!(holes(other), holes(english), "{other}");
            // RFC 2449 §4: a code is in brackets.
            assert!(!other.is_empty() && !other.starts_with('[') && other.len() < 200, "{other}");
        }
    }
}
