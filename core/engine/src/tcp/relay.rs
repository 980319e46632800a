//! The bytes of a raw connection, both ways, until both sides have said their last.
//!
//! ```text
//!            one end              the other end, all taken
//!   both ──────────────> half ───────────────────────────────> Whole
//!     │ a side failed      │
//!     ├────────────────────┴─> what came before is sent on ──> Reset
//! ```
//!
//! An end travels as an end and the other direction stays open; a reset travels as a reset, behind what came before it, as far as the
//! other side takes that at once. What a side sent before it failed is still read.

use std::task::{Context, Poll};

use ringway_runtime::Stream;

use super::flow::{Flow, Moved, State};

/// Who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Upstream,
}

/// How the bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Both sides said their last, and all of it is sent. This one said it first.
    Whole(Side),
    /// This one broke off: the other is to be told so.
    Reset(Side),
}

/// What a poll did: from the client on, and to it.
pub(super) struct Progress {
    pub(super) up: Moved,
    pub(super) down: Moved,
}

/// See the module.
pub(super) struct Relay {
    up: Flow,
    down: Flow,
    /// Who said its last first.
    first: Option<Side>,
    /// The turn in which a side broke off: what came before leaves at its end.
    broken_in: Option<u64>,
    bytes_per_poll: u32,
}

impl Relay {
    /// What may be held for the upstream and for the client when the other one is read, and about how many bytes one poll moves each way.
    pub(super) fn new((up, down): (u32, u32), bytes_per_poll: usize) -> Self {
        Self {
            up: Flow::new(up),
            down: Flow::new(down),
            first: None,
            broken_in: None,
            bytes_per_poll: u32::try_from(bytes_per_poll).unwrap_or(u32::MAX),
        }
    }

    /// Bytes that came from the client, and from the upstream.
    pub(super) fn moved(&self) -> [u64; 2] {
        [self.up.moved(), self.down.moved()]
    }

    /// Bytes that wait to be taken, on both sides.
    #[inline]
    pub(super) fn held(&self, client: &Stream, upstream: &Stream) -> usize {
        self.up.held(upstream) + self.down.held(client)
    }

    /// Moves what can be moved now, in this turn of the core. Ready when nothing more will be; the progress counts either way.
    #[inline]
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        turn: u64,
        client: &Stream,
        upstream: &Stream,
    ) -> (Progress, Poll<End>) {
        let bytes = self.bytes_per_poll as usize;
        let up = self.up.poll(context, (client, upstream), bytes);
        let down = self.down.poll(context, (upstream, client), bytes);
        let progress = Progress { up, down };
        if self.up.is_open() && self.down.is_open() {
            return (progress, Poll::Pending);
        }
        (progress, self.poll_half(context, turn, client, upstream))
    }

    /// The same when a direction is over.
    #[inline(never)]
    fn poll_half(&mut self, context: &mut Context<'_>, turn: u64, client: &Stream, upstream: &Stream) -> Poll<End> {
        self.first = self.first.or(match (self.up.state, self.down.state) {
            (State::Ended, _) => Some(Side::Client),
            (_, State::Ended) => Some(Side::Upstream),
            _ => None,
        });
        if !self.down.is_open() {
            self.up.watch_sink(context, upstream);
        }
        if !self.up.is_open() {
            self.down.watch_sink(context, client);
        }
        let broken = match (self.up.state, self.down.state) {
            (State::Reset, _) => Side::Client,
            (_, State::Reset) => Side::Upstream,
            // Its last words are on their way to the other side.
            (State::Cut, State::Open) | (State::Open, State::Cut) => return Poll::Pending,
            (State::Cut, _) => Side::Upstream,
            (_, State::Cut) => Side::Client,
            (State::Ended, State::Ended) => return self.poll_taken(context, client, upstream),
            (State::Open, _) | (_, State::Open) => return Poll::Pending,
        };
        let other = if broken == Side::Client { upstream } else { client };
        if other.unsent() > 0 && *self.broken_in.get_or_insert(turn) == turn {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(End::Reset(broken))
    }

    /// Waits until both kernels have the last bytes, which a close may lose otherwise.
    fn poll_taken(&mut self, context: &mut Context<'_>, client: &Stream, upstream: &Stream) -> Poll<End> {
        for (stream, side) in [(client, Side::Client), (upstream, Side::Upstream)] {
            match stream.poll_unsent_below(context, 0) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(End::Reset(side)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(End::Whole(self.first.expect("both have ended")))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::mpsc;
    use std::time::Duration;

    use ringway_runtime::{IoChoice, Options, Wake, run};

    use super::super::flow::held_max;
    use super::*;
    use crate::limits::Limits;

    /// A peer that does one thing with its one connection.
    fn peer(work: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        (address, std::thread::spawn(move || work(listener.accept().expect("a connection").0)))
    }

    /// The most that was queued for a reader that begins only when its source can send no more, and how often it held the source back.
    fn queued_most(io: IoChoice, max: u32) -> (u32, u32) {
        // More than both kernels' buffers take.
        const SIZE: usize = 48 << 20;
        const PATIENCE: Duration = Duration::from_secs(60);
        let ((stalled, is_stalled), (paused, is_paused)) = (mpsc::channel(), mpsc::channel());
        let (source, writes) = peer(move |mut stream| {
            stream.set_write_timeout(Some(Duration::from_millis(100))).expect("a socket");
            let (all, mut at) = (vec![b'x'; SIZE], 0);
            while at < SIZE {
                match stream.write(&all[at..]) {
                    Ok(sent) => at += sent,
                    Err(_) => _ = stalled.send(()),
                }
            }
        });
        let (sink, reads) = peer(move |mut stream| {
            is_stalled.recv_timeout(PATIENCE).expect("the source can send no more");
            is_paused
                .recv_timeout(PATIENCE)
                .expect("it is the relay that holds it back, and no thread that had no turn");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("the relay writes");
            assert_eq!(all.len(), SIZE);
        });
        let options = Options { io, ..Options::default() };
        let found = run(&options, Wake::new().expect("an eventfd"), |core, _| async move {
            let soon = core.now() + Duration::from_secs(5);
            let from = core.connect(source, soon).await.expect("it listens");
            let to = core.connect(sink, soon).await.expect("it listens");
            let limits = Limits::default();
            let mut relay = Relay::new(
                (held_max(&limits, Some(max), &from), limits.unsent_high as u32),
                limits.relay_bytes_per_poll,
            );
            let (mut most, mut pauses) = (0, 0);
            let end = poll_fn(|context| {
                let (progress, end) = relay.poll(context, core.turn(), &from, &to);
                if progress.up.paused {
                    pauses += 1;
                    let _heard_before = paused.send(());
                }
                most = most.max(relay.up.held(&to) as u32);
                end
            });
            // The sink has nothing to say; it ends when all has come.
            assert_eq!(end.await, End::Whole(Side::Client));
            (most, pauses)
        });
        writes.join().expect("the source");
        reads.join().expect("the sink");
        found.expect("a driver runs everywhere")
    }

    /// Guards against a bound that is only read: what lies unread with the source comes on top.
    #[test]
    fn a_stalled_reader_holds_what_it_may_and_no_more() {
        for io in [IoChoice::Poll, IoChoice::Auto] {
            // A chunk is held of whatever little may be.
            for (max, bound) in [(1, 4 << 10), (32 << 10, 32 << 10), (250 << 10, 250 << 10), (1 << 20, 1 << 20)] {
                let (most, pauses) = queued_most(io, max);
                assert!(most > 0 && most <= bound && pauses > 0, "{io:?}: {most} bytes of {max}");
            }
        }
    }
}
