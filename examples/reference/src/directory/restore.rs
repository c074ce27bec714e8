//! From the rows of the database to the model, as the server starts.

use mailwright::relay_policy::directory::{Account, Directory as Model, Entry};

use super::{
    DirectoryError,
    edit::domain,
    rows::{AccountRow, AliasRow, DomainRow, GroupRow, NetworkRow},
};

/// Fills a model with what is in the database. What cannot be applied is left out, and told of: it must not keep the mail of all others
/// from being taken.
pub(super) fn restore(model: &mut Model, key: &str, value: &[u8]) {
    let Err(error) = read(model, key, value) else { return };
    let what = key.replacen('/', " ", 1);
    match key.split_once('/') {
        Some(("domain-alias", name)) => tracing::warn!(
            %error,
            "the domain alias {name} is not used; add the domain again, or `mailwrightd domain remove {name}`"
        ),
        // Its mail waits at its senders until somebody has mended it.
        Some(("alias" | "group", name)) => {
            model.set_unreadable(name);
            tracing::error!(%error, "the {what} in the database cannot be used; mail for it is to be tried again");
        }
        _ => tracing::error!(%error, "the {what} in the database cannot be used"),
    }
}

/// The same of an account. One whose forwards cannot be understood keeps its mail.
pub(super) fn account(model: &mut Model, name: &str, row: &AccountRow) {
    let entry = row.entry().unwrap_or_else(|error| {
        tracing::error!(%error, account = name, "where the account's mail goes on to cannot be understood; it is kept");
        Account::with_mailbox()
    });
    model.restore(name, Entry::Account(entry));
}

/// Enters one row.
pub(super) fn read(model: &mut Model, key: &str, value: &[u8]) -> Result<(), DirectoryError> {
    let corrupt = |problem: String| DirectoryError::Corrupt { name: key.to_owned(), problem };
    let bad = |error: serde_json::Error| corrupt(error.to_string());
    let (kind, name) = key.split_once('/').ok_or_else(|| corrupt("it has no kind".into()))?;
    match kind {
        "domain" => {
            let row: DomainRow = serde_json::from_slice(value).map_err(bad)?;
            model.set_domain(&domain(name)?, row.entry()?);
        }
        "domain-alias" => {
            let main: String = serde_json::from_slice(value).map_err(bad)?;
            model.set_domain_alias(&domain(name)?, &domain(&main)?)?;
        }
        "alias" => {
            let row: AliasRow = serde_json::from_slice(value).map_err(bad)?;
            model.restore(name, Entry::Alias(row.entry()?));
        }
        "group" => {
            let row: GroupRow = serde_json::from_slice(value).map_err(bad)?;
            model.restore(name, Entry::Group(row.entry()?));
        }
        "pseudonym" => {
            let row: AliasRow = serde_json::from_slice(value).map_err(bad)?;
            model.set_pseudonym(name, row.entry()?);
        }
        "network" => {
            let row: NetworkRow = serde_json::from_slice(value).map_err(bad)?;
            model.networks_mut().set(name, row.entry()?);
        }
        other => return Err(corrupt(format!("{other} is no kind of entry"))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mailwright::{
        mail_model::ForwardPath,
        mailstore::{
            block_on,
            embedded::{Embedded, Options},
        },
        relay_policy::directory::Refusal,
    };

    use super::super::Directory;
    use crate::config::Config;

    #[test]
    fn no_row_keeps_the_server_from_starting() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path().join("store"), Options::default()).unwrap();
        let table = |name| store.table(name).unwrap();
        let open = |domains: &[&str]| {
            let domains = domains.iter().map(|name| (*name).to_owned()).collect();
            let config = Config { domains, ..Config::default() };
            let keys = crate::dkim::Keys::open(table("k")).unwrap();
            Directory::open(table("a"), table("e"), table("s"), table("r"), keys, &config)
        };
        let directory = open(&["a.test", "b.test"]).unwrap();
        directory.add("ann@a.test", "secret", true).unwrap();
        directory.add("bob@a.test", "secret", true).unwrap();
        drop(directory);
        for (key, value) in [
            ("domain/a b", "{}"),
            ("domain/c.test", "{"),
            ("domain-alias/x.test", "\"b.test\""),
            ("domain-alias/a.test", "\"b.test\""),
            ("domain-alias/y.test", "7"),
            ("alias/sales@a.test", "{\"targets\":[]}"),
            ("group/team@a.test", "{\"members\":[\"@\"]}"),
            ("pseudonym/info", "[]"),
            ("network/office", "{\"members\":[\"x\"]}"),
            ("future/thing", "{}"),
            ("nothing", ""),
        ] {
            block_on(table("e").put(key.as_bytes(), value.as_bytes())).unwrap();
        }
        let row = table("a").get(b"bob@a.test").unwrap().unwrap();
        let row = String::from_utf8(row.to_vec()).unwrap();
        let forwarded = row.replace("\"mailbox\":true", "\"mailbox\":true,\"forward\":[\"@\"]");
        assert_ne!(row, forwarded);
        block_on(table("a").put(b"bob@a.test", forwarded.as_bytes())).unwrap();
        block_on(table("a").put(b"eve@a.test", b"{}")).unwrap();
        let directory = open(&["a.test"]).unwrap();
        let expand = |to: &str| directory.expand(&ForwardPath::Address(to.parse().unwrap()), false);
        for to in ["ann@a.test", "bob@a.test"] {
            assert_eq!(expand(to).unwrap().deliveries[0].account, to);
        }
        for to in ["sales@a.test", "team@a.test", "eve@a.test"] {
            assert_eq!(expand(to), Err(Refusal::Unreadable(to.into())));
        }
    }
}
