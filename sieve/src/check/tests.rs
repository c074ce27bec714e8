//! What the checker says.

use crate::{Language, Limits, Script};

fn errors(script: &str) -> Vec<String> {
    let compiled = Language::standard().compile(script.as_bytes());
    compiled
        .err()
        .map_or_else(Vec::new, |error| error.diagnostics().iter().map(ToString::to_string).collect())
}

#[test]
fn every_error_has_its_place() {
    for (script, expected) in [
        ("keep; require \"fileinto\";", "line 1, column 7: `require` comes before all other commands"),
        ("require 3;", "line 1, column 1: `require` takes one list of extensions"),
        ("require [\"copy\",\n \"nothing\"];", "line 2, column 2: the extension `nothing` is not known here"),
        ("redirect :copy \"a@b\";", "line 1, column 10: `:copy` needs `require \"copy\";`"),
        ("redirect \"a\";", "line 1, column 1: `a` is no address to redirect to"),
        ("require \"index\"; if header :last \"a\" \"b\" {}", "line 1, column 21: `:last` needs `:index`"),
        ("require \"index\"; if address :last \"to\" \"b\" {}", "line 1, column 21: `:last` needs `:index`"),
        ("redirect [\"a@b\"];", "line 1, column 10: `redirect` takes a string, found a list of strings"),
        ("redirect;", "line 1, column 1: `redirect` is missing an argument: a string"),
        ("keep {}", "line 1, column 1: `keep` takes no block"),
        ("keep true;", "line 1, column 6: `keep` takes no test"),
        ("header \"a\" \"b\";", "line 1, column 1: expected a command, but `header` is a test"),
        ("if keep {}", "line 1, column 4: expected a test, but `keep` is a command"),
        ("nonsense;", "line 1, column 1: unknown command `nonsense`"),
        (
            "require [\"vacation\", \"fcc\"]; vacation :create :fcc \"Sent\" \"x\";",
            "line 1, column 39: `:create` needs `require \"mailbox\";`",
        ),
        (
            "require [\"vacation\", \"mailbox\"]; vacation :create \"x\";",
            "line 1, column 34: `vacation` takes `:create` only with `:fcc`",
        ),
        ("if nonsense {}", "line 1, column 4: unknown test `nonsense`"),
        ("elsif true {}", "line 1, column 1: expected `if` before this `elsif`"),
        ("if true {} keep; else {}", "line 1, column 18: expected `if` before this `else`"),
        ("if true {} else {} else {}", "line 1, column 20: expected `if` before this `else`"),
        ("if true;", "line 1, column 1: `if` takes a block"),
        ("if {}", "line 1, column 1: `if` takes one test"),
        ("if (true, false) {}", "line 1, column 1: `if` takes one test"),
        ("if not {}", "line 1, column 4: `not` takes one test"),
        ("if anyof {}", "line 1, column 4: `anyof` takes a list of tests"),
        ("if size 3 {}", "line 1, column 4: `size` takes `:over` or `:under`"),
        ("if size :over :under 3 {}", "line 1, column 15: there is another comparison already: `:over`"),
        ("if size :over \"3\" {}", "line 1, column 15: `size` takes a number, found a string"),
        ("if size 3 :over {}", "line 1, column 11: `:over` must stand before the other arguments"),
        ("if size :over :over 3 {}", "line 1, column 15: `:over` is here twice"),
        (
            "if header :comparator 3 \"a\" \"b\" {}",
            "line 1, column 23: `:comparator` takes a string, found a number",
        ),
        (
            "if header :comparator \"x\" \"a\" \"b\" {}",
            "line 1, column 4: the comparator `x` is not known here",
        ),
        (
            "if header :comparator \"i;ascii-numeric\" \"a\" \"b\" {}",
            "line 1, column 4: the comparator `i;ascii-numeric` needs `require \"comparator-i;ascii-numeric\";`",
        ),
        (
            "require \"comparator-i;ascii-numeric\"; if header :contains :comparator \"i;ascii-numeric\" \"a\" \"b\" {}",
            "line 1, column 42: the comparator `i;ascii-numeric` cannot look for parts of strings",
        ),
        (
            "if address \"subject\" \"b\" {}",
            "line 1, column 4: there are no addresses in `subject`: use `header`",
        ),
        (
            "require \"envelope\"; if envelope \"via\" \"b\" {}",
            "line 1, column 24: `via` is no part of the envelope",
        ),
        (
            "require \"fileinto\"; fileinto \"a/../b\";",
            "line 1, column 21: `a/../b` is no name of a mailbox: ",
        ),
        ("require \"variables\"; set \"1\" \"\";", "line 1, column 26: match variables cannot be set"),
        ("require \"variables\"; set \"a b\" \"\";", "line 1, column 26: `a b` is no name of a variable"),
        ("require \"variables\"; set \"${a}\" \"\";", "line 1, column 26: `${a}` is no name of a variable"),
        (
            "require \"variables\"; set \"a\" \"${x.y}\";",
            "line 1, column 30: no required extension has variables in the namespace `x`",
        ),
        (
            "require \"variables\"; set \"a\" \"${33}\";",
            "line 1, column 30: there are no match variables above ${32}",
        ),
        (
            "require \"variables\"; set :upper :lower \"a\" \"b\";",
            "line 1, column 33: there is another modifier of letters already: `:upper`",
        ),
        (
            "require \"relational\"; if header :value \"xx\" \"a\" \"b\" {}",
            "line 1, column 26: expected gt, ge, lt, le, eq or ne, found `xx`",
        ),
        (
            "require \"regex\"; if header :regex \"a\" \"(\" {}",
            "line 1, column 21: this is no regular expression: unclosed group",
        ),
        (
            "require \"encoded-character\"; redirect \"${unicode:d800}\";",
            "line 1, column 39: `d800` in `${unicode:…}` is no character of Unicode",
        ),
        ("require \"vacation\"; vacation :from \"x\" \"a\";", "line 1, column 21: `x` is no address"),
        ("require \"enotify\"; notify \"mailto:\";", "line 1, column 20: `mailto:` is no mailto URI"),
        (
            "require \"enotify\"; notify :importance \"4\" \"x:\";",
            "line 1, column 20: expected importance \"1\", \"2\" or \"3\", found \"4\"",
        ),
        (
            "require \"date\"; if date \"date\" \"century\" \"a\" {}",
            "line 1, column 20: `century` is no part of a date",
        ),
        (
            "require \"imap4flags\"; setflag \"a\" \"b\";",
            "line 1, column 23: a list of flags in a variable needs `require \"variables\";`",
        ),
    ] {
        let found = errors(script);
        assert!(found.first().is_some_and(|first| first.starts_with(expected)), "{script}\n{found:?}");
    }
}

#[test]
fn errors_come_in_the_order_of_the_script_and_end_at_the_limit() {
    let found = errors("if nonsense { other; }\nsize;\nkeep 3;");
    let lines: Vec<_> = found.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["line 1, column 4", "line 1, column 15", "line 2, column 1", "line 3, column 6"]);
    assert_eq!(errors(&"x;".repeat(1000)).len(), Limits::default().errors + 1);
}

#[test]
fn warnings_do_not_keep_a_script_from_running() {
    let program = Language::standard().compile(b"stop;\nkeep;").unwrap();
    let warnings: Vec<_> = program.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["line 2, column 1: warning: nothing behind `stop` is ever reached"]);
}

#[test]
fn with_ihave_errors_wait_until_they_are_reached() {
    let script =
        b"require \"ihave\"; if ihave \"nothing\" { nonsense; } elsif ihave \"fileinto\" { fileinto \"a\"; }";
    let program = Language::standard().compile(script).unwrap();
    assert_eq!(program.warnings().len(), 1);
    assert!(program.extensions().contains(&"fileinto".to_owned()));
}

#[test]
fn a_language_without_extensions_has_none() {
    assert_eq!(Language::base().extensions().count(), 0);
    assert!(Language::base().compile(b"require \"fileinto\";").is_err());
}

#[test]
fn variables_are_limited() {
    let script: String = (0..200).map(|number| format!("set \"v{number}\" \"\";")).collect();
    let found = errors(&format!("require \"variables\"; {script}"));
    assert!(found.first().is_some_and(|first| first.contains("more than 128 variables")), "{found:?}");
}

#[test]
fn what_is_printed_compiles_to_the_same() {
    let script = b"require [\"fileinto\", \"variables\"]; if anyof (header :matches \"a\" \"*\\\"\", not true) { set \"x\" text:\r\n..a\r\n.\r\n; fileinto \"${x}\"; } else { stop; }";
    let tree = Script::parse(script, &Limits::default()).unwrap();
    let printed = tree.to_string();
    let again = Script::parse(printed.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(again.to_string(), printed);
    let language = Language::standard();
    assert_eq!(language.check(&tree).unwrap().len(), language.check(&again).unwrap().len());
}
