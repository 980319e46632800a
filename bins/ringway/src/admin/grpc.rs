//! gRPC on the admin server: what `/client_status` says, by the service that has it (CSDS).
//!
//! A connection has its thread as one of HTTP/1 has, and holds it for as long as its client wants. So that probes always find a thread, only
//! some may.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ringway_control_client::{client_status, serve_client_status};

use super::http::{self, PATIENCE};
use super::socket::Stream;
use super::{CONNECTIONS_MAX, Context, Serving, process};

/// Connections of gRPC at once: the tools of a few people. Each costs a thread, and one answer while that is sent.
const GRPC_CONNECTIONS_MAX: usize = 8;
const _: () = assert!(GRPC_CONNECTIONS_MAX < CONNECTIONS_MAX, "the rest is for HTTP/1");

/// How long a client that is sent away may still say something.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Our preface, empty SETTINGS, and GOAWAY: no stream was taken, and there are too many of you (RFC 9113 §6.8, ENHANCE_YOUR_CALM).
const TOO_MANY: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b";

/// Serves a connection of which `before` was read.
pub(super) fn serve(mut stream: Stream, before: Vec<u8>, context: &Arc<Context>, serving: &Serving) {
    let Some(_seat) = Seat::take(&serving.grpc_count) else {
        // An error: it is gone already.
        let _ = refuse(&mut stream);
        return;
    };
    let own = context.clone();
    let status = move |request| {
        let came = process::dynamic(&own)?;
        Some(client_status(own.state.view().bootstrap.as_ref(), &came.resources, request))
    };
    if let Err(error) = serve_client_status(stream.accepted(), before, status) {
        context.log.warning(format_args!("admin: a connection of gRPC cannot be served: {error}"));
    }
}

fn refuse(stream: &mut Stream) -> io::Result<Infallible> {
    stream.set_write_timeout(PATIENCE)?;
    stream.write_all(TOO_MANY)?;
    stream.finish()?;
    // Its last bytes are taken before the socket closes: a reset could overtake our answer.
    let deadline = Instant::now() + LAST_WORDS;
    loop {
        http::read_some(stream, &mut [0; 2048], deadline)?;
    }
}

/// One of the [`GRPC_CONNECTIONS_MAX`] seats; given back when dropped.
struct Seat<'c>(&'c AtomicUsize);

impl<'c> Seat<'c> {
    fn take(count: &'c AtomicUsize) -> Option<Self> {
        let seat = Self(count);
        // Counted before it is looked at: of two at once one at most is refused, and its drop gives back what it counted.
        (count.fetch_add(1, Ordering::AcqRel) < GRPC_CONNECTIONS_MAX).then_some(seat)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_that_is_given_back_is_there_again() {
        let count = AtomicUsize::new(0);
        let mut seats: Vec<_> = (0..GRPC_CONNECTIONS_MAX).map(|_| Seat::take(&count).expect("a seat")).collect();
        assert!(Seat::take(&count).is_none());
        seats.pop();
        let again = Seat::take(&count);
        assert!(again.is_some() && Seat::take(&count).is_none());
        drop((seats, again));
        assert_eq!(count.into_inner(), 0);
    }
}
