//! What programs of this machine hand mail over by.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where the command `sendmail` reaches the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sendmail {
    /// The socket; one in the data directory if empty.
    pub(crate) socket: PathBuf,
}

impl Sendmail {
    /// The path of the socket, with this data directory.
    pub(crate) fn socket(&self, data: &Path) -> PathBuf {
        if self.socket.as_os_str().is_empty() { data.join("sendmail.sock") } else { self.socket.clone() }
    }
}
