//! The configuration of IMAP.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use mailwright::{
    imap::{Options, ToTrash},
    imap_proto::server::{Config, Workarounds},
    line_proto::Language,
};
use serde::{Deserialize, Serialize};

/// What IMAP listeners have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Imap {
    /// The session object of a JMAP server of the same mail; empty for none.
    pub(crate) jmap_url: String,
    /// The tag of the language that `LANGUAGE default` stands for.
    pub(crate) language: String,
    pub(crate) deleted_to_trash: DeletedToTrash,
    /// How often a client is told how far a search has come.
    pub(crate) progress_milliseconds: u32,
    /// How much of headers is remembered between searches.
    pub(crate) remembered_octets: usize,
    /// How many messages one command deals with; 0 for any number.
    pub(crate) message_limit: u32,
    /// How many messages the result of a search that is saved can have; 0 for any number.
    pub(crate) save_limit: u32,
    /// By a part of the client's name.
    pub(crate) workarounds: BTreeMap<String, Vec<Workaround>>,
    /// By account.
    pub(crate) users: BTreeMap<String, User>,
}

/// What is otherwise for one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    pub(crate) deleted_to_trash: DeletedToTrash,
}

/// Which messages are moved to the trash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"never\", \"expunge\", \"store\", true or false")]
pub(crate) enum DeletedToTrash {
    /// As "expunge", or as "never".
    Expunged(bool),
    When(ToTrashWhen),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ToTrashWhen {
    Never,
    Expunge,
    Store,
}

impl From<DeletedToTrash> for ToTrash {
    fn from(chosen: DeletedToTrash) -> Self {
        match chosen {
            DeletedToTrash::Expunged(false) | DeletedToTrash::When(ToTrashWhen::Never) => Self::Nothing,
            DeletedToTrash::Expunged(true) | DeletedToTrash::When(ToTrashWhen::Expunge) => Self::Expunged,
            DeletedToTrash::When(ToTrashWhen::Store) => Self::Deleted,
        }
    }
}

/// What is done for clients that are wrong, by Dovecot's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Workaround {
    DelayNewmail,
    TbExtraMailboxSep,
    /// Done for everybody: LSUB always says what cannot be selected.
    TbLsubFlags,
    /// As `deleted_to_trash = "store"`, which Dovecot has no name for.
    DeletedToTrash,
}

impl Default for Imap {
    fn default() -> Self {
        Self {
            jmap_url: String::new(),
            language: Language::default().tag().into(),
            deleted_to_trash: DeletedToTrash::When(ToTrashWhen::Never),
            progress_milliseconds: 10_000,
            remembered_octets: Options::default().remembered_octets,
            message_limit: 0,
            save_limit: 0,
            workarounds: BTreeMap::new(),
            users: BTreeMap::new(),
        }
    }
}

impl Imap {
    /// The machine's part of it.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        config.jmap_url = Some(self.jmap_url.clone()).filter(|url| !url.is_empty());
        config.preferred_language = Language::from_tag(&self.language).unwrap_or_default();
        config.message_limit = NonZeroU32::new(self.message_limit);
        config.save_limit = NonZeroU32::new(self.save_limit);
        config
    }

    /// The service's part of it.
    pub(crate) fn options(&self, hostname: &str) -> Options {
        let mut options = Options::default();
        options.deleted_to_trash = self.deleted_to_trash.into();
        let users = self.users.iter().map(|(name, user)| (name.clone(), user.deleted_to_trash.into()));
        options.users_to_trash = users.collect();
        options.url_hosts = vec![hostname.to_owned()];
        options.progress_interval = Duration::from_millis(self.progress_milliseconds.into());
        options.remembered_octets = self.remembered_octets;
        for (client, names) in &self.workarounds {
            let mut workarounds = Workarounds::default();
            workarounds.delay_new_mail = names.contains(&Workaround::DelayNewmail);
            workarounds.extra_separator = names.contains(&Workaround::TbExtraMailboxSep);
            options.workarounds.push((client.clone(), workarounds));
            if names.contains(&Workaround::DeletedToTrash) {
                options.clients_to_trash.push((client.clone(), ToTrash::Deleted));
            }
        }
        options
    }

    /// Everything that is wrong, each with what to do.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let fits = |url: &str| {
            let rest = url.strip_prefix("https://").unwrap_or_default();
            !rest.is_empty() && rest.bytes().all(|octet| octet.is_ascii_graphic())
        };
        if !self.jmap_url.is_empty() && !fits(&self.jmap_url) {
            problems.push(format!(
                "imap.jmap_url = {:?} is not a URL like \"https://mail.example.org/.well-known/jmap\"",
                self.jmap_url
            ));
        }
        problems.extend(super::language_problem("imap", &self.language));
        if self.progress_milliseconds == 0 {
            problems.push(
                "imap.progress_milliseconds = 0 would tell of nothing else: use 1 or more, like 10000".into(),
            );
        }
        if self.save_limit > 0 && self.save_limit < self.message_limit {
            // RFC 9738: what a search may find it must be able to save.
            problems.push(format!(
                "imap.save_limit = {} is below imap.message_limit = {}: use that or more, or 0 for none",
                self.save_limit, self.message_limit
            ));
        }
        if self.workarounds.keys().any(String::is_empty) {
            problems.push(
                "imap.workarounds: \"\" is no part of a client's name, like \"Thunderbird\"; \"*\" is every client".into(),
            );
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_and_what_is_right_is_done() {
        assert_eq!(Imap::default().problems(), Vec::<String>::new());
        let wrong: Imap =
            toml::from_str("jmap_url = \"mail\"\nlanguage = \"tlh\"\nprogress_milliseconds = 0\nmessage_limit = 9\nsave_limit = 8\n[workarounds]\n\"\" = []\n")
                .unwrap();
        assert_eq!(wrong.problems().len(), 5);
        let right: Imap = toml::from_str(
            "jmap_url = \"https://a/b\"\nlanguage = \"de\"\n[workarounds]\nOutlook = [\"delay-newmail\", \"tb-lsub-flags\"]\n",
        )
        .unwrap();
        assert!(right.problems().is_empty());
        assert_eq!(right.config().jmap_url.as_deref(), Some("https://a/b"));
        assert_eq!(right.config().preferred_language, Language::German);
        assert!(right.options("a").workarounds_for(Some("outlook")).delay_new_mail);
        assert!(toml::from_str::<Imap>("[workarounds]\n\"*\" = [\"x\"]\n").is_err());
    }
}
