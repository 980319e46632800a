//! A socket with a layer: what happens to its bytes between its handle, the layer and `flow.rs`.
//!
//! ```text
//!   driver -> received -> raw -> Layer::open -> recv_queue -> handle        (when asked)
//!   handle -> queue_send -> plain -> Layer::seal -> send_queue -> driver    (in the flush of the turn)
//! ```
//! Drivers and the code for bare sockets see raw bytes on the one side and plain ones on the other, as ever; what is here is
//! entered behind one test of `flag::LAYER`, and receiving only when the queue of plain bytes is empty.
//!
//! Invariants: `unread` counts what lies raw and what lies plain, `unsent` likewise; when a send is attempted nothing is left plain.

use std::cell::{Cell, RefCell};
use std::io;

use crate::chunk::Chunk;
use crate::core::Inner;
use crate::layer::{Layer, Open, Opening, Sealing};
use crate::queue::ChunkQueue;
use crate::socket::{Phase, Recv, Send, Socket, flag};

/// Bytes that a layer answers while the socket takes no output: a peer that makes us answer and does not read is cut off. A hundred
/// answers of the usual size; so much memory for each such socket.
pub const ANSWERS_UNSENT_MAX: u32 = 4 << 10;

/// Where opening stands.
enum Opened {
    Open,
    /// The peer has ended its bytes.
    Ended,
    /// It failed; the error itself goes to the first who asks.
    Failed(io::Error),
}

/// What a socket with a layer has besides.
pub(crate) struct Layered {
    layer: RefCell<Box<dyn Layer>>,
    opened: RefCell<Opened>,
    /// Received, and not opened.
    pub(crate) raw: ChunkQueue<1>,
    /// Queued by the handle, and not sealed.
    pub(crate) plain: ChunkQueue<2>,
    pub(crate) plain_bytes: Cell<usize>,
    /// Bytes answered since the socket last took output.
    pub(crate) answered: Cell<u32>,
    /// This side's end was sealed.
    end_sealed: Cell<bool>,
}

impl Layered {
    fn is_open(&self) -> bool {
        matches!(*self.opened.borrow(), Opened::Open)
    }

    fn drop_plain(&self) {
        self.plain.clear();
        self.plain_bytes.set(0);
    }
}

impl Inner {
    /// Puts a layer over a socket: what had come passes it first.
    pub(crate) fn set_layer(&self, socket: &Socket, layer: Box<dyn Layer>) {
        assert!(!socket.has(flag::LAYER), "a stream has one layer");
        assert!(socket.phase.get() == Phase::Open && !socket.has(flag::FIN), "a layer is set on an open stream");
        let layered = Layered {
            layer: RefCell::new(layer),
            opened: RefCell::new(Opened::Open),
            raw: ChunkQueue::new(),
            plain: ChunkQueue::new(),
            plain_bytes: Cell::new(0),
            answered: Cell::new(0),
            end_sealed: Cell::new(false),
        };
        while let Some(chunk) = socket.recv_queue.pop() {
            layered.raw.push(&self.pools, chunk);
        }
        socket.set_layered(Box::new(layered));
    }

    // --- Receiving -------------------------------------------------------------------------------------------------------

    /// [`crate::Stream::try_recv`] with no plain bytes at hand.
    pub(crate) fn take_opened(&self, socket: &Socket) -> Option<Result<Option<Chunk>, io::Error>> {
        if !self.open_received(socket) {
            return None;
        }
        if let Some(chunk) = self.take_received(socket) {
            return Some(Ok(Some(chunk)));
        }
        Some(match &mut *socket.layered().opened.borrow_mut() {
            Opened::Ended => Ok(None),
            Opened::Failed(error) => {
                let later = io::Error::from(error.kind());
                Err(std::mem::replace(error, later))
            }
            Opened::Open => unreachable!("there is something to take"),
        })
    }

    /// Opens what came, until there is something to take: bytes, the end, or an error. Says whether there is. The work is bounded by
    /// what a socket may have unread.
    #[inline(never)]
    pub(crate) fn open_received(&self, socket: &Socket) -> bool {
        let layered = socket.layered();
        while socket.recv_queue.is_empty() && layered.is_open() {
            let opened = match layered.raw.pop() {
                Some(raw) => self.open(socket, layered, raw),
                None if socket.recv.get() == Recv::Ended => match socket.recv_error.get() {
                    0 => layered.layer.borrow_mut().open_end().map(|()| Open::End),
                    errno => Err(io::Error::from_raw_os_error(i32::from(errno))),
                },
                None => break,
            };
            match opened {
                Ok(Open::More) => {}
                Ok(Open::End) => _ = layered.opened.replace(Opened::Ended),
                Err(error) => _ = layered.opened.replace(Opened::Failed(error)),
            }
        }
        self.go_on(socket);
        !socket.recv_queue.is_empty() || !layered.is_open()
    }

    fn open(&self, socket: &Socket, layered: &Layered, raw: Chunk) -> io::Result<Open> {
        socket.unread.set(socket.unread.get() - raw.len() as u32);
        let opened = layered.layer.borrow_mut().open(raw, &mut Opening { inner: self, socket, layered })?;
        if layered.answered.get() > ANSWERS_UNSENT_MAX && socket.send.get() == Send::Stalled {
            return Err(io::Error::other("the peer asks for answers and does not read them"));
        }
        Ok(opened)
    }

    /// A layer opened bytes.
    pub(crate) fn opened(&self, socket: &Socket, chunk: Chunk) {
        if chunk.is_empty() {
            return;
        }
        socket.unread.set(socket.unread.get() + chunk.len() as u32);
        self.enlist_settle(socket);
        socket.recv_queue.push(&self.pools, chunk);
    }

    // --- Sending ---------------------------------------------------------------------------------------------------------

    /// Queues output above the layer. What waits behind a stall is not in a receive chunk, as below.
    #[cold]
    pub(crate) fn queue_plain(&self, socket: &Socket, chunk: Chunk) {
        if chunk.is_empty() || matches!(socket.send.get(), Send::Failed | Send::Shut) {
            return;
        }
        let layered = socket.layered();
        socket.unsent.set(socket.unsent.get() + chunk.len());
        layered.plain_bytes.set(layered.plain_bytes.get() + chunk.len());
        if socket.send.get() == Send::Stalled {
            let chunk = if chunk.is_recv() { self.pools.copied(&chunk) } else { chunk };
            layered.plain.push(&self.pools, chunk);
        } else {
            layered.plain.push(&self.pools, chunk);
            self.enlist_flush(socket);
        }
    }

    /// Seals what is queued, and the end where it is wanted, if the socket may take output.
    #[cold]
    pub(crate) fn seal_queued(&self, socket: &Socket) {
        let closing = match socket.phase.get() {
            Phase::Free | Phase::Connecting => return,
            Phase::Closing => true,
            Phase::Open | Phase::Detaching => false,
        };
        match socket.send.get() {
            Send::Stalled if !closing => return,
            Send::Open | Send::Stalled => {}
            Send::Shut | Send::Failed => return,
        }
        let layered = socket.layered();
        layered.answered.set(0);
        let mut sealing = Sealing { inner: self, socket, layered };
        if sealing.left() > 0 {
            let sealed = layered.layer.borrow_mut().seal(&mut sealing);
            let left = sealing.left();
            sealing.advance(left);
            if let Err(error) = sealed {
                self.seal_failed(socket, layered, error);
                return;
            }
        }
        let ends = (closing && !socket.has(flag::ABORT)) || socket.has(flag::FIN);
        if ends && !layered.end_sealed.get() {
            layered.layer.borrow_mut().seal_end(&mut sealing);
            layered.end_sealed.set(true);
        }
    }

    #[cold]
    fn seal_failed(&self, socket: &Socket, layered: &Layered, error: io::Error) {
        if layered.is_open() {
            layered.opened.replace(Opened::Failed(error));
        }
        socket.recv_waker.wake();
        self.send_failed(socket, libc::EPROTO);
    }

    /// A layer made raw bytes for the peer.
    pub(crate) fn sealed(&self, socket: &Socket, layered: &Layered, chunk: Chunk) {
        // Behind the end nothing is sent, whatever the peer asks for.
        if chunk.is_empty() || layered.end_sealed.get() || matches!(socket.send.get(), Send::Failed | Send::Shut) {
            return;
        }
        let chunk = if chunk.is_recv() { self.pools.copied(&chunk) } else { chunk };
        socket.unsent.set(socket.unsent.get() + chunk.len());
        socket.send_queue.push(&self.pools, chunk);
        if socket.send.get() == Send::Open {
            self.enlist_flush(socket);
        }
    }

    // --- The end ---------------------------------------------------------------------------------------------------------

    /// Forgets what was received and, where nothing is to be sent any more, what was queued.
    #[cold]
    pub(crate) fn drop_layered(&self, socket: &Socket, received: bool, queued: bool) {
        let layered = socket.layered();
        if received {
            layered.raw.clear();
        }
        if queued {
            layered.drop_plain();
        }
    }
}
