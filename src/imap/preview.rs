//! PREVIEW: how the text of a message begins (RFC 8970).

use mailwright_mail_model::{
    charset,
    encoding::TransferEncoding,
    markup,
    mime::{Part, Shape, Structure},
};
use mailwright_mailstore::{MessageRef, Store, StoreError};

use super::fetch::read;

/// How many characters of a text are shown (RFC 8970 §3.1 recommends 200).
const PREVIEW: usize = 200;
/// How many octets of a part are looked at for that, and how many if these are all style sheets.
const LOOKED_AT: [u64; 2] = [16 * 1024, 128 * 1024];

/// How the text of a message begins; empty if it has none that can be read.
pub(super) async fn preview(
    store: &impl Store,
    message: &MessageRef,
    structure: &Structure,
) -> Result<Option<String>, StoreError> {
    let text = |kind: &str| {
        structure
            .parts()
            .find(|part| part.shape() == Shape::Leaf && part.content().media_type().is("text", kind))
    };
    let Some(part) = text("plain").or_else(|| text("html")) else { return Ok(Some(String::new())) };
    let range = part.body();
    let mut shown = String::new();
    for most in LOOKED_AT {
        let octets = read(store, message, range.start..range.end.min(range.start + most)).await?;
        shown = beginning(part, &octets);
        if !shown.is_empty() || range.end - range.start <= most {
            break;
        }
    }
    Ok(Some(shown))
}

fn beginning(part: &Part, octets: &[u8]) -> String {
    let mut decoded = Vec::new();
    match part.content().encoding().decoder().or_else(|| TransferEncoding::Binary.decoder()) {
        Some(mut decoder) => decoder.push(octets, &mut decoded),
        None => return String::new(),
    }
    let media_type = part.content().media_type();
    let label =
        media_type.parameter("charset").and_then(|label| str::from_utf8(label).ok()).unwrap_or("utf-8");
    let text = charset::decode(label, &decoded).unwrap_or_else(|| String::from_utf8_lossy(&decoded));
    match media_type.is("text", "html") {
        true => folded(markup::Text::new(&text)),
        false => folded(text.chars()),
    }
}

/// As much as is shown, with one space where there is any room between words.
fn folded(text: impl Iterator<Item = char>) -> String {
    let mut shown = String::new();
    let (mut characters, mut space) = (0, false);
    for character in text {
        match character {
            // Seen by nobody: newsletters fill with them what is to look empty.
            '\u{ad}' | '\u{34f}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2060}' | '\u{feff}' => {}
            // Between letters they say how these are joined.
            '\u{200c}' | '\u{200d}' if space || shown.is_empty() => {}
            // A line quoted, and what is between words, tells nothing.
            character if character.is_whitespace() || character.is_control() => space = true,
            character => {
                let between = std::mem::take(&mut space) && !shown.is_empty();
                if characters + usize::from(between) >= PREVIEW {
                    break;
                }
                if between {
                    shown.push(' ');
                    characters += 1;
                }
                shown.push(character);
                characters += 1;
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(message: &str) -> String {
        let structure = Structure::of(message.as_bytes());
        let part = structure.part(0).unwrap();
        let range = part.body();
        beginning(part, &message.as_bytes()[range.start as usize..range.end as usize])
    }

    fn html(text: &str) -> String {
        shown(&format!("Content-Type: text/html; charset=utf-8\r\n\r\n{text}"))
    }

    #[test]
    fn texts_begin() {
        assert_eq!(shown("Subject: x\r\n\r\n  Tea\r\n at  five?\r\n"), "Tea at five?");
        assert_eq!(html("<html><p class=\"a\">Tea</p><b>now</b></html>"), "Tea now");
        let quoted = "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9";
        assert_eq!(shown(quoted), "caf\u{e9}");
        assert_eq!(shown(&format!("\r\n{}", "a ".repeat(1000))).chars().count(), 199);
    }

    #[test]
    fn what_nobody_sees_is_not_shown() {
        let head = "<!DOCTYPE html><html><HEAD><meta charset=utf-8><title>Our letter</title>\
                    <style type=\"text/css\">p > a { color: red }</style></head>";
        let body = "<body><!-- <p>not this</p> --><script>if (a < b) { c() }</script>\
                    <p title='a > b'>T<b>e</b>a<br>at&nbsp;five &amp; six &lt;now&gt;</p></body>";
        assert_eq!(html(&format!("{head}{body}")), "Tea at five & six <now>");
        assert_eq!(html("<div>&zwnj;&nbsp;&#847;&#8203;</div>x&shy;y"), "xy");
        // What has no end is not the text, nor is what comes behind it.
        assert_eq!(html("a<style>p {} <p>b"), "a");
        assert_eq!(html("a<!-- b"), "a");
        assert_eq!(html("a <b"), "a");
        // A head without an end has parts that have one.
        assert_eq!(html("<head><title>x</title><p>y"), "y");
        assert_eq!(html("<head><title>x</title>z<body>y"), "y");
        assert_eq!(html("<header>a</header><styles>b</styles>"), "a b");
    }

    #[test]
    fn references_are_characters() {
        assert_eq!(
            html("caf&eacute; &uuml;ber &Uuml;ber &szlig; &yuml;"),
            "caf\u{e9} \u{fc}ber \u{dc}ber \u{df} \u{ff}"
        );
        assert_eq!(
            html("&#x20AC;1&#44;50&hellip; &ldquo;x&rdquo; &#128512;"),
            "\u{20ac}1,50\u{2026} \u{201c}x\u{201d} \u{1f600}"
        );
        // What Windows calls so.
        assert_eq!(html("it&#146;s"), "it\u{2019}s");
        // Those that are none stay as they are.
        for text in [
            "a & b",
            "a &unknown; b",
            "a &; b",
            "&#; &#x; &#99999999; &#xD800;",
            "AT&T",
            "1 < 2",
            "a <> b",
            "&ampersand;",
        ] {
            assert_eq!(html(text), text);
        }
    }
}
