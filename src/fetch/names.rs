//! What mailboxes elsewhere are called here.

use std::collections::HashSet;

use mailwright_mail_model::MailboxName;

/// The names that mailboxes of another server have here, each one of its own: `None` for those without any name. They are given as the
/// server calls them, with what separates their levels.
///
/// Most names stay. What a name here cannot have becomes `_`: a separator that is none there, empty levels, control characters; levels
/// below the deepest that there can be become part of it, and what is too long is cut. With `inbox_is_root`, names below INBOX lose that level,
/// as on servers that have all mailboxes there. Where two would have one name, that of one of them ends with a number.
///
/// ```
/// let there = [("Lists/Tea", Some('/')), ("a/b.c", Some('.')), ("Foo//Bar", Some('/')), ("Foo/_/Bar", Some('/'))];
/// let here = mailwright::fetch::local_names(&there.map(|(name, delimiter)| (name.to_owned(), delimiter)), false);
/// let here: Vec<_> = here.iter().flatten().map(|name| name.as_str()).collect();
/// assert_eq!(here, ["Lists/Tea", "a_b/c", "Foo/_/Bar (2)", "Foo/_/Bar"]);
/// ```
pub fn local_names(there: &[(String, Option<char>)], inbox_is_root: bool) -> Vec<Option<MailboxName>> {
    let mut here: Vec<Option<MailboxName>> = vec![None; there.len()];
    let mut taken = HashSet::from([MailboxName::inbox()]);
    // First those that stay as they are: nobody else is to have their names.
    for stays in [true, false] {
        for (place, (name, delimiter)) in here.iter_mut().zip(there) {
            if place.is_some() || name.is_empty() {
                continue;
            }
            let levelled = levelled(name, *delimiter);
            let whole = MailboxName::lookup(&levelled).ok();
            if whole.as_ref().is_some_and(MailboxName::is_inbox) {
                *place = whole;
                continue;
            }
            let root = levelled.strip_prefix("INBOX/").filter(|_| inbox_is_root);
            *place = match stays {
                true => whole.filter(|whole| root.is_none() && levelled == *name && !taken.contains(whole)),
                false => {
                    let short = root.map(fitting).filter(|name| !taken.contains(name));
                    Some(short.unwrap_or_else(|| numbered(fitting(&levelled), &taken)))
                }
            };
            taken.extend(place.clone());
        }
    }
    here
}

/// The name with `/` between its levels.
fn levelled(name: &str, delimiter: Option<char>) -> String {
    match delimiter {
        // What separates levels here is a letter there.
        Some(delimiter) if delimiter != '/' => name.replace('/', "_").replace(delimiter, "/"),
        Some(_) => name.to_owned(),
        None => name.replace('/', "_"),
    }
}

/// A name that there can be, as much like this one as can be.
fn fitting(name: &str) -> MailboxName {
    let name: String = name
        .chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { '_' } else { c })
        .collect();
    let mut levels = name.split('/').map(|level| if matches!(level, "" | "." | "..") { "_" } else { level });
    let mut fits: Vec<&str> = levels.by_ref().take(MailboxName::MAX_LEVELS - 1).collect();
    let rest = levels.collect::<Vec<_>>().join("_");
    fits.extend(Some(&*rest).filter(|rest| !rest.is_empty()));
    let fits = cut(&fits.join("/"), MailboxName::MAX_OCTETS - ROOM).to_owned();
    MailboxName::lookup(fits.trim_end_matches('/')).unwrap_or_else(|_| MailboxName::inbox())
}

/// The room for a number.
const ROOM: usize = 16;

/// The first of `name`, `name (2)`, `name (3)` that nobody has.
fn numbered(name: MailboxName, taken: &HashSet<MailboxName>) -> MailboxName {
    let others = (2_u32..).filter_map(|number| MailboxName::lookup(&format!("{name} ({number})")).ok());
    let free = std::iter::once(name.clone()).chain(others).find(|name| !taken.contains(name));
    free.unwrap_or(name)
}

fn cut(text: &str, octets: usize) -> &str {
    let end = (0..=octets.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(there: &[&str], inbox_is_root: bool) -> Vec<String> {
        let there: Vec<_> = there.iter().map(|name| ((*name).to_owned(), Some('/'))).collect();
        local_names(&there, inbox_is_root).into_iter().flatten().map(|name| name.to_string()).collect()
    }

    #[test]
    fn what_can_stay_stays_and_no_two_are_one() {
        let deep =
            "abcdefghijklmnopqrstu".split("").collect::<Vec<_>>().join("/").trim_matches('/').to_owned();
        let there = ["Foo//Bar", "Foo/_/Bar", "a/..", &deep, "inbox", "a\rb", "INBOX/Sent", "Work/"];
        let here = [
            "Foo/_/Bar (2)",
            "Foo/_/Bar",
            "a/_",
            "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p_q_r_s_t_u",
            "INBOX",
            "a_b",
        ];
        assert_eq!(names(&there, true)[..6], here);
        assert_eq!(names(&there, true)[6..], ["Sent", "Work/_"]);
        assert_eq!(names(&there, false)[6..], ["INBOX/Sent", "Work/_"]);
        // Whoever has both keeps both.
        assert_eq!(names(&["INBOX/Sent", "Sent"], true), ["INBOX/Sent", "Sent"]);
        assert_eq!(names(&["INBOX/INBOX"], true), ["INBOX/INBOX"]);
        let long = "é".repeat(2_000);
        let long = names(&[&long, &format!("{long}x")], false);
        assert!(long[0].len() > 1_000 && long[1] == format!("{} (2)", long[0]), "{long:?}");
        assert_eq!(local_names(&[(String::new(), None)], true), [None]);
    }

    #[test]
    fn each_has_one_of_its_own() {
        let parts = ["a", "b", "", ".", "/", "a.b", "&", "\r", "*", "é", "a (2)"];
        let pairs = parts.iter().flat_map(|one| parts.iter().map(move |other| [*one, *other]));
        for delimiter in ['.', '/'] {
            let there: HashSet<_> =
                pairs.clone().map(|pair| pair.join(delimiter.to_string().as_str())).collect();
            let there: Vec<_> = there.into_iter().map(|name| (name, Some(delimiter))).collect();
            let here = local_names(&there, true);
            let distinct: HashSet<_> = here.iter().flatten().collect();
            assert_eq!(distinct.len(), there.len());
        }
        let twice = ["A&B", "A&B"].map(|name| (name.to_owned(), Some('/')));
        let here: Vec<_> =
            local_names(&twice, false).into_iter().flatten().map(|name| name.to_string()).collect();
        assert_eq!(here, ["A&B", "A&B (2)"]);
    }
}
