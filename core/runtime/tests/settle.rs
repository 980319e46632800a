//! "A chunk is held only while its bytes move": what nobody takes leaves the receive chunks at the end of the turn.

mod support;

use ringway_runtime::{Core, Options};
use support::*;

/// A core's worth of connections, scaled down to the usual limit of open files.
const CONNECTIONS: usize = 400;

#[test]
fn connections_with_one_unread_byte_each_hold_no_chunk() {
    each_driver(|core: Core| async move {
        let (listener, address) = listener(&core, 1024);
        let mut ends = Vec::new();
        for _ in 0..CONNECTIONS {
            let (client, server) = both(connect(&core, address), listener.accept()).await;
            ends.push((client, server.expect("accept")));
        }
        for (_, server) in &ends {
            // Arms the receive, as an idle task would.
            assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(server.poll_watch(cx))).await.is_pending());
        }
        for (client, _) in &ends {
            client.send(core.chunk(b"!"));
        }
        until(&core, || ends.iter().all(|(_, server)| !server.is_quiet())).await;
        turns(&core, 2).await;
        let stats = core.stats();
        assert_eq!(stats.chunks_free.get(), stats.chunks_total.get(), "all chunks are home");
        assert!(stats.bytes_settled.get() >= CONNECTIONS as u64);
        for (client, server) in &ends {
            assert_eq!(recv_exact(server, 1).await, b"!");
            assert!(server.is_quiet() && client.is_quiet());
        }
    });
}

/// A trickle of single bytes is joined into few blocks.
#[test]
fn a_trickle_is_joined() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        near.send(core.chunk(b"x"));
        assert_eq!(recv_exact(&far, 1).await, b"x");
        let before = core.stats().blocks_in_use_bytes.get();
        let bytes = pattern(600);
        for (i, byte) in bytes.iter().enumerate() {
            near.send(core.chunk(&[*byte]));
            until(&core, || core.stats().bytes_received.get() == i as u64 + 2).await;
        }
        let blocks = core.stats().blocks_in_use_bytes.get() - before;
        assert!(blocks <= 4096, "600 bytes are kept in {blocks}");
        assert!(recv_exact(&far, 600).await == bytes);
    });
}

/// More sockets than chunks: each gets its turn.
#[test]
fn starved_sockets_are_served() {
    let options = Options { chunks_initial: 2, chunks_max: 2, ..Options::default() };
    each_driver_with(options, |core: Core| async move {
        let mut ends = Vec::new();
        for _ in 0..40 {
            ends.push(pair(&core).await);
        }
        for (near, _) in &ends {
            near.send(core.chunk(&pattern(9000)));
        }
        for (_, far) in &ends {
            assert!(recv_exact(far, 9000).await == pattern(9000));
        }
    });
}

/// A task that keeps a chunk across turns keeps it from the others, until it settles it.
#[test]
fn settled_bytes_leave_their_chunk() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        near.send(core.chunk(b"k"));
        let chunk = far.recv().await.expect("no error").expect("bytes");
        assert_eq!(core.stats().chunks_free.get() + 1, core.stats().chunks_total.get());
        let kept = core.settled(chunk);
        assert_eq!(core.stats().chunks_free.get(), core.stats().chunks_total.get());
        assert_eq!(&*kept, b"k");
    });
}

/// Sockets that found no chunk and have nothing to receive stand before one that has: it is served all the same, with nothing else
/// to wake the core.
#[test]
fn a_starved_socket_behind_idle_ones_is_served() {
    let options = Options { chunks_initial: 2, chunks_max: 2, ..Options::default() };
    each_driver_with(options, |core: Core| async move {
        let mut holders = Vec::new();
        let mut ends = Vec::new();
        for _ in 0..2 {
            holders.push(pair(&core).await);
        }
        for _ in 0..7 {
            ends.push(pair(&core).await);
        }
        let mut held = Vec::new();
        for (near, far) in &holders {
            near.send(core.chunk(b"!"));
            held.push(far.recv().await.expect("no error").expect("bytes"));
        }
        // There is no chunk left: each receive is told so, the one with bytes last.
        for (_, far) in &ends {
            assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(far.poll_watch(cx))).await.is_pending());
            turns(&core, 2).await;
        }
        ends[6].0.send(core.chunk(b"late"));
        turns(&core, 10).await;
        drop(held);
        assert_eq!(recv_exact(&ends[6].1, 4).await, b"late");
    });
}
