//! What the configuration says of the directory. It is replaced as a whole when it is read again.

use mailwright::{
    mail_model::Domain,
    mailstore::{block_on, embedded::Table},
    relay_policy::{
        delivery::Verp,
        directory::{DomainEntry, Settings},
        networks::NetworkObject,
        srs::Srs,
    },
};

use super::{
    DirectoryError, Model, accounts::AccountTable, alias_file, files::Files, restore, senders::Senders,
};
use crate::config::{Config, Store};

/// All of it.
pub(crate) struct Configured {
    settings: Settings,
    always_bcc: Option<mailwright::mail_model::Address>,
    /// Networks that may relay.
    pub(super) networks: NetworkObject,
    /// The domains that are always there.
    pub(super) domains: Vec<Domain>,
    pub(super) postmaster: Option<String>,
    /// Our own name, in lower case.
    pub(super) hostname: String,
    /// What rewrites the senders of mail that is forwarded, and knows the senders that it has rewritten.
    pub(super) srs: Srs,
    /// Whether they are rewritten now.
    pub(super) rewrites: bool,
    /// The alias file, and what else is in files.
    pub(super) files: Files,
    /// Where mail is kept.
    pub(super) store: Store,
    /// Whom users may write as beside themselves.
    pub(super) senders: Senders,
}

impl Configured {
    pub(super) fn new(config: &Config, secrets: &Table) -> Result<Self, DirectoryError> {
        let mut settings = Settings::default();
        settings.separators.clone_from(&config.separators);
        if config.aliases.verp {
            let before = config.separators.chars().next();
            settings.verp = before.map(|before| {
                let mut verp = Verp::default();
                verp.before = before;
                verp
            });
        }
        let domains: Result<Vec<Domain>, _> = config
            .domains
            .iter()
            .map(|name| {
                name.parse().map_err(|_| DirectoryError::Target(format!("{name:?} is not a domain name")))
            })
            .collect();
        let domains = domains?;
        Ok(Self {
            settings,
            always_bcc: config.always_bcc.parse().ok(),
            networks: config.relay_networks().map_err(|error| DirectoryError::Target(error.to_string()))?,
            files: Files::new(config, &domains)?,
            domains,
            postmaster: Some(config.postmaster.clone()).filter(|name| !name.is_empty()),
            hostname: config.hostname.to_lowercase(),
            srs: Srs::new(&lasting(secrets, b"srs")?),
            rewrites: config.relay.srs,
            store: config.store.clone(),
            senders: Senders::new(&config.auth),
        })
    }

    /// What mail needs to know: this, and what is in the database.
    pub(super) fn model(
        &self,
        entries: &Table,
        accounts: &AccountTable,
        unreadable: &[String],
    ) -> Result<Model, DirectoryError> {
        let mut model = Model::new(self.settings.clone());
        model.set_bcc(self.always_bcc.clone());
        for domain in &self.domains {
            model.set_domain(domain, DomainEntry::default());
        }
        // Domains first: the rest is about them.
        let (domains, rest): (Vec<_>, Vec<_>) =
            entries.scan(b"")?.into_iter().partition(|(key, _)| key.starts_with(b"domain/"));
        for (key, value) in domains.into_iter().chain(rest) {
            restore::restore(&mut model, &String::from_utf8_lossy(&key), &value);
        }
        unreadable.iter().for_each(|name| model.set_unreadable(name));
        for (name, account) in accounts.iter() {
            restore::account(&mut model, name, &account.mail);
        }
        let file = self.files.aliases()?;
        alias_file::warn(&file);
        model.set_alias_file(&file.aliases, self.files.domains());
        Ok(model)
    }
}

/// A random secret of this name, made when it is first wanted.
pub(super) fn lasting(secrets: &Table, name: &[u8]) -> Result<Vec<u8>, DirectoryError> {
    if let Some(secret) = secrets.get(name)? {
        return Ok(secret.to_vec());
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| DirectoryError::Randomness(error.to_string()))?;
    block_on(secrets.put(name, &secret))?;
    Ok(secret.to_vec())
}
