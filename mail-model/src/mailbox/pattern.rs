//! The patterns of LIST, matched in time bounded by pattern and name whatever their wildcards.

use super::MailboxName;

/// A pattern of mailbox names: `*` stands for anything, `%` for anything but the separator (RFC 9051 §6.3.9).
///
/// Matching runs all ways through the pattern side by side, sixty-four a step, so `%*%*%*…` costs no
/// more than any other pattern of its length. `INBOX` matches in any case, at the first level only.
///
/// ```
/// use mailwright_mail_model::{MailboxName, MailboxPattern};
///
/// let pattern = MailboxPattern::new("inbox/%");
/// assert!(pattern.matches(&MailboxName::new("INBOX/a")?));
/// assert!(!pattern.matches(&MailboxName::new("INBOX/a/b")?));
/// # Ok::<(), mailwright_mail_model::MailboxNameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxPattern {
    /// `None` if the pattern has more to match than a name can be long.
    tokens: Option<Tokens>,
}

impl MailboxPattern {
    /// The pattern of this text (the reference name and the pattern of LIST put together), in UTF-8.
    pub fn new(pattern: &str) -> Self {
        let literals = pattern.bytes().filter(|byte| !matches!(byte, b'*' | b'%')).count();
        Self { tokens: (literals <= MailboxName::MAX_OCTETS).then(|| Tokens::new(pattern)) }
    }

    /// Whether the whole of `name` matches.
    pub fn matches(&self, name: &MailboxName) -> bool {
        self.tokens.as_ref().is_some_and(|tokens| tokens.matches(name))
    }
}

/// The pattern as an automaton. State `i` means "the tokens before `i` are matched"; each set of states
/// is a row of bits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tokens {
    /// For each octet of the pattern, ascending, the states in which it is the next token.
    literals: Vec<(u8, Row)>,
    /// The states in which the next token is `*`, and those in which it is `*` or `%`.
    stars: Row,
    wildcards: Row,
    /// How many tokens there are, so also the number of the state of success.
    count: usize,
}

impl Tokens {
    fn new(pattern: &str) -> Self {
        let tokens = collapse(pattern.as_bytes());
        let row = |wanted: &dyn Fn(u8) -> bool| {
            let mut row = Row::new(tokens.len());
            tokens
                .iter()
                .enumerate()
                .filter(|(_, token)| wanted(**token))
                .for_each(|(state, _)| row.set(state));
            row
        };
        let mut octets: Vec<u8> =
            tokens.iter().copied().filter(|token| !matches!(token, b'*' | b'%')).collect();
        octets.sort_unstable();
        octets.dedup();
        Self {
            literals: octets.into_iter().map(|octet| (octet, row(&|token| token == octet))).collect(),
            stars: row(&|token| token == b'*'),
            wildcards: row(&|token| matches!(token, b'*' | b'%')),
            count: tokens.len(),
        }
    }

    fn matches(&self, name: &MailboxName) -> bool {
        let mut states = Row::new(self.count);
        states.set(0);
        states.shift_from(&self.wildcards);
        // RFC 9051 §6.3.9: INBOX is listed if it matches without regard to case.
        let mut caseless = if name.levels().next() == Some("INBOX") { "INBOX".len() } else { 0 };
        let mut next = Row::new(self.count);
        for octet in name.as_str().bytes() {
            next.clear();
            next.advance(&states, self.literal(octet));
            if caseless > 0 {
                next.advance(&states, self.literal(octet.to_ascii_lowercase()));
                caseless -= 1;
            }
            next.keep(&states, if octet == b'/' { &self.stars } else { &self.wildcards });
            next.shift_from(&self.wildcards);
            std::mem::swap(&mut states, &mut next);
            if states.is_empty() {
                return false;
            }
        }
        states.contains(self.count)
    }

    fn literal(&self, octet: u8) -> Option<&Row> {
        let index = self.literals.binary_search_by_key(&octet, |(octet, _)| *octet).ok()?;
        self.literals.get(index).map(|(_, row)| row)
    }
}

/// Adjacent wildcards become one: the widest of them. So there are at most twice as many tokens as
/// literal octets, and no wildcard follows another.
fn collapse(pattern: &[u8]) -> Vec<u8> {
    let mut tokens: Vec<u8> = Vec::with_capacity(pattern.len());
    for &token in pattern {
        match (tokens.last_mut(), token) {
            (Some(last @ (b'*' | b'%')), b'*' | b'%') => {
                if token == b'*' {
                    *last = token;
                }
            }
            _ => tokens.push(token),
        }
    }
    tokens
}

/// A set of states.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row(Vec<u64>);

impl Row {
    /// The empty set of the states 0 to `last`.
    fn new(last: usize) -> Self {
        Self(vec![0; last / 64 + 1])
    }

    fn set(&mut self, state: usize) {
        if let Some(word) = self.0.get_mut(state / 64) {
            *word |= 1 << (state % 64);
        }
    }

    fn contains(&self, state: usize) -> bool {
        self.0.get(state / 64).is_some_and(|word| word >> (state % 64) & 1 == 1)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }

    /// Adds the states after those that are in both `states` and `mask`.
    fn advance(&mut self, states: &Self, mask: Option<&Self>) {
        let Some(mask) = mask else { return };
        let mut carry = 0;
        for ((word, from), mask) in self.0.iter_mut().zip(&states.0).zip(&mask.0) {
            let moved = from & mask;
            *word |= moved << 1 | carry;
            carry = moved >> 63;
        }
    }

    /// Adds the states that are in both `states` and `mask`.
    fn keep(&mut self, states: &Self, mask: &Self) {
        for ((word, from), mask) in self.0.iter_mut().zip(&states.0).zip(&mask.0) {
            *word |= from & mask;
        }
    }

    /// Adds the states after its own members that are in `mask`: a wildcard may match nothing.
    fn shift_from(&mut self, mask: &Self) {
        let mut carry = 0;
        for (word, mask) in self.0.iter_mut().zip(&mask.0) {
            let moved = *word & mask;
            *word |= moved << 1 | carry;
            carry = moved >> 63;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        MailboxPattern::new(pattern).matches(&MailboxName::lookup(name).unwrap())
    }

    /// The definition, written down without regard to cost.
    fn by_definition(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) if by_definition(rest, name) => true,
            (Some((b'%', rest)), _) if by_definition(rest, name) => true,
            (Some((b'*', _)), Some((_, after))) => by_definition(pattern, after),
            (Some((b'%', _)), Some((octet, after))) => *octet != b'/' && by_definition(pattern, after),
            (Some((token, rest)), Some((octet, after))) => token == octet && by_definition(rest, after),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab/*%]{0,10}", name in "[ab]{1,4}(/[ab]{1,3}){0,3}") {
            prop_assert_eq!(matches(&pattern, &name), by_definition(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn long_patterns_cross_word_borders(count in 0..90_usize, extra in 0..3_usize) {
            let pattern = "%a".repeat(count) + "*";
            prop_assert_eq!(matches(&pattern, &"a".repeat(count + extra + 1)), true);
            prop_assert_eq!(matches(&pattern, &"a".repeat(count.max(2) - 1)), count < 2);
        }
    }

    #[test]
    fn inbox_matches_in_any_case_at_the_first_level_only() {
        for pattern in ["inbox", "InBoX", "INBOX", "in%", "%x", "*"] {
            assert!(matches(pattern, "INBOX"), "{pattern}");
        }
        assert!(matches("inbox/%", "INBOX/a"));
        assert!(!matches("inbox/A", "INBOX/a"));
        assert!(!matches("a/inbox", "a/INBOX"));
        assert!(!matches("INBOX", "inboxes"));
        assert!(!matches("work", "WORK"));
    }

    #[test]
    fn nothing_but_wildcards_matches_by_level() {
        assert!(matches("%", "a"));
        assert!(!matches("%", "a/b"));
        assert!(matches("%/%", "a/b"));
        assert!(matches("*", "a/b/c"));
        assert!(!matches("", "a"));
        assert!(matches("caf%", "café"));
    }

    #[test]
    fn a_wildcard_bomb_collapses_and_the_worst_pattern_stays_small() {
        let bomb = MailboxPattern::new(&"%*".repeat(32 * 1024));
        assert_eq!(bomb.tokens.as_ref().unwrap().count, 1);
        assert!(bomb.matches(&MailboxName::new(&"a".repeat(1024)).unwrap()));
        let worst = MailboxPattern::new(&("%a".repeat(1023) + "%b"));
        assert_eq!(worst.tokens.as_ref().unwrap().stars.0.len(), 33);
        assert!(!worst.matches(&MailboxName::new(&"a".repeat(1024)).unwrap()));
    }

    #[test]
    fn more_literals_than_a_name_can_have_match_nothing() {
        assert!(!matches(&("*".to_owned() + &"a".repeat(1025)), "a"));
        assert!(matches(&("*".to_owned() + &"a".repeat(1024)), &"a".repeat(1024)));
    }
}
