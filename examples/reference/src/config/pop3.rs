//! The configuration of POP3.

use std::collections::{BTreeMap, HashMap};

use mailwright::{
    line_proto::Language,
    pop3::{Maildrops, Options, Policy, UidTemplate},
    pop3_proto::{
        Expire, Text,
        server::{Config, Workarounds},
    },
};
use serde::{Deserialize, Serialize};

/// What POP3 listeners have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Pop3 {
    /// What is said of the software.
    pub(crate) implementation: String,
    /// The template of unique ids.
    pub(crate) unique_ids: String,
    /// Whether a maildrop is open in one session at a time.
    pub(crate) exclusive: bool,
    /// What separates an account's name from a folder's; empty for none.
    pub(crate) folder_separator: String,
    pub(crate) apop: bool,
    /// The tag of the language that `LANG *` stands for.
    pub(crate) language: String,
    /// How many days messages stay, or `never`.
    pub(crate) expire: String,
    /// In seconds; 0 for none.
    pub(crate) login_delay: u32,
    /// Whether header fields beyond ASCII are encoded for clients that have not said UTF8.
    pub(crate) ascii_headers: bool,
    pub(crate) workarounds: Vec<Workaround>,
    pub(crate) users: BTreeMap<String, User>,
}

/// What is done for clients that are wrong, by Dovecot's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Workaround {
    OutlookNoNuls,
    OeNsEoh,
}

/// What applies to a user in place of what applies to all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct User {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expire: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) login_delay: Option<u32>,
    /// In place of those of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) workarounds: Option<Vec<Workaround>>,
}

impl Default for Pop3 {
    fn default() -> Self {
        Self {
            implementation: "POP3".into(),
            unique_ids: "%08Xu%08Xv".into(),
            exclusive: true,
            folder_separator: String::new(),
            apop: false,
            language: Language::default().tag().into(),
            expire: "never".into(),
            login_delay: 0,
            ascii_headers: true,
            workarounds: Vec::new(),
            users: BTreeMap::new(),
        }
    }
}

impl Pop3 {
    /// The machine's part of it, of texts that were checked.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        config.implementation =
            Some(&self.implementation).filter(|text| !text.is_empty()).and_then(|text| Text::new(text).ok());
        config.expire = expire(&self.expire);
        config.login_delay = Some(self.login_delay).filter(|seconds| *seconds > 0);
        config.preferred_language = Language::from_tag(&self.language).unwrap_or_default();
        config.surrogates = self.ascii_headers;
        config.workarounds = workarounds(&self.workarounds);
        config
    }

    /// The service's part of it, of texts that were checked.
    pub(crate) fn options(&self, hostname: &str, maildrops: &Maildrops) -> Options {
        let mut options = Options::default();
        options.unique_ids = self.template().unwrap_or_default();
        options.exclusive = self.exclusive;
        options.folder_separator = self.folder_separator.chars().next();
        options.apop = self.apop.then(|| hostname.to_owned());
        options.maildrops = maildrops.clone();
        let policy = |user: &User| {
            let mut policy = Policy::default();
            policy.expire = user.expire.as_deref().and_then(expire);
            policy.login_delay = user.login_delay;
            policy.workarounds = user.workarounds.as_deref().map(workarounds);
            policy
        };
        let policies = self.users.iter().map(|(name, user)| (name.to_lowercase(), policy(user)));
        options.policies = policies.collect::<HashMap<_, _>>();
        options
    }

    fn template(&self) -> Result<UidTemplate, mailwright::pop3::UidTemplateError> {
        self.unique_ids.parse()
    }

    /// Everything that is wrong, each with what to do.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Err(error) = Text::new(&self.implementation) {
            problems.push(format!("pop3.implementation: {error}"));
        }
        if let Err(error) = self.template() {
            problems.push(format!("pop3.unique_ids = {:?}: {error}", self.unique_ids));
        }
        let mut letters = self.folder_separator.chars();
        let one =
            letters.next().is_none_or(|letter| letter.is_ascii_punctuation() && !"@.-_*".contains(letter));
        if !one || letters.next().is_some() {
            problems.push(format!(
                "pop3.folder_separator = {:?} is not one character that is in no account's name, like \"+\"",
                self.folder_separator
            ));
        }
        let all =
            self.users.iter().map(|(name, user)| (format!("pop3.users.{name:?}"), user.expire.as_deref()));
        for (place, text) in all.chain([("pop3".to_owned(), Some(self.expire.as_str()))]) {
            if text.is_some_and(|text| expire(text).is_none()) {
                problems.push(format!(
                    "{place}: expire = {:?} is neither a number of days, like \"30\", nor \"never\"",
                    text.unwrap_or_default()
                ));
            }
        }
        problems.extend(super::language_problem("pop3", &self.language));
        for name in self.users.keys().filter(|name| !name.contains('@')) {
            problems.push(format!(
                "pop3.users: {name:?} is not the name of an account, like \"alice@example.org\""
            ));
        }
        problems
    }
}

fn workarounds(wanted: &[Workaround]) -> Workarounds {
    let mut workarounds = Workarounds::default();
    workarounds.no_nuls = wanted.contains(&Workaround::OutlookNoNuls);
    workarounds.end_of_header = wanted.contains(&Workaround::OeNsEoh);
    workarounds
}

fn expire(text: &str) -> Option<Expire> {
    match text {
        "never" => Some(Expire::Never),
        days => days.parse().ok().map(Expire::Days),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(Pop3::default().problems(), Vec::<String>::new());
        let wrong: Pop3 = toml::from_str(
            "unique_ids = \"%g\"\nlanguage = \"klingon\"\nfolder_separator = \"ab\"\nexpire = \"soon\"\n[users.alice]\nexpire = \"-1\"\n",
        )
        .unwrap();
        let problems = wrong.problems().join("\n");
        for part in ["%g", "klingon", "\"ab\"", "\"soon\"", "\"-1\"", "\"alice\" is not the name"] {
            assert!(problems.contains(part), "{part}: {problems}");
        }
    }

    #[test]
    fn users_have_policies_of_their_own() {
        let pop3: Pop3 = toml::from_str("[users.\"Alice@example.org\"]\nexpire = \"0\"\n").unwrap();
        assert!(pop3.problems().is_empty());
        let options = pop3.options("localhost", &Maildrops::default());
        let policy = options.policies.get("alice@example.org").copied().unwrap();
        assert_eq!((policy.expire, policy.login_delay), (Some(Expire::Days(0)), None));
        assert_eq!(pop3.config().expire, Some(Expire::Never));
    }
}
