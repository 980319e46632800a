//! A simulated io_uring below the ring driver, for tests: it does, by a seed, whatever the real one may do at its worst.
//!
//! It interprets the same submission entries over plain non-blocking system calls on the real sockets. It fills the core's real
//! ring of provided buffers and writes to the memory that entries name, so a sanitizer sees what the kernel would do.
//! It is compiled with the feature `fault` only and is never in the product.
//!
//! What it does: completes in any order, late, one byte at a time; sends short or not at all; finds no buffer although there is one;
//! ends multishots by itself, with and without data; answers a cancel late, or after the operation has completed; refuses
//! to enter, or consumes entries only in part; overflows a completion queue of 8; wakes late; finds no descriptor (seeds that are
//! 3 modulo 4, because that error is the acceptor's to see). Odd seeds leave a core two receive chunks in all.
//!
//! What it keeps, because the real one promises it and the driver relies on it:
//!
//! * An entry that was consumed is issued inside that `enter`, in order; one that was not stays queued (io_uring_enter(2)).
//!   After a partial consumption nothing is waited for, and nothing is worked on (io_uring/io_uring.c, `ret != to_submit`).
//! * A send with MSG_DONTWAIT is tried once, in line; its completion is posted inside the same `enter`. With MSG_WAITALL whatever
//!   was not taken whole counts as failed, so it is told also under IOSQE_CQE_SKIP_SUCCESS (io_uring_enter(2), io_uring/net.c).
//! * The bytes of one receive come in the order of the stream (io_uring_multishot(7)).
//! * IORING_CQE_F_MORE says that more completions follow; the one without it is the last (io_uring_multishot(7)).
//! * A cancel that found its target ends it: the target's last completion follows, now or later. Otherwise the cancel says
//!   ENOENT or EALREADY and its target completes by itself (io_uring_prep_cancel(3)).
//! * Nothing is lost when the completion queue is full: the rest waits in order, IORING_SQ_CQ_OVERFLOW says so, and an `enter`
//!   with GETEVENTS moves it (IORING_FEAT_NODROP, io_uring_setup(2)). A multishot that finds no room ends (io_uring/net.c).
//! * A provided buffer is the kernel's from the published tail until a completion names it, and is named once
//!   (io_uring_register_buf_ring(3)).
//! * A multishot poll tells each new event of its descriptor, also when older ones were not read (io_uring_prep_poll_multishot(3)).
//! * With IORING_SETUP_DEFER_TASKRUN all this happens inside `enter`; without it, at any system call (io_uring_setup(2)).
//!
//! Invariant that it checks: a descriptor is not closed while an operation names it, no two operations have one name, and when the
//! core ends only the poll on its eventfd is left.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use io_uring::opcode;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::BufRingEntry;

use crate::core::Options;
use crate::feature::FeatureSet;
use crate::pool::Pools;
use crate::report::IoReport;
use crate::sys;

/// A submission entry as the kernel reads it: struct io_uring_sqe in linux/io_uring.h.
#[repr(C)]
#[derive(Clone, Copy)]
struct Submission {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    off: u64,
    addr: u64,
    len: u32,
    op_flags: u32,
    user_data: u64,
    rest: [u64; 3],
}

const _: () = assert!(size_of::<Submission>() == size_of::<Entry>() && align_of::<Submission>() == align_of::<Entry>());

const IORING_RECV_MULTISHOT: u16 = 1 << 1;
const IORING_ACCEPT_MULTISHOT: u16 = 1 << 0;
const IORING_POLL_ADD_MULTI: u32 = 1 << 0;
const IORING_CQE_F_BUFFER: u32 = 1 << 0;
const IORING_CQE_F_MORE: u32 = 1 << 1;
const IORING_CQE_BUFFER_SHIFT: u32 = 16;

/// user_data, result, flags.
type Completion = (u64, i32, u32);

/// What an operation in flight does when its descriptor is ready.
enum Kind {
    RecvMulti,
    /// One receive into a provided buffer.
    RecvOne,
    Recv {
        addr: u64,
        len: u32,
    },
    PollOnce {
        events: i16,
    },
    /// An epoll instance sees every new event of the descriptor.
    PollMulti {
        edges: OwnedFd,
    },
    AcceptMulti {
        flags: i32,
    },
}

struct Operation {
    user_data: u64,
    fd: RawFd,
    kind: Kind,
    /// Cancelled; the last completion is still to be posted.
    cancelled: bool,
}

impl Operation {
    fn interest(&self) -> libc::pollfd {
        let (fd, events) = match &self.kind {
            Kind::PollOnce { events } => (self.fd, *events),
            Kind::PollMulti { edges } => (edges.as_raw_fd(), libc::POLLIN),
            Kind::RecvMulti | Kind::RecvOne | Kind::Recv { .. } | Kind::AcceptMulti { .. } => (self.fd, libc::POLLIN),
        };
        libc::pollfd { fd, events, revents: 0 }
    }
}

/// How an operation's turn ended.
#[derive(PartialEq, Eq)]
enum Step {
    /// It stays in flight.
    Stays,
    /// Its last completion is posted.
    Ended,
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// What one seed's kernel is like: how often (in 1024) it does what.
#[derive(Debug)]
struct Habits {
    /// An `enter` is refused, or interrupted.
    refuses: usize,
    /// Only some of the entries are consumed.
    partial: usize,
    /// A ready operation is left for a later `enter`.
    late: usize,
    /// A receive brings one byte.
    one_byte: usize,
    /// A send is tried with less than it has, or not at all.
    short_send: usize,
    /// A multishot that could go on ends.
    ends: usize,
    /// An operation ends without having done anything.
    ends_empty: usize,
    /// A cancel comes too late, or its effect later.
    late_cancel: usize,
    /// An accept fails for want of a descriptor.
    no_descriptor: usize,
}

/// Rates in 1024 to choose from: never, rarely, often.
const RATES: [usize; 4] = [0, 20, 150, 500];

impl Habits {
    fn new(chance: &mut Chance, seed: u64) -> Habits {
        Habits {
            refuses: chance.of(&[0, 20, 150]),
            partial: chance.of(&RATES),
            late: chance.of(&RATES),
            one_byte: chance.of(&RATES),
            short_send: chance.of(&[0, 20, 150]),
            ends: chance.of(&RATES),
            ends_empty: chance.of(&[0, 20, 150]),
            late_cancel: chance.of(&RATES),
            no_descriptor: if seed % 4 == 3 { 150 } else { 0 },
        }
    }
}

struct State {
    chance: Chance,
    habits: Habits,
    submissions: VecDeque<Submission>,
    operations: Vec<Operation>,
    completions: VecDeque<Completion>,
    overflow: VecDeque<Completion>,
    buffers: *const BufRingEntry,
    buffers_mask: u16,
    buffers_head: u16,
    interest: Vec<libc::pollfd>,
}

/// The options with two receive chunks in all, if the seed is odd.
pub(super) fn scanty(options: &Options, seed: u64) -> Options {
    match seed % 2 {
        0 => options.clone(),
        _ => Options { chunks_initial: 2, chunks_max: 2, ..options.clone() },
    }
}

pub(super) struct FaultKernel {
    state: RefCell<State>,
    seed: u64,
    queue_size: u32,
    cq_size: usize,
    deferred: bool,
}

impl FaultKernel {
    /// A kernel that knows the pools' ring of provided buffers, and does what `seed` says.
    pub(super) fn new(options: &Options, pools: &Pools, seed: u64) -> FaultKernel {
        let mut chance = Chance(seed);
        chance.next(); // Small seeds, too, begin far apart.
        let habits = Habits::new(&mut chance, seed);
        let (address, entries) = pools.buf_ring().expect("the pools were started for a ring");
        let queue_size = chance.of(&[8, options.sq_entries.next_power_of_two()]);
        let cq_size = chance.of(&[8, options.cq_entries.next_power_of_two() as usize]);
        let deferred = chance.below(4) > 0;
        let state = State {
            chance,
            habits,
            submissions: VecDeque::new(),
            operations: Vec::new(),
            completions: VecDeque::new(),
            overflow: VecDeque::new(),
            buffers: std::ptr::with_exposed_provenance(address as usize),
            buffers_mask: entries - 1,
            buffers_head: 0,
            interest: Vec::new(),
        };
        FaultKernel { state: RefCell::new(state), seed, queue_size, cq_size, deferred }
    }

    pub(super) fn report(&self) -> IoReport {
        let taskrun = if self.deferred { ",defer_taskrun" } else { "" };
        let features = format!("seed={},sq={},cq={}{taskrun}", self.seed, self.queue_size, self.cq_size);
        IoReport {
            driver: "fault",
            features,
            missing: FeatureSet::default(),
            reason: "asked for".to_string(),
            advice: "",
        }
    }

    pub(super) fn queue_size(&self) -> u32 {
        self.queue_size
    }

    pub(super) fn is_deferred(&self) -> bool {
        self.deferred
    }

    pub(super) fn push(&self, entry: &Entry) {
        // SAFETY: both are the kernel's struct io_uring_sqe; every bit pattern is valid for numbers.
        let submission = unsafe { std::ptr::from_ref(entry).cast::<Submission>().read() };
        let mut state = self.state.borrow_mut();
        assert!(state.submissions.len() < self.queue_size as usize, "the queue has room for what the driver counts");
        state.submissions.push_back(submission);
    }

    pub(super) fn enter(&self, count: u32, min_complete: u32, timeout: Option<Duration>) -> io::Result<usize> {
        let state = &mut *self.state.borrow_mut();
        assert_eq!(count as usize, state.submissions.len(), "the driver counts what it has queued");
        if state.often(state.habits.refuses) {
            let errno = state.chance.of(&[libc::EINTR, libc::EAGAIN, libc::EBUSY, libc::ENOMEM]);
            return Err(io::Error::from_raw_os_error(errno));
        }
        let mut consumed = count as usize;
        if consumed > 1 && state.often(state.habits.partial) {
            consumed = state.chance.below(consumed);
        }
        for _ in 0..consumed {
            let submission = state.submissions.pop_front().expect("counted");
            state.issue(self.cq_size, &submission);
        }
        if !state.submissions.is_empty() {
            return if consumed > 0 { Ok(consumed) } else { Err(io::Error::from_raw_os_error(libc::EAGAIN)) };
        }
        let until = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            state.work(self.cq_size);
            state.move_overflow(self.cq_size);
            if state.completions.len() >= min_complete as usize {
                return Ok(consumed);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let errno = if left.is_some_and(|left| left.is_zero()) {
                libc::ETIME
            } else if state.often(state.habits.refuses) {
                libc::EINTR
            } else {
                state.wait(left);
                continue;
            };
            return if consumed > 0 { Ok(consumed) } else { Err(io::Error::from_raw_os_error(errno)) };
        }
    }

    pub(super) fn has_work(&self) -> bool {
        self.interfere();
        let state = &mut *self.state.borrow_mut();
        !state.overflow.is_empty() || state.wait(Some(Duration::ZERO))
    }

    pub(super) fn has_overflowed(&self) -> bool {
        !self.state.borrow().overflow.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.interfere();
        self.state.borrow().completions.is_empty()
    }

    pub(super) fn take(&self) -> Option<Completion> {
        self.state.borrow_mut().completions.pop_front()
    }

    pub(super) fn end(&self) {
        let state = self.state.borrow();
        let left =
            state.operations.iter().filter(|operation| !matches!(operation.kind, Kind::PollMulti { .. })).count();
        assert_eq!(left, 0, "operations in flight at the core's end");
        let harmless =
            |entry: &Submission| entry.opcode == opcode::AsyncCancel::CODE || entry.len & IORING_POLL_ADD_MULTI != 0;
        assert!(state.submissions.iter().all(harmless), "an entry that was never submitted names nothing of a socket");
    }

    /// Without DEFER_TASKRUN the kernel works at any system call of the thread.
    fn interfere(&self) {
        let state = &mut *self.state.borrow_mut();
        if !self.deferred && state.often(300) {
            state.work(self.cq_size);
        }
    }
}

impl State {
    fn often(&mut self, rate: usize) -> bool {
        rate > 0 && self.chance.below(1024) < rate
    }

    /// Posts a completion. Nothing is lost.
    fn post(&mut self, cq_size: usize, completion: Completion) {
        if self.has_room(cq_size) {
            self.completions.push_back(completion);
        } else {
            self.overflow.push_back(completion);
        }
    }

    /// Whether a completion goes into the queue and not behind others into the list.
    fn has_room(&self, cq_size: usize) -> bool {
        self.overflow.is_empty() && self.completions.len() < cq_size
    }

    fn move_overflow(&mut self, cq_size: usize) {
        while self.completions.len() < cq_size {
            let Some(completion) = self.overflow.pop_front() else { break };
            self.completions.push_back(completion);
        }
    }

    fn issue(&mut self, cq_size: usize, submission: &Submission) {
        let kind = match submission.opcode {
            opcode::Send::CODE | opcode::SendMsg::CODE => return self.send(cq_size, submission),
            opcode::AsyncCancel::CODE => return self.cancel(cq_size, submission),
            opcode::Recv::CODE if submission.ioprio & IORING_RECV_MULTISHOT != 0 => {
                assert!(submission.flags & Flags::BUFFER_SELECT.bits() != 0 && submission.len == 0);
                Kind::RecvMulti
            }
            opcode::Recv::CODE if submission.flags & Flags::BUFFER_SELECT.bits() != 0 => {
                assert_eq!(submission.len, 0, "as much as the buffer holds");
                Kind::RecvOne
            }
            opcode::Recv::CODE => Kind::Recv { addr: submission.addr, len: submission.len },
            opcode::PollAdd::CODE if submission.len & IORING_POLL_ADD_MULTI != 0 => {
                Kind::PollMulti { edges: watch_edges(submission.fd, submission.op_flags) }
            }
            opcode::PollAdd::CODE => Kind::PollOnce { events: submission.op_flags as i16 },
            opcode::Accept::CODE => {
                assert!(submission.ioprio & IORING_ACCEPT_MULTISHOT != 0, "accepts are multishot");
                Kind::AcceptMulti { flags: submission.op_flags as i32 }
            }
            other => unreachable!("the driver submits no operation {other}"),
        };
        let user_data = submission.user_data;
        assert!(self.operations.iter().all(|other| other.user_data != user_data), "one operation to a name");
        self.operations.push(Operation { user_data, fd: submission.fd, kind, cancelled: false });
        // The kernel tries at once; that it finds nothing there is as good as trying later.
        if self.chance.below(2) == 0 {
            let mut ready = [self.operations[self.operations.len() - 1].interest()];
            poll(&mut ready, Some(Duration::ZERO));
            self.step(cq_size, self.operations.len() - 1, ready[0].revents);
        }
    }

    fn send(&mut self, cq_size: usize, submission: &Submission) {
        const FLAGS: u32 = (libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL) as u32;
        assert_eq!(submission.op_flags, FLAGS, "all sends are decided inside `enter`");
        // SAFETY: queued entries name valid memory (`Kernel::push`): for SendMsg a msghdr with its pieces.
        let mut pieces = unsafe {
            if submission.opcode == opcode::Send::CODE {
                let base = std::ptr::with_exposed_provenance_mut(submission.addr as usize);
                vec![libc::iovec { iov_base: base, iov_len: submission.len as usize }]
            } else {
                let message = &*std::ptr::with_exposed_provenance::<libc::msghdr>(submission.addr as usize);
                std::slice::from_raw_parts(message.msg_iov, message.msg_iovlen).to_vec()
            }
        };
        let total: usize = pieces.iter().map(|piece| piece.iov_len).sum();
        let mut limit = total;
        if self.often(self.habits.short_send) {
            limit = self.chance.below(total);
        }
        let mut left = limit;
        for piece in &mut pieces {
            piece.iov_len = piece.iov_len.min(left);
            left -= piece.iov_len;
        }
        let result = if limit == 0 {
            -self.chance.of(&[libc::EAGAIN, libc::EAGAIN, libc::EINTR])
        } else {
            // SAFETY: as above.
            unsafe { sys::send(submission.fd, &pieces) }.map_or_else(|errno| -errno, |n| n as i32)
        };
        let skips = submission.flags & Flags::SKIP_SUCCESS.bits() != 0;
        if result != total as i32 || !skips {
            self.post(cq_size, (submission.user_data, result, 0));
        }
    }

    fn cancel(&mut self, cq_size: usize, submission: &Submission) {
        let target = submission.addr;
        let mut result = -libc::ENOENT;
        if self.often(self.habits.late_cancel)
            && let Some(index) = self.find(target)
        {
            // The operation gets on before the cancel reaches it, and may even complete.
            let mut ready = [self.operations[index].interest()];
            poll(&mut ready, Some(Duration::ZERO));
            self.step(cq_size, index, ready[0].revents);
        }
        if let Some(index) = self.find(target) {
            if self.operations[index].cancelled {
                result = -libc::EALREADY;
            } else {
                result = 0;
                self.operations[index].cancelled = true;
                if !self.often(self.habits.late_cancel) {
                    self.step(cq_size, index, 0);
                }
            }
        }
        if result != 0 || submission.flags & Flags::SKIP_SUCCESS.bits() == 0 {
            self.post(cq_size, (submission.user_data, result, 0));
        }
    }

    fn find(&self, user_data: u64) -> Option<usize> {
        self.operations.iter().position(|operation| operation.user_data == user_data)
    }

    /// Waits until an operation can get on. Says whether one can.
    fn wait(&mut self, timeout: Option<Duration>) -> bool {
        let now = self.operations.iter().any(|operation| operation.cancelled);
        let timeout = if now { Some(Duration::ZERO) } else { timeout };
        let mut interest = std::mem::take(&mut self.interest);
        interest.clear();
        interest.extend(self.operations.iter().map(Operation::interest));
        let ready = poll(&mut interest, timeout) > 0;
        self.interest = interest;
        ready || now
    }

    /// Lets operations that can get on do so, in any order; some are left for later.
    fn work(&mut self, cq_size: usize) {
        if !self.wait(Some(Duration::ZERO)) {
            return;
        }
        let mut ready: Vec<(u64, i16)> = Vec::new();
        for (operation, polled) in self.operations.iter().zip(&self.interest) {
            if operation.cancelled || polled.revents != 0 {
                ready.push((operation.user_data, polled.revents));
            }
        }
        while !ready.is_empty() {
            let (user_data, revents) = ready.swap_remove(self.chance.below(ready.len()));
            if !self.often(self.habits.late) {
                let index = self.find(user_data).expect("only its own step ends an operation here");
                self.step(cq_size, index, revents);
            }
        }
    }

    /// Lets the operation at `index` get on, and forgets it after its last completion.
    fn step(&mut self, cq_size: usize, index: usize, revents: i16) {
        assert_eq!(revents & libc::POLLNVAL, 0, "the descriptor of an operation in flight is open");
        let operation = self.operations.swap_remove(index);
        let data = operation.user_data;
        let step = if operation.cancelled {
            self.post(cq_size, (data, -libc::ECANCELED, 0));
            Step::Ended
        } else {
            match &operation.kind {
                Kind::RecvMulti => self.recv_provided(cq_size, data, operation.fd, true),
                Kind::RecvOne => self.recv_provided(cq_size, data, operation.fd, false),
                Kind::Recv { addr, len } => self.recv(cq_size, data, operation.fd, *addr, *len),
                Kind::PollOnce { events } => {
                    let seen = revents & (events | libc::POLLERR | libc::POLLHUP);
                    if seen == 0 {
                        Step::Stays
                    } else {
                        self.post(cq_size, (data, i32::from(seen), 0));
                        Step::Ended
                    }
                }
                Kind::PollMulti { edges } => {
                    if take_edge(edges) {
                        self.post_more(cq_size, data, i32::from(libc::POLLIN), 0)
                    } else {
                        Step::Stays
                    }
                }
                Kind::AcceptMulti { flags } => self.accept_multi(cq_size, data, operation.fd, *flags),
            }
        };
        if step == Step::Stays {
            self.operations.push(operation);
        }
    }

    /// Posts a completion of a multishot, which goes on unless there is no room, or chance says so.
    fn post_more(&mut self, cq_size: usize, data: u64, result: i32, flags: u32) -> Step {
        if !self.has_room(cq_size) || self.often(self.habits.ends) {
            self.post(cq_size, (data, result, flags));
            return Step::Ended;
        }
        self.post(cq_size, (data, result, flags | IORING_CQE_F_MORE));
        Step::Stays
    }

    fn end_with(&mut self, cq_size: usize, data: u64, errno: i32) -> Step {
        self.post(cq_size, (data, -errno, 0));
        Step::Ended
    }

    /// How much of `len` one receive asks for.
    fn recv_len(&mut self, len: usize) -> usize {
        if self.often(self.habits.one_byte) { 1 } else { self.chance.of(&[len, len, 1 + len / 3]).min(len) }
    }

    fn recv_provided(&mut self, cq_size: usize, data: u64, fd: RawFd, is_multi: bool) -> Step {
        // As many as a real multishot brings in one go at most (io_uring/net.c, MULTISHOT_MAX_RETRY).
        let mut left = self.chance.of(&[1, 2, 32]);
        loop {
            if self.often(self.habits.ends_empty) {
                let errno = self.chance.of(&[libc::ENOBUFS, libc::ECANCELED, libc::EINTR, libc::EAGAIN]);
                return self.end_with(cq_size, data, errno);
            }
            let Some((addr, len, id)) = self.buffer() else {
                return self.end_with(cq_size, data, libc::ENOBUFS);
            };
            let flags = IORING_CQE_F_BUFFER | u32::from(id) << IORING_CQE_BUFFER_SHIFT;
            let len = self.recv_len(len as usize);
            // SAFETY: the buffer is provided: `len` bytes that are the kernel's until a completion names it.
            let step = match unsafe { sys::recv(fd, std::ptr::with_exposed_provenance_mut(addr as usize), len) } {
                Ok(0) if self.chance.below(4) == 0 => {
                    // Kernels before 6.10 or so name a buffer in which there is nothing.
                    self.buffers_head = self.buffers_head.wrapping_add(1);
                    self.post(cq_size, (data, 0, flags));
                    return Step::Ended;
                }
                Ok(0) => return self.end_with(cq_size, data, 0),
                Ok(n) => {
                    self.buffers_head = self.buffers_head.wrapping_add(1);
                    if !is_multi {
                        self.post(cq_size, (data, n as i32, flags));
                        return Step::Ended;
                    }
                    self.post_more(cq_size, data, n as i32, flags)
                }
                Err(libc::EAGAIN) => return Step::Stays,
                Err(errno) => return self.end_with(cq_size, data, errno),
            };
            left -= 1;
            if step == Step::Ended || left == 0 {
                return step;
            }
        }
    }

    /// The next provided buffer, which stays provided: its address, size and number.
    fn buffer(&self) -> Option<(u64, u32, u16)> {
        // SAFETY: the ring of provided buffers is registered: it lives longer than this kernel. The tail is shared, the
        // entries before it are ours.
        unsafe {
            let tail = (*BufRingEntry::tail(self.buffers).cast::<AtomicU16>()).load(Ordering::Acquire);
            if tail == self.buffers_head {
                return None;
            }
            let entry = &*self.buffers.add(usize::from(self.buffers_head & self.buffers_mask));
            Some((entry.addr(), entry.len(), entry.bid()))
        }
    }

    fn recv(&mut self, cq_size: usize, data: u64, fd: RawFd, addr: u64, len: u32) -> Step {
        if self.often(self.habits.ends_empty) {
            let errno = self.chance.of(&[libc::ECANCELED, libc::EINTR, libc::EAGAIN]);
            return self.end_with(cq_size, data, errno);
        }
        let len = self.recv_len(len as usize);
        // SAFETY: the entry names that many bytes, until the completion.
        match unsafe { sys::recv(fd, std::ptr::with_exposed_provenance_mut(addr as usize), len) } {
            Ok(n) => {
                self.post(cq_size, (data, n as i32, 0));
                Step::Ended
            }
            Err(libc::EAGAIN) => Step::Stays,
            Err(errno) => self.end_with(cq_size, data, errno),
        }
    }

    fn accept_multi(&mut self, cq_size: usize, data: u64, fd: RawFd, flags: i32) -> Step {
        assert_eq!(flags, libc::SOCK_CLOEXEC);
        loop {
            if self.often(self.habits.ends_empty) {
                let errno = self.chance.of(&[libc::ECONNABORTED, libc::ECANCELED, libc::EINTR]);
                return self.end_with(cq_size, data, errno);
            }
            if self.often(self.habits.no_descriptor) {
                let errno = self.chance.of(&[libc::EMFILE, libc::ENFILE]);
                return self.end_with(cq_size, data, errno);
            }
            let step = match sys::accept(fd) {
                Ok(accepted) => self.post_more(cq_size, data, accepted.into_raw_fd(), 0),
                Err(libc::EAGAIN) => return Step::Stays,
                Err(errno) => return self.end_with(cq_size, data, errno),
            };
            if step == Step::Ended || self.chance.below(4) == 0 {
                return step;
            }
        }
    }
}

impl Drop for State {
    /// Descriptors in completions that nobody took are nobody's: the driver takes all before the core ends.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.overflow.is_empty(), "all completions were taken");
        }
    }
}

/// poll(2), with a time in nanoseconds. Says how many are ready; interrupted is none.
fn poll(interest: &mut [libc::pollfd], timeout: Option<Duration>) -> usize {
    let time =
        timeout.map(|time| libc::timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: a slice of ours and a local time.
    let count = unsafe { libc::ppoll(interest.as_mut_ptr(), interest.len() as libc::nfds_t, time, std::ptr::null()) };
    if count < 0 {
        assert_eq!(sys::errno(), libc::EINTR, "poll");
        interest.iter_mut().for_each(|entry| entry.revents = 0);
    }
    count.max(0) as usize
}

/// An epoll instance that tells every new event of `fd`.
fn watch_edges(fd: RawFd, events: u32) -> OwnedFd {
    // SAFETY: a fresh descriptor; the event is a local.
    unsafe {
        let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        assert!(epoll >= 0, "epoll_create1: {}", io::Error::last_os_error());
        let mut event = libc::epoll_event { events: events | libc::EPOLLET as u32, u64: 0 };
        assert_eq!(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event), 0);
        OwnedFd::from_raw_fd(epoll)
    }
}

/// Takes the event, if there was one since the last call.
fn take_edge(edges: &OwnedFd) -> bool {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: room for one event.
    unsafe { libc::epoll_wait(edges.as_raw_fd(), &raw mut event, 1, 0) == 1 }
}
