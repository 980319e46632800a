//! The way of a send that the kernel does not take whole: a tiny SO_SNDBUF and a reader that starts late.

mod support;

use std::os::fd::{AsFd, AsRawFd};

use ringway_runtime::{Core, Options, Stream};
use support::*;

fn shrink(stream: &Stream, name: libc::c_int, bytes: libc::c_int) {
    let fd = stream.as_fd().as_raw_fd();
    // SAFETY: a local of the size given.
    let result =
        unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, name, (&raw const bytes).cast(), size_of::<i32>() as u32) };
    assert_eq!(result, 0, "setsockopt");
}

/// Sends `total` bytes (few: with such buffers TCP lives on its timers) in pieces of `piece` through the smallest buffers that Linux gives, to a reader that starts late.
#[track_caller]
fn check(total: usize, piece: usize, options: Options) {
    each_driver_with(options, move |core: Core| async move {
        let (near, far) = pair(&core).await;
        shrink(&near, libc::SO_SNDBUF, 4096);
        shrink(&far, libc::SO_RCVBUF, 4096);
        let bytes = pattern(total);
        for part in bytes.chunks(piece) {
            near.send(core.chunk(part));
        }
        assert_eq!(near.unsent(), total);
        until(&core, || core.stats().send_stalls.get() > 0).await;
        let before = near.unsent();
        assert!(0 < before && before < total, "some of it is taken, some waits");
        near.shutdown_write();
        let (got, flushed) = both(recv_all(&far), near.flushed()).await;
        flushed.expect("an open socket");
        assert!(got.expect("a clean end") == bytes);
        assert_eq!(near.unsent(), 0);
    });
}

#[test]
fn one_piece() {
    check(100_000, 100_000, Options::default());
}

#[test]
fn many_pieces() {
    check(100_000, 1000, Options::default());
}

#[test]
fn three_pieces_a_send() {
    check(60_000, 777, Options { pieces_per_send_max: 3, ..Options::default() });
}

/// What waits for the peer does not wait in receive chunks.
#[test]
fn a_stalled_relay_holds_no_chunk() {
    each_driver(|core: Core| async move {
        let (source, relay_in) = pair(&core).await;
        let (relay_out, sink) = pair(&core).await;
        shrink(&relay_out, libc::SO_SNDBUF, 4096);
        shrink(&sink, libc::SO_RCVBUF, 4096);
        let bytes = pattern(100_000);
        source.send(core.chunk(&bytes));
        let mut relayed = 0;
        while relayed < bytes.len() {
            let chunk = relay_in.recv().await.expect("no error").expect("bytes");
            relayed += chunk.len();
            relay_out.send(chunk);
        }
        turns(&core, 3).await;
        assert!(relay_out.unsent() > 0);
        assert_eq!(core.stats().chunks_free.get(), core.stats().chunks_total.get(), "all chunks are home");
        assert!(recv_exact(&sink, bytes.len()).await == bytes);
    });
}
