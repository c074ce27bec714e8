//! Sieve at delivery: the server's scripts before and after the one that is active for the account.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mailwright_mailstore::{Scripts, Store, Upload, User};
use mailwright_sieve::{Input, Language, Limits, Options, Outcome, Program, Run, Step, extension, vacation};
use tokio::sync::Semaphore;

use super::{
    Claim, Converter, Filter, Filtered, Lists, Mail, Owns, Programs, Remember, Seen, Snoozing, Zone, actions,
    answers::Host,
    claims::Claims,
    header_of, pipes,
    scores::{SpamField, VirusField},
    stopwatch::Stopwatch,
    user_log::Turns,
};
use crate::imap::{ForeignNames, Groups};

/// How many programs of scripts run at once; others wait.
const AT_ONCE: usize = 16;
/// So many recipients that a header names are looked at for the user's own addresses.
const MOST_NAMED: usize = 1_000;
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
    FilterOptions::default().language()
}

/// What a filter has that not every filter has.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct FilterOptions {
    /// Where the score of a spam filter is: `spamtest` and `spamtestplus` (RFC 5235).
    pub spam: Option<SpamField>,
    /// Where the result of a virus scanner is: `virustest`.
    pub virus: Option<VirusField>,
    /// Whether scripts run when messages in mailboxes change: `imapsieve` (RFC 6785). Needs an [`Imap`](crate::imap::Imap) that
    /// [tells](crate::imap::Imap::with_events) what happens.
    pub events: bool,
    /// Programs that scripts may start: `vnd.dovecot.pipe`, `vnd.dovecot.filter` and `vnd.dovecot.execute`.
    pub programs: Option<Programs>,
    /// Lists that scripts may look into: `extlists` (RFC 6134).
    pub lists: Option<Lists>,
    /// What converts parts of messages: `convert` (RFC 6558).
    pub converter: Option<Converter>,
    /// Where messages are noted that come back later: `snooze`. Needs a store that [takes rows](mailwright_mailstore::Write::takes_rows),
    /// and an [`Alarm`](super::Alarm).
    pub snooze: Option<Snoozing>,
    /// The time zone of the users: that of `currentdate` and `date` (RFC 5260 §4.1), and of `snooze` where it names none. UTC unless it
    /// is set.
    pub zone: Zone,
    /// What scripts may know of the configuration, by names of letters, digits, `-`, `_` and `.`: the name `support` is the item
    /// `vnd.dovecot.config.support` of `vnd.dovecot.environment`. Names do not differ by case, nor by `-` and `_`.
    pub environment: BTreeMap<String, String>,
    /// What is decided about extensions: the periods of `vacation` and `duplicate`, the header fields that scripts leave alone.
    pub extensions: Arc<Options>,
    /// Extensions that users' scripts may not use, by their names; the server's own scripts may.
    pub disabled: Vec<String>,
    /// What a script may cost.
    pub limits: Limits,
    /// For how long the scripts of one message may run together, but for what they wait for: the store, and programs. None for no bound but
    /// that of [`Limits::instructions`].
    pub time: Option<Duration>,
}

impl FilterOptions {
    /// What users' scripts may use with these.
    pub fn language(&self) -> Language {
        let language = self.with_programs(|programs| !programs.server_only);
        self.disabled.iter().fold(language, |language, name| language.without(name))
    }

    /// What the server's own scripts may use.
    pub fn server_language(&self) -> Language {
        self.with_programs(|_| true)
    }

    /// What scripts may use that are not run by an event, on messages that are here already (draft-bosch-imap-filter-sieve §4.9).
    fn refilter_language(&self) -> Language {
        self.language().without("imapsieve")
    }

    /// RFC 6785 §3.11: what is for delivery only cannot even be required.
    fn event_language(&self) -> Language {
        ["reject", "ereject", "vacation", "vacation-seconds"]
            .into_iter()
            .fold(self.language(), Language::without)
    }

    fn with_programs(&self, may: impl Fn(&Programs) -> bool) -> Language {
        let mut without = Vec::new();
        if self.lists.is_none() {
            without.push("extlists");
        }
        if !self.events {
            without.push("imapsieve");
        }
        if self.spam.is_none() {
            without.extend(["spamtest", "spamtestplus"]);
        }
        if self.virus.is_none() {
            without.push("virustest");
        }
        let mut language = without.into_iter().fold(Language::standard(), Language::without);
        if self.converter.is_some() {
            language = language.with(extension::convert());
        }
        if self.snooze.is_some() {
            language = language.with(extension::snooze());
        }
        language = language.limited(self.limits.clone());
        match self.programs.as_ref().is_some_and(may) {
            true => extension::programs().into_iter().fold(language, Language::with),
            false => language,
        }
    }
}

/// Which script it is that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScriptOrigin {
    /// This one of the server's before the user's, from 0.
    Before(usize),
    /// The user's own, by its name.
    Personal(String),
    /// The one for users who have none.
    Default,
    /// This one of the server's after the user's, from 0.
    After(usize),
}

/// What would be done with a message, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The scripts that there are for the user, in order. One runs if the message is still to be kept when its turn comes.
    pub scripts: Vec<ScriptOrigin>,
    /// Why the user's own is not among them, although there is one.
    pub problem: Option<String>,
    /// What they want, each step in [`Outcome::trace`]; `None` if there are no scripts, and the message is kept.
    pub outcome: Option<Outcome>,
}

/// The script that runs for the user, and why there is none although the user has one.
pub(super) struct Personal {
    program: Option<(ScriptOrigin, Arc<Program>)>,
    pub(super) problem: Option<String>,
}

impl Personal {
    const fn unusable(problem: String) -> Self {
        Self { program: None, problem: Some(problem) }
    }
}

/// The hash of a script's name and text, and its program if it is right.
type Compiled = (u64, Option<Arc<Program>>);

/// Filters by Sieve. The scripts of the users are those of the store's [`Scripts`] facet.
pub struct SieveFilter<S, M> {
    pub(super) store: S,
    pub(super) memory: M,
    pub(super) hostname: String,
    pub(super) language: Language,
    /// What scripts may use that run because of an event.
    pub(super) event_language: Language,
    /// What scripts may use that clients have run.
    pub(super) refilter_language: Language,
    pub(super) options: FilterOptions,
    pub(super) server: ServerScripts,
    /// Programs that may run now.
    pub(super) turns: Semaphore,
    /// By user, and whether it is for events.
    compiled: Mutex<HashMap<(User, bool), Compiled>>,
    claims: Claims,
    /// What programs are being given messages for.
    pub(super) giving: Claims,
    pub(super) telling: Turns,
    /// What users call the mailboxes of others.
    pub(super) names: ForeignNames,
}

impl<S: Store, M: Remember> SieveFilter<S, M> {
    /// Filters for the users of a store. `hostname` is in the identifiers of messages that scripts make.
    pub fn new(store: S, memory: M, hostname: impl Into<String>) -> Self {
        let (options, server) = (FilterOptions::default(), ServerScripts::default());
        let (language, event_language) = (options.language(), options.event_language());
        let refilter_language = options.refilter_language();
        Self {
            store,
            memory,
            hostname: hostname.into(),
            language,
            event_language,
            refilter_language,
            options,
            server,
            turns: Semaphore::new(AT_ONCE),
            compiled: Mutex::default(),
            claims: Claims::default(),
            giving: Claims::default(),
            telling: Turns::default(),
            names: ForeignNames::default(),
        }
    }

    /// The same, with what it has more.
    #[must_use]
    pub fn with_options(mut self, options: FilterOptions) -> Self {
        self.language = options.language();
        self.event_language = options.event_language();
        self.refilter_language = options.refilter_language();
        self.options = options;
        self
    }

    /// The same, with groups: what their members file into the group's mailboxes goes there. Give it what the
    /// [`Imap`](crate::imap::Imap::with_groups) has.
    #[must_use]
    pub fn with_groups(mut self, groups: Arc<dyn Groups>) -> Self {
        self.names = ForeignNames::with_groups(groups);
        self
    }

    /// The same, with scripts of the server.
    #[must_use]
    pub fn with_server_scripts(mut self, server: ServerScripts) -> Self {
        self.server = server;
        self
    }

    /// What runs at delivery, in order.
    pub(super) fn delivery_programs(&self, personal: Personal) -> Vec<Arc<Program>> {
        let personal = personal.program.map(|(_, program)| program);
        let before = self.server.before.iter().cloned();
        before.chain(personal).chain(self.server.after.iter().cloned()).collect()
    }

    /// Says what would be done with a message, and why; nothing is done. Programs that scripts ask (`filter`, `execute`) are
    /// run, since what comes next depends on them.
    pub async fn explain(&self, mail: &mut Mail<'_>) -> Explanation {
        let personal = self.personal(mail.account).await;
        let numbered = |programs: &[Arc<Program>], origin: fn(usize) -> ScriptOrigin| {
            let programs = programs.iter().enumerate();
            programs.map(|(place, program)| (origin(place), Arc::clone(program))).collect::<Vec<_>>()
        };
        let mut all = numbered(&self.server.before, ScriptOrigin::Before);
        all.extend(personal.program);
        all.extend(numbered(&self.server.after, ScriptOrigin::After));
        let (scripts, programs) = all.into_iter().unzip();
        let outcome = self.run_all(mail, programs, true).await.map(|(outcome, _)| outcome);
        Explanation { scripts, problem: personal.problem, outcome }
    }

    pub(super) async fn run_all(
        &self,
        mail: &mut Mail<'_>,
        mut programs: Vec<Arc<Program>>,
        trace: bool,
    ) -> Option<(Outcome, Vec<Mutex<Upload>>)> {
        if programs.is_empty() {
            return None;
        }
        let mut input = Input::new(Arc::clone(&mail.structure), self.options.zone.write(mail.now));
        input.envelope = mail.envelope.clone();
        input.addresses = vec![mail.account.as_str().to_owned()];
        if let Some(Owns(is_own)) = mail.owns {
            let is_own = |address: &str| address.parse().ok().and_then(|address| is_own(&address));
            // RFC 5230 §4.5: the address of a group or a catch-all is nobody's own.
            input.shared_recipient = mail.envelope.to.as_deref().and_then(is_own) == Some(false);
            let header = header_of(mail.upload, &mail.structure).await;
            let named = vacation::recipients(&header).take(MOST_NAMED);
            let known = named.chain(mail.envelope.from.clone());
            input.addresses.extend(known.filter(|address| is_own(address) == Some(true)));
        }
        input.trace = trace;
        input.options = Arc::clone(&self.options.extensions);
        if let Some(event) = &mail.event {
            input.event = true;
            input.flags.clone_from(&event.flags);
        }
        if let Some(again) = &mail.again {
            input.flags = again.flags.iter().map(|flag| flag.to_string()).collect();
        }
        let rest = programs.split_off(1);
        let first = programs.pop()?;
        let run = Run::with_limits(first, input, self.options.limits.clone());
        let mut run = rest.into_iter().fold(run, Run::then);
        let watch = self.options.time.map(Stopwatch::new);
        if let Some(watch) = watch.clone() {
            run = run.until(move || watch.is_over());
        }
        let mut host = Host::new(self, mail);
        loop {
            watch.iter().for_each(Stopwatch::start);
            let step = run.poll();
            watch.iter().for_each(Stopwatch::stop);
            match step {
                Step::Done(outcome) => {
                    let (sources, problems) = host.finish();
                    // Who only asks what would be done hears it at once.
                    if !trace && outcome.error.is_none() {
                        self.tell(mail.account, mail.now, problems).await;
                    }
                    return Some((*outcome, sources));
                }
                Step::Need(request) => {
                    let answer = host.answer(request).await;
                    run.answer(answer);
                }
            }
        }
    }

    /// A key of a user's that is to be remembered from one moment to another; `known` if it is already.
    pub(super) fn seen(&self, user: &User, key: &str, (now, until): (u64, u64), known: bool) -> Seen {
        let seen = Seen::new(user.clone(), key, until);
        match known {
            true => seen.with_row(self.memory.row(user, key, until)),
            false => seen.first_since(now).with_row(self.memory.first_row(user, key, now, until)),
        }
    }

    /// What programs are told of the message.
    pub(super) fn environment(&self, mail: &Mail<'_>) -> Vec<(&'static str, String)> {
        let mut known = vec![("USER", mail.account.as_str().to_owned()), ("HOST", self.hostname.clone())];
        let envelope = [("SENDER", &mail.envelope.from), ("RECIPIENT", &mail.envelope.to)];
        known.extend(envelope.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        known
    }

    /// The user's active script, or what stands in for it where there is none. Nothing stands in for one that cannot be used: its owner
    /// wants something else than the default, and what that is nobody knows, so the message is kept.
    pub(super) async fn personal(&self, user: &User) -> Personal {
        let default = self.server.default.clone().map(|program| (ScriptOrigin::Default, program));
        let Some(scripts) = self.store.scripts() else { return Personal { program: default, problem: None } };
        match scripts.active_script(user).await {
            Ok(Some((name, text))) => {
                let name = name.to_string();
                match self.compile(user, &name, &text) {
                    Some(program) => {
                        let program = Some((ScriptOrigin::Personal(name), program));
                        Personal { program, problem: None }
                    }
                    None => {
                        let error = self.language.compile(&text).err();
                        let error = error.map(|error| error.to_string()).unwrap_or_default();
                        Personal::unusable(format!("the script \"{name}\" is not right: {error}"))
                    }
                }
            }
            Ok(None) => Personal { program: default, problem: None },
            Err(error) => {
                tracing::error!(%user, %error, "the sieve script cannot be read; the message is kept");
                Personal::unusable(format!("the script cannot be read: {error}"))
            }
        }
    }

    /// Compiles a user's script, once for as long as it stays the same.
    fn compile(&self, user: &User, name: &str, text: &[u8]) -> Option<Arc<Program>> {
        self.compile_for(user, name, text, false)
    }

    /// The same, for delivery or for an event.
    pub(super) fn compile_for(
        &self,
        user: &User,
        name: &str,
        text: &[u8],
        event: bool,
    ) -> Option<Arc<Program>> {
        let key = (user.clone(), event);
        let language = if event { &self.event_language } else { &self.language };
        let mut hasher = DefaultHasher::new();
        (name, text).hash(&mut hasher);
        let hash = hasher.finish();
        {
            let compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((known, program)) = compiled.get(&key)
                && *known == hash
            {
                return program.clone();
            }
        }
        let program = match language.compile(text) {
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
        compiled.insert(key, (hash, program.clone()));
        program
    }
}

impl<S: Store, M: Remember> Filter for SieveFilter<S, M> {
    async fn filter(&self, mail: &mut Mail<'_>) -> Filtered {
        let personal = self.personal(mail.account).await;
        if let Some(problem) = &personal.problem {
            self.tell(mail.account, mail.now, [format!("{problem}; mail is kept")]).await;
        }
        let programs = self.delivery_programs(personal);
        match pipes::run_claimed(self, mail, programs).await {
            Some((outcome, sources)) => actions::carry_out(self, mail, outcome, sources).await,
            None => Filtered::keep(),
        }
    }

    async fn claim(&self, seen: &[Seen]) -> Option<Claim> {
        let claim =
            self.claims.take(seen.iter().map(|seen| (seen.user.clone(), seen.key.clone())).collect()).await;
        let meanwhile = |seen: &Seen| {
            // Where nobody can tell, nothing has changed.
            seen.since
                .is_some_and(|since| self.memory.remembers(&seen.user, &seen.key, since).unwrap_or(false))
        };
        (!seen.iter().any(meanwhile)).then_some(claim)
    }

    async fn remember(&self, seen: &Seen) {
        if let Err(error) = self.memory.remember(&seen.user, &seen.key, seen.until).await {
            tracing::error!(user = %seen.user, %error, "what the sieve script has seen cannot be remembered");
        }
    }
}

impl<S, M> std::fmt::Debug for SieveFilter<S, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SieveFilter").field("server", &self.server).finish_non_exhaustive()
    }
}
