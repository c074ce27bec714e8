//! Programs of others, and what they are started with.

use std::{ffi::OsStr, path::Path};

use tokio::process::Command;

/// A program with its arguments: without a shell, in the root directory, with nothing of the server's environment but a `PATH`,
/// and ended when nobody waits for it any more.
pub(crate) fn program(path: &Path, arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(path);
    command.args(arguments).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.current_dir("/").kill_on_drop(true);
    command
}
