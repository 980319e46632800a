//! The `ring` driver: one io_uring for a core (io_uring(7)).
//!
//! Receives are multishot, into the core's provided-buffer ring; bulk receives name one buffer. A send is decided inside `enter`:
//! MSG_DONTWAIT makes the kernel try it once, in line (REQ_F_NOWAIT), so whatever it did not take it says in a completion of
//! the same `enter`, and a send without completion (CQE_SKIP_SUCCESS) has succeeded. So the kernel never names send memory
//! outside `enter`.
//!
//! A small exchange costs: one `enter`; for each receive a completion of 16 bytes; for each send one SQE and no completion.
//!
//! Invariants: tasks never enter the kernel (what does not fit into the submission queue waits in `backlog`); a completion
//! always has an owner; what a receive names stays in place until its last completion, which `Socket::in_flight` counts.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use io_uring::cqueue::{buffer_select, more};
use io_uring::opcode;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::Fd;

#[cfg(feature = "fault")]
use super::fault::FaultKernel;
use super::kernel::{BUFFER_GROUP, Kernel, RingKernel};
use super::operation::{accept_data, generation, named, op, user_data};
use super::probe;
use crate::chunk::{Chunk, Header};
use crate::core::{Inner, Options};
use crate::feature::FeatureSet;
use crate::flow::{RECV_UNREAD_MAX, SEND_JOINED_MAX};
use crate::leaf::Leaf;
use crate::listener::{Accept, ListenSlot};
use crate::pool::Pools;
#[cfg(feature = "fault")]
use crate::report::IoReport;
use crate::report::StartError;
use crate::socket::{Phase, Recv, SEND_UNTOLD, Send, Socket, flag};
use crate::sys;
use crate::wake::Wake;

/// Pieces of all gathered sends of one batch; a batch that needs more is submitted in parts.
const PIECES_PER_BATCH_MAX: usize = 1024;
/// Bytes of short output that one batch joins; what comes on top is gathered by the kernel.
const JOINED_PER_BATCH_MAX: usize = 64 << 10;
/// Gathered sends (of more than one piece) of one batch.
const MESSAGES_PER_BATCH_MAX: usize = 256;
/// Attempts to make the kernel consume the submission queue. It refuses only for want of memory.
const SUBMIT_TRIES_MAX: u32 = 100_000;

/// One send of the batch: its socket, and the bytes it named.
#[derive(Clone, Copy)]
struct Attempt {
    index: u32,
    bytes: usize,
}

pub(crate) struct RingDriver {
    kernel: Kernel,
    deferred: bool,
    /// Entries for which the submission queue had no room, oldest first. At most a few for each socket.
    backlog: RefCell<VecDeque<Entry>>,
    sending: RefCell<Vec<Attempt>>,
    sending_spare: RefCell<Vec<Attempt>>,
    pieces: Box<[Cell<libc::iovec>]>,
    pieces_used: Cell<usize>,
    /// Where short output of several pieces is joined; used up to `joined_used` by the sends of this batch.
    joined: Leaf<Box<[u8]>>,
    joined_used: Cell<usize>,
    messages: Box<[Cell<libc::msghdr>]>,
    messages_used: Cell<usize>,
    /// Entries in the submission queue that the kernel has not consumed, and how many fit.
    queued: Cell<u32>,
    queue_size: u32,
    /// Something follows as soon as this batch's sends are decided: the `enter` must not sleep.
    urgent: Cell<bool>,
}

impl RingDriver {
    /// Makes the ring on this thread, and tests that it does what this driver relies on. Returns the features in use.
    pub(crate) fn start(
        options: &Options,
        pools: &Pools,
        wake: &Arc<Wake>,
    ) -> Result<(RingDriver, FeatureSet), StartError> {
        let (kernel, features) = RingKernel::start(options, pools)?;
        let driver = RingDriver::new(Kernel::Ring(kernel));
        probe::test(options, &driver, pools)?;
        driver.arm_wake(wake);
        Ok((driver, features))
    }

    /// The same driver over a simulated kernel, which does by `seed` whatever the real one may do.
    #[cfg(feature = "fault")]
    pub(crate) fn start_fault(options: &Options, pools: &Pools, wake: &Arc<Wake>, seed: u64) -> (RingDriver, IoReport) {
        let kernel = FaultKernel::new(options, pools, seed);
        let report = kernel.report();
        let driver = RingDriver::new(Kernel::Fault(Box::new(kernel)));
        driver.arm_wake(wake);
        (driver, report)
    }

    fn new(kernel: Kernel) -> RingDriver {
        // SAFETY: all-zero is valid for both.
        let (piece, message) = unsafe { (std::mem::zeroed::<libc::iovec>(), std::mem::zeroed::<libc::msghdr>()) };
        RingDriver {
            deferred: kernel.is_deferred(),
            backlog: RefCell::new(VecDeque::new()),
            sending: RefCell::new(Vec::with_capacity(256)),
            sending_spare: RefCell::new(Vec::with_capacity(256)),
            pieces: vec![piece; PIECES_PER_BATCH_MAX].into_iter().map(Cell::new).collect(),
            pieces_used: Cell::new(0),
            joined: Leaf::new(vec![0; JOINED_PER_BATCH_MAX].into_boxed_slice()),
            joined_used: Cell::new(0),
            messages: vec![message; MESSAGES_PER_BATCH_MAX].into_iter().map(Cell::new).collect(),
            messages_used: Cell::new(0),
            queued: Cell::new(0),
            queue_size: kernel.queue_size(),
            urgent: Cell::new(false),
            kernel,
        }
    }

    pub(crate) fn fills_only_inside_enter(&self) -> bool {
        self.deferred
    }

    // --- The submission queue --------------------------------------------------------------------------------------------

    /// Queues an entry. Whatever it names stays valid until its last completion (or, for sends, until the `enter` is over).
    #[inline]
    fn push(&self, entry: Entry) {
        if self.backlog.borrow().is_empty() && self.try_push(&entry) {
            return;
        }
        self.backlog.borrow_mut().push_back(entry);
    }

    #[inline]
    pub(super) fn try_push(&self, entry: &Entry) -> bool {
        if self.queued.get() == self.queue_size {
            return false;
        }
        // SAFETY: the entry's memory is valid by `push`'s rule.
        unsafe { self.kernel.push(entry) };
        self.queued.set(self.queued.get() + 1);
        true
    }

    /// Says whether it entered the kernel: completions that were taken then may have made tasks ready.
    #[inline]
    fn move_backlog(&self, inner: &Inner) -> bool {
        !self.backlog.borrow().is_empty() && self.move_some_backlog(inner)
    }

    #[cold]
    fn move_some_backlog(&self, inner: &Inner) -> bool {
        let mut entered = false;
        while !self.backlog.borrow().is_empty() {
            if self.queued.get() == self.queue_size {
                self.submit(inner, 0, None);
                entered = true;
            }
            let Some(entry) = self.backlog.borrow_mut().pop_front() else { break };
            if !self.try_push(&entry) {
                self.backlog.borrow_mut().push_front(entry);
            }
        }
        entered
    }

    /// One io_uring_enter(2).
    #[inline]
    pub(super) fn kernel_enter(&self, min_complete: u32, timeout: Option<Duration>) -> io::Result<()> {
        let count = self.queued.get();
        let consumed = self.kernel.enter(count, min_complete, timeout)?;
        assert!(consumed <= count as usize, "the kernel consumes what was queued");
        self.queued.set(count - consumed as u32);
        Ok(())
    }

    /// Submits all, waits for `min_complete` completions at most `timeout`, takes all completions, and settles all sends.
    fn submit(&self, inner: &Inner, min_complete: u32, timeout: Option<Duration>) {
        inner.pools.chunks_publish();
        let mut min_complete = min_complete;
        let mut tries = 0;
        loop {
            inner.stats.enters.add(1);
            let entered = self.kernel_enter(min_complete, timeout);
            if min_complete > 0 {
                inner.meter.woke(sys::monotonic_ns());
            }
            if let Err(error) = entered {
                match error.raw_os_error() {
                    Some(libc::ETIME) if min_complete > 0 => inner.timed_out(timeout),
                    // Nothing came in time; a signal; the kernel wants its completions taken, or has no memory now.
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN | libc::ENOMEM) => {}
                    _ => panic!("io_uring_enter on our own ring: {error}"),
                }
            }
            self.take_completions(inner);
            if self.queued.get() == 0 {
                break;
            }
            min_complete = 0;
            tries += 1;
            assert!(tries < SUBMIT_TRIES_MAX, "the kernel takes submissions");
        }
        while self.kernel.has_overflowed() {
            inner.stats.cq_overflows.add(1);
            inner.stats.enters.add(1);
            let _ = self.kernel_enter(0, None); // Moves the kernel's list into the queue; errors as above.
            self.take_completions(inner);
        }
        self.decide_sends(inner);
    }

    /// Submits, waits unless something is due, and takes what has completed.
    #[inline]
    pub(crate) fn enter(&self, inner: &Inner, timeout: Option<Duration>) {
        let entered = self.move_backlog(inner);
        // Chunks that come home with these sends may have takers.
        let awaited = !inner.starved.borrow().is_empty() && !self.sending.borrow().is_empty();
        let urgent = self.urgent.replace(false) || awaited || entered;
        if urgent || timeout == Some(Duration::ZERO) {
            // A busy turn that has nothing for the kernel, nor the kernel for it, stays out of it.
            if self.queued.get() > 0 || self.kernel.has_work() || !self.kernel.is_empty() {
                self.submit(inner, 0, None);
            }
            return;
        }
        if let Some(until) = inner.spin_until(timeout)
            && self.spin(inner, until, timeout)
        {
            return;
        }
        if !inner.wake.may_sleep() {
            self.submit(inner, 0, None);
            return;
        }
        inner.stats.sleeps.add(1);
        self.submit(inner, 1, timeout);
        inner.wake.awake();
    }

    /// Looks for work until `until` instead of sleeping. Says whether there is some.
    #[cold]
    fn spin(&self, inner: &Inner, until: u64, timeout: Option<Duration>) -> bool {
        let before = inner.stats.completions.get();
        let found = || inner.stats.completions.get() != before || inner.has_work();
        if self.queued.get() > 0 {
            self.submit(inner, 0, None);
            if found() {
                return true; // What was submitted brought work of its own: nothing was looked for.
            }
        }
        let mut now;
        loop {
            if self.kernel.has_work() || !self.kernel.is_empty() {
                self.submit(inner, 0, None);
            }
            now = sys::monotonic_ns();
            if found() || now >= until {
                break;
            }
            std::hint::spin_loop();
        }
        inner.spun(now, found(), timeout)
    }

    // --- Completions -----------------------------------------------------------------------------------------------------

    /// Hands every completion in the queue to `visit`. No handler of a completion submits or takes completions.
    #[inline]
    pub(super) fn take_each(&self, visit: impl FnMut(u64, i32, u32)) -> u64 {
        self.kernel.take_each(visit)
    }

    #[inline]
    fn take_completions(&self, inner: &Inner) {
        let count = self.take_each(|data, result, flags| self.completed(inner, data, result, flags));
        inner.stats.completions.add(count);
    }

    #[inline]
    fn completed(&self, inner: &Inner, data: u64, result: i32, flags: u32) {
        if data >> 56 == op::RECV {
            self.recv_completed(inner, named(inner, data), result, flags);
        } else {
            self.other_completed(inner, data, result, flags);
        }
    }

    /// All but a multishot receive, which is by far the most. Apart, so that it is not reached by way of a table.
    #[inline(never)]
    fn other_completed(&self, inner: &Inner, data: u64, result: i32, flags: u32) {
        match data >> 56 {
            op::BULK => self.bulk_completed(inner, named(inner, data), result),
            op::READABLE => self.readable_completed(inner, named(inner, data)),
            op::WRITABLE => {
                let socket = named(inner, data);
                socket.landed();
                socket.unset(flag::POLL_OUT);
                if !self.closing_completed(inner, socket) {
                    inner.writable(socket);
                }
            }
            op::SEND => named(inner, data).send_result.set(result),
            op::ACCEPT => self.accept_completed(inner, data as u32, generation(data), result, flags),
            op::WAKE if !more(flags) => self.arm_wake(&inner.wake),
            op::WAKE | op::IGNORED => {}
            unknown => unreachable!("operation {unknown} was never submitted"),
        }
    }

    /// The end of a closing socket, if this was its last completion. Says whether the socket is closing.
    #[inline]
    fn closing_completed(&self, inner: &Inner, socket: &Socket) -> bool {
        if socket.phase.get() != Phase::Closing {
            return false;
        }
        // What it still has to send goes first, also where this completion was taken to make room for the send of another socket.
        if socket.in_flight.get() == 0 && !socket.has(flag::SENDING | flag::FLUSH) {
            inner.finish_close(socket);
        }
        true
    }

    #[inline]
    fn recv_completed(&self, inner: &Inner, socket: &Socket, result: i32, flags: u32) {
        let chunk = buffer_select(flags).map(|index| inner.pools.chunk_filled(index, result.max(0) as usize));
        if more(flags) {
            if let Some(chunk) = chunk.filter(|chunk| !chunk.is_empty()) {
                inner.received(socket, chunk);
                if socket.unread.get() as usize >= RECV_UNREAD_MAX {
                    self.disarm_recv(inner, socket);
                }
            }
            return;
        }
        self.recv_landed(inner, socket, chunk, result);
    }

    /// The last completion of a multishot receive, whatever it says.
    #[cold]
    fn recv_landed(&self, inner: &Inner, socket: &Socket, chunk: Option<Chunk>, result: i32) {
        socket.landed();
        let asked = socket.has(flag::CANCELLED | flag::BULK | flag::SPARING);
        socket.unset(flag::CANCELLED);
        if self.closing_completed(inner, socket) {
            return;
        }
        match chunk {
            Some(chunk) if !chunk.is_empty() => {
                inner.received(socket, chunk);
                self.recv_stopped(inner, socket, asked);
            }
            _ => self.recv_last(inner, socket, result, asked),
        }
    }

    /// A multishot receive came to an end that is none of the stream. If nobody asked for it (the completion queue was full, for
    /// one), it goes on: the peer's end is to be seen on a stream that nobody waits for, too.
    fn recv_stopped(&self, inner: &Inner, socket: &Socket, asked: bool) {
        if asked || socket.phase.get() != Phase::Open || socket.unread.get() as usize >= RECV_UNREAD_MAX {
            inner.receive_idle(socket);
        } else {
            socket.recv.set(Recv::Idle);
            self.arm_recv(inner, socket);
        }
    }

    fn bulk_completed(&self, inner: &Inner, socket: &Socket, result: i32) {
        let buffer = socket.bulk.take().expect("a bulk receive names its buffer");
        // SAFETY: the kernel is done with the buffer, wrote `result` bytes, and its only count is ours.
        let chunk = unsafe { Chunk::from_raw(buffer, 0, result.max(0) as u32) };
        socket.landed();
        socket.unset(flag::CANCELLED | flag::BULK_FILLED);
        if self.closing_completed(inner, socket) {
            return;
        }
        if chunk.len() == inner.pools.bulk_size() {
            socket.set(flag::BULK_FILLED);
        }
        if chunk.is_empty() {
            drop(chunk);
            self.recv_last(inner, socket, result, true);
        } else {
            socket.recv.set(Recv::Idle);
            inner.received(socket, chunk);
        }
    }

    #[cold]
    fn readable_completed(&self, inner: &Inner, socket: &Socket) {
        socket.landed();
        socket.unset(flag::CANCELLED | flag::POLL_IN);
        if !self.closing_completed(inner, socket) {
            match socket.recv.get() {
                Recv::Readable if socket.has(flag::POLL_FIRST) => {
                    socket.recv.set(Recv::Idle);
                    socket.set(flag::BULK_FILLED); // As good as: there is more.
                    self.arm_recv(inner, socket);
                }
                Recv::Readable => inner.readable(socket),
                _ => inner.receive_idle(socket),
            }
        }
    }

    /// A receive that ended without bytes.
    fn recv_last(&self, inner: &Inner, socket: &Socket, result: i32, asked: bool) {
        match -result {
            0 => inner.receive_ended(socket, 0),
            libc::ENOBUFS => {
                inner.receive_starved(socket);
                inner.pools.chunks_grow();
            }
            libc::ECANCELED | libc::EAGAIN | libc::EINTR => self.recv_stopped(inner, socket, asked),
            errno => inner.receive_ended(socket, errno),
        }
    }

    fn accept_completed(&self, inner: &Inner, index: u32, generation: u32, result: i32, flags: u32) {
        // SAFETY: the kernel just gave this descriptor to us alone.
        let fd = (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) });
        let slot = inner.listeners.get(index).filter(|slot| slot.generation == generation);
        let slot = slot.expect("a listener's slot stays until its last completion");
        match fd {
            Some(fd) => {
                slot.accepted(inner, fd);
                if !more(flags) {
                    slot.idle(inner);
                }
            }
            None if more(flags) => {}
            None if -result == libc::ECANCELED => slot.idle(inner),
            None => slot.failed(inner, -result),
        }
    }

    // --- Receives --------------------------------------------------------------------------------------------------------

    pub(crate) fn arm_recv(&self, inner: &Inner, socket: &Socket) {
        debug_assert!(socket.recv.get() == Recv::Idle && socket.phase.get() == Phase::Open);
        if socket.has(flag::POLL_FIRST) && !socket.has(flag::BULK_FILLED) {
            return self.arm_readable(socket);
        }
        socket.flew();
        if socket.has(flag::BULK)
            && let Some(buffer) = inner.pools.bulk_take()
        {
            socket.bulk.set(Some(buffer));
            socket.recv.set(Recv::Bulk);
            let size = inner.pools.bulk_size() as u32;
            let entry = opcode::Recv::new(Fd(socket.fd.get()), Header::bytes(buffer), size).build();
            self.push(entry.user_data(user_data(op::BULK, socket)));
            return;
        }
        socket.recv.set(Recv::Multishot);
        if socket.has(flag::SPARING) {
            // One receive into a chunk that is chosen when bytes are there, as those of a multishot are.
            let entry = opcode::Recv::new(Fd(socket.fd.get()), std::ptr::null_mut(), 0).buf_group(BUFFER_GROUP).build();
            self.push(entry.flags(Flags::BUFFER_SELECT).user_data(user_data(op::RECV, socket)));
            return;
        }
        let entry = opcode::RecvMulti::new(Fd(socket.fd.get()), BUFFER_GROUP).build();
        self.push(entry.user_data(user_data(op::RECV, socket)));
    }

    pub(crate) fn disarm_recv(&self, inner: &Inner, socket: &Socket) {
        match socket.recv.get() {
            Recv::Multishot | Recv::Bulk | Recv::Readable => {
                socket.recv.set(Recv::Cancelling);
                self.cancel_recv(socket);
            }
            Recv::Starved => inner.receive_idle(socket),
            Recv::Idle | Recv::Cancelling | Recv::Ended => {}
        }
    }

    fn cancel_recv(&self, socket: &Socket) {
        if !socket.has(flag::CANCELLED) {
            socket.set(flag::CANCELLED);
            let which = if socket.bulk.get().is_some() {
                op::BULK
            } else if socket.has(flag::POLL_IN) {
                op::READABLE
            } else {
                op::RECV
            };
            self.push_cancel(user_data(which, socket));
        }
    }

    /// Cancels one operation. Its success posts nothing (the operation's own last completion tells), its failure (already
    /// completing) is ignored.
    fn push_cancel(&self, target: u64) {
        let entry = opcode::AsyncCancel::new(target).build().flags(Flags::SKIP_SUCCESS);
        self.push(entry.user_data(op::IGNORED << 56));
    }

    pub(crate) fn arm_readable(&self, socket: &Socket) {
        debug_assert!(socket.recv.get() == Recv::Idle && socket.phase.get() == Phase::Open);
        socket.set(flag::POLL_IN);
        socket.flew();
        socket.recv.set(Recv::Readable);
        let events = libc::POLLIN | libc::POLLRDHUP;
        let entry = opcode::PollAdd::new(Fd(socket.fd.get()), events as u32).build();
        self.push(entry.user_data(user_data(op::READABLE, socket)));
    }

    pub(crate) fn arm_writable(&self, socket: &Socket) {
        if !socket.has(flag::POLL_OUT) {
            socket.set(flag::POLL_OUT);
            socket.flew();
            let entry = opcode::PollAdd::new(Fd(socket.fd.get()), libc::POLLOUT as u32).build();
            self.push(entry.user_data(user_data(op::WRITABLE, socket)));
        }
    }

    pub(crate) fn cancel(&self, socket: &Socket) {
        if matches!(socket.recv.get(), Recv::Multishot | Recv::Bulk | Recv::Readable | Recv::Cancelling) {
            self.cancel_recv(socket);
        }
        if socket.has(flag::POLL_OUT) && !socket.has(flag::POLL_OUT_CANCELLED) {
            socket.set(flag::POLL_OUT_CANCELLED);
            self.push_cancel(user_data(op::WRITABLE, socket));
        }
    }

    pub(crate) fn arm_accept(&self, slot: &ListenSlot) {
        slot.state.set(Accept::Armed);
        let entry = opcode::AcceptMulti::new(Fd(slot.fd())).flags(libc::SOCK_CLOEXEC).build();
        self.push(entry.user_data(accept_data(slot)));
    }

    pub(crate) fn disarm_accept(&self, slot: &ListenSlot) {
        if slot.state.get() == Accept::Armed {
            slot.state.set(Accept::Cancelling);
            self.push_cancel(accept_data(slot));
        }
    }

    fn arm_wake(&self, wake: &Arc<Wake>) {
        let entry = opcode::PollAdd::new(Fd(wake.event().as_raw_fd()), libc::POLLIN as u32).multi(true).build();
        self.push(entry.user_data(op::WAKE << 56));
    }

    // --- Sends -----------------------------------------------------------------------------------------------------------

    #[inline]
    pub(crate) fn flush(&self, inner: &Inner, socket: &Socket) {
        let closing = socket.phase.get() == Phase::Closing;
        let may_send = match socket.send.get() {
            Send::Open => true,
            Send::Stalled => closing,
            Send::Shut | Send::Failed => false,
        };
        let sends =
            may_send && !socket.send_queue.is_empty() && !matches!(socket.phase.get(), Phase::Free | Phase::Connecting);
        if !sends {
            inner.after_send(socket);
            return;
        }
        self.attempt(inner, socket);
        if closing {
            self.cancel(socket);
        }
    }

    #[inline]
    fn attempt(&self, inner: &Inner, socket: &Socket) {
        const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let queued = socket.send_queue.len();
        let count = queued.min(inner.options.pieces_per_send_max);
        self.make_room(inner, socket, count);
        let unsent = socket.unsent.get();
        let joins = unsent <= SEND_JOINED_MAX && self.joined_used.get() + unsent <= JOINED_PER_BATCH_MAX;
        let (bytes, entry) = if count > 1 && joins {
            let first = self.joined_used.replace(self.joined_used.get() + unsent);
            // SAFETY: a copy. The kernel reads what earlier sends of the batch put in front of it, not what is written here.
            let data = unsafe {
                self.joined.with(|joined| {
                    let place = &mut joined[first..first + unsent];
                    assert_eq!(socket.send_queue.copy_to(place), unsent, "what is unsent is queued");
                    place.as_ptr()
                })
            };
            let entry = opcode::Send::new(Fd(socket.fd.get()), data, unsent as u32).flags(FLAGS).build();
            (unsent, entry)
        } else if count == 1 {
            // SAFETY: in range; the queue does not change before the send is decided.
            let chunk = unsafe { socket.send_queue.at(0) };
            let entry = opcode::Send::new(Fd(socket.fd.get()), chunk.data(), chunk.len() as u32).flags(FLAGS).build();
            (chunk.len(), entry)
        } else {
            let first = self.pieces_used.get();
            let mut bytes = 0;
            for i in 0..count {
                // SAFETY: as above.
                let chunk = unsafe { socket.send_queue.at(i) };
                let piece = libc::iovec { iov_base: chunk.data().cast(), iov_len: chunk.len() };
                self.pieces[first + i].set(piece);
                bytes += chunk.len();
            }
            self.pieces_used.set(first + count);
            let slot = &self.messages[self.messages_used.get()];
            self.messages_used.set(self.messages_used.get() + 1);
            let mut message = slot.get();
            message.msg_iov = self.pieces[first..].as_ptr().cast::<libc::iovec>().cast_mut();
            message.msg_iovlen = count;
            slot.set(message);
            let message = slot.as_ptr().cast_const();
            (bytes, opcode::SendMsg::new(Fd(socket.fd.get()), message).flags(FLAGS as u32).build())
        };
        debug_assert_eq!(socket.send_result.get(), SEND_UNTOLD);
        let entry = entry.flags(Flags::SKIP_SUCCESS).user_data(user_data(op::SEND, socket));
        assert!(self.try_push(&entry), "there was made room");
        socket.set(flag::SENDING);
        self.sending.borrow_mut().push(Attempt { index: socket.index, bytes });
        inner.stats.sends.add(1);
        // Somebody waits for the outcome, or something follows it.
        let followed = bytes < unsent || socket.has(flag::FIN) || socket.phase.get() == Phase::Closing;
        if followed || socket.send_waker.is_set() {
            self.urgent.set(true);
        }
    }

    /// Room for one send of `count` pieces. What is written to the arenas afterwards stays until the next `submit`.
    #[inline]
    fn make_room(&self, inner: &Inner, socket: &Socket, count: usize) {
        let full =
            self.pieces_used.get() + count > self.pieces.len() || self.messages_used.get() == self.messages.len();
        if full || !self.has_room() {
            self.make_room_slowly(inner, socket);
        }
    }

    #[inline]
    fn has_room(&self) -> bool {
        self.queued.get() < self.queue_size && self.backlog.borrow().is_empty()
    }

    #[cold]
    fn make_room_slowly(&self, inner: &Inner, socket: &Socket) {
        // From here on a closing socket is finished by the decision of its send, not by a completion that is taken now.
        socket.set(flag::SENDING);
        let mut tries = 0;
        loop {
            self.move_backlog(inner);
            self.submit(inner, 0, None); // Decides the sends so far and empties both arenas.
            // What was taken and decided may have filled the queue anew: receives that go on, sockets that wait for their peer.
            if self.has_room() {
                return;
            }
            tries += 1;
            assert!(tries < SUBMIT_TRIES_MAX, "the kernel takes submissions");
        }
    }

    /// All sends of the batch are decided: a completion told what was taken, or all was.
    #[inline]
    fn decide_sends(&self, inner: &Inner) {
        if self.sending.borrow().is_empty() {
            return;
        }
        self.sending.swap(&self.sending_spare);
        for Attempt { index, bytes } in self.sending_spare.borrow_mut().drain(..) {
            let socket = inner.sockets.get(index).expect("listed slots exist");
            socket.unset(flag::SENDING);
            match socket.send_result.get() {
                SEND_UNTOLD => inner.sent(socket, bytes),
                taken if taken >= 0 => {
                    let taken = taken as usize;
                    assert!(taken <= bytes, "no more is taken than was offered");
                    inner.sent(socket, taken);
                    if taken < bytes {
                        inner.send_stalled(socket);
                    }
                }
                errno if -errno == libc::EAGAIN => inner.send_stalled(socket),
                errno if -errno == libc::EINTR => inner.send_interrupted(socket),
                errno => inner.send_failed(socket, -errno),
            }
            inner.after_send(socket);
        }
        self.pieces_used.set(0);
        self.joined_used.set(0);
        self.messages_used.set(0);
    }

    /// The core has ended: the kernel forgets the buffers.
    pub(crate) fn end(&self) {
        self.kernel.end();
    }
}
