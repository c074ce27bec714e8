//! The messages that a script has sent: answers, refusals, notifications, reports.

use bytes::Bytes;
use mailwright_mail_model::{
    DateTime,
    address_list::{self, Entry},
    encoding::{Base64Encoder, QuotedPrintableEncoder},
    header, word,
};

use crate::{Message, Notify, Segment};

/// What the host adds to each message it sends: this crate has neither clock nor randomness.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stamp {
    /// The moment.
    pub now: DateTime,
    /// The identifier, with its brackets; unique.
    pub message_id: String,
    /// Whom it is from if the script does not say: the value of a From field.
    pub from: String,
}

impl Stamp {
    /// A stamp.
    pub fn new(now: DateTime, message_id: impl Into<String>, from: impl Into<String>) -> Self {
        Self { now, message_id: message_id.into(), from: from.into() }
    }
}

/// The header of a message that is put together.
pub(crate) struct Fields {
    header: String,
    boundary: String,
}

impl Fields {
    pub(crate) fn new(stamp: &Stamp) -> Self {
        let boundary = format!("={:032x}=", hash(&[&stamp.message_id, &stamp.from]));
        let mut fields = Self { header: String::new(), boundary };
        fields.raw("Message-ID", &stamp.message_id);
        fields.raw("Date", &stamp.now.to_rfc5322());
        fields
    }

    /// Fields for a message that has some already.
    pub(crate) fn bare() -> Self {
        Self { header: String::new(), boundary: String::new() }
    }

    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    /// A whole field of another message.
    pub(crate) fn raw_field(&mut self, field: &[u8]) {
        self.header.push_str(&lines(&String::from_utf8_lossy(field)));
        if !self.header.ends_with('\n') {
            self.header.push_str("\r\n");
        }
    }

    /// A message of a text and another message (RFC 5703 §6).
    pub(crate) fn enclosing(mut self, text: &str, hash: u128, message: &[Segment]) -> Message {
        let boundary = format!("={hash:032x}=");
        self.header.push_str(&format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n{}\r\n\
             --{boundary}\r\nContent-Type: message/rfc822\r\n\r\n",
            text_part(text)
        ));
        let mut segments = vec![Segment::Octets(Bytes::from(self.header))];
        segments.extend_from_slice(message);
        segments.push(Segment::Octets(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
        Message::of(segments)
    }

    /// A field whose value is as it is to be; line breaks are taken out of it.
    pub(crate) fn raw(&mut self, name: &str, value: &str) {
        self.header.push_str(name);
        self.header.push_str(": ");
        self.header.extend(value.chars().map(|letter| if letter.is_control() { ' ' } else { letter }));
        self.header.push_str("\r\n");
    }

    /// A field of a mailbox, its name encoded if need be.
    pub(crate) fn mailbox(&mut self, name: &str, value: &str) {
        let encoded = match &address_list::parse(value.as_bytes())[..] {
            [Entry::Mailbox(found)] => match (&found.name, found.address()) {
                (Some(phrase), Some(address)) if !phrase.is_ascii() => {
                    Some(mailbox(&word::decode(phrase), address.as_str()))
                }
                _ => None,
            },
            _ => None,
        };
        self.raw(name, encoded.as_deref().unwrap_or(value));
    }

    /// A field of text, encoded if need be (RFC 2047).
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        let line: String =
            value.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        self.header.push_str(name);
        self.header.push_str(": ");
        self.header.push_str(&word::encode(&line));
        self.header.push_str("\r\n");
    }

    /// The message with a body of text.
    pub(crate) fn with_text(mut self, body: &str) -> Message {
        self.header.push_str("MIME-Version: 1.0\r\n");
        self.header.push_str(&text_part(body));
        Message::of(vec![Segment::Octets(Bytes::from(self.header))])
    }

    /// The message with a MIME part, its fields first. RFC 2045 §9: of these only those count whose names begin with `Content-`; others
    /// would be fields of the message, which has its own. What does not begin with fields is a text.
    pub(crate) fn with_mime(mut self, part: &str) -> Message {
        let part = lines(part);
        let Some((fields, body)) = mime_part(&part) else { return self.with_text(&part) };
        self.header.push_str("MIME-Version: 1.0\r\n");
        let mut encoded = false;
        for field in header::Fields::new(fields.as_bytes()) {
            let name = field.name().to_ascii_lowercase();
            if name.starts_with("content-") {
                encoded |= name == "content-transfer-encoding";
                self.header.push_str(&String::from_utf8_lossy(field.raw()));
            }
        }
        // RFC 2045 §6.2: without a word of it a body has seven bits.
        if !encoded && !body.is_ascii() {
            self.header.push_str("Content-Transfer-Encoding: 8bit\r\n");
        }
        self.header.push_str("\r\n");
        self.header.push_str(body);
        Message::of(vec![Segment::Octets(Bytes::from(self.header))])
    }

    /// The message as a report (RFC 6522): text for people, then for programs, then what it is about.
    pub(crate) fn with_report(
        mut self,
        kind: &str,
        text: &str,
        machine: &str,
        about: (&str, Vec<Segment>),
    ) -> Message {
        let boundary = &self.boundary;
        self.header.push_str("MIME-Version: 1.0\r\n");
        self.header.push_str(&format!(
            "Content-Type: multipart/report; report-type={kind};\r\n\tboundary=\"{boundary}\"\r\n\r\n\
             --{boundary}\r\n{}\r\n--{boundary}\r\nContent-Type: message/{kind}\r\n\r\n{machine}\r\n\
             --{boundary}\r\nContent-Type: {}\r\n\r\n",
            text_part(text),
            about.0
        ));
        let end = format!("\r\n--{boundary}--\r\n");
        let mut segments = vec![Segment::Octets(Bytes::from(self.header))];
        segments.extend(about.1);
        segments.push(Segment::Octets(Bytes::from(end)));
        Message::of(segments)
    }
}

/// An address with a name, as header fields have it (RFC 5322 §3.4, RFC 2047 §5).
pub(crate) fn mailbox(name: &str, address: &str) -> String {
    let line: String = name.chars().filter(|letter| !letter.is_control()).collect();
    match (line.is_empty(), line.is_ascii()) {
        (true, _) => format!("<{address}>"),
        (_, true) => format!("\"{}\" <{address}>", line.replace('\\', "\\\\").replace('"', "\\\"")),
        _ => format!("{} <{address}>", word::encode(&line)),
    }
}

/// The fields of a MIME part and its body; nothing if it does not begin with fields and an empty line.
pub(crate) fn mime_part(part: &str) -> Option<(&str, &str)> {
    if let Some(body) = part.strip_prefix("\r\n") {
        return Some(("", body));
    }
    let (fields, body) = part.split_once("\r\n\r\n")?;
    let fields = part.get(..fields.len() + 2)?;
    let known: usize = header::Fields::new(fields.as_bytes()).map(|field| field.raw().len()).sum();
    (known == fields.len()).then_some((fields, body))
}

/// A part of plain text: its fields, an empty line, its body.
pub(crate) fn text_part(body: &str) -> String {
    let mut body = lines(body);
    if !body.ends_with("\r\n") {
        body.push_str("\r\n");
    }
    // RFC 5322 §2.1.1: lines of at most 998 octets.
    if body.is_ascii() && body.split("\r\n").all(|line| line.len() <= 998) {
        return format!("Content-Type: text/plain; charset=us-ascii\r\n\r\n{body}");
    }
    let mut encoded = Vec::new();
    let mut encoder = QuotedPrintableEncoder::new();
    encoder.push(body.as_bytes(), &mut encoded);
    encoder.finish(&mut encoded);
    let encoded = String::from_utf8_lossy(&encoded);
    format!(
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{encoded}"
    )
}

/// A part of any octets: its fields, an empty line, its body.
pub(crate) fn binary_part(media_type: &str, body: &[u8]) -> Vec<u8> {
    let media_type: String = media_type.chars().filter(char::is_ascii_graphic).collect();
    let mut part =
        format!("Content-Type: {media_type}\r\nContent-Transfer-Encoding: base64\r\n\r\n").into_bytes();
    let mut encoder = Base64Encoder::new();
    encoder.push(body, &mut part);
    encoder.finish(&mut part);
    part
}

/// With CRLF at the end of every line.
pub(crate) fn lines(text: &str) -> String {
    let mut lines = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match line.strip_suffix('\n') {
            Some(line) => {
                lines.push_str(line.strip_suffix('\r').unwrap_or(line));
                lines.push_str("\r\n");
            }
            None => lines.push_str(line),
        }
    }
    lines
}

/// FNV-1a of 128 bits over the strings and the places between them: to tell things apart, not to hide them.
pub(crate) fn hash(strings: &[&str]) -> u128 {
    let octets = strings.iter().flat_map(|string| string.bytes().chain([0xff]));
    octets.fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, octet| {
        (hash ^ u128::from(octet)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

/// What a `mailto` URI asks for (RFC 6068), as `notify` uses it (RFC 5436).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mailto {
    /// The recipients: those of the URI and of its `to` and `cc` fields.
    pub recipients: Vec<String>,
    /// The subject.
    pub subject: Option<String>,
    /// The body.
    pub body: Option<String>,
    /// Other fields, names first.
    pub fields: Vec<(String, String)>,
}

/// The most recipients of a notification.
const RECIPIENTS: usize = 8;

impl Mailto {
    /// Reads a URI.
    ///
    /// ```
    /// use mailwright_sieve::compose::Mailto;
    ///
    /// let uri = Mailto::parse("mailto:ann@example.org?subject=Tea%20time").ok_or("no mailto URI")?;
    /// assert_eq!(uri.recipients, ["ann@example.org"]);
    /// assert_eq!(uri.subject.as_deref(), Some("Tea time"));
    /// assert_eq!(Mailto::parse("mailto:nobody"), None);
    ///
    /// // RFC 2368 §2: the comma between two may be escaped.
    /// let both = Mailto::parse("mailto:ann@example.org%2C%20bob@example.org").ok_or("no mailto URI")?;
    /// assert_eq!(both.recipients, ["ann@example.org", "bob@example.org"]);
    /// # Ok::<(), &str>(())
    /// ```
    pub fn parse(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once(':')?;
        if !scheme.eq_ignore_ascii_case("mailto") {
            return None;
        }
        let (to, fields) = rest.split_once('?').unwrap_or((rest, ""));
        let mut mailto = Self::default();
        mailto.add_recipients(to)?;
        for field in fields.split('&').filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=')?;
            let name = unescaped(name)?;
            let line = || unescaped(value).filter(|value| !value.contains(['\r', '\n']));
            match name.to_ascii_lowercase().as_str() {
                "to" | "cc" => mailto.add_recipients(value)?,
                "subject" => mailto.subject = Some(line()?),
                "body" => mailto.body = Some(unescaped(value)?),
                // RFC 5436 §2.7: these are not for the script to say. Others are in the notification already, and everybody who gets it
                // sees who else does.
                "from" | "sender" | "return-path" | "received" | "auto-submitted" | "date" | "message-id"
                | "importance" | "mime-version" | "bcc" => {}
                hidden if hidden.starts_with("content-") || hidden.starts_with("resent-") => {}
                _ if name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
                    && !name.is_empty() =>
                {
                    mailto.fields.push((name, line()?));
                }
                _ => return None,
            }
        }
        (!mailto.recipients.is_empty() && mailto.recipients.len() <= RECIPIENTS && mailto.fields.len() <= 16)
            .then_some(mailto)
    }

    fn add_recipients(&mut self, list: &str) -> Option<()> {
        // RFC 2368 §2: commas between addresses may be escaped, and some within them stand in quotes.
        let list = unescaped(list).filter(|list| !list.contains(['\r', '\n']))?;
        let (entries, whole) = address_list::parse_telling(list.as_bytes());
        for entry in entries {
            let Entry::Mailbox(mailbox) = entry else { return None };
            let address = mailbox.address()?.to_string();
            // RFC 5436 §2.7: nobody is told twice.
            if !self.recipients.iter().any(|known| known.eq_ignore_ascii_case(&address)) {
                self.recipients.push(address);
            }
        }
        whole.then_some(())
    }

    /// The notification to send (RFC 5436 §2), from the address that the host's envelope names; `about` are the From and Subject of
    /// the message that it is about.
    pub fn message(&self, notify: &Notify, stamp: &Stamp, owner: &str, about: (&str, &str)) -> Message {
        let mut fields = Fields::new(stamp);
        fields.mailbox("From", notify.from.as_deref().unwrap_or(&stamp.from));
        fields.raw("To", &self.recipients.join(", "));
        // RFC 5436 §2.7: `:message`, else the subject of the URI, else what it is about.
        let subject = notify.message.as_ref().or(self.subject.as_ref());
        let made = format!("New mail from {}: {}", about.0, about.1);
        fields.text("Subject", subject.unwrap_or(&made));
        for (name, value) in &self.fields {
            fields.text(name, value);
        }
        let importance = match notify.importance {
            1 => "High",
            3 => "Low",
            _ => "Normal",
        };
        fields.raw("Importance", importance);
        // RFC 5436 §2.7.1: by whom, so that a loop is seen.
        fields.raw(
            "Auto-Submitted",
            &format!("auto-notified; owner-email=\"{}\"", owner.replace(['"', '\\'], "")),
        );
        let body = self.body.clone().unwrap_or(made);
        fields.with_text(&body)
    }
}

/// RFC 3986 §2.1
fn unescaped(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        let octet = match octet {
            b'%' => {
                let digit = |octet: Option<u8>| char::from(octet?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        };
        octets.push(octet);
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mime_parts_are_parts() {
        let sent = |part: &str| {
            let stamp = Stamp::new(DateTime::EPOCH, "<1@x>", "<ann@x>");
            let message = Fields::new(&stamp).with_mime(part);
            let octets = message.segments().iter().filter_map(|segment| match segment {
                Segment::Octets(octets) => Some(String::from_utf8_lossy(octets).into_owned()),
                _ => None,
            });
            octets.collect::<String>().split_once("MIME-Version: 1.0\r\n").unwrap().1.to_owned()
        };
        assert_eq!(sent("Content-Type: text/html\nSubject: x\n\n<p>"), "Content-Type: text/html\r\n\r\n<p>");
        assert_eq!(
            sent("Content-Type: text/plain;\n charset=utf-8\n\n\u{fc}"),
            "Content-Type: text/plain;\r\n charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\u{fc}"
        );
        for text in ["no header here", "no header\n\nhere", "a: b"] {
            assert!(sent(text).starts_with("Content-Type: text/plain"), "{text}");
        }
        assert_eq!(sent("\nx"), "\r\nx");
    }

    #[test]
    fn notifications_go_to_everybody_once_and_keep_their_form() {
        let uri = "mailto:bob@example.org?to=carol@example.org&cc=BOB@example.org&bcc=eve@example.org\
                   &content-type=text/html&MIME-Version=2.0&importance=low&resent-to=x@example.org&x-a=b";
        let mailto = Mailto::parse(uri).unwrap();
        assert_eq!(mailto.recipients, ["bob@example.org", "carol@example.org"]);
        assert_eq!(mailto.fields, [("x-a".to_owned(), "b".to_owned())]);
    }
}
