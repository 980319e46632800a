//! Many bytes at once: nothing is lost or reordered, and neither side piles up more than its bounds.

mod support;

use ringway_runtime::{Core, Options, RECV_UNREAD_MAX, Stream};
use support::*;

const MIB: usize = 1 << 20;
/// What a writer keeps queued at most.
const UNSENT_MAX: usize = 128 << 10;

/// Sends `bytes` in pieces of `piece`, keeping at most `UNSENT_MAX` queued, then FIN.
async fn write_all(core: &Core, stream: &Stream, bytes: &[u8], piece: usize) {
    for part in bytes.chunks(piece) {
        stream.send(core.chunk(part));
        assert!(stream.unsent() <= UNSENT_MAX + piece, "the writer's queue is bounded");
        std::future::poll_fn(|cx| stream.poll_unsent_below(cx, UNSENT_MAX)).await.expect("an open socket");
    }
    stream.flushed().await.expect("an open socket");
    stream.shutdown_write();
}

/// How the reader takes what comes.
#[derive(Clone, Copy)]
struct Reader {
    bulk: bool,
    /// Switches bulk on and off after so many chunks.
    switch_every: usize,
    /// Turns of the loop to let pass between two takes.
    slow: usize,
}

async fn read_all(core: &Core, stream: &Stream, reader: Reader) -> Vec<u8> {
    let (mut bytes, mut taken) = (Vec::new(), 0);
    stream.set_bulk(reader.bulk);
    let mut bulk = reader.bulk;
    while let Some(chunk) = stream.recv().await.expect("an open socket") {
        bytes.extend_from_slice(&chunk);
        drop(chunk);
        taken += 1;
        if reader.switch_every > 0 && taken % reader.switch_every == 0 {
            bulk = !bulk;
            stream.set_bulk(bulk);
        }
        turns(core, reader.slow).await;
    }
    bytes
}

/// One MiB in each direction at once.
#[track_caller]
fn check(options: Options, piece: usize, client: Reader, server: Reader) {
    each_driver_with(options, move |core: Core| async move {
        let (near, far) = pair(&core).await;
        let (there, back) = (pattern(MIB), pattern(MIB + 77)[77..].to_vec());
        let ((), ((), (at_near, at_far))) = both(write_all(&core, &near, &there, piece), async {
            both(
                write_all(&core, &far, &back, piece),
                both(read_all(&core, &near, client), read_all(&core, &far, server)),
            )
            .await
        })
        .await;
        assert!(at_far == there, "what arrives there is what was sent");
        assert!(at_near == back, "what arrives here is what was sent");
    });
}

const PLAIN: Reader = Reader { bulk: false, switch_every: 0, slow: 0 };
const BULK: Reader = Reader { bulk: true, switch_every: 0, slow: 0 };

#[test]
fn chunks_both_ways() {
    check(Options::default(), 10_000, PLAIN, PLAIN);
}

#[test]
fn bulk_on_one_side() {
    check(Options::default(), 64 << 10, PLAIN, BULK);
}

#[test]
fn bulk_and_a_slow_reader() {
    check(Options::default(), 64 << 10, Reader { slow: 3, ..PLAIN }, Reader { slow: 5, ..BULK });
}

#[test]
fn bulk_switched_on_and_off_on_the_way() {
    check(Options::default(), 5_000, Reader { switch_every: 2, ..PLAIN }, Reader { switch_every: 3, slow: 1, ..BULK });
}

#[test]
fn no_bulk_buffer_means_chunks() {
    let options = Options { bulk_buffers_max: 0, ..Options::default() };
    check(options, 30_000, PLAIN, BULK);
}

#[test]
fn two_chunks_for_all() {
    let options = Options { chunks_initial: 1, chunks_max: 2, ..Options::default() };
    check(options, 50_000, PLAIN, PLAIN);
}

#[test]
fn a_small_ring_and_small_buffers() {
    let options = Options {
        chunk_size: 64,
        chunks_initial: 2,
        chunks_max: 32,
        bulk_size: 1000,
        sq_entries: 8,
        cq_entries: 8,
        pieces_per_send_max: 3,
        ..Options::default()
    };
    check(options, 700, PLAIN, Reader { switch_every: 7, ..BULK });
}

/// A reader that does not take holds the peer back, not this core's memory: neither with chunks enough, nor when each receive
/// ends for want of one.
fn check_idle_reader(options: Options) {
    each_driver_with(options, |core: Core| async move {
        let (near, far) = pair(&core).await;
        // Armed, with one byte taken: from here on nobody reads.
        near.send(core.chunk(b"x"));
        assert_eq!(recv_exact(&far, 1).await, b"x");
        let before = core.stats().bytes_received.get();
        for _ in 0..400 {
            near.send(core.chunk(&[7; 16 << 10]));
            turns(&core, 1).await;
        }
        turns(&core, 20).await;
        let held = core.stats().bytes_received.get() - before;
        // One burst of a multishot: 32 buffers (io_uring's MULTISHOT_MAX_RETRY), and what came before the cancel.
        assert!(held as usize <= RECV_UNREAD_MAX + 2 * 32 * 4096, "{held} bytes received that nobody takes");
        assert_eq!(core.stats().chunks_free.get(), core.stats().chunks_total.get(), "none of them in a chunk");
        until(&core, || !far.is_quiet()).await;
        far.abort();
    });
}

#[test]
fn an_idle_reader_is_bounded() {
    check_idle_reader(Options::default());
}

#[test]
fn an_idle_reader_is_bounded_also_without_chunks() {
    check_idle_reader(Options { chunks_initial: 2, chunks_max: 2, ..Options::default() });
}
