//! `Pump`: one direction of a relay that looks at no byte, from one stream to another.
//!
//! ```text
//!             a receive that is held back       two that fill their buffer, both sides bare
//!   Chunks ─────────────────────────────> Bulk ─────────────────────────────────────────> Splice
//!      ^                                   │ lean receives                                  │ lean moves
//!      └───────────────────────────────────┴────────────────────────────────────────────────┘
//! ```
//! Small messages travel in chunks, which an idle connection does not hold. What comes in bulk is received in bulk buffers, and
//! goes through a pipe of the core by splice(2) once it keeps coming, without a copy: decision 16 has the figures. Where less may be held
//! than a bulk buffer, what fills its chunks goes through a pipe at once. An end or an error is the same in each. A pipe is held only while bytes lie in it: their reader is slow then. An idle flow holds no bulk buffer
//! either: one is given to the kernel when there is something to read (`flag::POLL_FIRST`).
//!
//! A pump for a part of a flow ([`Pump::of_part`]) begins in bulk, since more than a little is known to come, ends with the part's last byte, and what
//! comes behind stays with the source.
//!
//! Who has a pump neither receives from the one stream nor sends to the other meanwhile.
//! Invariant: bytes lie in the pipe only while none are queued in user space, on either side.

use std::io;
use std::task::{Context, Poll, ready};

use crate::chunk::Chunk;
use crate::core::Inner;
use crate::flow::RECV_UNREAD_MAX;
use crate::pipe::Pipe;
use crate::socket::{Phase, Recv, Send, Socket, flag};
use crate::stream::Stream;
use crate::sys;

/// What a pump may do.
#[derive(Clone, Copy, Debug)]
pub struct PumpLimits {
    /// Bytes to move in one poll, before other tasks have their turn; one receive may come on top.
    pub bytes_per_poll: usize,
    /// Bytes that a slow reader may leave with us, in user space or in a pipe; one receive may come on top.
    pub held_max: usize,
    /// Bytes that may be taken from the source, from this poll on: the pump is done with the last of them. `None`: all until its end.
    pub left: Option<u64>,
}

impl PumpLimits {
    /// As many bytes as one receive may bring.
    fn left_max(&self) -> usize {
        self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX))
    }
}

/// Which side ended a pump before its time.
#[derive(Debug)]
pub enum PumpError {
    /// Receiving failed: `ConnectionReset` is the peer's RST.
    Source(io::Error),
    /// Sending failed.
    Sink(io::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// With the bytes that came since there was nothing.
    Chunks { run: usize },
    /// With the receives in a row that filled their buffer; the bytes since there was nothing, and how many times in a row they were
    /// few.
    Bulk { full: u8, run: usize, lean: u8 },
    /// Likewise.
    Splice { run: usize, lean: u8 },
    /// The source has ended, and the sink was given all of it.
    Done,
}

const BULK: Mode = Mode::Bulk { full: 0, run: 0, lean: 0 };

/// So many receives in a row that fill a bulk buffer are a flow that keeps coming.
const FULL_ENOUGH: u8 = 2;
/// So many lean runs in a row are none any more.
const LEAN_ENOUGH: u8 = 4;
/// Fewer bytes than this are cheaper in chunks: four of them.
const LEAN: usize = 16 << 10;
/// A pipe for less would cost more than a bulk buffer, and where there may be none, than chunks.
const SPLICE_MIN: usize = 64 << 10;
const SPLICE_MIN_WITHOUT_BULK: usize = LEAN;

/// One direction of a relay (see the module). Dropping it loses what lies in its pipe, of a relay that is given up.
pub struct Pump {
    mode: Mode,
    pipe: Option<Pipe>,
    held: u32,
    moved: u64,
    /// More than a little of it is known to come, and nothing has said yet that it comes slowly.
    is_promised: bool,
}

impl Default for Pump {
    fn default() -> Pump {
        Pump::new()
    }
}

impl Pump {
    /// One that has moved nothing.
    pub fn new() -> Pump {
        Pump { mode: Mode::Chunks { run: 0 }, pipe: None, held: 0, moved: 0, is_promised: false }
    }

    /// One for a part of what comes from `from`, of which there is enough for a bulk buffer: [`PumpLimits::left`] says in each poll how much
    /// of it is left. A source that ends before fails it: `UnexpectedEof`.
    pub fn of_part(from: &Stream) -> Pump {
        let mut pump = Pump { is_promised: true, ..Pump::new() };
        pump.begin_bulk(from);
        pump
    }

    /// Bytes taken from the source so far. With a layer they are plain ones.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Those of them that lie in its pipe; others are in the sink's queue, or the kernel's.
    pub fn held(&self) -> usize {
        self.held as usize
    }

    /// Whether the source has ended, or all was moved that was to be, and the sink was given all of it.
    pub fn is_done(&self) -> bool {
        self.mode == Mode::Done
    }

    /// Whether bytes go by splice(2) at the moment.
    pub fn is_splicing(&self) -> bool {
        matches!(self.mode, Mode::Splice { .. })
    }

    /// Moves what can be moved now. Ready when the source has ended, or the last of so many bytes was moved, and the sink was given all of it (which
    /// may lie in its queue: [`Stream::shutdown_write`] follows it); an error when a side failed before.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &Stream,
        to: &Stream,
        mut limits: PumpLimits,
    ) -> Poll<Result<(), PumpError>> {
        let mut budget = limits.bytes_per_poll;
        while self.mode != Mode::Done {
            if budget == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let moved = match self.mode {
                Mode::Splice { .. } => ready!(self.splice(cx, from, to, &mut limits))?,
                _ => ready!(self.copy(cx, from, to, &mut limits))?,
            };
            budget = budget.saturating_sub(moved);
        }
        Poll::Ready(Ok(()))
    }

    // --- Through user space ----------------------------------------------------------------------------------------------

    /// One receive, queued.
    fn copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &Stream,
        to: &Stream,
        limits: &mut PumpLimits,
    ) -> Poll<Result<usize, PumpError>> {
        ready!(to.poll_unsent_below(cx, limits.held_max)).map_err(PumpError::Sink)?;
        if self.keeps_coming(from, *limits) && may_splice(from, to, *limits) {
            // The pipe's bytes come behind what is queued.
            ready!(to.poll_unsent_below(cx, 0)).map_err(PumpError::Sink)?;
            self.begin_splice(from, to, *limits);
            return Poll::Ready(Ok(0));
        }
        match from.poll_recv(cx) {
            Poll::Pending => {
                match &mut self.mode {
                    // Of a sparing source a chunk that is not full says so: `learn`.
                    Mode::Chunks { run } if !from.socket().has(flag::SPARING) => *run = 0,
                    Mode::Chunks { .. } => {}
                    Mode::Bulk { run, lean, .. } => {
                        if run_ended(run, lean) {
                            self.back_to_chunks(from);
                        }
                    }
                    Mode::Splice { .. } | Mode::Done => unreachable!("nothing is received then"),
                }
                Poll::Pending
            }
            Poll::Ready(Ok(Some(mut chunk))) => {
                self.learn(from, &chunk, *limits);
                let most = limits.left_max();
                if chunk.len() > most {
                    let ours = chunk.split_to(most);
                    from.unread(std::mem::replace(&mut chunk, ours));
                }
                let n = chunk.len();
                self.took(n, limits);
                to.send(chunk);
                if limits.left == Some(0) {
                    self.finish(from);
                }
                Poll::Ready(Ok(n))
            }
            Poll::Ready(Ok(None)) => Poll::Ready(self.source_ended(from, limits).map(|()| 0)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(PumpError::Source(error))),
        }
    }

    /// Chooses how to go on by what a receive brought.
    fn learn(&mut self, from: &Stream, chunk: &Chunk, limits: PumpLimits) {
        let bulk_size = from.inner().pools.bulk_size();
        match &mut self.mode {
            Mode::Chunks { run }
                if from.socket().has(flag::SPARING) && chunk.len() < from.inner().options.chunk_size =>
            {
                *run = 0;
            }
            Mode::Chunks { run } => {
                *run += chunk.len();
                if *run >= RECV_UNREAD_MAX && limits.held_max >= bulk_size {
                    self.begin_bulk(from);
                }
            }
            Mode::Bulk { full, run, .. } => {
                *full = if chunk.len() >= bulk_size { FULL_ENOUGH.min(*full + 1) } else { 0 };
                *run += chunk.len();
            }
            Mode::Splice { .. } | Mode::Done => unreachable!("nothing is received then"),
        }
    }

    /// Whether what comes is a flow that a pipe is worth while for.
    fn keeps_coming(&self, from: &Stream, limits: PumpLimits) -> bool {
        match self.mode {
            // What is known to come keeps coming, until it has come in small pieces all the same.
            Mode::Bulk { full, .. } => full == FULL_ENOUGH || self.is_promised && limits.left_max() >= SPLICE_MIN,
            Mode::Chunks { run } => run >= RECV_UNREAD_MAX && limits.held_max < from.inner().pools.bulk_size(),
            Mode::Splice { .. } | Mode::Done => false,
        }
    }

    /// Out of a pipe, or for want of one: back to what comes before it.
    fn copy_again(&mut self, from: &Stream, limits: PumpLimits) {
        if limits.held_max >= from.inner().pools.bulk_size() {
            self.begin_bulk(from);
        } else {
            self.back_to_chunks(from);
        }
    }

    fn took(&mut self, n: usize, limits: &mut PumpLimits) {
        self.moved += n as u64;
        if let Some(left) = &mut limits.left {
            *left -= n as u64;
        }
    }

    fn begin_bulk(&mut self, from: &Stream) {
        from.socket().set(flag::POLL_FIRST);
        from.set_bulk(true);
        self.mode = BULK;
    }

    fn back_to_chunks(&mut self, from: &Stream) {
        end_bulk(from);
        self.is_promised = false;
        self.mode = Mode::Chunks { run: 0 };
    }

    fn finish(&mut self, from: &Stream) {
        end_bulk(from);
        self.mode = Mode::Done;
    }

    /// The end of the source: that of the pump, where it does not come too soon.
    fn source_ended(&mut self, from: &Stream, limits: &PumpLimits) -> Result<(), PumpError> {
        self.finish(from);
        match limits.left {
            None | Some(0) => Ok(()),
            Some(_) => Err(PumpError::Source(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    // --- Through a pipe --------------------------------------------------------------------------------------------------

    /// Bytes go by splice(2) from here on, if there is a pipe; else it is tried again after as many receives.
    fn begin_splice(&mut self, from: &Stream, to: &Stream, limits: PumpLimits) {
        let inner = from.inner();
        self.mode = if limits.held_max >= inner.pools.bulk_size() { BULK } else { Mode::Chunks { run: 0 } };
        self.pipe = inner.pipes.take(&inner.stats);
        if self.pipe.is_none() {
            return;
        }
        // SPLICE_F_NONBLOCK is for the pipe's side only (splice(2)).
        let is_nonblocking = |socket: &Socket| {
            if !socket.has(flag::NONBLOCKING) {
                inner.stats.syscalls.add(2);
                if sys::set_nonblocking(socket.fd.get()).is_err() {
                    return false;
                }
                socket.set(flag::NONBLOCKING);
            }
            true
        };
        if is_nonblocking(from.socket()) && is_nonblocking(to.socket()) {
            from.socket().unset(flag::POLL_FIRST | flag::BULK_FILLED);
            self.mode = Mode::Splice { run: 0, lean: 0 };
        } else {
            self.is_promised = false;
            self.pipe.take().into_iter().for_each(|pipe| inner.pipes.put(pipe));
        }
    }

    /// One pipe filled and emptied, as far as both sides go.
    fn splice(
        &mut self,
        cx: &mut Context<'_>,
        from: &Stream,
        to: &Stream,
        limits: &mut PumpLimits,
    ) -> Poll<Result<usize, PumpError>> {
        let (inner, source, sink) = (from.inner(), from.socket(), to.socket());
        if sink.send.get() == Send::Failed {
            let errno = i32::from(sink.send_error.get());
            return Poll::Ready(Err(PumpError::Sink(io::Error::from_raw_os_error(errno))));
        }
        assert!(!sink.has(flag::FIN), "the sink's end comes after the pump's");
        if self.held == 0 {
            if source.recv.get() == Recv::Readable {
                source.recv_waker.register(cx.waker());
                return Poll::Pending; // Nothing has come since; another direction's waker brought us here.
            }
            if !is_quiet(source) {
                // Somebody else received: what lies there goes first, in its way.
                self.copy_again(from, *limits);
                return Poll::Ready(Ok(0));
            }
            ready!(self.fill(cx, from, limits))?;
        }
        if sink.has(flag::WRITABLE_ASKED) {
            sink.send_waker.register(cx.waker());
            return Poll::Pending;
        }
        let Some(pipe) = &self.pipe else { return Poll::Ready(Ok(0)) }; // The end, or back to chunks.
        let mut moved = 0;
        while self.held > 0 {
            inner.stats.syscalls.add(1);
            match pipe.empty(sink.fd.get(), self.held()) {
                Ok(n) => {
                    assert!(0 < n && n <= self.held(), "a pipe gives what lies in it");
                    self.held -= n as u32;
                    moved += n;
                    inner.stats.bytes_sent.add(n as u64);
                }
                Err(libc::EINTR) => {}
                Err(libc::EAGAIN) => {
                    inner.stats.send_stalls.add(1);
                    inner.want_writable(sink);
                    sink.send_waker.register(cx.waker());
                    return Poll::Pending;
                }
                Err(errno) => {
                    inner.send_failed(sink, errno);
                    self.pipe = None;
                    self.held = 0;
                    return Poll::Ready(Err(PumpError::Sink(io::Error::from_raw_os_error(errno))));
                }
            }
        }
        if limits.left == Some(0) {
            let pipe = self.pipe.take();
            pipe.into_iter().for_each(|pipe| inner.pipes.put(pipe));
            self.finish(from);
        }
        Poll::Ready(Ok(moved))
    }

    /// Takes what the source has. When that is nothing, the pipe goes back; when it was little several times, so does the mode.
    fn fill(&mut self, cx: &mut Context<'_>, from: &Stream, limits: &mut PumpLimits) -> Poll<Result<(), PumpError>> {
        let (inner, source) = (from.inner(), from.socket());
        let Some(pipe) = self.pipe.take().or_else(|| inner.pipes.take(&inner.stats)) else {
            self.copy_again(from, *limits); // All are held.
            return Poll::Ready(Ok(()));
        };
        let most = limits.held_max.min(inner.pipes.size()).min(limits.left_max());
        let filled = loop {
            inner.stats.syscalls.add(1);
            match pipe.fill(source.fd.get(), most) {
                Err(libc::EINTR) => {}
                filled => break filled,
            }
        };
        let Mode::Splice { run, lean } = &mut self.mode else { unreachable!("only then") };
        match filled {
            Ok(n) if n > 0 => {
                *run += n;
                self.held = u32::try_from(n).expect("a pipe is smaller");
                self.took(n, limits);
                self.pipe = Some(pipe);
                inner.stats.bytes_received.add(n as u64);
                inner.stats.bytes_spliced.add(n as u64);
                return Poll::Ready(Ok(()));
            }
            Ok(_) => {
                inner.pipes.put(pipe);
                inner.receive_ended(source, 0);
                // An error that a send was told of instead.
                let errno = i32::from(source.recv_error.get());
                return Poll::Ready(match errno {
                    0 => self.source_ended(from, limits),
                    _ => Err(PumpError::Source(io::Error::from_raw_os_error(errno))),
                });
            }
            Err(libc::EAGAIN) => inner.pipes.put(pipe),
            // A filter of system calls that knows no splice(2): nothing was taken.
            Err(libc::EPERM | libc::ENOSYS) => {
                drop(pipe);
                inner.pipes.refuse();
                self.is_promised = false;
                self.copy_again(from, *limits);
                return Poll::Ready(Ok(()));
            }
            Err(errno) => {
                inner.pipes.put(pipe);
                inner.receive_ended(source, errno);
                return Poll::Ready(Err(PumpError::Source(io::Error::from_raw_os_error(errno))));
            }
        }
        // The last edge, if there was one, is used up: all was read.
        source.unset(flag::READABLE);
        if run_ended(run, lean) {
            self.back_to_chunks(from);
            return Poll::Ready(Ok(()));
        }
        source.recv_waker.register(cx.waker());
        inner.want_readable(source);
        Poll::Pending
    }
}

fn end_bulk(from: &Stream) {
    from.socket().unset(flag::POLL_FIRST | flag::BULK_FILLED);
    from.set_bulk(false);
}

/// Nothing has come after `run` bytes. Says whether the flow is lean by now; that nothing came at all says nothing.
fn run_ended(run: &mut usize, lean: &mut u8) -> bool {
    if *run == 0 {
        return false;
    }
    *lean = if *run < LEAN { *lean + 1 } else { 0 };
    *run = 0;
    *lean == LEAN_ENOUGH
}

/// Whether bytes could go by splice(2) once nothing is queued.
fn may_splice(from: &Stream, to: &Stream, limits: PumpLimits) -> bool {
    let (inner, source, sink) = (from.inner(), from.socket(), to.socket());
    let min = if limits.held_max < inner.pools.bulk_size() { SPLICE_MIN_WITHOUT_BULK } else { SPLICE_MIN };
    is_quiet(source)
        && !source.has(flag::LAYER)
        && !sink.has(flag::LAYER)
        && limits.held_max.min(inner.pipes.size()) >= min
        && inner.pipes.may_take()
}

/// Whether nothing was received, and no receive is under way.
fn is_quiet(socket: &Socket) -> bool {
    socket.recv.get() == Recv::Idle && socket.recv_queue.is_empty() && socket.phase.get() == Phase::Open
}

impl Inner {
    /// Wakes the receive waker when there is something to read.
    fn want_readable(&self, socket: &Socket) {
        if socket.recv.get() == Recv::Idle && socket.phase.get() == Phase::Open {
            self.driver.arm_readable(socket);
        }
    }

    /// Wakes the send waker when output can be taken again.
    fn want_writable(&self, socket: &Socket) {
        socket.set(flag::WRITABLE_ASKED);
        socket.send.set(Send::Stalled);
        self.driver.arm_writable(socket);
    }
}
