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
/// How many parts are looked at for a text that is not empty.
const TRIED: usize = 4;

/// How the text of a message begins; empty if it has none that can be read.
pub(super) async fn preview(
    store: &impl Store,
    message: &MessageRef,
    structure: &Structure,
) -> Result<Option<String>, StoreError> {
    let mut shown = String::new();
    for part in shown_first(structure).into_iter().take(TRIED) {
        let range = part.body();
        for most in LOOKED_AT {
            let octets = read(store, message, range.start..range.end.min(range.start + most)).await?;
            shown = beginning(part, &octets);
            if !shown.is_empty() {
                return Ok(Some(shown));
            }
            if range.end - range.start <= most {
                break;
            }
        }
    }
    Ok(Some(shown))
}

/// The texts in the order in which they are looked at. Those that are attached, and those of messages that are, only if there is no other;
/// of alternatives first the plain one, which needs no taking apart.
fn shown_first(structure: &Structure) -> Vec<&Part> {
    // A multipart without parts is a text.
    let is = |part: &Part, kind: &str| {
        let media_type = part.content().media_type();
        part.shape() == Shape::Leaf
            && (media_type.is("text", kind) || kind == "plain" && media_type.is("multipart", "*"))
    };
    // A part comes behind the one that it is in.
    let mut set_apart = vec![false; structure.parts().len()];
    for (index, part) in structure.parts().enumerate() {
        let within = part.parent().is_some_and(|around| {
            let message = structure.part(around).is_some_and(|around| around.shape() == Shape::Message);
            message || set_apart.get(around).is_some_and(|apart| *apart)
        });
        let attached =
            part.content().disposition().is_some_and(|how| how.kind().eq_ignore_ascii_case("attachment"));
        set_apart.get_mut(index).into_iter().for_each(|apart| *apart = within || attached);
    }
    let texts = structure.parts().zip(&set_apart).filter(|(part, _)| is(part, "plain") || is(part, "html"));
    let (apart, mut own): (Vec<_>, Vec<_>) = texts.partition(|(_, apart)| **apart);
    if own.is_empty() {
        own = apart;
        own.sort_by_key(|(part, _)| !is(part, "plain"));
    }
    let mut own: Vec<&Part> = own.into_iter().map(|(part, _)| part).collect();
    let alternative = own.first().and_then(|first| first.parent()).filter(|around| {
        let around = structure.part(*around);
        around.is_some_and(|around| around.content().media_type().is("multipart", "alternative"))
    });
    let same = |part: &&Part| alternative.is_some() && part.parent() == alternative;
    if let Some(plain) = own.iter().position(|part| same(part) && is(part, "plain")) {
        own.get_mut(..=plain).into_iter().for_each(|before| before.rotate_right(1));
    }
    own
}

fn beginning(part: &Part, octets: &[u8]) -> String {
    let mut decoded = Vec::new();
    match part.content().encoding().decoder().or_else(|| TransferEncoding::Binary.decoder()) {
        Some(mut decoder) => decoder.push(octets, &mut decoded),
        None => return String::new(),
    }
    let media_type = part.content().media_type();
    let label = media_type.charset().unwrap_or_else(|| "utf-8".into());
    let text = charset::decode(&label, &decoded).unwrap_or_else(|| String::from_utf8_lossy(&decoded));
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
    fn the_text_is_that_of_the_message_itself() {
        let text = |kind: &str, text: &str| format!("Content-Type: text/{kind}\r\n\r\n{text}");
        let several = |kind: &str, parts: &[&str]| {
            let parts: String = parts.iter().map(|part| format!("--{kind}\r\n{part}\r\n")).collect();
            format!(
                "Content-Type: multipart/{kind}; boundary*0={0}; boundary*1={1}\r\n\r\n{parts}--{kind}--\r\n",
                &kind[..2],
                &kind[2..]
            )
        };
        let (plain, html) = (text("plain", "plain"), text("html", "html"));
        let attached = format!("Content-Disposition: attachment\r\n{}", text("plain", "attached"));
        let forwarded = format!("Content-Type: message/rfc822\r\n\r\n{}", text("plain", "forwarded"));
        for (message, expected) in [
            (several("mixed", &[&attached, &html]), "html"),
            (several("mixed", &[&forwarded, &html]), "html"),
            (several("mixed", &[&several("alternative", &[&html, &plain]), &attached]), "plain"),
            (several("mixed", &[&html, &plain]), "html"),
            (several("mixed", &[&forwarded, &attached]), "forwarded"),
            (several("mixed", &[&text("calendar", "x")]), "nothing"),
            (several("alternative", &[&html, &text("plain", "other"), &plain]), "other"),
            ("Content-Type: multipart/mixed; boundary=b\r\n\r\nno parts\r\n".to_owned(), "no parts\r\n"),
        ] {
            let structure = Structure::of(message.as_bytes());
            let shown = shown_first(&structure).first().map_or("nothing", |part| {
                let range = part.body();
                &message[range.start as usize..range.end as usize]
            });
            assert_eq!(shown, expected, "{message}");
        }
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
