use proptest::prelude::*;

use super::*;

/// Entries as text: `name|route|local|domain`, `name{` and `}`.
fn show(value: &str) -> Vec<String> {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let optional = |octets: &Option<Vec<u8>>| octets.as_deref().map_or_else(|| "-".to_owned(), text);
    let entry = |entry: &Entry| match entry {
        Entry::Mailbox(m) => {
            format!("{}|{}|{}|{}", optional(&m.name), optional(&m.route), text(&m.local), text(&m.domain))
        }
        Entry::GroupStart(name) => text(name) + "{",
        Entry::GroupEnd => "}".to_owned(),
    };
    parse(value.as_bytes()).iter().map(entry).collect()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

proptest! {
    #[test]
    fn groups_are_balanced_and_nothing_breaks(value in "[ab@,;:<>.()\"\\\\\\[\\] \r\n=?]{0,40}") {
        let mut open = false;
        for entry in parse(value.as_bytes()) {
            match entry {
                Entry::GroupStart(_) => prop_assert!(!std::mem::replace(&mut open, true)),
                Entry::GroupEnd => prop_assert!(std::mem::replace(&mut open, false)),
                Entry::Mailbox(_) => {}
            }
        }
        prop_assert!(!open);
    }

    #[test]
    fn any_octets(value in any::<Vec<u8>>()) {
        parse(&value);
    }

    #[test]
    fn what_is_written_is_read(
        mailboxes in prop::collection::vec(("[ -~é]{1,8}", "[ -~é]{1,8}", "[a-z]{1,4}(\\.[a-z]{1,3}){0,2}"), 0..6),
    ) {
        let list: Vec<_> = mailboxes
            .iter()
            .map(|(name, local, domain)| format!("{} <{}@{domain}>", quoted(name), quoted(local)))
            .collect();
        let read = parse(list.join(",\r\n ").as_bytes());
        let written = mailboxes.iter().map(|(name, local, domain)| {
            Entry::Mailbox(Mailbox {
                name: Some(name.clone().into_bytes()),
                route: None,
                local: local.clone().into_bytes(),
                domain: domain.clone().into_bytes(),
            })
        });
        prop_assert!(read.into_iter().eq(written));
    }
}

#[test]
fn forms_of_a_mailbox() {
    for (value, shown) in [
        ("ann@example.org", "-|-|ann|example.org"),
        ("<ann@example.org>", "-|-|ann|example.org"),
        ("Ann <ann@example.org>", "Ann|-|ann|example.org"),
        ("Joe Q. Public <john.q.public@example.com>", "Joe Q. Public|-|john.q.public|example.com"),
        ("\"Joe \\\"Q\\\" Public\"\r\n <j@e.com>", "Joe \"Q\" Public|-|j|e.com"),
        ("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "Pete|-|pete|silly.test"),
        ("ann@example.org (Ann (of) A.)", "Ann (of) A.|-|ann|example.org"),
        ("\"a b\"@example.org", "-|-|a b|example.org"),
        ("a . b @ example . org", "-|-|a.b|example.org"),
        ("Mary <@machine.tld,@b.example:mary@example.net>", "Mary|@machine.tld,@b.example|mary|example.net"),
        ("x@[192.0.2.1]", "-|-|x|[192.0.2.1]"),
        ("x@[IPv6:::1] (six)", "six|-|x|[IPv6:::1]"),
        ("=?utf-8?Q?Doe,_Ann?= <a@b>", "=?utf-8?Q?Doe,_Ann?=|-|a|b"),
        ("Ünï <a@b>", "Ünï|-|a|b"),
        ("<>", "-|-||"),
    ] {
        assert_eq!(show(value), [shown], "{value}");
    }
}

#[test]
fn groups() {
    assert_eq!(
        show("A Group:Ed <joe@where.test>,joe@where.test;"),
        ["A Group{", "Ed|-|joe|where.test", "-|-|joe|where.test", "}"]
    );
    assert_eq!(show("undisclosed-recipients:;"), ["undisclosed-recipients{", "}"]);
    assert_eq!(show("a: b: c@d;, e@f;"), ["a{", "}", "b{", "-|-|c|d", "}", "-|-|e|f"]);
    assert_eq!(show("a: b@c"), ["a{", "-|-|b|c", "}"]);
    assert_eq!(show("a: b@c; d@e"), ["a{", "-|-|b|c", "}", "-|-|d|e"]);
}

#[test]
fn empty_fields_and_elements() {
    for value in ["", " ", "\r\n ", ",", ", ,,", ";", ":", ">", "()", "(", "\t(a)"] {
        assert_eq!(show(value), [""; 0], "{value:?}");
    }
    assert_eq!(show(",a@b,,c@d,"), ["-|-|a|b", "-|-|c|d"]);
}

#[test]
fn garbage_degrades() {
    for (value, shown) in [
        ("root", "-|-|root|"),
        ("a b c", "-|-|a b c|"),
        ("ann@a.org <ann@b.org>", "ann@a.org|-|ann|b.org"),
        ("Ann <ann@b.org", "Ann|-|ann|b.org"),
        ("Ann <ann@b.org> trailing words", "Ann|-|ann|b.org"),
        ("<@foo>", "-|-||foo"),
        ("\"open <a@b>", "-|-|open <a@b>|"),
        ("a@b@c", "-|-|a|b"),
        ("[list] <a@b>", "[list]|-|a|b"),
        ("x@[1.2", "-|-|x|[1.2"),
    ] {
        assert_eq!(show(value), [shown], "{value}");
    }
    for (value, shown) in [
        ("x <mailto:a@b>", "x|-|a|b"),
        ("<mailto:a@b>", "-|-|a|b"),
        ("x <a:b:c@d>", "x|-|c|d"),
        ("<a b@c>", "-|-|b|c"),
        ("<a b . c@d>", "-|-|b.c|d"),
        ("<a(x)b@c>", "x|-|b|c"),
        ("<a b>", "-|-|a b|"),
        ("<a@b c>", "-|-|a|b"),
        ("<a@b:25>", "-|-|a|b"),
        ("<a@b .c>", "-|-|a|b.c"),
        ("<a@b:c@d>", "-|-|c|d"),
        ("<a@b c@d>", "-|-|c|d"),
        ("<@foo bar>", "-|-||foo"),
        ("a b@c", "a|-|b|c"),
        ("Ann B. Smith ann.smith@c", "Ann B. Smith|-|ann.smith|c"),
        ("\"x y\" z@c", "x y|-|z|c"),
        ("a>b@c", "a|-|b|c"),
        ("a.>.b@c", "a.|-|.b|c"),
        ("a > <b@c>", "a|-|b|c"),
        (">b@c", "-|-|b|c"),
    ] {
        assert_eq!(show(value), [shown], "{value}");
    }
    assert_eq!(show("a <b@c> d <e@f>"), ["a|-|b|c", "-|-|e|f"]);
    assert_eq!(show("<a@b, c@d>"), ["-|-|a|b", "-|-|c|d"]);
}

#[test]
fn whoever_decides_by_addresses_is_told_of_what_is_none() {
    for value in [
        "",
        "ann@a.org",
        "root",
        "\"Doe, Ann\" <ann@a.org>, bob@b.org (Bob (the second)), team: x@y.org, z@y.org;, <@a,@b:c@d.org>",
        "undisclosed-recipients:;",
        "ann@a.org <ann@b.org>",
    ] {
        assert!(parse_telling(value.as_bytes()).1, "{value}");
    }
    for value in [
        "eve@evil.test: ann@a.org;",
        "eve@evil.test@a.org",
        "<eve@evil.test@a.org>",
        "eve@evil.test ann <",
        "Ann <ann@b.org",
        "Ann <ann@b.org> trailing words",
        "<a@b, c@d>",
        "<a@b:c@d>",
        "\"open <a@b>",
        "(open <a@b>",
        "> ann@a.org",
        "x <mailto:ann@a.org>",
        "<x ann@a.org>",
        "<ann@a.org x>",
        "<@a.org x>",
        "x ann@a.org",
        "x>ann@a.org",
        ":ann@a.org",
    ] {
        assert!(!parse_telling(value.as_bytes()).1, "{value}");
    }
    assert!(parse_telling("a@b,".repeat(9_999).as_bytes()).1);
    assert!(!parse_telling("a@b,".repeat(10_001).as_bytes()).1);
}

#[test]
fn a_comment_or_string_may_end_in_a_backslash_at_the_end() {
    assert_eq!(show("a@b (c\\"), ["c|-|a|b"]);
    assert_eq!(show("\"a\\"), ["-|-|a|"]);
    assert_eq!(show("a@b ((((\\"), ["(((|-|a|b"]);
}

#[test]
fn ten_thousand_entries_and_no_more() {
    for (count, kept) in [(9_999, 9_999), (10_000, 10_000), (10_001, 10_000), (100_000, 10_000)] {
        assert_eq!(parse("a@b,".repeat(count).as_bytes()).len(), kept);
    }
}

#[test]
fn hostile_fields_take_linear_time() {
    for unit in ["(", "[", "<", "\"", "=?", "=?a?q?", "a:", "\\", "<@", "@", "<a@b>", ".", " .", "=?a?q?a b"]
    {
        parse(unit.repeat(1_000_000 / unit.len()).as_bytes());
    }
}

proptest! {
    /// What a local part is does not depend on how it is put together.
    #[test]
    fn white_space_beside_dots_is_in_no_local_part(words in prop::collection::vec(("[ab.]", any::<bool>()), 0..8)) {
        let (mut phrase, mut local) = (String::new(), String::new());
        let mut found = Words::default();
        for (word, spaced) in &words {
            if *spaced && !phrase.is_empty() {
                phrase.push(' ');
                if word != "." && !local.ends_with('.') {
                    local.clear();
                }
            }
            phrase.push_str(word);
            local.push_str(word);
            match word.as_str() {
                "." => found.push_dot(*spaced),
                word => found.push(word.as_bytes(), *spaced),
            }
        }
        prop_assert_eq!(&found.phrase, phrase.as_bytes());
        prop_assert_eq!(found.into_name_and_local().1, local.as_bytes());
    }
}
