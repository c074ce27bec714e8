//! COMPARATOR (RFC 5255 §4.7).

use crate::grammar::{GrammarError, Input, Wire};

/// How many comparators one command may name.
const MOST: usize = 32;

/// Texts shall be compared by the first of these that is known; by which they are, if none is named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Comparator {
    /// Collations (RFC 4790), the best first, with `*` for anything, or `default`.
    pub orders: Vec<String>,
}

impl Comparator {
    /// Asks how texts are compared.
    pub fn active() -> Self {
        Self::default()
    }

    /// Asks for the first of these that is known.
    pub fn new(orders: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { orders: orders.into_iter().map(Into::into).collect() }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        let mut orders = Vec::new();
        while input.eat(b' ') {
            if orders.len() == MOST {
                return Err(GrammarError::TooMany { what: "comparators", limit: MOST });
            }
            let here = input.clone();
            let order = String::from_utf8_lossy(&input.astring()?).into_owned();
            // RFC 4790 §3.1: at most 254 octets.
            if order.is_empty() || order.len() > 254 || !order.bytes().all(|octet| octet.is_ascii_graphic()) {
                return Err(here.expected("a comparator such as i;unicode-casemap"));
            }
            orders.push(order);
        }
        Ok(Self { orders })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"COMPARATOR");
        for order in &self.orders {
            wire.put(b" ");
            wire.put_astring(order.as_bytes());
        }
    }

    /// Whether any of them means this collation.
    pub(crate) fn means(&self, collation: &str) -> bool {
        let means = |order: &String| {
            // RFC 4790 §4.3: what is reversed is another one.
            let order = order.strip_prefix('+').unwrap_or(order);
            order.eq_ignore_ascii_case("default") || matches(order, collation)
        };
        self.orders.is_empty() || self.orders.iter().any(means)
    }
}

/// Whether a pattern with `*` means a name: the pieces between the stars stand in it one behind the other.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_lowercase(), name.to_ascii_lowercase());
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut last = None;
    for piece in pieces {
        if let Some(before) = last.replace(piece) {
            let Some((_, behind)) = rest.split_once(before) else { return false };
            rest = behind;
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collations_are_meant_by_name_and_pattern() {
        let name = "i;unicode-casemap";
        for (order, meant) in [
            ("i;unicode-casemap", true),
            ("I;UNICODE-CASEMAP", true),
            ("+i;unicode-casemap", true),
            ("-i;unicode-casemap", false),
            ("default", true),
            ("*", true),
            ("i;*", true),
            ("*casemap", true),
            ("i;*code*map", true),
            ("i;*map*code", false),
            ("i;ascii-casemap", false),
            ("i;unicode-casemap2", false),
            ("cz;*", false),
            ("i;unicode-casemap*casemap", false),
        ] {
            assert_eq!(Comparator::new([order]).means(name), meant, "{order}");
        }
        assert!(Comparator::new(["cz;*", "i;*"]).means(name) && Comparator::active().means(name));
    }

    #[test]
    fn orders_are_read_as_they_were_written() {
        for text in ["", " default", " cz;* i;basic"] {
            let mut input = Input::new(text.as_bytes());
            let read = Comparator::parse(&mut Input::new(text.replace("cz;*", "\"cz;*\"").as_bytes()));
            let read = read.unwrap_or_else(|error| panic!("{error}: {input:?}"));
            assert_eq!(read.orders.len(), text.matches(' ').count());
            let mut wire = Vec::new();
            read.encode(&mut wire);
            input = Input::new(wire.strip_prefix(b"COMPARATOR").unwrap());
            assert_eq!(Comparator::parse(&mut input).unwrap(), read);
        }
        for bad in [" ", " \"\"", " \"a b\""] {
            assert!(Comparator::parse(&mut Input::new(bad.as_bytes())).is_err(), "{bad:?}");
        }
    }
}
