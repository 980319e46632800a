//! One peer of an exchange: a connection of its own in HTTP/1, one stream among others in HTTP/2.
//!
//! It never decides anything: it says the same things in two ways. Invariant: what is sent is a head (any number of interim ones
//! before), then content, then the end; where a head ends the message nothing follows.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use ringway_runtime::{Chunk, Stream};

use crate::http2::{HeadForm, Http2Stream};

/// See the module.
pub(crate) enum Side {
    Http1(Stream),
    Http2(Http2Stream),
}

impl Side {
    #[inline]
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// The stream of an HTTP/2 connection.
    #[inline]
    pub(crate) fn http2(&self) -> Option<&Http2Stream> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(stream) => Some(stream),
        }
    }

    /// The socket of an HTTP/1 connection.
    #[inline]
    pub(crate) fn socket(&self) -> Option<&Stream> {
        match self {
            Self::Http1(stream) => Some(stream),
            Self::Http2(_) => None,
        }
    }

    /// As [`Stream::poll_recv`]: of a stream first each head, then its content; its end is the end of its message.
    #[inline]
    pub(crate) fn poll_recv(&self, context: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        match self {
            Self::Http1(stream) => stream.poll_recv(context),
            Self::Http2(stream) => stream.poll_recv(context),
        }
    }

    /// As [`Stream::try_recv`]; a stream's end is no event here.
    #[inline]
    pub(crate) fn try_recv(&self) -> Option<io::Result<Option<Chunk>>> {
        match self {
            Self::Http1(stream) => stream.try_recv(),
            Self::Http2(stream) => stream.try_recv(),
        }
    }

    /// As [`Stream::poll_watch`].
    #[inline]
    pub(crate) fn poll_watch(&self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Http1(stream) => stream.poll_watch(context),
            Self::Http2(stream) => stream.poll_watch(context),
        }
    }

    /// As [`Stream::is_quiet`]: a stream is of use once.
    pub(crate) fn is_quiet(&self) -> bool {
        self.socket().is_some_and(Stream::is_quiet)
    }

    /// Puts bytes back in front of all that was received.
    #[inline]
    pub(crate) fn unread(&self, chunk: Chunk) {
        match self {
            Self::Http1(stream) => stream.unread(chunk),
            Self::Http2(stream) => stream.unread(chunk),
        }
    }

    /// As [`Stream::set_bulk`]; streams share their connection's buffers.
    #[inline]
    pub(crate) fn set_bulk(&self, on: bool) {
        if let Self::Http1(stream) = self {
            stream.set_bulk(on);
        }
    }

    /// As [`Stream::set_sparing`]; streams share their connection's buffers.
    pub(crate) fn set_sparing(&self, on: bool) {
        if let Self::Http1(stream) = self {
            stream.set_sparing(on);
        }
    }

    /// Whether what goes to its peer may be received in bulk buffers from here on: not where so much waits already that little should be read
    /// at once.
    #[inline]
    pub(crate) fn take_bulk(&self) -> bool {
        match self {
            Self::Http1(_) => true,
            Self::Http2(stream) => stream.take_bulk(),
        }
    }

    /// It is not received in bulk buffers any more.
    #[inline]
    pub(crate) fn leave_bulk(&self) {
        if let Self::Http2(stream) = self {
            stream.leave_bulk();
        }
    }

    /// As [`Http2Stream::is_one_of_many`].
    #[inline]
    pub(crate) fn is_one_of_many(&self) -> Option<bool> {
        match self {
            Self::Http1(_) => Some(false),
            Self::Http2(stream) => stream.is_one_of_many(),
        }
    }

    /// Sends a head in the form of HTTP/1.
    #[inline]
    pub(crate) fn send_head(&self, head: Chunk, form: HeadForm) {
        match self {
            Self::Http1(stream) => stream.send(head),
            Self::Http2(stream) => stream.send_head(&head, form),
        }
    }

    /// Sends an answer in one piece: its head, and behind it its content.
    #[inline]
    pub(crate) fn send_whole(&self, message: Chunk) {
        match self {
            Self::Http1(stream) => stream.send(message),
            Self::Http2(stream) => stream.send_whole(&message),
        }
    }

    /// Sends content, or on HTTP/1 what frames it.
    #[inline]
    pub(crate) fn send(&self, chunk: Chunk) {
        match self {
            Self::Http1(stream) => stream.send(chunk),
            Self::Http2(stream) => stream.send_data(chunk),
        }
    }

    /// As [`Stream::poll_unsent_below`].
    #[inline]
    pub(crate) fn poll_unsent_below(&self, context: &mut Context<'_>, limit: usize) -> Poll<io::Result<()>> {
        match self {
            Self::Http1(stream) => stream.poll_unsent_below(context, limit),
            Self::Http2(stream) => stream.poll_unsent_below(context, limit),
        }
    }

    /// Says that nothing more will be sent.
    pub(crate) fn shutdown_write(&self) {
        match self {
            Self::Http1(stream) => stream.shutdown_write(),
            Self::Http2(stream) => stream.end(None),
        }
    }

    /// The path of our own end, where that is a unix socket with one.
    pub(crate) fn local_path(&self) -> Option<String> {
        match self {
            Self::Http1(stream) => stream.local_path(),
            Self::Http2(stream) => stream.local_path(),
        }
    }

    /// The peer's address, asked of the system at each call.
    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Http1(stream) => stream.peer_addr(),
            Self::Http2(stream) => stream.peer_addr(),
        }
    }

    /// Our address, asked of the system at each call.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Http1(stream) => stream.local_addr(),
            Self::Http2(stream) => stream.local_addr(),
        }
    }
}
