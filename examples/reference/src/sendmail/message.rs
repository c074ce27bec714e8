//! The message as a program wrote it, and what it lacks.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, Read},
    time::{SystemTime, UNIX_EPOCH},
};

use mailwright::mail_model::{
    Address, DateTime, LocalPart,
    address_list::{self, Entry},
    header::{self, Fields},
};

use super::{
    options::Options,
    submit::{Failure, Line},
};

/// The longest header, in octets.
const LONGEST_HEADER: usize = 1 << 20;

/// Who sends it.
pub(super) struct Author {
    pub(super) login: String,
    pub(super) full_name: String,
    /// The domain of names without one.
    pub(super) origin: String,
    pub(super) hostname: String,
}

impl Author {
    /// An address as it was named; a name alone is in our domain.
    pub(super) fn address(&self, text: &str) -> Result<Address, Failure> {
        let text = text.trim();
        let text = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
        let whole = if text.contains('@') { text.to_owned() } else { format!("{text}@{}", self.origin) };
        whole.parse().map_err(|error| Failure::Usage(format!("{text:?} is not an address: {error}")))
    }

    /// The addresses of an argument: as they are, with commas, or as a header field has them (RFC 5322 §3.4).
    pub(super) fn addresses(&self, text: &str) -> Result<Vec<Address>, Failure> {
        if !text.contains(['<', '"', '(']) {
            let named = text.split(',').filter(|part| !part.trim().is_empty());
            return named.map(|part| self.address(part)).collect();
        }
        let wrong = || Failure::Usage(format!("{text:?} is not an address"));
        let (entries, whole) = address_list::parse_telling(text.as_bytes());
        let found = listed(entries, self).map_err(|_| wrong())?;
        if whole && !found.is_empty() { Ok(found) } else { Err(wrong()) }
    }

    /// The author's own address.
    pub(super) fn own(&self) -> Result<Address, Failure> {
        self.address(&self.login)
    }
}

/// What is in front of the body, and who gets it.
#[derive(Debug)]
pub(super) struct Head {
    /// The header with the empty line behind it, with CRLF.
    pub(super) octets: Vec<u8>,
    /// The sender; none is the null sender.
    pub(super) sender: Option<Address>,
    pub(super) recipients: Vec<Address>,
}

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

/// The header with what it lacks, and the envelope.
fn complete(raw: &[u8], author: &Author, options: &Options) -> Result<Head, Failure> {
    let resent = Fields::new(raw).any(|field| field.name().to_ascii_lowercase().starts_with("resent-"));
    let prefix = if resent { "Resent-" } else { "" };
    let mut recipients = Vec::new();
    for argument in &options.recipients {
        recipients.extend(author.addresses(argument)?);
    }
    if options.from_header {
        for field in ["To", "Cc", "Bcc"] {
            for found in header::find_all(raw, &format!("{prefix}{field}")) {
                let named = listed(address_list::parse(found.value()), author);
                recipients.extend(named.map_err(|wrong| {
                    Failure::Message(format!("the header names {wrong}, which is not an address"))
                })?);
            }
        }
    }
    let mut once = std::collections::HashSet::new();
    recipients.retain(|recipient| once.insert(recipient.clone()));
    if recipients.is_empty() {
        let text = match options.from_header {
            true => "no recipients: -t was given, but the header has none in To, Cc or Bcc",
            false => "no recipients: name them behind the options, or give -t to take them from the header",
        };
        return Err(Failure::Usage(text.into()));
    }
    let sender = match options.sender.as_deref().map(str::trim) {
        Some("" | "<>") => None,
        Some(sender) => match &author.addresses(sender)?[..] {
            [only] => Some(only.clone()),
            _ => return Err(Failure::Usage(format!("-f {sender:?} is not one address"))),
        },
        None => Some(author.own()?),
    };
    let mut octets = Vec::new();
    for (name, value) in missing(raw, prefix, author, sender.as_ref())? {
        octets.extend(format!("{prefix}{name}: {value}\r\n").bytes());
    }
    for field in Fields::new(raw) {
        // Whoever is named in Bcc is not to be known, and Return-Path is for the last server to write.
        if !["Bcc", "Resent-Bcc", "Return-Path", "Content-Length"].iter().any(|name| field.is(name)) {
            octets.extend_from_slice(field.raw());
        }
    }
    if !octets.ends_with(b"\r\n") {
        octets.extend(b"\r\n");
    }
    octets.extend(b"\r\n");
    Ok(Head { octets, sender, recipients })
}

/// RFC 5322 §3.6 wants From and Date; RFC 6409 §8 lets them be added, and Message-ID.
fn missing(
    raw: &[u8],
    prefix: &str,
    author: &Author,
    sender: Option<&Address>,
) -> Result<Vec<(&'static str, String)>, Failure> {
    let lacks = |name: &str| header::find(raw, &format!("{prefix}{name}")).is_none();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut fields = Vec::new();
    if lacks("From") {
        let own = author.own()?;
        let address = sender.unwrap_or(&own);
        fields.push((
            "From",
            if author.full_name.is_empty() { address.to_string() } else { named(&author.full_name, address) },
        ));
    }
    if lacks("Date") {
        let seconds = i64::try_from(since.as_secs()).unwrap_or(0);
        fields.push(("Date", DateTime::new(seconds, 0).unwrap_or(DateTime::EPOCH).to_rfc5322()));
    }
    if lacks("Message-ID") {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| Failure::Later(error.to_string()))?;
        let random: String = random.iter().map(|octet| format!("{octet:02x}")).collect();
        fields.push(("Message-ID", format!("<{}.{random}@{}>", since.as_secs(), author.hostname)));
    }
    Ok(fields)
}

/// A name and an address; a name that is more than words is quoted, one beyond ASCII is encoded (RFC 2047).
fn named(name: &str, address: &Address) -> String {
    let name: String = name.chars().filter(|letter| !letter.is_control()).collect();
    if !name.is_ascii() {
        use base64::Engine as _;
        let encoded = base64::prelude::BASE64_STANDARD.encode(name.chars().take(40).collect::<String>());
        return format!("=?UTF-8?B?{encoded}?= <{address}>");
    }
    if name.chars().all(|letter| letter.is_ascii_alphanumeric() || " -_".contains(letter)) {
        return format!("{name} <{address}>");
    }
    format!("\"{}\" <{address}>", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The addresses of a list, or what is none.
fn listed(entries: Vec<Entry>, author: &Author) -> Result<Vec<Address>, String> {
    let mut found = Vec::new();
    for entry in entries {
        let Entry::Mailbox(mailbox) = entry else { continue };
        let (local, domain) =
            (String::from_utf8_lossy(&mailbox.local), String::from_utf8_lossy(&mailbox.domain));
        let wrong = || format!("{local}@{domain}");
        let local = LocalPart::from_unquoted(&local).map_err(|_| wrong())?;
        let domain = if domain.is_empty() { &author.origin } else { &*domain };
        found.push(format!("{}@{domain}", local.as_str()).parse().map_err(|_| wrong())?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author() -> Author {
        Author {
            login: "ann".into(),
            full_name: "Ann O. \"Ever\"".into(),
            origin: "a.example".into(),
            hostname: "mail.a.example".into(),
        }
    }

    fn read(text: &str, arguments: &str) -> Result<(Head, String), Failure> {
        let words = arguments.split(' ').filter(|word| !word.is_empty()).map(str::to_owned);
        let options = Options::parse(words).unwrap();
        let mut input = Input::new(text.as_bytes(), options.dot_is_data);
        let head = input.head(&author(), &options)?;
        let mut body = Vec::new();
        while let Some(line) = input.next_line().unwrap() {
            body.extend(line);
        }
        Ok((head, String::from_utf8(body).unwrap()))
    }

    fn header(head: &Head) -> String {
        String::from_utf8(head.octets.clone()).unwrap()
    }

    #[test]
    fn recipients_of_the_header_get_it_and_bcc_is_taken_out() {
        let text = "To: bob, \"Eve, E\" <eve@e.example>\nCc: team: joe@j.example, bob;\nBcc: secret@s.example,\n ghost\nSubject: hi\n\nbody\n";
        let (head, body) = read(text, "-t").unwrap();
        let recipients: Vec<_> = head.recipients.iter().map(Address::as_str).collect();
        assert_eq!(
            recipients,
            ["bob@a.example", "eve@e.example", "joe@j.example", "secret@s.example", "ghost@a.example"]
        );
        assert_eq!(head.sender.as_ref().map(Address::as_str), Some("ann@a.example"));
        let header = header(&head);
        assert!(!header.contains("ghost") && !header.contains("Bcc"), "{header}");
        assert!(header.starts_with("From: \"Ann O. \\\"Ever\\\"\" <ann@a.example>\r\nDate: "), "{header}");
        assert!(header.contains("\r\nMessage-ID: <") && header.ends_with("Subject: hi\r\n\r\n"), "{header}");
        assert_eq!(body, "body\r\n");
    }

    #[test]
    fn a_message_that_has_everything_stays_as_it_is() {
        let text = "From: x@y.test\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@y.test>\r\nTo: z@y.test\r\n\r\n.\r\nthere\r\n";
        let (head, body) = read(text, "-i -f <> bob@b.example").unwrap();
        assert_eq!(header(&head), text.split_once("\r\n\r\n").unwrap().0.to_owned() + "\r\n\r\n");
        assert_eq!((head.sender, head.recipients.len()), (None, 1));
        assert_eq!(body, ".\r\nthere\r\n");
    }

    #[test]
    fn what_resent_fields_say_counts_for_what_is_sent_again() {
        let text = "Resent-To: new@n.example\nResent-From: ann@a.example\nFrom: x@y.test\nTo: old@o.example\n\nbody\n";
        let (head, _) = read(text, "-t").unwrap();
        assert_eq!(head.recipients.iter().map(Address::as_str).collect::<Vec<_>>(), ["new@n.example"]);
        assert!(header(&head).starts_with("Resent-Date: "), "{}", header(&head));
    }

    #[test]
    fn odd_inputs() {
        // No header at all; an end by a dot; no line end at the end; an mbox line.
        for (text, expected) in [
            ("just text: really\nmore", "just text: really\r\nmore\r\n"),
            ("\nbody\n.\nnot sent\n", "body\r\n"),
            ("From ann Mon Jan  1 00:00:00 2024\nSubject: x\n\nbody", "body\r\n"),
            ("", ""),
        ] {
            let (head, body) = read(text, "bob").unwrap();
            assert_eq!(body, expected, "{text:?}");
            assert!(header(&head).ends_with("\r\n\r\n"));
        }
        assert!(matches!(read("Subject: x\n\n", ""), Err(Failure::Usage(_))));
        assert!(matches!(read("\n", "<>"), Err(Failure::Usage(_))));
        assert!(matches!(read("To: \n\n", "-t"), Err(Failure::Usage(_))));
        assert!(matches!(read("\n", "a@b@c@d."), Err(Failure::Usage(_))));
        let (head, _) = read("\n", "a,b").unwrap();
        assert_eq!(head.recipients.len(), 2);
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
            let options = Options::parse(arguments.split(' ').map(str::to_owned)).unwrap();
            let message = format!("Subject: x\n\n{text}");
            let mut input = Input::new(Drops(message.as_bytes()), options.dot_is_data);
            input.head(&author(), &options).unwrap();
            let mut body = Vec::new();
            while let Some(line) = input.next_line().unwrap() {
                body.extend(line);
            }
            assert_eq!(String::from_utf8(body).unwrap(), expected, "{text:?}");
            assert_eq!(read(&message, arguments).unwrap().1, expected, "{text:?}");
        }
        // Without a header, and in one, where it can begin no field.
        assert_eq!(read("1%\r2%\r\rdone\nx", "bob").unwrap().1, "1%\r\n2%\r\n\r\ndone\r\nx\r\n");
        let (head, body) = read("Subject: a\rBcc: eve@e.example\r\r\nTo: x\r\n\r\nb\n", "-t bob").unwrap();
        assert!(
            header(&head).contains("\r\nSubject: a Bcc: eve@e.example\r\nTo: x\r\n"),
            "{}",
            header(&head)
        );
        assert_eq!((head.recipients.len(), &*body), (2, "b\r\n"));
        let long =
            format!("Subject: x\n\n{}\r{}", "y".repeat(LONGEST_HEADER + 7), "z".repeat(LONGEST_HEADER));
        let expected = long.replace('\r', "\r\n").split_off(12) + "\r\n";
        assert!(read(&long, "bob").unwrap().1 == expected);
    }

    #[test]
    fn arguments_are_addresses_as_fields_have_them() {
        let read = |arguments: &[&str]| {
            let options = Options::parse(arguments.iter().map(|text| (*text).to_owned())).unwrap();
            let head = Input::new(&b"\n"[..], true).head(&author(), &options)?;
            let recipients: Vec<_> = head.recipients.iter().map(Address::to_string).collect();
            Ok::<_, Failure>((head.sender.map(|sender| sender.to_string()), recipients.join(" ")))
        };
        let (sender, recipients) = read(&[
            "-f",
            "Bob <b@x.example>",
            "Alice A <alice@a.example>",
            "\"Smith, Eve\" <eve@e.example>, joe (the other)",
            "<carl>",
            "\"odd one\"@o.example",
            "dan, fay@f.example",
        ])
        .unwrap();
        assert_eq!(sender.as_deref(), Some("b@x.example"));
        assert_eq!(
            recipients,
            "alice@a.example eve@e.example joe@a.example carl@a.example \"odd one\"@o.example dan@a.example fay@f.example"
        );
        for wrong in [&["-f", "a@b.example, c@d.example", "x"][..], &["Alice <alice@a.example"], &["a <@>"]] {
            assert!(matches!(read(wrong), Err(Failure::Usage(_))), "{wrong:?}");
        }
    }
}
