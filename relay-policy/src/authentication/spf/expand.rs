//! Macros (RFC 7208 §7).

use std::net::IpAddr;

/// A text with macros in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct MacroText(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Macro { letter: char, escaped: bool, labels: usize, reversed: bool, delimiters: String },
}

/// What the letters stand for.
pub(super) struct Meaning<'a> {
    pub(super) sender: &'a str,
    pub(super) domain: &'a str,
    pub(super) client: IpAddr,
    pub(super) helo: &'a str,
    pub(super) receiver: &'a str,
    /// The client's name, verified; only where it is asked for.
    pub(super) name: &'a str,
    /// Seconds since 1970, for explanations.
    pub(super) now: u64,
}

impl MacroText {
    /// `None` if a macro is wrong.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, behind)) = rest.split_once('%') {
            if !before.is_empty() {
                parts.push(Part::Text(literal(before)?));
            }
            let (mark, behind) = behind.split_at_checked(1)?;
            rest = behind;
            match mark {
                "%" => parts.push(Part::Text("%".into())),
                "_" => parts.push(Part::Text(" ".into())),
                "-" => parts.push(Part::Text("%20".into())),
                "{" => {
                    let (inside, behind) = behind.split_once('}')?;
                    rest = behind;
                    parts.push(expression(inside)?);
                }
                _ => return None,
            }
        }
        if !rest.is_empty() {
            parts.push(Part::Text(literal(rest)?));
        }
        Some(Self(parts))
    }

    /// Whether it has letters that mean something in explanations only.
    pub(super) fn is_for_explanations(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Macro { letter: 'c' | 'r' | 't', .. }))
    }

    /// Whether the client's name must be known.
    pub(super) fn needs_name(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Macro { letter: 'p', .. }))
    }

    /// The text with meaning, at most `longest` octets: of a longer one, labels are left out at its front.
    pub(super) fn domain(&self, meaning: &Meaning<'_>) -> String {
        let text = self.text(meaning);
        let mut name = text.trim_end_matches('.');
        // RFC 7208 §7.3
        while name.len() > 253 {
            let Some((_, rest)) = name.split_once('.') else { break };
            name = rest;
        }
        name.to_owned()
    }

    /// The text with meaning.
    pub(super) fn text(&self, meaning: &Meaning<'_>) -> String {
        let mut output = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => output.push_str(text),
                Part::Macro { letter, escaped, labels, reversed, delimiters } => {
                    let value = value(*letter, meaning);
                    let is_delimiter = |letter: char| delimiters.contains(letter);
                    let mut parts: Vec<&str> = value.split(is_delimiter).collect();
                    if *reversed {
                        parts.reverse();
                    }
                    let first = parts.len().saturating_sub(*labels);
                    let text = parts.get(first..).unwrap_or_default().join(".");
                    if *escaped { escape(&text, &mut output) } else { output.push_str(&text) }
                }
            }
        }
        output
    }
}

/// RFC 7208 §7.1: visible letters of ASCII.
fn literal(text: &str) -> Option<String> {
    text.chars().all(|letter| letter == ' ' || letter.is_ascii_graphic()).then(|| text.to_owned())
}

fn expression(inside: &str) -> Option<Part> {
    let mut letters = inside.chars();
    let letter = letters.next()?;
    let escaped = letter.is_ascii_uppercase();
    let letter = letter.to_ascii_lowercase();
    if !"slodipvhcrt".contains(letter) {
        return None;
    }
    let rest = letters.as_str();
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at_checked(digits)?;
    let labels =
        if digits.is_empty() { usize::MAX } else { digits.parse().ok().filter(|count| *count > 0)? };
    let (reversed, rest) = match rest.strip_prefix(['r', 'R']) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if !rest.chars().all(|letter| ".-+,/_=".contains(letter)) {
        return None;
    }
    let delimiters = if rest.is_empty() { ".".to_owned() } else { rest.to_owned() };
    Some(Part::Macro { letter, escaped, labels, reversed, delimiters })
}

fn value(letter: char, meaning: &Meaning<'_>) -> String {
    let (local, of) = meaning.sender.rsplit_once('@').unwrap_or(("", meaning.sender));
    // RFC 7208 §4.3
    let local = if local.is_empty() { "postmaster" } else { local };
    match letter {
        's' => format!("{local}@{of}"),
        'l' => local.to_owned(),
        'o' => of.to_owned(),
        'd' => meaning.domain.to_owned(),
        'i' => dotted(meaning.client),
        'p' => meaning.name.to_owned(),
        'v' => if meaning.client.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
        'h' => meaning.helo.to_owned(),
        'c' => meaning.client.to_string(),
        'r' => meaning.receiver.to_owned(),
        't' => meaning.now.to_string(),
        _ => String::new(),
    }
}

/// An address in the form of `%{i}`: for IPv6 each half octet is a label.
fn dotted(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let digits = format!("{:032x}", address.to_bits());
            digits.chars().map(String::from).collect::<Vec<_>>().join(".")
        }
    }
}

/// RFC 3986 §2.1
fn escape(text: &str, output: &mut String) {
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            output.push(octet.into());
        } else {
            output.push_str(&format!("%{octet:02X}"));
        }
    }
}

/// The name under which the owner of an address tells its name (RFC 1035 §3.5, RFC 3596 §2.5).
pub(super) fn reverse_name(address: IpAddr) -> String {
    let labels = dotted(address);
    let reversed = labels.rsplit('.').collect::<Vec<_>>().join(".");
    let zone = if address.is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" };
    format!("{reversed}.{zone}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 7208 §7.4
        let meaning = |client: &'static str| Meaning {
            sender: "strong-bad@email.example.com",
            domain: "email.example.com",
            client: client.parse().unwrap(),
            helo: "mx.example.org",
            receiver: "here",
            name: "unknown",
            now: 7,
        };
        for (text, expected) in [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d3}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l}", "strong-bad"),
            ("%{l-}", "strong.bad"),
            ("%{lr}", "strong-bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
            ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
            ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
            ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
            ("%{S}%%%_%-", "strong-bad%40email.example.com% %20"),
        ] {
            let parsed = MacroText::parse(text).unwrap();
            assert_eq!(parsed.text(&meaning("192.0.2.3")), expected, "{text}");
        }
        let parsed = MacroText::parse("%{ir}.%{v}._spf.%{d2}").unwrap();
        assert_eq!(
            parsed.text(&meaning("2001:db8::cb01")),
            "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"
        );
        for wrong in ["%", "%a", "%{", "%{}", "%{x}", "%{d0}", "%{d2x}", "%{d2r*}", "é"] {
            assert_eq!(MacroText::parse(wrong), None, "{wrong}");
        }
    }
}
