//! Annotations of mailboxes and of the server, in `mailwright-annotations`.
//!
//! A line has who wrote the annotation, `*` if it is shared, its name and its value, each without what could end a word.
//! Those of a mailbox are in its directory, so that they go where it goes. The server's shared ones are in the store's own
//! directory, private ones in `mailwright-server-annotations` of who wrote them.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::dot_lock::DotLock;
use super::folder::{private_directory, sync_directory};
use super::{Maildir, Shared, escape, failed, place};
use crate::metadata::{MOST_ENTRIES, MOST_VALUE};
use crate::{Annotated, Annotation, EntryName, Metadata, Offload, Result, StoreError, User};
use mailwright_mail_model::MailboxName;

pub(super) const NAME: &str = "mailwright-annotations";
const OF_SERVER: &str = "mailwright-server-annotations";

/// Whose an annotation is, unless it is shared, and its name; and its value.
type Lines = BTreeMap<(Option<String>, EntryName), Bytes>;

impl<O: Offload + Clone> Metadata for Maildir<O> {
    async fn annotations(&self, place: &Annotated, reader: &User) -> Result<Vec<Annotation>> {
        let (place, reader) = (place.clone(), reader.clone());
        self.run(move |shared| shared.annotations(&place, &reader)).await
    }

    async fn annotate(
        &self,
        place: &Annotated,
        writer: &User,
        changes: &[(EntryName, Option<Bytes>)],
    ) -> Result<()> {
        if changes.iter().flat_map(|(_, value)| value).any(|value| value.len() > MOST_VALUE) {
            return Err(StoreError::TooLarge { limit: MOST_VALUE as u64 });
        }
        let (place, writer, changes) = (place.clone(), writer.clone(), changes.to_vec());
        self.run(move |shared| shared.annotate(&place, &writer, &changes)).await
    }
}

impl Shared {
    fn annotations(&self, place: &Annotated, reader: &User) -> Result<Vec<Annotation>> {
        let mut seen = Vec::new();
        for path in self.files(place, reader)? {
            for ((of, entry), value) in read(&path)? {
                if of.is_none_or(|of| of == reader.as_str()) {
                    seen.push(Annotation::new(entry, value));
                }
            }
        }
        seen.sort_by(|one, other| one.entry.cmp(&other.entry));
        Ok(seen)
    }

    /// The files with the annotations that somebody sees: the shared ones of the server first.
    fn files(&self, place: &Annotated, who: &User) -> Result<Vec<PathBuf>> {
        match place {
            Annotated::Mailbox { owner, name } => Ok(vec![self.existing(owner, name)?.path.join(NAME)]),
            Annotated::Server => {
                let own = self.existing(who, &MailboxName::inbox())?.root.join(OF_SERVER);
                Ok(vec![self.own_directory()?.join(NAME), own])
            }
        }
    }

    /// Takes away what somebody noted for themselves about mailboxes of others. That about the server is in their own directory.
    pub(super) fn forget_private(&self, user: &User) -> Result<()> {
        for owner in self.template.users()?.iter().filter(|owner| *owner != user) {
            let root = self.template.path(owner)?;
            let mut names = vec![MailboxName::inbox()];
            names.extend(self.names(&root)?);
            for name in names {
                let path = place::folder(&root, &name)?.join(NAME);
                let is_theirs =
                    |lines: &Lines| lines.keys().any(|(of, _)| of.as_deref() == Some(user.as_str()));
                // Most mailboxes have no such file, and of most files nothing goes: none of them is locked.
                if !is_theirs(&read(&path)?) {
                    continue;
                }
                let lock = path.with_extension("lock");
                let lock = DotLock::acquire(lock, &self.setting.host, self.options.patience)?;
                let mut lines = read(&path)?;
                lines.retain(|(of, _), _| of.as_deref() != Some(user.as_str()));
                lock.replace(&path, format(&lines).as_bytes(), None)?;
                path.parent().map_or(Ok(()), sync_directory)?;
            }
        }
        Ok(())
    }

    /// Where the store keeps what is nobody's mail.
    pub(super) fn own_directory(&self) -> Result<PathBuf> {
        let path = self.options.own.clone().unwrap_or_else(|| self.template.base());
        private_directory(&path)?;
        Ok(path)
    }

    fn annotate(
        &self,
        place: &Annotated,
        writer: &User,
        changes: &[(EntryName, Option<Bytes>)],
    ) -> Result<()> {
        let files = self.files(place, writer)?;
        let mut locked = Vec::new();
        for path in &files {
            let path = path.with_extension("lock");
            locked.push(DotLock::acquire(path, &self.setting.host, self.options.patience)?);
        }
        let mut written = Vec::new();
        for (index, path) in files.iter().enumerate() {
            let is_here = |entry: &EntryName| files.len() == 1 || entry.is_private() == (index == 1);
            let before = read(path)?;
            let mut after = before.clone();
            for (entry, value) in changes.iter().filter(|(entry, _)| is_here(entry)) {
                let key = (entry.is_private().then(|| writer.as_str().to_owned()), entry.clone());
                match value {
                    Some(value) => after.insert(key, value.clone()),
                    None => after.remove(&key),
                };
            }
            if after.len() > MOST_ENTRIES.max(before.len()) {
                return Err(StoreError::TooMany { limit: MOST_ENTRIES as u64 });
            }
            written.push((path, (after != before).then(|| format(&after))));
        }
        for ((path, text), lock) in written.into_iter().zip(locked) {
            let Some(text) = text else { continue };
            lock.replace(path, text.as_bytes(), None)?;
            path.parent().map_or(Ok(()), sync_directory)?;
        }
        match place {
            Annotated::Mailbox { owner, .. } => self.tell(owner),
            Annotated::Server => self.tell_of_server(writer),
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Lines> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().filter_map(parse).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Lines::new()),
        Err(error) => Err(failed(path, &error)),
    }
}

fn parse(line: &str) -> Option<((Option<String>, EntryName), Bytes)> {
    let mut words = line.split(' ');
    let of = match words.next()? {
        "*" => None,
        user => Some(escape::decode_text(user)?),
    };
    let entry = escape::decode_text(words.next()?)?.parse().ok()?;
    Some(((of, entry), escape::decode(words.next()?)?.into()))
}

fn format(lines: &Lines) -> String {
    let mut text = String::new();
    for ((of, entry), value) in lines {
        // No account is called `*` in a file: the star is written as it is by nobody else.
        let of = of.as_ref().map_or_else(
            || String::from("*"),
            |of| if of == "*" { String::from("%2A") } else { escape::encode(of.as_bytes()) },
        );
        text += &format!("{of} {} {}\n", escape::encode(entry.as_str().as_bytes()), escape::encode(value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_both_ways() {
        let entry = |name: &str| name.parse::<EntryName>().unwrap();
        let lines = Lines::from([
            ((None, entry("/shared/comment")), Bytes::from_static(b"a \0\n b")),
            ((Some("*".into()), entry("/private/x")), Bytes::new()),
            ((Some("zo\u{eb}@example.org".into()), entry("/private/x")), Bytes::from_static(b"%")),
        ]);
        let text = format(&lines);
        assert_eq!(text.lines().filter_map(parse).collect::<Lines>(), lines);
        assert!(text.starts_with("* /shared/comment a%20%00%0A%20b\n"), "{text}");
        // What cannot be understood is passed over.
        assert_eq!(parse("nothing"), None);
        assert_eq!(parse("* /comment x"), None);
    }
}
