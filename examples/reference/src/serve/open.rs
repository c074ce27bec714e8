//! What is in the data directory, opened: the store, the directory, and the tables of everything else.

use std::{sync::Arc, time::Duration};

use mailwright::{
    Pool,
    mailstore::{
        AnyStore, SharedQueue, WithQueue, block_on,
        embedded::{Embedded, Options},
        maildir::{self, Maildir},
        mbox::MboxStore,
    },
};
use rustix::process::geteuid;

use super::{ServeError, descriptors::Descriptors, private};
use crate::{
    config::{Config, StoreKind},
    directory::Directory,
    dkim::Keys,
    fetch::Fetch,
    first_run,
    http::Tokens,
    life::{self, Life},
    passwd_file,
    queue::Suppressed,
    rules::Known,
};

/// The table of the accounts in the store's database.
const ACCOUNTS: &str = "accounts";
/// The table of domains, aliases and groups.
const ENTRIES: &str = "directory";
/// The table of what is made once and never shown.
const SECRETS: &str = "secrets";
/// The table of accounts that were removed.
const REMOVED: &str = "removed";
/// The table of strangers that came again.
const KNOWN: &str = "greylist";
/// The table of addresses that refused for good.
const SUPPRESSED: &str = "suppressed";
/// The table of what is to be reported of DMARC.
pub(super) const DMARC: &str = "dmarc";
/// The table of tokens for HTTP.
const TOKENS: &str = "http-tokens";
/// The table of what came from LDAP with its accounts.
#[cfg(feature = "ldap")]
pub(super) const LDAP: &str = "ldap";
/// The table of the keys that sign.
const KEYS: &str = "dkim";
/// The table of what Sieve scripts remember: whom they answered, what they have seen.
pub(crate) const SIEVE_MEMORY: &str = "sieve-memory";

/// What waits to be sent on. It is in the database, wherever the mailboxes are.
pub(crate) type Waiting = SharedQueue<Embedded>;

/// Opens the store and its accounts.
pub(crate) fn open(config: &Config) -> Result<(Embedded, Arc<Directory>), ServeError> {
    let path = config.data.display().to_string();
    first_run::make_private(&config.data)
        .map_err(|source| ServeError::Data { path: path.clone(), source })?;
    private::keep(config)?;
    let opened = |source| ServeError::Store { path: path.clone(), source };
    life::resume(&config.data);
    // Reads run in place: they take microseconds where the system has the octets in memory, less than handing them to
    // another thread would. For those that wait for the disk there are more threads than cores.
    let mut options = Options::default();
    options.in_place = Some(mailwright::in_place);
    options.describer = Some(mailwright::imap::describer());
    options.files = Descriptors::claim(config).database;
    options.reserve = config.store.reserve;
    options.undelete = Duration::from_secs(config.store.undelete.seconds());
    options.quota = config.quota.limits();
    options.annotations = config.store.annotation_limits();
    options.zstd = Some(i32::from(config.store.compression)).filter(|level| *level > 0);
    options.quota_warnings.clone_from(&config.quota.warn_percent);
    #[cfg(feature = "fulltext")]
    {
        options.fulltext = config.store.fulltext;
    }
    let store = Embedded::open(config.data.join("store"), options).map_err(|source| {
        let foreign = private::foreign(&config.data).filter(|_| source.to_string().contains("denied"));
        match foreign {
            None => opened(source),
            Some((file, owner)) => {
                let (data, file) = (path.clone(), file.display().to_string());
                ServeError::Foreign { data, file, owner, ours: geteuid().as_raw(), source }
            }
        }
    })?;
    let table = store.table(ACCOUNTS).map_err(opened)?;
    let secrets = store.table(SECRETS).map_err(opened)?;
    let entries = store.table(ENTRIES).map_err(opened)?;
    let removed = store.table(REMOVED).map_err(opened)?;
    let keys = Keys::open(store.table(KEYS).map_err(opened)?)?;
    let directory = Directory::open(table, entries, secrets, removed, keys, config)?;
    passwd_file::take_over_ledger(&config.data, &directory)?;
    if matches!(config.store.kind, StoreKind::Embedded) {
        directory.encrypt_in(store.clone());
    }
    Ok((store, Arc::new(directory)))
}

/// The addresses that nothing is sent to.
pub(crate) fn suppressed(config: &Config, database: &Embedded) -> Result<Suppressed, ServeError> {
    let opened = |source| ServeError::Store { path: config.data.display().to_string(), source };
    Suppressed::open(database.table(SUPPRESSED).map_err(opened)?, config).map_err(opened)
}

/// What looks after the mailboxes.
pub(crate) fn life(
    config: &Config,
    database: &Embedded,
    directory: &Arc<Directory>,
) -> Result<Life, ServeError> {
    let store = mail_store(config, database.clone(), &waiting(config, database)?)?;
    let fetch = fetch(config, database, directory)?;
    Life::new(config, store, Arc::clone(directory), fetch, database)
        .map_err(|source| ServeError::Store { path: config.data.display().to_string(), source })
}

/// Strangers that came again.
pub(crate) fn known(config: &Config, database: &Embedded) -> Result<Arc<Known>, ServeError> {
    let path = config.data.display().to_string();
    let opened = |source| ServeError::Store { path: path.clone(), source };
    let table = database.table(KNOWN).map_err(opened)?;
    Known::open(table).map(Arc::new).map_err(opened)
}

/// Who may ask by HTTP.
pub(crate) fn tokens(config: &Config, database: &Embedded) -> Result<Arc<Tokens>, ServeError> {
    let opened = |source| ServeError::Store { path: config.data.display().to_string(), source };
    Tokens::open(database.table(TOKENS).map_err(opened)?).map(Arc::new).map_err(opened)
}

/// The accounts elsewhere.
pub(crate) fn fetch(
    config: &Config,
    database: &Embedded,
    directory: &Arc<Directory>,
) -> Result<Fetch, ServeError> {
    Fetch::open(&config.data, database, Arc::clone(directory))
        .map_err(|source| ServeError::Store { path: config.data.display().to_string(), source })
}

/// What waits to be sent on, of a process that has not taken any mail yet.
pub(crate) fn waiting(config: &Config, database: &Embedded) -> Result<Waiting, ServeError> {
    let opened = |source| ServeError::Store { path: config.data.display().to_string(), source };
    block_on(SharedQueue::open(database.clone())).map_err(opened)
}

/// The mail of the accounts: in the database, or elsewhere and beside its queue.
pub(crate) fn mail_store(
    config: &Config,
    database: Embedded,
    waiting: &Waiting,
) -> Result<AnyStore, ServeError> {
    match config.store.kind {
        StoreKind::Embedded => Ok(AnyStore::new(database)),
        StoreKind::Maildir => {
            let template = maildir::Template::new(&config.store.path)
                .map_err(|error| ServeError::Config(error.to_string()))?;
            let mut options = maildir::Options::default();
            options.spool = config.data.join("spool");
            options.describer = Some(mailwright::imap::describer());
            options.own = Some(config.data.join("maildir"));
            options.undelete = Duration::from_secs(config.store.undelete.seconds());
            options.quota = config.quota.limits();
            options.quota_warnings.clone_from(&config.quota.warn_percent);
            // Other programs' locks are waited for, so this must not be where sessions run.
            let mail = Maildir::with_offload(template, options, Pool);
            Ok(AnyStore::new(WithQueue::new(mail, waiting.clone())))
        }
    }
}

/// Where mail that comes in goes: into the store, or into files.
pub(super) fn delivery_store(
    config: &Config,
    store: &AnyStore,
    waiting: &Waiting,
) -> Result<AnyStore, ServeError> {
    if config.store.mbox.is_empty() {
        return Ok(store.clone());
    }
    let template =
        maildir::Template::new(&config.store.mbox).map_err(|error| ServeError::Config(error.to_string()))?;
    let files = MboxStore::with_offload(template, config.data.join("spool"), Pool);
    Ok(AnyStore::new(WithQueue::new(files, waiting.clone())))
}
