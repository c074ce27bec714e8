//! What is known of the system's clock goes from one run of the server to the next, so that a clock that is wrong at the start is noticed, too.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use mailwright::mailstore::clock;
use tokio_util::sync::CancellationToken;

/// The file in the data directory. No table of the database: that looks at the clock when it is opened.
const FILE: &str = "clock";
/// How often the clock is looked at.
const LOOK: Duration = Duration::from_secs(60);
/// At which looks what is known is written down.
const KEEP: u32 = 10;

/// Goes on from what an earlier run knew. Without that the clock is believed.
pub(crate) fn resume(data: &Path) {
    if let Ok(kept) = fs::read(data.join(FILE)) {
        clock::resume(&kept);
    }
}

/// Looks at the clock until it is to stop, tells of its jumps, and writes down what is known.
pub(crate) async fn watch(data: PathBuf, stop: CancellationToken) {
    let mut doubted = false;
    for look in 0_u32.. {
        let now = clock::read();
        if now.is_in_doubt() && !doubted {
            tracing::warn!(
                shown = now.shown(),
                expected = now.expected(),
                "the clock has jumped: until it has gone on like this for a day, nothing is removed because of it"
            );
        } else if doubted && !now.is_in_doubt() {
            tracing::info!(now = now.shown(), "the clock is believed again");
        }
        doubted = now.is_in_doubt();
        let stopping = stop.is_cancelled();
        if (stopping || look.is_multiple_of(KEEP))
            && let Err(error) = keep(&data)
        {
            tracing::error!(%error, "what is known of the clock cannot be written down");
        }
        if stopping {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn keep(data: &Path) -> io::Result<()> {
    let (new, file) = (data.join(format!("{FILE}.new")), data.join(FILE));
    let mut options = OpenOptions::new();
    let mut written = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    written.write_all(&clock::to_keep())?;
    written.sync_data()?;
    fs::rename(new, file)
}
