//! HTTP for administrators.

use std::{collections::HashSet, net::SocketAddr};

use serde::{Deserialize, Serialize};

use super::{Config, ListenAddress};

/// Where administrators ask by HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    /// Nowhere, if empty.
    pub(crate) listen: Vec<ListenAddress>,
    /// Who may connect to a socket of the file system, in octal digits.
    pub(crate) socket_mode: String,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: Vec::new(), socket_mode: "0660".into() }
    }
}

impl Http {
    /// The permissions of sockets of the file system.
    pub(crate) fn mode(&self) -> Option<u32> {
        u32::from_str_radix(&self.socket_mode, 8).ok().filter(|mode| *mode <= 0o777)
    }

    /// Whether tokens go through a network there, so that TLS hides them.
    pub(crate) fn needs_tls(address: SocketAddr) -> bool {
        !address.ip().to_canonical().is_loopback()
    }
}

impl Config {
    /// What is wrong with where HTTP is listened for, each with what to do.
    pub(super) fn http_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut taken: HashSet<&ListenAddress> =
            self.listeners.iter().map(|listener| &listener.address).collect();
        for address in &self.http.listen {
            let any_port = address.network().is_some_and(|address| address.port() == 0);
            if !any_port && !taken.insert(address) {
                problems.push(format!("[http] listen: {address} is listened at for something else already"));
            }
        }
        if self.http.mode().is_none() {
            problems.push(format!(
                "[http] socket_mode = {:?} is not a mode in octal digits, like \"0660\"",
                self.http.socket_mode
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_listened_at_is_named() {
        let problems = |text: &str| toml::from_str::<Config>(text).unwrap().problems().join("\n");
        let right = "[http]\nlisten = [\"127.0.0.1:8025\", \"[::]:8443\", \"unix:/run/mailwright/http\"]\n";
        assert_eq!(problems(right), "");
        for (wrong, word) in [
            ("[http]\nlisten = [\"127.0.0.1:2525\"]\n", "127.0.0.1:2525 is listened at"),
            ("[http]\nlisten = [\"[::1]:80\", \"[::1]:80\"]\n", "[::1]:80 is listened at"),
            ("[http]\nsocket_mode = \"rw\"\n", "octal digits"),
        ] {
            assert!(problems(wrong).contains(word), "{wrong}: {}", problems(wrong));
        }
        let error = toml::from_str::<Config>("[http]\nlisten = [\"localhost:80\"]\n").unwrap_err();
        assert!(error.to_string().contains("unix:/a/path"), "{error}");
    }

    #[test]
    fn tokens_go_through_networks_in_tls() {
        for (address, needs) in [
            ("127.0.0.1:1", false),
            ("[::1]:1", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("192.0.2.1:1", true),
        ] {
            assert_eq!(Http::needs_tls(address.parse().unwrap()), needs, "{address}");
        }
    }
}
