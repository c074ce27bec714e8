//! Sockets of the network and of this machine's file system.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
};

use mailwright::Listener;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

/// How many connections wait to be accepted.
const BACKLOG: i32 = 1024;

/// What a service accepts connections at.
pub(super) enum Accept {
    Network(Listener),
    Unix(UnixListener),
}

/// A socket for connections of this address's family alone: `[::]` does not take in those of `0.0.0.0`, so that both can be listened at,
/// as Postfix and Dovecot do it, and no client has an address that is not what it seems.
pub(crate) fn tcp_socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// A socket for other programs. One that a dead server has left is replaced; one that somebody listens on is not.
pub(crate) fn auth_socket(path: &Path, mode: Option<u32>) -> io::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there already"));
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something else than a socket is there",
            ));
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(listener)
}
