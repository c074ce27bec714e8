use proptest::prelude::*;

use super::*;

fn shown(value: &str) -> Vec<(String, String)> {
    let parameters = Parameters::parse(value.as_bytes());
    let text = |parameter: &Parameter| String::from_utf8_lossy(parameter.value()).into_owned();
    parameters.iter().map(|parameter| (parameter.name().to_owned(), text(parameter))).collect()
}

fn decoded(value: &str, name: &str) -> Option<String> {
    Parameters::parse(value.as_bytes()).decoded(name)
}

proptest! {
    #[test]
    fn every_value_round_trips(value in prop_oneof![any::<String>(), "[ -~]{0,90}", "[é日a']{0,90}"], name in "[a-z]{1,12}") {
        let value = value.trim_start_matches('\u{FEFF}');
        let encoded = encode(&name, value);
        prop_assert!(encoded.split("\r\n").all(|line| line.is_ascii() && line.len() <= 76), "{}", encoded);
        let field = format!("text/plain;\r\n {encoded}; last=1");
        let parameters = Parameters::parse(field.as_bytes());
        let read = parameters.decoded(&name);
        prop_assert_eq!(read.as_deref(), Some(value));
        prop_assert_eq!(parameters.value("last"), Some(&b"1"[..]));
    }

    #[test]
    fn no_octets_break_it(octets in any::<Vec<u8>>(), value in "[a;=*0-2'%\"\\\\() ]{0,30}") {
        for octets in [octets.as_slice(), value.as_bytes()] {
            let parameters = Parameters::parse(octets);
            for parameter in parameters.iter() {
                parameters.decoded(parameter.name().trim_end_matches(['*', '0', '1', '2']));
            }
        }
    }
}

#[test]
fn plain_parameters() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(shown("text/plain; charset=us-ascii (Plain text)"), [pair("charset", "us-ascii")]);
    assert_eq!(shown("a/b ; X = \"a;\\\"b\" ;y=z; "), [pair("X", "a;\"b"), pair("y", "z")]);
    assert_eq!(
        shown("attachment; filename=my file.pdf;\r\n x=1"),
        [pair("filename", "my file.pdf"), pair("x", "1")]
    );
    assert_eq!(shown("a/b; =x; y; z=; \"q\"=1; w=2"), [pair("z", ""), pair("w", "2")]);
    assert_eq!(shown("a/b (; no=1); (c) yes=(d)1"), [pair("yes", "1")]);
    assert_eq!(shown("a/b"), []);
    assert_eq!(shown("a/b; x=\"open; y=1"), [pair("x", "open; y=1")]);
    assert_eq!(shown("a/b; x=\"end\\"), [pair("x", "end")]);
    assert_eq!(shown("a/b; x=1 (open\\"), [pair("x", "1")]);
}

#[test]
fn the_first_of_two_counts() {
    let parameters = Parameters::parse(b"a/b; x=1; X=2");
    assert_eq!(parameters.value("x"), Some(&b"1"[..]));
    assert_eq!(parameters.iter().len(), 2);
}

#[test]
fn continuations_and_charsets() {
    let rfc = "application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20; \
        title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"";
    assert_eq!(decoded(rfc, "title").as_deref(), Some("This is even more ***fun*** isn't it!"));
    for (value, text) in [
        ("x; t*1=b; t*0=a", "ab"),
        ("x; t*0=a; t*2=c", "a"),
        ("x; t=plain; t*=iso-8859-1''%E9", "é"),
        ("x; t*=%41", "A"),
        ("x; t*=''%41", "A"),
        ("x; t*=no-such''%41", "A"),
        ("x; t*=utf-8''%4", "%4"),
        ("x; t*0=%41", "%41"),
        ("x; t*1=b; t=a", "a"),
        ("x; t*0=a; t*0=b", "a"),
        ("x; t*00=a; t=b", "b"),
        ("x; t*0*=utf-8''%C3; t*1*=%A9", "é"),
        ("x; t==?utf-8?Q?=C3=A9?=", "é"),
        ("x; t=\"=?utf-8?Q?=C3=A9?=\"", "é"),
        ("x; t*99999999999999999999=a; t=b", "b"),
    ] {
        assert_eq!(decoded(value, "t").as_deref(), Some(text), "{value}");
    }
    assert_eq!(decoded("x; t*1=b", "t"), None);
    assert_eq!(decoded("x; té*=b", "t"), None);
}

#[test]
fn at_most_128_parameters() {
    for (count, kept) in [(127, 127), (128, 128), (129, 128), (50_000, 128)] {
        let value: String = (0..count).map(|number| format!("; t*{number}=a")).collect();
        let parameters = Parameters::parse(value.as_bytes());
        assert_eq!(parameters.iter().len(), kept);
        assert_eq!(parameters.decoded("t").map(|text| text.len()), Some(kept));
    }
}
