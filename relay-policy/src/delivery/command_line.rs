//! The words of a program that an alias or a forward names.

/// A program and its arguments, taken apart without a shell.
///
/// Words are separated by spaces; quotes, double and single, hold words together, and a backslash takes what follows as it is.
/// What only a shell would understand is refused and not passed on as an argument that nobody meant.
///
/// ```
/// use mailwright_relay_policy::delivery::CommandLine;
///
/// let line = CommandLine::parse(r#"/usr/bin/vacation -m 'my text' alice"#)?;
/// assert_eq!(line.program(), "/usr/bin/vacation");
/// assert_eq!(line.arguments(), ["-m", "my text", "alice"]);
/// assert!(CommandLine::parse("exec filter || exit 75").is_err());
/// # Ok::<(), mailwright_relay_policy::delivery::CommandLineError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    program: String,
    arguments: Vec<String>,
}

/// Why a text is no [`CommandLine`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandLineError {
    /// There is nothing.
    #[error("expected the name of a program")]
    Empty,
    /// A quote without its end.
    #[error("expected a closing {0} in the command")]
    OpenQuote(char),
    /// Something for a shell.
    #[error("programs are run without a shell: put {0:?} in quotes, or what needs it into a script")]
    Shell(char),
    /// A control character.
    #[error("expected no control characters in the command")]
    Control,
}

/// What means something to a shell outside of quotes.
const SHELL: &[char] =
    &['|', '&', ';', '<', '>', '(', ')', '$', '`', '*', '?', '[', ']', '#', '~', '{', '}', '!'];

impl CommandLine {
    /// Takes a line apart.
    ///
    /// # Errors
    /// What cannot be run as it is written.
    pub fn parse(text: &str) -> Result<Self, CommandLineError> {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let mut letters = text.chars();
        let mut quote = None;
        while let Some(letter) = letters.next() {
            if letter.is_control() && letter != '\t' {
                return Err(CommandLineError::Control);
            }
            match (quote, letter) {
                (Some(end), letter) if letter == end => quote = None,
                (None | Some('"'), '\\') => word.get_or_insert_default().extend(letters.next()),
                // In double quotes a shell would look for these, too.
                (Some('"'), '$' | '`') => return Err(CommandLineError::Shell(letter)),
                (Some(_), letter) => word.get_or_insert_default().push(letter),
                (None, '"' | '\'') => {
                    quote = Some(letter);
                    word.get_or_insert_default();
                }
                (None, ' ' | '\t') => words.extend(word.take()),
                (None, letter) if SHELL.contains(&letter) => return Err(CommandLineError::Shell(letter)),
                (None, letter) => word.get_or_insert_default().push(letter),
            }
        }
        if let Some(quote) = quote {
            return Err(CommandLineError::OpenQuote(quote));
        }
        words.extend(word);
        let mut words = words.into_iter();
        let program = words.next().filter(|program| !program.is_empty()).ok_or(CommandLineError::Empty)?;
        Ok(Self { program, arguments: words.collect() })
    }

    /// The program.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// What stands behind it.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (text, expected) in [
            ("a", &["a"][..]),
            (" a  b\tc ", &["a", "b", "c"]),
            (r#""a b" 'c "d"' e\ f"#, &["a b", "c \"d\"", "e f"]),
            (r"a '' x'y'z", &["a", "", "xyz"]),
            (r"a 'x\y' '$HOME *'", &["a", "x\\y", "$HOME *"]),
            ("a -x=1,2:@%+/.", &["a", "-x=1,2:@%+/."]),
        ] {
            let line = CommandLine::parse(text).unwrap();
            let mut words = vec![line.program()];
            words.extend(line.arguments().iter().map(String::as_str));
            assert_eq!(words, expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        for (text, expected) in [
            ("", CommandLineError::Empty),
            ("  ", CommandLineError::Empty),
            ("'' x", CommandLineError::Empty),
            ("a 'b", CommandLineError::OpenQuote('\'')),
            ("a \"b", CommandLineError::OpenQuote('"')),
            ("IFS=' ' && exec /usr/bin/procmail", CommandLineError::Shell('&')),
            ("a > /tmp/x", CommandLineError::Shell('>')),
            ("a $SENDER", CommandLineError::Shell('$')),
            ("a \"$SENDER\"", CommandLineError::Shell('$')),
            ("a `id`", CommandLineError::Shell('`')),
            ("a\nb", CommandLineError::Control),
        ] {
            assert_eq!(CommandLine::parse(text), Err(expected), "{text}");
        }
    }
}
