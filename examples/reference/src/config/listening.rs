//! What listeners must keep to.

use std::collections::HashSet;

use super::{AskForCertificate, Config, ListenAddress, Listener, Protocol, TlsMode};

impl Config {
    /// Everything that is wrong with what is listened on, each with what to do.
    pub(super) fn listener_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut addresses = HashSet::new();
        for listener in &self.listeners {
            let shown = format!("the {} listener {}", listener.protocol.name(), listener.address);
            let any_port = listener.address.network().is_some_and(|address| address.port() == 0);
            if !any_port && !addresses.insert(&listener.address) {
                problems.push(format!("two listeners have the address {}", listener.address));
            }
            let loopback = listener.address.network().is_none_or(|address| address.ip().is_loopback());
            if listener.protocol == Protocol::Lmtp && !loopback {
                problems.push(format!(
                    "{shown} can be reached from other machines, but LMTP asks nobody who they are: use a loopback address or a socket (unix:/a/path)"
                ));
            }
            if listener.logs_in() && listener.tls == TlsMode::None && !self.allow_plaintext_auth {
                problems.push(format!(
                    "nobody could log in at {shown}: give it tls = \"starttls\" or \"implicit\", or set allow_plaintext_auth = true"
                ));
            }
            problems.extend(listener.problems().into_iter().map(|problem| format!("{shown} {problem}")));
        }
        problems.extend(self.client_certificate_problems());
        problems
    }

    fn client_certificate_problems(&self) -> Vec<String> {
        let asks = |listener: &&Listener| listener.client_certificates != AskForCertificate::None;
        let mut problems = Vec::new();
        for listener in self.listeners.iter().filter(asks) {
            let what = format!("the {} listener {}", listener.protocol.name(), listener.address);
            if self.tls.client_ca.is_none() {
                problems.push(format!(
                    "{what} asks clients for certificates, but nobody says which are right: name the authorities as client_ca in [tls]"
                ));
            }
            if listener.tls == TlsMode::None {
                problems.push(format!(
                    "{what} asks clients for certificates, but has no TLS to show them in: give it tls = \"implicit\" or \"starttls\""
                ));
            }
            if !listener.logs_in() {
                problems.push(format!(
                    "{what} asks clients for certificates, but nobody logs in there; other servers may have some of their own, and could not send their mail"
                ));
            }
        }
        if self.tls.client_ca.is_some() && !self.listeners.iter().any(|listener| asks(&listener)) {
            problems.push(
                "tls.client_ca is set, but no [[listener]] asks for certificates: give those where people log in client_certificates = \"ask\"".into(),
            );
        }
        problems
    }
}

impl Listener {
    /// What its settings have no meaning for.
    fn problems(&self) -> Vec<&'static str> {
        let speaks_smtp =
            matches!(self.protocol, Protocol::Smtp | Protocol::Submission | Protocol::Odmr | Protocol::Lmtp);
        let mut problems = Vec::new();
        if self.tls == TlsMode::Required && !speaks_smtp {
            problems.push("has tls = \"required\", which is for SMTP and LMTP: there nobody can log in before TLS anyway, so write \"starttls\"");
        }
        if self.auth && self.protocol != Protocol::Smtp {
            problems.push("has auth = true, which is for protocol = \"smtp\": leave it out");
        }
        if matches!(self.address, ListenAddress::Unix(_)) {
            if !matches!(self.protocol, Protocol::Smtp | Protocol::Lmtp) {
                problems.push("is a socket of the file system, which is for smtp and lmtp: give it an address with a port");
            }
            if self.mode().is_none() {
                problems.push("has a socket_mode that is not a mode in octal digits, like \"0660\"");
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_asked_for_where_that_has_a_meaning() {
        let problems = |text: &str| toml::from_str::<Config>(text).unwrap().problems();
        let listener =
            "[[listener]]\nprotocol = \"imap\"\naddress = \"127.0.0.1:993\"\nclient_certificates = \"ask\"\n";
        let right = format!("[tls]\nclient_ca = \"ca.pem\"\n{listener}");
        assert!(problems(&right).is_empty());
        for (text, word) in [
            (listener.to_owned(), "client_ca"),
            ("[tls]\nclient_ca = \"ca.pem\"\n".into(), "no [[listener]] asks"),
            (right.replace("imap", "smtp"), "nobody logs in"),
        ] {
            let problems = problems(&text);
            assert!(problems.len() == 1 && problems[0].contains(word), "{text}: {problems:?}");
        }
        let clear = format!("allow_plaintext_auth = true\n{right}tls = \"none\"\n");
        assert!(problems(&clear)[0].contains("no TLS"));
    }

    #[test]
    fn settings_are_where_they_have_a_meaning() {
        let problems = |listener: &str| {
            let text = format!("[[listener]]\n{listener}\n");
            toml::from_str::<Config>(&text).unwrap().problems().join("\n")
        };
        for right in [
            "protocol = \"smtp\"\naddress = \"[::]:25\"\ntls = \"required\"\nauth = true",
            "protocol = \"lmtp\"\naddress = \"unix:/run/mailwright/lmtp\"\nsocket_mode = \"0666\"\ntls = \"none\"",
        ] {
            assert_eq!(problems(right), "", "{right}");
        }
        for (wrong, word) in [
            ("protocol = \"imap\"\naddress = \"[::]:143\"\ntls = \"required\"", "for SMTP and LMTP"),
            ("protocol = \"submission\"\naddress = \"[::]:587\"\nauth = true", "for protocol = \"smtp\""),
            (
                "protocol = \"smtp\"\naddress = \"[::]:25\"\ntls = \"none\"\nauth = true",
                "nobody could log in",
            ),
            ("protocol = \"imap\"\naddress = \"unix:/run/imap\"", "for smtp and lmtp"),
            ("protocol = \"lmtp\"\naddress = \"unix:/run/lmtp\"\nsocket_mode = \"9\"", "octal digits"),
        ] {
            assert!(problems(wrong).contains(word), "{wrong}: {}", problems(wrong));
        }
        for address in ["unix:run/lmtp", "localhost:25", "/run/lmtp"] {
            let text = format!("[[listener]]\nprotocol = \"lmtp\"\naddress = {address:?}\n");
            let error = toml::from_str::<Config>(&text).unwrap_err().to_string();
            assert!(error.contains("unix:/a/path"), "{error}");
        }
    }
}
