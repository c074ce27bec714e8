//! Sieve at delivery: the server's scripts before and after the one that is active for the account.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use mailwright_mailstore::{Scripts, Store, User};
use mailwright_sieve::{Input, Language, Limits, Outcome, Program, Run, Step};

use super::{Filter, Filtered, Mail, Remember, actions, answers::Host};

/// How many compiled scripts are kept.
const KEPT: usize = 10_000;

/// The scripts of the server.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ServerScripts {
    /// Run before the user's, in order.
    pub before: Vec<Arc<Program>>,
    /// Run after the user's, as long as the message is still to be kept.
    pub after: Vec<Arc<Program>>,
    /// Run in the place of the user's, for those who have none.
    pub default: Option<Arc<Program>>,
    /// Those that users' scripts may include (RFC 6609 `:global`).
    pub included: HashMap<String, Arc<Program>>,
}

/// What scripts may use here: everything that needs nothing this filter does not have. ManageSieve must check scripts
/// with the same.
pub fn language() -> Language {
    [
        "extlists",
        "snooze",
        "spamtest",
        "spamtestplus",
        "virustest",
        "envelope-deliverby",
        "redirect-deliverby",
        "redirect-dsn",
        "imapsieve",
        "vnd.dovecot.report",
    ]
    .into_iter()
    .fold(Language::standard(), Language::without)
}

/// The hash of a script's name and text, and its program if it is right.
type Compiled = (u64, Option<Arc<Program>>);

/// Filters by Sieve. The scripts of the users are those of the store's [`Scripts`] facet.
pub struct SieveFilter<S, M> {
    pub(super) store: S,
    pub(super) memory: M,
    pub(super) hostname: String,
    pub(super) language: Language,
    pub(super) server: ServerScripts,
    compiled: Mutex<HashMap<User, Compiled>>,
}

impl<S: Store, M: Remember> SieveFilter<S, M> {
    /// Filters for the users of a store. `hostname` is in the identifiers of messages that scripts make.
    pub fn new(store: S, memory: M, hostname: impl Into<String>) -> Self {
        let (language, server) = (language(), ServerScripts::default());
        Self { store, memory, hostname: hostname.into(), language, server, compiled: Mutex::default() }
    }

    /// The same, with scripts of the server.
    #[must_use]
    pub fn with_server_scripts(mut self, server: ServerScripts) -> Self {
        self.server = server;
        self
    }

    /// Runs what is to be run for this message, without doing what it says.
    pub async fn run(&self, mail: &mut Mail<'_>, trace: bool) -> Option<Outcome> {
        let personal = self.personal(mail.account).await;
        let mut programs = self.server.before.iter().cloned();
        let mut programs: Vec<Arc<Program>> =
            programs.by_ref().chain(personal).chain(self.server.after.iter().cloned()).collect();
        if programs.is_empty() {
            return None;
        }
        let mut input = Input::new(Arc::clone(&mail.structure), mail.now);
        input.envelope = mail.envelope.clone();
        input.addresses = vec![mail.account.as_str().to_owned()];
        input.trace = trace;
        let rest = programs.split_off(1);
        let first = programs.pop()?;
        let run = Run::with_limits(first, input, Limits::default());
        let mut run = rest.into_iter().fold(run, Run::then);
        let mut host = Host::new(self, mail);
        loop {
            match run.poll() {
                Step::Done(outcome) => return Some(*outcome),
                Step::Need(request) => {
                    let answer = host.answer(request).await;
                    run.answer(answer);
                }
            }
        }
    }

    /// The user's active script, or what stands in for it.
    async fn personal(&self, user: &User) -> Option<Arc<Program>> {
        let default = || self.server.default.clone();
        let Some(scripts) = self.store.scripts() else { return default() };
        match scripts.active_script(user).await {
            Ok(Some((name, text))) => self.compile(user, &name.to_string(), &text).or_else(default),
            Ok(None) => default(),
            Err(error) => {
                tracing::error!(%user, %error, "the sieve script cannot be read; the message is kept");
                default()
            }
        }
    }

    /// Compiles a user's script, once for as long as it stays the same.
    pub(super) fn compile(&self, user: &User, name: &str, text: &[u8]) -> Option<Arc<Program>> {
        let mut hasher = DefaultHasher::new();
        (name, text).hash(&mut hasher);
        let hash = hasher.finish();
        {
            let compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((known, program)) = compiled.get(user)
                && *known == hash
            {
                return program.clone();
            }
        }
        let program = match self.language.compile(text) {
            Ok(program) => Some(Arc::new(program)),
            Err(error) => {
                tracing::warn!(%user, script = name, %error, "the sieve script is not right; the message is kept");
                None
            }
        };
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if compiled.len() >= KEPT {
            compiled.clear();
        }
        compiled.insert(user.clone(), (hash, program.clone()));
        program
    }
}

impl<S: Store, M: Remember> Filter for SieveFilter<S, M> {
    async fn filter(&self, mail: &mut Mail<'_>) -> Filtered {
        match self.run(mail, false).await {
            Some(outcome) => actions::carry_out(self, mail, outcome).await,
            None => Filtered::keep(),
        }
    }
}

impl<S, M> std::fmt::Debug for SieveFilter<S, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SieveFilter").field("server", &self.server).finish_non_exhaustive()
    }
}
