//! HTTP/2, and gRPC on it: as many requests at once on each connection as the plan and the peer allow.
//!
//! One task a connection reads, takes what is due, sends, and looks at deadlines; all that a turn of it writes leaves in one send.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use ringway_protocols::Error;
use ringway_protocols::http2::message::write_request;
use ringway_protocols::http2::{Code, Connection, Event, Key, Role};
use ringway_runtime::{Chunk, Instant, Stream, Timer};

use super::head::{Head, grpc_status};
use super::{Begin, lost};
use crate::expect::{Answer, Body};
use crate::failure::Failure;
use crate::pacing::{Job, Seat};
use crate::target::Protocol;
use crate::windows::limits;
use crate::worker::{Scratch, Worker};

/// Receives of one poll, before other connections have their turn.
const RECEIVES_MAX: usize = 16;
/// A piece of a body of this size is worth being sent without a copy.
const PIECE_MIN: usize = 4 << 10;
/// Bytes that may wait to be taken by the kernel, beyond which bodies wait.
const UNSENT_MAX: usize = 256 << 10;
/// Requests under way before the server has said how many it takes (RFC 9113 §6.5.2): one is what each takes.
const UNTOLD_MAX: u32 = 1;
/// How often a request is sent again on a connection that refuses it: who obeys its limit is refused by a race alone.
const REFUSALS_MAX: u8 = 3;

pub(super) async fn drive(worker: Rc<Worker>, seat: Rc<Seat>, begin: Begin) {
    let Begin { wire, mut job } = begin;
    let mut stream = wire.map(|wire| wire.stream);
    let taken = u32::from(job.is_some());
    worker.dispatcher.offer(&seat, worker.plan.streams - taken, worker.core.now());
    loop {
        let stream = match stream.take() {
            Some(stream) => stream,
            None => {
                let next = match job.take() {
                    Some(job) => Some(job),
                    None => worker.dispatcher.take(&seat).await,
                };
                let Some(next) = next else { return };
                match worker.connect().await {
                    Ok(wire) => {
                        job = Some(next);
                        wire.stream
                    }
                    Err(failure) => {
                        worker.failed_to_connect(&seat, next, failure).await;
                        continue;
                    }
                }
            }
        };
        let mut connection = Http2::new(Rc::clone(&worker), Rc::clone(&seat), stream);
        connection.begin(job.take());
        let end = poll_fn(|context| connection.poll(context)).await;
        job = connection.finish(end);
        if end == End::Over {
            return;
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// There is nothing more to send.
    Over,
    /// It has had its requests, or the peer takes no more.
    Served,
    /// It is gone.
    Lost(Failure),
}

/// A request under way.
struct Exchange {
    key: Key,
    job: Job,
    /// How often it was refused here before.
    refusals: u8,
    sent: Instant,
    status: u16,
    grpc_status: Option<u32>,
    body: Body,
    /// What of its body was sent, and its size.
    sent_bytes: usize,
    size: usize,
}

struct Http2 {
    worker: Rc<Worker>,
    seat: Rc<Seat>,
    stream: Stream,
    codec: Connection,
    timer: Timer,
    /// A frame that has not come whole.
    held: Vec<u8>,
    out: Vec<u8>,
    /// By [`Key::index`].
    exchanges: Vec<Option<Exchange>>,
    active: u32,
    /// When each must be answered, in the order in which they were sent.
    deadlines: VecDeque<(Instant, Key)>,
    /// Those whose body has not gone whole.
    sending: VecDeque<Key>,
    /// Taken and not sent, and how often each was refused here.
    waiting: VecDeque<(Job, u8)>,
    /// The server has said how many requests it takes.
    is_told: bool,
    /// Requests that this connection may still have.
    left: u64,
    is_over: bool,
    began: Instant,
}

impl Http2 {
    fn new(worker: Rc<Worker>, seat: Rc<Seat>, stream: Stream) -> Http2 {
        let now = worker.core.now();
        Http2 {
            codec: Connection::new(Role::Client, &limits(worker.plan.streams), 0),
            timer: worker.core.timer(),
            held: Vec::new(),
            out: Vec::new(),
            exchanges: Vec::new(),
            active: 0,
            deadlines: VecDeque::new(),
            sending: VecDeque::new(),
            waiting: VecDeque::new(),
            is_told: false,
            left: worker.plan.requests_per_connection.unwrap_or(u64::MAX),
            is_over: false,
            began: now,
            worker,
            seat,
            stream,
        }
    }

    fn begin(&mut self, job: Option<Job>) {
        self.codec.begin(&mut self.out);
        self.waiting.extend(job.map(|job| (job, 0)));
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.seat.runs();
        let mut end = self.receive(context);
        if end.is_none() {
            self.take(context);
        }
        self.pump(context);
        self.expire(context);
        if !self.out.is_empty() {
            self.stream.send(self.worker.core.chunk(&self.out));
            self.out.clear();
        }
        if end.is_none() && self.active == 0 {
            if self.is_over && self.waiting.is_empty() {
                end = Some(End::Over);
            } else if self.left == 0 || self.codec.is_leaving() {
                end = Some(End::Served);
            }
        }
        end.map_or(Poll::Pending, Poll::Ready)
    }

    // --- Reading -------------------------------------------------------------------------------------------------------------

    fn receive(&mut self, context: &mut Context<'_>) -> Option<End> {
        for _ in 0..RECEIVES_MAX {
            match self.stream.poll_recv(context) {
                Poll::Pending => return None,
                Poll::Ready(Ok(Some(chunk))) => {
                    if let Err(failure) = self.feed(chunk) {
                        return Some(End::Lost(failure));
                    }
                }
                Poll::Ready(Ok(None)) => return Some(End::Lost(Failure::CutShort)),
                Poll::Ready(Err(error)) => return Some(End::Lost(lost(&self.worker, &error))),
            }
        }
        context.waker().wake_by_ref();
        None
    }

    fn feed(&mut self, chunk: Chunk) -> Result<(), Failure> {
        if self.held.is_empty() {
            let done = self.read(&chunk)?;
            self.held.extend_from_slice(&chunk[done..]);
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(&chunk);
            let done = self.read(&held)?;
            held.drain(..done);
            self.held = held;
        }
        Ok(())
    }

    /// Reads what is whole of `bytes`; how many those are.
    fn read(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        let worker = Rc::clone(&self.worker);
        let scratch = &mut *worker.scratch.borrow_mut();
        let now = worker.core.now().ms_since(self.began);
        self.codec.unsent(self.stream.unsent() + self.out.len());
        let mut at = 0;
        loop {
            let step = self.codec.receive(&bytes[at..], now, &mut scratch.fields, &mut self.out);
            match step.event {
                Event::NeedMore => return Ok(at + step.consumed),
                Event::Head { key, ends } => self.head(key, ends, scratch),
                Event::Trailers { key } => self.trailers(key, scratch),
                Event::Data { key, range, ends } => {
                    let piece = &bytes[at + range.start..at + range.end];
                    self.codec.consumed(key, piece.len(), &mut self.out);
                    if let Some(exchange) = self.exchange(key) {
                        exchange.body.push(piece);
                        if ends {
                            self.complete(key);
                        }
                    }
                }
                Event::Reset { key, unprocessed: true, .. } => self.refused(key),
                Event::Reset { key, rule: Some(rule), .. } => {
                    self.fail(key, worker.tally.because(Failure::Protocol, Error::stream(rule)));
                }
                Event::Reset { key, code, .. } => {
                    self.fail(key, worker.tally.because(Failure::StreamReset, code.name()));
                }
                Event::Failed(error) => return Err(worker.tally.because(Failure::Protocol, error)),
                Event::Settings => self.is_told = true,
                Event::Window { .. } | Event::GoAway { .. } | Event::Pong(_) => {}
            }
            at += step.consumed;
        }
    }

    fn exchange(&mut self, key: Key) -> Option<&mut Exchange> {
        self.exchanges.get_mut(key.index())?.as_mut().filter(|exchange| exchange.key == key)
    }

    fn head(&mut self, key: Key, ends: bool, scratch: &Scratch) {
        let Some(head) = Head::read(scratch.fields.iter()) else { return self.malformed(key) };
        if head.is_interim() {
            return;
        }
        let to_head = self.worker.plan.request.method() == ringway_protocols::Method::Head;
        match head.content(to_head) {
            // Content was told of and none comes: no whole answer, as a body of HTTP/1 that is cut short.
            Some(length) if ends && length > 0 => return self.malformed(key),
            Some(length) if !ends => self.codec.expect_length(key, length),
            _ => {}
        }
        let Some(exchange) = self.exchange(key) else { return };
        exchange.status = head.status;
        if ends {
            // Of gRPC: a head and trailers in one ("Trailers-Only").
            exchange.grpc_status = grpc_status(scratch.fields.iter());
            self.complete(key);
        }
    }

    /// Its head breaks RFC 9113 §8.1.1.
    fn malformed(&mut self, key: Key) {
        self.codec.reset(key, Code::PROTOCOL_ERROR, &mut self.out);
        let why = "the answer's head has a :status and content-length of digits, and the content that it tells of (RFC 9113 §8.1.1)";
        self.fail(key, self.worker.tally.because(Failure::Protocol, why));
    }

    fn trailers(&mut self, key: Key, scratch: &Scratch) {
        if let Some(exchange) = self.exchange(key) {
            exchange.grpc_status = grpc_status(scratch.fields.iter());
            self.complete(key);
        }
    }

    /// An answer is whole.
    fn complete(&mut self, key: Key) {
        let Some(exchange) = self.exchanges[key.index()].take() else { return };
        self.active -= 1;
        let Exchange { job, sent, status, grpc_status, body, .. } = exchange;
        // What is left of the request nobody wants any more.
        self.codec.reset(key, Code::NO_ERROR, &mut self.out);
        let is_grpc = self.worker.plan.target.protocol == Protocol::Grpc;
        let is_cut = grpc_status == Some(0) && body.messages().is_none();
        if is_grpc && (grpc_status.is_none() || is_cut) && status == 200 {
            // HTTP/2 has ended it, and gRPC has not.
            let why = if is_cut { "an answer that is no whole messages" } else { "a call ends with a grpc-status" };
            let failure = self.worker.tally.because(Failure::Protocol, why);
            self.worker.failed(&self.seat, job, failure);
            return;
        }
        let grpc_status = if is_grpc { grpc_status } else { None };
        self.worker.answered(&self.seat, job, sent, &Answer { status, grpc_status, body });
    }

    /// What was not processed is sent again (RFC 9113 §6.8, §8.7): here, or on the next connection where the server leaves this one.
    fn refused(&mut self, key: Key) {
        let Some(&mut Exchange { refusals, job, .. }) = self.exchange(key) else { return };
        if !self.codec.is_leaving() && (self.left == 0 || refusals == REFUSALS_MAX) {
            let failure = self.worker.tally.because(Failure::StreamReset, Code::REFUSED_STREAM.name());
            return self.fail(key, failure);
        }
        self.exchanges[key.index()] = None;
        self.active -= 1;
        if self.codec.is_leaving() {
            self.seat.put_back(job);
            self.is_over = false; // there is this one
        } else {
            self.waiting.push_back((job, refusals + 1));
        }
    }

    fn fail(&mut self, key: Key, failure: Failure) {
        if self.exchange(key).is_some()
            && let Some(exchange) = self.exchanges[key.index()].take()
        {
            self.active -= 1;
            self.worker.failed(&self.seat, exchange.job, failure);
        }
    }

    // --- Sending -------------------------------------------------------------------------------------------------------------

    /// Sends what is due, as far as there is room.
    fn take(&mut self, context: &mut Context<'_>) {
        while self.left > 0 && self.has_room() {
            let (job, refusals) = match self.waiting.pop_front() {
                Some(waiting) => waiting,
                None => match self.worker.dispatcher.poll_take(&self.seat, context) {
                    Poll::Ready(Some(job)) => (job, 0),
                    Poll::Ready(None) => {
                        self.is_over = true;
                        return;
                    }
                    Poll::Pending => return,
                },
            };
            self.left -= 1;
            self.send(job, refusals);
        }
    }

    /// Whether one more request may be under way.
    fn has_room(&self) -> bool {
        !self.codec.is_leaving() && self.codec.capacity() > 0 && (self.is_told || self.active < UNTOLD_MAX)
    }

    fn send(&mut self, job: Job, refusals: u8) {
        let worker = Rc::clone(&self.worker);
        let now = worker.core.now();
        let deadline = worker.deadline(job);
        if now >= deadline {
            worker.failed(&self.seat, job, Failure::Unsent);
            return;
        }
        let scratch = &mut *worker.scratch.borrow_mut();
        let Scratch { lower, coded, .. } = scratch;
        let size = worker.draw_size();
        let scheme: &[u8] = if worker.plan.target.tls { b"https" } else { b"http" };
        let drawn;
        let head: &[u8] = match worker.message.fixed_head() {
            Some(head) => head,
            None => {
                drawn = worker.message.head(size);
                &drawn
            }
        };
        let key = self.codec.send_request(size == 0, coded, &mut self.out, |fields| {
            write_request(head, scheme, false, false, lower, fields);
        });
        let key = key.expect("there was capacity");
        worker.tally.sent(job, size as u64);
        if self.exchanges.len() <= key.index() {
            self.exchanges.resize_with(key.index() + 1, || None);
        }
        self.exchanges[key.index()] = Some(Exchange {
            key,
            job,
            refusals,
            sent: now,
            status: 0,
            grpc_status: None,
            body: match worker.plan.target.protocol {
                Protocol::Grpc => Body::of_messages(&worker.plan.expect),
                _ => Body::new(&worker.plan.expect),
            },
            sent_bytes: 0,
            size,
        });
        self.active += 1;
        self.deadlines.push_back((deadline, key));
        if size > 0 {
            self.sending.push_back(key);
        }
    }

    /// Sends of bodies what the windows and the kernel take.
    fn pump(&mut self, context: &mut Context<'_>) {
        let mut blocked = 0;
        while let Some(key) = self.sending.pop_front() {
            if self.stream.unsent() + self.out.len() > UNSENT_MAX {
                self.sending.push_front(key);
                let _wakes = self.stream.poll_unsent_below(context, UNSENT_MAX / 2);
                return;
            }
            let Some(exchange) = self.exchanges.get_mut(key.index()).and_then(Option::as_mut) else { continue };
            if exchange.key != key {
                continue;
            }
            let wanted = exchange.size - exchange.sent_bytes;
            let granted = self.codec.send_data(key, wanted, true, &mut self.out);
            let range = exchange.sent_bytes..exchange.sent_bytes + granted;
            exchange.sent_bytes = range.end;
            let is_whole = exchange.sent_bytes == exchange.size;
            if granted >= PIECE_MIN {
                self.stream.send(self.worker.core.chunk(&self.out));
                self.out.clear();
                self.stream.send(self.worker.message.body.slice(range));
            } else {
                self.out.extend_from_slice(&self.worker.message.body[range]);
            }
            if is_whole {
                continue;
            }
            self.sending.push_back(key);
            blocked = if granted == 0 { blocked + 1 } else { 0 };
            if blocked >= self.sending.len() {
                return; // a window opens first
            }
        }
    }

    /// Gives up what has taken too long.
    fn expire(&mut self, context: &mut Context<'_>) {
        while let Some((deadline, key)) = self.deadlines.front().copied() {
            if self.exchange(key).is_some() {
                self.timer.set(deadline);
                if self.timer.poll_expired(context).is_pending() {
                    return;
                }
                self.codec.reset(key, Code::CANCEL, &mut self.out);
                self.fail(key, Failure::Timeout);
                context.waker().wake_by_ref(); // its place may be what others wait for
            }
            self.deadlines.pop_front();
        }
        self.timer.clear();
    }

    // --- The end -------------------------------------------------------------------------------------------------------------

    /// All that is under way fails, where something is. A request that was taken and not sent comes back, further ones to their seat.
    fn finish(mut self, end: End) -> Option<Job> {
        if let End::Lost(failure) = end {
            for at in 0..self.exchanges.len() {
                if let Some(exchange) = self.exchanges[at].take() {
                    self.worker.failed(&self.seat, exchange.job, failure);
                }
            }
            // Else a server that hangs up on everybody would be asked the same for ever.
            while let Some((job, _)) = self.waiting.pop_front() {
                self.worker.failed(&self.seat, job, failure);
            }
        } else {
            self.codec.go_away(Code::NO_ERROR, &mut self.out);
            self.stream.send(self.worker.core.chunk(&self.out));
        }
        let next = self.waiting.pop_front().map(|(job, _)| job);
        while let Some((job, _)) = self.waiting.pop_back() {
            self.seat.put_back(job);
        }
        next
    }
}
