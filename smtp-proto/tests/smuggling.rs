//! P5: only CRLF.CRLF ends a message; a stream of octets has one meaning.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod support;

use std::sync::Arc;

use mailwright_line_proto::testing::{Pace, Seen, run_input};
use mailwright_smtp_proto::server::{BareLineEnds, Config};
use support::Receiving;

/// What is not the end of a message. The first of each pair stands for the line end
/// before the dot, the second for the one behind it.
const FORGED: &[(&str, &str)] = &[
    ("\n", "\n"),
    ("\n", "\r\n"),
    ("\r\n", "\n"),
    ("\r", "\r"),
    ("\r\n", "\r"),
    ("\r", "\r\n"),
    ("\n", "\r"),
    ("\r", "\n"),
    ("\r\n\0", "\r\n"),
    ("\r\n", "\0\r\n"),
    ("\r\0\n", "\r\n"),
    ("\r\n", "\r\r\n"),
    ("\n\n", "\n\n"),
    ("\r\n ", "\r\n"),
    ("\r\n", " \r\n"),
    ("\r\n\t", "\r\n"),
    ("\u{2028}", "\u{2028}"),
    ("\u{85}", "\u{85}"),
    ("\x0b", "\x0b"),
    ("\x0c", "\x0c"),
    ("\r\n.", "\r\n"),
];

const SMUGGLED: &str = "MAIL FROM:<evil@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nsmuggled\r\n";

fn play(config: &Arc<Config>, hello: &str, body: &str, split: usize) -> (Vec<Seen>, String) {
    let input = format!(
        "{hello} a.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n{body}\r\n.\r\nQUIT\r\n"
    );
    let run =
        run_input(&mut Receiving(Arc::clone(config)), input.as_bytes(), Pace { split, lazy: false }, true);
    (run.seen, String::from_utf8(run.sent).unwrap())
}

fn count(seen: &[Seen], start: &str) -> usize {
    seen.iter().filter(|seen| matches!(seen, Seen::Event(text) if text.starts_with(start))).count()
}

#[test]
fn nothing_else_ends_a_message() {
    for (protocol, hello) in [(Config::smtp("mx.example"), "HELO"), (Config::lmtp("mx.example"), "LHLO")] {
        for bare in [BareLineEnds::Reject, BareLineEnds::Accept] {
            for syntax in [mailwright_smtp_proto::Syntax::Strict, mailwright_smtp_proto::Syntax::Lenient] {
                let mut config = protocol.clone().unwrap();
                config.bare_line_ends = bare;
                config.syntax = syntax;
                let config = Arc::new(config);
                for (before, behind) in FORGED {
                    for split in [usize::MAX, 1, 3] {
                        let body = format!("one{before}.{behind}{SMUGGLED}");
                        let (seen, sent) = play(&config, hello, &body, split);
                        let case = format!("{before:?}.{behind:?} {bare:?} {syntax:?}: {sent}");
                        assert_eq!(count(&seen, "Mail("), 1, "{case}");
                        let aborted = count(&seen, "BodyAborted");
                        assert_eq!(count(&seen, "BodyEnd") + aborted, 1, "{case}");
                        assert!(sent.ends_with("221 2.0.0 Bye\r\n"), "{case}");
                        let message = seen.iter().find_map(|seen| match seen {
                            Seen::Body(body) => Some(String::from_utf8_lossy(body).into_owned()),
                            _ => None,
                        });
                        assert!(message.unwrap().ends_with("smuggled\r\n\r\n"), "{case}");
                        assert!(aborted == 0 || sent.contains("\r\n550 5.6.11 "), "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn parts_are_content_whatever_they_hold() {
    // What looks like the end of a message, or of a part, or like a command, is content.
    let head = "HELO a.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n";
    for bare in [BareLineEnds::Reject, BareLineEnds::Accept] {
        let mut config = Config::smtp("mx.example").unwrap();
        config.bare_line_ends = bare;
        let config = Arc::new(config);
        for (before, behind) in FORGED.iter().chain([&("\r\n", "\r\n")]) {
            let body = format!("one{before}.{behind}{SMUGGLED}.\r\nBDAT 1 LAST\r\nQUIT\r\n");
            for parts in [
                format!("BDAT {} LAST\r\n{body}", body.len()),
                format!("BDAT {}\r\n{body}BDAT 0 LAST\r\n", body.len()),
                body.chars()
                    .map(|letter| format!("BDAT {}\r\n{letter}", letter.len_utf8()))
                    .collect::<String>()
                    + "BDAT 0 LAST\r\n",
            ] {
                for split in [usize::MAX, 1, 7] {
                    let input = format!("{head}{parts}QUIT\r\n");
                    let pace = Pace { split, lazy: false };
                    let run = run_input(&mut Receiving(Arc::clone(&config)), input.as_bytes(), pace, true);
                    let sent = String::from_utf8(run.sent).unwrap();
                    assert_eq!(count(&run.seen, "Mail("), 1, "{sent}");
                    assert_eq!(count(&run.seen, "BodyEnd") + count(&run.seen, "BodyAborted"), 1, "{sent}");
                    assert!(sent.ends_with("221 2.0.0 Bye\r\n"), "{sent}");
                    assert!(
                        run.seen.iter().any(|seen| matches!(seen, Seen::Body(found) if *found == body)),
                        "{sent}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_lone_cr_or_lf_is_refused_unless_accepted() {
    let mut config = Config::smtp("mx.example").unwrap();
    for (body, clean) in
        [("a\nb", false), ("a\rb", false), ("a\r\nb", true), ("\r", false), ("", true), ("a\r\n", true)]
    {
        for (bare, taken) in [(BareLineEnds::Reject, clean), (BareLineEnds::Accept, true)] {
            config.bare_line_ends = bare;
            let (seen, _) = play(&Arc::new(config.clone()), "HELO", body, 1);
            assert_eq!(count(&seen, "BodyEnd"), usize::from(taken), "{body:?} {bare:?}");
            assert_eq!(count(&seen, "BodyAborted(BareLineEnds)"), usize::from(!taken), "{body:?} {bare:?}");
        }
    }
}

#[test]
fn the_connection_lost_in_a_message_delivers_nothing() {
    let config = Arc::new(Config::smtp("mx.example").unwrap());
    let input = "HELO a.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nx\r\n.\r";
    let run = run_input(&mut Receiving(config), input.as_bytes(), Pace::default(), true);
    assert_eq!(count(&run.seen, "BodyEnd"), 0);
    assert_eq!(run.seen.last(), Some(&Seen::Closed("Eof".to_owned())));
}
