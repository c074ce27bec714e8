//! The grammar of `/etc/aliases` and `~/.forward`.
//!
//! An alias file has one alias a logical line, `name: target, target`; a line that begins with white space goes on with
//! the one before, `#` at the beginning of a line is a comment. A forward file is such a list of targets without the name.
//! Targets with spaces or commas stand in double quotes, as programs do: `"|/usr/bin/filter -x, -y"`.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
};

use mailwright_mail_model::{Address, Domain};

use crate::directory::{Target, TargetError};

/// One line of an alias file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AliasLine {
    /// What the alias is called: a local part, or an address.
    pub name: String,
    /// Where it leads.
    pub targets: Vec<Target>,
}

/// What an alias file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AliasFile {
    /// The aliases, each name once, whatever its case.
    pub aliases: Vec<AliasLine>,
    /// The lines that do not count, for the name stood before them.
    pub repeated: Vec<RepeatedAlias>,
}

/// A line of an alias file whose name stands in an earlier one too, which is the one that counts. Shown as a sentence with both lines.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepeatedAlias {
    /// The name, as it stands here.
    pub name: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The line that has the name first.
    pub first: usize,
}

impl fmt::Display for RepeatedAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, line, first } = self;
        write!(
            f,
            "line {line}: the alias {name} is there already, in line {first}, which is the one that counts"
        )
    }
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
#[non_exhaustive]
pub struct AliasFileError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: AliasProblem,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AliasProblem {
    /// No colon behind the name.
    #[error("expected `name: targets`")]
    Colon,
    /// Nothing behind the colon.
    #[error("expected at least one target behind {0}:")]
    NoTarget(String),
    /// The file begins with a line that goes on with none.
    #[error("this line goes on with an alias, but none came before")]
    Continuation,
    /// A quoted target without its end.
    #[error("expected a closing quote")]
    OpenQuote,
    /// What is no target.
    #[error(transparent)]
    Target(#[from] TargetError),
}

/// Reads an alias file. Targets without a domain are in `origin`. Of a name that stands there twice the first line counts, as with
/// Postfix's `newaliases`; the others have to be understood all the same.
///
/// ```
/// use mailwright_relay_policy::alias_file;
///
/// let text = "# the office\nroot: alice\nstaff: alice, bob,\n  eve@example.net\nlog: \"|/usr/bin/logger -t mail\"\n";
/// let aliases = alias_file::aliases(text, &"example.org".parse()?)?.aliases;
/// assert_eq!(aliases.len(), 3);
/// assert_eq!(aliases[1].targets[2].to_string(), "eve@example.net");
/// assert_eq!(aliases[2].targets[0].to_string(), "|/usr/bin/logger -t mail");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The first line that cannot be understood.
pub fn aliases(text: &str, origin: &Domain) -> Result<AliasFile, AliasFileError> {
    let mut file = AliasFile::default();
    let mut lines = HashMap::new();
    for (line, logical) in logical_lines(text)? {
        let at = |problem| AliasFileError { line, problem };
        let (name, rest) = name(&logical).ok_or_else(|| at(AliasProblem::Colon))?;
        let targets = targets(rest, origin).map_err(at)?;
        if targets.is_empty() {
            return Err(at(AliasProblem::NoTarget(name)));
        }
        match lines.entry(name.to_lowercase()) {
            Entry::Occupied(known) => file.repeated.push(RepeatedAlias { name, line, first: *known.get() }),
            Entry::Vacant(place) => {
                place.insert(line);
                file.aliases.push(AliasLine { name, targets });
            }
        }
    }
    Ok(file)
}

/// Reads a forward file, or a file that `:include:` names. Targets without a domain are in `origin`; an empty file has none.
///
/// # Errors
/// The first line that cannot be understood.
pub fn forwards(text: &str, origin: &Domain) -> Result<Vec<Target>, AliasFileError> {
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        if !line.trim_start().starts_with('#') {
            all.extend(
                targets(line, origin).map_err(|problem| AliasFileError { line: line_number, problem })?,
            );
        }
    }
    Ok(all)
}

/// Lines put together, each with the number of its first.
fn logical_lines(text: &str) -> Result<Vec<(usize, String)>, AliasFileError> {
    let mut logical: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let blank = line.trim().is_empty();
        if blank
            || line.starts_with('#')
            || (line.starts_with([' ', '\t']) && line.trim_start().starts_with('#'))
        {
            continue;
        }
        if !line.starts_with([' ', '\t']) {
            logical.push((index + 1, line.to_owned()));
            continue;
        }
        let Some((_, before)) = logical.last_mut() else {
            return Err(AliasFileError { line: index + 1, problem: AliasProblem::Continuation });
        };
        before.push_str(line);
    }
    Ok(logical)
}

/// The name before the colon, which may be quoted, and the rest.
fn name(line: &str) -> Option<(String, &str)> {
    let (name, rest) = match line.strip_prefix('"') {
        Some(quoted) => {
            let (name, rest) = quoted.split_once('"')?;
            (name, rest.trim_start().strip_prefix(':')?)
        }
        None => line.split_once(':')?,
    };
    let name = name.trim();
    (!name.is_empty()).then(|| (name.to_owned(), rest))
}

/// Targets separated by commas. A quoted part may hold commas and spaces; a backslash in it takes what follows as it is.
fn targets(text: &str, origin: &Domain) -> Result<Vec<Target>, AliasProblem> {
    let mut targets = Vec::new();
    let mut letters = text.chars().peekable();
    loop {
        while letters.next_if(|letter| letter.is_whitespace() || *letter == ',').is_some() {}
        let Some(first) = letters.peek().copied() else { return Ok(targets) };
        let mut word = String::new();
        // `"|program"` and `|"program"` are both in use; a quoted local part keeps its quotes.
        let (mut quoted, mut local_part) = (false, false);
        while let Some(letter) = letters.next_if(|letter| quoted || *letter != ',') {
            match letter {
                '"' if quoted => {
                    quoted = false;
                    local_part = local_part || letters.peek() == Some(&'@');
                }
                '"' => quoted = true,
                '\\' if quoted => word.extend(letters.next()),
                letter => word.push(letter),
            }
        }
        if quoted {
            return Err(AliasProblem::OpenQuote);
        }
        let word = word.trim();
        if local_part && let Some((local, domain)) = word.rsplit_once('@') {
            let escaped = local.replace('\\', "\\\\").replace('"', "\\\"");
            targets.push(complete(&format!("\"{escaped}\"@{domain}"), origin)?);
        } else if !word.is_empty() || first == '"' {
            targets.push(complete(word, origin)?);
        }
    }
}

/// A target, in `origin` if it is a bare name.
fn complete(word: &str, origin: &Domain) -> Result<Target, TargetError> {
    let special = word.starts_with(['|', '/']) || word.starts_with(":include:");
    if special || word.is_empty() || word.contains('@') {
        return word.parse();
    }
    let (mailbox, local) = match word.strip_prefix('\\') {
        Some(local) => (true, local),
        None => (false, word),
    };
    let address: Address = format!("{local}@{}", origin.as_str())
        .parse()
        .map_err(|source| TargetError::Address { text: word.to_owned(), source })?;
    Ok(if mailbox { Target::Mailbox(address) } else { Target::Address(address) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Domain {
        "office.example".parse().unwrap()
    }

    fn read(text: &str) -> String {
        match aliases(text, &origin()) {
            Ok(file) => {
                let shown = file.aliases.iter().map(|alias| {
                    let targets: Vec<String> = alias.targets.iter().map(ToString::to_string).collect();
                    format!("{} = {}", alias.name, targets.join(" ; "))
                });
                shown.collect::<Vec<_>>().join("\n")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn all_kinds_of_targets() {
        let text = "# comment\n\
            postmaster:    root\n\
            \n\
            root: alice, \\bob,\n\teve@elsewhere.example\n\
            \x20 # an indented comment\n\
            archive: /var/mail/archive\n\
            list: :include:/etc/lists/all\n\
            owner-list: alice\n\
            filter: \"|/usr/bin/filter -a, 'b c'\", |/bin/true\n\
            pipe: |\"/usr/bin/other  -x\"\n\
            \"with space\": \"dave jones\"@elsewhere.example\n";
        assert_eq!(
            read(text),
            "postmaster = root@office.example\n\
             root = alice@office.example ; \\bob@office.example ; eve@elsewhere.example\n\
             archive = /var/mail/archive\n\
             list = :include:/etc/lists/all\n\
             owner-list = alice@office.example\n\
             filter = |/usr/bin/filter -a, 'b c' ; |/bin/true\n\
             pipe = |/usr/bin/other  -x\n\
             with space = \"dave jones\"@elsewhere.example"
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, expected) in [
            ("root alice\n", "line 1: expected `name: targets`"),
            ("\n# x\nroot:\n", "line 3: expected at least one target behind root:"),
            ("  alice\n", "line 1: this line goes on with an alias, but none came before"),
            ("a: b\nx: \"|/bin/true\n", "line 2: expected a closing quote"),
            ("a: b@@c\n", "line 1: expected an address"),
            ("a: |\n", "line 1: expected something behind \"|\""),
            (": b\n", "line 1: expected `name: targets`"),
            ("a: \"\"\n", "line 1: expected an address"),
        ] {
            let error = read(text);
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_first_of_lines_with_one_name_counts() {
        let text = "root: ann\nbob: carol\n# x\nRoot: dave,\n eve\nbob: |/bin/true\nroot: fay\n";
        let file = aliases(text, &origin()).unwrap();
        assert_eq!(read(text), "root = ann@office.example\nbob = carol@office.example");
        let told: Vec<String> = file.repeated.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "line 4: the alias Root is there already, in line 1, which is the one that counts",
                "line 6: the alias bob is there already, in line 2, which is the one that counts",
                "line 7: the alias root is there already, in line 1, which is the one that counts",
            ]
        );
        // What cannot be understood is a mistake there too.
        assert_eq!(read("a: b\na: \"x\n"), "line 2: expected a closing quote");
    }

    #[test]
    fn a_forward_file_is_targets_only() {
        let text = "# mine\n\\alice, eve@elsewhere.example\n\"|/usr/bin/vacation alice\"\n/home/alice/copy\n";
        let targets = forwards(text, &origin()).unwrap();
        let shown: Vec<String> = targets.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "\\alice@office.example",
                "eve@elsewhere.example",
                "|/usr/bin/vacation alice",
                "/home/alice/copy"
            ]
        );
        assert_eq!(forwards("", &origin()), Ok(Vec::new()));
    }

    #[test]
    fn a_list_of_100_000_lines_is_read_in_one_go() {
        let text: String = (0..100_000).map(|n| format!("user{n}@elsewhere.example\n")).collect();
        assert_eq!(forwards(&text, &origin()).unwrap().len(), 100_000);
    }
}
