//! What programs say by the number they end with: the codes of BSD's `sysexits.h`, which mail programs have in common.

use mailwright_smtp_proto::Reply;

/// The code, the enhanced status it stands for, and what it means.
const CODES: &[(i32, (u8, u16, u16), &str)] = &[
    (64, (5, 3, 0), "was called wrongly"),
    (65, (5, 6, 0), "cannot use the message"),
    (66, (5, 3, 0), "has no input"),
    (67, (5, 1, 1), "knows no such user"),
    (68, (5, 1, 2), "knows no such host"),
    (69, (5, 3, 0), "cannot do it"),
    (70, (5, 3, 0), "has an error in itself"),
    (71, (4, 3, 0), "had trouble with the system"),
    (72, (5, 3, 0), "lacks a file of the system"),
    (73, (5, 2, 0), "cannot make its file"),
    (74, (5, 3, 0), "cannot read or write"),
    (75, (4, 3, 0), "wants it to be tried again"),
    (76, (5, 5, 0), "was answered wrongly"),
    (77, (5, 7, 0), "is not allowed to"),
    (78, (5, 3, 5), "is not configured rightly"),
];
/// How much of what a program printed is told.
const MOST_SAID: usize = 200;

/// What it means for a message that a program ended with this code; `said` is what it printed.
///
/// ```
/// use mailwright_relay_policy::delivery::exit_reply;
///
/// assert_eq!(exit_reply(0, ""), Ok(()));
/// let later = exit_reply(75, "disk full\n").unwrap_err();
/// assert!(!later.is_permanent() && later.to_string().contains("disk full"));
/// assert!(exit_reply(67, "").unwrap_err().is_permanent());
/// ```
///
/// # Errors
/// A reply that refuses the message: for now with 75 and 71, for good with any other code.
pub fn exit_reply(code: i32, said: &str) -> Result<(), Reply> {
    if code == 0 {
        return Ok(());
    }
    let row = CODES.iter().find(|(number, _, _)| *number == code);
    let (status, meaning) = row.map_or(((5, 3, 0), "failed"), |(_, status, meaning)| (*status, meaning));
    let said: String = said
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .map(|letter| if letter.is_ascii_graphic() || letter == ' ' { letter } else { '?' })
        .take(MOST_SAID)
        .collect();
    let separator = if said.is_empty() { "" } else { ": " };
    let text = format!("The program {meaning} (status {code}){separator}{said}");
    let detail = (status.1, status.2);
    Err(if status.0 == 4 { Reply::transient(detail, text) } else { Reply::permanent(detail, text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_meaning() {
        for (code, expected) in [
            (1, "550 5.3.0"),
            (64, "550 5.3.0"),
            (65, "550 5.6.0"),
            (67, "550 5.1.1"),
            (71, "451 4.3.0"),
            (75, "451 4.3.0"),
            (77, "550 5.7.0"),
            (78, "550 5.3.5"),
            (127, "550 5.3.0"),
        ] {
            let reply = exit_reply(code, "").unwrap_err();
            let (class, subject, detail) = reply.enhanced().unwrap();
            let permanent = if reply.is_permanent() { 550 } else { 451 };
            assert_eq!(format!("{permanent} {class}.{subject}.{detail}"), expected, "{code}");
        }
    }

    #[test]
    fn what_was_printed_is_told_on_one_line_and_not_all_of_it() {
        let reply = exit_reply(1, &format!("first\r\n\u{7}second {}", "x".repeat(10_000))).unwrap_err();
        let text = reply.to_string();
        assert!(text.contains("first ?second xxx"), "{text}");
        assert!(text.len() < 300 && text.trim_end().lines().count() == 1, "{text}");
    }
}
