//! `Listener`: accepting connections, holding them back, and stopping without losing one.
//!
//! ```text
//!   Idle -> Armed -> Cancelling -> Idle
//!             |                            accept failed, or nobody called listen(2) yet
//!             +-----> BackOff -> Idle      (100 ms, or the next wake of the core)
//! ```
//! A connection that was accepted always has an owner: the queue, a `Stream`, or close(2).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::core::{Core, Inner};
use crate::executor::WakerCell;
use crate::socket::Phase;
use crate::stream::{Detached, Stream};
use crate::sys;
use crate::target::Target;
use crate::timer::Timer;

/// Accepted connections that wait for `poll_accept`, beyond which accepting stops.
const ACCEPTED_MAX: usize = 64;
/// The pause after an accept that failed for want of something (EMFILE, ENFILE, ENOBUFS, ENOMEM): it will not be there sooner.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Where accepting stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accept {
    Idle,
    Armed,
    /// A cancel is under way. Ring only.
    Cancelling,
    BackOff,
}

/// What a core keeps for a listener.
pub(crate) struct ListenSlot {
    pub(crate) index: u32,
    pub(crate) generation: u32,
    fd: Cell<RawFd>,
    pub(crate) state: Cell<Accept>,
    /// poll: epoll knows the socket.
    pub(crate) registered: Cell<bool>,
    queue: RefCell<VecDeque<OwnedFd>>,
    error: Cell<i32>,
    held_back: Cell<bool>,
    draining: Cell<bool>,
    /// The handle is gone: closed as soon as nothing is in flight.
    dropped: Cell<bool>,
    waker: WakerCell,
}

impl ListenSlot {
    pub(crate) fn fd(&self) -> RawFd {
        self.fd.get()
    }

    /// A connection was accepted.
    pub(crate) fn accepted(&self, inner: &Inner, fd: OwnedFd) {
        if self.dropped.get() {
            return; // Closes it.
        }
        inner.stats.accepts.add(1);
        let mut queue = self.queue.borrow_mut();
        queue.push_back(fd);
        let full = queue.len() >= ACCEPTED_MAX;
        drop(queue);
        if full && self.state.get() == Accept::Armed && !self.draining.get() {
            inner.driver.disarm_accept(inner, self);
        }
        self.waker.wake();
    }

    /// An accept failed: most errors concern one connection only (accept(2)), some mean "not now".
    pub(crate) fn failed(&self, inner: &Inner, errno: i32) {
        match errno {
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => {
                inner.stats.accept_errors.add(1);
                self.error.set(errno);
                self.state.set(Accept::BackOff);
            }
            // Nobody has called listen(2) yet.
            libc::EINVAL => self.state.set(Accept::BackOff),
            // The peer is gone again, or the network passed its error on: go on.
            _ if self.state.get() == Accept::Armed && self.registered.get() => return,
            _ => self.state.set(Accept::Idle),
        }
        self.waker.wake();
        self.finish(inner);
    }

    /// Accepting has stopped.
    pub(crate) fn idle(&self, inner: &Inner) {
        self.state.set(Accept::Idle);
        self.waker.wake();
        self.finish(inner);
    }

    fn finish(&self, inner: &Inner) {
        if self.dropped.get() && matches!(self.state.get(), Accept::Idle | Accept::BackOff) && self.fd.get() >= 0 {
            sys::close(self.fd.replace(-1));
            inner.listeners.remove(self.index);
        }
    }

    fn close(&self, inner: &Inner) {
        self.dropped.set(true);
        self.waker.clear();
        self.queue.borrow_mut().clear();
        if self.state.get() == Accept::Armed {
            inner.driver.disarm_accept(inner, self);
        }
        self.finish(inner);
    }
}

/// A core's listeners: few, so a plain table.
#[derive(Default)]
pub(crate) struct Listeners {
    slots: RefCell<Vec<Option<Rc<ListenSlot>>>>,
    made: Cell<u32>,
}

impl Listeners {
    pub(crate) fn get(&self, index: u32) -> Option<Rc<ListenSlot>> {
        self.slots.borrow().get(index as usize)?.clone()
    }

    fn add(&self, fd: RawFd) -> Rc<ListenSlot> {
        let mut slots = self.slots.borrow_mut();
        let index = slots.iter().position(Option::is_none).unwrap_or(slots.len());
        let generation = self.made.get() & crate::socket::GENERATION_MASK;
        self.made.set(self.made.get().wrapping_add(1));
        let slot = Rc::new(ListenSlot {
            index: index as u32,
            generation,
            fd: Cell::new(fd),
            state: Cell::new(Accept::Idle),
            registered: Cell::new(false),
            queue: RefCell::new(VecDeque::new()),
            error: Cell::new(0),
            held_back: Cell::new(false),
            draining: Cell::new(false),
            dropped: Cell::new(false),
            waker: WakerCell::new(),
        });
        if index == slots.len() {
            slots.push(None);
        }
        slots[index] = Some(slot.clone());
        slot
    }

    fn remove(&self, index: u32) {
        let slot = self.slots.borrow_mut()[index as usize].take();
        drop(slot);
    }

    /// Listeners that are not closed yet.
    pub(crate) fn live(&self) -> usize {
        self.slots.borrow().iter().flatten().count()
    }

    fn each(&self, mut visit: impl FnMut(&ListenSlot)) {
        let mut index = 0;
        while index < self.slots.borrow().len() as u32 {
            if let Some(slot) = self.get(index) {
                visit(&slot);
            }
            index += 1;
        }
    }

    /// Somebody woke the core: perhaps he has called listen(2).
    pub(crate) fn retry_all(&self) {
        self.each(|slot| {
            if slot.state.get() == Accept::BackOff && slot.error.get() == 0 {
                slot.state.set(Accept::Idle);
                slot.waker.wake();
            }
        });
    }

    /// Closes all, whoever holds a handle.
    pub(crate) fn close_all(&self, inner: &Inner) {
        self.each(|slot| slot.close(inner));
    }
}

/// A listening socket of this core; each core has its own (SO_REUSEPORT). Dropping it closes it, and what it had accepted.
/// One task at a time may wait. `!Send`.
pub struct Listener {
    inner: Rc<Inner>,
    slot: Rc<ListenSlot>,
    back_off: Timer,
}

impl Listener {
    pub(crate) fn new(core: &Core, fd: OwnedFd) -> Listener {
        let inner = core.inner().clone();
        // It fails only on a descriptor that is not open, which `OwnedFd` excludes.
        let _ = sys::set_nonblocking(fd.as_raw_fd());
        let slot = inner.listeners.add(fd.into_raw_fd());
        Listener { back_off: core.timer(), inner, slot }
    }

    /// The next connection. Errors (EMFILE and the like) come once each, with a pause of 100 ms behind them.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        self.poll_accept_detached(cx)
            .map_ok(|fresh| Stream::open(&self.inner, fresh.into_fd().into_raw_fd(), Phase::Open))
    }

    /// As [`Listener::poll_accept`], for a connection that may go to another core: nothing is armed on it yet.
    pub fn poll_accept_detached(&self, cx: &mut Context<'_>) -> Poll<io::Result<Detached>> {
        let slot = &*self.slot;
        slot.waker.register(cx.waker());
        if slot.held_back.get() || slot.draining.get() {
            return Poll::Pending;
        }
        let next = slot.queue.borrow_mut().pop_front();
        if let Some(fd) = next {
            return Poll::Ready(Ok(Detached::new(fd)));
        }
        let errno = slot.error.replace(0);
        if slot.state.get() == Accept::BackOff {
            if self.back_off.deadline().is_none() {
                self.back_off.set(self.inner.now.get() + BACK_OFF);
            }
            if self.back_off.poll_expired(cx).is_ready() {
                slot.state.set(Accept::Idle);
            }
        }
        if errno != 0 {
            return Poll::Ready(Err(io::Error::from_raw_os_error(errno)));
        }
        if slot.state.get() == Accept::Idle {
            self.back_off.clear();
            self.inner.driver.arm_accept(&self.inner, slot);
        }
        Poll::Pending
    }

    /// Waits for [`Listener::poll_accept`]. Dropping it loses no connection.
    pub fn accept(&self) -> impl Future<Output = io::Result<Stream>> {
        poll_fn(|cx| self.poll_accept(cx))
    }

    /// Stops accepting: connections wait in the backlog until [`Listener::resume`].
    pub fn pause(&self) {
        if !self.slot.held_back.replace(true) && self.slot.state.get() == Accept::Armed {
            self.inner.driver.disarm_accept(&self.inner, &self.slot);
        }
    }

    /// Accepts again.
    pub fn resume(&self) {
        if self.slot.held_back.replace(false) {
            self.slot.waker.wake();
        }
    }

    /// Drops SYN segments that arrive from now on, so that no new handshake starts, while those under way finish. The
    /// clients send them again (after 1 s) and meet whoever listens then.
    ///
    /// A socket filter on a listening TCP socket sees each segment from its TCP header on (tcp_filter() in
    /// net/ipv4/tcp_ipv4.c). Errors: those of setsockopt(2) with SO_ATTACH_FILTER.
    ///
    /// A unix socket has no handshake: it is shut for reading, and whoever comes is refused at once.
    pub fn refuse_new(&self) -> io::Result<()> {
        if sys::is_unix(self.slot.fd()) {
            return sys::shutdown_read(self.slot.fd());
        }
        sys::attach_filter(self.slot.fd(), &DROP_SYN)
    }

    /// Takes every connection whose handshake is complete: those accepted already, and those in the backlog. Afterwards
    /// nothing is accepted any more but by calling it again. Call [`Listener::refuse_new`] first.
    pub fn drain(&self) -> impl Future<Output = Vec<Stream>> {
        poll_fn(|cx| {
            let slot = &*self.slot;
            slot.draining.set(true);
            if slot.state.get() == Accept::Armed {
                self.inner.driver.disarm_accept(&self.inner, slot);
            }
            if matches!(slot.state.get(), Accept::Armed | Accept::Cancelling) {
                slot.waker.register(cx.waker());
                return Poll::Pending;
            }
            let mut streams: Vec<Stream> = Vec::new();
            let queued = slot.queue.take();
            streams.extend(queued.into_iter().map(|fd| Stream::open(&self.inner, fd.into_raw_fd(), Phase::Open)));
            // Bounded by the backlog: no new handshake starts.
            loop {
                self.inner.stats.syscalls.add(1);
                match sys::accept(slot.fd()) {
                    Ok(fd) => {
                        self.inner.stats.accepts.add(1);
                        streams.push(Stream::open(&self.inner, fd.into_raw_fd(), Phase::Open));
                    }
                    Err(libc::ECONNABORTED | libc::EINTR) => {}
                    Err(_) => return Poll::Ready(streams),
                }
            }
        })
    }

    /// The address it is bound to. Errors: those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_addr(self.slot.fd())
    }
}

impl AsFd for Listener {
    /// For socket options and for handing the socket on.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open as long as the handle.
        unsafe { BorrowedFd::borrow_raw(self.slot.fd()) }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if !self.inner.closed.get() {
            self.slot.close(&self.inner);
        }
    }
}

const fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// "Byte 13 of the TCP header, SYN and ACK bits: SYN alone is dropped, all else passes whole" (RFC 9293 §3.1).
static DROP_SYN: [libc::sock_filter; 5] = [
    instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 13),
    instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, 0x12),
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, 0x02),
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
];

/// A bound TCP socket that does not listen yet: nothing reaches it, and binding is what can fail. SO_REUSEADDR, CLOEXEC and
/// TCP_NODELAY (inherited by what it accepts) are set, SO_REUSEPORT on demand, IPV6_V6ONLY for IPv6.
/// Errors: those of socket(2), setsockopt(2) and bind(2).
pub fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<OwnedFd> {
    bind_with(address, reuse_port, false, |_| Ok(()))
}

/// As [`bind`]; an IPv6 socket may take IPv4 connections, too, and `prepare` may set options before bind(2).
/// Errors: those of `prepare`, too.
pub fn bind_with(
    address: SocketAddr,
    reuse_port: bool,
    takes_ipv4: bool,
    prepare: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
) -> io::Result<OwnedFd> {
    let fd = sys::stream_socket(address.into())?;
    let raw = fd.as_raw_fd();
    sys::set_option(raw, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if reuse_port {
        sys::set_option(raw, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    if address.is_ipv6() {
        sys::set_option(raw, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, i32::from(!takes_ipv4))?;
    }
    sys::set_nodelay(raw)?;
    prepare(fd.as_fd())?;
    sys::bind(raw, address.into())?;
    Ok(fd)
}

/// A bound unix socket that does not listen yet. A socket of that path is removed first, whoever bound it; the new one gets the
/// permissions `mode`, unless that is 0. `prepare` may set options before bind(2). With `@` before it, `path` is a name of the abstract namespace.
/// Errors: those of socket(2), unlink(2), bind(2) and chmod(2).
pub fn bind_unix(path: &str, mode: u32, prepare: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>) -> io::Result<OwnedFd> {
    let target = Target::Unix(path);
    let fd = sys::stream_socket(target)?;
    prepare(fd.as_fd())?;
    let has_file = !path.starts_with('@');
    if has_file {
        match fs::symlink_metadata(path) {
            Ok(file) if file.file_type().is_socket() => fs::remove_file(path)?,
            // What is no socket is nobody's to remove: then bind(2) says that the name is taken.
            _ => {}
        }
    }
    sys::bind(fd.as_raw_fd(), target)?;
    if has_file && mode != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(fd)
}

/// Sets an option: setsockopt(2), and its errors.
pub fn set_option(fd: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    sys::set_option_bytes(fd.as_raw_fd(), level, name, value)
}

/// Gives a socket that is about to connect its own address: bind(2), and its errors. With port 0 the port is chosen only when it
/// connects, so that there are as many as there are targets for (IP_BIND_ADDRESS_NO_PORT, ip(7)).
pub fn bind_source(fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        sys::set_option(fd.as_raw_fd(), libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
    }
    sys::bind(fd.as_raw_fd(), address.into())
}

/// As [`bind_source`], to an address that need not be this host's (IP_TRANSPARENT, ip(7), for which a process needs CAP_NET_ADMIN or
/// CAP_NET_RAW): the routes have to lead what comes back here.
pub fn bind_foreign_source(fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    let (level, name) = match address {
        SocketAddr::V4(_) => (libc::SOL_IP, libc::IP_TRANSPARENT),
        SocketAddr::V6(_) => (libc::SOL_IPV6, libc::IPV6_TRANSPARENT),
    };
    sys::set_option(fd.as_raw_fd(), level, name, 1)?;
    bind_source(fd, address)
}

/// Calls listen(2) on a bound socket: from now on connections reach it. May be called from any thread; wake its core
/// afterwards. Errors: those of listen(2).
pub fn start_listening(fd: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    sys::listen(fd.as_raw_fd(), backlog)
}
