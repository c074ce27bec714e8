//! A script as text again: one command a line, blocks indented, comments where they were.

use std::fmt;

use crate::{Argument, ArgumentKind, Command, Comment, Comments, Script, StringLiteral, Test, lexer::Raw};

impl fmt::Display for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        commands(formatter, &self.commands, 0)?;
        comments(formatter, &self.comments, 0)
    }
}

fn commands(formatter: &mut fmt::Formatter<'_>, list: &[Command], depth: usize) -> fmt::Result {
    let none = Comments::default();
    for command in list {
        let around = command.comments.as_deref().unwrap_or(&none);
        comments(formatter, &around.before, depth)?;
        indent(formatter, depth)?;
        formatter.write_str(&command.name)?;
        arguments(formatter, &command.arguments)?;
        tests(formatter, &command.tests)?;
        match &command.block {
            Some(block) => {
                formatter.write_str(" {")?;
                line_end(formatter, &around.opening, depth + 1)?;
                commands(formatter, block, depth + 1)?;
                comments(formatter, &around.closing, depth + 1)?;
                indent(formatter, depth)?;
                formatter.write_str("}")?;
            }
            None => formatter.write_str(";")?,
        }
        line_end(formatter, &around.behind, depth)?;
    }
    Ok(())
}

fn indent(formatter: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
    write!(formatter, "{:1$}", "", depth * 4)
}

/// Comments on lines of their own.
fn comments(formatter: &mut fmt::Formatter<'_>, list: &[Comment], depth: usize) -> fmt::Result {
    for comment in list {
        indent(formatter, depth)?;
        write!(formatter, "{}\r\n", comment.text())?;
    }
    Ok(())
}

/// The end of a line, with the comments behind what it says.
fn line_end(formatter: &mut fmt::Formatter<'_>, list: &[Comment], depth: usize) -> fmt::Result {
    let mut open = false;
    for comment in list {
        // In trees that were never parsed a comment may follow one that takes the rest of its line.
        if open {
            formatter.write_str("\r\n")?;
            indent(formatter, depth)?;
        } else {
            formatter.write_str(" ")?;
        }
        formatter.write_str(comment.text())?;
        open = comment.is_open();
    }
    formatter.write_str("\r\n")
}

fn arguments(formatter: &mut fmt::Formatter<'_>, list: &[Argument]) -> fmt::Result {
    for argument in list {
        match &argument.kind {
            ArgumentKind::Tag(name) => write!(formatter, " :{name}")?,
            ArgumentKind::Number(value) => {
                formatter.write_str(" ")?;
                number(formatter, *value)?;
            }
            ArgumentKind::String(literal) => {
                formatter.write_str(" ")?;
                string(formatter, literal)?;
            }
            ArgumentKind::StringList(literals) => {
                for (index, literal) in literals.iter().enumerate() {
                    formatter.write_str(if index == 0 { " [" } else { ", " })?;
                    string(formatter, literal)?;
                }
                formatter.write_str("]")?;
            }
        }
    }
    Ok(())
}

fn tests(formatter: &mut fmt::Formatter<'_>, list: &[Test]) -> fmt::Result {
    for (index, test) in list.iter().enumerate() {
        formatter.write_str(match (index, list.len()) {
            (0, 1) => " ",
            (0, _) => " (",
            _ => ", ",
        })?;
        formatter.write_str(&test.name)?;
        arguments(formatter, &test.arguments)?;
        tests(formatter, &test.tests)?;
    }
    if list.len() > 1 { formatter.write_str(")") } else { Ok(()) }
}

/// A number with the largest quantifier that divides it (RFC 5228 §2.4.1).
fn number(formatter: &mut fmt::Formatter<'_>, value: u64) -> fmt::Result {
    let quantifiers = [(30, "G"), (20, "M"), (10, "K")];
    match quantifiers.iter().find(|(shift, _)| value > 0 && value.is_multiple_of(1 << shift)) {
        Some((shift, quantifier)) => write!(formatter, "{}{quantifier}", value >> shift),
        None => write!(formatter, "{value}"),
    }
}

/// Whole lines as `text:`, where that gives the same octets. Quoted strings hold everything else, line ends included (RFC 5228 §2.4.2).
fn string(formatter: &mut fmt::Formatter<'_>, literal: &StringLiteral) -> fmt::Result {
    let value = literal.value.as_str();
    if value.ends_with("\r\n") {
        let stuffed = stuffed(value);
        if Raw::Lines(&stuffed).value() == value {
            return write!(formatter, "text:\r\n{stuffed}.\r\n");
        }
    }
    write!(formatter, "\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// RFC 5228 §2.4.2: a dot that begins a line is doubled.
fn stuffed(lines: &str) -> String {
    let mut stuffed = String::with_capacity(lines.len());
    for line in lines.split_inclusive('\n') {
        stuffed.extend(line.starts_with('.').then_some('.'));
        stuffed.push_str(line);
    }
    stuffed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smol_str::SmolStr;

    use super::*;
    use crate::{Limits, Position};

    fn literal() -> impl Strategy<Value = StringLiteral> {
        prop_oneof!["[a\"\\\\.é\r\n ]{0,8}", "([.a é\"]{0,3}\r\n){1,3}"]
            .prop_map(|value| StringLiteral { position: Position::default(), value: value.into() })
    }

    fn name() -> impl Strategy<Value = SmolStr> + Clone {
        "[a-z_][a-z0-9_]{0,5}".prop_map(SmolStr::from)
    }

    fn argument() -> impl Strategy<Value = Argument> {
        prop_oneof![
            name().prop_map(ArgumentKind::Tag),
            any::<u64>().prop_map(ArgumentKind::Number),
            literal().prop_map(ArgumentKind::String),
            prop::collection::vec(literal(), 1..4).prop_map(ArgumentKind::StringList),
        ]
        .prop_map(|kind| Argument { position: Position::default(), kind })
    }

    fn test() -> impl Strategy<Value = Test> {
        let name = name();
        let leaf = (name.clone(), prop::collection::vec(argument(), 0..3))
            .prop_map(|(name, arguments)| Test { name, arguments, ..Test::default() });
        leaf.prop_recursive(3, 12, 3, move |inner| {
            (name.clone(), prop::collection::vec(argument(), 0..2), prop::collection::vec(inner, 1..3))
                .prop_map(|(name, arguments, tests)| Test { name, arguments, tests, ..Test::default() })
        })
    }

    fn comment() -> impl Strategy<Value = Comment> {
        "#[ a*/é]{0,4}|/[*]([ aé#/]|\r\n){0,4}[*]/".prop_map(|text| Comment::new(&text).unwrap())
    }

    /// Comments on one line, of which only the last may go to its end.
    fn line() -> impl Strategy<Value = Vec<Comment>> {
        prop::collection::vec(comment(), 0..3).prop_map(|mut comments| {
            let open = comments.iter().position(Comment::is_open).unwrap_or(comments.len());
            comments.truncate(open + 1);
            comments
        })
    }

    fn around() -> impl Strategy<Value = Comments> {
        let lines = || prop::collection::vec(comment(), 0..2);
        (lines(), line(), lines(), line()).prop_map(|(before, opening, closing, behind)| Comments {
            before,
            opening,
            closing,
            behind,
        })
    }

    fn command() -> impl Strategy<Value = Command> {
        let head = || {
            let (arguments, tests) =
                (prop::collection::vec(argument(), 0..3), prop::collection::vec(test(), 0..3));
            (name(), arguments, tests, around())
        };
        let build = |(name, arguments, tests, mut comments): (_, _, _, Comments), block: Option<_>| {
            if block.is_none() {
                comments = Comments { opening: Vec::new(), closing: Vec::new(), ..comments };
            }
            let comments = (comments != Comments::default()).then(|| Box::new(comments));
            Command { name, arguments, tests, block, comments, ..Command::default() }
        };
        head().prop_map(move |head| build(head, None)).prop_recursive(3, 12, 3, move |inner| {
            (head(), prop::option::of(prop::collection::vec(inner, 0..3)))
                .prop_map(move |(head, block)| build(head, block))
        })
    }

    /// What scripts are made of, so that many a row of these is one.
    const PIECES: &[&str] = &[
        "keep;",
        "keep ",
        "if true {",
        "}",
        "}",
        ";",
        " # a\r\n",
        "# b\n",
        "/* c */",
        "/* d\n e */",
        "\n",
        "\r\n",
        " ",
        "x text: # f\n..g\n.\n;",
        "x \"\r\n\";",
        "x [\"a\", # h\n \"b\"];",
        "1023",
        " 3G ",
        "(",
        "a, b)",
    ];

    #[test]
    fn a_script_is_printed_as_people_write_it() {
        let script = "# rule:[tea]\nIF size :over 100K { # large\nreject text: # why\nNo.\n..\n.\n; /* so */\n# end\n}\n\
            else { vacation :days 7 \"a\\\"b\"; x [\"a\nb\", \"1\"] 1048576 3221225472 1025 0; }\n# rule:[none]\n";
        let expected = "# rule:[tea]\nif size :over 100K { # large\n    # why\n    reject text:\nNo.\n..\n.\n; /* so */\n    # end\n}\n\
            else {\n    vacation :days 7 \"a\\\"b\";\n    x [\"a\nb\", \"1\"] 1M 3G 1025 0;\n}\n# rule:[none]\n";
        let printed = Script::parse(script.as_bytes(), &Limits::default()).unwrap().to_string();
        assert_eq!(printed.replace("\r\n", "\n"), expected, "{printed}");
    }

    #[test]
    fn comments_that_never_were_parsed_hide_nothing() {
        let comment = |text| Comment::new(text).unwrap();
        let behind = vec![comment("# a"), comment("/* b\n keep; */")];
        let comments = Some(Box::new(Comments { behind, ..Comments::default() }));
        let stop = || Command { name: "stop".into(), ..Command::default() };
        let script = Script { commands: vec![Command { comments, ..stop() }, stop()], comments: Vec::new() };
        let parsed = Script::parse(script.to_string().as_bytes(), &Limits::default()).unwrap();
        assert_eq!(parsed.commands.len(), 2);
        assert_eq!(parsed.commands[1].comments.as_ref().unwrap().before.len(), 1);
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same_tree(
            commands in prop::collection::vec(command(), 0..4),
            comments in prop::collection::vec(comment(), 0..3),
        ) {
            let script = Script { commands, comments };
            let printed = script.to_string();
            let parsed = Script::parse(printed.as_bytes(), &Limits::default()).unwrap();
            prop_assert_eq!(parsed.without_positions(), script, "{}", printed);
        }

        #[test]
        fn a_script_is_given_back(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..24)) {
            let text = pieces.concat();
            if let Ok(script) = Script::parse(text.as_bytes(), &Limits::default()) {
                let printed = script.to_string();
                let again = Script::parse(printed.as_bytes(), &Limits::default()).unwrap();
                prop_assert_eq!(again.without_positions(), script.without_positions(), "{}", printed);
            }
        }

        #[test]
        fn no_octets_make_it_panic(octets in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Script::parse(&octets, &Limits::default());
        }
    }
}
