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
/// How long a request may take to come, and after how long whoever waits for an answer is told that it is not there yet.
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
        Err(error) => return Err(named(data, error)),
    };
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let answer = answer(&stream, PATIENCE, || {
        eprintln!(
            "mailwrightd: the server is still at it; interrupted here, it goes on and says in its log what it did"
        );
    })?;
    Ok(Some(serde_json::from_slice(&answer)?))
}

/// The answer, however long it takes: a request that was given up would be done all the same. Each time that it is not
/// there in time, somebody is told.
fn answer(stream: &UnixStream, patience: Duration, mut waiting: impl FnMut()) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(patience))?;
    let (mut reader, mut answer) = (BufReader::new(stream), Vec::new());
    loop {
        match reader.read_until(b'\n', &mut answer) {
            Ok(_) if answer.ends_with(b"\n") => return Ok(answer),
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it ended before it answered; whether it did what it was asked shows when it runs again",
                ));
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                waiting()
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The octets that the name of a socket may have, which the system counts in its own way: Linux's are the most.
const LONGEST_PATH: usize = 107;

/// What is wrong with this directory of data, as far as its socket is concerned.
pub(crate) fn problem(data: &Path) -> Option<String> {
    let path = path(data);
    (path.as_os_str().len() > LONGEST_PATH).then(|| {
        format!(
            "{} has more than the {LONGEST_PATH} octets that the name of a socket may have: choose a shorter `data`",
            path.display()
        )
    })
}

fn named(data: &Path, error: io::Error) -> io::Error {
    problem(data).map_or(error, io::Error::other)
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
    let listener = UnixListener::bind(&path).map_err(|error| named(data, error))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_waited_for_and_one_that_does_not_come_is_told() {
        let (asked, asks) = UnixStream::pair().unwrap();
        let (told, heard) = std::sync::mpsc::channel();
        let server = thread::spawn(move || {
            // The second part comes when it has been said twice that the server is at it.
            (&asked).write_all(b"{\"half\"").unwrap();
            heard.iter().take(2).for_each(drop);
            (&asked).write_all(b":1}\n").unwrap();
            (&asked).write_all(b"{").unwrap();
        });
        let patience = Duration::from_millis(10);
        let got = answer(&asks, patience, || told.send(()).unwrap_or_default()).unwrap();
        assert_eq!(got, b"{\"half\":1}\n");
        server.join().unwrap();
        let error = answer(&asks, patience, || {}).unwrap_err();
        assert!(error.to_string().contains("ended before it answered"), "{error}");
    }

    #[test]
    fn a_directory_with_too_long_a_name_is_told() {
        let long = Path::new("/srv").join("x".repeat(LONGEST_PATH));
        assert!(problem(&long).unwrap().contains("choose a shorter `data`"));
        let room = "/srv/".len() + "/control.sock".len();
        let longest = Path::new("/srv").join("x".repeat(LONGEST_PATH - room));
        assert_eq!(problem(&longest), None);
        assert!(ask(&long, &Request::UserList).unwrap_err().to_string().contains("shorter `data`"));
    }
}
