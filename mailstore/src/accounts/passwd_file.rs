//! Files of accounts as Dovecot has them.

use std::fmt;

/// An account in a passwd-file: a line of `user:{SCHEME}hash:uid:gid:gecos:home:shell:extra fields`, of which all behind the password
/// may be left out.
///
/// ```
/// use mailwright_mailstore::accounts::PasswdEntry;
///
/// let file = "# ours\nann@a.example:{SHA512-CRYPT}$6$x$y::::::\n\nbob@a.example:{PLAIN}pencil::::::nologin\n";
/// let entries = PasswdEntry::read(file)?;
/// assert_eq!((entries[0].name(), entries[0].password()), ("ann@a.example", "{SHA512-CRYPT}$6$x$y"));
/// assert_eq!((entries[1].name(), entries[1].line()), ("bob@a.example", 4));
/// assert_eq!((entries[0].field("nologin"), entries[1].field("nologin")), (None, Some("")));
/// assert_eq!(PasswdEntry::read("ann@a.example:{PLAIN}x\nbob").unwrap_err().line, 2);
/// # Ok::<(), mailwright_mailstore::accounts::PasswdError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PasswdEntry {
    name: String,
    password: String,
    /// What is behind the shell.
    extra: String,
    line: usize,
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
    /// All accounts of a file, in its order. Empty lines and those that begin with `#` say nothing. Of two lines for one name the first
    /// counts with Dovecot; here both are given, for names can be the same and be written in different ways.
    ///
    /// # Errors
    /// The first line that is something else.
    pub fn read(text: &str) -> Result<Vec<Self>, PasswdError> {
        let lines = text.lines().enumerate();
        let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        lines
            .map(|(index, line)| Self::parse(line, index + 1).ok_or(PasswdError { line: index + 1 }))
            .collect()
    }

    /// The account's name: an address.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `{SCHEME}hash`.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// One of the extra fields: its value, which is empty for a field that has none. `nologin` and `allow_nets` say who may not log in
    /// though the password is right; whoever lets accounts in has to heed them.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.extra.split_ascii_whitespace();
        fields.find_map(|field| match field.split_once('=') {
            Some((found, value)) => (found == name).then_some(value),
            None => (field == name).then_some(""),
        })
    }

    /// Where in the file it is, from 1.
    pub const fn line(&self) -> usize {
        self.line
    }

    fn parse(text: &str, line: usize) -> Option<Self> {
        let (name, rest) = text.split_once(':')?;
        // No scheme has a colon in its hash; a plain password might, but then the file's own fields could not be told. The last field may
        // have some, in IPv6 addresses.
        let mut fields = rest.splitn(7, ':');
        let password = fields.next().unwrap_or_default();
        let extra = fields.nth(5).unwrap_or_default();
        let fits = name.contains('@') && password.starts_with('{');
        fits.then(|| Self {
            name: name.trim().to_owned(),
            password: password.to_owned(),
            extra: extra.to_owned(),
            line,
        })
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

    #[test]
    fn extra_fields_are_told_by_their_names() {
        let file = "ann@a.example:{PLAIN}x:1:2:g:/home:/bin/sh:userdb_nologin nologin allow_nets=10.0.0.0/8,2001:db8::/32 reason=a=b\r\n\
                    bob@a.example:{PLAIN}x:nologin:nologin\n";
        let entries = PasswdEntry::read(file).unwrap();
        let field = |name| entries[0].field(name);
        assert_eq!((field("nologin"), field("allow_nets")), (Some(""), Some("10.0.0.0/8,2001:db8::/32")));
        assert_eq!((field("reason"), field("proxy"), field("allow")), (Some("a=b"), None, None));
        assert_eq!((entries[1].field("nologin"), entries[1].line()), (None, 2));
    }
}
