//! Mailboxes are made, renamed and deleted.

use mailwright_mail_model::SpecialUse;

use super::*;

impl Sql<'_> {
    /// The mailboxes of a user.
    pub(crate) fn mailboxes(&self, user: &User) -> Result<Vec<Mailbox>> {
        let select = "SELECT name, special_use FROM mailbox WHERE owner = ? ORDER BY name";
        let rows = self.all(select, [user.as_str()], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?))
        })?;
        let mailbox = |(name, used): (String, Option<String>)| {
            let mut mailbox = Mailbox::new(existing(&name)?);
            mailbox.special_use = used.and_then(|used| used.parse().ok());
            Ok(mailbox)
        };
        rows.into_iter().map(mailbox).collect()
    }

    fn make(&self, user: &User, name: &MailboxName, used: Option<SpecialUse>) -> Result<bool> {
        let insert = "INSERT OR IGNORE INTO mailbox (owner, name, special_use) VALUES (?, ?, ?)";
        let values = params![user.as_str(), name.as_str(), used.map(SpecialUse::as_str)];
        self.run(insert, values).map(|made| made > 0)
    }
}

/// The name in a row.
fn existing(name: &str) -> Result<MailboxName> {
    MailboxName::lookup(name).map_err(|_| StoreError::Corrupt(format!("the name {name:?} of a mailbox")))
}

impl Folders for SqliteStore {
    async fn create(&self, user: &User, name: &MailboxName, used: Option<SpecialUse>) -> Result<Mailbox> {
        self.change(|sql| {
            for parent in backend::parents(name) {
                sql.make(user, &parent, None)?;
            }
            if name.is_inbox() || !sql.make(user, name, used)? {
                return Err(StoreError::Exists);
            }
            let mut made = Mailbox::new(name.clone());
            made.special_use = used;
            Ok(made)
        })
    }

    async fn delete(&self, user: &User, name: &MailboxName) -> Result<()> {
        if name.is_inbox() {
            return Err(StoreError::Invalid("expected a mailbox other than INBOX to delete".into()));
        }
        self.change(|sql| {
            let id = sql.mailbox(user, name)?;
            sql.run("DELETE FROM mailbox WHERE id = ?", [id]).map(drop)
        })
    }

    async fn rename(&self, user: &User, from: &MailboxName, to: &MailboxName) -> Result<()> {
        self.change(|sql| {
            let inbox = sql.mailbox(user, &MailboxName::inbox())?;
            let existing: Vec<_> = sql.mailboxes(user)?.into_iter().map(|mailbox| mailbox.name).collect();
            let moves = backend::check_rename(&existing, from, to)?;
            for parent in backend::parents(to) {
                sql.make(user, &parent, None)?;
            }
            if from.is_inbox() {
                sql.make(user, to, None)?;
                let snapshot = sql.snapshot(inbox)?;
                let place = MailboxRef::new(user.clone(), from.clone(), &snapshot);
                sql.copy(&place, &snapshot.uids(), to)?;
                return sql.remove(inbox, &snapshot.uids()).map(drop);
            }
            for name in moves {
                let new = backend::renamed(&name, from, to)?;
                let update = "UPDATE mailbox SET name = ? WHERE owner = ? AND name = ?";
                sql.run(update, [new.as_str(), user.as_str(), name.as_str()])?;
            }
            Ok(())
        })
    }

    async fn subscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        let insert = "INSERT OR IGNORE INTO subscription (owner, name) VALUES (?, ?)";
        self.change(|sql| sql.run(insert, [user.as_str(), name.as_str()]).map(drop))
    }

    async fn unsubscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        let delete = "DELETE FROM subscription WHERE owner = ? AND name = ?";
        self.change(|sql| sql.run(delete, [user.as_str(), name.as_str()]).map(drop))
    }

    async fn subscriptions(&self, user: &User) -> Result<Vec<MailboxName>> {
        let select = "SELECT name FROM subscription WHERE owner = ? ORDER BY name";
        let names = self.change(|sql| sql.all(select, [user.as_str()], |row| row.get::<_, String>(0)))?;
        names.iter().map(|name| existing(name)).collect()
    }

    async fn erase(&self, user: &User) -> Result<()> {
        self.change(|sql| {
            for table in ["mailbox", "subscription"] {
                let delete = format!("DELETE FROM {table} WHERE owner = ?");
                sql.run(&delete, [user.as_str()])?;
            }
            Ok(())
        })
    }
}
