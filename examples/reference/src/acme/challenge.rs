//! Where the authority sees that a name is ours (RFC 8555 §8.3).

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time,
};
use tokio_util::sync::CancellationToken;

use super::room::Room;

/// The longest head of a request.
const LONGEST: usize = 8 * 1024;
/// How many are answered at once, and how long one may take.
const AT_ONCE: usize = 64;
const PATIENCE: Duration = Duration::from_secs(10);
const PLACE: &str = "/.well-known/acme-challenge/";

/// What is shown now: key authorizations by their tokens.
type Table = Arc<Mutex<HashMap<String, String>>>;

/// A web server that shows challenges and nothing else.
pub(super) struct Challenges(Table);

/// Something that is shown until this is dropped.
pub(super) struct Shown {
    table: Table,
    token: String,
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
    }
}

impl Challenges {
    /// Serves at this address until told to stop.
    pub(super) async fn listen(address: SocketAddr, stop: CancellationToken) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        tracing::info!(protocol = "acme-http", address = %bound, "listening");
        let table = Table::default();
        tokio::spawn(serve(listener, Arc::clone(&table), stop));
        Ok(Self(table))
    }

    /// Shows a key authorization at its token's place.
    pub(super) fn show(&self, token: &str, authorization: &str) -> Shown {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.insert(token.to_owned(), authorization.to_owned());
        Shown { table: Arc::clone(&self.0), token: token.to_owned() }
    }
}

async fn serve(listener: TcpListener, table: Table, stop: CancellationToken) {
    let room = Room::new(AT_ONCE);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, from)) = accepted else {
            // No descriptors, most likely: others give theirs back.
            time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (table, ended) = (Arc::clone(&table), CancellationToken::new());
        let end = ended.clone();
        let place = room.enter(from.ip(), move || end.cancel());
        tokio::spawn(async move {
            let answering = time::timeout(PATIENCE, answer(socket, &table));
            let _ = ended.run_until_cancelled(answering).await;
            drop(place);
        });
    }
}

async fn answer(mut socket: TcpStream, table: &Table) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > LONGEST || socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let shown = token(&head)
        .and_then(|token| table.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned());
    let (status, body) = match shown {
        Some(authorization) => ("200 OK", authorization),
        None => ("404 Not Found", String::new()),
    };
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    socket.write_all(text.as_bytes()).await?;
    socket.shutdown().await
}

/// The token that is asked for.
fn token(head: &[u8]) -> Option<&str> {
    let line = head.split(|octet| *octet == b'\r').next()?;
    let (path, version) = std::str::from_utf8(line).ok()?.strip_prefix("GET ")?.split_once(' ')?;
    version.starts_with("HTTP/1.").then_some(path)?.strip_prefix(PLACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As anybody can connect, so many must not keep the authority out.
    #[tokio::test]
    async fn the_authority_is_answered_whoever_holds_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (table, stop) = (Table::default(), CancellationToken::new());
        table.lock().unwrap().insert("a".into(), "a.proof".into());
        tokio::spawn(serve(listener, table, stop.clone()));
        let mut idle = Vec::new();
        for _ in 0..2 * AT_ONCE {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let mut authority = TcpStream::connect(address).await.unwrap();
        authority.write_all(b"GET /.well-known/acme-challenge/a HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        authority.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("a.proof"), "{answer:?}");
        stop.cancel();
    }

    #[test]
    fn only_tokens_are_found() {
        let ask = |line: &str| token(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()).map(str::to_owned);
        assert_eq!(ask("GET /.well-known/acme-challenge/a-B_9 HTTP/1.1").as_deref(), Some("a-B_9"));
        for line in [
            "GET / HTTP/1.1",
            "POST /.well-known/acme-challenge/a HTTP/1.1",
            "GET /.well-known/acme-challenge/a HTTP/2",
            "GET /.well-known/acme-challenge/a",
            "",
        ] {
            assert_eq!(ask(line), None, "{line}");
        }
    }
}
