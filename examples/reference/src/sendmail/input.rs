//! What a program gives on standard input, line by line, whatever its lines end with.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, Read},
};

use super::{
    message::{Author, Head, complete},
    options::Options,
    submit::{Failure, Line},
};

/// The longest header, in octets.
const LONGEST_HEADER: usize = 1 << 20;

/// A message, line by line.
pub(super) struct Input<R> {
    lines: BufReader<R>,
    dot_is_data: bool,
    /// The first lines of the body, if they were read to find out that the header has ended.
    first: VecDeque<Vec<u8>>,
    /// So many empty lines come next: carriage returns that ended them were read together.
    empty: u64,
    /// Whether what comes next stands behind a line feed, where alone a dot can be the end.
    behind_feed: bool,
    ended: bool,
}

/// What a part of the body ends with.
#[derive(PartialEq, Eq)]
enum End {
    Feed,
    Return,
    /// There is more of the line.
    Nothing,
    Input,
}

impl<R: Read> Input<R> {
    /// If a dot alone is not data, it is the end.
    pub(super) fn new(from: R, dot_is_data: bool) -> Self {
        Self {
            lines: BufReader::with_capacity(64 * 1024, from),
            dot_is_data,
            first: VecDeque::new(),
            empty: 0,
            behind_feed: true,
            ended: false,
        }
    }

    /// Reads the header and completes it.
    pub(super) fn head(&mut self, author: &Author, options: &Options) -> Result<Head, Failure> {
        let raw = self.header()?;
        complete(&raw, author, options)
    }

    /// The lines of the header, with CRLF. What does not look like a field is the body's.
    fn header(&mut self) -> Result<Vec<u8>, Failure> {
        let mut header: Vec<u8> = Vec::new();
        while let Some(mut line) = self.header_line().map_err(|error| Failure::Later(error.to_string()))? {
            if line == b"\r\n" {
                return Ok(header);
            }
            let goes_on = !header.is_empty() && matches!(line.first(), Some(b' ' | b'\t'));
            if !goes_on && !is_field(&line) {
                // An mbox line in front is left out, as others do.
                if header.is_empty() && line.starts_with(b"From ") {
                    continue;
                }
                self.first = lines(&line);
                self.behind_feed = line.ends_with(b"\r\n");
                return Ok(header);
            }
            // In a field it must not end a line: what comes behind it is no field of the program's.
            let content = line.len() - if line.ends_with(b"\r\n") { 2 } else { 0 };
            line.iter_mut().take(content).filter(|octet| **octet == b'\r').for_each(|octet| *octet = b' ');
            header.extend(line);
            if header.len() > LONGEST_HEADER {
                return Err(Failure::Message(format!("the header has more than {LONGEST_HEADER} octets")));
            }
        }
        Ok(header)
    }

    /// A part of a line, or a whole one, with CRLF at its end whatever it had.
    fn header_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        // A line without end is no reason to keep all of it in memory.
        (&mut self.lines).take(LONGEST_HEADER as u64).read_until(b'\n', &mut line)?;
        if line.is_empty() || (!self.dot_is_data && matches!(&line[..], b".\n" | b".\r\n" | b".")) {
            self.ended = true;
            return Ok(None);
        }
        let whole = line.ends_with(b"\n");
        if whole {
            line.pop();
            while line.ends_with(b"\r") {
                line.pop();
            }
        }
        if whole || self.peek()?.is_none() {
            line.extend(b"\r\n");
        }
        Ok(Some(line))
    }

    /// A line of the body or a part of one. RFC 5321 §2.3.8: CR and LF go together, so a CR alone, as programs write it that show how far
    /// they are, ends a line as a LF alone does.
    fn body_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Some(first) = self.first.pop_front() {
            return Ok(Some(first));
        }
        if self.empty > 0 {
            self.empty -= 1;
            return Ok(Some(b"\r\n".to_vec()));
        }
        if self.ended {
            return Ok(None);
        }
        let (mut line, end) = self.part()?;
        let last = !self.dot_is_data && self.behind_feed && line == b".";
        if (last && matches!(end, End::Feed | End::Input)) || (line.is_empty() && end == End::Input) {
            self.ended = true;
            return Ok(None);
        }
        self.behind_feed = end == End::Feed;
        if end != End::Nothing {
            line.extend(b"\r\n");
        }
        Ok(Some(line))
    }

    /// What is in front of the next end of a line, and what that was.
    fn part(&mut self) -> io::Result<(Vec<u8>, End)> {
        let mut line = Vec::new();
        loop {
            if self.peek()?.is_none() {
                return Ok((line, End::Input));
            }
            let buffer = self.lines.buffer();
            let buffer = buffer.get(..LONGEST_HEADER - line.len()).unwrap_or(buffer);
            let at = buffer.iter().position(|octet| matches!(octet, b'\r' | b'\n'));
            let content = buffer.get(..at.unwrap_or(buffer.len())).unwrap_or_default();
            line.extend_from_slice(content);
            let (count, ends_with) = (content.len(), at.and_then(|at| buffer.get(at)).copied());
            self.lines.consume(count + usize::from(at.is_some()));
            match ends_with {
                Some(b'\n') => return Ok((line, End::Feed)),
                Some(_) => return Ok((line, self.behind_return()?)),
                None if line.len() >= LONGEST_HEADER => {
                    let end = if self.peek()?.is_some() { End::Nothing } else { End::Input };
                    return Ok((line, end));
                }
                None => {}
            }
        }
    }

    /// Behind a CR: however many stand in front of a LF, that is one end of a line; else each is one.
    fn behind_return(&mut self) -> io::Result<End> {
        let mut more = 0;
        loop {
            match self.peek()? {
                Some(b'\r') => more += 1,
                Some(b'\n') => {
                    self.lines.consume(1);
                    return Ok(End::Feed);
                }
                _ => {
                    self.empty = more;
                    return Ok(End::Return);
                }
            }
            self.lines.consume(1);
        }
    }

    /// The next octet, which stays where it is.
    fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.lines.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map(|buffer| buffer.first().copied()),
            }
        }
    }
}

impl<R: Read> Line for Input<R> {
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.body_line()
    }
}

/// A line that was taken for one of the header's, with a CR inside ending one, too.
fn lines(line: &[u8]) -> VecDeque<Vec<u8>> {
    let (content, end) = match line.strip_suffix(b"\r\n") {
        Some(content) => (content, &b"\r\n"[..]),
        None => (line, &[][..]),
    };
    let parts: Vec<&[u8]> = content.split(|octet| *octet == b'\r').collect();
    let last = parts.len() - 1;
    let ended =
        |(number, part): (usize, &&[u8])| [*part, if number == last { end } else { b"\r\n" }].concat();
    parts.iter().enumerate().map(ended).collect()
}

/// RFC 5322 §2.2: a name of printable letters, then a colon.
fn is_field(line: &[u8]) -> bool {
    let name = line.split(|octet| *octet == b':').next().unwrap_or_default();
    let name = name.trim_ascii_end();
    name.len() < line.len() - 2 && !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header as it is sent, and the body.
    fn read(from: impl Read, arguments: &str) -> (Head, String) {
        let options = Options::parse(arguments.split(' ').map(str::to_owned)).unwrap();
        let author = Author {
            login: "ann".into(),
            full_name: String::new(),
            origin: "a.example".into(),
            hostname: "mail.a.example".into(),
        };
        let mut input = Input::new(from, options.dot_is_data);
        let head = input.head(&author, &options).unwrap();
        let mut body = Vec::new();
        while let Some(line) = input.next_line().unwrap() {
            body.extend(line);
        }
        (head, String::from_utf8(body).unwrap())
    }

    /// Gives octets one by one, so that each end of a buffer is tried.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            self.0 = rest;
            buffer[0] = *first;
            Ok(1)
        }
    }

    #[test]
    fn a_carriage_return_alone_ends_a_line_of_the_body() {
        for (text, arguments, expected) in [
            ("  10%\r 100%\r\ndone", "bob", "  10%\r\n 100%\r\ndone\r\n"),
            ("a\rb\r", "bob", "a\r\nb\r\n"),
            ("a\r\rb\n", "bob", "a\r\n\r\nb\r\n"),
            // As a converter leaves it that was run twice.
            ("a\r\r\nb\r\r\n", "bob", "a\r\nb\r\n"),
            // Only what stands alone between ends of lines as programs write them is the end.
            ("a\r.\rb\r.\nc\n.\nno\n", "bob", "a\r\n.\r\nb\r\n.\r\nc\r\n"),
            ("a\n.\r\nno\n", "bob", "a\r\n"),
            ("a\n.\rb\n", "-i bob", "a\r\n.\r\nb\r\n"),
            ("a\n.", "bob", "a\r\n"),
            ("\r", "bob", "\r\n"),
        ] {
            let message = format!("Subject: x\n\n{text}");
            assert_eq!(read(Drops(message.as_bytes()), arguments).1, expected, "{text:?}");
            assert_eq!(read(message.as_bytes(), arguments).1, expected, "{text:?}");
        }
        // Without a header, and in one, where it can begin no field.
        assert_eq!(read(&b"1%\r2%\r\rdone\nx"[..], "bob").1, "1%\r\n2%\r\n\r\ndone\r\nx\r\n");
        let (head, body) = read(&b"Subject: a\rBcc: eve@e.example\r\r\nTo: x\r\n\r\nb\n"[..], "-t bob");
        let header = String::from_utf8(head.octets.clone()).unwrap();
        assert!(header.contains("\r\nSubject: a Bcc: eve@e.example\r\nTo: x\r\n"), "{header}");
        assert_eq!((head.recipients.len(), &*body), (2, "b\r\n"));
        let long =
            format!("Subject: x\n\n{}\r{}", "y".repeat(LONGEST_HEADER + 7), "z".repeat(LONGEST_HEADER));
        let expected = long.replace('\r', "\r\n").split_off(12) + "\r\n";
        assert!(read(long.as_bytes(), "bob").1 == expected);
    }
}
