//! Delivery status notifications that others send, read (RFC 3464): what became of mail that went out.

use mailwright_mail_model::{
    Address, DateTime, header,
    header::{Field, Fields},
    mime::Structure,
};

use super::Action;

/// How many recipients of a report are read. RFC 5321 §4.5.3.1.8: a message has 100 at least; more than this no report needs.
const MOST_RECIPIENTS: usize = 1_000;

/// What the part `message/delivery-status` of a report says (RFC 3464 §2). Whatever cannot be read is left out: reports are written by
/// all kinds of programs, and can be forged by anybody.
///
/// ```
/// use mailwright_relay_policy::delivery::{Action, DeliveryStatus};
///
/// let message = b"From: MAILER-DAEMON@mx.b.example\r\nTo: ann@a.example\r\nMIME-Version: 1.0\r\n\
///     Content-Type: multipart/report; report-type=delivery-status; boundary=x\r\n\r\n\
///     --x\r\n\r\nNobody is called bob here.\r\n\
///     --x\r\nContent-Type: message/delivery-status\r\n\r\n\
///     Reporting-MTA: dns; mx.b.example\r\nOriginal-Envelope-Id: order-4711\r\n\r\n\
///     Final-Recipient: rfc822; bob@b.example\r\nAction: failed\r\nStatus: 5.1.1 (no such user)\r\n\
///     Diagnostic-Code: smtp; 550 5.1.1 Who is that?\r\n\r\n\
///     --x--\r\n";
/// let status = DeliveryStatus::of_message(message).ok_or("no report")?;
/// assert_eq!(status.envelope_id.as_deref(), Some("order-4711"));
/// let bob = status.recipients.first().ok_or("nobody")?;
/// assert_eq!((bob.action, bob.status), (Some(Action::Failed), Some((5, 1, 1))));
/// assert_eq!(bob.address()?.to_string(), "bob@b.example");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryStatus {
    /// The host that reports, by the name it gives itself.
    pub reporter: String,
    /// The ENVID the message was sent with (RFC 3461 §4.4): how it is found again.
    pub envelope_id: Option<String>,
    /// When the host got the message.
    pub arrival: Option<DateTime>,
    /// What became of each recipient that it tells of, the first 1,000 of them.
    pub recipients: Vec<RecipientStatus>,
}

/// What a report says of one recipient (RFC 3464 §2.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecipientStatus {
    /// Where the host was to bring the message, without the kind of address; it need not be where it was sent.
    pub recipient: String,
    /// The ORCPT it was sent with (RFC 3461 §4.2), without the kind of address.
    pub original: Option<String>,
    /// What happened; `None` if that is no word of RFC 3464 §2.3.3.
    pub action: Option<Action>,
    /// The enhanced status code (RFC 3463).
    pub status: Option<(u8, u16, u16)>,
    /// The host it tried to give the message to.
    pub remote: Option<String>,
    /// What that host said, or what went wrong, without the kind of diagnosis.
    pub diagnosis: Option<String>,
    /// When it was tried last.
    pub attempted: Option<DateTime>,
    /// Until when it is tried again.
    pub retry_until: Option<DateTime>,
}

impl DeliveryStatus {
    /// What a message reports; `None` if it is no report. It must be in memory, so look at its size before.
    pub fn of_message(message: &[u8]) -> Option<Self> {
        let structure = Structure::of(message);
        let is_status = |kind: &str| matches!(kind, "delivery-status" | "global-delivery-status");
        let part = structure.parts().find(|part| {
            let media_type = part.content().media_type();
            // RFC 3464 §2, RFC 6533 §4
            media_type.is("message", "*") && is_status(&media_type.subtype().to_ascii_lowercase())
        })?;
        let range = part.body();
        let octets = message.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)?;
        let (mut decoder, mut body) = (part.content().encoding().decoder()?, Vec::new());
        decoder.push(octets, &mut body);
        decoder.finish(&mut body);
        Self::parse(&body)
    }

    /// What the body of such a part says, decoded; `None` if it names no host that reports.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let (head, mut rest) = group(without_empty_lines(body));
        let mut status = Self {
            reporter: text(header::find(head, "Reporting-MTA")?.text().as_ref(), true),
            envelope_id: header::find(head, "Original-Envelope-Id").map(|field| text(&field.text(), false)),
            arrival: header::find(head, "Arrival-Date").and_then(date),
            recipients: Vec::new(),
        };
        while status.recipients.len() < MOST_RECIPIENTS && !rest.is_empty() {
            let (fields, behind) = group(rest);
            status.recipients.extend(RecipientStatus::parse(fields));
            rest = behind;
        }
        Some(status)
    }
}

impl RecipientStatus {
    fn parse(fields: &[u8]) -> Option<Self> {
        let (mut status, mut named) = (Self::default(), false);
        for field in Fields::new(fields) {
            let of_kind = || Some(text(&field.text(), true));
            match field.name().to_ascii_lowercase().as_str() {
                "final-recipient" => {
                    status.recipient = text(&field.text(), true);
                    named = true;
                }
                "original-recipient" => status.original = of_kind(),
                "remote-mta" => status.remote = of_kind(),
                "diagnostic-code" => status.diagnosis = of_kind(),
                "action" => status.action = action(&text(&field.text(), false)),
                "status" => status.status = code(&text(&field.text(), false)),
                "last-attempt-date" => status.attempted = date(field),
                "will-retry-until" => status.retry_until = date(field),
                _ => {}
            }
        }
        named.then_some(status)
    }

    /// The recipient as an address, in the forms that RFC 6533 §3 has for addresses beyond ASCII too.
    ///
    /// # Errors
    /// If it is none.
    pub fn address(&self) -> Result<Address, mailwright_mail_model::AddressError> {
        let text = self.recipient.trim_start_matches('<').trim_end_matches('>');
        unescaped(text).as_deref().unwrap_or(text).parse()
    }
}

/// The fields up to the first empty line, and what is behind the empty lines.
fn group(octets: &[u8]) -> (&[u8], &[u8]) {
    let end = header::body_offset(octets).unwrap_or(octets.len());
    let (fields, rest) = octets.split_at_checked(end).unwrap_or((octets, b""));
    (fields, without_empty_lines(rest))
}

fn without_empty_lines(mut octets: &[u8]) -> &[u8] {
    while let Some(behind) = octets.strip_prefix(b"\r\n").or_else(|| octets.strip_prefix(b"\n")) {
        octets = behind;
    }
    octets
}

/// A value as text; what stands before `;` only says of which kind it is (RFC 3464 §2.1.2).
fn text(value: &[u8], of_kind: bool) -> String {
    let text = String::from_utf8_lossy(value);
    let value = text.split_once(';').filter(|_| of_kind).map_or(&*text, |(_, value)| value);
    // What was folded may have been so at a tab.
    value.trim().replace('\t', " ")
}

fn action(word: &str) -> Option<Action> {
    Some(match word.to_ascii_lowercase().as_str() {
        "failed" => Action::Failed,
        "delayed" => Action::Delayed,
        "delivered" => Action::Delivered,
        "relayed" => Action::Relayed,
        "expanded" => Action::Expanded,
        _ => return None,
    })
}

/// `5.1.1`, perhaps with a comment behind it.
fn code(text: &str) -> Option<(u8, u16, u16)> {
    let mut numbers = text.split([' ', '\t', '(']).next()?.split('.');
    let class: u8 = numbers.next()?.parse().ok()?;
    let (subject, detail) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    // RFC 3463 §2
    (numbers.next().is_none() && matches!(class, 2 | 4 | 5)).then_some((class, subject, detail))
}

fn date(field: Field<'_>) -> Option<DateTime> {
    DateTime::from_rfc5322(field.value()).ok()
}

/// RFC 6533 §3: letters beyond ASCII may be written as `\x{e9}`.
fn unescaped(text: &str) -> Option<String> {
    let (first, rest) = text.split_once(r"\x{")?;
    let mut whole = first.to_owned();
    for piece in rest.split(r"\x{") {
        let (number, behind) = piece.split_once('}')?;
        whole.push(char::from_u32(u32::from_str_radix(number, 16).ok()?)?);
        whole.push_str(behind);
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use mailwright_smtp_proto::Reply;

    use super::*;
    use crate::delivery::{Diagnosis, Report, ReportedRecipient, Returned};

    #[test]
    fn our_own_reports_come_back() {
        let date = |seconds| DateTime::new(seconds, 0).unwrap();
        for action in [Action::Failed, Action::Delayed, Action::Delivered, Action::Relayed, Action::Expanded]
        {
            let to = "ann@a.example".parse().unwrap();
            let mut report =
                Report::new(action, "mail.a.example".into(), to, date(1_700_000_000), date(1_700_345_600));
            (report.unique, report.envelope_id) = ("0123456789ABCDEF".into(), Some("QQ314159".into()));
            (report.retry_until, report.returned) = (Some(date(1_700_400_000)), Returned::Full);
            let reply = Reply::parse(
                b"450 4.2.1 The mailbox is busy; this is a long line that says why in many words\r\n",
            )
            .unwrap();
            let mut bob = ReportedRecipient::new(
                "bob@b.example".parse().unwrap(),
                Diagnosis::said("mx.b.example[192.0.2.1]", &reply),
            );
            bob.original = Some("rfc822;bob@alias.example".into());
            bob.attempted = Some(date(1_700_345_590));
            let found = Diagnosis::found(Reply::permanent((1, 2), "there is no such domain"));
            report.recipients = vec![bob, ReportedRecipient::new("zoë@c.example".parse().unwrap(), found)];
            let text = format!("{}Subject: x\r\n\r\nhello\r\n{}", report.head(), report.tail());
            let read = DeliveryStatus::of_message(text.as_bytes()).unwrap();
            assert_eq!(
                (read.reporter.as_str(), read.envelope_id.as_deref()),
                ("mail.a.example", Some("QQ314159"))
            );
            assert_eq!(read.arrival, Some(date(1_700_000_000)));
            let [bob, zoe] = read.recipients.as_slice() else { panic!("{read:?}") };
            assert_eq!(bob.action, Some(action));
            let class = match action {
                Action::Failed => 5,
                Action::Delayed => 4,
                _ => 2,
            };
            assert_eq!(bob.status, Some((class, 2, 1)));
            assert_eq!(bob.original.as_deref(), Some("bob@alias.example"));
            assert_eq!(bob.remote.as_deref(), Some("mx.b.example"));
            let said = "450 4.2.1 The mailbox is busy; this is a long line that says why in many words";
            assert_eq!(bob.diagnosis.as_deref(), Some(said));
            assert_eq!(bob.attempted, Some(date(1_700_345_590)));
            assert_eq!(bob.retry_until, (action == Action::Delayed).then(|| date(1_700_400_000)));
            assert_eq!(zoe.address().unwrap().to_string(), "zoë@c.example");
            assert_eq!((zoe.remote.as_ref(), zoe.diagnosis.as_ref()), (None, None));
        }
    }

    /// RFC 3464 §E.2, whose two recipients stand in one report, and lines that no program should write.
    #[test]
    fn reports_of_others() {
        let body = "\nReporting-MTA: dns; cs.utk.edu\n\n\n\
            Original-Recipient: rfc822;arathib@vnet.ibm.com\nFinal-Recipient: rfc822;arathib@vnet.ibm.com\n\
            Action: failed\nStatus: 5.0.0 (permanent failure)\n\
            Diagnostic-Code: smtp;  550 'arathib@vnet.IBM.COM' is not a\n registered gateway user\n\
            Remote-MTA: dns; vnet.ibm.com\n\n\
            Action: failed\nStatus: 5.0.0\n\n\
            final-recipient: <johnh@hpnjld.njd.hp.com>\nACTION: Delayed\nstatus: 4.7\nWill-Retry-Until: soon\n";
        let read = DeliveryStatus::parse(body.as_bytes()).unwrap();
        let [one, other] = read.recipients.as_slice() else { panic!("{read:?}") };
        assert_eq!(one.status, Some((5, 0, 0)));
        assert_eq!(
            one.diagnosis.as_deref(),
            Some("550 'arathib@vnet.IBM.COM' is not a registered gateway user")
        );
        assert_eq!(other.address().unwrap().to_string(), "johnh@hpnjld.njd.hp.com");
        assert_eq!((other.action, other.status, other.retry_until), (Some(Action::Delayed), None, None));
    }

    #[test]
    fn addresses_beyond_ascii() {
        let address = |recipient: &str| {
            RecipientStatus { recipient: recipient.into(), ..RecipientStatus::default() }.address()
        };
        assert_eq!(address(r"zo\x{eb}@c.example").unwrap().to_string(), "zoë@c.example");
        assert!(address(r"zo\x{110000}@c.example").is_err());
        assert!(address("a device at my place").is_err());
    }

    #[test]
    fn what_is_no_report_is_none_and_what_is_too_long_is_cut() {
        assert_eq!(DeliveryStatus::of_message(b"Subject: hello\r\n\r\nReporting-MTA: dns; x\r\n"), None);
        let many =
            "Final-Recipient: rfc822; a@b.example\r\nAction: failed\r\n\r\n".repeat(MOST_RECIPIENTS + 1);
        let read = DeliveryStatus::parse(format!("Reporting-MTA: dns; x\r\n\r\n{many}").as_bytes()).unwrap();
        assert_eq!(read.recipients.len(), MOST_RECIPIENTS);
    }
}
