//! What happens to a socket's bytes between its handle and the driver, the same on both drivers.
//!
//! Down: a handle queues output and arms receives. Up: a driver reports bytes, ends, sends and writability here. Nothing in this
//! file makes a system call but shutdown(2) and close(2).
//!
//! Invariant ("a chunk is held only while its bytes move"): when a turn ends no receive queue, and no send queue that waits
//! for the peer, holds a receive chunk.

use std::io;

use crate::chunk::Chunk;
use crate::core::Inner;
use crate::socket::{Phase, Recv, SEND_UNTOLD, Send, Socket, flag};
use crate::sys;

/// Bytes received and not yet taken, for each socket, beyond which its receive is disarmed; one burst of a multishot may
/// come on top. It is armed again at half. One full window of the usual TLS record size.
pub const RECV_UNREAD_MAX: usize = 16 << 10;

/// Output of several pieces that is no longer than this in all is copied together and sent as one piece: up to here the copy costs
/// less than the message header and the list of pieces that the kernel would have to read and check.
pub(crate) const SEND_JOINED_MAX: usize = 2048;

impl Inner {
    // --- From the driver -------------------------------------------------------------------------------------------------

    /// Bytes have come.
    #[inline]
    pub(crate) fn received(&self, socket: &Socket, chunk: Chunk) {
        debug_assert!(!chunk.is_empty());
        self.stats.recvs.add(1);
        self.stats.bytes_received.add(chunk.len() as u64);
        if socket.phase.get() == Phase::Closing {
            return; // Nobody will read it.
        }
        socket.unread.set(socket.unread.get() + chunk.len() as u32);
        self.enlist_settle(socket);
        if socket.has(flag::LAYER) {
            socket.layered().raw.push(&self.pools, chunk);
        } else {
            socket.recv_queue.push(&self.pools, chunk);
        }
        socket.recv_waker.wake();
    }

    /// The peer has ended its stream (`errno` 0), or the socket failed.
    pub(crate) fn receive_ended(&self, socket: &Socket, errno: i32) {
        socket.recv.set(Recv::Ended);
        // The kernel tells an error once: where a send was told of it, such as the peer's RST, the receive finds an end. EPIPE is what
        // a send says after FIN and RST.
        let told = match socket.send_error.get() {
            send_error if errno == 0 && i32::from(send_error) != libc::EPIPE => send_error,
            _ => errno as i16,
        };
        socket.recv_error.set(told);
        socket.recv_waker.wake();
    }

    /// A receive came to an end that is none of the stream: a cancel has completed, or the kernel wants to be asked again.
    pub(crate) fn receive_idle(&self, socket: &Socket) {
        socket.recv.set(Recv::Idle);
        match socket.phase.get() {
            // Whoever waits, waits for bytes: what has come already woke him, and he arms by himself when he has taken it.
            Phase::Open if socket.recv_waker.is_set() && (socket.unread.get() as usize) < RECV_UNREAD_MAX => {
                self.driver.arm_recv(self, socket);
            }
            Phase::Detaching => {
                socket.recv_waker.wake();
            }
            _ => {}
        }
    }

    /// There was no chunk for a receive: it is armed again when chunks come home, unless it is held back anyway.
    pub(crate) fn receive_starved(&self, socket: &Socket) {
        self.stats.enobufs.add(1);
        if socket.phase.get() == Phase::Detaching || socket.unread.get() as usize >= RECV_UNREAD_MAX {
            self.receive_idle(socket);
            return;
        }
        socket.recv.set(Recv::Starved);
        self.starved.borrow_mut().push_back(socket.index);
    }

    /// The kernel took `n` bytes of the output.
    #[inline]
    pub(crate) fn sent(&self, socket: &Socket, n: usize) {
        socket.send_queue.consume(n);
        let unsent = socket.unsent.get() - n;
        socket.unsent.set(unsent);
        self.stats.bytes_sent.add(n as u64);
        if unsent <= socket.send_limit.get() {
            socket.send_waker.wake();
        }
    }

    /// The kernel's buffer is full: the rest waits, outside the receive chunks.
    pub(crate) fn send_stalled(&self, socket: &Socket) {
        self.stats.send_stalls.add(1);
        let copied = socket.send_queue.settle(&self.pools);
        self.stats.bytes_settled.add(copied as u64);
        socket.send.set(Send::Stalled);
        if socket.phase.get() != Phase::Closing {
            self.driver.arm_writable(socket);
        }
    }

    /// A signal came before the kernel took anything: again at the end of the next turn.
    pub(crate) fn send_interrupted(&self, socket: &Socket) {
        self.enlist_flush(socket);
    }

    /// The socket takes no more output, ever.
    pub(crate) fn send_failed(&self, socket: &Socket, errno: i32) {
        socket.send.set(Send::Failed);
        socket.send_error.set(errno as i16);
        // The other order of what `receive_ended` says: after FIN the send would have said EPIPE.
        if errno == libc::ECONNRESET && socket.recv.get() == Recv::Ended && socket.recv_error.get() == 0 {
            socket.recv_error.set(errno as i16);
        }
        socket.send_queue.clear();
        if socket.has(flag::LAYER) {
            self.drop_layered(socket, false, true);
        }
        socket.unsent.set(0);
        socket.send_waker.wake();
    }

    /// The socket can take output again, or is connected.
    pub(crate) fn writable(&self, socket: &Socket) {
        if socket.send.get() != Send::Stalled {
            return;
        }
        socket.send.set(Send::Open);
        let is_asked = socket.phase.get() == Phase::Connecting || socket.has(flag::WRITABLE_ASKED);
        if is_asked {
            socket.unset(flag::WRITABLE_ASKED);
            socket.send_waker.wake();
        }
        // Whoever asked may have gone since, and left an end behind it.
        if !is_asked || socket.has(flag::FIN) || !socket.send_queue.is_empty() {
            self.enlist_flush(socket);
        }
    }

    /// There is something to read for who receives by other means.
    pub(crate) fn readable(&self, socket: &Socket) {
        socket.recv.set(Recv::Idle);
        socket.recv_waker.wake();
    }

    /// What follows a decided send: more of it, FIN, or the end.
    pub(crate) fn after_send(&self, socket: &Socket) {
        socket.send_result.set(SEND_UNTOLD);
        match socket.phase.get() {
            // Interrupted: what is queued has its one try before it.
            Phase::Closing if socket.has(flag::FLUSH) => {}
            Phase::Closing => {
                socket.send_queue.clear();
                self.finish_close(socket);
            }
            Phase::Free => {}
            _ if socket.send.get() != Send::Open => {}
            _ if !socket.send_queue.is_empty() => self.enlist_flush(socket),
            _ if socket.has(flag::FIN) => {
                self.stats.syscalls.add(1);
                sys::shutdown_write(socket.fd.get());
                socket.send.set(Send::Shut);
                socket.send_waker.wake();
            }
            _ => {}
        }
    }

    // --- From the handle -------------------------------------------------------------------------------------------------

    /// Puts the socket on the list of this turn's flush.
    #[inline]
    pub(crate) fn enlist_flush(&self, socket: &Socket) {
        if !socket.has(flag::FLUSH) {
            socket.set(flag::FLUSH);
            self.flush.borrow_mut().push(socket.index);
        }
    }

    /// Puts the socket on the list of those whose receive chunks are settled when the turn ends.
    #[inline]
    pub(crate) fn enlist_settle(&self, socket: &Socket) {
        if !socket.has(flag::SETTLE) {
            socket.set(flag::SETTLE);
            self.settle.borrow_mut().push(socket.index);
        }
    }

    /// Queues output.
    #[inline]
    pub(crate) fn queue_send(&self, socket: &Socket, chunk: Chunk) {
        if chunk.is_empty() || matches!(socket.send.get(), Send::Failed | Send::Shut) {
            return;
        }
        socket.unsent.set(socket.unsent.get() + chunk.len());
        let stalled = socket.send.get() == Send::Stalled;
        // What queues behind a stall waits for the peer: not in a receive chunk.
        if stalled && chunk.is_recv() {
            socket.send_queue.push(&self.pools, self.pools.copied(&chunk));
            return;
        }
        socket.send_queue.push(&self.pools, chunk);
        if !stalled {
            self.enlist_flush(socket);
        }
    }

    /// Takes the oldest unread bytes.
    #[inline]
    pub(crate) fn take_received(&self, socket: &Socket) -> Option<Chunk> {
        let chunk = socket.recv_queue.pop()?;
        socket.unread.set(socket.unread.get() - chunk.len() as u32);
        self.go_on(socket);
        Some(chunk)
    }

    /// What there is to take besides bytes that lie ready: the end, an error, or what a layer is to open.
    pub(crate) fn take_otherwise(&self, socket: &Socket) -> Option<Result<Option<Chunk>, io::Error>> {
        if socket.has(flag::LAYER) {
            return self.take_opened(socket);
        }
        Some(match socket.recv_error.get() {
            0 => Ok(None),
            errno => Err(io::Error::from_raw_os_error(i32::from(errno))),
        })
    }

    /// Held back, or between two bulk receives: goes on when there is room. A bulk or sparing stream waits until somebody asks.
    #[inline]
    pub(crate) fn go_on(&self, socket: &Socket) {
        if socket.recv.get() == Recv::Idle
            && !socket.has(flag::BULK | flag::SPARING)
            && socket.unread.get() as usize <= RECV_UNREAD_MAX / 2
            && socket.phase.get() == Phase::Open
        {
            self.driver.arm_recv(self, socket);
        }
    }

    /// Arms the receive of a socket that somebody waits for.
    #[inline]
    pub(crate) fn want_recv(&self, socket: &Socket) {
        if socket.recv.get() == Recv::Idle && socket.phase.get() == Phase::Open {
            self.driver.arm_recv(self, socket);
        }
    }

    /// The handle is gone: one last flush at the end of the turn, then the end.
    pub(crate) fn close(&self, socket: &Socket) {
        if matches!(socket.phase.get(), Phase::Free | Phase::Closing) {
            return;
        }
        let connecting = socket.phase.replace(Phase::Closing) == Phase::Connecting;
        socket.recv_queue.clear();
        socket.unread.set(0);
        socket.recv_waker.clear();
        socket.send_waker.clear();
        let drops = socket.has(flag::ABORT) || connecting;
        if socket.has(flag::LAYER) {
            self.drop_layered(socket, true, drops);
        }
        if drops {
            socket.send_queue.clear();
            socket.unsent.set(0);
        }
        self.enlist_flush(socket);
    }

    /// Cancels what is in flight; closes and frees once nothing is.
    pub(crate) fn finish_close(&self, socket: &Socket) {
        debug_assert_eq!(socket.phase.get(), Phase::Closing);
        if socket.in_flight.get() > 0 {
            self.driver.cancel(socket);
            return;
        }
        if socket.has(flag::ABORT) {
            self.stats.syscalls.add(1);
            sys::set_linger_zero(socket.fd.get());
        }
        self.stats.syscalls.add(1);
        sys::close(self.release(socket));
    }

    /// Frees the slot; returns its descriptor.
    pub(crate) fn release(&self, socket: &Socket) -> i32 {
        self.stats.streams.sub(1);
        self.sockets.free(socket)
    }

    // --- The end of the turn ---------------------------------------------------------------------------------------------

    /// Copies what no task took out of the receive chunks.
    #[inline]
    pub(crate) fn settle_received(&self) {
        let mut list = self.settle.borrow_mut();
        for index in list.drain(..) {
            let socket = self.sockets.get(index).expect("listed slots exist");
            socket.unset(flag::SETTLE);
            if socket.has(flag::LAYER) {
                let copied = socket.layered().raw.settle(&self.pools);
                self.stats.bytes_settled.add(copied as u64);
            }
            if !socket.recv_queue.is_empty() {
                let copied = socket.recv_queue.settle(&self.pools);
                self.stats.bytes_settled.add(copied as u64);
            }
        }
    }

    /// One gathered send for each socket with output. What it leaves on the list is for the next turn.
    #[inline]
    pub(crate) fn flush_all(&self) {
        if self.flush.borrow().is_empty() {
            return;
        }
        self.flush.swap(&self.flush_spare);
        for index in self.flush_spare.borrow_mut().drain(..) {
            let socket = self.sockets.get(index).expect("listed slots exist");
            socket.unset(flag::FLUSH);
            if socket.has(flag::LAYER) {
                self.seal_queued(socket);
            }
            self.driver.flush(self, socket);
        }
    }

    /// Arms the oldest of those that found no chunk, as far as there are chunks. Says whether there were more of them than chunks:
    /// those that are armed now may have nothing to receive, so the others are not to wait for them.
    #[inline]
    pub(crate) fn rearm_starved(&self) -> bool {
        if self.starved.borrow().is_empty() {
            return false;
        }
        let chunks_free = self.pools.chunks_free();
        let mut chunks = chunks_free;
        while chunks > 0 {
            let Some(index) = self.starved.borrow_mut().pop_front() else { break };
            let socket = self.sockets.get(index).expect("listed slots exist");
            if socket.recv.get() == Recv::Starved && socket.phase.get() == Phase::Open {
                socket.recv.set(Recv::Idle);
                self.driver.arm_recv(self, socket);
                chunks -= 1;
            }
        }
        chunks_free > 0 && !self.starved.borrow().is_empty()
    }
}
