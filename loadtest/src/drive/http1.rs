//! HTTP/1.1: one request at a time on each connection.
//!
//! Where all requests are the same they are one piece of memory, that is sent again and again without a copy.

use std::rc::Rc;

use ringway_protocols::http1::{BodyDecoder, BodyPart, Decoded, HeadScan, decode_response};
use ringway_protocols::{Error, Framing, HeadTable, Method};
use ringway_runtime::{Chunk, Stream, Timer};

use super::serial::Serial;
use super::{Begin, recv};
use crate::expect::{Answer, Body};
use crate::failure::Failure;
use crate::pacing::Seat;
use crate::worker::Worker;

/// What is left of a body beyond which it comes in bulk buffers.
const BULK_MIN: u64 = 64 << 10;

pub(super) async fn drive(worker: Rc<Worker>, seat: Rc<Seat>, begin: Begin) {
    let core = &worker.core;
    let mut table = HeadTable::new(worker.limits.headers_max);
    let method = worker.plan.request.method();
    let mut serial = Serial::new(&worker, &seat, begin);
    while let Some(taken) = serial.take().await {
        let size = worker.draw_size();
        let sent = core.now();
        worker.message.pieces(core, size, |piece| taken.stream.send(piece));
        worker.tally.sent(taken.job, size as u64);
        let result = exchange(&worker, &taken.stream, serial.timer(), &mut table, method).await;
        serial.done(taken, sent, result);
    }
}

/// Reads one response to its end, and whether the connection persists.
async fn exchange(
    worker: &Worker,
    stream: &Stream,
    timer: &Timer,
    table: &mut HeadTable,
    method: Method,
) -> Result<(Answer, bool), Failure> {
    let limits = &worker.limits;
    let wrong = |error: Error| worker.tally.because(Failure::Protocol, error);
    let mut held = recv(worker, stream, timer).await?.ok_or(Failure::CutShort)?;
    let mut scan = HeadScan::default();
    let mut at = 0;
    let (status, framing, keep_alive) = loop {
        match decode_response(&held[at..], &mut scan, table, limits, method).map_err(wrong)? {
            Decoded::Complete { head, consumed } => {
                at += consumed;
                if !head.is_interim() {
                    break (head.status(), head.framing(), head.keep_alive());
                }
                scan = HeadScan::default();
            }
            Decoded::Partial => {
                held = more(worker, stream, timer, &held[at..]).await?.ok_or(Failure::CutShort)?;
                at = 0;
            }
        }
    };
    let mut decoder = BodyDecoder::new(framing);
    let mut body = Body::new(&worker.plan.expect);
    let is_bulk = match framing {
        Framing::Length(length) => length > BULK_MIN,
        Framing::None | Framing::Chunked | Framing::UntilClose => false,
    };
    if is_bulk {
        stream.set_bulk(true);
    }
    while !decoder.is_done() {
        let step = decoder.decode(&held[at..], limits).map_err(wrong)?;
        at += step.consumed;
        match step.part {
            BodyPart::Data(range) => {
                let from = at - step.consumed;
                body.push(&held[from + range.start..from + range.end]);
            }
            BodyPart::NeedMore => match more(worker, stream, timer, &held[at..]).await? {
                Some(chunk) => (held, at) = (chunk, 0),
                None => {
                    decoder.finish_on_eof().map_err(|_| Failure::CutShort)?;
                    break;
                }
            },
            BodyPart::Trailers(_) | BodyPart::End => {}
        }
    }
    if is_bulk {
        stream.set_bulk(false);
    }
    // Bytes that nobody asked for: the next answer would be taken from them.
    if at < held.len() && framing != Framing::UntilClose {
        return Err(worker.tally.because(Failure::Protocol, "bytes came behind the answer's end"));
    }
    let keep_alive = keep_alive && framing != Framing::UntilClose;
    Ok((Answer { status, grpc_status: None, body }, keep_alive))
}

/// What comes next, behind what is not done with.
async fn more(worker: &Worker, stream: &Stream, timer: &Timer, held: &[u8]) -> Result<Option<Chunk>, Failure> {
    if held.is_empty() {
        return recv(worker, stream, timer).await;
    }
    let core = &worker.core;
    let mut kept = core.chunk(held);
    let Some(chunk) = recv(worker, stream, timer).await? else { return Ok(None) };
    let mut block = core.block(kept.len() + chunk.len());
    block.extend_from_slice(&kept);
    block.extend_from_slice(&chunk);
    kept = block.freeze();
    Ok(Some(kept))
}
