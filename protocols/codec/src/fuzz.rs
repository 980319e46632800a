//! Fuzz bodies as plain functions: `cargo test` replays and mutates the corpus through them, and libFuzzer may call them.
//!
//! Each panics on what must never be, and gives nothing else. What must hold: no input panics a decoder; the answer does
//! not depend on the pieces it arrived in; what is forwarded is clean and means what was received.

mod first_bytes;
mod hpack;
mod http2;
mod onward;
mod sections;

pub use first_bytes::{
    HelloShape, Hellos, ProxyHeaders, ProxyShape, client_hello, http_inspector, http_inspector_quick, proxy_protocol,
};
pub use hpack::Blocks;
pub use http2::{connection, connection_quick, wire};
pub use onward::Onward;
pub use sections::{Sections, assert_as_decoded, list};

use crate::audit::audit;
use crate::head::{Framing, Method};
use crate::http1::{BodyDecoder, BodyPart};
use crate::limits::Limits;
use crate::script::{Outcome, Side, Stop, play};

/// A stream of requests.
pub fn request(input: &[u8]) {
    let whole = every_way(Side::Request, input);
    // What an origin would get: complete messages alone, because an incomplete one is cut off, not ended.
    let complete = whole.messages.iter().filter(|message| message.complete).count();
    if complete < whole.messages.len() {
        return;
    }
    assert_eq!(audit(&whole.forwarded), Ok(complete), "{:?}", String::from_utf8_lossy(&whole.forwarded));
    same_again(Side::Request, &whole);
}

/// A stream of responses; the first byte chooses the request's method.
pub fn response(input: &[u8]) {
    let Some((&first, input)) = input.split_first() else { return };
    let method = match first {
        b'H' => Method::Head,
        b'C' => Method::Connect,
        _ => Method::Get,
    };
    let whole = every_way(Side::Response(method), input);
    if whole.messages.iter().all(|message| message.complete) {
        same_again(Side::Response(method), &whole);
    }
}

/// A chunked body.
pub fn chunked(input: &[u8]) {
    let mut wire = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    wire.extend_from_slice(input);
    request(&wire);
    progress(input);
}

/// Each call of the decoder makes progress, asks for more, or ends: the caller's loop is bounded.
fn progress(input: &[u8]) {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let mut at = 0;
    for _ in 0..=2 * input.len() + 2 {
        let Ok(step) = decoder.decode(&input[at..], &Limits::default()) else { return };
        at += step.consumed;
        match step.part {
            BodyPart::NeedMore => return,
            BodyPart::End => {
                assert!(decoder.is_done() && decoder.finish_on_eof().is_ok());
                return;
            }
            BodyPart::Data(range) | BodyPart::Trailers(range) => assert!(!range.is_empty()),
        }
    }
    panic!("the decoder goes round in circles");
}

/// Plays `input` whole, byte by byte, and in pieces that the input itself chooses.
fn every_way(side: Side, input: &[u8]) -> Outcome {
    let limits = Limits::default();
    let whole = play(side, input, &limits, |_| input.len());
    let mut seed =
        input.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let pieces = play(side, input, &limits, |_| next(&mut seed) as usize % 23);
    let bytewise = play(side, input, &limits, |_| 1);
    whole.assert_same(&pieces, input, "in pieces");
    whole.assert_same(&bytewise, input, "byte by byte");
    whole
}

/// What was forwarded reads as what was received, and forwarding it again changes nothing more.
fn same_again(side: Side, first: &Outcome) {
    let again = play(side, &first.forwarded, &Limits::default(), |_| first.forwarded.len());
    assert!(matches!(again.stop, Stop::Clean | Stop::Closed), "{:?}", again.stop);
    assert_eq!(first.messages.len(), again.messages.len());
    for (first, again) in first.messages.iter().zip(&again.messages) {
        assert_eq!(first.kept, again.kept);
        assert_eq!(first.content, again.content);
        assert_eq!(first.trailers, again.trailers);
    }
}

/// A small generator (splitmix64): fuzzing has to be repeatable from its seed.
pub fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `input` with a few changes: bytes flipped, removed, repeated, swapped, or replaced by what parsers trip over.
#[must_use]
pub fn mutate(input: &[u8], other: &[u8], seed: &mut u64) -> Vec<u8> {
    const TRIPS: [&[u8]; 30] = [
        b"\r",
        b"\n",
        b"\r\n",
        b"\0",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"\"",
        b"\\",
        b"#",
        b"@",
        b"\x7f",
        b"\xff",
        b"\x0b",
        b"+5",
        b"0x5",
        b"5, 5",
        b"chunked",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Host: b\r\n",
        b"Connection: Host\r\n",
        b"0\r\n\r\n",
        b"\r\n\r\n",
        b"HTTP/1.0",
        b"1\r\nZ\r\n",
        b"ffffffffffffffff",
    ];
    let mut output = input.to_vec();
    for _ in 0..1 + next(seed) % 4 {
        let at = next(seed) as usize % (output.len() + 1);
        let len = (next(seed) as usize % 8).min(output.len() - at);
        match next(seed) % 6 {
            0 if at < output.len() => output[at] ^= 1 << (next(seed) % 8),
            1 => drop(output.drain(at..at + len)),
            2 => {
                let piece = output[at..at + len].to_vec();
                output.splice(at..at, piece);
            }
            3 if !other.is_empty() => {
                let from = next(seed) as usize % other.len();
                let to = (from + 1 + next(seed) as usize % 40).min(other.len());
                output.splice(at..at + len, other[from..to].iter().copied());
            }
            _ => {
                let trip = TRIPS[next(seed) as usize % TRIPS.len()];
                let len = if next(seed).is_multiple_of(2) { len } else { 0 };
                output.splice(at..at + len, trip.iter().copied());
            }
        }
    }
    output
}
