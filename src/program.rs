//! Programs of others, and what they are started with.

use std::{ffi::OsStr, path::Path};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// A program with its arguments: without a shell, in the root directory, with nothing of the server's environment but a `PATH`,
/// and ended when nobody waits for it any more.
pub(crate) fn program(path: &Path, arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(path);
    command.args(arguments).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.current_dir("/").kill_on_drop(true);
    command
}

/// A program that leads a group of its own, and what it has started: all of them are killed when nobody waits any more.
pub(crate) struct Group(Option<Pid>);

impl Group {
    /// Of one that was started with `process_group(0)`. It is to be dropped before the child, so that its number is nobody else's.
    pub(crate) fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)))
    }

    /// It has ended by itself: what it may have left running is meant to.
    pub(crate) fn has_ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
