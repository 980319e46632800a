//! One body on its way from one peer to the other, in either direction.
//!
//! What arrives is decoded in place; data leaves as slices of the very buffers in which it came, between chunk lines
//! of our own where the outgoing framing is chunked. Backpressure: while the sink holds more than
//! `Limits::unsent_high` bytes that its kernel did not take (or what `per_connection_buffer_limit_bytes` says), the source is not read.
//! A large body of a told size between two bare sockets, which nobody has to look at or to keep, goes through a pump
//! (decision 16).

use std::io::ErrorKind;
use std::task::{Context, Poll, ready};

use ringway_protocols::http1::{BodyDecoder, BodyPart, CHUNK_END, chunk_header, encode_trailers};
use ringway_protocols::{Error, Framing, Out};
use ringway_runtime::{BlockMut, Chunk, Pump, PumpError, PumpLimits, Stream};

use crate::grpc_stats::{self, Meter};
use crate::kept::Kept;
use crate::outbox::Outbox;
use crate::side::Side;
use crate::worker::Worker;

/// Room for `\r\n`, a chunk's size in hexadecimal and `\r\n`.
const CHUNK_LINE_MAX: usize = 24;

/// A chunk of the runtime's: what one receive brings at most, in bulk buffers aside.
pub(crate) const CHUNK_BYTES: usize = 4 << 10;

/// A bulk buffer.
pub(crate) const BULK_BYTES: usize = 64 << 10;

/// A body with as much to come is worth a pump: of the first bulk buffers a socket may have to be made ready, and what is left goes
/// through a pipe.
const PUMPED_MIN: u64 = 4 * BULK_BYTES as u64;

/// The end of a body is received in the usual way: what a source sends behind it comes along, and shows what it is worth as a connection.
const PUMPED_REST: u64 = CHUNK_BYTES as u64;

/// Where nobody says how much may be queued.
const UNSENT_USUAL: u32 = u32::MAX;

/// Why a body did not arrive whole.
#[derive(Debug)]
pub(crate) enum RelayError {
    /// The source broke the rules of framing, or ended before its body did.
    Malformed(Error),
    /// The source's connection failed.
    Source,
    /// The sink's connection failed.
    Sink,
}

/// How the source's bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receive {
    /// In chunks, ahead of being asked for.
    Usual,
    /// In bulk buffers, when asked for.
    Bulk,
    /// A chunk at a time, when asked for.
    Sparing,
}

impl Receive {
    /// What it is when a body is not large, or has ended: as whoever sent the head said.
    fn unless_bulk(self, to: &Side) -> Receive {
        match self {
            Receive::Usual => Receive::Usual,
            Receive::Bulk | Receive::Sparing if to.is_one_of_many() != Some(false) => Receive::Sparing,
            Receive::Bulk | Receive::Sparing => Receive::Usual,
        }
    }
}

/// One body under way.
pub(crate) struct Relay {
    decoder: BodyDecoder,
    chunked_out: bool,
    /// A chunk was written whose closing CRLF has yet to be: it leaves with the next line.
    chunk_open: bool,
    receive: Receive,
    done: bool,
    /// It is no body: raw bytes, which end with their connection.
    is_tunnel: bool,
    /// Something was received of it.
    read: bool,
    /// What may be queued towards the sink; [`UNSENT_USUAL`]: `Limits::unsent_high`.
    unsent_max: u32,
    /// Trailers are passed on.
    pub(crate) trailers: bool,
    /// Calls are counted.
    pub(crate) grpc: Option<Meter>,
    /// The `grpc-status` in its trailers: all that there are have two digits at most.
    pub(crate) grpc_status: Option<u16>,
    /// Body bytes moved so far.
    pub(crate) moved: u64,
    /// Bytes received for it and bytes handed to the sink, framing included.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// A trailer section that has not arrived whole.
    carry: Option<BlockMut>,
    /// What went to the sink, where it may have to go to another one.
    pub(crate) kept: Option<Box<Kept>>,
    /// It moves all the rest.
    pump: Option<Box<Pump>>,
}

impl Relay {
    /// A body that comes framed as `from` and leaves framed as `to`.
    pub(crate) fn new(from: Framing, to: Framing) -> Self {
        let decoder = BodyDecoder::new(from);
        let done = decoder.is_done();
        Self {
            decoder,
            chunked_out: to == Framing::Chunked,
            chunk_open: false,
            receive: Receive::Usual,
            done,
            is_tunnel: false,
            read: false,
            unsent_max: UNSENT_USUAL,
            trailers: false,
            grpc: None,
            grpc_status: None,
            moved: 0,
            received: 0,
            sent: 0,
            carry: None,
            kept: None,
            pump: None,
        }
    }

    /// What comes once a tunnel is open.
    pub(crate) fn tunnel() -> Self {
        Self { is_tunnel: true, ..Self::new(Framing::UntilClose, Framing::UntilClose) }
    }

    /// From here on all that comes is moved, until the source's end.
    pub(crate) fn open_tunnel(&mut self) {
        assert!(self.done && self.carry.is_none(), "a tunnel begins behind the message");
        self.decoder = BodyDecoder::new(Framing::UntilClose);
        self.chunked_out = false;
        self.is_tunnel = true;
        self.kept = None; // nothing is sent again from here on
        self.done = false;
    }

    /// Moves no more: the sink is gone.
    pub(crate) fn give_up(&mut self) {
        self.pump = None;
        self.done = true;
    }

    /// The same with another bound on what may be queued towards the sink.
    pub(crate) fn within(self, unsent_max: Option<u32>) -> Self {
        let said = |max: u32| max.min(UNSENT_USUAL - 1);
        Self { unsent_max: unsent_max.map_or(UNSENT_USUAL, said), ..self }
    }

    /// Whether the last byte has been handed to the sink.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Bytes of the body that the sink was given, or has queued.
    pub(crate) fn given(&self) -> u64 {
        self.moved - self.pump.as_ref().map_or(0, |pump| pump.held() as u64)
    }

    /// Whether not one byte of the body has been read: the request can be sent once more.
    pub(crate) fn is_untouched(&self) -> bool {
        !self.read
    }

    /// Whether all that has been read can be sent once more.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.is_untouched() || self.kept.as_ref().is_some_and(|kept| !kept.is_overflowed())
    }

    /// Sends what went to a sink before, if anything did, to this one; the rest will follow.
    #[inline]
    pub(crate) fn send_again(&mut self, worker: &Worker, to: &Side) {
        // It was the other sink's, behind whose head it began, and has moved nothing, or there would be no other try.
        self.pump = None;
        if self.read && self.kept.is_some() {
            self.send_kept(worker, to);
        }
    }

    fn send_kept(&mut self, worker: &Worker, to: &Side) {
        let Some(kept) = &mut self.kept else { return };
        assert!(!kept.is_overflowed(), "what was let go cannot be sent");
        let is_chunked = self.chunked_out && !to.is_http2();
        // This sink has its own framing: what the one before was written is not a part of it.
        self.chunk_open = false;
        for chunk in kept.chunks() {
            if is_chunked {
                to.send(chunk_line(worker, self.chunk_open, chunk.len()));
                self.chunk_open = true;
            }
            to.send(chunk.clone());
        }
        if let Some(trailers) = kept.end.clone()
            && let Some(end) = self.end(worker, to, &trailers)
        {
            to.send(end);
        }
    }

    /// Moves what can be moved now. Ready when the body is complete or cannot be completed.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        worker: &Worker,
        from: &Side,
        to: &Side,
    ) -> Poll<Result<(), RelayError>> {
        let mut budget = worker.limits.relay_bytes_per_poll;
        let unsent_max = match self.unsent_max {
            UNSENT_USUAL => worker.limits.unsent_high,
            max => max as usize,
        };
        while !self.done {
            if let Some((from, to)) = self.bare(unsent_max, from, to) {
                let bytes_per_poll = worker.limits.relay_bytes_per_poll;
                let limits = PumpLimits { bytes_per_poll, held_max: unsent_max, left: None };
                ready!(self.pump(context, from, to, limits))?;
            }
            match to.poll_unsent_below(context, unsent_max) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(RelayError::Sink)),
                Poll::Pending => return Poll::Pending,
            }
            if budget == 0 {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.choose_receive(worker, from, to);
            match from.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Some(chunk))) => {
                    budget = budget.saturating_sub(chunk.len());
                    if let Err(error) = self.feed(worker, chunk, from, to) {
                        return Poll::Ready(Err(error));
                    }
                }
                Poll::Ready(Ok(None)) => match self.decoder.finish_on_eof() {
                    Ok(()) => match from {
                        Side::Http1(_) => self.finish(worker, to, &[]),
                        Side::Http2(stream) => {
                            let trailers = stream.take_trailers();
                            self.finish(worker, to, trailers.as_deref().unwrap_or_default());
                        }
                    },
                    Err(error) => return Poll::Ready(Err(RelayError::Malformed(error))),
                },
                // Without close_notify: an end of raw bytes, as for `tcp_proxy` (decision 17), but of no body.
                Poll::Ready(Err(error)) if self.is_tunnel && error.kind() == ErrorKind::UnexpectedEof => {
                    self.finish(worker, to, &[]);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(RelayError::Source)),
            }
        }
        self.receive_as(self.receive.unless_bulk(to), from, to);
        Poll::Ready(Ok(()))
    }

    /// The two sockets, where the rest of the body goes through a pump.
    #[inline]
    fn bare<'a>(&mut self, unsent_max: usize, from: &'a Side, to: &'a Side) -> Option<(&'a Stream, &'a Stream)> {
        if self.pump.is_none() && self.decoder.remaining_hint().is_none_or(|left| left < PUMPED_MIN) {
            return None;
        }
        let (from, to) = (from.socket()?, to.socket()?);
        if self.pump.is_none() {
            let is_looked_at = self.grpc.is_some() || self.kept.is_some() || self.chunked_out || self.carry.is_some();
            if is_looked_at || from.has_layer() || to.has_layer() || unsent_max < BULK_BYTES {
                return None;
            }
            self.pump = Some(Box::new(Pump::of_part(from)));
        }
        Some((from, to))
    }

    /// Moves what is left of the body, but for its end.
    fn pump(
        &mut self,
        context: &mut Context<'_>,
        from: &Stream,
        to: &Stream,
        limits: PumpLimits,
    ) -> Poll<Result<(), RelayError>> {
        let pump = self.pump.as_mut().expect("there is one");
        let left = self.decoder.remaining_hint().and_then(|left| left.checked_sub(PUMPED_REST));
        let limits = PumpLimits { left: Some(left.expect("it takes nothing of the end")), ..limits };
        let given = |pump: &Pump| pump.moved() - pump.held() as u64;
        let (moved_before, given_before) = (pump.moved(), given(pump));
        let polled = pump.poll(context, from, to, limits);
        let moved = pump.moved() - moved_before;
        self.sent += given(pump) - given_before;
        self.read |= moved > 0;
        self.received += moved;
        self.moved += moved;
        if moved > 0 {
            self.decoder.pass(moved);
        }
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => {
                self.pump = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(PumpError::Sink(_))) => Poll::Ready(Err(RelayError::Sink)),
            Poll::Ready(Err(PumpError::Source(error))) => match self.decoder.finish_on_eof() {
                Err(rule) if error.kind() == ErrorKind::UnexpectedEof => Poll::Ready(Err(RelayError::Malformed(rule))),
                _ => Poll::Ready(Err(RelayError::Source)),
            },
        }
    }

    /// Large bodies come in large buffers: one system call and one send for each 64 KiB instead of each 4 KiB.
    /// For a crowded sink nothing is read ahead, and little at once.
    #[inline]
    fn choose_receive(&mut self, worker: &Worker, from: &Side, to: &Side) {
        let large = match self.decoder.remaining_hint() {
            Some(left) => left >= worker.limits.bulk_body_min,
            None => self.moved >= worker.limits.bulk_body_min,
        };
        // A whole one would be more than may be queued.
        let large = large && self.unsent_max as usize >= BULK_BYTES;
        let receive = match large {
            true if to.take_bulk() => Receive::Bulk,
            true => Receive::Sparing,
            false => self.receive.unless_bulk(to),
        };
        self.receive_as(receive, from, to);
    }

    #[inline]
    fn receive_as(&mut self, receive: Receive, from: &Side, to: &Side) {
        let before = std::mem::replace(&mut self.receive, receive);
        if before != receive {
            if before == Receive::Bulk {
                to.leave_bulk();
            }
            from.set_sparing(receive == Receive::Sparing);
            from.set_bulk(receive == Receive::Bulk);
        }
    }

    /// Decodes one received chunk and queues what it holds. What lies behind the end of the body goes back.
    pub(crate) fn feed(&mut self, worker: &Worker, chunk: Chunk, from: &Side, to: &Side) -> Result<(), RelayError> {
        self.read = true;
        self.received += chunk.len() as u64;
        let chunk = match self.carry.take() {
            None => chunk,
            Some(carry) => worker.join(carry, &chunk),
        };
        let mut at = 0;
        loop {
            let step = self.decoder.decode(&chunk[at..], &worker.codec_limits).map_err(RelayError::Malformed)?;
            match step.part {
                BodyPart::Data(range) => self.data(worker, chunk.slice(at + range.start..at + range.end), to),
                BodyPart::Trailers(range) => self.finish(worker, to, &chunk[at + range.start..at + range.end]),
                BodyPart::End => self.finish(worker, to, &[]),
                BodyPart::NeedMore => {
                    at += step.consumed;
                    if at < chunk.len() {
                        self.carry = Some(worker.copy(&chunk[at..]));
                    }
                    return Ok(());
                }
            }
            at += step.consumed;
            if self.done {
                if at < chunk.len() {
                    self.received -= (chunk.len() - at) as u64;
                    from.unread(chunk.slice(at..chunk.len()));
                }
                return Ok(());
            }
            if at == chunk.len() && !self.decoder.is_done() {
                return Ok(());
            }
        }
    }

    #[inline]
    fn data(&mut self, worker: &Worker, data: Chunk, to: &Side) {
        self.moved += data.len() as u64;
        if let Some(meter) = &mut self.grpc {
            meter.content(&data);
        }
        if let Some(kept) = &mut self.kept {
            kept.push(&worker.core, &data);
        }
        if self.chunked_out && !to.is_http2() {
            self.send(chunk_line(worker, self.chunk_open, data.len()), to);
            self.chunk_open = true;
        }
        self.send(data, to);
    }

    #[inline]
    fn send(&mut self, chunk: Chunk, to: &Side) {
        self.sent += chunk.len() as u64;
        to.send(chunk);
    }

    fn finish(&mut self, worker: &Worker, to: &Side, trailers: &[u8]) {
        assert!(!self.done, "a body ends once");
        self.done = true;
        // An end in chunks, and trailers, are a part of what would have to be sent again; the next sink may have chunks where this one has none.
        self.read |= !trailers.is_empty() || self.chunked_out;
        if let Some(kept) = &mut self.kept {
            kept.end = Some(worker.core.chunk(trailers));
        }
        if !trailers.is_empty() {
            let status = grpc_stats::status_in(trailers);
            let number = status.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u32>().ok());
            self.grpc_status = number.map(|number| u16::try_from(number).unwrap_or(u16::MAX));
            if let Some(meter) = &mut self.grpc {
                meter.end(status);
            }
        }
        if let Some(end) = self.end(worker, to, trailers) {
            self.send(end, to);
        }
    }

    /// Ends the message on a stream; for a body in chunks gives what is to be written.
    fn end(&self, worker: &Worker, to: &Side, trailers: &[u8]) -> Option<Chunk> {
        let trailers = if self.trailers { trailers } else { &[] };
        if let Side::Http2(stream) = to {
            // What ends a section is its empty line.
            stream.end((trailers.len() > 2).then(|| worker.core.chunk(trailers)));
            return None;
        }
        self.chunked_out.then(|| {
            let mut end = Outbox::new(&worker.core, CHUNK_LINE_MAX + trailers.len());
            if self.chunk_open {
                end.put(CHUNK_END);
            }
            encode_trailers(trailers, std::iter::empty(), &mut end);
            end.finish()
        })
    }
}

/// What stands before the data of a chunk: the end of the one before, if there is one, and its size.
fn chunk_line(worker: &Worker, ends_another: bool, size: usize) -> Chunk {
    let mut line = Outbox::new(&worker.core, CHUNK_LINE_MAX);
    if ends_another {
        line.put(CHUNK_END);
    }
    let mut digits = [0; 18];
    line.put(chunk_header(size, &mut digits));
    line.finish()
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::time::Duration;

    use ringway_runtime::{Generation, Instant, IoChoice, Options, Wake, mailbox, run};

    use super::*;
    use crate::handoff::Siblings;
    use crate::lighter::Balance;
    use crate::limits::Limits;
    use crate::message::Shared;
    use crate::worker::Parts;

    /// A peer that does one thing with its one connection.
    fn peer<T: Send + 'static>(
        work: impl FnOnce(TcpStream) -> T + Send + 'static,
    ) -> (SocketAddr, std::thread::JoinHandle<T>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        (address, std::thread::spawn(move || work(listener.accept().expect("a connection").0)))
    }

    fn parts(wake: &Arc<Wake>) -> Parts {
        let (_, inbox) = mailbox(1, wake);
        let (_, handoffs) = mailbox(1, wake);
        Parts {
            index: 0,
            word: Generation::new(),
            inbox,
            reports: std::sync::mpsc::channel().0,
            shared: Arc::new(Shared::default()),
            limits: Limits::default(),
            siblings: Siblings::new(0, Arc::from([]), handoffs, Balance::for_workers(1), Instant::now()),
            drain_time: Duration::from_secs(1),
            seed: [1, 2],
        }
    }

    #[test]
    fn the_largest_limit_is_one() {
        let relay = |max| Relay::new(Framing::Length(1), Framing::Length(1)).within(max).unsent_max;
        assert_eq!([relay(None), relay(Some(0)), relay(Some(u32::MAX))], [UNSENT_USUAL, 0, UNSENT_USUAL - 1]);
    }

    /// The most that was queued towards the sink while a body of this size was moved, and how many of its bytes were spliced.
    fn queued_most(size: usize, unsent_max: Option<u32>) -> (usize, u64) {
        let (source, writes) = peer(move |mut stream| stream.write_all(&vec![b'x'; size]).expect("the relay reads"));
        let (sink, reads) = peer(move |mut stream| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("the relay writes");
            assert_eq!(all.len(), size);
        });
        let options = Options { io: IoChoice::Poll, ..Options::default() };
        let wake = Wake::new().expect("an eventfd");
        let parts = parts(&wake);
        let most = run(&options, wake, |core, _| async move {
            let soon = core.now() + Duration::from_secs(5);
            let from = Side::Http1(core.connect(source, soon).await.expect("it listens"));
            let to = Side::Http1(core.connect(sink, soon).await.expect("it listens"));
            let worker = Worker::new(core, parts);
            let framing = Framing::Length(size as u64);
            let mut relay = Relay::new(framing, framing).within(unsent_max);
            let mut most = 0;
            poll_fn(|context| {
                let done = relay.poll(context, &worker, &from, &to);
                most = most.max(to.socket().expect("a socket").unsent());
                done
            })
            .await
            .expect("a whole body");
            assert_eq!([relay.moved, relay.received, relay.sent], [size as u64; 3]);
            to.socket().expect("a socket").flushed().await.expect("it reads");
            (most, worker.core.stats().bytes_spliced.get())
        });
        writes.join().expect("the source");
        reads.join().expect("the sink");
        most.expect("the poll driver runs everywhere")
    }

    /// Another sink takes the place of one that got nothing: what is queued for it, a head, leaves before any of the body.
    #[test]
    fn another_sink_gets_its_head_first() {
        const SIZE: usize = 1 << 20;
        const TURNS: usize = 50;
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (has_come, come) = std::sync::mpsc::channel();
        let (source, writes) = peer(move |mut stream| {
            wait.recv().expect("a test that goes on");
            let body = vec![b'x'; SIZE];
            stream.write_all(&body[..64 << 10]).expect("room for as much");
            has_come.send(()).expect("a test that goes on");
            stream.write_all(&body[64 << 10..]).expect("the relay reads");
        });
        let (first, _gone) = peer(drop);
        let (second, reads) = peer(|mut stream| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("the relay writes");
            all
        });
        let options = Options { io: IoChoice::Poll, ..Options::default() };
        let wake = Wake::new().expect("an eventfd");
        let parts = parts(&wake);
        run(&options, wake, |core, _| async move {
            let soon = core.now() + Duration::from_secs(5);
            let from = Side::Http1(core.connect(source, soon).await.expect("it listens"));
            let sinks = [core.connect(first, soon).await, core.connect(second, soon).await];
            let [first, second] = sinks.map(|sink| Side::Http1(sink.expect("it listens")));
            let worker = Worker::new(core, parts);
            let framing = Framing::Length(SIZE as u64);
            let mut relay = Relay::new(framing, framing);
            let mut turns = 0;
            poll_fn(|context| {
                let _nothing = relay.poll(context, &worker, &from, &first);
                turns += 1;
                context.waker().wake_by_ref();
                if turns < TURNS { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
            assert!(relay.is_untouched() && relay.pump.is_some(), "it waits for the body");
            go.send(()).expect("a source");
            come.recv().expect("a source");
            let mut turns = 0;
            poll_fn(|context| {
                turns += 1;
                context.waker().wake_by_ref();
                if turns < TURNS { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
            second.send(worker.core.chunk(b"head"));
            relay.send_again(&worker, &second);
            poll_fn(|context| relay.poll(context, &worker, &from, &second)).await.expect("a whole body");
            second.shutdown_write();
            second.socket().expect("a socket").flushed().await.expect("it reads");
        })
        .expect("the poll driver runs everywhere");
        writes.join().expect("the source");
        let all = reads.join().expect("the sink");
        assert!(all.len() == SIZE + 4 && all.starts_with(b"head"), "{} bytes, first {:?}", all.len(), &all[..4]);
    }

    /// Guards against a bound that is only read: a body is never queued beyond it by more than one receive.
    #[test]
    fn a_source_is_not_read_beyond_what_may_be_queued() {
        const SIZE: usize = 4 << 20;
        // What one receive brings at most: several chunks, settled.
        const RECEIVE_BYTES: usize = 16 << 10;
        for max in [1, 16 << 10, 32 << 10] {
            let (most, spliced) = queued_most(SIZE, Some(max as u32));
            assert!(most > 0 && most <= max + RECEIVE_BYTES, "{most} bytes of {max}");
            assert_eq!(spliced, 0, "where little may be held");
        }
        let usual = Limits::default().unsent_high;
        let (most, spliced) = queued_most(PUMPED_MIN as usize - 1, None);
        assert!(
            most > 32 << 10 && most <= usual + BULK_BYTES && spliced == 0,
            "{most} bytes of {usual}, {spliced} spliced"
        );
        let (most, spliced) = queued_most(SIZE, None);
        assert!(most <= usual + BULK_BYTES && spliced > SIZE as u64 / 2, "{most} bytes of {usual}, {spliced} spliced");
    }
}
