//! Every target over its seeds and over mutations of them. `FUZZ_MUTATIONS=100000 FUZZ_SEED=7` looks longer, and at others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use mailwright_fuzz::{TARGETS, Target};

/// Mutations of all the seeds of a target together, if nothing else is said.
const MUTATIONS: u64 = 2000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into())
        .collect()
}

fn seeds(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = root().join("corpus").join(name);
    let mut paths = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .collect::<Vec<_>>();
    paths.sort();
    assert!(!paths.is_empty(), "{name} has no seeds");
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[track_caller]
fn try_on(name: &str, target: Target, data: &[u8], from: &Path) {
    if catch_unwind(AssertUnwindSafe(|| target(data))).is_err() {
        panic!("{name} fails on a mutation of {}: b\"{}\"", from.display(), data.escape_ascii());
    }
}

fn replay(name: &str) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a known target");
    let seeds = seeds(name);
    for data in [&b""[..], b"\0", &[0; 8], &[0xff; 300]] {
        try_on(name, *target, data, Path::new("nothing"));
    }
    let said = |name: &str| std::env::var(name).ok().map(|number| number.parse::<u64>().expect(name));
    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ said("FUZZ_SEED").unwrap_or(0));
    for (path, seed) in &seeds {
        try_on(name, *target, seed, path);
    }
    for round in 0..said("FUZZ_MUTATIONS").unwrap_or(MUTATIONS) {
        let (path, seed) = &seeds[round as usize % seeds.len()];
        let (_, other) = &seeds[random.below(seeds.len())];
        let mutant = random.mutate(seed, other);
        try_on(name, *target, &mutant, path);
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_replayed_seeded_and_wrapped() {
            let replayed = BTreeSet::from([$(stringify!($name).to_owned()),*]);
            let known = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect::<BTreeSet<_>>();
            assert_eq!(replayed, known, "the targets replayed here and those in TARGETS");
            assert_eq!(names(&root().join("corpus")), known, "the directories of seeds");
            assert_eq!(names(&root().join("targets/src/bin")), known, "the binaries for libFuzzer");
            let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
            let untold: Vec<_> = known.iter().filter(|name| !readme.contains(&format!("`{name}`"))).collect();
            assert!(untold.is_empty(), "{untold:?} are not in README.md");
        }
    };
}

replays! {
    auth_client
    auth_proxy
    auth_sasl
    auth_server
    deflate_layer
    frame_dot
    frame_lines
    frame_literal
    imap_client
    imap_command
    imap_server
    imap_url
    managesieve_client
    managesieve_server
    sieve_compare
    sieve_parse
    sieve_run
    model_address
    model_address_list
    model_date
    model_encoding
    model_header
    model_mime
    model_names
    model_parameter
    model_utf7
    model_word
    policy_aliases
    policy_authentication
    policy_files
    policy_names
    policy_records
    policy_report
    policy_senders
    pop3_client
    pop3_server
    smtp_client
    smtp_grammar
    smtp_server
    smtp_seven_bit
    store_maildir
    store_mbox
    store_names
    store_passwd
}

/// xorshift64*: enough to mutate seeds, and the same every time.
struct Random(u64);

/// Octets that mean something in one grammar or another.
const SPECIAL: &[u8] = b"\r\n\0.{}()\"\\*+-=&?;:,<>@ %\t\x7f\x80\xc3\xff0123";

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound.max(1)
    }

    fn mutate(&mut self, seed: &[u8], other: &[u8]) -> Vec<u8> {
        let mut data = seed.to_vec();
        for _ in 0..=self.below(5) {
            let at = self.below(data.len() + 1);
            let end = (at + self.below(30)).min(data.len());
            match self.below(7) {
                0 => data.insert(at, SPECIAL[self.below(SPECIAL.len())]),
                1 => drop(data.drain(at..end)),
                2 => {
                    let piece = data[at..end].to_vec();
                    let times = 1 + self.below(8);
                    data.splice(at..at, piece.repeat(times));
                }
                3 if at < data.len() => data[at] = self.below(256) as u8,
                4 if at < data.len() => data[at] ^= 1 << self.below(8),
                5 => {
                    let from = self.below(other.len() + 1);
                    let piece = &other[from..(from + self.below(40)).min(other.len())];
                    data.splice(at..end, piece.iter().copied());
                }
                _ => data.truncate(at.max(data.len() / 2)),
            }
        }
        data
    }
}
