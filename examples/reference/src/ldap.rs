//! Accounts in LDAP: passwords by binding as the user, and whose accounts there are.

mod accounts;

use std::{
    fs,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use ldap3::{
    LdapConnAsync, LdapConnSettings, LdapError, Scope, SearchEntry,
    adapters::{Adapter, EntriesOnly, PagedResults},
    dn_escape, ldap_escape,
};
use mailwright::{
    line_proto::{Secret, tls},
    mailstore::accounts::{Credentials, LoginError, LoginRequest},
};
use tokio::{sync::Semaphore, time};

pub(crate) use self::accounts::LdapAccounts;
use crate::config::{ldap::Ldap as Options, oauth::secret};

/// How many logins are asked about at once; the others wait.
const AT_ONCE: usize = 16;
/// How many entries are asked for at a time, and how many there may be.
const PAGE: i32 = 500;
const MOST: usize = 200_000;

/// An LDAP server that has accounts.
pub(crate) struct Ldap {
    options: Options,
    reach: RwLock<Arc<Reach>>,
    asking: Semaphore,
}

/// What files say of how it is reached.
pub(crate) struct Reach {
    settings: LdapConnSettings,
    /// The password of who searches.
    password: Option<Secret>,
}

impl Ldap {
    /// As configured; nothing is asked yet.
    pub(crate) fn new(options: &Options) -> Result<Self, String> {
        let reach = RwLock::new(Arc::new(Reach::read(options)?));
        Ok(Self { options: options.clone(), reach, asking: Semaphore::new(AT_ONCE) })
    }

    /// Reads the files again that say how it is reached. Nothing is changed.
    pub(crate) fn reread(&self) -> Result<Reach, String> {
        Reach::read(&self.options)
    }

    /// Reaches it so from here on.
    pub(crate) fn renew(&self, reach: Reach) {
        *self.reach.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(reach);
    }

    fn reach(&self) -> Arc<Reach> {
        Arc::clone(&self.reach.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the password of a login is right: whether the server lets its owner in with it.
    pub(crate) async fn is_right(&self, request: &LoginRequest) -> Result<bool, LoginError> {
        let Credentials::Password(password) = &request.credentials else {
            return Err(LoginError::NotAuthorized);
        };
        let Ok(password) = std::str::from_utf8(password) else { return Ok(false) };
        // RFC 4513 §5.1.2: with an empty password anybody is let in, as nobody.
        if password.is_empty() {
            return Ok(false);
        }
        let _asking = self.asking.acquire().await.map_err(|_| LoginError::Unavailable)?;
        self.within(self.try_bind(&request.user, password)).await.map_err(|problem| {
            tracing::error!(url = self.options.url, problem, "the LDAP server cannot tell about a password");
            LoginError::Unavailable
        })
    }

    async fn try_bind(&self, user: &str, password: &str) -> Result<bool, LdapError> {
        let name = if self.options.user_dn.is_empty() {
            self.find(user).await?
        } else {
            filled(&self.options.user_dn, user, |part| dn_escape(part).into_owned())
        };
        let mut connection = self.connect().await?;
        let outcome = connection.simple_bind(&name, password).await?;
        let _ = connection.unbind().await;
        // RFC 4511 appendix A.2: invalidCredentials, and what some servers say for entries that are not there or may not.
        match outcome.rc {
            0 => Ok(true),
            49 | 32 | 48 | 50 | 53 => Ok(false),
            _ => Err(outcome.into()),
        }
    }

    /// The entry of this user. If there is none, one that is not there: it is asked about like any other.
    async fn find(&self, user: &str) -> Result<String, LdapError> {
        let filter = filled(&self.options.filter, user, |part| ldap_escape(part).into_owned());
        let found = self.search(&filter, vec!["1.1".into()], 2).await?;
        match <[SearchEntry; 1]>::try_from(found) {
            Ok([entry]) => Ok(entry.dn),
            Err(found) => {
                if !found.is_empty() {
                    tracing::error!(user, filter, "several entries of LDAP fit one user: none may log in");
                }
                Ok(format!("cn=nobody,{}", self.options.base))
            }
        }
    }

    /// Entries below the base.
    async fn search(
        &self,
        filter: &str,
        attributes: Vec<String>,
        most: usize,
    ) -> Result<Vec<SearchEntry>, LdapError> {
        let mut connection = self.connect().await?;
        if let Some(password) = &self.reach().password {
            let password = String::from_utf8_lossy(password.expose()).into_owned();
            connection.simple_bind(&self.options.bind_dn, &password).await?.success()?;
        }
        let adapters: Vec<Box<dyn Adapter<'_, String, Vec<String>> + '_>> =
            vec![Box::new(EntriesOnly::new()), Box::new(PagedResults::new(PAGE))];
        let mut stream = connection
            .streaming_search_with(adapters, &self.options.base, Scope::Subtree, filter, attributes)
            .await?;
        let mut entries = Vec::new();
        while let Some(entry) = stream.next().await? {
            entries.push(SearchEntry::construct(entry));
            if entries.len() >= most {
                break;
            }
        }
        let whole = entries.len() < most;
        let outcome = stream.finish().await;
        if whole {
            outcome.success()?;
        }
        let _ = connection.unbind().await;
        Ok(entries)
    }

    async fn connect(&self) -> Result<ldap3::Ldap, LdapError> {
        let (connection, handle) =
            LdapConnAsync::with_settings(self.reach().settings.clone(), &self.options.url).await?;
        tokio::spawn(async move {
            // What goes wrong is told by the operation as well.
            let _ = connection.drive().await;
        });
        Ok(handle)
    }

    async fn within<T>(&self, asking: impl Future<Output = Result<T, LdapError>>) -> Result<T, String> {
        let patience = Duration::from_secs(self.options.timeout_seconds);
        match time::timeout(patience, asking).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {patience:?}")),
        }
    }
}

impl Reach {
    fn read(options: &Options) -> Result<Self, String> {
        let patience = Duration::from_secs(options.timeout_seconds);
        let mut settings = LdapConnSettings::new().set_conn_timeout(patience);
        let starttls = options.url.starts_with("ldap://") && options.starttls;
        // A socket of this machine, and this machine itself, need none.
        if starttls || options.url.starts_with("ldaps://") {
            let wrong = |problem: String| format!("auth.ldap.trust: {}: {problem}", options.trust.display());
            let pem = fs::read(&options.trust).map_err(|error| wrong(error.to_string()))?;
            let config = tls::roots(&pem).and_then(tls::client_config);
            let config = config.map_err(|error| wrong(error.to_string()))?;
            settings = settings.set_config(Arc::new(config)).set_starttls(starttls);
        }
        let named = !options.bind_dn.is_empty();
        let password =
            named.then(|| secret("auth.ldap.password_file", &options.password_file)).transpose()?;
        Ok(Self { settings, password })
    }
}

/// Puts a user's name into a template: `%u` whole, `%n` what is before the last `@`, `%d` what is behind it.
fn filled(template: &str, user: &str, escape: impl Fn(&str) -> String) -> String {
    let (local, domain) = user.rsplit_once('@').unwrap_or((user, ""));
    let mut text = String::new();
    let mut letters = template.chars();
    while let Some(letter) = letters.next() {
        match (letter, letter == '%') {
            (_, false) => text.push(letter),
            (_, true) => match letters.next() {
                Some('u') => text.push_str(&escape(user)),
                Some('n') => text.push_str(&escape(local)),
                Some('d') => text.push_str(&escape(domain)),
                Some(other) => text.push(other),
                None => text.push('%'),
            },
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_a_template() {
        let filter = |user: &str| {
            filled("(&(x=%%)(mail=%u)(uid=%n)(dc=%d))", user, |part| ldap_escape(part).into_owned())
        };
        assert_eq!(filter("a@b.c"), "(&(x=%)(mail=a@b.c)(uid=a)(dc=b.c))");
        assert_eq!(filter("*)(x=\\"), "(&(x=%)(mail=\\2a\\29\\28x=\\5c)(uid=\\2a\\29\\28x=\\5c)(dc=))");
        let name = |user: &str| filled("uid=%n,ou=%d", user, |part| dn_escape(part).into_owned());
        assert_eq!(name("a@b"), "uid=a,ou=b");
        assert!(!name("x,dc=evil@b").contains(",dc=evil"), "{}", name("x,dc=evil@b"));
    }
}
