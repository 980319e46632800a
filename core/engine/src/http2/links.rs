//! One endpoint's HTTP/2 connections on this core: those that are open, and what is known of those that are being made.
//!
//! `P` is a connection's place in the cluster's limits, which lives as long as the connection or the last request on it.
//!
//! Requests that find no room wait with their endpoint; the connection that they wait for is nobody's own, so that one that gives up
//! takes nothing from the others. Its failure is all of theirs.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use ringway_protocols::http2::Code;

use super::link::Link;
use super::stream::Http2Stream;

/// Streams that a connection under way is expected to take: what RFC 9113 §6.5.2 asks a peer to allow at least.
const STREAMS_EXPECTED: u32 = 100;

/// How an attempt to connect failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectFailure {
    Timeout,
    Io(io::ErrorKind),
    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`
    Tls(&'static str),
}

/// See the module.
pub(crate) struct Links<P> {
    open: RefCell<Vec<(Rc<Link>, Rc<P>)>>,
    /// Streams that a connection is expected to take before it says so: what the last one said.
    expected: Cell<u32>,
    connecting: Cell<u32>,
    waiting: Cell<u32>,
    /// Attempts that failed, and how the last one did.
    failures: Cell<(u32, ConnectFailure)>,
}

impl<P> Default for Links<P> {
    fn default() -> Self {
        Self {
            open: RefCell::default(),
            expected: Cell::new(STREAMS_EXPECTED),
            connecting: Cell::new(0),
            waiting: Cell::new(0),
            failures: Cell::new((0, ConnectFailure::Timeout)),
        }
    }
}

impl<P> Links<P> {
    /// A stream of the first connection that has room; `is_used_up` says which must take no more.
    pub(crate) fn take(&self, is_used_up: impl Fn(&P) -> bool) -> Option<(Http2Stream, Rc<P>)> {
        for (link, permit) in &*self.open.borrow() {
            if link.is_leaving() {
                continue;
            }
            if is_used_up(permit) {
                link.leave();
                continue;
            }
            if let Some(port) = link.reserve(self.expected.get()) {
                return Some((Http2Stream::new(link, port, Code::CANCEL), Rc::clone(permit)));
            }
        }
        None
    }

    /// Whether those that wait, and one more, are more than the connections under way will take.
    pub(crate) fn wants_another(&self, requests_max: u32) -> bool {
        self.waiting.get() >= self.connecting.get().saturating_mul(self.expected.get().min(requests_max))
    }

    /// A connection has said how many streams it takes.
    pub(crate) fn told(&self, streams: u32) {
        self.expected.set(streams.clamp(1, STREAMS_EXPECTED));
    }

    /// Whether requests wait for room.
    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting.get() > 0
    }

    pub(crate) fn begin_wait(&self) {
        self.waiting.set(self.waiting.get() + 1);
    }

    pub(crate) fn end_wait(&self) {
        self.waiting.set(self.waiting.get() - 1);
    }

    /// The number of attempts that failed, and how the last one did.
    pub(crate) fn failures(&self) -> (u32, ConnectFailure) {
        self.failures.get()
    }

    pub(crate) fn begin_connecting(&self) {
        self.connecting.set(self.connecting.get() + 1);
    }

    pub(crate) fn failed(&self, failure: ConnectFailure) {
        self.connecting.set(self.connecting.get() - 1);
        self.failures.set((self.failures.get().0.wrapping_add(1), failure));
    }

    /// A connection that is there and speaks HTTP/1.
    pub(crate) fn gave_way(&self) {
        self.connecting.set(self.connecting.get() - 1);
    }

    pub(crate) fn connected(&self, link: &Rc<Link>, permit: &Rc<P>) {
        self.connecting.set(self.connecting.get() - 1);
        self.open.borrow_mut().push((Rc::clone(link), Rc::clone(permit)));
    }

    /// A connection has ended.
    pub(crate) fn gone(&self, link: &Rc<Link>) {
        self.open.borrow_mut().retain(|(other, _)| !Rc::ptr_eq(link, other));
    }

    /// No connection takes another request; each closes with its last one.
    pub(crate) fn retire(&self) {
        self.open.borrow().iter().for_each(|(link, _)| link.leave());
    }
}
