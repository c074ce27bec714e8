//! Aliases in files, users' own forward files, and the programs that mail may be handed to.

use std::path::PathBuf;

use mailwright::mailstore::maildir::Template;
use serde::{Deserialize, Serialize};

use super::{Config, Relay};

/// Files that say where mail goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Aliases {
    /// The alias file; none if empty.
    pub(crate) file: PathBuf,
    /// Where each user's own forward file is, with variables; nobody has one if empty.
    pub(crate) forward: String,
    /// The directory of the programs that aliases and forwards may name; none may be if empty.
    pub(crate) programs: PathBuf,
    /// How long such a program may take.
    pub(crate) program_seconds: u64,
    /// Who runs programs and writes files of the server's aliases when the server runs as root.
    pub(crate) user: String,
    /// Whether the sender of a list with an owner tells which recipient failed.
    pub(crate) verp: bool,
}

/// A program that is a transport.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pipe {
    /// The program and its arguments, with variables.
    pub(crate) command: Vec<String>,
    /// Who runs it when the server runs as root.
    #[serde(default = "nobody")]
    pub(crate) user: String,
    /// How long it may take.
    #[serde(default = "patience")]
    pub(crate) seconds: u64,
}

fn nobody() -> String {
    "nobody".into()
}

const fn patience() -> u64 {
    1_000
}

impl Default for Aliases {
    fn default() -> Self {
        Self {
            file: PathBuf::new(),
            forward: String::new(),
            programs: PathBuf::new(),
            program_seconds: patience(),
            user: nobody(),
            verp: false,
        }
    }
}

impl Aliases {
    /// What is wrong, with so many domains in the configuration and these separators.
    pub(super) fn problems(&self, domains: usize, separators: &str) -> Vec<String> {
        let mut problems = Vec::new();
        if self.verp && separators.is_empty() {
            problems
                .push("[aliases] verp needs separators: reports come back to OWNER+recipient=domain".into());
        }
        match Template::new(&self.forward) {
            _ if self.forward.is_empty() => {}
            Err(error) => problems.push(format!("[aliases] forward = {:?}: {error}", self.forward)),
            Ok(template) if domains > 1 && !template.tells_domains_apart() => problems.push(format!(
                "[aliases] forward = {:?} would give users of the same name in different domains the same file: use %u, or %d with %n",
                self.forward
            )),
            Ok(_) => {}
        }
        if self.program_seconds == 0 {
            problems.push("[aliases] program_seconds must be at least 1".into());
        }
        let programs = &self.programs;
        if !programs.as_os_str().is_empty() && !programs.is_dir() {
            problems.push(format!(
                "[aliases] programs = {:?} is no directory: make it, and put links to the programs into it that mail may be handed to",
                programs.display().to_string()
            ));
        }
        problems
    }
}

impl Relay {
    /// What is wrong with programs that are transports.
    pub(super) fn pipe_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, pipe) in &self.pipes {
            if !pipe.command.first().is_some_and(|program| program.starts_with('/')) {
                problems.push(format!(
                    "[relay.pipes.{name}] command needs the absolute path of a program first, such as [\"/usr/local/bin/archive\", \"${{recipient}}\"]"
                ));
            }
            if let Some(wrong) = pipe.command.iter().find_map(|word| crate::local::unknown_variable(word)) {
                problems.push(format!(
                    "[relay.pipes.{name}] command: there is no variable ${{{wrong}}}; there are {}",
                    crate::local::VARIABLES.join(", ")
                ));
            }
            if pipe.seconds == 0 {
                problems.push(format!("[relay.pipes.{name}] seconds must be at least 1"));
            }
        }
        for (key, hop) in &self.transport {
            if let Some(name) =
                hop.trim().strip_prefix("pipe:").filter(|name| !self.pipes.contains_key(*name))
            {
                problems.push(format!(
                    "relay.transport: {key} goes to pipe:{name}, but there is no [relay.pipes.{name}] with a command"
                ));
            }
        }
        problems
    }
}

impl Config {
    /// The domain of names without one.
    pub(crate) fn origin(&self) -> &str {
        match &*self.origin {
            "" => self.domains.first().map_or(&self.hostname, |domain| domain),
            origin => origin,
        }
    }
}
