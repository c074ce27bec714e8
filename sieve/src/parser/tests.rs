use super::*;
use crate::ArgumentKind;

fn error(script: &str) -> String {
    Script::parse(script.as_bytes(), &Limits::default()).unwrap_err().to_string()
}

#[test]
fn parses_every_construct() {
    let script = "# comment\r\nREQUIRE [\"fileinto\", \"reject\"]; /* more\n */\r\n\
        if anyof (size :over 100K, not header :contains \"a\\\"b\\\\c\" \"x\") {\r\n  reject text: # why\r\n\
        first\r\n..dot\r\n.\r\n;\r\n} else { stop; }\r\n";
    let script = Script::parse(script.as_bytes(), &Limits::default()).unwrap();
    let names: Vec<_> = script.commands.iter().map(|command| command.name.as_str()).collect();
    assert_eq!(names, ["require", "if", "else"]);
    let test = &script.commands[1].tests[0];
    assert_eq!(test.tests[0].arguments[1].kind, ArgumentKind::Number(102_400));
    assert_eq!((test.tests[0].position.line, test.tests[0].position.column), (4, 11));
    let ArgumentKind::String(escaped) = &test.tests[1].tests[0].arguments[1].kind else { panic!() };
    assert_eq!(escaped.value, "a\"b\\c");
    let block = script.commands[1].block.as_ref().unwrap();
    let ArgumentKind::String(text) = &block[0].arguments[0].kind else { panic!() };
    assert_eq!(text.value, "first\r\n.dot\r\n");
}

#[test]
fn comments_stay_with_their_commands() {
    let text = "# before\r\nif # within\r\n true { # opening\n/* in\nside */ keep; # behind\n# closing\n} # done\n\
        /* last */";
    let script = Script::parse(text.as_bytes(), &Limits::default()).unwrap();
    let texts =
        |comments: &[Comment]| comments.iter().map(|comment| comment.text().to_owned()).collect::<Vec<_>>();
    let comments = script.commands[0].comments.as_ref().unwrap();
    assert_eq!(texts(&comments.before), ["# before", "# within"]);
    assert_eq!(texts(&comments.opening), ["# opening"]);
    assert_eq!(texts(&comments.closing), ["# closing"]);
    assert_eq!(texts(&comments.behind), ["# done"]);
    assert_eq!(comments.before[1].position, Position { line: 2, column: 4 });
    let inner = script.commands[0].block.as_ref().unwrap()[0].comments.as_ref().unwrap();
    assert_eq!(texts(&inner.before), ["/* in\r\nside */"]);
    assert_eq!(texts(&inner.behind), ["# behind"]);
    assert_eq!(texts(&script.comments), ["/* last */"]);
    let without = Tree::parse(text.as_bytes(), &Limits::default(), false).unwrap().into_script();
    assert!(without.comments.is_empty() && without.commands.iter().all(|command| command.comments.is_none()));
}

#[test]
fn says_where_and_what_is_wrong() {
    for (script, expected) in [
        ("keep", "line 1, column 5: expected `;` or a block, found the end of the script"),
        ("keep;\n}", "line 2, column 1: expected a command, found `}`"),
        ("redirect \"a", "line 1, column 10: this string is never closed"),
        ("/* x", "line 1, column 1: this comment is never closed"),
        ("/*/ keep;", "line 1, column 1: this comment is never closed"),
        ("redirect text::\n.\n;", "line 1, column 14: only a comment can stand behind `text:`"),
        ("a [\"b\" \"c\"];", "line 1, column 8: expected `,` or `]`, found a string"),
        ("size 99999999999999999999;", "line 1, column 6: this number is too large"),
        ("size 18446744073709551615K;", "line 1, column 6: this number is too large"),
        ("a text: b\n.\n;", "line 1, column 7: only a comment can stand behind `text:`"),
        ("é;", "line 1, column 1: unexpected 'é'"),
        ("a\0;", "line 1, column 2: a NUL cannot be in a script"),
        ("a :;", "line 1, column 3: unexpected ':'"),
    ] {
        assert_eq!(error(script), expected, "{script:?}");
    }
    let not_utf8 = Script::parse(b"a;\n\xff", &Limits::default()).unwrap_err();
    assert_eq!(not_utf8.to_string(), "line 2, column 1: this is not UTF-8");
}

#[test]
fn tells_of_each_thing_that_is_wrong() {
    let errors = |script: &str| {
        let errors = Tree::parse(script.as_bytes(), &Limits::default(), false).map(|_| ()).unwrap_err();
        let all = std::iter::once(&errors.first).chain(&errors.others);
        all.map(|error| (error.position.line, error.position.column)).collect::<Vec<_>>()
    };
    for (script, expected) in [
        // No semicolon at the end of a block: the block ends there all the same.
        ("if true {\n keep\n}\nif true {\n stop\n}", &[(3, 1), (6, 1)][..]),
        ("if true {\n keep,\n stop\n}\ndiscard )", &[(2, 6), (5, 9)]),
        // What is in the block behind a test that is wrong is looked at.
        ("if anyof(true,) {\n a \"b\"\n}\nif ) { c ] }", &[(1, 15), (3, 1), (4, 4), (4, 10)]),
        ("a $;\nb 99999999999999999999;\nc é {\n d $;\n}", &[(1, 3), (2, 3), (3, 3), (4, 4)]),
        ("}\nkeep;\n}\n\"a\";\nkeep", &[(1, 1), (3, 1), (4, 1), (5, 5)]),
        // One mistake is told once.
        ("a $$$ $;\nb é%;", &[(1, 3), (1, 7), (2, 3)]),
        ("if true { if true { if true { keep;", &[(1, 36)]),
        ("if true { a } $ b ; } c", &[(1, 13), (1, 15), (1, 21), (1, 24)]),
        ("a [\"b\" \"c\" \"d\"]; b \"never closed; c", &[(1, 8), (1, 20)]),
        ("a text: b\nline\n.\n; /* never closed", &[(1, 7), (3, 1), (4, 3)]),
    ] {
        assert_eq!(errors(script), expected, "{script:?}");
    }
    // Each of them once, however deep, and not all of very many.
    let deep = format!("{}{}", "if true {".repeat(40), "}".repeat(40));
    assert_eq!(errors(&format!("{deep}\n{deep}")), [(1, 298), (2, 298)]);
    assert_eq!(errors(&"$ ".repeat(10_000)).len(), 101);
}

#[test]
fn nesting_and_size_are_bounded() {
    let nested = |depth: usize| format!("{}{}", "if true {".repeat(depth), "}".repeat(depth));
    assert!(Script::parse(nested(32).as_bytes(), &Limits::default()).is_ok());
    assert!(error(&nested(33)).contains("nested deeper than 32"));
    assert!(error(&nested(100_000)).contains("nested deeper than 32"));
    assert!(error(&format!("if {}true;", "not ".repeat(100_000))).contains("nested deeper"));
    assert!(error(&" ".repeat((1 << 20) + 1)).contains("1048576"));
}
