//! Who else than our own table says who somebody is.

use std::sync::{Arc, PoisonError, RwLock};

use mailwright::{
    DovecotAccounts, PasswordProgram, TokenIntrospection,
    mailstore::accounts::{Accounts as _, LoginError, LoginRequest},
};

use super::Account;
use crate::config::{Config, auth::ScramOffer, oauth::Oauth};

/// What logins are checked by beside the table of accounts. The accounts themselves are always ours.
#[derive(Default)]
pub(crate) struct Backends {
    /// Who checks the passwords, if not we.
    pub(crate) checker: Option<Checker>,
    /// Who says whose a token is.
    pub(super) tokens: RwLock<Option<Arc<TokenIntrospection>>>,
    /// What a client's certificate may name the account by, if clients are asked for one.
    pub(crate) certificates: Option<CertificateName>,
    /// When SCRAM is offered.
    pub(crate) scram: ScramOffer,
    /// The account of guests.
    pub(crate) guest: Option<String>,
}

impl Backends {
    /// As configured.
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let tokens = RwLock::new(tokens(config)?);
        let named = if config.tls.client_common_name {
            CertificateName::CommonName
        } else {
            CertificateName::Mailbox
        };
        let certificates = config.tls.client_ca.is_some().then_some(named);
        let guest = Some(config.auth.anonymous.clone()).filter(|name| !name.is_empty());
        Ok(Self { checker: config.auth.checker()?, tokens, certificates, scram: config.auth.scram, guest })
    }

    /// Who says whose a token is, if anybody does.
    pub(super) fn tokens(&self) -> Option<Arc<TokenIntrospection>> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again by which they are asked: secrets and authorities. Nothing is changed.
    pub(super) fn renewed(&self, config: &Config) -> Result<Renewed, String> {
        Ok(Renewed {
            tokens: tokens(config)?,
            #[cfg(feature = "ldap")]
            ldap: self.ldap().map(|ldap| ldap.reread()).transpose()?,
        })
    }

    /// Asks by these from here on.
    pub(super) fn renew(&self, renewed: Renewed) {
        #[cfg(feature = "ldap")]
        if let (Some(ldap), Some(reach)) = (self.ldap(), renewed.ldap) {
            ldap.renew(reach);
        }
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = renewed.tokens;
    }

    /// The LDAP server that checks the passwords.
    #[cfg(feature = "ldap")]
    pub(crate) fn ldap(&self) -> Option<Arc<crate::ldap::Ldap>> {
        match &self.checker {
            Some(Checker::Ldap(ldap)) => Some(Arc::clone(ldap)),
            _ => None,
        }
    }
}

/// What files say of those who are asked, read and not in use yet.
pub(crate) struct Renewed {
    tokens: Option<Arc<TokenIntrospection>>,
    #[cfg(feature = "ldap")]
    ldap: Option<crate::ldap::Reach>,
}

fn tokens(config: &Config) -> Result<Option<Arc<TokenIntrospection>>, String> {
    Ok(config.auth.oauth.as_ref().map(Oauth::tokens).transpose()?.map(Arc::new))
}

/// What of a certificate may be an account's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateName {
    /// A mailbox among the alternative names.
    Mailbox,
    /// The common name too.
    CommonName,
}

/// Who checks passwords in our place.
pub(crate) enum Checker {
    Dovecot(DovecotAccounts),
    Program(PasswordProgram),
    #[cfg(feature = "ldap")]
    Ldap(Arc<crate::ldap::Ldap>),
}

impl Checker {
    /// How many logins are asked about at once, of those who have not logged in from where they are before and of those who have: as many
    /// as the checker takes at a time, so that nobody waits behind that.
    pub(super) const fn at_once(&self) -> (usize, usize) {
        match self {
            Self::Dovecot(_) => (24, 8),
            Self::Program(_) => (6, 2),
            #[cfg(feature = "ldap")]
            Self::Ldap(_) => (12, 4),
        }
    }

    /// Whether this login's password is right for the account. Whom we do not know is asked about like anybody.
    pub(super) async fn is_right(
        &self,
        account: Option<&Arc<Account>>,
        request: &LoginRequest,
    ) -> Result<bool, LoginError> {
        let mut request = request.clone();
        request.authorization = None;
        match self {
            Self::Dovecot(dovecot) => match dovecot.login(&request).await {
                Err(LoginError::Credentials) => Ok(false),
                found => {
                    let found = found?;
                    Ok(account.is_some_and(|account| account.user == found))
                }
            },
            Self::Program(program) => {
                // Under its one name, however the client writes it: the program may know no other.
                if let Some(account) = account {
                    request.user = account.user.as_str().to_owned();
                }
                Ok(program.is_right(&request).await? && account.is_some())
            }
            #[cfg(feature = "ldap")]
            Self::Ldap(ldap) => {
                if let Some(account) = account {
                    request.user = account.user.as_str().to_owned();
                }
                Ok(ldap.is_right(&request).await? && account.is_some())
            }
        }
    }
}
