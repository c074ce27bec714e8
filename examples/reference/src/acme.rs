//! A certificate from an authority that speaks ACME (RFC 8555), and a new one in time.

mod alpn;
mod challenge;
mod room;
mod web;

use std::{
    any::Any,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, Problem, RetryPolicy,
};
use mailwright::line_proto::tls::{
    self,
    rustls::pki_types::{CertificateDer, pem::PemObject},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use x509_cert::{
    Certificate as X509,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use self::{challenge::Challenges, web::Web};
use crate::{
    certificate::{ACME_FILE, Certificates, ascii, write_new},
    config::{
        Config,
        acme::{Acme as Options, Challenge},
    },
};

/// How long the authority may take to look at a challenge, and to issue a certificate.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often to look whether it is time: clocks may be set.
const LOOK: Duration = Duration::from_secs(3600);
/// How many letters of what the authority says of a name are told.
const LONGEST: usize = 512;
/// How soon a certificate that is there is tried again: to read files costs the authority nothing.
const SOON: Duration = Duration::from_secs(60);

/// Keeps the certificate fresh.
pub(crate) struct Acme {
    options: Options,
    names: Vec<String>,
    /// Where the account's key and the certificate are.
    account_file: PathBuf,
    certificate_file: PathBuf,
    proofs: Proofs,
    web: Web,
    certificates: Arc<Certificates>,
}

/// How the authority sees that names are ours.
enum Proofs {
    Http(Challenges),
    Tls(alpn::Certificates),
}

/// Something that is shown until this is dropped.
type Shown = Box<dyn Any + Send>;

/// Why there is no certificate.
#[derive(Debug, Error)]
pub(crate) enum AcmeError {
    #[error("cannot listen on {address}, where acme.{key} wants the authority to look: {source}")]
    Listen { key: &'static str, address: std::net::SocketAddr, source: io::Error },
    #[error("acme.trust: {path}: {problem}")]
    Trust { path: PathBuf, problem: String },
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("the account in {path} cannot be read: {source}")]
    Account { path: PathBuf, source: serde_json::Error },
    #[error("the authority says: {0}")]
    Authority(Box<instant_acme::Error>),
    #[error("the authority offers no challenge {kind} for {name}: choose another with acme.challenge")]
    NoChallenge { kind: &'static str, name: String },
    #[error("the authority does not believe that {names} are ours: {reason}: is {way} here?")]
    NotProved { names: String, reason: String, way: &'static str },
    #[error("the certificate that proves a name cannot be made: {0}")]
    Made(String),
    #[error("the certificate that was issued cannot be used: {0}")]
    Unusable(#[from] tls::TlsConfigError),
    #[error("it is there, and the certificates cannot be read again, those in use stay: {0}")]
    NotInUse(String),
}

impl From<instant_acme::Error> for AcmeError {
    fn from(error: instant_acme::Error) -> Self {
        Self::Authority(Box::new(error))
    }
}

/// The account's key, and whose it is.
#[derive(Serialize, Deserialize)]
struct Registered {
    directory: String,
    credentials: AccountCredentials,
}

impl Acme {
    /// Listens for the authority. Nothing is asked yet.
    pub(crate) async fn new(
        config: &Config,
        options: &Options,
        certificates: Arc<Certificates>,
        stop: &CancellationToken,
    ) -> Result<Self, AcmeError> {
        let folder = config.data.join("tls");
        fs::create_dir_all(&folder).map_err(|source| AcmeError::File { path: folder.clone(), source })?;
        let web = Web::new(&options.trust)?;
        let proofs = match options.challenge {
            Challenge::Http => {
                let address = options.http;
                let listening = Challenges::listen(address, stop.clone()).await;
                let failed = |source| AcmeError::Listen { key: "http", address, source };
                Proofs::Http(listening.map_err(failed)?)
            }
            Challenge::TlsAlpn => Proofs::Tls(alpn::Certificates::listen(options.tls, stop.clone()).await?),
        };
        let mut names = options.names.clone();
        if names.is_empty() {
            names.push(config.hostname.clone());
        }
        Ok(Self {
            options: options.clone(),
            names: as_identifiers(&names),
            account_file: folder.join("acme-account.json"),
            certificate_file: folder.join(ACME_FILE),
            proofs,
            web,
            certificates,
        })
    }

    /// Gets certificates, for as long as the server runs. While there is none, and whenever it fails, what is in use stays.
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_fresh() => {}
        }
    }

    async fn keep_fresh(&self) {
        // Whether a certificate is there that is not in use yet: another one may be half changed just when ours comes.
        let mut waits = false;
        loop {
            let due = self.due();
            let wait = match due {
                Some(left) if !waits => left.min(LOOK),
                _ => match self.renew(due.is_none()).await {
                    Ok(()) => {
                        waits = false;
                        tracing::info!(names = self.names.join(", "), "a new certificate is in use");
                        // An authority whose certificates are over at once is not asked without end.
                        self.due().unwrap_or_else(|| self.retry()).min(LOOK)
                    }
                    Err(error) => {
                        waits = matches!(error, AcmeError::NotInUse(_));
                        let retry = if waits { self.retry().min(SOON) } else { self.retry() };
                        tracing::error!(%error, retry_seconds = retry.as_secs(), "no new certificate is in use");
                        retry
                    }
                },
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Gets a certificate, if there is none that is good, and has it used.
    async fn renew(&self, is_due: bool) -> Result<(), AcmeError> {
        if is_due {
            self.issue().await?;
        }
        self.certificates.reload().map_err(|error| AcmeError::NotInUse(error.to_string()))
    }

    fn retry(&self) -> Duration {
        Duration::from_secs(self.options.retry_seconds)
    }

    /// How long until a new certificate is needed; nothing if that is now.
    fn due(&self) -> Option<Duration> {
        let pem = fs::read(&self.certificate_file).ok()?;
        let first = CertificateDer::pem_slice_iter(&pem).next()?.ok()?;
        due(&first, &self.names, SystemTime::now())
    }

    async fn issue(&self) -> Result<(), AcmeError> {
        let identifiers: Vec<Identifier> = self.names.iter().cloned().map(Identifier::Dns).collect();
        let wanted = NewOrder::new(&identifiers);
        let mut order = match self.account().await?.new_order(&wanted).await {
            // RFC 8555 §6.7: an authority that was set up anew, or that has forgotten who has not come for long.
            Err(instant_acme::Error::Api(problem)) if kind(&problem) == "accountDoesNotExist" => {
                let path = &self.account_file;
                tracing::warn!(path = %path.display(), "the authority does not know our account: a new one is made");
                fs::remove_file(path).map_err(|source| AcmeError::File { path: path.clone(), source })?;
                self.account().await?.new_order(&wanted).await?
            }
            order => order?,
        };
        // They are shown until this order is over.
        let mut shown: Vec<Shown> = Vec::new();
        let (kind, wanted) = match self.proofs {
            Proofs::Http(_) => ("http-01", ChallengeType::Http01),
            Proofs::Tls(_) => ("tls-alpn-01", ChallengeType::TlsAlpn01),
        };
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let name = authorization.identifier().to_string();
            let found = authorization.challenge(wanted.clone());
            let mut challenge = found.ok_or_else(|| AcmeError::NoChallenge { kind, name: name.clone() })?;
            let proof = challenge.key_authorization();
            shown.push(match &self.proofs {
                Proofs::Http(pages) => Box::new(pages.show(&challenge.token, proof.as_str())),
                Proofs::Tls(certificates) => Box::new(certificates.show(&name, proof.digest().as_ref())?),
            });
            challenge.set_ready().await?;
        }
        let patience = RetryPolicy::default().timeout(PATIENCE);
        let status = order.poll_ready(&patience).await?;
        if status != OrderStatus::Ready {
            let names = self.names.join(", ");
            // Where that cannot be asked either, the state says little, but more than nothing.
            let reason = reason(&mut order).await.unwrap_or_else(|| format!("{status:?}"));
            let way = match self.proofs {
                Proofs::Http(_) => "port 80 of each of them led to acme.http",
                Proofs::Tls(_) => "port 443 of each of them led to acme.tls",
            };
            return Err(AcmeError::NotProved { names, reason, way });
        }
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&patience).await?;
        tls::certified_key(chain.as_bytes(), key.as_bytes())?;
        // One file, so that the certificate and its key change together.
        let path = &self.certificate_file;
        write_new(path, format!("{key}{chain}").as_bytes(), 0o600)
            .map_err(|source| AcmeError::File { path: path.clone(), source })
    }

    /// Our account with the authority, made if there is none yet.
    async fn account(&self) -> Result<Account, AcmeError> {
        let path = &self.account_file;
        let builder = Account::builder_with_http(Box::new(self.web.clone()));
        if let Some(known) = read(path)? {
            if known.directory == self.options.directory {
                return Ok(builder.from_credentials(known.credentials).await?);
            }
            tracing::info!(directory = self.options.directory, "another authority: a new account is made");
        }
        let contact = format!("mailto:{}", self.options.contact);
        let contacts = [contact.as_str()];
        let new = NewAccount {
            contact: if self.options.contact.is_empty() { &[] } else { &contacts },
            terms_of_service_agreed: self.options.agree_terms,
            only_return_existing: false,
        };
        let directory = self.options.directory.clone();
        let (account, credentials) = builder.create(&new, directory.clone(), None).await?;
        let text = serde_json::to_vec(&Registered { directory, credentials })
            .map_err(|source| AcmeError::Account { path: path.clone(), source })?;
        write_new(path, &text, 0o600).map_err(|source| AcmeError::File { path: path.clone(), source })?;
        Ok(account)
    }
}

/// What the authority has found where it looked (RFC 8555 §8: the `error` of a challenge), name by name.
async fn reason(order: &mut Order) -> Option<String> {
    let mut reasons: Vec<String> = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.ok()?;
        let name = authorization.identifier().to_string();
        let state = authorization.refresh().await.ok()?;
        let problems = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        reasons.extend(problems.map(|problem| {
            let detail = problem.detail.as_deref().unwrap_or_default();
            let found = format!("{name}: {detail} ({})", kind(problem));
            // One line, and not a page of somebody's web server.
            found.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(LONGEST).collect()
        }));
    }
    Some(reasons.join("; ")).filter(|reasons| !reasons.is_empty())
}

/// The kind of a problem: what stands behind `urn:ietf:params:acme:error:`.
fn kind(problem: &Problem) -> &str {
    let urn = problem.r#type.as_deref().unwrap_or_default();
    urn.rsplit(':').next().unwrap_or_default()
}

/// The names as orders and certificates have them (RFC 8555 §7.1.4), each once.
fn as_identifiers(names: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for name in names.iter().map(|name| ascii(name)) {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

fn read(path: &Path) -> Result<Option<Registered>, AcmeError> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| AcmeError::Account { path: path.into(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AcmeError::File { path: path.into(), source }),
    }
}

/// How long until a certificate is to be replaced: at two thirds of its life, or now if it is not for these names.
fn due(certificate: &[u8], names: &[String], now: SystemTime) -> Option<Duration> {
    let certificate = X509::from_der(certificate).ok()?.tbs_certificate;
    let alternatives = certificate.get::<SubjectAltName>().ok()??.1;
    let has = |wanted: &String| {
        alternatives
            .0
            .iter()
            .any(|name| matches!(name, GeneralName::DnsName(name) if name.as_str() == wanted))
    };
    if !names.iter().all(has) {
        return None;
    }
    let (begins, ends) = (certificate.validity.not_before, certificate.validity.not_after);
    let (begins, ends) = (begins.to_system_time(), ends.to_system_time());
    let life = ends.duration_since(begins).ok()?;
    let left = (begins + life * 2 / 3).duration_since(now).ok()?;
    (!left.is_zero()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_certificates() {
        let names = ["Mail.example.org", "mail.Bücher.example", "mail.xn--bcher-kva.example"];
        let names = as_identifiers(&names.map(str::to_owned));
        assert_eq!(names, ["mail.example.org", "mail.xn--bcher-kva.example"]);
        // What comes back is for these, and is not ordered again.
        let made = rcgen::generate_simple_self_signed(names.clone()).unwrap();
        assert!(due(made.cert.der(), &names, SystemTime::now()).is_some());
    }

    #[test]
    fn a_certificate_is_replaced_at_two_thirds_of_its_life_or_for_other_names() {
        let mut parameters = rcgen::CertificateParams::new(["a.example".into(), "b.example".into()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2026, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2026, 4, 1);
        let made = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        const DAY: u64 = 86_400;
        let begins = SystemTime::UNIX_EPOCH + Duration::from_secs(20_454 * DAY);
        let at = |day: u64, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            due(made.der(), &names, begins + Duration::from_secs(day * DAY))
        };
        assert_eq!(at(0, &["a.example"]), Some(Duration::from_secs(60 * DAY)));
        assert_eq!(at(59, &["b.example", "a.example"]), Some(Duration::from_secs(DAY)));
        assert_eq!(at(60, &["a.example"]), None);
        assert_eq!(at(200, &["a.example"]), None);
        assert_eq!(at(0, &["a.example", "c.example"]), None);
        assert_eq!(due(b"none", &[], begins), None);
    }
}
