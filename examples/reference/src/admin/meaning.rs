//! What an address stands for.

use mailwright::{
    mail_model::ForwardPath,
    relay_policy::{delivery::LocalKind, directory::Refusal},
};
use serde::{Deserialize, Serialize};

use crate::directory::{Directory, DirectoryError};

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

/// What `address` stands for, and what a stranger is told who writes to it.
pub(super) fn meaning(directory: &Directory, address: &str) -> Result<AddressMeaning, DirectoryError> {
    let path = if address.eq_ignore_ascii_case("postmaster") {
        ForwardPath::Postmaster
    } else {
        ForwardPath::Address(address.parse().map_err(|_| DirectoryError::Name(address.to_owned()))?)
    };
    let reply = |refusal: Refusal| refusal.reply(address).to_string().trim_end().to_owned();
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
