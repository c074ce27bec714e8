//! Words of a command line. They are short: a plain loop finds their ends sooner than a searcher is set up.

/// What stands before the first such octet, which is ASCII, and what follows it if there is one.
pub(crate) fn split_at_octet(text: &str, octet: u8) -> (&str, Option<&str>) {
    let end = text.bytes().position(|found| found == octet).unwrap_or(text.len());
    let (before, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    (before, rest.get(1..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_the_first() {
        assert_eq!(split_at_octet("a;b;c", b';'), ("a", Some("b;c")));
        assert_eq!(split_at_octet("ä;", b';'), ("ä", Some("")));
        assert_eq!(split_at_octet("ä", b';'), ("ä", None));
        assert_eq!(split_at_octet("", b';'), ("", None));
    }
}
