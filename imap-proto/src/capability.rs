//! What the server says it can do: always computed, never configured.

use mailwright_line_proto::{TlsInfo, can_offer};

use crate::{config::Config, grammar::LiteralMode, response::Capabilities};

/// The capabilities of a session.
///
/// `tls` is the layer if it is up, `logged_in` whether the peer is known.
pub(crate) fn capabilities(config: &Config, tls: Option<&TlsInfo>, logged_in: bool) -> Capabilities {
    let mut names = vec!["IMAP4rev1"];
    match config.literals {
        LiteralMode::Plus => names.push("LITERAL+"),
        LiteralMode::Minus => names.push("LITERAL-"),
        LiteralMode::Synchronizing => {}
    }
    names.extend(["SASL-IR", "ENABLE", "ID"]);
    let mechanisms: Vec<String>;
    if logged_in {
        names.extend(["IDLE", "NAMESPACE", "UNSELECT", "CHILDREN", "SPECIAL-USE"]);
        if config.abilities.write {
            names.extend(["UIDPLUS", "MOVE"]);
        }
    } else {
        if config.starttls && tls.is_none() {
            names.push("STARTTLS");
        }
        if !may_log_in(config, tls) {
            names.push("LOGINDISABLED");
        }
        mechanisms = offered(config, tls).map(|name| format!("AUTH={name}")).collect();
        names.extend(mechanisms.iter().map(String::as_str));
    }
    names.into_iter().collect()
}

/// Whether a password may be sent as it is: RFC 3501 §11.1 wants TLS for that.
pub(crate) fn may_log_in(config: &Config, tls: Option<&TlsInfo>) -> bool {
    tls.is_some() || config.allow_plaintext_auth
}

/// The mechanisms that can be used now.
pub(crate) fn offered<'a>(
    config: &'a Config,
    tls: Option<&'a TlsInfo>,
) -> impl Iterator<Item = &'a str> + 'a {
    let names = config.auth_mechanisms.iter().map(String::as_str);
    names.filter(move |name| match *name {
        // These send what opens the account to anybody who reads along.
        "PLAIN" | "LOGIN" | "XOAUTH2" | "OAUTHBEARER" => may_log_in(config, tls),
        name => can_offer(name, tls),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Abilities;

    fn text(config: &Config, tls: Option<&TlsInfo>, logged_in: bool) -> String {
        capabilities(config, tls, logged_in).iter().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn follow_from_what_is_possible() {
        let mut config = Config {
            auth_mechanisms: ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"].map(String::from).to_vec(),
            starttls: true,
            ..Config::default()
        };
        assert_eq!(
            text(&config, None, false),
            "IMAP4REV1 LITERAL+ SASL-IR ENABLE ID STARTTLS LOGINDISABLED AUTH=SCRAM-SHA-256"
        );
        let mut tls = TlsInfo::default();
        assert_eq!(
            text(&config, Some(&tls), false),
            "IMAP4REV1 LITERAL+ SASL-IR ENABLE ID AUTH=PLAIN AUTH=SCRAM-SHA-256"
        );
        tls.exporter = Some([1; 32]);
        assert!(text(&config, Some(&tls), false).ends_with("AUTH=SCRAM-SHA-256-PLUS"));
        assert!(text(&config, None, true).ends_with("SPECIAL-USE UIDPLUS MOVE"));
        config.abilities = Abilities::read_only();
        config.literals = LiteralMode::Minus;
        assert_eq!(
            text(&config, None, true),
            "IMAP4REV1 LITERAL- SASL-IR ENABLE ID IDLE NAMESPACE UNSELECT CHILDREN SPECIAL-USE"
        );
    }
}
