//! What an address stands for.

use mailwright::{
    mail_model::ForwardPath,
    relay_policy::{
        delivery::LocalKind,
        directory::{OnwardReason, Refusal},
    },
    smtp_proto::Reply,
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
    /// Why nobody can tell what it stands for; empty if somebody can.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) problem: String,
}

/// What `address` stands for, and what a stranger is told who writes to it.
pub(super) fn meaning(directory: &Directory, address: &str) -> Result<AddressMeaning, DirectoryError> {
    let path = if address.eq_ignore_ascii_case("postmaster") {
        ForwardPath::Postmaster
    } else {
        ForwardPath::Address(address.parse().map_err(|_| DirectoryError::Name(address.to_owned()))?)
    };
    let refusal = match directory.expand(&path, false) {
        // It leads through us, and not for everybody.
        Ok(expansion) => {
            let through = expansion.onward.iter().any(|onward| onward.reason == OnwardReason::Remote);
            through.then(|| Reply::RELAY_DENIED.to_string())
        }
        Err(refusal) => Some(refusal.reply(address).to_string()),
    };
    let refusal = refusal.unwrap_or_default().trim_end().to_owned();
    let mut meaning = AddressMeaning { refusal, ..AddressMeaning::default() };
    let expansion = match directory.expand(&path, true) {
        Ok(expansion) => expansion,
        Err(Refusal::Unreadable(problem)) => return Ok(AddressMeaning { problem, ..meaning }),
        Err(_) => return Ok(meaning),
    };
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
