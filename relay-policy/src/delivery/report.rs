//! Delivery status notifications (RFC 3464): a text for people, a part for programs, and what the report is about.
//!
//! A report is written around the message it returns, which may be large and is not needed for that:
//! [`Report::head`], then the message or its header, then [`Report::tail`].

use std::fmt::Write as _;

use mailwright_mail_model::{Address, DateTime};

use super::Diagnosis;

/// A report about one message to its sender.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// What happened.
    pub action: Action,
    /// Who reports: the host name of this server.
    pub reporter: String,
    /// Who gets it: the sender of the message.
    pub to: Address,
    /// Whom it happened to.
    pub recipients: Vec<ReportedRecipient>,
    /// What the message is called here.
    pub queue_id: String,
    /// ENVID (RFC 3461 §4.4), decoded.
    pub envelope_id: Option<String>,
    /// When the message arrived.
    pub arrival: DateTime,
    /// Now.
    pub date: DateTime,
    /// Until when it is tried again, in a report of delay.
    pub retry_until: Option<DateTime>,
    /// What no other message has: part of the `Message-ID`, and of the line between the parts.
    pub unique: String,
    /// How much of the message follows [`head`](Self::head).
    pub returned: Returned,
    /// Whether any octet of what is returned is above 127.
    pub eight_bit: bool,
    /// Whether the message was sent as an internationalized one (SMTPUTF8, RFC 6531): its header may be in UTF-8.
    pub internationalized: bool,
}

/// What happened to a recipient (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Given up.
    Failed,
    /// Not delivered yet; it goes on.
    Delayed,
    /// Delivered, and the sender asked to be told.
    Delivered,
    /// Handed to a host that cannot report success; the sender asked to be told (RFC 3461 §5.2.2).
    Relayed,
    /// It stands for several addresses elsewhere, and was sent to them; the sender asked to be told, and hears of no
    /// success of theirs.
    Expanded,
}

/// How much of the message a report returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 3461 §4.3 has two")]
pub enum Returned {
    /// All of it.
    Full,
    /// Its header.
    Headers,
}

/// One recipient of a report.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReportedRecipient {
    /// Where it was to go.
    pub address: Address,
    /// ORCPT (RFC 3461 §4.2): type, semicolon, address.
    pub original: Option<String>,
    /// What was said. For success, the reply that took it.
    pub diagnosis: Diagnosis,
    /// When it was tried last.
    pub attempted: Option<DateTime>,
}

impl ReportedRecipient {
    /// A recipient, and what was said about it.
    pub const fn new(address: Address, diagnosis: Diagnosis) -> Self {
        Self { address, original: None, diagnosis, attempted: None }
    }
}

impl Report {
    /// A report that returns the header.
    pub const fn new(
        action: Action,
        reporter: String,
        to: Address,
        arrival: DateTime,
        date: DateTime,
    ) -> Self {
        Self {
            action,
            reporter,
            to,
            recipients: Vec::new(),
            queue_id: String::new(),
            envelope_id: None,
            arrival,
            date,
            retry_until: None,
            unique: String::new(),
            returned: Returned::Headers,
            eight_bit: false,
            internationalized: false,
        }
    }

    /// All up to where the returned message begins. Lines end with CRLF.
    pub fn head(&self) -> String {
        let mut text = self.header();
        let boundary = self.boundary();
        let utf8 = self.recipients.iter().any(|recipient| !recipient.address.is_ascii());
        let mut explanation = String::new();
        self.explanation(&mut explanation);
        let encoding = if explanation.is_ascii() { "7bit" } else { "8bit" };
        let _ = write!(
            text,
            "\r\nThis is a message in several parts: an explanation, a report for programs, and what it is about.\r\n\
             \r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{explanation}"
        );
        // RFC 6533 §3 where an address is not ASCII.
        let (kind, encoding) = match utf8 {
            true => ("message/global-delivery-status", "8bit"),
            false => ("message/delivery-status", "7bit"),
        };
        let _ = write!(
            text,
            "\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
        );
        let mut status = String::new();
        self.status(&mut status, utf8);
        // RFC 3464 §2.1: the other kind is of seven bits, whatever a host said.
        text.extend(status.chars().map(|letter| if utf8 || letter.is_ascii() { letter } else { '?' }));
        // RFC 6533 §4.2 and §4.4: what may have UTF-8 in its header is none of the older kinds.
        let global = self.internationalized && self.eight_bit;
        let kind = match (self.returned, global) {
            (Returned::Full, false) => "message/rfc822",
            (Returned::Full, true) => "message/global",
            (Returned::Headers, false) => "text/rfc822-headers",
            (Returned::Headers, true) => "message/global-headers",
        };
        let encoding = if self.eight_bit { "8bit" } else { "7bit" };
        let _ = write!(
            text,
            "--{boundary}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
        );
        text
    }

    /// All behind the returned message.
    pub fn tail(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary())
    }

    fn boundary(&self) -> String {
        format!("report-{}", self.unique)
    }

    fn header(&self) -> String {
        let (reporter, unique) = (&self.reporter, &self.unique);
        let subject = match self.action {
            Action::Failed => "Undelivered mail returned to sender",
            Action::Delayed => "Delayed mail (still being retried)",
            Action::Delivered | Action::Relayed | Action::Expanded => "Successful mail delivery report",
        };
        format!(
            "Date: {}\r\nFrom: Mail Delivery System <MAILER-DAEMON@{reporter}>\r\nTo: {}\r\nSubject: {subject}\r\n\
             Message-ID: <{unique}@{reporter}>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{}\"\r\n",
            self.date.to_rfc5322(),
            self.to,
            self.boundary()
        )
    }

    fn explanation(&self, text: &mut String) {
        let reporter = &self.reporter;
        let _ = write!(text, "This is the mail system at host {reporter}.\r\n\r\n");
        text.push_str(match self.action {
            Action::Failed => {
                "Your message could not be delivered to one or more recipients. It is returned below.\r\n\
                 Nobody tries to deliver it to them any more.\r\n"
            }
            Action::Delayed => {
                "Your message could not be delivered yet to one or more recipients. You need not send it again:\r\n\
                 it is tried again until it is delivered or has waited for too long.\r\n"
            }
            Action::Delivered => "Your message was delivered to the recipients below.\r\n",
            Action::Expanded => {
                "Your message was sent on to everybody that the addresses below stand for. You hear of their trouble only.\r\n"
            }
            Action::Relayed => {
                "Your message was handed to the mail system of the recipients below, which sends no report of success.\r\n"
            }
        });
        if let (Action::Delayed, Some(until)) = (self.action, self.retry_until) {
            let _ = write!(text, "It is given up on {}.\r\n", until.to_rfc5322());
        }
        for recipient in &self.recipients {
            let _ = write!(text, "\r\n<{}>: ", recipient.address);
            wrapped(text, &recipient.diagnosis.to_string());
        }
    }

    fn status(&self, text: &mut String, utf8: bool) {
        // RFC 3464 §2.2
        if let Some(id) = &self.envelope_id {
            field(text, "Original-Envelope-Id", id);
        }
        field(text, "Reporting-MTA", &format!("dns; {}", self.reporter));
        if !self.queue_id.is_empty() {
            field(text, "X-Queue-ID", &self.queue_id);
        }
        field(text, "Arrival-Date", &self.arrival.to_rfc5322());
        for recipient in &self.recipients {
            // RFC 3464 §2.3
            text.push_str("\r\n");
            if let Some(original) = &recipient.original {
                let (kind, address) = original.split_once(';').unwrap_or(("rfc822", original));
                let address = match !utf8 && kind.eq_ignore_ascii_case("utf-8") {
                    // RFC 6533 §3: in its 7-bit form.
                    true => seven_bit(address),
                    false => address.to_owned(),
                };
                field(text, "Original-Recipient", &format!("{kind}; {address}"));
            }
            let kind = if utf8 && !recipient.address.is_ascii() { "utf-8" } else { "rfc822" };
            field(text, "Final-Recipient", &format!("{kind}; {}", recipient.address));
            field(
                text,
                "Action",
                match self.action {
                    Action::Failed => "failed",
                    Action::Delayed => "delayed",
                    Action::Delivered => "delivered",
                    Action::Relayed => "relayed",
                    Action::Expanded => "expanded",
                },
            );
            field(text, "Status", &self.code(&recipient.diagnosis));
            if let Some(host) = &recipient.diagnosis.host {
                let name = host.split('[').next().unwrap_or(host);
                if !name.is_empty() {
                    field(text, "Remote-MTA", &format!("dns; {name}"));
                }
                let kind = if recipient.diagnosis.quoted { "smtp" } else { "x-mailwright" };
                field(text, "Diagnostic-Code", &format!("{kind}; {}", recipient.diagnosis.text()));
            }
            if let Some(attempted) = recipient.attempted {
                field(text, "Last-Attempt-Date", &attempted.to_rfc5322());
            }
            if let (Action::Delayed, Some(until)) = (self.action, self.retry_until) {
                field(text, "Will-Retry-Until", &until.to_rfc5322());
            }
        }
        text.push_str("\r\n");
    }

    /// RFC 3464 §2.3.4: the class of the status goes with the action. What was temporary for too long is a failure.
    fn code(&self, diagnosis: &Diagnosis) -> String {
        let (class, subject, detail) = diagnosis.status();
        let (class, subject, detail) = match (self.action, class) {
            (Action::Failed, 4) if (subject, detail) == (0, 0) => (5, 4, 7),
            (Action::Failed, _) => (5, subject, detail),
            (Action::Delayed, _) => (4, subject, detail),
            (Action::Delivered | Action::Relayed | Action::Expanded, _) => (2, subject, detail),
        };
        format!("{class}.{subject}.{detail}")
    }
}

/// A field, folded; whatever cannot be in one becomes a question mark.
fn field(text: &mut String, name: &str, value: &str) {
    let _ = write!(text, "{name}: ");
    let clean: String = value.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect();
    let mut column = name.len() + 2;
    for (number, word) in clean.split(' ').enumerate() {
        if number > 0 {
            if column + word.len() > 76 {
                text.push_str("\r\n\t");
                column = 8;
            } else {
                text.push(' ');
                column += 1;
            }
        }
        let word = cut(word, column);
        column += word.len();
        text.push_str(word);
    }
    text.push_str("\r\n");
}

/// An address in its 7-bit form: RFC 6533 §3, utf-8-addr-xtext.
fn seven_bit(address: &str) -> String {
    let mut encoded = String::new();
    for letter in address.chars() {
        match letter {
            '!'..='~' if !matches!(letter, '+' | '=' | '\\') => encoded.push(letter),
            _ => drop(write!(encoded, "\\x{{{:02X}}}", u32::from(letter))),
        }
    }
    encoded
}

/// As much of a word as fits behind a column. RFC 5322 §2.1.1: a line has at most 998 octets.
fn cut(word: &str, column: usize) -> &str {
    let room = 998_usize.saturating_sub(column);
    word.get(..word.floor_char_boundary(room)).unwrap_or_default()
}

/// A text in lines that can be read.
fn wrapped(text: &mut String, value: &str) {
    let mut column = 0;
    for word in value.split_whitespace() {
        if column > 0 && column + word.len() > 72 {
            text.push_str("\r\n    ");
            column = 4;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        let word = cut(word, column);
        column += word.len();
        text.push_str(word);
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use mail_parser::{MessageParser, MimeHeaders, PartType};
    use mailwright_smtp_proto::Reply;

    use super::*;

    fn report(action: Action) -> Report {
        let date = |seconds| DateTime::new(seconds, 0).unwrap();
        let mut report = Report::new(
            action,
            "mail.a.example".into(),
            "ann@a.example".parse().unwrap(),
            date(1_700_000_000),
            date(1_700_345_600),
        );
        report.unique = "0123456789ABCDEF".into();
        (report.queue_id, report.envelope_id) = ("9C4DCEE3382".into(), Some("QQ314159".into()));
        report.retry_until = Some(date(1_700_400_000));
        let words = "450-4.2.1 The mailbox is busy, and this is a long line that says why in many words\r\n450 4.2.1 see https://b.example\r\n";
        let diagnosis = Diagnosis::said("mx.b.example[192.0.2.1]", &Reply::parse(words.as_bytes()).unwrap());
        let mut one = ReportedRecipient::new("bob@b.example".parse().unwrap(), diagnosis);
        one.original = Some("rfc822;bob@alias.example".into());
        one.attempted = Some(date(1_700_345_590));
        let found = Diagnosis::found(Reply::permanent((1, 2), "there is no such domain as c.example"));
        report.recipients = vec![one, ReportedRecipient::new("eve@c.example".parse().unwrap(), found)];
        report
    }

    #[test]
    fn an_independent_parser_reads_it() {
        for (action, word, status) in [
            (Action::Failed, "failed", "5.2.1"),
            (Action::Delayed, "delayed", "4.2.1"),
            (Action::Relayed, "relayed", "2.2.1"),
        ] {
            let mut report = report(action);
            report.returned = Returned::Full;
            let original = "Subject: hello\r\n\r\nbody of the original\r\n";
            let text = format!("{}{original}{}", report.head(), report.tail());
            assert!(text.lines().all(|line| line.len() <= 150), "{text}");
            assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
            let message = MessageParser::default().parse(text.as_bytes()).unwrap();
            let kind = message.content_type().unwrap();
            assert_eq!((kind.ctype(), kind.subtype()), ("multipart", Some("report")));
            assert_eq!(kind.attribute("report-type"), Some("delivery-status"));
            assert_eq!(message.to().unwrap().first().unwrap().address(), Some("ann@a.example"));
            assert_eq!(message.parts.len(), 4);
            assert!(message.body_text(0).unwrap().contains("<eve@c.example>: there is no such domain"));
            let status_part = std::str::from_utf8(message.parts[2].contents()).unwrap();
            let groups: Vec<&str> = status_part.split("\r\n\r\n").collect();
            assert!(
                groups[0]
                    .starts_with("Original-Envelope-Id: QQ314159\r\nReporting-MTA: dns; mail.a.example\r\n")
            );
            for line in [
                "Original-Recipient: rfc822; bob@alias.example\r\n",
                "Final-Recipient: rfc822; bob@b.example\r\n",
                &format!("Action: {word}\r\n"),
                &format!("Status: {status}\r\n"),
                "Remote-MTA: dns; mx.b.example\r\n",
                "Diagnostic-Code: smtp; 450 4.2.1 The mailbox is busy, ",
            ] {
                assert!(groups[1].contains(line), "{line}: {}", groups[1]);
            }
            assert!(groups[2].contains("Final-Recipient: rfc822; eve@c.example\r\n"));
            let PartType::Message(returned) = &message.parts[3].body else {
                panic!("{:?}", message.parts[3])
            };
            assert_eq!(returned.subject(), Some("hello"));
        }
    }

    #[test]
    fn headers_are_returned_as_such() {
        let text =
            format!("{}Subject: hello\r\n{}", report(Action::Failed).head(), report(Action::Failed).tail());
        let message = MessageParser::default().parse(text.as_bytes()).unwrap();
        let kind = message.parts[3].content_type().unwrap();
        assert_eq!((kind.ctype(), kind.subtype()), ("text", Some("rfc822-headers")));
    }

    /// RFC 6533 §4.2 to §4.4
    #[test]
    fn what_has_utf8_in_its_header_is_returned_as_that() {
        let kinds = |internationalized, eight_bit| {
            [Returned::Full, Returned::Headers].map(|returned| {
                let mut report = report(Action::Failed);
                (report.internationalized, report.eight_bit) = (internationalized, eight_bit);
                report.returned = returned;
                let text = format!("{}Subject: \u{fc}ber\r\n\r\n{}", report.head(), report.tail());
                let part = text.rsplit("--report-0123456789ABCDEF\r\n").next().unwrap();
                part.split("\r\n\r\n").next().unwrap().to_owned()
            })
        };
        let labels = |full: &str, header: &str, bits: u8| {
            [full, header].map(|kind| format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: {bits}bit"))
        };
        assert_eq!(kinds(true, true), labels("message/global", "message/global-headers", 8));
        // Of seven bits it is as any other, and so is one that has more in its body only.
        assert_eq!(kinds(true, false), labels("message/rfc822", "text/rfc822-headers", 7));
        assert_eq!(kinds(false, true), labels("message/rfc822", "text/rfc822-headers", 8));
    }

    #[test]
    fn what_is_labelled_as_seven_bits_has_no_more() {
        let mut report = report(Action::Failed);
        report.recipients[0].original = Some("utf-8;j\u{f6}rg+x@alias.example".into());
        let parts = |report: &Report| {
            let text = report.head();
            let parts: Vec<String> = text.split("--report-0123456789ABCDEF\r\n").map(str::to_owned).collect();
            for part in &parts {
                let seven = part.contains("Content-Transfer-Encoding: 7bit\r\n");
                assert!(part.is_ascii() || !seven, "{part}");
            }
            parts
        };
        let found = parts(&report);
        // RFC 6533 §3
        let original = "Original-Recipient: utf-8; j\\x{F6}rg\\x{2B}x@alias.example\r\n";
        assert!(found[2].contains(original) && found[2].is_ascii(), "{}", found[2]);
        report.recipients[0].address = "j\u{f6}rg@b.example".parse().unwrap();
        let found = parts(&report);
        assert!(found[1].contains("Encoding: 8bit") && !found[1].is_ascii(), "{}", found[1]);
        assert!(found[2].contains("message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n"));
        assert!(
            found[2].contains("Original-Recipient: utf-8; j\u{f6}rg+x@alias.example\r\n"),
            "{}",
            found[2]
        );
    }

    #[test]
    fn addresses_are_told_whole_and_lines_are_no_longer_than_they_may_be() {
        let mut report = report(Action::Failed);
        let long = format!("{}@c.example", "o".repeat(483));
        report.recipients[0].original = Some(format!("rfc822;{long}"));
        let reply = Reply::permanent((1, 1), "x".repeat(1_400));
        report.recipients[0].diagnosis = Diagnosis::said("mx.b.example", &reply);
        let head = report.head();
        assert!(head.contains(&format!("Original-Recipient: rfc822;\r\n\t{long}\r\n")), "{head}");
        assert!(head.split("\r\n").all(|line| line.len() <= 998), "{head}");
    }

    #[test]
    fn nothing_that_a_host_says_breaks_out() {
        let mut report = report(Action::Failed);
        report.envelope_id = Some("a\r\nBcc: all@example.org\r\n\r\n".into());
        report.recipients[0].original = Some("rfc822;x\r\n--report-0123456789ABCDEF--".into());
        let head = report.head();
        assert!(!head.contains("\r\nBcc") && !head.contains("\n--report-0123456789ABCDEF--"), "{head}");
    }
}
