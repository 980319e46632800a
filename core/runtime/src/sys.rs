//! The system calls that std does not have, as safe functions over plain descriptors.
//!
//! None of them blocks: sockets are made non-blocking, and what could wait says so.

use std::io;
use std::mem::{ManuallyDrop, MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use libc::{c_int, c_long, c_void, socklen_t};

use crate::target::Target;

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_size(result: isize) -> Result<usize, i32> {
    if result < 0 { Err(errno()) } else { Ok(result as usize) }
}

/// The thread's error number.
pub(crate) fn errno() -> i32 {
    // SAFETY: errno's address is valid for the thread's life.
    unsafe { *libc::__errno_location() }
}

/// Takes a fresh descriptor from a call that made it.
fn owned(fd: c_int) -> OwnedFd {
    // SAFETY: the kernel just gave this descriptor to us alone.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// An eventfd(2).
pub(crate) type Event = OwnedFd;

pub(crate) fn eventfd() -> io::Result<Event> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }).map(owned)
}

pub(crate) fn eventfd_write(fd: &Event) {
    let one = 1u64;
    // SAFETY: eight bytes from a local. A full counter (EAGAIN) is as good as a written one.
    let _ = unsafe { libc::write(fd.as_raw_fd(), (&raw const one).cast(), 8) };
}

pub(crate) fn eventfd_drain(fd: &Event) {
    let mut count = 0u64;
    // SAFETY: eight bytes into a local. Nothing to read (EAGAIN) is fine.
    let _ = unsafe { libc::read(fd.as_raw_fd(), (&raw mut count).cast(), 8) };
}

/// Closes a descriptor held as a number (a socket slot's).
pub(crate) fn close(fd: RawFd) {
    debug_assert!(fd >= 0);
    drop(owned(fd));
}

/// Takes a number out of a slot as an owned descriptor.
pub(crate) fn adopt(fd: RawFd) -> OwnedFd {
    assert!(fd >= 0, "a slot's descriptor is open");
    owned(fd)
}

/// Nanoseconds of the monotonic clock: clock_gettime(2), which the vdso answers without a system call.
#[inline]
pub(crate) fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a local to write to. It cannot fail: Linux has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The clock that counts this thread's CPU time; other threads of the process may read it, too.
pub(crate) fn thread_cpu_clock() -> Option<libc::clockid_t> {
    let mut clock = 0;
    // SAFETY: this thread, and a local to write to.
    let result = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
    (result == 0).then_some(clock)
}

/// Reads a clock; `None` when there is no such clock, as when a thread has ended.
pub(crate) fn clock(clock: libc::clockid_t) -> Option<std::time::Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a local to write to.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (result == 0).then(|| std::time::Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// A non-blocking stream socket of the address's family.
pub(crate) fn stream_socket(address: Target<'_>) -> io::Result<OwnedFd> {
    let (family, protocol) = match address {
        Target::Ip(SocketAddr::V4(_)) => (libc::AF_INET, libc::IPPROTO_TCP),
        Target::Ip(SocketAddr::V6(_)) => (libc::AF_INET6, libc::IPPROTO_TCP),
        Target::Unix(_) => (libc::AF_UNIX, 0),
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no memory is passed.
    check(unsafe { libc::socket(family, kind, protocol) }).map(owned)
}

pub(crate) fn set_option(fd: RawFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let size = size_of::<c_int>() as socklen_t;
    // SAFETY: `value` is a local of the size given.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size) }).map(drop)
}

/// An option of any kind.
pub(crate) fn set_option_bytes(fd: RawFd, level: c_int, name: c_int, value: &[u8]) -> io::Result<()> {
    let size = value.len() as socklen_t;
    // SAFETY: the kernel copies `size` bytes from the slice, which outlives the call.
    check(unsafe { libc::setsockopt(fd, level, name, value.as_ptr().cast(), size) }).map(drop)
}

pub(crate) fn set_nodelay(fd: RawFd) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)
}

/// Makes close(2) send RST and drop what was not sent.
pub(crate) fn set_linger_zero(fd: RawFd) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of::<libc::linger>() as socklen_t;
    // SAFETY: a local of the size given. It cannot fail on a TCP socket; if it does, close(2) sends FIN instead.
    let _ = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size) };
}

pub(crate) fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: no memory is passed.
    unsafe {
        let flags = check(libc::fcntl(fd, libc::F_GETFL))?;
        check(libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK)).map(drop)
    }
}

/// The socket's pending error (SO_ERROR), 0 when there is none.
pub(crate) fn socket_error(fd: RawFd) -> i32 {
    let mut value: c_int = 0;
    let mut size = size_of::<c_int>() as socklen_t;
    // SAFETY: locals of the sizes given.
    match check(unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut value).cast(), &raw mut size)
    }) {
        Ok(_) => value,
        Err(_) => errno(),
    }
}

/// Starts a connect. `Ok(true)` when it is established already.
pub(crate) fn connect(fd: RawFd, address: Target<'_>) -> io::Result<bool> {
    let (storage, size) = encode(address)?;
    // SAFETY: `storage` is a local that holds an address of `size` bytes.
    match check(unsafe { libc::connect(fd, (&raw const storage).cast(), size) }) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(crate) fn bind(fd: RawFd, address: Target<'_>) -> io::Result<()> {
    let (storage, size) = encode(address)?;
    // SAFETY: `storage` is a local that holds an address of `size` bytes.
    check(unsafe { libc::bind(fd, (&raw const storage).cast(), size) }).map(drop)
}

pub(crate) fn listen(fd: RawFd, backlog: i32) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::listen(fd, backlog) }).map(drop)
}

/// Accepts one connection; the error is the number.
pub(crate) fn accept(fd: RawFd) -> Result<OwnedFd, i32> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no address is asked for.
    let fd = unsafe { libc::accept4(fd, std::ptr::null_mut(), std::ptr::null_mut(), flags) };
    if fd < 0 { Err(errno()) } else { Ok(owned(fd)) }
}

/// Lets no new connection in: connect(2) to a unix socket that is shut for reading is refused, and what is in its queue stays there.
pub(crate) fn shutdown_read(fd: RawFd) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::shutdown(fd, libc::SHUT_RD) }).map(drop)
}

/// Whether it is a unix socket (SO_DOMAIN).
pub(crate) fn is_unix(fd: RawFd) -> bool {
    let mut value: c_int = 0;
    let mut size = size_of::<c_int>() as socklen_t;
    // SAFETY: locals of the sizes given.
    let result =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_DOMAIN, (&raw mut value).cast(), &raw mut size) };
    result == 0 && value == libc::AF_UNIX
}

pub(crate) fn shutdown_write(fd: RawFd) {
    // SAFETY: no memory is passed. A socket that is no longer connected (ENOTCONN) has nothing left to shut down.
    let _ = unsafe { libc::shutdown(fd, libc::SHUT_WR) };
}

/// Waits for events, at most as many as `events` has room for and as long as `timeout` (rounded up to milliseconds) says, and puts them in
/// the place of what was in it. The error is the number.
pub(crate) fn epoll_wait(fd: RawFd, events: &mut Vec<libc::epoll_event>, timeout: Option<Duration>) -> Result<(), i32> {
    events.clear();
    let ms = timeout.map_or(-1, |timeout| {
        // Not in u128, which std counts in, and divides by a loop.
        let part = u64::from(timeout.subsec_nanos()).div_ceil(1_000_000);
        timeout.as_secs().saturating_mul(1000).saturating_add(part).min(c_int::MAX as u64) as c_long
    });
    let (fd, room, buffer) = (c_long::from(fd), events.capacity() as c_long, events.as_mut_ptr());
    let no_mask = std::ptr::null::<c_void>();
    let none: c_long = 0;
    // SAFETY: the buffer has room for so many events; no signal mask is given. By syscall(2) as in `recv`.
    let result = unsafe { libc::syscall(libc::SYS_epoll_pwait, fd, buffer, room, ms, no_mask, none) };
    let count = check_size(result as isize)?;
    // SAFETY: the kernel wrote so many.
    unsafe { events.set_len(count) };
    Ok(())
}

/// Receives at most `len` bytes, now or not at all.
///
/// Here and in [`send`] the kernel is asked by syscall(2): recv(3) and send(3) are points where a thread may be cancelled, for which
/// glibc spends 45 instructions around each call once a process has threads. Nobody cancels ours.
///
/// # Safety
/// `data` names `len` writable bytes.
#[inline]
pub(crate) unsafe fn recv(fd: RawFd, data: *mut u8, len: usize) -> Result<usize, i32> {
    let (fd, flags, nobody) = (c_long::from(fd), c_long::from(libc::MSG_DONTWAIT), std::ptr::null::<c_void>());
    // SAFETY: the caller's promise; no address is asked for.
    check_size(unsafe { libc::syscall(libc::SYS_recvfrom, fd, data, len, flags, nobody, nobody) } as isize)
}

/// Sends from the given pieces, now or not at all.
///
/// # Safety
/// Each piece names readable bytes.
#[inline]
pub(crate) unsafe fn send(fd: RawFd, pieces: &[libc::iovec]) -> Result<usize, i32> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    if let [piece] = pieces {
        let (fd, flags, nobody) = (c_long::from(fd), c_long::from(flags), std::ptr::null::<c_void>());
        let none: c_long = 0;
        // SAFETY: the caller's promise; no address is given.
        let sent = unsafe { libc::syscall(libc::SYS_sendto, fd, piece.iov_base, piece.iov_len, flags, nobody, none) };
        return check_size(sent as isize);
    }
    // SAFETY: all-zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = pieces.as_ptr().cast_mut();
    message.msg_iovlen = pieces.len();
    // SAFETY: the caller's promise; the kernel only reads the pieces.
    check_size(unsafe { libc::sendmsg(fd, &raw const message, flags) })
}

/// A pipe that holds at least `size` bytes, non-blocking: its reading and its writing end.
pub(crate) fn pipe(size: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: two numbers to write to.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
    let (read, write) = (owned(ends[0]), owned(ends[1]));
    // SAFETY: no memory is passed. Errors: EPERM where the user has too many pages in pipes (pipe(7)).
    check(unsafe { libc::fcntl(ends[1], libc::F_SETPIPE_SZ, size as c_int) })?;
    Ok((read, write))
}

/// Moves at most `len` bytes, now or not at all where the socket is non-blocking, too; one of the two is a pipe. The error is the
/// number. SIGPIPE is ignored by Rust's start-up code: who takes no output says EPIPE.
pub(crate) fn splice(from: RawFd, to: RawFd, len: usize) -> Result<usize, i32> {
    let (flags, nowhere) = (libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE, std::ptr::null_mut());
    // SAFETY: no memory is passed.
    check_size(unsafe { libc::splice(from, nowhere, to, nowhere, len, flags) })
}

/// getsockname(2) or getpeername(2).
type NameCall = unsafe extern "C" fn(c_int, *mut libc::sockaddr, *mut socklen_t) -> c_int;

fn name(fd: RawFd, call: NameCall) -> io::Result<SocketAddr> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut size = size_of::<libc::sockaddr_storage>() as socklen_t;
    // SAFETY: a local of the size given.
    check(unsafe { call(fd, storage.as_mut_ptr().cast(), &raw mut size) })?;
    // SAFETY: zeroed, and overwritten by the kernel as far as it knew.
    decode(unsafe { storage.assume_init_ref() })
}

pub(crate) fn local_addr(fd: RawFd) -> io::Result<SocketAddr> {
    name(fd, libc::getsockname)
}

pub(crate) fn peer_addr(fd: RawFd) -> io::Result<SocketAddr> {
    name(fd, libc::getpeername)
}

/// The path that a unix socket is bound to; with `@` before it, a name of the abstract namespace. `None`: it has none that is text.
pub(crate) fn local_path(fd: RawFd) -> Option<String> {
    // SAFETY: the descriptor is open for as long as the caller lends it, and it is not closed here.
    let socket = ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(fd) });
    let address = socket.local_addr().ok()?;
    match address.as_abstract_name() {
        Some(name) => Some(format!("@{}", std::str::from_utf8(name).ok()?)),
        None => Some(address.as_pathname()?.to_str()?.to_owned()),
    }
}

/// Where the client wanted to go before the packet filter redirected it (SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST).
pub(crate) fn original_destination(fd: RawFd) -> io::Result<SocketAddr> {
    const SO_ORIGINAL_DST: c_int = 80; // linux/netfilter_ipv4.h; the same number in netfilter_ipv6/ip6_tables.h
    let level = if local_addr(fd)?.is_ipv4() { libc::SOL_IP } else { libc::SOL_IPV6 };
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut size = size_of::<libc::sockaddr_storage>() as socklen_t;
    // SAFETY: a local of the size given.
    check(unsafe { libc::getsockopt(fd, level, SO_ORIGINAL_DST, storage.as_mut_ptr().cast(), &raw mut size) })?;
    // SAFETY: zeroed, and overwritten by the kernel as far as it knew.
    decode(unsafe { storage.assume_init_ref() })
}

/// Whether a socket takes what goes to addresses that are not this host's (IP_TRANSPARENT, ip(7)); one of IPv6 is asked in the same way. An
/// accepted one has it from its listener.
pub(crate) fn is_transparent(fd: RawFd) -> bool {
    let mut value: c_int = 0;
    let mut size = size_of::<c_int>() as socklen_t;
    // SAFETY: a local of the size given.
    let result =
        unsafe { libc::getsockopt(fd, libc::SOL_IP, libc::IP_TRANSPARENT, (&raw mut value).cast(), &raw mut size) };
    result == 0 && value != 0
}

/// Attaches a classic BPF program to a socket.
pub(crate) fn attach_filter(fd: RawFd, program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    let size = size_of::<libc::sock_fprog>() as socklen_t;
    // SAFETY: the kernel copies `len` instructions from the slice, which outlives the call.
    check(unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, (&raw const program).cast(), size) })
        .map(drop)
}

fn encode(address: Target<'_>) -> io::Result<(libc::sockaddr_storage, socklen_t)> {
    // SAFETY: all-zero is a valid sockaddr_storage.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    match address {
        Target::Ip(SocketAddr::V4(v4)) => {
            let plain = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is large enough and aligned for every address.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(plain) };
            Ok((storage, size_of::<libc::sockaddr_in>() as socklen_t))
        }
        Target::Ip(SocketAddr::V6(v6)) => {
            let plain = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(plain) };
            Ok((storage, size_of::<libc::sockaddr_in6>() as socklen_t))
        }
        Target::Unix(path) => {
            // unix(7): a path ends with a NUL; a name of the abstract namespace begins with one, and has the length given.
            let (is_abstract, name) = path.strip_prefix('@').map_or((false, path), |name| (true, name));
            let mut plain = libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; 108] };
            let start = usize::from(is_abstract);
            if name.is_empty() || name.contains('\0') || name.len() >= plain.sun_path.len() {
                return Err(io::Error::from_raw_os_error(libc::EINVAL));
            }
            for (to, from) in plain.sun_path[start..].iter_mut().zip(name.bytes()) {
                *to = from as libc::c_char;
            }
            let size = std::mem::offset_of!(libc::sockaddr_un, sun_path) + name.len() + 1;
            // SAFETY: as above.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_un>().write(plain) };
            Ok((storage, size as socklen_t))
        }
    }
}

fn decode(storage: &libc::sockaddr_storage) -> io::Result<SocketAddr> {
    match c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which address it is.
            let plain = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(plain.sin_addr.s_addr.to_ne_bytes());
            Ok(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(plain.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says which address it is.
            let plain = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(plain.sin6_addr.s6_addr);
            let port = u16::from_be(plain.sin6_port);
            // A socket of both families says ::ffff:a.b.c.d of an IPv4 address (RFC 4291 §2.5.5.2).
            if let Some(ip) = ip.to_ipv4_mapped() {
                return Ok(SocketAddr::V4(SocketAddrV4::new(ip, port)));
            }
            Ok(SocketAddr::V6(SocketAddrV6::new(ip, port, plain.sin6_flowinfo, plain.sin6_scope_id)))
        }
        family => Err(io::Error::other(format!("address family {family} is not IP"))),
    }
}
