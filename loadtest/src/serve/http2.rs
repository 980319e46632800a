//! The origin's side of HTTP/2: every request is answered when it has ended and its delay is over; a call of gRPC by what it sent.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use ringway_protocols::hpack::Field;
use ringway_protocols::http2::message::write_response;
use ringway_protocols::http2::{Code, Connection, Event, Key, Role};
use ringway_runtime::{Chunk, Instant, Stream, Timer};

use super::behaviour::{self, Fate};
use super::{Scratch, Server};
use crate::windows::limits;

/// Receives of one poll, before other connections have their turn.
const RECEIVES_MAX: usize = 16;
/// Bytes that may wait to be taken by the kernel, beyond which bodies wait.
const UNSENT_MAX: usize = 256 << 10;
/// A piece of a body of this size is worth being sent without a copy.
const PIECE_MIN: usize = 4 << 10;
/// Streams that a client may have at once: as many as it may ask for.
const STREAMS_MAX: u32 = 10_000;

pub(super) async fn serve(server: Rc<Server>, stream: Stream) {
    let mut connection = Http2 {
        codec: Connection::new(Role::Server, &limits(STREAMS_MAX), 0),
        timer: server.core.timer(),
        held: Vec::new(),
        out: Vec::new(),
        asked: Vec::new(),
        due: VecDeque::new(),
        sending: VecDeque::new(),
        served: 0,
        stream,
        server,
    };
    connection.codec.begin(&mut connection.out);
    poll_fn(|context| connection.poll(context)).await;
}

/// A request that comes.
#[derive(Default)]
struct Asked {
    is_grpc: bool,
    is_head: bool,
    body: Vec<u8>,
}

/// A body that goes, and whether gRPC's trailers follow it.
struct Sending {
    key: Key,
    body: Chunk,
    at: usize,
    is_grpc: bool,
}

struct Http2 {
    server: Rc<Server>,
    stream: Stream,
    codec: Connection,
    timer: Timer,
    held: Vec<u8>,
    out: Vec<u8>,
    /// By [`Key::index`].
    asked: Vec<Asked>,
    /// Whole requests, and when they are answered: in order, for each waits as long as the one before it.
    due: VecDeque<(Instant, Key)>,
    sending: VecDeque<Sending>,
    served: u64,
}

impl Http2 {
    /// Ready when the connection is to be closed.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut is_over = false;
        for turn in 0..=RECEIVES_MAX {
            if turn == RECEIVES_MAX {
                context.waker().wake_by_ref();
                break;
            }
            match self.stream.poll_recv(context) {
                Poll::Pending => break,
                Poll::Ready(Ok(Some(chunk))) if self.feed(&chunk) => {}
                Poll::Ready(_) => {
                    is_over = true;
                    break;
                }
            }
        }
        is_over |= self.answer_due(context);
        self.pump(context);
        let is_idle = self.codec.active() == 0 && self.sending.is_empty();
        is_over |= self.codec.is_leaving() && is_idle;
        if !self.out.is_empty() {
            self.stream.send(self.server.core.chunk(&self.out));
            self.out.clear();
        }
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether the connection goes on.
    fn feed(&mut self, chunk: &[u8]) -> bool {
        let mut held = std::mem::take(&mut self.held);
        let done = if held.is_empty() {
            let done = self.read(chunk);
            held.extend_from_slice(&chunk[done.unwrap_or(chunk.len())..]);
            done
        } else {
            held.extend_from_slice(chunk);
            let done = self.read(&held);
            held.drain(..done.unwrap_or(held.len()));
            done
        };
        self.held = held;
        done.is_some()
    }

    /// How much of it is read; `None`: the connection has failed.
    fn read(&mut self, bytes: &[u8]) -> Option<usize> {
        let server = Rc::clone(&self.server);
        let scratch = &mut *server.scratch.borrow_mut();
        let now = server.core.now();
        self.codec.unsent(self.stream.unsent() + self.out.len());
        let mut at = 0;
        loop {
            let ms = now.ms_since(server.began);
            let step = self.codec.receive(&bytes[at..], ms, &mut scratch.fields, &mut self.out);
            match step.event {
                Event::NeedMore => return Some(at + step.consumed),
                Event::Head { key, ends } => {
                    let has = |name: &[u8], value: &[u8]| {
                        scratch.fields.iter().any(|field| field.name == name && field.value.starts_with(value))
                    };
                    let is_grpc = has(b"content-type", b"application/grpc");
                    if self.asked.len() <= key.index() {
                        self.asked.resize_with(key.index() + 1, Asked::default);
                    }
                    self.asked[key.index()] = Asked { is_grpc, is_head: has(b":method", b"HEAD"), body: Vec::new() };
                    if ends {
                        self.whole(key, now);
                    }
                }
                Event::Data { key, range, ends } => {
                    let piece = &bytes[at + range.start..at + range.end];
                    self.codec.consumed(key, piece.len(), &mut self.out);
                    let asked = &mut self.asked[key.index()];
                    if asked.is_grpc || server.behaviour.echo {
                        asked.body.extend_from_slice(piece);
                    }
                    if ends {
                        self.whole(key, now);
                    }
                }
                Event::Trailers { key } => self.whole(key, now),
                Event::Failed(_) => return None,
                Event::Reset { .. }
                | Event::Window { .. }
                | Event::Settings
                | Event::GoAway { .. }
                | Event::Pong(_) => {}
            }
            at += step.consumed;
        }
    }

    /// A request has ended.
    fn whole(&mut self, key: Key, now: Instant) {
        self.due.push_back((self.server.behaviour.answers_at(self.server.began, now), key));
    }

    /// Answers what is due; whether the connection is to end at once.
    fn answer_due(&mut self, context: &mut Context<'_>) -> bool {
        while let Some((at, key)) = self.due.front().copied() {
            if at > self.server.core.now() {
                self.timer.set(at);
                if self.timer.poll_expired(context).is_pending() {
                    return false;
                }
            }
            self.due.pop_front();
            if self.codec.is_open(key) && !self.answer(key) {
                return true;
            }
        }
        self.timer.clear();
        false
    }

    /// Answers one; false: by the connection's end.
    fn answer(&mut self, key: Key) -> bool {
        let server = Rc::clone(&self.server);
        let Asked { is_grpc, is_head, body } = std::mem::take(&mut self.asked[key.index()]);
        let fate = server.behaviour.fate(&mut server.chance.borrow_mut());
        let Scratch { lower, coded, .. } = &mut *server.scratch.borrow_mut();
        match fate {
            Fate::Reset => self.codec.reset(key, Code::INTERNAL_ERROR, &mut self.out),
            Fate::Cut => return false,
            Fate::Error if is_grpc => {
                // Trailers alone (PROTOCOL-HTTP2.md, "Responses"): UNAVAILABLE.
                self.codec.send_headers(key, true, coded, &mut self.out, |fields| {
                    GRPC_HEAD.into_iter().chain([(b"grpc-status".as_slice(), b"14".as_slice())]).for_each(
                        |(name, value)| {
                            fields.put(Field { name, value, never_indexed: false });
                        },
                    );
                });
            }
            Fate::Error => {
                self.codec.send_headers(key, true, coded, &mut self.out, |fields| {
                    write_response(&server.replies.error, false, false, lower, fields);
                });
            }
            Fate::Answer if is_grpc => {
                self.codec.send_headers(key, false, coded, &mut self.out, |fields| {
                    GRPC_HEAD
                        .into_iter()
                        .for_each(|(name, value)| fields.put(Field { name, value, never_indexed: false }));
                });
                self.sending.push_back(Sending { key, body: server.core.chunk(&body), at: 0, is_grpc });
            }
            Fate::Answer => {
                let (drawn, body) = if server.behaviour.echo {
                    let head = behaviour::head(&server.behaviour, 200, body.len(), false);
                    (Some(head), server.core.chunk(&body))
                } else {
                    (None, server.replies.body.clone())
                };
                let head = drawn.as_deref().unwrap_or(&server.replies.head);
                let ends = is_head || body.is_empty();
                self.codec.send_headers(key, ends, coded, &mut self.out, |fields| {
                    write_response(head, false, false, lower, fields);
                });
                if !ends {
                    self.sending.push_back(Sending { key, body, at: 0, is_grpc });
                }
            }
        }
        self.served += 1;
        if server.behaviour.requests_per_connection == Some(self.served) {
            self.codec.go_away(Code::NO_ERROR, &mut self.out);
        }
        true
    }

    /// Sends of bodies what the windows and the kernel take.
    fn pump(&mut self, context: &mut Context<'_>) {
        let server = Rc::clone(&self.server);
        let mut blocked = 0;
        while let Some(mut sending) = self.sending.pop_front() {
            if self.stream.unsent() + self.out.len() > UNSENT_MAX {
                self.sending.push_front(sending);
                let _wakes = self.stream.poll_unsent_below(context, UNSENT_MAX / 2);
                return;
            }
            if !self.codec.is_open(sending.key) {
                continue;
            }
            let left = sending.body.len() - sending.at;
            let granted = self.codec.send_data(sending.key, left, !sending.is_grpc, &mut self.out);
            let piece = sending.body.slice(sending.at..sending.at + granted);
            sending.at += granted;
            if granted >= PIECE_MIN {
                self.stream.send(server.core.chunk(&self.out));
                self.out.clear();
                self.stream.send(piece);
            } else {
                self.out.extend_from_slice(&piece);
            }
            if sending.at == sending.body.len() {
                if sending.is_grpc {
                    let coded = &mut server.scratch.borrow_mut().coded;
                    self.codec.send_headers(sending.key, true, coded, &mut self.out, |fields| {
                        fields.put(Field { name: b"grpc-status", value: b"0", never_indexed: false });
                    });
                }
                continue;
            }
            self.sending.push_back(sending);
            blocked = if granted == 0 { blocked + 1 } else { 0 };
            if blocked >= self.sending.len() {
                return; // a window opens first
            }
        }
    }
}

/// What an answer of gRPC begins with.
const GRPC_HEAD: [(&[u8], &[u8]); 2] = [(b":status", b"200"), (b"content-type", b"application/grpc")];
