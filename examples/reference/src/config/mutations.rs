//! Whatever stands in a configuration file, it is read or refused, and what is read is written so that the same is read again.

use super::*;

/// xorshift64*: enough to damage a file, and the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound.max(1)
    }
}

const PIECES: &[&str] = &[
    "\"",
    "''",
    "[",
    "]",
    "{",
    "}",
    "=",
    "\n",
    "#",
    "-1",
    "0",
    "99999999999999999999",
    "1e9",
    "true",
    "\"\\u0000\"",
    "\"30d\"",
    "\"10G\"",
    "\"0.0.0.0/0\"",
    "\"[::1]:25\"",
    "\"/\"",
    "[[",
    "]]",
    "nan",
    "1979-05-27",
    "\u{e4}",
    "\u{0}",
    "\"\"\"",
    "data = 1",
];

/// A section of the commented default, with the keys that are comments there set free.
fn sections() -> Vec<String> {
    let free = |line: &str| {
        let key = line.strip_prefix("# ").filter(|rest| {
            rest.split_once(" = ")
                .is_some_and(|(key, _)| key.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_'))
                || rest.starts_with('[')
        });
        key.unwrap_or(line).to_owned()
    };
    let mut sections: Vec<Vec<String>> = vec![Vec::new()];
    for line in DEFAULT.lines().map(free).filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if line.starts_with('[') {
            sections.push(Vec::new());
        }
        let section = sections.last_mut().unwrap();
        // An example of a key may stand above the key itself.
        let key = line.split(" = ").next().unwrap().to_owned() + " = ";
        section.retain(|other| !other.starts_with(&key));
        section.push(line + "\n");
    }
    sections.into_iter().map(|section| section.concat()).collect()
}

#[test]
fn any_text_is_a_configuration_or_is_refused() {
    let sections = sections();
    assert!(sections.len() > 20, "{sections:?}");
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut read, mut refused) = (0, 0);
    for round in 0..3_000 {
        let mut letters: Vec<char> = sections[round % sections.len()].chars().collect();
        for _ in 0..random.below(4) {
            let at = random.below(letters.len() + 1);
            let end = (at + random.below(12)).min(letters.len());
            match random.below(4) {
                0 => drop(letters.drain(at..end)),
                1 => drop(letters.splice(at..at, PIECES[random.below(PIECES.len())].chars())),
                2 => drop(letters.splice(at..end, PIECES[random.below(PIECES.len())].chars())),
                _ => {
                    let other = &sections[random.below(sections.len())];
                    let line = other.lines().nth(random.below(8)).unwrap_or_default();
                    drop(letters.splice(at..at, format!("\n{line}\n").chars()));
                }
            }
        }
        let text: String = letters.into_iter().collect();
        match toml::from_str::<Config>(&text) {
            Err(error) => {
                assert!(!error.to_string().is_empty(), "{text}");
                refused += 1;
            }
            Ok(config) => {
                let written = toml::to_string(&config).unwrap_or_else(|error| panic!("{error}: {text}"));
                assert_eq!(toml::from_str::<Config>(&written).as_ref(), Ok(&config), "{text}");
                // What cannot be used is told, in words.
                assert!(config.problems().iter().all(|problem| problem.len() > 10), "{text}");
                read += 1;
            }
        }
    }
    assert!(read > 300 && refused > 300, "{read} read, {refused} refused");
}
