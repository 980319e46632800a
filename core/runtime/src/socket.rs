//! Socket slots: what a core keeps for each connection, small and at a fixed address.
//!
//! ```text
//!   Free -> Connecting -> Open -> Detaching -> Free      (the descriptor lives on elsewhere)
//!             |            |  \______________________
//!             +------------+-> Closing -> Free       \__ (detach failed: Open again)
//! ```
//! A slot is freed only when nothing is in flight for it; its generation grows then, so that what comes late is recognised.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::os::fd::RawFd;
use std::ptr::NonNull;

use crate::chunk::Header;
use crate::executor::WakerCell;
use crate::layered::Layered;
use crate::leaf::Leaf;
use crate::queue::ChunkQueue;

/// Where a slot's life stands (see the module's diagram).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Free,
    Connecting,
    Open,
    Detaching,
    /// The handle is gone; one last flush, then close(2) once nothing is in flight.
    Closing,
}

/// The receiving side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recv {
    /// Not armed: never asked for yet, held back by unread bytes, or between two bulk receives.
    Idle,
    /// Armed for chunks: a multishot receive is in flight (ring), or readiness is read at once (poll).
    Multishot,
    /// Armed for one bulk buffer; on poll for one chunk, too.
    Bulk,
    /// Armed for readiness: who waits receives by other means.
    Readable,
    /// A cancel is under way; the last completion is still to come. Ring only.
    Cancelling,
    /// There was no chunk; on the core's list of those to arm again.
    Starved,
    /// The end of the stream, or an error, was seen.
    Ended,
}

/// The sending side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Send {
    Open,
    /// The kernel's buffer is full: waits for writability. While connecting, too.
    Stalled,
    /// FIN is sent.
    Shut,
    /// The socket failed; `send_error` says how.
    Failed,
}

/// Flags of a slot.
pub(crate) mod flag {
    /// On the list of sockets to flush at the end of the turn.
    pub(crate) const FLUSH: u32 = 1 << 0;
    /// On the list of sockets whose receive queue is settled at the end of the turn.
    pub(crate) const SETTLE: u32 = 1 << 1;
    /// Bulk receives are wanted.
    pub(crate) const BULK: u32 = 1 << 2;
    /// FIN is wanted after all queued output.
    pub(crate) const FIN: u32 = 1 << 3;
    /// Close with RST.
    pub(crate) const ABORT: u32 = 1 << 4;
    /// poll: the last edge said readable, and it was not read empty since.
    pub(crate) const READABLE: u32 = 1 << 5;
    /// poll: the peer has shut its side, so a short read does not mean "nothing more".
    pub(crate) const READ_CLOSED: u32 = 1 << 6;
    /// poll: on the driver's list of sockets to read in its next round.
    pub(crate) const READ_LISTED: u32 = 1 << 7;
    /// ring: a writability poll is in flight.
    pub(crate) const POLL_OUT: u32 = 1 << 8;
    /// ring: the receive in flight was told to cancel.
    pub(crate) const CANCELLED: u32 = 1 << 9;
    /// ring: likewise the writability poll.
    pub(crate) const POLL_OUT_CANCELLED: u32 = 1 << 10;
    /// ring: a send of this batch is not decided yet.
    pub(crate) const SENDING: u32 = 1 << 11;
    /// A layer stands between its bytes and its handle.
    pub(crate) const LAYER: u32 = 1 << 12;
    /// ring: a readability poll is in flight.
    pub(crate) const POLL_IN: u32 = 1 << 13;
    /// The send waker is for writability; nothing is queued.
    pub(crate) const WRITABLE_ASKED: u32 = 1 << 14;
    /// ring: a bulk receive is armed when there is something to read, so that an idle stream holds no buffer; at once behind one that was
    /// filled.
    pub(crate) const POLL_FIRST: u32 = 1 << 15;
    /// ring: the last bulk receive filled its buffer.
    pub(crate) const BULK_FILLED: u32 = 1 << 16;
    /// Receives bring one chunk each, and only when somebody asks.
    pub(crate) const SPARING: u32 = 1 << 17;
    /// The descriptor is O_NONBLOCK, as a pump wants it.
    pub(crate) const NONBLOCKING: u32 = 1 << 18;
}

/// One connection's slot.
pub(crate) struct Socket {
    pub(crate) index: u32,
    pub(crate) generation: Cell<u32>,
    pub(crate) fd: Cell<RawFd>,
    pub(crate) phase: Cell<Phase>,
    pub(crate) recv: Cell<Recv>,
    pub(crate) send: Cell<Send>,
    /// Operations whose last completion is still to come. Ring only.
    pub(crate) in_flight: Cell<u8>,
    pub(crate) flags: Cell<u32>,
    /// Error numbers, which are below 4096.
    pub(crate) recv_error: Cell<i16>,
    pub(crate) send_error: Cell<i16>,
    /// ring: what the completion of this batch's send said, if there was one.
    pub(crate) send_result: Cell<i32>,
    pub(crate) unread: Cell<u32>,
    pub(crate) unsent: Cell<usize>,
    /// The send waker is for `unsent` at or below this.
    pub(crate) send_limit: Cell<usize>,
    /// The buffer of the bulk receive in flight.
    pub(crate) bulk: Cell<Option<NonNull<Header>>>,
    /// Usually one chunk that is taken in the same turn.
    pub(crate) recv_queue: ChunkQueue<1>,
    /// Usually a head and a body.
    pub(crate) send_queue: ChunkQueue<2>,
    pub(crate) recv_waker: WakerCell,
    pub(crate) send_waker: WakerCell,
    /// There with `flag::LAYER`.
    layered: UnsafeCell<Option<Box<Layered>>>,
}

// An idle connection has 1 KiB in all: this, its task (<= 512 bytes) and a timer.
const _: () = assert!(size_of::<Socket>() <= 192);

/// No completion of this batch has told the send's result.
pub(crate) const SEND_UNTOLD: i32 = i32::MIN;

impl Socket {
    fn new(index: u32) -> Socket {
        Socket {
            index,
            generation: Cell::new(0),
            fd: Cell::new(-1),
            phase: Cell::new(Phase::Free),
            recv: Cell::new(Recv::Idle),
            send: Cell::new(Send::Open),
            in_flight: Cell::new(0),
            flags: Cell::new(0),
            recv_error: Cell::new(0),
            send_error: Cell::new(0),
            send_result: Cell::new(SEND_UNTOLD),
            unread: Cell::new(0),
            unsent: Cell::new(0),
            send_limit: Cell::new(0),
            bulk: Cell::new(None),
            recv_queue: ChunkQueue::new(),
            send_queue: ChunkQueue::new(),
            recv_waker: WakerCell::new(),
            send_waker: WakerCell::new(),
            layered: UnsafeCell::new(None),
        }
    }

    /// What a socket with `flag::LAYER` has besides.
    pub(crate) fn layered(&self) -> &Layered {
        // SAFETY: set once, before anybody asks, and taken when the slot is freed, which no user of the reference does.
        let layered = unsafe { &*self.layered.get() };
        layered.as_ref().expect("the flag says so")
    }

    pub(crate) fn set_layered(&self, layered: Box<Layered>) {
        assert!(!self.has(flag::LAYER));
        // SAFETY: without the flag there is no reference to it.
        unsafe { *self.layered.get() = Some(layered) };
        self.set(flag::LAYER);
    }

    /// The layer's end, with the slot's.
    #[cold]
    fn drop_layered(&self) {
        self.unset(flag::LAYER);
        // SAFETY: the slot's life ends: nobody refers to it. It is out of its place before foreign code runs.
        let layered = unsafe { (*self.layered.get()).take() };
        drop(layered);
    }

    #[inline]
    pub(crate) fn has(&self, flag: u32) -> bool {
        self.flags.get() & flag != 0
    }

    #[inline]
    pub(crate) fn set(&self, flag: u32) {
        self.flags.set(self.flags.get() | flag);
    }

    #[inline]
    pub(crate) fn unset(&self, flag: u32) {
        self.flags.set(self.flags.get() & !flag);
    }

    #[inline]
    pub(crate) fn flew(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    #[inline]
    pub(crate) fn landed(&self) {
        assert!(self.in_flight.get() > 0, "what completes was in flight");
        self.in_flight.set(self.in_flight.get() - 1);
    }
}

const PAGE_BITS: u32 = 6;
const PAGE: usize = 1 << PAGE_BITS;

/// All slots of a core, in pages that never move.
pub(crate) struct Sockets {
    pages: Leaf<Vec<Box<[Socket; PAGE]>>>,
    free: RefCell<Vec<u32>>,
    live: Cell<u32>,
}

impl Sockets {
    pub(crate) fn new() -> Sockets {
        Sockets { pages: Leaf::new(Vec::new()), free: RefCell::new(Vec::new()), live: Cell::new(0) }
    }

    /// The slot `index`, if there ever was one.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&Socket> {
        // SAFETY: a table is read.
        let slot: *const Socket = unsafe {
            self.pages.with(|pages| {
                let page = pages.get((index >> PAGE_BITS) as usize)?;
                Some(&raw const page[index as usize & (PAGE - 1)])
            })?
        };
        // SAFETY: a page is boxed and lives as long as `self`; slots change only through their cells.
        Some(unsafe { &*slot })
    }

    /// Takes a free slot for `fd`.
    pub(crate) fn take(&self, fd: RawFd, phase: Phase) -> &Socket {
        if self.free.borrow().is_empty() {
            // SAFETY: a table is extended; making slots calls nothing.
            let first = unsafe {
                self.pages.with(|pages| {
                    let first = (pages.len() * PAGE) as u32;
                    pages.push(Box::new(std::array::from_fn(|i| Socket::new(first + i as u32))));
                    first
                })
            };
            self.free.borrow_mut().extend((first..first + PAGE as u32).rev());
        }
        let index = self.free.borrow_mut().pop().expect("just filled");
        self.live.set(self.live.get() + 1);
        let socket = self.get(index).expect("on the free list");
        assert!(socket.phase.get() == Phase::Free && socket.in_flight.get() == 0);
        socket.fd.set(fd);
        socket.phase.set(phase);
        socket
    }

    /// Frees a slot and returns its descriptor.
    pub(crate) fn free(&self, socket: &Socket) -> RawFd {
        assert!(
            socket.phase.get() != Phase::Free && socket.in_flight.get() == 0,
            "nothing is in flight for a free slot"
        );
        assert!(socket.bulk.get().is_none(), "the bulk buffer went home first");
        if socket.has(flag::LAYER) {
            socket.drop_layered();
        }
        let fd = socket.fd.replace(-1);
        socket.recv_queue.clear();
        socket.send_queue.clear();
        socket.recv_waker.clear();
        socket.send_waker.clear();
        socket.phase.set(Phase::Free);
        socket.recv.set(Recv::Idle);
        socket.send.set(Send::Open);
        // A slot may still be on a list of this turn: whoever takes it next is then looked at once for nothing.
        socket.flags.set(socket.flags.get() & (flag::FLUSH | flag::SETTLE | flag::READ_LISTED));
        socket.recv_error.set(0);
        socket.send_error.set(0);
        socket.send_result.set(SEND_UNTOLD);
        socket.unread.set(0);
        socket.unsent.set(0);
        socket.send_limit.set(0);
        socket.generation.set(socket.generation.get().wrapping_add(1) & GENERATION_MASK);
        self.live.set(self.live.get() - 1);
        self.free.borrow_mut().push(socket.index);
        fd
    }

    /// Slots in use.
    pub(crate) fn live(&self) -> u32 {
        self.live.get()
    }

    /// Every slot in use.
    pub(crate) fn each(&self, mut visit: impl FnMut(&Socket)) {
        let mut index = 0;
        while let Some(socket) = self.get(index) {
            if socket.phase.get() != Phase::Free {
                visit(socket);
            }
            index += 1;
        }
    }
}

/// Generations have 24 bits, as many as user_data leaves.
pub(crate) const GENERATION_MASK: u32 = (1 << 24) - 1;
