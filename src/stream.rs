//! What services speak over.

use std::io::{self, IoSlice};

use bytes::BytesMut;
use tokio::net::{TcpStream, UnixStream};

use crate::{Pipe, connection::Socket};

/// What a service speaks over.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stream {
    /// The network.
    Tcp(TcpStream),
    /// This machine.
    Unix(UnixStream),
    /// Memory.
    Pipe(Pipe),
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Self::Tcp(socket)
    }
}

impl From<UnixStream> for Stream {
    fn from(socket: UnixStream) -> Self {
        Self::Unix(socket)
    }
}

impl From<Pipe> for Stream {
    fn from(pipe: Pipe) -> Self {
        Self::Pipe(pipe)
    }
}

impl Socket for Stream {
    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => Socket::readable(socket).await,
            Self::Unix(socket) => Socket::readable(socket).await,
            Self::Pipe(pipe) => pipe.readable().await,
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => Socket::writable(socket).await,
            Self::Unix(socket) => Socket::writable(socket).await,
            Self::Pipe(pipe) => pipe.writable().await,
        }
    }

    fn try_read_buf(&self, buffer: &mut BytesMut, size: usize) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => Socket::try_read_buf(socket, buffer, size),
            Self::Unix(socket) => Socket::try_read_buf(socket, buffer, size),
            Self::Pipe(pipe) => pipe.try_read_buf(buffer, size),
        }
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => Socket::try_write_vectored(socket, slices),
            Self::Unix(socket) => Socket::try_write_vectored(socket, slices),
            Self::Pipe(pipe) => pipe.try_write_vectored(slices),
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => Socket::close(socket).await,
            Self::Unix(socket) => Socket::close(socket).await,
            Self::Pipe(pipe) => pipe.close().await,
        }
    }
}
