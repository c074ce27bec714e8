use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn what_parses_is_kept_exactly(text in "[a-z.\"@\\\\é ]{1,8}@[a-z0-9.\\-\\[\\]]{1,8}") {
        if let Ok(address) = text.parse::<Address>() {
            prop_assert_eq!(address.as_str(), &text);
            let rebuilt = Address::new(address.local().into(), address.domain().clone()).unwrap();
            prop_assert_eq!(rebuilt.as_str(), &text);
            let path = ForwardPath::from(address.clone());
            prop_assert_eq!(ForwardPath::parse(path.to_string().as_bytes()), Ok(path));
            let path = ReversePath::from(address);
            prop_assert_eq!(ReversePath::parse(path.to_string().as_bytes()), Ok(path));
        }
    }

    #[test]
    fn an_address_is_its_parts(local in "[a-c.]{1,4}|[A-Ca-cé.]{1,4}|\"[a b.]{1,3}\"", name in "[a-c0.-]{1,6}|[A-Ca-cé0.-]{1,6}|\\[[0-9.]{7}\\]") {
        let text = format!("{local}@{name}");
        match (text.parse::<Address>(), local.parse::<LocalPart>(), name.parse::<Domain>()) {
            (Ok(address), Ok(local), Ok(domain)) => {
                prop_assert_eq!(address.as_str(), &text);
                prop_assert_eq!(address.local().as_str(), local.as_str());
                prop_assert_eq!(address.local().unquoted(), local.unquoted());
                prop_assert_eq!(address.domain().as_str(), domain.as_str());
                prop_assert_eq!(address.domain().key(), domain.key());
                let path = format!("<{text}> rest");
                prop_assert_eq!(ForwardPath::parse_prefix(&path), Ok((address.into(), " rest")));
            }
            (Err(error), local, domain) => {
                prop_assert_eq!(&error, &local.err().or_else(|| domain.err()).unwrap());
                prop_assert_eq!(ReversePath::parse(format!("<{text}>").as_bytes()), Err(error));
            }
            (Ok(address), local, domain) => panic!("{address} of {local:?} and {domain:?}"),
        }
    }

    #[test]
    fn no_octets_break_the_parsers(octets in any::<Vec<u8>>(), path in "<?[@a.,:\"\\\\<> \\[\\]é]{0,20}>?") {
        for octets in [octets.as_slice(), path.as_bytes()] {
            let _ = Address::parse(octets);
            let _ = ReversePath::parse(octets);
        }
        let _ = ReversePath::parse_prefix_lenient(&path);
        let _ = ForwardPath::parse_prefix_lenient(&path);
    }
}

fn forward(text: &str) -> Result<ForwardPath, AddressError> {
    ForwardPath::parse(text.as_bytes())
}

fn address(text: &str) -> ForwardPath {
    ForwardPath::Address(text.parse().unwrap())
}

#[test]
fn a_local_part_in_an_address_is_that_alone() {
    let address: Address = "\"a\\b\"@Example.org".parse().unwrap();
    assert_eq!((address.local().as_str(), address.local().unquoted()), ("\"a\\b\"", "ab"));
    assert_eq!(address.local(), "ab@other.example".parse::<Address>().unwrap().local());
    assert_ne!(address.local(), "AB@example.org".parse::<Address>().unwrap().local());
    let alone = LocalPart::from(address.local());
    assert_eq!((alone.as_str(), alone.unquoted()), ("\"a\\b\"", "ab"));
    assert_eq!(address.local().to_string(), alone.to_string());
}

#[test]
fn equal_by_mailbox_not_by_spelling() {
    assert_eq!("\"ann\"@EXAMPLE.org".parse::<Address>(), "ann@example.org".parse());
    assert_ne!("Ann@example.org".parse::<Address>(), "ann@example.org".parse());
}

#[test]
fn paths_that_could_relay_are_read_as_what_they_are() {
    // The percent hack and a quoted `@` are local parts; who may send to them is policy.
    assert_eq!(forward("<v%external.example@d.example>").unwrap(), address("v%external.example@d.example"));
    assert_eq!(forward("<\"v@external.example\">"), Err(AddressError::NoDomain));
    assert_eq!(forward("<v@external.example@d.example>"), Err(AddressError::Domain));
    assert_eq!(forward("<@a.example,@b.example:v@external.example>").unwrap(), address("v@external.example"));
    let ForwardPath::Address(literal) = forward("<victim@[IPv6:::1]>").unwrap() else { panic!() };
    assert!(literal.domain().is_literal());
}

#[test]
fn malformed_recipients_are_refused() {
    for (text, error) in [
        ("<>", AddressError::Empty),
        ("", AddressError::Brackets),
        ("<\"\"@d.example>", AddressError::EmptyLocalPart),
        ("<@d.example>", AddressError::SourceRoute),
        ("<a\rb@d.example>", AddressError::LocalPartCharacter('\r')),
        ("<\"a\r\nb\"@d.example>", AddressError::LocalPartCharacter('\r')),
        ("<a@d.example\0>", AddressError::Domain),
        ("<../../etc/passwd@d.example>", AddressError::EmptyAtom),
        ("<a@@d.example>", AddressError::Domain),
        ("<a' OR 1=1 --@d.example>", AddressError::LocalPartCharacter(' ')),
        ("<a@d.example", AddressError::Brackets),
        ("a@d.example", AddressError::Brackets),
        ("<<a@d.example>>", AddressError::LocalPartCharacter('<')),
        ("<a@d.example> x", AddressError::AfterPath),
        ("<\"a@d.example>", AddressError::OpenQuote),
        ("<a>", AddressError::NoDomain),
        ("< a@d.example>", AddressError::LocalPartCharacter(' ')),
    ] {
        assert_eq!(forward(text), Err(error), "{text:?}");
    }
    assert_eq!(ForwardPath::parse(b"<a\xe2\x82@d.example>"), Err(AddressError::NotUtf8));
    assert_eq!(forward(&format!("<{}@d.example>", "a".repeat(65))), Err(AddressError::LocalPartTooLong(65)));
}

#[test]
fn source_routes_are_checked_dropped_and_bounded() {
    for text in ["<@a:u@c>", "<@a,@b:u@c>", "<@[IPv6:::1],@b:u@c>"] {
        assert_eq!(forward(text).unwrap(), address("u@c"), "{text}");
    }
    for text in ["<@a,b:u@c>", "<@:u@c>", "<@a,:u@c>", "<@a@b:u@c>", "<@a,@b>", "<@a;@b:u@c>", "<@[::1:u@c>"]
    {
        assert_eq!(forward(text), Err(AddressError::SourceRoute), "{text}");
    }
    let sixty_one = (0..61).map(|hop| format!("@h{hop}.example")).collect::<Vec<_>>().join(",");
    let path = format!("<{sixty_one}:u@c>");
    assert!(matches!(ReversePath::parse(path.as_bytes()), Err(AddressError::TooLong(_))));
}

#[test]
fn the_postmaster_needs_no_domain_but_only_as_a_recipient() {
    assert_eq!(forward("<POSTMASTER>"), Ok(ForwardPath::Postmaster));
    assert_eq!(ForwardPath::Postmaster.to_string(), "<postmaster>");
    assert_eq!(ReversePath::parse(b"<postmaster>"), Err(AddressError::NoDomain));
    assert_eq!(forward("<postmaster@d.example>").unwrap(), address("postmaster@d.example"));
}

#[test]
fn a_path_may_be_256_octets_with_its_brackets() {
    let address_of =
        |octets: usize| format!("a@{}{}", "b.".repeat((octets - 3) / 2), "b".repeat(2 - octets % 2));
    for (octets, fits) in [(253, true), (254, true), (255, false)] {
        let text = address_of(octets);
        assert_eq!(text.len(), octets);
        assert_eq!(text.parse::<Address>().is_ok(), fits, "{octets}");
        assert_eq!(forward(&format!("<{text}>")).is_ok(), fits, "{octets}");
    }
}

#[test]
fn brackets_and_spaces_in_quotes_do_not_end_a_path() {
    let (path, rest) = ReversePath::parse_prefix("<\"a> \\\"b\"@c> BODY=8BITMIME").unwrap();
    assert_eq!(path.address().unwrap().local().unquoted(), "a> \"b");
    assert_eq!(rest, " BODY=8BITMIME");
}

#[test]
fn lenient_paths_need_no_brackets() {
    let (path, rest) = ReversePath::parse_prefix_lenient("ann@b.example SIZE=1").unwrap();
    assert_eq!(path.to_string(), "<ann@b.example>");
    assert_eq!(rest, " SIZE=1");
    let (path, rest) = ForwardPath::parse_prefix_lenient("postmaster").unwrap();
    assert_eq!((path, rest), (ForwardPath::Postmaster, ""));
    assert_eq!(ReversePath::parse_prefix_lenient("<>").unwrap().0, ReversePath::Null);
    assert_eq!(ReversePath::parse_prefix_lenient(""), Err(AddressError::Empty));
    assert_eq!(ReversePath::parse_prefix_lenient(" a@b"), Err(AddressError::Empty));
    assert!(ReversePath::parse_prefix_lenient("a@b>").is_err());
    assert!(ReversePath::parse_prefix_lenient("<a@b").is_err());
}

#[test]
fn whether_smtputf8_is_needed() {
    assert!(forward("<a@xn--bcher-kva.example>").unwrap().is_ascii());
    assert!(!forward("<a@bücher.example>").unwrap().is_ascii());
    assert!(!forward("<é@d.example>").unwrap().is_ascii());
    assert!(ReversePath::Null.is_ascii());
}
