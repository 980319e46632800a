//! Options of sockets, as the configuration has them, on their way to the kernel.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ringway_model::{Address, ListenSocket, Outgoing, SocketOption, SocketState};
use ringway_runtime as runtime;

/// Binds one socket of a listener. A unix socket has no group; the others of the group bind the same address.
///
/// # Errors
/// What the kernel said of the socket, an option or the address.
pub(crate) fn listener(address: &Address, socket: &ListenSocket) -> io::Result<OwnedFd> {
    let before = |fd: BorrowedFd<'_>| set(fd, address, &socket.options, SocketState::Prebind);
    let fd = match address {
        Address::Ip(ip) => runtime::bind_with(*ip, true, socket.takes_ipv4, before)?,
        Address::Pipe(pipe) => runtime::bind_unix(&pipe.path, pipe.mode, before)?,
    };
    set(fd.as_fd(), address, &socket.options, SocketState::Bound)?;
    Ok(fd)
}

/// Prepares a socket that is about to connect to `address`.
///
/// # Errors
/// What the kernel said of an option or the source.
pub(crate) fn prepare(fd: BorrowedFd<'_>, address: &Address, outgoing: &Outgoing) -> io::Result<()> {
    set(fd, address, &outgoing.options, SocketState::Prebind)?;
    match address.ip().and_then(|target| outgoing.source_for(target)) {
        Some(source) => runtime::bind_source(fd, source),
        None => Ok(()),
    }
}

fn set(fd: BorrowedFd<'_>, address: &Address, options: &[SocketOption], when: SocketState) -> io::Result<()> {
    /// The one level that unix sockets have.
    const SOL_SOCKET: i32 = 1;
    let fits = |option: &&SocketOption| option.when == when && (address.ip().is_some() || option.level == SOL_SOCKET);
    options.iter().filter(fits).try_for_each(|option| runtime::set_option(fd, option.level, option.name, &option.value))
}
