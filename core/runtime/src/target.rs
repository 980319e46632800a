//! Where a socket is bound or connects to.

use std::net::SocketAddr;

/// An address, borrowed: the kernel copies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// TCP.
    Ip(SocketAddr),
    /// A unix socket: a path of at most 107 bytes or, after `@`, a name of the abstract namespace (unix(7)).
    Unix(&'a str),
}

impl From<SocketAddr> for Target<'_> {
    fn from(address: SocketAddr) -> Self {
        Target::Ip(address)
    }
}
