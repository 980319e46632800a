//! Where somebody listens.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// `envoy.config.core.v3.Address`, as far as connections are made to it or accepted at it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `socket_address`: TCP.
    Ip(SocketAddr),
    /// `pipe`: a unix socket.
    Pipe(Pipe),
}

/// `envoy.config.core.v3.Pipe`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pipe {
    /// `path`. With `@` before it: a name of the abstract namespace, which no file has.
    pub path: Arc<str>,
    /// `mode`: the file's permissions. 0: those that the process's umask leaves.
    pub mode: u32,
}

impl Address {
    /// The IP address and port, where it has them.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Address::Ip(address) => Some(*address),
            Address::Pipe(_) => None,
        }
    }

    /// The path, where it is a unix socket.
    pub fn pipe(&self) -> Option<&Pipe> {
        match self {
            Address::Ip(_) => None,
            Address::Pipe(pipe) => Some(pipe),
        }
    }

    /// Whether each socket bound to it gets a port of its own.
    pub fn is_of_any_port(&self) -> bool {
        self.ip().is_some_and(|address| address.port() == 0)
    }
}

/// As Envoy writes it: `127.0.0.1:80`, `[::1]:80`, the path.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Pipe(pipe) => f.write_str(&pipe.path),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Ip(address)
    }
}

impl<I: Into<IpAddr>> From<(I, u16)> for Address {
    fn from(address: (I, u16)) -> Self {
        Address::Ip(address.into())
    }
}
