//! The configuration of logins.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use mailwright::{
    DovecotAccounts, DovecotAddress, MasterUsers, PasswordProgram, Throttle, ThrottleLimits,
    mail_model::Address, relay_policy::networks::AddressRange,
};
use serde::{Deserialize, Serialize};

use super::{ldap::Ldap, oauth::Oauth};
use crate::directory::{Checker, Further};

/// How logins are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Auth {
    /// Accounts that may open every other.
    pub(crate) master_users: Vec<String>,
    /// What stands between the two names; empty for none.
    pub(crate) master_separator: String,
    /// Whether the obsolete mechanisms are offered.
    pub(crate) legacy_mechanisms: bool,
    /// When SCRAM is offered.
    pub(crate) scram: ScramOffer,
    /// The account that everybody may read; empty for none.
    pub(crate) anonymous: String,
    /// What the second failed login in a row costs, in milliseconds.
    pub(crate) penalty_milliseconds: u64,
    pub(crate) failures_per_address: u32,
    pub(crate) failures_per_user: u32,
    pub(crate) ban_seconds: u64,
    /// Networks that are never slowed down.
    pub(crate) exempt: Vec<String>,
    /// Where other programs ask whether a login is right, by Dovecot's protocol: paths and addresses.
    pub(crate) listen: Vec<String>,
    /// Passwd-files of Dovecot whose accounts are ours.
    pub(crate) passwd_files: Vec<PathBuf>,
    /// A Dovecot that checks the passwords: the path of its socket, or its address; empty for none.
    pub(crate) dovecot: String,
    /// A program that checks the passwords, with its arguments; empty for none.
    pub(crate) program: Vec<String>,
    /// How long it may take.
    pub(crate) program_seconds: u64,
    /// Who says whose a token is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oauth: Option<Oauth>,
    /// Where accounts are, if not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ldap: Option<Ldap>,
    /// Who may connect to those that are paths, in octal digits.
    pub(crate) socket_mode: String,
    /// Where users may not say that they are others.
    pub(crate) sender_login: SenderLogin,
    /// Whom they may write as beside themselves, by account, alias or group: addresses, domains, `*` for anybody.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) senders: BTreeMap<String, Vec<String>>,
}

/// Where those who have logged in must be whom they say they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SenderLogin {
    /// In the envelope, and in From and Sender.
    #[default]
    Header,
    /// In the envelope.
    Envelope,
}

/// When SCRAM is offered to clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ScramOffer {
    /// As long as every account has keys for it.
    #[default]
    All,
    /// As long as any account has.
    Some,
    Off,
}

/// Where other programs ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    Path(PathBuf),
    Address(SocketAddr),
}

impl Default for Auth {
    fn default() -> Self {
        let limits = ThrottleLimits::default();
        Self {
            master_users: Vec::new(),
            master_separator: "*".into(),
            legacy_mechanisms: false,
            scram: ScramOffer::All,
            anonymous: String::new(),
            penalty_milliseconds: 500,
            failures_per_address: limits.failures_per_address,
            failures_per_user: limits.failures_per_user,
            ban_seconds: limits.ban.as_secs(),
            exempt: limits.exempt.iter().map(ToString::to_string).collect(),
            listen: Vec::new(),
            passwd_files: Vec::new(),
            dovecot: String::new(),
            program: Vec::new(),
            program_seconds: 10,
            oauth: None,
            ldap: None,
            socket_mode: "0660".into(),
            sender_login: SenderLogin::Header,
            senders: BTreeMap::new(),
        }
    }
}

impl Auth {
    /// The memory of what failed, with nothing in it.
    pub(crate) fn throttle(&self) -> Arc<Throttle> {
        let mut limits = ThrottleLimits::default();
        limits.penalty = Duration::from_millis(self.penalty_milliseconds);
        limits.failures_per_address = self.failures_per_address;
        limits.failures_per_user = self.failures_per_user;
        limits.ban = Duration::from_secs(self.ban_seconds);
        limits.exempt = super::ranges(&self.exempt);
        Arc::new(Throttle::new(limits))
    }

    /// Where other programs ask; what is wrong was told already.
    pub(crate) fn listen(&self) -> Vec<Listen> {
        self.listen.iter().filter_map(|text| listen(text)).collect()
    }

    /// Who checks the passwords in our place.
    pub(crate) fn checker(&self) -> Result<Option<Checker>, String> {
        #[cfg(feature = "ldap")]
        if let Some(options) = &self.ldap {
            return Ok(Some(Checker::Ldap(Arc::new(crate::ldap::Ldap::new(options)?))));
        }
        if let [program, arguments @ ..] = &*self.program {
            let timeout = Duration::from_secs(self.program_seconds);
            let program = PasswordProgram::new(program, arguments).with_timeout(timeout);
            return Ok(Some(Checker::Program(program)));
        }
        let address = listen(&self.dovecot).map(|place| match place {
            Listen::Path(path) => DovecotAddress::Unix(path),
            Listen::Address(address) => DovecotAddress::Tcp(address),
        });
        Ok(address.map(|address| Checker::Dovecot(DovecotAccounts::new(address))))
    }

    /// The permissions of the sockets.
    pub(crate) fn mode(&self) -> Option<u32> {
        u32::from_str_radix(&self.socket_mode, 8).ok().filter(|mode| *mode <= 0o777)
    }

    /// Those who may log in as others, by the names that the accounts have: `canonical` makes them of addresses.
    pub(crate) fn masters(&self, canonical: impl Fn(&Address) -> String) -> MasterUsers {
        let name = |name: &String| name.parse().map_or_else(|_| name.to_lowercase(), |name| canonical(&name));
        let names = self.master_users.iter().map(name);
        MasterUsers::new(names, self.master_separator.chars().next())
    }

    /// Everything that is wrong, each with what to do.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = bad_networks("auth.exempt", &self.exempt);
        for text in &self.listen {
            match listen(text) {
                None => problems.push(format!(
                    "auth.listen: {text:?} is neither an absolute path nor an address with a port, like \"127.0.0.1:12345\""
                )),
                Some(Listen::Address(address)) if !address.ip().is_loopback() => problems.push(format!(
                    "auth.listen: {address} can be reached from other machines, but its clients are asked nothing and send passwords in the clear: use a path or a loopback address"
                )),
                Some(_) => {}
            }
        }
        if !self.dovecot.is_empty() && listen(&self.dovecot).is_none() {
            problems.push(format!(
                "auth.dovecot = {:?} is neither the absolute path of a socket nor an address with a port, like \"127.0.0.1:12345\"",
                self.dovecot
            ));
        }
        problems.extend(self.oauth.iter().flat_map(Oauth::problems));
        problems.extend(self.ldap.iter().flat_map(Ldap::problems));
        problems.extend(self.program_problems());
        problems.extend(self.sender_problems());
        let checkers =
            [!self.dovecot.is_empty(), !self.program.is_empty(), self.ldap.is_some()].map(usize::from);
        if checkers.iter().sum::<usize>() > 1 {
            problems.push(
                "of auth.dovecot, auth.program and [auth.ldap] one checks the passwords: leave out the others"
                    .into(),
            );
        }
        if self.mode().is_none() {
            problems.push(format!(
                "auth.socket_mode = {:?} is not a mode in octal digits, like \"0660\"",
                self.socket_mode
            ));
        }
        for name in &self.master_users {
            if !name.contains('@') {
                problems.push(format!(
                    "auth.master_users: {name:?} is not the name of an account, like \"admin@example.org\""
                ));
            }
        }
        if !self.master_users.is_empty() {
            let mut letters = self.master_separator.chars();
            let one =
                letters.next().is_none_or(|letter| letter.is_ascii_punctuation() && !"@.-_".contains(letter));
            if !one || letters.next().is_some() {
                problems.push(format!(
                    "auth.master_separator = {:?} is not one character that no name has: write \"*\", or \"\" for none",
                    self.master_separator
                ));
            }
        }
        problems.extend(self.anonymous_problem());
        if self.ban_seconds == 0 && self.failures_per_address != 0 {
            problems.push(
                "auth.ban_seconds = 0 would ban nobody: set auth.failures_per_address = 0 if that is meant"
                    .into(),
            );
        }
        problems
    }
}

impl Auth {
    fn sender_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, texts) in &self.senders {
            if name.parse::<Address>().is_err() {
                problems.push(format!(
                    "[auth.senders] {name:?} is not the address of an account or a group, like \"office@example.org\""
                ));
            }
            for text in texts.iter().filter(|text| Further::parse(text).is_none()) {
                problems.push(format!(
                    "[auth.senders] {name:?}: {text:?} is neither an address nor a domain nor \"*\""
                ));
            }
        }
        problems
    }

    /// That there is such an account is asked of the directory.
    fn anonymous_problem(&self) -> Option<String> {
        let name = &self.anonymous;
        if !name.is_empty() && name.parse::<Address>().is_err() {
            return Some(format!(
                "auth.anonymous = {name:?} is not the name of an account, like \"library@example.org\""
            ));
        }
        let is_master = self.master_users.iter().any(|master| master.eq_ignore_ascii_case(name));
        is_master.then(|| {
            format!(
                "auth.anonymous: {name} is one of auth.master_users, and everybody would be in its account"
            )
        })
    }

    fn program_problems(&self) -> Vec<String> {
        let Some(program) = self.program.first() else { return Vec::new() };
        let mut problems = Vec::new();
        if !program.starts_with('/') {
            problems.push(format!("auth.program: {program:?} is not the absolute path of a program"));
        }
        if self.program.len() < 2 {
            problems.push(
                "auth.program names no program to become if the password is right, as checkpassword has it: add \"/bin/true\"".into(),
            );
        }
        if self.program_seconds == 0 {
            problems
                .push("auth.program_seconds = 0 would give the program no time: 10 is the default".into());
        }
        problems
    }
}

fn listen(text: &str) -> Option<Listen> {
    if text.starts_with('/') {
        return Some(Listen::Path(text.into()));
    }
    text.parse().ok().map(Listen::Address)
}

/// What is wrong with a list of networks.
pub(super) fn bad_networks(key: &str, list: &[String]) -> Vec<String> {
    let errors = list.iter().filter_map(|text| text.parse::<AddressRange>().err());
    errors.map(|error| format!("{key}: {error}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        assert!(Auth::default().problems().is_empty());
        let wrong = Auth {
            master_users: vec!["admin".into()],
            master_separator: "@".into(),
            ban_seconds: 0,
            listen: vec!["auth".into(), "0.0.0.0:12345".into()],
            dovecot: "auth-client".into(),
            program: vec!["checkpassword".into()],
            program_seconds: 0,
            oauth: Some(Oauth::default()),
            socket_mode: "rw".into(),
            anonymous: "library".into(),
            exempt: vec!["192.0.2.1".into(), "192.0.2.0/33".into()],
            senders: BTreeMap::from([("office".into(), vec!["boss@".into(), "*".into()])]),
            ..Auth::default()
        };
        let problems = wrong.problems().join("\n");
        for word in [
            "192.0.2.0/33",
            "absolute path",
            "loopback address",
            "octal",
            "auth.dovecot",
            "admin@example.org",
            "master_separator",
            "ban_seconds",
            "absolute path of a program",
            "/bin/true",
            "program_seconds",
            "leave out the others",
            "\"office\" is not the address",
            "\"boss@\" is neither",
            "auth.oauth.url",
            "auth.anonymous = \"library\"",
        ] {
            assert!(problems.contains(word), "{word}: {problems}");
        }
        let master =
            Auth { master_users: vec!["a@b.test".into()], anonymous: "A@b.test".into(), ..Auth::default() };
        assert!(master.problems().join("\n").contains("everybody"));
        assert_eq!(crate::config::ranges(&wrong.exempt), ["192.0.2.1".parse().unwrap()]);
    }
}
