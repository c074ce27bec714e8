//! Mailboxes are made, renamed and deleted.

use super::*;

/// The mailboxes of a user.
pub(crate) fn list(transaction: &Transaction<'_>, user: &User) -> Result<Vec<Mailbox>> {
    let select = "SELECT name, special_use FROM mailbox WHERE owner = ? ORDER BY name";
    let mut select = transaction.prepare_cached(select).map_err(failed)?;
    let rows = select
        .query_map([user.as_str()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)))
        .map_err(failed)?;
    let mut mailboxes = Vec::new();
    for row in rows {
        let (name, special_use) = row.map_err(failed)?;
        let mut mailbox = Mailbox::new(corrupt(MailboxName::lookup(&name).ok(), "the name of a mailbox")?);
        mailbox.special_use = special_use.and_then(|used| used.parse().ok());
        mailboxes.push(mailbox);
    }
    Ok(mailboxes)
}

fn make(
    transaction: &Transaction<'_>,
    user: &User,
    name: &MailboxName,
    used: Option<SpecialUse>,
) -> Result<bool> {
    let insert = "INSERT OR IGNORE INTO mailbox (owner, name, special_use) VALUES (?, ?, ?)";
    let values = params![user.as_str(), name.as_str(), used.map(SpecialUse::as_str)];
    transaction.execute(insert, values).map(|made| made > 0).map_err(failed)
}

impl Folders for SqliteStore {
    async fn create(&self, user: &User, name: &MailboxName, used: Option<SpecialUse>) -> Result<Mailbox> {
        self.change(|transaction| {
            for parent in backend::parents(name) {
                make(transaction, user, &parent, None)?;
            }
            if name.is_inbox() || !make(transaction, user, name, used)? {
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
        self.change(|transaction| {
            let id = mailbox(transaction, user, name)?;
            transaction.execute("DELETE FROM mailbox WHERE id = ?", [id]).map(drop).map_err(failed)
        })
    }

    async fn rename(&self, user: &User, from: &MailboxName, to: &MailboxName) -> Result<()> {
        self.change(|transaction| {
            let inbox = mailbox(transaction, user, &MailboxName::inbox())?;
            let existing: Vec<_> = list(transaction, user)?.into_iter().map(|mailbox| mailbox.name).collect();
            let moves = backend::check_rename(&existing, from, to)?;
            for parent in backend::parents(to) {
                make(transaction, user, &parent, None)?;
            }
            if from.is_inbox() {
                make(transaction, user, to, None)?;
                let snapshot = snapshot(transaction, inbox)?;
                let place = MailboxRef::new(user.clone(), from.clone(), &snapshot);
                copy(transaction, &place, &snapshot.uids(), to)?;
                return remove(transaction, inbox, &snapshot.uids()).map(drop);
            }
            for name in moves {
                let new = backend::renamed(&name, from, to)?;
                let update = "UPDATE mailbox SET name = ? WHERE owner = ? AND name = ?";
                transaction.execute(update, [new.as_str(), user.as_str(), name.as_str()]).map_err(failed)?;
            }
            Ok(())
        })
    }

    async fn subscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        let insert = "INSERT OR IGNORE INTO subscription (owner, name) VALUES (?, ?)";
        self.lock().execute(insert, [user.as_str(), name.as_str()]).map(drop).map_err(failed)
    }

    async fn unsubscribe(&self, user: &User, name: &MailboxName) -> Result<()> {
        let delete = "DELETE FROM subscription WHERE owner = ? AND name = ?";
        self.lock().execute(delete, [user.as_str(), name.as_str()]).map(drop).map_err(failed)
    }

    async fn subscriptions(&self, user: &User) -> Result<Vec<MailboxName>> {
        let connection = self.lock();
        let mut select = connection
            .prepare("SELECT name FROM subscription WHERE owner = ? ORDER BY name")
            .map_err(failed)?;
        let names = select.query_map([user.as_str()], |row| row.get::<_, String>(0)).map_err(failed)?;
        names
            .map(|name| corrupt(MailboxName::lookup(&name.map_err(failed)?).ok(), "a subscription"))
            .collect()
    }

    async fn erase(&self, user: &User) -> Result<()> {
        self.change(|transaction| {
            for table in ["mailbox", "subscription"] {
                let delete = format!("DELETE FROM {table} WHERE owner = ?");
                transaction.execute(&delete, [user.as_str()]).map_err(failed)?;
            }
            Ok(())
        })
    }
}
