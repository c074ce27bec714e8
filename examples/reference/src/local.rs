//! Mail that is handed to files and programs of this machine: what aliases and forwards lead to, and programs that are transports.
//!
//! Everything comes here from the queue, so what fails for now is tried again, and what fails for good is told to the sender.

mod append;
mod maildir;
mod program;
mod users;

use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    time::Duration,
};

use mailwright::{
    mail_model::Address,
    mailstore::{QueueEntry, QueueRecipient},
    queue::{Pipes, Place},
    relay_policy::delivery::{CommandLine, Diagnosis, Identity, LocalKind, LocalTarget},
    smtp::{delivered_to, return_path},
    smtp_proto::Reply,
};
use tokio::io::AsyncRead;

use crate::config::Config;

pub(crate) use append::run as append;
pub(crate) use users::Users;

/// What stands in the arguments of a transport for something of the message.
pub(crate) const VARIABLES: [&str; 8] =
    ["sender", "recipient", "user", "extension", "domain", "original_recipient", "queue_id", "size"];

/// The first variable of a word that there is none of.
pub(crate) fn unknown_variable(word: &str) -> Option<String> {
    let mut rest = word;
    while let Some((_, behind)) = rest.split_once("${") {
        let (name, behind) = behind.split_once('}')?;
        if !VARIABLES.contains(&name) {
            return Some(name.to_owned());
        }
        rest = behind;
    }
    None
}

/// What hands mail over.
pub(crate) struct Local {
    /// The directory of the programs that aliases may name.
    programs: Option<PathBuf>,
    patience: Duration,
    /// Whose rights the server's own aliases have; none: the server's.
    identity: Option<Identity>,
    pipes: BTreeMap<String, Pipe>,
    separators: String,
    users: Users,
}

/// A transport.
struct Pipe {
    command: Vec<String>,
    identity: Option<Identity>,
    patience: Duration,
}

type Handing<'a> = Pin<Box<dyn Future<Output = Result<(), Diagnosis>> + Send + 'a>>;
type Content<'a> = Pin<Box<dyn AsyncRead + Send + 'a>>;

impl Local {
    /// As it is configured.
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let users = Users;
        let whose = |key: &str, name: &str| -> Result<Option<Identity>, String> {
            if !rustix::process::geteuid().is_root() {
                return Ok(None);
            }
            let user =
                users.by_name(name).ok_or_else(|| format!("{key} = {name:?}: there is no such user"))?;
            Ok(Some(user.identity))
        };
        let aliases = &config.aliases;
        let mut pipes = BTreeMap::new();
        for (name, pipe) in &config.relay.pipes {
            let identity = whose(&format!("[relay.pipes.{name}] user"), &pipe.user)?;
            let patience = Duration::from_secs(pipe.seconds);
            pipes.insert(name.clone(), Pipe { command: pipe.command.clone(), identity, patience });
        }
        let programs = Some(aliases.programs.clone()).filter(|path| !path.as_os_str().is_empty());
        let used = programs.is_some() || !aliases.file.as_os_str().is_empty() || !aliases.forward.is_empty();
        Ok(Self {
            programs,
            patience: Duration::from_secs(aliases.program_seconds),
            // Who has no such files need not have such a user.
            identity: if used {
                whose("[aliases] user", &aliases.user)?
            } else {
                whose("", "nobody").ok().flatten()
            },
            pipes,
            separators: config.separators.clone(),
            users,
        })
    }

    async fn transport(
        &self,
        name: &str,
        entry: &QueueEntry,
        recipient: &QueueRecipient,
        body: Content<'_>,
    ) -> Result<(), Diagnosis> {
        let Some(pipe) = self.pipes.get(name) else {
            return Err(later((3, 5), format!("There is no [relay.pipes.{name}] in the configuration")));
        };
        let facts = Facts::of(entry, recipient, &self.separators);
        let mut words = Vec::new();
        for word in &pipe.command {
            let filled = facts.fill(word);
            // An address that looks like an option is one to the program.
            if filled.starts_with('-') && !word.starts_with('-') {
                let reply = Reply::permanent(
                    (1, 3),
                    "An address that begins with a hyphen cannot be handed to a program",
                );
                return Err(Diagnosis::found(reply));
            }
            words.push(filled);
        }
        let Some((program, arguments)) = words.split_first() else {
            return Err(later((3, 5), "The transport has no command"));
        };
        let run = program::Run { program: Path::new(program), arguments, patience: pipe.patience };
        let user = self.acting(pipe.identity)?;
        run.with(&facts, user, body).await
    }

    async fn target(
        &self,
        target: &LocalTarget,
        entry: &QueueEntry,
        recipient: &QueueRecipient,
        body: Content<'_>,
    ) -> Result<(), Diagnosis> {
        let facts = Facts::of(entry, recipient, &self.separators);
        let user = self.acting(target.identity.or(self.identity))?;
        match &target.kind {
            LocalKind::File(path) => append::deliver(Path::new(path), &facts, user, body).await,
            LocalKind::Command(line) => {
                let line = CommandLine::parse(line).map_err(|error| later((3, 5), error.to_string()))?;
                let program = self.allowed(line.program()).map_err(|text| later((3, 5), text))?;
                let run =
                    program::Run { program: &program, arguments: line.arguments(), patience: self.patience };
                run.with(&facts, user, body).await
            }
            _ => Err(later((3, 5), "Nothing is known that could deliver this")),
        }
    }

    /// The program of this name in the directory of those that are allowed. As with sendmail's smrsh, what stands before the
    /// last slash is left out, so that aliases of other systems work.
    fn allowed(&self, program: &str) -> Result<PathBuf, String> {
        let Some(directory) = &self.programs else {
            return Err("Programs are not enabled here ([aliases] programs)".into());
        };
        let name = program.rsplit('/').next().unwrap_or_default();
        if matches!(name, "" | "." | "..") {
            return Err(format!("{program:?} is not the name of a program"));
        }
        let path = directory.join(name);
        if path.is_file() {
            Ok(path)
        } else {
            Err(format!("The program {name} is not one that aliases may name"))
        }
    }

    /// Whom to be for that; none: whoever we are.
    fn acting(&self, identity: Option<Identity>) -> Result<Acting, Diagnosis> {
        let ours = rustix::process::geteuid();
        let user = identity.map_or_else(|| ours.as_raw(), |identity| identity.user);
        let found = self.users.by_number(user);
        let switch = identity.filter(|identity| identity.user != ours.as_raw());
        match switch {
            Some(_) if !ours.is_root() => {
                let text = format!("The server would have to be root to act as user {user}");
                Err(later((3, 5), text))
            }
            // Nothing that a message sets going is root's.
            _ if user == 0 => Err(later((3, 5), "Nothing is handed over with the rights of root")),
            switch => Ok(Acting {
                switch,
                name: found.as_ref().map(|user| user.name.clone()),
                home: found.map(|user| user.home),
            }),
        }
    }
}

impl Pipes for Local {
    fn run<'a>(
        &'a self,
        place: &'a Place,
        entry: &'a QueueEntry,
        recipient: &'a QueueRecipient,
        body: Content<'a>,
    ) -> Handing<'a> {
        Box::pin(async move {
            match place {
                Place::Transport(name) => self.transport(name, entry, recipient, body).await,
                Place::Target(target) => self.target(target, entry, recipient, body).await,
                _ => Err(later((3, 5), "Nothing is known that could deliver this")),
            }
        })
    }
}

/// Whom we are while we hand something over.
struct Acting {
    /// Whose rights to take on; none: ours will do.
    switch: Option<Identity>,
    name: Option<String>,
    home: Option<PathBuf>,
}

/// What programs are told of a message.
struct Facts {
    sender: String,
    recipient: Address,
    original: String,
    id: String,
    size: u64,
    extension: String,
    local: String,
    /// Fields for the front of the message.
    fields: String,
}

impl Facts {
    fn of(entry: &QueueEntry, recipient: &QueueRecipient, separators: &str) -> Self {
        let address = recipient.address.clone();
        let local = address.local().unquoted().to_owned();
        let (user, extension) = match local.find(|letter| separators.contains(letter)) {
            Some(at) if at > 0 => {
                let (user, rest) = local.split_at_checked(at).unwrap_or((&local, ""));
                (user.to_owned(), rest.chars().skip(1).collect())
            }
            _ => (local, String::new()),
        };
        let original = recipient.original.as_deref().and_then(|original| original.split_once(';'));
        Self {
            sender: entry.sender.address().map(ToString::to_string).unwrap_or_default(),
            original: original.map_or_else(|| address.to_string(), |(_, original)| original.to_owned()),
            id: entry.id.clone(),
            size: entry.size.saturating_sub(entry.skip),
            extension,
            local: user,
            fields: format!("{}{}", return_path(&entry.sender), delivered_to(&address)),
            recipient: address,
        }
    }

    fn value(&self, name: &str) -> String {
        match name {
            "sender" => self.sender.clone(),
            "recipient" => self.recipient.to_string(),
            "user" => self.local.clone(),
            "extension" => self.extension.clone(),
            "domain" => self.recipient.domain().as_str().to_owned(),
            "original_recipient" => self.original.clone(),
            "queue_id" => self.id.clone(),
            "size" => self.size.to_string(),
            _ => String::new(),
        }
    }

    /// A word with what its variables stand for; what they stand for is not looked into again.
    fn fill(&self, word: &str) -> String {
        let (mut filled, mut rest) = (String::new(), word);
        while let Some((before, behind)) = rest.split_once("${") {
            filled.push_str(before);
            let Some((name, behind)) = behind.split_once('}') else {
                filled.push_str("${");
                rest = behind;
                continue;
            };
            filled.push_str(&self.value(name));
            rest = behind;
        }
        filled.push_str(rest);
        filled
    }
}

/// To be tried again.
fn later(detail: (u16, u16), text: impl Into<String>) -> Diagnosis {
    let text: String = text.into();
    tracing::warn!(text, "mail cannot be handed over now");
    Diagnosis::found(Reply::transient(detail, text))
}

#[cfg(test)]
mod tests {
    use mailwright::mail_model::ReversePath;

    use super::*;

    fn facts(to: &str) -> Facts {
        let sender = ReversePath::parse(b"<ann@a.example>").unwrap();
        let entry = QueueEntry::new("1D", sender, "pipe:x", 7);
        Facts::of(&entry, &QueueRecipient::new(to.parse().unwrap()), "+")
    }

    #[test]
    fn variables_stand_for_what_they_say_once() {
        let facts = facts("bob+${sender}@b.example");
        for (word, filled) in [
            ("${sender}", "ann@a.example"),
            ("--to=${recipient}", "--to=bob+${sender}@b.example"),
            ("${user}/${extension}@${domain}", "bob/${sender}@b.example"),
            ("${", "${"),
            ("$user", "$user"),
            ("${queue_id}${size}", "1D0"),
        ] {
            assert_eq!(facts.fill(word), filled, "{word}");
        }
        assert_eq!(unknown_variable("a${sender}b${nope}"), Some("nope".into()));
        assert_eq!(unknown_variable("${sender} $x ${"), None);
    }

    #[test]
    fn nothing_outside_the_directory_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("filter"), "").unwrap();
        let mut config = Config::default();
        config.aliases.programs = folder.path().to_owned();
        let local = Local::new(&config).unwrap();
        for name in ["filter", "/usr/bin/filter", "../../filter"] {
            assert_eq!(local.allowed(name).unwrap(), folder.path().join("filter"), "{name}");
        }
        for name in ["", "/", "..", "/bin/sh", "sh", "filter/.."] {
            assert!(local.allowed(name).is_err(), "{name}");
        }
    }
}
