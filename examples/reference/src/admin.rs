//! What can be asked of the server while it runs, or of its data while it does not.

use serde::{Deserialize, Serialize};

use crate::directory::{Directory, DirectoryError};

/// A request to change or show something. One JSON object a line on the control socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
#[expect(clippy::enum_variant_names, reason = "domains, aliases and the queue are to follow users")]
pub(crate) enum Request {
    UserAdd { name: String, password: Hidden },
    UserList,
    UserPassword { name: String, password: Hidden },
    UserRemove { name: String },
    UserImport { entries: Vec<ImportEntry>, replace: bool },
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
    Users { users: Vec<UserEntry> },
    Imported { added: usize, replaced: usize, skipped: usize },
    Failed { message: String },
}

/// An account, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserEntry {
    pub(crate) name: String,
    /// The scheme of its password.
    pub(crate) scheme: String,
}

/// Does it. Slow where passwords are hashed: not for an async thread.
pub(crate) fn execute(directory: &Directory, request: Request) -> Response {
    let outcome = match request {
        Request::UserAdd { name, password } => directory.add(&name, &password.0).map(|()| Response::Done),
        Request::UserList => Ok(Response::Users { users: directory.list() }),
        Request::UserPassword { name, password } => {
            directory.set_password(&name, &password.0).map(|()| Response::Done)
        }
        Request::UserRemove { name } => directory.remove(&name).map(|()| Response::Done),
        Request::UserImport { entries, replace } => directory.import(&entries, replace),
    };
    outcome.unwrap_or_else(|error: DirectoryError| Response::Failed { message: error.to_string() })
}
