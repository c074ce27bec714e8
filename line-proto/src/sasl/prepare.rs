//! SASLprep (RFC 4013).

use crate::Secret;

/// A name as it is compared, or `None` if it holds what is forbidden, or nothing.
pub fn name(text: &str) -> Option<String> {
    prepare(text)
}

/// A password as it is hashed, or `None` as for a name.
pub fn password(octets: &[u8]) -> Option<Secret> {
    prepare(std::str::from_utf8(octets).ok()?).map(|text| Secret::from(text.as_str()))
}

fn prepare(text: &str) -> Option<String> {
    let prepared = match stringprep::saslprep(text) {
        Ok(prepared) => prepared.into_owned(),
        // RFC 4013 §2.5: code points that Unicode 3.2 did not know may stand in what is asked for. They have no
        // mapping, so the text is left as it is.
        Err(_) if text.chars().any(stringprep::tables::unassigned_code_point) => {
            if text.chars().any(char::is_control) {
                return None;
            }
            text.to_owned()
        }
        Err(_) => return None,
    };
    (!prepared.is_empty()).then_some(prepared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepares_as_rfc_4013_section_3_shows() {
        for (text, expected) in [
            ("I\u{ad}X", Some("IX")),
            ("user", Some("user")),
            ("USER", Some("USER")),
            ("\u{aa}", Some("a")),
            ("\u{2168}", Some("IX")),
            ("\u{7}", None),
            ("\u{627}1", None),
            ("", None),
            ("\u{ad}", None),
            ("a\r\nb", None),
            ("a\0b", None),
            ("päss wörd", Some("päss wörd")),
            ("\u{1f512}", Some("\u{1f512}")),
            ("\u{1f512}\n", None),
        ] {
            assert_eq!(name(text).as_deref(), expected, "{text:?}");
        }
        assert_eq!(password(b"\xff"), None);
        assert_eq!(password("\u{2168}".as_bytes()), Some(Secret::from("IX")));
    }
}
