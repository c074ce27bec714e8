//! Sessions written down as text.

use std::time::Duration;

/// Which side of a transcript a machine plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Side {
    /// The machine sends the `C:` lines.
    Client,
    /// The machine sends the `S:` lines.
    Server,
}

/// A session as text, one line a step:
///
/// ```text
/// # a comment; empty lines are skipped too
/// S: 220 mail.example.org ESMTP      a line with its CRLF
/// C| EHLO a\r\nMAIL                  octets as they are: \r \n \t \0 \\ \xHH
/// T: 300                             so many seconds pass
/// EOF:                               the peer (of whichever side is tested) ends its stream
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One step of a [`Transcript`]. Lines of one side that follow each other are one step.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The client sends this.
    Client(Vec<u8>),
    /// The server sends this.
    Server(Vec<u8>),
    /// Time passes.
    Time(Duration),
    /// The tested machine's peer ends its stream.
    Eof,
}

impl Transcript {
    /// Reads a transcript.
    ///
    /// # Errors
    /// The first line that is none of the forms above, as a message.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || format!("line {}: not a transcript line: {line:?}", number + 1);
            let (mark, rest) = line
                .char_indices()
                .find(|(_, letter)| matches!(letter, ':' | '|'))
                .and_then(|(at, _)| line.split_at_checked(at + 1))
                .ok_or_else(wrong)?;
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            let step = match mark {
                "C:" => Step::Client([rest.as_bytes(), b"\r\n"].concat()),
                "S:" => Step::Server([rest.as_bytes(), b"\r\n"].concat()),
                "C|" => Step::Client(unescape(rest).ok_or_else(wrong)?),
                "S|" => Step::Server(unescape(rest).ok_or_else(wrong)?),
                "T:" => Step::Time(Duration::from_secs(rest.trim().parse().map_err(|_| wrong())?)),
                "EOF:" => Step::Eof,
                _ => return Err(wrong()),
            };
            match (steps.last_mut(), step) {
                (Some(Step::Client(sent)), Step::Client(more))
                | (Some(Step::Server(sent)), Step::Server(more)) => {
                    sent.extend(more);
                }
                (_, step) => steps.push(step),
            }
        }
        Ok(Self { steps })
    }

    /// All that the peer of `side` sends.
    pub fn input(&self, side: Side) -> Vec<u8> {
        let mut all = Vec::new();
        for step in &self.steps {
            match (step, side) {
                (Step::Client(sent), Side::Server) | (Step::Server(sent), Side::Client) => all.extend(sent),
                _ => {}
            }
        }
        all
    }
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            octets.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        octets.push(match letters.next()? {
            'r' => b'\r',
            'n' => b'\n',
            't' => b'\t',
            '0' => 0,
            '\\' => b'\\',
            'x' => {
                let (high, low) = (letters.next()?.to_digit(16)?, letters.next()?.to_digit(16)?);
                (high * 16 + low) as u8
            }
            _ => return None,
        });
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        let text = "# hello\n\nS: 220 x\nC| A\\r\\n\\x41\\0\nC: B\nT: 3\nEOF:\n";
        assert_eq!(
            Transcript::parse(text).unwrap().steps,
            [
                Step::Server(b"220 x\r\n".to_vec()),
                Step::Client(b"A\r\nA\0B\r\n".to_vec()),
                Step::Time(Duration::from_secs(3)),
                Step::Eof,
            ]
        );
        assert!(Transcript::parse("X: y").unwrap_err().contains("line 1"));
    }
}
