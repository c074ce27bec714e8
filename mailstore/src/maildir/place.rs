//! Where things are: the directory of a user, the directories of mailboxes in it.

use std::path::{Path, PathBuf};

use mailwright_mail_model::MailboxName;

use crate::{Result, StoreError, User};

/// Where the Maildir of a user is, such as `/var/mail/%d/%n/Maildir`.
///
/// `%u` is the whole account name, `%n` what is before its `@`, `%d` what is behind it, `%%` a percent sign.
///
/// ```
/// use mailwright_mailstore::User;
/// use mailwright_mailstore::maildir::Template;
///
/// let template = Template::new("/var/mail/%d/%n/Maildir")?;
/// let alice = User::new("alice@example.org").unwrap();
/// assert_eq!(template.path(&alice)?.to_str(), Some("/var/mail/example.org/alice/Maildir"));
/// // Nobody leaves the tree.
/// assert!(template.path(&User::new("../alice@example.org").unwrap()).is_err());
/// assert!(Template::new("/var/mail/all").is_err());
/// # Ok::<(), mailwright_mailstore::StoreError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    User,
    Local,
    Domain,
}

/// The longest name of a file that common file systems take, in octets.
const LONGEST_NAME: usize = 255;

impl Template {
    /// A template for the paths of users.
    ///
    /// # Errors
    /// [`Invalid`](StoreError::Invalid) if it has another variable, or neither `%u` nor `%n`.
    pub fn new(template: &str) -> Result<Self> {
        let (mut parts, mut text) = (Vec::new(), String::new());
        let mut characters = template.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                text.push(character);
                continue;
            }
            let part = match characters.next() {
                Some('%') => {
                    text.push('%');
                    continue;
                }
                Some('u') => Part::User,
                Some('n') => Part::Local,
                Some('d') => Part::Domain,
                other => {
                    let found = other.map(String::from).unwrap_or_default();
                    return Err(StoreError::Invalid(format!(
                        "expected %u, %n, %d or %% in a path, got %{found}"
                    )));
                }
            };
            parts.extend([Part::Text(std::mem::take(&mut text)), part]);
        }
        parts.push(Part::Text(text));
        if parts.iter().any(|part| matches!(part, Part::User | Part::Local)) {
            Ok(Self(parts))
        } else {
            Err(StoreError::Invalid("expected a path with %u or %n, so that each user has one".into()))
        }
    }

    /// The same path for every user, who then have the same mail.
    pub fn one(path: impl Into<String>) -> Self {
        Self(vec![Part::Text(path.into())])
    }

    /// Whether users of different domains have different paths.
    pub fn tells_domains_apart(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::User | Part::Domain))
    }

    /// The path of a user.
    ///
    /// # Errors
    /// [`Invalid`](StoreError::Invalid) if the name is none that can be part of a path.
    pub fn path(&self, user: &User) -> Result<PathBuf> {
        let name = user.as_str();
        let (local, domain) = name.rsplit_once('@').unwrap_or((name, ""));
        let mut path = String::new();
        for part in &self.0 {
            path.push_str(match part {
                Part::Text(text) => text,
                Part::User => safe(name)?,
                Part::Local => safe(local)?,
                Part::Domain => safe(domain)?,
            });
        }
        Ok(path.into())
    }
}

impl Template {
    pub(super) fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The directory that all users have in common: what is before the first variable.
    pub(super) fn base(&self) -> PathBuf {
        match self.0.first() {
            // The last level, if it is not whole, is a part of a user's.
            Some(Part::Text(text)) if self.0.len() > 1 => match text.rfind('/') {
                Some(end) => PathBuf::from(text.get(..=end).unwrap_or_default()),
                None => PathBuf::from("."),
            },
            Some(Part::Text(text)) => PathBuf::from(text),
            _ => PathBuf::from("."),
        }
    }

    /// The home of a user: the directory above the Maildir, if that is the user's alone, as in `/var/mail/%d/%n/Maildir`; otherwise the
    /// Maildir itself.
    pub(super) fn home(&self, user: &User) -> Result<PathBuf> {
        let path = self.path(user)?;
        let last_is_fixed = match self.0.last() {
            Some(Part::Text(text)) => text.trim_end_matches('/').contains('/'),
            _ => false,
        };
        // Without a variable there is one user, and what is above may be anybody's.
        let above = path.parent().filter(|_| last_is_fixed && self.0.len() > 1);
        Ok(above.map_or_else(|| path.clone(), Path::to_owned))
    }
}

/// A name that stays within its directory, and is one.
fn safe(name: &str) -> Result<&str> {
    let strange = name.is_empty()
        || name.len() > LONGEST_NAME
        || name.starts_with('.')
        || name.contains(['/', '\\', '\0']);
    if strange {
        return Err(StoreError::Invalid(format!(
            "expected an account name that can be a directory, got {name:?}"
        )));
    }
    Ok(name)
}

/// The directory of a mailbox, below that of its user.
pub(super) fn folder(root: &Path, name: &MailboxName) -> Result<PathBuf> {
    if name.is_inbox() {
        return Ok(root.to_owned());
    }
    let directory = directory(name);
    if directory.len() > LONGEST_NAME {
        return Err(StoreError::Invalid(format!(
            "expected a mailbox name of at most {LONGEST_NAME} octets in modified UTF-7"
        )));
    }
    Ok(root.join(directory))
}

/// How a mailbox's directory is called: `.` and its levels, with `.` between them, in modified UTF-7.
pub(super) fn directory(name: &MailboxName) -> String {
    name.levels().map(|level| format!(".{}", encode(level))).collect()
}

/// The mailbox of a directory of this name, if it can be one.
pub(super) fn mailbox(directory: &str) -> Option<MailboxName> {
    let name = directory.strip_prefix('.')?;
    // `INBOX` is the directory above, and `..` begins what is about to be removed.
    if name.is_empty() || name.starts_with('.') || name.eq_ignore_ascii_case("INBOX") {
        return None;
    }
    let levels: Option<Vec<String>> = name.split('.').map(decode).collect();
    let name = MailboxName::lookup(&levels?.join("/")).ok()?;
    // One directory each.
    (self::directory(&name) == directory).then_some(name)
}

/// A level in modified UTF-7, which lets a dot be: here it is what separates levels, so it is written in base64.
pub(super) fn encode(level: &str) -> String {
    mailwright_mail_model::mailbox::utf7::encode(level).replace('.', DOT)
}

/// The other way.
pub(super) fn decode(level: &str) -> Option<String> {
    mailwright_mail_model::mailbox::utf7::decode(level.replace(DOT, ".").as_bytes()).ok()
}

const DOT: &str = "&AC4-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_stay_where_they_belong() {
        let path = |template: &str, name: &str| {
            Template::new(template).and_then(|template| template.path(&User::new(name).unwrap()))
        };
        assert_eq!(path("/home/%n/Maildir", "alice").unwrap(), Path::new("/home/alice/Maildir"));
        assert_eq!(path("/m/100%%/%u", "a@b").unwrap(), Path::new("/m/100%/a@b"));
        for name in ["..", ".", ".ssh@x", "a/b@x", "a@../x", "a@", "a\\b@x"] {
            assert!(matches!(path("/m/%d/%n", name), Err(StoreError::Invalid(_))), "{name}");
        }
        assert!(path("/m/%d/%n", "alice").is_err(), "there is no domain");
        for template in ["/m/%h", "/m/%", "/m/%d"] {
            assert!(Template::new(template).is_err(), "{template}");
        }
        assert!(!Template::new("%n").unwrap().tells_domains_apart());
    }

    #[test]
    fn mailboxes_have_one_directory_each() {
        let root = Path::new("/r");
        for (name, directory) in [
            ("Sent", ".Sent"),
            ("a/b/c", ".a.b.c"),
            ("INBOX/child", ".INBOX.child"),
            ("Stra\u{df}e/x", ".Stra&AN8-e.x"),
            ("v1.2/x", ".v1&AC4-2.x"),
            ("x/cur", ".x.cur"),
            ("a&b", ".a&-b"),
            ("\u{e9}.\u{e9}", ".&AOk-&AC4-&AOk-"),
            ("...", ".&AC4-&AC4-&AC4-"),
        ] {
            let mailbox_name = MailboxName::new(name).unwrap();
            assert_eq!(folder(root, &mailbox_name).unwrap(), root.join(directory), "{name}");
            assert_eq!(mailbox(directory), Some(mailbox_name), "{directory}");
        }
        assert_eq!(folder(root, &MailboxName::inbox()).unwrap(), root);
        for directory in
            [".", "..", "..DOVECOT-TRASHED", ".INBOX", ".inbox", "cur", ".a..b", ".a&b", ".\u{e9}"]
        {
            assert_eq!(mailbox(directory), None, "{directory}");
        }
        assert!(folder(root, &MailboxName::new(&"\u{e9}".repeat(100)).unwrap()).is_err());
    }
}
