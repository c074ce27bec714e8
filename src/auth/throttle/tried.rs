//! Which names were tried.

/// How many of them are told.
const MOST: usize = 5;
/// How many characters of each.
const LONGEST: usize = 64;

/// The last names that failed in one place, so that an administrator can tell a guesser from a program with an old password.
#[derive(Debug, Default)]
pub(super) struct Tried(Vec<Box<str>>);

impl Tried {
    /// Another failure, of this name; of none if it is empty.
    pub(super) fn add(&mut self, user: &str) {
        if user.is_empty() {
            return;
        }
        // It is shown on terminals.
        let shown = |character: char| if character.is_control() { '\u{fffd}' } else { character };
        let name: String = user.chars().take(LONGEST).map(shown).collect();
        self.0.retain(|other| **other != *name);
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(name.into_boxed_str());
    }

    /// The last of them behind the others.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(|name| String::from(&**name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_names_are_known_and_no_more_than_a_few() {
        let mut tried = Tried::default();
        for name in ["a", "b", "a", "", "c", "d", "e", "\u{1b}[2J", &"x".repeat(1_000)] {
            tried.add(name);
        }
        assert_eq!(tried.names(), ["c", "d", "e", "\u{fffd}[2J", &"x".repeat(LONGEST)]);
        tried.add("d");
        assert_eq!(tried.names()[3..], ["x".repeat(LONGEST), "d".to_owned()]);
    }
}
