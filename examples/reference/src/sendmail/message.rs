//! The message as a program wrote it, and what it lacks.

use std::time::{SystemTime, UNIX_EPOCH};

use mailwright::mail_model::{
    Address, DateTime, LocalPart,
    address_list::{self, Entry},
    header::{self, Fields},
};

use super::{options::Options, submit::Failure};

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

/// The header with what it lacks, and the envelope.
pub(super) fn complete(raw: &[u8], author: &Author, options: &Options) -> Result<Head, Failure> {
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
    use super::{
        super::{input::Input, submit::Line},
        *,
    };

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
