//! The messages that say that a message was refused (RFC 5429 §2.2), and those that report one as abuse (RFC 5965).

use crate::{
    Envelope, Message, Reject, Report,
    compose::{Fields, Stamp},
};

impl Reject {
    /// The message disposition notification (RFC 8098) that tells the sender, from the null sender; `None` if there is nobody to tell.
    /// `message` is the message that is refused: its header goes back with the reason.
    ///
    /// Where the message is still at hand, refusing it there by a reply of SMTP is better (RFC 5429 §2.1).
    pub fn notification(
        &self,
        header: &[u8],
        envelope: &Envelope,
        message: &Message,
        stamp: &Stamp,
    ) -> Option<Message> {
        let sender = envelope.from.as_deref().filter(|sender| !sender.is_empty())?;
        let recipient = envelope.to.as_deref().unwrap_or_default();
        let mut fields = Fields::new(stamp);
        fields.raw("From", &stamp.from);
        fields.raw("To", &format!("<{sender}>"));
        fields.text("Subject", "Automatically rejected mail");
        // RFC 3834 §3.1.7
        fields.raw("Auto-Submitted", "auto-replied (rejected)");
        let text = format!(
            "Your message was automatically rejected by the mail filter of its recipient, with this reason:\r\n\r\n{}\r\n",
            self.reason
        );
        // RFC 8098 §3.1
        let mut machine = format!("Final-Recipient: rfc822; {}\r\n", printable(recipient));
        if let Some(original) = &envelope.original_to {
            machine.insert_str(0, &format!("Original-Recipient: rfc822; {}\r\n", printable(original)));
        }
        if let Some(id) = mailwright_mail_model::header::find(header, "Message-ID") {
            machine.push_str(&format!(
                "Original-Message-ID: {}\r\n",
                printable(&String::from_utf8_lossy(&id.text()))
            ));
        }
        machine.push_str("Disposition: automatic-action/MDN-sent-automatically; deleted\r\n");
        let about = message.slice(0..header.len() as u64);
        Some(fields.with_report("disposition-notification", &text, &machine, ("text/rfc822-headers", about)))
    }
}

impl Report {
    /// The report to send (RFC 5965 §2), about this message, whose header has that many octets.
    pub fn message(&self, message: &Message, header: u64, envelope: &Envelope, stamp: &Stamp) -> Message {
        let mut fields = Fields::new(stamp);
        fields.raw("From", &stamp.from);
        fields.raw("To", &format!("<{}>", self.recipient));
        fields.text("Subject", &format!("Report: {}", self.feedback_type));
        fields.raw("Auto-Submitted", "auto-generated (report)");
        let mut machine = format!(
            "Version: 1\r\nFeedback-Type: {}\r\nUser-Agent: mailwright/{}\r\n",
            printable(&self.feedback_type),
            env!("CARGO_PKG_VERSION")
        );
        if let Some(from) = &envelope.from {
            machine.push_str(&format!("Original-Mail-From: <{}>\r\n", printable(from)));
        }
        if let Some(to) = &envelope.to {
            machine.push_str(&format!("Original-Rcpt-To: <{}>\r\n", printable(to)));
        }
        if let Some(user) = &self.user {
            // As in Pigeonhole, whose extension this is: RFC 5965 §3.2 allows other fields.
            machine.push_str(&format!("Dovecot-Reporting-User: <{}>\r\n", printable(user)));
        }
        let about = match self.headers_only {
            true => ("text/rfc822-headers", message.slice(0..header)),
            false => ("message/rfc822", message.slice(0..message.octets())),
        };
        fields.with_report("feedback-report", &self.text, &machine, about)
    }
}

fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::{DateTime, mime::Structure};

    use super::*;
    use crate::MemoryHost;

    const MESSAGE: &[u8] = b"Message-ID: <1@a>\r\nSubject: x\r\n\r\nBody\r\n";

    fn envelope() -> Envelope {
        Envelope {
            from: Some("ann@a.example".into()),
            to: Some("bob@b.example".into()),
            ..Envelope::default()
        }
    }

    fn stamp() -> Stamp {
        Stamp::new(DateTime::EPOCH, "<2@b>", "Bob <bob@b.example>")
    }

    #[test]
    fn a_refusal_is_a_report_of_three_parts() {
        let reject = Reject { reason: "Not tèa.".into(), at_protocol_level: false };
        let message = Message::original(MESSAGE.len() as u64);
        let built = reject.notification(&MESSAGE[..33], &envelope(), &message, &stamp()).unwrap();
        let octets = MemoryHost::new(MESSAGE).octets(&built);
        let structure = Structure::of(&octets);
        let kinds: Vec<_> =
            structure.parts().map(|part| part.content().media_type().subtype().to_owned()).collect();
        assert_eq!(kinds, ["report", "plain", "disposition-notification", "rfc822-headers"]);
        let text = String::from_utf8(octets).unwrap();
        assert!(text.contains("Not t=C3=A8a."), "{text}");
        assert!(text.contains("Original-Message-ID: <1@a>\r\n"), "{text}");
        assert!(!text.contains("Body"), "{text}");
        let nobody = Envelope { from: Some(String::new()), ..envelope() };
        assert_eq!(reject.notification(MESSAGE, &nobody, &message, &stamp()), None);
    }

    #[test]
    fn a_report_holds_the_message_or_its_header() {
        let message = Message::original(MESSAGE.len() as u64);
        for (headers_only, expected) in [(true, false), (false, true)] {
            let report = Report {
                feedback_type: "abuse".into(),
                recipient: "x@y".into(),
                headers_only,
                user: Some("bob@b.example".into()),
                ..Report::default()
            };
            let built = report.message(&message, 33, &envelope(), &stamp());
            let text = String::from_utf8(MemoryHost::new(MESSAGE).octets(&built)).unwrap();
            assert!(text.contains("Dovecot-Reporting-User: <bob@b.example>\r\n"), "{text}");
            assert!(text.contains("Feedback-Type: abuse\r\n") && text.contains("Subject: x"), "{text}");
            assert_eq!(text.contains("Body"), expected, "{text}");
        }
    }
}
