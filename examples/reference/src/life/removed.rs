//! Accounts that were removed: their mail is kept for a while.

use mailwright::mailstore::{Acl, Folders, Store, User};

use super::{Life, LifeError, LifeRequest, LifeResponse, print::date};
use crate::{
    admin::{Request, Response},
    command::{CommandError, print_json, request},
    config::Config,
    migrate,
};

impl Life {
    /// Erases all that a removed account had. What was begun goes on at the next look if the server stops in between.
    pub(super) async fn erase(&self, name: &str) -> Result<(), LifeError> {
        let name = self.directory.begin_erasing(name)?;
        let user = User::new(&name).map_err(|error| LifeError::Refused(error.to_string()))?;
        let folders = self.store.folders();
        let folders = folders.ok_or_else(|| LifeError::Refused("this store removes no mailboxes".into()))?;
        // First: if it has to be done again, nothing of it is in the way.
        if let Some(acl) = self.store.acl() {
            acl.withdraw(&user).await?;
        }
        folders.erase(&user).await?;
        self.periods.delete(user.as_str().as_bytes()).await?;
        self.fetch.forget(user.as_str()).await?;
        migrate::forget(&self.migrated, &user).await?;
        self.directory.erased(&name)?;
        Ok(())
    }
}

/// `user removed`.
pub(crate) fn list_removed(config: &Config, json: bool) -> Result<(), CommandError> {
    let answer = request(config, Request::Life(LifeRequest::Removed))?;
    let Response::Life(LifeResponse::Removed { accounts }) = answer else { return Ok(()) };
    let keep = config.expiry.removed_users;
    for entry in accounts {
        if json {
            print_json(&entry)?;
        } else if keep.is_never() {
            println!("{}  removed {}, kept", entry.name, date(entry.removed));
        } else {
            let end = date(entry.removed.saturating_add(keep.seconds()));
            println!("{}  removed {}, erased after {end}", entry.name, date(entry.removed));
        }
    }
    Ok(())
}

/// `user restore`.
pub(crate) fn restore(config: &Config, name: &str) -> Result<(), CommandError> {
    request(config, Request::Life(LifeRequest::Restore { name: name.to_owned() }))?;
    println!("{name} is back, with password and mail");
    Ok(())
}

/// `user erase`.
pub(crate) fn erase(config: &Config, name: &str) -> Result<(), CommandError> {
    request(config, Request::Life(LifeRequest::Erase { name: name.to_owned() }))?;
    println!("erased all mail of {name}");
    Ok(())
}
