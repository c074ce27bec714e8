use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::*;
use crate::{grammar::GrammarError, response::ResponseCode, server::Config};

/// The rows that are about the names of namespaces, which applications give.
const NAMES: [&str; 3] = ["Other Users", "Shared Folders", "Public Folders"];

/// What no client is ever sent: faults of the application, texts about the code, words on the wire.
const NOT_SENT: [&str; 7] = [
    "a stream must be the last item",
    "the request is gone",
    "the response has no items",
    "there is no such URL",
    "SASL response",
    "the mark",
    "expected the URL of a message, such as /INBOX/;UID=20/;SECTION=1.2",
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// What stands before the tests, if these are in the same file.
fn code(source: &str) -> &str {
    let tests = source
        .match_indices("#[cfg(test)]")
        .find(|(at, _)| source[*at..].lines().nth(1).is_some_and(|line| line.ends_with('{')));
    tests.map_or(source, |(at, _)| &source[..at])
}

/// The string literals of a source that are not of its tests, its comments, or reasons of lints; what is put in is `{}`.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in code(source).lines() {
        let line = line.trim_start();
        if line.starts_with("//") || line.contains("reason = \"") {
            continue;
        }
        let mut rest = line;
        while let Some((before, behind)) = rest.split_once('"') {
            // An octet string, or the letter of a quote.
            if before.ends_with("'") && behind.starts_with('\'') {
                rest = &behind[1..];
                continue;
            }
            let mut text = String::new();
            let mut letters = behind.char_indices();
            let end = loop {
                match letters.next() {
                    Some((at, '"')) => break Some(at),
                    Some((_, '\\')) => text.extend(letters.next().map(|(_, letter)| letter)),
                    Some((_, letter)) => text.push(letter),
                    None => break None,
                }
            };
            let Some(end) = end else { break };
            if !before.ends_with('b') {
                found.push(holes(&text));
            }
            rest = &behind[end + 1..];
            if rest.trim_start().starts_with("//") {
                break;
            }
        }
    }
    found
}

fn holes(text: &str) -> String {
    let (mut plain, mut inside) = (String::new(), false);
    for letter in text.chars() {
        match letter {
            '{' => {
                inside = true;
                plain.push_str("{}");
            }
            '}' => inside = false,
            letter if !inside => plain.push(letter),
            _ => {}
        }
    }
    plain
}

/// Whether people are meant to read it, rather than programs: it has a word that begins in lower case.
fn is_text(literal: &str) -> bool {
    let is_word = |word: &str| word.len() > 1 && word.bytes().all(|octet| octet.is_ascii_lowercase());
    literal.split([' ', ',']).any(is_word) && literal.contains(' ')
}

fn all_literals() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for directory in ["src/server", "src/command", "src/grammar"] {
        sources(&root.join(directory), &mut files);
    }
    for file in ["server.rs", "command.rs", "sequence.rs", "refusal.rs", "config.rs"] {
        files.push(root.join("src").join(file));
    }
    for file in ["mailbox/name.rs", "mailbox/utf7.rs", "flag.rs"] {
        files.push(root.join("../mail-model/src").join(file));
    }
    files.iter().flat_map(|file| literals(&fs::read_to_string(file).unwrap())).collect()
}

fn keys() -> BTreeSet<String> {
    let rows = texts::TEXTS.iter().chain(phrases::PHRASES);
    rows.map(|(english, _)| english.replace("{+}", "{}")).collect()
}

/// "RETURN", "SET or NONE", "MIN, MAX, ALL or RELEVANCY": what is left after the row of both is words of the protocol.
fn is_choice(literal: &str) -> bool {
    let words = literal.split(" or ").flat_map(|side| side.split(", "));
    words.into_iter().all(|word| word.bytes().all(|octet| !octet.is_ascii_lowercase() && octet != b' '))
}

/// Whether it is of the form of a row, or one of those that all machines share.
fn is_said(literal: &str) -> bool {
    let sample = literal.replace("{}", "7");
    CATALOGUE.text(Language::German, &sample) != sample
}

#[test]
fn no_text_is_without_a_row() {
    let (literals, keys) = (all_literals(), keys());
    assert!(literals.len() > 200, "{}", literals.len());
    let missing: Vec<_> = literals
        .iter()
        .filter(|literal| is_text(literal) && !is_choice(literal))
        .filter(|literal| {
            !keys.contains(*literal) && !is_said(literal) && !NOT_SENT.contains(&literal.as_str())
        })
        .collect();
    assert!(missing.is_empty(), "not in imap-proto/src/language/: {missing:#?}");
}

#[test]
fn no_row_is_without_a_text() {
    let literals = all_literals();
    let left: Vec<_> = keys()
        .into_iter()
        .filter(|key| !literals.contains(key) && !NAMES.contains(&key.as_str()) && key != "{} or {}")
        .collect();
    assert!(left.is_empty(), "in imap-proto/src/language/ and nowhere else: {left:#?}");
}

#[test]
fn rows_are_whole() {
    let holes = |text: &str| (text.matches("{}").count(), text.matches("{+}").count());
    for (english, others) in texts::TEXTS.iter().chain(phrases::PHRASES) {
        for other in others {
            assert_eq!(holes(other), holes(english), "{other}");
            assert!(
                !other.is_empty() && !other.starts_with('[') && !other.contains(char::is_control),
                "{other}"
            );
            assert_eq!(Text::from(*other).as_str(), *other);
        }
    }
}

#[test]
fn single_words_that_are_expected_are_there() {
    for what in ["numbers", "flags", "entries", "tags", "URLs", "mailboxes", "capabilities"] {
        let text = GrammarError::TooMany { what, limit: 3 }.to_string();
        assert!(CATALOGUE.text(Language::German, &text).starts_with("mehr als 3 "), "{what}");
        assert!(!CATALOGUE.text(Language::Italian, &text).contains(what) || what == "tags" || what == "URLs");
    }
    assert_ne!(CATALOGUE.text(Language::French, Config::default().greeting.as_str()), "ready");
}

#[test]
fn a_status_is_in_its_language_and_its_code_in_none() {
    let status = Status::no("there is no such mailbox").with(ResponseCode::NonExistent);
    let odd = Status::bad("expected SUBSCRIBED, REMOTE or SPECIAL-USE at octet 7");
    let own = Status::no("Fr\u{fc}hst\u{fc}ck");
    for (language, lines) in [
        (
            None,
            [
                "there is no such mailbox",
                "expected SUBSCRIBED, REMOTE or SPECIAL-USE at octet 7",
                "Fr?hst?ck",
            ],
        ),
        (
            Some(Language::English),
            [
                "there is no such mailbox",
                "expected SUBSCRIBED, REMOTE or SPECIAL-USE at octet 7",
                "Frühstück",
            ],
        ),
        (
            Some(Language::German),
            [
                "dieses Postfach gibt es nicht",
                "erwartet: SUBSCRIBED, REMOTE oder SPECIAL-USE, an Oktett 7",
                "Frühstück",
            ],
        ),
        (
            Some(Language::French),
            [
                "cette boîte aux lettres n'existe pas",
                "attendu : SUBSCRIBED, REMOTE ou SPECIAL-USE, à l'octet 7",
                "Frühstück",
            ],
        ),
    ] {
        let [first, second, third] = lines;
        for (status, line) in [
            (&status, format!("a NO [NONEXISTENT] {first}\r\n")),
            (&odd, format!("a BAD {second}\r\n")),
            (&own, format!("a NO {third}\r\n")),
        ] {
            let mut wire = Vec::new();
            Wording(language).put(Some("a"), status, &mut wire);
            assert_eq!(String::from_utf8(wire).unwrap(), line);
        }
    }
}
