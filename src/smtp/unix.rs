//! Listening on sockets of the file system: what programs of this machine speak over.

use std::{sync::Arc, time::Duration};

use mailwright_mailstore::accounts::Accounts;
use mailwright_relay_policy::Session as Conversation;
use tokio::{net::UnixListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Inbox, Smtp};
use crate::{Admission, Admitted, listen::Probation};

/// How many connections one socket of the file system has at once; more wait.
const MOST: usize = 1000;

impl<I: Inbox + 'static, A: Accounts + 'static> Smtp<I, A> {
    /// Serves every connection of a socket of the file system until it is stopped. Who may connect, its permissions say; nobody there
    /// has an address. They count with all others, but are not refused where there are too many: they wait. `tasks` then knows when
    /// the last connection is gone.
    pub async fn serve_unix(
        self: Arc<Self>,
        listener: UnixListener,
        admission: Arc<Admission>,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) {
        let room = Arc::new(Semaphore::new(MOST));
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((socket, _)) => {
                    let admitted = tokio::select! {
                        admitted = place_for_one(&admission) => Arc::new(admitted),
                        () = stop.cancelled() => return,
                    };
                    let probation = Probation::new(Some(Arc::clone(&admitted)));
                    let (service, stop) = (Arc::clone(&self), stop.clone());
                    tasks.spawn(async move {
                        service.serve_one(socket.into(), Conversation::default(), probation, stop).await;
                        drop((admitted, place));
                    });
                }
                Err(error) => {
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Waits until there is a place for a connection from this machine.
async fn place_for_one(admission: &Arc<Admission>) -> Admitted {
    loop {
        match admission.admit_local() {
            Ok(admitted) => return admitted,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
