//! The rules of the house that a program can check.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::Value;

/// For each package of the family: the packages of the family it may depend on, and the outside ones it may not do
/// without being asked here first. Development dependencies are free, except for the reference server.
const ALLOWED: &[(&str, &[&str], &[&str])] = &[
    (
        "mail-model",
        &[],
        &[
            "base64",
            "bytes",
            "encoding_rs",
            "idna",
            "memchr",
            "nom",
            "smol_str",
            "thiserror",
            "unicode-normalization",
        ],
    ),
    (
        "line-proto",
        &[],
        &[
            "base64",
            "bytes",
            "flate2",
            "md-5",
            "memchr",
            "nom",
            "ppp",
            "ring",
            "rustls",
            "stringprep",
            "subtle",
            "thiserror",
            "zeroize",
        ],
    ),
    ("smtp-proto", &["line-proto", "mail-model"], PROTOCOL),
    ("imap-proto", &["line-proto", "mail-model"], PROTOCOL),
    ("pop3-proto", &["line-proto", "mail-model"], PROTOCOL),
    (
        "sieve",
        &["line-proto", "mail-model"],
        &[
            "base64",
            "bytes",
            "clap",
            "memchr",
            "nom",
            "regex-automata",
            "regex-syntax",
            "smol_str",
            "thiserror",
        ],
    ),
    (
        "mailstore",
        &["mail-model"],
        &[
            // For mail encrypted at rest (docs/decisions/0004-encryption-at-rest.md).
            "argon2",
            "bytes",
            "crc32fast",
            "fjall",
            "hpke",
            "ring",
            "rustix",
            "stringprep",
            // For the index of texts, which is off by default.
            "tantivy",
            "thiserror",
            "xxhash-rust",
            "zeroize",
            "zstd",
        ],
    ),
    (
        "relay-policy",
        &["line-proto", "mail-model", "smtp-proto"],
        &["base64", "bytes", "hickory-proto", "memchr", "ring", "thiserror"],
    ),
];

/// What a protocol crate may use from outside.
const PROTOCOL: &[&str] = &["base64", "bytes", "memchr", "nom", "smol_str", "thiserror"];

/// The packages that may know tokio: the drivers, the reference server, and what measures them.
const TOKIO: &[&str] = &["mailwright", "mailwright-reference", "mailwright-benches"];

#[test]
fn dependencies_point_down_only() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed: BTreeMap<_, _> = ALLOWED
        .iter()
        .map(|(name, family, outside)| (format!("mailwright-{name}"), (*family, *outside)))
        .collect();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            let kind = dependency["kind"].as_str().unwrap_or("normal");
            if on == "mailwright-reference" {
                wrong.push(format!("{name} depends on the reference server"));
            }
            if kind == "dev" {
                continue;
            }
            if on.starts_with("tokio") && !TOKIO.contains(&name) {
                wrong.push(format!("{name} depends on {on}, which only the drivers may know"));
            }
            let Some((family, outside)) = allowed.get(name) else { continue };
            seen += 1;
            let fits = match on.strip_prefix("mailwright-") {
                Some(member) => family.contains(&member),
                None => outside.contains(&on),
            };
            if !fits {
                wrong.push(format!(
                    "{name} depends on {on}, an edge that is not in the table of tests/tidy.rs"
                ));
            }
        }
    }
    assert!(seen > ALLOWED.len(), "the table names no package that exists");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Above this a file is split by what it is about, unless it is a table or test data.
const LONGEST_FILE: usize = 500;

#[test]
fn files_can_be_read_in_a_sitting() {
    let mut long = Vec::new();
    visit(Path::new(env!("CARGO_MANIFEST_DIR")), &mut |path, text| {
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            long.push(format!("{} has {lines} lines", path.display()));
        }
    });
    assert!(long.is_empty(), "longer than {LONGEST_FILE} lines:\n{}", long.join("\n"));
}

#[test]
fn nothing_is_left_for_later_without_an_issue() {
    let marks =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!(")];
    let mut found = Vec::new();
    visit(Path::new(env!("CARGO_MANIFEST_DIR")), &mut |path, text| {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    });
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn visit(folder: &Path, check: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "mailwright-data" {
            visit(&path, check);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            check(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}
