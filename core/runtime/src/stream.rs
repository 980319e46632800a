//! `Stream`: a task's handle on a TCP connection.
//!
//! Output queues and leaves gathered at the end of the turn; input is taken as chunks of this core's buffers. A stream never
//! blocks, never copies to share, and dropping any of its futures loses nothing: what had come stays with the stream.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::chunk::Chunk;
use crate::core::Inner;
use crate::layer::Layer;
use crate::socket::{Phase, Recv, Send, Socket, flag};
use crate::sys;

/// A connection without a core: what moves between cores.
#[derive(Debug)]
pub struct Detached {
    fd: OwnedFd,
}

impl Detached {
    /// Wraps a connected TCP socket.
    pub fn new(fd: OwnedFd) -> Detached {
        Detached { fd }
    }

    /// The socket itself.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl From<std::net::TcpStream> for Detached {
    fn from(stream: std::net::TcpStream) -> Detached {
        Detached { fd: stream.into() }
    }
}

/// A TCP connection of this core. One task at a time may wait for input and one for output (it may be the same).
/// Dropping it makes one last flush attempt at the end of the turn and closes. 16 bytes, `!Send`.
pub struct Stream {
    inner: Rc<Inner>,
    socket: NonNull<Socket>,
}

const _: () = assert!(size_of::<Stream>() == 16);

impl Stream {
    /// Fills a slot with a connected (or connecting) socket.
    pub(crate) fn open(inner: &Rc<Inner>, fd: RawFd, phase: Phase) -> Stream {
        let socket = inner.sockets.take(fd, phase);
        inner.stats.streams.add(1);
        if phase == Phase::Connecting {
            socket.send.set(Send::Stalled);
        }
        let stream = Stream { inner: inner.clone(), socket: NonNull::from(socket) };
        if let Err(error) = inner.driver.attach(inner, socket) {
            // No memory for the registration, or no TCP socket: the stream is born failed.
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            inner.receive_ended(socket, errno);
            inner.send_failed(socket, errno);
        }
        stream
    }

    #[inline]
    pub(crate) fn socket(&self) -> &Socket {
        // SAFETY: slots live as long as the core, which `inner` keeps; this slot is ours until `drop` or `detach`.
        unsafe { self.socket.as_ref() }
    }

    /// The core this stream belongs to.
    pub(crate) fn inner(&self) -> &Rc<Inner> {
        &self.inner
    }

    /// The next bytes (never empty), `None` at the peer's end of stream (and ever after), or the socket's error (likewise).
    /// From the first call on, receiving goes on while the stream is idle, without holding a buffer.
    #[inline]
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, io::Error>> {
        let socket = self.socket();
        if let Some(chunk) = self.inner.take_received(socket) {
            return Poll::Ready(Ok(Some(chunk)));
        }
        if socket.recv.get() == Recv::Ended || socket.has(flag::LAYER) {
            return self.poll_otherwise(cx);
        }
        socket.recv_waker.register(cx.waker());
        self.inner.want_recv(socket);
        Poll::Pending
    }

    /// The end, an error, or what a layer is to open. Apart, so that what is taken as it lies goes straight to the caller.
    #[inline(never)]
    fn poll_otherwise(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, io::Error>> {
        let socket = self.socket();
        match self.inner.take_otherwise(socket) {
            Some(result) => Poll::Ready(result),
            None => {
                socket.recv_waker.register(cx.waker());
                self.inner.want_recv(socket);
                Poll::Pending
            }
        }
    }

    /// Waits for [`Stream::poll_recv`]. Dropping it loses nothing.
    pub fn recv(&self) -> impl Future<Output = Result<Option<Chunk>, io::Error>> {
        poll_fn(|cx| self.poll_recv(cx))
    }

    /// What is already here; arms nothing.
    #[inline]
    pub fn try_recv(&self) -> Option<Result<Option<Chunk>, io::Error>> {
        let socket = self.socket();
        if let Some(chunk) = self.inner.take_received(socket) {
            return Some(Ok(Some(chunk)));
        }
        if socket.recv.get() == Recv::Ended || socket.has(flag::LAYER) {
            return self.inner.take_otherwise(socket);
        }
        None
    }

    /// Ready when bytes, the end or an error wait to be taken; takes nothing. Keeps receiving armed.
    #[inline]
    pub fn poll_watch(&self, cx: &mut Context<'_>) -> Poll<()> {
        let socket = self.socket();
        let here = if socket.has(flag::LAYER) {
            self.inner.open_received(socket)
        } else {
            !socket.recv_queue.is_empty() || socket.recv.get() == Recv::Ended
        };
        if here {
            return Poll::Ready(());
        }
        socket.recv_waker.register(cx.waker());
        self.inner.want_recv(socket);
        Poll::Pending
    }

    /// Waits for [`Stream::poll_watch`].
    pub fn watch(&self) -> impl Future<Output = ()> {
        poll_fn(|cx| self.poll_watch(cx))
    }

    /// Whether the connection is open in both directions with nothing received and unread: a pooled one that may be
    /// reused, as far as is known.
    pub fn is_quiet(&self) -> bool {
        let socket = self.socket();
        socket.recv_queue.is_empty()
            && socket.recv.get() != Recv::Ended
            && matches!(socket.send.get(), Send::Open | Send::Stalled)
            && !socket.has(flag::FIN)
            && socket.phase.get() == Phase::Open
            && !(socket.has(flag::LAYER) && self.inner.open_received(socket))
    }

    /// Puts bytes back in front of all that was received.
    pub fn unread(&self, chunk: Chunk) {
        if chunk.is_empty() {
            return;
        }
        let socket = self.socket();
        socket.unread.set(socket.unread.get() + chunk.len() as u32);
        self.inner.enlist_settle(socket);
        socket.recv_queue.push_front(&self.inner.pools, chunk);
    }

    /// Puts a layer between the connection's bytes and this handle, for the rest of the stream's life: all methods speak of what is
    /// above it from now on. What had come (or was put back) passes the layer first; what is queued already leaves as it is.
    /// An error of the layer is told as that of receiving. Panics when there is a layer, or the end was sent.
    pub fn set_layer(&self, layer: Box<dyn Layer>) {
        self.inner.set_layer(self.socket(), layer);
    }

    /// On: bytes come in bulk buffers, one receive each time somebody asks (so not asking is backpressure). Off: in chunks.
    /// When bulk buffers are used up a bulk stream uses chunks.
    pub fn set_bulk(&self, on: bool) {
        let socket = self.socket();
        if socket.has(flag::BULK) == on {
            return;
        }
        if on {
            socket.set(flag::BULK);
        } else {
            socket.unset(flag::BULK);
        }
        let armed_otherwise = if on { Recv::Multishot } else { Recv::Bulk };
        if socket.recv.get() == armed_otherwise {
            self.inner.driver.disarm_recv(&self.inner, socket);
        }
    }

    /// On: one receive brings one chunk, and only when somebody asks, so that nothing is read ahead: for a source of which
    /// little may be held, and slower. Bulk is as it was. What is armed already may bring what it brings, once.
    pub fn set_sparing(&self, on: bool) {
        let socket = self.socket();
        if !on {
            socket.unset(flag::SPARING);
        } else if !socket.has(flag::SPARING) {
            socket.set(flag::SPARING);
            if socket.recv.get() == Recv::Multishot {
                self.inner.driver.disarm_recv(&self.inner, socket);
            }
        }
    }

    /// Whether a layer stands between its bytes and this handle.
    pub fn has_layer(&self) -> bool {
        self.socket().has(flag::LAYER)
    }

    /// Queues bytes; they leave at the end of this turn, gathered with what else is queued. Without effect after a failure.
    /// Panics after [`Stream::shutdown_write`].
    #[inline]
    pub fn send(&self, chunk: Chunk) {
        let socket = self.socket();
        if socket.has(flag::FIN | flag::LAYER) {
            assert!(!socket.has(flag::FIN), "nothing is sent after the end of the stream");
            return self.inner.queue_plain(socket, chunk);
        }
        self.inner.queue_send(socket, chunk);
    }

    /// Bytes queued and not known to be taken by the kernel. With a layer: plain ones, and what those that were sealed have become.
    #[inline]
    pub fn unsent(&self) -> usize {
        self.socket().unsent.get()
    }

    /// Ready when at most `limit` bytes are unsent; an error when the socket failed. Where the end was asked for
    /// ([`Stream::shutdown_write`]) and `limit` is 0, that has to be sent as well: a layer makes bytes of it.
    pub fn poll_unsent_below(&self, cx: &mut Context<'_>, limit: usize) -> Poll<Result<(), io::Error>> {
        let socket = self.socket();
        if socket.send.get() == Send::Failed {
            return Poll::Ready(Err(io::Error::from_raw_os_error(i32::from(socket.send_error.get()))));
        }
        let ends = limit == 0 && socket.has(flag::FIN) && socket.send.get() != Send::Shut;
        if socket.unsent.get() <= limit && !ends {
            return Poll::Ready(Ok(()));
        }
        socket.send_limit.set(limit);
        socket.send_waker.register(cx.waker());
        Poll::Pending
    }

    /// Waits until the kernel has taken all output, and the end where that was asked for.
    pub fn flushed(&self) -> impl Future<Output = io::Result<()>> {
        poll_fn(|cx| self.poll_unsent_below(cx, 0))
    }

    /// Sends FIN after all queued output, and after the end that a layer makes.
    pub fn shutdown_write(&self) {
        let socket = self.socket();
        if !socket.has(flag::FIN) {
            socket.set(flag::FIN);
            self.inner.enlist_flush(socket);
        }
    }

    /// Closes with RST; queued output is dropped, and a layer makes no end.
    pub fn abort(self) {
        self.socket().set(flag::ABORT);
    }

    /// The peer's address, asked of the system at each call.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        sys::peer_addr(self.socket().fd.get()).ok()
    }

    /// Our address, asked of the system at each call.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        sys::local_addr(self.socket().fd.get()).ok()
    }

    /// The path of its own end, where that is a unix socket with one; with `@` before it, a name of the abstract namespace.
    pub fn local_path(&self) -> Option<String> {
        sys::local_path(self.socket().fd.get())
    }

    /// Where the client wanted to go before the packet filter redirected it here (SO_ORIGINAL_DST, for both families, and for IPv4 on a
    /// socket of both). Behind TPROXY nothing is rewritten, and [`Stream::local_addr`] is the answer.
    pub fn original_destination(&self) -> Option<SocketAddr> {
        sys::original_destination(self.socket().fd.get()).ok()
    }

    /// Whether its listener takes what goes elsewhere (IP_TRANSPARENT): its local address may be where the client wanted to go.
    pub fn is_transparent(&self) -> bool {
        sys::is_transparent(self.socket().fd.get())
    }

    /// Turns TCP keep-alive on: the first probe after `idle`, then every `interval`, given up after `probes`.
    /// Zero leaves the system's value. Errors: those of setsockopt(2).
    pub fn set_keepalive(&self, idle: Duration, interval: Duration, probes: u32) -> io::Result<()> {
        let fd = self.socket().fd.get();
        sys::set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
        let seconds = |time: Duration| time.as_secs().clamp(1, 32767) as i32; // tcp(7): MAX_TCP_KEEPIDLE
        if !idle.is_zero() {
            sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, seconds(idle))?;
        }
        if !interval.is_zero() {
            sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, seconds(interval))?;
        }
        if probes > 0 {
            sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, probes.min(127) as i32)?;
        }
        Ok(())
    }

    /// Takes the connection off this core. It comes back as it is when bytes had come, output is unsent, it has ended, or
    /// it has a layer.
    pub fn detach(self) -> Detach {
        Detach { stream: Some(self) }
    }
}

impl AsFd for Stream {
    /// For socket options; reading, writing or closing it elsewhere breaks the stream.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open as long as the stream (the descriptor leaves the slot only by `drop` and `detach`).
        unsafe { BorrowedFd::borrow_raw(self.socket().fd.get()) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.inner.closed.get() {
            self.inner.close(self.socket());
        }
    }
}

/// The future of [`Stream::detach`]. Dropping it closes the connection.
pub struct Detach {
    stream: Option<Stream>,
}

impl Future for Detach {
    type Output = Result<Detached, Stream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let stream = self.stream.take().expect("not polled after completion");
        let (inner, socket) = (stream.inner.clone(), stream.socket());
        let fit = socket.recv_queue.is_empty()
            && socket.recv.get() != Recv::Ended
            && socket.unsent.get() == 0
            && socket.send.get() == Send::Open
            && !socket.has(flag::FIN | flag::LAYER);
        if !fit {
            socket.phase.set(Phase::Open);
            return Poll::Ready(Err(stream));
        }
        socket.phase.set(Phase::Detaching);
        inner.driver.disarm_recv(&inner, socket);
        if socket.in_flight.get() > 0 {
            socket.recv_waker.register(cx.waker());
            self.stream = Some(stream);
            return Poll::Pending;
        }
        inner.driver.detach(&inner, socket);
        let fd = inner.release(socket);
        drop(stream); // Its slot is free: there is nothing left to close.
        Poll::Ready(Ok(Detached { fd: sys::adopt(fd) }))
    }
}
