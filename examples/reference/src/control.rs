//! The control socket: how commands reach a server that runs.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use mailwright::mailstore::embedded::Embedded;

use crate::{
    admin::{Administration, Request, Response},
    backup,
    live::Current,
};

/// The longest request: thousands of accounts to import fit.
const LONGEST: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the socket of a data directory is.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// Asks the server that runs on this data directory; `None` if none does.
pub(crate) fn ask(data: &Path, request: &Request) -> io::Result<Option<Response>> {
    let mut stream = match UnixStream::connect(path(data)) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(Some(serde_json::from_str(&answer)?))
}

/// Listens on the socket, each connection in a thread of its own: requests are rare, and hashing takes its time.
///
/// Whoever owns the data directory may connect, and nobody else.
pub(crate) fn listen(data: &Path, store: Embedded, current: Arc<Current>) -> io::Result<()> {
    let runtime = tokio::runtime::Handle::current();
    let path = path(data);
    // The data directory is locked by now, so a socket that is there already is a dead server's.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    thread::Builder::new().name("control".into()).spawn(move || {
        for stream in listener.incoming() {
            let (administration, store, runtime) = (current.get(), store.clone(), runtime.clone());
            let served = stream.and_then(|stream| {
                thread::Builder::new().name("control".into()).spawn(move || {
                    // Stores may hand what blocks to its threads.
                    let _runtime = runtime.enter();
                    if let Err(error) = serve(&stream, &store, &administration) {
                        tracing::warn!(%error, "a control connection failed");
                    }
                })
            });
            if let Err(error) = served {
                tracing::warn!(%error, "cannot serve a control connection");
                thread::sleep(Duration::from_millis(100));
            }
        }
    })?;
    Ok(())
}

fn serve(stream: &UnixStream, store: &Embedded, administration: &Administration) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(io::Read::take(stream, LONGEST)).read_line(&mut line)?;
    if let Ok(work) = serde_json::from_str::<backup::Work>(&line) {
        tracing::info!(?work, "control");
        return backup::serve_one(stream, store, &administration.life, &work);
    }
    let response = match serde_json::from_str::<Request>(&line) {
        Ok(request) => {
            tracing::info!(?request, "control");
            administration.execute(request)
        }
        Err(error) => Response::refused(format!("the request is not understood: {error}")),
    };
    let mut answer = serde_json::to_vec(&response)?;
    answer.push(b'\n');
    (&mut &*stream).write_all(&answer)
}
