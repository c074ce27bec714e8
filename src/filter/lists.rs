//! Lists that are kept outside of scripts: `extlists` (RFC 6134).

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use mailwright_mailstore::User;

/// The list that each user has, if there are address books.
const ADDRESS_BOOK: &str = "urn:ietf:params:sieve:addrbook:default";
/// The largest file of a list, in octets.
const LARGEST: u64 = 8 << 20;
/// The most members that `redirect :list` sends a message to.
pub(super) const MOST_RECIPIENTS: usize = 100;

/// The lists that scripts may look into, and send mail to. They are files with a value in each line, mostly an address; `@example.org`
/// stands for every address of that domain. Lines that begin with `#` and empty ones say nothing. A file is read when a script asks,
/// once for each message.
///
/// ```
/// use mailwright::filter::{FilterOptions, List, Lists};
///
/// let mut options = FilterOptions::default();
/// let script = br#"require "extlists"; if header :list "from" "tag:example.org,2026:partners" { stop; }"#;
/// assert!(options.language().compile(script).is_err());
/// let mut lists = Lists::default();
/// lists.named.push(List::new("tag:example.org,2026:partners", "/etc/mailwright/partners"));
/// options.lists = Some(lists);
/// assert!(options.language().compile(script).is_ok());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lists {
    /// Those with a name.
    pub named: Vec<List>,
    /// The folder of the users' address books, `:addrbook:default` of each (RFC 6134 §2.3): a file each, with the name of the account.
    /// One that is not there is empty.
    pub address_books: Option<PathBuf>,
}

/// A list with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct List {
    /// Its name: a URI, such as `tag:example.org,2026:partners`.
    pub name: String,
    /// Where its values are.
    pub file: PathBuf,
    /// Whose scripts have it: users of these domains; all users if there are none.
    pub domains: Vec<String>,
}

impl List {
    /// A list for all users.
    pub fn new(name: impl Into<String>, file: impl Into<PathBuf>) -> Self {
        Self { name: name.into(), file: file.into(), domains: Vec::new() }
    }

    fn is_for(&self, user: &User) -> bool {
        let domain = user.as_str().rsplit_once('@').map(|(_, domain)| domain);
        self.domains.is_empty()
            || domain
                .is_some_and(|domain| self.domains.iter().any(|named| named.eq_ignore_ascii_case(domain)))
    }
}

impl Lists {
    /// The schemes of the names of lists, each once, for `EXTLISTS` of ManageSieve.
    pub fn schemes(&self) -> Vec<String> {
        let mut schemes: Vec<String> = self
            .named
            .iter()
            .filter_map(|list| Some(list.name.split_once(':')?.0.to_ascii_lowercase()))
            .chain(self.address_books.as_ref().map(|_| "urn".to_owned()))
            .collect();
        schemes.sort_unstable();
        schemes.dedup();
        schemes
    }

    /// The file of a user's list, and whether it may be absent.
    fn file(&self, user: &User, name: &str) -> Option<(PathBuf, bool)> {
        // RFC 6134 §2.3: a name that begins with a colon is short for a URN of Sieve.
        let whole = match name.strip_prefix(':') {
            Some(rest) => format!("urn:ietf:params:sieve:{rest}"),
            None => name.to_owned(),
        };
        if let Some(list) = self.named.iter().find(|list| list.name == whole && list.is_for(user)) {
            return Some((list.file.clone(), false));
        }
        let folder = self.address_books.as_ref().filter(|_| whole.eq_ignore_ascii_case(ADDRESS_BOOK))?;
        let account = user.as_str();
        let safe = !account.starts_with('.') && !account.contains(['/', '\\', '\0']);
        safe.then(|| (folder.join(account), true))
    }
}

/// The lists that were read for one message.
#[derive(Debug, Default)]
pub(super) struct Consulted {
    known: HashMap<String, Option<Arc<Members>>>,
}

/// What is in a list.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// In lower case, to be found.
    folded: HashSet<String>,
    /// As they stand, in order.
    values: Vec<String>,
}

impl Members {
    fn of(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut members = Self::default();
        for line in lines {
            if members.folded.insert(line.to_lowercase()) {
                members.values.push(line.to_owned());
            }
        }
        members
    }

    /// Whether a value is in the list, or its domain.
    pub(super) fn contain(&self, value: &str) -> bool {
        let value = value.trim().to_lowercase();
        // A text that only ends in an address is none.
        let is_one = !value.contains(char::is_whitespace);
        let domain = || value.rfind('@').filter(|_| is_one).and_then(|at| value.get(at..));
        self.folded.contains(&value) || domain().is_some_and(|domain| self.folded.contains(domain))
    }

    /// The addresses that mail can be sent to; `None` if there are too many.
    pub(super) fn recipients(&self) -> Option<impl Iterator<Item = &str>> {
        let addresses = || self.values.iter().filter(|value| !value.starts_with('@'));
        (addresses().count() <= MOST_RECIPIENTS).then(|| addresses().map(String::as_str))
    }
}

impl Consulted {
    /// The members of a user's list; `None` if there is no such list.
    pub(super) async fn members(
        &mut self,
        lists: Option<&Lists>,
        user: &User,
        name: &str,
    ) -> io::Result<Option<Arc<Members>>> {
        if let Some(known) = self.known.get(name) {
            return Ok(known.clone());
        }
        let members = match lists.and_then(|lists| lists.file(user, name)) {
            Some((path, may_be_absent)) => {
                let read = tokio::task::spawn_blocking(move || (read(&path), path)).await;
                match read.map_err(io::Error::other)? {
                    (Ok(text), _) => Some(Arc::new(Members::of(&text))),
                    (Err(error), _) if may_be_absent && error.kind() == io::ErrorKind::NotFound => {
                        Some(Arc::default())
                    }
                    (Err(error), path) => {
                        return Err(io::Error::new(
                            error.kind(),
                            format!("the list {name} in {} cannot be read: {error}", path.display()),
                        ));
                    }
                }
            }
            None => None,
        };
        self.known.insert(name.to_owned(), members.clone());
        Ok(members)
    }
}

/// Reads a file that is not too large.
fn read(path: &Path) -> io::Result<String> {
    let mut octets = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > LARGEST {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("expected at most {LARGEST} octets"),
        ));
    }
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_in_any_case_and_by_their_domains() {
        let members = Members::of(
            "# friends\nAnn@Example.org\n\n @partner.example \nann@example.org\n#off@x.example\n",
        );
        for (value, found) in [
            ("ann@example.org", true),
            ("ANN@EXAMPLE.ORG", true),
            ("bob@example.org", false),
            ("anybody@Partner.Example", true),
            ("partner.example", false),
            ("of ann@partner.example", false),
            ("off@x.example", false),
            ("", false),
        ] {
            assert_eq!(members.contain(value), found, "{value}");
        }
        assert_eq!(members.recipients().unwrap().collect::<Vec<_>>(), ["Ann@Example.org"]);
        let many: String = (0..=MOST_RECIPIENTS).map(|number| format!("u{number}@example.org\n")).collect();
        assert!(Members::of(&many).recipients().is_none());
    }

    #[test]
    fn a_user_has_the_lists_of_the_domain_and_an_address_book() {
        let (ann, bob) = (User::new("ann@example.org").unwrap(), User::new("bob@example.net").unwrap());
        let mut lists = Lists::default();
        let mut list = List::new("tag:example.org,2026:partners", "/p");
        list.domains = vec!["Example.ORG".into()];
        lists.named.push(list);
        assert_eq!(lists.file(&ann, "tag:example.org,2026:partners"), Some(("/p".into(), false)));
        assert_eq!(lists.file(&bob, "tag:example.org,2026:partners"), None);
        assert_eq!(lists.file(&ann, ":addrbook:default"), None);
        lists.address_books = Some("/books".into());
        for name in [":addrbook:default", "urn:ietf:params:sieve:addrbook:default"] {
            assert_eq!(lists.file(&ann, name), Some(("/books/ann@example.org".into(), true)));
        }
        let sly = User::new("../../etc/passwd").ok();
        assert!(sly.is_none_or(|sly| lists.file(&sly, ":addrbook:default").is_none()));
        assert_eq!(lists.schemes(), ["tag", "urn"]);
    }
}
