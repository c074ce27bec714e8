//! The users of this machine.

use std::{fs, path::PathBuf};

use mailwright::relay_policy::delivery::Identity;

/// One of them.
pub(crate) struct SystemUser {
    pub(crate) name: String,
    pub(crate) identity: Identity,
    /// The full name, without what else the field holds.
    pub(crate) full_name: String,
    pub(crate) home: PathBuf,
}

/// Those of `/etc/passwd`, which is read anew each time.
pub(crate) struct Users;

impl Users {
    pub(crate) fn by_name(&self, name: &str) -> Option<SystemUser> {
        all().find(|user| user.name == name)
    }

    pub(crate) fn by_number(&self, number: u32) -> Option<SystemUser> {
        all().find(|user| user.identity.user == number)
    }
}

fn all() -> impl Iterator<Item = SystemUser> {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    text.lines().filter_map(line).collect::<Vec<_>>().into_iter()
}

fn line(line: &str) -> Option<SystemUser> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let _password = fields.next()?;
    let identity = Identity::new(fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let full_name = fields.next()?.split(',').next().unwrap_or_default().replace('&', name);
    let home = fields.next()?.into();
    Some(SystemUser { name: name.to_owned(), identity, full_name, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_user() {
        let user = line("ann:x:1000:100:Ann Ever,room 5,,:/home/ann:/bin/bash").unwrap();
        assert_eq!((&*user.name, user.identity), ("ann", Identity::new(1000, 100)));
        assert_eq!((&*user.full_name, user.home.to_str()), ("Ann Ever", Some("/home/ann")));
        for wrong in ["", "ann", "ann:x:y:1::/:", "+::::::", ":x:1:1::/:"] {
            assert!(line(wrong).is_none(), "{wrong}");
        }
    }
}
