//! The admin server's socket: TCP or a unix one, blocking. It says nothing about what goes over it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use ringway_control_client::Accepted;
use ringway_model::{Address, Pipe};

/// Connections that wait to be accepted: what std asks for over TCP, too.
const BACKLOG: i32 = 128;

/// What is accepted from.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Listens at `address`, and says where that is: port 0 has become one.
    ///
    /// # Errors
    /// What the kernel said of the address.
    pub(super) fn bind(address: &Address) -> io::Result<(Listener, Address)> {
        match address {
            Address::Ip(ip) => {
                let listener = TcpListener::bind(ip)?;
                let bound = Address::Ip(listener.local_addr()?);
                Ok((Listener::Tcp(listener), bound))
            }
            Address::Pipe(Pipe { path, mode }) => {
                let socket = ringway_runtime::bind_unix(path, *mode, |_| Ok(()))?;
                ringway_runtime::start_listening(socket.as_fd(), BACKLOG)?;
                Ok((Listener::Unix(UnixListener::from(socket)), address.clone()))
            }
        }
    }

    pub(super) fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => Ok(Stream::Tcp(listener.accept()?.0)),
            Listener::Unix(listener) => Ok(Stream::Unix(listener.accept()?.0)),
        }
    }
}

/// A client's connection.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(super) fn set_read_timeout(&self, time: Duration) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(time)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(time)),
        }
    }

    pub(super) fn set_write_timeout(&self, time: Duration) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_write_timeout(Some(time)),
            Stream::Unix(stream) => stream.set_write_timeout(Some(time)),
        }
    }

    /// For who waits for it without blocking.
    pub(super) fn accepted(self) -> Accepted {
        match self {
            Stream::Tcp(stream) => Accepted::Tcp(stream),
            Stream::Unix(stream) => Accepted::Unix(stream),
        }
    }

    /// Nothing more is written.
    pub(super) fn finish(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(piece),
            Stream::Unix(stream) => stream.read(piece),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
