//! Bugs of the ring driver that the simulated kernel has found, one row each, told again by what triggers them.

mod support;

use std::future::{Future, poll_fn};
use std::io::Write;
use std::net::TcpStream;
use std::task::Poll;

use ringway_runtime::{Core, IoChoice, Options, Stream};
use support::*;

/// Connections from sockets of the system's to this core, with a receive armed and nobody who waits.
async fn armed(core: &Core, count: usize) -> (Vec<TcpStream>, Vec<Stream>) {
    let (listener, address) = listener(core, 64);
    let mut pairs = (Vec::new(), Vec::new());
    for _ in 0..count {
        let mut peer = TcpStream::connect(address).expect("a backlog with room");
        let stream = listener.accept().await.expect("accept");
        assert!(poll_fn(|cx| Poll::Ready(stream.poll_watch(cx).is_pending())).await, "nothing has come");
        // Its coming takes the waker away: from here on nobody is remembered.
        peer.write_all(b"x").expect("room");
        assert_eq!(recv_exact(&stream, 1).await, b"x");
        pairs.0.push(peer);
        pairs.1.push(stream);
    }
    turns(core, 8).await;
    pairs
}

/// The drivers, and more of the simulated kernel's ways.
#[track_caller]
fn check<F, Fut>(options: &Options, main: F)
where
    F: Fn(Core) -> Fut,
    Fut: Future<Output = ()> + 'static,
{
    let simulated = (0..16).filter(|seed| seed % 4 != 3).map(IoChoice::Fault);
    for io in kernel_drivers().into_iter().chain(simulated) {
        on_driver(io, options, &main);
    }
}

/// A closing socket whose receive completed while room was made for its last send was freed under that send. The queue has less
/// room than there are sends, so making room submits, and that takes the ends of the peers.
#[test]
fn a_closing_socket_outlives_its_last_send() {
    check(&Options { sq_entries: 8, ..Options::default() }, |core: Core| async move {
        let (peers, streams) = armed(&core, 40).await;
        drop(peers);
        for stream in streams {
            stream.send(core.chunk(b"a last word"));
        }
        until(&core, || core.stats().streams.get() == 0).await;
    });
}

/// A multishot receive that the kernel ended without bytes, on a stream that nobody waits for, was not armed again: the
/// peer's end was never seen.
#[test]
fn the_end_is_seen_on_a_stream_that_nobody_waits_for() {
    check(&Options { cq_entries: 8, sq_entries: 8, ..Options::default() }, |core: Core| async move {
        let (peers, streams) = armed(&core, 40).await;
        drop(peers);
        until(&core, || streams.iter().all(|stream| !stream.is_quiet())).await;
        for stream in streams {
            assert!(stream.try_recv().expect("an end").expect("no error").is_none());
        }
    });
}
