//! Asking who issued a token whose it is (RFC 7662).

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use mailwright_line_proto::Secret;
use mailwright_mailstore::accounts::{BearerTokens, LoginError};
use ring::digest;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::generations::Generations;
use crate::https::{Https, HttpsLimits, HttpsRequest};

/// How many tokens are asked about at once; the others wait.
const AT_ONCE: usize = 32;
/// How many tokens are remembered.
const REMEMBERED: usize = 10_000;

/// Tokens of OAuth 2.0, about which the authorization server that issued them is asked (RFC 7662).
///
/// ```no_run
/// use mailwright::{TokenIntrospection, https::Https, line_proto::tls};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let roots = tls::roots(&std::fs::read("/etc/ssl/certs/ca-certificates.crt")?)?;
/// let https = Https::new(tls::client_config(roots)?);
/// let tokens = TokenIntrospection::new(https, "https://login.example.org/introspect")
///     .with_client("mail-server", "secret".into())
///     .with_account_field("email")
///     .with_scopes(["mail"]);
/// # Ok(())
/// # }
/// ```
pub struct TokenIntrospection {
    https: Https,
    url: String,
    client: Option<(String, Secret)>,
    field: String,
    scopes: Vec<String>,
    audience: Option<String>,
    remember: Duration,
    limits: HttpsLimits,
    known: Mutex<Generations<[u8; 32], Known>>,
    asking: Semaphore,
}

/// What was answered about a token, and until when that is believed.
#[derive(Clone)]
struct Known {
    outcome: Result<String, LoginError>,
    until: Instant,
}

impl TokenIntrospection {
    /// Asks at this URL. The account is named by the field `username`; no scope is needed; answers are believed for a
    /// minute, and never longer than the token lives.
    pub fn new(https: Https, url: impl Into<String>) -> Self {
        Self {
            https,
            url: url.into(),
            client: None,
            field: "username".into(),
            scopes: Vec::new(),
            audience: None,
            remember: Duration::from_secs(60),
            limits: HttpsLimits::default().with_timeout(Duration::from_secs(10)),
            known: Mutex::new(Generations::new(REMEMBERED)),
            asking: Semaphore::new(AT_ONCE),
        }
    }

    /// Says who asks (RFC 6749 §2.3.1).
    #[must_use]
    pub fn with_client(self, name: impl Into<String>, secret: Secret) -> Self {
        Self { client: Some((name.into(), secret)), ..self }
    }

    /// Sets the field of the answer that names the account: `username`, `sub`, `email` or what the server has.
    #[must_use]
    pub fn with_account_field(self, field: impl Into<String>) -> Self {
        Self { field: field.into(), ..self }
    }

    /// Takes tokens only that have all of these scopes.
    #[must_use]
    pub fn with_scopes(self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { scopes: scopes.into_iter().map(Into::into).collect(), ..self }
    }

    /// Takes tokens only that were issued for this audience.
    #[must_use]
    pub fn with_audience(self, audience: impl Into<String>) -> Self {
        Self { audience: Some(audience.into()), ..self }
    }

    /// Sets how long an answer is believed: so long a token that was revoked still works (RFC 7662 §4).
    #[must_use]
    pub fn with_remembering(self, remember: Duration) -> Self {
        Self { remember, ..self }
    }

    /// Sets how long an answer may take and how long it may be.
    #[must_use]
    pub fn with_limits(self, limits: HttpsLimits) -> Self {
        Self { limits, ..self }
    }

    fn remembered(&self, key: &[u8; 32]) -> Option<Result<String, LoginError>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).filter(|known| Instant::now() < known.until).map(|known| known.outcome.clone())
    }

    async fn ask(&self, token: &str) -> Result<Map<String, Value>, String> {
        let body = format!("token={}&token_type_hint=access_token", encoded(token.as_bytes()));
        let mut request = HttpsRequest::post(&self.url, "application/x-www-form-urlencoded", body)
            .with_header("accept", "application/json");
        if let Some((name, secret)) = &self.client {
            let both = format!("{}:{}", encoded(name.as_bytes()), encoded(secret.expose()));
            request = request.with_header("authorization", format!("Basic {}", BASE64_STANDARD.encode(both)));
        }
        let answer = self.https.send(request, &self.limits).await.map_err(|error| error.to_string())?;
        match answer.status() {
            200 => {}
            401 | 403 => {
                return Err(format!("{}: it does not take our name and secret", answer.status()));
            }
            status => return Err(format!("the status is {status}, and 200 was expected")),
        }
        match serde_json::from_slice(answer.body()) {
            Ok(Value::Object(answer)) => Ok(answer),
            Ok(_) => Err("a JSON object was expected".into()),
            Err(error) => Err(format!("JSON was expected: {error}")),
        }
    }

    /// What an answer says, and for how many seconds more the token lives.
    fn judge(&self, answer: &Map<String, Value>, now: u64) -> (Result<String, LoginError>, Option<u64>) {
        // RFC 7662 §2.2
        if answer.get("active") != Some(&Value::Bool(true)) {
            return (Err(LoginError::Credentials), None);
        }
        let seconds = |name: &str| answer.get(name).and_then(Value::as_f64).map(|time| time.max(0.0) as u64);
        let left = seconds("exp").map(|end| end.saturating_sub(now));
        if left == Some(0) {
            return (Err(LoginError::Expired), None);
        }
        if seconds("nbf").is_some_and(|begin| begin > now) {
            return (Err(LoginError::Credentials), Some(0));
        }
        let scopes: Vec<&str> =
            answer.get("scope").and_then(Value::as_str).unwrap_or_default().split(' ').collect();
        if self.scopes.iter().any(|needed| !scopes.contains(&needed.as_str())) {
            return (Err(LoginError::NotAuthorized), left);
        }
        if let Some(wanted) = &self.audience {
            let is_ours = match answer.get("aud") {
                Some(Value::String(audience)) => audience == wanted,
                Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(wanted)),
                _ => false,
            };
            if !is_ours {
                return (Err(LoginError::NotAuthorized), left);
            }
        }
        match answer.get(&self.field).and_then(Value::as_str) {
            Some(name) if !name.is_empty() => (Ok(name.to_owned()), left),
            _ => {
                tracing::error!(
                    url = self.url,
                    field = self.field,
                    "an answer about a token names no account"
                );
                (Err(LoginError::NotAuthorized), left)
            }
        }
    }
}

impl BearerTokens for TokenIntrospection {
    async fn holder(&self, token: &[u8], _: Option<&str>) -> Result<String, LoginError> {
        let text = str::from_utf8(token).map_err(|_| LoginError::Credentials)?;
        // The tokens themselves are not kept.
        let mut key = [0; 32];
        key.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
        if let Some(outcome) = self.remembered(&key) {
            return outcome;
        }
        let _asking = self.asking.acquire().await.map_err(|_| LoginError::Unavailable)?;
        // Somebody may have asked while we waited.
        if let Some(outcome) = self.remembered(&key) {
            return outcome;
        }
        let asked = Instant::now();
        let answer = self.ask(text).await.map_err(|problem| {
            tracing::error!(url = self.url, problem, "nobody tells whose a token is");
            LoginError::Unavailable
        })?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let (outcome, left) = self.judge(&answer, now);
        let remember = left.map_or(self.remember, |left| self.remember.min(Duration::from_secs(left)));
        if let Some(until) = asked.checked_add(remember) {
            let known = Known { outcome: outcome.clone(), until };
            let mut table = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            *table.entry(&key, || known.clone()) = known.clone();
        }
        outcome
    }
}

impl fmt::Debug for TokenIntrospection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TokenIntrospection")
            .field("url", &self.url)
            .field("field", &self.field)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// RFC 6749 appendix B, with every octet escaped that could mean something.
fn encoded(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for octet in octets {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(octet) {
            text.push(char::from(*octet));
        } else {
            text.push_str(&format!("%{octet:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use mailwright_line_proto::tls;

    use super::*;

    fn tokens() -> TokenIntrospection {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let roots = tls::roots(made.cert.pem().as_bytes()).unwrap();
        TokenIntrospection::new(Https::new(tls::client_config(roots).unwrap()), "https://a.test/")
    }

    #[test]
    fn an_answer_decides_by_what_is_asked_of_it() {
        let strict = tokens().with_account_field("email").with_scopes(["mail", "x"]).with_audience("us");
        let now = 1_000;
        for (text, expected, left) in [
            (r#"{}"#, Err(LoginError::Credentials), None),
            (r#"{"active":false,"username":"a"}"#, Err(LoginError::Credentials), None),
            (r#"{"active":"true","username":"a"}"#, Err(LoginError::Credentials), None),
            (r#"{"active":true,"username":"a@b.test"}"#, Ok("a@b.test".into()), None),
            (r#"{"active":true,"username":"a","exp":1060}"#, Ok("a".into()), Some(60)),
            (r#"{"active":true,"username":"a","exp":1000.5}"#, Err(LoginError::Expired), None),
            (r#"{"active":true,"username":"a","nbf":1001}"#, Err(LoginError::Credentials), Some(0)),
            (r#"{"active":true,"username":""}"#, Err(LoginError::NotAuthorized), None),
            (r#"{"active":true,"username":7}"#, Err(LoginError::NotAuthorized), None),
        ] {
            let answer = serde_json::from_str::<Map<String, Value>>(text).unwrap();
            assert_eq!(tokens().judge(&answer, now), (expected, left), "{text}");
        }
        for (text, right) in [
            (r#"{"active":true,"email":"a","scope":"x y mail","aud":"us"}"#, true),
            (r#"{"active":true,"email":"a","scope":"mail x","aud":["them","us"]}"#, true),
            (r#"{"active":true,"email":"a","scope":"mailx x","aud":"us"}"#, false),
            (r#"{"active":true,"email":"a","scope":"mail x","aud":["them"]}"#, false),
            (r#"{"active":true,"email":"a","scope":"mail x"}"#, false),
            (r#"{"active":true,"email":"a","aud":"us"}"#, false),
            (r#"{"active":true,"username":"a","scope":"mail x","aud":"us"}"#, false),
        ] {
            let answer = serde_json::from_str::<Map<String, Value>>(text).unwrap();
            assert_eq!(strict.judge(&answer, now).0.is_ok(), right, "{text}");
        }
        assert_eq!(encoded("a b&c=ä+~".as_bytes()), "a%20b%26c%3D%C3%A4%2B~");
    }
}
