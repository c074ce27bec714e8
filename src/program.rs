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

/// A program that leads a group of processes, and what it has started: dropped, it kills them all with SIGKILL, unless
/// [`has_ended`](Self::has_ended) was said. What `kill_on_drop` does ends the program alone.
///
/// ```
/// use mailwright::ProcessGroup;
/// use tokio::process::Command;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let mut child = Command::new("true").process_group(0).spawn()?;
/// let group = ProcessGroup::of(&child);
/// // Whoever stops waiting here, at a timeout perhaps, leaves nothing behind.
/// let status = child.wait().await?;
/// group.has_ended();
/// assert!(status.success());
/// # Ok::<(), std::io::Error>(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "dropped, it kills the program"]
pub struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    /// Of a child that was started with `process_group(0)`. It is to be dropped before the child, so that its number is nobody
    /// else's.
    pub fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)))
    }

    /// It has ended by itself: what it may have left running is meant to.
    pub fn has_ended(mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
