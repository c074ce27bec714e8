//! Files of accounts as Dovecot has them.

use std::fmt;

/// An account in a passwd-file: a line of `user:{SCHEME}hash`, with whatever fields there are behind.
///
/// ```
/// use mailwright_mailstore::accounts::PasswdEntry;
///
/// let file = "# ours\nann@a.example:{SHA512-CRYPT}$6$x$y::::::\n\nbob@a.example:{PLAIN}pencil\n";
/// let entries = PasswdEntry::read(file)?;
/// assert_eq!((entries[0].name(), entries[0].password()), ("ann@a.example", "{SHA512-CRYPT}$6$x$y"));
/// assert_eq!(entries[1].name(), "bob@a.example");
/// assert_eq!(PasswdEntry::read("ann@a.example:{PLAIN}x\nbob").unwrap_err().line, 2);
/// # Ok::<(), mailwright_mailstore::accounts::PasswdError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PasswdEntry {
    name: String,
    password: String,
}

/// Why a file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not user@domain:{{SCHEME}}hash")]
#[non_exhaustive]
pub struct PasswdError {
    /// Where, from 1.
    pub line: usize,
}

impl PasswdEntry {
    /// All accounts of a file. Empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// The first line that is something else.
    pub fn read(text: &str) -> Result<Vec<Self>, PasswdError> {
        let lines = text.lines().enumerate();
        let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        lines.map(|(index, line)| Self::line(line).ok_or(PasswdError { line: index + 1 })).collect()
    }

    /// The account's name: an address.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `{SCHEME}hash`.
    pub fn password(&self) -> &str {
        &self.password
    }

    fn line(line: &str) -> Option<Self> {
        let (name, rest) = line.split_once(':')?;
        // No scheme has a colon in its hash; a plain password might, but then the file's own fields could not be told.
        let password = rest.split(':').next().unwrap_or_default();
        let fits = name.contains('@') && password.starts_with('{');
        fits.then(|| Self { name: name.trim().to_owned(), password: password.to_owned() })
    }
}

/// The password may be one in clear.
impl fmt::Debug for PasswdEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PasswdEntry").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_name_no_account_are_told_by_their_number() {
        for (text, line) in [
            ("nonsense", 1),
            ("\n# x\nann@a.example", 3),
            ("ann@a.example:{PLAIN}x\nann:{PLAIN}x", 2),
            ("ann@a.example:pencil", 1),
            ("ann@a.example:", 1),
            (":{PLAIN}x", 1),
        ] {
            assert_eq!(PasswdEntry::read(text), Err(PasswdError { line }), "{text:?}");
        }
        let entries = PasswdEntry::read(" ann@a.example :{PLAIN}a b:1000::\r\n   \n#x:y\n").unwrap();
        assert_eq!((entries[0].name(), entries[0].password()), ("ann@a.example", "{PLAIN}a b"));
        assert!(entries.len() == 1 && !format!("{entries:?}").contains("a b"));
    }
}
