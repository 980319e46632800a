//! `Layer`: what may stand between the bytes of a connection and those of its user, as a cipher does.
//!
//! Below a layer bytes are *raw*, above it *plain*. A stream that carries one (see [`crate::Stream::set_layer`]) speaks of plain
//! bytes; its core calls the layer: `open` with raw bytes when somebody asks for plain ones, `seal` once in a turn with all that was
//! queued. What nobody asks for is not opened.
//!
//! A layer never waits, never sees the socket or the time, and keeps no receive chunk: what it must keep of one, part of a record,
//! it copies. Its memory is the core's: both calls come with blocks and a place for what they make.
//! Invariant: raw bytes for the peer are queued in the order in which the layer made them.

use std::io;

use crate::block::BlockMut;
use crate::chunk::Chunk;
use crate::core::Inner;
use crate::layered::Layered;
use crate::socket::Socket;

/// What may stand between a connection's bytes and its user's. It is dropped with its stream.
pub trait Layer {
    /// Opens the next raw bytes: all the records that end in them. A sole holder opens in place ([`Chunk::unique_mut`], and
    /// [`Chunk::slice`] for what each record held); a record that began earlier goes to a block. What it hands to `opening` before an
    /// error counts.
    ///
    /// Errors end receiving: they are told after what was opened before. Nothing is opened after an end or an error.
    fn open(&mut self, raw: Chunk, opening: &mut Opening<'_>) -> io::Result<Open>;

    /// The peer has ended the connection below without an end of the layer's own.
    ///
    /// Errors: why that is none; `UnexpectedEof` where it may be somebody else's cut.
    fn open_end(&mut self) -> io::Result<()>;

    /// Makes raw bytes of all that is queued in `sealing`; what is left there is dropped.
    ///
    /// Errors end both directions.
    fn seal(&mut self, sealing: &mut Sealing<'_>) -> io::Result<()>;

    /// Makes the end of this side's bytes: FIN follows what it hands to `sealing`, which holds nothing plain. It is the last call
    /// for this direction, and comes after an error, too.
    fn seal_end(&mut self, sealing: &mut Sealing<'_>);
}

/// How opening goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// With the next raw bytes.
    More,
    /// Not at all: the peer ended its bytes, and said so within the layer.
    End,
}

/// Where a layer puts what it opens.
pub struct Opening<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) socket: &'a Socket,
    pub(crate) layered: &'a Layered,
}

impl Opening<'_> {
    /// The next plain bytes for the stream's user.
    pub fn plain(&mut self, chunk: Chunk) {
        self.inner.opened(self.socket, chunk);
    }

    /// Raw bytes for the peer, in answer. They leave at the end of this turn, before what is queued and not sealed.
    pub fn answer(&mut self, chunk: Chunk) {
        self.layered.answered.set(self.layered.answered.get().saturating_add(chunk.len() as u32));
        self.inner.sealed(self.socket, self.layered, chunk);
    }

    /// An empty block of at least `capacity_min` bytes.
    pub fn block(&self, capacity_min: usize) -> BlockMut {
        self.inner.pools.block(capacity_min)
    }
}

/// What is queued for sealing, and where a layer puts the outcome.
pub struct Sealing<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) socket: &'a Socket,
    pub(crate) layered: &'a Layered,
}

impl Sealing<'_> {
    /// Plain bytes that are left.
    #[inline]
    pub fn left(&self) -> usize {
        self.layered.plain_bytes.get()
    }

    /// All of them, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        // SAFETY: in range, and only `&mut self` changes the queue.
        (0..self.layered.plain.len()).map(|at| unsafe { &**self.layered.plain.at(at) })
    }

    /// Drops the first `n` of them. Panics when there are fewer.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.left(), "advance inside what is left");
        self.layered.plain.consume(n);
        self.layered.plain_bytes.set(self.layered.plain_bytes.get() - n);
        self.socket.unsent.set(self.socket.unsent.get() - n);
    }

    /// The next raw bytes for the peer.
    pub fn raw(&mut self, chunk: Chunk) {
        self.inner.sealed(self.socket, self.layered, chunk);
    }

    /// An empty block of at least `capacity_min` bytes.
    pub fn block(&self, capacity_min: usize) -> BlockMut {
        self.inner.pools.block(capacity_min)
    }
}
