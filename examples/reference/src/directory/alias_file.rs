//! The alias file while the server runs: it is read again when it changes, and what its aliases lead to is looked at.

use std::{collections::HashSet, sync::Arc, time::Duration};

use mailwright::{
    mail_model::ForwardPath,
    relay_policy::{
        alias_file::AliasFile,
        directory::{Directory as Model, Refusal, Target},
    },
};
use tokio_util::sync::CancellationToken;

use super::Directory;

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How many problems are told of; a file with more has one that is behind all of them.
const MOST_PROBLEMS: usize = 100;
/// How many aliases are followed from one, in looking for a circle.
const MOST_FOLLOWED: usize = 1_000;

/// Reads the alias file again when it has changed and is left alone since, until it is stopped.
pub(crate) async fn watch(directory: Arc<Directory>, stop: CancellationToken) {
    let stamp = |directory: &Directory| directory.settings().files.stamp();
    let (mut read, mut last) = (stamp(&directory), stamp(&directory));
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        let found = stamp(&directory);
        // Half of a file that is just being written may well be an alias file.
        if found != read && found == last && found.is_some() {
            let reader = Arc::clone(&directory);
            let reading = tokio::task::spawn_blocking(move || reader.read_aliases()).await;
            if let Ok(Err(error)) = reading {
                tracing::error!(%error, "the aliases stay");
            }
            read = found;
        }
        last = found;
    }
}

/// What an administrator is told of lines that do not count.
pub(crate) fn repeated(file: &AliasFile) -> impl Iterator<Item = String> {
    file.repeated.iter().map(ToString::to_string).take(MOST_PROBLEMS)
}

/// Warns of lines that do not count.
pub(super) fn warn(file: &AliasFile) {
    for repeated in repeated(file) {
        tracing::warn!("the alias file, {repeated}");
    }
}

impl Directory {
    /// What is wrong with the aliases of the file that can be read, and still lead nowhere or round in a circle.
    pub(crate) fn alias_problems(&self) -> Vec<String> {
        let model = self.current();
        let mut names: Vec<&str> = model.file_aliases().map(|(name, _)| name).collect();
        names.sort_unstable();
        let problems = names.into_iter().flat_map(|name| {
            let mut problems = self.unreached(name);
            problems.extend(circle(&model, name));
            problems
        });
        problems.take(MOST_PROBLEMS).collect()
    }

    fn unreached(&self, name: &str) -> Vec<String> {
        let Ok(address) = name.parse() else { return Vec::new() };
        match self.expand(&ForwardPath::Address(address), true) {
            Ok(expansion) => {
                expansion.dangling.iter().map(|address| format!("{name}: nobody has {address}")).collect()
            }
            Err(Refusal::Unknown) => vec![format!("{name}: nobody has any of the addresses it leads to")],
            // Told by itself, with the way round, if the file alone makes it.
            Err(Refusal::Circle) if circle(&self.current(), name).is_some() => Vec::new(),
            Err(Refusal::NoMailbox) => vec![format!("{name}: leads to no mailbox")],
            Err(Refusal::Unreadable(problem)) => vec![format!("{name}: {problem}")],
            Err(refusal) => vec![format!("{name}: {refusal}")],
        }
    }
}

/// The circle of aliases that this one is the first of, in the order of the alphabet. One that names itself means the account of that name.
fn circle(model: &Model, first: &str) -> Option<String> {
    let next = |name: &str| -> Vec<String> {
        let alias = model.file_alias(name);
        let targets = alias.into_iter().flat_map(|alias| &alias.targets);
        let address = |target: &Target| match target {
            Target::Address(address) => Some(model.canonical(address)),
            _ => None,
        };
        targets.filter_map(address).filter(|target| target != name).collect()
    };
    let mut seen: HashSet<String> = HashSet::new();
    let mut waiting: Vec<Vec<String>> = vec![vec![first.to_owned()]];
    while let Some(path) = waiting.pop() {
        let Some(name) = path.last() else { continue };
        for target in next(name) {
            if target == first {
                return Some(format!("{} goes round in a circle", path.join(" -> ") + " -> " + first));
            }
            // A circle is told of once.
            if *target > *first && seen.len() < MOST_FOLLOWED && seen.insert(target.clone()) {
                waiting.push([&path[..], &[target]].concat());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use mailwright::{mail_model::Domain, relay_policy::alias_file};

    use super::*;

    #[test]
    fn circles_are_found_and_told_of_once() {
        let domain: Domain = "a.test".parse().unwrap();
        let file = alias_file::aliases(
            "a: b, ann\nb: c\nc: a, bob\nann: ann, bob\nd: e@b.test, a\nx: \\x, y\ny: z\n",
            &domain,
        );
        let mut model = Model::default();
        model.set_domain(&domain, mailwright::relay_policy::directory::DomainEntry::default());
        model.set_alias_file(&file.unwrap().aliases, std::slice::from_ref(&domain));
        let mut names: Vec<&str> = model.file_aliases().map(|(name, _)| name).collect();
        names.sort_unstable();
        let found: Vec<String> = names.into_iter().filter_map(|name| circle(&model, name)).collect();
        assert_eq!(found, ["a@a.test -> b@a.test -> c@a.test -> a@a.test goes round in a circle"]);
    }
}
