//! What a configuration must keep to beyond its syntax.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mailwright::relay_policy::networks::AddressRange;

use mailwright::mailstore::maildir::Template;

use super::{Config, Store, StoreKind, auth::bad_networks};

impl Config {
    /// Everything that is wrong, each with what to do.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !is_host_name(&self.hostname) {
            problems.push(format!(
                "hostname = {:?} is not a host name: write the name that other servers know this one by",
                self.hostname
            ));
        }
        for domain in &self.domains {
            if !is_host_name(domain) {
                problems.push(format!("domains: {domain:?} is not a domain name (write internationalized names as UTF-8 or xn--)"));
            }
        }
        if self.domains.is_empty() {
            problems.push("domains is empty: no mail could be delivered; name at least one".into());
        }
        if !self.postmaster.is_empty() && !self.postmaster.contains('@') {
            problems.push(format!(
                "postmaster = {:?} is not the name of an account, like \"alice@example.org\"",
                self.postmaster
            ));
        }
        if self.separators.contains(|letter: char| letter.is_alphanumeric() || letter == '@' || letter == '.')
        {
            problems.push(format!(
                "separators = {:?} holds a character of ordinary names: use \"+\" or \"-\"",
                self.separators
            ));
        }
        problems.extend(crate::control::problem(&self.data));
        problems.extend(self.log.filter().err());
        problems.extend(self.store.problems(self.domains.len()));
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            problems.push("[tls] needs both certificate and key, or neither for a self-signed one".into());
        }
        problems.extend(self.acme.iter().flat_map(|acme| acme.problems(self.tls.certificate.is_some())));
        problems.extend(self.limits.problems());
        problems.extend(self.auth.problems());
        problems.extend(self.imap.problems());
        problems.extend(self.pop3.problems());
        problems.extend(self.sieve.problems());
        problems.extend(bad_networks("proxies", &self.proxies));
        for named in &self.certificates {
            if named.names.is_empty() {
                problems.push(format!(
                    "[[certificate]] {} has no names: list those that clients ask for",
                    named.certificate.display()
                ));
            }
            for name in &named.names {
                if !is_host_name(name.strip_prefix("*.").unwrap_or(name)) {
                    problems.push(format!(
                        "[[certificate]]: {name:?} is not a host name, nor *. in front of one"
                    ));
                }
            }
        }
        if self.listeners.is_empty() {
            problems.push("there is no [[listener]]: the server would have nothing to do".into());
        }
        problems.extend(self.listener_problems());
        problems.extend(self.http_problems());
        if !self.origin.is_empty() && !is_host_name(&self.origin) {
            problems.push(format!("origin = {:?} is not a domain name", self.origin));
        }
        if !self.always_bcc.is_empty() && self.always_bcc.parse::<mailwright::mail_model::Address>().is_err()
        {
            problems.push(format!("always_bcc = {:?} is not an address", self.always_bcc));
        }
        self.outbound_problems(&mut problems);
        problems.extend(self.aliases.problems(self.domains.len(), &self.separators));
        problems.extend(self.relay.pipe_problems());
        let embedded = self.store.kind == StoreKind::Embedded;
        problems.extend(self.quota.problems(embedded));
        problems.extend(self.expiry.problems());
        if self.store.compression > 19 || (!embedded && self.store.compression > 0) {
            problems.push("[store] compression is a level from 0 to 19, for kind = \"embedded\"".into());
        }
        problems.extend(self.store.fulltext_problem());
        problems.extend(self.store.annotation_problem());
        problems.extend(self.fetch.problems());
        problems.extend(self.on_demand_problems());
        problems.extend(self.authentication.problems());
        problems.extend(self.rules.problems());
        problems.extend(self.network_problems());
        problems.extend(bad_networks("[smtp] etrn", &self.smtp.etrn));
        problems.extend(bad_networks("[smtp] xverp", &self.smtp.xverp));
        problems.extend(bad_networks("[smtp] urgent", &self.smtp.urgent));
        if let Err(problem) = self.smtp.unwanted() {
            problems.push(problem);
        }
        if self.queue.hold_days > LONGEST_HOLD {
            problems.push(format!("[queue] hold_days: at most {LONGEST_HOLD} days"));
        }
        for (key, texts) in [("xclient", &self.smtp.xclient), ("xforward", &self.smtp.xforward)] {
            for text in texts {
                match text.parse::<AddressRange>() {
                    Err(error) => problems.push(format!("[smtp] {key}: {error}")),
                    // RFC 5321 §7.9: whoever is believed here can be anybody.
                    Ok(range) if EVERYBODY.iter().any(|address| range.contains(*address)) => problems.push(format!(
                        "[smtp] {key}: {text} holds addresses of strangers, who could claim to be anybody; name the proxies alone"
                    )),
                    Ok(_) => {}
                }
            }
        }
        if self.limits.message_size != 0 && self.limits.message_size < 64 * 1024 {
            // RFC 5321 §4.5.3.1.7
            problems.push(
                "limits.message_size must be at least 65536 octets (RFC 5321), or 0 for no limit".into(),
            );
        }
        if self.limits.recipients != 0 && self.limits.recipients < 100 {
            // RFC 5321 §4.5.3.1.8
            problems.push("limits.recipients must be at least 100 (RFC 5321), or 0 for no limit".into());
        }
        problems
    }
}

impl Store {
    fn problems(&self, domains: usize) -> impl Iterator<Item = String> {
        let kind = match (self.kind, &*self.path) {
            (StoreKind::Embedded, "") => None,
            (StoreKind::Embedded, path) => Some(format!(
                "[store] path = {path:?} is for kind = \"maildir\"; the embedded store is in the data directory"
            )),
            (StoreKind::Maildir, "") => {
                Some("[store] kind = \"maildir\" needs a path, such as \"/var/mail/%d/%n/Maildir\"".into())
            }
            (StoreKind::Maildir, path) => template_problem("path", path, domains),
        };
        let mbox = (!self.mbox.is_empty()).then(|| template_problem("mbox", &self.mbox, domains)).flatten();
        kind.into_iter().chain(mbox)
    }
}

fn template_problem(key: &str, path: &str, domains: usize) -> Option<String> {
    match Template::new(path) {
        Err(error) => Some(format!("[store] {key} = {path:?}: {error}")),
        Ok(template) if domains > 1 && !template.tells_domains_apart() => Some(format!(
            "[store] {key} = {path:?} would give users of the same name in different domains the same mail: use %u, or %d with %n"
        )),
        Ok(_) => None,
    }
}

/// RFC 4865 §4: nine digits of seconds.
const LONGEST_HOLD: u32 = 11_000;
/// Addresses that nobody has: a range that holds one was not meant to name a proxy.
const EVERYBODY: [IpAddr; 3] =
    [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::BROADCAST), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

/// RFC 1123 §2.1, with letters beyond ASCII allowed for internationalized names.
fn is_host_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|letter| letter == '-' || letter.is_alphanumeric())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_right() {
        assert_eq!(Config::default().problems(), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let text = r#"
            hostname = "not a name"
            proxies = ["10.0.0.0/99"]
            domains = []
            postmaster = "root"
            [tls]
            key = "k.pem"
            [auth]
            exempt = ["everybody"]
            [[certificate]]
            names = ["not a name either"]
            certificate = "c.pem"
            key = "k.pem"
            [smtp]
            xclient = ["nowhere", "0.0.0.0/0"]
            [limits]
            message_size = 10
            recipients = 5
            [[listener]]
            protocol = "imap"
            address = "0.0.0.0:143"
            tls = "none"
            [[listener]]
            protocol = "lmtp"
            address = "0.0.0.0:143"
        "#;
        let config: Config = toml::from_str(text).unwrap();
        let problems = config.problems().join("\n");
        for word in [
            "not a name",
            "everybody",
            "not a name either",
            "10.0.0.0/99",
            "domains is empty",
            "root",
            "certificate",
            "two listeners",
            "LMTP",
            "log in",
            "65536",
            "nowhere",
            "strangers",
            "100",
        ] {
            assert!(problems.contains(word), "{word}: {problems}");
        }
    }

    #[test]
    fn a_maildir_has_a_path_for_each_user() {
        for (text, word) in [
            ("kind = \"maildir\"", "/var/mail/%d/%n/Maildir"),
            ("kind = \"maildir\"\npath = \"/mail/all\"", "%u or %n"),
            ("kind = \"maildir\"\npath = \"/mail/%h\"", "%h"),
            ("kind = \"maildir\"\npath = \"/mail/%n\"", "different domains"),
            ("path = \"/mail/%u\"", "embedded"),
            ("mbox = \"/var/mail/%n\"", "different domains"),
        ] {
            let text = format!("domains = [\"a.example\", \"b.example\"]\n[store]\n{text}\n");
            let config: Config = toml::from_str(&text).unwrap();
            let problems = config.problems();
            assert!(problems.len() == 1 && problems[0].contains(word), "{text}: {problems:?}");
        }
        let config: Config = toml::from_str("[store]\nkind = \"maildir\"\npath = \"/mail/%n\"\n").unwrap();
        assert!(config.problems().is_empty());
    }
}
