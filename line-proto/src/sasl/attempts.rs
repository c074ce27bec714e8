//! Which mechanisms a client tries, one after the other, when a server refuses.
//!
//! Servers offer what they cannot do for every account: SCRAM where an account has a hash of another kind, bindings that
//! they do not know. So a refusal is not always the end; but a wrong password must not be shown in every way there is.

use super::{Client, ClientError, Context, Credentials, Mechanism};

/// How many exchanges there are at most, which is less than servers bear of one connection.
const MOST: usize = 4;

/// The mechanisms that one login may try.
///
/// The strongest comes first. What comes next depends on what the server [refused](Self::refused):
///
/// - The mechanism ([`About::Mechanism`]), or anything before a proof was sent, which cannot be about the password: the
///   next. SCRAM that binds the channel is tried once, then SCRAM without a binding, then what shows the password.
/// - The keys ([`About::Keys`]): one login that shows the password makes them, so only such mechanisms are left.
/// - A proof without showing the password: inside TLS, once more with the password itself, for servers that hide which
///   accounts have keys. Without TLS that would show a listener what the proof did not.
/// - The password itself, a token, a certificate, or the account ([`About::Account`]): none.
///
/// Nothing is tried that could not have been tried first: the context decides about all of them. At most four are tried.
#[derive(Debug)]
pub struct Attempts {
    left: Vec<Mechanism>,
    credentials: Credentials,
    context: Context,
    made: usize,
    over: bool,
}

/// What a server's refusal of a login is about, as far as its protocol tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum About {
    /// The mechanism: it is not known, or not allowed for this account.
    Mechanism,
    /// The mechanism's keys: the server has none of this account, and makes them when it is shown the password.
    Keys,
    /// The name or the password, or whatever servers do not tell from them.
    Credentials,
    /// The account or the server: another mechanism would be refused as well.
    Account,
}

impl Attempts {
    /// The attempts at a login with these credentials, at a server that offers these mechanisms.
    pub fn new<'a>(
        offered: impl IntoIterator<Item = &'a str>,
        credentials: &Credentials,
        context: &Context,
    ) -> Self {
        let left = Client::usable(offered, credentials, context).collect();
        Self { left, credentials: credentials.clone(), context: context.clone(), made: 0, over: false }
    }

    /// Begins the next exchange; `None` if there is none left. `entropy` are 32 fresh random octets, for this exchange
    /// alone.
    ///
    /// # Errors
    /// [`ClientError`] if the exchange cannot begin.
    pub fn begin(&mut self, entropy: [u8; 32]) -> Option<Result<Client, ClientError>> {
        if !self.is_open() || self.left.is_empty() {
            return None;
        }
        self.made += 1;
        let mechanism = self.left.remove(0);
        Some(Client::new(mechanism, &self.credentials, &self.context, entropy))
    }

    /// Takes note of the refusal of an exchange.
    pub fn refused(&mut self, exchange: &Client, about: About) {
        let refused = exchange.mechanism();
        match about {
            About::Mechanism => {}
            About::Credentials if !exchange.is_proof_sent() => {}
            About::Keys => self.left.retain(|mechanism| mechanism.shows_secret()),
            About::Credentials if !refused.shows_secret() && self.context.is_secure() => {
                self.left.retain(|mechanism| mechanism.shows_secret());
                self.left.truncate(1);
            }
            About::Credentials | About::Account => self.over = true,
        }
        if refused.binds_channel() {
            // RFC 5802 §6: whoever says that it would have bound the channel had it been offered is taken for the victim of
            // a downgrade, for it was offered. What a binding was refused for, it may be refused for again.
            self.context = self.context.clone().without_channel_binding();
            self.left.retain(|mechanism| !mechanism.binds_channel());
        }
    }

    /// Whether a login by other means of the protocol than SASL may be tried, if no exchange is left: one that shows the
    /// password, where that may be done at all.
    pub fn is_open(&self) -> bool {
        !self.over && self.made < MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Secret, TlsInfo,
        sasl::{ScramHash, ScramKeys, Server, ServerStep, Verdict},
    };

    const ALL: &[&str] =
        &["LOGIN", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512", "CRAM-MD5"];

    fn tls() -> Context {
        Context::tls(&TlsInfo { exporter: Some([9; 32]), ..TlsInfo::default() })
    }

    fn password() -> Credentials {
        Credentials::new("ann", Secret::from("secret"))
    }

    /// The exchanges up to the last, each refused for that, after the proof or before it.
    fn tried(
        offered: &[&str],
        credentials: &Credentials,
        context: &Context,
        refusals: &[(About, bool)],
    ) -> Vec<&'static str> {
        let mut attempts = Attempts::new(offered.iter().copied(), credentials, context);
        let mut refusals = refusals.iter().chain(refusals.last().into_iter().cycle());
        let mut names = Vec::new();
        while let Some(exchange) = attempts.begin([7; 32]) {
            let mut exchange = exchange.unwrap();
            names.push(exchange.mechanism().name());
            let (about, proved) = refusals.next().unwrap();
            let initial = exchange.initial();
            if *proved && !exchange.mechanism().shows_secret() {
                let name = exchange.mechanism().name();
                let mut server = Server::start(name, context, [8; 32]).unwrap();
                let mut step = server.step(initial.as_deref());
                if let ServerStep::Verify(_) = step {
                    step = server.resume(Verdict::Keys(keys(name)));
                }
                let ServerStep::Challenge(challenge) = step else { panic!("{step:?}") };
                assert!(!exchange.is_proof_sent());
                exchange.respond(&challenge).unwrap();
                assert!(exchange.is_proof_sent());
            }
            attempts.refused(&exchange, *about);
        }
        names
    }

    fn keys(mechanism: &str) -> ScramKeys {
        let hash = if mechanism.contains("512") { ScramHash::Sha512 } else { ScramHash::Sha256 };
        ScramKeys::derive(hash, &Secret::from("other"), b"salt", 4096).unwrap()
    }

    #[test]
    fn goes_on_where_the_password_is_not_what_was_refused() {
        for about in [About::Mechanism, About::Credentials] {
            let names = tried(ALL, &password(), &tls(), &[(about, false)]);
            assert_eq!(names, ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"], "{about:?}");
        }
        assert_eq!(
            tried(&["PLAIN", "LOGIN"], &password(), &tls(), &[(About::Mechanism, true)]),
            ["PLAIN", "LOGIN"]
        );
        assert_eq!(tried(&["PLAIN", "LOGIN"], &password(), &tls(), &[(About::Credentials, true)]), ["PLAIN"]);
        assert_eq!(tried(ALL, &password(), &tls(), &[(About::Account, false)]), ["SCRAM-SHA-256-PLUS"]);
        let keys = tried(ALL, &password(), &tls(), &[(About::Keys, false), (About::Credentials, true)]);
        assert_eq!(keys, ["SCRAM-SHA-256-PLUS", "PLAIN"]);
        let token = Credentials::bearer("ann", Secret::from("token"));
        let offered = ["XOAUTH2", "OAUTHBEARER", "PLAIN"];
        assert_eq!(tried(&offered, &token, &tls(), &[(About::Credentials, true)]), ["OAUTHBEARER"]);
        assert_eq!(tried(&offered, &token, &tls(), &[(About::Mechanism, true)]), ["OAUTHBEARER", "XOAUTH2"]);
    }

    #[test]
    fn a_proof_that_is_refused_is_followed_by_the_password_once_and_only_inside_tls() {
        let refused = &[(About::Credentials, true)];
        assert_eq!(tried(ALL, &password(), &tls(), refused), ["SCRAM-SHA-256-PLUS", "PLAIN"]);
        let mut offered = ALL.to_vec();
        offered.retain(|name| !name.ends_with("PLUS"));
        assert_eq!(tried(&offered, &password(), &Context::trusted(), refused), ["SCRAM-SHA-512", "PLAIN"]);
        let clear = Context::plaintext().allow_secrets_in_clear();
        assert_eq!(tried(&offered, &password(), &clear, refused), ["SCRAM-SHA-512"]);
        // What was not looked at may be shown there, since that is allowed.
        let unseen = &[(About::Credentials, false)];
        assert_eq!(tried(&offered, &password(), &clear, unseen), ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]);
        assert_eq!(
            tried(&offered, &password(), &Context::plaintext(), unseen),
            ["SCRAM-SHA-512", "SCRAM-SHA-256"]
        );
    }

    #[test]
    fn a_binding_that_was_refused_is_not_said_to_be_possible() {
        let mut attempts = Attempts::new(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"], &password(), &tls());
        let mut first = attempts.begin([7; 32]).unwrap().unwrap();
        assert!(first.initial().unwrap().starts_with(b"p=tls-exporter,"));
        attempts.refused(&first, About::Mechanism);
        let mut second = attempts.begin([8; 32]).unwrap().unwrap();
        assert!(second.initial().unwrap().starts_with(b"n,,"));
        attempts.refused(&second, About::Credentials);
        assert!(attempts.begin([9; 32]).is_none() && attempts.is_open());
        attempts.refused(&second, About::Account);
        assert!(!attempts.is_open());
        // Where nothing was offered that binds, a server that does is told of it.
        let mut attempts = Attempts::new(["SCRAM-SHA-256"], &password(), &tls());
        assert!(attempts.begin([7; 32]).unwrap().unwrap().initial().unwrap().starts_with(b"y,,"));
    }
}
