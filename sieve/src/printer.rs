//! A script as text again: one command a line, blocks indented.

use std::fmt;

use crate::{Argument, ArgumentKind, Command, Script, StringLiteral, Test};

impl fmt::Display for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        commands(formatter, &self.commands, 0)
    }
}

fn commands(formatter: &mut fmt::Formatter<'_>, list: &[Command], depth: usize) -> fmt::Result {
    for command in list {
        write!(formatter, "{:1$}{2}", "", depth * 4, command.name)?;
        arguments(formatter, &command.arguments)?;
        tests(formatter, &command.tests)?;
        match &command.block {
            Some(block) => {
                formatter.write_str(" {\r\n")?;
                commands(formatter, block, depth + 1)?;
                write!(formatter, "{:1$}}}\r\n", "", depth * 4)?;
            }
            None => formatter.write_str(";\r\n")?,
        }
    }
    Ok(())
}

fn arguments(formatter: &mut fmt::Formatter<'_>, list: &[Argument]) -> fmt::Result {
    for argument in list {
        match &argument.kind {
            ArgumentKind::Tag(name) => write!(formatter, " :{name}")?,
            ArgumentKind::Number(number) => write!(formatter, " {number}")?,
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

/// Quoted strings hold everything, line ends included (RFC 5228 §2.4.2).
fn string(formatter: &mut fmt::Formatter<'_>, literal: &StringLiteral) -> fmt::Result {
    write!(formatter, "\"{}\"", literal.value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smol_str::SmolStr;

    use super::*;
    use crate::{Limits, Position};

    fn literal() -> impl Strategy<Value = StringLiteral> {
        "[a\"\\\\.é\r\n ]{0,8}"
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

    fn command() -> impl Strategy<Value = Command> {
        let head = || (name(), prop::collection::vec(argument(), 0..3), prop::collection::vec(test(), 0..3));
        let build =
            |(name, arguments, tests), block| Command { name, arguments, tests, block, ..Command::default() };
        head().prop_map(move |head| build(head, None)).prop_recursive(3, 12, 3, move |inner| {
            (head(), prop::option::of(prop::collection::vec(inner, 0..3)))
                .prop_map(move |(head, block)| build(head, block))
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same_tree(commands in prop::collection::vec(command(), 0..4)) {
            let script = Script { commands };
            let printed = script.to_string();
            let parsed = Script::parse(printed.as_bytes(), &Limits::default()).unwrap();
            prop_assert_eq!(parsed.to_string(), printed);
        }

        #[test]
        fn no_octets_make_it_panic(octets in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Script::parse(&octets, &Limits::default());
        }
    }
}
