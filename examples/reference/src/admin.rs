//! What can be asked of the server while it runs, or of its data while it does not.

use std::sync::Arc;

use mailwright::{mail_model::ForwardPath, relay_policy::delivery::LocalKind};
use serde::{Deserialize, Serialize};

use crate::{
    directory::{AccountRow, Directory, DirectoryError, DirectoryFile, Edit},
    dkim::{DkimRequest, KeyEntry},
    fetch::{Fetch, FetchRequest, FetchResponse},
    health::Health,
    life::{Life, LifeRequest, LifeResponse},
    live::{self, BanEntry, Live, LiveRequest},
    queue::{self, Access, QueueRequest, QueueResponse},
    rules::{Question, Rules},
    sieve::{self, SieveRequest, SieveResponse},
};

/// A request to change or show something. One JSON object a line on the control socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub(crate) enum Request {
    UserAdd {
        name: String,
        password: Hidden,
        mailbox: bool,
    },
    UserList,
    UserPassword {
        name: String,
        password: Hidden,
        /// What opens the account's mail now, if that is encrypted.
        #[serde(default)]
        old: Option<Hidden>,
    },
    /// Encrypt an account's mail by this password, or none that comes from now on.
    UserEncrypt {
        name: String,
        password: Option<Hidden>,
    },
    UserRemove {
        name: String,
    },
    UserImport {
        entries: Vec<ImportEntry>,
        replace: bool,
    },
    /// Domains, aliases, groups, and what becomes of accounts' mail.
    Edit(Edit),
    DirectoryExport,
    DirectoryImport {
        file: DirectoryFile,
        only: bool,
    },
    /// What an address stands for.
    Address {
        address: String,
    },
    /// What would become of a message.
    Explain(Question),
    /// What only a running server can answer.
    Live(LiveRequest),
    /// The address of this local part in every domain.
    Proposed {
        local: String,
    },
    /// Mail that waits to be sent on.
    Queue(QueueRequest),
    /// What mailboxes hold, and for how long.
    Life(LifeRequest),
    /// Accounts elsewhere.
    Fetch(FetchRequest),
    /// What scripts do.
    Sieve(SieveRequest),
    /// Keys that sign.
    Dkim(DkimRequest),
    /// The alias file is to be read again.
    ReadAliases,
}

/// A password on its way, which `Debug` does not show.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Hidden(pub(crate) String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("..")
    }
}

/// One line of a passwd-file.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ImportEntry {
    pub(crate) name: String,
    /// `{SCHEME}hash`.
    pub(crate) password: String,
}

impl std::fmt::Debug for ImportEntry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ImportEntry({:?}, ..)", self.name)
    }
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case")]
pub(crate) enum Response {
    Done,
    Users {
        users: Vec<UserEntry>,
    },
    Imported {
        added: usize,
        replaced: usize,
        skipped: usize,
    },
    Directory {
        file: DirectoryFile,
    },
    Written {
        entries: usize,
    },
    /// The alias file is in use, though not everything in it may be.
    AliasesRead {
        entries: usize,
        problems: Vec<String>,
    },
    Address(AddressMeaning),
    /// Stage, rule and outcome.
    Explained {
        stages: Vec<(String, String, String)>,
    },
    Proposed {
        addresses: Vec<String>,
    },
    Health {
        health: Health,
    },
    /// What opens encrypted mail beside the password; told once.
    RecoveryKey {
        key: Hidden,
    },
    Bans {
        bans: Vec<BanEntry>,
    },
    Queue(QueueResponse),
    Life(LifeResponse),
    Fetch(FetchResponse),
    Sieve(SieveResponse),
    Keys {
        keys: Vec<KeyEntry>,
    },
    Failed {
        message: String,
    },
}

/// What an address stands for, as it is shown.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct AddressMeaning {
    /// The mailboxes, with the detail behind the separator.
    pub(crate) mailboxes: Vec<String>,
    /// The folders that groups share.
    pub(crate) shared: Vec<String>,
    /// The addresses elsewhere.
    pub(crate) onward: Vec<String>,
    /// Files that it is appended to.
    #[serde(default)]
    pub(crate) files: Vec<String>,
    /// Programs that it is handed to.
    #[serde(default)]
    pub(crate) programs: Vec<String>,
    /// Targets that nobody has.
    pub(crate) dangling: Vec<String>,
    /// What a stranger is told who writes to it; empty if it is taken.
    pub(crate) refusal: String,
}

/// An account, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserEntry {
    pub(crate) name: String,
    /// The scheme of its password.
    pub(crate) scheme: String,
    /// What becomes of its mail.
    #[serde(flatten)]
    pub(crate) mail: AccountRow,
}

/// Does it. Slow where passwords are hashed: not for an async thread.
pub(crate) fn execute(
    directory: &Arc<Directory>,
    queue: &Access,
    live: Option<&Live>,
    life: &Life,
    fetch: &Fetch,
    rules: Option<&Rules>,
    request: Request,
) -> Response {
    let outcome = match request {
        Request::Queue(request) => {
            return match queue::answer(queue, request) {
                Ok(response) => Response::Queue(response),
                Err(error) => Response::Failed { message: error.to_string() },
            };
        }
        Request::Sieve(request) => {
            let explained = life.filter.as_ref().map_err(Clone::clone).and_then(|filter| {
                sieve::execute(directory, &life.store, filter, &request).map_err(|error| error.to_string())
            });
            return explained.map_or_else(|message| Response::Failed { message }, Response::Sieve);
        }
        Request::Fetch(request) => {
            return match fetch.execute(request) {
                Ok(response) => Response::Fetch(response),
                Err(error) => Response::Failed { message: error.to_string() },
            };
        }
        Request::Life(request) => {
            return match life.execute(request) {
                Ok(response) => Response::Life(response),
                Err(error) => Response::Failed { message: error.to_string() },
            };
        }
        Request::Dkim(request) => {
            return match directory.keys.execute(&request) {
                Ok(keys) => Response::Keys { keys },
                Err(error) => Response::Failed { message: error.to_string() },
            };
        }
        Request::UserAdd { name, password, mailbox } => {
            directory.add(&name, &password.0, mailbox).map(|()| Response::Done)
        }
        Request::UserList => Ok(Response::Users { users: directory.list() }),
        Request::UserPassword { name, password, old } => {
            let old = old.as_ref().map(|old| &*old.0);
            directory.set_password(&name, &password.0, old).map(|()| Response::Done)
        }
        Request::UserEncrypt { name, password: Some(password) } => {
            let key = directory.encrypt(&name, &password.0);
            key.map(|key| Response::RecoveryKey { key: Hidden(key.as_str().to_owned()) })
        }
        Request::UserEncrypt { name, password: None } => {
            directory.stop_encrypting(&name).map(|()| Response::Done)
        }
        Request::UserRemove { name } => {
            let user = directory.account(&name).map(|account| account.user.clone());
            let removed = directory.remove(&name);
            // Whatever is fetched for them ends here; it is not looked at again before they are back.
            if let (Ok(user), Ok(())) = (user, &removed)
                && let Err(error) = fetch.ask_again(user.as_str())
            {
                tracing::error!(%user, %error, "what is fetched for a removed user goes on to its next look");
            }
            removed.map(|()| Response::Done)
        }
        Request::UserImport { entries, replace } => directory.import(&entries, replace),
        Request::Edit(edit) => directory.edit(edit).map(|()| Response::Done),
        Request::ReadAliases => directory.read_aliases().map(|entries| {
            let problems = directory.alias_problems();
            Response::AliasesRead { entries, problems }
        }),
        Request::DirectoryExport => Ok(Response::Directory { file: directory.export() }),
        Request::DirectoryImport { file, only } => {
            directory.import_file(&file, only).map(|entries| Response::Written { entries })
        }
        Request::Address { address } => meaning(directory, &address).map(Response::Address),
        Request::Explain(question) => match rules.or_else(|| live.map(|live| &*live.rules)) {
            Some(rules) => {
                rules.explain(directory, queue, &question).map(|stages| Response::Explained { stages })
            }
            None => return Response::Failed { message: "there are no rules to ask".into() },
        },
        Request::Live(request) => Ok(live::execute(live, &request)),
        Request::Proposed { local } => {
            let addresses = directory.current().proposed(&local).map(|address| address.to_string()).collect();
            Ok(Response::Proposed { addresses })
        }
    };
    outcome.unwrap_or_else(|error: DirectoryError| Response::Failed { message: error.to_string() })
}

fn meaning(directory: &Directory, address: &str) -> Result<AddressMeaning, DirectoryError> {
    let path = if address.eq_ignore_ascii_case("postmaster") {
        ForwardPath::Postmaster
    } else {
        ForwardPath::Address(address.parse().map_err(|_| DirectoryError::Name(address.to_owned()))?)
    };
    let reply = |refusal: mailwright::relay_policy::directory::Refusal| {
        refusal.reply(address).to_string().trim_end().to_owned()
    };
    let refusal = directory.expand(&path, false).err().map(reply).unwrap_or_default();
    let mut meaning = AddressMeaning { refusal, ..AddressMeaning::default() };
    let Ok(expansion) = directory.expand(&path, true) else { return Ok(meaning) };
    for delivery in expansion.deliveries {
        let name = match delivery.detail {
            Some(detail) => format!("{} ({detail})", delivery.account),
            None => delivery.account,
        };
        if delivery.shared { meaning.shared.push(name) } else { meaning.mailboxes.push(name) }
    }
    meaning.onward = expansion.onward.iter().map(|onward| onward.to.to_string()).collect();
    for handed in &expansion.handed {
        let whose = match handed.target.identity {
            Some(identity) => format!("  (as user {})", identity.user),
            None => String::new(),
        };
        match &handed.target.kind {
            LocalKind::File(path) => meaning.files.push(format!("{path}{whose}")),
            LocalKind::Command(line) => meaning.programs.push(format!("{line}{whose}")),
            _ => {}
        }
    }
    meaning.dangling = expansion.dangling.iter().map(ToString::to_string).collect();
    Ok(meaning)
}
