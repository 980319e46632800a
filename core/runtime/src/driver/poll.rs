//! The `poll` driver: edge-triggered readiness (epoll; registered by mio), turned into completions.
//!
//! A socket is registered once, for both directions. Reading happens between turns only, right after the wait, and only for
//! sockets whose receive is armed; what was not read then stays marked readable and is read in the round after it is
//! armed again. Sends are system calls at the end of the turn. Nothing is ever in flight, so nothing needs cancelling.
//!
//! Invariant: a socket that is readable, armed and has room is on `reads`, or will have an edge.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Token};

use crate::chunk::{Chunk, Header};
use crate::core::Inner;
use crate::flow::{RECV_UNREAD_MAX, SEND_JOINED_MAX};
use crate::leaf::Leaf;
use crate::listener::{Accept, ListenSlot};
use crate::report::StartError;
use crate::socket::{GENERATION_MASK, Phase, Recv, Send, Socket, flag};
use crate::sys;
use crate::wake::Wake;

/// Events taken in one wait: a bound on one round, the kernel keeps the rest.
const EVENTS_PER_TURN_MAX: usize = 1024;
/// Connections accepted from one listener in one round.
const ACCEPTS_PER_TURN_MAX: usize = 64;
/// Pieces of one gathered send: IOV_MAX.
const PIECES_MAX: usize = 64;

const TOKEN_WAKE: Token = Token(usize::MAX);
/// Set in the tokens of listeners.
const LISTENER_BIT: usize = 1 << 63;

pub(crate) struct PollDriver {
    poll: mio::Poll,
    events: RefCell<Vec<libc::epoll_event>>,
    /// Sockets to read in the next round without a new edge.
    reads: RefCell<Vec<u32>>,
    reads_spare: RefCell<Vec<u32>>,
    /// Listeners to accept from in the next round without a new edge.
    accepts: RefCell<Vec<u32>>,
    events_full: Cell<bool>,
    /// Where short output is joined.
    joined: Leaf<Box<[u8; SEND_JOINED_MAX]>>,
}

impl PollDriver {
    pub(crate) fn new(wake: &Arc<Wake>) -> Result<PollDriver, StartError> {
        let start = || -> io::Result<PollDriver> {
            let poll = mio::Poll::new()?;
            poll.registry().register(&mut SourceFd(&wake.event().as_raw_fd()), TOKEN_WAKE, Interest::READABLE)?;
            Ok(PollDriver {
                poll,
                events: RefCell::new(Vec::with_capacity(EVENTS_PER_TURN_MAX)),
                reads: RefCell::new(Vec::with_capacity(64)),
                reads_spare: RefCell::new(Vec::with_capacity(64)),
                accepts: RefCell::new(Vec::new()),
                events_full: Cell::new(false),
                joined: Leaf::new(Box::new([0; SEND_JOINED_MAX])),
            })
        };
        start().map_err(|error| StartError::new("setting up epoll", error))
    }

    pub(crate) fn attach(&self, inner: &Inner, socket: &Socket) -> io::Result<()> {
        inner.stats.syscalls.add(1);
        let token = Token(socket.index as usize | (socket.generation.get() as usize) << 32);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut SourceFd(&socket.fd.get()), token, interest)
    }

    pub(crate) fn detach(&self, inner: &Inner, socket: &Socket) {
        inner.stats.syscalls.add(1);
        // It fails only for a descriptor that is not registered, which is what we want.
        let _ = self.poll.registry().deregister(&mut SourceFd(&socket.fd.get()));
    }

    pub(crate) fn arm_recv(&self, socket: &Socket) {
        debug_assert_eq!(socket.recv.get(), Recv::Idle);
        socket.recv.set(if socket.has(flag::BULK | flag::SPARING) { Recv::Bulk } else { Recv::Multishot });
        if socket.has(flag::READABLE) {
            self.list_read(socket);
        }
    }

    pub(crate) fn arm_readable(&self, socket: &Socket) {
        debug_assert_eq!(socket.recv.get(), Recv::Idle);
        socket.recv.set(Recv::Readable);
        if socket.has(flag::READABLE) {
            self.list_read(socket);
        }
    }

    fn list_read(&self, socket: &Socket) {
        if !socket.has(flag::READ_LISTED) {
            socket.set(flag::READ_LISTED);
            self.reads.borrow_mut().push(socket.index);
        }
    }

    pub(crate) fn disarm_recv(&self, inner: &Inner, socket: &Socket) {
        if matches!(socket.recv.get(), Recv::Multishot | Recv::Bulk | Recv::Readable | Recv::Starved) {
            inner.receive_idle(socket);
        }
    }

    /// Reads what the unread limit and the chunks allow.
    fn read(&self, inner: &Inner, socket: &Socket) {
        while socket.has(flag::READABLE) && socket.phase.get() == Phase::Open {
            let bulk = socket.recv.get() == Recv::Bulk;
            let buffer = match socket.recv.get() {
                Recv::Bulk if !socket.has(flag::BULK) => inner.pools.chunk_take(),
                Recv::Bulk => inner.pools.bulk_take().or_else(|| inner.pools.chunk_take()),
                Recv::Multishot if socket.unread.get() as usize >= RECV_UNREAD_MAX => {
                    socket.recv.set(Recv::Idle);
                    return;
                }
                Recv::Multishot => inner.pools.chunk_take(),
                Recv::Readable => return inner.readable(socket),
                _ => return,
            };
            let Some(buffer) = buffer else {
                inner.receive_starved(socket);
                return;
            };
            // SAFETY: we own the buffer's only count.
            let size = unsafe { buffer.as_ref() }.capacity.get() as usize;
            inner.stats.syscalls.add(1);
            // SAFETY: the buffer has `size` bytes and is nobody else's.
            let result = unsafe { sys::recv(socket.fd.get(), Header::bytes(buffer), size) };
            // SAFETY: our count goes into the chunk; the kernel wrote that many bytes.
            let chunk = unsafe { Chunk::from_raw(buffer, 0, *result.as_ref().unwrap_or(&0) as u32) };
            match result {
                Ok(0) => {
                    drop(chunk);
                    inner.receive_ended(socket, 0);
                }
                Ok(n) => {
                    // A short read has emptied the socket, unless the peer has shut its side: then EOF is still to be read.
                    if n < size && !socket.has(flag::READ_CLOSED) {
                        socket.unset(flag::READABLE);
                    }
                    if bulk {
                        socket.recv.set(Recv::Idle);
                    }
                    inner.received(socket, chunk);
                    if bulk {
                        return;
                    }
                }
                Err(libc::EAGAIN) => {
                    drop(chunk);
                    socket.unset(flag::READABLE);
                }
                Err(libc::EINTR) => drop(chunk),
                Err(errno) => {
                    drop(chunk);
                    inner.receive_ended(socket, errno);
                }
            }
        }
    }

    pub(crate) fn flush(&self, inner: &Inner, socket: &Socket) {
        let closing = socket.phase.get() == Phase::Closing;
        let may_send = match socket.send.get() {
            Send::Open => true,
            Send::Stalled => closing,
            Send::Shut | Send::Failed => false,
        };
        if may_send && !socket.send_queue.is_empty() && !matches!(socket.phase.get(), Phase::Free | Phase::Connecting) {
            self.attempt(inner, socket);
        }
        inner.after_send(socket);
    }

    fn attempt(&self, inner: &Inner, socket: &Socket) {
        if socket.send_queue.len() == 1 {
            // SAFETY: in range; the queue does not change before the send is over.
            let chunk = unsafe { socket.send_queue.at(0) };
            let piece = libc::iovec { iov_base: chunk.data().cast(), iov_len: chunk.len() };
            // SAFETY: the piece is the queue's live chunk.
            let result = unsafe { sys::send(socket.fd.get(), &[piece]) };
            return self.attempted(inner, socket, result, piece.iov_len);
        }
        self.attempt_several(inner, socket);
    }

    #[inline(never)]
    fn attempt_several(&self, inner: &Inner, socket: &Socket) {
        if socket.unsent.get() <= SEND_JOINED_MAX {
            // SAFETY: a copy and a system call.
            let (result, total) = unsafe {
                self.joined.with(|joined| {
                    let total = socket.send_queue.copy_to(&mut joined[..]);
                    let piece = libc::iovec { iov_base: joined.as_mut_ptr().cast(), iov_len: total };
                    (sys::send(socket.fd.get(), &[piece]), total)
                })
            };
            return self.attempted(inner, socket, result, total);
        }
        let mut pieces = [const { MaybeUninit::<libc::iovec>::uninit() }; PIECES_MAX];
        let count = socket.send_queue.len().min(PIECES_MAX).min(inner.options.pieces_per_send_max);
        let mut total = 0;
        for (i, piece) in pieces[..count].iter_mut().enumerate() {
            // SAFETY: in range; the queue does not change before the send is over.
            let chunk = unsafe { socket.send_queue.at(i) };
            piece.write(libc::iovec { iov_base: chunk.data().cast(), iov_len: chunk.len() });
            total += chunk.len();
        }
        // SAFETY: the first `count` pieces are written, and are the queue's live chunks.
        let result = unsafe { sys::send(socket.fd.get(), pieces[..count].assume_init_ref()) };
        self.attempted(inner, socket, result, total);
    }

    fn attempted(&self, inner: &Inner, socket: &Socket, result: Result<usize, i32>, total: usize) {
        inner.stats.sends.add(1);
        inner.stats.syscalls.add(1);
        match result {
            Ok(n) => {
                inner.sent(socket, n);
                if n < total {
                    inner.send_stalled(socket);
                }
            }
            Err(libc::EAGAIN) => inner.send_stalled(socket),
            Err(libc::EINTR) => inner.send_interrupted(socket),
            Err(errno) => inner.send_failed(socket, errno),
        }
    }

    pub(crate) fn attach_listener(&self, inner: &Inner, slot: &ListenSlot) -> io::Result<()> {
        inner.stats.syscalls.add(1);
        let token = Token(LISTENER_BIT | slot.index as usize | (slot.generation as usize) << 32);
        self.poll.registry().register(&mut SourceFd(&slot.fd()), token, Interest::READABLE)
    }

    pub(crate) fn arm_accept(&self, inner: &Inner, slot: &ListenSlot) {
        if !slot.registered.replace(true)
            && let Err(error) = self.attach_listener(inner, slot)
        {
            slot.registered.set(false);
            slot.failed(inner, error.raw_os_error().unwrap_or(libc::EIO));
            return;
        }
        slot.state.set(Accept::Armed);
        // There is no edge for what waited in the backlog before, or while the slot was idle.
        self.accepts.borrow_mut().push(slot.index);
    }

    pub(crate) fn disarm_accept(&self, inner: &Inner, slot: &ListenSlot) {
        if slot.state.get() == Accept::Armed {
            slot.idle(inner);
        }
    }

    fn accept(&self, inner: &Inner, slot: &ListenSlot) {
        let mut left = ACCEPTS_PER_TURN_MAX;
        while slot.state.get() == Accept::Armed {
            if left == 0 {
                self.accepts.borrow_mut().push(slot.index);
                return;
            }
            left -= 1;
            inner.stats.syscalls.add(1);
            match sys::accept(slot.fd()) {
                Ok(fd) => slot.accepted(inner, fd),
                Err(libc::EAGAIN) => return,
                Err(errno) => slot.failed(inner, errno),
            }
        }
    }

    pub(crate) fn enter(&self, inner: &Inner, timeout: Option<Duration>) {
        let pending = !self.reads.borrow().is_empty() || !self.accepts.borrow().is_empty() || self.events_full.get();
        let mut timeout = if pending { Some(Duration::ZERO) } else { timeout };
        let may_block = timeout != Some(Duration::ZERO);
        let spun = may_block && inner.spin_until(timeout).is_some_and(|until| self.spin(inner, until, timeout));
        let asleep = may_block && !spun && inner.wake.may_sleep();
        if !asleep {
            timeout = Some(Duration::ZERO);
        } else {
            inner.stats.sleeps.add(1);
        }
        if !spun {
            self.wait(inner, timeout);
        }
        if asleep {
            inner.wake.awake();
            inner.meter.woke(sys::monotonic_ns());
        }
        let events = self.events.borrow();
        if asleep && events.is_empty() {
            inner.timed_out(timeout);
        }
        self.read_listed(inner);
        for event in events.iter() {
            let (token, is) = (Token(event.u64 as usize), event.events as i32);
            if token == TOKEN_WAKE {
                sys::eventfd_drain(inner.wake.event());
            } else if token.0 & LISTENER_BIT != 0 {
                if let Some(slot) = inner.listeners.get(token.0 as u32)
                    && slot.generation == (token.0 >> 32) as u32 & GENERATION_MASK
                {
                    self.accept(inner, &slot);
                }
            } else if let Some(socket) = inner.sockets.get(token.0 as u32)
                && socket.generation.get() == (token.0 >> 32) as u32
            {
                if is & !libc::EPOLLOUT != 0 {
                    socket.set(flag::READABLE);
                    if is & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) != 0 {
                        socket.set(flag::READ_CLOSED);
                    }
                    self.read(inner, socket);
                }
                if is & (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) != 0 {
                    inner.writable(socket);
                }
            }
        }
        self.events_full.set(events.len() == events.capacity());
        inner.stats.completions.add(events.len() as u64);
    }

    /// One epoll_wait(2). What it brought is in `events`.
    #[inline]
    fn wait(&self, inner: &Inner, timeout: Option<Duration>) {
        inner.stats.enters.add(1);
        let result = sys::epoll_wait(self.poll.as_raw_fd(), &mut self.events.borrow_mut(), timeout);
        // Nothing was taken. Other errors cannot happen to an epoll descriptor and a buffer that are ours.
        assert!(matches!(result, Ok(()) | Err(libc::EINTR)), "epoll_wait: {result:?}");
    }

    /// Looks for work until `until` instead of sleeping. Says whether there is some, in `events` or elsewhere.
    #[cold]
    fn spin(&self, inner: &Inner, until: u64, timeout: Option<Duration>) -> bool {
        let mut now;
        let mut found;
        loop {
            self.wait(inner, Some(Duration::ZERO));
            now = sys::monotonic_ns();
            found = !self.events.borrow().is_empty() || inner.has_work();
            if found || now >= until {
                break;
            }
            std::hint::spin_loop();
        }
        inner.spun(now, found, timeout)
    }

    /// Reads and accepts what was left readable and is armed again.
    fn read_listed(&self, inner: &Inner) {
        if !self.reads.borrow().is_empty() {
            let mut list = self.reads.replace(self.reads_spare.take());
            for index in list.drain(..) {
                let socket = inner.sockets.get(index).expect("listed slots exist");
                socket.unset(flag::READ_LISTED);
                self.read(inner, socket);
            }
            self.reads_spare.replace(list);
        }
        if !self.accepts.borrow().is_empty() {
            for index in self.accepts.take() {
                if let Some(slot) = inner.listeners.get(index) {
                    self.accept(inner, &slot);
                }
            }
        }
    }
}
