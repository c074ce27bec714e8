//! What was found, as the field Authentication-Results (RFC 8601).

use super::{
    arc::{ArcFinding, ArcResult},
    dkim::Verified,
    dmarc::DmarcFinding,
    spf::SpfFinding,
};

/// Everything that was found out about where a message comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Findings {
    /// Of the client.
    pub spf: SpfFinding,
    /// Of the signatures.
    pub dkim: Vec<Verified>,
    /// Of the servers on the way.
    pub arc: ArcFinding,
    /// Of the author.
    pub dmarc: DmarcFinding,
}

impl Findings {
    /// The field, with its line end. `server` is the name it is written in.
    pub fn field(&self, server: &str) -> String {
        let mut field = format!("Authentication-Results: {server}");
        let mut add = |text: String| {
            field.push_str(";\r\n\t");
            field.push_str(&text);
        };
        let spf = &self.spf;
        let (property, of) = if spf.of_sender { ("mailfrom", &spf.sender) } else { ("helo", &spf.domain) };
        add(format!("spf={} smtp.{property}={}", spf.result.as_str(), value(of)));
        for verified in &self.dkim {
            add(signature(verified));
        }
        // RFC 8601 §2.7.1
        if self.dkim.is_empty() {
            add("dkim=none".into());
        }
        if self.arc.result != ArcResult::None {
            let domain = match &self.arc.domain {
                Some(domain) if self.arc.result == ArcResult::Pass => format!(" header.d={}", value(domain)),
                _ => String::new(),
            };
            add(format!("arc={}{}{domain}", self.arc.result.as_str(), comment(&self.arc.reason)));
        }
        let dmarc = &self.dmarc;
        let mut text = format!("dmarc={}", dmarc.result.as_str());
        if let Some((_, record)) = &dmarc.author.record {
            let (policy, from) = (record.policy.as_str(), value(&dmarc.author.domain));
            text.push_str(&format!(" header.from={from} policy.dmarc={policy}"));
        } else if !dmarc.author.domain.is_empty() {
            text.push_str(&format!(" header.from={}", value(&dmarc.author.domain)));
        }
        add(text);
        field.push_str("\r\n");
        field
    }
}

fn signature(verified: &Verified) -> String {
    let (word, why) = verified.outcome.words();
    let why = if verified.testing && why.is_empty() { "the domain only tries it out" } else { why };
    let mut text = format!("dkim={word}{}", comment(why));
    if let Some(signature) = &verified.signature {
        text.push_str(&format!(
            " header.d={} header.s={}",
            value(&signature.domain),
            value(&signature.selector)
        ));
        // RFC 6008: enough of it to tell signatures apart.
        use base64::{Engine, engine::general_purpose::STANDARD};
        let start: String = STANDARD.encode(&signature.value).chars().take(8).collect();
        text.push_str(&format!(" header.b={}", value(&start)));
    }
    text
}

/// Our own words for a reason.
fn comment(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

/// A value that may be of the peer's making (RFC 8601 §2.2): as it is if it is plain, quoted otherwise, and never with
/// anything in it that could end the field.
fn value(text: &str) -> String {
    const LONGEST: usize = 320;
    let kept: String = text.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`{|}~@".contains(letter);
    if !kept.is_empty() && kept.chars().all(plain) && kept.matches('@').count() <= 1 {
        return kept;
    }
    let mut quoted = String::from("\"");
    for letter in kept.chars() {
        if matches!(letter, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::spf::SpfResult;

    #[test]
    fn nothing_of_a_peer_ends_the_field() {
        let mut findings = Findings::default();
        findings.spf.result = SpfResult::Pass;
        findings.spf.of_sender = true;
        findings.spf.sender = "\"a\r\nX: y; dkim=pass\"@b.example".into();
        assert_eq!(
            findings.field("mx.example"),
            "Authentication-Results: mx.example;\r\n\tspf=pass smtp.mailfrom=\"\\\"aX: y; dkim=pass\\\"@b.example\";\r\n\t\
             dkim=none;\r\n\tdmarc=none\r\n"
        );
    }
}
