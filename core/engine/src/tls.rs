//! TLS on a stream: the handshake on the bare connection, then a layer that opens and seals its records.
//!
//! ```text
//!   bare stream ── Session::handshake, a few steps a turn ──> set_layer(Records) ──> plain bytes
//!        │ failed: the alert is sent, counted, and the connection ends
//! ```
//!
//! A connection between two records holds no buffer: a record opens in the chunk in which it came; only one that spans several chunks is gathered,
//! in a block of its size. Handshakes cost a hundred times what a request does: so few of their steps are made in one turn of a core that a
//! burst of them does not hold up the requests of others, and the rest wait in line.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ringway_observe::TlsStats;
use ringway_runtime::{BlockMut, Chunk, Core, Instant, Layer, Open, Opening, Sealing, Stream, Timer};
use ringway_tls::{Failure, HANDSHAKE_MAX, Info, Opened, PLAINTEXT_MAX, Session, TlsError};

use self::turns::{Turn, Turns};
use crate::gathered;

mod turns;

/// Why a connection has no TLS.
#[derive(Clone, Debug)]
pub(crate) enum Unsecured {
    /// The handshake took too long.
    Timeout,
    /// The peer ended the connection within the handshake.
    Ended,
    /// Too many wait for their turn.
    Overflow,
    /// The handshake failed.
    Failed(TlsError),
}

/// How a failure is told: `%UPSTREAM_TRANSPORT_FAILURE_REASON%` and, within `%RESPONSE_CODE_DETAILS%`, the same.
pub(crate) struct Told {
    pub(crate) reason: &'static str,
    pub(crate) details: &'static str,
}

macro_rules! told {
    ($($text:literal,)*) => {
        /// All that is told, in the order of the arms below.
        pub(crate) const TOLD: &[Told] = &[$(Told {
            reason: concat!("TLS_error:_", $text),
            details: concat!("upstream_reset_before_response_started{remote_connection_failure|TLS_error:_", $text, "}"),
        },)*];
    };
}

told! {
    "handshake_timeout",
    "connection_ended_in_handshake",
    "too_many_handshakes",
    "peer_did_not_return_a_certificate",
    "verify_cert_failed:_untrusted",
    "verify_cert_failed:_certificate_has_expired_or_is_not_yet_valid",
    "verify_cert_failed:_revoked",
    "verify_cert_failed:_SAN_matcher",
    "verify_cert_failed:_certificate_hash_matcher",
    "alert_received",
    "no_shared_parameters",
    "not_TLS",
    "handshake_failure",
}

impl Unsecured {
    /// How it is told, within [`TOLD`].
    pub(crate) fn told(&self) -> &'static Told {
        let failure = match self {
            Unsecured::Timeout => return &TOLD[0],
            Unsecured::Ended => return &TOLD[1],
            Unsecured::Overflow => return &TOLD[2],
            Unsecured::Failed(error) => error.failure,
        };
        &TOLD[match failure {
            Failure::NoCertificate => 3,
            Failure::Untrusted => 4,
            Failure::Expired => 5,
            Failure::Revoked => 6,
            Failure::San => 7,
            Failure::Hash => 8,
            Failure::Alert(_) => 9,
            Failure::NoCommonParameters => 10,
            Failure::NotTls => 11,
            _ => 12,
        }]
    }

    /// Counts it under Envoy's names.
    pub(crate) fn count(&self, stats: &TlsStats) {
        match self {
            Unsecured::Timeout => stats.handshake_timeout.add(1),
            Unsecured::Ended => stats.connection_error.add(1),
            Unsecured::Overflow => stats.handshake_overflow.add(1),
            Unsecured::Failed(error) => match error.failure {
                Failure::NoCertificate => stats.fail_verify_no_cert.add(1),
                Failure::Untrusted | Failure::Expired | Failure::Revoked => stats.fail_verify_error.add(1),
                Failure::San => stats.fail_verify_san.add(1),
                Failure::Hash => stats.fail_verify_cert_hash.add(1),
                _ => stats.connection_error.add(1),
            },
        }
    }
}

/// Counts a handshake that came to an end.
pub(crate) fn count(info: &Info, stats: &TlsStats) {
    stats.handshake.add(1);
    if info.resumed {
        stats.session_reused.add(1);
    }
    if info.peer.is_none() {
        stats.no_certificate.add(1);
    }
    let counters = [
        stats.versions(info.version.name()),
        stats.ciphers(info.cipher),
        info.curve.and_then(|name| stats.curves(name)),
    ];
    counters.into_iter().flatten().for_each(|counter| counter.add(1));
}

/// Makes a session on a bare stream, until `deadline`. Then the stream speaks of plain bytes.
///
/// # Errors
/// There is none. What the peer is told has been queued.
pub(crate) async fn secure(
    (core, tls): (&Core, &Tls),
    stream: &Stream,
    session: Session,
    timer: &Timer,
    deadline: Instant,
) -> Result<Box<Info>, Unsecured> {
    timer.set(deadline);
    let mut handshake = Handshake { core, stream, timer, session, held: None, out: Vec::new(), has_spoken: false };
    // A client speaks first.
    let mut is_done = handshake.step()?;
    while !is_done {
        poll_fn(|context| handshake.poll_came(context)).await?;
        if handshake.is_due() {
            handshake.turn(&tls.turns).await?;
            is_done = handshake.step()?;
        }
    }
    let Handshake { mut session, held, .. } = handshake;
    if let Some(held) = held.filter(|held| !held.is_empty()) {
        stream.unread(held.freeze());
    }
    let info = session.take_info().expect("the handshake is done");
    stream.set_layer(Box::new(Records { session, partial: None, scratch: Rc::clone(&tls.scratch) }));
    Ok(info)
}

/// A handshake under way.
struct Handshake<'h> {
    core: &'h Core,
    stream: &'h Stream,
    /// Set to its deadline.
    timer: &'h Timer,
    session: Session,
    /// What came and is not used up.
    held: Option<BlockMut>,
    /// Where a step writes.
    out: Vec<u8>,
    /// The peer was sent something: from then on it may have said its last.
    has_spoken: bool,
}

impl Handshake<'_> {
    /// Waits for the peer's next bytes.
    fn poll_came(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Unsecured>> {
        match self.poll_recv(context) {
            Poll::Pending => self.timer.poll_expired(context).map(|()| Err(Unsecured::Timeout)),
            came => came,
        }
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Unsecured>> {
        let chunk = match ready!(self.stream.poll_recv(context)) {
            Ok(Some(chunk)) => chunk,
            Ok(None) | Err(_) => return Poll::Ready(Err(Unsecured::Ended)),
        };
        self.held = Some(match self.held.take() {
            None => gathered::copy(self.core, &chunk),
            Some(held) if held.len() + chunk.len() > HANDSHAKE_MAX => {
                let error =
                    TlsError { failure: Failure::Protocol, reason: "a handshake message without end".to_owned() };
                return Poll::Ready(Err(Unsecured::Failed(error)));
            }
            Some(held) => gathered::append(self.core, held, &chunk),
        });
        Poll::Ready(Ok(()))
    }

    /// Whether what came is enough for a step that computes: only those wait in line.
    fn is_due(&mut self) -> bool {
        self.session.is_due(self.held.as_deref().unwrap_or_default())
    }

    /// Waits until a step may be made, as long as the handshake may take. Whoever stops waiting leaves the line, and so does whose client has gone:
    /// nobody waits for what would be computed.
    async fn turn(&mut self, turns: &Turns) -> Result<(), Unsecured> {
        let place = turns.enter(!self.has_spoken).ok_or(Unsecured::Overflow)?;
        poll_fn(|context| {
            if self.timer.poll_expired(context).is_ready() {
                return Poll::Ready(Err(Unsecured::Timeout));
            }
            // Behind a client's first flight comes nothing before our answer, but perhaps its end.
            while !self.has_spoken
                && let Poll::Ready(came) = self.poll_recv(context)
            {
                came?;
            }
            match place.poll(self.core.turn(), context) {
                Turn::Now => return Poll::Ready(Ok(())),
                Turn::Next => _ = pin!(self.core.yield_now()).poll(context),
                Turn::Waits => {}
            }
            Poll::Pending
        })
        .await
    }

    /// One step: what came is used up, and what is to be sent is queued. Whether the handshake is done.
    fn step(&mut self) -> Result<bool, Unsecured> {
        let Self { core, session, held, out, .. } = self;
        let stepped = {
            let input: &mut [u8] = match held {
                Some(held) => held,
                None => &mut [],
            };
            session.handshake(input, out)
        };
        if !out.is_empty() {
            self.has_spoken = true;
            self.stream.send(core.chunk(out));
            out.clear();
        }
        let progress = match stepped {
            Ok(progress) => progress,
            Err(error) => return Err(Unsecured::Failed(error)),
        };
        if progress.consumed > 0 {
            let rest = held.take().filter(|held| progress.consumed < held.len());
            *held = rest.map(|held| gathered::copy(core, &held[progress.consumed..]));
        }
        Ok(progress.done)
    }
}

/// One worker's part in TLS.
#[derive(Default)]
pub(crate) struct Tls {
    turns: Turns,
    scratch: Rc<RefCell<Scratch>>,
}

/// Working memory of one worker's layers: used up before anything else runs.
#[derive(Default)]
struct Scratch {
    /// What a session answers by itself.
    reply: Vec<u8>,
    /// Where the plaintext of a chunk's records is.
    opened: Vec<Range<usize>>,
}

/// The records of one connection.
struct Records {
    session: Session,
    /// The start of a record whose end has not come, in a block with room for all of it.
    partial: Option<Partial>,
    scratch: Rc<RefCell<Scratch>>,
}

struct Partial {
    block: BlockMut,
    /// How long the record is, as far as is known.
    size: usize,
}

/// Plaintext of a record that we seal: with header and tag it fits a block of 16 KiB.
const SEALED_MAX: usize = PLAINTEXT_MAX - 64;

impl Records {
    /// Opens the records at the front of `input`. How many bytes of it are done with, how much the next record needs in all, and whether the
    /// peer has ended.
    fn open_all(&mut self, input: &mut [u8], scratch: &mut Scratch) -> Result<(usize, usize, Open), TlsError> {
        let mut at = 0;
        loop {
            match self.session.open(&mut input[at..], &mut scratch.reply)? {
                Opened::Partial(size) => return Ok((at, size, Open::More)),
                Opened::Closed => return Ok((input.len(), 0, Open::End)),
                Opened::Record { consumed, plaintext } => {
                    if !plaintext.is_empty() {
                        scratch.opened.push(at + plaintext.start..at + plaintext.end);
                    }
                    at += consumed;
                }
            }
        }
    }

    /// Opens what a chunk holds, which nobody else does, and hands it on.
    fn open_chunk(&mut self, mut raw: Chunk, opening: &mut Opening<'_>) -> io::Result<Open> {
        let scratch = Rc::clone(&self.scratch);
        let scratch = &mut *scratch.borrow_mut();
        let ended = self.open_all(raw.unique_mut().expect("nobody else holds it"), scratch);
        let size = raw.len();
        for range in scratch.opened.drain(..) {
            opening.plain(raw.slice(range.start..range.end));
        }
        if !scratch.reply.is_empty() {
            let mut answer = opening.block(scratch.reply.len());
            answer.extend_from_slice(&scratch.reply);
            scratch.reply.clear();
            opening.answer(answer.freeze());
        }
        let (done, needed, open) = ended.map_err(io::Error::other)?;
        if done < size {
            let mut block = opening.block(needed);
            block.extend_from_slice(&raw[done..]);
            self.partial = Some(Partial { block, size: needed });
        }
        Ok(open)
    }

    /// Adds to the record that has begun what belongs to it, and opens it once it is whole. What is left of `raw`.
    fn complete(&mut self, raw: Chunk, opening: &mut Opening<'_>) -> io::Result<(Option<Chunk>, Open)> {
        let Some(Partial { mut block, size }) = self.partial.take() else { return Ok((Some(raw), Open::More)) };
        let missing = size - block.len();
        let taken = missing.min(raw.len());
        if block.spare() < taken {
            let mut larger = opening.block(size);
            larger.extend_from_slice(&block);
            block = larger;
        }
        block.extend_from_slice(&raw[..taken]);
        if taken < missing {
            self.partial = Some(Partial { block, size });
            return Ok((None, Open::More));
        }
        // Whole, or now with a header that tells how long it is.
        let open = self.open_chunk(block.freeze(), opening)?;
        Ok(((taken < raw.len()).then(|| raw.slice(taken..raw.len())), open))
    }
}

impl Layer for Records {
    fn open(&mut self, raw: Chunk, opening: &mut Opening<'_>) -> io::Result<Open> {
        let mut rest = Some(raw);
        while self.partial.is_some() {
            let Some(raw) = rest.take() else { return Ok(Open::More) };
            let (left, open) = self.complete(raw, opening)?;
            if open == Open::End {
                return Ok(open);
            }
            rest = left;
        }
        let Some(mut raw) = rest else { return Ok(Open::More) };
        if raw.unique_mut().is_none() {
            let mut block = opening.block(raw.len());
            block.extend_from_slice(&raw);
            raw = block.freeze();
        }
        self.open_chunk(raw, opening)
    }

    fn open_end(&mut self) -> io::Result<()> {
        if self.session.peer_closed() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn seal(&mut self, sealing: &mut Sealing<'_>) -> io::Result<()> {
        loop {
            let size = sealing.left().min(SEALED_MAX);
            if size == 0 {
                return Ok(());
            }
            let mut block = sealing.block(self.session.sealed_len(size));
            let mut ended = Ok(0);
            block.extend_with(|room| {
                ended = self.session.seal(sealing.pieces(), size, room);
                *ended.as_ref().unwrap_or(&0)
            });
            ended.map_err(io::Error::other)?;
            sealing.advance(size);
            sealing.raw(block.freeze());
        }
    }

    fn seal_end(&mut self, sealing: &mut Sealing<'_>) {
        let scratch = &mut *self.scratch.borrow_mut();
        self.session.close(&mut scratch.reply);
        if !scratch.reply.is_empty() {
            let mut end = sealing.block(scratch.reply.len());
            end.extend_from_slice(&scratch.reply);
            scratch.reply.clear();
            sealing.raw(end.freeze());
        }
    }
}

#[cfg(test)]
mod tests;
