//! The commands, or the tests, of a language by their names. Each command of each script is looked up here.

use std::borrow::Cow;

use super::Known;

/// What is known by each name.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    all: Vec<(Cow<'static, str>, Vec<Known>)>,
    /// Where in that list a name is, counted from 1, at the place that its letters tell or behind it; 0 where nothing is. At least half of
    /// them are that, and their number is a power of two.
    places: Vec<u32>,
}

/// Of a name its length and three of its letters, which few names have in common. What is in the tables is the language's own, so that nobody
/// can choose names that collide.
fn place(name: &str, places: usize) -> usize {
    let octets = name.as_bytes();
    let octet = |at: usize| octets.get(at).copied().unwrap_or_default();
    let mark = [
        octets.len().to_le_bytes()[0],
        octet(0),
        octet(octets.len() / 2),
        octet(octets.len().wrapping_sub(1)),
    ];
    // 2^32 by the golden ratio: the upper half depends on all of them.
    let spread = u32::from_le_bytes(mark).wrapping_mul(0x9E37_79B9) >> 16;
    spread as usize & places.wrapping_sub(1)
}

impl Names {
    /// What is known by a name.
    pub(super) fn get(&self, name: &str) -> &[Known] {
        let mut at = place(name, self.places.len());
        while let Some(number) = self.places.get(at).filter(|number| **number > 0) {
            match self.all.get(*number as usize - 1) {
                Some((known, definitions)) if *known == name => return definitions,
                _ => at = (at + 1) & self.places.len().wrapping_sub(1),
            }
        }
        &[]
    }

    /// All that is known.
    pub(super) fn known(&mut self) -> impl Iterator<Item = &mut Known> {
        self.all.iter_mut().flat_map(|(_, known)| known)
    }

    /// One more by that name.
    pub(super) fn push(&mut self, name: Cow<'static, str>, known: Known) {
        match self.all.iter_mut().find(|(other, _)| *other == name) {
            Some((_, all)) => all.push(known),
            None => {
                self.all.push((name, vec![known]));
                self.arrange();
            }
        }
    }

    /// Keeps what is to be kept.
    pub(super) fn retain(&mut self, stays: impl Fn(&Known) -> bool) {
        self.all.iter_mut().for_each(|(_, known)| known.retain(&stays));
        self.all.retain(|(_, known)| !known.is_empty());
        self.arrange();
    }

    fn arrange(&mut self) {
        let length = (self.all.len() * 4).next_power_of_two();
        self.places = vec![0; length];
        for ((name, _), number) in self.all.iter().zip(1..) {
            let mut at = place(name, length);
            while self.places.get(at).is_some_and(|taken| *taken > 0) {
                at = (at + 1) & (length - 1);
            }
            if let Some(place) = self.places.get_mut(at) {
                *place = number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Definition, Extension, Flow, Language};

    #[test]
    fn every_name_is_found_and_no_other() {
        let names: Vec<String> = (0..500).map(|n| format!("c{}o{n}x", n % 7)).collect();
        let mut extension = Extension::new("vnd.example.many");
        for name in &names {
            extension = extension.command(Definition::command(name.clone(), |_, _| Ok(Flow::Next)));
        }
        assert!(Language::default().command("keep").is_empty());
        let language = Language::standard().with(extension);
        for name in &names {
            let known = language.command(name);
            assert!(known.len() == 1 && known[0].definition.name == *name, "{name}");
            assert!(language.test(name).is_empty() && language.command(&format!("{name}x")).is_empty());
        }
        assert!(language.command("").is_empty() && language.command("kexp").is_empty());
        let fewer = language.without("vnd.example.many");
        assert!(names.iter().all(|name| fewer.command(name).is_empty()));
        assert!(["keep", "if", "fileinto", "vacation"].iter().all(|name| fewer.command(name).len() == 1));
        assert!(["header", "not", "hasflag"].iter().all(|name| fewer.test(name).len() == 1));
    }
}
