//! Whose Maildirs there are: a template read backwards.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::arrange::ERASED;
use super::place::Part;
use super::{Template, failed, folder};
use crate::{Result, User};

/// What the variables of a template stand for in a path, as far as it is read.
#[derive(Clone, Debug, Default)]
struct Meaning {
    user: Option<String>,
    local: Option<String>,
    domain: Option<String>,
}

impl Template {
    /// The users that have a Maildir. If the template does not tell domains apart, their names have none.
    pub(super) fn users(&self) -> Result<Vec<User>> {
        let mut found = vec![(PathBuf::new(), Meaning::default())];
        for component in self.components() {
            let mut next = Vec::new();
            for (path, meaning) in found {
                let names = match &component[..] {
                    [] => vec![String::from("/")],
                    [Part::Text(name)] => vec![name.clone()],
                    _ => children(&path)?,
                };
                for name in names {
                    let mut meaning = meaning.clone();
                    if meaning.read(&component, &name) {
                        next.push((path.join(name), meaning));
                    }
                }
            }
            found = next;
        }
        let mut users: Vec<User> = found
            .into_iter()
            .filter_map(|(path, meaning)| {
                let user = User::new(&meaning.name()?).ok()?;
                // Only what leads back is a user's, and not what is left of one.
                let same = self.path(&user).is_ok_and(|same| same == path)
                    && !path.as_os_str().as_encoded_bytes().ends_with(ERASED.as_bytes());
                (same && folder::exists(&path)).then_some(user)
            })
            .collect();
        users.sort_unstable();
        users.dedup();
        Ok(users)
    }

    /// What each level of the path is made of; nothing for the root.
    fn components(&self) -> Vec<Vec<Part>> {
        let (mut components, mut component) = (Vec::new(), Vec::new());
        for part in self.parts() {
            let Part::Text(text) = part else {
                component.push(part.clone());
                continue;
            };
            for (number, piece) in text.split('/').enumerate() {
                if number > 0 {
                    // A slash at the front is the root; two in a row are one.
                    if components.is_empty() || !component.is_empty() {
                        components.push(std::mem::take(&mut component));
                    }
                }
                if !piece.is_empty() {
                    component.push(Part::Text(piece.to_owned()));
                }
            }
        }
        if !component.is_empty() {
            components.push(component);
        }
        components
    }
}

impl Meaning {
    /// Whether a name can be this; notes what the variables stand for.
    fn read(&mut self, parts: &[Part], name: &str) -> bool {
        match parts.split_first() {
            None => name.is_empty() || name == "/",
            Some((Part::Text(text), rest)) => {
                name.strip_prefix(&**text).is_some_and(|name| self.read(rest, name))
            }
            Some((variable, rest)) => {
                // A name is as long as it can be before what follows it.
                let (value, name) = match rest.first() {
                    Some(Part::Text(text)) => match name.rfind(&**text) {
                        Some(at) => name.split_at(at),
                        None => return false,
                    },
                    _ => (name, ""),
                };
                let slot = match variable {
                    Part::User => &mut self.user,
                    Part::Local => &mut self.local,
                    _ => &mut self.domain,
                };
                *slot = Some(value.to_owned());
                !value.is_empty() && self.read(rest, name)
            }
        }
    }

    fn name(self) -> Option<String> {
        match (self.user, self.local, self.domain) {
            (Some(user), ..) => Some(user),
            (None, Some(local), Some(domain)) => Some(format!("{local}@{domain}")),
            (None, local, _) => local,
        }
    }
}

fn children(path: &Path) -> Result<Vec<String>> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let error = |error| failed(path, &error);
    let entries = match fs::read_dir(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries.map_err(error)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(error)?.file_name().into_string());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_read_backwards() {
        let directory = tempfile::tempdir().unwrap();
        for (template, expected) in [
            ("%d/%n/Maildir", vec!["ann@a.example", "bob@b.example"]),
            ("mail/%u", vec!["ann@a.example", "bob@b.example"]),
            ("x/%n@%d/m", vec!["ann@a.example", "bob@b.example"]),
            ("y-%n/Maildir", vec!["ann", "bob"]),
        ] {
            let base = tempfile::tempdir_in(directory.path()).unwrap();
            let template = Template::new(&format!("{}/{template}", base.path().display())).unwrap();
            for name in ["ann@a.example", "bob@b.example"] {
                fs::create_dir_all(template.path(&User::new(name).unwrap()).unwrap().join("cur")).unwrap();
            }
            fs::create_dir_all(base.path().join("other/thing")).unwrap();
            let users: Vec<_> =
                template.users().unwrap().iter().map(|user| user.as_str().to_owned()).collect();
            assert_eq!(users, expected, "{template:?}");
        }
    }
}
