//! A socket of the network or of this machine.

use std::io::{self, IoSlice};

use bytes::BytesMut;
use tokio::net::{TcpStream, UnixStream};

use crate::connection::Socket;

/// Either of the two.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket for Stream {
    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => Socket::readable(socket).await,
            Self::Unix(socket) => Socket::readable(socket).await,
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => Socket::writable(socket).await,
            Self::Unix(socket) => Socket::writable(socket).await,
        }
    }

    fn try_read_buf(&self, buffer: &mut BytesMut, size: usize) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => Socket::try_read_buf(socket, buffer, size),
            Self::Unix(socket) => Socket::try_read_buf(socket, buffer, size),
        }
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => Socket::try_write_vectored(socket, slices),
            Self::Unix(socket) => Socket::try_write_vectored(socket, slices),
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.close().await,
            Self::Unix(socket) => socket.close().await,
        }
    }
}
